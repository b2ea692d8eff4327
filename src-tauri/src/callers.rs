//! Which requests the page may make.
//!
//! A request is read as the shape that it must have before it reaches the socket, so the page can send nothing that is
//! not in the list of `api`. The match is exhaustive: a new request does not compile before somebody has decided here.
//!
//! Deliberately absent: requests that run code or write outside Asgard's folders. When one comes it is confirmed in a
//! native dialog, outside of what the page can draw.

use api::{ApiError, Code, Request, Streamed};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) fn request(cmd: &str, payload: &Value) -> Result<(), ApiError> {
    let request: Request = read(cmd, payload)?;
    match request {
        Request::Shutdown(how) if how.stop_agents => Err(ApiError::new(
            Code::Usage,
            "The window may not stop every agent and the controller in one request.",
            "Use \"Quit and stop agents\" in the tray, or: asgard down",
        )),
        // Run by the window's own dialogs, outside of what the page can draw.
        Request::Import(_) | Request::ConfirmStack(_) | Request::StopNeighbour(_) => Err(ApiError::new(
            Code::Usage,
            "The page may not ask for this by itself.",
            "Use the button, which opens a dialog of the desktop.",
        )),
        Request::Status(_)
        | Request::Profiles(_)
        | Request::Plan(_)
        | Request::Switch(_)
        | Request::Up(_)
        | Request::Down(_)
        | Request::Start(_)
        | Request::Stop(_)
        | Request::Restart(_)
        | Request::Yield(_)
        | Request::Resume(_)
        | Request::ApplySuggestion(_)
        | Request::LaunchPreview(_)
        | Request::Estimate(_)
        | Request::Cancel(_)
        | Request::Health(_)
        | Request::Logs(_)
        | Request::Events(_)
        | Request::Requests(_)
        | Request::ExportRequests(_)
        | Request::History(_)
        | Request::AgentHistory(_)
        | Request::ExportPicture(_)
        | Request::Conversations(_)
        | Request::Conversation(_)
        | Request::NewConversation(_)
        | Request::DeleteConversation(_)
        | Request::StopReply(_)
        | Request::Settings(_)
        | Request::ChangeSettings(_)
        | Request::Stack(_)
        | Request::SaveStack(_)
        | Request::StackForm(_)
        | Request::EditStack(_)
        | Request::ApplyStack(_)
        | Request::Presets(_)
        | Request::UsePreset(_)
        | Request::Export(_)
        | Request::Confirmation(_)
        | Request::Neighbours(_)
        | Request::Adopt(_)
        | Request::LeaveNeighbour(_)
        | Request::UndoNeighbour(_)
        | Request::Images(_)
        | Request::CheckImages(_)
        | Request::TryImage(_)
        | Request::UndoImage(_)
        | Request::RemoveImage(_)
        | Request::Doctor(_)
        | Request::DoctorReport(_)
        | Request::Shutdown(_) => Ok(()),
    }
}

pub(crate) fn stream(cmd: &str, payload: &Value) -> Result<(), ApiError> {
    let request: Streamed = read(cmd, payload)?;
    match request {
        Streamed::Watch(_)
        | Streamed::FollowLogs(_)
        | Streamed::Send(_)
        | Streamed::Retry(_)
        | Streamed::FollowReply(_)
        | Streamed::Bench(_) => Ok(()),
    }
}

fn read<T: DeserializeOwned>(cmd: &str, payload: &Value) -> Result<T, ApiError> {
    serde_json::from_value(json!({ "cmd": cmd, "payload": payload })).map_err(|e| {
        ApiError::new(
            Code::Usage,
            format!("The window may not ask for {cmd:?} in this way: {e}."),
            "Close the window and open it again; if it stays, its pages and its program are of two versions.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_list_passes() {
        request("status", &json!({})).unwrap();
        request("switch", &json!({ "profile": "odin" })).unwrap();
        stream("send", &json!({ "conversation": 3, "text": "hello" })).unwrap();
    }

    #[test]
    fn unknown_names_and_shapes_stop_here() {
        for (cmd, payload) in [
            ("exec", json!({ "sh": "id" })),
            ("switch", json!({ "agent": 1 })),
            ("status", Value::Null),
            ("watch", json!({})),
        ] {
            assert_eq!(request(cmd, &payload).unwrap_err().code, Code::Usage, "{cmd}");
        }
        assert_eq!(stream("status", &json!({})).unwrap_err().code, Code::Usage);
    }

    #[test]
    fn the_page_may_end_the_controller_but_not_everything_at_once() {
        request("shutdown", &json!({ "stop_agents": false })).unwrap();
        request("shutdown", &json!({ "stop_agents": true })).unwrap_err();
    }
}
