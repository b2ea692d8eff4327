use std::fs;

use domain::memory::MIB;

use super::*;

/// A recording: one Strix Halo and the files named.
fn machine(files: &[(&str, &str)]) -> (tempfile::TempDir, Machine) {
    let root = tempfile::tempdir().unwrap();
    let card = "sys/class/drm/card1/device";
    let shared = [
        ("proc/meminfo".to_owned(), "MemTotal: 131072000 kB\nMemAvailable: 110100480 kB\n".to_owned()),
        (format!("{card}/vendor"), "0x1002".into()),
        (format!("{card}/device"), "0x1586".into()),
        (format!("{card}/uevent"), "PCI_SLOT_NAME=0000:c4:00.0\n".into()),
        (format!("{card}/mem_info_vram_total"), (512 * MIB).to_string()),
        (format!("{card}/mem_info_gtt_total"), (124 * 1024 * MIB).to_string()),
    ];
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    for (path, text) in shared.into_iter().chain(files) {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let machine = Machine::new(root.path());
    (root, machine)
}

fn client(pci: &str, id: u64, memory: &str) -> String {
    format!("drm-driver:\tamdgpu\ndrm-pdev:\t{pci}\ndrm-client-id:\t{id}\n{memory}\n")
}

fn held(machine: &Machine, pids: &[u32]) -> Option<Vec<(String, u64)>> {
    let by_pool = device_memory(machine, pids)?.by_pool;
    Some(by_pool.into_iter().map(|(pool, bytes)| (pool.0, bytes.0 / MIB)).collect())
}

#[test]
fn a_client_that_parent_and_child_share_counts_once() {
    let own = client("0000:c4:00.0", 7, "drm-memory-gtt: 300 MiB\ndrm-memory-vram: 40 MiB");
    let other = client("0000:c4:00.0", 8, "drm-resident-gtt: 1024 KiB");
    let (_root, machine) = machine(&[
        ("proc/10/stat", "10 (vllm) S 1 1"),
        ("proc/10/fdinfo/0", "pos: 0\n"),
        ("proc/10/fdinfo/5", &own),
        ("proc/10/fdinfo/6", &own),
        ("proc/11/stat", "11 (worker) S 10 1"),
        ("proc/11/fdinfo/3", &own),
        ("proc/11/fdinfo/4", &other),
        ("proc/12/stat", "12 (stranger) S 1 1"),
        ("proc/12/fdinfo/3", &client("0000:c4:00.0", 9, "drm-memory-gtt: 9000 MiB")),
    ]);
    assert_eq!(held(&machine, &[10, 999]), Some(vec![("unified".to_owned(), 301)]));
    assert_eq!(held(&machine, &[]), Some(vec![]));
}

#[test]
fn what_cannot_be_read_is_not_nothing() {
    let (root, machine) = machine(&[
        ("proc/10/stat", "10 (vllm) S 1 1"),
        ("proc/10/fdinfo/5", &client("0000:c4:00.0", 7, "drm-memory-gtt: 300 MiB")),
    ]);
    // A folder where a file should be cannot be read, whoever asks.
    fs::create_dir(root.path().join("proc/10/fdinfo/6")).unwrap();
    assert_eq!(held(&machine, &[10]), None);
    fs::remove_dir(root.path().join("proc/10/fdinfo/6")).unwrap();
    assert_eq!(held(&machine, &[10]), Some(vec![("unified".to_owned(), 300)]));
    // A client that says nothing of memory.
    fs::write(root.path().join("proc/10/fdinfo/6"), client("0000:c4:00.0", 9, "drm-memory-gtt: lots"))
        .unwrap();
    assert_eq!(held(&machine, &[10]), None);
    // A card that is not known: with one card any client is its, with two it is anybody's.
    fs::write(root.path().join("proc/10/fdinfo/6"), client("0000:99:00.0", 9, "drm-memory-gtt: 1 MiB"))
        .unwrap();
    assert_eq!(held(&machine, &[10]), Some(vec![("unified".to_owned(), 301)]));
    let second = root.path().join("sys/class/drm/card2/device");
    fs::create_dir_all(&second).unwrap();
    for (file, text) in [("vendor", "0x1002"), ("mem_info_vram_total", "99999999999")] {
        fs::write(second.join(file), text).unwrap();
    }
    assert_eq!(held(&machine, &[10]), None);
    // No GPU to ask.
    assert_eq!(device_memory(&Machine::new("/nowhere"), &[10]), None);
}

#[test]
fn nvidia_counts_by_process_where_it_does() {
    let cards = |first: &str, second: &str| {
        format!(
            r#"{{"devices":[
            {{"name":"B","pci":"00000000:02:00.0","memory":{{"total":1000,"free":1,"used":1}},"processes":{second}}},
            {{"name":"A","pci":"00000000:01:00.0","memory":{{"total":1000,"free":1,"used":1}},"processes":{first}}}]}}"#
        )
    };
    let measure = |first: &str, second: &str| {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/11")).unwrap();
        fs::write(root.path().join("proc/11/stat"), "11 (w) S 10 1").unwrap();
        fs::write(root.path().join("nvml.json"), cards(first, second)).unwrap();
        held(&Machine::new(root.path()), &[10])
    };
    let known = r#"[{"pid":10,"memory":3145728},{"pid":11,"memory":1048576},{"pid":12,"memory":9}]"#;
    assert_eq!(measure(known, "[]"), Some(vec![("gpu0".to_owned(), 4)]));
    assert_eq!(
        measure(known, r#"[{"pid":11,"memory":2097152}]"#),
        Some(vec![("gpu0".to_owned(), 4), ("gpu1".to_owned(), 2)])
    );
    assert_eq!(measure(known, r#"[{"pid":11,"memory":null}]"#), None, "ours, without a figure");
    assert_eq!(measure(known, r#"[{"pid":12}]"#), Some(vec![("gpu0".to_owned(), 4)]), "not ours");
    assert_eq!(measure(known, "null"), None, "a card that names no process");
}

#[test]
fn a_group_less_what_the_kernel_would_drop() {
    let (root, machine) = machine(&[
        ("proc/10/cgroup", "1:cpu:/x\n0::/system.slice/docker-ab.scope\n"),
        ("sys/fs/cgroup/system.slice/docker-ab.scope/memory.current", "1000\n"),
        ("sys/fs/cgroup/system.slice/docker-ab.scope/memory.stat", "anon 5\nfile 600\ninactive_file 300\n"),
        ("proc/11/cgroup", "0::/\n"),
        ("proc/12/cgroup", "0::/../../../proc\n"),
        ("proc/13/cgroup", "0::/gone\n"),
    ]);
    assert_eq!(cgroup_memory(&machine, 10), Some(Bytes(700)));
    for pid in [11, 12, 13, 14] {
        assert_eq!(cgroup_memory(&machine, pid), None, "{pid}");
    }
    let group = root.path().join("sys/fs/cgroup/system.slice/docker-ab.scope");
    for (file, lie) in
        [("memory.current", "max"), ("memory.current", "-1"), ("memory.current", "18446744073709551616")]
    {
        fs::write(group.join(file), lie).unwrap();
        assert_eq!(cgroup_memory(&machine, 10), None, "{lie}");
    }
    fs::write(group.join("memory.current"), "5").unwrap();
    assert_eq!(cgroup_memory(&machine, 10), Some(Bytes::ZERO), "counters lag");
}

#[test]
fn this_process_is_somebody() {
    let machine = Machine::new("/");
    // Readable, as it is our own; whether there is a group or a GPU is the machine's business.
    if let Some(held) = cgroup_memory(&machine, std::process::id()) {
        assert!(held > Bytes::ZERO);
    }
    assert_eq!(parse_cgroup("0::/user.slice/a b\n").as_deref(), Some("user.slice/a b"));
}
