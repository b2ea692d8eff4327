//! Sets of bytes of a file.

/// The bytes from `start` up to, and without, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

impl Span {
    pub fn new(start: u64, end: u64) -> Self {
        Self { start, end: end.max(start) }
    }

    pub fn len(self) -> u64 {
        self.end - self.start
    }

    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Spans in order, none empty, none touching another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges {
    spans: Vec<Span>,
}

impl Ranges {
    pub fn insert(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        let first = self.spans.partition_point(|s| s.end < span.start);
        let behind = self.spans.partition_point(|s| s.start <= span.end);
        let start =
            self.spans.get(first).filter(|_| first < behind).map_or(span.start, |s| s.start.min(span.start));
        let end = behind
            .checked_sub(1)
            .filter(|last| *last >= first)
            .and_then(|last| self.spans.get(last))
            .map_or(span.end, |s| s.end.max(span.end));
        self.spans.splice(first..behind, [Span { start, end }]);
    }

    pub fn remove(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        let first = self.spans.partition_point(|s| s.end <= span.start);
        let behind = self.spans.partition_point(|s| s.start < span.end);
        let left: Vec<Span> = self
            .spans
            .get(first..behind)
            .unwrap_or_default()
            .iter()
            .flat_map(|s| {
                [Span::new(s.start, span.start.max(s.start)), Span::new(span.end.min(s.end), s.end)]
            })
            .filter(|s| !s.is_empty())
            .collect();
        if first < behind {
            self.spans.splice(first..behind, left);
        }
    }

    /// What lies behind `size` is taken away.
    pub fn clip(&mut self, size: u64) {
        self.remove(Span::new(size, u64::MAX));
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub fn bytes(&self) -> u64 {
        self.spans.iter().map(|s| s.len()).sum()
    }

    /// How far the file is there without a hole from its beginning.
    pub fn prefix(&self) -> u64 {
        self.spans.first().filter(|s| s.start == 0).map_or(0, |s| s.end)
    }

    /// The first bytes below `size` that are not in the set.
    pub fn first_hole(&self, size: u64) -> Option<Span> {
        let start = self.prefix();
        let end = self.spans.iter().map(|s| s.start).find(|s| *s > start).unwrap_or(size).min(size);
        (start < end).then_some(Span { start, end })
    }

    pub fn is_whole(&self, size: u64) -> bool {
        self.prefix() >= size
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: u64 = 64;

    fn bits(ranges: &Ranges) -> Vec<bool> {
        (0..SIZE).map(|b| ranges.spans().iter().any(|s| s.start <= b && b < s.end)).collect()
    }

    proptest! {
        /// Against the plainest set there is: one flag a byte.
        #[test]
        fn it_is_a_set_of_bytes(steps in prop::collection::vec((any::<bool>(), 0..SIZE, 0..SIZE), 0..40)) {
            let (mut ranges, mut plain) = (Ranges::default(), vec![false; 64]);
            for (add, a, b) in steps {
                let span = Span::new(a.min(b), a.max(b));
                if add { ranges.insert(span) } else { ranges.remove(span) }
                for flag in &mut plain[usize::try_from(span.start).unwrap()..usize::try_from(span.end).unwrap()] {
                    *flag = add;
                }
                prop_assert_eq!(bits(&ranges), plain.clone());
                // Kept in order, with a gap between any two.
                prop_assert!(ranges.spans().windows(2).all(|w| w[0].end < w[1].start));
                prop_assert!(ranges.spans().iter().all(|s| !s.is_empty()));
                prop_assert_eq!(ranges.bytes(), plain.iter().filter(|f| **f).count() as u64);
                let prefix = plain.iter().position(|f| !f).unwrap_or(64) as u64;
                prop_assert_eq!(ranges.prefix(), prefix);
                let hole = ranges.first_hole(SIZE);
                prop_assert_eq!(hole.map(|h| h.start), (prefix < SIZE).then_some(prefix));
                if let Some(hole) = hole {
                    let length = plain.iter().skip(usize::try_from(prefix).unwrap()).take_while(|f| !**f).count();
                    prop_assert_eq!(hole.len(), length as u64);
                }
            }
        }
    }

    #[test]
    fn what_lies_behind_the_end_is_taken_away() {
        let mut ranges = Ranges::default();
        ranges.insert(Span::new(0, 10));
        ranges.insert(Span::new(20, 40));
        ranges.clip(30);
        assert_eq!(ranges.spans(), [Span::new(0, 10), Span::new(20, 30)]);
        ranges.clip(0);
        assert_eq!(ranges, Ranges::default());
    }
}
