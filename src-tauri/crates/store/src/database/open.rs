//! Opening: migrations, and what happens with a file that cannot be used. It is set aside, never deleted.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Database, DatabaseError, Result};
use crate::atomic;

/// One entry for each version; entry n brings a database from version n to n + 1. Entries are never changed once
/// they were released.
pub(super) const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        agent TEXT NOT NULL,
        title TEXT NOT NULL DEFAULT '',
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL
    );
    CREATE INDEX conversations_by_updated ON conversations (updated);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        conversation INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        role TEXT NOT NULL,
        text TEXT NOT NULL,
        thinking TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL,
        time INTEGER NOT NULL,
        error TEXT,
        tokens INTEGER,
        tokens_per_second REAL,
        first_token_seconds REAL
    );
    CREATE INDEX messages_by_conversation ON messages (conversation);
    CREATE INDEX messages_streaming ON messages (state) WHERE state = 'streaming';
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time INTEGER NOT NULL,
        severity TEXT NOT NULL,
        agent TEXT,
        message TEXT NOT NULL
    );
    CREATE TABLE starts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        agent TEXT NOT NULL,
        revision TEXT NOT NULL,
        seconds REAL NOT NULL,
        time INTEGER NOT NULL
    );
    CREATE INDEX starts_by_agent ON starts (agent, id);
    CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
",
    "
    CREATE TABLE images (
        reference TEXT PRIMARY KEY,
        digest TEXT,
        since TEXT,
        previous TEXT,
        newer TEXT,
        checked TEXT,
        detail TEXT
    );
    CREATE TABLE image_versions (
        digest TEXT PRIMARY KEY,
        backend TEXT NOT NULL,
        version TEXT NOT NULL,
        flags TEXT NOT NULL
    );
",
    "
    CREATE TABLE footprints (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        model TEXT NOT NULL,
        revision TEXT NOT NULL,
        image TEXT NOT NULL,
        backend TEXT NOT NULL,
        tensor_parallel TEXT NOT NULL,
        sequences TEXT NOT NULL,
        batched_tokens TEXT NOT NULL,
        weights INTEGER NOT NULL,
        kv INTEGER NOT NULL,
        peak INTEGER NOT NULL,
        steady INTEGER NOT NULL,
        time INTEGER NOT NULL
    );
    CREATE INDEX footprints_by_model ON footprints (model, id);
",
    "
    CREATE TABLE telemetry_series (
        id INTEGER PRIMARY KEY,
        pool TEXT NOT NULL,
        agent TEXT NOT NULL,
        figure TEXT NOT NULL,
        UNIQUE (pool, agent, figure)
    );
    CREATE TABLE telemetry_raw (
        time INTEGER NOT NULL,
        series INTEGER NOT NULL,
        value INTEGER NOT NULL,
        PRIMARY KEY (time, series)
    ) WITHOUT ROWID;
    CREATE TABLE telemetry_minutes (
        series INTEGER NOT NULL,
        time INTEGER NOT NULL,
        mean INTEGER NOT NULL,
        max INTEGER NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (series, time)
    ) WITHOUT ROWID;
    CREATE TABLE telemetry_hours (
        series INTEGER NOT NULL,
        time INTEGER NOT NULL,
        mean INTEGER NOT NULL,
        max INTEGER NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (series, time)
    ) WITHOUT ROWID;
    CREATE TABLE telemetry_rolled (grain TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
",
    "
    CREATE TABLE requests (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time INTEGER NOT NULL,
        client TEXT NOT NULL,
        agent TEXT,
        path TEXT NOT NULL,
        stream INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        status INTEGER NOT NULL,
        prompt_tokens INTEGER,
        completion_tokens INTEGER,
        counted INTEGER NOT NULL,
        queued_ms INTEGER NOT NULL,
        first_token_ms INTEGER,
        tokens_per_second REAL,
        took_ms INTEGER NOT NULL,
        why TEXT
    );
",
    "
    CREATE TABLE downloads (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        repo TEXT NOT NULL,
        revision TEXT NOT NULL,
        variant TEXT,
        patterns TEXT NOT NULL,
        resolved_commit TEXT,
        model TEXT NOT NULL,
        title TEXT NOT NULL,
        phase TEXT NOT NULL,
        problem TEXT,
        total_bytes INTEGER,
        done_bytes INTEGER NOT NULL,
        fetched_bytes INTEGER NOT NULL,
        files_total INTEGER,
        files_done INTEGER NOT NULL,
        added INTEGER NOT NULL,
        finished INTEGER
    );
    CREATE TABLE download_files (
        download INTEGER PRIMARY KEY REFERENCES downloads (id) ON DELETE CASCADE,
        files TEXT NOT NULL
    );
",
];

/// The database, and whether an older file had to make room for it.
#[derive(Debug)]
pub struct Opened {
    pub database: Database,
    pub set_aside: Option<SetAside>,
}

/// A file that could not be used and was kept under another name. `Display` is the notice for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    pub moved_to: PathBuf,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    Damaged(String),
    /// Written by a later Asgard, with this version.
    Newer(i64),
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let moved_to = self.moved_to.display();
        match &self.why {
            Why::Damaged(cause) => write!(
                f,
                "The database was damaged ({cause}), so a new one was begun. The old file is kept as {moved_to}."
            ),
            Why::Newer(version) => write!(
                f,
                "The database was written by a newer Asgard (format {version}), so a new one was begun. To use it again, install that version and rename {moved_to} back."
            ),
        }
    }
}

/// Why a file could not be opened as it is.
enum Unusable {
    SetAside(Why),
    Error(DatabaseError),
}

impl Database {
    /// Opens the database, making it and its folder where there is none.
    pub fn open(path: &Path) -> Result<Opened> {
        let failed = |cause: String| DatabaseError::Open { path: path.to_path_buf(), cause };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| failed(e.to_string()))?;
        }
        match Self::open_file(path) {
            Ok(database) => Ok(Opened { database, set_aside: None }),
            Err(Unusable::Error(error)) => Err(error),
            Err(Unusable::SetAside(why)) => {
                let moved_to = set_aside(path, &why).map_err(|e| failed(e.to_string()))?;
                let set_aside = SetAside { moved_to, why };
                tracing::warn!(file = %path.display(), "{set_aside}");
                match Self::open_file(path) {
                    Ok(database) => Ok(Opened { database, set_aside: Some(set_aside) }),
                    Err(Unusable::Error(error)) => Err(error),
                    Err(Unusable::SetAside(_)) => Err(failed("a new file cannot be used either".to_owned())),
                }
            }
        }
    }

    /// As it is, for somebody who only looks: nothing is made, brought to a newer format or set aside.
    pub fn look(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(1))?;
        Ok(Self { connection })
    }

    /// One that is forgotten at the end: for tests, and for going on where no file can be written.
    pub fn in_memory() -> Result<Self> {
        let mut connection = Connection::open_in_memory()?;
        connection.pragma_update(None, "foreign_keys", true)?;
        migrate(&mut connection, 0)?;
        Ok(Self { connection })
    }

    /// For a second program that only looks: writes nothing and changes no format. `None` where there is no file yet,
    /// or one of a format whose telemetry is not known here.
    pub fn open_to_read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let failed =
            |e: rusqlite::Error| DatabaseError::Open { path: path.to_path_buf(), cause: e.to_string() };
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        let known: i64 = connection
            .query_row(
                "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN
                 ('events', 'telemetry_series', 'telemetry_raw', 'telemetry_minutes', 'telemetry_hours')",
                [],
                |row| row.get(0),
            )
            .map_err(failed)?;
        Ok((known == 5).then_some(Self { connection }))
    }

    fn open_file(path: &Path) -> std::result::Result<Self, Unusable> {
        let unusable = |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Unusable::SetAside(Why::Damaged(error.to_string()))
            }
            _ => Unusable::Error(DatabaseError::Open { path: path.to_path_buf(), cause: error.to_string() }),
        };
        let created =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        created.map_err(|e| {
            Unusable::Error(DatabaseError::Open { path: path.to_path_buf(), cause: e.to_string() })
        })?;
        let mut connection = Connection::open(path).map_err(unusable)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(unusable)?;
        let version: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(unusable)?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if version > known {
            return Err(Unusable::SetAside(Why::Newer(version)));
        }
        if version < 0 {
            return Err(Unusable::SetAside(Why::Damaged(format!("its format is said to be {version}"))));
        }
        let verdict: String =
            connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(unusable)?;
        if verdict != "ok" {
            return Err(Unusable::SetAside(Why::Damaged(
                verdict.lines().next().unwrap_or_default().to_owned(),
            )));
        }
        // The answer is the mode in force: a file system without shared memory keeps the old journal, which works too.
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).map_err(unusable)?;
        // With WAL a crash of the program loses nothing; a power cut may lose the last moments, never the file.
        connection.pragma_update(None, "synchronous", "normal").map_err(unusable)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(unusable)?;
        migrate(&mut connection, version).map_err(|e| not_ours(&e).unwrap_or_else(|| unusable(e)))?;
        // A file of ours without its tables is somebody else's too; finding that here beats finding it in a chat.
        connection
            .prepare("SELECT 1 FROM conversations, messages, events, starts, settings")
            .map(drop)
            .map_err(|e| not_ours(&e).unwrap_or_else(|| unusable(e)))?;
        Ok(Self { connection })
    }
}

/// A table that is there already, or is missing: somebody else's file with our name.
fn not_ours(error: &rusqlite::Error) -> Option<Unusable> {
    let message = match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        rusqlite::Error::SqliteFailure(code, message) if code.code == ErrorCode::Unknown => {
            message.clone()?
        }
        _ => return None,
    };
    Some(Unusable::SetAside(Why::Damaged(message)))
}

fn migrate(connection: &mut Connection, version: i64) -> rusqlite::Result<()> {
    let done = usize::try_from(version).unwrap_or(0);
    for (n, step) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", i64::try_from(n + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}

/// Moves the file and what belongs to it.
fn set_aside(path: &Path, why: &Why) -> io::Result<PathBuf> {
    let word = match why {
        Why::Damaged(_) => "damaged",
        Why::Newer(_) => "newer",
    };
    let moved_to = atomic::free_name(path, word);
    let beside = |path: &Path, suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    // The companions first: without them the main file is still a whole (older) database, not the other way round.
    for suffix in ["-wal", "-shm"] {
        match fs::rename(beside(path, suffix), beside(&moved_to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, &moved_to)?;
    Ok(moved_to)
}
