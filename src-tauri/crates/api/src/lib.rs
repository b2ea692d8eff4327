//! What Asgard can be asked, and how.
//!
//! One list of requests ([`Request`]) with a response shape each; every face (window, tray, command line, browser
//! host) passes them on and none adds its own. To add one: a line in [`request::requests!`]'s list, its shapes in
//! `shapes/<area>.rs`, and an arm in `app`'s one match, which does not compile without it.
//!
//! On the control socket a message is one line of JSON ([`wire`]). Events say "changed, revision n"; readers fetch.
//!
//! Deliberately absent: anything that does something. This crate is shapes and the client, so that the window links
//! neither the engines nor the database.

pub mod client;
pub mod error;
pub mod request;
pub mod shapes;
pub mod typescript;
pub mod wire;

pub use error::{ApiError, Code};
pub use request::{Request, Streamed};
