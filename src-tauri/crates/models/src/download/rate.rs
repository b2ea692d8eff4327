//! The limit that all downloads share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::download::bucket::Bucket;
use tokio::time::{Instant, sleep};

/// Who waits looks again at least so often, because the limit may be another by then.
const LOOK: Duration = Duration::from_millis(200);

/// Bytes a second over all downloads; may be changed while they run.
#[derive(Debug, Default)]
pub struct RateLimit {
    /// Zero: none.
    limit: AtomicU64,
    bucket: Mutex<Option<(Instant, Bucket)>>,
}

impl RateLimit {
    /// `None`: as fast as it goes. A limit of zero means the same; to stop a download it is cancelled.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let limit = Self::default();
        limit.set(bytes_per_second);
        limit
    }

    pub fn set(&self, bytes_per_second: Option<u64>) {
        self.limit.store(bytes_per_second.unwrap_or(0), Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<u64> {
        Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit > 0)
    }

    /// Waits until `bytes` that have arrived are within the limit.
    pub(crate) async fn pay(&self, bytes: u64) {
        while let Some(limit) = self.get() {
            match self.take(bytes, limit) {
                Ok(()) => return,
                Err(wait) => sleep(wait.min(LOOK)).await,
            }
        }
    }

    fn take(&self, bytes: u64, limit: u64) -> Result<(), Duration> {
        let now = Instant::now();
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, bucket) = bucket.get_or_insert_with(|| (now, Bucket::default()));
        bucket.take(now.duration_since(*began), bytes, limit)
    }
}
