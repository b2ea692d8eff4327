//! Conversations: kept by the controller, answered through Bifrost like any other client's requests.
//!
//! A reply is a task of its own. Who looks at it follows its text from wherever they join; closing the window ends
//! the looking, not the reply. What has arrived is written to the database twice a second, so that a kill of the
//! controller keeps it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::shapes::chat as shape;
use api::shapes::status::Failure;
use api::{ApiError, Code};
use domain::agent::{AgentName, AgentState};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::database::{Conversation, Message, MessageChange, MessageState, NewMessage, Role, Stats};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::carry::Ctx;
use crate::sse::SseReader;
use crate::state::Event;

/// The replies under way, by conversation.
#[derive(Clone, Default)]
pub(crate) struct Replies(Arc<Mutex<HashMap<i64, Reply>>>);

#[derive(Clone)]
struct Reply {
    message: i64,
    text: watch::Receiver<Draft>,
    stop: CancellationToken,
}

/// A reply as far as it has come.
#[derive(Debug, Clone, Default)]
struct Draft {
    text: String,
    thinking: String,
    ended: bool,
}

/// Pieces are gathered this long before they are handed to a face.
const GATHER: Duration = Duration::from_millis(30);
const KEEP_EVERY: Duration = Duration::from_millis(500);
const LONGEST_MESSAGE: usize = 4 << 20;

impl Replies {
    fn get(&self, conversation: i64) -> Option<Reply> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&conversation).cloned()
    }

    pub(crate) fn under_way(&self, conversation: i64) -> bool {
        self.get(conversation).is_some()
    }

    pub(crate) fn stop(&self, conversation: i64) {
        if let Some(reply) = self.get(conversation) {
            reply.stop.cancel();
        }
    }
}

fn unknown(id: i64) -> ApiError {
    ApiError::new(Code::Unknown, format!("There is no conversation {id}."), "It may have been deleted.")
}

fn broken() -> ApiError {
    ApiError::new(
        Code::Failed,
        "The conversations could not be read or written.",
        "Check the disk that holds Asgard's data folder.",
    )
}

pub(crate) async fn list(ctx: &Ctx, replies: &Replies) -> Result<shape::Conversations, ApiError> {
    let all =
        ctx.world.database(|db| db.conversations(500)).await.ok_or_else(broken)?.map_err(|_| broken())?;
    let conversations = all
        .into_iter()
        .map(|c| shape::ConversationSummary {
            replying: replies.under_way(c.id),
            id: c.id,
            agent: c.agent,
            title: c.title,
            updated: c.updated.to_string(),
        })
        .collect();
    Ok(shape::Conversations { conversations })
}

pub(crate) async fn one(ctx: &Ctx, replies: &Replies, id: i64) -> Result<shape::Conversation, ApiError> {
    let (conversation, messages) = load(ctx, id).await?;
    let reply = replies.get(id);
    let messages = messages
        .into_iter()
        .map(|m| {
            let mut message = message_shape(m);
            // The draft is ahead of what is kept.
            if let Some(reply) = reply.as_ref().filter(|r| r.message == message.id) {
                let draft = reply.text.borrow();
                message.text.clone_from(&draft.text);
                message.thinking.clone_from(&draft.thinking);
            }
            message
        })
        .collect();
    Ok(shape::Conversation {
        id,
        agent: conversation.agent,
        title: conversation.title,
        updated: conversation.updated.to_string(),
        replying: reply.is_some(),
        messages,
    })
}

async fn load(ctx: &Ctx, id: i64) -> Result<(Conversation, Vec<Message>), ApiError> {
    ctx.world
        .database(move |db| db.conversation(id))
        .await
        .ok_or_else(broken)?
        .map_err(|_| broken())?
        .ok_or_else(|| unknown(id))
}

fn message_shape(m: Message) -> shape::Message {
    let stats = m.stats;
    shape::Message {
        id: m.id,
        role: match m.role {
            Role::User => shape::MessageRole::User,
            Role::Assistant => shape::MessageRole::Assistant,
        },
        text: m.text,
        thinking: m.thinking,
        state: match m.state {
            MessageState::Done => shape::MessageState::Done,
            MessageState::Streaming => shape::MessageState::Streaming,
            MessageState::Stopped => shape::MessageState::Stopped,
            MessageState::Failed => shape::MessageState::Failed,
        },
        time: m.time.to_string(),
        error: m.error.and_then(|e| serde_json::from_value(e).ok()),
        stats: (stats != Stats::default()).then_some(shape::ReplyStats {
            tokens: stats.tokens,
            tokens_per_second: stats.tokens_per_second,
            first_token_seconds: stats.first_token_seconds,
        }),
    }
}

pub(crate) async fn new(ctx: &Ctx, replies: &Replies, agent: &str) -> Result<shape::Conversation, ApiError> {
    let known = AgentName::new(agent).ok().filter(|n| ctx.state.state().stack.agent(n).is_some());
    let Some(name) = known else {
        return Err(ApiError::new(
            Code::Unknown,
            format!("There is no agent {agent:?} in the stack."),
            "See the agents with: asgard status",
        ));
    };
    let id = ctx
        .world
        .database(move |db| db.new_conversation(name.as_str(), Timestamp::now()))
        .await
        .ok_or_else(broken)?
        .map_err(|_| broken())?;
    ctx.state.note(Event::ChatsChanged);
    one(ctx, replies, id).await
}

pub(crate) async fn delete(ctx: &Ctx, replies: &Replies, id: i64) -> Result<(), ApiError> {
    replies.stop(id);
    let found = ctx
        .world
        .database(move |db| db.delete_conversation(id))
        .await
        .ok_or_else(broken)?
        .map_err(|_| broken())?;
    ctx.state.note(Event::ChatsChanged);
    if found { Ok(()) } else { Err(unknown(id)) }
}

/// Adds the user's message, begins the reply, and follows it.
pub(crate) async fn send(
    ctx: &Ctx,
    replies: &Replies,
    id: i64,
    text: String,
    out: mpsc::Sender<Value>,
) -> Result<(), ApiError> {
    if text.trim().is_empty() {
        return Err(ApiError::new(Code::Usage, "The message is empty.", "Write something first."));
    }
    if text.len() > LONGEST_MESSAGE {
        return Err(ApiError::new(Code::Usage, "The message is longer than 4 MB.", "Send a shorter one."));
    }
    if replies.under_way(id) {
        return Err(ApiError::new(
            Code::Busy,
            "A reply is under way in this conversation.",
            "Wait for it, or stop it.",
        ));
    }
    let (conversation, _) = load(ctx, id).await?;
    must_answer(ctx, &conversation.agent)?;
    let new = NewMessage { conversation: id, role: Role::User, text, state: MessageState::Done };
    ctx.world
        .database(move |db| db.add_message(&new, Timestamp::now()))
        .await
        .ok_or_else(broken)?
        .map_err(|_| broken())?;
    begin(ctx, replies, id).await?;
    follow(ctx, replies, id, out).await
}

/// Asks again: the last reply is replaced.
pub(crate) async fn retry(
    ctx: &Ctx,
    replies: &Replies,
    id: i64,
    out: mpsc::Sender<Value>,
) -> Result<(), ApiError> {
    if replies.under_way(id) {
        return Err(ApiError::new(
            Code::Busy,
            "A reply is under way in this conversation.",
            "Wait for it, or stop it.",
        ));
    }
    let (conversation, messages) = load(ctx, id).await?;
    must_answer(ctx, &conversation.agent)?;
    if let Some(last) = messages.last().filter(|m| m.role == Role::Assistant).map(|m| m.id) {
        ctx.world
            .database(move |db| db.delete_message(last))
            .await
            .ok_or_else(broken)?
            .map_err(|_| broken())?;
    }
    begin(ctx, replies, id).await?;
    follow(ctx, replies, id, out).await
}

/// An agent that sleeps is told of before anything is written: the window offers to start it.
pub(crate) fn must_answer(ctx: &Ctx, agent: &str) -> Result<(), ApiError> {
    let state = ctx.state.state();
    let name = AgentName::new(agent).ok();
    match name.as_ref().and_then(|n| state.live(n)) {
        // One that is on its way is waited for in Bifrost's queue.
        Some(live) if !matches!(live.state, AgentState::Asleep | AgentState::Failed) => Ok(()),
        Some(live) => Err(ApiError::new(
            Code::Asleep,
            format!("{} is {}.", name.as_ref().map(AgentName::proper).unwrap_or_default(), live.state),
            format!("Start it with: asgard start {agent}"),
        )),
        None => Err(ApiError::new(
            Code::Unknown,
            format!("{agent} is no longer in the stack."),
            "Begin a conversation with another agent.",
        )),
    }
}

async fn begin(ctx: &Ctx, replies: &Replies, id: i64) -> Result<(), ApiError> {
    let (conversation, history) = load(ctx, id).await?;
    let new = NewMessage {
        conversation: id,
        role: Role::Assistant,
        text: String::new(),
        state: MessageState::Streaming,
    };
    let message = ctx
        .world
        .database(move |db| db.add_message(&new, Timestamp::now()))
        .await
        .ok_or_else(broken)?
        .map_err(|_| broken())?;
    let (draft, text) = watch::channel(Draft::default());
    let stop = CancellationToken::new();
    let reply = Reply { message, text, stop: stop.clone() };
    replies.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, reply);
    ctx.state.note(Event::ChatsChanged);
    let ctx = ctx.clone();
    let replies = replies.clone();
    tokio::spawn(async move {
        let outcome = receive(&ctx, &conversation, &history, message, &draft, &stop).await;
        let kept = draft.borrow().clone();
        let change = MessageChange {
            text: kept.text,
            thinking: kept.thinking,
            state: outcome.state,
            error: outcome.failure.and_then(|f| serde_json::to_value(f).ok()),
            stats: outcome.stats,
        };
        keep(&ctx, message, change).await;
        replies.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        draft.send_modify(|d| d.ended = true);
        ctx.state.note(Event::ChatsChanged);
    });
    Ok(())
}

async fn keep(ctx: &Ctx, message: i64, change: MessageChange) {
    if !matches!(
        ctx.world.database(move |db| db.update_message(message, &change, Timestamp::now())).await,
        Some(Ok(_))
    ) {
        tracing::warn!("A reply could not be kept.");
    }
}

struct Received {
    state: MessageState,
    failure: Option<Failure>,
    stats: Stats,
}

async fn receive(
    ctx: &Ctx,
    conversation: &Conversation,
    history: &[Message],
    message: i64,
    draft: &watch::Sender<Draft>,
    stop: &CancellationToken,
) -> Received {
    let mut meter = Meter::default();
    let failed = |code: &str, message: String, next: &str, stats: Stats| Received {
        state: MessageState::Failed,
        failure: Some(Failure { code: code.to_owned(), message, next: next.to_owned() }),
        stats,
    };
    let state = ctx.state.state();
    let Some(gateway) = state.gateway.clone() else {
        let why = state.gateway_error.as_ref().map_or_else(String::new, |e| e.message.clone());
        return failed(
            "gateway",
            format!("Bifrost is not open. {why}"),
            "Free its port, then start Asgard again.",
            meter.stats(),
        );
    };
    let role =
        AgentName::new(&conversation.agent).ok().and_then(|n| state.stack.agent(&n).map(|a| a.role.clone()));
    let body = request_body(&conversation.agent, role.as_deref(), history);
    let sent = ctx
        .world
        .http
        .post(format!("{gateway}/chat/completions"))
        .header("user-agent", "asgard-chat")
        .header("x-asgard-face", ctx.gate.face().reveal())
        .json(&body)
        .send();
    meter.sent = Some(Instant::now());
    let answer = tokio::select! {
        answer = sent => answer,
        () = stop.cancelled() => return Received { state: MessageState::Stopped, failure: None, stats: meter.stats() },
    };
    let answer = match answer {
        Ok(answer) if answer.status().is_success() => answer,
        Ok(answer) => {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            let said = refusal_text(&text).unwrap_or_else(|| format!("The answer was {status}."));
            return failed("refused", said, "Try again, or look at the agent's log.", meter.stats());
        }
        Err(error) => {
            let why = format!("Bifrost could not be reached ({}).", error.without_url());
            return failed("gateway", why, "Try again.", meter.stats());
        }
    };
    let mut reader = SseReader::default();
    let mut bytes = answer.bytes_stream();
    let mut kept = Instant::now();
    loop {
        let chunk = tokio::select! {
            chunk = bytes.next() => chunk,
            () = stop.cancelled() => return Received { state: MessageState::Stopped, failure: None, stats: meter.stats() },
        };
        match chunk {
            None => {
                return failed(
                    "cut",
                    "The answer broke off before its end.".to_owned(),
                    "Try again; if the agent crashed, its card says why.",
                    meter.stats(),
                );
            }
            Some(Err(_)) => {
                return failed(
                    "cut",
                    "The connection to the agent broke in the middle of its answer.".to_owned(),
                    "Try again; if the agent crashed, its card says why.",
                    meter.stats(),
                );
            }
            Some(Ok(bytes)) => {
                for data in reader.feed(&bytes) {
                    if data == "[DONE]" {
                        return Received { state: MessageState::Done, failure: None, stats: meter.stats() };
                    }
                    match read_chunk(&data) {
                        Piece::Failed(said) => {
                            return failed(
                                "model",
                                said,
                                "Try again, or look at the agent's log.",
                                meter.stats(),
                            );
                        }
                        Piece::Delta { text, thinking, usage } => {
                            meter.count(!text.is_empty() || !thinking.is_empty(), usage);
                            if !text.is_empty() || !thinking.is_empty() {
                                draft.send_modify(|d| {
                                    d.text.push_str(&text);
                                    d.thinking.push_str(&thinking);
                                });
                            }
                        }
                    }
                }
            }
        }
        if kept.elapsed() >= KEEP_EVERY {
            kept = Instant::now();
            let so_far = draft.borrow().clone();
            let change = MessageChange {
                text: so_far.text,
                thinking: so_far.thinking,
                state: MessageState::Streaming,
                error: None,
                stats: meter.stats(),
            };
            keep(ctx, message, change).await;
        }
    }
}

/// Counts tokens and times of one reply.
#[derive(Default)]
pub(crate) struct Meter {
    sent: Option<Instant>,
    first: Option<Instant>,
    last: Option<Instant>,
    pieces: u32,
    tokens: Option<u32>,
}

impl Meter {
    /// The request is sent now.
    pub(crate) fn begun() -> Self {
        Self { sent: Some(Instant::now()), ..Self::default() }
    }

    pub(crate) fn count(&mut self, text: bool, usage: Option<u32>) {
        if text {
            let now = Instant::now();
            self.first.get_or_insert(now);
            self.last = Some(now);
            self.pieces += 1;
        }
        if usage.is_some() {
            self.tokens = usage;
        }
    }

    /// Tokens by the server's own count where it gives one, else by pieces, which are tokens in both dialects.
    pub(crate) fn stats(&self) -> Stats {
        let tokens = self.tokens.or((self.pieces > 0).then_some(self.pieces));
        let span = self.first.zip(self.last).map(|(f, l)| l.duration_since(f).as_secs_f64());
        let rate = tokens.zip(span).filter(|(t, s)| *t > 1 && *s > 0.0).map(|(t, s)| f64::from(t - 1) / s);
        let first = self.sent.zip(self.first).map(|(s, f)| f.duration_since(s).as_secs_f64());
        Stats { tokens, tokens_per_second: rate, first_token_seconds: first }
    }
}

fn request_body(agent: &str, role: Option<&str>, history: &[Message]) -> Value {
    let mut messages = Vec::new();
    if let Some(role) = role.filter(|r| !r.is_empty()) {
        messages.push(json!({"role": "system", "content": role}));
    }
    for message in history {
        // What failed before it said anything is no turn of the conversation.
        if message.text.is_empty() {
            continue;
        }
        let who = if message.role == Role::User { "user" } else { "assistant" };
        messages.push(json!({"role": who, "content": message.text}));
    }
    json!({"model": agent, "messages": messages, "stream": true, "stream_options": {"include_usage": true}})
}

pub(crate) enum Piece {
    Delta { text: String, thinking: String, usage: Option<u32> },
    Failed(String),
}

pub(crate) fn read_chunk(data: &str) -> Piece {
    let Ok(value) = serde_json::from_str::<Value>(data) else {
        return Piece::Delta { text: String::new(), thinking: String::new(), usage: None };
    };
    if let Some(said) = error_text(&value) {
        return Piece::Failed(said);
    }
    let delta = &value["choices"][0]["delta"];
    let text = |key: &str| delta[key].as_str().unwrap_or_default().to_owned();
    let thinking = text("reasoning") + &text("reasoning_content");
    let usage = value["usage"]["completion_tokens"].as_u64().and_then(|n| u32::try_from(n).ok());
    Piece::Delta { text: text("content"), thinking, usage }
}

fn error_text(value: &Value) -> Option<String> {
    let error = value.get("error")?;
    Some(
        error
            .as_str()
            .or_else(|| error["message"].as_str())
            .unwrap_or("The model server refused.")
            .to_owned(),
    )
}

pub(crate) fn refusal_text(body: &str) -> Option<String> {
    error_text(&serde_json::from_str(body).ok()?)
}

/// Follows the reply under way from its start; ends at once where there is none.
pub(crate) async fn follow(
    ctx: &Ctx,
    replies: &Replies,
    id: i64,
    out: mpsc::Sender<Value>,
) -> Result<(), ApiError> {
    let Some(mut reply) = replies.get(id) else { return Ok(()) };
    let mut seen = (0, 0);
    let send = async |chunk: shape::ReplyChunk| match serde_json::to_value(chunk) {
        Ok(value) => out.send(value).await.is_ok(),
        Err(_) => false,
    };
    let Some(Ok(Some(message))) = ctx.world.database(move |db| db.message(reply.message)).await else {
        return Err(broken());
    };
    let mut started = message_shape(message);
    {
        let draft = reply.text.borrow_and_update();
        started.text.clone_from(&draft.text);
        started.thinking.clone_from(&draft.thinking);
        seen = (draft.text.len().max(seen.0), draft.thinking.len().max(seen.1));
    }
    if !send(shape::ReplyChunk::Started { message: started }).await {
        return Ok(());
    }
    loop {
        let (text, thinking, ended) = {
            let draft = reply.text.borrow_and_update();
            let text = draft.text.get(seen.0..).unwrap_or_default().to_owned();
            let thinking = draft.thinking.get(seen.1..).unwrap_or_default().to_owned();
            seen = (draft.text.len(), draft.thinking.len());
            (text, thinking, draft.ended)
        };
        if !thinking.is_empty() && !send(shape::ReplyChunk::Thinking { text: thinking }).await {
            return Ok(());
        }
        if !text.is_empty() && !send(shape::ReplyChunk::Text { text }).await {
            return Ok(());
        }
        if ended {
            break;
        }
        tokio::select! {
            changed = reply.text.changed() => if changed.is_err() { break },
            () = out.closed() => return Ok(()),
        }
        tokio::time::sleep(GATHER).await;
    }
    let message = reply.message;
    if let Some(Ok(Some(message))) = ctx.world.database(move |db| db.message(message)).await {
        send(shape::ReplyChunk::Done { message: message_shape(message) }).await;
    }
    Ok(())
}
