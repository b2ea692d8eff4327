//! What this machine is and how it feels: sysfs and proc, below a root folder that can be replaced, so that another
//! machine's recording can be played back.
//!
//! Every file may be missing or lie; then its figure is absent, and nothing fails. Nothing above this crate asks
//! which kind of machine it is: it gets memory pools.
//!
//! Deliberately absent: what may be used of a pool (`domain::pool`), cards of other makers than AMD and NVIDIA, what
//! HIP says (its totals are wrong on shared memory), anything that needs rights which a desktop user does not have.

mod cards;
mod doubts;
mod fdinfo;
mod files;
pub mod kernel;
mod measure;
mod meminfo;
mod nvml;
mod pools;
mod pressure;
mod processes;
mod reading;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use domain::pool::{PoolId, PoolReading};
use domain::stack::Gpu;

pub use cards::{Ask, pci_address};
pub use fdinfo::{DrmClient, parse as parse_fdinfo};
pub use kernel::KernelFacts;
pub use measure::{
    DeviceMemory, cgroup_memory, device_memory, device_memory_of, parse_cgroup, parse_inactive_file,
};
pub use meminfo::parse as parse_meminfo;
pub use nvml::{Answer as NvmlAnswer, Nvml, NvmlDevice, NvmlMemory, NvmlProcess, parse as parse_nvml};
pub use pressure::{POLL, PressureTrigger, PressureWatch, parse as parse_pressure, watch_pressure};
pub use processes::{ProcessTree, process_memory, top_holders};
pub use reading::{Doubt, GpuReading, MemoryFacts, Pressure, Reading, headroom};

use pools::Survey;

/// A machine: this one, or a recording of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    sysroot: PathBuf,
}

/// The median time of `readings` readings of `machine`: for benchmarks. At least one is made.
pub fn time_of_reading(machine: &Machine, readings: usize) -> Duration {
    // The first one opens NVIDIA's library, and no later one does.
    machine.read();
    let mut times: Vec<Duration> = (0..readings.max(1))
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(machine.read());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// What a container needs to reach the GPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuDevices {
    /// Those that exist: "/dev/kfd", "/dev/dri".
    pub devices: Vec<String>,
    /// The groups that own them, as numbers: a container resolves names in its own group file.
    pub groups: Vec<u32>,
    /// NVIDIA cards, in the order of their pools: a container gets them from NVIDIA's runtime (a device request or
    /// CDI), which brings the devices and the driver's libraries, and needs no groups.
    pub nvidia: Vec<NvidiaCard>,
}

/// How a container names a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NvidiaCard {
    pub pool: PoolId,
    /// "GPU-5ba5e1f0-…": what `--gpus device=` and `NVIDIA_VISIBLE_DEVICES` take whatever the order of cards.
    pub uuid: Option<String>,
}

impl Machine {
    pub fn new(sysroot: impl Into<PathBuf>) -> Self {
        Self { sysroot: sysroot.into() }
    }

    /// From the value of `ASGARD_SYSROOT`; without one, or with an empty one, this machine.
    pub fn from_env(sysroot: Option<OsString>) -> Self {
        Self::new(sysroot.filter(|s| !s.is_empty()).map_or_else(|| PathBuf::from("/"), PathBuf::from))
    }

    /// Whether it is the machine we run on, and no recording.
    pub fn is_this_one(&self) -> bool {
        self.sysroot == Path::new("/")
    }

    /// Below which folder it is read: "/", or that of a recording.
    pub fn root(&self) -> &Path {
        &self.sysroot
    }

    /// The memory pools as they are now.
    pub fn pools(&self) -> Vec<PoolReading> {
        self.survey(Ask::Memory).pools()
    }

    /// Everything of the machine as it is now, in one pass over some dozens of small files.
    pub fn read(&self) -> Reading {
        let survey = self.survey(Ask::Everything);
        let pools = survey.pools();
        Reading {
            doubts: doubts::doubts(&survey, &pools),
            gpus: survey.gpus(),
            memory: survey.memory,
            pressure: pressure::read(&self.sysroot),
            pools,
        }
    }

    /// What the kernel was told and what it is: for a person who asks whether the machine is ready.
    pub fn kernel(&self) -> KernelFacts {
        kernel::read(&self.sysroot)
    }

    /// Which process is below which, now.
    pub fn processes(&self) -> ProcessTree {
        ProcessTree::read(&self.at("proc"))
    }

    /// Which of these programs run, by name.
    pub fn running(&self, names: &[&str]) -> BTreeSet<String> {
        processes::running(&self.at("proc"), names)
    }

    fn survey(&self, ask: Ask) -> Survey {
        let nvml = self.nvml();
        let nvidia = nvml.devices(ask);
        let built_in: Vec<bool> = nvidia.iter().map(NvmlDevice::shares_system_memory).collect();
        let nvidia_holds =
            built_in.contains(&true).then(|| nvml::held_through(&built_in, &nvml.processes())).flatten();
        Survey {
            memory: meminfo::read(&self.sysroot),
            amd: cards::read(&self.sysroot, ask),
            nvidia,
            pages_limit: kernel::ttm(&self.sysroot).and_then(|ttm| ttm.limit()),
            nvidia_holds,
        }
    }

    /// NVIDIA's own answers about its cards.
    pub fn nvml(&self) -> Box<dyn Nvml> {
        nvml::of(&self.sysroot)
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.sysroot.join(path.trim_start_matches('/'))
    }

    /// Whether there is a GPU that the shipped agents can use.
    pub fn has_gpu(&self) -> bool {
        !cards::read(&self.sysroot, Ask::Memory).is_empty() || !self.nvml().devices(Ask::Memory).is_empty()
    }

    /// The GPU, where it is one of which is known what works on it.
    pub fn gpu(&self) -> Option<Gpu> {
        let known = cards::read(&self.sysroot, Ask::Memory).iter().any(cards::Card::is_strix_halo);
        known.then_some(Gpu::Gfx1151)
    }

    pub fn gpu_devices(&self) -> GpuDevices {
        let at = |path: &str| self.at(path);
        let devices: Vec<String> =
            ["/dev/kfd", "/dev/dri"].into_iter().filter(|d| at(d).exists()).map(str::to_owned).collect();
        let group = |path: &Path| fs::metadata(path).ok().map(|m| m.gid());
        let render_nodes =
            fs::read_dir(at("/dev/dri")).into_iter().flatten().flatten().map(|entry| entry.path());
        let render_nodes = render_nodes
            .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("renderD")));
        let mut groups: Vec<u32> =
            std::iter::once(at("/dev/kfd")).chain(render_nodes).filter_map(|p| group(&p)).collect();
        groups.sort_unstable();
        groups.dedup();
        // Owned by root's group, a device says nothing about who may use it.
        groups.retain(|g| *g != 0);
        let survey = self.survey(Ask::Memory);
        let places = survey.places().nvidia.into_iter();
        let nvidia = places
            .zip(&survey.nvidia)
            .filter(|(_, d)| d.has_own() || d.shares_system_memory())
            .map(|(pool, device)| NvidiaCard { pool, uuid: device.uuid.clone() });
        GpuDevices { devices, groups, nvidia: nvidia.collect() }
    }
}

#[cfg(test)]
mod any_machine;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod tests;
