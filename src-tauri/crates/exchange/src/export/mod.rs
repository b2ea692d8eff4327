//! A stack as a compose file and a `.env`, with the names that strix-opencode's scripts know.

mod compose;
mod variables;

use domain::memory::GIB;
use domain::stack::{Agent, ClaimBasis, Runs, Stack};

use crate::SourceFile;

pub use compose::export_compose;

/// What a share is a share of where the stack names no limit: a Strix Halo with 128 GB.
const USUAL: u64 = 120 * GIB;

/// The files, and what they cannot say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Export {
    pub files: Vec<SourceFile>,
    pub notes: Vec<String>,
}

/// The `.env` alone, as strix-opencode's compose files read it.
pub fn export_env(stack: &Stack) -> Export {
    let mut notes = Vec::new();
    let text = variables::all(stack, &mut notes);
    for agent in &stack.agents {
        notes.extend(left_out(agent).filter(|_| !matches!(agent.runs, Runs::Ollama { .. })));
        if !agent.args.is_empty() || !agent.env.is_empty() {
            notes.push(format!("The args and env of {} have no variable in a .env.", agent.display_name));
        }
    }
    Export { files: vec![SourceFile { name: ".env".to_owned(), text }], notes }
}

/// Why an agent is no service of a compose file.
fn left_out(agent: &Agent) -> Option<String> {
    let name = &agent.display_name;
    if let Some(other) = &agent.served_by {
        return Some(format!(
            "{name} is a role on the server of {other}, which no compose file can say; it is left out."
        ));
    }
    match &agent.runs {
        Runs::Container { .. } => None,
        Runs::Process { .. } => {
            Some(format!("{name} is a process of this machine and no container; it is left out."))
        }
        Runs::External { .. } => Some(format!("{name} is run by somebody else; it is left out.")),
        Runs::Ollama { .. } => {
            Some(format!("{name} is a model of Ollama: fetch it there with `ollama pull {}`.", agent.model))
        }
    }
}

/// The share that vLLM is told: down to a hundredth, within what it can start with.
fn share(agent: &Agent, stack: &Stack) -> String {
    let whole = stack.memory.limit.map_or(USUAL, |l| l.0).max(1);
    let share = match agent.claim {
        ClaimBasis::Share(share) => return format!("{share}"),
        _ => {
            agent.claim_in(domain::Bytes(whole)).0 as f64
                / f64::from(agent.tensor_parallel.max(1))
                / whole as f64
        }
    };
    format!("{:.2}", ((share * 100.0 + 1e-9).floor() / 100.0).clamp(0.05, 0.9))
}
