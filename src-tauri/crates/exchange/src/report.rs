//! What became of each thing, collected while an import goes on.

use std::collections::BTreeSet;

use domain::secret::Secret;

use crate::{Finding, ImportError};

/// A file of settings is not larger.
pub(crate) const MOST_BYTES: usize = 1 << 20;
/// Nobody reads more.
const MOST_FINDINGS: usize = 500;
/// Shorter than this a value is a word that may stand anywhere.
const SHORTEST_SECRET: usize = 6;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: Option<u32>,
}

impl Place {
    pub(crate) fn at(file: &str, line: u32) -> Self {
        Self { file: file.to_owned(), line: Some(line) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) understood: Vec<Finding>,
    pub(crate) corrected: Vec<Finding>,
    pub(crate) not_understood: Vec<Finding>,
    pub(crate) secrets: Vec<(String, Secret)>,
    said: BTreeSet<String>,
}

impl Report {
    pub(crate) fn understood(
        &mut self,
        place: &Place,
        agent: Option<&str>,
        what: &str,
        message: impl Into<String>,
    ) {
        let finding = finding(place, agent, what, message.into());
        push(&mut self.understood, finding);
    }

    pub(crate) fn corrected(
        &mut self,
        place: &Place,
        agent: Option<&str>,
        what: &str,
        message: impl Into<String>,
    ) {
        let finding = finding(place, agent, what, message.into());
        push(&mut self.corrected, finding);
    }

    pub(crate) fn not_understood(
        &mut self,
        place: &Place,
        agent: Option<&str>,
        what: &str,
        message: impl Into<String>,
    ) {
        let finding = finding(place, agent, what, message.into());
        push(&mut self.not_understood, finding);
    }

    /// True the first time: what holds for many agents is said once.
    pub(crate) fn first(&mut self, what: &str) -> bool {
        self.said.insert(what.to_owned())
    }

    /// Keeps a secret. An example's placeholder is none.
    pub(crate) fn secret(&mut self, place: &Place, agent: Option<&str>, name: &str, value: &str) {
        if value.is_empty() || is_placeholder(value) {
            if !value.is_empty() && self.first(&format!("placeholder {name}")) {
                self.not_understood(place, agent, name, "This is the example's placeholder, and no token.");
            }
            return;
        }
        let value = Secret::new(value);
        if self.secrets.iter().any(|(n, v)| n == name && *v == value) {
            return;
        }
        self.understood(
            place,
            agent,
            name,
            "A secret: it goes to the secrets, and never into the stack file.",
        );
        self.secrets.push((name.to_owned(), value));
    }

    /// Whether this text holds a secret that was found, or looks like one.
    pub(crate) fn holds_secret(&self, text: &str) -> bool {
        looks_secret(text)
            || self
                .secrets
                .iter()
                .any(|(_, s)| s.reveal().len() >= SHORTEST_SECRET && text.contains(s.reveal()))
    }

    /// Takes every secret out of a sentence.
    pub(crate) fn clean(&self, text: &mut String) {
        for (_, secret) in &self.secrets {
            if secret.reveal().len() >= SHORTEST_SECRET && text.contains(secret.reveal()) {
                *text = text.replace(secret.reveal(), "…");
            }
        }
    }

    pub(crate) fn error(&self, mut error: ImportError) -> ImportError {
        self.clean(&mut error.message);
        self.clean(&mut error.next);
        error
    }
}

fn push(findings: &mut Vec<Finding>, finding: Finding) {
    if findings.len() < MOST_FINDINGS && !findings.contains(&finding) {
        findings.push(finding);
    }
}

fn finding(place: &Place, agent: Option<&str>, what: &str, message: String) -> Finding {
    Finding {
        file: plain(&place.file),
        line: place.line,
        agent: agent.map(str::to_owned),
        what: plain(what),
        message,
    }
}

/// Without control characters, and no longer than a line can bear.
pub(crate) fn plain(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control() && !is_mark(*c)).take(120).collect();
    if shown.len() < text.len() && text.chars().count() > 120 {
        shown.push('…');
    }
    shown
}

/// In quotes, without control characters, no longer than a sentence can bear.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !is_mark(*c)).take(60).collect();
    if text.chars().count() > 60 {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// The marks around the name of a variable that is not set; no text may hold them of its own.
pub(crate) const UNSET_BEGIN: char = '\u{fdd0}';
pub(crate) const UNSET_END: char = '\u{fdd1}';

pub(crate) fn is_mark(c: char) -> bool {
    matches!(c, UNSET_BEGIN | UNSET_END)
}

/// Whether a variable of this name carries a secret.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let last = name.rsplit('_').next().unwrap_or_default();
    matches!(last, "TOKEN" | "SECRET" | "PASSWORD" | "PASSWD" | "APIKEY" | "CREDENTIALS")
        || name.ends_with("API_KEY")
        || name.ends_with("ACCESS_KEY")
        || name.ends_with("SECRET_KEY")
        || name.ends_with("PRIVATE_KEY")
        || name == "HF_TOKEN"
        || name == "HUGGING_FACE_HUB_TOKEN"
}

/// Tokens of the usual makers, wherever they stand.
pub(crate) fn looks_secret(text: &str) -> bool {
    ["hf_", "sk-", "ghp_", "github_pat_", "nvapi-"].iter().any(|prefix| {
        text.match_indices(prefix).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let free = before.is_none_or(|c| !c.is_ascii_alphanumeric());
            let body = text[at + prefix.len()..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
            free && body.count() >= 20
        })
    })
}

fn is_placeholder(value: &str) -> bool {
    let value = value.trim().to_ascii_lowercase();
    value.starts_with("your_")
        || value.starts_with("your-")
        || value.starts_with('<')
        || value.chars().all(|c| matches!(c, '.' | 'x' | '*' | '…'))
        || matches!(value.as_str(), "changeme" | "change_me" | "none" | "todo" | "hf_xxx")
}
