//! Downloads, as far as they can be decided without a network and a disk: which bytes to ask for next, over how many
//! connections, how long to wait, what an answer is worth, what may be believed after a crash; and the queue. Time and
//! chance are arguments.

pub mod answer;
pub mod bucket;
pub mod climb;
pub mod journal;
pub mod meter;
pub mod names;
pub mod patience;
pub mod portion;
pub mod queue;
pub mod ranges;

pub use ranges::{Ranges, Span};
