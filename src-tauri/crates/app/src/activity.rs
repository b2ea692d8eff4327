//! What happened, in one line each: for the window's list, the database and the log.

use api::shapes::activity::Event as ActivityEvent;
use api::shapes::status::Severity;
use domain::agent::AgentName;
use jiff::Timestamp;
use store::database::Severity as Kept;

use crate::carry::Ctx;
use crate::state::Event;

/// Writes an event everywhere it is read.
pub(crate) fn happened(ctx: &Ctx, severity: Severity, agent: Option<&AgentName>, message: impl Into<String>) {
    let message = message.into();
    match severity {
        Severity::Info => tracing::info!(agent = agent.map(AgentName::as_str), "{message}"),
        Severity::Warning => tracing::warn!(agent = agent.map(AgentName::as_str), "{message}"),
        Severity::Failure => tracing::error!(agent = agent.map(AgentName::as_str), "{message}"),
    }
    let now = Timestamp::now();
    let event =
        ActivityEvent { time: now.to_string(), severity, agent: agent.map(ToString::to_string), message };
    ctx.state.note(Event::Happened(event.clone()));
    let world = ctx.world.clone();
    tokio::spawn(async move {
        let kept = match event.severity {
            Severity::Info => Kept::Info,
            Severity::Warning => Kept::Warning,
            Severity::Failure => Kept::Error,
        };
        world
            .database(move |db| {
                if let Err(error) = db.add_event(now, kept, event.agent.as_deref(), &event.message) {
                    tracing::warn!("An event could not be kept: {error}");
                }
            })
            .await;
    });
}

/// "38 s", "3 min 38 s".
pub(crate) fn duration(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let whole = seconds.round().clamp(0.0, 1e9) as u64;
    if whole < 60 {
        format!("{whole}\u{a0}s")
    } else {
        format!("{}\u{a0}min {}\u{a0}s", whole / 60, whole % 60)
    }
}
