//! What one agent holds, from counters that contradict each other, lag, lie and go missing.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;

use common::{gb, plain, pool};
use domain::attribution::{Measured, Quality, Sources, measure, refine, step};
use domain::memory::{Bytes, GIB};
use domain::pool::{PoolId, PoolKind, PoolReading, Share, Shares};
use proptest::prelude::*;

/// A Strix Halo with so much in use, and of that through GTT.
fn unified(used: f64, gtt: f64) -> Vec<PoolReading> {
    vec![PoolReading {
        device_used: Some(gb(gtt)),
        device_cap: Some(gb(124.0)),
        ..pool("unified", PoolKind::Unified, 128.0, used)
    }]
}

fn share(device: f64, host: f64) -> Share {
    Share { device: gb(device), host: gb(host) }
}

fn on(id: &str, device: f64, host: f64) -> Shares {
    Shares::from([(PoolId::new(id), share(device, host))])
}

/// As the sources of an agent give it.
#[allow(clippy::unnecessary_wraps, reason = "a source may be missing, these are not")]
fn by_pool(id: &str, bytes: f64) -> Option<BTreeMap<PoolId, Bytes>> {
    Some(BTreeMap::from([(PoolId::new(id), gb(bytes))]))
}

/// To a tenth of a gigabyte.
fn tenths(bytes: Bytes) -> f64 {
    (bytes.0 as f64 / GIB as f64 * 10.0).round() / 10.0
}

fn parts(measured: &Measured, id: &str) -> (f64, f64) {
    let share = measured.shares.get(&PoolId::new(id)).copied().unwrap_or_default();
    (tenths(share.device), tenths(share.host))
}

/// An agent that reserved 25 GB, started on a machine with 10 GB in use, 1 GB of it through GTT.
fn started(used: f64, gtt: f64, sources: &Sources) -> Measured {
    let reserved = on("unified", 25.0, 0.0);
    measure(&unified(10.0, 1.0), &unified(used, gtt), sources, &reserved).expect("something is known")
}

/// Name, in use and through GTT after the start, what else is told; device, host, quality, by how much in doubt.
type Row = (&'static str, f64, f64, Sources, (f64, f64), Quality, Option<f64>);

#[test]
fn the_step_refined_by_what_can_be_read() {
    let nothing = Sources::default();
    let fdinfo = |bytes| Sources { fdinfo: by_pool("unified", bytes), ..Sources::default() };
    let pss = |bytes| Sources { pss: Some(gb(bytes)), ..Sources::default() };
    let cgroup = |bytes| Sources { cgroup: Some(gb(bytes)), ..Sources::default() };
    let both = |device, host| Sources { pss: Some(gb(host)), ..fdinfo(device) };
    let group = |pss, cgroup| Sources { pss: Some(gb(pss)), cgroup: Some(gb(cgroup)), ..Sources::default() };
    let rows: Vec<Row> = vec![
        ("both counters agree", 31.5, 21.0, nothing.clone(), (20.0, 1.5), Quality::Step, None),
        ("no counter moved", 10.0, 1.0, nothing.clone(), (0.0, 0.0), Quality::Step, None),
        ("both went backwards", 8.0, 0.5, nothing.clone(), (0.0, 0.0), Quality::Step, None),
        ("exactly two apart", 32.0, 21.0, nothing.clone(), (20.0, 2.0), Quality::Step, None),
        ("and to the other side", 29.0, 22.0, nothing.clone(), (21.0, 0.0), Quality::Step, None),
        ("more fell than GTT rose", 35.0, 21.0, nothing.clone(), (20.0, 5.0), Quality::Step, Some(5.0)),
        ("GTT rose by more than fell", 25.0, 21.0, nothing.clone(), (20.0, 0.0), Quality::Step, Some(5.0)),
        ("GTT stands still", 33.0, 1.0, nothing.clone(), (0.0, 23.0), Quality::Step, Some(23.0)),
        ("fdinfo is exact", 31.5, 21.0, fdinfo(19.5), (19.5, 2.0), Quality::Fdinfo, None),
        ("fdinfo misses a process", 31.5, 21.0, fdinfo(5.0), (20.0, 1.5), Quality::Fdinfo, Some(15.0)),
        ("others took GTT meanwhile", 36.0, 25.0, fdinfo(20.0), (24.0, 2.0), Quality::Fdinfo, Some(4.0)),
        ("fdinfo is absurd", 31.5, 21.0, fdinfo(1e6), (20.0, 1.5), Quality::Step, None),
        ("processes explain the rest", 35.0, 21.0, pss(5.0), (20.0, 5.0), Quality::Step, None),
        ("processes explain a part", 35.0, 21.0, pss(2.0), (20.0, 5.0), Quality::Step, Some(3.0)),
        ("PSS within two of the rest", 35.0, 21.0, pss(4.0), (20.0, 4.0), Quality::Step, None),
        ("mapped files in PSS", 31.5, 21.0, pss(9.0), (20.0, 9.0), Quality::Step, None),
        ("the group's file pages", 35.0, 21.0, cgroup(60.0), (20.0, 5.0), Quality::Step, None),
        ("the group explains a part", 35.0, 21.0, cgroup(2.0), (20.0, 5.0), Quality::Step, Some(3.0)),
        ("what processes do not map", 35.0, 21.0, group(2.0, 5.0), (20.0, 5.0), Quality::Step, None),
        ("PSS is absurd", 31.5, 21.0, pss(1e6), (20.0, 1.5), Quality::Step, None),
        ("all of it exact", 36.0, 21.0, both(20.0, 5.5), (20.0, 5.5), Quality::Fdinfo, None),
    ];
    for (name, used, gtt, sources, expected, quality, doubt) in rows {
        let measured = started(used, gtt, &sources);
        assert_eq!(parts(&measured, "unified"), expected, "{name}");
        assert_eq!(measured.quality, quality, "{name}");
        assert_eq!(measured.doubt.as_ref().map(|d| tenths(d.bytes)), doubt, "{name}: {:?}", measured.doubt);
        assert_eq!(measured.base, measured.shares, "{name}");
        assert_eq!(measured.apart, doubt.is_none(), "{name}");
    }
}

#[test]
fn a_doubt_is_said_in_words() {
    let said =
        |used, gtt, sources: &Sources| plain(&started(used, gtt, sources).doubt.expect("a doubt").message);
    let nothing = Sources::default();
    assert_eq!(
        said(25.0, 21.0, &nothing),
        "GTT rose by 20.0 GB while available memory fell by 15.0 GB: the larger counts."
    );
    assert_eq!(
        said(35.0, 21.0, &nothing),
        "Available memory fell by 25.0 GB while 20.0 GB of it can be explained: the larger counts."
    );
    let fdinfo = Sources { fdinfo: by_pool("unified", 5.0), ..Sources::default() };
    assert_eq!(
        said(31.5, 21.0, &fdinfo),
        "Its processes name 5.0 GB on the device, and GTT rose by 20.0 GB: the larger counts."
    );
}

#[test]
fn the_played_machine_doubts_in_megabytes() {
    let small = |used: f64, gtt: f64| {
        let mut pools = unified(0.0, 0.0);
        pools[0].capacity = Some(Bytes::mb(128.0));
        pools[0].used = Bytes::mb(used);
        pools[0].device_used = Some(Bytes::mb(gtt));
        pools
    };
    let of = |used, gtt| measure(&small(10.0, 1.0), &small(used, gtt), &Sources::default(), &Shares::new());
    assert_eq!(of(31.5, 21.0).expect("known").doubt, None);
    let doubt = of(35.0, 21.0).expect("known").doubt.expect("five megabytes apart");
    assert_eq!(doubt.bytes, Bytes::mb(5.0));
}

#[test]
fn nothing_is_known_of_an_agent_that_nothing_tells_of() {
    let pools = unified(10.0, 1.0);
    assert_eq!(measure(&[], &pools, &Sources::default(), &on("unified", 25.0, 0.0)), None);
    assert_eq!(
        measure(&[], &[], &Sources { pss: Some(gb(1.0)), ..Sources::default() }, &Shares::new()),
        None
    );
}

#[test]
fn an_agent_that_was_found_running_is_known_by_its_own_counters() {
    let pools = unified(40.0, 30.0);
    let of = |sources: &Sources| measure(&[], &pools, sources, &on("unified", 25.0, 0.0)).expect("known");
    let fdinfo = of(&Sources { fdinfo: by_pool("unified", 20.0), pss: Some(gb(3.0)), ..Sources::default() });
    assert_eq!((parts(&fdinfo, "unified"), fdinfo.quality), ((20.0, 3.0), Quality::Fdinfo));
    let alone = of(&Sources { fdinfo: by_pool("unified", 20.0), ..Sources::default() });
    assert_eq!(parts(&alone, "unified"), (20.0, 0.0));
    let pss = of(&Sources { pss: Some(gb(3.0)), cgroup: Some(gb(9.0)), ..Sources::default() });
    assert_eq!((parts(&pss, "unified"), pss.quality), ((0.0, 3.0), Quality::Processes));
    let cgroup = of(&Sources { cgroup: Some(gb(9.0)), ..Sources::default() });
    assert_eq!((parts(&cgroup, "unified"), cgroup.quality), ((0.0, 9.0), Quality::Processes));
}

/// A step that was taken is not taken again from pools that others have moved since.
#[test]
fn a_step_that_is_handed_over_counts_as_it_is() {
    let sources = Sources { step: Some(on("unified", 20.0, 1.0)), ..Sources::default() };
    let measured = measure(&[], &unified(90.0, 70.0), &sources, &on("unified", 25.0, 0.0)).expect("known");
    assert_eq!(parts(&measured, "unified"), (20.0, 1.0));
    // Nor is it believed beyond what is in use by now.
    let less = measure(&[], &unified(12.0, 9.0), &sources, &on("unified", 25.0, 0.0)).expect("known");
    assert_eq!(parts(&less, "unified"), (9.0, 1.0));
}

#[test]
fn cards_by_nvml_and_the_rest_in_ordinary_memory() {
    let pools = |gpu0: f64, gpu1: f64, ram: f64| {
        vec![
            pool("gpu0", PoolKind::Vram, 16.0, gpu0),
            pool("gpu1", PoolKind::Vram, 16.0, gpu1),
            pool("ram", PoolKind::Ram, 64.0, ram),
        ]
    };
    let mut reserved = on("gpu0", 12.0, 0.0);
    reserved.insert(PoolId::new("ram"), share(0.0, 1.0));
    let of = |sources: &Sources| {
        measure(&pools(0.5, 0.5, 8.0), &pools(11.5, 6.5, 9.5), sources, &reserved).expect("known")
    };
    let step = of(&Sources::default());
    assert_eq!(step.shares.len(), 2, "what the other card gained is somebody else's: {step:?}");
    assert_eq!((parts(&step, "gpu0"), parts(&step, "ram")), ((11.0, 0.0), (0.0, 1.5)));
    assert_eq!(step.doubt, None);
    let nvml = of(&Sources { nvml: by_pool("gpu0", 10.8), pss: Some(gb(1.2)), ..Sources::default() });
    assert_eq!((parts(&nvml, "gpu0"), parts(&nvml, "ram")), ((10.8, 0.0), (0.0, 1.2)));
    assert_eq!((nvml.quality, nvml.doubt), (Quality::Nvml, None));
    let apart = of(&Sources { nvml: by_pool("gpu0", 4.0), ..Sources::default() });
    assert_eq!(parts(&apart, "gpu0"), (11.0, 0.0), "the larger counts");
    assert_eq!(
        plain(&apart.doubt.expect("a doubt").message),
        "Its processes name 4.0 GB on the device, and Device memory rose by 11.0 GB: the larger counts."
    );
}

/// Without the GPU's own counter, what was reserved through it is what is taken to be there.
#[test]
fn a_device_that_is_not_counted() {
    let blind = |used: f64| vec![pool("unified", PoolKind::Unified, 128.0, used)];
    let of = |sources: &Sources, device: f64| {
        measure(&blind(10.0), &blind(35.0), sources, &on("unified", device, 0.0)).expect("known")
    };
    let nothing = of(&Sources::default(), 22.0);
    assert_eq!((parts(&nothing, "unified"), nothing.apart), ((22.0, 3.0), false));
    let pss = Sources { pss: Some(gb(4.0)), ..Sources::default() };
    assert_eq!(parts(&of(&pss, 30.0), "unified"), (21.0, 4.0));
    // A processor's agent has no device part to mix up.
    let cpu = measure(&blind(10.0), &blind(35.0), &Sources::default(), &Shares::new()).expect("known");
    assert_eq!((parts(&cpu, "unified"), cpu.apart), ((0.0, 25.0), true));
}

#[test]
fn a_step_of_pools() {
    let cards =
        |used: f64| vec![pool("gpu0", PoolKind::Vram, 16.0, used), pool("ram", PoolKind::Ram, 64.0, used)];
    let gained = step(&cards(1.0), &cards(4.0));
    assert_eq!(gained[&PoolId::new("gpu0")], share(3.0, 0.0));
    assert_eq!(gained[&PoolId::new("ram")], share(0.0, 3.0));
    assert_eq!(step(&unified(10.0, 1.0), &unified(30.0, 16.0))[&PoolId::new("unified")], share(15.0, 5.0));
    assert!(step(&cards(1.0), &unified(30.0, 16.0)).is_empty(), "a pool that was not there before");
}

#[test]
fn later_readings_add_what_grew_and_forget_what_lied() {
    let known = started(31.5, 21.0, &Sources::default());
    let with = |fdinfo: Option<f64>, pss: Option<f64>, cgroup: Option<f64>| {
        let fdinfo = fdinfo.and_then(|b| by_pool("unified", b));
        let sources = Sources { fdinfo, pss: pss.map(gb), cgroup: cgroup.map(gb), ..Sources::default() };
        refine(&known, &sources)
    };
    assert_eq!(with(None, None, None), known);
    assert_eq!(parts(&with(Some(23.0), None, None), "unified"), (23.0, 1.5));
    assert_eq!(parts(&with(Some(3.0), Some(0.1), None), "unified"), (20.0, 1.5), "a reading that shows less");
    assert_eq!(parts(&with(None, Some(4.0), None), "unified"), (20.0, 4.0));
    assert_eq!(parts(&with(None, None, Some(6.0)), "unified"), (20.0, 6.0));
    assert_eq!(parts(&with(None, Some(4.0), Some(60.0)), "unified"), (20.0, 4.0), "a session's group");
    assert_eq!(
        parts(&with(Some(2e6), Some(2e6), Some(2e6)), "unified"),
        (20.0, 1.5),
        "more than any machine has"
    );
    let lied = with(Some(90.0), None, None);
    assert_eq!(refine(&lied, &Sources::default()), known, "the next reading starts from what was measured");
    let elsewhere = Sources { fdinfo: by_pool("gpu7", 5.0), ..Sources::default() };
    assert_eq!(refine(&known, &elsewhere), known, "a pool that it is not on");
}

#[test]
fn where_the_parts_were_not_told_apart_no_byte_counts_twice() {
    // All 23 GB fell, and GTT stood still: fdinfo, readable later, tells of the same bytes.
    let known = started(33.0, 1.0, &Sources::default());
    assert!(!known.apart);
    let later = |device, host: Option<f64>| {
        let sources = Sources { fdinfo: by_pool("unified", device), pss: host.map(gb), ..Sources::default() };
        parts(&refine(&known, &sources), "unified")
    };
    assert_eq!(later(20.0, None), (20.0, 3.0));
    assert_eq!(later(20.0, Some(3.0)), (20.0, 3.0));
    assert_eq!(later(22.0, Some(3.0)), (22.0, 3.0), "beyond the whole it has grown");
    assert_eq!(later(30.0, None), (30.0, 0.0));
}

#[test]
fn the_words_of_others_are_taken_as_they_are() {
    let said = Measured::said(on("unified", 5.0, 1.0), Quality::Processes);
    assert_eq!((said.shares.clone(), said.doubt.clone(), said.apart), (said.base.clone(), None, true));
}

/// A pool: its kind, in use before and after, through the device before and after.
type Raw = (u8, u64, u64, Option<u64>, Option<u64>);

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the counters say: never above what is in use, and the ledger has something to count with.
    #[test]
    fn no_counter_makes_it_hold_more_than_there_is(
        kinds in prop::collection::vec((0u8..3, any::<u64>(), any::<u64>(), any::<Option<u64>>(), any::<Option<u64>>()), 1..5),
        fdinfo in any::<Option<u64>>(),
        nvml in any::<Option<u64>>(),
        cgroup in any::<Option<u64>>(),
        pss in any::<Option<u64>>(),
        step in any::<Option<(u64, u64)>>(),
        reserved in prop::collection::vec(any::<u64>(), 0..5),
        shift in 0u32..64,
    ) {
        let kind = |k| [PoolKind::Unified, PoolKind::Vram, PoolKind::Ram][usize::from(k)];
        let reading = |(n, of): (usize, &Raw), later: bool| PoolReading {
            kind: kind(of.0),
            used: Bytes((if later { of.2 } else { of.1 }) >> shift),
            device_used: (if later { of.4 } else { of.3 }).map(|b| Bytes(b >> shift)),
            ..pool(&format!("p{n}"), kind(of.0), 128.0, 0.0)
        };
        let all = |later| kinds.iter().enumerate().map(|k| reading(k, later)).collect::<Vec<_>>();
        let (before, now) = (all(false), all(true));
        let first = |bytes: Option<u64>| bytes.map(|b| BTreeMap::from([(PoolId::new("p0"), Bytes(b >> shift))]));
        let sources = Sources {
            step: step.map(|(d, h)| Shares::from([(PoolId::new("p0"), Share { device: Bytes(d >> shift), host: Bytes(h) })])),
            fdinfo: first(fdinfo),
            nvml: first(nvml),
            cgroup: cgroup.map(Bytes),
            pss: pss.map(|b| Bytes(b >> shift)),
        };
        let reserved: Shares = reserved
            .iter()
            .enumerate()
            .map(|(n, b)| (PoolId::new(format!("p{n}")), Share { device: Bytes(b >> shift), host: Bytes::ZERO }))
            .collect();
        let Some(measured) = measure(&before, &now, &sources, &reserved) else { return Ok(()) };
        for (id, share) in &measured.shares {
            let pool = now.iter().find(|p| &p.id == id).expect("a pool of the machine");
            prop_assert!(share.device.0.checked_add(share.host.0).is_some_and(|t| t <= pool.used.0));
            prop_assert!(share.device <= pool.device_used.unwrap_or(pool.used));
        }
        let later = refine(&measured, &sources);
        for (id, share) in &measured.shares {
            prop_assert!(later.shares[id].total() >= share.total());
        }
        prop_assert_eq!(refine(&later, &Sources::default()).shares, measured.shares);
    }
}
