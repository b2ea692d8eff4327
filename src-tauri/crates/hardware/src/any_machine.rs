//! Machines made of anything at all: every file may hold any text, and the reading still holds together.

use std::path::Path;

use domain::Bytes;
use domain::pool::PoolKind;
use proptest::prelude::*;

use super::*;

/// What a file may hold: nothing, a usual figure, one at the edge of what a number can be, a lie, any text.
fn content() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        any::<u64>().prop_map(|n| n.to_string()),
        (0_u64..200_u64).prop_map(|n| (n << 30).to_string()),
        prop::sample::select(vec![
            "-1",
            "18446744073709551616",
            "9223372036854775808",
            "NaN",
            "1e9",
            "0x1002",
            "0x1586"
        ])
        .prop_map(str::to_owned),
        ".{0,40}",
    ]
}

fn meminfo() -> impl Strategy<Value = String> {
    let line =
        (prop::sample::select(vec!["MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached"]), content());
    prop::collection::vec(line, 0..8).prop_map(|lines| {
        lines.into_iter().map(|(name, value)| format!("{name}: {value} kB\n")).collect::<String>()
    })
}

/// JSON of the right shape with any figures in it, or no JSON.
fn nvml() -> impl Strategy<Value = String> {
    let figure = || {
        prop_oneof![
            any::<u64>().prop_map(|n| n.to_string()),
            (0_u64..40).prop_map(|n| (n << 30).to_string()),
            Just("null".to_owned()),
            Just("-3".to_owned()),
            Just("\"unsupported\"".to_owned())
        ]
    };
    let card = (figure(), figure(), figure(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(total, free, used, own, mig, lost)| {
            let memory =
                if own { format!(r#"{{"total":{total},"free":{free},"used":{used}}}"#) } else { total.clone() };
            format!(
                r#"{{"name":"X","memory":{memory},"mig":{mig},"lost":{lost},"utilization":{used},"processes":[{{"pid":1,"memory":{free}}}]}}"#
            )
        },
    );
    prop_oneof![
        prop::collection::vec(card, 0..5).prop_map(|cards| format!(r#"{{"devices":[{}]}}"#, cards.join(","))),
        ".{0,60}",
    ]
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

const FILES: [&str; 12] = [
    "vendor",
    "device",
    "uevent",
    "mem_info_vram_total",
    "mem_info_vram_used",
    "mem_info_gtt_total",
    "mem_info_gtt_used",
    "gpu_busy_percent",
    "hwmon/hwmon0/temp1_input",
    "hwmon/hwmon0/power1_input",
    "hwmon/hwmon0/in1_label",
    "power/runtime_status",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn a_reading_holds_together_whatever_the_files_say(
        memory in meminfo(),
        cards in prop::collection::vec(prop::collection::vec(content(), FILES.len()), 0..4),
        nvidia in nvml(),
        limit in content(),
        psi in ".{0,60}",
        reserve in any::<u64>(),
    ) {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "proc/meminfo", &memory);
        write(root.path(), "proc/pressure/memory", &psi);
        write(root.path(), "nvml.json", &nvidia);
        write(root.path(), "sys/module/ttm/parameters/pages_limit", &limit);
        for (n, texts) in cards.iter().enumerate() {
            for (file, text) in FILES.iter().zip(texts) {
                write(root.path(), &format!("sys/class/drm/card{n}/device/{file}"), text);
            }
            // Else hardly any would be a card.
            write(root.path(), &format!("sys/class/drm/card{n}/device/vendor"), "0x1002\n");
        }
        let machine = Machine::new(root.path());
        let reading = machine.read();
        prop_assert_eq!(&reading.pools, &machine.pools());
        let host = reading.pools.last().unwrap();
        prop_assert!(host.kind != PoolKind::Vram);
        prop_assert_eq!(host.capacity, reading.memory.total);
        let mut of_cards = 0_u128;
        for pool in &reading.pools {
            let capacity = pool.capacity.unwrap_or(Bytes(u64::MAX));
            prop_assert!(pool.used <= capacity && pool.device_used.unwrap_or_default() <= pool.used);
            prop_assert!(pool.device_cap.unwrap_or_default() <= capacity);
            if let Some(room) = headroom(&reading, &pool.id, Bytes(reserve)) {
                let free = capacity.saturating_sub(pool.used).saturating_sub(Bytes(reserve));
                prop_assert!(room <= free, "{room:?} of {free:?}");
            }
            if pool.kind == PoolKind::Vram {
                of_cards += u128::from(capacity.0);
            }
        }
        // No card's memory is counted twice, nor that of one which has none of its own.
        let said: u128 = reading.gpus.iter().filter_map(|g| g.vram_total).map(|b| u128::from(b.0)).sum();
        prop_assert!(of_cards <= said);
        for gpu in &reading.gpus {
            prop_assert!(reading.pools.iter().any(|p| p.id == gpu.pool));
        }
        machine.kernel();
        device_memory(&machine, &[1]);
    }

    #[test]
    fn no_parser_falls_over(text in "(?s).{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        parse_meminfo(&text);
        parse_pressure(&text);
        parse_fdinfo(&text);
        parse_cgroup(&text);
        parse_inactive_file(&text);
        parse_nvml(&bytes);
        parse_nvml(text.as_bytes());
        pci_address(&text);
        kernel::swaps(&text);
        kernel::modules(&text);
        kernel::user(&text, &text, &kernel::groups(&text));
        kernel::os_release(&text);
    }
}

/// The time of a reading on this machine and on each recorded one: `cargo test -p hardware --release -- --ignored
/// --nocapture the_time_of_a_reading`.
#[test]
#[ignore = "a measurement, not a test"]
fn the_time_of_a_reading() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    println!("{:<28} {:>9}", "this machine", format!("{:.0?}", time_of_reading(&Machine::new("/"), 200)));
    for entry in fs::read_dir(fixtures).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let time = time_of_reading(&Machine::new(&folder), 200);
        println!("{:<28} {:>9}", folder.file_name().unwrap().to_string_lossy(), format!("{time:.0?}"));
        assert!(time < std::time::Duration::from_millis(2), "{}: {time:?}", folder.display());
    }
}
