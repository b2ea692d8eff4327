//! The gateway's settings: what is taken and with which defaults, what is refused, and the variables over them.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod common;

use std::time::Duration;

use common::raw::{agent, facts, size, text, texts, with, with_thor};
use domain::stack::raw::{Ordered, RawGateway, RawKey, RawTime};
use domain::stack::{DRAIN_ABORT, DRAIN_FINISH, Gateway, GatewayKey, Stack, Tier, agent_hash, resolve};

fn resolved(gateway: RawGateway) -> Stack {
    resolve(&with(|raw| raw.gateway = gateway), &facts()).expect("nothing is wrong")
}

/// The problems, each as "path: message next".
fn problems(gateway: RawGateway) -> Vec<String> {
    let found = resolve(&with(|raw| raw.gateway = gateway), &facts()).expect_err("something is wrong");
    found.iter().map(|p| format!("{}: {} {}", p.path.join("."), p.message, p.next)).collect()
}

fn key(name: &str, agents: Option<&[&str]>) -> Ordered<RawKey> {
    Ordered(vec![(name.to_owned(), RawKey { agents: agents.map(texts) })])
}

#[expect(clippy::unnecessary_wraps, reason = "as the file has it")]
fn time(text: &str) -> Option<RawTime> {
    Some(RawTime::Text(text.to_owned()))
}

#[test]
fn every_key_is_taken_and_what_is_left_out_has_the_known_default() {
    assert_eq!(resolved(RawGateway::default()).gateway, Gateway::default());
    let stack = resolved(RawGateway {
        listen: text("[::1]:9000"),
        max_body: size("8 MB"),
        hosts: Some(texts(&["Box.lan.", "10.0.0.7"])),
        wake: Some(false),
        hold: Some(false),
        queue_limit: Some(0),
        max_streams: Some(0),
        odin_ttl: time("0 s"),
        odin_cooldown: Some(RawTime::Seconds(90)),
        session_budget_odin: Some(7),
        session_budget_utility: Some(8),
        health_timeout: time("10 min"),
        keys: key("laptop", Some(&["thor", "odin", "thor"])),
    });
    let laptop =
        GatewayKey { name: "laptop".into(), agents: Some(vec![common::name("thor"), common::name("odin")]) };
    let expected = Gateway {
        listen: "[::1]:9000".parse().expect("an address"),
        max_body: 8 << 20,
        hosts: texts(&["box.lan", "10.0.0.7"]),
        wake: false,
        hold: false,
        queue_limit: 0,
        max_streams: u32::MAX,
        odin_ttl: Duration::ZERO,
        odin_cooldown: Duration::from_secs(90),
        session_budget_odin: 7,
        session_budget_utility: 8,
        health_timeout: Duration::from_mins(10),
        keys: vec![laptop],
    };
    assert_eq!(stack.gateway, expected);
    assert_eq!(agent_hash(&stack.agents[0]), agent_hash(&resolved(RawGateway::default()).agents[0]));
}

#[test]
fn another_address_demands_a_key_and_says_so() {
    let open = |listen: &str, keys| RawGateway { listen: text(listen), keys, ..RawGateway::default() };
    let stack = resolved(open("0.0.0.0:8899", key("laptop", None)));
    assert_eq!(stack.gateway.listen.to_string(), "0.0.0.0:8899");
    let notes: Vec<&str> = stack.notes.iter().map(|n| n.message.as_str()).collect();
    assert!(
        notes.contains(&"Other machines can reach Bifrost at 0.0.0.0:8899; every request needs a key."),
        "{notes:?}"
    );
    for listen in ["0.0.0.0:8899", "192.168.1.4:8899", "[::]:8899"] {
        let found = problems(open(listen, Ordered::default()));
        assert!(found[0].contains("demands a key") && found.len() == 1, "{listen}: {found:?}");
    }
}

#[test]
fn each_thing_that_is_wrong_is_said_with_its_place() {
    let cases: Vec<(RawGateway, &str)> = vec![
        (
            RawGateway { queue_limit: Some(-1), ..RawGateway::default() },
            "gateway.queue_limit: -1 is not a count from 0 to 1000000. Write a whole number, such as queue_limit = 10; 0 means no limit.",
        ),
        (
            RawGateway { hosts: Some(texts(&["http://box.lan"])), ..RawGateway::default() },
            "gateway.hosts.0: \"http://box.lan\" is not a host's name. Write it as in a URL, without http:// and without a port: hosts = [\"box.lan\"].",
        ),
        (
            RawGateway { odin_ttl: time("soon"), ..RawGateway::default() },
            "gateway.odin_ttl: \"soon\" is not a time. Write a number with its unit, such as \"90 s\", \"20 min\" or \"1 h\", or seconds.",
        ),
        (
            RawGateway { keys: key("laptop", Some(&["thorr"])), ..RawGateway::default() },
            "gateway.keys.laptop.agents.0: There is no agent \"thorr\". Did you mean \"thor\"?",
        ),
        (
            RawGateway { keys: key("laptop", Some(&[])), ..RawGateway::default() },
            "gateway.keys.laptop.agents: The key laptop may use no agent. Name some, or leave agents out to allow all of them.",
        ),
        (
            RawGateway { keys: key("My laptop", None), ..RawGateway::default() },
            "gateway.keys.My laptop: \"My laptop\" cannot be a key's name. Use lower-case letters, digits and hyphens, a letter first, at most 40.",
        ),
        (
            RawGateway { listen: text("127.0.0.1:0"), ..RawGateway::default() },
            "gateway.listen: Port 0 is not a port that clients could be told. Write listen = \"127.0.0.1:8899\".",
        ),
    ];
    for (gateway, said) in cases {
        assert_eq!(problems(gateway), [said]);
    }
}

#[test]
fn a_drain_is_a_time_or_one_of_two_words() {
    let drain = |written: &str| {
        let raw = with_thor(|t| t.drain = Some(RawTime::Text(written.to_owned())));
        resolve(&raw, &facts()).map(|stack| stack.agents[0].drain)
    };
    assert_eq!(drain("finish"), Ok(DRAIN_FINISH));
    assert_eq!(drain(" abort "), Ok(DRAIN_ABORT));
    assert_eq!(drain("90 s"), Ok(Duration::from_secs(90)));
    let found = drain("never").expect_err("not a drain");
    assert!(found[0].next.contains("\"finish\"") && found[0].next.contains("\"abort\""), "{found:?}");
    let raw = with(|raw| {
        let role = domain::stack::raw::RawAgent {
            served_by: text("thor"),
            drain: Some(RawTime::Text("finish".into())),
            model: None,
            port: None,
            kv_cache: None,
            ..agent("", 0, "")
        };
        raw.agents.0.push(("sif".into(), role));
    });
    let stack = resolve(&raw, &facts()).expect("a role may have its own");
    assert_eq!(stack.agents[3].drain, DRAIN_FINISH);
}

#[test]
fn variables_override_the_file_and_nonsense_is_said_and_changes_nothing() {
    let env = |set: &'static [(&'static str, &'static str)]| {
        move |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
    };
    let (gateway, problems) = Gateway::default().with_env(env(&[
        ("BIFROST_ODIN_TTL", "60"),
        ("BIFROST_ODIN_COOLDOWN", " 0 "),
        ("BIFROST_SESSION_BUDGET_ODIN", "0"),
        ("BIFROST_SESSION_BUDGET_UTILITY", "4"),
        ("BIFROST_HEALTH_TIMEOUT", "5"),
        ("BIFROST_PORT", "9000"),
    ]));
    assert_eq!(problems, [""; 0]);
    let expected = Gateway {
        odin_ttl: Duration::from_secs(60),
        odin_cooldown: Duration::ZERO,
        session_budget_odin: 0,
        session_budget_utility: 4,
        health_timeout: Duration::from_secs(5),
        listen: "127.0.0.1:9000".parse().expect("an address"),
        ..Gateway::default()
    };
    assert_eq!(gateway, expected);
    let (gateway, problems) = Gateway::default().with_env(env(&[
        ("BIFROST_ODIN_TTL", "20 min"),
        ("BIFROST_SESSION_BUDGET_ODIN", "-1"),
        ("BIFROST_HEALTH_TIMEOUT", ""),
        ("BIFROST_PORT", "70000"),
    ]));
    assert_eq!(gateway, Gateway::default());
    assert_eq!(
        problems,
        [
            "BIFROST_ODIN_TTL is \"20 min\", which is not a whole number of seconds; the setting of the stack file counts.",
            "BIFROST_SESSION_BUDGET_ODIN is \"-1\", which is not a whole number; the setting of the stack file counts.",
            "BIFROST_PORT is not a port, 1 to 65535; the setting of the stack file counts.",
        ]
    );
}

#[test]
fn the_variable_of_the_idle_time_counts_for_reviewers_with_one_of_their_own() {
    let raw = with(|raw| {
        raw.agents.0[0].1.ttl = time("1 h");
        raw.agents.0[1].1.ttl = time("1 h");
        raw.agents.0[1].1.tier = text("reviewer");
    });
    let stack = resolve(&raw, &facts()).expect("nothing is wrong");
    assert_eq!(stack.agents[1].tier, Tier::Reviewer);
    let (stack, _) = stack.with_env(|name| (name == "BIFROST_ODIN_TTL").then(|| "60".to_owned()));
    assert_eq!(stack.gateway.odin_ttl, Duration::from_secs(60));
    assert_eq!((stack.agents[0].ttl, stack.agents[1].ttl), (Some(Duration::from_hours(1)), None));
}
