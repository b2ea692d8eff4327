//! The two sides on which a command speaks: stdout for the answer, stderr for what went wrong or is under way.

use std::io::{self, IsTerminal as _, Write as _};

use api::ApiError;
use serde::Serialize;
use serde_json::json;

use crate::words::plain;

/// How the one who asked wants to be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) json: bool,
    /// Whether stdout is a terminal that can be drawn on.
    pub(crate) terminal: bool,
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, terminal: !json && io::stdout().is_terminal() }
    }

    /// How many columns there are to draw on.
    pub(crate) fn width() -> usize {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
        size.filter(|columns| *columns > 0).unwrap_or(80)
    }

    /// Text for a person, and the end of its line.
    pub(crate) fn say(self, text: &str) {
        if !self.json {
            put(&format!("{}\n", plain(text)));
        }
    }

    /// Text as it comes: a piece of an answer, or of a line that is drawn again.
    pub(crate) fn piece(self, text: &str) {
        if !self.json {
            put(text);
        }
    }

    /// One document on a line.
    pub(crate) fn document(self, value: &impl Serialize) {
        if self.json
            && let Ok(text) = serde_json::to_string(value)
        {
            put(&format!("{text}\n"));
        }
    }

    /// Beside the answer: for a person who waits, never for a script.
    pub(crate) fn aside(self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{}", plain(text));
        }
    }

    /// What happened, then what to do.
    pub(crate) fn error(self, error: &ApiError) {
        if self.json {
            self.document(&json!({ "error": error }));
        } else {
            let _ = write!(io::stderr(), "{}", error_text(error));
        }
    }
}

fn error_text(error: &ApiError) -> String {
    let mut text = format!("{}\n", plain(&error.message));
    if !error.next.is_empty() {
        text.push_str(&plain(&error.next));
        text.push('\n');
    }
    text
}

fn put(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        // `asgard logs thor | head`: the reader has enough. There is nobody left to tell anything.
        std::process::exit(0);
    }
}

#[cfg(test)]
mod tests {
    use api::Code;

    use super::*;

    #[test]
    fn an_error_is_two_lines_or_one() {
        let both = ApiError::new(Code::Failed, "It needs 2.3\u{a0}GB more.", "Close something.");
        assert_eq!(error_text(&both), "It needs 2.3 GB more.\nClose something.\n");
        assert_eq!(error_text(&ApiError::new(Code::Failed, "It failed.", "")), "It failed.\n");
    }
}
