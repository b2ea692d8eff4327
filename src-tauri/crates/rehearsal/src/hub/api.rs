//! `/api/…`: who asks, what there is, what a repository holds.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::repo::{Access, Account, Commit, File, Repo};
use super::wire::{Answer, Request, encoded};
use super::{Shared, lock};

/// Who asks.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    Nobody,
    /// A token that nobody here has.
    Unknown,
    Known(Account),
}

pub(super) fn caller(shared: &Shared, request: &Request) -> Caller {
    let Some(text) = request.header("authorization") else { return Caller::Nobody };
    let token = text.strip_prefix("Bearer ").unwrap_or(text).trim();
    lock(&shared.accounts)
        .iter()
        .find(|a| a.token.is(token))
        .map_or(Caller::Unknown, |a| Caller::Known(a.clone()))
}

pub(super) fn bad_token() -> Answer {
    Answer::refusal(401, None, "Invalid credentials in Authorization header")
}

pub(super) fn no_revision(revision: &str) -> Answer {
    Answer::refusal(404, Some("RevisionNotFound"), &format!("Invalid rev id: {revision}"))
}

/// The window of requests that is told with every answer; there is always room in it here.
pub(super) fn limits(name: &str, quota: u32) -> [(&'static str, String); 2] {
    [
        ("RateLimit", format!("\"{name}\";r={};t=300", quota - 1)),
        ("RateLimit-Policy", format!("\"fixed window\";\"{name}\";q={quota};w=300")),
    ]
}

/// The repository, if it exists for the caller.
pub(super) fn visible(shared: &Shared, id: &str, caller: &Caller) -> Result<Arc<Repo>, Answer> {
    let member = |repo: &Repo| match caller {
        Caller::Known(account) => account.member_of.contains(&repo.id),
        _ => false,
    };
    match (shared.repo(id), caller) {
        (_, Caller::Unknown) => Err(bad_token()),
        (Some(repo), _) if repo.access != Access::Private || member(&repo) => Ok(repo),
        // Without a token the Hub does not say whether it is missing or private.
        (_, Caller::Nobody) => {
            Err(Answer::refusal(401, Some("RepoNotFound"), "Invalid username or password."))
        }
        _ => Err(Answer::refusal(404, Some("RepoNotFound"), "Repository not found")),
    }
}

pub(super) fn answer(shared: &Shared, request: &Request, path: &[&str]) -> Answer {
    let caller = caller(shared, request);
    let answered = match path {
        ["whoami-v2"] => Ok(whoami(&caller)),
        ["models"] => Ok(list(shared, request, &caller)),
        ["models", owner, name, rest @ ..] => visible(shared, &format!("{owner}/{name}"), &caller)
            .map(|repo| of_repo(shared, request, &repo, rest)),
        // An id without an owner, as the oldest models have.
        ["models", name] => visible(shared, name, &caller).map(|repo| of_repo(shared, request, &repo, &[])),
        _ => Err(Answer::refusal(404, None, "Sorry, we can't find the page you are looking for.")),
    };
    let mut answer = answered.unwrap_or_else(|refusal| refusal);
    answer.headers.extend(limits("api", 500));
    answer
}

fn whoami(caller: &Caller) -> Answer {
    let Caller::Known(account) = caller else { return bad_token() };
    Answer::json(&json!({
        "type": "user", "id": "65e0c0ffee", "name": account.user, "fullname": account.user, "email": null,
        "isPro": false, "orgs": [],
        "auth": { "type": "access_token",
                  "accessToken": { "displayName": "asgard", "role": account.role, "createdAt": "2026-01-01T00:00:00.000Z" } },
    }))
}

fn of_repo(shared: &Shared, request: &Request, repo: &Repo, rest: &[&str]) -> Answer {
    let at = |revision: &str| repo.at(revision).ok_or_else(|| no_revision(revision));
    let answered = match rest {
        [] => at("main").map(|commit| info(request, repo, commit)),
        ["revision", revision] => at(revision).map(|commit| info(request, repo, commit)),
        ["tree", revision, below @ ..] => {
            at(revision).map(|commit| tree(shared, request, repo, commit, &below.join("/")))
        }
        ["refs"] => at("main").map(|commit| {
            let main = json!({ "name": "main", "ref": "refs/heads/main", "targetCommit": commit.id });
            Answer::json(&json!({ "branches": [main], "converts": [], "tags": [] }))
        }),
        [kind, ..] if kind.starts_with("xet-") => {
            Err(Answer::refusal(404, None, "This Hub has no Xet storage. Fetch the file by its address."))
        }
        _ => Err(Answer::refusal(404, None, "Not found")),
    };
    answered.unwrap_or_else(|refusal| refusal)
}

/// Everything that can be said of a repository, by the Hub's names.
fn fields(repo: &Repo, commit: &Commit) -> Map<String, Value> {
    let mut tags = repo.tags.clone();
    for tag in [&repo.library, &repo.pipeline] {
        if !tag.is_empty() && !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    let siblings: Vec<Value> = commit.files.iter().map(|f| json!({ "rfilename": f.path })).collect();
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
    put("author", json!(repo.author()));
    put("cardData", repo.card.clone());
    put("createdAt", json!(repo.created));
    put("disabled", json!(repo.access == Access::Disabled));
    put("downloads", json!(repo.downloads));
    put("downloadsAllTime", json!(repo.downloads * 7));
    put("gated", repo.gated());
    put("lastModified", json!(repo.modified));
    put("library_name", json!(repo.library));
    put("likes", json!(repo.likes));
    put("pipeline_tag", json!(repo.pipeline));
    put("private", json!(repo.access == Access::Private));
    put("sha", json!(commit.id));
    put("siblings", json!(siblings));
    put("spaces", json!([]));
    put("tags", json!(tags));
    put("trendingScore", json!(repo.trending));
    put("usedStorage", json!(commit.size()));
    for (name, value) in [("config", &repo.config), ("safetensors", &repo.safetensors), ("gguf", &repo.gguf)]
    {
        if let Some(value) = value {
            put(name, value.clone());
        }
    }
    all
}

/// Names that `expand` may ask for and that nothing is known of here.
const UNKNOWN: [&str; 12] = [
    "baseModels",
    "childrenModelCount",
    "evalResults",
    "inference",
    "inferenceProviderMapping",
    "mask_token",
    "model-index",
    "resourceGroup",
    "transformersInfo",
    "widgetData",
    "gguf",
    "safetensors",
];

/// Of all fields those that were asked for.
fn shown(
    request: &Request,
    repo: &Repo,
    commit: &Commit,
    usual: &[&str],
) -> Result<Map<String, Value>, Answer> {
    let all = fields(repo, commit);
    let expand = request.parameters("expand");
    let mut map = Map::new();
    map.insert("_id".to_owned(), json!(super::content::id_of(&repo.id)[..24]));
    map.insert("id".to_owned(), json!(repo.id));
    let names = if expand.is_empty() {
        map.insert("modelId".to_owned(), json!(repo.id));
        usual
    } else {
        &expand
    };
    for name in names {
        match all.get(*name) {
            Some(value) => drop(map.insert((*name).to_owned(), value.clone())),
            None if expand.is_empty() || *name == "config" || UNKNOWN.contains(name) => {}
            None => return Err(Answer::refusal(400, None, &format!("\"expand\" does not know \"{name}\""))),
        }
    }
    Ok(map)
}

fn info(request: &Request, repo: &Repo, commit: &Commit) -> Answer {
    let usual = [
        "author",
        "cardData",
        "config",
        "createdAt",
        "disabled",
        "downloads",
        "gated",
        "gguf",
        "lastModified",
        "library_name",
        "likes",
        "pipeline_tag",
        "private",
        "safetensors",
        "sha",
        "siblings",
        "spaces",
        "tags",
        "usedStorage",
    ];
    match shown(request, repo, commit, &usual) {
        Ok(mut map) => {
            if request.flag("blobs") {
                let siblings: Vec<Value> = commit.files.iter().map(sibling).collect();
                map.insert("siblings".to_owned(), json!(siblings));
            }
            Answer::json(&Value::Object(map)).with("X-Repo-Commit", commit.id.clone())
        }
        Err(refusal) => refusal,
    }
}

fn sibling(file: &File) -> Value {
    let mut value = json!({ "rfilename": file.path, "size": file.content.size(), "blobId": file.oid() });
    if file.lfs {
        value["lfs"] = json!({
            "sha256": file.sha256(), "size": file.content.size(), "pointerSize": file.pointer_size(),
        });
    }
    value
}

/// One page of a list, and the way to the next: `Link: <…>; rel="next"`.
///
/// Only what is on the page is made: of a hundred thousand files each page would else cost as much as all of them.
fn page<T>(
    shared: &Shared,
    request: &Request,
    most: usize,
    all: &[T],
    show: impl FnMut(&T) -> Value,
) -> Answer {
    let limit = request.parameter("limit").and_then(|l| l.parse().ok()).unwrap_or(shared.page).clamp(1, most);
    let from: usize = request.parameter("cursor").and_then(|c| c.parse().ok()).unwrap_or(0).min(all.len());
    let to = (from + limit).min(all.len());
    let shown: Vec<Value> = all.iter().take(to).skip(from).map(show).collect();
    let answer = Answer::json(&json!(shown));
    if to == all.len() {
        return answer;
    }
    let path = request.target.split('?').next().unwrap_or_default();
    let mut query: Vec<String> = request
        .query
        .iter()
        .filter(|(name, _)| name != "cursor")
        .map(|(name, value)| format!("{}={}", encoded(name, "[]"), encoded(value, "")))
        .collect();
    query.push(format!("cursor={to}"));
    answer.with("Link", format!("<http://{}{path}?{}>; rel=\"next\"", shared.hub, query.join("&")))
}

fn list(shared: &Shared, request: &Request, caller: &Caller) -> Answer {
    if matches!(caller, Caller::Unknown) {
        return bad_token();
    }
    let mut repos: Vec<Arc<Repo>> = shared
        .repos()
        .into_iter()
        .filter(|r| visible(shared, &r.id, caller).is_ok() && wanted(request, r))
        .collect();
    match request.parameter("sort") {
        Some("downloads") => repos.sort_by_key(|r| std::cmp::Reverse(r.downloads)),
        Some("likes") => repos.sort_by_key(|r| std::cmp::Reverse(r.likes)),
        Some("lastModified") => repos.sort_by_key(|r| std::cmp::Reverse(r.modified.clone())),
        Some("createdAt") => repos.sort_by_key(|r| std::cmp::Reverse(r.created.clone())),
        Some("trendingScore") | None => repos.sort_by_key(|r| std::cmp::Reverse(r.trending)),
        Some(other) => return Answer::refusal(400, None, &format!("Invalid sort: {other}")),
    }
    let mut usual = vec![
        "createdAt",
        "downloads",
        "library_name",
        "likes",
        "pipeline_tag",
        "private",
        "tags",
        "trendingScore",
    ];
    if request.flag("full") {
        usual.extend(["author", "disabled", "gated", "lastModified", "sha", "siblings"]);
    }
    for (flag, field) in [("config", "config"), ("cardData", "cardData")] {
        if request.flag(flag) {
            usual.push(field);
        }
    }
    let shown: Result<Vec<Value>, Answer> = repos
        .iter()
        .filter_map(|repo| Some((repo, repo.head()?)))
        .map(|(repo, commit)| shown(request, repo, commit, &usual).map(Value::Object))
        .collect();
    match shown {
        Ok(all) => page(shared, request, 1000, &all, Value::clone),
        Err(refusal) => refusal,
    }
}

fn wanted(request: &Request, repo: &Repo) -> bool {
    let id = repo.id.to_lowercase();
    let has = |tag: &str| {
        let tag = tag.to_lowercase();
        repo.tags.iter().any(|t| t.to_lowercase() == tag) || repo.library == tag || repo.pipeline == tag
    };
    let searched = request.parameter("search").unwrap_or_default().to_lowercase();
    searched.split_whitespace().all(|word| id.contains(word))
        && request.parameters("filter").iter().flat_map(|f| f.split(',')).all(has)
        && request.parameters("library").iter().all(|l| has(l))
        && request.parameter("author").is_none_or(|a| a.eq_ignore_ascii_case(repo.author()))
        && request.parameter("pipeline_tag").is_none_or(|p| p == repo.pipeline)
        && request
            .parameter("gated")
            .is_none_or(|g| (g.eq_ignore_ascii_case("true")) == (repo.gated() != json!(false)))
}

fn tree(shared: &Shared, request: &Request, repo: &Repo, commit: &Commit, below: &str) -> Answer {
    let recursive = request.flag("recursive");
    let expand = request.flag("expand");
    let within = |path: &str| {
        let rest = if below.is_empty() {
            Some(path)
        } else {
            path.strip_prefix(below).and_then(|r| r.strip_prefix('/'))
        };
        rest.is_some_and(|rest| !rest.is_empty() && (recursive || !rest.contains('/')))
    };
    let folders = commit.folders();
    if !below.is_empty() && !folders.contains(below) && commit.file(below).is_none() {
        let refusal =
            Answer::refusal(404, Some("EntryNotFound"), &format!("{below} does not exist on \"main\""));
        return refusal.with("X-Repo-Commit", commit.id.clone());
    }
    let last = json!({ "id": commit.id, "title": "Upload", "date": repo.modified });
    let files = commit.files.iter().filter(|f| within(&f.path) || f.path == below);
    let all: Vec<Entry<'_>> = folders
        .iter()
        .filter(|f| within(f))
        .map(|f| Entry::Folder(f))
        .chain(files.map(Entry::File))
        .collect();
    page(shared, request, if expand { 50 } else { 1000 }, &all, |entry| {
        let mut value = entry.shown();
        if expand {
            value["lastCommit"] = last.clone();
        }
        value
    })
}

/// What stands in a list of files.
enum Entry<'a> {
    Folder(&'a str),
    File(&'a File),
}

impl Entry<'_> {
    fn shown(&self) -> Value {
        match self {
            Self::Folder(path) => {
                json!({ "type": "directory", "oid": super::content::id_of(path), "size": 0, "path": path })
            }
            Self::File(file) => {
                let mut value = json!({
                    "type": "file", "oid": file.oid(), "size": file.content.size(), "path": file.path,
                });
                if file.lfs {
                    value["lfs"] = json!({
                        "oid": file.sha256(), "size": file.content.size(), "pointerSize": file.pointer_size(),
                    });
                }
                value
            }
        }
    }
}
