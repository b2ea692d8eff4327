//! What probes saw.

use std::collections::BTreeMap;

use crate::memory::Bytes;
use crate::plan::Situation;
use crate::stack::Stack;

/// A fact, or one sentence that says why it is not known.
pub type Seen<T> = Result<T, String>;

fn unseen<T>() -> Seen<T> {
    Err("It was not looked at.".to_owned())
}

/// Everything the checks are made from.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Stand-ins play: no GPU, image or model is needed.
    pub rehearsal: bool,
    pub distribution: Distribution,
    /// The stack in force; else what is wrong with its file.
    pub stack: Seen<Stack>,
    /// Where the stack file is.
    pub stack_file: String,
    /// Pools, what runs, what was lost.
    pub situation: Situation,
    /// Lost memory is known to a controller alone, because it saw the stops.
    pub lost_is_known: bool,
    /// Where two sources of a memory figure disagree: what was seen, and what to do.
    pub doubts: Vec<(String, String)>,
    pub graphics: Graphics,
    pub kernel: Kernel,
    pub swap: Swap,
    pub devices: Seen<Devices>,
    pub engine: Seen<Engine>,
    /// Of the images that agents run in.
    pub images: Seen<Vec<ImageFact>>,
    pub models: Seen<Vec<ModelFact>>,
    pub hub: Seen<HubCache>,
    pub disks: Disks,
    pub ports: Seen<Vec<PortFact>>,
    /// Whether something on the desktop shows tray icons.
    pub tray: Seen<bool>,
}

impl Default for Facts {
    /// Nothing was seen.
    fn default() -> Self {
        Self {
            rehearsal: false,
            distribution: Distribution::default(),
            stack: unseen(),
            stack_file: String::new(),
            situation: Situation::default(),
            lost_is_known: false,
            doubts: Vec::new(),
            graphics: Graphics::default(),
            kernel: Kernel::default(),
            swap: Swap::default(),
            devices: unseen(),
            engine: unseen(),
            images: unseen(),
            models: unseen(),
            hub: unseen(),
            disks: Disks::default(),
            ports: unseen(),
            tray: unseen(),
        }
    }
}

/// Whose commands a fix is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Distribution {
    Debian,
    Fedora,
    Arch,
    Suse,
    #[default]
    Other,
}

impl Distribution {
    /// From the text of `/etc/os-release`: its `ID`, then those it says it is like.
    pub fn from_os_release(text: &str) -> Self {
        let value = |key: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
            line.map(|v| v.trim_matches(['"', '\'']).to_ascii_lowercase()).unwrap_or_default()
        };
        let ids = format!("{} {}", value("ID"), value("ID_LIKE"));
        let known = ids.split_whitespace().find_map(|id| match id {
            "debian" | "ubuntu" | "linuxmint" | "pop" => Some(Self::Debian),
            "fedora" | "rhel" | "centos" => Some(Self::Fedora),
            "arch" | "cachyos" | "manjaro" => Some(Self::Arch),
            "suse" | "opensuse" | "opensuse-tumbleweed" => Some(Self::Suse),
            _ => None,
        });
        known.unwrap_or_default()
    }
}

/// The GPUs, as sysfs shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graphics {
    /// A processor's graphics of the kind that has no memory of its own (Strix Halo): its carve-out, in bytes.
    pub carve_out: Option<Bytes>,
    /// Whether it is the one of which is known what works on it.
    pub strix_halo: bool,
    pub amd_cards: u32,
    pub nvidia_cards: u32,
    /// Whether a container could reach an NVIDIA card, where there is one.
    pub nvidia_toolkit: Option<Seen<bool>>,
    /// Version of the scheduler's firmware (MES), as the driver shows it.
    pub mes_firmware: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// "6.18.4-200.fc43.x86_64".
    pub release: Seen<String>,
    /// The parameters in force.
    pub command_line: Seen<String>,
    /// `pages_limit` of the module that hands out GTT, in pages of 4 KiB.
    pub pages_limit: Seen<u64>,
    /// AMD's own kernels have the module under another name.
    pub amdttm: bool,
    /// The version of the package linux-firmware.
    pub firmware_package: Seen<String>,
    /// Whether memory pressure (PSI) can be read.
    pub pressure: Seen<bool>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            release: unseen(),
            command_line: unseen(),
            pages_limit: unseen(),
            amdttm: false,
            firmware_package: unseen(),
            pressure: unseen(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    pub areas: Seen<Vec<SwapArea>>,
    pub swappiness: Seen<u64>,
    /// The name of what ends programs before the kernel has to, if one runs.
    pub early_oom: Seen<Option<String>>,
    /// What the system has of memory.
    pub memory: Option<Bytes>,
    /// The type of the file system at `/`: a swap file is made otherwise on Btrfs.
    pub root_file_system: Option<String>,
}

impl Default for Swap {
    fn default() -> Self {
        Self {
            areas: unseen(),
            swappiness: unseen(),
            early_oom: unseen(),
            memory: None,
            root_file_system: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapArea {
    pub path: String,
    pub size: Bytes,
}

impl SwapArea {
    /// Compressed swap lies in the memory itself.
    pub fn in_memory(&self) -> bool {
        self.path.starts_with("/dev/zram")
    }
}

/// The GPU's device files, as this user sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Devices {
    pub kfd: Option<DeviceNode>,
    /// `/dev/dri/renderD*`.
    pub render: Vec<DeviceNode>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    pub path: String,
    /// The group that owns it, as a number, and its name on this machine.
    pub group: u32,
    pub group_name: Option<String>,
    /// Whether this user may read and write it; in a recording nobody can say.
    pub usable: Option<bool>,
}

/// The container engine that answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Engine {
    /// "docker" or "podman".
    pub kind: String,
    pub version: Option<String>,
    /// It runs as an ordinary user.
    pub rootless: bool,
    /// The socket, or "tcp://…".
    pub address: String,
    /// Whether one is needed at all: an agent of the stack runs in a container.
    pub needed: bool,
    /// Why it does not answer, and what to do.
    pub error: Option<(String, String)>,
    /// It answers, but not to this user.
    pub forbidden: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFact {
    pub reference: String,
    pub used_by: Vec<String>,
    pub present: Seen<bool>,
    /// "vLLM 0.32.0", where the image was asked once.
    pub version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFact {
    pub model: String,
    /// Why it cannot be loaded yet; none where it is whole.
    pub missing: Option<String>,
    /// What fetches it.
    pub fetch: String,
    /// About how much it takes on the disk, in bytes, as far as the stack says.
    pub bytes: u64,
}

/// The Hugging Face cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HubCache {
    pub path: String,
    pub exists: bool,
    /// Entries below it that this user cannot read, or not write because they are another's; the first few.
    pub foreign: Vec<String>,
    pub unreadable: Vec<String>,
    /// Not everything was looked at.
    pub cut: bool,
}

/// Free bytes of the disk below a folder (10^9 are a gigabyte).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Free {
    pub path: String,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disks {
    pub models: Seen<Free>,
    pub engine: Seen<Free>,
    pub caches: Seen<Free>,
    pub data: Seen<Free>,
}

impl Default for Disks {
    fn default() -> Self {
        Self { models: unseen(), engine: unseen(), caches: unseen(), data: unseen() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortFact {
    pub port: u16,
    /// "Thor", "the gateway".
    pub owner: String,
    /// The agent in the stack file; none for the gateway.
    pub agent: Option<String>,
    /// Who listens there, if anybody who is not ours does.
    pub taken_by: Option<String>,
}

/// Sums up what models are missing, each once: bytes on the disk.
pub(super) fn missing_bytes(models: &[ModelFact]) -> u64 {
    let missing: BTreeMap<&str, u64> =
        models.iter().filter(|m| m.missing.is_some()).map(|m| (m.model.as_str(), m.bytes)).collect();
    missing.values().fold(0, |sum, bytes| sum.saturating_add(*bytes))
}
