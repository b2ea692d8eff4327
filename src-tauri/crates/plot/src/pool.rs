//! A pool over time: other programs at the bottom, then what did not come back, then the agents.

use std::fmt::Write as _;

use domain::memory::{Bytes, Unit};
use plotters::prelude::DrawingBackend;

use crate::NotDrawn;
use crate::axis::{memory_ticks, time_of_day, time_ticks};
use crate::paper::{Anchor, Paper};
use crate::theme::{Colour, Theme};

/// What one agent held. A time that is missing here and present in `PoolPicture::other` means nothing was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    pub agent: String,
    pub colour: Colour,
    /// Seconds since 1970 and bytes, in order of time.
    pub points: Vec<(i64, u64)>,
}

/// What happened, for the time line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub time: i64,
    pub agent: Option<String>,
    /// Of its agent.
    pub colour: Option<Colour>,
    pub text: String,
}

/// A pool from `from` to `to` (seconds since 1970). All amounts in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPicture {
    pub title: String,
    pub unit: Unit,
    pub from: i64,
    pub to: i64,
    /// Seconds that local time is ahead of UTC.
    pub offset: i64,
    /// Where nothing was kept for longer than this many seconds, nothing is drawn.
    pub gap: i64,
    pub limit: Option<u64>,
    pub capacity: Option<u64>,
    pub series: Vec<Series>,
    /// Its times are those at which the pool was read.
    pub other: Vec<(i64, u64)>,
    pub lost: Vec<(i64, u64)>,
    pub events: Vec<Event>,
}

/// Events that stand at one place of the time line.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// 0 to 1 of the picture's width.
    pub x: f64,
    /// "14:05 Odin ready in 38 s", in order of time.
    pub texts: Vec<String>,
}

pub(crate) struct MarkAt {
    /// In pixels.
    pub(crate) at: f64,
    colour: Option<Colour>,
    pub(crate) texts: Vec<String>,
}

/// Room around the plot, in pixels.
pub(crate) const TOP: f64 = 46.0;
pub(crate) const AXIS: f64 = 34.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 14.0;
const SIZE: f64 = 11.0;
/// Events closer than this are one mark.
const APART: f64 = 7.0;
/// More words than this at one mark nobody reads.
const TEXTS: usize = 12;

fn x_of(picture: &PoolPicture, width: f64, time: i64) -> f64 {
    let span = (picture.to - picture.from).max(1) as f64;
    let share = (time.clamp(picture.from, picture.to) - picture.from) as f64 / span;
    LEFT + share * (width - LEFT - RIGHT).max(1.0)
}

pub(crate) fn marks_at(picture: &PoolPicture, width: f64) -> Vec<MarkAt> {
    let mut events: Vec<&Event> =
        picture.events.iter().filter(|e| (picture.from..=picture.to).contains(&e.time)).collect();
    events.sort_by_key(|e| e.time);
    let mut marks: Vec<MarkAt> = Vec::new();
    for event in events {
        let at = x_of(picture, width, event.time);
        let text = format!("{} {}", time_of_day(event.time, picture.offset), event.text);
        match marks.last_mut().filter(|m| at - m.at < APART) {
            Some(mark) => {
                if mark.colour != event.colour {
                    mark.colour = None;
                }
                if mark.texts.len() < TEXTS {
                    mark.texts.push(text);
                }
            }
            None => marks.push(MarkAt { at, colour: event.colour, texts: vec![text] }),
        }
    }
    marks
}

/// Where the events stand in a picture of that width, and what they say.
pub fn marks(picture: &PoolPicture, width: u32) -> Vec<Mark> {
    let width = f64::from(crate::bounded(width, 0).0);
    marks_at(picture, width).into_iter().map(|m| Mark { x: m.at / width, texts: m.texts }).collect()
}

/// Runs of readings without a gap: first and last index, both inclusive.
fn runs(times: &[i64], gap: i64) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (n, time) in times.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if times.get(run.1).is_some_and(|before| time - before <= gap) => run.1 = n,
            _ => runs.push((n, n)),
        }
    }
    runs
}

/// One layer's amount at each of the pool's times.
fn aligned(times: &[i64], points: &[(i64, u64)]) -> Vec<f64> {
    let mut points = points.iter().peekable();
    times
        .iter()
        .map(|time| {
            while points.next_if(|(t, _)| t < time).is_some() {}
            points.peek().filter(|(t, _)| t == time).map_or(0.0, |(_, bytes)| *bytes as f64)
        })
        .collect()
}

struct Layer {
    name: String,
    colour: Colour,
    amounts: Vec<f64>,
}

fn layers(picture: &PoolPicture, theme: &Theme, times: &[i64]) -> Vec<Layer> {
    let layer = |name: &str, colour: Colour, points: &[(i64, u64)]| Layer {
        name: name.to_owned(),
        colour,
        amounts: aligned(times, points),
    };
    let mut all = vec![layer("Other programs", theme.mem_system, &picture.other)];
    if picture.lost.iter().any(|(_, bytes)| *bytes > 0) {
        all.push(layer("Did not come back", theme.bad, &picture.lost));
    }
    all.extend(
        picture
            .series
            .iter()
            .filter(|s| s.points.iter().any(|(t, b)| *b > 0 && (picture.from..=picture.to).contains(t)))
            .map(|s| layer(&s.agent, s.colour, &s.points)),
    );
    all
}

fn times(picture: &PoolPicture) -> Vec<i64> {
    let mut times: Vec<i64> =
        picture.other.iter().map(|(t, _)| *t).filter(|t| (picture.from..=picture.to).contains(t)).collect();
    times.sort_unstable();
    times.dedup();
    times
}

/// The picture in words, for whoever cannot see it.
pub fn summary(picture: &PoolPicture) -> String {
    let times = times(picture);
    let layers = layers(picture, &Theme::DARK, &times);
    let show = |bytes: f64| whole(bytes).show(picture.unit).replace('\u{a0}', " ");
    let total = |n: usize| layers.iter().filter_map(|l| l.amounts.get(n)).sum::<f64>();
    let totals: Vec<f64> = (0..times.len()).map(total).collect();
    let Some(now) = totals.last() else {
        return format!("{}: nothing was recorded in this time.", picture.title);
    };
    let least = totals.iter().copied().fold(f64::INFINITY, f64::min);
    let most = totals.iter().copied().fold(0.0, f64::max);
    let of = picture.limit.map(|l| format!(" of {}", show(l as f64))).unwrap_or_default();
    let mut text = format!(
        "{}: between {} and {}{of} in use, {} at the end.",
        picture.title,
        show(least),
        show(most),
        show(*now)
    );
    for layer in &layers {
        let peak = layer.amounts.iter().copied().fold(0.0, f64::max);
        let _ = write!(text, " {}: at most {}.", layer.name, show(peak));
    }
    let gaps = runs(&times, picture.gap).len().saturating_sub(1);
    if gaps > 0 {
        let word = if gaps == 1 { "once".to_owned() } else { format!("{gaps} times") };
        let _ = write!(text, " Nothing was recorded {word} in between.");
    }
    match picture.events.iter().filter(|e| (picture.from..=picture.to).contains(&e.time)).count() {
        0 => {}
        1 => text.push_str(" One event."),
        n => {
            let _ = write!(text, " {n} events.");
        }
    }
    text
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float becomes at least zero here"
)]
fn whole(bytes: f64) -> Bytes {
    Bytes(bytes.max(0.0) as u64)
}

pub(crate) fn draw<DB: DrawingBackend>(
    paper: &Paper<DB>,
    picture: &PoolPicture,
    theme: &Theme,
    width: f64,
    height: f64,
    top: f64,
) -> Result<(), NotDrawn> {
    let times = times(picture);
    let layers = layers(picture, theme, &times);
    let (left, right) = (LEFT, width - RIGHT);
    let (ceiling, floor) = (top + TOP, top + height - AXIS);
    let highest = (0..times.len())
        .map(|n| layers.iter().filter_map(|l| l.amounts.get(n)).sum::<f64>())
        .fold(0.0, f64::max)
        .max(picture.limit.unwrap_or(0) as f64)
        .max(if picture.limit.is_none() { picture.capacity.unwrap_or(0) as f64 } else { 0.0 });
    let highest = if highest > 0.0 { highest * 1.05 } else { picture.unit.bytes() as f64 };
    let y = |bytes: f64| floor - (bytes / highest).clamp(0.0, 1.0) * (floor - ceiling).max(1.0);
    let x = |time: i64| x_of(picture, width, time);

    paper.text(&picture.title, (left, top + 13.0), Anchor::Left, 13.0, theme.text)?;
    legend(paper, &layers, theme, (left, right), top + 32.0)?;
    for tick in memory_ticks(highest, picture.unit) {
        paper.stroke(&[(left, y(tick.at)), (right, y(tick.at))], theme.line, 1.0, 2)?;
        paper.text(&tick.text, (left - 8.0, y(tick.at)), Anchor::Right, SIZE, theme.text_3)?;
    }

    for (first, last) in runs(&times, picture.gap) {
        let Some(run) = times.get(first..=last) else { continue };
        // A reading holds until the next; the last of a run for as long as two may be apart, at most.
        let end = run.last().map_or(picture.to, |t| (t + picture.gap / 2).min(picture.to));
        let mut below: Vec<f64> = vec![0.0; run.len()];
        for layer in &layers {
            let Some(amounts) = layer.amounts.get(first..=last) else { continue };
            let above: Vec<f64> = below.iter().zip(amounts).map(|(b, a)| b + a).collect();
            let edge = |heights: &[f64]| -> Vec<(f64, f64)> {
                let mut points: Vec<(f64, f64)> =
                    run.iter().zip(heights).map(|(t, h)| (x(*t), y(*h))).collect();
                points.extend(heights.last().map(|h| (x(end), y(*h))));
                points
            };
            let upper = edge(&above);
            for band in bands(&upper, &edge(&below)) {
                paper.fill(&band, layer.colour, 1.0)?;
            }
            // A thin line of the ground between two layers tells them apart where hues are close.
            if amounts.iter().any(|a| *a > 0.0) {
                paper.stroke(&upper, theme.surface, 0.7, 2)?;
            }
            below = above;
        }
    }

    if let Some(limit) = picture.limit {
        let at = y(limit as f64);
        dashes(paper, (left, right), at, theme.mem_limit)?;
        let text = format!("limit {}", Bytes(limit).show(picture.unit));
        paper.text(&text, (right, at - 8.0), Anchor::Right, SIZE, theme.text_2)?;
    }
    paper.stroke(&[(left, floor), (right, floor)], theme.text_3, 1.0, 2)?;
    let most = ((right - left) / 76.0).max(2.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few dozen at most")]
    for tick in time_ticks(picture.from, picture.to, picture.offset, most as usize) {
        let at = x(tick.at);
        paper.stroke(&[(at, floor), (at, floor + 4.0)], theme.text_3, 1.0, 2)?;
        // The outermost words stay inside of the picture.
        let at = at.clamp(left - 20.0, right - 12.0);
        paper.text(&tick.text, (at, floor + 24.0), Anchor::Middle, SIZE, theme.text_3)?;
    }
    for mark in marks_at(picture, width) {
        let colour = mark.colour.unwrap_or(theme.text_2);
        paper.stroke(&[(mark.at, ceiling), (mark.at, floor)], theme.text_2, 0.35, 1)?;
        let (x, y) = (mark.at, floor + 9.0);
        paper.fill(&[(x, y - 4.5), (x + 4.5, y), (x, y + 4.5), (x - 4.5, y)], colour, 1.0)?;
    }
    if times.is_empty() {
        let words = "Nothing was recorded in this time.";
        paper.text(
            words,
            (f64::midpoint(left, right), f64::midpoint(ceiling, floor)),
            Anchor::Middle,
            12.0,
            theme.text_3,
        )?;
    }
    Ok(())
}

/// The area between two edges, as one polygon for each stretch where they are apart: a polygon that touches itself is
/// filled wrongly by a bitmap.
fn bands(upper: &[(f64, f64)], lower: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let apart = |n: usize| match (upper.get(n), lower.get(n)) {
        (Some(u), Some(l)) => l.1 - u.1 > 0.2,
        _ => false,
    };
    let mut bands = Vec::new();
    let mut n = 0;
    while n < upper.len() {
        if !apart(n) {
            n += 1;
            continue;
        }
        let first = n.saturating_sub(1);
        while apart(n) {
            n += 1;
        }
        let last = n.min(upper.len() - 1);
        let (Some(above), Some(under)) = (upper.get(first..=last), lower.get(first..=last)) else { continue };
        bands.push(above.iter().chain(under.iter().rev()).copied().collect());
    }
    bands
}

fn dashes<DB: DrawingBackend>(
    paper: &Paper<DB>,
    (left, right): (f64, f64),
    y: f64,
    colour: Colour,
) -> Result<(), NotDrawn> {
    let mut at = left;
    while at < right {
        paper.stroke(&[(at, y), ((at + 6.0).min(right), y)], colour, 0.85, 2)?;
        at += 10.0;
    }
    Ok(())
}

fn legend<DB: DrawingBackend>(
    paper: &Paper<DB>,
    layers: &[Layer],
    theme: &Theme,
    (left, right): (f64, f64),
    y: f64,
) -> Result<(), NotDrawn> {
    let mut at = left;
    // Agents first: they are what the eye looks for.
    let (others, agents): (Vec<&Layer>, Vec<&Layer>) =
        layers.iter().partition(|l| l.name == "Other programs" || l.name == "Did not come back");
    let all: Vec<&Layer> = agents.into_iter().chain(others).collect();
    for (n, layer) in all.iter().enumerate() {
        let wide = 14.0 + paper.width(&layer.name, SIZE);
        let more = format!("and {} more", all.len() - n);
        if at + wide > right - if n + 1 < all.len() { 70.0 } else { 0.0 } {
            return paper.text(&more, (at, y), Anchor::Left, SIZE, theme.text_3);
        }
        paper.rect(at, y - 4.5, 9.0, 9.0, layer.colour)?;
        paper.text(&layer.name, (at + 14.0, y), Anchor::Left, SIZE, theme.text_2)?;
        at += wide + 14.0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_parts_two_runs() {
        assert_eq!(runs(&[0, 10, 20, 100, 110], 30), [(0, 2), (3, 4)]);
        assert_eq!(runs(&[], 30), []);
        assert_eq!(runs(&[5], 30), [(0, 0)]);
    }

    #[test]
    fn an_agent_that_is_missing_at_a_time_held_nothing_then() {
        assert_eq!(aligned(&[0, 10, 20, 30], &[(5, 9), (10, 7), (30, 8)]), [0.0, 7.0, 0.0, 8.0]);
    }

    #[test]
    fn an_area_is_drawn_only_where_there_is_one() {
        let lower: Vec<(f64, f64)> = (0..6).map(|n| (f64::from(n), 100.0)).collect();
        let mut upper = lower.clone();
        for n in [2, 3] {
            upper[n].1 = 50.0;
        }
        let bands = bands(&upper, &lower);
        assert_eq!(bands.len(), 1);
        let xs: Vec<f64> = bands[0].iter().map(|p| p.0).collect();
        assert_eq!(xs, [1.0, 2.0, 3.0, 4.0, 4.0, 3.0, 2.0, 1.0]);
    }
}
