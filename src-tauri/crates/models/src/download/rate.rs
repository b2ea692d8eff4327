//! The limit that all downloads share.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes a second over all downloads; may be changed while they run.
#[derive(Debug, Default)]
pub struct RateLimit {
    /// Zero: none.
    limit: AtomicU64,
}

impl RateLimit {
    /// `None`: as fast as it goes. A limit of zero means the same; to stop a download it is cancelled.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self { limit: AtomicU64::new(bytes_per_second.unwrap_or(0)) }
    }

    pub fn set(&self, bytes_per_second: Option<u64>) {
        self.limit.store(bytes_per_second.unwrap_or(0), Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }
}
