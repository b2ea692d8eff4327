//! `asgard chat`: one answer, or a conversation. The controller keeps it, as it keeps the window's.

use std::io::{BufRead as _, IsTerminal as _};

use api::client::Client;
use api::shapes::chat::{Conversation, Message, MessageState, ReplyChunk, ReplyStats};
use api::shapes::status::{Failure, Status};
use api::{ApiError, Code};
use domain::agent::AgentState;
use serde_json::{Value, json};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use crate::Answer;
use crate::reach;
use crate::screen::Screen;
use crate::words::proper;

pub(super) async fn run(screen: Screen, agent: &str, prompt: &str) -> Result<Answer, ApiError> {
    let client = reach::running_or_started(screen).await?;
    let mut interrupts = super::interrupts()?;
    awake(screen, &client, agent, &mut interrupts).await?;
    let conversation: Conversation = client.call("new_conversation", json!({ "agent": agent })).await?;
    let mut talk = Talk { screen, client, conversation: conversation.id };
    if !prompt.trim().is_empty() {
        return talk.say(prompt, &mut interrupts).await;
    }
    let mut lines = lines_of_stdin();
    let asks = screen.terminal && std::io::stdin().is_terminal();
    if asks {
        screen
            .aside(&format!("A conversation with {}. Ctrl-C stops an answer, Ctrl-D leaves.", proper(agent)));
    }
    let mut answer = Answer::Yes;
    loop {
        if asks {
            screen.piece("\n> ");
        }
        let line = tokio::select! {
            line = lines.recv() => line,
            _ = interrupts.recv() => None,
        };
        let Some(line) = line else {
            if asks {
                screen.say("");
            }
            return Ok(answer);
        };
        if line.trim().is_empty() {
            continue;
        }
        answer = match talk.say(&line, &mut interrupts).await {
            Ok(answer) => answer,
            // At a terminal the next line may do better; a script is told by the exit code.
            Err(error) if asks && error.exit_code() == 1 => {
                screen.error(&error);
                Answer::No
            }
            Err(error) => return Err(error),
        };
    }
}

/// Waits for an agent that is on its way: one that was asked for a moment ago, or one that a controller which has
/// just been started is getting to know again. What sleeps is not woken here, and the first message says so.
async fn awake(
    screen: Screen,
    client: &Client,
    agent: &str,
    interrupts: &mut Signal,
) -> Result<(), ApiError> {
    let mut changes = client.open("watch", json!({}))?;
    let mut said = false;
    loop {
        let status: Status = super::read(&client.call_value("status", json!({})).await?)?;
        let coming = status.agents.iter().any(|a| {
            a.name == agent
                && matches!(a.state, AgentState::Pulling | AgentState::Starting | AgentState::Loading)
        });
        if !coming {
            return Ok(());
        }
        if !std::mem::replace(&mut said, true) {
            screen.aside(&format!("Waiting until {} answers.", proper(agent)));
        }
        loop {
            let change = tokio::select! {
                change = changes.next() => change?,
                _ = interrupts.recv() => {
                    let next = "See how far it is with: asgard status";
                    return Err(ApiError::new(Code::Cancelled, format!("{} was not waited for.", proper(agent)), next));
                }
            };
            match change {
                None => return Ok(()),
                Some(change) if change.get("revision").and_then(Value::as_u64) > Some(status.revision) => {
                    break;
                }
                Some(_) => {}
            }
        }
    }
}

struct Talk {
    screen: Screen,
    client: Client,
    conversation: i64,
}

impl Talk {
    /// Sends a message and shows the reply as it comes.
    async fn say(&mut self, text: &str, interrupts: &mut Signal) -> Result<Answer, ApiError> {
        let payload = json!({ "conversation": self.conversation, "text": text });
        let mut reply = self.client.open("send", payload)?;
        let mut ended = None;
        let mut shown = Shown::default();
        loop {
            let chunk = tokio::select! {
                chunk = reply.next() => chunk?,
                _ = interrupts.recv() => {
                    // What has arrived is kept; the stream then ends with the stopped message.
                    self.client.call_value("stop_reply", json!({ "conversation": self.conversation })).await?;
                    continue;
                }
            };
            let Some(chunk) = chunk else { break };
            self.screen.document(&chunk);
            match super::read(&chunk)? {
                ReplyChunk::Started { message } => self.put(&mut shown, &message.text),
                ReplyChunk::Text { text } => self.put(&mut shown, &text),
                ReplyChunk::Thinking { .. } => self.think(&mut shown),
                ReplyChunk::Done { message } => ended = Some(message),
            }
        }
        if shown.text && !shown.line_ended {
            self.screen.say("");
        }
        Ok(self.close(ended))
    }

    fn put(&self, shown: &mut Shown, text: &str) {
        if text.is_empty() {
            return;
        }
        self.screen.piece(text);
        shown.text = true;
        shown.line_ended = text.ends_with('\n');
    }

    /// Thoughts are not the answer; that there are some is said once to whom waits.
    fn think(&self, shown: &mut Shown) {
        if self.screen.terminal && !std::mem::replace(&mut shown.thinking, true) {
            self.screen.aside("Thinking.");
        }
    }

    fn close(&self, ended: Option<Message>) -> Answer {
        let Some(message) = ended else {
            self.screen.aside("The reply ended without its last piece. Look at it in the window.");
            return Answer::No;
        };
        if self.screen.terminal
            && let Some(stats) = &message.stats
            && let Some(text) = speed(stats)
        {
            self.screen.aside(&text);
        }
        match message.state {
            MessageState::Done => Answer::Yes,
            MessageState::Stopped => {
                self.screen.aside("Stopped; what had arrived is kept.");
                Answer::No
            }
            MessageState::Failed | MessageState::Streaming => {
                self.screen.aside(&broken(message.error.as_ref()));
                Answer::No
            }
        }
    }
}

#[derive(Default)]
struct Shown {
    text: bool,
    line_ended: bool,
    thinking: bool,
}

fn broken(error: Option<&Failure>) -> String {
    match error {
        Some(failure) if failure.next.is_empty() => failure.message.clone(),
        Some(failure) => format!("{}\n{}", failure.message, failure.next),
        None => "The reply broke off.\nTry it again.".to_owned(),
    }
}

/// "32.4 tok/s, first token 0.21 s".
fn speed(stats: &ReplyStats) -> Option<String> {
    let parts: Vec<String> = [
        stats.tokens_per_second.map(|s| format!("{s:.1} tok/s")),
        stats
            .first_token_seconds
            .map(|s| if s < 1.0 { format!("first token {s:.2} s") } else { format!("first token {s:.1} s") }),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Lines as they are typed. A thread of its own, because a read of a terminal cannot be interrupted; it ends with the
/// program.
fn lines_of_stdin() -> mpsc::Receiver<String> {
    let (to, from) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if to.blocking_send(line).is_err() {
                return;
            }
        }
    });
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_said_as_far_as_it_is_known() {
        let stats = |tokens_per_second, first_token_seconds| ReplyStats {
            tokens: None,
            tokens_per_second,
            first_token_seconds,
        };
        assert_eq!(speed(&stats(Some(32.44), Some(0.21))).as_deref(), Some("32.4 tok/s, first token 0.21 s"));
        assert_eq!(speed(&stats(None, Some(2.25))).as_deref(), Some("first token 2.2 s"));
        assert_eq!(speed(&stats(None, None)), None);
    }

    #[test]
    fn a_reply_that_broke_off_says_why_and_what_to_do() {
        let failure = Failure {
            code: "died".to_owned(),
            message: "Thor died.".to_owned(),
            next: "Start it.".to_owned(),
        };
        assert_eq!(broken(Some(&failure)), "Thor died.\nStart it.");
        assert!(broken(None).contains('\n'));
    }
}
