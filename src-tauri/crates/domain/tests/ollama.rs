//! Models that an Ollama of this machine holds, as agents: what is taken, what is refused, and the folders of
//! models in general.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod common;

use common::plain;
use common::raw::{agent as raw_agent, facts, size, text, with};
use domain::agent::AgentState;
use domain::plan::{Goal, plan};
use domain::stack::raw::{RawAgent, RawStack};
use domain::stack::{Runs, Stack, resolve};

fn ollama() -> RawAgent {
    RawAgent { backend: text("ollama"), model: text("qwen3:8b"), memory: size("9 GB"), ..RawAgent::default() }
}

fn with_eir(eir: RawAgent) -> RawStack {
    with(|raw| raw.agents.0.push(("eir".into(), eir)))
}

fn taken(raw: &RawStack) -> Stack {
    resolve(raw, &facts()).expect("nothing is wrong")
}

fn refused(raw: &RawStack) -> Vec<String> {
    let problems = resolve(raw, &facts()).expect_err("something is wrong");
    problems.iter().map(|p| plain(&format!("{}: {} {}", p.path.join("."), p.message, p.next))).collect()
}

#[test]
fn it_is_where_ollama_listens_unless_it_says_otherwise() {
    for (written, endpoint, port) in [
        (None, "http://127.0.0.1:11434", 11434),
        (text("http://localhost:9999/v1/"), "http://localhost:9999", 9999),
    ] {
        let stack = taken(&with_eir(RawAgent { endpoint: written, ..ollama() }));
        let eir = stack.agent(&common::name("eir")).expect("it");
        assert_eq!(eir.runs, Runs::Ollama { endpoint: endpoint.into() });
        assert_eq!((eir.port, eir.model.as_str(), eir.is_ours()), (port, "qwen3:8b", true));
    }
}

#[test]
fn one_ollama_serves_many_and_its_port_is_nobody_elses() {
    let several = with(|raw| {
        raw.agents.0.push(("eir".into(), ollama()));
        raw.agents.0.push(("gna".into(), RawAgent { model: text("llama3.2"), ..ollama() }));
    });
    assert_eq!(taken(&several).agents.len(), 5);
    let clash = with(|raw| {
        raw.agents.0.push(("eir".into(), ollama()));
        raw.agents.0.push(("hel".into(), raw_agent(common::raw::LOKI, 11434, "4 GB")));
    });
    assert_eq!(
        refused(&clash),
        ["agents.hel.port: eir and hel both want port 11434. Give hel a port of its own, such as 11435."]
    );
}

#[test]
fn what_does_not_go_with_it_is_refused_once() {
    let table = [
        (
            RawAgent { endpoint: text("http://192.168.1.9:11434"), ..ollama() },
            "agents.eir.endpoint: \"http://192.168.1.9:11434\" is not an address of Ollama on this machine. Write \
             endpoint = \"http://127.0.0.1:11434\", or leave it out.",
        ),
        (
            RawAgent { image: text("ollama/ollama"), ..ollama() },
            "agents.eir.image: image means nothing for a model of Ollama, which Eir is. Remove image, or say with \
             engine and backend what is meant.",
        ),
        (
            RawAgent { engine: text("container"), ..ollama() },
            "agents.eir.engine: Models of Ollama are run by Ollama, and backend = \"ollama\" is not. Write \
             \"ollama\" for both engine and backend, or for neither.",
        ),
    ];
    for (eir, expected) in table {
        assert_eq!(refused(&with_eir(eir)), [expected]);
    }
}

/// It is loaded and unloaded through Ollama, so it is planned as any other, with the memory that it was said to take.
#[test]
fn it_is_woken_and_put_to_sleep_by_plans() {
    let mut stack = taken(&with_eir(ollama()));
    stack.profiles.push(common::profile("eir", &["eir"]));
    let machine = || common::strix_halo(124.0, 120.0, 6.0);
    let asleep = plan(&stack, &machine(), &Goal::Profile("eir".into())).expect("a plan");
    assert!(asleep.fits && asleep.starts().any(|a| a.as_str() == "eir"), "{asleep:?}");
    assert_eq!(asleep.pools[0].planned, common::gb(9.0));
    let awake = common::with(&stack, machine(), &[("eir", AgentState::Ready, 0)]);
    let nobody = plan(&stack, &awake, &Goal::Nobody).expect("a plan");
    assert_eq!(nobody.stops().map(domain::AgentName::as_str).collect::<Vec<_>>(), ["eir"]);
}

/// The folder of a model file is given to the container that reads it.
#[test]
fn a_model_in_a_folder_of_everything_is_refused_however_it_is_written() {
    let gguf =
        |path: &str| RawAgent { memory: size("1 GB"), kv_cache: None, ..raw_agent(path, 8020, "1 GB") };
    for path in [
        "/a.gguf",
        "/./a.gguf",
        "//a.gguf",
        "/etc/a.gguf",
        "/etc/./a.gguf",
        "/home//a.gguf",
        "/proc/1/a.gguf",
    ] {
        assert_eq!(
            refused(&with_eir(gguf(path))),
            [format!(
                "agents.eir.model: The folder of \"{path}\" would be given to the agent, and it holds more than \
                 models. Put the file into a folder of its own."
            )]
        );
    }
    let draft = RawAgent { draft_model: text("/etc/a.gguf"), ..gguf("/m/a/b.gguf") };
    let found = refused(&with_eir(draft));
    assert!(found.len() == 1 && found[0].starts_with("agents.eir.draft_model: The folder of"), "{found:#?}");
    assert_eq!(taken(&with_eir(gguf("/m/a.gguf"))).agents.len(), 4);
    // What others run reads its own folders: nothing of this machine is given to it.
    let theirs = RawAgent {
        backend: text("external"),
        endpoint: text("http://127.0.0.1:8080"),
        model: text("/model"),
        ..RawAgent::default()
    };
    assert_eq!(taken(&with_eir(theirs)).agents.len(), 4);
}
