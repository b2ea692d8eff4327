//! Who holds a TCP port of this machine.

use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use domain::AgentName;

use crate::{EngineError, ErrorKind};

/// A program that listens where an agent would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holder {
    Process {
        pid: u32,
        name: String,
    },
    /// Another user's program: the kernel does not say which.
    Unknown,
}

/// Who listens on `port` so that 127.0.0.1 is taken. It must be looked up: vLLM sets SO_REUSEPORT in some versions,
/// so two servers on one port both start and each gets a part of the requests.
pub(crate) fn holder(proc: &Path, port: u16) -> Option<Holder> {
    let inode = ["net/tcp", "net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(proc.join(table)).ok())
        .find_map(|table| listening_inode(&table, port));
    if let Some(inode) = inode {
        return Some(owner(proc, inode).unwrap_or(Holder::Unknown));
    }
    // No table to read, or one of another network namespace: ask the kernel itself.
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == IoErrorKind::AddrInUse => Some(Holder::Unknown),
        _ => None,
    }
}

/// Who listens where 127.0.0.1 is taken: "name (process 7)", "another program"; none where the port is free.
pub fn port_holder(proc: &Path, port: u16) -> Option<String> {
    holder(proc, port).map(|holder| named(&holder))
}

fn named(holder: &Holder) -> String {
    match holder {
        Holder::Process { pid, name } => format!("{name} (process {pid})"),
        Holder::Unknown => "another program".to_owned(),
    }
}

/// Every listener that 127.0.0.1 reaches: its socket and its port.
pub(crate) fn listening(proc: &Path) -> Vec<(u64, u16)> {
    let tables = ["net/tcp", "net/tcp6"].iter().filter_map(|t| fs::read_to_string(proc.join(t)).ok());
    tables.flat_map(|table| table.lines().skip(1).filter_map(listener).collect::<Vec<_>>()).collect()
}

/// The error for a launch whose port is taken.
pub(crate) fn taken(agent: &AgentName, port: u16, holder: &Holder) -> EngineError {
    taken_by(agent, port, &named(holder))
}

pub(crate) fn taken_by(agent: &AgentName, port: u16, who: &str) -> EngineError {
    EngineError::new(
        ErrorKind::PortTaken,
        format!("Port {port} of {} is taken by {who}.", agent.proper()),
        format!("Stop it, or write another `port` in [agents.{agent}] of the stack file."),
    )
}

/// The socket of the first listener in a table of /proc/net that covers 127.0.0.1.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).filter_map(listener).find(|(_, p)| *p == port).map(|(inode, _)| inode)
}

/// A line of such a table, if it is a listener that 127.0.0.1 reaches.
fn listener(line: &str) -> Option<(u64, u16)> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let (address, number) = local.split_once(':')?;
    let covers = matches!(
        address,
        // 127.0.0.1, any, any of IPv6, ::1 and 127.0.0.1 as IPv6.
        "0100007F"
            | "00000000"
            | "00000000000000000000000000000000"
            | "00000000000000000000000001000000"
            | "0000000000000000FFFF00000100007F"
    );
    (covers && state == "0A").then_some((inode.parse().ok()?, u16::from_str_radix(number, 16).ok()?))
}

fn owner(proc: &Path, inode: u64) -> Option<Holder> {
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir(proc).ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(files) = fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = files
            .flatten()
            .any(|file| fs::read_link(file.path()).is_ok_and(|link| link.to_str() == Some(wanted.as_str())));
        if holds {
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            return Some(Holder::Process { pid, name: name.trim().to_owned() });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr};

    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found_by_name() {
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        for any in [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))]
        {
            let listener = TcpListener::bind(any).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(
                holder(Path::new("/proc"), port),
                Some(Holder::Process { pid: std::process::id(), name: own.trim().to_owned() })
            );
            drop(listener);
            assert_eq!(holder(Path::new("/proc"), port), None);
        }
        if let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
            assert!(holder(Path::new("/proc"), listener.local_addr().unwrap().port()).is_some());
        }
    }

    #[test]
    fn a_connection_or_another_address_is_no_listener() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     \x20  0: 0100007F:1F41 0100007F:D0E2 01 00000000:00000000 00:00000000 00000000     0        0 11 1\n\
                     \x20  1: 0200A8C0:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1\n\
                     \x20  2: 00000000:1F42 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1\n";
        assert_eq!(listening_inode(table, 8001), None);
        assert_eq!(listening_inode(table, 8002), Some(13));
    }

    #[test]
    fn a_socket_that_nobody_shows_is_another_programs() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(holder(dir.path(), port), Some(Holder::Unknown));
    }
}
