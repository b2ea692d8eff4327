use super::*;

fn only(device: &str) -> NvmlDevice {
    let mut answers = parse(format!(r#"{{"devices":[{device}]}}"#).as_bytes());
    assert_eq!(answers.len(), 1, "{device}");
    answers.remove(0).0
}

#[test]
fn built_in_graphics_are_known_by_name_or_by_having_no_memory() {
    for (device, shares) in [
        (r#"{"name":"NVIDIA GB10","memory":"unsupported"}"#, true),
        // Some drivers answer with the system's figures.
        (r#"{"name":"NVIDIA GB10","memory":{"total":9,"free":1,"used":1}}"#, true),
        (r#"{"name":"Orin (nvgpu)","memory":"unsupported"}"#, true),
        (r#"{"name":"NVIDIA Thor"}"#, true),
        (r#"{"name":"Something new","memory":"unsupported"}"#, true),
        (r#"{"name":"NVIDIA H100","memory":"unsupported","mig":true}"#, false),
        (r#"{"name":"NVIDIA GeForce RTX 4090","memory":{"total":9,"free":1,"used":1}}"#, false),
        // Part of a word is no name.
        (r#"{"name":"NVIDIA Thorium","memory":{"total":9,"free":1,"used":1}}"#, false),
        (r#"{"name":"NVIDIA T400"}"#, false),
    ] {
        assert_eq!(only(device).shares_system_memory(), shares, "{device}");
    }
}

#[test]
fn what_is_not_such_a_file_has_no_answers() {
    for text in ["", "null", "[]", "{}", r#"{"devices":{}}"#, r#"{"devices":"#, "\u{0}", "[[[[[[[["] {
        assert_eq!(parse(text.as_bytes()), [], "{text:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(parse(deep.as_bytes()), []);
    let many = format!(r#"{{"devices":[{}{{}}]}}"#, "{},".repeat(10_000));
    assert_eq!(parse(many.as_bytes()).len(), 64);
}

#[test]
fn a_lie_takes_its_own_figure_away_and_no_other() {
    let device = only(
        r#"{"name":7,"uuid":"","pci":"zz:00","memory":{"total":0,"free":1,"used":1},"mig":"no",
            "utilization":-1,"temperature":"hot","power_mw":1.5,"clock_mhz":210}"#,
    );
    let expected = NvmlDevice { name: UNNAMED.to_owned(), clock_mhz: Some(210), ..NvmlDevice::default() };
    assert_eq!(device, expected);
    for memory in ["7", "[]", r#"{"total":5}"#, r#"{"total":18446744073709551615,"free":1,"used":1}"#] {
        assert_eq!(only(&format!(r#"{{"memory":{memory}}}"#)).memory, NvmlMemory::Unknown, "{memory}");
    }
}

#[test]
fn what_is_used_is_what_nobody_else_can_have() {
    let used = |memory: &str| only(&format!(r#"{{"name":"A","memory":{memory}}}"#)).used();
    assert_eq!(used(r#"{"total":100,"free":60,"used":30,"reserved":10}"#), Some(Bytes(40)));
    assert_eq!(
        used(r#"{"total":100,"free":60,"used":30}"#),
        Some(Bytes(40)),
        "the reserved part is not free"
    );
    assert_eq!(
        used(r#"{"total":100,"free":90,"used":30,"reserved":5}"#),
        Some(Bytes(35)),
        "the larger counts"
    );
    assert_eq!(only(r#"{"lost":true,"memory":{"total":100,"free":90,"used":3}}"#).used(), Some(Bytes(100)));
}

#[test]
fn without_the_library_there_are_no_cards_and_no_error() {
    // Where there is one, both readings see the same cards.
    let nvml = of(Path::new("/"));
    let names = |devices: Vec<NvmlDevice>| devices.into_iter().map(|d| (d.pci, d.uuid)).collect::<Vec<_>>();
    assert_eq!(names(nvml.devices(Ask::Memory)), names(nvml.devices(Ask::Memory)));
    assert_eq!(nvml.processes().len(), nvml.devices(Ask::Memory).len());
    assert!(of(Path::new("/nowhere")).devices(Ask::Everything).is_empty());
}
