use std::fs;

use domain::Bytes;
use domain::pool::{Ledger, PoolKind, PoolReading};

use super::*;

fn fixture(name: &str) -> Machine {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    assert!(folder.is_dir(), "no fixture {name}");
    Machine::new(folder)
}

fn only_pool(name: &str) -> PoolReading {
    let mut pools = fixture(name).pools();
    assert_eq!(pools.len(), 1, "{pools:?}");
    pools.remove(0)
}

fn ids(machine: &Machine) -> Vec<String> {
    machine.pools().iter().map(|p| p.id.to_string()).collect()
}

#[test]
fn a_small_carve_out_is_one_unified_pool_with_two_bounds() {
    let pool = only_pool("strix-halo-small-carveout");
    assert_eq!((pool.id.0.as_str(), pool.kind), ("unified", PoolKind::Unified));
    assert_eq!(pool.capacity, Some(Bytes::gb(125.0)));
    assert_eq!(pool.device_cap, Some(Bytes::gb(124.0)));
    assert_eq!(pool.used, Bytes::gb(20.0));
    assert_eq!(pool.device_used, Some(Bytes::mb(768.0)));
    assert!(fixture("strix-halo-small-carveout").has_gpu());
}

#[test]
fn the_variants_differ_where_they_say() {
    assert_eq!(only_pool("strix-halo-35-used").used, Bytes::gb(35.0));
    let half = only_pool("strix-halo-half-gtt");
    assert_eq!((half.device_cap, half.capacity), (Some(Bytes::gb(62.5)), Some(Bytes::gb(125.0))));
}

#[test]
fn a_large_carve_out_is_a_card_of_its_own_beside_what_the_kernel_has_left() {
    let machine = fixture("strix-halo-large-carveout");
    assert_eq!(ids(&machine), ["gpu0", "ram"]);
    let pools = machine.pools();
    assert_eq!((pools[0].kind, pools[0].capacity), (PoolKind::Vram, Some(Bytes::gb(96.0))));
    assert_eq!((pools[0].used, pools[0].device_cap), (Bytes::mb(600.0), None));
    assert_eq!(
        (pools[1].kind, pools[1].capacity, pools[1].used),
        (PoolKind::Ram, Some(Bytes::gb(31.0)), Bytes::gb(7.0))
    );
}

#[test]
fn cards_are_numbered_in_the_kernels_order_and_a_screen_unit_is_no_card() {
    let machine = fixture("two-cards");
    assert_eq!(ids(&machine), ["gpu0", "gpu1", "ram"]);
    assert_eq!(machine.pools()[1].used, Bytes::gb(2.0), "card10 comes after card1");
}

#[test]
fn without_a_gpu_there_is_the_ram() {
    let machine = fixture("cpu-only");
    assert_eq!(ids(&machine), ["ram"]);
    assert!(!machine.has_gpu());
    assert_eq!(machine.pools()[0].capacity, Some(Bytes::gb(31.0)));
}

#[test]
fn lies_are_absent_and_a_plan_will_say_so() {
    let machine = fixture("broken");
    let pools = machine.pools();
    assert_eq!(ids(&machine), ["ram"]);
    assert_eq!((pools[0].capacity, pools[0].used), (None, Bytes::ZERO));
    assert!(!machine.has_gpu());
    assert!(Ledger::new(&pools[0], None, Bytes::ZERO, &[]).is_err(), "a capacity is never guessed");
}

#[test]
fn nothing_at_all_is_a_machine_of_unknown_capacity() {
    let empty = tempfile::tempdir().unwrap();
    let machine = Machine::new(empty.path());
    assert_eq!(machine.pools()[0].capacity, None);
    assert!(!machine.has_gpu() && !machine.is_this_one());
    assert_eq!(machine.gpu_devices(), GpuDevices::default());
}

#[test]
fn this_machine_has_memory() {
    for value in [None, Some(OsString::new())] {
        let machine = Machine::from_env(value);
        assert!(machine.is_this_one());
        let pools = machine.pools();
        assert!(
            pools.iter().any(|p| p.capacity.is_some_and(|c| c > Bytes::mb(100.0)) && p.used > Bytes::ZERO)
        );
    }
}

#[test]
fn devices_are_those_that_exist_with_their_groups() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("dev/dri")).unwrap();
    fs::write(root.path().join("dev/dri/renderD128"), "").unwrap();
    fs::write(root.path().join("dev/dri/card0"), "").unwrap();
    let found = Machine::new(root.path()).gpu_devices();
    assert_eq!(found.devices, ["/dev/dri"]);
    let own = fs::metadata(root.path().join("dev/dri/renderD128")).unwrap().gid();
    assert_eq!(found.groups, if own == 0 { vec![] } else { vec![own] });
}

#[test]
fn the_gpu_is_known_by_its_number_alone() {
    let known = |name: &str| fixture(name).gpu();
    for halo in ["strix-halo-small-carveout", "strix-halo-half-gtt", "strix-halo-large-carveout"] {
        assert_eq!(known(halo), Some(Gpu::Gfx1151), "{halo}");
    }
    for other in ["cpu-only", "two-cards", "four-cards", "small-8gb", "broken"] {
        assert_eq!(known(other), None, "{other}");
    }
}

/// A machine with 64 GB, and a card for each list of files.
fn with_cards(cards: &[(&str, &[(&str, &str)])]) -> (tempfile::TempDir, Machine) {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/meminfo", "MemTotal: 67108864 kB\nMemAvailable: 58720256 kB\n");
    for (card, files) in cards {
        write(&format!("sys/class/drm/{card}/device/vendor"), "0x1002\n");
        for (file, text) in *files {
            write(&format!("sys/class/drm/{card}/device/{file}"), text);
        }
    }
    let machine = Machine::new(root.path());
    (root, machine)
}

const GB_8: &str = "8589934592";
const GB_24: &str = "25769803776";
const GB_32: &str = "34359738368";

#[test]
fn parts_of_a_card_are_not_further_cards() {
    let whole: &[(&str, &str)] = &[("uevent", "PCI_SLOT_NAME=0000:03:00.0"), ("mem_info_vram_total", GB_24)];
    // A part without an address of its own and without figures; one that repeats those of the whole.
    let (_root, machine) =
        with_cards(&[("card0", whole), ("card1", &[("uevent", "DRIVER=amdgpu_xcp_drv")]), ("card2", whole)]);
    assert_eq!(ids(&machine), ["gpu0", "ram"]);
    // Without addresses two equal cards are two.
    let plain: &[(&str, &str)] = &[("mem_info_vram_total", GB_24)];
    let (_root, machine) = with_cards(&[("card0", plain), ("card1", plain)]);
    assert_eq!(ids(&machine), ["gpu0", "gpu1", "ram"]);
}

#[test]
fn cards_go_by_their_slots_not_by_the_order_in_which_drivers_woke() {
    let at = |slot: &'static str, used: &'static str| {
        [("uevent", slot), ("mem_info_vram_total", GB_24), ("mem_info_vram_used", used)]
    };
    let (late, early) = (at("PCI_SLOT_NAME=0000:c1:00.0", "2"), at("PCI_SLOT_NAME=0000:03:00.0", "1"));
    let (_root, machine) = with_cards(&[("card0", &late), ("card1", &early)]);
    let used: Vec<u64> =
        machine.pools().iter().filter(|p| p.kind == PoolKind::Vram).map(|p| p.used.0).collect();
    assert_eq!(used, [1, 2]);
}

#[test]
fn what_is_part_of_the_processor() {
    let kind = |files: &[(&str, &str)]| with_cards(&[("card0", files)]).1.pools()[0].kind;
    let memory =
        |vram: &'static str, gtt: &'static str| [("mem_info_vram_total", vram), ("mem_info_gtt_total", gtt)];
    let and = |base: [(&'static str, &'static str); 2], more: (&'static str, &'static str)| {
        [base[0], base[1], more]
    };
    let north_bridge = ("hwmon/hwmon3/in1_label", "vddnb");
    // 8 GB given to it, and more may be mapped: only the voltage tells it from a card.
    assert_eq!(kind(&and(memory(GB_8, GB_32), north_bridge)), PoolKind::Unified);
    assert_eq!(kind(&memory(GB_8, GB_32)), PoolKind::Vram);
    // The larger of the two is what the driver takes.
    assert_eq!(kind(&and(memory(GB_32, GB_8), north_bridge)), PoolKind::Vram);
    assert_eq!(kind(&and(memory(GB_8, GB_32), ("device", "0x1586"))), PoolKind::Unified);
    let small = memory("2147483648", GB_32);
    assert_eq!(kind(&small), PoolKind::Unified);
    for own in [("hwmon/hwmon3/fan1_input", "0"), ("mem_info_vram_vendor", "samsung")] {
        assert_eq!(kind(&and(small, own)), PoolKind::Vram, "{own:?}");
    }
}

#[test]
fn a_card_that_sleeps_is_not_woken_for_its_sensors() {
    let busy = |status: &str| {
        let files = [
            ("mem_info_vram_total", GB_24),
            ("mem_info_vram_used", "7"),
            ("gpu_busy_percent", "30"),
            ("power/runtime_status", status),
        ];
        let gpu = with_cards(&[("card0", &files)]).1.read().gpus.remove(0);
        (gpu.busy, gpu.vram_used)
    };
    assert_eq!(busy("active\n"), (Some(0.3), Some(Bytes(7))));
    assert_eq!(busy("suspended\n"), (None, Some(Bytes(7))));
}

#[test]
fn without_a_figure_for_what_is_mapped_the_cap_still_bounds() {
    let files = [("device", "0x1586"), ("mem_info_vram_total", "536870912"), ("mem_info_gtt_total", GB_24)];
    let (_root, machine) = with_cards(&[("card0", &files)]);
    let reading = machine.read();
    assert_eq!(headroom(&reading, &reading.pools[0].id, Bytes::gb(4.0)), Some(Bytes::gb(24.0)));
    assert_eq!(headroom(&reading, &reading.pools[0].id, Bytes::gb(40.0)), Some(Bytes::gb(16.0)));
}
