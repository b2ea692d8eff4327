//! Every byte of a pool in one place; what a start finds at the instant; memory that did not come back.

#![allow(clippy::expect_used, reason = "a test may fail")]

mod common;

use common::{gb, name, plain, pool};
use domain::lost::{lost_after_stop, recovered};
use domain::memory::Bytes;
use domain::plan::{Headroom, headroom};
use domain::pool::{Held, Ledger, PoolId, PoolKind, PoolReading, Share, Shares};
use proptest::prelude::*;

fn share(device: f64, host: f64) -> Share {
    Share { device: gb(device), host: gb(host) }
}

fn held(agent: &str, reserved: Share, measured: Option<Share>) -> Held {
    let of = |share| Shares::from([(PoolId::new("unified"), share)]);
    Held { agent: name(agent), reserved: of(reserved), measured: measured.map(of) }
}

fn unified(used: f64, gtt: f64) -> PoolReading {
    PoolReading {
        device_used: Some(gb(gtt)),
        device_cap: Some(gb(100.0)),
        ..pool("unified", PoolKind::Unified, 128.0, used)
    }
}

fn ledger(reading: &PoolReading, lost: f64, all: &[Held]) -> Ledger {
    Ledger::new(reading, Some(gb(120.0)), gb(lost), all).expect("a capacity")
}

#[test]
fn the_words_for_memory() {
    let thor = held("thor", share(25.0, 0.0), Some(share(20.0, 2.0)));
    let odin = held("odin", share(30.0, 0.0), Some(share(33.0, 1.0)));
    let ledger = ledger(&unified(80.0, 60.0), 5.0, &[thor, odin]);
    assert_eq!(ledger.other, gb(80.0 - 22.0 - 34.0 - 5.0));
    assert_eq!(ledger.device_other, gb(60.0 - 53.0));
    assert_eq!(ledger.held.iter().map(|(_, s)| *s).collect::<Vec<_>>(), [share(25.0, 0.0), share(33.0, 1.0)]);
    assert_eq!(
        ledger.measured.iter().map(|(_, s)| *s).collect::<Vec<_>>(),
        [share(20.0, 2.0), share(33.0, 1.0)]
    );
    assert_eq!(ledger.measured_total(), gb(56.0));
    assert_eq!(ledger.available(), gb(120.0 - 19.0 - 5.0 - 25.0 - 34.0));
    assert_eq!(ledger.free(), gb(40.0));
    assert_eq!(ledger.at_hand(false), gb(40.0));
    assert_eq!(ledger.at_hand(true), gb(40.0));
    let parts = ledger.parts();
    assert_eq!(parts.agents, [(name("thor"), gb(22.0)), (name("odin"), gb(34.0))]);
    assert_eq!(
        (parts.other, parts.lost, parts.free, parts.kept_back),
        (gb(19.0), gb(5.0), gb(40.0), gb(8.0))
    );
    assert_eq!(ledger.doubt(), None);
}

#[test]
fn an_agent_that_was_never_measured_holds_what_it_reserved() {
    let ledger = ledger(&unified(40.0, 30.0), 0.0, &[held("thor", share(25.0, 0.0), None)]);
    assert_eq!((ledger.other, ledger.device_other), (gb(15.0), gb(5.0)));
    assert_eq!(ledger.parts().agents, [(name("thor"), gb(25.0))]);
}

#[test]
fn a_figure_above_all_that_is_in_use_is_not_believed() {
    let lie = held("thor", share(25.0, 0.0), Some(share(1e9, 1e9)));
    let ledger = ledger(&unified(40.0, 30.0), 3.0, &[lie]);
    assert_eq!(ledger.held[0].1, share(40.0, 0.0));
    assert_eq!(ledger.other, Bytes::ZERO);
    assert_eq!(ledger.available(), gb(120.0 - 6.0 - 3.0 - 40.0));
    assert_eq!(ledger.parts().lost, Bytes::ZERO, "nothing is left of what is in use");
}

#[test]
fn counters_that_contradict_each_other_are_said() {
    let said = |ledger: &Ledger| ledger.doubt().map(|d| plain(&d.message));
    assert_eq!(said(&ledger(&unified(40.0, 42.0), 0.0, &[])), None);
    assert_eq!(
        said(&ledger(&unified(40.0, 43.0), 0.0, &[])).as_deref(),
        Some("The GPU's counter shows 43.0 GB in use and the system's 40.0 GB in all.")
    );
    let two = [
        held("thor", share(0.0, 0.0), Some(share(30.0, 0.0))),
        held("odin", share(0.0, 0.0), Some(share(15.0, 0.0))),
    ];
    assert_eq!(
        said(&ledger(&unified(40.0, 30.0), 0.0, &two)).as_deref(),
        Some("Agents are measured with 45.0 GB while 40.0 GB are in use in all.")
    );
    assert_eq!(
        said(&ledger(&unified(131.0, 30.0), 0.0, &[])).as_deref(),
        Some("131.0 GB are said to be in use of 128.0 GB.")
    );
}

/// In use, through GTT, claimed through the GPU and beside it; by how much it is short.
#[test]
fn the_look_before_a_start_holds_both_bounds_twice() {
    let of = |reading: &PoolReading, all: &[Held], claim: Share| {
        let claim = Shares::from([(PoolId::new("unified"), claim)]);
        match headroom(&[ledger(reading, 0.0, all)], &claim) {
            Headroom::Enough => None,
            Headroom::Short { pool, by } => {
                assert_eq!(pool, PoolId::new("unified"));
                Some(by)
            }
        }
    };
    let nobody = unified(20.0, 10.0);
    assert_eq!(of(&nobody, &[], share(90.0, 0.0)), None);
    assert_eq!(of(&nobody, &[], share(90.5, 0.0)), Some(gb(0.5)), "the GTT cap");
    assert_eq!(of(&nobody, &[], share(80.0, 20.0)), None);
    assert_eq!(of(&nobody, &[], share(80.0, 21.0)), Some(gb(1.0)), "the limit");
    assert_eq!(of(&unified(3.0, 1.0), &[], share(0.0, 115.0)), Some(gb(1.0)), "6 GB are kept for others");
    assert_eq!(of(&nobody, &[], Share::default()), None);
    // Past the cap, but not through the GPU.
    assert_eq!(of(&unified(105.0, 101.0), &[], share(0.0, 15.0)), None);
    // An agent that has not yet taken all that it reserved is still to come.
    let loading = [held("thor", share(50.0, 0.0), Some(share(10.0, 0.0)))];
    assert_eq!(of(&nobody, &loading, share(0.0, 61.0)), Some(gb(1.0)));
    // One that counts with what it reserved in ordinary memory holds more through the GPU than that says.
    let mixed = [held("thor", share(5.0, 30.0), Some(share(28.0, 0.0)))];
    let mixed_pool = unified(50.0, 30.0);
    assert_eq!(of(&mixed_pool, &mixed, share(68.0, 0.0)).map(|b| b.0), Some(gb(5.0).0), "promised");
    let mixed = [held("thor", share(5.0, 25.0), Some(share(28.0, 0.0)))];
    assert_eq!(of(&unified(40.0, 34.0), &mixed, share(66.0, 0.0)), None);
    assert_eq!(of(&unified(40.0, 34.0), &mixed, share(67.0, 0.0)), Some(gb(1.0)), "in use at this instant");
    assert_eq!(of(&unified(119.0, 10.0), &[], share(0.0, 2.0)), Some(gb(1.0)));
}

#[test]
fn at_hand_is_the_smaller_of_both_bounds() {
    let of = |used, gtt, device| ledger(&unified(used, gtt), 0.0, &[]).at_hand(device);
    assert_eq!((of(50.0, 20.0, true), of(50.0, 20.0, false)), (gb(70.0), gb(70.0)));
    assert_eq!((of(50.0, 45.0, true), of(50.0, 45.0, false)), (gb(55.0), gb(70.0)));
    assert_eq!(of(125.0, 20.0, true), Bytes::ZERO);
}

fn stopped(before: (f64, f64), now: (f64, f64), was: Share) -> Vec<Bytes> {
    let lost = lost_after_stop(
        "Thor",
        &[unified(before.0, before.1)],
        &[unified(now.0, now.1)],
        &Shares::from([(PoolId::new("unified"), was)]),
        None,
    );
    lost.into_iter().map(|l| l.bytes).collect()
}

#[test]
fn what_did_not_come_back() {
    let was = share(20.0, 2.0);
    assert_eq!(stopped((40.0, 25.0), (18.0, 5.0), was), []);
    assert_eq!(stopped((40.0, 25.0), (28.0, 15.0), was), [gb(10.0)]);
    assert_eq!(stopped((40.0, 25.0), (40.0, 25.0), was), [gb(20.0)]);
    assert_eq!(stopped((40.0, 25.0), (50.0, 30.0), was), [gb(20.0)], "never more than it held");
    assert_eq!(stopped((40.0, 25.0), (30.0, 5.0), was), [], "another program took what the GPU gave back");
    assert_eq!(stopped((40.0, 25.0), (18.0, 15.0), was), [gb(10.0)], "another program gave back meanwhile");
    assert_eq!(stopped((40.0, 25.0), (19.0, 6.0), was), [], "within a gigabyte");
    assert_eq!(
        stopped((40.0, 25.0), (30.0, 25.0), share(0.0, 20.0)),
        [gb(10.0)],
        "without a part of the GPU"
    );
    assert_eq!(stopped((40.0, 25.0), (5.0, 3.0), share(60.0, 0.0)), [gb(3.0)], "at most what is in use");
    assert_eq!(stopped((40.0, 25.0), (40.0, 25.0), Share::default()), []);
    let no_counter = |used| PoolReading { device_used: None, ..unified(used, 0.0) };
    let held = Shares::from([(PoolId::new("unified"), was)]);
    let lost = lost_after_stop("Thor", &[no_counter(40.0)], &[no_counter(28.0)], &held, None);
    assert_eq!(lost.iter().map(|l| l.bytes).collect::<Vec<_>>(), [gb(10.0)]);
    assert!(lost_after_stop("Thor", &[no_counter(40.0)], &[], &held, None).is_empty(), "a pool that is gone");
}

#[test]
fn a_loss_names_its_size_and_its_likely_holder() {
    let held = Shares::from([(PoolId::new("unified"), share(20.0, 0.0))]);
    let of = |holder| {
        lost_after_stop("Thor", &[unified(40.0, 25.0)], &[unified(30.0, 15.0)], &held, holder).remove(0)
    };
    assert_eq!(plain(&of(None).message), "10.0 GB that Thor held did not come back.");
    let known = of(Some("process 4711 (vllm), which does not end,"));
    assert_eq!(
        plain(&known.message),
        "10.0 GB that Thor held did not come back; process 4711 (vllm), which does not end, may hold it."
    );
    assert!(known.next.contains("restart") && known.pool == PoolId::new("unified"));
}

#[test]
fn what_was_lost_is_found_again() {
    let left = |lost: f64, reading: &PoolReading, all: &[Held]| {
        recovered(gb(lost), reading, &ledger(reading, lost, all))
    };
    assert_eq!(left(10.0, &unified(40.0, 11.0), &[]), gb(10.0), "still there");
    assert_eq!(left(10.0, &unified(40.0, 6.0), &[]), gb(6.0), "part of it");
    assert_eq!(left(10.0, &unified(40.0, 0.5), &[]), Bytes::ZERO, "but for what the desktop draws with");
    assert_eq!(left(0.9, &unified(40.0, 11.0), &[]), gb(0.9), "a small loss stays one");
    let thor = [held("thor", share(25.0, 0.0), Some(share(25.0, 0.0)))];
    assert_eq!(left(10.0, &unified(40.0, 28.0), &thor), gb(3.0), "an agent holds the rest");
    let blind = PoolReading { device_used: None, ..unified(30.0, 0.0) };
    assert_eq!(left(10.0, &blind, &thor), gb(5.0), "by what is in use in all");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is read and measured, no byte is in two places and none is nowhere.
    #[test]
    fn the_parts_sum_up_to_the_capacity(
        capacity in 1u64..1 << 50,
        used in any::<u64>(),
        device_used in any::<Option<u64>>(),
        lost in any::<u64>(),
        limit in any::<Option<u64>>(),
        shift in 0u32..40,
        all in prop::collection::vec((any::<u64>(), any::<u64>(), any::<bool>()), 0..5),
    ) {
        let reading = PoolReading {
            capacity: Some(Bytes(capacity)),
            used: Bytes(used >> shift),
            device_used: device_used.map(|b| Bytes(b >> shift)),
            ..unified(0.0, 0.0)
        };
        let held: Vec<Held> = all
            .iter()
            .map(|(device, host, measured)| {
                let bytes = Share { device: Bytes(device >> shift), host: Bytes(host >> shift) };
                held("thor", bytes, measured.then_some(bytes))
            })
            .collect();
        let ledger = Ledger::new(&reading, limit.map(Bytes), Bytes(lost >> shift), &held).expect("a capacity");
        let parts = ledger.parts();
        let sum = parts.agents.iter().map(|(_, b)| u128::from(b.0)).sum::<u128>()
            + [parts.other, parts.lost, parts.free, parts.kept_back].iter().map(|b| u128::from(b.0)).sum::<u128>();
        prop_assert_eq!(sum, u128::from(capacity));
        // A further agent that the ledger has room for is one that there is room for at this instant.
        let claim = Share { device: Bytes::ZERO, host: ledger.available().min(ledger.at_hand(false)) };
        prop_assert_eq!(ledger.short_of(claim), Bytes::ZERO);
        if claim.host > Bytes::ZERO {
            let more = Share { host: claim.host + Bytes(1), ..claim };
            prop_assert_eq!(ledger.short_of(more), Bytes(1));
        }
        prop_assert!(recovered(Bytes(lost >> shift), &reading, &ledger) <= Bytes(lost >> shift));
    }
}
