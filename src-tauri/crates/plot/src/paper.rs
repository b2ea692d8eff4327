//! What is drawn on: plotters' backends, in pixels with fractions, and the one font.

use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::prelude::{
    DrawingArea, DrawingBackend, FontStyle, IntoDrawingArea, IntoFont, PathElement, Polygon, Rectangle, Text,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoTextStyle, RGBColor, register_font};

use crate::NotDrawn;
use crate::theme::Colour;

/// The family's name in the drawing; an SVG names the desktop's own before it.
pub(crate) const FAMILY: &str = "sans-serif";

/// plotters takes a size of text that is this much larger than the one it writes into an SVG.
const PLOTTERS_SIZE: f64 = 1.24;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Left,
    Middle,
    Right,
}

pub(crate) struct Paper<DB: DrawingBackend> {
    area: DrawingArea<DB, Shift>,
    scale: f64,
    /// By how much of its size a text is moved down: the bitmap sets its middle higher than an SVG does.
    nudge: f64,
}

fn font_is_there() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    *REGISTERED.get_or_init(|| register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular()).is_ok())
}

fn rgb(colour: Colour) -> RGBColor {
    RGBColor(colour.0, colour.1, colour.2)
}

impl<DB: DrawingBackend> Paper<DB> {
    pub(crate) fn new(backend: DB, scale: f64, nudge: f64) -> Self {
        font_is_there();
        Self { area: backend.into_drawing_area(), scale, nudge }
    }

    #[expect(clippy::cast_possible_truncation, reason = "bounded to what no picture reaches")]
    fn px(&self, value: f64) -> i32 {
        (value * self.scale).round().clamp(-100_000.0, 100_000.0) as i32
    }

    fn points(&self, points: &[(f64, f64)]) -> Vec<(i32, i32)> {
        let mut all: Vec<(i32, i32)> = points.iter().map(|(x, y)| (self.px(*x), self.px(*y))).collect();
        all.dedup();
        all
    }

    pub(crate) fn rect(
        &self,
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        colour: Colour,
    ) -> Result<(), NotDrawn> {
        let corners = [(self.px(x), self.px(y)), (self.px(x + width), self.px(y + height))];
        self.area.draw(&Rectangle::new(corners, rgb(colour).filled())).map_err(not_drawn)
    }

    pub(crate) fn fill(&self, points: &[(f64, f64)], colour: Colour, opacity: f64) -> Result<(), NotDrawn> {
        let points = self.points(points);
        if points.len() < 3 {
            return Ok(());
        }
        self.area.draw(&Polygon::new(points, rgb(colour).mix(opacity).filled())).map_err(not_drawn)
    }

    /// `width` in device pixels.
    pub(crate) fn stroke(
        &self,
        points: &[(f64, f64)],
        colour: Colour,
        opacity: f64,
        width: u32,
    ) -> Result<(), NotDrawn> {
        let points = self.points(points);
        if points.len() < 2 {
            return Ok(());
        }
        let style = rgb(colour).mix(opacity).stroke_width(width);
        self.area.draw(&PathElement::new(points, style)).map_err(not_drawn)
    }

    /// A text whose middle is at the height `y`. Control characters, which no XML may hold, are left out.
    pub(crate) fn text(
        &self,
        text: &str,
        (x, y): (f64, f64),
        from: Anchor,
        size: f64,
        colour: Colour,
    ) -> Result<(), NotDrawn> {
        let text = clean(text);
        if text.is_empty() {
            return Ok(());
        }
        let horizontal = match from {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let style = (FAMILY, size * PLOTTERS_SIZE * self.scale)
            .into_font()
            .color(&rgb(colour))
            .pos(Pos::new(horizontal, VPos::Center));
        self.area
            .draw(&Text::new(text, (self.px(x), self.px(y + size * self.nudge)), style))
            .map_err(not_drawn)
    }

    /// How wide a text is, in pixels, in the font that is compiled in: one of the wider ones.
    pub(crate) fn width(&self, text: &str, size: f64) -> f64 {
        let style = (FAMILY, size * PLOTTERS_SIZE * self.scale).into_text_style(&self.area);
        self.area
            .estimate_text_size(&clean(text), &style)
            .map_or(size * 0.6 * text.chars().count() as f64, |(w, _)| f64::from(w) / self.scale)
    }

    pub(crate) fn done(&self) -> Result<(), NotDrawn> {
        self.area.present().map_err(not_drawn)
    }
}

fn not_drawn(error: impl std::fmt::Display) -> NotDrawn {
    NotDrawn(error.to_string())
}

/// Without what XML 1.0 forbids, and without what turns the direction of writing around.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .filter(|c| {
            !c.is_control()
                && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                && !matches!(c, '\u{fffe}' | '\u{ffff}')
        })
        .collect()
}
