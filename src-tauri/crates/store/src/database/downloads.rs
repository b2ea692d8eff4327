//! Downloads: what was asked for, what it is pinned to, how far it was.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Database, Result, to_millis, to_time};

/// Where a download stands, as far as it outlives the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadPhase {
    /// It is to go on, whether it was under way or not.
    Wanted,
    Paused,
    Failed,
    Done,
}

impl DownloadPhase {
    fn word(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }

    /// What cannot be read waits for a person.
    fn from_word(word: &str) -> Self {
        match word {
            "wanted" => Self::Wanted,
            "failed" => Self::Failed,
            "done" => Self::Done,
            _ => Self::Paused,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct DownloadRecord {
    /// Given by the queue, never used twice.
    pub id: u64,
    pub repo: String,
    /// As asked for.
    pub revision: String,
    pub variant: Option<String>,
    /// As asked for: paths or globs.
    pub patterns: Vec<String>,
    /// 40 hexadecimal digits, once it is resolved.
    pub commit: Option<String>,
    /// What an agent's `model` would say of it.
    pub model: String,
    pub title: String,
    pub phase: DownloadPhase,
    /// Why it failed, as a face gets it.
    pub problem: Option<Value>,
    pub total_bytes: Option<u64>,
    pub done_bytes: u64,
    /// Over the network, in all attempts.
    pub fetched_bytes: u64,
    pub files_total: Option<u64>,
    pub files_done: u64,
    pub added: Timestamp,
    pub finished: Option<Timestamp>,
}

/// A file of a download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// 64 hexadecimal digits of a SHA-256, or 40 of a git blob's hash.
    pub hash: String,
}

const COLUMNS: &str = "id, repo, revision, variant, patterns, resolved_commit, model, title, phase, problem, \
                       total_bytes, done_bytes, fetched_bytes, files_total, files_done, added, finished";

impl Database {
    /// By number, which is the order in which they were added.
    pub fn downloads(&self) -> Result<Vec<DownloadRecord>> {
        let mut query = self.connection.prepare(&format!("SELECT {COLUMNS} FROM downloads ORDER BY id"))?;
        let rows = query.query_map([], record)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The first number that no download ever had.
    pub fn next_download(&self) -> Result<u64> {
        let last: Option<i64> = self
            .connection
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'downloads'", [], |row| row.get(0))
            .optional()?;
        Ok(last.and_then(|last| u64::try_from(last).ok()).map_or(1, |last| last.saturating_add(1)))
    }

    /// Writes records and forgets others, all or nothing.
    pub fn keep_downloads(&mut self, changed: &[DownloadRecord], gone: &[u64]) -> Result<()> {
        let transaction = self.connection.transaction()?;
        {
            // Not "OR REPLACE", which would take the files along.
            let mut put = transaction.prepare_cached(&format!(
                "INSERT INTO downloads ({COLUMNS})
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
                 ON CONFLICT (id) DO UPDATE SET
                     resolved_commit = excluded.resolved_commit, variant = excluded.variant,
                     model = excluded.model, title = excluded.title, phase = excluded.phase,
                     problem = excluded.problem, total_bytes = excluded.total_bytes,
                     done_bytes = excluded.done_bytes, fetched_bytes = excluded.fetched_bytes,
                     files_total = excluded.files_total, files_done = excluded.files_done,
                     finished = excluded.finished"
            ))?;
            for record in changed {
                put.execute(params![
                    whole(record.id),
                    record.repo,
                    record.revision,
                    record.variant,
                    serde_json::to_string(&record.patterns).unwrap_or_else(|_| "[]".to_owned()),
                    record.commit,
                    record.model,
                    record.title,
                    record.phase.word(),
                    record.problem.as_ref().map(Value::to_string),
                    record.total_bytes.map(whole),
                    whole(record.done_bytes),
                    whole(record.fetched_bytes),
                    record.files_total.map(whole),
                    whole(record.files_done),
                    to_millis(record.added),
                    record.finished.map(to_millis),
                ])?;
            }
            let mut forget = transaction.prepare_cached("DELETE FROM downloads WHERE id = ?1")?;
            for id in gone {
                forget.execute([whole(*id)])?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Which files a download is of. The download must be kept already.
    pub fn keep_download_files(&mut self, download: u64, files: &[FileRecord]) -> Result<()> {
        let text = serde_json::to_string(files).unwrap_or_else(|_| "[]".to_owned());
        self.connection.execute(
            "INSERT OR REPLACE INTO download_files (download, files) VALUES (?1, ?2)",
            params![whole(download), text],
        )?;
        Ok(())
    }

    /// None where it was never resolved, or where the list is damaged: then it is asked for again.
    pub fn download_files(&self, download: u64) -> Result<Option<Vec<FileRecord>>> {
        let text: Option<String> = self
            .connection
            .query_row("SELECT files FROM download_files WHERE download = ?1", [whole(download)], |row| {
                row.get(0)
            })
            .optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }
}

/// SQLite's numbers are signed.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn record(row: &Row<'_>) -> rusqlite::Result<DownloadRecord> {
    let number = |index| row.get::<_, Option<i64>>(index).map(|n| n.and_then(|n| u64::try_from(n).ok()));
    let patterns: String = row.get(4)?;
    let problem: Option<String> = row.get(9)?;
    Ok(DownloadRecord {
        id: number(0)?.unwrap_or(0),
        repo: row.get(1)?,
        revision: row.get(2)?,
        variant: row.get(3)?,
        patterns: serde_json::from_str(&patterns).unwrap_or_default(),
        commit: row.get(5)?,
        model: row.get(6)?,
        title: row.get(7)?,
        phase: DownloadPhase::from_word(&row.get::<_, String>(8)?),
        problem: problem.and_then(|text| serde_json::from_str(&text).ok()),
        total_bytes: number(10)?,
        done_bytes: number(11)?.unwrap_or(0),
        fetched_bytes: number(12)?.unwrap_or(0),
        files_total: number(13)?,
        files_done: number(14)?.unwrap_or(0),
        added: to_time(row.get(15)?),
        finished: row.get::<_, Option<i64>>(16)?.map(to_time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(id: u64, phase: DownloadPhase) -> DownloadRecord {
        DownloadRecord {
            id,
            repo: "org/name".into(),
            revision: "main".into(),
            variant: Some("Q4_K_M".into()),
            patterns: vec!["*.json".into()],
            commit: None,
            model: "org/name".into(),
            title: "Name".into(),
            phase,
            problem: None,
            total_bytes: None,
            done_bytes: 0,
            fetched_bytes: 0,
            files_total: None,
            files_done: 0,
            added: Timestamp::from_second(1_770_000_000).unwrap(),
            finished: None,
        }
    }

    #[test]
    fn a_download_is_kept_with_all_that_is_known_of_it() {
        let mut db = Database::in_memory().unwrap();
        assert_eq!((db.downloads().unwrap(), db.next_download().unwrap()), (Vec::new(), 1));
        let first = some(1, DownloadPhase::Wanted);
        db.keep_downloads(&[first.clone(), some(2, DownloadPhase::Paused)], &[]).unwrap();
        let files = [FileRecord { path: "a.gguf".into(), size: u64::from(u32::MAX) * 9, hash: "ab".into() }];
        db.keep_download_files(1, &files).unwrap();
        let later = DownloadRecord {
            commit: Some("c".repeat(40)),
            phase: DownloadPhase::Failed,
            problem: Some(serde_json::json!({"message": "Away."})),
            total_bytes: Some(50_000_000_000),
            done_bytes: 7,
            fetched_bytes: 8,
            files_total: Some(1),
            finished: Some(Timestamp::from_second(1_770_000_001).unwrap()),
            ..first
        };
        db.keep_downloads(std::slice::from_ref(&later), &[2]).unwrap();
        assert_eq!(db.downloads().unwrap(), [later]);
        assert_eq!(db.download_files(1).unwrap().unwrap(), files, "a change of the record keeps its files");
        db.keep_downloads(&[], &[1]).unwrap();
        assert_eq!(db.download_files(1).unwrap(), None, "they go with it");
        assert_eq!(db.next_download().unwrap(), 3, "a number is never used again");
    }

    #[test]
    fn damaged_rows_hide_nothing() {
        let mut db = Database::in_memory().unwrap();
        db.keep_downloads(&[some(1, DownloadPhase::Done)], &[]).unwrap();
        db.keep_download_files(1, &[]).unwrap();
        db.connection
            .execute_batch(
                "UPDATE downloads SET patterns = '{', problem = 'x', phase = 'flying', total_bytes = -5;
                 UPDATE download_files SET files = '[';",
            )
            .unwrap();
        let read = &db.downloads().unwrap()[0];
        assert_eq!((read.phase, read.total_bytes, &read.problem), (DownloadPhase::Paused, None, &None));
        assert_eq!((read.patterns.len(), db.download_files(1).unwrap()), (0, None));
    }

    #[test]
    fn files_are_of_a_download_that_is_there() {
        let mut db = Database::in_memory().unwrap();
        assert!(db.keep_download_files(9, &[]).is_err());
    }
}
