//! Cutting bytes of a log into lines for a person.

/// No line is longer: a server that writes without end must not fill memory. What is beyond is dropped.
const LONGEST: usize = 16 * 1024;

/// Takes bytes as they come and gives whole lines.
///
/// A carriage return ends a line too: progress bars are drawn over themselves with it, and each state of the bar is
/// news. Bytes that are no UTF-8 become replacement characters.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
    /// The last byte taken was a carriage return: a line feed after it ends no second line.
    returned: bool,
}

impl Lines {
    pub(crate) fn take(&mut self, bytes: &[u8], into: &mut Vec<String>) {
        for &byte in bytes {
            match byte {
                b'\n' if self.returned => self.returned = false,
                b'\n' | b'\r' => {
                    self.returned = byte == b'\r';
                    into.push(String::from_utf8_lossy(&self.rest).into_owned());
                    self.rest.clear();
                }
                _ => {
                    self.returned = false;
                    if self.rest.len() < LONGEST {
                        self.rest.push(byte);
                    }
                }
            }
        }
    }

    /// What is left when nothing more comes.
    pub(crate) fn finish(self) -> Option<String> {
        (!self.rest.is_empty()).then(|| String::from_utf8_lossy(&self.rest).into_owned())
    }
}

/// All lines of `bytes`.
pub(crate) fn all(bytes: &[u8]) -> Vec<String> {
    let mut lines = Lines::default();
    let mut out = Vec::new();
    lines.take(bytes, &mut out);
    out.extend(lines.finish());
    out
}

/// The last `count` of `lines`.
pub(crate) fn last(mut lines: Vec<String>, count: usize) -> Vec<String> {
    lines.split_off(lines.len().saturating_sub(count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn progress_bars_and_windows_ends_are_cut() {
        assert_eq!(all(b"a  0%\ra 50%\ra100%\nnext\r\nlast"), ["a  0%", "a 50%", "a100%", "next", "last"]);
        assert_eq!(all(b"\n\nx"), ["", "", "x"]);
        assert_eq!(all(b"bad \xff byte\n"), ["bad \u{fffd} byte"]);
        assert_eq!(all(b""), Vec::<String>::new());
        assert_eq!(last(all(b"1\n2\n3\n"), 2), ["2", "3"]);
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let lines = all(&vec![b'x'; LONGEST * 3]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LONGEST]);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[a-c\r\né]{0,60}", at in 0usize..60) {
            let bytes = text.as_bytes();
            let at = at.min(bytes.len());
            let mut lines = Lines::default();
            let mut out = Vec::new();
            lines.take(&bytes[..at], &mut out);
            lines.take(&bytes[at..], &mut out);
            out.extend(lines.finish());
            prop_assert_eq!(out, all(bytes));
        }
    }
}
