//! A recorded machine that moves: what stand-ins hold is added to the counters of a recording, as a kernel would.
//!
//! Only where it was asked for (`ASGARD_REHEARSAL_MOVES_SYSROOT=1`), because it writes into the recording. Changes
//! are added to what the files say, never written over it: whoever else plays a part (another program that takes
//! memory) moves the same files. What was added is kept beside them, so that a controller that was killed goes on
//! where it was.
//!
//! Deliberately absent: cards of NVIDIA, whose figures come from a library and no file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use domain::memory::{GIB, KIB};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// A carve-out of this size or more is the GPU's pool; below it the GPU takes ordinary memory (GTT).
const LARGE_CARVE_OUT: u64 = 8 * GIB;

/// The recording, and what shall not come back.
#[derive(Debug, Clone)]
pub struct Playback {
    root: PathBuf,
    /// Bytes that the first stop of an agent leaves behind.
    leaks: BTreeMap<String, u64>,
}

/// What was added to the files so far.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Added {
    held: BTreeMap<String, u64>,
    leaked: BTreeMap<String, u64>,
}

impl Playback {
    /// `leaks` is the text of `ASGARD_REHEARSAL_LEAK_GB`: "odin=10,loki=0.5"; entries that say something else are
    /// passed over.
    pub fn new(root: impl Into<PathBuf>, leaks: Option<&str>) -> Self {
        let entry = |part: &str| {
            let (agent, gb) = part.trim().split_once('=')?;
            let gb: f64 = gb.trim().parse().ok()?;
            (gb.is_finite() && gb > 0.0).then(|| (agent.trim().to_owned(), domain::Bytes::gb(gb).0))
        };
        Self { root: root.into(), leaks: leaks.unwrap_or_default().split(',').filter_map(entry).collect() }
    }

    /// Makes the recording say that these agents hold these bytes, and no others of ours hold any.
    ///
    /// # Errors
    /// A file of the recording that cannot be written.
    pub fn follow(&self, held: &[(String, u64)]) -> io::Result<()> {
        let path = self.root.join("asgard-playback.json");
        let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let mut added: Added = serde_json::from_str(&text).unwrap_or_default();
        let change = self.change(&mut added, held);
        if change != 0 {
            self.move_by(change)?;
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(serde_json::to_string(&added)?.as_bytes())?;
        }
        Ok(())
    }

    /// The bytes by which the machine's use changes.
    fn change(&self, added: &mut Added, held: &[(String, u64)]) -> i64 {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let now: BTreeMap<String, u64> = held.iter().filter(|(_, b)| *b > 0).cloned().collect();
        let mut change = 0_i64;
        for (agent, before) in &added.held {
            if !now.contains_key(agent) {
                let leak = match self.leaks.get(agent) {
                    Some(leak) if !added.leaked.contains_key(agent) => (*leak).min(*before),
                    _ => 0,
                };
                if leak > 0 {
                    added.leaked.insert(agent.clone(), leak);
                }
                change -= signed(before - leak);
            }
        }
        for (agent, bytes) in &now {
            change += signed(*bytes) - signed(added.held.get(agent).copied().unwrap_or(0));
        }
        added.held = now;
        change
    }

    fn move_by(&self, change: i64) -> io::Result<()> {
        let memory = self.root.join("proc/meminfo");
        let Some(card) = self.card() else { return move_available(&memory, change) };
        let vram = number(&card.join("mem_info_vram_total")).unwrap_or(0);
        if vram >= LARGE_CARVE_OUT {
            return move_counter(&card.join("mem_info_vram_used"), change);
        }
        move_counter(&card.join("mem_info_gtt_used"), change)?;
        move_available(&memory, change)
    }

    /// The first card that says what it holds.
    fn card(&self) -> Option<PathBuf> {
        let mut cards: Vec<PathBuf> = fs::read_dir(self.root.join("sys/class/drm"))
            .ok()?
            .flatten()
            .map(|entry| entry.path().join("device"))
            .filter(|device| device.join("mem_info_gtt_used").is_file())
            .collect();
        cards.sort();
        cards.into_iter().next()
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn moved(value: u64, change: i64) -> u64 {
    value.saturating_add_signed(change)
}

fn move_counter(path: &Path, change: i64) -> io::Result<()> {
    let value = number(path).unwrap_or(0);
    replace(path, &format!("{}\n", moved(value, change)))
}

/// What is in use moves up, so what is available moves down.
fn move_available(path: &Path, change: i64) -> io::Result<()> {
    let kib = change / i64::try_from(KIB).unwrap_or(1);
    let text: String = fs::read_to_string(path)?
        .lines()
        .map(|line| {
            let moves = line.starts_with("MemAvailable:") || line.starts_with("MemFree:");
            let value = line.split_whitespace().nth(1).and_then(|v| v.parse::<u64>().ok());
            match (moves, value, line.split_once(':')) {
                (true, Some(value), Some((name, _))) => format!("{name}: {:>15} kB\n", moved(value, -kib)),
                _ => format!("{line}\n"),
            }
        })
        .collect();
    replace(path, &text)
}

/// A reader sees the old text or the new one, never a half.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("asgard-new");
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(carve_out: u64) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let card = root.path().join("sys/class/drm/card1/device");
        fs::create_dir_all(&card).unwrap();
        fs::create_dir_all(root.path().join("proc")).unwrap();
        fs::write(
            root.path().join("proc/meminfo"),
            "MemTotal: 131072000 kB\nMemAvailable: 110100480 kB\nX: 1 kB\n",
        )
        .unwrap();
        fs::write(card.join("mem_info_gtt_used"), "1073741824\n").unwrap();
        fs::write(card.join("mem_info_vram_used"), "0\n").unwrap();
        fs::write(card.join("mem_info_vram_total"), carve_out.to_string()).unwrap();
        root
    }

    fn figures(root: &Path) -> (u64, u64, u64) {
        let card = root.join("sys/class/drm/card1/device");
        let text = fs::read_to_string(root.join("proc/meminfo")).unwrap();
        let available = text.lines().find(|l| l.starts_with("MemAvailable")).unwrap();
        let available: u64 = available.split_whitespace().nth(1).unwrap().parse().unwrap();
        (
            number(&card.join("mem_info_gtt_used")).unwrap(),
            available,
            number(&card.join("mem_info_vram_used")).unwrap(),
        )
    }

    #[test]
    fn what_is_held_moves_both_counters_and_comes_back() {
        let root = machine(512 << 20);
        let play = Playback::new(root.path(), None);
        let before = figures(root.path());
        play.follow(&[("thor".to_owned(), 25 * GIB)]).unwrap();
        let (gtt, available, _) = figures(root.path());
        assert_eq!(gtt, before.0 + 25 * GIB);
        assert_eq!(available, before.1 - 25 * (GIB / KIB));
        // Told the same again, and by another controller, nothing moves.
        Playback::new(root.path(), None).follow(&[("thor".to_owned(), 25 * GIB)]).unwrap();
        assert_eq!(figures(root.path()).0, gtt);
        play.follow(&[]).unwrap();
        assert_eq!(figures(root.path()), before);
    }

    #[test]
    fn a_leak_stays_once_and_what_others_move_is_kept() {
        let root = machine(512 << 20);
        let play = Playback::new(root.path(), Some("odin=10, nonsense, loki=x"));
        let before = figures(root.path()).1;
        play.follow(&[("odin".to_owned(), 60 * GIB)]).unwrap();
        let memory = root.path().join("proc/meminfo");
        move_available(&memory, i64::try_from(20 * GIB).unwrap()).unwrap();
        play.follow(&[]).unwrap();
        assert_eq!(figures(root.path()).1, before - 30 * (GIB / KIB), "10 leaked, 20 of another program");
        play.follow(&[("odin".to_owned(), 60 * GIB)]).unwrap();
        play.follow(&[]).unwrap();
        assert_eq!(figures(root.path()).1, before - 30 * (GIB / KIB), "it leaks once");
    }

    #[test]
    fn a_large_carve_out_is_what_moves() {
        let root = machine(96 * GIB);
        let before = figures(root.path());
        Playback::new(root.path(), None).follow(&[("odin".to_owned(), 60 * GIB)]).unwrap();
        let after = figures(root.path());
        assert_eq!((after.0, after.1, after.2), (before.0, before.1, 60 * GIB));
    }
}
