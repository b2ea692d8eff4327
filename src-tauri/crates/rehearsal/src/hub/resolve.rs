//! `/{id}/resolve/{rev}/{path}`: who may have the file, where its bytes are; and the CDN's signed addresses.

use std::time::{SystemTime, UNIX_EPOCH};

use super::api::{self, Caller};
use super::content::{Content, id_of};
use super::repo::{Access, File, Repo};
use super::trouble::{Asked, Place};
use super::wire::{Answer, Request, encoded};
use super::{Shared, Trouble};

/// What a request leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// An answer, and the file that it is about.
    Answer(Answer, String),
    Bytes(Of),
}

/// The bytes of a file, and what is said of it.
#[derive(Debug, Clone)]
pub(super) struct Of {
    /// "owner/name/path".
    pub(super) file: String,
    pub(super) content: Content,
    /// Without quotes.
    pub(super) etag: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Found {
    pub(super) fn plain(answer: Answer) -> Self {
        Self::Answer(answer, String::new())
    }

    pub(super) fn file(&self) -> &str {
        match self {
            Self::Answer(_, file) => file,
            Self::Bytes(of) => &of.file,
        }
    }

    /// The bytes that would be sent.
    pub(super) fn range(&self, request: &Request) -> Option<(u64, u64)> {
        match self {
            Self::Bytes(of) if !request.is_head() => of.range(request).ok(),
            _ => None,
        }
    }
}

impl Of {
    /// What of the file is asked for.
    pub(super) fn range(&self, request: &Request) -> Result<(u64, u64), ()> {
        let size = self.content.size();
        let same = request.header("if-range").is_none_or(|tag| tag.trim_matches('"') == self.etag);
        match request.range(size) {
            Some(range) if same => range,
            _ => Ok((0, size)),
        }
    }
}

/// Whether the caller gets the files of a repository; the refusal if not.
pub(super) fn may_have(repo: &Repo, caller: &Caller) -> Result<(), Answer> {
    let refused = |status, code, message: &str| Err(Answer::refusal(status, code, message));
    let id = &repo.id;
    match (repo.access, caller) {
        (_, Caller::Unknown) => Err(api::bad_token()),
        (Access::Disabled, _) => refused(403, None, "Access to this resource is disabled."),
        (Access::Open | Access::Private, _) => Ok(()),
        (_, Caller::Nobody) => refused(
            401,
            Some("GatedRepo"),
            &format!(
                "Access to model {id} is restricted. You must have access to it and be authenticated to access it. Please log in."
            ),
        ),
        (_, Caller::Known(account)) if account.accepted.contains(id) => Ok(()),
        (Access::Auto, _) => refused(
            403,
            Some("GatedRepo"),
            &format!(
                "Access to model {id} is restricted and you are not in the authorized list. Visit https://huggingface.co/{id} to ask for access."
            ),
        ),
        (Access::Manual, _) => refused(
            403,
            Some("GatedRepo"),
            &format!("Your request to access model {id} is awaiting a review from the repo authors."),
        ),
    }
}

pub(super) fn resolve(shared: &Shared, request: &Request, id: &str, revision: &str, path: &str) -> Found {
    let name = format!("{id}/{path}");
    let of_file = |answer| Found::Answer(answer, name.clone());
    let caller = api::caller(shared, request);
    let line = format!("{} {}", request.method, request.target);
    let asked = Asked { place: Place::Resolve, line: &line, file: &name, range: None };
    let struck = shared.strike(&asked, Trouble::is_of_head);
    if struck.contains(&Trouble::Moved) {
        shared.push(id, |files| files.iter().map(|f| changed(f, path)).collect());
    }
    let repo = match api::visible(shared, id, &caller) {
        Ok(repo) => repo,
        Err(answer) => return of_file(answer),
    };
    if let Err(answer) = may_have(&repo, &caller) {
        return of_file(answer);
    }
    let Some(commit) = repo.at(revision) else { return of_file(api::no_revision(revision)) };
    let Some(file) = commit.file(path) else {
        let refusal = Answer::refusal(404, Some("EntryNotFound"), "Entry not found");
        return of_file(refusal.with("X-Repo-Commit", commit.id.clone()));
    };
    let wrong = struck.contains(&Trouble::WrongEtag);
    let etag =
        if wrong { id_of(&file.etag()).repeat(2)[..file.etag().len()].to_owned() } else { file.etag() };
    let headers = vec![("X-Repo-Commit", commit.id.clone()), ("Accept-Ranges", "bytes".to_owned())];
    if file.lfs {
        let mut answer = Answer::new(302, "text/plain; charset=utf-8", "Found. Redirecting.")
            .with("Location", address(shared, &repo, &commit.id, file))
            .with("X-Linked-Size", file.content.size().to_string())
            .with("X-Linked-Etag", format!("\"{etag}\""));
        answer.headers.extend(headers);
        answer.headers.extend(api::limits("resolvers", 3000));
        return of_file(answer);
    }
    if shared.redirects_small {
        let to = format!("/api/resolve-cache/models/{id}/{}/{}", commit.id, encoded(path, "/"));
        let mut answer = Answer::new(307, "text/plain; charset=utf-8", "Temporary Redirect.")
            .with("Location", to)
            .with("X-Linked-Size", file.content.size().to_string())
            .with("X-Linked-Etag", format!("\"{etag}\""));
        answer.headers.extend(headers);
        return of_file(answer);
    }
    small_bytes(name, file, etag, headers)
}

/// Where [`resolve`] sends for small files, if it does.
pub(super) fn small(shared: &Shared, request: &Request, id: &str, commit: &str, path: &str) -> Found {
    let name = format!("{id}/{path}");
    let caller = api::caller(shared, request);
    let repo = match api::visible(shared, id, &caller) {
        Ok(repo) => repo,
        Err(answer) => return Found::Answer(answer, name),
    };
    if let Err(answer) = may_have(&repo, &caller) {
        return Found::Answer(answer, name);
    }
    match repo.at(commit).and_then(|c| c.file(path)) {
        Some(file) if !file.lfs => {
            small_bytes(name, file, file.etag(), vec![("X-Repo-Commit", commit.to_owned())])
        }
        _ => Found::Answer(Answer::refusal(404, Some("EntryNotFound"), "Entry not found"), name),
    }
}

fn small_bytes(name: String, file: &File, etag: String, mut headers: Vec<(&'static str, String)>) -> Found {
    headers.push(("Content-Type", "text/plain; charset=utf-8".to_owned()));
    headers.extend(api::limits("resolvers", 3000));
    Found::Bytes(Of { file: name, content: file.content.clone(), etag, headers })
}

/// Another file under the same path.
fn changed(file: &File, path: &str) -> File {
    if file.path != path {
        return file.clone();
    }
    let seed = file.content.size() ^ 0x00c0_ffee;
    File::new(path, Content::Seeded { size: file.content.size(), seed })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// What an address is signed with: everything in it, and the round that makes all earlier ones old.
fn signature(shared: &Shared, path: &str, expires: u64) -> String {
    let round = shared.addresses.load(std::sync::atomic::Ordering::Relaxed);
    id_of(&format!("{path} {expires} {round} {}", shared.cdn))
}

fn address(shared: &Shared, repo: &Repo, commit: &str, file: &File) -> String {
    let path = format!("/repos/{}/{commit}/{}", encoded(&repo.id, ""), encoded(&file.path, ""));
    let expires = now() + shared.addresses_live.as_secs();
    let signature = signature(shared, &path, expires);
    format!("http://{}{path}?Expires={expires}&Signature={signature}", shared.cdn)
}

/// The CDN: bytes for whoever has a good address, and no account at all.
pub(super) fn cdn(shared: &Shared, request: &Request) -> Found {
    let denied = |message: &str, file: String| Found::Answer(too_old(message), file);
    let ["repos", id, commit, path] = *request.segments.iter().map(String::as_str).collect::<Vec<_>>() else {
        return Found::plain(Answer::new(404, "application/xml", "<Error><Code>NoSuchKey</Code></Error>"));
    };
    let name = format!("{id}/{path}");
    let expires = request.parameter("Expires").and_then(|e| e.parse::<u64>().ok()).unwrap_or(0);
    let signed = request.target.split('?').next().unwrap_or_default();
    if request.parameter("Signature") != Some(signature(shared, signed, expires).as_str()) || expires <= now()
    {
        return denied("Request has expired", name);
    }
    let repo = shared.repo(id);
    match repo.as_ref().and_then(|r| r.at(commit)).and_then(|c| c.file(path)) {
        Some(file) => Found::Bytes(Of {
            file: name,
            content: file.content.clone(),
            etag: file.etag(),
            headers: vec![("Content-Type", "application/octet-stream".to_owned())],
        }),
        None => denied("Access Denied", name),
    }
}

/// 403 as a CDN says it.
pub(super) fn too_old(message: &str) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
    );
    Answer::new(403, "application/xml", body)
}
