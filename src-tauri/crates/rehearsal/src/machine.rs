//! The played machine: 128 MB of unified memory, so that a rehearsal works on the numbers of a 128 GB machine with
//! a smaller unit.

use domain::Bytes;
use domain::memory::MIB;
use domain::pool::{PoolId, PoolKind, PoolReading};

/// What the machine has.
pub const CAPACITY: Bytes = Bytes(128 * MIB);

/// What may be held through its GPU: the played GTT cap.
pub const DEVICE_CAP: Bytes = Bytes(127 * MIB);

/// What other programs use of it: 11.2 MB, unless the caller plays another figure (`ASGARD_REHEARSAL_OTHER_MB`,
/// read with [`other_from`]).
pub const OTHER: Bytes = Bytes(11_744_051);

/// The one pool.
pub const POOL: &str = "unified";

/// The figure that other programs play, from the text of `ASGARD_REHEARSAL_OTHER_MB`; [`OTHER`] for none and for
/// what is not a number of megabytes from 0 on.
pub fn other_from(text: Option<&str>) -> Bytes {
    text.and_then(|t| t.trim().parse::<f64>().ok())
        .filter(|mb| mb.is_finite() && *mb >= 0.0)
        .map_or(OTHER, Bytes::mb)
}

/// The machine as a reader of real hardware would report it. All that a stand-in holds, it holds through the GPU.
pub fn reading(held: &[(String, u64)], other: Bytes) -> PoolReading {
    let agents: Bytes = held.iter().map(|(_, bytes)| Bytes(*bytes)).sum();
    PoolReading {
        id: PoolId::new(POOL),
        name: "Unified memory (rehearsal)".to_owned(),
        kind: PoolKind::Unified,
        capacity: Some(CAPACITY),
        device_cap: Some(DEVICE_CAP),
        used: other + agents,
        device_used: Some(agents),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_a_128_gb_machine_in_megabytes() {
        assert_eq!(OTHER, Bytes::mb(11.2));
        let held = [("thor".to_owned(), Bytes::mb(25.3).0), ("odin".to_owned(), Bytes::mb(62.0).0)];
        let reading = reading(&held, OTHER);
        assert_eq!(reading.device_used, Some(Bytes::mb(25.3) + Bytes::mb(62.0)));
        assert_eq!(reading.used, OTHER + Bytes::mb(25.3) + Bytes::mb(62.0));
        assert_eq!(reading.capacity, Some(Bytes::mb(128.0)));
    }

    #[test]
    fn a_played_figure_for_other_programs_is_taken_and_nonsense_is_not() {
        assert_eq!(other_from(Some("35")), Bytes::mb(35.0));
        for nonsense in [None, Some(""), Some("-1"), Some("NaN"), Some("a lot")] {
            assert_eq!(other_from(nonsense), OTHER, "{nonsense:?}");
        }
    }
}
