//! What is true, and what should happen.
//!
//! Everything here is a pure function of its arguments: the stack as written becomes the stack as checked
//! ([`stack`]), a wish becomes a plan or a refusal with numbers ([`plan`]), a state becomes a menu ([`tray`]).
//! Time, randomness and the outside world are passed in. `clippy.toml` beside this crate keeps it so.
//!
//! Deliberately absent: tokio, files, sockets, clocks, logging, JSON.

pub mod advice;
pub mod agent;
pub mod attribution;
pub mod catalog;
pub mod curated;
pub mod doctor;
pub mod download;
pub mod estimate;
pub mod fit;
pub mod footprint;
pub mod gpu;
pub mod licence;
pub mod lost;
pub mod matrix;
pub mod memory;
pub mod plan;
pub mod pool;
pub mod pressure;
pub mod quantization;
pub mod schedule;
pub mod secret;
pub mod server_line;
pub mod speed;
pub mod stack;
pub mod tray;

pub use agent::{AgentName, AgentState, Stage};
pub use gpu::GpuVendor;
pub use memory::{Bytes, Unit};
