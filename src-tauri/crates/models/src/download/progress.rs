//! How far a download is.

use super::Wanted;

/// How far a download is, and how fast. Sums are over all files that are wanted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    pub state: State,
    /// In the order of [`Wanted::files`].
    pub files: Vec<FileProgress>,
    pub total_bytes: u64,
    /// On the disk, also from earlier times.
    pub done_bytes: u64,
    /// Of those, hashed. They count as right when the whole file is.
    pub verified_bytes: u64,
    /// Over the network since this call began; a little more than what landed where a connection was cut.
    pub fetched_bytes: u64,
    /// Open now, over all files.
    pub connections: u32,
    pub files_done: usize,
    /// Of the last seconds; none before it can be said.
    pub bytes_per_second: Option<f64>,
    pub seconds_left: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// Looks at what is there already.
    #[default]
    Starting,
    Running,
    /// Everything has landed; the last bytes are hashed.
    Verifying,
    /// It goes on by itself.
    Waiting {
        /// A sentence: "The Hub asks to wait."
        why: String,
        /// Until the next try, counted down.
        seconds: u64,
    },
    Done,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct FileProgress {
    pub path: String,
    pub total_bytes: u64,
    pub done_bytes: u64,
    pub verified_bytes: u64,
    pub bytes_per_second: Option<f64>,
    pub seconds_left: Option<f64>,
    pub connections: u32,
    /// Verified and named.
    pub done: bool,
}

impl Progress {
    /// Nothing is known yet but what is wanted.
    pub fn of(wanted: &Wanted) -> Self {
        let files: Vec<FileProgress> = wanted
            .files
            .iter()
            .map(|f| FileProgress { path: f.path.clone(), total_bytes: f.size, ..FileProgress::default() })
            .collect();
        let total_bytes = files.iter().fold(0, |sum: u64, f| sum.saturating_add(f.total_bytes));
        Self { files, total_bytes, ..Self::default() }
    }
}
