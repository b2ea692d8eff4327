//! The benchmarks that a person would notice: a table, and `target/bench/*.json`.
//!
//! `bench` measures everything, `bench gateway` and `bench downloads` that part alone. Exit code 1 when a target is missed. What is measured
//! is the build that this program is part of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a script: what fails here ends it, with the reason"
)]

#[path = "../../../../src-tauri/crates/domain/tests/simulator/mod.rs"]
mod simulator;

mod downloads;
mod gateway;

use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use domain::Bytes;
use domain::estimate::{Request, estimate, longest_context};
use domain::plan::{Goal, plan};
use domain::stack::BackendKind;
use journeys::display::{SOON, Screen, X11};
use journeys::household::{Household, program, state_of};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::{Instant, sleep};

struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    target: Bound,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// What is no number is no success either.
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

impl Row {
    fn at_most(name: &'static str, value: f64, unit: &'static str, bound: f64) -> Self {
        Self { name, value, unit, target: Bound::AtMost(bound) }
    }

    fn at_least(name: &'static str, value: f64, unit: &'static str, bound: f64) -> Self {
        Self { name, value, unit, target: Bound::AtLeast(bound) }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if gateway::part(&words).is_some() {
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => runtime.block_on(measure(&Part::ALL)),
        ["gateway"] => runtime.block_on(measure(&[Part::Gateway])),
        ["downloads"] => runtime.block_on(measure(&[Part::Downloads])),
        _ => {
            eprintln!("{words:?} is nothing to measure.\nUse: bench [gateway|downloads]");
            ExitCode::from(2)
        }
    }
}

/// What can be measured alone.
#[derive(Clone, Copy)]
enum Part {
    House,
    Gateway,
    Downloads,
}

impl Part {
    const ALL: [Self; 3] = [Self::House, Self::Gateway, Self::Downloads];
}

async fn measure(parts: &[Part]) -> ExitCode {
    let mut rows = Vec::new();
    for part in parts {
        match part {
            Part::House => {
                rows.extend(plans());
                rows.push(estimates());
                rows.extend(window().await);
                rows.extend(controller().await);
                rows.extend(switch().await);
            }
            Part::Gateway => rows.extend(gateway::gateway().await),
            Part::Downloads => rows.extend(downloads::downloads().await),
        }
    }
    println!("\n{:<46} {:>10}   {:>8} {:>10}", "", "measured", "", "target");
    let mut missed = 0;
    for row in &rows {
        let verdict = if row.target.holds(row.value) { "" } else { "  missed" };
        missed += usize::from(!verdict.is_empty());
        let (side, target) = match row.target {
            Bound::AtMost(bound) => ("at most", bound),
            Bound::AtLeast(bound) => ("at least", bound),
        };
        println!("{:<46} {:>10.3}   {side:>8} {target:>10.3} {}{verdict}", row.name, row.value, row.unit);
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn keep(name: &str, what: &Value) {
    let folder = Path::new("target/bench");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(format!("{name}.json")), format!("{what:#}\n")).unwrap();
}

/// A plan for a crowd on eight pools, the slowest of three goals: a profile, one agent for which there is no room
/// beside the others, so that every profile is tried, and everybody asleep.
fn plans() -> Vec<Row> {
    let of = |agents: usize| {
        let (stack, mut situation) = simulator::crowd(agents);
        let asleep = stack.agents[1].name.clone();
        let wished = [Goal::Profile("p0".into()), Goal::Awake(asleep), Goal::Nobody];
        let mut slowest: f64 = 0.0;
        for goal in wished {
            if matches!(goal, Goal::Awake(_)) {
                situation.lost.insert(situation.pools[0].id.clone(), Bytes::gb(96.0));
            }
            let mut times: Vec<f64> = (0..25)
                .map(|_| {
                    let began = Instant::now();
                    std::hint::black_box(plan(&stack, &situation, &goal)).expect("a plan");
                    began.elapsed().as_secs_f64() * 1000.0
                })
                .collect();
            times.sort_by(f64::total_cmp);
            slowest = slowest.max(times[12]);
        }
        slowest
    };
    let (few, many) = (of(6), of(100));
    keep("plans", &json!({ "six_agents_ms": few, "hundred_agents_ms": many, "targets_ms": [1.0, 20.0] }));
    vec![
        Row::at_most("a plan for 6 agents on 8 pools", few, "ms", 1.0),
        Row::at_most("a plan for 100 agents on 8 pools", many, "ms", 20.0),
    ]
}

/// From the bytes of a config.json to what the model takes: the slowest of a model with a long list of unquantised
/// modules, one with several kinds of layers and one with towers.
fn estimates() -> Row {
    const CONFIGS: [&[u8]; 3] = [
        include_bytes!("../../../../src-tauri/crates/models/tests/configs/qwen3-next-80b-a3b-awq-4bit.json"),
        include_bytes!("../../../../src-tauri/crates/models/tests/configs/gemma-3-27b.json"),
        include_bytes!("../../../../src-tauri/crates/models/tests/configs/qwen3.5-27b.json"),
    ];
    let mut slowest: f64 = 0.0;
    for config in CONFIGS {
        let mut times: Vec<f64> = (0..25)
            .map(|_| {
                let began = Instant::now();
                let facts = models::config::read(config).expect("a configuration");
                let request = Request::one(BackendKind::Vllm, Some(131_072));
                std::hint::black_box(estimate(&facts, &request)).expect("an estimate");
                std::hint::black_box(longest_context(&facts, &request, Bytes::gb(8.0)));
                began.elapsed().as_secs_f64() * 1000.0
            })
            .collect();
        times.sort_by(f64::total_cmp);
        slowest = slowest.max(times[12]);
    }
    keep("estimate", &json!({ "slowest_ms": slowest, "target_ms": 5.0 }));
    Row::at_most("an estimate from a config.json", slowest, "ms", 5.0)
}

/// Colours in a strip through the rail's first words and the memory header: many are smooth letters, not a blank page.
/// The strip is small, so that looking costs the window nothing.
fn written(eye: &mut X11) -> usize {
    eye.colours(0, 18, 400, 16)
}

/// From exec until there is text in the window, with the controller running and everything read from disk once.
async fn window() -> Vec<Row> {
    let mut household = Household::new();
    let screen = Screen::start(1280, 800).await;
    screen.dress(&mut household);
    household.serve(&["--rehearsal"]).await;
    let mut eye = screen.eye();
    let mut times = Vec::new();
    for turn in 0..7 {
        assert!(written(&mut eye) <= 2, "the screen is empty before each start");
        let began = Instant::now();
        let mut child = household.command(program("asgard-desktop")).arg("--rehearsal").spawn().unwrap();
        while written(&mut eye) < 20 {
            assert!(began.elapsed() < SOON, "nothing was painted");
            sleep(Duration::from_millis(5)).await;
        }
        let took = began.elapsed().as_secs_f64();
        screen.close(screen.window("Asgard", SOON).await);
        tokio::time::timeout(SOON, child.wait()).await.expect("it ends when it is closed").unwrap();
        // The first one warms the disk's cache.
        if turn > 0 {
            times.push(took);
        }
    }
    times.sort_by(f64::total_cmp);
    let median = f64::midpoint(times[2], times[3]);
    keep("window", &json!({ "painted_seconds": times, "median_seconds": median, "target_seconds": 0.8 }));
    vec![Row::at_most("window painted after exec, median of 6", median, "s", 0.8)]
}

/// The controller with nothing to do, its tray shown and the window closed: everyone asleep, then two agents awake.
async fn controller() -> Vec<Row> {
    let mut household = Household::new();
    let screen = Screen::start(640, 480).await;
    screen.dress(&mut household);
    let mut desktop = Desktop::start(&household).await;
    household.serve(&["--rehearsal"]).await;
    desktop.until("registered").await;
    let pid = household.controller_pid().unwrap();
    let asleep = idle(pid).await;
    household.asgard(&["up", "standard"]).await.ok();
    let awake = idle(pid).await;
    keep(
        "controller",
        &json!({
            "asleep": { "pss_bytes": asleep.0, "core_share": asleep.1 },
            "awake": { "pss_bytes": awake.0, "core_share": awake.1 },
            "targets": { "pss_bytes": 20 << 20, "core_share": 0.005 },
        }),
    );
    let mut rows = Vec::new();
    for (pss, cpu, (bytes, share)) in [
        ("controller, all asleep: PSS", "controller, all asleep: of one core", asleep),
        ("controller, two awake: PSS", "controller, two awake: of one core", awake),
    ] {
        rows.push(Row::at_most(pss, bytes as f64 / f64::from(1 << 20), "MB", 20.0));
        rows.push(Row::at_most(cpu, share * 100.0, "%", 0.5));
    }
    rows
}

/// What shows the tray: the watcher that the tray's journeys use.
struct Desktop {
    _program: Child,
    /// It ends when this is closed.
    _to: ChildStdin,
    says: Lines<BufReader<ChildStdout>>,
}

impl Desktop {
    async fn start(household: &Household) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tray/watcher.py");
        // The system's Python, which has the system's packages.
        let mut command = household.command("/usr/bin/python3");
        let mut program =
            command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let says = BufReader::new(program.stdout.take().unwrap()).lines();
        let to = program.stdin.take().unwrap();
        let mut desktop = Self { _program: program, _to: to, says };
        desktop.until("watching").await;
        desktop
    }

    async fn until(&mut self, event: &str) {
        let wanted = format!("{event:?}");
        let said = async {
            while let Some(line) = self.says.next_line().await.unwrap() {
                if line.contains(&wanted) {
                    return;
                }
            }
            panic!("the tray's watcher ended");
        };
        tokio::time::timeout(SOON, said).await.unwrap_or_else(|_| panic!("the tray was never {event}"));
    }
}

/// PSS at the end, and the share of one core, over 30 s that begin after it has settled.
async fn idle(pid: u32) -> (u64, f64) {
    sleep(Duration::from_secs(5)).await;
    let (began, before) = (Instant::now(), ticks(pid));
    sleep(Duration::from_secs(30)).await;
    let spent = (ticks(pid) - before) as f64 / TICKS;
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let pss = rollup.lines().find_map(|l| l.strip_prefix("Pss:")).unwrap();
    let kilobytes: u64 = pss.trim().trim_end_matches(" kB").trim().parse().unwrap();
    (kilobytes << 10, spent / began.elapsed().as_secs_f64())
}

/// What /proc counts processor time in, on every Linux.
const TICKS: f64 = 100.0;

/// The processor time of all its threads so far.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    after.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum()
}

/// A switch from standard to odin, less what the stand-ins say that they took themselves.
async fn switch() -> Vec<Row> {
    let mut extra = Vec::new();
    let mut household = Household::new();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "1000");
    household.serve(&["--rehearsal"]).await;
    let client = household.client().await;
    for _ in 0..5 {
        household.asgard(&["switch", "standard"]).await.ok();
        let seen = household.journal_entries().len();
        let began = Instant::now();
        let outcome = client.call_value("switch", json!({ "profile": "odin" })).await.unwrap();
        let took = began.elapsed().as_secs_f64();
        assert_eq!(state_of(&household.status().await, "odin"), "ready", "{outcome}");
        let journal = household.journal_entries().split_off(seen);
        let at = |agent: &str, event: &str| {
            let entry = journal.iter().find(|e| e["agent"] == agent && e["event"] == event);
            let time = entry.unwrap_or_else(|| panic!("{agent} wrote no {event}: {journal:#?}"))["time"]
                .as_str()
                .unwrap();
            time.parse::<jiff::Timestamp>().unwrap().as_nanosecond() as f64 / 1e9
        };
        let theirs =
            (at("valkyrie", "exit") - at("valkyrie", "stop")) + (at("odin", "ready") - at("odin", "start"));
        extra.push(took - theirs);
    }
    extra.sort_by(f64::total_cmp);
    keep("switch", &json!({ "extra_seconds": extra, "median_seconds": extra[2], "target_seconds": 0.3 }));
    vec![Row::at_most("switch, beyond what the servers took, median", extra[2] * 1000.0, "ms", 300.0)]
}
