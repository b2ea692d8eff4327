//! Servers of others as the faces show them: what each is, and what may be done about it.

use api::shapes::neighbours::{
    Answer as Said, MemoryBasis, Neighbour as Shape, NeighbourKind, NeighbourModel, Neighbours, ServerKind,
};
use domain::agent::AgentName;
use engine::neighbour::{Kind, Place};
use store::adoptions::{Answer, What};

use crate::neighbours::Found;
use crate::state::State;

/// The list as the faces show it.
pub(crate) fn shape(state: &State) -> Neighbours {
    let mut neighbours: Vec<Shape> = state.found.iter().map(|f| one(state, f)).collect();
    // What was stopped may be gone from sight; its way back is not.
    for answer in state.answers.iter() {
        if state.found.iter().all(|f| f.neighbour.id != answer.id) && !matches!(answer.what, What::Left) {
            neighbours.push(remembered(answer));
        }
    }
    Neighbours { neighbours }
}

/// How many are there that nobody has said anything about.
pub(crate) fn open(state: &State) -> u32 {
    let open =
        state.found.iter().filter(|f| f.neighbour.running && answer_of(state, &f.neighbour.id).is_none());
    u32::try_from(open.count()).unwrap_or(u32::MAX)
}

/// Whether the server that an agent was adopted from runs, as far as was seen last.
pub(crate) fn runs(state: &State, agent: &AgentName) -> bool {
    state.answers.iter().any(|answer| {
        let as_it = matches!(&answer.what, What::Adopted { agent: name, .. } if name == agent.as_str());
        let id = answer.id.split('#').next().unwrap_or(&answer.id);
        as_it && state.found.iter().any(|f| f.neighbour.id == id && f.neighbour.running)
    })
}

pub(crate) fn answer_of<'a>(state: &'a State, id: &str) -> Option<&'a Answer> {
    state.answers.iter().find(|a| a.id == id)
}

fn said(answer: Option<&Answer>) -> Said {
    match answer.map(|a| &a.what) {
        None => Said::Open,
        Some(What::Left) => Said::Left,
        Some(What::Adopted { .. }) => Said::Adopted,
        Some(What::Stopped { .. }) => Said::Stopped,
    }
}

pub(crate) fn one(state: &State, found: &Found) -> Shape {
    let n = &found.neighbour;
    let answer = answer_of(state, &n.id);
    let adopted_as = match answer.map(|a| &a.what) {
        Some(What::Adopted { agent, .. }) => AgentName::new(agent).ok(),
        _ => None,
    };
    let agent = adopted_as.or_else(|| found.agent.clone());
    let name = agent.as_ref().map(AgentName::proper);
    let serves = matches!(n.kind, Kind::Vllm | Kind::LlamaCpp | Kind::Ollama);
    let (adopt_hint, adopt_refused) = match (&n.endpoint, serves, n.running) {
        (_, _, false) => ("It does not run. Start it where it was started, then adopt it.".to_owned(), true),
        (_, false, _) if n.kind == Kind::Bifrost => (
            "It schedules, and serves no model. Stop it, and Asgard's own gateway takes its port.".to_owned(),
            true,
        ),
        (_, false, _) => ("It serves no model that Asgard knows how to ask.".to_owned(), true),
        (None, true, _) => {
            ("It has no port on this machine, so nothing could be sent to it.".to_owned(), true)
        }
        (Some(_), true, _) => match &name {
            Some(name) if !busy(state, agent.as_ref()) => {
                (format!("{name} is served by it: shown, routed to and counted, never restarted."), false)
            }
            Some(name) => (format!("{name} is awake on a server of Asgard's own. Stop {name} first."), true),
            None => ("It becomes a guest: shown, routed to and counted, never restarted.".to_owned(), false),
        },
    };
    let (stop_hint, stop_refused) = match &n.place {
        Place::Container { toolbox: true, .. } => (
            "It runs in a toolbox that a person works in; stopping it ends everything there. It is not removed."
                .to_owned(),
            false,
        ),
        Place::Container { .. } => ("It is stopped and not removed; Undo starts it again.".to_owned(), false),
        Place::Process { own: false, .. } => {
            ("It belongs to another user. Stop it where it was started.".to_owned(), true)
        }
        Place::Process { unit: Some(unit), .. } => {
            (format!("systemd would start it again. Stop it with: systemctl stop {unit}"), true)
        }
        Place::Process { .. } => ("It is asked to end; Undo runs its command line again.".to_owned(), false),
    };
    let (kind, origin, image) = match &n.place {
        Place::Container { image, project: Some(project), service, .. } => {
            let service = service.as_deref().map(|s| format!(", service {s}")).unwrap_or_default();
            (NeighbourKind::Compose, format!("Compose project {project}{service}"), Some(image.clone()))
        }
        Place::Container { image, toolbox: true, .. } => {
            (NeighbourKind::Toolbox, format!("Toolbox {}", n.name), Some(image.clone()))
        }
        Place::Container { image, .. } => {
            (NeighbourKind::Container, format!("Container {}", n.name), Some(image.clone()))
        }
        Place::Process { pid, unit, .. } => {
            let unit = unit.as_deref().map(|u| format!(", {u}")).unwrap_or_default();
            (NeighbourKind::Process, format!("Process {pid}{unit}"), None)
        }
    };
    Shape {
        id: n.id.clone(),
        name: n.name.clone(),
        kind,
        server: match n.kind {
            Kind::Vllm => ServerKind::Vllm,
            Kind::LlamaCpp => ServerKind::LlamaCpp,
            Kind::Ollama => ServerKind::Ollama,
            Kind::Bifrost => ServerKind::Bifrost,
            Kind::Unknown => ServerKind::Unknown,
        },
        origin,
        image,
        command: n.command.clone(),
        port: n.port,
        endpoint: n.endpoint.clone(),
        models: found.models.clone(),
        memory_bytes: found.memory,
        memory_basis: found.basis,
        running: n.running,
        agent: agent.map(|a| a.to_string()),
        answer: said(answer),
        adopt_hint,
        adopt_refused,
        stop_refused: stop_refused || !n.running,
        stop_hint: if n.running { stop_hint } else { "It does not run.".to_owned() },
    }
}

/// Whether the agent is awake on a server of our own.
pub(crate) fn busy(state: &State, agent: Option<&AgentName>) -> bool {
    agent.is_some_and(|name| {
        state.agents.get(name).is_some_and(|l| l.state.holds_memory())
            && state.stack.agent(name).is_some_and(domain::stack::Agent::is_ours)
    })
}

fn remembered(answer: &Answer) -> Shape {
    let (agent, endpoint, model) = match &answer.what {
        What::Adopted { agent, endpoint, model, .. } => {
            (Some(agent.clone()), Some(endpoint.clone()), model.clone())
        }
        What::Left | What::Stopped { .. } => (None, None, None),
    };
    Shape {
        id: answer.id.clone(),
        name: answer.name.clone(),
        kind: if answer.engine == "process" { NeighbourKind::Process } else { NeighbourKind::Container },
        server: ServerKind::Unknown,
        origin: "Not seen at the moment".to_owned(),
        image: None,
        command: Vec::new(),
        port: None,
        endpoint,
        models: model
            .map(|name| NeighbourModel { name, size_bytes: None, loaded: false })
            .into_iter()
            .collect(),
        memory_bytes: None,
        memory_basis: MemoryBasis::Unknown,
        running: false,
        agent,
        answer: said(Some(answer)),
        adopt_hint: "It does not run.".to_owned(),
        adopt_refused: true,
        stop_hint: "It does not run.".to_owned(),
        stop_refused: true,
    }
}
