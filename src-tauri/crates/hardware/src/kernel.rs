//! What the kernel was told and what it is: the facts behind "is this machine ready". What of them is right and what
//! should be changed is not decided here.
//!
//! Deliberately absent: what only root may read (`/sys/kernel/debug`), the version of the linux-firmware package
//! (packages differ; the card's own firmware versions are here instead).

mod parse;
mod user;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use domain::Bytes;
use serde::{Deserialize, Serialize};

pub use parse::{Swap, SwapKind, groups, modules, os_release, swaps};
pub use user::{UserFacts, user};

use crate::files::{line, names, number, text};

/// A page of the kernel's on x86-64. `pages_limit` counts in these.
const PAGE: u64 = 4096;

/// Every figure is absent where its file is, or says something else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KernelFacts {
    /// "6.17.4-76061704-generic".
    pub release: Option<String>,
    /// The parameters it was started with, in order, quotes kept.
    pub cmdline: Vec<String>,
    /// The first of the modules `ttm` and `amdttm` (AMD's own packages) that states a limit.
    pub ttm: Option<Ttm>,
    /// `amdgpu.gttsize`, MiB, in force; -1 where the driver chooses. Deprecated in favour of `ttm.pages_limit`.
    pub gttsize_mib: Option<i64>,
    /// 0 to 200.
    pub swappiness: Option<u32>,
    pub swaps: Vec<Swap>,
    /// How many IOMMUs are at work. 0 with `amd_iommu=off`; absent where that cannot be read.
    pub iommus: Option<u32>,
    /// Modules with their names as in `/proc/modules`. Drivers that are built in are not among them.
    pub modules: Vec<String>,
    /// Whether the kernel accounts for memory pressure (`psi=1`).
    pub pressure: bool,
    /// "Ubuntu 24.04.3 LTS".
    pub system: Option<String>,
    /// The firmware's date and version, as the board's maker wrote them: "10/24/2025 1.05".
    pub firmware: Option<String>,
    pub cards: Vec<CardFacts>,
    /// `/dev/kfd`, render nodes and NVIDIA's, those that exist.
    pub nodes: Vec<DeviceNode>,
    /// Who asks: this process's user. Absent for a recording without a `proc/self/status`.
    pub user: Option<UserFacts>,
}

/// A memory manager's limits, as pages of 4 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ttm {
    /// "ttm" or "amdttm".
    pub module: String,
    /// What all GPUs together may map of the system's memory.
    pub pages_limit: Option<u64>,
    /// What it keeps for re-use after it was freed.
    pub page_pool_size: Option<u64>,
}

impl Ttm {
    pub fn limit(&self) -> Option<Bytes> {
        self.pages_limit?.checked_mul(PAGE).map(Bytes)
    }

    pub fn pool(&self) -> Option<Bytes> {
        self.page_pool_size?.checked_mul(PAGE).map(Bytes)
    }
}

/// A graphics card of any maker, whether or not its memory can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardFacts {
    /// "card1".
    pub name: String,
    /// "0x1002" (AMD), "0x10de" (NVIDIA), "0x8086" (Intel).
    pub vendor: String,
    pub device: Option<String>,
    pub pci: Option<String>,
    /// "amdgpu", "nvidia", "nouveau".
    pub driver: Option<String>,
    /// The versions of the card's own firmware by file name ("mes_fw_version"): amdgpu alone says them.
    pub firmware: BTreeMap<String, String>,
}

/// A file that programs reach a GPU through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// "/dev/dri/renderD128".
    pub path: String,
    pub uid: u32,
    pub gid: u32,
    /// The group's name on this machine.
    pub group: Option<String>,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Whether this process may read and write it, access lists included: desktops give the seated user one, so the
    /// bits alone say too little. Absent for a recording.
    pub open_to_us: Option<bool>,
}

impl KernelFacts {
    /// The value of a kernel parameter; the last one counts. A parameter without a value is "".
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.cmdline.iter().rev().find_map(|word| match word.split_once('=') {
            Some((key, value)) => same_parameter(key, name).then_some(value),
            None => same_parameter(word, name).then_some(""),
        })
    }

    /// NVIDIA cards that the kernel sees. Where NVML has no answers for them, its driver or library is missing.
    pub fn nvidia_cards(&self) -> usize {
        self.cards.iter().filter(|c| c.vendor == "0x10de").count()
    }
}

/// The kernel takes "-" and "_" in a parameter's name for the same.
fn same_parameter(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes().zip(b.bytes()).all(|(a, b)| a == b || matches!((a, b), (b'-' | b'_', b'-' | b'_')))
}

pub(crate) fn read(sysroot: &Path) -> KernelFacts {
    let at = |path: &str| sysroot.join(path);
    let groups = text(&at("etc/group")).map(|t| groups(&t)).unwrap_or_default();
    let dmi = |name: &str| line(&at("sys/class/dmi/id").join(name));
    let firmware: Vec<String> = ["bios_date", "bios_version"].into_iter().filter_map(dmi).collect();
    KernelFacts {
        release: line(&at("proc/sys/kernel/osrelease")),
        cmdline: text(&at("proc/cmdline"))
            .map(|t| t.split_ascii_whitespace().map(str::to_owned).collect())
            .unwrap_or_default(),
        ttm: ttm(sysroot),
        gttsize_mib: line(&at("sys/module/amdgpu/parameters/gttsize")).and_then(|t| t.parse().ok()),
        swappiness: number(&at("proc/sys/vm/swappiness"))
            .filter(|n| *n <= 200)
            .and_then(|n| u32::try_from(n).ok()),
        swaps: text(&at("proc/swaps")).map(|t| swaps(&t)).unwrap_or_default(),
        iommus: iommus(&at("sys/class/iommu")),
        modules: text(&at("proc/modules")).map(|t| modules(&t)).unwrap_or_default(),
        pressure: crate::pressure::read(sysroot).is_some(),
        system: text(&at("etc/os-release")).and_then(|t| os_release(&t)),
        firmware: (!firmware.is_empty()).then(|| firmware.join(" ")),
        cards: cards(&at("sys/class/drm")),
        nodes: nodes(sysroot, &groups),
        user: user::read(sysroot, &groups),
    }
}

/// The limits of the memory manager that GPU drivers share.
pub(crate) fn ttm(sysroot: &Path) -> Option<Ttm> {
    ["ttm", "amdttm"].into_iter().find_map(|module| {
        let parameter = |name: &str| number(&sysroot.join(format!("sys/module/{module}/parameters/{name}")));
        let (pages_limit, page_pool_size) = (parameter("pages_limit"), parameter("page_pool_size"));
        (pages_limit.is_some() || page_pool_size.is_some()).then(|| Ttm {
            module: module.to_owned(),
            pages_limit,
            page_pool_size,
        })
    })
}

fn iommus(folder: &Path) -> Option<u32> {
    folder.is_dir().then(|| u32::try_from(names(folder).len()).unwrap_or(u32::MAX))
}

fn cards(folder: &Path) -> Vec<CardFacts> {
    let mut numbers: Vec<u32> =
        names(folder).iter().filter_map(|name| name.strip_prefix("card")?.parse().ok()).collect();
    numbers.sort_unstable();
    let card = |n: u32| {
        let device = folder.join(format!("card{n}/device"));
        let firmware = device.join("fw_version");
        Some(CardFacts {
            name: format!("card{n}"),
            vendor: line(&device.join("vendor"))?,
            device: line(&device.join("device")),
            pci: crate::cards::uevent(&device, "PCI_SLOT_NAME"),
            driver: crate::cards::uevent(&device, "DRIVER"),
            firmware: names(&firmware)
                .into_iter()
                .filter_map(|name| line(&firmware.join(&name)).map(|version| (name, version)))
                .collect(),
        })
    };
    numbers.into_iter().filter_map(card).collect()
}

fn nodes(sysroot: &Path, groups: &BTreeMap<u32, (String, Vec<String>)>) -> Vec<DeviceNode> {
    let render = names(&sysroot.join("dev/dri")).into_iter().filter(|n| n.starts_with("renderD"));
    let nvidia = names(&sysroot.join("dev")).into_iter().filter(|n| n.starts_with("nvidia"));
    let paths = std::iter::once("dev/kfd".to_owned())
        .chain(render.map(|n| format!("dev/dri/{n}")))
        .chain(nvidia.map(|n| format!("dev/{n}")));
    let node = |path: String| {
        let full = sysroot.join(&path);
        let about = fs::metadata(&full).ok().filter(|m| !m.is_dir())?;
        let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
        let ours = sysroot == Path::new("/");
        Some(DeviceNode {
            path: format!("/{path}"),
            uid: about.uid(),
            gid: about.gid(),
            group: groups.get(&about.gid()).map(|(name, _)| name.clone()),
            mode: about.mode() & 0o7777,
            open_to_us: ours.then(|| rustix::fs::access(&full, access).is_ok()),
        })
    };
    paths.filter_map(node).collect()
}

#[cfg(test)]
mod tests;
