//! The JSON shapes, one file an area. Fields may be added, none renamed or removed. Memory in bytes, times in
//! RFC 3339, durations in seconds; what is not known is null.

pub mod activity;
pub mod agents;
pub mod assign;
pub mod chat;
pub mod doctor;
pub mod downloads;
pub mod gateway;
pub mod history;
pub mod hub;
pub mod images;
pub mod installed;
pub mod models;
pub mod neighbours;
pub mod plans;
pub mod settings;
pub mod stacks;
pub mod status;
pub mod tools;
