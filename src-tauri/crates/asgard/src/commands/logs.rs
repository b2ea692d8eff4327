//! `asgard logs`: the last lines of an agent's log, and with `-f` each new one.

use api::ApiError;
use api::shapes::agents::{LogLine, LogTail};
use serde_json::json;

use crate::Answer;
use crate::reach;
use crate::screen::Screen;

pub(super) async fn run(
    screen: Screen,
    agent: String,
    follow: bool,
    lines: Option<u32>,
) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    let payload = json!({ "agent": agent, "lines": lines });
    if follow {
        let mut stream = client.open("follow_logs", payload)?;
        while let Some(chunk) = stream.next().await? {
            if screen.json {
                screen.document(&chunk);
            } else {
                screen.say(&super::read::<LogLine>(&chunk)?.text);
            }
        }
        return Ok(Answer::Yes);
    }
    let document = client.call_value("logs", payload).await?;
    if screen.json {
        screen.document(&document);
    } else {
        for line in super::read::<LogTail>(&document)?.lines {
            screen.say(&line.text);
        }
    }
    Ok(Answer::Yes)
}
