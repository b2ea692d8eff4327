//! The queue of downloads.

use crate::carry::Ctx;
use api::shapes::downloads::{CancelDownloadRequest, Download, DownloadDetail, Downloads, PullRequest};
use api::{ApiError, Code};

fn absent() -> ApiError {
    ApiError::new(Code::Failed, "This part is not there yet.", "")
}

pub(crate) async fn pull(_ctx: &Ctx, _asked: &PullRequest) -> Result<Download, ApiError> {
    Err(absent())
}

pub(crate) fn list(_ctx: &Ctx) -> Downloads {
    Downloads {
        downloads: Vec::new(),
        bytes_per_second: None,
        seconds_left: None,
        paused: false,
        limit_bytes_per_second: None,
        free_bytes: None,
        partial_bytes: 0,
        partial_days: 30,
        then_start: None,
    }
}

pub(crate) fn detail(_ctx: &Ctx, _id: &str) -> Result<DownloadDetail, ApiError> {
    Err(absent())
}

pub(crate) async fn pause(_ctx: &Ctx, _id: Option<&str>) -> Result<Downloads, ApiError> {
    Err(absent())
}

pub(crate) async fn resume(_ctx: &Ctx, _id: Option<&str>) -> Result<Downloads, ApiError> {
    Err(absent())
}

pub(crate) async fn cancel(_ctx: &Ctx, _asked: &CancelDownloadRequest) -> Result<Downloads, ApiError> {
    Err(absent())
}

pub(crate) async fn forget(_ctx: &Ctx, _id: &str) -> Result<Downloads, ApiError> {
    Err(absent())
}

pub(crate) async fn limit(_ctx: &Ctx, _bytes_per_second: Option<u64>) -> Result<Downloads, ApiError> {
    Err(absent())
}
