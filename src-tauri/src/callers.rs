//! Which requests the page may make.
//!
//! A request is read as the shape that it must have before it reaches the socket, so the page can send nothing that is
//! not in the list of `api`. The match is exhaustive: a new request does not compile before somebody has decided here.
//!
//! Deliberately absent: requests that run code or write outside Asgard's folders. They are confirmed in a native dialog,
//! outside of what the page can draw.

use std::net::SocketAddr;

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
        Request::Import(_)
        | Request::ConfirmStack(_)
        | Request::StopNeighbour(_)
        | Request::WriteToolConfig(_) => Err(by_dialog()),
        Request::ChangeGateway(patch) if patch.listen.as_deref().is_some_and(reaches_others) => {
            Err(by_dialog())
        }
        Request::Status(_)
        | Request::Profiles(_)
        | Request::Plan(_)
        | Request::Switch(_)
        | Request::Up(_)
        | Request::Down(_)
        | Request::Start(_)
        | Request::Stop(_)
        | Request::Restart(_)
        | Request::RestartWhenIdle(_)
        | Request::TakeRestartBack(_)
        | Request::Yield(_)
        | Request::Resume(_)
        | Request::ApplySuggestion(_)
        | Request::LaunchPreview(_)
        | Request::Estimate(_)
        | Request::CuratedModels(_)
        | Request::ModelInfo(_)
        | Request::HubAccount(_)
        | Request::SetHubToken(_)
        | Request::RemoveHubToken(_)
        | Request::CheckHubToken(_)
        | Request::Pull(_)
        | Request::Downloads(_)
        | Request::Download(_)
        | Request::PauseDownload(_)
        | Request::ResumeDownload(_)
        | Request::CancelDownload(_)
        | Request::ForgetDownload(_)
        | Request::LimitDownloads(_)
        | Request::InstalledModels(_)
        | Request::RemoveModel(_)
        | Request::AssignPreview(_)
        | Request::Assign(_)
        | Request::FirstRun(_)
        | Request::FinishFirstRun(_)
        | Request::Cancel(_)
        | Request::Health(_)
        | Request::Logs(_)
        | Request::Events(_)
        | Request::Requests(_)
        | Request::ExportRequests(_)
        | Request::GatewayView(_)
        | Request::ChangeGateway(_)
        | Request::NewSession(_)
        | Request::PauseGateway(_)
        // A key grants what any program of this user has already.
        | Request::NewKey(_)
        | Request::RevealKey(_)
        | Request::RemoveKey(_)
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
        | Request::ToolConfigs(_)
        | Request::ToolConfig(_)
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

fn by_dialog() -> ApiError {
    ApiError::new(
        Code::Usage,
        "The page may not ask for this by itself.",
        "Use the button, which opens a dialog of the desktop.",
    )
}

/// An address at which other machines may reach the gateway. What is no address is refused by the controller.
pub(crate) fn reaches_others(listen: &str) -> bool {
    listen.parse::<SocketAddr>().is_ok_and(|address| !address.ip().is_loopback())
}

pub(crate) fn stream(cmd: &str, payload: &Value) -> Result<(), ApiError> {
    let request: Streamed = read(cmd, payload)?;
    match request {
        Streamed::Watch(_)
        | Streamed::FollowLogs(_)
        | Streamed::Send(_)
        | Streamed::Retry(_)
        | Streamed::FollowReply(_)
        | Streamed::Bench(_)
        | Streamed::SearchModels(_)
        | Streamed::VerifyModel(_) => Ok(()),
        Streamed::ImportModel(_) => Err(by_dialog()),
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
    fn the_page_opens_the_gateway_to_nobody_else() {
        for (listen, may) in [
            ("127.0.0.1:8899", true),
            ("[::1]:8899", true),
            ("nonsense", true),
            ("0.0.0.0:8899", false),
            ("[::]:8899", false),
            ("192.168.1.5:8899", false),
            ("[::ffff:10.0.0.1]:8899", false),
        ] {
            let asked = request("change_gateway", &json!({ "listen": listen, "wake": true }));
            assert_eq!(asked.is_ok(), may, "{listen}");
        }
        request("change_gateway", &json!({ "odin_ttl": 600 })).unwrap();
        request("new_key", &json!({ "name": "zed", "agents": null })).unwrap();
    }

    #[test]
    fn the_page_may_end_the_controller_but_not_everything_at_once() {
        request("shutdown", &json!({ "stop_agents": false })).unwrap();
        request("shutdown", &json!({ "stop_agents": true })).unwrap_err();
    }
}
