//! Finding figures in lines of text.

/// What follows `marker`.
pub(super) fn after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    text.find(marker).and_then(|at| text.get(at + marker.len()..))
}

/// The number that `text` begins with; thousands separators are passed over.
pub(super) fn figure(text: &str) -> Option<f64> {
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','))).unwrap_or(text.len());
    let digits: String = text.get(..end)?.chars().filter(|c| *c != ',').collect();
    // A full stop at the end of a sentence is no decimal point.
    digits.trim_end_matches('.').parse().ok()
}

/// The number before the first `%` of `text`'s last word, as a share: 0 to 1.
pub(super) fn last_percent(text: &str) -> Option<f64> {
    let before = text.rsplit_once('%')?.0;
    let start = before.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    let percent: f64 = before.get(start..)?.parse().ok()?;
    Some((percent / 100.0).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found() {
        assert_eq!(figure("46,592 tokens"), Some(46_592.0));
        assert_eq!(figure(" 1.0/18.34) GiB"), Some(1.0));
        assert_eq!(figure("46464. Try"), Some(46_464.0));
        assert_eq!(figure("many"), None);
        assert_eq!(figure(""), None);
        assert_eq!(last_percent("a  0%b  50%"), Some(0.5));
        assert_eq!(last_percent("nothing"), None);
        assert_eq!(after("free é 3", "é "), Some("3"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_them(text in ".{0,80}") {
            let _ = (figure(&text), last_percent(&text), after(&text, "a"));
        }
    }
}
