//! Names and paths of the cache: what may be one, and where it leads. Ids, revisions and paths come from the Hub and
//! from files that others wrote; nothing that could leave the cache passes here.

use std::fs;
use std::io::Read;
use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a model id. Write it as on the Hub, \"organisation/name\".")]
pub struct BadId(pub String);

/// An index of weights is a list of names; one larger than this is not read.
pub(super) const LARGEST_INDEX: u64 = 64 << 20;

/// Longest path of a file in a repository, and longest part of it, in bytes: what file systems take.
const LONGEST_PATH: usize = 1000;
const LONGEST_PART: usize = 255;

/// Whether `path` may be the path of a file in a repository: relative, of names that are neither empty nor "." nor
/// "..", without control characters and backslashes, at most 255 bytes a name and 1,000 in all.
///
/// Spaces, other scripts and a leading dot (".gitattributes") are fine. Below a folder, such a path stays below it as
/// long as no folder on the way is a link.
pub fn is_repo_path(path: &str) -> bool {
    path.len() <= LONGEST_PATH
        && !path.contains(|c: char| c == '\\' || c.is_control())
        && path.split('/').all(|part| !matches!(part, "" | "." | "..") && part.len() <= LONGEST_PART)
}

/// The command that fetches a model as an agent names it ("OWNER/NAME", "OWNER/NAME/FILE.gguf"), for a message.
pub fn fetch_command(model: &str, revision: Option<&str>) -> String {
    let revision =
        revision.filter(|r| is_safe_path(r)).map(|r| format!(" --revision {r}")).unwrap_or_default();
    let mut parts = model.splitn(3, '/');
    let file_is_fine = match (parts.next(), parts.next(), parts.next()) {
        // A plus is common in names of files, and nothing to a shell.
        (Some(_), Some(_), Some(file)) => is_safe_path(&file.replace('+', "-")),
        _ => true,
    };
    let id: Vec<&str> = model.split('/').take(2).collect();
    // An id that is none could do harm in a shell; it is refused elsewhere.
    if file_is_fine && folder_name(&id.join("/")).is_ok() {
        format!("asgard models pull {model}{revision}")
    } else {
        "asgard models pull OWNER/NAME".to_owned()
    }
}

/// The folder of a model in the cache. Ids come from files that others wrote: nothing that could leave the cache is
/// let in.
pub fn folder_name(id: &str) -> Result<String, BadId> {
    let part_is_fine = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
            && !part.contains("..")
            && !part.contains("--")
    };
    let parts: Vec<&str> = id.split('/').collect();
    if id.len() <= 200 && parts.len() <= 2 && parts.iter().all(|p| part_is_fine(p)) {
        Ok(format!("models--{}", parts.join("--")))
    } else {
        Err(BadId(id.to_owned()))
    }
}

/// A relative path of plain names, as revisions and files of an index must be.
pub(super) fn is_safe_path(path: &str) -> bool {
    path.len() <= 300
        && path.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with(['.', '-'])
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
        })
}

pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.chars().all(|c| c.is_ascii_hexdigit())
}

pub(super) fn commit_of(folder: &Path, revision: &str) -> Option<String> {
    if is_commit(revision) {
        return Some(revision.to_ascii_lowercase());
    }
    let text = small_file(&folder.join("refs").join(revision))?;
    Some(text.trim().to_owned()).filter(|c| is_commit(c))
}

/// The text of a small file; none of what is no file (a pipe would keep its reader waiting).
pub(super) fn small_file(path: &Path) -> Option<String> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let mut text = String::new();
    fs::File::open(path).ok()?.take(LARGEST_INDEX).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_repository_stay_below_their_folder() {
        for fine in [
            "config.json",
            ".gitattributes",
            "a b/ü/模型.gguf",
            "onnx/model.onnx",
            "...",
            "a+b=c.bin",
            "-rf",
            &format!("{}/x", "n".repeat(255)),
        ] {
            assert!(is_repo_path(fine), "{fine:?}");
        }
        for wrong in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            "a\u{85}b",
            "a\x1b[2Jb",
            &"n".repeat(256),
            &"ab/".repeat(400),
        ] {
            assert!(!is_repo_path(wrong), "{wrong:?}");
        }
    }
}
