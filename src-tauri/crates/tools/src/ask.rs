//! What a person asked for: which primary, which key.

use std::path::PathBuf;

use domain::agent::AgentName;
use domain::stack::Stack;

/// What stands for a key where the gateway asks for none. Not a secret: tools refuse to go without one.
pub const NO_KEY: &str = "asgard";

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Primary {
    Agent(AgentName),
    /// A model of a provider that the tool itself knows.
    Cloud {
        provider: String,
        model: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask {
    /// None leaves what is there.
    pub primary: Option<Primary>,
    /// The file that holds the gateway's key, for this tool alone. None: the gateway asks for none, or what is there
    /// stays.
    pub key_file: Option<PathBuf>,
}

/// Both sentences.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPrimary {
    #[error("There is no agent {name:?} in the stack. Choose one of: {there}; or cloud:PROVIDER/MODEL.")]
    Unknown { name: String, there: String },
    #[error(
        "{0:?} names no cloud model. Write it as cloud:PROVIDER/MODEL, for example cloud:anthropic/claude-sonnet-4-5."
    )]
    Cloud(String),
}

impl Primary {
    /// "thor", or "cloud:PROVIDER/MODEL".
    ///
    /// # Errors
    /// An agent that is not in the stack; a cloud model that is not spelled as one.
    pub fn read(text: &str, stack: &Stack) -> Result<Self, BadPrimary> {
        let Some(cloud) = text.strip_prefix("cloud:") else {
            return stack.agents.iter().find(|a| a.name.as_str() == text).map_or_else(
                || {
                    let there: Vec<&str> = stack.agents.iter().map(|a| a.name.as_str()).collect();
                    Err(BadPrimary::Unknown { name: text.to_owned(), there: there.join(", ") })
                },
                |a| Ok(Self::Agent(a.name.clone())),
            );
        };
        let bad = || BadPrimary::Cloud(text.to_owned());
        let (provider, model) = cloud.split_once('/').ok_or_else(bad)?;
        let plain = |part: &str, more: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c) || more.contains(c))
        };
        // Braces would be read as a reference to a variable or a file.
        if plain(provider, "") && plain(model, "/:@+") && provider != "asgard" {
            Ok(Self::Cloud { provider: provider.to_owned(), model: model.to_owned() })
        } else {
            Err(bad())
        }
    }

    /// As OpenCode spells a model.
    pub fn model(&self) -> String {
        match self {
            Self::Agent(name) => format!("asgard/{name}"),
            Self::Cloud { provider, model } => format!("{provider}/{model}"),
        }
    }
}
