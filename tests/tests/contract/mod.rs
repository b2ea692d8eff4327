//! The checks, in the order of an agent's life.

pub mod bench;
mod images;
mod life;
mod log;
mod others;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bench::Bench;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Kept,
    /// This engine has nothing that the check is about.
    DoesNotApply,
}

pub type Running = Pin<Box<dyn Future<Output = Verdict> + Send>>;
pub type Check = fn(Arc<Bench>, usize) -> Running;

macro_rules! check {
    ($($path:ident)::+) => {
        |bench, number| Box::pin(async move { $($path)::+(&bench, number).await })
    };
}

/// What every engine must do.
pub const CHECKS: &[(&str, Check)] = &[
    ("says what it is", check!(life::probe)),
    ("nothing is listed at first", check!(life::empty)),
    ("knows whether the image is there", check!(images::has_image)),
    ("a start runs, with endpoint, key, revision and claim", check!(life::starts)),
    ("its port answers on 127.0.0.1", check!(life::answers)),
    ("folders are mounted, read-only where asked", check!(life::mounts)),
    ("a second start is refused", check!(life::second_start)),
    ("a foreign name is refused and untouched", check!(others::foreign_name)),
    ("whoever has the port is named", check!(others::foreign_port)),
    ("another instance is invisible and untouched", check!(others::another_instance)),
    ("a GPU that is not there is said, nothing is left", check!(life::no_device)),
    ("the log's tail, of both outputs", check!(log::tail)),
    ("the log is followed to its end", check!(log::follow)),
    ("the log is of this run only", check!(log::this_run)),
    ("an end is an event", check!(life::event)),
    ("the exit code of a crash", check!(life::crash_code)),
    ("a kill is 137", check!(life::killed)),
    ("an ended one is removed at the next start", check!(life::ended_is_removed)),
    ("a stop within its grace, volumes too", check!(life::stops)),
    ("one that ignores SIGTERM is killed after its grace", check!(life::refuses_to_stop)),
    ("a stop of what is gone is fine", check!(life::stop_of_nothing)),
    ("what a killed controller left is listed", check!(life::leftovers)),
    ("a start that is dropped leaves something listed or nothing", check!(life::dropped)),
    ("it starts by digest", check!(images::by_digest)),
    ("an image's version and flags are read", check!(images::version)),
    ("images are listed with their users and removed", check!(images::listed)),
    ("an engine that goes away is said and comes back", check!(life::goes_away)),
];
