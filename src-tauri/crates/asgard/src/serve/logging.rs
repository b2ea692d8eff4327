//! The log: a rotated file always, and the terminal where there is one.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Mutex;

use store::log::RotatingFile;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Ours in full; of the libraries what is wrong.
const FILTER: &str =
    "warn,app=info,asgard=info,bifrost=info,engine=info,hardware=info,models=info,store=info";

/// Call it once. A log that cannot be opened is said and does not keep the controller from starting.
pub(super) fn begin(path: &Path) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(FILTER));
    let to_file = match RotatingFile::open(path) {
        Ok(file) => Some(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Mutex::new(file))),
        Err(error) => {
            eprintln!(
                "The log {} cannot be written: {error}. Check that its folder is yours.",
                path.display()
            );
            None
        }
    };
    // Started by another command, stderr is this same file: every line would be there twice.
    let to_terminal = std::io::stderr()
        .is_terminal()
        .then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false));
    let _ = tracing_subscriber::registry().with(filter).with(to_file).with(to_terminal).try_init();
}
