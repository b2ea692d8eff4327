//! The stack as it would be with a choice, and what that comes to. Nothing is written here.

use std::path::Path;

use api::shapes::assign::{AssignRequest, KvChoice};
use api::shapes::plans::PlanPool;
use api::shapes::settings::StackProblem;
use api::shapes::stacks::ProfileForm;
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::estimate::{self, Estimate, Request, Sureness};
use domain::memory::Bytes;
use domain::plan::{Goal, Plan, Situation, plan};
use domain::pool::PoolKind;
use domain::stack::{Agent, BackendKind, ClaimBasis, Profile, Stack, agent_hash};
use store::stack_file::{self, Surroundings, edit};

use super::choice::{self, Choice, Question};
use super::known::Known;
use crate::state::State;
use crate::{editing, stacks, view, what_if};

/// Contexts that are tried for the longest that fits.
const STEP: u32 = 1024;

/// What a trial is made on.
pub(super) struct Ground<'a> {
    pub(super) state: &'a State,
    pub(super) file: &'a Path,
    pub(super) scale: u64,
    pub(super) around: &'a dyn Surroundings,
    /// Whether nothing on this machine listens on a port.
    pub(super) free: &'a dyn Fn(u16) -> bool,
}

/// A choice, tried.
pub(super) struct Trial {
    pub(super) choice: Choice,
    pub(super) known: Known,
    /// The text with it, and what of it does not hold.
    pub(super) text: Result<String, StackProblem>,
    pub(super) stack: Option<Stack>,
    pub(super) problems: Vec<StackProblem>,
    pub(super) notes: Vec<String>,
    /// The estimate by the model's own facts.
    estimate: Option<Estimate>,
}

/// # Errors
/// A hash of another text, and an agent that cannot be given a model.
pub(super) fn trial(ground: &Ground<'_>, asked: &AssignRequest) -> Result<Trial, ApiError> {
    let state = ground.state;
    if store::identity::hash(state.source.text.as_bytes()) != asked.hash {
        return Err(ApiError::new(
            Code::Busy,
            "The stack file was changed by somebody else meanwhile.",
            "Load it again; what was chosen here is not lost.",
        ));
    }
    let written =
        edit::written(&state.source.text).map_err(|e| ApiError::new(Code::Stack, e.message, e.next))?;
    let known = Known::of(ground.around, asked.model.trim(), asked.revision.as_deref(), ground.scale);
    let choice = choice::choose(&Question {
        asked,
        stack: &state.file_stack,
        written: &written.agents,
        known: &known,
        scale: ground.scale,
        no_gpu: !state.pools.is_empty()
            && state.pools.iter().all(|p| p.kind == PoolKind::Ram && p.device_cap.is_none()),
        port: editing::next_port(&state.file_stack, ground.free),
    })?;
    let edits = edits(asked, &choice, &written);
    let text = edit::edit(&state.source.text, &edits).map_err(|e| StackProblem {
        file: ground.file.display().to_string(),
        line: None,
        message: e.message,
        next: e.next,
    });
    let (stack, problems) = match &text {
        Err(problem) => (None, vec![problem.clone()]),
        Ok(text) => match stack_file::check_on(ground.file, text, ground.scale, ground.around) {
            Ok(stack) => (Some(stack), Vec::new()),
            Err(found) => (None, found.iter().map(stacks::problem).map(|p| clearer(p, &known)).collect()),
        },
    };
    let mut notes = choice.notes.clone();
    if let Some(stack) = &stack {
        // What was said of the stack before is no news.
        let before: Vec<&str> = state.file_stack.notes.iter().map(|n| n.message.as_str()).collect();
        notes.extend(stack.notes.iter().map(|n| n.message.clone()).filter(|n| !before.contains(&n.as_str())));
    }
    let estimate = known.facts.as_ref().and_then(|f| estimate::estimate(f, &choice.request).ok());
    if let Some(estimate) = &estimate {
        notes.extend(estimate.notes.iter().cloned());
    }
    Ok(Trial { choice, known, text, stack, problems, notes, estimate })
}

/// A size that is not known is nothing that a person wants to look up.
fn clearer(problem: StackProblem, known: &Known) -> StackProblem {
    if known.weights().is_none() && problem.message.starts_with("How large the weights of") {
        return StackProblem {
            message: format!("{} is not here, and how large it is is not known.", known.model),
            next: "Download it first; then it can be given to an agent.".to_owned(),
            ..problem
        };
    }
    problem
}

fn edits(asked: &AssignRequest, choice: &Choice, written: &edit::Written) -> Vec<edit::Edit> {
    let agent = asked.agent.clone();
    let keys = choice.keys.clone();
    if asked.new.is_some() {
        let profiles = asked.profiles.clone().unwrap_or_default();
        return vec![edit::Edit::AddAgent { agent, keys, profiles }];
    }
    let mut edits = Vec::new();
    if !keys.is_empty() {
        edits.push(edit::Edit::ChangeAgent { agent: agent.clone(), keys });
    }
    let now: Vec<&String> =
        written.profiles.iter().filter(|(_, held)| held.contains(&agent)).map(|(name, _)| name).collect();
    if let Some(wanted) = &asked.profiles {
        let same = now.len() == wanted.len() && now.iter().all(|p| wanted.contains(p));
        if !same {
            edits.push(edit::Edit::AgentProfiles { agent, profiles: wanted.clone() });
        }
    }
    edits
}

impl Trial {
    /// The agent as it would be.
    pub(super) fn agent(&self, asked: &AssignRequest) -> Option<&Agent> {
        self.stack.as_ref()?.agents.iter().find(|a| a.name.as_str() == asked.agent)
    }

    /// Weights, KV cache and overhead: as the stack would count them; by the estimate where it does not hold.
    pub(super) fn parts(&self, asked: &AssignRequest, scale: u64) -> (Bytes, Bytes, Bytes) {
        match self.agent(asked).map(|a| a.claim) {
            Some(ClaimBasis::KvCache { weights, kv_cache, overhead }) => (weights, kv_cache, overhead),
            Some(ClaimBasis::Memory(_) | ClaimBasis::Share(_)) | None => {
                let here = |b: Bytes| Bytes(b.0 / self.known.shrunk);
                let Some(e) = &self.estimate else { return Default::default() };
                let kv = asked.kv_cache_bytes.map_or_else(|| here(e.kv + e.state), Bytes);
                (here(e.weights), kv, Bytes(e.overhead.0 / scale.max(1)))
            }
        }
    }

    pub(super) fn per_token(&self, asked: &AssignRequest) -> Option<u64> {
        let of_agent = self.agent(asked).and_then(|a| a.kv_bytes_per_token);
        of_agent.or_else(|| {
            self.estimate.as_ref().map(|e| e.kv_bytes_per_token / self.known.shrunk).filter(|n| *n > 0)
        })
    }

    /// Of weights and cache: the overhead is always computed, and learned from starts.
    pub(super) fn certainty(&self) -> &'static str {
        match self.estimate.as_ref().map(|e| e.certainty.weights.max(e.certainty.kv)) {
            Some(Sureness::Exact) => "exact",
            Some(Sureness::Computed) => "computed",
            Some(Sureness::Bound) => "bound",
            Some(Sureness::Unknown) | None => "unknown",
        }
    }

    /// It runs, and with other settings than it would have.
    pub(super) fn restart(&self, state: &State, asked: &AssignRequest) -> bool {
        let Some(agent) = self.agent(asked) else { return false };
        let live = state.agents.get(&agent.name).and_then(|l| l.instance.as_ref());
        live.is_some_and(|i| !i.revision.is_empty() && i.revision != agent_hash(agent))
    }
}

/// The situation as if the agent slept: with another choice it would start anew.
pub(super) fn situation(state: &State, agent: &str) -> Situation {
    let mut situation = state.situation();
    what_if::without(&mut situation, agent);
    situation
}

/// What becomes of `agent` beside a profile's agents, or with nobody else awake.
///
/// # Errors
/// Why that cannot be planned, in a sentence: a rule forbids it, the memory is not known.
pub(super) fn beside(
    stack: &Stack,
    situation: &Situation,
    agent: &AgentName,
    profile: Option<&str>,
) -> Result<Plan, String> {
    let mut members = match profile {
        None => Vec::new(),
        Some(name) => {
            let profile = stack.profile(name).ok_or_else(|| format!("There is no profile {name:?}."))?;
            profile.agents.clone()
        }
    };
    if !members.contains(agent) {
        if let Some(other) = members.iter().find(|m| stack.conflict(m, agent)) {
            return Err(format!(
                "A rule forbids {} and {} awake together.",
                stack.agent(other).map_or_else(|| other.proper(), |a| a.display_name.clone()),
                stack.agent(agent).map_or_else(|| agent.proper(), |a| a.display_name.clone()),
            ));
        }
        members.push(agent.clone());
    }
    let name = profile.unwrap_or("alone").to_owned();
    let mut with = stack.clone();
    with.profiles = vec![Profile { name: name.clone(), agents: members }];
    plan(&with, situation, &Goal::Profile(name)).map_err(|e| e.to_string())
}

/// The check against every profile: as it is where the agent is in it, else beside its agents.
pub(super) fn profiles(stack: &Stack, situation: &Situation, agent: &AgentName) -> Vec<ProfileForm> {
    stack
        .profiles
        .iter()
        .map(|p| {
            let (fits, reason) = match beside(stack, situation, agent, Some(&p.name)) {
                Ok(plan) if plan.fits => (Some(true), plan.reason),
                Ok(plan) => (Some(false), plan.brief()),
                Err(reason) => (Some(false), reason),
            };
            ProfileForm {
                name: p.name.clone(),
                agents: p.agents.iter().map(ToString::to_string).collect(),
                fits,
                reason,
            }
        })
        .collect()
}

/// The pools of a plan, as a face draws them.
pub(super) fn pools(plan: &Plan, hash: &str) -> Vec<PlanPool> {
    view::plan_shape(plan, hash).pools
}

/// The longest context, in steps, of which all sequences fit beside `profile`. None where not even the shortest does, or where
/// nothing is known of the model.
pub(super) fn longest(
    trial: &Trial,
    situation: &Situation,
    agent: &AgentName,
    profile: Option<&str>,
    scale: u64,
) -> Option<u32> {
    let stack = trial.stack.as_ref()?;
    let facts = trial.known.facts.as_ref()?;
    let most = facts.max_context?;
    let Some(ClaimBasis::KvCache { weights, overhead, .. }) = stack.agent(agent).map(|a| a.claim) else {
        return None;
    };
    let here = trial.estimate.as_ref()?.overhead;
    let fits = |context: u32| {
        let request = Request { context: Some(context), ..trial.choice.request.clone() };
        let (Some(kv), Ok(made)) =
            (choice::needed(&trial.known, &request), estimate::estimate(facts, &request))
        else {
            return false;
        };
        // What it takes besides grows with the context in some servers.
        let more = Bytes(made.overhead.saturating_sub(here).0 / scale.max(1));
        let less = Bytes(here.saturating_sub(made.overhead).0 / scale.max(1));
        let claim =
            ClaimBasis::KvCache { weights, kv_cache: kv, overhead: (overhead + more).saturating_sub(less) };
        let mut with = stack.clone();
        if let Some(own) = with.agents.iter_mut().find(|a| a.name == *agent) {
            own.claim = claim;
            // Learned with another cache.
            own.learned = None;
        }
        beside(&with, situation, agent, profile).is_ok_and(|p| p.fits)
    };
    if fits(most) {
        return Some(most);
    }
    let (mut fit, mut above) = (0, most.div_ceil(STEP));
    while above - fit > 1 {
        let middle = fit + (above - fit) / 2;
        if fits(middle.saturating_mul(STEP)) { fit = middle } else { above = middle }
    }
    (fit > 0).then(|| fit.saturating_mul(STEP))
}

/// KV types that a server takes, each with what is known of it on this GPU.
pub(super) fn kv_choices(trial: &Trial, agent: Option<&Agent>) -> Vec<KvChoice> {
    let types: &[(&str, &str)] = match trial.choice.backend {
        BackendKind::LlamaCpp => &[
            ("auto", "16 bit"),
            ("q8_0", "8 bit (Q8_0)"),
            ("q5_1", "5 bit (Q5_1)"),
            ("q4_0", "4 bit (Q4_0)"),
        ],
        _ => &[("auto", "16 bit"), ("fp8", "8 bit (FP8)")],
    };
    let chosen = trial.choice.kv_dtype.as_str();
    let mut choices: Vec<(&str, &str)> = types.to_vec();
    if !types.iter().any(|(name, _)| *name == chosen) {
        // What stands in the file by hand is one of them as well.
        choices.push((chosen, chosen));
    }
    choices
        .into_iter()
        .map(|(name, title)| KvChoice {
            name: name.to_owned(),
            title: title.to_owned(),
            warning: agent.and_then(|a| kv_warning(trial, a, name)),
        })
        .collect()
}

fn kv_warning(trial: &Trial, agent: &Agent, kv_dtype: &str) -> Option<String> {
    let gpu = trial.stack.as_ref().and_then(|s| s.gpu);
    let plain = Agent { kv_dtype: None, ..agent.clone() };
    let with = Agent { kv_dtype: Some(kv_dtype.to_owned()), ..agent.clone() };
    let before = domain::matrix::concerns(gpu, &plain);
    let more: Vec<String> = domain::matrix::concerns(gpu, &with)
        .into_iter()
        .filter(|c| !before.contains(c))
        .map(|c| c.sentence)
        .collect();
    (!more.is_empty()).then(|| more.join(" "))
}
