//! Downloads against a Hub that misbehaves in one way at a time: at the end the bytes are right, or the error is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what is missing fails the test")]

#[path = "download/play.rs"]
mod play;

#[path = "download/broken.rs"]
mod broken;
#[path = "download/disk.rs"]
mod disk;
#[path = "download/hashed.rs"]
mod hashed;
#[path = "download/killed.rs"]
mod killed;
#[path = "download/layout.rs"]
mod layout;
#[path = "download/pace.rs"]
mod pace;
#[path = "download/refused.rs"]
mod refused;
#[path = "download/together.rs"]
mod together;
