//! Names from the Hub: which of them may become a file here.

use std::fmt;

/// As file systems have it.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 1000;
const DEEPEST: usize = 16;

/// Why a path of a repository is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    Empty,
    Absolute,
    /// "..", "." or nothing between two slashes.
    Leaves,
    Control,
    /// A backslash: a separator elsewhere.
    Backslash,
    Long,
    Deep,
    /// A name that another file of the list needs as a folder, or the other way round.
    Clash,
    /// Neither SHA-256 nor a git hash: nothing to check it by.
    NoHash,
    /// Larger than any disk.
    Absurd,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it has no name",
            Self::Absolute => "it begins at the root of the disk",
            Self::Leaves => "it leads out of the repository",
            Self::Control => "it holds control characters",
            Self::Backslash => "it holds a backslash",
            Self::Long => "it is longer than a file system takes",
            Self::Deep => "it is nested too deeply",
            Self::Clash => "another file needs the same name as a folder",
            Self::NoHash => "the Hub has no hash of it",
            Self::Absurd => "it is said to be larger than any disk",
        })
    }
}

/// Why `path` may not be a file of a repository; none where it may.
pub fn refusal(path: &str) -> Option<Refusal> {
    if path.is_empty() {
        return Some(Refusal::Empty);
    }
    if path.len() > LONGEST_PATH || path.split('/').any(|part| part.len() > LONGEST_NAME) {
        return Some(Refusal::Long);
    }
    if path.starts_with('/') {
        return Some(Refusal::Absolute);
    }
    if path.chars().any(is_hidden) {
        return Some(Refusal::Control);
    }
    if path.contains('\\') {
        return Some(Refusal::Backslash);
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some(Refusal::Leaves);
    }
    if path.split('/').count() > DEEPEST {
        return Some(Refusal::Deep);
    }
    // The rule that the cache goes by has the last word.
    (!crate::cache::is_repo_path(path)).then_some(Refusal::Leaves)
}

/// Why `repo` is no name of a repository, "name" or "owner/name"; none where it is one.
pub fn repo_refusal(repo: &str) -> Option<Refusal> {
    crate::cache::folder_name(repo).is_err().then_some(Refusal::Leaves)
}

/// Characters that do not show, or that turn the order of those that do.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `text` as a person may see it: one line, of at most `most` characters.
pub(crate) fn shown(text: &str, most: usize) -> String {
    text.chars().filter(|c| !is_hidden(*c)).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_paths_are_refused_and_odd_ones_taken() {
        for fine in
            ["config.json", "a/b/c.gguf", "näme (1)+x.gguf", ".gitattributes", "a..b/c...d", "-x", "CON"]
        {
            assert_eq!(refusal(fine), None, "{fine}");
        }
        let long = "n".repeat(300);
        for (path, expected) in [
            ("", Refusal::Empty),
            ("/etc/passwd", Refusal::Absolute),
            ("../x", Refusal::Leaves),
            ("a/../../x", Refusal::Leaves),
            ("a//b", Refusal::Leaves),
            ("a/", Refusal::Leaves),
            ("./a", Refusal::Leaves),
            ("a\nb", Refusal::Control),
            ("a\0b", Refusal::Control),
            ("a\u{202e}gpj.exe", Refusal::Control),
            ("a\\..\\b", Refusal::Backslash),
            (long.as_str(), Refusal::Long),
            ("a/".repeat(20).trim_end_matches('/'), Refusal::Deep),
            (&"aaaa/".repeat(300), Refusal::Long),
        ] {
            assert_eq!(refusal(path), Some(expected), "{path:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_taken_stays_below_its_folder(path in "[a./\\\\\\x00-\\x20é~]{0,40}") {
            if refusal(&path).is_none() {
                let joined = std::path::Path::new("/cache").join(&path);
                assert!(joined.starts_with("/cache"));
                assert!(joined.components().all(|c| !matches!(c, std::path::Component::ParentDir)));
                assert!(joined != std::path::Path::new("/cache"));
            }
        }
    }
}
