//! Neighbours that are processes, from recorded trees of /proc.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what fails here fails the test")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use engine::neighbour::{Kind, Neighbour, Place, processes};
use tempfile::TempDir;

/// A tree of /proc below a folder of the test's own.
struct Proc {
    root: TempDir,
    table: String,
}

/// One process of it.
#[derive(Clone, Copy)]
struct One<'a> {
    pid: u32,
    parent: u32,
    comm: &'a str,
    argv: &'a [&'a str],
    cgroup: &'a str,
    /// Sockets that it has open.
    sockets: &'a [u64],
    environ: &'a [&'a str],
}

const SHELLS: &str = "0::/user.slice/user-1000.slice/session-3.scope";

impl Default for One<'_> {
    fn default() -> Self {
        Self { pid: 0, parent: 1, comm: "x", argv: &[], cgroup: SHELLS, sockets: &[], environ: &[] }
    }
}

impl Proc {
    fn new() -> Self {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        Self { root: tempfile::tempdir().unwrap(), table: table.to_owned() }
    }

    /// A listener, as the kernel writes it: the address as hexadecimal digits in the machine's order.
    fn listener(&mut self, address: &str, port: u16, inode: u64) -> &mut Self {
        writeln!(
            self.table,
            "   0: {address}:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1"
        )
        .unwrap();
        fs::create_dir_all(self.root.path().join("net")).unwrap();
        fs::write(self.root.path().join("net/tcp"), &self.table).unwrap();
        self
    }

    fn process(&mut self, one: One<'_>) -> &mut Self {
        let folder = self.root.path().join(one.pid.to_string());
        fs::create_dir_all(folder.join("fd")).unwrap();
        let zeroed = |words: &[&str]| words.iter().map(|w| format!("{w}\0")).collect::<String>();
        let (pid, parent, comm) = (one.pid, one.parent, one.comm);
        let stat = format!(
            "{pid} ({comm}) S {parent} {pid} {pid} 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 {pid}00 1 2"
        );
        fs::write(folder.join("stat"), stat).unwrap();
        fs::write(folder.join("comm"), format!("{comm}\n")).unwrap();
        fs::write(folder.join("cmdline"), zeroed(one.argv)).unwrap();
        fs::write(folder.join("cgroup"), format!("{}\n", one.cgroup)).unwrap();
        fs::write(folder.join("environ"), zeroed(one.environ)).unwrap();
        for (number, inode) in one.sockets.iter().enumerate() {
            symlink(format!("socket:[{inode}]"), folder.join("fd").join(number.to_string())).unwrap();
        }
        symlink("/opt/models", folder.join("cwd")).unwrap();
        self
    }

    fn found(&self, wanted: &[u16]) -> Vec<Neighbour> {
        processes(self.root.path(), &[], &[], wanted)
    }
}

fn pid(neighbour: &Neighbour) -> u32 {
    match neighbour.place {
        Place::Process { pid, .. } => pid,
        Place::Container { .. } => panic!("{neighbour:?} is no process"),
    }
}

fn unit(neighbour: &Neighbour) -> Option<&str> {
    match &neighbour.place {
        Place::Process { unit, .. } => unit.as_deref(),
        Place::Container { .. } => panic!("{neighbour:?} is no process"),
    }
}

const LOOPBACK: &str = "0100007F";
const ANY: &str = "00000000";

#[test]
fn a_native_llama_server_is_found_with_its_port_and_place() {
    let mut proc = Proc::new();
    proc.listener(LOOPBACK, 9090, 51).process(One {
        pid: 700,
        comm: "llama-server",
        argv: &[
            "/usr/bin/llama-server",
            "-m",
            "/models/a.gguf",
            "-c",
            "8192",
            "--port",
            "9090",
            "--api-key",
            "sk-one",
        ],
        sockets: &[50, 51],
        ..One::default()
    });
    let found = proc.found(&[]);
    let [one] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((one.kind, one.port, one.name.as_str()), (Kind::LlamaCpp, Some(9090), "llama-server"));
    assert_eq!(
        (one.id.as_str(), one.endpoint.as_deref()),
        ("process/700-70000", Some("http://127.0.0.1:9090"))
    );
    assert_eq!((one.line.context, one.key.reveal()), (Some(8192), "sk-one"));
    assert!(!format!("{one:?}").contains("sk-one"), "a key is shown");
    let Place::Process { started, own, folder, unit, .. } = &one.place else { panic!("{one:?}") };
    assert_eq!((*started, *own, unit.as_deref()), (70_000, true, None));
    assert_eq!(folder.as_deref(), Some(Path::new("/opt/models")));
}

#[test]
fn what_it_listens_on_counts_and_not_what_it_was_told() {
    let argv = ["/usr/bin/llama-server", "-m", "/models/a.gguf", "--port", "9090"];
    // While it loads it listens on nothing, and another address is not reached from here.
    for (address, port, expected) in [("", 0, 9090), (ANY, 9191, 9191), ("0200A8C0", 9191, 9090)] {
        let mut proc = Proc::new();
        if !address.is_empty() {
            proc.listener(address, port, 51);
        }
        proc.process(One { pid: 700, argv: &argv, sockets: &[51], ..One::default() });
        assert_eq!(proc.found(&[])[0].port, Some(expected), "{address}");
    }
}

#[test]
fn a_vllm_of_several_processes_is_one_neighbour() {
    let argv = [
        "/opt/venv/bin/python3",
        "/opt/venv/bin/vllm",
        "serve",
        "Qwen/Qwen2.5-3B-Instruct-AWQ",
        "--port",
        "8012",
    ];
    let mut proc = Proc::new();
    proc.listener(ANY, 8012, 60)
        .process(One {
            pid: 10,
            comm: "pt_main_thread",
            argv: &argv,
            sockets: &[60],
            environ: &["VLLM_API_KEY=sk-env"],
            ..One::default()
        })
        // A worker that was forked has its parent's command line and its socket; another says what it is.
        .process(One { pid: 11, parent: 10, argv: &argv, sockets: &[60], ..One::default() })
        .process(One { pid: 12, parent: 10, argv: &["VLLM::EngineCore"], sockets: &[60], ..One::default() })
        .process(One { pid: 13, parent: 12, argv: &["VLLM::Worker_TP0"], sockets: &[60], ..One::default() });
    let found = proc.found(&[8012]);
    let [one] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((pid(one), one.kind, one.name.as_str()), (10, Kind::Vllm, "vllm"));
    assert_eq!((one.pids.as_slice(), one.key.reveal()), (&[10, 11, 12, 13][..], "sk-env"));
}

#[test]
fn what_started_a_server_is_not_the_server() {
    let serve = "cd /srv && vllm serve some/Model --port 8012 --api-key sk-inside";
    let mut proc = Proc::new();
    proc.process(One { pid: 20, argv: &["/bin/bash", "-c", serve], ..One::default() })
        .process(One {
            pid: 21,
            parent: 20,
            argv: &["uv", "run", "vllm", "serve", "some/Model", "--port", "8012"],
            ..One::default()
        })
        .process(One {
            pid: 22,
            parent: 21,
            argv: &["/srv/.venv/bin/python3", "/srv/.venv/bin/vllm", "serve", "some/Model", "--port", "8012"],
            ..One::default()
        });
    let found = proc.found(&[]);
    assert_eq!(found.iter().map(pid).collect::<Vec<_>>(), [22], "{found:#?}");
    // A shell that stays alone before its server is seen is shown, and its key is not.
    let mut proc = Proc::new();
    proc.process(One { pid: 20, argv: &["/bin/bash", "-c", serve], ..One::default() });
    let found = proc.found(&[]);
    assert_eq!((found.len(), found[0].key.reveal()), (1, "sk-inside"));
    assert!(!found[0].command.concat().contains("sk-inside"), "{:?}", found[0].command);
}

#[test]
fn a_router_and_the_servers_below_it_are_several_neighbours() {
    let mut proc = Proc::new();
    proc.listener(ANY, 8080, 70)
        .listener(LOOPBACK, 5800, 71)
        .process(One {
            pid: 30,
            comm: "llama-swap",
            argv: &["/usr/bin/llama-swap", "--config", "c.yaml"],
            sockets: &[70],
            ..One::default()
        })
        .process(One {
            pid: 31,
            parent: 30,
            argv: &["/usr/bin/llama-server", "-m", "/m/a.gguf", "--port", "5800"],
            sockets: &[71],
            ..One::default()
        });
    let found = proc.found(&[8080]);
    let seen: Vec<_> = found.iter().map(|n| (pid(n), n.kind, n.port)).collect();
    assert_eq!(seen, [(30, Kind::Unknown, Some(8080)), (31, Kind::LlamaCpp, Some(5800))]);
}

#[test]
fn an_ollama_of_systemd_is_found_with_its_unit() {
    let of = |cgroup: &'static str| {
        let mut proc = Proc::new();
        proc.process(One {
            pid: 40,
            comm: "ollama",
            argv: &["/usr/local/bin/ollama", "serve"],
            cgroup,
            ..One::default()
        })
        .process(One {
            pid: 41,
            parent: 40,
            argv: &[
                "/usr/local/bin/ollama",
                "runner",
                "--model",
                "/var/lib/ollama/blobs/sha256-1",
                "--port",
                "41235",
            ],
            cgroup,
            ..One::default()
        });
        proc.found(&[])
    };
    for (cgroup, expected) in [
        ("0::/system.slice/ollama.service", Some("ollama.service")),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/ollama.service", Some("ollama.service")),
        ("0::/system.slice/ollama.service/runner", Some("ollama.service")),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-Terminal.scope", None),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-ollama@autostart.service", None),
        (SHELLS, None),
        ("", None),
    ] {
        let found = of(cgroup);
        let [one] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!((one.kind, one.port, unit(one)), (Kind::Ollama, Some(11_434), expected), "{cgroup}");
        assert_eq!(one.pids, [40, 41]);
    }
}

#[test]
fn whoever_holds_a_port_of_the_stack_is_found_and_nobody_else() {
    let mut proc = Proc::new();
    proc.listener(ANY, 8899, 80)
        .listener(LOOPBACK, 8001, 81)
        .listener(LOOPBACK, 3000, 82)
        .process(One {
            pid: 50,
            comm: "uvicorn",
            argv: &["/usr/bin/python3", "/usr/bin/uvicorn", "app:app", "--port", "8899"],
            sockets: &[80],
            ..One::default()
        })
        .process(One {
            pid: 51,
            comm: "nginx",
            argv: &["nginx: master process"],
            sockets: &[81],
            ..One::default()
        })
        .process(One {
            pid: 52,
            parent: 51,
            comm: "nginx",
            argv: &["nginx: worker process"],
            sockets: &[81],
            ..One::default()
        })
        .process(One {
            pid: 53,
            comm: "node",
            argv: &["node", "server.js"],
            sockets: &[82],
            ..One::default()
        });
    let found = proc.found(&[8001, 8899]);
    let seen: Vec<_> = found.iter().map(|n| (pid(n), n.kind, n.port)).collect();
    assert_eq!(seen, [(50, Kind::Bifrost, Some(8899)), (51, Kind::Unknown, Some(8001))]);
    assert!(proc.found(&[]).is_empty());
}

#[test]
fn ours_containers_and_the_dead_are_passed_over() {
    let argv = ["llama-server", "-m", "/m/a.gguf"];
    let docker = format!("0::/system.slice/docker-{}.scope", "a".repeat(64));
    let podman = format!(
        "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{}.scope/container",
        "b".repeat(64)
    );
    let mut proc = Proc::new();
    for (pid, cgroup, environ) in [
        (60, SHELLS, &[][..]),
        (61, SHELLS, &[]),
        (62, docker.as_str(), &[]),
        (63, podman.as_str(), &[]),
        (64, SHELLS, &["ASGARD_INSTANCE=i"]),
    ] {
        proc.process(One { pid, argv: &argv, cgroup, environ, ..One::default() });
    }
    proc.process(One { pid: 65, argv: &[], ..One::default() });
    proc.process(One { pid: 66, argv: &argv, ..One::default() });
    let stat = proc.root.path().join("66/stat");
    fs::write(&stat, fs::read_to_string(&stat).unwrap().replace(" S ", " Z ")).unwrap();
    proc.listener(ANY, 8001, 90).process(One {
        pid: 67,
        argv: &["/usr/bin/docker-proxy", "-host-port", "8001"],
        sockets: &[90],
        ..One::default()
    });
    assert!(processes(proc.root.path(), &[60], &[61], &[8001]).is_empty());
}

#[test]
fn a_tree_that_is_damaged_is_no_trouble() {
    let proc = tempfile::tempdir().unwrap();
    assert!(processes(proc.path(), &[], &[], &[8001]).is_empty());
    assert!(processes(&proc.path().join("away"), &[], &[], &[8001]).is_empty());
    fs::create_dir_all(proc.path().join("net")).unwrap();
    fs::write(proc.path().join("net/tcp"), "header\n\nrubbish 0:0\n 1: :: 0A\n").unwrap();
    for (pid, stat) in [("1", ""), ("2", "2 (x) S"), ("3", "3 (x) S 3 3 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5")]
    {
        fs::create_dir(proc.path().join(pid)).unwrap();
        fs::write(proc.path().join(pid).join("stat"), stat).unwrap();
        fs::write(proc.path().join(pid).join("cmdline"), [0xff, 0, 0xfe]).unwrap();
    }
    assert!(processes(proc.path(), &[], &[], &[8001]).is_empty());
}
