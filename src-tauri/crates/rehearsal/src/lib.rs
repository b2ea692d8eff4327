//! The rehearsal: a model server that is none, and a machine that is played.
//!
//! [`stand_in`] speaks the dialects of vLLM 0.32 and llama.cpp b11434 as they were recorded, holds its memory for
//! real, answers with readable text, calls the tools that a prompt spells out (`[[call NAME {…}]]`), and misbehaves on request
//! ([`fault`]). [`machine`] is the played machine whose
//! gigabytes are megabytes; [`playback`] a recorded machine that moves;
//! [`report`] tells what every server holds now, [`journal`] what was held at any instant.
//!
//! [`hub`] is a small Hugging Face Hub on the loopback that misbehaves on request.
//!
//! Deliberately absent: a model. Nothing here reads a weight or computes a logit.
//!
//! `machine`, `report` and `journal` are the parts that others read with; they know nothing of HTTP.

// llama.cpp's longest answers are one `json!` each.
#![recursion_limit = "256"]
#![allow(clippy::result_large_err, reason = "a refused request is an error that is the answer itself")]

pub mod fault;
pub mod hub;
pub mod journal;
pub mod machine;
pub mod playback;
pub mod report;
pub mod stand_in;

mod about;
mod answer;
mod args;
mod engine;
mod exchange;
mod holding;
mod llama;
mod loading;
mod log;
mod metrics;
mod script;
mod server;
mod settings;
mod sse;
mod text;
mod vllm;
