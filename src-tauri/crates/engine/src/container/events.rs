//! The engine's own news about our containers, for as long as somebody listens.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use domain::AgentName;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Shared, spec};
use crate::EngineEvent;

/// Pauses between looks for an engine that is away.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

pub(super) fn stream(shared: &Arc<Shared>) -> BoxStream<'static, EngineEvent> {
    let (to, from) = mpsc::channel(256);
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        let listening = listen(&shared, &to);
        tokio::select! {
            () = listening => {}
            () = to.closed() => {}
        }
    });
    ReceiverStream::new(from).boxed()
}

/// Ends when the engine object is gone or nobody listens.
async fn listen(shared: &Weak<Shared>, to: &mpsc::Sender<EngineEvent>) {
    let mut pause = FIRST_PAUSE;
    let mut was_away = false;
    // From before the first question on, so that what happens in a gap is told when the line is back.
    let mut since = now();
    loop {
        let Some(strong) = shared.upgrade() else { return };
        let link = strong.link().await;
        let filters = strong.ours(None);
        let alive = match &link {
            Ok(link) => link.ask("say that it is there", super::SHORT, link.docker.ping()).await.is_ok(),
            Err(_) => false,
        };
        drop(strong);
        if let (Ok(link), true) = (link, alive) {
            pause = FIRST_PAUSE;
            let options = EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build();
            let mut news = Box::pin(link.docker.events(Some(options)));
            if was_away && to.send(EngineEvent::Everything).await.is_err() {
                return;
            }
            loop {
                let message = tokio::select! {
                    message = news.next() => message,
                    () = dropped(shared) => return,
                };
                let Some(Ok(message)) = message else { break };
                if let Some(agent) = about(&message)
                    && to.send(EngineEvent::Changed(agent)).await.is_err()
                {
                    return;
                }
            }
            since = now();
        }
        // It went away, or was not there: said once, so that whoever listens sees it.
        if !was_away && to.send(EngineEvent::Everything).await.is_err() {
            return;
        }
        was_away = true;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The engine object has no bell for its own end; it lives as long as the controller, so a look now and then is enough.
async fn dropped(shared: &Weak<Shared>) {
    while shared.strong_count() > 0 {
        tokio::time::sleep(Duration::from_mins(1)).await;
    }
}

fn about(message: &EventMessage) -> Option<AgentName> {
    let action = message.action.as_deref()?;
    // "exec_create: …" and the like change nothing.
    let changes =
        ["create", "start", "die", "died", "oom", "stop", "kill", "destroy", "remove", "pause", "unpause"];
    if !changes.contains(&action) {
        return None;
    }
    let attributes = message.actor.as_ref()?.attributes.as_ref()?;
    AgentName::new(attributes.get(spec::AGENT)?).ok()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default()
}
