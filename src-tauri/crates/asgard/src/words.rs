//! Numbers and tables for a terminal.

use domain::memory::{Bytes, Unit};

/// Terminals and `grep` know one kind of space.
pub(crate) fn plain(text: &str) -> String {
    text.replace('\u{a0}', " ")
}

/// Memory with one decimal: "25.3 GB".
pub(crate) fn memory(bytes: u64, unit: Unit) -> String {
    plain(&Bytes(bytes).show(unit))
}

/// The unit of a machine whose pools have these capacities: megabytes on the played one of a rehearsal.
pub(crate) fn unit(capacities: impl Iterator<Item = Option<u64>>) -> Unit {
    capacities.flatten().max().map(|c| Unit::for_capacity(Bytes(c))).unwrap_or_default()
}

/// "41 s", "3 min 38 s", "1 h 5 min".
pub(crate) fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what is shown")]
    let whole = seconds.round().clamp(0.0, 1e9) as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes, rest) {
        (0, 0, s) => format!("{s} s"),
        (0, m, 0) => format!("{m} min"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, 0, _) => format!("{h} h"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// A share of one, as "42 %".
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).clamp(0.0, 100.0))
}

/// "odin" in a sentence.
pub(crate) fn proper(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

/// A beginning in upper case and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let text = proper(text.trim());
    if text.is_empty() || text.ends_with(['.', '?', ':']) { text } else { format!("{text}.") }
}

/// "a", "a and b", "a, b and c".
pub(crate) fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Columns as wide as their widest cell, two spaces between; no spaces at a line's end.
pub(crate) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            if right.contains(&column) {
                line.push_str(&gap);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&gap);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        for (seconds, text) in [
            (0.2, "0 s"),
            (41.0, "41 s"),
            (90.0, "1 min 30 s"),
            (120.0, "2 min"),
            (218.0, "3 min 38 s"),
            (3600.0, "1 h"),
            (3900.0, "1 h 5 min"),
            (-3.0, "0 s"),
            (f64::NAN, "0 s"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn the_unit_follows_the_largest_pool() {
        assert_eq!(unit([Some(128 << 30), None].into_iter()), Unit::Gb);
        assert_eq!(unit([Some(128 << 20)].into_iter()), Unit::Mb);
        assert_eq!(unit([None].into_iter()), Unit::Gb);
        assert_eq!(memory(27_165_668_147, Unit::Gb), "25.3 GB");
    }

    #[test]
    fn a_table_lines_up_and_ends_no_line_with_spaces() {
        let row = |cells: &[&str]| cells.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let text = table(&[row(&["AGENT", "PORT", "NOTE"]), row(&["valkyrie", "80", ""])], &[1]);
        assert_eq!(text, "AGENT     PORT  NOTE\nvalkyrie    80\n");
    }

    #[test]
    fn sentences_and_lists() {
        assert_eq!(sentence("unexpected argument"), "Unexpected argument.");
        assert_eq!(sentence("Done."), "Done.");
        let names = |n: &[&str]| n.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(list(&names(&["a"])), "a");
        assert_eq!(list(&names(&["a", "b", "c"])), "a, b and c");
    }
}
