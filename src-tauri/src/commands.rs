//! What the page can call. Each is named in `build.rs` and allowed in `capabilities/window.json`; Tauri's own commands
//! are not.

use std::sync::Arc;

use api::ApiError;
use serde_json::Value;
use tauri::State;
use tauri::ipc::Channel;

use crate::callers;
use crate::controller::Controller;
use crate::link::Link;
use crate::preferences::Preferences;
use crate::streams::{Message, Streams};

#[tauri::command]
pub(crate) async fn rpc(link: State<'_, Arc<Link>>, cmd: String, payload: Value) -> Result<Value, ApiError> {
    callers::request(&cmd, &payload)?;
    link.call(&cmd, payload).await
}

#[tauri::command]
pub(crate) async fn open_stream(
    link: State<'_, Arc<Link>>,
    streams: State<'_, Streams>,
    cmd: String,
    payload: Value,
    channel: Channel<Message>,
) -> Result<u32, ApiError> {
    callers::stream(&cmd, &payload)?;
    let chunks = link.open(&cmd, payload).await?;
    Ok(streams.start(chunks, channel))
}

#[tauri::command]
pub(crate) async fn close_stream(streams: State<'_, Streams>, id: u32) -> Result<(), ApiError> {
    streams.close(id);
    Ok(())
}

#[tauri::command]
pub(crate) async fn preference_get(
    preferences: State<'_, Preferences>,
    key: String,
) -> Result<Value, ApiError> {
    preferences.get(&key)
}

#[tauri::command]
pub(crate) async fn preference_set(
    preferences: State<'_, Preferences>,
    key: String,
    value: Value,
) -> Result<(), ApiError> {
    preferences.set(&key, value)
}

/// For the page's own button, after the controller was quit or died. Nothing starts one again unasked: the person at
/// the tray may just have ended it.
#[tauri::command]
pub(crate) async fn start_controller(controller: State<'_, Arc<Controller>>) -> Result<(), ApiError> {
    controller.ensure().await
}
