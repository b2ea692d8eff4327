//! The gateway's keys.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::quantity::{quoted, size, time};
use super::super::raw::{RawGateway, RawKey, RawTime};
use super::super::{Gateway, GatewayKey};
use super::{Findings, known_agent};
use crate::agent::AgentName;

/// A larger count is a slip.
const MOST: u32 = 1_000_000;

const LISTEN: &str = "Write listen = \"127.0.0.1:8899\".";

/// `known`: all agents' names.
pub(super) fn checked(raw: &RawGateway, known: &[&str], found: &mut Findings) -> Gateway {
    let default = Gateway::default();
    let keys = keys(&raw.keys.0, known, found);
    let listen = raw.listen.as_deref().and_then(|l| listen(l, !raw.keys.0.is_empty(), found));
    let bytes = raw.max_body.as_ref().and_then(|s| found.take(&["gateway", "max_body"], size(s)));
    let hosts = raw.hosts.as_deref().unwrap_or_default().iter().enumerate();
    let hosts = hosts.filter_map(|(place, host)| self::host(place, host, found)).collect();
    let mut seconds = |key, written: &Option<RawTime>, left_out: Duration| {
        let time = written.as_ref().and_then(|t| found.take(&["gateway", key], time(t)));
        time.unwrap_or(left_out)
    };
    let odin_ttl = seconds("odin_ttl", &raw.odin_ttl, default.odin_ttl);
    let odin_cooldown = seconds("odin_cooldown", &raw.odin_cooldown, default.odin_cooldown);
    let health_timeout = seconds("health_timeout", &raw.health_timeout, default.health_timeout);
    let mut count = |key, written, left_out| count(key, written, found).unwrap_or(left_out);
    Gateway {
        listen: listen.unwrap_or(default.listen),
        max_body: bytes.map_or(default.max_body, |b| b.0),
        hosts,
        wake: raw.wake.unwrap_or(default.wake),
        hold: raw.hold.unwrap_or(default.hold),
        queue_limit: count("queue_limit", raw.queue_limit, default.queue_limit),
        max_streams: match count("max_streams", raw.max_streams, default.max_streams) {
            0 => u32::MAX,
            limit => limit,
        },
        odin_ttl,
        odin_cooldown,
        session_budget_odin: count(
            "session_budget_odin",
            raw.session_budget_odin,
            default.session_budget_odin,
        ),
        session_budget_utility: count(
            "session_budget_utility",
            raw.session_budget_utility,
            default.session_budget_utility,
        ),
        health_timeout,
        keys,
    }
}

fn listen(written: &str, has_key: bool, found: &mut Findings) -> Option<SocketAddr> {
    let path = ["gateway", "listen"];
    let Ok(address) = written.trim().replace("localhost", "127.0.0.1").parse::<SocketAddr>() else {
        found.problem(&path, format!("{} is not an address with a port.", quoted(written)), LISTEN);
        return None;
    };
    if address.port() == 0 {
        found.problem(&path, "Port 0 is not a port that clients could be told.", LISTEN);
        return None;
    }
    if !address.ip().is_loopback() {
        if !has_key {
            found.problem(
                &path,
                format!(
                    "Binding {} lets other machines in and demands a key, and there is none.",
                    quoted(written)
                ),
                format!("Add a key, a table [gateway.keys.NAME] for each tool. Otherwise {}", lower(LISTEN)),
            );
            return None;
        }
        found.note(
            &path,
            format!("Other machines can reach Bifrost at {address}; every request needs a key."),
        );
    }
    Some(address)
}

fn lower(sentence: &str) -> String {
    sentence.replacen('W', "w", 1)
}

/// A name or an address, as it stands in a URL, without its port.
fn host(place: usize, written: &str, found: &mut Findings) -> Option<String> {
    let host = written.trim().trim_end_matches('.').to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if let Ok(address) = address {
        return Some(address.to_string());
    }
    if host.len() <= 253 && host.split('.').all(label) {
        return Some(host);
    }
    found.problem(
        &["gateway", "hosts", &place.to_string()],
        format!("{} is not a host's name.", quoted(written)),
        "Write it as in a URL, without http:// and without a port: hosts = [\"box.lan\"].",
    );
    None
}

fn count(key: &str, written: Option<i64>, found: &mut Findings) -> Option<u32> {
    let number = written?;
    let count = u32::try_from(number).ok().filter(|n| *n <= MOST);
    if count.is_none() {
        found.problem(
            &["gateway", key],
            format!("{number} is not a count from 0 to {MOST}."),
            format!("Write a whole number, such as {key} = 10; 0 means no limit."),
        );
    }
    count
}

fn keys(raw: &[(String, RawKey)], known: &[&str], found: &mut Findings) -> Vec<GatewayKey> {
    let mut keys: Vec<GatewayKey> = Vec::new();
    for (name, key) in raw {
        if AgentName::new(name).is_err() {
            found.problem(
                &["gateway", "keys", name],
                format!("{} cannot be a key's name.", quoted(name)),
                "Use lower-case letters, digits and hyphens, a letter first, at most 40.",
            );
            continue;
        }
        if keys.iter().any(|k| &k.name == name) {
            found.problem(
                &["gateway", "keys", name],
                format!("The key {name} is there twice."),
                "Give one of them another name.",
            );
            continue;
        }
        let agents = key.agents.as_ref().map(|agents| {
            if agents.is_empty() {
                found.problem(
                    &["gateway", "keys", name, "agents"],
                    format!("The key {name} may use no agent."),
                    "Name some, or leave agents out to allow all of them.",
                );
            }
            let mut allowed: Vec<AgentName> = Vec::new();
            for (place, written) in agents.iter().enumerate() {
                let path = ["gateway", "keys", name, "agents", &place.to_string()];
                if let Some(agent) = known_agent(written, known, &path, found)
                    && !allowed.contains(&agent)
                {
                    allowed.push(agent);
                }
            }
            allowed
        });
        keys.push(GatewayKey { name: name.clone(), agents });
    }
    keys
}
