//! The document around the shapes: its size, its words for a screen reader, and the hints over events.

use std::fmt::Write as _;

use crate::paper::{FAMILY, clean};
use crate::pool::{self, PoolPicture};

/// Text and attribute values.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            other => out.push(other),
        }
    }
    out
}

/// Puts our own head around what the backend drew on a grid that is `fine` times as fine.
pub(crate) fn document(body: &str, over: &str, title: &str, width: u32, height: u32, fine: u32) -> String {
    let inner = body.split_once('>').map_or("", |(_, rest)| rest).trim_end();
    let inner = inner.strip_suffix("</svg>").unwrap_or(inner);
    // The desktop's own font first. A name in quotes cannot be part of a text: quotes are escaped there.
    let inner = inner
        .replace(&format!("font-family=\"{FAMILY}\""), "font-family=\"system-ui, Cantarell, sans-serif\"");
    let title = escaped(&clean(title));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {} {}\" role=\"img\" font-variant=\"tabular-nums\">\n<title>{title}</title>{inner}{over}</svg>\n",
        width * fine,
        height * fine,
    )
}

/// A place over each event that says its words when pointed at.
pub(crate) fn hints(picture: &PoolPicture, width: f64, height: f64, top: f64) -> String {
    let mut out = String::new();
    let fine = f64::from(crate::FINE);
    for mark in pool::marks_at(picture, width) {
        let (y, high) = (top + pool::TOP, height - pool::TOP - pool::AXIS);
        let _ = writeln!(
            out,
            "<rect x=\"{:.0}\" y=\"{:.0}\" width=\"{:.0}\" height=\"{:.0}\" fill=\"#000\" fill-opacity=\"0\"><title>{}</title></rect>",
            (mark.at - 4.0) * fine,
            y * fine,
            8.0 * fine,
            high * fine,
            mark.texts.iter().map(|t| escaped(&clean(t))).collect::<Vec<_>>().join("\n"),
        );
    }
    out
}
