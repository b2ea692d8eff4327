//! The Hub's account: where its token is, whose it is.

use crate::carry::Ctx;
use api::shapes::hub::{HubAccount, TokenText};
use api::{ApiError, Code};

fn absent() -> ApiError {
    ApiError::new(Code::Failed, "This part is not there yet.", "")
}

pub(crate) async fn account(_ctx: &Ctx) -> HubAccount {
    HubAccount { endpoint: String::new(), token: None, user: None, role: None, checked: None, problem: None }
}

pub(crate) async fn set(_ctx: &Ctx, _token: TokenText) -> Result<HubAccount, ApiError> {
    Err(absent())
}

pub(crate) async fn remove(_ctx: &Ctx) -> Result<HubAccount, ApiError> {
    Err(absent())
}

pub(crate) async fn check(_ctx: &Ctx) -> Result<HubAccount, ApiError> {
    Err(absent())
}
