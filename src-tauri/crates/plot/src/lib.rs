//! Pictures of what memory was used for, over time: stacked by agent, and small ones of a single figure. Pure: data in,
//! SVG or PNG out; no clock, no file, no locale.
//!
//! One drawing serves both kinds. An SVG holds shapes and escaped text alone: no script, no style sheet, nothing that is
//! fetched. Times are seconds since 1970; those shown are local, by an offset that the caller passes in.
//!
//! Deliberately absent: interaction. The words of events are `<title>`s, and [`marks`] says where they stand, so that a
//! page can lay its own hints over a picture that it shows as an image.

mod axis;
mod line;
mod paper;
mod pool;
mod svg;
mod theme;

pub use line::{Line, LinePoint, line_svg};
pub use pool::{Event, Mark, PoolPicture, Series, marks, summary};
pub use theme::{Colour, HUES, Theme, dressed};

use plotters::prelude::{BitMapBackend, SVGBackend};

use paper::Paper;

/// Device pixels for each pixel asked for: of an SVG's inner grid, which has whole numbers only, and of a PNG, which is
/// looked at on screens that have two.
const FINE: u32 = 2;
/// Larger pictures are cut to this: a PNG of it takes 50 MB while it is drawn.
const LARGEST: u32 = 4000;

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotDrawn(pub String);

impl std::fmt::Display for NotDrawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "The picture could not be drawn: {}.", self.0)
    }
}

impl std::error::Error for NotDrawn {}

fn bounded(width: u32, height: u32) -> (u32, u32) {
    (width.clamp(160, LARGEST), height.clamp(80, LARGEST))
}

/// One pool. `width` and `height` in pixels.
pub fn pools_svg(picture: &PoolPicture, theme: &Theme, width: u32, height: u32) -> String {
    sheet_svg(std::slice::from_ref(picture), theme, width, height)
}

/// Several pools below each other, each `height` high.
pub fn sheet_svg(pictures: &[PoolPicture], theme: &Theme, width: u32, height: u32) -> String {
    let (width, height) = bounded(width, height);
    let total = sheet_height(pictures.len(), height);
    let mut body = String::new();
    {
        let backend = SVGBackend::with_string(&mut body, (width * FINE, total * FINE));
        let paper = Paper::new(backend, f64::from(FINE), 0.0);
        // Nothing that is drawn here can fail but the font, which is compiled in.
        let _ = draw_sheet(&paper, pictures, theme, f64::from(width), f64::from(height), f64::from(total));
    }
    let mut hints = String::new();
    for (n, picture) in (0u32..).zip(pictures) {
        hints.push_str(&svg::hints(picture, f64::from(width), f64::from(height), f64::from(n * height)));
    }
    let title = pictures.iter().map(|p| p.title.as_str()).collect::<Vec<_>>().join("; ");
    svg::document(&body, &hints, &title, width, total, FINE)
}

/// The same as [`sheet_svg`], as a PNG of twice as many pixels.
///
/// # Errors
/// Only where the drawing itself fails, which is a fault of Asgard's.
pub fn png(pictures: &[PoolPicture], theme: &Theme, width: u32, height: u32) -> Result<Vec<u8>, NotDrawn> {
    let (width, height) = bounded(width, height);
    let total = sheet_height(pictures.len(), height);
    let size = (width * FINE, total * FINE);
    let mut pixels = vec![0u8; size.0 as usize * size.1 as usize * 3];
    {
        let backend = BitMapBackend::with_buffer(&mut pixels, size);
        let paper = Paper::new(backend, f64::from(FINE), 0.16);
        draw_sheet(&paper, pictures, theme, f64::from(width), f64::from(height), f64::from(total))?;
    }
    let not = |e: png::EncodingError| NotDrawn(e.to_string());
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(not)?;
    writer.write_image_data(&pixels).map_err(not)?;
    writer.finish().map_err(not)?;
    Ok(out)
}

fn sheet_height(pictures: usize, each: u32) -> u32 {
    let rows = u32::try_from(pictures.max(1)).unwrap_or(u32::MAX);
    each.saturating_mul(rows).min(LARGEST * 2)
}

fn draw_sheet<DB: plotters::prelude::DrawingBackend>(
    paper: &Paper<DB>,
    pictures: &[PoolPicture],
    theme: &Theme,
    width: f64,
    height: f64,
    total: f64,
) -> Result<(), NotDrawn> {
    paper.rect(0.0, 0.0, width, total, theme.surface)?;
    for (n, picture) in (0u32..).zip(pictures) {
        pool::draw(paper, picture, theme, width, height, f64::from(n) * height)?;
    }
    paper.done()
}
