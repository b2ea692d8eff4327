//! The state as the faces see it: from domain types to the shapes, once, here.

use api::shapes::plans as shape;
use api::shapes::status::{
    AgentStatus, ClaimParts, EngineStatus, Footprint, GatewayStatus, Learned, Notice, Pool, PoolAgent,
    Severity, StackName, Status, Suggestion, Switching, Yielded,
};
use domain::advice;
use domain::agent::{AgentName, AgentState, Stage};
use domain::footprint;
use domain::memory::{Bytes, Unit};
use domain::plan::{Action, Goal, Plan, PlannedAgent, claims, declared_claims, ledgers, plan};
use domain::pool::{Ledger, PoolKind, PoolReading, Shares};
use domain::stack::{Agent, ClaimBasis, Profile};
use jiff::Timestamp;
use serde_json::json;

use crate::state::{AgentLive, Operation, State};

pub(crate) fn status(state: &State, now: Timestamp) -> Status {
    Status {
        revision: state.revision,
        profile: state.profile.clone(),
        profile_matches: state.profile_matches(),
        switching: state.operation.as_ref().map(|o| switching(state, o, now)),
        rehearsal: state.rehearsal,
        engines: state
            .engines
            .iter()
            .map(|e| EngineStatus {
                id: e.id.clone(),
                kind: e.kind.clone(),
                version: e.version.clone(),
                reachable: e.error.is_none(),
                error: e.error.clone(),
            })
            .collect(),
        gateway: GatewayStatus {
            address: state.gateway.clone(),
            paused: state.paused,
            error: state.gateway_error.clone(),
        },
        pools: pools(state),
        agents: state
            .stack
            .agents
            .iter()
            .filter_map(|a| Some(agent(state, a, state.live(&a.name)?, now)))
            .collect(),
        notices: notices(state),
        unconfirmed: state.unconfirmed.is_some(),
        open_neighbours: crate::neighbour_view::open(state),
        stack: StackName {
            name: state.stack.name.clone(),
            saved: state.source.saved,
            hash: state.stack_hash.clone(),
        },
        since: state.started.to_string(),
        yielded: state.yielded.as_ref().map(|y| Yielded {
            until: y.until.map(|t| t.to_string()),
            agents: y.agents.iter().map(ToString::to_string).collect(),
        }),
    }
}

fn notices(state: &State) -> Vec<Notice> {
    let mut all: Vec<Notice> = state
        .source
        .problems
        .iter()
        .map(|p| Notice {
            severity: Severity::Failure,
            message: match p.line {
                Some(line) => format!("{}:{line}: {}", p.file, p.message),
                None => format!("{}: {}", p.file, p.message),
            },
            next: format!("{} Until then the last good stack is in force.", p.next),
        })
        .collect();
    all.extend(state.notices.values().cloned());
    if let Some(error) = &state.gateway_error {
        all.push(Notice {
            severity: Severity::Failure,
            message: error.message.clone(),
            next: error.next.clone(),
        });
    }
    // A rehearsal plays without an engine, and a process agent needs none.
    let needs_engine = !state.rehearsal && state.stack.agents.iter().any(Agent::runs_in_container);
    if needs_engine {
        for error in state.engines.iter().filter_map(|e| e.error.as_ref()) {
            all.push(Notice {
                severity: Severity::Failure,
                message: error.message.clone(),
                next: error.next.clone(),
            });
        }
    }
    all
}

fn kind_word(kind: PoolKind) -> &'static str {
    match kind {
        PoolKind::Unified => "unified",
        PoolKind::Vram => "vram",
        PoolKind::Ram => "ram",
    }
}

pub(crate) fn pools(state: &State) -> Vec<Pool> {
    match ledgers(&state.stack, &state.situation()) {
        Ok(ledgers) => ledgers.iter().map(|l| pool(state, l)).collect(),
        // What could not be detected is shown as what it is.
        Err(_) => state.pools.iter().map(|p| pool_unknown(state, p)).collect(),
    }
}

fn pool_unknown(state: &State, p: &PoolReading) -> Pool {
    Pool {
        id: p.id.0.clone(),
        name: p.name.clone(),
        kind: kind_word(p.kind).to_owned(),
        capacity_bytes: p.capacity.map(|b| b.0),
        limit_bytes: None,
        device_cap_bytes: p.device_cap.map(|b| b.0),
        used_bytes: p.used.0,
        device_used_bytes: p.device_used.map(|b| b.0),
        other_bytes: p.used.0,
        lost_bytes: 0,
        available_bytes: 0,
        agents: Vec::new(),
        doubt: state.doubts.get(&p.id).cloned(),
    }
}

fn pool(state: &State, l: &Ledger) -> Pool {
    let agents = l
        .held
        .iter()
        .map(|(name, share)| {
            let reserved = state.reserved(name).get(&l.id).copied().unwrap_or_default();
            let known = state.agents.get(name).and_then(|a| a.measured.as_ref());
            let measured = known.map(|m| m.shares.get(&l.id).copied().unwrap_or_default());
            let parts = state.stack.agent(name).map(|a| parts(a, l.capacity)).unwrap_or_default();
            PoolAgent {
                agent: name.to_string(),
                reserved_bytes: reserved.total().0,
                measured_bytes: measured.map(|m| m.total().0),
                device_bytes: share.device.0,
                host_bytes: share.host.0,
                weights_bytes: parts.weights_bytes,
                kv_bytes: parts.kv_bytes,
                overhead_bytes: parts.overhead_bytes,
                learned: state.learned.get(name).map(|(l, _)| Learned {
                    steady_bytes: l.steady.0,
                    peak_bytes: l.peak.0,
                    starts: l.starts,
                }),
            }
        })
        .collect();
    Pool {
        id: l.id.0.clone(),
        name: l.name.clone(),
        kind: kind_word(l.kind).to_owned(),
        capacity_bytes: Some(l.capacity.0),
        limit_bytes: Some(l.limit.0),
        device_cap_bytes: l.device_cap.map(|b| b.0),
        used_bytes: l.used.0,
        device_used_bytes: l.device_used.map(|b| b.0),
        other_bytes: l.other.0,
        lost_bytes: l.lost.0,
        available_bytes: l.available().0,
        agents,
        doubt: doubt(state, l),
    }
}

/// Figures of a pool, or of an agent in it, that cannot all be right: the machine's first.
fn doubt(state: &State, l: &Ledger) -> Option<String> {
    let of_agents = || {
        state.agents.iter().find_map(|(name, live)| {
            let doubt = live.measured.as_ref()?.doubt.as_ref()?;
            live.measured
                .as_ref()?
                .shares
                .contains_key(&l.id)
                .then(|| format!("{}: {}", name.proper(), doubt.message))
        })
    };
    state.doubts.get(&l.id).cloned().or_else(|| l.doubt().map(|d| d.message)).or_else(of_agents)
}

/// Planned beside measured.
fn learned_of(state: &State, agent: &Agent) -> Option<Footprint> {
    let (learned, drift) = state.learned.get(&agent.name)?;
    let planned = largest(&declared_claims(agent, &state.pools));
    Some(Footprint {
        planned_bytes: planned.0,
        steady_bytes: learned.steady.0,
        peak_bytes: learned.peak.0,
        starts: learned.starts,
        words: footprint::words(planned, learned),
        drift: drift.clone(),
    })
}

fn parts(agent: &Agent, capacity: Bytes) -> ClaimParts {
    match agent.claim {
        ClaimBasis::KvCache { weights, kv_cache, overhead } => {
            ClaimParts { weights_bytes: weights.0, kv_bytes: kv_cache.0, overhead_bytes: overhead.0 }
        }
        ClaimBasis::Memory(_) | ClaimBasis::Share(_) => {
            ClaimParts { weights_bytes: 0, kv_bytes: 0, overhead_bytes: agent.claim_in(capacity).0 }
        }
    }
}

fn agent(state: &State, agent: &Agent, live: &AgentLive, now: Timestamp) -> AgentStatus {
    let claim = claims(agent, &state.pools);
    let capacity = crate::world::main_capacity(&state.pools, &claim);
    let (progress, seconds_left) = start_progress(state, &agent.name, live, now);
    let (start_hint, start_refused) = start_hint(state, agent, live);
    AgentStatus {
        name: agent.name.to_string(),
        display_name: agent.display_name.clone(),
        title: agent.title.clone(),
        state: live.state,
        stage: live.stage,
        progress,
        seconds_left,
        detail: live.detail.clone(),
        engine: live.engine.clone(),
        endpoint: live.instance.as_ref().map(|i| i.endpoint.clone()),
        backend: agent.backend.word().to_owned(),
        model: agent.model.clone(),
        quantization: agent
            .quantization
            .clone()
            .or_else(|| domain::catalog::known_model(&agent.model).map(|m| m.quantization.to_owned())),
        port: agent.port,
        context: agent.context,
        // The server's own count is read every two seconds; a lease is known at once.
        running: live.state.answers().then(|| {
            let own = live.figures.running.unwrap_or(0);
            own.max(state.in_use(&agent.name).saturating_sub(live.figures.waiting.unwrap_or(0)))
        }),
        waiting: live.state.answers().then(|| live.figures.waiting.unwrap_or(0)),
        kv_cache_used: live.figures.kv_cache_used,
        tokens_per_second: live.figures.tokens_per_second,
        prompt_tokens_per_second: live.figures.prompt_tokens_per_second,
        time_to_first_token_seconds: live.figures.time_to_first_token_seconds,
        preemptions: live.figures.preemptions,
        kv_capacity_tokens: live.figures.kv_capacity_tokens.or(live.own.kv_tokens),
        since: Some(live.since.to_string()),
        drain_until: live.drain_until.map(|t| t.to_string()),
        idle_until: None,
        figures_at: live.figures_at.map(|t| t.to_string()),
        restart_to_apply: agent.is_ours()
            && agent.served_by.is_none()
            && live.instance.as_ref().is_some_and(|i| !i.revision.is_empty() && i.revision != domain::stack::agent_hash(agent)),
        restart_when_idle: state.restarts.contains(&agent.name),
        pinned: agent.pinned,
        served_by: agent.served_by.as_ref().map(ToString::to_string),
        adopted: !agent.is_ours() && state.answers.iter().any(|a| matches!(&a.what, store::adoptions::What::Adopted { agent: name, .. } if *name == agent.name.as_str())),
        warnings: crate::editing::warnings(state, agent),
        glyph: agent.glyph.clone(),
        color: agent.color.clone(),
        claim_bytes: largest(&claim).0,
        claim: parts(agent, capacity),
        error: live.error.clone(),
        start_hint,
        start_refused,
        footprint: learned_of(state, agent),
        suggestions: suggestions(state, agent),
    }
}

/// Changes of an agent's stack entry worth a press.
pub(crate) fn suggestions(state: &State, agent: &Agent) -> Vec<Suggestion> {
    let unit = state.pools.first().and_then(|p| p.capacity).map_or(Unit::Gb, Unit::for_capacity);
    let written = |bytes: Bytes| json!(format!("{:.1} {unit}", bytes.0 as f64 / unit.bytes() as f64));
    let mut all = Vec::new();
    if let Some(change) = state.agents.get(&agent.name).and_then(|l| l.suggestion.as_ref()) {
        all.push(Suggestion {
            id: "failure".to_owned(),
            key: change.key.clone(),
            value: change.value.clone(),
            words: change.words.clone(),
            gives_bytes: None,
        });
    }
    if let Some((learned, _)) = state.learned.get(&agent.name)
        && let Some(accept) = footprint::acceptable(agent, learned)
        // One start may have been lucky.
        && learned.starts >= 3
    {
        all.push(Suggestion {
            id: "footprint".to_owned(),
            key: accept.key.to_owned(),
            value: written(accept.value),
            words: format!(
                "{} takes less than it declares: {}. Writing {} = {} gives {} back.",
                agent.display_name,
                footprint::words(largest(&declared_claims(agent, &state.pools)), learned),
                accept.key,
                accept.value.show(unit),
                accept.gives_back.show_down(unit)
            ),
            gives_bytes: i64::try_from(accept.gives_back.0).ok(),
        });
    }
    if let Some(seen) = state.kv_use.get(&agent.name)
        && let Some(advice) = advice::kv_cache(agent, seen, unit)
    {
        all.push(Suggestion {
            id: "kv_peak".to_owned(),
            key: "kv_cache".to_owned(),
            value: written(advice.kv_cache),
            words: advice.words,
            gives_bytes: Some(advice.gives),
        });
    }
    all
}

fn largest(shares: &Shares) -> Bytes {
    shares.values().map(|s| s.total()).max().unwrap_or_default()
}

/// How far a start is, 0 to 1, and the seconds left: by measured starts, else by its four stages and no promise.
pub(crate) fn start_progress(
    state: &State,
    name: &AgentName,
    live: &AgentLive,
    now: Timestamp,
) -> (Option<f64>, Option<f64>) {
    let Some(began) = live.start_began else { return (None, None) };
    let elapsed = now.duration_since(began).as_secs_f64();
    if let Some(usual) = state.start_seconds.get(name).copied().filter(|s| *s > 0.0) {
        return (Some((elapsed / usual).clamp(0.0, 0.99)), Some((usual - elapsed).max(0.0)));
    }
    let stage = match live.stage {
        Some(Stage::Container) | None => (0.0, 0.05),
        Some(Stage::Weights) => (0.05, 0.65),
        Some(Stage::KvCache) => (0.65, 0.75),
        Some(Stage::WarmUp) => (0.75, 1.0),
    };
    (Some(stage.0 + (stage.1 - stage.0) * live.stage_progress.unwrap_or(0.0)), None)
}

/// What pressing Start would do.
fn start_hint(state: &State, agent: &Agent, live: &AgentLive) -> (Option<String>, bool) {
    if !matches!(live.state, AgentState::Asleep | AgentState::Failed) || !agent.is_ours() {
        return (None, false);
    }
    match plan(&state.stack, &state.situation(), &Goal::Awake(agent.name.clone())) {
        Ok(plan) => (Some(plan.brief()), !plan.fits),
        Err(error) => (Some(error.to_string()), true),
    }
}

fn switching(state: &State, o: &Operation, now: Timestamp) -> Switching {
    let steps = o.plan.steps.len();
    let (stage, agent) = match o.action() {
        Some((action, agent)) => (action_word(action), Some(agent.to_string())),
        None => ("wait_ready", None),
    };
    let within = agent
        .as_deref()
        .and_then(|a| state.agents.get(a))
        .zip(agent.as_deref().and_then(|a| AgentName::new(a).ok()))
        .and_then(|(live, name)| start_progress(state, &name, live, now).0)
        .filter(|_| stage == "wait_ready")
        .unwrap_or(0.0);
    Switching {
        from: o.from.clone(),
        to: o.to.clone(),
        step: u32::try_from(o.step + 1).unwrap_or(u32::MAX),
        steps: u32::try_from(steps).unwrap_or(u32::MAX),
        agent,
        stage: if o.undoing { "undo".to_owned() } else { stage.to_owned() },
        progress: (steps > 0).then(|| ((o.step as f64 + within) / steps as f64).clamp(0.0, 1.0)),
        seconds_left: operation_left(state, o, now),
        cancellable: o.cancellable,
        undoing: o.undoing,
    }
}

/// How long an operation takes yet, by its starts as they were measured; none while it is undone.
pub(crate) fn operation_left(state: &State, o: &Operation, now: Timestamp) -> Option<f64> {
    let elapsed = now.duration_since(o.began).as_secs_f64();
    let seconds: Option<f64> = o.plan.starts().map(|a| state.start_seconds.get(a).copied()).sum();
    seconds.filter(|_| !o.undoing).map(|s| (s - elapsed).max(0.0))
}

pub(crate) fn action_word(action: Action) -> &'static str {
    match action {
        Action::Drain => "drain",
        Action::Stop => "stop",
        Action::WaitMemory => "wait_memory",
        Action::Pull => "pull",
        Action::Start => "start",
        Action::WaitReady => "wait_ready",
        Action::Undo => "undo",
    }
}

pub(crate) fn profiles(state: &State) -> Result<shape::Profiles, domain::plan::PlanError> {
    let situation = state.situation();
    let matches = state.profile_matches();
    let profiles = state
        .stack
        .profiles
        .iter()
        .map(|p| {
            let plan = plan(&state.stack, &situation, &Goal::Profile(p.name.clone()))?;
            let total = profile_total(state, p);
            Ok(shape::ProfileView {
                name: p.name.clone(),
                agents: p.agents.iter().map(ToString::to_string).collect(),
                total_bytes: total.0,
                active: matches && state.profile.as_ref() == Some(&p.name),
                plan: plan_shape(&plan, &state.stack_hash),
            })
        })
        .collect::<Result<_, domain::plan::PlanError>>()?;
    Ok(shape::Profiles { profiles })
}

/// The sum of a profile's claims on the pool that each takes most of.
pub(crate) fn profile_total(state: &State, profile: &Profile) -> Bytes {
    let servers = profile.servers(&state.stack);
    let agents = servers.iter().filter_map(|a| state.stack.agent(a));
    agents.map(|a| largest(&claims(a, &state.pools))).sum()
}

pub(crate) fn plan_shape(plan: &Plan, stack_hash: &str) -> shape::Plan {
    shape::Plan {
        profile: plan.profile.clone(),
        from: plan.from.clone(),
        fits: plan.fits,
        reason: plan.reason.clone(),
        next: plan.next.clone(),
        stack_hash: stack_hash.to_owned(),
        steps: plan
            .steps
            .iter()
            .map(|s| shape::PlanStep {
                action: action_word(s.action).to_owned(),
                agent: s.agent.to_string(),
                seconds: s.seconds,
                reason: s.reason.clone(),
                pools: s
                    .pools
                    .iter()
                    .map(|p| shape::PlanStepPool {
                        id: p.id.0.clone(),
                        reserved_bytes_after: p.reserved_after.0,
                        peak_bytes: p.peak.0,
                    })
                    .collect(),
            })
            .collect(),
        pools: plan
            .pools
            .iter()
            .map(|p| shape::PlanPool {
                id: p.ledger.id.0.clone(),
                name: p.ledger.name.clone(),
                kind: kind_word(p.ledger.kind).to_owned(),
                capacity_bytes: Some(p.ledger.capacity.0),
                limit_bytes: Some(p.ledger.limit.0),
                device_cap_bytes: p.ledger.device_cap.map(|b| b.0),
                used_bytes: p.ledger.used.0,
                device_used_bytes: p.ledger.device_used.map(|b| b.0),
                other_bytes: p.ledger.other.0,
                lost_bytes: p.ledger.lost.0,
                available_bytes: p.ledger.available().0,
                planned_bytes: p.planned.0,
                peak_bytes: p.peak.0,
                shortfall_bytes: p.shortfall.0,
                agents: p.agents.iter().map(planned_agent).collect(),
            })
            .collect(),
        awake: plan.awake.iter().map(ToString::to_string).collect(),
        stops: plan.stops().map(ToString::to_string).collect(),
        starts: plan.starts().map(ToString::to_string).collect(),
        seconds: (plan.starts().count() > 0)
            .then(|| plan.steps.iter().filter(|s| s.action == Action::WaitReady).map(|s| s.seconds).sum())
            .flatten(),
        sentence: plan.sentence(),
        changed: None,
    }
}

fn planned_agent(a: &PlannedAgent) -> shape::PlanAgent {
    shape::PlanAgent {
        agent: a.agent.to_string(),
        weights_bytes: a.weights.0,
        kv_bytes: a.kv.0,
        overhead_bytes: a.overhead.0,
        basis: match a.basis {
            domain::plan::Basis::Declared => "declared",
            domain::plan::Basis::Estimated => "estimated",
            domain::plan::Basis::Learned => "learned",
        }
        .to_owned(),
    }
}
