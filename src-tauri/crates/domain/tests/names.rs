//! What can be told of a model by its name alone, what an agent's environment may do, and what a changed stack
//! touches.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;

use common::raw::{facts, good, size, text, texts, with, with_thor};
use common::{name, plain};
use domain::stack::raw::{RawAgent, RawStack};
use domain::stack::{Agent, BackendKind, Runs, Stack, changed, resolve};
use proptest::prelude::*;

fn taken(raw: &RawStack) -> Stack {
    resolve(raw, &facts()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn refused(raw: &RawStack) -> Vec<String> {
    let problems = resolve(raw, &facts()).expect_err("something is wrong");
    problems.iter().map(|p| plain(&format!("{}: {} {}", p.path.join("."), p.message, p.next))).collect()
}

fn notes(raw: &RawStack, path: &str) -> Vec<String> {
    let notes = taken(raw).notes.into_iter().filter(|n| n.path.join(".") == path);
    notes.map(|n| plain(&n.message)).collect()
}

fn thor(model: &str, backend: Option<&str>) -> RawStack {
    with_thor(|t| {
        *t = RawAgent {
            model: text(model),
            backend: backend.and_then(text),
            memory: size("4 GB"),
            port: (backend != Some("ollama")).then_some(8001),
            ..RawAgent::default()
        };
    })
}

#[test]
fn a_file_of_the_hub_is_a_model_of_llama_cpp() {
    let file = "Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf";
    let stack = taken(&with_thor(|t| {
        t.model = text(file);
        t.kv_cache = size("2 GB");
    }));
    assert_eq!((stack.agents[0].backend, stack.agents[0].model.as_str()), (BackendKind::LlamaCpp, file));
    // Weights from the catalogue, 1 GB beside them.
    assert_eq!(stack.agents[0].claim_in(domain::Bytes::ZERO).0, 491_400_032 + (3 << 30));
    assert_eq!(
        refused(&thor("a/b/c.gguf", Some("vllm"))),
        [
            "agents.thor.model: \"a/b/c.gguf\" is one file of a/b, and vLLM loads whole repositories. Write backend = \
             \"llama.cpp\", or the id of a repository that vLLM loads."
        ]
    );
    assert_eq!(
        refused(&thor("a/b/c-00002-of-00003.gguf", None)),
        ["agents.thor.model: \"a/b/c-00002-of-00003.gguf\" is not the first part of its model. Write \
             \"a/b/c-00001-of-00003.gguf\"; the server finds the others beside it."]
    );
    assert_eq!(
        refused(&with_thor(|t| {
            t.model = text("/m/small.gguf");
            t.draft_model = text("a/b/c.gguf");
        })),
        [
            "agents.thor.draft_model: \"a/b/c.gguf\" is a file of the Hub, and only model is looked for there. Write \
             the whole path of its file."
        ]
    );
    for vague in ["./models/c.gguf", "c.gguf", "a/.b/c.gguf"] {
        let raw = thor(vague, None);
        let said = notes(&raw, "agents.thor.model");
        assert_eq!(
            said,
            [format!("\"{vague}\" is neither a whole path nor OWNER/NAME/FILE.gguf of the Hub.")]
        );
    }
    for fine in ["/m/c.gguf", "a/b/c.gguf", "a/b/c-00001-of-00003.gguf"] {
        assert_eq!(notes(&thor(fine, None), "agents.thor.model"), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn a_model_of_ollama_is_a_tag() {
    for tag in ["qwen2.5:14b", "llama3.2", "hf.co/a/B-GGUF:Q4_K_M", "registry.local:5000/a/b:latest"] {
        let stack = taken(&thor(tag, Some("ollama")));
        assert!(matches!(stack.agents[0].runs, Runs::Ollama { .. }), "{tag}");
    }
    for bad in ["qwen 2.5", "a//b", "a/", "q;rm", "q\u{e4}"] {
        let said = refused(&thor(bad, Some("ollama")));
        assert_eq!(
            said,
            [format!(
                "agents.thor.model: \"{bad}\" is not a model of Ollama. Write it as `ollama list` shows it, such as \
                 model = \"qwen2.5:14b\"."
            )]
        );
    }
}

#[test]
fn the_folder_of_an_engines_socket_is_never_given_to_an_agent() {
    for path in
        ["/run/docker.sock", "/var/run/a.gguf", "/run/user/1000/podman/podman.sock", "/run/media/a.gguf"]
    {
        let said = refused(&thor(path, Some("llama.cpp")));
        assert!(said.len() == 1 && said[0].starts_with("agents.thor.model: The folder of "), "{said:#?}");
    }
    // A disk that the desktop mounted.
    assert_eq!(taken(&thor("/run/media/u/disk/a.gguf", None)).agents.len(), 3);
}

#[test]
fn a_variable_that_loads_code_is_noted() {
    let raw = with_thor(|t| {
        t.env = Some(BTreeMap::from([
            ("LD_PRELOAD".to_owned(), "/tmp/x.so".to_owned()),
            ("A".to_owned(), "1".to_owned()),
        ]));
    });
    assert_eq!(
        notes(&raw, "agents.thor.env.LD_PRELOAD"),
        ["LD_PRELOAD makes the server load code from \"/tmp/x.so\"."]
    );
    assert_eq!(notes(&raw, "agents.thor.env.A"), Vec::<String>::new());
}

#[test]
fn a_role_does_not_work_on_more_at_once_than_its_server() {
    let frigga =
        |sequences| RawAgent { served_by: text("thor"), sequences: Some(sequences), ..RawAgent::default() };
    let raw = |sequences| with(|raw| raw.agents.0.push(("frigga".into(), frigga(sequences))));
    assert_eq!(taken(&raw(4)).agents[3].sequences, 4);
    assert_eq!(
        refused(&raw(5)),
        ["agents.frigga.sequences: Thor's server works on 4 at once. Write sequences = 4 or less."]
    );
}

#[test]
fn a_changed_file_touches_only_whom_it_concerns() {
    let old = taken(&good());
    assert!(changed(&old, &old).is_empty());
    let new = taken(&with(|raw| {
        raw.agents.0.remove(1);
        raw.profiles.0.remove(1);
        raw.conflicts.clear();
        raw.agents.0[0].1.title = text("Thunderer");
        raw.agents.0[1].1.context = Some(16_384);
        raw.agents.0.push(("eir".into(), RawAgent { served_by: text("thor"), ..RawAgent::default() }));
    }));
    let diff = changed(&old, &new);
    assert_eq!(diff.added, [name("eir")]);
    assert_eq!(diff.removed, [name("odin")]);
    assert_eq!(diff.restart, [name("loki")]);
    assert_eq!(diff.shown, [name("thor")]);
}

#[test]
fn roles_follow_a_server_that_became_another() {
    let raw = with(|raw| {
        let frigga = RawAgent { served_by: text("thor"), title: text("Queen"), ..RawAgent::default() };
        raw.agents.0.insert(0, ("frigga".into(), frigga));
    });
    let checked = taken(&raw);
    let mut stack = checked.clone();
    stack.roles_follow();
    assert_eq!(stack, checked, "of a stack as it was checked nothing changes");
    let endpoint = Runs::External { endpoint: "http://127.0.0.1:9000".into() };
    let thor = stack.agents.iter_mut().find(|a| a.name.as_str() == "thor").expect("it");
    (thor.runs, thor.port, thor.context, thor.model) = (endpoint.clone(), 9000, 4096, "other".into());
    stack.roles_follow();
    let frigga = &stack.agents[0];
    assert_eq!((&frigga.runs, frigga.port, frigga.context), (&endpoint, 9000, 4096));
    assert_eq!((frigga.model.as_str(), frigga.title.as_str()), ("other", "Queen"));
    assert_eq!(frigga.served_by, Some(name("thor")));
    assert_eq!(frigga.claim_in(domain::Bytes::gb(128.0)), domain::Bytes::ZERO);
}

#[test]
fn a_role_starts_nothing_again_until_it_has_a_server_of_its_own() {
    let role = |on: &str| {
        taken(&with(|raw| {
            raw.conflicts.clear();
            raw.agents.0[2].1 = RawAgent { served_by: text(on), ..RawAgent::default() };
        }))
    };
    let loki = [name("loki")];
    let moved = changed(&role("thor"), &role("odin"));
    assert!(moved.restart.is_empty() && moved.shown == loki, "{moved:?}");
    let own = taken(&with(|raw| raw.conflicts.clear()));
    assert_eq!(changed(&role("thor"), &own).restart, loki);
    assert_eq!(changed(&own, &role("thor")).restart, loki);
    // Whatever is said of a server of others, others start it.
    let theirs = |model: &str| {
        taken(&with_thor(|t| {
            let endpoint = text("http://127.0.0.1:9000");
            *t = RawAgent { model: text(model), endpoint, ..RawAgent::default() };
        }))
    };
    let diff = changed(&theirs("a"), &theirs("b"));
    assert!(diff.restart.is_empty() && diff.shown == [name("thor")], "{diff:?}");
}

/// Every agent of both is in one list or unchanged, and each list is right by itself.
fn sorted_out(old: &Stack, new: &Stack) -> Result<(), TestCaseError> {
    let diff = changed(old, new);
    let names = |stack: &Stack| stack.agents.iter().map(|a| a.name.clone()).collect::<Vec<_>>();
    for agent in names(old).iter().chain(&names(new)) {
        let lists = [&diff.added, &diff.removed, &diff.restart, &diff.shown];
        let in_lists = lists.iter().filter(|l| l.contains(agent)).count();
        let same = old.agent(agent).is_some() && old.agent(agent) == new.agent(agent);
        prop_assert_eq!(in_lists, usize::from(!same), "{}", agent);
        prop_assert_eq!(diff.added.contains(agent), old.agent(agent).is_none());
        prop_assert_eq!(diff.removed.contains(agent), new.agent(agent).is_none());
    }
    let all = diff.added.len() + diff.removed.len() + diff.restart.len() + diff.shown.len();
    prop_assert!(all <= names(old).len() + names(new).len());
    Ok(())
}

fn any_stack() -> impl Strategy<Value = Stack> {
    let one = (0u8..3, 0u8..3, any::<bool>());
    prop::collection::vec(prop::option::weighted(0.8, one), 5).prop_map(|agents| {
        let mut all: Vec<Agent> = Vec::new();
        for (i, kind) in agents.into_iter().enumerate() {
            let Some((kind, context, titled)) = kind else { continue };
            let mut agent = common::agent(&format!("a{i}"), 1.0);
            agent.context = 1024 << context;
            if titled {
                agent.title = "T".into();
            }
            match (kind, all.iter().find(|a| a.served_by.is_none())) {
                (1, _) => agent.runs = Runs::External { endpoint: "http://127.0.0.1:9".into() },
                (2, Some(server)) => agent.served_by = Some(server.name.clone()),
                _ => {}
            }
            all.push(agent);
        }
        common::stack(all, Vec::new(), &[])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_difference_holds_everybody_once(old in any_stack(), new in any_stack()) {
        sorted_out(&old, &new)?;
        prop_assert!(changed(&old, &old).is_empty());
        // There and back again: what came goes, and the same start again.
        let (there, back) = (changed(&old, &new), changed(&new, &old));
        let set = |names: &[domain::AgentName]| names.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(set(&there.added), set(&back.removed));
        prop_assert_eq!(set(&there.restart), set(&back.restart));
        prop_assert_eq!(set(&there.shown), set(&back.shown));
    }

    /// Who may serve whom, worked out a second time: a role needs a known agent that is no role.
    #[test]
    fn roles_are_taken_exactly_where_there_is_a_server(on in prop::collection::vec(prop::option::of(0usize..5), 4)) {
        let names = ["thor", "odin", "loki", "frigga"];
        let written = |server: usize| if server < 4 { names[server] } else { "nobody" };
        let raw = with(|raw| {
            raw.conflicts.clear();
            raw.profiles.0.truncate(1);
            raw.profiles.0[0].1.agents = texts(&["thor"]);
            raw.agents.0.push(("frigga".into(), common::raw::agent(common::raw::LOKI, 8014, "3.5 GB")));
            for (i, server) in on.iter().enumerate() {
                if let Some(server) = server {
                    raw.agents.0[i].1 =
                        RawAgent { served_by: text(written(*server)), ..RawAgent::default() };
                }
            }
        });
        let sound = |server: &usize| *server < 4 && on[*server].is_none();
        let all_sound = on.iter().flatten().all(sound);
        match resolve(&raw, &facts()) {
            Ok(stack) => {
                prop_assert!(all_sound);
                for (i, server) in on.iter().enumerate() {
                    let agent = stack.agent(&name(names[i])).expect("it");
                    let expected = server.map_or(names[i], |s| names[s]);
                    prop_assert_eq!(stack.server_of(&agent.name).as_str(), expected);
                    let host = stack.agent(&name(expected)).expect("its server");
                    prop_assert_eq!((agent.port, &agent.model), (host.port, &host.model));
                    let roles = stack.roles_of(&agent.name).count();
                    prop_assert_eq!(roles, on.iter().filter(|s| **s == Some(i)).count());
                }
            }
            Err(problems) => {
                prop_assert!(!all_sound);
                let wrong = on.iter().flatten().filter(|s| !sound(s)).count();
                prop_assert_eq!(problems.len(), wrong, "{:?}", problems);
            }
        }
    }
}
