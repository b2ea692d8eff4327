//! `asgard neighbours` and `asgard images`: what else is on this machine.

use api::shapes::images::Images;
use api::shapes::neighbours::{Answer as Said, MemoryBasis, Neighbours, ServerKind};
use api::{ApiError, Code};
use serde_json::{Value, json};

use crate::Answer;
use crate::args::{ImagesCommand, NeighboursCommand};
use crate::reach;
use crate::screen::Screen;
use crate::words::{proper, table};

pub(super) async fn neighbours(screen: Screen, what: NeighboursCommand) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    let (cmd, payload) = match what {
        NeighboursCommand::List => ("neighbours", json!({})),
        NeighboursCommand::Adopt { id, agent, model } => {
            ("adopt", json!({ "id": id, "agent": agent, "model": model }))
        }
        NeighboursCommand::Stop { id, take_place } => {
            ("stop_neighbour", json!({ "id": id, "take_place": take_place }))
        }
        NeighboursCommand::Leave { id } => ("leave_neighbour", json!({ "id": id })),
        NeighboursCommand::Undo { id } => ("undo_neighbour", json!({ "id": id })),
    };
    let document = client.call_value(cmd, payload).await?;
    let all: Neighbours = super::read(&document)?;
    screen.document(&document);
    let rows: Vec<Vec<String>> = all.neighbours.iter().map(row).collect();
    screen.say(if rows.is_empty() { "No other model server runs here." } else { "" });
    screen.piece(&table(&rows, &[]));
    Ok(Answer::Yes)
}

fn row(n: &api::shapes::neighbours::Neighbour) -> Vec<String> {
    let server = match n.server {
        ServerKind::Vllm => "vLLM",
        ServerKind::LlamaCpp => "llama.cpp",
        ServerKind::Ollama => "Ollama",
        ServerKind::Bifrost => "Bifrost",
        ServerKind::Unknown => "holds the port",
    };
    let said = match (n.answer, n.running) {
        (Said::Open, true) => "open",
        (Said::Open, false) => "does not run",
        (Said::Left, _) => "left alone",
        (Said::Adopted, _) => "adopted",
        (Said::Stopped, _) => "stopped",
    };
    let memory = match (n.memory_bytes, n.memory_basis) {
        (Some(bytes), MemoryBasis::Measured) => {
            format!("{:.1} GB measured", bytes as f64 / (1_u64 << 30) as f64)
        }
        (Some(bytes), _) => format!("about {:.1} GB", bytes as f64 / (1_u64 << 30) as f64),
        (None, _) => "memory not known".to_owned(),
    };
    let models: Vec<&str> = n.models.iter().map(|m| m.name.as_str()).collect();
    vec![
        n.id.clone(),
        server.to_owned(),
        n.port.map(|p| format!(":{p}")).unwrap_or_default(),
        n.agent.as_deref().map(proper).unwrap_or_default(),
        said.to_owned(),
        memory,
        models.join(", "),
        n.origin.clone(),
    ]
}

pub(super) async fn images(screen: Screen, what: ImagesCommand) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    let (cmd, payload): (&str, Value) = match what {
        ImagesCommand::List => ("images", json!({})),
        ImagesCommand::Check => ("check_images", json!({})),
        ImagesCommand::Try { reference, agent } => {
            ("try_image", json!({ "reference": reference, "agent": agent }))
        }
        ImagesCommand::Undo { reference } => ("undo_image", json!({ "reference": reference })),
        ImagesCommand::Remove { reference } => ("remove_image", json!({ "reference": reference })),
    };
    let document = client.call_value(cmd, payload).await?;
    let all: Images = super::read(&document)?;
    screen.document(&document);
    if let Some(error) = &all.error {
        return Err(ApiError::new(Code::Engine, error.clone(), ""));
    }
    let rows: Vec<Vec<String>> = all
        .images
        .iter()
        .map(|i| {
            vec![
                i.reference.clone(),
                i.version.clone().unwrap_or_default(),
                i.digest.as_deref().map(|d| d.chars().take(19).collect()).unwrap_or_default(),
                i.size_bytes.map(|b| format!("{:.1} GB", b as f64 / 1e9)).unwrap_or_default(),
                if i.used_by.is_empty() { "unused".to_owned() } else { i.used_by.join(", ") },
                if i.newer.is_some() { "newer available".to_owned() } else { String::new() },
                i.detail.clone().unwrap_or_default(),
            ]
        })
        .collect();
    screen.piece(&table(&rows, &[3]));
    if let Some(free) = all.free_bytes {
        screen.say(&format!("{:.1} GB free where images are kept.", free as f64 / 1e9));
    }
    Ok(Answer::Yes)
}
