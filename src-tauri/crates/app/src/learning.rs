//! What agents really take: one observation for each start, kept by what the start was made of.

use std::collections::BTreeMap;

use domain::agent::AgentName;
use domain::footprint::{self, Key, Learned, Observation};
use domain::memory::Bytes;
use domain::plan::footprint_of;
use domain::stack::{Agent, BackendKind, ClaimBasis, HubFile, Runs};
use jiff::Timestamp;
use models::cache::Presence;

use crate::carry::Ctx;
use crate::state::Event;
use crate::world::World;

/// Writes down what a start that has just ended took, and takes it into account.
pub(crate) async fn observe(ctx: &Ctx, agent: &Agent) {
    if !learns(agent) {
        return;
    }
    let state = ctx.state.state();
    let Some(live) = state.agents.get(&agent.name) else { return };
    let Some(steady) = &live.measured else { return };
    let peak = live.peak.as_ref().unwrap_or(steady);
    let figure =
        |measured: &domain::attribution::Measured| footprint_of(agent, &state.pools, &measured.shares);
    let (weights, kv) = match agent.claim {
        // The server's own figures are the truth of this start; of several ranks they are not of one meaning.
        ClaimBasis::KvCache { weights, kv_cache, .. }
            if agent.tensor_parallel == 1 && ctx.world.scale() == 1 =>
        {
            (live.own.weights.map_or(weights, Bytes), live.own.kv_bytes.map_or(kv_cache, Bytes))
        }
        ClaimBasis::KvCache { weights, kv_cache, .. } => (weights, kv_cache),
        ClaimBasis::Memory(_) | ClaimBasis::Share(_) => Default::default(),
    };
    match Observation::new(weights, kv, (figure(peak), peak), (figure(steady), steady)) {
        Ok(observation) => {
            let key = key(&ctx.world, agent);
            let time = Timestamp::now();
            ctx.world.database(move |db| db.add_footprint(&key, &observation, time).ok()).await;
            recall(ctx).await;
        }
        // What cannot be believed is not learned; it stands in the log, and in doubt on the bar.
        Err(why) => tracing::info!(agent = %agent.name, "Nothing was learned from its start: {why}"),
    }
}

/// What earlier starts tell of the stack's agents as they are now.
pub(crate) async fn recall(ctx: &Ctx) {
    let state = ctx.state.state();
    let wanted: Vec<(Agent, Key)> =
        state.stack.agents.iter().filter(|a| learns(a)).map(|a| (a.clone(), key(&ctx.world, a))).collect();
    let learned = ctx
        .world
        .database(move |db| {
            wanted
                .into_iter()
                .filter_map(|(agent, key)| {
                    let seen = db.footprints(&key).ok()?;
                    let learned = footprint::learn(&agent, &seen)?;
                    let drift = footprint::drift(&agent, &seen).map(|d| d.words(&agent.display_name));
                    Some((agent.name, (learned, drift)))
                })
                .collect::<BTreeMap<AgentName, (Learned, Option<String>)>>()
        })
        .await;
    if let Some(learned) = learned {
        ctx.state.tell(Event::Learned(learned)).await;
    }
}

/// What earlier starts tell of an agent that is not in the stack so: its model under another agent counts as well.
pub(crate) async fn of(ctx: &Ctx, agent: &Agent) -> Option<Learned> {
    if !learns(agent) {
        return None;
    }
    let key = key(&ctx.world, agent);
    let agent = agent.clone();
    ctx.world.database(move |db| footprint::learn(&agent, &db.footprints(&key).ok()?)).await.flatten()
}

/// Whether its starts are ours to learn from: a role has none, and Ollama says by itself what it holds.
fn learns(agent: &Agent) -> bool {
    agent.served_by.is_none() && matches!(agent.backend, BackendKind::Vllm | BackendKind::LlamaCpp)
}

fn key(world: &World, agent: &Agent) -> Key {
    let image = match &agent.runs {
        Runs::Container { image, .. } => world.pins.resolve(Some(&agent.name), image),
        Runs::Process { .. } | Runs::External { .. } | Runs::Ollama { .. } => String::new(),
    };
    Key::of(agent, &commit(world, agent).unwrap_or_default(), &image, agent.batched_tokens.unwrap_or(0))
}

/// The commit of the model's files, where they lie in the Hub's cache.
fn commit(world: &World, agent: &Agent) -> Option<String> {
    let hub = &world.paths.hub;
    let revision = agent.revision.as_deref();
    if let Some(file) = HubFile::parse(&agent.model) {
        let path = models::gguf_path(hub, &file.repo, &file.file, revision)?;
        let mut parts = path.components().map(|c| c.as_os_str().to_string_lossy().into_owned());
        return parts.by_ref().find(|p| p == "snapshots").and_then(|_| parts.next());
    }
    match models::cache::has_model(hub, &agent.model, revision) {
        Presence::Complete { snapshot } => Some(snapshot.file_name()?.to_string_lossy().into_owned()),
        Presence::Incomplete { .. } | Presence::Absent => None,
    }
}
