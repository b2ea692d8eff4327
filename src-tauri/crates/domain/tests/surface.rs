//! What a stack of somebody else would run or reach, as it is shown before it is started for the first time.

mod common;

use common::{agent, external, profile, stack};
use domain::stack::{Agent, BackendKind, Runs, Stack, Surface, SurfaceKind, surface, surface_hash};

fn of(agents: Vec<Agent>) -> Stack {
    stack(agents, vec![profile("p", &["thor"])], &[])
}

fn words(found: &[Surface]) -> Vec<(String, SurfaceKind, &str)> {
    found.iter().map(|s| (s.agent.to_string(), s.kind, s.text.as_str())).collect()
}

fn list(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|p| (*p).to_owned()).collect()
}

fn thor() -> Agent {
    agent("thor", 10.0)
}

#[test]
fn everything_that_touches_the_machine_is_listed_in_order() {
    let container = Agent {
        runs: Runs::Container { image: "ghcr.io/x/y:1".into(), host_ipc: true },
        model: "/models/big/a.gguf".into(),
        draft_model: Some("/models/small/b.gguf".into()),
        args: list(&["--flag", "two words"]),
        env: [("A".to_owned(), "1".to_owned())].into(),
        ..thor()
    };
    let process = Agent {
        backend: BackendKind::LlamaCpp,
        runs: Runs::Process { command: list(&["/opt/llama-server", "-x"]) },
        model: "Qwen/Qwen2.5-3B-Instruct-GGUF/q4_k_m.gguf".into(),
        ..agent("loki", 1.0)
    };
    let hel = Agent { model: "/models/served.gguf".into(), ..external("hel") };
    let role = Agent { served_by: Some(common::name("thor")), ..agent("frigga", 0.0) };
    let found = surface(&of(vec![container, process, hel, role]));
    let t = || "thor".to_owned();
    assert_eq!(
        words(&found),
        [
            (t(), SurfaceKind::Image, "ghcr.io/x/y:1"),
            (t(), SurfaceKind::Device, "the GPU: /dev/kfd and /dev/dri, where they exist"),
            (t(), SurfaceKind::Device, "the memory that programs of this machine share (host_ipc)"),
            (t(), SurfaceKind::Mount, "/models/big"),
            (t(), SurfaceKind::Mount, "/models/small"),
            (t(), SurfaceKind::Argument, "--flag \"two words\""),
            (t(), SurfaceKind::Variable, "A=1"),
            // A file of the Hub is fetched, not mounted.
            ("loki".to_owned(), SurfaceKind::Command, "/opt/llama-server -x"),
            // Nor is a file of a server that others run.
            ("hel".to_owned(), SurfaceKind::Endpoint, "http://127.0.0.1:9000"),
        ]
    );
}

#[test]
fn another_surface_has_another_hash() {
    let hash = |agents: Vec<Agent>| surface_hash(&surface(&of(agents)));
    let base = hash(vec![thor()]);
    let changed: [Agent; 6] = [
        Agent { runs: Runs::Container { image: "other".into(), host_ipc: false }, ..thor() },
        Agent { runs: Runs::Container { image: "server".into(), host_ipc: true }, ..thor() },
        Agent { runs: Runs::Process { command: list(&["server"]) }, ..thor() },
        Agent { model: "/m/a.gguf".into(), ..thor() },
        Agent { args: list(&["--x"]), ..thor() },
        Agent { env: [("A".to_owned(), "1".to_owned())].into(), ..thor() },
    ];
    let mut all: Vec<String> = changed.into_iter().map(|a| hash(vec![a])).collect();
    all.push(base.clone());
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 7);
    // What changes nothing that is run leaves it alone.
    assert_eq!(
        hash(vec![Agent { role: "You help.".into(), title: "T".into(), pinned: true, ..thor() }]),
        base
    );
}

/// What is run is a list: one argument with a space in it is not two.
#[test]
fn how_a_line_is_cut_is_part_of_it() {
    let args = |parts: &[&str]| {
        let found = surface(&of(vec![Agent { args: list(parts), ..thor() }]));
        (surface_hash(&found), found.last().map(|s| s.text.clone()).unwrap_or_default())
    };
    let lists: [&[&str]; 6] =
        [&["a b"], &["a", "b"], &["a", "", "b"], &["\"a", "b\""], &["a\nb"], &["a\\nb"]];
    for (i, one) in lists.iter().enumerate() {
        for other in &lists[i + 1..] {
            assert_ne!(args(one), args(other), "{one:?} {other:?}");
        }
        assert!(!args(one).1.contains('\n'), "{one:?} is one line");
    }
}

/// Whoever comes first, the same is listed: nothing hides behind another agent.
#[test]
fn the_order_of_agents_hides_nothing() {
    let two =
        || (thor(), Agent { runs: Runs::Process { command: list(&["rm", "-rf"]) }, ..agent("loki", 1.0) });
    let sorted = |agents: Vec<Agent>| {
        let found = surface(&of(agents));
        let mut all: Vec<String> = found.iter().map(|s| format!("{s:?}")).collect();
        all.sort();
        all
    };
    let ((a, b), (c, d)) = (two(), two());
    assert_eq!(sorted(vec![a, b]), sorted(vec![d, c]));
}
