//! `asgard plan` with nothing running: the stack file, the machine as it is (or as it was recorded), and the plan.

use std::path::PathBuf;

use api::shapes::plans::{Plan as PlanShape, PlanChange};
use api::{ApiError, Code};
use domain::agent::{AgentName, AgentState};
use domain::memory::Bytes;
use domain::plan::{Goal, Running, Situation, claims, plan};
use domain::pool::{Held, PoolReading, Share, Shares};
use domain::stack::Stack;
use serde_json::Value;

use crate::here::Here;
use crate::run_loop::plan_error;
use crate::start::Options;
use crate::{view, what_if};

/// From what the plan starts.
#[derive(Debug, Clone)]
pub enum FromState {
    /// This profile's agents awake and idle.
    Profile(String),
    /// A document as `asgard status --json` prints it.
    Json(Value),
}

#[derive(Debug, Clone)]
pub struct OfflinePlan {
    pub profile: String,
    pub from: Option<FromState>,
    pub stack_file: Option<PathBuf>,
    /// As if this were written in the stack file already.
    pub change: Option<PlanChange>,
}

/// # Errors
/// A stack that does not hold (every problem in the message), an unknown profile, a capacity that is not known.
pub fn offline_plan(options: &Options, ask: &OfflinePlan) -> Result<PlanShape, ApiError> {
    // A recorded machine is a real one: its stack is the user's or the shipped one, never the rehearsal's.
    let rehearsal =
        ask.stack_file.is_none() && options.var("ASGARD_SYSROOT").is_none() && options.decide_rehearsal();
    let paths = if rehearsal {
        options.paths_in_force().map_err(|e| ApiError::new(Code::Failed, e.to_string(), ""))?
    } else {
        options.paths.clone()
    };
    let file = ask.stack_file.clone().unwrap_or_else(|| paths.stack_file());
    if let Some(asked) = ask.stack_file.as_ref().filter(|f| !f.exists()) {
        return Err(ApiError::new(
            Code::Usage,
            format!("There is no file {}.", asked.display()),
            "Check the path.",
        ));
    }
    let scale = if rehearsal { options.scale() } else { 1 };
    let here = Here::of(options);
    let loaded = store::stack_file::load_on(&file, scale, &here);
    let hash = loaded.hash.clone();
    let text = loaded.text.clone();
    let stack = loaded.stack.map_err(|problems| {
        let message: Vec<String> = problems
            .iter()
            .map(|p| match p.line {
                Some(line) => format!("{}:{line}: {} {}", p.file.display(), p.message, p.next),
                None => format!("{}: {} {}", p.file.display(), p.message, p.next),
            })
            .collect();
        ApiError::new(Code::Stack, message.join("\n"), "Correct the file, then try again.")
    })?;
    let pools = if rehearsal {
        let other = rehearsal::machine::other_from(options.var("ASGARD_REHEARSAL_OTHER_MB"));
        vec![rehearsal::machine::reading(&[], other)]
    } else {
        options.machine().pools()
    };
    let mut situation = read_situation(&stack, pools, ask.from.as_ref())?;
    let goal = Goal::Profile(ask.profile.clone());
    let Some(change) = &ask.change else {
        let plan = plan(&stack, &situation, &goal).map_err(|e| plan_error(&e))?;
        return Ok(view::plan_shape(&plan, &hash));
    };
    let source = what_if::Source { path: &file, text: &text, scale, here: &here };
    let (stack, changed) = what_if::changed(&source, &stack, &situation.pools, change)?;
    what_if::without(&mut situation, &changed.agent);
    let plan = plan(&stack, &situation, &goal).map_err(|e| plan_error(&e))?;
    Ok(PlanShape { changed: Some(changed), ..view::plan_shape(&plan, &hash) })
}

/// The user's stack (or the shipped one) on this machine or the recorded one, with nobody awake; `None` where the stack
/// does not hold.
pub(crate) fn ground(options: &Options) -> Option<(Stack, Situation)> {
    let machine = options.machine();
    let loaded = store::stack_file::load_on(&options.paths.stack_file(), 1, &Here::of(options));
    let situation = Situation { pools: machine.pools(), ..Situation::default() };
    Some((loaded.stack.ok()?, situation))
}

/// The situation that `from` describes, on pools read now or recorded in it.
///
/// # Errors
/// A profile that is not in the stack, or a document that is none.
fn read_situation(
    stack: &Stack,
    pools: Vec<PoolReading>,
    from: Option<&FromState>,
) -> Result<Situation, ApiError> {
    let mut situation = Situation { pools, ..Situation::default() };
    match from {
        None => {}
        Some(FromState::Profile(name)) => {
            let profile = stack
                .profile(name)
                .ok_or_else(|| plan_error(&domain::plan::PlanError::UnknownProfile(name.clone())))?;
            // What a profile holds is added to what is used now: nothing of it runs yet.
            let agents: Vec<AgentName> = profile.agents.clone();
            situation.profile = Some(name.clone());
            for agent in &agents {
                awake(stack, &mut situation, agent, AgentState::Ready, 0);
            }
            add_to_used(&mut situation);
        }
        Some(FromState::Json(document)) => {
            let agents = document["agents"].as_array().ok_or_else(|| {
                ApiError::new(
                    Code::Usage,
                    "The --from file has no list of agents.",
                    "Give a document as `asgard status --json` prints it.",
                )
            })?;
            situation.profile = document["profile"].as_str().map(ToOwned::to_owned);
            let recorded = recorded_pools(document);
            let machine_is_recorded = recorded.is_some();
            situation.pools = recorded.unwrap_or(situation.pools);
            for entry in agents {
                let Some(name) = entry["name"].as_str().and_then(|n| AgentName::new(n).ok()) else {
                    continue;
                };
                let word = entry["state"].as_str().unwrap_or("asleep");
                let Some(state) = AgentState::ALL.into_iter().find(|s| s.word() == word) else { continue };
                if !state.holds_memory() {
                    continue;
                }
                let count = |k: &str| entry[k].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
                awake(stack, &mut situation, &name, state, count("running").saturating_add(count("waiting")));
            }
            if !machine_is_recorded {
                add_to_used(&mut situation);
            }
        }
    }
    Ok(situation)
}

/// What the agents hold is added to what the machine says: nothing of them runs on it.
fn add_to_used(situation: &mut Situation) {
    for pool in &mut situation.pools {
        let held: Vec<Share> =
            situation.running.iter().filter_map(|r| r.held.reserved.get(&pool.id).copied()).collect();
        pool.used += held.iter().map(|s| s.total()).sum();
        pool.device_used = pool.device_used.map(|d| d + held.iter().map(|s| s.device).sum());
    }
}

fn awake(stack: &Stack, situation: &mut Situation, name: &AgentName, state: AgentState, in_use: u32) {
    // A role is where its server is, and its requests are its server's.
    let name = stack.server_of(name);
    if let Some(known) = situation.running.iter_mut().find(|r| &r.agent == name) {
        known.in_use = known.in_use.saturating_add(in_use);
        return;
    }
    let Some(agent) = stack.agent(name) else { return };
    let reserved: Shares = claims(agent, &situation.pools);
    situation.running.push(Running {
        agent: name.clone(),
        state,
        held: Held { agent: name.clone(), reserved, measured: None },
        in_use,
    });
}

/// The pools that a status document carries, where it carries any with a capacity.
fn recorded_pools(document: &Value) -> Option<Vec<PoolReading>> {
    let pools: Vec<PoolReading> = document["pools"]
        .as_array()?
        .iter()
        .filter_map(|p| {
            let kind = serde_json::from_value(p["kind"].clone()).ok()?;
            let bytes = |k: &str| p[k].as_u64().map(Bytes);
            Some(PoolReading {
                id: domain::pool::PoolId::new(p["id"].as_str()?),
                name: p["name"].as_str().unwrap_or("Memory").to_owned(),
                kind,
                capacity: bytes("capacity_bytes"),
                device_cap: bytes("device_cap_bytes"),
                used: bytes("used_bytes")?,
                device_used: bytes("device_used_bytes"),
            })
        })
        .collect();
    (!pools.is_empty()).then_some(pools)
}
