//! Why the Hub did not give what was asked for, from its answers.
//!
//! Format: `X-Error-Code` and `X-Error-Message`, 401 for what is missing or private alike, `Retry-After` and
//! `RateLimit: "api";r=0;t=55`. All of it is untrusted; texts of the Hub are looked at and never repeated.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// Waits longer than that are not believed.
const LONGEST_WAIT: u64 = 3600;
/// A fixed window of the Hub's lasts 300 s; a minute without being told is polite and bearable.
const USUAL_WAIT: u64 = 60;

/// Why the Hub did not give what was asked for. Each is a sentence on what happened; [`HubError::next`] says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    #[error("{repo} does not exist on the Hub, or it is private and no token was sent.")]
    NeedsToken { repo: String },
    /// It is there, and only for those who accepted its licence.
    #[error("{repo} is gated, and no token was sent.")]
    GatedNeedsToken { repo: String, page: String },
    #[error("The Hub does not take the token.")]
    BadToken,
    /// A fine-grained token that may not read gated repositories.
    #[error("The token may not read gated repositories such as {repo}.")]
    WeakToken { repo: String },
    #[error("The licence of {repo} was not accepted with this account.")]
    LicenceNotAccepted { repo: String, page: String },
    #[error("This account has no access to {repo}.")]
    NoAccess { repo: String, page: String },
    #[error("{what} does not exist on the Hub.")]
    NotFound { what: String },
    /// What was asked for is no name of a repository, a revision or a file.
    #[error("{what} is no name that the Hub could know.")]
    BadName { what: String },
    /// Somebody's data, or harm.
    #[error("{repo} lists more files than a model has.")]
    TooMany { repo: String },
    #[error("The Hub asks to wait {seconds} s.")]
    RateLimited { seconds: u64 },
    /// The person wants nothing to be asked.
    #[error("HF_HUB_OFFLINE is set, so nothing is asked of the Hub.")]
    Offline,
    /// It could not be reached, or it fell silent: it may be tried again.
    #[error("{host} cannot be reached ({why}).")]
    Unreachable { host: String, why: String },
    /// It answered with something that is no answer of a Hub: a captive portal, a proxy's page.
    #[error("{host} does not answer like a Hub ({why}).")]
    Strange { host: String, why: String },
    #[error("The Hub failed with {status}.")]
    Failed { status: u16 },
}

impl HubError {
    /// What to do about it, one sentence.
    pub fn next(&self) -> &'static str {
        match self {
            Self::NeedsToken { .. } => "Check its name, or add a token of an account that may see it.",
            Self::GatedNeedsToken { .. } => {
                "Accept its licence on its page, then add a token of that account."
            }
            Self::BadToken => "Make a new token in the settings of your account on the Hub, and add it here.",
            Self::WeakToken { .. } => {
                "Allow gated repositories in the token's settings on the Hub, or add another token."
            }
            Self::LicenceNotAccepted { .. } => "Accept it on the repository's page, then try again.",
            Self::NoAccess { .. } => "Ask for access on the repository's page, or choose another model.",
            Self::NotFound { .. } => "Check the name, or search for it.",
            Self::BadName { .. } => "Write it as on the Hub, \"organisation/name\".",
            Self::TooMany { .. } => "Choose another model.",
            Self::RateLimited { .. } => "It goes on by itself; an account's token allows more.",
            Self::Offline => "Take HF_HUB_OFFLINE out of the environment, and start Asgard again.",
            Self::Unreachable { .. } => "Check the network, then try again.",
            Self::Strange { .. } => {
                "Sign in to the network if it asks for that, or check HF_ENDPOINT, then try again."
            }
            Self::Failed { .. } => "Try again in a while.",
        }
    }

    /// Whether the same question may be answered later without anybody doing anything.
    pub fn passes(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Unreachable { .. } | Self::Failed { .. })
    }
}

/// What was asked for, for the words of an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) repo: &'a str,
    pub(crate) revision: Option<&'a str>,
    pub(crate) path: Option<&'a str>,
    pub(crate) endpoint: &'a str,
    /// Whether a token went with it.
    pub(crate) with_token: bool,
}

impl Asked<'_> {
    fn page(&self) -> String {
        format!("{}/{}", self.endpoint, self.repo)
    }
}

/// The error that an answer is, if it is none of success.
pub(crate) fn of_answer(status: StatusCode, headers: &HeaderMap, asked: Asked<'_>) -> HubError {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let (code, message) = (text("x-error-code"), text("x-error-message").to_ascii_lowercase());
    let repo = || asked.repo.to_owned();
    match status.as_u16() {
        401 if message.contains("invalid credentials") || message.contains("expired") => HubError::BadToken,
        401 if asked.with_token && code == "RepoNotFound" => HubError::NotFound { what: repo() },
        401 if asked.with_token => HubError::BadToken,
        401 if code == "GatedRepo" => HubError::GatedNeedsToken { repo: repo(), page: asked.page() },
        401 => HubError::NeedsToken { repo: repo() },
        403 if message.contains("fine-grained") => HubError::WeakToken { repo: repo() },
        // Asked for and not given (yet), or taken away: accepting again helps nobody.
        403 if ["awaiting", "rejected", "disabled"].iter().any(|w| message.contains(w)) => {
            HubError::NoAccess { repo: repo(), page: asked.page() }
        }
        403 if code == "GatedRepo" && !asked.with_token => {
            HubError::GatedNeedsToken { repo: repo(), page: asked.page() }
        }
        403 if code == "GatedRepo" => HubError::LicenceNotAccepted { repo: repo(), page: asked.page() },
        403 => HubError::NoAccess { repo: repo(), page: asked.page() },
        404 | 410 => HubError::NotFound { what: what(code, asked) },
        429 => HubError::RateLimited { seconds: wait_of(headers) },
        status => HubError::Failed { status },
    }
}

fn what(code: &str, asked: Asked<'_>) -> String {
    match (code, asked.revision, asked.path) {
        ("RepoNotFound", _, _) => asked.repo.to_owned(),
        ("RevisionNotFound", Some(revision), _) => format!("Revision {revision} of {}", asked.repo),
        (_, _, Some(path)) => format!("{path} of {}", asked.repo),
        _ => asked.repo.to_owned(),
    }
}

/// Seconds to wait after a 429: `Retry-After` in seconds, else the `t` of `RateLimit`.
pub fn wait_of(headers: &HeaderMap) -> u64 {
    let retry = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse::<u64>().ok());
    let window = headers.get("ratelimit").and_then(|v| {
        let text = v.to_str().ok()?;
        text.split(';').find_map(|part| part.trim().strip_prefix("t=")?.parse::<u64>().ok())
    });
    retry.max(window).unwrap_or(USUAL_WAIT).clamp(1, LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], with_token: bool) -> HubError {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let asked = Asked {
            repo: "o/n",
            revision: Some("v2"),
            path: Some("config.json"),
            endpoint: "https://hub",
            with_token,
        };
        of_answer(StatusCode::from_u16(status).unwrap(), &map, asked)
    }

    #[test]
    fn each_refusal_has_its_own_remedy() {
        let (repo, page) = ("o/n".to_owned(), "https://hub/o/n".to_owned());
        let not_found = |what: &str| HubError::NotFound { what: what.to_owned() };
        let gated = [("x-error-code", "GatedRepo")];
        let missing = [("x-error-code", "RepoNotFound")];
        let bad = [("x-error-message", "Invalid credentials in Authorization header")];
        let waiting = [
            ("x-error-code", "GatedRepo"),
            (
                "x-error-message",
                "Your request to access model o/n is awaiting a review from the repo authors.",
            ),
        ];
        let blocked = [("x-error-message", "Access to this resource is disabled.")];
        let weak = [(
            "x-error-message",
            "Please enable access to public gated repositories in your fine-grained token settings",
        )];
        for (status, headers, with_token, expected) in [
            (401, &missing[..], false, HubError::NeedsToken { repo: repo.clone() }),
            (401, &missing, true, not_found("o/n")),
            (401, &[], false, HubError::NeedsToken { repo: repo.clone() }),
            (401, &[], true, HubError::BadToken),
            (401, &bad, true, HubError::BadToken),
            (401, &gated, false, HubError::GatedNeedsToken { repo: repo.clone(), page: page.clone() }),
            (403, &gated, false, HubError::GatedNeedsToken { repo: repo.clone(), page: page.clone() }),
            (403, &gated, true, HubError::LicenceNotAccepted { repo: repo.clone(), page: page.clone() }),
            (403, &waiting, true, HubError::NoAccess { repo: repo.clone(), page: page.clone() }),
            (403, &blocked, true, HubError::NoAccess { repo: repo.clone(), page: page.clone() }),
            (403, &weak, true, HubError::WeakToken { repo: repo.clone() }),
            (403, &[], false, HubError::NoAccess { repo, page }),
            (404, &missing, true, not_found("o/n")),
            (404, &[("x-error-code", "RevisionNotFound")], true, not_found("Revision v2 of o/n")),
            (404, &[("x-error-code", "EntryNotFound")], true, not_found("config.json of o/n")),
            (500, &[], true, HubError::Failed { status: 500 }),
            (503, &[], true, HubError::Failed { status: 503 }),
            (429, &[], true, HubError::RateLimited { seconds: 60 }),
            (429, &[("retry-after", "7")], true, HubError::RateLimited { seconds: 7 }),
            (429, &[("retry-after", "0")], true, HubError::RateLimited { seconds: 1 }),
            (429, &[("retry-after", "99999999999")], true, HubError::RateLimited { seconds: 3600 }),
            (429, &[("retry-after", "Wed, 21 Oct 2026")], true, HubError::RateLimited { seconds: 60 }),
            (429, &[("ratelimit", "\"api\";r=0;t=55")], true, HubError::RateLimited { seconds: 55 }),
        ] {
            let found = answer(status, headers, with_token);
            assert_eq!(found, expected, "{status} {headers:?} {with_token}");
            assert!(found.next().ends_with('.') && found.to_string().ends_with('.'));
        }
    }
}
