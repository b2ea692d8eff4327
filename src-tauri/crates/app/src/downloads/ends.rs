//! What an error of the Hub or of the engine means for the queue, and for a person.

use std::time::Duration;

use api::shapes::downloads::Remedy;
use api::shapes::hub::HubProblem;
use domain::download::queue::{Again, End};
use models::download::FetchError;
use models::hub::HubError;

use super::source::Nothing;
use crate::hub_problem;

/// How an attempt ended, why, and whether its list of files must be asked for again.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ending {
    pub(super) end: End,
    /// None where nothing went wrong.
    pub(super) problem: Option<HubProblem>,
    pub(super) list_again: bool,
}

impl Ending {
    pub(super) fn fine(end: End) -> Self {
        Self { end, problem: None, list_again: false }
    }
}

pub(super) fn of_look_up(error: &Nothing) -> Ending {
    match error {
        Nothing::Hub(error) => of_hub(error),
        Nothing::Refused(problem) => {
            Ending { end: End::Failed, problem: Some(problem.clone()), list_again: true }
        }
    }
}

pub(super) fn of_fetch(error: &FetchError) -> Ending {
    let failed = |remedy: Remedy| Ending {
        end: End::Failed,
        problem: Some(HubProblem {
            message: error.to_string(),
            next: error.next(),
            remedy: Some(remedy),
            page: None,
        }),
        list_again: false,
    };
    match error {
        FetchError::Hub(error) => of_hub(error),
        FetchError::Cancelled => Ending::fine(End::Stopped),
        FetchError::DiskFull { .. } => failed(Remedy::FreeDisk),
        FetchError::NotWritable { owner: Some(_), .. } => failed(Remedy::FixOwner),
        FetchError::TooLarge { .. } | FetchError::HostilePath { .. } | FetchError::Clash { .. } => {
            failed(Remedy::ChooseOther)
        }
        FetchError::Changed { .. } => Ending { list_again: true, ..failed(Remedy::TryAgain) },
        FetchError::NotWritable { owner: None, .. } | FetchError::Damaged { .. } | FetchError::Io { .. } => {
            failed(Remedy::TryAgain)
        }
    }
}

fn of_hub(error: &HubError) -> Ending {
    let end = match error {
        HubError::RateLimited { seconds } => End::Again(Again::Asked(Duration::from_secs(*seconds))),
        HubError::Unreachable { .. } => End::Again(Again::Network),
        HubError::Strange { .. } => End::Again(Again::Strange),
        // What the Hub itself has gone wrong with passes; what it does not understand stays so.
        HubError::Failed { status } if *status >= 500 || *status == 408 => End::Again(Again::Network),
        _ => End::Failed,
    };
    Ending { end, problem: Some(hub_problem::problem(error)), list_again: false }
}
