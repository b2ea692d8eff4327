//! oh-my-opencode, also named oh-my-openagent: which of its agents is who, and how much each may write.

use domain::agent::AgentName;

use crate::ask::{Ask, Primary};
use crate::household::Household;
use crate::jsonc::{Document, DocumentError, Json};
use crate::opencode::Edited;

/// Its agents, who plays them, and the most tokens that each was meant to write.
const AGENTS: [(&str, Plays, u32); 10] = [
    ("sisyphus", Plays::Primary, 32_768),
    ("hephaestus", Plays::Coder, 24_576),
    ("sisyphus-junior", Plays::Coder, 24_576),
    ("oracle", Plays::Reviewer, 16_384),
    ("prometheus", Plays::Reviewer, 16_384),
    ("metis", Plays::Writer, 16_384),
    ("momus", Plays::Writer, 16_384),
    ("librarian", Plays::Small, 4096),
    ("explore", Plays::Small, 4096),
    ("atlas", Plays::Small, 4096),
];

#[derive(Debug, Clone, Copy)]
enum Plays {
    Primary,
    Coder,
    Reviewer,
    /// Frigga where she is.
    Writer,
    Small,
}

impl Plays {
    fn who<'a>(self, household: &'a Household) -> &'a AgentName {
        let found = match self {
            Self::Primary => None,
            Self::Coder => household.part("coder"),
            Self::Reviewer => household.part("reviewer"),
            Self::Writer => household.part("frigga"),
            Self::Small => household.part("utility").or(Some(&household.small)),
        };
        found.unwrap_or_else(|| household.primary())
    }
}

/// `before`: the file as it is, none where there is none.
///
/// # Errors
/// A file that cannot be edited without a guess.
pub fn oh_my_opencode(
    household: &Household,
    ask: &Ask,
    before: Option<&str>,
) -> Result<Edited, DocumentError> {
    let mut document = Document::read(before.unwrap_or_default())?;
    let there = document.value()?;
    let mut notes = vec!["It uses the provider that asgard export opencode writes.".to_owned()];
    let mut members = Vec::new();
    for (name, plays, most) in AGENTS {
        let now = there.get("agents").and_then(|a| a.get(name));
        let model_now = now.and_then(|n| n.get("model")).and_then(Json::as_text);
        let mut agent = plays.who(household).clone();
        if name == "sisyphus" {
            match &ask.primary {
                Some(cloud @ Primary::Cloud { .. }) => {
                    members
                        .push((name.to_owned(), Json::object([("model", Some(Json::text(cloud.model())))])));
                    // The cap was for an agent of ours.
                    document.remove(&["agents", name, "maxTokens"])?;
                    continue;
                }
                Some(Primary::Agent(chosen)) => agent = chosen.clone(),
                None => {
                    // Who leads was chosen once, and stays.
                    let chosen = model_now
                        .and_then(|m| m.strip_prefix("asgard/"))
                        .and_then(|m| AgentName::new(m).ok());
                    if let Some(chosen) = chosen.filter(|c| household.agent(c).is_some()) {
                        agent = chosen;
                    }
                }
            }
        }
        let asked = name == "sisyphus" && ask.primary.is_some();
        if let Some(model) = model_now.filter(|m| !m.starts_with("asgard/") && !asked) {
            notes.push(format!("agents.{name} uses {model} and stays as it is."));
            continue;
        }
        let Some(agent) = household.agent(&agent) else { continue };
        let bound = household.output(agent).min(agent.context / 2);
        let tokens_now = now.and_then(|n| n.get("maxTokens")).and_then(Json::as_number);
        // Less than what would fit is somebody's choice; more would leave no room for the question.
        let tokens = match tokens_now {
            Some(tokens) if tokens <= u64::from(bound) => tokens,
            _ => u64::from(most.min(bound)),
        };
        members.push((
            name.to_owned(),
            Json::object([
                ("model", Some(Json::text(format!("asgard/{}", agent.name)))),
                ("maxTokens", Some(Json::number(tokens))),
            ]),
        ));
    }
    document.merge(&Json::object([("agents", Some(Json::Object(members)))]))?;
    Ok(Edited { text: document.text(), notes })
}
