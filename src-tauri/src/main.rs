//! The window.
//!
//! It starts the controller if none runs, speaks to it over the control socket, and exits when it is closed; the agents
//! and their replies live on. Everything that the page asks goes through [`commands`], each request is looked at by
//! [`callers`] first, and the page itself may open no connection.
//!
//! Deliberately absent: a tray, a menu, state of its own beyond how it looks, and any knowledge of engines or plans.

mod arguments;
mod callers;
mod commands;
mod controller;
mod dialogs;
mod link;
mod places;
mod preferences;
mod streams;
mod window;

use std::process::ExitCode;

use arguments::Asked;

fn main() -> ExitCode {
    let options = match arguments::read(std::env::args_os().skip(1)) {
        Asked::Open(options) => options,
        Asked::Say(text) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Asked::Wrong(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    match window::open(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}
