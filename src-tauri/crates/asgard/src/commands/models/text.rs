//! Words for files and for what strangers wrote.

/// Files are counted in units of 10⁹, as model hosts do: "19.2 GB", "420 MB".
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.0} KB", bytes as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// "38.2 MB/s".
pub(super) fn rate(bytes_per_second: f64) -> String {
    format!("{:.1} MB/s", bytes_per_second.max(0.0) / 1e6)
}

/// Tokens: "32K", "1000".
pub(super) fn tokens(count: u32) -> String {
    if count >= 1024 && count.is_multiple_of(1024) { format!("{}K", count / 1024) } else { count.to_string() }
}

/// Text that a stranger wrote, on one line and without what a terminal would obey.
pub(super) fn tame(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| {
            !c.is_control()
                && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        })
        .collect()
}

/// As [`tame`], and no longer than `most` characters.
pub(super) fn short(text: &str, most: usize) -> String {
    let text = tame(text);
    if text.chars().count() <= most {
        return text;
    }
    if most == 0 {
        return String::new();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// "1 file", "3 files".
pub(super) fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_hubs_pages() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (51_200, "51 KB"),
            (4_683_074, "4.7 MB"),
            (420_000_000, "420 MB"),
            (8_988_110_976, "9.0 GB"),
            (u64::MAX, "18446744073.7 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(rate(38_240_000.0), "38.2 MB/s");
        assert_eq!(rate(f64::NAN), "0.0 MB/s");
        assert_eq!((tokens(32_768), tokens(1_000)), ("32K".to_owned(), "1000".to_owned()));
    }

    #[test]
    fn what_a_stranger_wrote_moves_no_cursor() {
        assert_eq!(tame("a\x1b[2J\nb\u{202e}c\u{9b}d\te"), "a[2J bcd e");
        assert_eq!(short("abcdef", 4), "abc…");
        assert_eq!(short("abcd", 4), "abcd");
    }
}
