//! Households by chance.

use domain::stack::raw::{
    Ordered, RawAgent, RawGateway, RawLimit, RawMemory, RawProfile, RawSize, RawStack, RawTime,
};
use domain::stack::{Facts, Stack, resolve};

use super::chance::Chance;

const NAMES: [(&str, &str); 6] = [
    ("thor", "primary"),
    ("valkyrie", "coder"),
    ("odin", "reviewer"),
    ("heimdall", "utility"),
    ("loki", "utility"),
    ("frigga", "reviewer"),
];

pub fn stack(chance: &mut Chance) -> Stack {
    let count = usize::try_from(chance.between(2, 6)).unwrap_or(2);
    let mut agents: Vec<(String, RawAgent)> = Vec::new();
    for (place, (name, tier)) in NAMES.iter().take(count).enumerate() {
        agents.push(((*name).to_owned(), agent(chance, place, name, tier)));
    }
    let mut conflicts: Vec<Vec<String>> = Vec::new();
    if chance.percent(60) {
        let (a, b) = (pick(chance, count), pick(chance, count));
        if a != b {
            conflicts.push(vec![agents[a].0.clone(), agents[b].0.clone()]);
        }
    }
    if chance.percent(30) {
        let server = agents[pick(chance, count)].0.clone();
        agents.push(("sif".to_owned(), RawAgent { served_by: Some(server), ..RawAgent::default() }));
    }
    let mut profiles = Vec::new();
    for place in 0..count {
        let mut members: Vec<String> = Vec::new();
        for (other, (name, _)) in agents.iter().take(count).enumerate() {
            let forbidden = conflicts
                .iter()
                .any(|set| set.contains(name) && members.iter().any(|m| set.contains(m) && m != name));
            let wanted = other == place || chance.percent(35);
            if wanted && !forbidden {
                members.push(name.clone());
            }
        }
        profiles.push((format!("p{place}"), RawProfile { agents: members }));
    }
    let raw = RawStack {
        version: Some(1),
        conflicts,
        memory: RawMemory { limit: Some(RawLimit::One(RawSize::Text("120 GB".into()))) },
        agents: Ordered(agents),
        profiles: Ordered(profiles),
        gateway: gateway(chance),
        ..RawStack::default()
    };
    let facts = Facts { scale: 1, ..Facts::default() };
    resolve(&raw, &facts).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn pick(chance: &mut Chance, count: usize) -> usize {
    usize::try_from(chance.between(0, count as u64 - 1)).unwrap_or(0)
}

fn agent(chance: &mut Chance, place: usize, name: &str, tier: &str) -> RawAgent {
    let drain = match chance.between(0, 4) {
        0 => RawTime::Text("abort".into()),
        1 => RawTime::Text("finish".into()),
        2 => RawTime::Seconds(5),
        _ => RawTime::Seconds(40),
    };
    let ttl = match chance.between(0, 4) {
        0 => Some(RawTime::Seconds(30)),
        1 => Some(RawTime::Seconds(400)),
        _ => None,
    };
    let residency = [0, 0, 20, 90][usize::try_from(chance.between(0, 3)).unwrap_or(0)];
    RawAgent {
        model: Some(format!("a/{name}")),
        tier: Some(tier.to_owned()),
        port: Some(8001 + i64::try_from(place).unwrap_or(0)),
        memory: Some(RawSize::Text(format!("{} GB", chance.between(8, 80)))),
        drain: Some(drain),
        ttl,
        min_residency: Some(RawTime::Seconds(residency)),
        pinned: Some(chance.percent(10)),
        ..RawAgent::default()
    }
}

fn gateway(chance: &mut Chance) -> RawGateway {
    let mut one_of = |list: &[i64]| Some(list[pick(chance, list.len())]);
    RawGateway {
        queue_limit: one_of(&[0, 3, 32]),
        session_budget_odin: one_of(&[0, 1, 3]),
        session_budget_utility: one_of(&[0, 2, 10]),
        odin_cooldown: one_of(&[0, 60, 600]).map(RawTime::Seconds),
        odin_ttl: one_of(&[0, 120, 1200]).map(RawTime::Seconds),
        wake: Some(chance.percent(90)),
        ..RawGateway::default()
    }
}
