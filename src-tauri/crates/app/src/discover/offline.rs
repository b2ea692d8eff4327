//! The Hub without a controller: for the commands.

use std::sync::Arc;

use api::shapes::hub::{CuratedModels, ModelInfo, RepoRequest, SearchRequest};
use api::{ApiError, Code};
use domain::secret::Secret;
use models::hub::{Hub, PUBLIC};
use serde_json::Value;
use store::secrets::{HUB_TOKEN, Secrets};
use tokio::sync::mpsc;

use super::ground::Ground;
use super::memory::Memory;
use crate::offline;
use crate::start::Options;

/// The models that ship with Asgard.
pub fn offline_curated(options: &Options) -> CuratedModels {
    super::curated::models(&ground(options))
}

/// # Errors
/// What the Hub does not give, each with what helps.
pub async fn offline_info(options: &Options, asked: &RepoRequest) -> Result<ModelInfo, ApiError> {
    let hub = hub(options).await?;
    super::info_on(&hub, &ground(options), &Memory::default(), asked).await
}

/// A page, then each of its models again when it was looked at, as [`api::shapes::hub::SearchChunk`].
///
/// # Errors
/// What keeps the Hub from answering at all.
pub async fn offline_search(
    options: &Options,
    asked: &SearchRequest,
    out: mpsc::Sender<Value>,
) -> Result<(), ApiError> {
    let hub = hub(options).await?;
    super::search_on(&hub, &ground(options), &Memory::default(), asked, &out).await
}

/// As the controller does: see [`super::described`].
pub(crate) async fn described(
    options: &Options,
    model: &str,
    absent: ApiError,
) -> Result<models::Described, ApiError> {
    let hub = hub(options).await?;
    super::described_on(&hub, &Memory::default(), model, absent).await
}

pub(crate) fn ground(options: &Options) -> Ground {
    Ground {
        folder: options.paths.hub.clone(),
        scale: 1,
        gpu: options.machine().gpu(),
        household: offline::ground(options).map(Arc::new),
    }
}

/// The Hub that is named, or Hugging Face's, with the token in force.
async fn hub(options: &Options) -> Result<Hub, ApiError> {
    let own = match Secrets::open(&options.paths).find(HUB_TOKEN).await {
        Ok(found) => found.map(|(token, _)| token),
        Err(_) => None,
    };
    let token = match own.or_else(|| options.hub_token.clone()) {
        Some(token) => Some(token),
        None => client_token(options),
    };
    let hub = match options.var("HF_ENDPOINT") {
        Some(endpoint) => Hub::mirror(endpoint, token),
        None => Hub::new(PUBLIC, token),
    };
    hub.map(|hub| Hub { offline: options.hub_offline(), ..hub })
        .map_err(|e| ApiError::new(Code::Usage, e.to_string(), e.next()))
}

/// What the Hub's own client keeps.
fn client_token(options: &Options) -> Option<Secret> {
    crate::account::client_token(&options.paths.client_token)
}
