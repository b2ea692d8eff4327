//! The stand-in model server as a program of its own, for images made FROM scratch; with `rehearsal-hub` as its first
//! word, the rehearsal's Hub.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if words.first().is_some_and(|word| word == "rehearsal-hub") {
        words.remove(0);
        return rehearsal::hub::main(words);
    }
    rehearsal::stand_in::main(words)
}
