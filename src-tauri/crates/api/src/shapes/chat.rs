//! Conversations. The controller keeps them and is Bifrost's client for the replies, so they survive the window.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ConversationRequest {
    pub conversation: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct NewConversation {
    pub agent: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct SendRequest {
    pub conversation: i64,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Conversations {
    /// The latest first.
    pub conversations: Vec<ConversationSummary>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct ConversationSummary {
    pub id: i64,
    pub agent: String,
    /// The first words of the first message.
    pub title: String,
    pub updated: String,
    /// Whether a reply is under way.
    pub replying: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Conversation {
    pub id: i64,
    pub agent: String,
    pub title: String,
    pub updated: String,
    pub replying: bool,
    pub messages: Vec<Message>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Message {
    pub id: i64,
    pub role: MessageRole,
    /// Text as the model gave it: hostile until sanitised.
    pub text: String,
    pub thinking: String,
    pub state: MessageState,
    pub time: String,
    pub error: Option<super::status::Failure>,
    pub stats: Option<ReplyStats>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum MessageRole {
    User,
    Assistant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    Done,
    Streaming,
    /// The user ended it.
    Stopped,
    /// It broke off: the agent, the gateway, or the controller died. What had arrived is kept.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, TS)]
pub struct ReplyStats {
    pub tokens: Option<u32>,
    pub tokens_per_second: Option<f64>,
    pub first_token_seconds: Option<f64>,
}

/// One piece of a reply. Pieces are gathered for about 30 ms, so that the window draws at most that often.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ReplyChunk {
    /// The reply's message exists now; the text that has already arrived, for one who joins late.
    Started {
        message: Message,
    },
    Text {
        text: String,
    },
    Thinking {
        text: String,
    },
    /// The finished message, as it is kept.
    Done {
        message: Message,
    },
}
