//! The stand-in model server as a program of its own, for images made FROM scratch.

use std::process::ExitCode;

fn main() -> ExitCode {
    rehearsal::stand_in::main(std::env::args_os().skip(1).collect())
}
