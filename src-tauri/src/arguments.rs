//! The words of the command line. There are so few that a parser would be the larger part.

use std::ffi::OsString;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// Passed on to a controller that is started.
    pub(crate) rehearsal: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Open(Options),
    /// Print this and be done.
    Say(String),
    /// Print this on stderr; exit code 2.
    Wrong(String),
}

const HELP: &str = "\
The window of Asgard. It starts the controller if none runs.

Usage: asgard-desktop [--rehearsal]

  --rehearsal    play with stand-ins for the models, in folders of their own
  --version      print the version
  --help         print this";

pub(crate) fn read(arguments: impl Iterator<Item = OsString>) -> Asked {
    let mut options = Options::default();
    for argument in arguments {
        match argument.to_str() {
            Some("--rehearsal") => options.rehearsal = true,
            Some("--version" | "-V") => {
                return Asked::Say(concat!("asgard-desktop ", env!("CARGO_PKG_VERSION")).to_owned());
            }
            Some("--help" | "-h") => return Asked::Say(HELP.to_owned()),
            _ => {
                return Asked::Wrong(format!(
                    "asgard-desktop does not know {}. Run `asgard-desktop --help` for what it knows.",
                    argument.to_string_lossy()
                ));
            }
        }
    }
    Asked::Open(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Asked {
        read(words.iter().map(OsString::from))
    }

    #[test]
    fn the_words_that_it_knows() {
        assert_eq!(asked(&[]), Asked::Open(Options { rehearsal: false }));
        assert_eq!(asked(&["--rehearsal"]), Asked::Open(Options { rehearsal: true }));
        assert!(matches!(asked(&["--help"]), Asked::Say(text) if text.contains("--rehearsal")));
    }

    #[test]
    fn a_word_that_it_does_not_know_is_named() {
        assert!(matches!(asked(&["--rehearse"]), Asked::Wrong(text) if text.contains("--rehearse")));
    }
}
