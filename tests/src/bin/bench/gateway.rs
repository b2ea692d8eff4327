//! The gateway beside nginx and haproxy: one agent, one client, one run.
//!
//! Rounds are interleaved, one of each after the other and each time begun by another, and medians are taken over the
//! rounds: what a busy machine does to one it does to all.

mod load;
mod ours;
mod peers;
mod upstream;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bifrost::Gateway;
use journeys::household::{Household, state_of};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{Row, keep};
use load::{Wire, rate, request};
use peers::Peer;

/// Of the proxies: nginx' worker processes, haproxy's threads, the workers of the gateway's runtime. `BENCH_THREADS`.
const THREADS: usize = 1;
/// Rounds of what takes long, and of what is short and must be known to a few millionths of a second.
const ROUNDS: usize = 15;
const SHORT_ROUNDS: usize = 61;
/// Requests of one round on one connection, one after the other.
const ASKED: usize = 100;
const CONNECTIONS: usize = 16;
const SPAN: Duration = Duration::from_millis(500);
const IDLE_STREAMS: usize = 500;
const TOKENS: usize = 200_000;

const DIRECT: &str = "direct";
const OURS: &str = "bifrost";
const ASGARD: &str = "asgard";
const NGINX: &str = "nginx";
const HAPROXY: &str = "haproxy";

/// Plays one of the parts that [`peers`] starts as processes of their own. `None`: these are not the words for one.
pub fn part(words: &[String]) -> Option<()> {
    let (part, upstream, threads) = match words {
        [part] if part == peers::UPSTREAM => (peers::UPSTREAM, None, 1),
        [part, upstream, threads] if part == peers::OURS => {
            (peers::OURS, Some(upstream.parse::<SocketAddr>().ok()?), threads.parse().ok()?)
        }
        _ => return None,
    };
    let runtime = if part == peers::UPSTREAM || threads == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    };
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    runtime.unwrap().block_on(async {
        let serving = async {
            if let Some(upstream) = upstream {
                let bound = Gateway::bind(any).await.unwrap();
                println!("{}", bound.address());
                ours::serve(bound, upstream).await;
            } else {
                let listener = TcpListener::bind(any).await.unwrap();
                println!("{}", listener.local_addr().unwrap());
                upstream::serve(listener).await.unwrap();
            }
        };
        // Nothing is ever written to it: it ends with whoever started this.
        let (ends, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = ends.send(());
        });
        tokio::select! {
            () = serving => {}
            _ = ended => {}
        }
    });
    Some(())
}

/// Everything, with the person's own Asgard as one more way to the agent.
pub async fn gateway() -> Vec<Row> {
    open_many();
    let threads = std::env::var("BENCH_THREADS").ok().and_then(|n| n.parse().ok()).unwrap_or(THREADS);
    let agent = Peer::own("the agent", &[peers::UPSTREAM]);
    let household = asgard(agent.address).await;
    let whole = household.status().await.gateway.address.expect("Bifrost is open");
    let whole = whole.trim_start_matches("http://").trim_end_matches("/v1").parse().unwrap();
    // Blocking from here on, on a thread of its own: nothing else is to run in this program.
    let measured = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        let upstream = agent.address;
        let ours = Peer::own(OURS, &[peers::OURS, &upstream.to_string(), &threads.to_string()]);
        let nginx = Peer::nginx(folder.path(), upstream, threads);
        let haproxy = Peer::haproxy(folder.path(), upstream, threads);
        let peers = [Peer::at(DIRECT, upstream), ours, Peer::at(ASGARD, whole), nginx, haproxy];
        measure(&peers, threads)
    });
    let rows = measured.await.unwrap();
    drop(household);
    rows
}

/// All of Asgard, with the agent of the measurement as a server of others.
async fn asgard(agent: SocketAddr) -> Household {
    let mut household = Household::without_agents();
    let folder = household.path("config/asgard-rehearsal");
    std::fs::create_dir_all(&folder).unwrap();
    let stack = format!(
        "version = 1\nname = \"bench\"\nbase = \"none\"\n[agents.mimir]\nbackend = \"external\"\n\
         endpoint = \"http://{agent}\"\nmodel = \"bench\"\n[profiles.none]\nagents = []\n"
    );
    std::fs::write(folder.join("stack.toml"), stack).unwrap();
    household.serve(&["--rehearsal"]).await;
    let ready = |status: &_| state_of(status, "mimir") == "ready";
    household.wait_status("the agent is seen", Duration::from_secs(30), ready).await;
    household
}

/// 500 streams are 1000 open files in a proxy, which inherits the limit.
fn open_many() {
    let now = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, maximum: now.maximum });
}

fn measure(peers: &[Peer], threads: usize) -> Vec<Row> {
    eprintln!("The gateway beside nginx and haproxy: rounds of each in turn, about two minutes.");
    // Each has taken its first connections and filled its pools before it is looked at.
    for peer in peers {
        rate(peer.address, CONNECTIONS, SPAN / 2);
    }
    let answers = interleaved(peers, SHORT_ROUNDS, |peer, wire| {
        let asked = request(peer.address, "answer");
        median((0..ASKED).map(|_| wire.answer(&asked)).collect())
    });
    let firsts = interleaved(peers, SHORT_ROUNDS, |peer, wire| {
        let asked = request(peer.address, "first");
        median((0..ASKED / 2).map(|_| wire.first_event(&asked)).collect())
    });
    let rates = interleaved(peers, ROUNDS, |peer, _| rate(peer.address, CONNECTIONS, SPAN));
    let chunks = (upstream::BURST * upstream::BURSTS) as f64;
    let bursts = interleaved(peers, ROUNDS, |peer, wire| {
        let asked = request(peer.address, "burst");
        chunks / median((0..5).map(|_| wire.stream(&asked, |_| {})).collect())
    });
    let proxies: Vec<&Peer> = peers.iter().filter(|p| [OURS, NGINX, HAPROXY].contains(&p.name)).collect();
    let idle: Vec<(&str, f64)> = proxies.iter().map(|peer| (peer.name, idle(peer))).collect();
    let flat: Vec<(&str, f64)> = proxies.iter().map(|peer| (peer.name, flat(peer))).collect();

    let added = |of: &Rounds, name| of.median(|round| round(name) - round(DIRECT));
    let (ours, nginx) = (added(&answers, OURS), added(&answers, NGINX));
    let over = |of: &Rounds| of.median(|round| round(OURS) / round(NGINX));
    let of = |list: &[(&str, f64)], name| list.iter().find(|(n, _)| *n == name).map_or(f64::NAN, |(_, v)| *v);
    let pairs =
        |list: &[(&str, f64)]| -> Value { list.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect() };
    keep(
        "gateway",
        &json!({
            "threads": threads,
            "rounds": { "latency": SHORT_ROUNDS, "rate": ROUNDS },
            "answer_seconds": answers.medians(),
            "added_seconds": { OURS: ours, ASGARD: added(&answers, ASGARD), NGINX: nginx, HAPROXY: added(&answers, HAPROXY) },
            "requests_per_second": rates.medians(),
            "first_event_seconds": firsts.medians(),
            "burst_chunks_per_second": bursts.medians(),
            "idle_stream_bytes": pairs(&idle),
            "long_stream_growth_bytes": pairs(&flat),
            "targets": { "added_over_nginx": 1.5, "rate_over_nginx": 0.5, "first_event_later_seconds": 0.0003,
                "burst_over_nginx": BURST_SHARE, "idle_stream_bytes": 50 << 10, "long_stream_growth_bytes": FLAT },
        }),
    );
    table(&answers, &rates, &firsts, &bursts, &idle, &flat);

    let later = |name| added(&firsts, name) * 1000.0;
    vec![
        Row::at_most("gateway: added to 1 KB of JSON, of nginx'", ours / nginx, "times", 1.5),
        Row::at_most("all of Asgard: added to it, of nginx'", added(&answers, ASGARD) / nginx, "times", 1.5),
        Row::at_least("gateway: requests/s at 16, of nginx'", over(&rates), "times", 0.5),
        Row::at_most("gateway: first event later than direct", later(OURS), "ms", 0.3),
        Row::at_least("gateway: chunks/s in bursts of 64, of nginx'", over(&bursts), "times", BURST_SHARE),
        Row::at_most("gateway: memory of an idle stream", of(&idle, OURS) / 1024.0, "KB", 50.0),
        Row::at_most(
            "gateway: growth over 200,000 tokens",
            of(&flat, OURS) / f64::from(1 << 20),
            "MB",
            FLAT / f64::from(1 << 20),
        ),
    ]
}

/// nginx' rate, less what two runs of the same program differ by.
const BURST_SHARE: f64 = 0.95;
/// What an allocator keeps of a moment; a stream that piled up would be forty times that.
const FLAT: f64 = 1_048_576.0;

/// What each round measured of each peer.
struct Rounds {
    names: Vec<&'static str>,
    rounds: Vec<Vec<f64>>,
}

impl Rounds {
    /// The median over the rounds of what is computed from the values of one.
    fn median(&self, of: impl Fn(&dyn Fn(&str) -> f64) -> f64) -> f64 {
        let each = self.rounds.iter().map(|round| {
            of(&|name| self.names.iter().position(|n| *n == name).map_or(f64::NAN, |at| round[at]))
        });
        median(each.collect())
    }

    fn medians(&self) -> Value {
        self.names.iter().map(|name| ((*name).to_owned(), json!(self.of(name)))).collect()
    }

    fn of(&self, name: &str) -> f64 {
        self.median(|round| round(name))
    }
}

/// A round for each peer in turn, again and again; each round begins with another.
fn interleaved(peers: &[Peer], rounds: usize, mut measure: impl FnMut(&Peer, &mut Wire) -> f64) -> Rounds {
    let mut wires: Vec<Wire> = peers.iter().map(|peer| Wire::to(peer.address)).collect();
    let mut seen = Vec::new();
    for turn in 0..rounds {
        let mut round = vec![f64::NAN; peers.len()];
        for step in 0..peers.len() {
            let at = (turn + step) % peers.len();
            round[at] = measure(&peers[at], &mut wires[at]);
        }
        seen.push(round);
    }
    Rounds { names: peers.iter().map(|p| p.name).collect(), rounds: seen }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(low, high)
}

/// Bytes resident for each stream that is open and silent.
fn idle(peer: &Peer) -> f64 {
    let asked = request(peer.address, "idle");
    // Code and pools that a stream needs are there before the count begins.
    let warm: Vec<Wire> = (0..20).map(|_| Wire::held(peer.address, &asked)).collect();
    let before = peer.resident();
    let held: Vec<Wire> = (0..IDLE_STREAMS).map(|_| Wire::held(peer.address, &asked)).collect();
    let after = peer.resident();
    let count = held.len() as f64;
    drop((warm, held));
    after.saturating_sub(before) as f64 / count
}

/// How much the resident memory grows within one long stream, after its first tenth.
fn flat(peer: &Peer) -> f64 {
    let asked = request(peer.address, &format!("tokens={TOKENS}"));
    let mut wire = Wire::to(peer.address);
    let (mut floor, mut top, mut looked) = (0, 0, 0);
    // A token is about 200 bytes on the way.
    let tenth = TOKENS * 200 / 10;
    wire.stream(&asked, |bytes| {
        if bytes / tenth > looked {
            looked = bytes / tenth;
            let now = peer.resident();
            if floor == 0 {
                floor = now;
            }
            top = top.max(now);
        }
    });
    assert!(looked >= 5, "the stream was too short to tell");
    (top - floor) as f64
}

/// Everybody beside one another.
fn table(
    answers: &Rounds,
    rates: &Rounds,
    firsts: &Rounds,
    bursts: &Rounds,
    idle: &[(&str, f64)],
    flat: &[(&str, f64)],
) {
    println!(
        "\n{:<10} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "medians", "1 KB, µs", "added, µs", "requests/s", "first, µs", "chunks/s", "idle, KB", "grows, KB"
    );
    for name in &answers.names {
        let kilobytes = |list: &[(&str, f64)]| {
            list.iter()
                .find(|(n, _)| n == name)
                .map_or_else(|| "-".to_owned(), |(_, v)| format!("{:.1}", v / 1024.0))
        };
        println!(
            "{name:<10} {:>12.1} {:>12.1} {:>12.0} {:>12.1} {:>12.0} {:>12} {:>12}",
            answers.of(name) * 1e6,
            answers.median(|round| round(name) - round(DIRECT)) * 1e6,
            rates.of(name),
            firsts.of(name) * 1e6,
            bursts.of(name),
            kilobytes(idle),
            kilobytes(flat),
        );
    }
}
