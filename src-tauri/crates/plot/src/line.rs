//! One figure over time, small: the mean as a line over its area, the maximum as a fainter line above.

use plotters::prelude::SVGBackend;

use crate::FINE;
use crate::axis::{date, time_of_day};
use crate::paper::{Anchor, Paper};
use crate::svg;
use crate::theme::{Colour, Theme};

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LinePoint {
    /// Seconds since 1970.
    pub time: i64,
    pub mean: f64,
    pub max: f64,
}

/// A figure from `from` to `to`.
#[derive(Debug, Clone)]
pub struct Line {
    /// "Thor: KV cache in use".
    pub title: String,
    pub colour: Colour,
    pub from: i64,
    pub to: i64,
    /// Seconds that local time is ahead of UTC.
    pub offset: i64,
    /// Where nothing was kept for longer than this many seconds, nothing is drawn.
    pub gap: i64,
    /// The top of the picture at least: 1 for a share.
    pub at_least: f64,
    /// What is written at the top: the figure in words.
    pub shown: fn(f64) -> String,
}

/// `width` and `height` in pixels.
pub fn line_svg(line: &Line, points: &[LinePoint], theme: &Theme, width: u32, height: u32) -> String {
    let (width, height) = (width.clamp(80, 2000), height.clamp(40, 1000));
    let mut body = String::new();
    {
        let backend = SVGBackend::with_string(&mut body, (width * FINE, height * FINE));
        let paper = Paper::new(backend, f64::from(FINE), 0.0);
        // As in `sheet_svg`: nothing here can fail but the font, which is compiled in.
        let _ = draw(&paper, line, points, theme, f64::from(width), f64::from(height));
    }
    svg::document(&body, "", &line.title, width, height, FINE)
}

fn draw<DB: plotters::prelude::DrawingBackend>(
    paper: &Paper<DB>,
    line: &Line,
    points: &[LinePoint],
    theme: &Theme,
    width: f64,
    height: f64,
) -> Result<(), crate::NotDrawn> {
    let good = |p: &&LinePoint| {
        (line.from..=line.to).contains(&p.time) && p.mean.is_finite() && p.max.is_finite() && p.mean >= 0.0
    };
    let points: Vec<&LinePoint> = points.iter().filter(good).collect();
    let top = points.iter().map(|p| p.max.max(p.mean)).fold(line.at_least, f64::max);
    let top = if top > 0.0 { top } else { 1.0 };
    let (ceiling, floor, left, right) = (14.0, height - 15.0, 1.0, width - 1.0);
    let span = (line.to - line.from).max(1) as f64;
    let x = |time: i64| left + (time - line.from) as f64 / span * (right - left);
    let y = |value: f64| floor - (value / top).clamp(0.0, 1.0) * (floor - ceiling);

    paper.rect(left, ceiling, right - left, floor - ceiling, theme.mem_free)?;
    paper.stroke(&[(left, ceiling), (right, ceiling)], theme.line, 1.0, 2)?;
    let mut run: Vec<&LinePoint> = Vec::new();
    for (n, point) in points.iter().enumerate() {
        run.push(point);
        let next = points.get(n + 1);
        if next.is_some_and(|next| next.time - point.time <= line.gap) {
            continue;
        }
        let end = (point.time + line.gap / 2).min(line.to);
        let edge = |value: fn(&LinePoint) -> f64| -> Vec<(f64, f64)> {
            let mut edge: Vec<(f64, f64)> = run.iter().map(|p| (x(p.time), y(value(p)))).collect();
            edge.extend(run.last().map(|p| (x(end), y(value(p)))));
            edge
        };
        let mean = edge(|p| p.mean);
        let mut area = mean.clone();
        area.extend([(x(end), floor), (mean.first().map_or(left, |p| p.0), floor)]);
        paper.fill(&area, line.colour, 0.22)?;
        paper.stroke(&edge(|p| p.max.max(p.mean)), line.colour, 0.5, 1)?;
        paper.stroke(&mean, line.colour, 1.0, 3)?;
        run.clear();
    }
    paper.stroke(&[(left, floor), (right, floor)], theme.text_3, 1.0, 2)?;
    paper.text(&(line.shown)(top), (right, 6.0), Anchor::Right, 10.0, theme.text_3)?;
    let moment = |time: i64| {
        if line.to - line.from > 2 * 86_400 {
            date(time, line.offset)
        } else {
            time_of_day(time, line.offset)
        }
    };
    paper.text(&moment(line.from), (left, height - 6.0), Anchor::Left, 10.0, theme.text_3)?;
    paper.text(&moment(line.to), (right, height - 6.0), Anchor::Right, 10.0, theme.text_3)?;
    if points.is_empty() {
        let words = "nothing recorded";
        let middle = (f64::midpoint(left, right), f64::midpoint(ceiling, floor));
        paper.text(words, middle, Anchor::Middle, 10.0, theme.text_3)?;
    }
    paper.done()
}
