//! What is in the cache of models, whoever put it there.

use crate::carry::Ctx;
use api::shapes::installed::{
    ImportModelRequest, InstalledModel, InstalledModels, RemoveModelRequest, RemovedModel,
};
use api::{ApiError, Code};

use serde_json::Value;
use tokio::sync::mpsc;

fn absent() -> ApiError {
    ApiError::new(Code::Failed, "This part is not there yet.", "")
}

pub(crate) async fn list(_ctx: &Ctx) -> Result<InstalledModels, ApiError> {
    Err(absent())
}

pub(crate) async fn remove(_ctx: &Ctx, _asked: &RemoveModelRequest) -> Result<RemovedModel, ApiError> {
    Err(absent())
}

pub(crate) async fn import(_ctx: &Ctx, _asked: &ImportModelRequest) -> Result<InstalledModel, ApiError> {
    Err(absent())
}

pub(crate) async fn verify(_ctx: &Ctx, _id: &str, _out: mpsc::Sender<Value>) -> Result<(), ApiError> {
    Err(absent())
}
