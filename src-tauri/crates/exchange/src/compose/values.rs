//! The forms in which compose lets one value be written.

use crate::yaml::{Node, Value};

/// One text or a list of them.
pub(super) fn texts(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Text(text) => vec![text.clone()],
        Value::List(list) => list.iter().filter_map(|n| n.text()).map(str::to_owned).collect(),
        Value::Null | Value::Map(_) => Vec::new(),
    }
}

/// The names of a list, or the keys of a table.
pub(super) fn names(node: &Node) -> Vec<String> {
    match &node.value {
        Value::Map(map) => map.iter().map(|(key, _)| key.clone()).collect(),
        _ => texts(node),
    }
}

/// `KEY=value` of a list, or a table: the key, the value where there is one, the line.
pub(super) fn pairs(node: &Node) -> Vec<(String, Option<String>, u32)> {
    match &node.value {
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), value.text().map(str::to_owned), value.line))
            .collect(),
        Value::List(list) => list
            .iter()
            .filter_map(|n| {
                let text = n.text()?;
                Some(match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned()), n.line),
                    None => (text.to_owned(), None, n.line),
                })
            })
            .collect(),
        Value::Text(_) | Value::Null => Vec::new(),
    }
}

pub(super) fn is_true(node: &Node) -> bool {
    node.text().is_some_and(|t| matches!(t.to_ascii_lowercase().as_str(), "true" | "yes" | "on"))
}

/// "1m30s", "10s", "500ms" in whole seconds, rounded up.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut millis: f64 = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        millis += number
            * match &rest[..unit] {
                "us" => 0.001,
                "ms" => 1.0,
                "s" => 1000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
    (millis.is_finite() && (0.0..1e15).contains(&millis)).then(|| (millis / 1000.0).ceil() as u64)
}

/// A mount: what of the host, and where in the container.
pub(super) struct Mount {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) line: u32,
}

pub(super) fn mounts(node: &Node) -> Vec<Mount> {
    node.list()
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| {
            let part = |key: &str| entry.get(key).and_then(|n| n.text()).map(str::to_owned);
            let (source, target) = match entry.text() {
                Some(text) => {
                    let mut parts = text.split(':');
                    let source = parts.next()?.to_owned();
                    let target = parts.next().map_or_else(|| source.clone(), str::to_owned);
                    (source, target)
                }
                None => (part("source")?, part("target")?),
            };
            Some(Mount { source, target, line: entry.line })
        })
        .collect()
}

/// A published port: that of the host, and that in the container.
pub(super) fn port(entry: &Node) -> Option<(u16, u16)> {
    let number = |text: &str| text.parse::<u16>().ok().filter(|p| *p > 0);
    if let Some(text) = entry.text() {
        let text = text.split('/').next()?;
        let mut parts = text.rsplit(':');
        let inside = number(parts.next()?)?;
        return Some((parts.next().map_or(Some(inside), number)?, inside));
    }
    let part = |key: &str| entry.get(key).and_then(|n| n.text()).and_then(number);
    let inside = part("target")?;
    Some((part("published").unwrap_or(inside), inside))
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn durations() {
        for (text, wanted) in [
            ("10s", Some(10)),
            ("1m30s", Some(90)),
            ("1500ms", Some(2)),
            ("2h", Some(7200)),
            ("", Some(0)),
            ("5", None),
            ("x", None),
            ("-1s", None),
        ] {
            assert_eq!(seconds(text), wanted, "{text}");
        }
    }
}
