//! `asgard config command AGENT`: what an agent is started with, and why; nothing is started by it.

use std::fmt::Write as _;

use api::ApiError;
use api::shapes::agents::LaunchPreview;
use serde_json::json;

use crate::Answer;
use crate::reach;
use crate::screen::Screen;

pub(super) async fn run(screen: Screen, agent: &str) -> Result<Answer, ApiError> {
    let client = reach::running().await?;
    let document = client.call_value("launch_preview", json!({ "agent": agent })).await?;
    let preview: LaunchPreview = super::read(&document)?;
    screen.document(&document);
    screen.say(render(&preview).trim_end());
    Ok(Answer::Yes)
}

/// The command first, so that it can be copied; then the flags, one sentence each.
fn render(preview: &LaunchPreview) -> String {
    let mut text = format!("{}\n\n", preview.command_text);
    let version = preview.version.as_deref().unwrap_or(&preview.backend);
    let _ = match &preview.image {
        Some(image) => writeln!(text, "{version} in {image}"),
        None => writeln!(text, "{version}, a program of this machine"),
    };
    for note in &preview.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    for lost in &preview.dropped {
        let _ = writeln!(text, "Not passed as it was meant: {}. {}", lost.flag, lost.why);
    }
    for flag in &preview.flags {
        let value = flag.value.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
        let _ = writeln!(text, "\n{}{value}\n  {}", flag.flag, flag.why);
    }
    text
}

#[cfg(test)]
mod tests {
    use api::shapes::agents::{DroppedFlag, ExplainedFlag};

    use super::*;

    #[test]
    fn the_command_then_each_flag_with_its_reason() {
        let preview = LaunchPreview {
            agent: "thor".to_owned(),
            backend: "vllm".to_owned(),
            engine: "docker".to_owned(),
            image: Some("vllm:1".to_owned()),
            version: None,
            command: Vec::new(),
            command_text: "docker run vllm:1".to_owned(),
            env: Vec::new(),
            flags: vec![ExplainedFlag {
                flag: "--port".to_owned(),
                value: Some("8001".to_owned()),
                why: "Its own port, from the stack file.".to_owned(),
            }],
            dropped: vec![DroppedFlag { flag: "--swap-space".to_owned(), why: "It is gone.".to_owned() }],
            notes: vec!["Its image was not asked yet.".to_owned()],
        };
        assert_eq!(
            render(&preview),
            "docker run vllm:1\n\nvllm in vllm:1\nNote: Its image was not asked yet.\nNot passed as it was meant: \
             --swap-space. It is gone.\n\n--port 8001\n  Its own port, from the stack file.\n"
        );
    }
}
