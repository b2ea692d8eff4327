//! One question to the Hub and its answer: where a token goes, which redirect is followed, how much is read.

use std::io::Read;
use std::time::Duration;

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue,
    LOCATION, RANGE,
};
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;

use super::error::{Asked, HubError, of_answer};
use super::path::{refusal, repo_refusal, shown};
use super::{Hub, endpoint};

/// One answer of the API, from the question to its last byte.
const PATIENCE: Duration = Duration::from_secs(40);
const MOST_REDIRECTS: usize = 5;

/// Where a redirect may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Answers of the API come from the Hub itself; anything else is a captive portal.
    Here,
    /// Bytes of files come from wherever the Hub says, without the token.
    Anywhere,
}

impl Hub {
    /// An address below the endpoint; each segment is encoded.
    pub(crate) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Result<Url, HubError> {
        let bad = || HubError::BadName { what: shown(&self.endpoint, 120) };
        let mut url = Url::parse(&self.endpoint).map_err(|_| bad())?;
        url.path_segments_mut().map_err(|()| bad())?.pop_if_empty().extend(segments);
        Ok(url)
    }

    /// The address of a file's bytes at a revision.
    ///
    /// # Errors
    /// [`HubError::BadName`] for what is no repository, revision or path.
    pub fn file_url(&self, repo: &str, revision: &str, path: &str) -> Result<Url, HubError> {
        check(repo, revision)?;
        if refusal(path).is_some() {
            return Err(HubError::BadName { what: shown(path, 120) });
        }
        self.url(repo.split('/').chain(["resolve", revision]).chain(path.split('/')))
    }

    pub(crate) fn asked<'a>(&'a self, repo: &'a str) -> Asked<'a> {
        Asked { repo, revision: None, path: None, endpoint: &self.endpoint, with_token: self.sends_token() }
    }

    /// Whether `url` is at the endpoint's own scheme, host and port.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        Url::parse(&self.endpoint).is_ok_and(|own| own.origin() == url.origin())
    }

    /// `Authorization`, where there is a token, `url` is the endpoint's, and nobody can read it on the way there.
    pub fn authorization(&self, url: &Url) -> Option<HeaderValue> {
        let token = self.token.as_ref().filter(|_| self.is_own(url) && !endpoint::is_clear(url))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether questions to the endpoint carry a token.
    pub fn sends_token(&self) -> bool {
        Url::parse(&self.endpoint).is_ok_and(|own| self.authorization(&own).is_some())
    }

    /// An answer of success, by hand through redirects.
    pub(crate) async fn get(
        &self,
        url: Url,
        range: Option<(u64, u64)>,
        stay: Stay,
        asked: Asked<'_>,
    ) -> Result<Response, HubError> {
        if self.offline {
            return Err(HubError::Offline);
        }
        let mut url = url;
        for _ in 0..=MOST_REDIRECTS {
            let mut request =
                self.http.get(url.clone()).timeout(PATIENCE).header(ACCEPT_ENCODING, "identity");
            if let Some(authorization) = self.authorization(&url) {
                request = request.header(AUTHORIZATION, authorization);
            }
            if let Some((from, len)) = range {
                let to = from.saturating_add(len.max(1) - 1);
                request = request.header(RANGE, format!("bytes={from}-{to}"));
            }
            let answer = request.send().await.map_err(|e| unreachable(&url, &e))?;
            if answer.status().is_success() {
                return Ok(answer);
            }
            if !is_redirect(answer.status()) {
                return Err(of_answer(answer.status(), answer.headers(), asked));
            }
            url = self.onward(&url, answer.headers(), stay)?;
        }
        Err(strange(&url, "it sends from one address to the next"))
    }

    pub(crate) fn onward(&self, from: &Url, headers: &HeaderMap, stay: Stay) -> Result<Url, HubError> {
        let location = headers.get(LOCATION).and_then(|l| l.to_str().ok());
        let to = location.and_then(|l| from.join(l).ok());
        let to = to.ok_or_else(|| strange(from, "it redirects to nowhere"))?;
        let worse = from.scheme() == "https" && to.scheme() != "https";
        if worse || !matches!(to.scheme(), "https" | "http") {
            return Err(strange(from, "it redirects to an address that is not safe"));
        }
        if stay == Stay::Here && !self.is_own(&to) {
            return Err(strange(from, "it sends questions elsewhere"));
        }
        Ok(to)
    }

    /// An answer in JSON of at most `most` bytes, and its headers.
    pub(crate) async fn json(
        &self,
        url: Url,
        most: usize,
        asked: Asked<'_>,
    ) -> Result<(Value, HeaderMap), HubError> {
        let answer = self.get(url.clone(), None, Stay::Here, asked).await?;
        let headers = answer.headers().clone();
        let bytes = body(answer, &url, most).await?;
        let value = serde_json::from_slice(&bytes).map_err(|_| strange(&url, "its answer cannot be read"))?;
        Ok((value, headers))
    }

    /// A small file of a repository, whole: config.json, an index, a model card.
    ///
    /// # Errors
    /// [`HubError::Strange`] for one of more than `most` bytes, beside everything else that can go wrong.
    pub async fn small_file(
        &self,
        repo: &str,
        commit: &str,
        path: &str,
        most: usize,
    ) -> Result<Vec<u8>, HubError> {
        let url = self.file_url(repo, commit, path)?;
        let asked = Asked { revision: Some(commit), path: Some(path), ..self.asked(repo) };
        let answer = self.get(url.clone(), None, Stay::Anywhere, asked).await?;
        body(answer, &url, most).await
    }

    /// `len` bytes of a file from `from` on, or fewer at its end.
    ///
    /// # Errors
    /// [`HubError::Strange`] where other bytes come than those that were asked for.
    pub async fn range(
        &self,
        repo: &str,
        commit: &str,
        path: &str,
        from: u64,
        len: usize,
    ) -> Result<Vec<u8>, HubError> {
        let url = self.file_url(repo, commit, path)?;
        let asked = Asked { revision: Some(commit), path: Some(path), ..self.asked(repo) };
        let answer = self.get(url.clone(), Some((from, len as u64)), Stay::Anywhere, asked).await?;
        is_no_page(&answer, &url)?;
        let right = match answer.status() {
            StatusCode::PARTIAL_CONTENT => first_of(answer.headers()) == Some(from),
            // A server without ranges: the beginning is enough where the beginning was asked for.
            _ => from == 0,
        };
        if !right || answer.headers().contains_key(CONTENT_ENCODING) {
            return Err(strange(&url, "it sent another part of the file than was asked for"));
        }
        some(answer, &url, len).await
    }
}

/// What may be asked for at all.
pub(crate) fn check(repo: &str, revision: &str) -> Result<(), HubError> {
    if repo_refusal(repo).is_some() {
        return Err(HubError::BadName { what: shown(repo, 120) });
    }
    if refusal(revision).is_some() {
        return Err(HubError::BadName { what: format!("Revision {}", shown(revision, 60)) });
    }
    Ok(())
}

pub(crate) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The first byte's place that `Content-Range: bytes A-B/SIZE` tells.
fn first_of(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

pub(crate) fn strange(url: &Url, why: &str) -> HubError {
    HubError::Strange { host: endpoint::shown_host(url), why: why.to_owned() }
}

/// Why no answer came, in words of ours: an error's own may repeat an address with a signature in it.
pub(crate) fn unreachable(url: &Url, error: &reqwest::Error) -> HubError {
    let mut causes = String::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = next {
        causes.push_str(&cause.to_string().to_ascii_lowercase());
        next = cause.source();
    }
    let holds = |words: &[&str]| words.iter().any(|w| causes.contains(w));
    let why = if error.is_timeout() {
        "it does not answer in time"
    } else if holds(&["certificate", "unknownissuer"]) {
        "its certificate is not trusted here"
    } else if holds(&["dns", "lookup"]) {
        "its name is not found"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the answer broke off"
    };
    HubError::Unreachable { host: endpoint::shown_host(url), why: why.to_owned() }
}

fn is_no_page(answer: &Response, url: &Url) -> Result<(), HubError> {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|k| k.to_str().ok()).unwrap_or_default();
    if kind.trim_start().to_ascii_lowercase().starts_with("text/html") {
        return Err(strange(url, "it shows a page instead"));
    }
    Ok(())
}

/// A whole body of at most `most` bytes, unpacked where it came packed without being asked to.
async fn body(answer: Response, url: &Url, most: usize) -> Result<Vec<u8>, HubError> {
    is_no_page(&answer, url)?;
    let packed = match answer.headers().get(CONTENT_ENCODING).and_then(|e| e.to_str().ok()) {
        None | Some("" | "identity") => false,
        Some("gzip") => true,
        Some(_) => return Err(strange(url, "its answer is packed")),
    };
    let told = answer.content_length().filter(|_| !packed);
    if told.is_some_and(|told| told > most as u64) {
        return Err(strange(url, "its answer is too long"));
    }
    let bytes = some(answer, url, most.saturating_add(1)).await?;
    let bytes = if packed {
        unpacked(&bytes, most).ok_or_else(|| strange(url, "its answer is packed"))?
    } else {
        bytes
    };
    if bytes.len() > most {
        return Err(strange(url, "its answer is too long"));
    }
    // Fewer than were promised is an error of the connection; hyper says so.
    Ok(bytes)
}

/// At most one byte more than `most`.
fn unpacked(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let reader = flate2::read::GzDecoder::new(bytes);
    reader.take(most as u64 + 1).read_to_end(&mut out).ok()?;
    Some(out)
}

/// The first `most` bytes of a body; what follows is not waited for.
async fn some(mut answer: Response, url: &Url, most: usize) -> Result<Vec<u8>, HubError> {
    let mut bytes = Vec::new();
    while bytes.len() < most {
        let Some(chunk) = answer.chunk().await.map_err(|e| unreachable(url, &e))? else { break };
        bytes.extend_from_slice(&chunk[..chunk.len().min(most - bytes.len())]);
    }
    Ok(bytes)
}
