//! Progress: bars that are drawn again on a terminal, on stderr; lines elsewhere.

use std::io::{self, IsTerminal as _, Write as _};

use crate::screen::Screen;
use crate::words::{duration, plain};

use super::text::{rate, short, size};

/// Files that have a line of their own.
const MOST_LINES: usize = 6;

/// How far something is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) done: u64,
    pub(super) total: Option<u64>,
    pub(super) bytes_per_second: Option<f64>,
    pub(super) seconds_left: Option<f64>,
    /// "paused", "waiting for the network": in place of the speed.
    pub(super) word: Option<String>,
}

/// Where progress goes.
pub(super) struct Bars {
    screen: Screen,
    /// Whether stderr can be drawn on.
    draws: bool,
    color: bool,
    /// How many lines the last drawing took.
    drawn: usize,
    /// What the last line said, where lines are written.
    said: Option<(Option<u64>, Option<String>)>,
}

impl Bars {
    pub(super) fn new(screen: Screen) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let dumb = variable("TERM").is_none_or(|term| term == "dumb");
        Self {
            screen,
            draws: !screen.json && io::stderr().is_terminal() && !dumb,
            color: variable("NO_COLOR").is_none(),
            drawn: 0,
            said: None,
        }
    }

    /// The whole, and its parts under way.
    pub(super) fn show(&mut self, whole: &Step, parts: &[Step]) {
        if self.draws {
            let width = width();
            let mut text = back(self.drawn);
            let lines: Vec<&Step> = std::iter::once(whole).chain(parts.iter().take(MOST_LINES)).collect();
            for step in &lines {
                text.push_str("\r\x1b[K");
                text.push_str(&line(step, width, self.color));
                text.push('\n');
            }
            // Lines of the drawing before that are not needed any more.
            text.push_str("\x1b[J");
            self.drawn = lines.len();
            let _ = io::stderr().write_all(text.as_bytes());
        } else if !self.screen.json {
            // One line for each tenth, and whenever something else is to be said.
            let tenth = share(whole).map(|share| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 10")]
                let tenth = (share * 10.0) as u64;
                tenth
            });
            let now = (tenth, whole.word.clone());
            if self.said.as_ref() != Some(&now) {
                self.said = Some(now);
                self.screen.say(&sentence(whole));
            }
        }
    }

    /// Takes the bars away, so that what is said next stands at the beginning of a line.
    pub(super) fn end(&mut self) {
        if self.drawn > 0 {
            let text = format!("{}\r\x1b[J", back(std::mem::take(&mut self.drawn)));
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.end();
    }
}

fn back(lines: usize) -> String {
    if lines == 0 { String::new() } else { format!("\x1b[{lines}A") }
}

fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok().map(|size| usize::from(size.ws_col));
    size.filter(|columns| *columns > 0).unwrap_or(80)
}

fn share(step: &Step) -> Option<f64> {
    let total = step.total.filter(|total| *total > 0)?;
    Some((step.done as f64 / total as f64).clamp(0.0, 1.0))
}

/// In a pipe: "model.safetensors: 40 %, 3.7 of 9.3 GB, 38.2 MB/s, 2 min 26 s left".
fn sentence(step: &Step) -> String {
    let mut parts = Vec::new();
    if let Some(share) = share(step) {
        parts.push(format!("{:.0} %", (share * 100.0).floor()));
    }
    parts.push(amount(step));
    parts.extend(rest(step));
    format!("{}: {}", short(&step.name, 200), parts.join(", "))
}

fn amount(step: &Step) -> String {
    match step.total {
        Some(total) => format!("{} of {}", size(step.done), size(total)),
        None => size(step.done),
    }
}

fn rest(step: &Step) -> Vec<String> {
    if let Some(word) = &step.word {
        return vec![short(&plain(word), 120)];
    }
    let speed = step.bytes_per_second.map(rate);
    let left = step.seconds_left.map(|seconds| format!("{} left", duration(seconds)));
    speed.into_iter().chain(left).collect()
}

/// A line that never reaches the edge: one that wraps could not be drawn again. What does not fit goes, the bar first.
fn line(step: &Step, width: usize, color: bool) -> String {
    const LEAST_BAR: usize = 10;
    const LONGEST_BAR: usize = 40;
    let room = width.saturating_sub(1);
    let mut tail = amount(step);
    for more in rest(step) {
        tail = format!("{tail}  {more}");
    }
    let percent = share(step).map(|s| format!("{:>3.0} %", (s * 100.0).floor())).unwrap_or_default();
    let name_room = (room / 3).clamp(8, 44);
    // Letters that are two columns wide would push the line over the edge.
    let narrow: String = step.name.chars().map(|c| if c >= '\u{2e80}' { '?' } else { c }).collect();
    let name = short(&narrow, name_room);
    let padded = format!("{name}{}", " ".repeat(name_room.saturating_sub(name.chars().count())));
    let fixed = name_room + percent.chars().count() + tail.chars().count() + 6;
    let bar = room.saturating_sub(fixed).min(LONGEST_BAR);
    if bar >= LEAST_BAR
        && let Some(share) = share(step)
    {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most the bar's length"
        )]
        let full = (share * bar as f64) as usize;
        let (full, empty) = ("━".repeat(full), "─".repeat(bar - full));
        let full = if color { format!("\x1b[36m{full}\x1b[0m") } else { full };
        return format!("{padded}  {full}{empty}  {percent}  {tail}");
    }
    let text = [name, percent.trim().to_owned(), tail].into_iter().filter(|t| !t.is_empty());
    short(&text.collect::<Vec<_>>().join("  "), room)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        Step {
            name: "model-00001-of-00003.safetensors".to_owned(),
            done: 3_700_000_000,
            total: Some(9_300_000_000),
            bytes_per_second: Some(38_200_000.0),
            seconds_left: Some(146.0),
            word: None,
        }
    }

    #[test]
    fn a_line_fits_every_terminal_and_says_what_it_can() {
        for width in 0..300 {
            for step in [step(), Step { total: None, ..step() }, Step { name: "模".repeat(100), ..step() }] {
                let text = line(&step, width, false);
                assert!(text.chars().count() < width.max(1), "{width}: {text}");
            }
        }
        let text = line(&step(), 140, false);
        for part in ["model-00001", "━", "39 %", "3.7 GB of 9.3 GB", "38.2 MB/s", "2 min 26 s left"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
        assert!(!line(&step(), 60, false).contains('━'));
        assert!(line(&step(), 60, false).contains("39 %"));
    }

    #[test]
    fn color_is_only_color() {
        let plain = line(&step(), 140, false);
        let colored = line(&step(), 140, true).replace("\x1b[36m", "").replace("\x1b[0m", "");
        assert_eq!(plain, colored);
        assert!(!plain.contains('\x1b'));
    }

    #[test]
    fn a_line_in_a_pipe_has_all_of_it() {
        assert_eq!(
            sentence(&step()),
            "model-00001-of-00003.safetensors: 39 %, 3.7 GB of 9.3 GB, 38.2 MB/s, 2 min 26 s left"
        );
        let waiting = Step { word: Some("paused".to_owned()), ..step() };
        assert_eq!(sentence(&waiting), "model-00001-of-00003.safetensors: 39 %, 3.7 GB of 9.3 GB, paused");
        let hostile = Step { name: "a\x1b[2J\nb".to_owned(), total: Some(0), done: 0, ..Step::default() };
        assert_eq!(sentence(&hostile), "a[2J b: 0 B of 0 B");
    }
}
