//! Memory that did not come back after a stop.
//!
//! A process that died in the GPU's driver, or one that hangs in the kernel, keeps its pages until the machine is
//! restarted. They are no agent's any more and no program's that could be closed, so they are counted on their own
//! and shrink every plan. The device's counter is trusted first: it falls at once, while `MemAvailable` follows later
//! and moves with every other program.

use crate::memory::{Bytes, Unit};
use crate::plan::memory_returned;
use crate::pool::{Ledger, PoolId, PoolReading, Shares};

/// What a pool is short of after a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    pub pool: PoolId,
    pub bytes: Bytes,
    /// What happened, and who likely holds it.
    pub message: String,
    /// What to do.
    pub next: String,
}

/// What of `held` did not come back between `before` (just before the stop) and `now`. `agent` is its name for a
/// person, `holder` who is likely to hold it ("a process 4711 that hangs in the kernel"), where anybody is.
///
/// Less than a unit, or than 5 % of what was held, is not told from what other programs do meanwhile.
pub fn lost_after_stop(
    agent: &str,
    before: &[PoolReading],
    now: &[PoolReading],
    held: &Shares,
    holder: Option<&str>,
) -> Vec<Lost> {
    let of = |b: &PoolReading| {
        let now = now.iter().find(|n| n.id == b.id)?;
        let bytes = missing(b, now, held)?;
        let amount = bytes.show(unit_of(b));
        let message = match holder {
            Some(holder) => format!("{amount} that {agent} held did not come back; {holder} may hold it."),
            None => format!("{amount} that {agent} held did not come back."),
        };
        let next = "It is left out of every plan; a restart of the machine brings it back.".to_owned();
        Some(Lost { pool: b.id.clone(), bytes, message, next })
    };
    before.iter().filter_map(of).collect()
}

fn unit_of(pool: &PoolReading) -> Unit {
    Unit::for_capacity(pool.capacity.unwrap_or(Bytes(u64::MAX)))
}

fn missing(before: &PoolReading, now: &PoolReading, held: &Shares) -> Option<Bytes> {
    let share = held.get(&before.id).copied().unwrap_or_default();
    let by_device = before.device_used.zip(now.device_used).filter(|_| share.device > Bytes::ZERO);
    let (held, was, is) = match by_device {
        // The part in ordinary memory ends with its processes, whatever the driver does.
        Some((was, is)) => (share.device, was, is),
        None => (share.total(), before.used, now.used),
    };
    if memory_returned(held, was, is, unit_of(before)) {
        return None;
    }
    Some(held.saturating_sub(was.saturating_sub(is)).min(is))
}

/// What is still lost of `lost` by a later reading: it cannot be more than what nobody else holds, of the device's
/// part where that is counted. A rest of less than a unit is let go. `ledger` is that of the same reading.
pub fn recovered(lost: Bytes, reading: &PoolReading, ledger: &Ledger) -> Bytes {
    let nobodys = ledger.used.saturating_sub(ledger.measured_total());
    let on_device = reading.device_used.map(|_| ledger.device_other);
    let still = lost.min(on_device.map_or(nobodys, |d| d.min(nobodys)));
    if still < lost && still < ledger.unit().of(1.0) { Bytes::ZERO } else { still }
}
