//! The machine's own sleep: what is idle gives its memory back before it, and who was awake comes back after.
//!
//! A machine that suspends with most of its memory pinned by a GPU may fail to, or not wake. logind says when it is
//! about to happen and waits a few seconds for whoever asked it to. Without logind nothing is done, and nothing fails.

use app::App;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::watch;
use zbus::zvariant::OwnedFd;
use zbus::{Connection, Proxy};

pub(super) async fn run(app: App, mut ending: watch::Receiver<bool>) {
    tokio::select! {
        answer = follow(&app) => if let Err(error) = answer {
            tracing::debug!("The machine's sleep is not followed: {error}");
        },
        () = super::ended(&mut ending) => {}
    }
}

async fn follow(app: &App) -> zbus::Result<()> {
    let bus = Connection::system().await?;
    let logind = Proxy::new(
        &bus,
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
    )
    .await?;
    let mut told = logind.receive_signal("PrepareForSleep").await?;
    let mut held = hold(&logind).await;
    // Whether what sleeps now was put to sleep for the machine's sake, and not by a person.
    let mut ours = false;
    while let Some(message) = told.next().await {
        let begins: bool = message.body().deserialize()?;
        if begins {
            let status = app.handle("status", json!({})).await.unwrap_or_default();
            ours = status["yielded"].is_null();
            if ours && let Err(error) = app.handle("yield", json!({ "hours": null })).await {
                tracing::warn!(
                    "The memory could not be given back before the machine sleeps: {}",
                    error.message
                );
            }
            // Now it may sleep.
            held = None;
        } else {
            if ours && let Err(error) = app.handle("resume", json!({})).await {
                tracing::warn!("Who was awake before the machine slept did not come back: {}", error.message);
            }
            ours = false;
            if held.is_none() {
                held = hold(&logind).await;
            }
        }
    }
    drop(held);
    Ok(())
}

/// Asks the machine to wait with its sleep, until this is dropped or logind's patience ends.
async fn hold(logind: &Proxy<'_>) -> Option<OwnedFd> {
    let why = ("sleep", "Asgard", "Agents give their memory back first", "delay");
    match logind.call::<_, _, OwnedFd>("Inhibit", &why).await {
        Ok(held) => Some(held),
        Err(error) => {
            tracing::debug!("The machine does not wait with its sleep: {error}");
            None
        }
    }
}
