//! Which agent a name means.

use domain::AgentState;

use crate::Model;

/// The agent that `wanted` names, as an index into `models` (which are in the order of the stack file).
///
/// 1. An agent's name wins, whatever its state: who names Odin means Odin.
/// 2. A model's id goes to an agent of that model that is ready, else to a busy one,
/// 3. else to the first in the stack file, which is then the one to be woken.
pub fn route(models: &[Model], wanted: &str) -> Option<usize> {
    if let Some(named) = models.iter().position(|m| m.id.as_str() == wanted) {
        return Some(named);
    }
    let of_model = |state: Option<AgentState>| {
        models.iter().position(|m| m.model == wanted && state.is_none_or(|state| m.state == state))
    };
    of_model(Some(AgentState::Ready)).or_else(|| of_model(Some(AgentState::Busy))).or_else(|| of_model(None))
}

#[cfg(test)]
mod tests {
    use domain::AgentName;

    use super::*;
    use AgentState::{Asleep, Busy, Draining, Failed, Loading, Ready};

    fn check(agents: &[(&str, &str, AgentState)], wanted: &str, expected: Option<&str>) {
        let models: Vec<Model> = agents
            .iter()
            .map(|&(id, model, state)| Model {
                id: AgentName::new(id).unwrap(),
                model: model.to_owned(),
                state,
                max_model_len: 32768,
            })
            .collect();
        let got = route(&models, wanted).map(|i| models[i].id.as_str());
        assert_eq!(got, expected, "{wanted:?} among {agents:?}");
    }

    #[test]
    fn a_name_or_a_model_finds_its_agent() {
        let two = |thor, frigga| {
            [("thor", "Qwen/14B", thor), ("odin", "llama/70b", Asleep), ("frigga", "Qwen/14B", frigga)]
        };
        check(&two(Ready, Asleep), "thor", Some("thor"));
        check(&two(Ready, Asleep), "odin", Some("odin"));
        check(&two(Ready, Asleep), "llama/70b", Some("odin"));
        check(&two(Ready, Asleep), "Qwen/14B", Some("thor"));
        check(&two(Asleep, Ready), "Qwen/14B", Some("frigga"));
        check(&two(Asleep, Ready), "thor", Some("thor"));
        check(&two(Busy, Ready), "Qwen/14B", Some("frigga"));
        check(&two(Loading, Busy), "Qwen/14B", Some("frigga"));
        check(&two(Ready, Ready), "Qwen/14B", Some("thor"));
        check(&two(Failed, Draining), "Qwen/14B", Some("thor"));
        check(&two(Asleep, Asleep), "Qwen/14B", Some("thor"));
        check(&two(Ready, Ready), "Thor", None);
        check(&two(Ready, Ready), "", None);
        check(&two(Ready, Ready), "gpt-4", None);
        check(&[], "thor", None);
    }

    #[test]
    fn a_name_wins_over_a_model_of_the_same_name() {
        check(&[("a", "b", Ready), ("b", "c", Asleep)], "b", Some("b"));
    }
}
