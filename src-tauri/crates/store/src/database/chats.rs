//! Conversations and their messages.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde_json::Value;

use super::{Database, Result, to_millis, to_time};

/// A conversation without its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    pub id: i64,
    pub agent: String,
    /// The first words of the first message; empty before it.
    pub title: String,
    pub created: Timestamp,
    pub updated: Timestamp,
    /// Whether a reply is under way.
    pub replying: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub id: i64,
    pub conversation: i64,
    pub role: Role,
    pub text: String,
    pub thinking: String,
    pub state: MessageState,
    pub time: Timestamp,
    /// What went wrong, as the caller gave it.
    pub error: Option<Value>,
    pub stats: Stats,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    Done,
    Streaming,
    Stopped,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    pub tokens: Option<u32>,
    pub tokens_per_second: Option<f64>,
    pub first_token_seconds: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    pub conversation: i64,
    pub role: Role,
    pub text: String,
    pub state: MessageState,
}

/// A message as it is from now on: everything that can change, at once.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageChange {
    pub text: String,
    pub thinking: String,
    pub state: MessageState,
    pub error: Option<Value>,
    pub stats: Stats,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }

    fn from_word(word: &str) -> Self {
        if word == "user" { Self::User } else { Self::Assistant }
    }
}

impl MessageState {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Streaming => "streaming",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    fn from_word(word: &str) -> Self {
        match word {
            "done" => Self::Done,
            "streaming" => Self::Streaming,
            "stopped" => Self::Stopped,
            _ => Self::Failed,
        }
    }
}

/// A title from the first message: its first words, at most 60 characters, on one line.
pub fn title_from(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut title = String::new();
    let mut length = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()) {
        let letters = word.chars().count();
        let gap = usize::from(!title.is_empty());
        // One place is kept for the mark that says that more follows.
        if length + gap + letters > LONGEST - 1 {
            if title.is_empty() {
                title.extend(word.chars().take(LONGEST - 1));
            }
            title.push('…');
            return title;
        }
        if gap == 1 {
            title.push(' ');
        }
        title.push_str(word);
        length += gap + letters;
    }
    title
}

const CONVERSATION: &str = "SELECT id, agent, title, created, updated,
    EXISTS (SELECT 1 FROM messages m WHERE m.conversation = c.id AND m.state = 'streaming') FROM conversations c";

const MESSAGE: &str =
    "SELECT id, conversation, role, text, thinking, state, time, error, tokens, tokens_per_second,
    first_token_seconds FROM messages";

impl Database {
    pub fn new_conversation(&self, agent: &str, now: Timestamp) -> Result<i64> {
        self.connection.execute(
            "INSERT INTO conversations (agent, created, updated) VALUES (?1, ?2, ?2)",
            params![agent, to_millis(now)],
        )?;
        Ok(self.connection.last_insert_rowid())
    }

    /// The latest first.
    pub fn conversations(&self, limit: u32) -> Result<Vec<Conversation>> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("{CONVERSATION} ORDER BY updated DESC, id DESC LIMIT ?1"))?;
        let rows = statement.query_map([limit], conversation)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// A conversation and its messages in order; none if it does not exist.
    pub fn conversation(&self, id: i64) -> Result<Option<(Conversation, Vec<Message>)>> {
        let mut statement = self.connection.prepare_cached(&format!("{CONVERSATION} WHERE id = ?1"))?;
        let Some(found) = statement.query_row([id], conversation).optional()? else { return Ok(None) };
        let mut statement =
            self.connection.prepare_cached(&format!("{MESSAGE} WHERE conversation = ?1 ORDER BY id"))?;
        let messages = statement.query_map([id], message)?.collect::<rusqlite::Result<_>>()?;
        Ok(Some((found, messages)))
    }

    pub fn message(&self, id: i64) -> Result<Option<Message>> {
        let mut statement = self.connection.prepare_cached(&format!("{MESSAGE} WHERE id = ?1"))?;
        Ok(statement.query_row([id], message).optional()?)
    }

    /// Whether there was one. Its messages go with it.
    pub fn delete_conversation(&self, id: i64) -> Result<bool> {
        Ok(self.connection.execute("DELETE FROM conversations WHERE id = ?1", [id])? > 0)
    }

    /// Adds a message, and gives its conversation a title if this is the user's first. An error if the conversation
    /// does not exist (any more).
    pub fn add_message(&mut self, new: &NewMessage, now: Timestamp) -> Result<i64> {
        let transaction = self.connection.transaction()?;
        transaction.execute(
            "INSERT INTO messages (conversation, role, text, state, time) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![new.conversation, new.role.word(), new.text, new.state.word(), to_millis(now)],
        )?;
        let id = transaction.last_insert_rowid();
        transaction.execute(
            "UPDATE conversations SET updated = ?2 WHERE id = ?1",
            params![new.conversation, to_millis(now)],
        )?;
        if new.role == Role::User {
            transaction.execute(
                "UPDATE conversations SET title = ?2 WHERE id = ?1 AND title = ''",
                params![new.conversation, title_from(&new.text)],
            )?;
        }
        transaction.commit()?;
        Ok(id)
    }

    /// Whether the message still exists: its conversation may have been deleted while the reply came.
    pub fn update_message(&self, id: i64, change: &MessageChange, now: Timestamp) -> Result<bool> {
        let changed = self
            .connection
            .prepare_cached(
                "UPDATE messages SET text = ?2, thinking = ?3, state = ?4, error = ?5, tokens = ?6,
                 tokens_per_second = ?7, first_token_seconds = ?8 WHERE id = ?1",
            )?
            .execute(params![
                id,
                change.text,
                change.thinking,
                change.state.word(),
                change.error.as_ref().map(Value::to_string),
                change.stats.tokens,
                change.stats.tokens_per_second,
                change.stats.first_token_seconds,
            ])?;
        if changed > 0 && change.state != MessageState::Streaming {
            self.connection.execute(
                "UPDATE conversations SET updated = ?2 WHERE id = (SELECT conversation FROM messages WHERE id = ?1)",
                params![id, to_millis(now)],
            )?;
        }
        Ok(changed > 0)
    }

    /// For a retry, which answers in place of the reply that failed.
    pub fn delete_message(&self, id: i64) -> Result<bool> {
        Ok(self.connection.execute("DELETE FROM messages WHERE id = ?1", [id])? > 0)
    }

    /// At the start of a controller: replies that its predecessor left in the middle failed, with this reason. What
    /// had arrived stays. Returns how many there were.
    pub fn mark_streaming_as_failed(&self, error: &Value) -> Result<usize> {
        Ok(self.connection.execute(
            "UPDATE messages SET state = 'failed', error = ?1 WHERE state = 'streaming'",
            [error.to_string()],
        )?)
    }
}

fn conversation(row: &Row<'_>) -> rusqlite::Result<Conversation> {
    Ok(Conversation {
        id: row.get(0)?,
        agent: row.get(1)?,
        title: row.get(2)?,
        created: to_time(row.get(3)?),
        updated: to_time(row.get(4)?),
        replying: row.get(5)?,
    })
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    Ok(Message {
        id: row.get(0)?,
        conversation: row.get(1)?,
        role: Role::from_word(&row.get::<_, String>(2)?),
        text: row.get(3)?,
        thinking: row.get(4)?,
        state: MessageState::from_word(&row.get::<_, String>(5)?),
        time: to_time(row.get(6)?),
        error: row.get::<_, Option<String>>(7)?.and_then(|text| serde_json::from_str(&text).ok()),
        stats: Stats {
            tokens: row.get(8)?,
            tokens_per_second: row.get(9)?,
            first_token_seconds: row.get(10)?,
        },
    })
}
