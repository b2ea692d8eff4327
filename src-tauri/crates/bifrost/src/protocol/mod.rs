//! What the clients of each protocol count as life, and as an error.
//!
//! An answer that waits is opened at once, with status 200. From then on everything that the client is to know must be
//! said inside the stream, in words that its protocol has. What is said of the wait is never a part of the answer:
//! comments, which every reader of server-sent events skips, and events that mean "not yet".

mod chat;
mod messages;
mod responses;

use bytes::Bytes;
use domain::schedule::Place;
use serde_json::Value;

use crate::refusal::Problem;

/// Whose shapes a path speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `OpenAI`'s chats, and the completions before them, whose errors and pauses are the same.
    Chat,
    /// `OpenAI`'s responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// A path of Anthropic's that never streams.
    Counting,
    /// Everything else has `OpenAI`'s errors, and does not stream.
    Plain,
}

impl Protocol {
    pub(crate) fn of(path: &str) -> Self {
        match path {
            "/v1/chat/completions" | "/v1/completions" => Self::Chat,
            "/v1/responses" => Self::Responses,
            "/v1/messages" => Self::Messages,
            _ if path.starts_with("/v1/messages/") => Self::Counting,
            _ => Self::Plain,
        }
    }

    /// Whether a stream of this protocol has words for a wait.
    pub(crate) fn streams(self) -> bool {
        matches!(self, Self::Chat | Self::Responses | Self::Messages)
    }

    /// The body of a refusal that has a status line of its own.
    pub(crate) fn body(self, problem: &Problem) -> Value {
        match self {
            Self::Messages | Self::Counting => messages::error(problem),
            Self::Chat | Self::Responses | Self::Plain => chat::error(problem),
        }
    }
}

/// What is known of a stream before its agent speaks.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) protocol: Protocol,
    /// As the client named it.
    pub(crate) model: String,
    /// Seconds since the epoch.
    pub(crate) created_at: i64,
    /// Unlike that of every other stream.
    pub(crate) id: String,
    /// The client counts comments as life, and could take events before the agent's for something else.
    pub(crate) comments_only: bool,
}

/// What the gateway says in a stream while the agent does not: beats, and at the worst an error.
#[derive(Debug)]
pub(crate) enum Voice {
    Chat,
    Responses(responses::Queue),
    Messages,
}

impl Voice {
    pub(crate) fn new(opening: Opening) -> Self {
        match opening.protocol {
            Protocol::Responses => Self::Responses(responses::Queue::new(opening)),
            Protocol::Messages | Protocol::Counting => Self::Messages,
            Protocol::Chat | Protocol::Plain => Self::Chat,
        }
    }

    /// A sign of life.
    pub(crate) fn beat(&mut self, place: &Place) -> Bytes {
        let mut text = comment(place);
        match self {
            Self::Chat => {}
            Self::Responses(queue) => queue.beat(&mut text),
            Self::Messages => text.push_str(messages::PING),
        }
        text.into()
    }

    /// The last that is said in a stream that ends without an answer.
    pub(crate) fn failure(&mut self, problem: &Problem) -> Bytes {
        match self {
            Self::Chat => chat::failure(problem),
            Self::Responses(queue) => queue.failure(problem),
            Self::Messages => messages::failure(problem),
        }
        .into()
    }
}

/// What is said in a stream of events that breaks in its middle, where an agent had begun to answer. It begins with an end of the event that may be half sent: to a reader that stands
/// between two events that is nothing.
pub(crate) fn broken(path: &str, message: &str) -> Bytes {
    let problem = Problem::server(http::StatusCode::BAD_GATEWAY, "agent_broke_off", message);
    let event = match Protocol::of(path) {
        Protocol::Chat | Protocol::Plain => chat::failure(&problem),
        Protocol::Responses => responses::broken(&problem),
        Protocol::Messages | Protocol::Counting => messages::failure(&problem),
    };
    format!("\n\n{event}").into()
}

/// `: asgard place=1 stage="Loading Odin" seconds_left=38`.
fn comment(place: &Place) -> String {
    let Place { place, stage, seconds_left, .. } = place;
    let stage = on_one_line(stage);
    match whole(*seconds_left) {
        Some(seconds) => format!(": asgard place={place} stage=\"{stage}\" seconds_left={seconds}\n\n"),
        None => format!(": asgard place={place} stage=\"{stage}\"\n\n"),
    }
}

/// Whole seconds, rounded up: who is told 38 has waited long enough after 38.
pub(crate) fn whole(seconds: Option<f64>) -> Option<u64> {
    let seconds = seconds?.ceil();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the bounds are checked beside it"
    )]
    (seconds.is_finite() && (0.0..1e9).contains(&seconds)).then_some(seconds as u64)
}

/// Without what would end the line or the quotes.
pub(crate) fn on_one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                ' '
            } else if c == '"' {
                '\''
            } else {
                c
            }
        })
        .collect()
}

/// One server-sent event with JSON in it, which has no line ends of its own.
fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests;
