//! NVML's answers of a recording, in `DIR/nvml.json`:
//!
//! ```json
//! {
//!   "devices": [
//!     {
//!       "name": "NVIDIA RTX 2000 Ada Generation",
//!       "uuid": "GPU-5ba5e1f0-…",
//!       "pci": "00000000:01:00.0",
//!       "memory": { "total": 17175674880, "free": 16642998272, "used": 532676608, "reserved": 0 },
//!       "mig": false,
//!       "utilization": 0,
//!       "temperature": 34,
//!       "power_mw": 5200,
//!       "clock_mhz": 210,
//!       "processes": [{ "pid": 4242, "memory": 1073741824 }]
//!     }
//!   ]
//! }
//! ```
//!
//! Memory is in bytes; `"lost": true` is a card that answered before and does not now. `"memory": "unsupported"` is what a card without memory of its own answers; without the key,
//! or with another value, the card did not say. `"processes": null` is a card that does not name them,
//! `"memory": null` of a process a driver that does not count by process. Everything may be missing or wrong.

use std::path::{Path, PathBuf};

use domain::Bytes;
use serde_json::Value;

use super::{Nvml, NvmlDevice, NvmlMemory, NvmlProcess, UNNAMED, by_address};
use crate::cards::{Ask, pci_address};
use crate::files;
use crate::meminfo::PLAUSIBLE;

/// More cards than any machine has: the rest of a longer list is not looked at.
const MOST: usize = 64;

/// A card, and the processes on it where it names them.
pub type Answer = (NvmlDevice, Option<Vec<NvmlProcess>>);

pub(super) struct Recorded {
    file: PathBuf,
}

impl Recorded {
    pub(super) fn new(sysroot: &Path) -> Self {
        Self { file: sysroot.join("nvml.json") }
    }

    /// Read anew each time: a recording may move.
    fn answers(&self) -> Vec<Answer> {
        files::bytes(&self.file).map(|bytes| parse(&bytes)).unwrap_or_default()
    }
}

impl Nvml for Recorded {
    fn devices(&self, _: Ask) -> Vec<NvmlDevice> {
        self.answers().into_iter().map(|(device, _)| device).collect()
    }

    fn processes(&self) -> Vec<Option<Vec<NvmlProcess>>> {
        self.answers().into_iter().map(|(_, processes)| processes).collect()
    }
}

/// The answers in a recording's `nvml.json`, by PCI address. What is not such a file has none.
pub fn parse(bytes: &[u8]) -> Vec<Answer> {
    let Ok(root) = serde_json::from_slice::<Value>(bytes) else { return Vec::new() };
    let devices = root.get("devices").and_then(Value::as_array).into_iter().flatten().take(MOST);
    let mut answers: Vec<(Option<String>, Answer)> =
        devices.map(|d| (device(d), processes(d))).map(|answer| (answer.0.pci.clone(), answer)).collect();
    by_address(&mut answers);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn bytes(value: &Value) -> Option<Bytes> {
    value.as_u64().map(Bytes).filter(|b| *b <= PLAUSIBLE)
}

fn device(answer: &Value) -> NvmlDevice {
    let text = |key: &str| answer.get(key)?.as_str().map(str::to_owned).filter(|t| !t.is_empty());
    let small = |key: &str| answer.get(key)?.as_u64().and_then(|n| u32::try_from(n).ok());
    NvmlDevice {
        name: text("name").unwrap_or_else(|| UNNAMED.to_owned()),
        uuid: text("uuid"),
        pci: text("pci").and_then(|address| pci_address(&address)),
        memory: memory(answer.get("memory")),
        divided: answer.get("mig").and_then(Value::as_bool).unwrap_or(false),
        busy: small("utilization"),
        temperature: small("temperature"),
        power_milliwatts: answer.get("power_mw").and_then(Value::as_u64),
        clock_mhz: small("clock_mhz"),
        lost: answer.get("lost").and_then(Value::as_bool).unwrap_or(false),
    }
}

fn memory(answer: Option<&Value>) -> NvmlMemory {
    let figures = |answer: &Value| {
        let figure = |key: &str| answer.get(key).and_then(bytes);
        let total = figure("total").filter(|t| *t > Bytes::ZERO)?;
        Some(NvmlMemory::Known {
            total,
            free: figure("free")?,
            used: figure("used")?,
            reserved: figure("reserved").unwrap_or_default(),
        })
    };
    match answer {
        Some(Value::String(said)) if said == "unsupported" => NvmlMemory::Unsupported,
        Some(answer) => figures(answer).unwrap_or_default(),
        None => NvmlMemory::Unknown,
    }
}

fn processes(answer: &Value) -> Option<Vec<NvmlProcess>> {
    let listed = answer.get("processes")?.as_array()?;
    let process = |value: &Value| {
        let pid = value.get("pid")?.as_u64().and_then(|pid| u32::try_from(pid).ok())?;
        Some(NvmlProcess { pid, memory: value.get("memory").and_then(bytes) })
    };
    Some(listed.iter().filter_map(process).collect())
}
