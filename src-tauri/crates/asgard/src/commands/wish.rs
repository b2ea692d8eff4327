//! The wishes: switch, up, down, start, stop, restart. Each is one request; its progress is what `watch` and
//! `status` tell of it. The first Ctrl-C cancels and waits for the way back, the second leaves.

use api::client::Client;
use api::shapes::plans::{Outcome, OutcomeKind};
use api::shapes::status::{Status, Switching};
use api::{ApiError, Code};
use serde_json::{Value, json};

use crate::Answer;
use crate::reach;
use crate::screen::Screen;
use crate::words::duration;

use super::status::{doing, progress};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wish {
    Switch(String),
    Up(Option<String>),
    Down,
    Start(String),
    Stop(String),
    Restart(String),
    RestartWhenIdle(String),
    TakeRestartBack(String),
    Yield(Option<f64>),
    Resume,
}

impl Wish {
    fn request(&self) -> (&'static str, Value) {
        match self {
            Self::Switch(profile) => ("switch", json!({ "profile": profile })),
            Self::Up(profile) => ("up", json!({ "profile": profile })),
            Self::Down => ("down", json!({})),
            Self::Start(agent) => ("start", json!({ "agent": agent })),
            Self::Stop(agent) => ("stop", json!({ "agent": agent })),
            Self::Restart(agent) => ("restart", json!({ "agent": agent })),
            Self::RestartWhenIdle(agent) => ("restart_when_idle", json!({ "agent": agent })),
            Self::TakeRestartBack(agent) => ("take_restart_back", json!({ "agent": agent })),
            Self::Yield(hours) => ("yield", json!({ "hours": hours })),
            Self::Resume => ("resume", json!({})),
        }
    }

    /// Whether there is a point in starting a controller for it: where nothing runs there is nothing to stop.
    fn starts_one(&self) -> bool {
        matches!(self, Self::Switch(_) | Self::Up(_) | Self::Start(_))
    }

    /// Whether its progress is a stream with `--json`; the others are one document.
    fn streams(&self) -> bool {
        matches!(self, Self::Switch(_))
    }
}

pub(super) async fn run(screen: Screen, wish: Wish) -> Result<Answer, ApiError> {
    let client =
        if wish.starts_one() { reach::running_or_started(screen).await? } else { reach::running().await? };
    let mut interrupts = super::interrupts()?;
    let mut changes = client.open("watch", json!({}))?;
    let (cmd, payload) = wish.request();
    let answer = client.call_value(cmd, payload);
    tokio::pin!(answer);
    let mut lines = Lines::new(screen, wish.streams());
    let mut cancelling = false;
    let mut watching = true;
    let mut seen = None;
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut answer => break answer,
            heard = interrupts.recv() => {
                if heard.is_none() || cancelling {
                    lines.end();
                    return Err(left());
                }
                cancelling = true;
                lines.end();
                cancel(screen, &client).await;
            }
            change = changes.next(), if watching => match change {
                // What an earlier look has shown already needs none.
                Ok(Some(chunk)) if chunk.get("revision").and_then(Value::as_u64) <= seen => {}
                Ok(Some(_)) => {
                    // The answer says how it ended; a look at the state that fails here says nothing more.
                    if let Ok(status) = look(&client).await {
                        seen = Some(status.revision);
                        if let Some(switching) = &status.switching {
                            lines.show(switching);
                        }
                    }
                }
                Ok(None) | Err(_) => watching = false,
            },
        }
    };
    lines.end();
    let document = answer?;
    let outcome: Outcome = super::read(&document)?;
    screen.document(&document);
    screen.say(&closing(&outcome));
    Ok(match outcome.result {
        OutcomeKind::Done => Answer::Yes,
        OutcomeKind::Cancelled => Answer::No,
    })
}

async fn look(client: &Client) -> Result<Status, ApiError> {
    super::read(&client.call_value("status", json!({})).await?)
}

async fn cancel(screen: Screen, client: &Client) {
    screen.aside("Cancelling: what ran before is put back. Ctrl-C again leaves that to the controller.");
    if let Err(error) = client.call_value("cancel", json!({})).await {
        screen.aside(format!("{} {}", error.message, error.next).trim_end());
    }
}

fn left() -> ApiError {
    ApiError::new(
        Code::Cancelled,
        "This command ended; the controller goes on with putting back what ran before.",
        "See how it ends with: asgard status --watch",
    )
}

/// How it ended, and how long it took where that is worth saying.
fn closing(outcome: &Outcome) -> String {
    if outcome.seconds < 1.0 {
        return outcome.message.clone();
    }
    format!("{} It took {}.", outcome.message, duration(outcome.seconds))
}

/// Progress as lines: one that is drawn again on a terminal, one for each step elsewhere, a document for each step
/// with `--json`.
struct Lines {
    screen: Screen,
    streams: bool,
    /// The step that was shown last.
    shown: Option<(bool, u32, String, Option<String>)>,
    drawn: bool,
}

impl Lines {
    fn new(screen: Screen, streams: bool) -> Self {
        Self { screen, streams, shown: None, drawn: false }
    }

    fn show(&mut self, switching: &Switching) {
        if self.screen.terminal {
            // Back to the beginning, and the rest of the old line away.
            let text = crate::words::plain(&capital(&progress(switching)));
            self.screen.piece(&format!("\r\x1b[K{}", cut(&text, Screen::width())));
            self.drawn = true;
            return;
        }
        let step = (switching.undoing, switching.step, switching.stage.clone(), switching.agent.clone());
        if self.shown.as_ref() == Some(&step) {
            return;
        }
        if self.screen.json {
            if self.streams {
                self.screen.document(&json!({ "switching": switching }));
            }
        } else {
            self.screen.say(&line(switching));
        }
        self.shown = Some(step);
    }

    /// The line that was drawn makes room for what follows.
    fn end(&mut self) {
        if std::mem::take(&mut self.drawn) {
            self.screen.piece("\r\x1b[K");
        }
    }
}

/// A step in a pipe: what does not change while it lasts.
fn line(switching: &Switching) -> String {
    let undoing = if switching.undoing { "Undoing, step" } else { "Step" };
    let what = doing(&switching.stage, switching.agent.as_deref());
    format!("{undoing} {} of {}: {what}", switching.step, switching.steps)
}

/// A line that wraps could not be drawn again.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() < width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(2)).chain(['…']).collect()
}

fn capital(text: &str) -> String {
    crate::words::proper(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn switching(step: u32, undoing: bool) -> Switching {
        Switching {
            from: None,
            to: "odin".to_owned(),
            step,
            steps: 6,
            agent: Some("valkyrie".to_owned()),
            stage: "stop".to_owned(),
            progress: Some(0.5),
            seconds_left: None,
            cancellable: true,
            undoing,
        }
    }

    #[test]
    fn a_line_of_a_step_does_not_count() {
        assert_eq!(line(&switching(2, false)), "Step 2 of 6: stopping Valkyrie");
        assert_eq!(line(&switching(1, true)), "Undoing, step 1 of 6: stopping Valkyrie");
        assert_eq!(capital(&progress(&switching(2, false))), "To odin: step 2 of 6, stopping Valkyrie, 50 %");
    }

    #[test]
    fn a_line_never_reaches_the_edge() {
        assert_eq!(cut("step 1", 80), "step 1");
        assert_eq!(cut("abcdef", 6), "abcd…");
        assert_eq!(cut("abcdef", 7), "abcdef");
        assert_eq!(cut("abcdef", 0), "…");
    }

    #[test]
    fn only_wishes_that_wake_somebody_start_a_controller() {
        let agent = || "thor".to_owned();
        for (wish, starts) in [
            (Wish::Switch(agent()), true),
            (Wish::Up(None), true),
            (Wish::Start(agent()), true),
            (Wish::Down, false),
            (Wish::Stop(agent()), false),
            (Wish::Restart(agent()), false),
            (Wish::RestartWhenIdle(agent()), false),
            (Wish::TakeRestartBack(agent()), false),
        ] {
            assert_eq!(wish.starts_one(), starts, "{wish:?}");
        }
    }

    #[test]
    fn the_requests_have_the_shapes_of_the_list() {
        for wish in [
            Wish::Switch("odin".to_owned()),
            Wish::Up(None),
            Wish::Up(Some("odin".to_owned())),
            Wish::Down,
            Wish::Start("thor".to_owned()),
            Wish::Stop("thor".to_owned()),
            Wish::Restart("thor".to_owned()),
            Wish::RestartWhenIdle("thor".to_owned()),
            Wish::TakeRestartBack("thor".to_owned()),
        ] {
            let (cmd, payload) = wish.request();
            let request = serde_json::from_value::<api::Request>(json!({ "cmd": cmd, "payload": payload }));
            assert!(request.is_ok(), "{wish:?}: {request:?}");
        }
    }

    #[test]
    fn the_last_line_says_how_long_it_took() {
        let outcome = |seconds| Outcome {
            result: OutcomeKind::Done,
            message: "odin is active.".to_owned(),
            profile: None,
            seconds,
        };
        assert_eq!(closing(&outcome(0.2)), "odin is active.");
        assert_eq!(closing(&outcome(98.4)), "odin is active. It took 1 min 38 s.");
    }
}
