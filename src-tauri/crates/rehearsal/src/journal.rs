//! What was held at any instant: a line for each event of each stand-in, in one file.
//!
//! Every line is one `O_APPEND` write, so the order of the lines is an order in which things happened, whatever the
//! clocks say: a `hold` line is written *before* the memory is taken and the `exit` line *after* it was given back,
//! so the sum of any prefix is at least what was really held then. It never understates.
//!
//! A server that was killed writes no `exit`: it counts with its last figure until the same agent's next `start`,
//! which sets it to zero. That overstates, which is the side to err on.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// The server process began.
    Start,
    /// It is about to hold `bytes`.
    Hold,
    /// It answers from now on.
    Ready,
    /// It began to generate an answer.
    Request,
    /// It was asked to stop.
    Stop,
    /// It has given everything back and ends.
    Exit,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// RFC 3339, to the microsecond.
    pub time: String,
    pub agent: String,
    pub event: Event,
    /// What the agent holds from this line on.
    pub bytes: u64,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    agent: String,
}

impl Journal {
    pub(crate) fn open(path: &Path, agent: &str) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file, agent: agent.to_owned() })
    }

    pub(crate) fn write(&self, event: Event, bytes: u64) -> io::Result<()> {
        let time = format!("{:.6}", jiff::Timestamp::now());
        let mut line = serde_json::to_vec(&Entry { time, agent: self.agent.clone(), event, bytes })?;
        line.push(b'\n');
        (&self.file).write_all(&line)
    }
}

/// The entries of a journal, in the order of its lines.
///
/// # Errors
/// The file cannot be read, or a line that is not the last is no entry. An unfinished last line is left out: its
/// writer is still at it, or died there.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = fs::read_to_string(path)?;
    let finished = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    finished
        .lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| {
                let place = format!("line {} of {} is no journal entry: {error}", number + 1, path.display());
                io::Error::new(io::ErrorKind::InvalidData, place)
            })
        })
        .collect()
}

/// Calls `see` with what each agent holds after every entry.
fn replay(entries: &[Entry], mut see: impl FnMut(&BTreeMap<String, u64>)) {
    let mut held = BTreeMap::new();
    for entry in entries {
        // `start` and `exit` carry zero; they are taken as zero whatever they carry.
        let bytes = if matches!(entry.event, Event::Start | Event::Exit) { 0 } else { entry.bytes };
        held.insert(entry.agent.clone(), bytes);
        see(&held);
    }
}

/// The most that was held at one instant, and by whom.
pub fn peak(entries: &[Entry]) -> (u64, BTreeMap<String, u64>) {
    let mut highest = (0, BTreeMap::new());
    replay(entries, |held| {
        let sum = held.values().sum();
        if sum > highest.0 {
            highest = (sum, held.iter().filter(|(_, b)| **b > 0).map(|(a, b)| (a.clone(), *b)).collect());
        }
    });
    highest
}

/// Whether `a` and `b` ever held memory at the same instant.
pub fn overlap(entries: &[Entry], a: &str, b: &str) -> bool {
    let mut both = false;
    replay(entries, |held| {
        both |= [a, b].iter().all(|agent| held.get(*agent).is_some_and(|bytes| *bytes > 0));
    });
    both
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(agent: &str, event: Event, bytes: u64) -> Entry {
        Entry { time: "2026-11-21T02:00:00.000000Z".to_owned(), agent: agent.to_owned(), event, bytes }
    }

    #[test]
    fn the_peak_is_the_largest_sum_and_says_whose_it_was() {
        let entries = [
            entry("thor", Event::Start, 0),
            entry("thor", Event::Hold, 25),
            entry("valkyrie", Event::Hold, 37),
            entry("valkyrie", Event::Exit, 0),
            entry("odin", Event::Start, 0),
            entry("odin", Event::Hold, 30),
            entry("odin", Event::Hold, 62),
            entry("thor", Event::Exit, 0),
        ];
        let (bytes, agents) = peak(&entries);
        assert_eq!(bytes, 87);
        assert_eq!(agents, BTreeMap::from([("thor".to_owned(), 25), ("odin".to_owned(), 62)]));
        assert!(overlap(&entries, "thor", "odin"));
        assert!(!overlap(&entries, "valkyrie", "odin"));
    }

    #[test]
    fn a_killed_server_counts_until_the_same_agent_starts_again() {
        let mut entries = vec![entry("odin", Event::Hold, 62), entry("valkyrie", Event::Hold, 37)];
        assert!(overlap(&entries, "odin", "valkyrie"), "odin was killed and wrote no exit");
        entries.insert(1, entry("odin", Event::Start, 0));
        assert!(!overlap(&entries, "odin", "valkyrie"));
    }

    #[test]
    fn what_is_written_is_read_and_an_unfinished_line_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let journal = Journal::open(&path, "loki").unwrap();
        journal.write(Event::Start, 0).unwrap();
        journal.write(Event::Hold, 12).unwrap();
        (&journal.file).write_all(b"{\"time\":").unwrap();
        let entries = read(&path).unwrap();
        assert_eq!(
            entries.iter().map(|e| (e.event, e.bytes)).collect::<Vec<_>>(),
            [(Event::Start, 0), (Event::Hold, 12)]
        );
        let (_, fraction) = entries[0].time.split_once('.').expect("a fraction of a second");
        assert!(fraction.len() >= 7 && fraction.ends_with('Z'), "{}", entries[0].time);
        assert!(entries[0].time.parse::<jiff::Timestamp>().is_ok());
    }

    #[test]
    fn a_broken_line_in_the_middle_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        fs::write(&path, "{\"time\":\n{}\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("line 1 of"));
    }

    proptest! {
        /// The peak is a sum that was reached, and no prefix passes it.
        #[test]
        fn no_prefix_passes_the_peak(events in prop::collection::vec((0..4_usize, 0..1000_u64), 0..60)) {
            let entries: Vec<Entry> = events
                .iter()
                .map(|(agent, bytes)| entry(["a", "b", "c", "d"][*agent], Event::Hold, *bytes))
                .collect();
            let (highest, agents) = peak(&entries);
            prop_assert_eq!(agents.values().sum::<u64>(), highest);
            for end in 0..entries.len() {
                prop_assert!(peak(&entries[..end]).0 <= highest);
            }
        }
    }
}
