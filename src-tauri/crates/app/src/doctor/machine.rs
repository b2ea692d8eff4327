//! The machine: from what `hardware` reads, and a few files and programs that are no kernel's.

use std::fs;
use std::path::{Path, PathBuf};

use domain::doctor::{DeviceNode, Devices, Distribution, Graphics, Kernel, Seen, Swap, SwapArea};
use domain::stack::Gpu;
use hardware::{KernelFacts, Machine, Reading};

use super::{FILES, RECORDING, look, within};

pub(super) struct MachineFacts {
    pub(super) distribution: Distribution,
    pub(super) doubts: Vec<(String, String)>,
    pub(super) graphics: Graphics,
    pub(super) kernel: Kernel,
    pub(super) swap: Swap,
    pub(super) devices: Seen<Devices>,
}

/// What ends programs before the kernel has to.
const EARLY: [&str; 4] = ["earlyoom", "systemd-oomd", "nohang", "oomd"];

pub(super) async fn read(machine: &Machine) -> MachineFacts {
    let here = machine.is_this_one();
    let root = machine.root().to_path_buf();
    let of = machine.clone();
    let (seen, package, rpm) = tokio::join!(
        look("The kernel's files", move || (
            of.kernel(),
            of.read(),
            of.gpu(),
            small(&of.root().join("etc/os-release"))
        )),
        {
            let root = root.clone();
            look("The list of packages", move || firmware_package(&root))
        },
        rpm(here),
    );
    let package = match (package, rpm) {
        (Ok(Some(version)), _) | (_, Some(version)) => Ok(version),
        (Err(reason), None) => Err(reason),
        (Ok(None), None) if here => Err("No list of packages names linux-firmware.".to_owned()),
        (Ok(None), None) => Err(RECORDING.to_owned()),
    };
    let (facts, reading, gpu, os) = match seen {
        Ok(seen) => seen,
        Err(reason) => return nothing(&reason),
    };
    let (swap_root, early_root) = (root.clone(), root.clone());
    let files = look("The kernel's files", move || {
        (
            swap_root.join("proc/swaps").exists(),
            root_file_system(&swap_root),
            early_oom(&early_root),
            toolkit(&early_root),
        )
    });
    let (has_swaps, file_system, early, toolkit) = match files.await {
        Ok((swaps, file_system, early, toolkit)) => (swaps, file_system, early, toolkit),
        Err(reason) => (false, None, Err(reason.clone()), Err(reason)),
    };
    MachineFacts {
        distribution: os.as_deref().map(Distribution::from_os_release).unwrap_or_default(),
        doubts: reading.doubts.iter().map(|d| (d.message.clone(), d.next.clone())).collect(),
        graphics: graphics(&facts, &reading, gpu, toolkit),
        swap: swap(&facts, &reading, here, has_swaps, file_system, early),
        devices: devices(&facts, &root),
        kernel: kernel(facts, here, &root, package),
    }
}

fn nothing(reason: &str) -> MachineFacts {
    MachineFacts {
        distribution: Distribution::default(),
        doubts: Vec::new(),
        graphics: Graphics::default(),
        kernel: Kernel::default(),
        swap: Swap::default(),
        devices: Err(reason.to_owned()),
    }
}

/// A file of a few lines.
fn small(path: &Path) -> Option<String> {
    fs::metadata(path).ok().filter(|m| m.len() < 1 << 20)?;
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn graphics(facts: &KernelFacts, reading: &Reading, gpu: Option<Gpu>, toolkit: Seen<bool>) -> Graphics {
    let strix_halo = gpu == Some(Gpu::Gfx1151);
    let of = |vendor: &str| {
        u32::try_from(facts.cards.iter().filter(|c| c.vendor == vendor).count()).unwrap_or(u32::MAX)
    };
    let nvidia = of("0x10de")
        .max(u32::try_from(reading.gpus.iter().filter(|g| g.uuid.is_some()).count()).unwrap_or(0));
    let mes = facts.cards.iter().find_map(|c| c.firmware.get("mes_fw_version")).and_then(|v| {
        let digits = v.trim().trim_start_matches("0x");
        // The upper bits are the version of its interface.
        u32::from_str_radix(digits, 16).ok().map(|v| v & 0xfff)
    });
    Graphics {
        carve_out: reading.gpus.iter().find(|g| strix_halo && g.uuid.is_none()).and_then(|g| g.vram_total),
        strix_halo,
        amd_cards: of("0x1002"),
        nvidia_cards: nvidia,
        nvidia_toolkit: (nvidia > 0).then_some(toolkit),
        mes_firmware: mes.filter(|v| *v > 0),
    }
}

fn kernel(facts: KernelFacts, here: bool, root: &Path, firmware_package: Seen<String>) -> Kernel {
    let absent = |what: &str| if here { format!("{what} cannot be read.") } else { RECORDING.to_owned() };
    let pressure = match facts.pressure {
        true => Ok(true),
        // A recording that has none of it was made without, not on a kernel without.
        false if here || root.join("proc/pressure").exists() => Ok(false),
        false => Err(RECORDING.to_owned()),
    };
    let ttm = facts.ttm.as_ref();
    Kernel {
        amdttm: ttm.is_some_and(|t| t.module == "amdttm"),
        pages_limit: ttm.and_then(|t| t.pages_limit).ok_or_else(|| absent("The module's limit")),
        command_line: Some(facts.cmdline.join(" "))
            .filter(|_| root.join("proc/cmdline").exists())
            .ok_or_else(|| absent("/proc/cmdline")),
        release: facts.release.ok_or_else(|| absent("The kernel's version")),
        firmware_package,
        pressure,
    }
}

fn swap(
    facts: &KernelFacts,
    reading: &Reading,
    here: bool,
    has_file: bool,
    root_file_system: Option<String>,
    early_oom: Seen<Option<String>>,
) -> Swap {
    let listed: Vec<SwapArea> =
        facts.swaps.iter().map(|s| SwapArea { path: s.path.clone(), size: s.size }).collect();
    let total = reading.memory.swap_total;
    let areas = match (has_file, total) {
        (true, _) => Ok(listed),
        // The sum alone, where the list is missing.
        (false, Some(total)) if total.0 > 0 => Ok(vec![SwapArea { path: "swap".to_owned(), size: total }]),
        (false, Some(_)) => Ok(Vec::new()),
        (false, None) if here => Err("/proc/swaps cannot be read.".to_owned()),
        (false, None) => Err(RECORDING.to_owned()),
    };
    let unread = if here { "vm.swappiness cannot be read." } else { RECORDING };
    Swap {
        areas,
        swappiness: facts.swappiness.map(u64::from).ok_or_else(|| unread.to_owned()),
        early_oom,
        memory: reading.memory.total,
        root_file_system,
    }
}

fn devices(facts: &KernelFacts, root: &Path) -> Seen<Devices> {
    if !root.join("dev").is_dir() {
        return Err(RECORDING.to_owned());
    }
    let node = |n: &hardware::kernel::DeviceNode| DeviceNode {
        path: n.path.clone(),
        group: n.gid,
        group_name: n.group.clone(),
        usable: n.open_to_us,
    };
    Ok(Devices {
        kfd: facts.nodes.iter().find(|n| n.path == "/dev/kfd").map(node),
        render: facts.nodes.iter().filter(|n| n.path.starts_with("/dev/dri/render")).map(node).collect(),
    })
}

/// A process of one of the names. A recording may have kept no processes, or a few of them: only one that has the first
/// has them all.
fn early_oom(root: &Path) -> Seen<Option<String>> {
    let entries = fs::read_dir(root.join("proc")).map_err(|_| RECORDING.to_owned())?;
    let numbered =
        entries.flatten().filter(|e| e.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let mut names = numbered.filter_map(|e| fs::read_to_string(e.path().join("comm")).ok());
    match names.find(|name| EARLY.contains(&name.trim())) {
        Some(name) => Ok(Some(name.trim().to_owned())),
        None if root.join("proc/1").exists() => Ok(None),
        None => Err(RECORDING.to_owned()),
    }
}

/// The type of what is mounted at "/"; the last one mounted counts.
fn root_file_system(root: &Path) -> Option<String> {
    let mounts = small(&root.join("proc/mounts")).or_else(|| small(&root.join("proc/self/mounts")))?;
    let at_root = |line: &str| {
        let mut fields = line.split(' ');
        (fields.nth(1)? == "/").then(|| fields.next().map(str::to_owned)).flatten()
    };
    mounts.lines().filter_map(at_root).next_back()
}

/// What hands NVIDIA's cards to a container: a program of the toolkit, or a description for CDI.
fn toolkit(root: &Path) -> Seen<bool> {
    let bin: Vec<PathBuf> =
        ["usr/bin", "usr/local/bin", "run/current-system/sw/bin"].map(|b| root.join(b)).into();
    let cdi = ["etc/cdi", "var/run/cdi", "run/cdi"].map(|d| root.join(d));
    if !bin.iter().chain(&cdi).any(|d| d.is_dir()) {
        return Err(RECORDING.to_owned());
    }
    let program =
        bin.iter().any(|b| b.join("nvidia-ctk").exists() || b.join("nvidia-container-runtime").exists());
    let described = cdi.iter().any(|d| {
        let names = fs::read_dir(d).into_iter().flatten().flatten();
        names.map(|e| e.file_name()).any(|n| n.to_string_lossy().contains("nvidia"))
    });
    Ok(program || described)
}

/// The version of linux-firmware in the lists of dpkg or pacman.
fn firmware_package(root: &Path) -> Option<String> {
    dpkg(&root.join("var/lib/dpkg/status")).or_else(|| {
        let names = fs::read_dir(root.join("var/lib/pacman/local")).ok()?.flatten();
        names
            .filter_map(|e| e.file_name().to_str()?.strip_prefix("linux-firmware-").map(str::to_owned))
            .find(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// The list may have some ten thousand entries, and is read as text.
fn dpkg(path: &Path) -> Option<String> {
    fs::metadata(path).ok().filter(|m| m.len() < 64 << 20)?;
    let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
    let of = |package: &str| {
        let entry = text.split("\n\n").find(|e| e.lines().any(|l| l == format!("Package: {package}")))?;
        entry.lines().find_map(|l| l.strip_prefix("Version: ")).map(str::to_owned)
    };
    of("firmware-amd-graphics").or_else(|| of("linux-firmware"))
}

/// Fedora's list is a database of its own; its program reads it without root.
async fn rpm(here: bool) -> Option<String> {
    if !here || !Path::new("/usr/bin/rpm").exists() {
        return None;
    }
    let mut program = tokio::process::Command::new("/usr/bin/rpm");
    program.args(["-q", "--qf", "%{VERSION}-%{RELEASE}\n", "amd-gpu-firmware", "linux-firmware"]);
    program.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let done = within(FILES, "rpm", program.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.lines().find(|l| l.starts_with("20")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_mounts_and_processes_below_another_root() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert!(early_oom(dir.path()).is_err() && toolkit(dir.path()).is_err());
        assert_eq!(firmware_package(dir.path()), None);
        put("proc/meminfo", "");
        put("proc/17/comm", "bash\n");
        assert!(early_oom(dir.path()).is_err(), "a recording of a few processes tells nothing");
        put("proc/1/comm", "systemd\n");
        assert_eq!(early_oom(dir.path()), Ok(None));
        put("proc/18/comm", "systemd-oomd\n");
        assert_eq!(early_oom(dir.path()), Ok(Some("systemd-oomd".to_owned())));
        put("proc/mounts", "rootfs / rootfs rw 0 0\n/dev/x / btrfs rw 0 0\n/dev/y /home ext4 rw 0 0\n");
        assert_eq!(root_file_system(dir.path()).as_deref(), Some("btrfs"));
        put("var/lib/pacman/local/linux-firmware-whence-20251125-1/desc", "");
        assert_eq!(firmware_package(dir.path()), None);
        put("var/lib/pacman/local/linux-firmware-20251125-1/desc", "");
        assert_eq!(firmware_package(dir.path()).as_deref(), Some("20251125-1"));
        put(
            "var/lib/dpkg/status",
            "Package: bash\nVersion: 5\n\nPackage: linux-firmware\nVersion: 20240318.git1\n\n",
        );
        assert_eq!(firmware_package(dir.path()).as_deref(), Some("20240318.git1"));
        put("usr/bin/env", "");
        assert_eq!(toolkit(dir.path()), Ok(false));
        put("etc/cdi/nvidia.yaml", "");
        assert_eq!(toolkit(dir.path()), Ok(true));
    }
}
