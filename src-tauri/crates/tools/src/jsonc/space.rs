//! What stands between the values: space, line ends, comments, commas, and how a document is indented.

use super::tree::{Kind, Node};

/// How a document is laid out.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    /// One step of indentation.
    pub(crate) unit: String,
    pub(crate) newline: &'static str,
}

impl Style {
    pub(crate) fn of(text: &str, root: Option<&Node>) -> Self {
        let first = root.and_then(|r| match &r.kind {
            Kind::Object(members) => members.iter().find_map(|m| line_start(text, m.start)),
            _ => None,
        });
        let newline = match text.find('\n') {
            Some(at) if text[..at].ends_with('\r') => "\r\n",
            _ => "\n",
        };
        let unit = first.filter(|unit| !unit.is_empty()).unwrap_or("  ");
        Self { unit: unit.to_owned(), newline }
    }
}

/// The space before `at` on its line, where nothing else stands before it.
pub(crate) fn line_start(text: &str, at: usize) -> Option<&str> {
    let before = &text[..at];
    // The first line has no start of its own: what stands on it stands there with the brace.
    let from = before.rfind('\n').map(|n| n + 1)?;
    let space = &before[from..];
    space.chars().all(char::is_whitespace).then_some(space)
}

/// The space with which the line of `at` begins.
pub(crate) fn line_indent(text: &str, at: usize) -> &str {
    let from = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let line = &text[from..at];
    &line[..line.len() - line.trim_start().len()]
}

/// The end of a comment that begins at `at`; none where none does.
fn comment_end(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    if rest.starts_with("//") {
        return Some(at + rest.find(['\n', '\r']).unwrap_or(rest.len()));
    }
    let inside = rest.strip_prefix("/*")?;
    Some(inside.find("*/").map_or(text.len(), |end| at + 2 + end + 2))
}

/// The comma that follows a value, past space and comments.
pub(crate) fn comma_after(text: &str, value_end: usize) -> Option<usize> {
    let mut at = value_end;
    loop {
        if let Some(end) = comment_end(text, at) {
            at = end;
            continue;
        }
        match text[at..].chars().next()? {
            ',' => return Some(at),
            c if c.is_whitespace() => at += c.len_utf8(),
            _ => return None,
        }
    }
}

/// After the comments that stand on the same line as `at`, or `at` where none does.
pub(crate) fn after_same_line_comments(text: &str, at: usize) -> usize {
    let (mut stop, mut look) = (at, at);
    loop {
        if let Some(end) = comment_end(text, look) {
            let line_comment = text[look..].starts_with("//");
            (stop, look) = (end, end);
            if line_comment {
                return stop;
            }
            continue;
        }
        match text[look..].chars().next() {
            Some(c) if c.is_whitespace() && c != '\n' && c != '\r' => look += c.len_utf8(),
            _ => return stop,
        }
    }
}
