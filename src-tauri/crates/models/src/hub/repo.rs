//! What the Hub says of one repository.

use std::collections::BTreeMap;

use reqwest::Url;
use serde_json::Value;

use super::Hub;
use super::ask::{check, strange};
use super::error::{Asked, HubError};
use super::path::{repo_refusal, shown};

/// With a list of 100,000 names in it.
const MOST_INFO: usize = 32 << 20;
const MOST_TAGS: usize = 200;
const LONGEST: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gated {
    #[default]
    No,
    /// Access is given at once to who accepts the licence.
    Auto,
    /// A person of the publisher decides.
    Manual,
}

/// What the Hub read from the GGUF files of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GgufSummary {
    pub architecture: Option<String>,
    /// Tokens.
    pub context: Option<u32>,
    /// Weights, as a count.
    pub parameters: Option<u64>,
}

/// What is said of a repository in a list as well as by itself. Texts are one line and bounded; they are still what a
/// stranger wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// As the Hub spells it now: "Qwen/Qwen2.5-14B-Instruct-AWQ".
    pub repo: String,
    pub gated: Gated,
    pub private: bool,
    /// "apache-2.0".
    pub licence: Option<String>,
    pub downloads: Option<u64>,
    pub likes: Option<u64>,
    /// RFC 3339.
    pub last_modified: Option<String>,
    pub tags: Vec<String>,
    /// "transformers", "gguf".
    pub library: Option<String>,
    /// "text-generation".
    pub pipeline: Option<String>,
    /// Weights of its safetensors files by type, as counts; packed ones count as what they are packed in.
    pub parameters: BTreeMap<String, u64>,
    pub gguf: Option<GgufSummary>,
    /// The class in its config.json.
    pub architecture: Option<String>,
    /// "awq".
    pub quant_method: Option<String>,
}

/// One repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepoInfo {
    /// What the revision is now, 40 hexadecimal digits.
    pub commit: String,
    pub about: About,
}

impl Hub {
    /// A repository at a revision ("main", a tag, a commit).
    ///
    /// # Errors
    /// [`HubError`], each of its cases.
    pub async fn info(&self, repo: &str, revision: &str) -> Result<RepoInfo, HubError> {
        check(repo, revision)?;
        let url =
            self.url(["api", "models"].into_iter().chain(repo.split('/')).chain(["revision", revision]))?;
        let asked = Asked { revision: Some(revision), ..self.asked(repo) };
        let (value, _) = self.json(url.clone(), MOST_INFO, asked).await?;
        info(&value, repo).ok_or_else(|| no_repo(&url))
    }
}

fn no_repo(url: &Url) -> HubError {
    strange(url, "its answer is about no repository")
}

fn info(value: &Value, repo: &str) -> Option<RepoInfo> {
    let commit = value["sha"].as_str().filter(|c| is_commit(c))?.to_ascii_lowercase();
    let about = about(value).unwrap_or_default();
    let named = if about.repo.is_empty() { repo.to_owned() } else { about.repo.clone() };
    Some(RepoInfo { commit, about: About { repo: named, ..about } })
}

pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Of an entry in a list, or of the whole answer; none where it has no name that could be a repository's.
pub(crate) fn about(value: &Value) -> Option<About> {
    let repo = ["id", "modelId"].iter().find_map(|k| value[*k].as_str())?;
    if repo_refusal(repo).is_some() {
        return None;
    }
    let text = |v: &Value| v.as_str().map(|t| shown(t, LONGEST)).filter(|t| !t.is_empty());
    let tags: Vec<String> =
        value["tags"].as_array().into_iter().flatten().take(MOST_TAGS).filter_map(text).collect();
    let card = &value["cardData"];
    let tagged = tags.iter().find_map(|t| t.strip_prefix("license:")).map(ToOwned::to_owned);
    let licence = tagged
        .or_else(|| text(&card["license"]))
        .or_else(|| text(&card["license"][0]))
        .filter(|l| l != "other" && l != "unknown")
        .or_else(|| text(&card["license_name"]));
    let gguf = value["gguf"].as_object().map(|_| {
        let of = &value["gguf"];
        GgufSummary {
            architecture: text(&of["architecture"]),
            context: of["context_length"].as_u64().and_then(|n| u32::try_from(n).ok()),
            parameters: of["total"].as_u64(),
        }
    });
    let parameters = value["safetensors"]["parameters"].as_object().into_iter().flatten().take(40);
    Some(About {
        repo: repo.to_owned(),
        gated: match &value["gated"] {
            Value::Bool(true) => Gated::Auto,
            Value::String(word) if word == "auto" => Gated::Auto,
            Value::String(word) if word == "manual" => Gated::Manual,
            _ => Gated::No,
        },
        private: value["private"].as_bool().unwrap_or(false),
        licence,
        downloads: value["downloads"].as_u64(),
        likes: value["likes"].as_u64(),
        last_modified: text(&value["lastModified"]).filter(|t| is_time(t)),
        library: text(&value["library_name"]),
        pipeline: text(&value["pipeline_tag"]),
        parameters: parameters.filter_map(|(k, v)| Some((shown(k, 20), v.as_u64()?))).collect(),
        gguf,
        architecture: text(&value["config"]["architectures"][0]),
        quant_method: text(&value["config"]["quantization_config"]["quant_method"]),
        tags,
    })
}

/// "2025-01-12T02:00:00.000Z".
fn is_time(text: &str) -> bool {
    text.len() <= 40
        && text.len() >= 20
        && text.bytes().enumerate().all(|(at, b)| match at {
            4 | 7 => b == b'-',
            10 => b == b'T',
            13 | 16 => b == b':',
            0..19 => b.is_ascii_digit(),
            _ => b.is_ascii_digit() || matches!(b, b'.' | b'Z' | b'+' | b'-' | b':'),
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn an_answer_is_read_and_nothing_in_it_is_believed() {
        let value = json!({
            "_id": "1", "id": "Qwen/Qwen2.5-14B-Instruct-AWQ", "sha": COMMIT, "private": false, "gated": "auto",
            "downloads": 12, "likes": 3, "lastModified": "2024-10-09T12:24:04.000Z", "library_name": "transformers",
            "pipeline_tag": "text-generation", "tags": ["transformers", "awq", "license:apache-2.0"],
            "cardData": {"license": "mit"}, "config": {"architectures": ["Qwen2ForCausalLM"],
            "quantization_config": {"quant_method": "awq"}},
            "safetensors": {"parameters": {"F16": 1_000, "I32": 2_000}, "total": 3_000},
            "siblings": [{"rfilename": "config.json"}],
        });
        let found = info(&value, "qwen/x").unwrap();
        assert_eq!(
            (found.commit.as_str(), found.about.repo.as_str()),
            (COMMIT, "Qwen/Qwen2.5-14B-Instruct-AWQ")
        );
        assert_eq!(found.about.licence.as_deref(), Some("apache-2.0"));
        assert_eq!((found.about.gated, found.about.downloads), (Gated::Auto, Some(12)));
        assert_eq!(found.about.quant_method.as_deref(), Some("awq"));
        assert_eq!(found.about.parameters["I32"], 2000);
        assert_eq!(found.about.last_modified.as_deref(), Some("2024-10-09T12:24:04.000Z"));
        let gguf = json!({"id": "a/b", "gguf": {"total": 7, "architecture": "qwen2", "context_length": 4096},
            "cardData": {"license": "other", "license_name": "llama3"}, "gated": true, "lastModified": "<b>now</b>"});
        let about = about(&gguf).unwrap();
        assert_eq!(about.gguf.unwrap().context, Some(4096));
        assert_eq!((about.licence.as_deref(), about.last_modified), (Some("llama3"), None));
        for none in [
            json!(null),
            json!([]),
            json!({"id": "../x", "sha": "main"}),
            json!({"id": "a/b", "sha": "../../x"}),
            json!({"id": "a/b", "sha": 7}),
        ] {
            assert_eq!(info(&none, "a/b"), None, "{none}");
        }
        for none in [json!({"id": "../x"}), json!({"id": "a/b/c"}), json!({"id": 7}), json!({"id": "a/<b>"})]
        {
            assert_eq!(super::about(&none), None, "{none}");
        }
    }
}
