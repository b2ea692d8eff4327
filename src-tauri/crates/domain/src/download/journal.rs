//! What is claimed of an unfinished file, written beside it, and what may be believed of that after a crash.
//!
//! Lines, each with a check sum of its own, appended in the order in which things happened:
//!
//! ```text
//! asgard 1 SIZE HASH INODE BOOT    what the file is to become; the file it lies in; the running kernel's id
//! + START END                      these bytes were written
//! # BYTES STATE                    the hash after so many bytes, from the beginning
//! ( N                              the N-th flush to the disk begins
//! ) N                              it has ended: whatever stands before its beginning survives a power cut
//! ```
//!
//! While the same kernel runs, what was written is there, whoever was killed: everything is believed. After a reboot
//! only what stands before a flush that ended is. A line that is damaged ends the reading: less is believed, never
//! more, and the hash of the whole has the last word in any case.

use std::fmt::Write;

use super::ranges::{Ranges, Span};

/// A longer journal is not read; a new one is begun before it is so long.
pub const LONGEST: usize = 8 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole file.
    pub size: u64,
    /// Hexadecimal.
    pub hash: String,
    /// Of the partial file: a copy of it is another file.
    pub inode: u64,
    /// Of the running kernel and the mount: another one after each boot. Without white space; with "/-" at its end
    /// where the mount has no name.
    pub boot: String,
}

/// The hash after `bytes`, as hexadecimal text that [`Line::Hashed`] was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashed {
    pub bytes: u64,
    pub state: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Header(Header),
    Landed(Span),
    Hashed(Hashed),
    FlushBegins(u64),
    FlushEnded(u64),
}

impl Line {
    /// With its check sum and the end of the line.
    pub fn write(&self, text: &mut String) {
        let start = text.len();
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Header(h) => write!(text, "asgard 1 {} {} {} {}", h.size, h.hash, h.inode, h.boot),
            Self::Landed(span) => write!(text, "+ {} {}", span.start, span.end),
            Self::Hashed(h) => write!(text, "# {} {}", h.bytes, h.state),
            Self::FlushBegins(n) => write!(text, "( {n}"),
            Self::FlushEnded(n) => write!(text, ") {n}"),
        };
        let sum = check(text.get(start..).unwrap_or_default());
        let _ = writeln!(text, " {sum:08x}");
    }

    fn read(line: &str) -> Option<Self> {
        let (text, sum) = line.rsplit_once(' ')?;
        (sum.len() == 8 && u32::from_str_radix(sum, 16).ok()? == check(text)).then_some(())?;
        let mut words = text.split(' ');
        let first = words.next()?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let line = match first {
            "asgard" => {
                (number()? == 1).then_some(())?;
                let size = number()?;
                let hash = words.next()?.to_owned();
                let inode = words.next()?.parse().ok()?;
                Self::Header(Header { size, hash, inode, boot: words.next()?.to_owned() })
            }
            "+" => {
                let (start, end) = (number()?, number()?);
                (start < end).then_some(Self::Landed(Span { start, end }))?
            }
            "#" => Self::Hashed(Hashed { bytes: number()?, state: words.next()?.to_owned() }),
            "(" => Self::FlushBegins(number()?),
            ")" => Self::FlushEnded(number()?),
            _ => return None,
        };
        words.next().is_none().then_some(line)
    }
}

/// What is claimed at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    pub landed: Ranges,
    pub hashed: Option<Hashed>,
}

impl Claims {
    fn add(&mut self, line: &Line) {
        match line {
            Line::Landed(span) => self.landed.insert(*span),
            Line::Hashed(hashed) => self.hashed = Some(hashed.clone()),
            _ => {}
        }
    }
}

/// A journal that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    pub header: Header,
    /// Of everything that was written down.
    pub written: Claims,
    /// Of what stands before a flush that ended.
    pub flushed: Claims,
}

/// None if not even its first line can be read.
pub fn read(text: &[u8]) -> Option<Journal> {
    let mut lines = text.get(..text.len().min(LONGEST))?.split_inclusive(|b| *b == b'\n');
    let mut next = || {
        let line = std::str::from_utf8(lines.next()?).ok()?;
        Line::read(line.strip_suffix('\n')?)
    };
    let Line::Header(header) = next()? else { return None };
    let mut journal = Journal { header, written: Claims::default(), flushed: Claims::default() };
    let mut flush: Option<(u64, Claims)> = None;
    while let Some(line) = next() {
        match line {
            Line::Header(_) => break,
            Line::FlushBegins(n) => flush = Some((n, journal.written.clone())),
            Line::FlushEnded(n) => {
                if let Some((_, claims)) = flush.take_if(|(begun, _)| *begun == n) {
                    journal.flushed = claims;
                }
            }
            claim => journal.written.add(&claim),
        }
    }
    Some(journal)
}

impl Journal {
    /// What may be believed of a partial file of `length` bytes with this inode, under the kernel `boot`.
    pub fn believed(&self, boot: &str, inode: u64, length: u64) -> Claims {
        let same_kernel = !boot.is_empty() && self.header.boot == boot;
        let mut claims = if same_kernel { self.written.clone() } else { self.flushed.clone() };
        if boot.ends_with("/-") {
            // A disk that was pulled and put back may have lost what a hash has seen; its other claims cost a fetch at
            // worst, but a hash of bytes that are gone would vouch for them.
            claims.hashed.clone_from(&self.flushed.hashed);
        }
        claims.landed.clip(self.header.size.min(length));
        // A copy may have lost its holes, or more; its bytes are hashed anew.
        let there = claims.landed.prefix();
        claims.hashed = claims.hashed.filter(|h| self.header.inode == inode && h.bytes <= there);
        claims
    }
}

/// A journal that says `header` and `claims`, of which `flushed` survive a power cut.
pub fn begin(header: &Header, claims: &Claims, flushed: &Claims) -> String {
    let mut text = String::new();
    Line::Header(header.clone()).write(&mut text);
    let mut say = |claims: &Claims| {
        let landed = claims.landed.spans().iter().map(|s| Line::Landed(*s));
        landed.chain(claims.hashed.clone().map(Line::Hashed)).for_each(|line| line.write(&mut text));
    };
    say(flushed);
    Line::FlushBegins(0).write(&mut text);
    Line::FlushEnded(0).write(&mut text);
    let mut say = |claims: &Claims| {
        let landed = claims.landed.spans().iter().map(|s| Line::Landed(*s));
        landed.chain(claims.hashed.clone().map(Line::Hashed)).for_each(|line| line.write(&mut text));
    };
    say(claims);
    text
}

/// FNV-1a, 32 bits: against torn and rotten lines, not against malice.
fn check(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        Header { size: 1000, hash: "ab".repeat(32), inode: 7, boot: "boot-1".to_owned() }
    }

    fn text(lines: &[Line]) -> String {
        let mut text = String::new();
        Line::Header(header()).write(&mut text);
        for line in lines {
            line.write(&mut text);
        }
        text
    }

    fn lines() -> impl Strategy<Value = Vec<Line>> {
        let line = prop_oneof![
            4 => (0u64..999, 1u64..400).prop_map(|(s, l)| Line::Landed(Span::new(s, (s + l).min(1000)))),
            1 => (0u64..=1000).prop_map(|bytes| Line::Hashed(Hashed { bytes, state: "00ff".to_owned() })),
            1 => (0u64..4).prop_map(Line::FlushBegins),
            1 => (0u64..4).prop_map(Line::FlushEnded),
        ];
        prop::collection::vec(line, 0..40)
    }

    fn covered(inner: &Ranges, outer: &Ranges) -> bool {
        let mut both = outer.clone();
        inner.spans().iter().for_each(|s| both.insert(*s));
        both == *outer
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(lines in lines()) {
            let journal = read(text(&lines).as_bytes()).unwrap();
            prop_assert_eq!(&journal.header, &header());
            let mut landed = Ranges::default();
            for line in &lines {
                if let Line::Landed(span) = line { landed.insert(*span) }
            }
            prop_assert_eq!(journal.written.landed, landed);
        }

        /// Cut anywhere, or with a byte changed: never more than was claimed before that place.
        #[test]
        fn damage_makes_it_say_less(lines in lines(), at in 0.0f64..1.0, change in prop::option::of(any::<u8>())) {
            let whole = text(&lines);
            let mut bytes = whole.clone().into_bytes();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in it")]
            let at = (bytes.len() as f64 * at) as usize;
            match change {
                Some(byte) if bytes[at] != byte => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
            let honest = read(whole.as_bytes()).unwrap();
            if let Some(damaged) = read(&bytes) {
                prop_assert_eq!(&damaged.header, &honest.header);
                prop_assert!(covered(&damaged.written.landed, &honest.written.landed));
                prop_assert!(covered(&damaged.flushed.landed, &damaged.written.landed));
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(read(&bytes), None);
        }

        /// After a reboot only what stood before the beginning of a flush that ended.
        #[test]
        fn after_a_reboot_flushed_claims_alone(before in lines(), between in lines(), after in lines()) {
            let claims = |lines: Vec<Line>| lines.into_iter().filter(|l| matches!(l, Line::Landed(_))).collect::<Vec<_>>();
            let (before, between, after) = (claims(before), claims(between), claims(after));
            let all = [before.clone(), vec![Line::FlushBegins(9)], between, vec![Line::FlushEnded(9)], after].concat();
            let journal = read(text(&all).as_bytes()).unwrap();
            let honest = read(text(&before).as_bytes()).unwrap();
            prop_assert_eq!(journal.believed("boot-2", 7, 1000).landed, honest.written.landed);
            prop_assert_eq!(journal.believed("boot-1", 7, 1000).landed, journal.written.landed);
        }
    }

    #[test]
    fn a_hash_is_believed_of_bytes_that_are_there_in_the_same_file() {
        let journal = read(
            text(&[
                Line::Landed(Span::new(0, 600)),
                Line::Hashed(Hashed { bytes: 512, state: "ff".to_owned() }),
                Line::FlushBegins(1),
                Line::FlushEnded(1),
            ])
            .as_bytes(),
        )
        .unwrap();
        let hashed = |boot, inode, length| journal.believed(boot, inode, length).hashed.map(|h| h.bytes);
        assert_eq!(hashed("boot-1", 7, 1000), Some(512));
        assert_eq!(hashed("boot-2", 7, 1000), Some(512));
        assert_eq!(hashed("boot-1", 8, 1000), None, "a copy");
        assert_eq!(hashed("boot-1", 7, 511), None, "cut short by somebody");
        assert_eq!(journal.believed("boot-1", 7, 511).landed.bytes(), 511);
    }

    #[test]
    fn where_a_mount_has_no_name_a_hash_must_have_been_flushed() {
        let hashed = |bytes| Line::Hashed(Hashed { bytes, state: "ff".to_owned() });
        let mut text = String::new();
        Line::Header(Header { boot: "k/-".to_owned(), ..header() }).write(&mut text);
        for line in [
            Line::Landed(Span::new(0, 600)),
            hashed(64),
            Line::FlushBegins(1),
            Line::FlushEnded(1),
            hashed(512),
        ] {
            line.write(&mut text);
        }
        let claims = read(text.as_bytes()).unwrap().believed("k/-", 7, 1000);
        assert_eq!((claims.hashed.map(|h| h.bytes), claims.landed.bytes()), (Some(64), 600));
    }

    #[test]
    fn a_kernel_without_a_name_is_never_the_same() {
        let mut header = header();
        header.boot = String::new();
        let journal = Journal { header, written: Claims::default(), flushed: Claims::default() };
        let mut written = journal.clone();
        written.written.landed.insert(Span::new(0, 5));
        assert_eq!(written.believed("", 7, 1000).landed.bytes(), 0);
    }

    #[test]
    fn a_journal_begun_anew_says_the_same() {
        let (mut claims, mut flushed) = (Claims::default(), Claims::default());
        flushed.landed.insert(Span::new(0, 300));
        flushed.hashed = Some(Hashed { bytes: 256, state: "aa".to_owned() });
        claims.landed = flushed.landed.clone();
        claims.landed.insert(Span::new(400, 500));
        claims.hashed = Some(Hashed { bytes: 300, state: "bb".to_owned() });
        let journal = read(begin(&header(), &claims, &flushed).as_bytes()).unwrap();
        assert_eq!((journal.written, journal.flushed), (claims, flushed));
    }
}
