//! What stands between the client and the agent: nothing, the gateway, all of Asgard, nginx, haproxy. Each is a
//! process of its own with the same number of threads, and ends with the measurement.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use journeys::household::free_port;
use rustix::process::{Pid, Signal, kill_process};

/// The words by which this program plays a part of the measurement.
pub const UPSTREAM: &str = "gateway-upstream";
pub const OURS: &str = "gateway-ours";

const STARTS: Duration = Duration::from_secs(20);

/// One way to the agent.
pub struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    /// None for a process that belongs to somebody else here.
    process: Option<Child>,
}

impl Peer {
    pub fn at(name: &'static str, address: SocketAddr) -> Self {
        Self { name, address, process: None }
    }

    /// This program in another part. It prints its address, and ends when its standard input does.
    pub fn own(name: &'static str, part: &[&str]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(part)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("{name} did not start: {line:?}"));
        Self { name, address, process: Some(process) }
    }

    pub fn nginx(folder: &Path, upstream: SocketAddr, threads: usize) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let root = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display()))
            .concat();
        let configuration = format!(
            "{root} daemon off; worker_processes {threads}; pid {0}/nginx.pid; error_log {0}/nginx.log;
            events {{ worker_connections 8192; }}
            http {{
                access_log off; tcp_nodelay on; keepalive_requests 100000000; {temporary}
                upstream agent {{ server {upstream}; keepalive 64; keepalive_requests 100000000; }}
                server {{
                    listen {address};
                    location / {{
                        proxy_pass http://agent; proxy_http_version 1.1; proxy_set_header Connection \"\";
                        proxy_buffering off; proxy_read_timeout 1h;
                    }}
                }}
            }}\n",
            folder.display()
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let mut command = program("nginx");
        command.arg("-c").arg(&file).arg("-e").arg(folder.join("nginx.log"));
        Self::started("nginx", address, command)
    }

    pub fn haproxy(folder: &Path, upstream: SocketAddr, threads: usize) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let configuration = format!(
            "global\n nbthread {threads}\n maxconn 8192\n\
             defaults\n mode http\n option http-no-delay\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n\
             frontend bridge\n bind {address}\n default_backend agent\n\
             backend agent\n http-reuse always\n server agent {upstream}\n"
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, configuration).unwrap();
        let mut command = program("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        Self::started("haproxy", address, command)
    }

    fn started(name: &'static str, address: SocketAddr, mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{name} cannot be started ({e}). Install it: make bench does."));
        let deadline = Instant::now() + STARTS;
        while TcpStream::connect(address).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "{name} ended at once");
            assert!(Instant::now() < deadline, "{name} does not listen on {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { name, address, process: Some(process) }
    }

    /// What it and its children hold resident, in bytes.
    pub fn resident(&self) -> u64 {
        let own = self.process.as_ref().expect("a process of this measurement").id();
        let mut all = vec![own];
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
            if parent.and_then(|p| p.parse::<u32>().ok()) == Some(own) {
                all.push(pid);
            }
        }
        all.into_iter().map(resident).sum()
    }
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}

/// Debian keeps servers out of an ordinary user's PATH.
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let placed = ["/usr/sbin", "/usr/bin", "/sbin"].iter().map(|folder| Path::new(folder).join(name));
    if let Some(found) = placed.into_iter().find(|path| path.is_file()) {
        command = Command::new(found);
    }
    command
}

impl Drop for Peer {
    fn drop(&mut self) {
        let Some(process) = &mut self.process else { return };
        // Ours end with their input; nginx and haproxy are told.
        drop(process.stdin.take());
        if let Some(pid) = i32::try_from(process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = process.wait();
    }
}
