//! Counting what passes, without touching it.

use std::time::Duration;

/// What was seen of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
    /// The tokens were counted by the events of the stream, not said by the server.
    pub(crate) counted: bool,
    /// From the lease to the first event with content.
    pub(crate) first_token: Option<Duration>,
    /// Between the first and the last token.
    pub(crate) tokens_per_second: Option<f64>,
}
