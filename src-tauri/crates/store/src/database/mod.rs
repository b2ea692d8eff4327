//! The database: conversations, what happened, what was asked of the gateway, how long starts took, downloads, and the controller's few settings.
//!
//! Synchronous: whoever must not wait calls it from a thread of its own. Time comes in as an argument. One
//! controller writes; a second program may read at the same time (WAL).
//!
//! Deliberately absent: passwords, tokens, the stack. The file is mode 0600 all the same: conversations are private.

mod chats;
mod downloads;
mod footprints;
mod history;
mod images;
mod open;
mod requests;
#[cfg(test)]
mod requests_tests;
mod telemetry;
#[cfg(test)]
mod telemetry_tests;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use jiff::Timestamp;
use rusqlite::Connection;

pub use chats::{Conversation, Message, MessageChange, MessageState, NewMessage, Role, Stats, title_from};
pub use downloads::{DownloadPhase, DownloadRecord, FileRecord};
pub use footprints::FOOTPRINTS_KEPT;
pub use history::{EVENTS_KEPT, Event, Severity};
pub use images::{ImageRecord, VersionRecord};
pub use open::{Opened, SetAside, Why};
pub use requests::{EndedRequest, KeptRequest, REQUEST_DAYS_KEPT, REQUESTS_KEPT, RequestsPage};
pub use telemetry::{
    AgentFigures, Figure, HOURS_KEPT, MINUTES_KEPT, Point, PoolHistory, PoolSample, RAW_KEPT, Sample,
};

/// The open database.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
}

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("The database {} cannot be opened: {cause}. Check that its folder is yours and has room.", path.display())]
    Open { path: PathBuf, cause: String },
    #[error("The database refused: {0}. Check that the disk has room; nothing that was kept before is lost.")]
    Sql(#[from] rusqlite::Error),
}

type Result<T> = std::result::Result<T, DatabaseError>;

/// Times are kept as milliseconds since 1970, so that they sort as numbers.
fn to_millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

/// A number that is no time becomes 1970: a damaged row must not hide the others.
fn to_time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
