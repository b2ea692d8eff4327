//! A model that is here already, held against the machine like one of the Hub.

use api::shapes::hub::{HubModel, Variant};
use domain::estimate::ModelFacts;
use domain::stack::BackendKind;
use models::variants::{ALL, RepoVariant};

use super::ground::Ground;
use super::model::{Known, licensed, shaped};
use super::words;

/// What it takes, where it fits, how fast it could be; and what a person calls it and its licence.
pub(crate) fn of_installed(
    ground: &Ground,
    repo: &str,
    model: &str,
    is_gguf: bool,
    facts: Option<&ModelFacts>,
    licence: Option<&str>,
) -> (HubModel, Variant) {
    let plain = RepoVariant {
        // A GGUF's word is its quantisation, which its own header says.
        id: if is_gguf { String::new() } else { ALL.to_owned() },
        backend: Some(if is_gguf { BackendKind::LlamaCpp } else { BackendKind::Vllm }),
        model: model.to_owned(),
        files: Vec::new(),
        weights: Vec::new(),
        refused: None,
    };
    let known = Known { facts, parameters: None, active: None, divide: 1 };
    let variant = shaped(ground, repo, &plain, &known, None);
    (HubModel { title: words::title(repo), ..licensed(licence) }, variant)
}
