//! Which names of a repository may become names on a disk.

use std::collections::BTreeSet;

/// Bytes of one name between two slashes: what file systems take.
const LONGEST_NAME: usize = 255;
const LONGEST_PATH: usize = 1024;
const DEEPEST: usize = 32;

/// Whether this path stays below the folder that it is laid in, and can be laid there.
pub fn is_harmless(path: &str) -> bool {
    path.len() <= LONGEST_PATH
        && path.split('/').count() <= DEEPEST
        && path.split('/').all(|name| {
            !name.is_empty()
                && name.len() <= LONGEST_NAME
                && name != "."
                && name != ".."
                && !name.chars().any(|c| c.is_control() || c == '\\')
        })
}

/// Two paths that cannot both be laid in one folder: equal ones, or a file that is also a folder.
pub fn clash<'a>(paths: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, &'a str)> {
    let mut files = BTreeSet::new();
    for path in paths {
        if !files.insert(path) {
            return Some((path, path));
        }
    }
    files.iter().find_map(|path| {
        let mut parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        parents.find_map(|parent| files.get(parent)).map(|parent| (*parent, *path))
    })
}

/// 40 lower-case hexadecimal digits.
pub fn is_commit(text: &str) -> bool {
    is_hex(text, 40)
}

/// `digits` lower-case hexadecimal digits.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_are_taken_and_refused() {
        for good in
            ["config.json", "a/b/c.safetensors", ".gitattributes", "a b+c.gguf", "模型.gguf", "...", "-x"]
        {
            assert!(is_harmless(good), "{good}");
        }
        let long = "n".repeat(300);
        let deep = "d/".repeat(40) + "f";
        let far = "d/".repeat(20) + &"n".repeat(255) + "/" + &"m".repeat(255) + "/" + &"o".repeat(255);
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../b",
            "a/..",
            "a//b",
            "a/",
            "./a",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            "..\\x",
            "C:\\x",
            &long,
            &deep,
            &(far.clone() + &far),
        ] {
            assert!(!is_harmless(bad), "{bad:?}");
        }
    }

    #[test]
    fn what_cannot_both_exist() {
        assert_eq!(clash(["a", "b", "a"]), Some(("a", "a")));
        assert_eq!(clash(["a/b", "a.b", "a"]), Some(("a", "a/b")));
        assert_eq!(clash(["a/b/c/d", "x", "a/b"]), Some(("a/b", "a/b/c/d")));
        assert_eq!(clash(["a", "A", "a.b", "ab/c", "b/a"]), None);
        assert_eq!(clash([]), None);
    }

    proptest! {
        /// Judged by the standard library: only plain names, and as many as slashes say.
        #[test]
        fn nothing_harmless_leads_out(path in "[a.\\\\/\\x00-\\x20é]{0,12}") {
            if is_harmless(&path) {
                let parts: Vec<Component> = Path::new(&path).components().collect();
                prop_assert!(parts.iter().all(|c| matches!(c, Component::Normal(_))));
                prop_assert_eq!(parts.len(), path.split('/').count());
            }
        }
    }

    #[test]
    fn commits() {
        assert!(is_commit(&"0a".repeat(20)));
        for bad in [String::new(), "0A".repeat(20), "0g".repeat(20), "0".repeat(41), "é".repeat(20)] {
            assert!(!is_commit(&bad), "{bad}");
        }
    }
}
