//! The limit on bytes a second, as a bucket that may go into debt: what has arrived is paid for afterwards.

use std::time::Duration;

/// What may come at once after a silence, seconds of the limit.
const BURST: f64 = 0.25;
/// A debt of a higher limit is not carried into a lower one beyond this, seconds.
const DEBT: f64 = 2.0;

#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// Bytes; below zero: owed.
    level: f64,
    at: Duration,
}

impl Bucket {
    /// Takes `bytes` at `now` under a limit of `per_second` bytes, or says how long to wait before asking again.
    pub fn take(&mut self, now: Duration, bytes: u64, per_second: u64) -> Result<(), Duration> {
        let limit = per_second.max(1) as f64;
        let gained = now.saturating_sub(self.at).as_secs_f64() * limit;
        self.at = self.at.max(now);
        self.level = (self.level + gained).clamp(-DEBT.mul_add(limit, bytes as f64), BURST * limit);
        if self.level < 0.0 {
            return Err(Duration::from_secs_f64((-self.level / limit).clamp(0.001, 60.0)));
        }
        self.level -= bytes as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes pieces as fast as the bucket lets it; what came in `seconds`.
    fn run(limit: u64, piece: u64, seconds: u64) -> u64 {
        let (mut bucket, mut now, mut came) = (Bucket::default(), Duration::ZERO, 0);
        while now < Duration::from_secs(seconds) {
            match bucket.take(now, piece, limit) {
                Ok(()) => came += piece,
                Err(wait) => now += wait,
            }
        }
        came
    }

    proptest! {
        #[test]
        fn the_limit_is_kept(limit in 10_000u64..1_000_000_000, piece in 1u64..400_000, seconds in 5u64..60) {
            prop_assume!(limit / piece.max(1) < 100_000);
            let came = run(limit, piece, seconds);
            let allowed = limit * seconds;
            prop_assert!(came <= allowed + limit / 4 + 2 * piece, "{came} of {allowed}");
            prop_assert!(came + 2 * piece + limit / 100 >= allowed.saturating_sub(piece), "{came} of {allowed}");
        }
    }

    #[test]
    fn a_silence_is_not_saved_up() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(Duration::from_secs(3600), 1000, 1000), Ok(()));
        assert!(bucket.take(Duration::from_secs(3600), 1, 1000).is_err());
    }
}
