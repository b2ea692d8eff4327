//! What a running server says of itself: the text of `/metrics` of vLLM and of llama.cpp, llama.cpp's `/slots`, and
//! what two readings in a row tell.
//!
//! All of it is pure: text in, figures out, time passed in. Who asks, how often, and where the figures go is the
//! controller's business.

mod meter;
mod read;
mod slots;

pub use meter::{Live, Meter};
pub use read::{CacheConfig, Scrape, Sum, read};
pub use slots::{Slots, read_slots};
