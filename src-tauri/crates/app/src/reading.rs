//! The machine's figures now, and what of them is known to be whose.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use domain::agent::{AgentName, AgentState};
use domain::attribution::{self, Measured, Quality, Sources};
use domain::memory::Bytes;
use domain::pool::{PoolId, PoolKind, PoolReading, Share, Shares};
use engine::Engine as _;
use hardware::ProcessTree;
use store::adoptions::{Answer, What};

use crate::state::State;
use crate::world::{PlayedMachine, World};

impl World {
    /// The pools now, as cheaply as they can be had.
    pub(crate) fn pools(&self) -> Vec<PoolReading> {
        match self.rehearsal.as_ref().map(|r| &r.machine) {
            Some(PlayedMachine::Small { other }) => {
                let held = rehearsal::report::held(&self.rehearsal_folder().join("held")).unwrap_or_default();
                vec![rehearsal::machine::reading(&held, *other)]
            }
            Some(PlayedMachine::Recorded { .. }) | None => {
                self.follow();
                self.machine.pools()
            }
        }
    }

    /// The pools now, and what of them is known to be whose.
    pub(crate) fn read(&self, state: &State) -> Look {
        if let Some(PlayedMachine::Small { other }) = self.rehearsal.as_ref().map(|r| &r.machine) {
            return self.read_small(state, *other);
        }
        self.follow();
        let reading = self.machine.read();
        let pools = reading.pools;
        let ollama = self.ollama_held.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut measured = BTreeMap::new();
        let tree = self.processes_of(state);
        for (name, live) in &state.agents {
            let Some(instance) = &live.instance else { continue };
            let in_container = live.engine.as_deref() == Some(self.containers.id());
            let seen = if let Some((device, host)) = ollama.get(name) {
                Some(Measured::said(of_ollama(&pools, *device, *host), Quality::Processes))
            } else if live.engine.as_deref() == Some("external") {
                let found = state
                    .found
                    .iter()
                    .find(|f| adopted_as(&state.answers, &f.neighbour.id).as_ref() == Some(name));
                self.of_processes(
                    state,
                    name,
                    &pools,
                    tree.as_ref(),
                    found.map_or(&[], |f| &f.neighbour.pids),
                )
            } else if live.state == AgentState::Loading && !live.baseline.is_empty() {
                let sources = self.sources(tree.as_ref(), &instance.pids, in_container);
                attribution::measure(&live.baseline, &pools, &sources, &state.reserved(name))
            } else if let Some(known) = &live.measured {
                Some(attribution::refine(known, &self.sources(tree.as_ref(), &instance.pids, in_container)))
            } else {
                self.of_processes(state, name, &pools, tree.as_ref(), &instance.pids)
            };
            if let Some(seen) = seen {
                measured.insert(name.clone(), seen);
            }
        }
        let doubts =
            reading.doubts.into_iter().map(|d| (d.pool, format!("{} {}", d.message, d.next))).collect();
        Look { pools, measured, doubts }
    }

    /// The small machine of a rehearsal: everybody says what he holds.
    fn read_small(&self, state: &State, other: Bytes) -> Look {
        let mut measured = BTreeMap::new();
        let held = rehearsal::report::held(&self.rehearsal_folder().join("held")).unwrap_or_default();
        let mut pool = rehearsal::machine::reading(&held, other);
        let reported: BTreeMap<&str, u64> = held.iter().map(|(a, b)| (a.as_str(), *b)).collect();
        for (name, live) in &state.agents {
            if live.instance.is_some() {
                let bytes = reported.get(name.as_str()).copied().unwrap_or(0);
                let share = Share { device: Bytes(bytes), host: Bytes::ZERO };
                let shares = Shares::from([(pool.id.clone(), share)]);
                measured.insert(name.clone(), Measured::said(shares, Quality::Step));
            }
        }
        // Stand-ins of others are part of the played machine.
        for found in state.found.iter().filter(|f| f.neighbour.running) {
            let bytes = Bytes(hardware::process_memory(&found.neighbour.pids));
            pool.used += bytes;
            if let Some(agent) = adopted_as(&state.answers, &found.neighbour.id) {
                let share = Share { device: Bytes::ZERO, host: bytes };
                let shares = Shares::from([(pool.id.clone(), share)]);
                measured.insert(agent, Measured::said(shares, Quality::Processes));
            }
        }
        Look { pools: vec![pool], measured, doubts: BTreeMap::new() }
    }

    /// The processes of this machine, looked through once for all agents; none where nobody has any.
    fn processes_of(&self, state: &State) -> Option<ProcessTree> {
        let somebody = state.agents.values().any(|l| l.instance.as_ref().is_some_and(|i| !i.pids.is_empty()));
        (self.machine.is_this_one() && (somebody || !state.found.is_empty()))
            .then(|| self.machine.processes())
    }

    /// What can be read of these processes. On a recorded machine they are not there. The control group of a local
    /// process is that of the whole session, and tells nothing of it.
    fn sources(&self, tree: Option<&ProcessTree>, pids: &[u32], in_container: bool) -> Sources {
        let Some(tree) = tree.filter(|_| !pids.is_empty()) else { return Sources::default() };
        let pss = Bytes(tree.memory(pids));
        let group = pids.first().filter(|_| in_container);
        Sources {
            step: None,
            // One figure for both makers: it is by pool already, each client once.
            fdinfo: hardware::device_memory_of(&self.machine, tree, pids).map(|d| d.by_pool),
            nvml: None,
            cgroup: group.and_then(|pid| hardware::cgroup_memory(&self.machine, *pid)),
            pss: (pss > Bytes::ZERO).then_some(pss),
        }
    }

    /// What an agent holds whose start was not seen. The processes of one that computes on a GPU alone show too
    /// little, and the rest would count twice: then what it reserved is taken.
    fn of_processes(
        &self,
        state: &State,
        name: &AgentName,
        pools: &[PoolReading],
        tree: Option<&ProcessTree>,
        pids: &[u32],
    ) -> Option<Measured> {
        // The file cache of a whole image may be in its group: of one whose start was not seen that is no measure.
        let sources = self.sources(tree, pids, false);
        let measured = attribution::measure(&[], pools, &sources, &Shares::new())?;
        let has_gpu = pools.iter().any(|p| p.device_used.is_some() || p.kind == PoolKind::Vram);
        let agent = state.stack.agent(name);
        let on_device = has_gpu && agent.is_none_or(|a| a.on_device() || !a.is_ours());
        let held: Bytes = measured.shares.values().map(|s| s.total()).sum();
        (held > Bytes::ZERO && (measured.quality != Quality::Processes || !on_device)).then_some(measured)
    }

    /// Moves a recorded machine with what its stand-ins hold.
    fn follow(&self) {
        if let Some(PlayedMachine::Recorded { moves: Some(playback) }) =
            self.rehearsal.as_ref().map(|r| &r.machine)
        {
            let held = rehearsal::report::held(&self.rehearsal_folder().join("held")).unwrap_or_default();
            if let Err(error) = playback.follow(&held) {
                tracing::warn!("The recorded machine cannot be moved: {error}");
            }
        }
    }
}

/// One look at the machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Look {
    pub(crate) pools: Vec<PoolReading>,
    pub(crate) measured: BTreeMap<AgentName, Measured>,
    /// Where two sources of a pool's figures contradict each other, in words.
    pub(crate) doubts: BTreeMap<PoolId, String>,
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
