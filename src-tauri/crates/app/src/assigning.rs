//! A model for an agent: tried, then written to the stack file.

use crate::carry::Ctx;
use api::shapes::assign::{AssignPreview, AssignRequest};
use api::shapes::stacks::Edited;
use api::{ApiError, Code};

fn absent() -> ApiError {
    ApiError::new(Code::Failed, "This part is not there yet.", "")
}

pub(crate) async fn preview(_ctx: &Ctx, _asked: &AssignRequest) -> Result<AssignPreview, ApiError> {
    Err(absent())
}

pub(crate) async fn assign(_ctx: &Ctx, _asked: &AssignRequest) -> Result<Edited, ApiError> {
    Err(absent())
}
