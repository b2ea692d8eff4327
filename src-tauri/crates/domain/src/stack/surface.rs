//! What a stack makes this machine run or reach: shown before a stack of somebody else is started for the first time.

use std::path::Path;

use super::{Agent, HubFile, Runs, Stack, hash};
use crate::agent::AgentName;

/// One thing, in the words of the stack file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surface {
    pub agent: AgentName,
    pub kind: SurfaceKind,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SurfaceKind {
    Image,
    /// A program of this machine.
    Command,
    /// A folder of this machine that the agent's server reads.
    Mount,
    Device,
    Argument,
    Variable,
    Endpoint,
}

/// Everything, by agent, in the stack's order.
pub fn surface(stack: &Stack) -> Vec<Surface> {
    stack.agents.iter().filter(|a| a.served_by.is_none()).flat_map(of_agent).collect()
}

fn of_agent(agent: &Agent) -> Vec<Surface> {
    let mut all = Vec::new();
    let mut add = |kind, text: String| all.push(Surface { agent: agent.name.clone(), kind, text });
    match &agent.runs {
        Runs::Container { image, host_ipc } => {
            add(SurfaceKind::Image, image.clone());
            if agent.on_device() {
                add(SurfaceKind::Device, "the GPU: /dev/kfd and /dev/dri, where they exist".to_owned());
            }
            if *host_ipc {
                add(
                    SurfaceKind::Device,
                    "the memory that programs of this machine share (host_ipc)".to_owned(),
                );
            }
        }
        Runs::Process { command } => add(SurfaceKind::Command, line(command)),
        Runs::External { endpoint } | Runs::Ollama { endpoint } => {
            add(SurfaceKind::Endpoint, endpoint.clone());
        }
    }
    for model in std::iter::once(&agent.model).chain(&agent.draft_model) {
        if Path::new(model).is_absolute() && HubFile::parse(model).is_none() && agent.is_ours() {
            let folder = Path::new(model).parent().unwrap_or(Path::new(model));
            add(SurfaceKind::Mount, folder.display().to_string());
        }
    }
    if !agent.args.is_empty() {
        add(SurfaceKind::Argument, line(&agent.args));
    }
    for (name, value) in &agent.env {
        add(SurfaceKind::Variable, format!("{name}={value}"));
    }
    all
}

/// As one line; a part with a space, a quote or a line break in it is quoted, so that no two lists look the same.
fn line(parts: &[String]) -> String {
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\\');
    let shown = |part: &String| {
        if part.is_empty() || part.contains(strange) { format!("{part:?}") } else { part.clone() }
    };
    parts.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// Another surface has another hash.
pub fn surface_hash(surface: &[Surface]) -> String {
    hash::of(&surface)
}
