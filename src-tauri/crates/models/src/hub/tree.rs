//! The files of a repository at a commit, page by page.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ask::{check, strange};
use super::error::{Asked, HubError};
use super::path::{Refusal, refusal, shown};
use super::{Hash, Hub, RepoFile, link};

/// A repository of more files is no model.
pub const MOST_FILES: usize = 100_000;
/// All pages together; a file takes some 300 bytes in them.
const MOST_BYTES: usize = 96 << 20;
const MOST_PAGE: usize = 32 << 20;
const MOST_PAGES: usize = 500;
/// More than any file on any disk.
const MOST_FILE: u64 = 1 << 50;

/// A file that is not taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Fit to be shown: one line, bounded.
    pub path: String,
    pub why: Refusal,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// In the repository's order.
    pub files: Vec<RepoFile>,
    /// Hostile names and files without a hash; the others are fine all the same.
    pub refused: Vec<Refused>,
}

impl Hub {
    /// All files of a repository at a commit.
    ///
    /// # Errors
    /// [`HubError::TooMany`] for more than [`MOST_FILES`], [`HubError::Strange`] for a list that does not end, beside
    /// everything else that can go wrong.
    pub async fn files(&self, repo: &str, commit: &str) -> Result<Tree, HubError> {
        self.files_up_to(repo, commit, MOST_FILES).await
    }

    /// As [`Hub::files`], for who will not wait for as many: a thousand files are a question each.
    ///
    /// # Errors
    /// Those, and [`HubError::TooMany`] where there are more than `most`.
    pub async fn files_up_to(&self, repo: &str, commit: &str, most: usize) -> Result<Tree, HubError> {
        check(repo, commit)?;
        let mut url =
            self.url(["api", "models"].into_iter().chain(repo.split('/')).chain(["tree", commit]))?;
        let asked = Asked { revision: Some(commit), ..self.asked(repo) };
        let mut gathered = Gathered::default();
        let mut seen = BTreeSet::new();
        let mut query = "recursive=true".to_owned();
        for _ in 0..MOST_PAGES {
            url.set_query(Some(&query));
            let (page, headers) = self.json(url.clone(), MOST_PAGE, asked).await?;
            let entries = page.as_array().ok_or_else(|| strange(&url, "its answer is no list of files"))?;
            for entry in entries {
                gathered.take(entry);
            }
            if gathered.seen > most || gathered.bytes > MOST_BYTES {
                return Err(HubError::TooMany { repo: repo.to_owned() });
            }
            match link::next(&headers, &self.endpoint) {
                None => return Ok(gathered.done()),
                Some(next) if seen.insert(next.clone()) => query = next,
                Some(_) => return Err(strange(&url, "its list of files goes in circles")),
            }
        }
        Err(strange(&url, "its list of files does not end"))
    }
}

#[derive(Default)]
struct Gathered {
    files: BTreeMap<String, (usize, u64, Hash)>,
    refused: Vec<Refused>,
    seen: usize,
    bytes: usize,
}

impl Gathered {
    fn take(&mut self, entry: &Value) {
        let Some(path) = entry["path"].as_str() else { return };
        if entry["type"].as_str().is_some_and(|t| t != "file") {
            return;
        }
        self.seen += 1;
        self.bytes += path.len() + 100;
        match file(entry, path) {
            // The first of two with one name counts: a later page cannot change what an earlier one said.
            Ok((size, hash)) => {
                self.files.entry(path.to_owned()).or_insert((self.seen, size, hash));
            }
            Err(why) => self.refused.push(Refused { path: shown(path, 200), why }),
        }
    }

    fn done(mut self) -> Tree {
        // In order, a file that is also somebody's folder stands before those in it, if not next to them.
        let folders: BTreeSet<&str> =
            self.files.keys().flat_map(|p| p.match_indices('/').map(|(at, _)| &p[..at])).collect();
        let clashes: Vec<String> =
            self.files.keys().filter(|p| folders.contains(p.as_str())).cloned().collect();
        for path in clashes {
            self.files.remove(&path);
            self.refused.push(Refused { path: shown(&path, 200), why: Refusal::Clash });
        }
        let mut files: Vec<(usize, RepoFile)> = self
            .files
            .into_iter()
            .map(|(path, (at, size, hash))| (at, RepoFile { path, size, hash }))
            .collect();
        files.sort_unstable_by_key(|(at, _)| *at);
        Tree { files: files.into_iter().map(|(_, file)| file).collect(), refused: self.refused }
    }
}

fn file(entry: &Value, path: &str) -> Result<(u64, Hash), Refusal> {
    if let Some(why) = refusal(path) {
        return Err(why);
    }
    let hex = |v: &Value, digits: usize| {
        let text = v.as_str()?;
        let fine = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
        fine.then(|| text.to_ascii_lowercase())
    };
    let lfs = &entry["lfs"];
    let hash = if lfs.is_object() {
        // Older hubs name it "sha256".
        hex(&lfs["oid"], 64).or_else(|| hex(&lfs["sha256"], 64)).map(Hash::Sha256)
    } else {
        hex(&entry["oid"], 40).map(Hash::Git)
    };
    let size = lfs["size"].as_u64().or_else(|| entry["size"].as_u64());
    let hash = hash.ok_or(Refusal::NoHash)?;
    let size = size.filter(|s| *s < MOST_FILE).ok_or(Refusal::Absurd)?;
    Ok((size, hash))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gathered(entries: &[Value]) -> Tree {
        let mut gathered = Gathered::default();
        for entry in entries {
            gathered.take(entry);
        }
        gathered.done()
    }

    #[test]
    fn hostile_files_are_named_and_the_rest_is_kept() {
        let (git, sha) = ("a".repeat(40), "B".repeat(64));
        let small = |path: &str| json!({"type": "file", "path": path, "size": 7, "oid": git});
        let tree = gathered(&[
            json!({"type": "directory", "path": "folder", "oid": git, "size": 0}),
            small("z.json"),
            small("../../.bashrc"),
            small("a/../../b"),
            small("/etc/passwd"),
            small("folder/a"),
            small("clash"),
            small("clash/b"),
            small("z.json"),
            json!({"type": "file", "path": "model.safetensors", "size": 134, "oid": git,
                   "lfs": {"oid": sha, "size": 9_000_000_000_u64, "pointerSize": 134}}),
            json!({"type": "file", "path": "no-hash", "size": 1, "oid": "../../x"}),
            json!({"type": "file", "path": "lfs-no-hash", "size": 1, "oid": git, "lfs": {"size": 4}}),
            json!({"type": "file", "path": "absurd", "size": u64::MAX, "oid": git}),
            json!({"type": "file", "path": "no-size", "oid": git}),
            json!({"path": 7}),
            json!("x"),
        ]);
        let names: Vec<&str> = tree.files.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(names, ["z.json", "folder/a", "clash/b", "model.safetensors"]);
        assert_eq!(tree.files[3].hash, Hash::Sha256("b".repeat(64)));
        assert_eq!(tree.files[3].size, 9_000_000_000);
        let refused: Vec<(&str, Refusal)> = tree.refused.iter().map(|r| (r.path.as_str(), r.why)).collect();
        assert_eq!(
            refused,
            [
                ("../../.bashrc", Refusal::Leaves),
                ("a/../../b", Refusal::Leaves),
                ("/etc/passwd", Refusal::Absolute),
                ("no-hash", Refusal::NoHash),
                ("lfs-no-hash", Refusal::NoHash),
                ("absurd", Refusal::Absurd),
                ("no-size", Refusal::Absurd),
                ("clash", Refusal::Clash),
            ]
        );
    }
}
