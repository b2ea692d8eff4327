//! The hand-written configurations, and a usual way to ask about them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses its part; what is missing fails the test"
)]

use domain::Bytes;
use domain::estimate::{ModelFacts, Request};
use domain::stack::BackendKind;

fn folder() -> String {
    format!("{}/tests/configs", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn text(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/{name}.json", folder())).unwrap()
}

pub(crate) fn facts(name: &str) -> ModelFacts {
    models::config::read(&text(name)).unwrap()
}

/// All of them, by name.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// One sequence on one device of 2048 batched tokens.
pub(crate) fn vllm(context: u32) -> Request {
    Request { batched_tokens: Some(2048), ..Request::one(BackendKind::Vllm, Some(context)) }
}

pub(crate) fn gib(gib: f64) -> Bytes {
    Bytes::gb(gib)
}

pub(crate) fn mib(mib: f64) -> Bytes {
    Bytes::mb(mib)
}
