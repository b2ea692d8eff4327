//! `/_rehearsal/…`: what a test in another process sets and sees. The Hub listens on the loopback alone.
//!
//! | request | does |
//! |---|---|
//! | `POST trouble` with a [`Rule`] | misbehaves from now on |
//! | `POST calm` | behaves again |
//! | `POST pace` with `{"bytes_per_second": N or null}` | so fast on each connection |
//! | `POST expire` | every signed address is too old |
//! | `POST accept` with `{"repo", "token"}` | the account accepts the licence |
//! | `POST push` with `{"repo", "path", "text"}` | a new commit with that file in it |
//! | `GET log`, `POST clear` | the log of requests |

use serde_json::{Value, json};

use super::catalogue::TOKEN;
use super::content::Content;
use super::repo::File;
use super::trouble::Rule;
use super::wire::{Answer, Request};
use super::{Shared, lock};

pub(super) fn answer(shared: &Shared, request: &Request) -> Answer {
    // A page in somebody's browser must not reach this: a request of a page says where it comes from.
    if request.header("origin").is_some() || request.header("sec-fetch-mode").is_some() {
        return Answer::refusal(403, None, "This is for programs.");
    }
    let what = request.segments.get(1).map(String::as_str).unwrap_or_default();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    match (request.method.as_str(), what) {
        ("GET", "log") => return Answer::json(&json!(shared.log.all())),
        ("POST", "clear") => shared.log.clear(),
        ("POST", "calm") => lock(&shared.troubles).calm(),
        ("POST", "expire") => {
            shared.addresses.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        ("POST", "pace") => {
            let pace = body["bytes_per_second"].as_u64().unwrap_or(0);
            shared.pace.store(pace, std::sync::atomic::Ordering::Relaxed);
        }
        ("POST", "trouble") => match serde_json::from_slice::<Rule>(&request.body) {
            Ok(rule) => lock(&shared.troubles).add(rule),
            Err(e) => return Answer::refusal(400, None, &format!("That is no trouble: {e}.")),
        },
        ("POST", "accept") => {
            shared.accept(body["token"].as_str().unwrap_or(TOKEN), text("repo"));
        }
        ("POST", "push") => {
            let pushed = shared.push(text("repo"), |files| {
                let mut files: Vec<File> = files.iter().filter(|f| f.path != text("path")).cloned().collect();
                files.push(File::new(text("path"), Content::text(text("text"))));
                files
            });
            return match pushed {
                Some(commit) => Answer::json(&json!({ "commit": commit })),
                None => Answer::refusal(404, Some("RepoNotFound"), "Repository not found"),
            };
        }
        _ => return Answer::refusal(404, None, "There is no such control."),
    }
    Answer::json(&json!({}))
}
