//! `asgard`: the one controller, and the words in which it is spoken to.
//!
//! A thin edge. `serve` hosts the controller (`app`), its control socket and the tray; every other command is a
//! client of that socket, or reads files where nothing has to run. What is shown is made by pure functions beside
//! each command.
//!
//! Deliberately absent: what a switch does, what fits, what an agent is. That is asked, never decided here.

mod args;
mod commands;
mod place;
mod reach;
mod screen;
mod serve;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use api::{ApiError, Code};
use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Args, Command};
use crate::screen::Screen;

/// The answer of a command that could be carried out. "No" is not an error: it was said on stdout, and the exit code
/// is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    No,
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    // As a process the stand-in model server is this program. Its arguments are those of the server it plays, so
    // nothing of ours may look at them first.
    if words.get(1).is_some_and(|word| word == "stand-in") {
        return rehearsal::stand_in::main(words.into_iter().skip(2).collect());
    }
    // The rehearsal's Hub on its own, for tests and benchmarks that need it in another process.
    if words.get(1).is_some_and(|word| word == "rehearsal-hub") {
        return rehearsal::hub::main(words.into_iter().skip(2).collect());
    }
    let args = match Args::try_parse_from(&words) {
        Ok(args) => args,
        Err(error) => return ExitCode::from(misused(&error, Screen::new(wants_json(&words)))),
    };
    let screen = Screen::new(args.json);
    let answer = match args.command {
        Command::Serve(how) => serve::run(screen, &how),
        command => commands::run(screen, command),
    };
    ExitCode::from(exit_code(screen, answer))
}

fn exit_code(screen: Screen, answer: Result<Answer, ApiError>) -> u8 {
    match answer {
        Ok(Answer::Yes) => 0,
        Ok(Answer::No) => 1,
        Err(error) => {
            screen.error(&error);
            error.exit_code()
        }
    }
}

/// Before the arguments could be read: whether the one who wrote them wanted JSON.
fn wants_json(words: &[OsString]) -> bool {
    words.iter().take_while(|word| *word != "--").any(|word| word == "--json")
}

/// Wrong usage: 2. Help and version that were asked for: 0.
fn misused(error: &clap::Error, screen: Screen) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return 0;
    }
    if screen.json {
        screen.error(&usage_error(error));
    } else {
        let _ = error.print();
    }
    2
}

fn usage_error(error: &clap::Error) -> ApiError {
    let message = if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "A command is missing.".to_owned()
    } else {
        let text = error.to_string();
        // The first paragraph is what is wrong; usage and tips follow it.
        let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        words::sentence(first.join(" ").trim_start_matches("error: "))
    };
    ApiError::new(Code::Usage, message, "See: asgard --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(line: &str) -> u8 {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        match Args::try_parse_from(&words) {
            Ok(_) => 99,
            Err(error) => misused(&error, Screen::new(true)),
        }
    }

    #[test]
    fn wrong_usage_is_2_and_help_that_was_asked_for_is_0() {
        for line in
            ["asgard", "asgard bench", "asgard switch", "asgard status --nope", "asgard logs thor -n many"]
        {
            assert_eq!(code_of(line), 2, "{line}");
        }
        for line in ["asgard --help", "asgard status --help", "asgard --version"] {
            assert_eq!(code_of(line), 0, "{line}");
        }
        assert_eq!(code_of("asgard status --watch --json"), 99);
    }

    #[test]
    fn the_answer_becomes_the_exit_code() {
        let screen = Screen::new(true);
        assert_eq!(exit_code(screen, Ok(Answer::Yes)), 0);
        assert_eq!(exit_code(screen, Ok(Answer::No)), 1);
        for (code, exit) in [
            (Code::DoesNotFit, 1),
            (Code::Failed, 1),
            (Code::Cancelled, 1),
            (Code::Unknown, 2),
            (Code::Engine, 3),
            (Code::Unreachable, 3),
        ] {
            assert_eq!(exit_code(screen, Err(ApiError::new(code, "Something.", ""))), exit);
        }
    }

    #[test]
    fn a_usage_error_is_one_sentence_and_a_next_step() {
        let words = ["asgard", "status", "--nope"];
        let error = usage_error(&Args::try_parse_from(words).unwrap_err());
        assert_eq!(error.message, "Unexpected argument '--nope' found.");
        assert_eq!(error.next, "See: asgard --help");
        let none = usage_error(&Args::try_parse_from(["asgard"]).unwrap_err());
        assert_eq!(none.message, "A command is missing.");
    }

    #[test]
    fn json_is_wanted_only_before_the_double_dash() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(wants_json(&words("asgard --json nope")));
        assert!(!wants_json(&words("asgard chat thor -- --json")));
    }
}
