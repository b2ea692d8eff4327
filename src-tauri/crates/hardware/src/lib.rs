//! What this machine is and how it feels: sysfs and proc, below a root folder that can be replaced, so that another
//! machine's recording can be played back.
//!
//! Every file may be missing or lie; then its figure is absent, and nothing fails. Nothing above this crate asks
//! which kind of machine it is: it gets memory pools.
//!
//! Deliberately absent: what may be used of a pool (`domain::pool`), cards of other makers, temperatures, anything
//! that needs rights which a desktop user does not have.

mod cards;
mod meminfo;
mod pools;
mod processes;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use domain::pool::PoolReading;
use domain::stack::Gpu;

pub use processes::{process_memory, top_holders};

/// A machine: this one, or a recording of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    sysroot: PathBuf,
}

/// What a container needs to reach the GPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuDevices {
    /// Those that exist: "/dev/kfd", "/dev/dri".
    pub devices: Vec<String>,
    /// The groups that own them, as numbers: a container resolves names in its own group file.
    pub groups: Vec<u32>,
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

    /// The memory pools as they are now.
    pub fn pools(&self) -> Vec<PoolReading> {
        pools::pools(meminfo::read(&self.sysroot), &cards::read(&self.sysroot))
    }

    /// Whether there is a GPU that the shipped agents can use.
    pub fn has_gpu(&self) -> bool {
        !cards::read(&self.sysroot).is_empty()
    }

    /// The GPU, where it is one of which is known what works on it.
    pub fn gpu(&self) -> Option<Gpu> {
        let known = cards::read(&self.sysroot).iter().any(cards::Card::is_strix_halo);
        known.then_some(Gpu::Gfx1151)
    }

    pub fn gpu_devices(&self) -> GpuDevices {
        let at = |path: &str| self.sysroot.join(path.trim_start_matches('/'));
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
        GpuDevices { devices, groups }
    }
}

/// A small file's text, on one line.
fn line(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests;
