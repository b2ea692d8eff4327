//! From what the database kept to pictures: which step, which colours, which words.

use api::shapes::history::{
    AgentHistories, AgentHistory, AgentHistoryRequest, FigureHistory, History, HistoryMark, HistoryRequest,
    Picture, PictureFormat, PictureRequest, PictureTheme, PoolHistory,
};
use api::{ApiError, Code};
use domain::memory::{Bytes, Unit};
use jiff::{SignedDuration, Timestamp};
use plot::{Line, LinePoint, PoolPicture, Theme};
use store::database::{Database, DatabaseError, Figure, Point};

const HOUR: f64 = 3600.0;
/// A year and a day.
const MOST_HOURS: f64 = 8784.0;
/// How many of the latest events are looked through for a picture.
const EVENTS: u32 = 2000;
/// Readings are 30 s apart, and a minute where everybody sleeps; one may be late.
const GAP: i64 = 200;

/// Who and what the pictures are of.
pub(super) struct Household {
    /// In the order of the machine, by id.
    pub(super) pools: Vec<(String, Known)>,
    /// In the order of the stack.
    pub(super) agents: Vec<Agent>,
}

#[derive(Clone)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) capacity: Option<u64>,
}

pub(super) struct Agent {
    pub(super) name: String,
    pub(super) display_name: String,
    pub(super) colour: Option<String>,
}

pub(super) fn checked(hours: f64) -> Result<(), ApiError> {
    if hours.is_finite() && (0.05..=MOST_HOURS).contains(&hours) {
        return Ok(());
    }
    Err(ApiError::new(
        Code::Usage,
        format!("A history of {hours} hours cannot be drawn."),
        "Ask for 0.05 to 8784 hours: three minutes to a year.",
    ))
}

pub(super) fn pool_known(household: &Household, pool: &str) -> Result<(), ApiError> {
    if household.pools.iter().any(|(id, _)| id == pool) {
        return Ok(());
    }
    let ids: Vec<&str> = household.pools.iter().map(|(id, _)| id.as_str()).collect();
    Err(ApiError::new(
        Code::Unknown,
        format!("There is no pool {pool:?} on this machine."),
        format!("There is: {}.", ids.join(", ")),
    ))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands on")]
fn refused(error: DatabaseError) -> ApiError {
    ApiError::new(Code::Failed, error.to_string(), "")
}

fn theme(wanted: PictureTheme) -> Theme {
    match wanted {
        PictureTheme::Dark => Theme::DARK,
        PictureTheme::Light => Theme::LIGHT,
    }
}

/// A time in numbers: from, to, seconds for each point, the longest silence that is no gap.
struct Span {
    from: Timestamp,
    to: Timestamp,
    step: i64,
    gap: i64,
    /// Seconds that local time is ahead of UTC at its end.
    offset: i64,
    words: String,
}

#[expect(clippy::cast_possible_truncation, reason = "hours were checked to be a year at most")]
fn span(hours: f64, width: u32, now: Timestamp) -> Span {
    let seconds = (hours * HOUR).round() as i64;
    let from = now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::UNIX_EPOCH);
    // Two pixels for each point; whole minutes or hours where that is what is kept.
    let fine = seconds / i64::from((width / 2).clamp(50, 1000));
    let grain = if seconds > 7 * 24 * 3600 {
        3600
    } else if seconds > 3600 {
        60
    } else {
        10
    };
    let step = (fine + grain - 1).max(grain) / grain * grain;
    let zone = jiff::tz::TimeZone::system();
    let words = match hours {
        h if (h - 1.0).abs() < 0.01 => "last hour".to_owned(),
        h if h < 1.0 => format!("last {} minutes", (h * 60.0).round()),
        h if h < 48.0 => format!("last {} hours", (h * 10.0).round() / 10.0),
        h if h > 8700.0 => "last year".to_owned(),
        h => format!("last {} days", (h / 24.0).round()),
    };
    Span {
        from,
        to: now,
        step,
        gap: GAP.max(step * 3),
        offset: i64::from(zone.to_offset(now).seconds()),
        words,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the database keeps zero and more"
)]
fn bytes(points: &[Point], span: &Span) -> Vec<(i64, u64)> {
    // The first bucket begins before the picture does.
    points.iter().map(|p| (p.time.max(span.from.as_second()), p.mean.max(0.0) as u64)).collect()
}

fn pictures(
    db: &Database,
    household: &Household,
    only: Option<&str>,
    span: &Span,
    theme: &Theme,
) -> Result<Vec<(String, PoolPicture)>, ApiError> {
    let events = db.events(EVENTS).map_err(refused)?;
    let mut all = Vec::new();
    for (id, known) in household.pools.iter().filter(|(id, _)| only.is_none_or(|o| o == id)) {
        let kept = db.pool_history(id, span.from, span.to, span.step).map_err(refused)?;
        let gone: Vec<&str> = kept
            .agents
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !household.agents.iter().any(|a| a.name == *name))
            .collect();
        // Those of the stack in its order, as the window gives them their colours; then those that left it.
        let in_stack = household.agents.iter().map(|a| (a.name.as_str(), a.colour.as_deref()));
        let wardrobe: Vec<(&str, Option<&str>)> =
            in_stack.chain(gone.into_iter().map(|n| (n, None))).collect();
        let colours = plot::dressed(&wardrobe, theme);
        let colour =
            |name: &str| wardrobe.iter().position(|(n, _)| *n == name).and_then(|n| colours.get(n)).copied();
        let series = wardrobe
            .iter()
            .zip(&colours)
            .filter_map(|((name, _), colour)| {
                let (_, points) = kept.agents.iter().find(|(n, _)| n == name)?;
                let display =
                    household.agents.iter().find(|a| a.name == *name).map(|a| a.display_name.clone());
                let agent = display.unwrap_or_else(|| (*name).to_owned());
                Some(plot::Series { agent, colour: *colour, points: bytes(points, span) })
            })
            .collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "zero and more")]
        let latest = |points: &[Point]| points.last().map(|p| p.mean as u64).filter(|b| *b > 0);
        let capacity = latest(&kept.capacity).or(known.capacity);
        let most = capacity.or_else(|| latest(&kept.used));
        let picture = PoolPicture {
            title: format!("{}, {}", known.name, span.words),
            unit: most.map_or(Unit::Gb, |b| Unit::for_capacity(Bytes(b))),
            from: span.from.as_second(),
            to: span.to.as_second(),
            offset: span.offset,
            gap: span.gap,
            limit: latest(&kept.limit),
            capacity,
            series,
            other: bytes(&kept.other, span),
            lost: bytes(&kept.lost, span),
            events: events
                .iter()
                .filter(|e| e.time >= span.from && e.time <= span.to)
                .map(|e| plot::Event {
                    time: e.time.as_second(),
                    agent: e.agent.clone(),
                    colour: e.agent.as_deref().and_then(colour),
                    text: e.message.clone(),
                })
                .collect(),
        };
        all.push((id.clone(), picture));
    }
    Ok(all)
}

/// Pools as they were read, to be drawn without the database.
pub(super) struct Read {
    pictures: Vec<(String, PoolPicture)>,
    span: Span,
    theme: Theme,
}

pub(super) fn read(
    db: &Database,
    household: &Household,
    (pool, hours, wanted, width): (Option<&str>, f64, PictureTheme, u32),
    now: Timestamp,
) -> Result<Read, ApiError> {
    if let Some(pool) = pool {
        pool_known(household, pool)?;
    }
    let (span, theme) = (span(hours, width, now), theme(wanted));
    let pictures = pictures(db, household, pool, &span, &theme)?;
    Ok(Read { pictures, span, theme })
}

pub(super) fn pools(read: Read, household: &Household, asked: &HistoryRequest) -> History {
    let Read { pictures, span, theme } = read;
    let name = |id: &str| household.pools.iter().find(|(i, _)| i == id).map(|(_, k)| k.name.clone());
    let pools = pictures.into_iter().map(|(id, picture)| PoolHistory {
        name: name(&id).unwrap_or_default(),
        recorded: !picture.other.is_empty(),
        svg: plot::pools_svg(&picture, &theme, asked.width, asked.height),
        summary: plot::summary(&picture),
        from: span.from.to_string(),
        to: span.to.to_string(),
        marks: plot::marks(&picture, asked.width)
            .into_iter()
            .map(|m| HistoryMark { x: m.x, texts: m.texts })
            .collect(),
        id,
    });
    History { pools: pools.collect() }
}

pub(super) fn picture(read: Read, asked: &PictureRequest) -> Result<Picture, ApiError> {
    let theme = read.theme;
    let pictures: Vec<PoolPicture> = read.pictures.into_iter().map(|(_, picture)| picture).collect();
    let summary: Vec<String> = pictures.iter().map(plot::summary).collect();
    let bytes = match asked.format {
        PictureFormat::Svg => plot::sheet_svg(&pictures, &theme, asked.width, asked.height).into_bytes(),
        PictureFormat::Png => plot::png(&pictures, &theme, asked.width, asked.height)
            .map_err(|e| ApiError::new(Code::Failed, e.to_string(), "Ask for an SVG instead."))?,
    };
    let hours = (asked.hours * 10.0).round() / 10.0;
    let name = format!("asgard-memory-{hours}h.{}", asked.format.word());
    Ok(Picture::new(name, asked.format, &bytes, summary.join("\n")))
}

fn percent(value: f64) -> String {
    format!("{:.0}\u{a0}%", value * 100.0)
}

fn count(value: f64) -> String {
    if (value - value.round()).abs() < 0.05 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn seconds(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}\u{a0}s") } else { format!("{value:.0}\u{a0}s") }
}

/// What a figure is called, how it is written, and how high its picture is at least.
fn about(figure: Figure) -> (&'static str, fn(f64) -> String, f64) {
    match figure {
        Figure::KvCacheUsed => ("KV cache in use", percent, 1.0),
        Figure::TokensPerSecond => ("Tokens a second", count, 1.0),
        Figure::Running => ("Requests under way", count, 1.0),
        Figure::Waiting => ("Requests waiting", count, 1.0),
        Figure::TimeToFirstToken => ("Time to first token", seconds, 0.1),
        Figure::Preemptions => ("Preemptions a minute", count, 1.0),
    }
}

pub(super) fn agents(
    db: &Database,
    household: &Household,
    asked: &AgentHistoryRequest,
    now: Timestamp,
) -> Result<AgentHistories, ApiError> {
    let (span, theme) = (span(asked.hours, asked.width, now), theme(asked.theme));
    let wardrobe: Vec<(&str, Option<&str>)> =
        household.agents.iter().map(|a| (a.name.as_str(), a.colour.as_deref())).collect();
    let mut all = Vec::new();
    for (agent, colour) in household.agents.iter().zip(plot::dressed(&wardrobe, &theme)) {
        if asked.agent.as_ref().is_some_and(|only| *only != agent.name) {
            continue;
        }
        let kept = db.figure_history(&agent.name, span.from, span.to, span.step).map_err(refused)?;
        let figures: Vec<FigureHistory> = kept
            .into_iter()
            .map(|(figure, points)| {
                let (name, shown, at_least) = about(figure);
                let from = span.from.as_second();
                let line = Line {
                    title: format!("{}: {name}, {}", agent.display_name, span.words),
                    colour,
                    from,
                    to: span.to.as_second(),
                    offset: span.offset,
                    gap: span.gap,
                    at_least,
                    shown,
                };
                let points: Vec<LinePoint> = points
                    .iter()
                    .map(|p| LinePoint { time: p.time.max(from), mean: p.mean, max: p.max })
                    .collect();
                let latest = points.last().map_or(0.0, |p| p.mean);
                let highest = points.iter().map(|p| p.max).fold(0.0, f64::max);
                let words = |v: f64| shown(v).replace('\u{a0}', " ");
                FigureHistory {
                    figure: figure.word().to_owned(),
                    name: name.to_owned(),
                    latest: shown(latest),
                    svg: plot::line_svg(&line, &points, &theme, asked.width, asked.height),
                    summary: format!(
                        "{}: {} at the end, {} at most.",
                        line.title,
                        words(latest),
                        words(highest)
                    ),
                }
            })
            .collect();
        if !figures.is_empty() {
            all.push(AgentHistory { agent: agent.name.clone(), figures });
        }
    }
    Ok(AgentHistories { agents: all })
}
