//! Which bytes one connection is given next.
//!
//! A connection asks for a portion, and brings it to its end: nothing that was asked for is thrown away, so what is
//! served is what is needed. Portions get smaller towards the end, so that all connections end at about the same time
//! and the hash, which follows in the order of the file, is never far behind.

use super::ranges::{Ranges, Span};

/// Bytes. Less is not worth a request.
pub const SMALLEST: u64 = 1 << 20;
/// Bytes. More would let the front run far ahead of the hash.
pub const LARGEST: u64 = 32 << 20;
/// How long a portion may take at the speed that a connection has shown, seconds.
const SECONDS: f64 = 8.0;

/// The portions of one file that are under way or there.
#[derive(Debug, Clone)]
pub struct Portions {
    size: u64,
    claimed: Ranges,
}

impl Portions {
    /// `there` has landed in an earlier life.
    pub fn new(size: u64, there: &Ranges) -> Self {
        let mut claimed = there.clone();
        claimed.clip(size);
        Self { size, claimed }
    }

    /// The next portion of at most `most` bytes; none if all is there or under way.
    pub fn take(&mut self, most: u64) -> Option<Span> {
        let hole = self.claimed.first_hole(self.size)?;
        let length = hole.len().min(most.max(1));
        // A crumb at the end is not worth a request of its own.
        let length = if hole.len() - length < SMALLEST / 4 { hole.len() } else { length };
        let span = Span::new(hole.start, hole.start + length);
        self.claimed.insert(span);
        Some(span)
    }

    /// Everything that is left, as one portion: for a server that knows no ranges.
    pub fn take_all(&mut self) {
        self.claimed.insert(Span::new(0, self.size));
    }

    /// A portion ended before its end: these bytes did not come.
    pub fn give_back(&mut self, span: Span) {
        self.claimed.remove(span);
    }

    /// Nothing of the file counts any more.
    pub fn start_over(&mut self) {
        self.claimed = Ranges::default();
    }

    /// Bytes that nobody has asked for yet.
    pub fn left(&self) -> u64 {
        self.size - self.claimed.bytes()
    }
}

/// How long the next portion is: a share of what is `left` of the file, and no more than a connection brings in a few
/// seconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped on both sides")]
pub fn length(left: u64, connections: u32, bytes_per_second: Option<f64>) -> u64 {
    let share = left / (2 * u64::from(connections.max(1)));
    let by_speed = bytes_per_second
        .map_or(LARGEST, |speed| (speed * SECONDS).clamp(SMALLEST as f64, LARGEST as f64) as u64);
    let length = share.min(by_speed).clamp(SMALLEST, LARGEST);
    // Whole pages, so that no two connections write to the same one.
    length & !0xffff
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However connections end, every byte is asked for, and none by two at once.
        #[test]
        fn every_byte_is_asked_for_once(
            size in 1u64..300_000_000,
            ends in prop::collection::vec((0usize..16, 0.0f64..=1.0, any::<bool>()), 1..200),
            connections in 1u32..16,
        ) {
            let mut portions = Portions::new(size, &Ranges::default());
            let (mut landed, mut out, mut served) = (Ranges::default(), Vec::<Span>::new(), 0u64);
            let mut ends = ends.into_iter();
            while !landed.is_whole(size) {
                while out.len() < connections as usize {
                    let Some(span) = portions.take(length(portions.left(), connections, None)) else { break };
                    prop_assert!(out.iter().all(|o| o.end <= span.start || span.end <= o.start));
                    out.push(span);
                }
                prop_assert!(!out.is_empty(), "nothing is under way and the file is not whole");
                let (which, share, cut) = ends.next().unwrap_or((0, 1.0, false));
                let span = out.remove(which % out.len());
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of it")]
                let at = if cut { span.start + (span.len() as f64 * share) as u64 } else { span.end };
                served += at - span.start;
                landed.insert(Span::new(span.start, at));
                portions.give_back(Span::new(at, span.end));
            }
            prop_assert_eq!(served, size);
            prop_assert_eq!(portions.left(), 0);
        }

        #[test]
        fn a_portion_is_neither_tiny_nor_huge(left: u64, connections in 0u32..40, speed in prop::option::of(0.0f64..1e12)) {
            let length = length(left, connections, speed);
            prop_assert!((SMALLEST..=LARGEST).contains(&length));
            prop_assert_eq!(length % 65536, 0);
        }
    }

    #[test]
    fn a_slow_connection_gets_less() {
        let plenty = 40_000_000_000;
        assert_eq!(length(plenty, 8, None), LARGEST);
        assert_eq!(length(plenty, 8, Some(500_000.0)), 3_997_696);
        assert_eq!(length(80 << 20, 8, None), 5 << 20);
    }
}
