//! One request for bytes of a file: to the Hub, along its redirect to a store, and what came back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::download::answer::{Asked, Body, Heard, Refused, bare, judge, same_file};
use domain::download::{Span, patience};
use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, RANGE,
};
use reqwest::{Response, Url};
use tokio::time::timeout;

use super::write::Broken;
use crate::hub::{Hub, HubError, Stay, is_redirect, of_answer, shown_host, unreachable};

const MOST_REDIRECTS: usize = 5;
/// Of the body of an answer that is not used: read, so that its connection can be.
const SPARE: usize = 16 << 10;

/// Which file, as it was listed.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) repo: String,
    pub(crate) commit: String,
    pub(crate) path: String,
    pub(crate) size: u64,
    /// Hexadecimal.
    pub(crate) hash: String,
}

/// Where the bytes of a file come from, found by following the Hub once.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) url: Url,
    /// As the store names what it gives.
    pub(crate) etag: Option<String>,
}

/// Why bytes did not come, or no more of them.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may come at once, or after a while.
    Again(HubError),
    /// As before, but from who is no Hub; that is not tried for ever.
    Strange(HubError),
    /// The Hub asks for patience.
    Patience {
        wait: Duration,
        why: HubError,
    },
    /// The store does not know its address any more.
    Expired(HubError),
    /// The store gives something else than a moment ago.
    Mixed,
    /// A server that knew ranges does not any more.
    NoRanges,
    /// No use in asking again.
    Changed(String),
    Refused(HubError),
    Disk(Broken),
}

/// An answer whose body may be read.
pub(crate) struct Opened {
    pub(crate) response: Response,
    pub(crate) body: Body,
    pub(crate) source: Source,
}

/// Asks for `span` of a file (or for all of it), at `source` if it is known already. `etag`: as a store has named what it
/// gave before.
pub(crate) async fn ask(
    hub: &Hub,
    target: &Target,
    source: Option<&Source>,
    etag: Option<&str>,
    span: Option<Span>,
    stall: Duration,
) -> Result<Opened, Trouble> {
    let first = hub.file_url(&target.repo, &target.commit, &target.path).map_err(Trouble::Refused)?;
    let mut url = source.map_or_else(|| first.clone(), |s| s.url.clone());
    for _ in 0..=MOST_REDIRECTS {
        let own = hub.is_own(&url);
        let mut request = hub.http.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(authorization) = hub.authorization(&url) {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some(span) = span {
            request = request.header(RANGE, format!("bytes={}-{}", span.start, span.end.saturating_sub(1)));
        }
        let sent = timeout(stall, request.send()).await;
        let response = sent.map_err(|_| Trouble::Again(silent(&url)))?;
        let response = response.map_err(|e| Trouble::Again(unreachable(&url, &e)))?;
        let status = response.status();
        let heard = heard(&response);
        let asked = Asked {
            size: target.size,
            hash: &target.hash,
            commit: &target.commit,
            span,
            hub: own,
            html: is_page(&target.path),
        };
        if is_redirect(status) {
            same_file(&asked, &heard).map_err(|r| refused(&url, r))?;
            let next = hub.onward(&url, response.headers(), Stay::Anywhere).map_err(Trouble::Strange)?;
            drain(response, stall).await;
            url = next;
            continue;
        }
        if !status.is_success() {
            let trouble = failure(hub, target, &url, own, &response);
            drain(response, stall).await;
            return Err(trouble);
        }
        let body = judge(&asked, &heard).map_err(|r| refused(&url, r))?;
        let named = heard.etag.filter(|_| !own).map(|e| bare(e).to_owned());
        if etag.is_some() && named.as_deref() != etag {
            return Err(Trouble::Mixed);
        }
        return Ok(Opened { body, source: Source { url, etag: named }, response });
    }
    Err(Trouble::Strange(strange(&url, "it sends from one address to the next")))
}

/// A file that is a page itself.
fn is_page(path: &str) -> bool {
    let end = path.rsplit_once('.').map_or("", |(_, end)| end);
    end.eq_ignore_ascii_case("html") || end.eq_ignore_ascii_case("htm")
}

fn heard(response: &Response) -> Heard<'_> {
    let text = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok());
    Heard {
        status: response.status().as_u16(),
        content_length: text(CONTENT_LENGTH.as_str()).and_then(|l| l.trim().parse().ok()),
        content_range: text(CONTENT_RANGE.as_str()),
        content_encoding: text(CONTENT_ENCODING.as_str()),
        content_type: text(CONTENT_TYPE.as_str()),
        etag: text(ETAG.as_str()),
        linked_etag: text("x-linked-etag"),
        linked_size: text("x-linked-size"),
        repo_commit: text("x-repo-commit"),
    }
}

fn failure(hub: &Hub, target: &Target, url: &Url, own: bool, response: &Response) -> Trouble {
    let status = response.status();
    let mut asked = hub.asked(&target.repo);
    asked.revision = Some(&target.commit);
    asked.path = Some(&target.path);
    asked.with_token = asked.with_token && own;
    let error = of_answer(status, response.headers(), asked);
    let wait = asked_wait(response.headers());
    match (status.as_u16(), wait) {
        (429, wait) => {
            let wait = wait.unwrap_or(Duration::from_secs(match error {
                HubError::RateLimited { seconds } => seconds,
                _ => 60,
            }));
            Trouble::Patience { wait, why: HubError::RateLimited { seconds: wait.as_secs() } }
        }
        (503, Some(wait)) => Trouble::Patience { wait, why: error },
        // An address that the Hub signs is good for an hour or so.
        (400 | 401 | 403 | 404 | 410, _) if !own => {
            Trouble::Expired(strange(url, &format!("it refuses its own address with {}", status.as_u16())))
        }
        (408 | 500.., _) => Trouble::Again(error),
        (416, _) => Trouble::Changed("it is shorter than the Hub says".to_owned()),
        (400..500, _) => Trouble::Refused(error),
        _ => Trouble::Strange(strange(url, &format!("it answers with {}", status.as_u16()))),
    }
}

fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    patience::asked(text("retry-after"), text("ratelimit"), now)
}

fn refused(url: &Url, refused: Refused) -> Trouble {
    match refused {
        Refused::Strange(why) => Trouble::Strange(strange(url, &why)),
        Refused::Changed(why) => Trouble::Changed(why),
    }
}

/// Reads what is left of a short body, so that the connection can be used again; a long one is dropped with it.
async fn drain(mut response: Response, stall: Duration) {
    let mut read = 0;
    while read < SPARE {
        match timeout(stall.min(Duration::from_secs(2)), response.chunk()).await {
            Ok(Ok(Some(chunk))) => read += chunk.len(),
            _ => return,
        }
    }
}

pub(crate) fn silent(url: &Url) -> HubError {
    HubError::Unreachable { host: shown_host(url), why: "it fell silent".to_owned() }
}

pub(crate) fn strange(url: &Url, why: &str) -> HubError {
    HubError::Strange { host: shown_host(url), why: why.to_owned() }
}
