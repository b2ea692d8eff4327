//! Container images: which digest a tag stands for, and what the server in a digest says of itself.

use rusqlite::{OptionalExtension, Row, params};

use super::{Database, Result};

/// One reference of the stack, and what is known of it. Digests are "sha256:…", times RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageRecord {
    pub reference: String,
    /// What agents are started with.
    pub digest: Option<String>,
    /// Since when.
    pub since: Option<String>,
    /// The digest before, for going back.
    pub previous: Option<String>,
    /// A newer one under the same tag, found when it was looked for last.
    pub newer: Option<String>,
    pub checked: Option<String>,
    /// What became of the last look or trial.
    pub detail: Option<String>,
}

/// What a server says of itself, read once for each digest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionRecord {
    pub digest: String,
    pub backend: String,
    /// "vLLM 0.32.0".
    pub version: String,
    pub flags: Vec<String>,
}

const COLUMNS: &str = "reference, digest, since, previous, newer, checked, detail";

fn image(row: &Row<'_>) -> rusqlite::Result<ImageRecord> {
    Ok(ImageRecord {
        reference: row.get(0)?,
        digest: row.get(1)?,
        since: row.get(2)?,
        previous: row.get(3)?,
        newer: row.get(4)?,
        checked: row.get(5)?,
        detail: row.get(6)?,
    })
}

fn version(row: &Row<'_>) -> rusqlite::Result<VersionRecord> {
    let flags: String = row.get(3)?;
    Ok(VersionRecord {
        digest: row.get(0)?,
        backend: row.get(1)?,
        version: row.get(2)?,
        // A damaged row must not hide the version: with no flags nothing is checked.
        flags: serde_json::from_str(&flags).unwrap_or_default(),
    })
}

impl Database {
    pub fn image(&self, reference: &str) -> Result<Option<ImageRecord>> {
        let sql = format!("SELECT {COLUMNS} FROM images WHERE reference = ?1");
        Ok(self.connection.query_row(&sql, [reference], image).optional()?)
    }

    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        let mut query =
            self.connection.prepare(&format!("SELECT {COLUMNS} FROM images ORDER BY reference"))?;
        let rows = query.query_map([], image)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub fn put_image(&mut self, record: &ImageRecord) -> Result<()> {
        self.connection.execute(
            &format!("INSERT OR REPLACE INTO images ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
            params![
                record.reference,
                record.digest,
                record.since,
                record.previous,
                record.newer,
                record.checked,
                record.detail
            ],
        )?;
        Ok(())
    }

    pub fn image_version(&self, digest: &str) -> Result<Option<VersionRecord>> {
        let sql = "SELECT digest, backend, version, flags FROM image_versions WHERE digest = ?1";
        Ok(self.connection.query_row(sql, [digest], version).optional()?)
    }

    pub fn image_versions(&self) -> Result<Vec<VersionRecord>> {
        let mut query =
            self.connection.prepare("SELECT digest, backend, version, flags FROM image_versions")?;
        let rows = query.query_map([], version)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    pub fn put_image_version(&mut self, record: &VersionRecord) -> Result<()> {
        let flags = serde_json::to_string(&record.flags).unwrap_or_else(|_| "[]".to_owned());
        self.connection.execute(
            "INSERT OR REPLACE INTO image_versions (digest, backend, version, flags) VALUES (?1, ?2, ?3, ?4)",
            params![record.digest, record.backend, record.version, flags],
        )?;
        Ok(())
    }
}
