//! Connections: one request after the other, each logged, troubled and answered.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};

use super::log::{Entry, Number};
use super::resolve::{self, Found};
use super::trouble::{Asked, Place, Trouble};
use super::wire::{self, Answer, Incoming, Request};
use super::{Shared, api, control, page, send};

pub(super) async fn listen(listener: TcpListener, shared: Arc<Shared>, is_cdn: bool) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        tokio::spawn(async move {
            // A client that goes away is its own affair.
            let _ = serve(stream, &shared, is_cdn).await;
        });
    }
}

/// Whether the connection goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    GoOn,
    Close,
}

async fn serve(mut stream: TcpStream, shared: &Arc<Shared>, is_cdn: bool) -> io::Result<()> {
    let mut incoming = Incoming::default();
    while let Some(request) = incoming.next(&mut stream).await? {
        let after = one(&mut stream, shared, &request, is_cdn).await?;
        if after == After::Close || request.wants_close() {
            break;
        }
    }
    Ok(())
}

async fn one(
    stream: &mut TcpStream,
    shared: &Arc<Shared>,
    request: &Request,
    is_cdn: bool,
) -> io::Result<After> {
    if request.segments.first().is_some_and(|s| s == "_rehearsal") && !is_cdn {
        let answer = control::answer(shared, request);
        wire::write(stream, &answer, request.is_head()).await?;
        return Ok(After::GoOn);
    }
    // Hashing a large file for the first time takes a while; it must not hold up other connections.
    let found = {
        let (shared, request) = (shared.clone(), request.clone());
        tokio::task::spawn_blocking(move || find(&shared, &request, is_cdn))
            .await
            .map_err(io::Error::other)?
    };
    let place = place_of(request, is_cdn);
    let line = format!("{} {}", request.method, request.target);
    let number = shared.log.add(Entry {
        host: if is_cdn { "cdn" } else { "hub" }.to_owned(),
        method: request.method.clone(),
        target: request.target.clone(),
        file: found.file().to_owned(),
        range: request.header("range").map(str::to_owned),
        authorization: request.header("authorization").is_some(),
        status: 0,
        bytes: 0,
    });
    let file = found.file().to_owned();
    let asked = Asked { place, line: &line, file: &file, range: found.range(request) };
    let whole = |trouble: &Trouble| !trouble.is_of_bytes() && !trouble.is_of_head();
    if let Some(trouble) = shared.strike_one(&asked, whole) {
        return send::instead(stream, shared, request, number, &trouble).await;
    }
    match found {
        Found::Answer(answer, _) => finish(stream, shared, request, number, &answer).await,
        Found::Bytes(of) => send::file(stream, shared, request, number, &of, &asked).await,
    }
}

/// Sends a whole answer, and writes into the log what it was.
pub(super) async fn finish(
    stream: &mut TcpStream,
    shared: &Shared,
    request: &Request,
    number: Number,
    answer: &Answer,
) -> io::Result<After> {
    shared.log.change(number, |e| e.status = answer.status);
    let bytes = wire::write(stream, answer, request.is_head()).await?;
    shared.log.change(number, |e| e.bytes = bytes);
    Ok(After::GoOn)
}

fn place_of(request: &Request, is_cdn: bool) -> Place {
    match request.segments.first().map(String::as_str) {
        _ if is_cdn => Place::Cdn,
        Some("api") if request.segments.get(1).is_none_or(|s| s != "resolve-cache") => Place::Api,
        _ => Place::Resolve,
    }
}

fn find(shared: &Shared, request: &Request, is_cdn: bool) -> Found {
    if is_cdn {
        return resolve::cdn(shared, request);
    }
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    let posted = request.method == "POST";
    if !posted && !["GET", "HEAD"].contains(&request.method.as_str()) {
        return Found::plain(Answer::refusal(405, None, "This Hub is for reading."));
    }
    match segments.as_slice() {
        ["api", "resolve-cache", "models", owner, name, commit, path @ ..] => {
            resolve::small(shared, request, &format!("{owner}/{name}"), commit, &path.join("/"))
        }
        ["api", rest @ ..] => Found::plain(api::answer(shared, request, rest)),
        [owner, name, "resolve" | "raw", revision, path @ ..] => {
            resolve::resolve(shared, request, &format!("{owner}/{name}"), revision, &path.join("/"))
        }
        [owner, name] => Found::plain(page::answer(shared, &format!("{owner}/{name}"), posted)),
        _ => Found::plain(Answer::refusal(404, None, "Not found.")),
    }
}
