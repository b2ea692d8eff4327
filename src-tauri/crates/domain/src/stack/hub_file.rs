//! A GGUF file of the Hub as a model: "OWNER/NAME/FILE.gguf".

use std::fmt;

/// Which file of which repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// "OWNER/NAME".
    pub repo: String,
    /// Its path in the repository.
    pub file: String,
}

impl HubFile {
    /// `None` for what is a path of this machine, a Hub id alone, or anything with a part that could lead elsewhere.
    pub fn parse(model: &str) -> Option<Self> {
        if !model.to_ascii_lowercase().ends_with(".gguf") {
            return None;
        }
        let safe = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'))
        };
        let parts: Vec<&str> = model.split('/').collect();
        let [owner, name, file @ ..] = parts.as_slice() else { return None };
        if file.is_empty() || !parts.iter().all(|p| safe(p)) {
            return None;
        }
        Some(Self { repo: format!("{owner}/{name}"), file: file.join("/") })
    }
}

/// The first part of a split model, where `model` is a later one: of "a-00002-of-00003.gguf" it is
/// "a-00001-of-00003.gguf".
pub(super) fn first_part(model: &str) -> Option<String> {
    let (rest, parts) = model.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
    let (part, _) = (number(part)?, number(parts)?);
    (part != 1).then(|| format!("{stem}-00001-of-{parts}.gguf"))
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.repo, self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::{HubFile, first_part};

    #[test]
    fn a_split_model_begins_with_its_first_part() {
        let first = |name| first_part(name);
        assert_eq!(first("/m/a-00002-of-00003.gguf").as_deref(), Some("/m/a-00001-of-00003.gguf"));
        for whole in ["/m/a-00001-of-00003.gguf", "/m/a.gguf", "/m/a-2-of-3.gguf", "a-of-b.gguf"] {
            assert_eq!(first(whole), None, "{whole}");
        }
    }

    #[test]
    fn a_file_of_the_hub_is_told_from_a_path_and_from_an_id() {
        let parsed = HubFile::parse("Qwen/Qwen2.5-3B-Instruct-GGUF/q4/model-Q4_K_M.gguf").unwrap();
        assert_eq!(
            (parsed.repo.as_str(), parsed.file.as_str()),
            ("Qwen/Qwen2.5-3B-Instruct-GGUF", "q4/model-Q4_K_M.gguf")
        );
        for no in [
            "/a/b/c.gguf",
            "a/b",
            "a/b.gguf",
            "a/../c.gguf",
            "a/b/.c.gguf",
            "a/b/c d.gguf",
            "a//c.gguf",
            "a/b/c",
        ] {
            assert_eq!(HubFile::parse(no), None, "{no}");
        }
    }
}
