//! What the Hub has, and what of that would run here.

use crate::carry::Ctx;
use api::shapes::hub::{CuratedModels, ModelInfo, RepoRequest, SearchRequest};
use api::{ApiError, Code};

use serde_json::Value;
use tokio::sync::mpsc;

fn absent() -> ApiError {
    ApiError::new(Code::Failed, "This part is not there yet.", "")
}

pub(crate) fn curated(_ctx: &Ctx) -> CuratedModels {
    CuratedModels { models: Vec::new(), checked_for: None }
}

pub(crate) async fn info(_ctx: &Ctx, _asked: &RepoRequest) -> Result<ModelInfo, ApiError> {
    Err(absent())
}

pub(crate) async fn search(
    _ctx: &Ctx,
    _asked: &SearchRequest,
    _out: mpsc::Sender<Value>,
) -> Result<(), ApiError> {
    Err(absent())
}
