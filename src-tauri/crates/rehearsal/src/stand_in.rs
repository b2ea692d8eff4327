//! The stand-in as a program: one call that reads arguments and environment, serves, and says how it ended.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use crate::about;
use crate::args::{self, Dialect, Refusal};
use crate::log::Log;
use crate::settings::Settings;
use crate::{server, vllm};

/// Plays the model server that `args` would start: `vllm serve MODEL …` or `llama-server --model FILE …`, exactly as
/// for the real one. What concerns the rehearsal alone is in the environment: `ASGARD_AGENT`,
/// `ASGARD_REHEARSAL_HOLD` (bytes), `ASGARD_REHEARSAL_LOAD_MS` (2000), `ASGARD_REHEARSAL_TOKENS_PER_SECOND` (40),
/// `ASGARD_REHEARSAL_FAULT` (see [`crate::fault::ALL`]), `ASGARD_REHEARSAL_REPORT` and `ASGARD_REHEARSAL_JOURNAL`
/// (files, see [`crate::report`] and [`crate::journal`]).
///
/// Builds its own runtime and returns when the server has ended.
#[expect(clippy::needless_pass_by_value, reason = "a program's arguments are handed over for good")]
pub fn main(args: Vec<OsString>) -> ExitCode {
    ExitCode::from(run(&args))
}

fn run(args: &[OsString]) -> u8 {
    if let Some(answer) = about::answer(args) {
        return if answer.on_stderr { refuse(&answer.text, 0) } else { print(&answer.text) };
    }
    let log = Log::new();
    let var = |name: &str| std::env::var(name).ok();
    let command = match args::read(args, var) {
        Ok(command) => command,
        Err(Refusal { text, code }) => return refuse(&text, code),
    };
    let settings = match Settings::read(var) {
        Ok(settings) => settings,
        Err(text) => return refuse(&format!("{text}\n"), 2),
    };
    // Wrong arguments, played: what the real server prints about a flag that its version does not have.
    if settings.failure().is_some_and(|fault| fault.name == "fail:bad-args") {
        return match command.dialect {
            Dialect::Vllm => refuse(
                &format!("{}vllm: error: unrecognized arguments: --no-such-flag\n", vllm::args::USAGE),
                2,
            ),
            Dialect::Llama => refuse("error: invalid argument: --no-such-flag\n", 1),
        };
    }
    // One thread is enough for words at reading speed, and keeps the server's own memory small.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("The stand-in could not start: {error}.\n"), 1),
    };
    match runtime.block_on(server::run(command, settings, log)) {
        Ok(code) => code,
        Err(error) => refuse(&format!("The stand-in could not keep its books: {error}.\n"), 1),
    }
}

fn print(text: &str) -> u8 {
    u8::from(std::io::stdout().lock().write_all(text.as_bytes()).is_err())
}

fn refuse(text: &str, code: u8) -> u8 {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
    code
}
