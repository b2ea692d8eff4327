//! The machine's figures now, and what of them is known to be whose.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use domain::agent::{AgentName, AgentState};
use domain::memory::Bytes;
use domain::pool::{PoolKind, PoolReading, Share, Shares};
use engine::Engine as _;
use store::adoptions::{Answer, What};

use crate::state::State;
use crate::world::{PlayedMachine, World};

impl World {
    /// The pools now, as cheaply as they can be had.
    pub(crate) fn pools(&self) -> Vec<PoolReading> {
        let held = || rehearsal::report::held(&self.rehearsal_folder().join("held")).unwrap_or_default();
        match self.rehearsal.as_ref().map(|r| &r.machine) {
            Some(PlayedMachine::Small { other }) => vec![rehearsal::machine::reading(&held(), *other)],
            Some(PlayedMachine::Recorded { moves: Some(playback) }) => {
                if let Err(error) = playback.follow(&held()) {
                    tracing::warn!("The recorded machine cannot be moved: {error}");
                }
                self.machine.pools()
            }
            Some(PlayedMachine::Recorded { moves: None }) | None => self.machine.pools(),
        }
    }

    /// The pools now, and what of them is known to be whose.
    pub(crate) fn read(&self, state: &State) -> (Vec<PoolReading>, BTreeMap<AgentName, Shares>) {
        let mut measured = BTreeMap::new();
        let played = self.rehearsal.as_ref().map(|r| &r.machine);
        if let Some(PlayedMachine::Small { other }) = played {
            let held = rehearsal::report::held(&self.rehearsal_folder().join("held")).unwrap_or_default();
            let mut pool = rehearsal::machine::reading(&held, *other);
            let reported: BTreeMap<&str, u64> = held.iter().map(|(a, b)| (a.as_str(), *b)).collect();
            for (name, live) in &state.agents {
                if live.instance.is_some() {
                    let bytes = reported.get(name.as_str()).copied().unwrap_or(0);
                    let share = Share { device: Bytes(bytes), host: Bytes::ZERO };
                    measured.insert(name.clone(), Shares::from([(pool.id.clone(), share)]));
                }
            }
            // Stand-ins of others are part of the played machine.
            for found in state.found.iter().filter(|f| f.neighbour.running) {
                let bytes = Bytes(hardware::process_memory(&found.neighbour.pids));
                pool.used += bytes;
                if let Some(agent) = adopted_as(&state.answers, &found.neighbour.id) {
                    let share = Share { device: Bytes::ZERO, host: bytes };
                    measured.insert(agent, Shares::from([(pool.id.clone(), share)]));
                }
            }
            return (vec![pool], measured);
        }
        let pools = self.pools();
        let ollama = self.ollama_held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let on_gpu = pools.iter().any(|p| p.device_used.is_some());
        for (name, live) in &state.agents {
            let Some(instance) = &live.instance else { continue };
            if let Some((device, host)) = ollama.get(name) {
                measured.insert(name.clone(), of_ollama(&pools, *device, *host));
            } else if live.engine.as_deref() == Some("external") {
                // Where a GPU holds a part, the processes alone show too little, and the rest would count twice.
                let found = state
                    .found
                    .iter()
                    .find(|f| adopted_as(&state.answers, &f.neighbour.id).as_ref() == Some(name) && !on_gpu);
                let host = Bytes(found.map_or(0, |f| hardware::process_memory(&f.neighbour.pids)));
                if let Some(ram) = pools.first().filter(|_| host > Bytes::ZERO) {
                    let share = Share { device: Bytes::ZERO, host };
                    measured.insert(name.clone(), Shares::from([(ram.id.clone(), share)]));
                }
            } else if live.engine.as_deref() == Some(self.processes.id()) && played.is_none() {
                let Some(ram) = pools.iter().find(|p| p.kind != PoolKind::Vram) else { continue };
                let host = Bytes(hardware::process_memory(&instance.pids));
                let share = Share { device: Bytes::ZERO, host };
                measured.insert(name.clone(), Shares::from([(ram.id.clone(), share)]));
            } else if live.state == AgentState::Loading && !live.baseline.is_empty() {
                measured.insert(name.clone(), gained(&live.baseline, &pools));
            }
        }
        (pools, measured)
    }
}

/// The agent that a server of others was adopted as.
fn adopted_as(answers: &[Answer], id: &str) -> Option<AgentName> {
    answers.iter().find_map(|answer| match &answer.what {
        What::Adopted { agent, .. } if answer.id == id => AgentName::new(agent).ok(),
        _ => None,
    })
}

/// What Ollama says of a loaded model, on the pools where that lies.
fn of_ollama(pools: &[PoolReading], device: u64, host: u64) -> Shares {
    let mut shares = Shares::new();
    let cards = pools.iter().find(|p| p.kind == PoolKind::Vram).or(pools.first());
    let ordinary = pools.iter().find(|p| p.kind != PoolKind::Vram).or(pools.first());
    if let Some(pool) = cards {
        shares.entry(pool.id.clone()).or_default().device += Bytes(device);
    }
    if let Some(pool) = ordinary {
        shares.entry(pool.id.clone()).or_default().host += Bytes(host);
    }
    shares
}

/// What the pools gained since `before`.
fn gained(before: &[PoolReading], now: &[PoolReading]) -> Shares {
    before
        .iter()
        .filter_map(|b| {
            let n = now.iter().find(|n| n.id == b.id)?;
            let total = n.used.saturating_sub(b.used);
            let device = n.device_used.unwrap_or_default().saturating_sub(b.device_used.unwrap_or_default());
            // Without a figure of the GPU's own, a card's pool is all the GPU's and ordinary memory none of it.
            let device = match (n.device_used, n.kind) {
                (Some(_), _) => device.min(total),
                (None, PoolKind::Vram) => total,
                (None, _) => Bytes::ZERO,
            };
            Some((b.id.clone(), Share { device, host: total.saturating_sub(device) }))
        })
        .collect()
}
