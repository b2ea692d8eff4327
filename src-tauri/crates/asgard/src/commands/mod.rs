//! The commands that are clients: of the controller, or of files alone.

mod bench;
mod chat;
mod command;
mod config;
mod doctor;
mod estimate;
mod gateway;
mod health;
mod logs;
mod models;
mod others;
mod plan;
mod plot;
mod stacks;
mod status;
mod tools;
mod wish;

use std::future::Future;

use api::{ApiError, Code};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Answer;
use crate::args::Command;
use crate::screen::Screen;
use wish::Wish;

pub(crate) fn run(screen: Screen, command: Command) -> Result<Answer, ApiError> {
    match command {
        Command::Serve(how) => crate::serve::run(screen, &how),
        Command::Config { what } => config::run(screen, what),
        Command::Preset { what } => block_on(stacks::preset(screen, what)),
        Command::Import { what } => block_on(stacks::import(screen, what)),
        Command::Export(ask) => block_on(tools::export(screen, ask)),
        Command::Neighbours { what } => block_on(others::neighbours(screen, what)),
        Command::Session { what } => block_on(gateway::session(screen, what)),
        Command::Keys { what } => block_on(gateway::keys(screen, what)),
        Command::Images { what } => block_on(others::images(screen, what)),
        Command::Doctor { report } => block_on(doctor::run(screen, report.as_deref())),
        Command::Models { what } => block_on(models::run(screen, what)),
        Command::Estimate(ask) => block_on(estimate::run(screen, ask)),
        Command::Plan(ask) => plan::run(screen, &ask),
        Command::Status { plot: Some(file), how, .. } => plot::run(screen, &file, &how),
        Command::Status { watch, .. } => block_on(status::run(screen, watch)),
        Command::Switch { profile } => block_on(wish::run(screen, Wish::Switch(profile))),
        Command::Up { profile } => block_on(wish::run(screen, Wish::Up(profile))),
        Command::Down => block_on(wish::run(screen, Wish::Down)),
        Command::Start { agent } => block_on(wish::run(screen, Wish::Start(agent))),
        Command::Stop { agent } => block_on(wish::run(screen, Wish::Stop(agent))),
        Command::Yield { hours } => block_on(wish::run(screen, Wish::Yield(hours))),
        Command::Resume => block_on(wish::run(screen, Wish::Resume)),
        Command::Restart { agent, when_idle, take_back } => {
            let wish = match (when_idle, take_back) {
                (true, _) => Wish::RestartWhenIdle(agent),
                (_, true) => Wish::TakeRestartBack(agent),
                (false, false) => Wish::Restart(agent),
            };
            block_on(wish::run(screen, wish))
        }
        Command::Health { deep } => block_on(health::run(screen, deep)),
        Command::Bench(ask) => block_on(bench::run(screen, ask)),
        Command::Logs { agent, follow, lines } => block_on(logs::run(screen, agent, follow, lines)),
        Command::Chat { agent, prompt } => block_on(chat::run(screen, &agent, &prompt.join(" "))),
    }
}

/// One thread is enough to wait on one socket.
fn block_on<T>(work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        ApiError::new(
            Code::Failed,
            format!("This command could not start: {error}."),
            "Close something and try again.",
        )
    })?;
    let answer = runtime.block_on(work);
    // A thread that reads the terminal cannot be interrupted; the end of the program ends it.
    runtime.shutdown_background();
    answer
}

/// The typed form of an answer that is printed as it came.
fn read<T: DeserializeOwned>(value: &Value) -> Result<T, ApiError> {
    T::deserialize(value).map_err(|error| {
        ApiError::new(
            Code::Failed,
            format!("The answer of the controller could not be read: {error}."),
            "It may be of another version: end it (agents keep running) and start it again.",
        )
    })
}

/// A signal that the one at the terminal sends; the controller is not told of it.
fn interrupts() -> Result<tokio::signal::unix::Signal, ApiError> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).map_err(|error| {
        ApiError::new(
            Code::Failed,
            format!("Ctrl-C cannot be heard: {error}."),
            "Try again in another terminal.",
        )
    })
}
