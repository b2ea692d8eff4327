//! `asgard models list`.

use std::fmt::Write as _;

use api::ApiError;
use api::shapes::installed::{InstalledModel, InstalledModels};
use serde_json::json;

use super::text::{size, tame, tokens};
use crate::Answer;
use crate::screen::Screen;
use crate::words::{plain, table};

pub(super) async fn run(screen: Screen) -> Result<Answer, ApiError> {
    let document = if let Some(client) = super::controller().await? {
        client.call_value("installed_models", json!({})).await?
    } else {
        let options = super::options()?;
        super::as_document(&super::blocking(move || app::offline_installed(&options)).await?)?
    };
    let all: InstalledModels = crate::commands::read(&document)?;
    screen.document(&document);
    screen.piece(&render(&all));
    Ok(Answer::Yes)
}

pub(super) fn render(all: &InstalledModels) -> String {
    let mut text = String::new();
    if all.models.is_empty() {
        text.push_str("There are no models in the cache. Find one with: asgard models search\n");
    } else {
        let head = ["MODEL", "SIZE", "QUANTIZATION", "CONTEXT", "LICENCE", "USED BY", ""];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(all.models.iter().map(row));
        text.push_str(&table(&rows, &[1, 3]));
    }
    for model in &all.models {
        if let Some(owner) = &model.owner {
            let _ = writeln!(
                text,
                "\n{}: {}\n  {}",
                tame(&model.repo),
                tame(&owner.message),
                tame(&owner.command)
            );
        }
    }
    text.push('\n');
    if let Some(why) = &all.read_only {
        let _ = writeln!(text, "{}", tame(why));
    }
    for note in &all.notes {
        let _ = writeln!(text, "{}", tame(note));
    }
    let free = all.free_bytes.map(|free| format!(", {} free on its disk", size(free))).unwrap_or_default();
    let _ = writeln!(text, "{} in {}{free}.", size(all.held_bytes), tame(&all.path));
    plain(&text)
}

fn row(model: &InstalledModel) -> Vec<String> {
    let users: Vec<String> = model.used_by.iter().map(|u| tame(&u.display_name)).collect();
    // Which commit matters where there are several, or where no branch leads to it.
    let name = if model.revisions.iter().any(|r| r == "main") || model.commit.is_empty() {
        tame(&model.model)
    } else {
        format!("{}@{}", tame(&model.model), model.commit.chars().take(12).collect::<String>())
    };
    let state = match (&model.problem, &model.verified) {
        (Some(problem), _) => tame(problem),
        (None, Some(when)) => format!("verified {}", when.chars().take(10).collect::<String>()),
        (None, None) => String::new(),
    };
    vec![
        name,
        size(model.held_bytes.saturating_add(model.shared_bytes)),
        model.quantization.as_deref().map(tame).unwrap_or_default(),
        model.max_context.map(tokens).unwrap_or_default(),
        model.licence_title.as_deref().map(tame).unwrap_or_default(),
        users.join(", "),
        state,
    ]
}
