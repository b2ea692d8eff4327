//! Pictures as a reader finds them: well-formed, without anything that runs or is fetched, with every word in place.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that fails says so; amounts are small"
)]

use domain::memory::{GIB, Unit};
use plot::{
    Event, Line, LinePoint, PoolPicture, Series, Theme, dressed, line_svg, marks, png, pools_svg, sheet_svg,
    summary,
};
use proptest::prelude::*;

const STEP: i64 = 120;
const START: i64 = 1_795_000_000;

/// A day: Thor all the time, Odin for some hours, a gap of two hours.
fn day(theme: &Theme) -> PoolPicture {
    let hours = |n: i64| START + n * 3600;
    let read: Vec<i64> =
        (0..720).map(|n| START + n * STEP).filter(|t| !(hours(9)..hours(11)).contains(t)).collect();
    let colours = dressed(&[("thor", None), ("odin", None)], theme);
    let wave = |t: &i64, base: f64| ((base + ((t % 7200) as f64 / 7200.0)) * GIB as f64) as u64;
    PoolPicture {
        title: "Unified memory, last 24 hours".into(),
        unit: Unit::Gb,
        from: START,
        to: hours(24),
        offset: 7200,
        gap: 400,
        limit: Some(96 * GIB),
        capacity: Some(104 * GIB),
        series: vec![
            Series {
                agent: "Thor".into(),
                colour: colours[0],
                points: read.iter().map(|t| (*t, wave(t, 21.0))).collect(),
            },
            Series {
                agent: "Odin".into(),
                colour: colours[1],
                points: read
                    .iter()
                    .filter(|t| (hours(5)..hours(18)).contains(*t))
                    .map(|t| (*t, wave(t, 48.0)))
                    .collect(),
            },
        ],
        other: read.iter().map(|t| (*t, wave(t, 7.0))).collect(),
        lost: read.iter().filter(|t| **t > hours(20)).map(|t| (*t, 10 * GIB)).collect(),
        events: vec![
            Event {
                time: hours(5),
                agent: Some("odin".into()),
                colour: Some(colours[1]),
                text: "Odin ready in 38 s".into(),
            },
            Event {
                time: hours(18),
                agent: Some("odin".into()),
                colour: Some(colours[1]),
                text: "Odin stopped".into(),
            },
            Event {
                time: hours(18) + 30,
                agent: None,
                colour: None,
                text: "10.0 GB did not come back".into(),
            },
        ],
    }
}

fn texts(svg: &str) -> Vec<String> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let all = document.descendants().filter(|n| n.has_tag_name("text") || n.has_tag_name("title"));
    all.filter_map(|n| n.text()).map(|t| t.trim().to_owned()).collect()
}

/// Nothing in it runs, styles or fetches.
fn assert_harmless(svg: &str) {
    let document = roxmltree::Document::parse(svg).unwrap();
    let known = ["svg", "title", "rect", "polygon", "polyline", "line", "text", "circle"];
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        assert!(known.contains(&node.tag_name().name()), "<{}>", node.tag_name().name());
        for attribute in node.attributes() {
            let (name, value) = (attribute.name(), attribute.value());
            assert!(!name.starts_with("on") && !name.ends_with("href") && name != "style", "{name}");
            assert!(
                !value.contains("url(") && !value.contains("NaN") && !value.contains("inf"),
                "{name}={value}"
            );
        }
    }
}

fn keep(name: &str, bytes: &[u8]) {
    // For looking at them: PICTURES=folder cargo test -p plot
    if let Ok(folder) = std::env::var("PICTURES") {
        std::fs::write(std::path::Path::new(&folder).join(name), bytes).unwrap();
    }
}

#[test]
fn a_day_of_a_pool_has_its_names_amounts_and_times() {
    for theme in [Theme::DARK, Theme::LIGHT] {
        let svg = pools_svg(&day(&theme), &theme, 900, 280);
        keep(&format!("day-{}.svg", theme.name), svg.as_bytes());
        assert_harmless(&svg);
        let texts = texts(&svg);
        for word in
            ["Thor", "Odin", "Other programs", "Did not come back", "32\u{a0}GB", "limit 96.0\u{a0}GB"]
        {
            assert!(texts.iter().any(|t| t == word), "{word} is missing: {texts:?}");
        }
        // 1 795 000 000 is 11:06:40 UTC, two hours later here.
        assert!(texts.iter().any(|t| t == "18:00"), "{texts:?}");
        assert!(texts.iter().any(|t| t.ends_with("Odin ready in 38 s")), "{texts:?}");
        assert!(
            texts.iter().any(|t| t.contains("Odin stopped\n") && t.contains("10.0 GB did not")),
            "{texts:?}"
        );
        let hue = theme.hue("odin").unwrap();
        assert!(svg.contains(&format!("#{:02X}{:02X}{:02X}", hue.0, hue.1, hue.2)));
    }
}

#[test]
fn nothing_is_drawn_over_a_gap() {
    let theme = Theme::DARK;
    let mut picture = day(&theme);
    picture.series.clear();
    picture.lost.clear();
    let areas = |picture: &PoolPicture| {
        let svg = pools_svg(picture, &theme, 900, 280);
        let colour =
            format!("#{:02X}{:02X}{:02X}", theme.mem_system.0, theme.mem_system.1, theme.mem_system.2);
        let document = roxmltree::Document::parse(&svg).unwrap();
        let spans: Vec<(i64, i64)> = document
            .descendants()
            .filter(|n| n.has_tag_name("polygon") && n.attribute("fill") == Some(&colour))
            .map(|n| {
                let xs =
                    n.attribute("points").unwrap().split_whitespace().map(|p| p.split_once(',').unwrap().0);
                let xs: Vec<i64> = xs.map(|x| x.parse().unwrap()).collect();
                (*xs.iter().min().unwrap(), *xs.iter().max().unwrap())
            })
            .collect();
        spans
    };
    let parted = areas(&picture);
    assert_eq!(parted.len(), 2, "{parted:?}");
    // Two of 24 hours, less what a reading holds on for.
    assert!(parted[1].0 - parted[0].1 > 120, "{parted:?}");
    picture.gap = 3 * 3600;
    assert_eq!(areas(&picture).len(), 1, "a longer gap is allowed, so it is one area");
}

#[test]
fn text_from_outside_stays_text() {
    let theme = Theme::LIGHT;
    let mut picture = day(&theme);
    let nasty =
        "</text><script>alert(1)</script>&\"' onload=x \u{1}\u{202e}\u{ffff} font-family=\"sans-serif\"";
    picture.title = nasty.into();
    picture.series[0].agent = nasty.into();
    picture.events[0].text = format!("]]>{nasty}<!--");
    let svg = sheet_svg(&[picture.clone(), day(&theme)], &theme, 700, 220);
    assert_harmless(&svg);
    assert!(!svg.contains("<script") && !svg.contains('\u{1}') && !svg.contains('\u{202e}'));
    let texts = texts(&svg);
    assert!(
        texts
            .iter()
            .any(|t| t
                .starts_with("</text><script>alert(1)</script>&\"' onload=x  font-family=\"sans-serif\"")),
        "{texts:?}"
    );
    assert!(marks(&picture, 700).iter().all(|m| (0.0..=1.0).contains(&m.x)));
    png(&[picture], &theme, 700, 220).unwrap();
}

#[test]
fn a_png_decodes_and_shows_the_same() {
    let theme = Theme::DARK;
    let bytes = png(&[day(&theme), day(&theme)], &theme, 640, 220).unwrap();
    keep("day-dark.png", &bytes);
    let mut reader = png_reader(&bytes);
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (1280, 880));
    let count = |c: plot::Colour| pixels.chunks_exact(3).filter(|p| *p == [c.0, c.1, c.2]).count();
    let all = pixels.len() / 3;
    assert!(count(theme.surface) < all * 9 / 10, "it is blank");
    for hue in ["thor", "odin"] {
        assert!(count(theme.hue(hue).unwrap()) > all / 100, "{hue} is not seen");
    }
    assert!(count(theme.text) > 50, "there are no words in it");
}

fn png_reader(bytes: &[u8]) -> ::png::Reader<std::io::Cursor<&[u8]>> {
    ::png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap()
}

#[test]
fn an_empty_pool_says_so() {
    let theme = Theme::DARK;
    let picture = PoolPicture { series: vec![], other: vec![], lost: vec![], events: vec![], ..day(&theme) };
    let svg = pools_svg(&picture, &theme, 900, 280);
    assert!(texts(&svg).iter().any(|t| t == "Nothing was recorded in this time."));
    assert!(summary(&picture).ends_with("nothing was recorded in this time."));
    png(&[], &theme, 900, 280).unwrap();
}

#[test]
fn the_words_say_what_the_picture_shows() {
    let words = summary(&day(&Theme::DARK));
    for part in [
        "Unified memory, last 24 hours: between ",
        " of 96.0 GB in use, ",
        "Thor: at most 2",
        "Odin: at most 4",
        "Nothing was recorded once in between.",
        "3 events.",
    ] {
        assert!(words.contains(part), "{part:?} is not in {words:?}");
    }
}

fn line(title: &str) -> Line {
    Line {
        title: title.into(),
        colour: Theme::DARK.hues[0],
        from: START,
        to: START + 3600,
        offset: 0,
        gap: 200,
        at_least: 1.0,
        shown: |v| format!("{:.0}\u{a0}%", v * 100.0),
    }
}

#[test]
fn a_figure_is_a_small_picture() {
    let points: Vec<LinePoint> = (0..60)
        .filter(|n| !(20..30).contains(n))
        .map(|n| LinePoint { time: START + n * 60, mean: n as f64 / 100.0, max: n as f64 / 80.0 })
        .collect();
    let svg = line_svg(&line("Thor: KV cache <in use>"), &points, &Theme::DARK, 220, 72);
    keep("line.svg", svg.as_bytes());
    assert_harmless(&svg);
    let texts = texts(&svg);
    assert!(
        texts.iter().any(|t| t == "100\u{a0}%") && texts.iter().any(|t| t == "Thor: KV cache <in use>"),
        "{texts:?}"
    );
    assert_eq!(svg.matches("<polygon").count(), 2, "one area on each side of the gap");
    assert!(line_svg(&line("x"), &[], &Theme::DARK, 220, 72).contains("nothing recorded"));
}

proptest! {
    /// Whatever is in it, it is a document, and within its frame.
    #[test]
    fn any_picture_is_well_formed(
        title in ".*",
        names in prop::collection::vec(".*", 0..8),
        points in prop::collection::vec((any::<i32>(), any::<u64>()), 0..40),
        from in -4_000_000_000i64..4_000_000_000,
        span in -10i64..40_000_000,
        offset in -50_000i64..50_000,
        gap in -5i64..100_000,
        limit in prop::option::of(any::<u64>()),
        (width, height) in (0u32..3000, 0u32..600),
    ) {
        let mut points: Vec<(i64, u64)> = points.into_iter().map(|(t, b)| (from + i64::from(t) % 1000, b)).collect();
        points.sort_unstable();
        let picture = PoolPicture {
            title,
            unit: Unit::Gb,
            from,
            to: from + span,
            offset,
            gap,
            limit,
            capacity: limit,
            series: names.iter().map(|n| Series { agent: n.clone(), colour: Theme::DARK.bad, points: points.clone() }).collect(),
            other: points.clone(),
            lost: points.clone(),
            events: names.iter().map(|n| Event { time: from + 5, agent: None, colour: None, text: n.clone() }).collect(),
        };
        assert_harmless(&pools_svg(&picture, &Theme::LIGHT, width, height));
        summary(&picture);
        let values: Vec<LinePoint> = points.iter().map(|(t, b)| LinePoint { time: *t, mean: f64::from_bits(*b), max: f64::from_bits(!*b) }).collect();
        assert_harmless(&line_svg(&Line { from, to: from + span, gap, offset, ..line("x") }, &values, &Theme::DARK, width, height));
    }
}
