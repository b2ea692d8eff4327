//! Downloads beside aria2c, curl and the Hub's own `hf download`: one Hub on the loopback, one disk, one run.
//!
//! Rounds are interleaved, so that what a busy machine does to one it does to all, and medians are taken over them. Only
//! Asgard's and `hf download`'s files end in a cache, and only Asgard's are verified.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use journeys::household::{Household, program};
use rehearsal::hub::Content;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};

use crate::{Row, TICKS, keep, ticks};

const GIB: u64 = 1 << 30;
const ROUNDS: usize = 5;
const PACED_ROUNDS: usize = 3;
const MANY_ROUNDS: usize = 3;
const MANY: usize = 2000;
/// A connection's pace where the line is what limits.
const PACE: u64 = 30_000_000;
/// Nothing here takes longer.
const LONGEST: Duration = Duration::from_mins(5);

/// What one way took: seconds by the wall, seconds of processors.
#[derive(Debug, Clone, Copy)]
struct Took {
    wall: f64,
    processor: f64,
}

/// The Hub, in a process of its own.
struct Hub {
    process: Child,
    endpoint: String,
}

impl Hub {
    fn start() -> Self {
        let mut command = Command::new(program("asgard"));
        command.arg("rehearsal-hub");
        for n in 0..=ROUNDS + PACED_ROUNDS {
            command.args(["--file", &format!("{}:model.safetensors:{GIB}", large(n))]);
        }
        for n in 0..MANY_ROUNDS {
            command.args(["--many", &format!("{}:{MANY}", many(n))]);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut says = std::io::BufReader::new(process.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut says, &mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        Self { process, endpoint: said["endpoint"].as_str().unwrap().to_owned() }
    }

    /// Its files are hashed before anything is measured.
    async fn warm(&self) {
        let repos = (0..=ROUNDS + PACED_ROUNDS).map(large).chain((0..MANY_ROUNDS).map(many));
        for repo in repos {
            let address = format!("{}/api/models/{repo}?blobs=true", self.endpoint);
            assert!(
                net::plain().build().unwrap().get(address).send().await.unwrap().status().is_success(),
                "{repo}"
            );
        }
    }

    async fn pace(&self, bytes_per_second: Option<u64>) {
        let address = format!("{}/_rehearsal/pace", self.endpoint);
        let body = json!({ "bytes_per_second": bytes_per_second });
        net::plain().build().unwrap().post(address).json(&body).send().await.unwrap();
    }

    fn file(&self) -> String {
        format!("{}/{}/resolve/main/model.safetensors", self.endpoint, large(0))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn large(n: usize) -> String {
    format!("bench/large-{n}")
}

fn many(n: usize) -> String {
    format!("bench/many-{n}")
}

/// Runs a program to its end, and reads what it took before it is forgotten.
fn run(mut command: Command) -> Took {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let began = Instant::now();
    let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let pid = Pid::from_child(&child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let wall = began.elapsed();
    let processor = ticks(child.id()) as f64 / TICKS;
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    assert!(wall < LONGEST, "{command:?} took {wall:?}");
    Took { wall: wall.as_secs_f64(), processor }
}

/// The ways, each of which leaves nothing behind for the next round.
struct Ways {
    household: Household,
    hub: Hub,
    scratch: PathBuf,
    controller: u32,
}

impl Ways {
    fn clean(&self) -> &Path {
        let _ = std::fs::remove_dir_all(&self.scratch);
        std::fs::create_dir_all(&self.scratch).unwrap();
        &self.scratch
    }

    fn aria2c(&self) -> Took {
        let mut command = Command::new("aria2c");
        command.args(["-x8", "-s8", "-k1M", "--file-allocation=none", "--quiet", "-o", "out", "-d"]);
        command.arg(self.clean()).arg(self.hub.file());
        run(command)
    }

    fn curl(&self) -> Took {
        let mut command = Command::new("curl");
        command.args(["-sSfL", "-o"]).arg(self.clean().join("out")).arg(self.hub.file());
        run(command)
    }

    fn hf(&self, repo: &str) -> Took {
        let hf = Path::new("target/clients/bin/hf");
        assert!(hf.is_file(), "scripts/clients installs `hf`");
        let mut command = Command::new(hf);
        command
            .args(["download", repo])
            .env("HF_HOME", self.clean())
            .env("HF_ENDPOINT", &self.hub.endpoint)
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
            .env("HF_HUB_DISABLE_TELEMETRY", "1");
        run(command)
    }

    /// `asgard models pull`, with the controller's part of the work.
    fn asgard(&self, repo: &str) -> Took {
        self.clean();
        let mut command = Command::new(program("asgard"));
        command.env_clear().envs(self.household.env()).args(["models", "pull", repo]);
        let before = ticks(self.controller);
        let mut took = run(command);
        took.processor += (ticks(self.controller) - before) as f64 / TICKS;
        let folder = format!("models--{}", repo.replace('/', "--"));
        let _ = std::fs::remove_dir_all(self.household.path("hf/hub").join(folder));
        took
    }
}

fn median(of: &[Took], what: impl Fn(&Took) -> f64) -> f64 {
    let mut all: Vec<f64> = of.iter().map(what).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What hashing a gigabyte alone takes of a processor: a pass with the hash, less one without.
fn hash_seconds() -> f64 {
    let content = Content::Seeded { size: GIB / 4, seed: 1 };
    let mut buffer = vec![0; 1 << 18];
    let began = Instant::now();
    for at in (0..content.size()).step_by(buffer.len()) {
        content.fill(at, &mut buffer);
        std::hint::black_box(&buffer);
    }
    let without = began.elapsed();
    let began = Instant::now();
    std::hint::black_box(content.sha256());
    (began.elapsed().saturating_sub(without)).as_secs_f64() * 4.0
}

fn status_kilobytes(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").trim().parse().unwrap()
}

/// Everything, as rows of the table.
pub async fn downloads() -> Vec<Row> {
    eprintln!("Downloads beside aria2c, curl and hf: rounds of each in turn, some minutes.");
    let hub = Hub::start();
    hub.warm().await;
    let mut household = Household::without_agents();
    let home = household.path("hf");
    household.set("HF_HOME", &home).set("HF_ENDPOINT", &hub.endpoint);
    household.serve(&["--no-tray"]).await;
    let controller = household.controller_pid().expect("it runs");
    let scratch = household.path("scratch");
    let ways = Ways { household, hub, scratch, controller };

    // Everybody's first time is nobody's figure.
    ways.asgard(&large(ROUNDS + PACED_ROUNDS));
    tokio::time::sleep(Duration::from_secs(3)).await;
    let idle = status_kilobytes(controller, "VmRSS");
    // 5 resets the high-water mark.
    std::fs::write(format!("/proc/{controller}/clear_refs"), "5").unwrap();

    let (mut ours, mut aria, mut curl, mut hf) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for n in 0..ROUNDS {
        aria.push(ways.aria2c());
        ours.push(ways.asgard(&large(n)));
        curl.push(ways.curl());
        hf.push(ways.hf(&large(0)));
    }
    let peak = status_kilobytes(controller, "VmHWM");

    ways.hub.pace(Some(PACE)).await;
    let (mut slow_ours, mut slow_aria) = (Vec::new(), Vec::new());
    for n in ROUNDS..ROUNDS + PACED_ROUNDS {
        slow_aria.push(ways.aria2c());
        slow_ours.push(ways.asgard(&large(n)));
    }
    ways.hub.pace(None).await;

    let (mut many_ours, mut many_hf) = (Vec::new(), Vec::new());
    for n in 0..MANY_ROUNDS {
        many_hf.push(ways.hf(&many(n)));
        many_ours.push(ways.asgard(&many(n)));
    }

    let wall = |of: &[Took]| median(of, |t| t.wall);
    let processor = |of: &[Took]| median(of, |t| t.processor);
    let hash = hash_seconds();
    let above = (peak.saturating_sub(idle)) as f64 / 1024.0;
    keep(
        "downloads",
        &json!({
            "rounds": { "large": ROUNDS, "paced": PACED_ROUNDS, "many": MANY_ROUNDS },
            "large_seconds": { "asgard": wall(&ours), "aria2c": wall(&aria), "curl": wall(&curl), "hf": wall(&hf) },
            "large_processor_seconds": {
                "asgard": processor(&ours), "aria2c": processor(&aria), "curl": processor(&curl), "hf": processor(&hf),
                "hash": hash,
            },
            "paced_bytes_per_second": PACE,
            "paced_seconds": { "asgard": wall(&slow_ours), "aria2c": wall(&slow_aria) },
            "many_files": MANY,
            "many_seconds": { "asgard": wall(&many_ours), "hf": wall(&many_hf) },
            "memory_above_idle_mb": above,
        }),
    );
    println!("\n{:<24} {:>9} {:>9} {:>9} {:>9}", "seconds", "asgard", "aria2c", "curl", "hf");
    let line = |name, cells: [f64; 4]| {
        let cells: String = cells.iter().map(|c| format!(" {c:>9.3}")).collect();
        println!("{name:<24}{cells}");
    };
    line("1 GiB", [wall(&ours), wall(&aria), wall(&curl), wall(&hf)]);
    line("  of processors", [processor(&ours), processor(&aria), processor(&curl), processor(&hf)]);
    line("1 GiB, 30 MB/s each", [wall(&slow_ours), wall(&slow_aria), f64::NAN, f64::NAN]);
    line("2,000 small files", [wall(&many_ours), f64::NAN, f64::NAN, wall(&many_hf)]);
    println!("The hash of 1 GiB alone: {hash:.3} s");
    vec![
        Row::at_most("1 GiB verified, of aria2c's time without", wall(&ours) / wall(&aria), "times", 1.0),
        Row::at_least("1 GiB verified", 1024.0 / wall(&ours), "MiB/s", 800.0),
        Row::at_most(
            "at 30 MB/s a connection, of aria2c -x8",
            wall(&slow_ours) / wall(&slow_aria),
            "times",
            1.0,
        ),
        Row::at_most("2,000 small files, of hf download", wall(&many_ours) / wall(&many_hf), "times", 0.5),
        Row::at_most("memory above idle while downloading", above, "MB", 64.0),
        Row::at_most(
            "processors per GiB, of curl's plus the hash",
            processor(&ours) / (processor(&curl) + hash),
            "times",
            1.0,
        ),
    ]
}
