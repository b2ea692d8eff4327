//! The contents of a download and what is being done about each.

use std::collections::HashMap;
use std::sync::Arc;

use domain::download::meter::Meter;
use domain::download::names::{clash, is_commit, is_harmless, is_hex};
use domain::download::portion::Portions;

use super::ask::{Source, Target};
use super::part::Part;
use super::steps::{Content, SMALL};
use super::{FetchError, LARGEST, Wanted};
use crate::hub::Hash;

/// One content: several files may have the same.
pub(crate) struct Job {
    pub(crate) target: Arc<Target>,
    pub(crate) content: Arc<Content>,
    /// Which of [`Wanted::files`] have it.
    pub(crate) files: Vec<usize>,
    pub(crate) stage: Stage,
    /// What an earlier life has left, until it is opened.
    pub(crate) left: u64,
    /// Of a small file: what an earlier connection brought.
    pub(crate) begun: Vec<u8>,
    pub(crate) connections: u32,
    pub(crate) faults: Faults,
    pub(crate) meter: Meter,
}

/// How often what went wrong, in a row.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) strange: u32,
    pub(crate) expired: u32,
    pub(crate) mixed: u32,
    /// Whole and wrong.
    pub(crate) damaged: u32,
}

pub(crate) enum Stage {
    /// Not begun, or another program is at it.
    Due,
    /// Its part is being opened.
    Opening,
    /// A small one is on its way.
    Small,
    Large(Box<Large>),
    /// It gets its name.
    Naming,
    Done,
}

pub(crate) struct Large {
    pub(crate) part: Arc<Part>,
    pub(crate) portions: Portions,
    pub(crate) server: Server,
    pub(crate) source: Option<Source>,
    /// As the store names what it gives; none where that is not held against it any more.
    pub(crate) etag: Option<String>,
    /// Its marks change from answer to answer, and say nothing.
    pub(crate) blind: bool,
    /// Some of its bytes, or of its hash, are of an earlier life.
    pub(crate) resumed: bool,
    /// Nothing of it counts; it begins anew when the last connection has ended.
    pub(crate) anew: bool,
}

/// What is known of the server's ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Server {
    /// Nothing: one connection finds out.
    Unknown,
    Asking,
    Ranges,
    /// It sends everything each time.
    NoRanges,
}

impl Job {
    pub(crate) fn is_small(&self) -> bool {
        self.content.size <= SMALL
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Landed, and of that hashed.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        match &self.stage {
            Stage::Done | Stage::Naming => (self.content.size, self.content.size),
            Stage::Large(large) => {
                (large.part.landed_bytes(), large.part.verified.load(std::sync::atomic::Ordering::Relaxed))
            }
            Stage::Due | Stage::Opening | Stage::Small => (self.left, 0),
        }
    }
}

/// Checks what is wanted, and puts files of one content together: small ones first.
pub(crate) fn jobs(wanted: &Wanted) -> Result<Vec<Job>, FetchError> {
    let hostile = |path: &str| FetchError::HostilePath { path: path.chars().take(300).collect() };
    if !is_commit(&wanted.commit) {
        return Err(hostile(&wanted.commit));
    }
    if !wanted.revision.is_empty() && !is_harmless(&wanted.revision) {
        return Err(hostile(&wanted.revision));
    }
    for file in &wanted.files {
        let (hex, digits) = match &file.hash {
            Hash::Sha256(hex) => (hex, 64),
            Hash::Git(hex) => (hex, 40),
        };
        if !is_harmless(&file.path) || crate::hub::refusal(&file.path).is_some() || !is_hex(hex, digits) {
            return Err(hostile(&file.path));
        }
        if file.size > LARGEST {
            return Err(FetchError::TooLarge { file: file.path.clone(), size: file.size });
        }
    }
    if let Some((first, second)) = clash(wanted.files.iter().map(|f| f.path.as_str())) {
        return Err(FetchError::Clash { first: first.to_owned(), second: second.to_owned() });
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut by_hash: HashMap<&str, usize> = HashMap::new();
    for (index, file) in wanted.files.iter().enumerate() {
        let group = *by_hash.entry(file.hash.hex()).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        let Some(group) = groups.get_mut(group) else { continue };
        let other = group.first().and_then(|first| wanted.files.get(*first));
        if let Some(other) = other.filter(|o| o.size != file.size || o.hash != file.hash) {
            // One content cannot have two sizes.
            return Err(FetchError::Clash { first: other.path.clone(), second: file.path.clone() });
        }
        group.push(index);
    }
    let mut jobs: Vec<Job> = groups.into_iter().filter_map(|files| job(wanted, files)).collect();
    jobs.sort_by_key(|job| !job.is_small());
    Ok(jobs)
}

fn job(wanted: &Wanted, files: Vec<usize>) -> Option<Job> {
    let first = wanted.files.get(*files.first()?)?;
    let target = Target {
        repo: wanted.repo.clone(),
        commit: wanted.commit.clone(),
        path: first.path.clone(),
        size: first.size,
        hash: first.hash.hex().to_owned(),
    };
    let paths = files.iter().filter_map(|f| Some(wanted.files.get(*f)?.path.clone())).collect();
    Some(Job {
        target: Arc::new(target),
        content: Arc::new(Content { hash: first.hash.clone(), size: first.size, paths }),
        files,
        stage: Stage::Due,
        left: 0,
        begun: Vec::new(),
        connections: 0,
        faults: Faults::default(),
        meter: Meter::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::RepoFile;

    fn wanted(files: &[(&str, u64, char)]) -> Wanted {
        let file = |(path, size, hash): &(&str, u64, char)| RepoFile {
            path: (*path).to_owned(),
            size: *size,
            hash: Hash::Sha256(hash.to_string().repeat(64)),
        };
        Wanted {
            repo: "o/n".to_owned(),
            revision: "main".to_owned(),
            commit: "0".repeat(40),
            files: files.iter().map(file).collect(),
        }
    }

    fn refused(files: &[(&str, u64, char)]) -> FetchError {
        jobs(&wanted(files)).err().unwrap()
    }

    #[test]
    fn one_content_is_fetched_once_and_small_ones_come_first() {
        let jobs =
            jobs(&wanted(&[("big", 1 << 20, 'a'), ("x", 5, 'b'), ("copy", 1 << 20, 'a'), ("y", 6, 'c')]))
                .unwrap();
        let paths: Vec<&[String]> = jobs.iter().map(|j| j.content.paths.as_slice()).collect();
        assert_eq!(paths, [&["x".to_owned()][..], &["y".to_owned()], &["big".to_owned(), "copy".to_owned()]]);
    }

    #[test]
    fn what_is_hostile_is_refused_before_anything() {
        for path in ["../x", "/x", "a/../../x", "a\nb", "a\\b", ""] {
            assert!(
                matches!(refused(&[("fine", 1, 'a'), (path, 1, 'b')]), FetchError::HostilePath { .. }),
                "{path:?}"
            );
        }
        assert!(matches!(refused(&[("a", 1, 'a'), ("a", 1, 'a')]), FetchError::Clash { .. }));
        assert!(matches!(refused(&[("a", 1, 'a'), ("a/b", 1, 'b')]), FetchError::Clash { .. }));
        assert!(matches!(refused(&[("a", 1, 'a'), ("b", 2, 'a')]), FetchError::Clash { .. }));
        assert!(matches!(refused(&[("a", 50_000_000_001, 'a')]), FetchError::TooLarge { .. }));
        assert!(matches!(refused(&[("a", 1, 'g')]), FetchError::HostilePath { .. }));
        for (commit, revision) in [("main", "main"), (&*"0".repeat(40), "../../x"), ("../x", "")] {
            let wanted = Wanted {
                commit: commit.to_owned(),
                revision: revision.to_owned(),
                ..wanted(&[("a", 1, 'a')])
            };
            assert!(matches!(jobs(&wanted), Err(FetchError::HostilePath { .. })), "{commit} {revision}");
        }
    }
}
