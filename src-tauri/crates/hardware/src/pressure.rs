//! Memory pressure: `/proc/pressure/memory`, and being woken by it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

use crate::reading::Pressure;
use crate::{Machine, files};

/// How often a caller looks for himself where the kernel wakes nobody.
pub const POLL: Duration = Duration::from_secs(1);

/// What is asked of the kernel, in microseconds: waits within a window. The first needs `CAP_SYS_RESOURCE`; without
/// it kernels from 6.5 on allow windows of whole two seconds, of which the same part is asked.
const TRIGGERS: [&str; 2] = ["some 150000 1000000", "some 300000 2000000"];

pub(crate) fn read(sysroot: &Path) -> Option<Pressure> {
    parse(&files::text(&sysroot.join("proc/pressure/memory"))?)
}

/// The text of `/proc/pressure/memory`. A machine of one task at a time has no "full" line in some kernels: then
/// those figures are nought. Without a "some" line, or with figures that cannot be, there is nothing.
pub fn parse(text: &str) -> Option<Pressure> {
    let figures = |kind: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(kind)?.strip_prefix(' '))?;
        let value =
            |name: &str| line.split_ascii_whitespace().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
        let average: f64 = value("avg10")?.parse().ok().filter(|a| (0.0..=100.0).contains(a))?;
        Some((average, value("total")?.parse::<u64>().ok()?))
    };
    let (some_avg10, some_total_us) = figures("some")?;
    let (full_avg10, full_total_us) = figures("full").unwrap_or_default();
    Some(Pressure { some_avg10, full_avg10, some_total_us, full_total_us })
}

/// How one learns that memory gets short.
#[derive(Debug)]
pub enum PressureWatch {
    /// The kernel says so.
    Trigger(PressureTrigger),
    /// It does not, and the caller reads what is available once a second.
    Poll,
}

/// An open trigger. The kernel forgets it when it is dropped.
#[derive(Debug)]
pub struct PressureTrigger {
    file: AsyncFd<File>,
}

/// A watch on this machine's memory pressure: a trigger at 15 % of the time lost by some task, where the kernel
/// allows one to this user. A recording is always polled. Needs a tokio runtime with I/O, else it is polled too.
pub fn watch_pressure(machine: &Machine) -> PressureWatch {
    if !machine.is_this_one() || tokio::runtime::Handle::try_current().is_err() {
        return PressureWatch::Poll;
    }
    let path = machine.at("proc/pressure/memory");
    TRIGGERS
        .iter()
        .find_map(|trigger| open(&path, trigger).ok())
        .map_or(PressureWatch::Poll, PressureWatch::Trigger)
}

fn open(path: &Path, trigger: &str) -> io::Result<PressureTrigger> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    // The kernel overwrites the last byte with the end of its string.
    file.write_all(format!("{trigger}\0").as_bytes())?;
    #[expect(
        deprecated,
        reason = "its replacement is unsafe; a file that is owned here keeps its descriptor"
    )]
    let file = AsyncFd::with_interest(file, Interest::PRIORITY)?;
    Ok(PressureTrigger { file })
}

impl PressureWatch {
    /// Returns when the caller should look: at once when the kernel says that the threshold was passed (at most once
    /// in each window), or after [`POLL`]. A trigger that fails becomes a poll. Safe to cancel.
    pub async fn next(&mut self) {
        match self {
            Self::Trigger(trigger) => {
                if trigger.fired().await.is_err() {
                    *self = Self::Poll;
                }
            }
            Self::Poll => tokio::time::sleep(POLL).await,
        }
    }

    pub fn is_trigger(&self) -> bool {
        matches!(self, Self::Trigger(_))
    }
}

impl PressureTrigger {
    async fn fired(&self) -> io::Result<()> {
        let mut ready = self.file.ready(Interest::PRIORITY | Interest::ERROR).await?;
        if ready.ready().is_error() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        ready.clear_ready_matching(Ready::PRIORITY);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: &str = "some avg10=1.50 avg60=0.20 avg300=0.00 total=4242\nfull avg10=0.75 avg60=0.00 avg300=0.00 total=17\n";

    #[test]
    fn a_usual_file() {
        let expected = Pressure { some_avg10: 1.5, full_avg10: 0.75, some_total_us: 4242, full_total_us: 17 };
        assert_eq!(parse(USUAL), Some(expected));
        let some = USUAL.lines().next().unwrap();
        assert_eq!(parse(some), Some(Pressure { full_avg10: 0.0, full_total_us: 0, ..expected }));
    }

    #[test]
    fn lies_become_absence() {
        for text in [
            "",
            "some",
            "some avg10=NaN total=1",
            "some avg10=101 total=1",
            "some avg10=-1 total=1",
            "some avg10=1 total=-1",
            "some avg10=1",
            "full avg10=1 total=1",
            "some avg10=1 total=18446744073709551616",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_recording_is_polled_once_a_second() {
        let mut watch = watch_pressure(&Machine::new("/nowhere"));
        let before = tokio::time::Instant::now();
        watch.next().await;
        assert!(!watch.is_trigger());
        assert_eq!(before.elapsed(), POLL);
    }

    #[test]
    fn outside_of_a_runtime_it_is_polled() {
        assert!(!watch_pressure(&Machine::new("/")).is_trigger());
    }

    #[tokio::test]
    async fn a_file_that_takes_no_trigger_is_none() {
        // An ordinary file takes the words and can wake nobody: epoll refuses it.
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(open(file.path(), TRIGGERS[0]).is_err());
        assert!(open(Path::new("/nowhere/at/all"), TRIGGERS[0]).is_err());
    }

    #[tokio::test]
    async fn this_machine_is_quiet_or_polled() {
        let mut watch = watch_pressure(&Machine::new("/"));
        if watch.is_trigger() {
            let woken = tokio::time::timeout(Duration::from_millis(50), watch.next()).await;
            // Woken or not: what counts is that the trigger stands and did not turn out to be an error.
            assert!(woken.is_err() || watch.is_trigger());
        }
    }
}
