use std::fs;

use super::*;

fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn what_a_tuned_strix_halo_says() {
    let root = machine(&[
        ("proc/sys/kernel/osrelease", "6.17.4-generic\n"),
        (
            "proc/cmdline",
            "quiet amd_iommu=off amdgpu.gttsize=1 ttm.pages-limit=32505856 amdgpu.gttsize=126976\n",
        ),
        ("sys/module/amdttm/parameters/pages_limit", "32505856\n"),
        ("sys/module/amdgpu/parameters/gttsize", "-1\n"),
        ("proc/sys/vm/swappiness", "60\n"),
        (
            "proc/swaps",
            "Filename Type Size Used Priority\n/dev/zram0 partition 1024 8 100\n/my\\040swap file 4 0 -2\n",
        ),
        ("proc/modules", "amdgpu 1 2 - Live 0x0\nttm 3 4 - Live 0x0\n"),
        ("sys/class/iommu/ivhd0", ""),
        ("etc/os-release", "NAME=x\nPRETTY_NAME=\"Fedora Linux 43\"\n"),
        ("sys/class/drm/card1/device/vendor", "0x1002\n"),
        ("sys/class/drm/card1/device/uevent", "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:c4:00.0\n"),
        ("sys/class/drm/card1/device/fw_version/mes_fw_version", "0x00000083\n"),
        ("sys/class/drm/card1-DP-1/status", "connected\n"),
        ("dev/kfd", ""),
        ("dev/dri/renderD128", ""),
        ("dev/dri/card1", ""),
        ("etc/group", "render:x:992:\nvideo:x:44:odin,thor\nwheel:x:10:odin\n"),
        ("etc/passwd", "root:x:0:0::/:/bin/sh\nodin:x:1000:1000::/home/odin:/bin/sh\n"),
        (
            "proc/self/status",
            "Name:\tx\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t10 1000 \n",
        ),
    ]);
    let facts = read(root.path());
    assert_eq!(facts.release.as_deref(), Some("6.17.4-generic"));
    assert_eq!(facts.parameter("amdgpu.gttsize"), Some("126976"), "the last one counts");
    assert_eq!(facts.parameter("ttm.pages_limit"), Some("32505856"), "- and _ are the same");
    assert_eq!((facts.parameter("quiet"), facts.parameter("iommu")), (Some(""), None));
    let ttm = facts.ttm.as_ref().unwrap();
    assert_eq!((ttm.module.as_str(), ttm.limit(), ttm.pool()), ("amdttm", Some(Bytes::gb(124.0)), None));
    assert_eq!((facts.gttsize_mib, facts.swappiness, facts.iommus), (Some(-1), Some(60), Some(1)));
    assert_eq!(facts.modules, ["amdgpu", "ttm"]);
    let swaps: Vec<(&str, SwapKind)> = facts.swaps.iter().map(|s| (s.path.as_str(), s.kind)).collect();
    assert_eq!(swaps, [("/dev/zram0", SwapKind::Zram), ("/my swap", SwapKind::File)]);
    assert_eq!(facts.system.as_deref(), Some("Fedora Linux 43"));
    assert_eq!(facts.cards.len(), 1);
    assert_eq!(facts.cards[0].pci.as_deref(), Some("0000:c4:00.0"));
    assert_eq!(facts.cards[0].firmware["mes_fw_version"], "0x00000083");
    let nodes: Vec<&str> = facts.nodes.iter().map(|n| n.path.as_str()).collect();
    assert_eq!(nodes, ["/dev/kfd", "/dev/dri/renderD128"]);
    assert!(facts.nodes.iter().all(|n| n.open_to_us.is_none()), "a recording opens nothing");
    let user = facts.user.unwrap();
    assert_eq!((user.uid, user.name.as_deref()), (1000, Some("odin")));
    assert!(user.is_in("wheel") && !user.is_in("video"));
    assert_eq!(user.after_login, ["video"]);
}

#[test]
fn nothing_and_nonsense_are_absent() {
    let empty = machine(&[]);
    assert_eq!(read(empty.path()), KernelFacts::default());
    let nonsense = machine(&[
        ("proc/sys/vm/swappiness", "201"),
        ("sys/module/ttm/parameters/pages_limit", "-1"),
        ("sys/module/amdttm/parameters/pages_limit", "18446744073709551615"),
        ("sys/module/amdgpu/parameters/gttsize", "many"),
        ("proc/swaps", "Filename\n/x tape 1 1 1\n/y file -1 0 0\n/z file"),
        ("etc/group", "a\nb:c\nd:e:f\n"),
        ("proc/self/status", "Uid: x\n"),
        ("etc/os-release/folder", ""),
    ]);
    let facts = read(nonsense.path());
    assert_eq!((facts.swappiness, facts.gttsize_mib, facts.system), (None, None, None));
    assert_eq!(facts.ttm.unwrap().limit(), None, "pages that overflow are no limit");
    assert!(facts.swaps.is_empty() && facts.user.is_none());
}

#[test]
fn this_machine_has_a_kernel_and_a_user() {
    let facts = read(Path::new("/"));
    assert!(facts.release.is_some() && !facts.cmdline.is_empty());
    assert!(facts.nodes.iter().all(|n| n.open_to_us.is_some()));
    assert_eq!(facts.user.unwrap().uid, rustix::process::getuid().as_raw());
}
