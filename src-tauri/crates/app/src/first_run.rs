//! The first steps on a machine.

use crate::carry::Ctx;
use api::shapes::assign::{FinishFirstRunRequest, FirstRun};
use api::{ApiError, Code};

fn absent() -> ApiError {
    ApiError::new(Code::Failed, "This part is not there yet.", "")
}

pub(crate) async fn first_run(_ctx: &Ctx) -> Result<FirstRun, ApiError> {
    Err(absent())
}

pub(crate) async fn finish(_ctx: &Ctx, _asked: &FinishFirstRunRequest) -> Result<FirstRun, ApiError> {
    Err(absent())
}
