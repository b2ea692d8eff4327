//! The loopback Hub's own promises, looked at through bare connections. What a real client makes of it is
//! `tests/tests/hub.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rehearsal::hub::{Access, Content, File, Hub, Place, Repo, Running, Trouble, catalogue, hostile, many};
use serde_json::Value;

/// What came back: status, head, body.
struct Back(u16, String, Vec<u8>);

impl Back {
    fn header(&self, name: &str) -> Option<&str> {
        self.1.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.2).unwrap_or_else(|e| panic!("{e}: {}", self.1))
    }
}

fn ask(base: &str, method: &str, target: &str, headers: &[(&str, &str)]) -> Back {
    send(base, method, target, headers, b"")
}

/// One request on a connection of its own, read to its end.
fn send(base: &str, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Back {
    let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut text = format!(
        "{method} {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut all = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(n) => all.extend(&piece[..n]),
        }
    }
    let end = all.windows(4).position(|w| w == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Back(status, head, all.split_off(end))
}

const SIZE: u64 = 3_000_000;

fn content() -> Content {
    Content::Seeded { size: SIZE, seed: 5 }
}

fn hub() -> Running {
    let files =
        vec![File::new("w.safetensors", content()), File::new("config.json", Content::text("{\"a\":1}"))];
    let mut hub = Hub::new(vec![Repo::new("a/b", files)]).with_account("t", "odin");
    hub.repos
        .push(Repo::new("a/gated", vec![File::new("x.txt", Content::text("x"))]).with_access(Access::Auto));
    hub.start().unwrap()
}

/// The signed address of the large file, without its host.
fn address(hub: &Running) -> String {
    let back =
        ask(&hub.endpoint(), "HEAD", "/a/b/resolve/main/w.safetensors", &[("Authorization", "Bearer t")]);
    assert_eq!(back.0, 302, "{}", back.1);
    assert_eq!(back.header("X-Linked-Size"), Some("3000000"));
    assert_eq!(back.header("X-Linked-Etag").map(|e| e.trim_matches('"')), Some(content().sha256().as_str()));
    back.header("Location").unwrap().strip_prefix(&hub.cdn()).unwrap().to_owned()
}

#[test]
fn a_large_file_comes_from_the_other_host_whole_and_in_ranges() {
    let hub = hub();
    let address = address(&hub);
    let whole = ask(&hub.cdn(), "GET", &address, &[]);
    assert!(whole.0 == 200 && whole.2 == content().to_vec());
    let part = ask(&hub.cdn(), "GET", &address, &[("Range", "bytes=1000000-1000099")]);
    assert_eq!((part.0, part.header("Content-Range")), (206, Some("bytes 1000000-1000099/3000000")));
    assert_eq!(part.2, content().to_vec()[1_000_000..1_000_100]);
    assert_eq!(ask(&hub.cdn(), "GET", &address, &[("Range", "bytes=3000000-")]).0, 416);
    let other = ask(&hub.cdn(), "GET", &address, &[("Range", "bytes=5-"), ("If-Range", "\"other\"")]);
    assert!(other.0 == 200 && other.2.len() as u64 == SIZE);
    assert_eq!(hub.bytes_served("w.safetensors"), 2 * SIZE + 100);
    let log = hub.log();
    assert!(log[0].authorization && log[0].host == "hub" && log[0].file == "a/b/w.safetensors");
    assert!(log[1..].iter().all(|e| e.host == "cdn" && !e.authorization));
    hub.expire_addresses();
    assert_eq!(ask(&hub.cdn(), "GET", &address, &[]).0, 403);
}

#[test]
fn every_trouble_of_bytes_is_what_it_says() {
    let hub = hub();
    let address = address(&hub);
    let truth = content().to_vec();
    let with = |trouble: Trouble| {
        hub.calm();
        hub.trouble(trouble.on(Place::Cdn));
        ask(&hub.cdn(), "GET", &address, &[("Range", "bytes=1000000-")])
    };
    let cut = with(Trouble::Cut { at: 1_500_000 });
    assert!(cut.0 == 206 && cut.2 == truth[1_000_000..1_500_000]);
    assert_eq!(cut.header("Content-Length"), Some("2000000"));
    let flipped = with(Trouble::Flip { at: 2_000_000 });
    let wrong: Vec<usize> = (0..2_000_000).filter(|n| flipped.2[*n] != truth[n + 1_000_000]).collect();
    assert_eq!(wrong, [1_000_000]);
    let whole = with(Trouble::NoRange);
    assert!(whole.0 == 200 && whole.2 == truth);
    let shifted = with(Trouble::WrongRange { shift: -10, honest: true });
    assert_eq!(shifted.header("Content-Range"), Some("bytes 999990-2999989/3000000"));
    let shifted = with(Trouble::WrongRange { shift: -10, honest: false });
    assert_eq!(shifted.header("Content-Range"), Some("bytes 1000000-2999999/3000000"));
    assert!(shifted.2 == truth[999_990..2_999_990]);
    let short = with(Trouble::Short { by: 7, length: true });
    assert_eq!((short.2.len(), short.header("Content-Length")), (1_999_993, Some("1999993")));
    let long = with(Trouble::Long { by: 7, length: false });
    assert_eq!((long.2.len(), long.header("Content-Length")), (2_000_007, None));
    let changed = with(Trouble::Changed);
    assert!(changed.2.len() == 2_000_000 && changed.2 != truth[1_000_000..]);
    let gzip = with(Trouble::Gzip);
    assert!(gzip.2.starts_with(&[0x1f, 0x8b]) && gzip.header("Content-Encoding") == Some("gzip"));
    let reset = with(Trouble::Reset { at: 1_000_001 });
    assert!(reset.2.len() <= 1);
    let portal = with(Trouble::Portal);
    assert!(portal.0 == 200 && portal.1.contains("text/html"));
    let busy = with(Trouble::TooMany { retry_after: Some(3), rate_limit: Some(55) });
    assert_eq!((busy.0, busy.header("Retry-After")), (429, Some("3")));
    assert_eq!(busy.header("RateLimit"), Some("\"resolvers\";r=0;t=55"));
    hub.calm();
    hub.trouble(Trouble::Failed { status: 503 }.times(1));
    assert_eq!(ask(&hub.cdn(), "GET", &address, &[]).0, 503);
    assert_eq!(ask(&hub.cdn(), "GET", &address, &[]).0, 200);
}

#[test]
fn a_stall_lasts_until_the_client_gives_up_and_a_pace_is_kept() {
    let hub = hub();
    let address = address(&hub);
    hub.trouble(Trouble::Stall { at: 100_000 }.times(1));
    let mut stream = TcpStream::connect(hub.cdn().strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(format!("GET {address} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut all = Vec::new();
    assert!(stream.read_to_end(&mut all).is_err(), "it is silent, and open");
    assert!((100_000..101_000).contains(&all.len()), "{}", all.len());
    drop(stream);
    hub.pace(Some(1_000_000));
    let began = std::time::Instant::now();
    ask(&hub.cdn(), "GET", &address, &[("Range", "bytes=0-499999")]);
    let took = began.elapsed().as_secs_f64();
    assert!((0.4..2.0).contains(&took), "{took}");
}

#[test]
fn who_asks_decides_what_there_is() {
    let hub = hub();
    let status = |path: &str, token: Option<&str>| {
        let bearer = token.map(|t| format!("Bearer {t}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|b| ("Authorization", b.as_str())).collect();
        let back = ask(&hub.endpoint(), "GET", path, &headers);
        (back.0, back.header("X-Error-Code").map(str::to_owned))
    };
    let coded = |status: u16, code: &str| (status, Some(code.to_owned()));
    assert_eq!(status("/api/models/no/such", None), coded(401, "RepoNotFound"));
    assert_eq!(status("/api/models/no/such", Some("t")), coded(404, "RepoNotFound"));
    assert_eq!(status("/api/models/a/b", Some("wrong")), (401, None));
    assert_eq!(status("/api/models/a/b/revision/nope", None), coded(404, "RevisionNotFound"));
    assert_eq!(status("/a/b/resolve/main/nope", None), coded(404, "EntryNotFound"));
    assert_eq!(status("/a/gated/resolve/main/x.txt", None), coded(401, "GatedRepo"));
    assert_eq!(status("/a/gated/resolve/main/x.txt", Some("t")), coded(403, "GatedRepo"));
    hub.accept("t", "a/gated");
    assert_eq!(status("/a/gated/resolve/main/x.txt", Some("t")), (200, None));
    assert_eq!(status("/api/whoami-v2", None), (401, None));
    assert_eq!(status("/api/whoami-v2", Some("t")), (200, None));
}

#[test]
fn a_commit_can_move_between_two_requests() {
    let hub = hub();
    let commit = |back: &Back| back.header("X-Repo-Commit").map(str::to_owned).unwrap();
    let head = || ask(&hub.endpoint(), "HEAD", "/a/b/resolve/main/w.safetensors", &[]);
    let first = head();
    hub.trouble(Trouble::Moved.times(1));
    let second = head();
    assert_ne!(commit(&first), commit(&second));
    assert_ne!(first.header("X-Linked-Etag"), second.header("X-Linked-Etag"));
    assert_eq!(commit(&second), commit(&head()));
    let old = format!("/a/b/resolve/{}/w.safetensors", commit(&first));
    assert_eq!(
        ask(&hub.endpoint(), "HEAD", &old, &[]).header("X-Linked-Etag"),
        first.header("X-Linked-Etag")
    );
}

#[test]
fn lists_come_in_pages_and_names_as_they_are() {
    let mut hub = catalogue();
    hub.repos.push(many("big/many", 2500));
    hub.repos.push(hostile("mallory/x"));
    let hub = hub.start().unwrap();
    let mut next = Some("/api/models/big/many/tree/main?recursive=true".to_owned());
    let mut pages = Vec::new();
    while let Some(target) = next {
        let back = ask(&hub.endpoint(), "GET", &target, &[]);
        pages.push(back.json().as_array().unwrap().len());
        next = back.header("Link").map(|l| {
            l.split_once('>')
                .unwrap()
                .0
                .trim_start_matches('<')
                .strip_prefix(&hub.endpoint())
                .unwrap()
                .to_owned()
        });
    }
    assert_eq!(pages, [1000, 1000, 503], "2,500 files and 3 folders");
    let names = ask(&hub.endpoint(), "GET", "/api/models/mallory/x/tree/main?recursive=true", &[]).json();
    let has = |name: &str| names.as_array().unwrap().iter().any(|f| f["path"] == name);
    assert!(has("../escaped.txt") && has("line\nbreak.txt") && has(&"n".repeat(300)));
    let found = ask(&hub.endpoint(), "GET", "/api/models?search=coder+awq&filter=awq&full=true", &[]).json();
    let ids: Vec<&str> = found.as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ", "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ"]);
    let info = ask(&hub.endpoint(), "GET", "/api/models/Qwen/Qwen2.5-7B-Instruct-AWQ?blobs=true", &[]).json();
    assert!(
        info["siblings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|s| s["lfs"]["sha256"].as_str().is_some_and(|h| h.len() == 64))
    );
    assert_eq!(info["cardData"]["license"], "apache-2.0");
}

#[test]
fn another_process_sets_troubles_and_a_page_cannot() {
    let hub = hub();
    let rule = br#"{"trouble":{"kind":"failed","status":500},"times":1}"#;
    assert_eq!(
        send(&hub.endpoint(), "POST", "/_rehearsal/trouble", &[("Origin", "http://evil")], rule).0,
        403
    );
    assert_eq!(send(&hub.endpoint(), "POST", "/_rehearsal/trouble", &[], b"{}").0, 400);
    assert_eq!(send(&hub.endpoint(), "POST", "/_rehearsal/trouble", &[], rule).0, 200);
    assert_eq!(ask(&hub.endpoint(), "GET", "/a/b/resolve/main/config.json", &[]).0, 500);
    assert_eq!(ask(&hub.endpoint(), "GET", "/a/b/resolve/main/config.json", &[]).2, b"{\"a\":1}");
    let log = ask(&hub.endpoint(), "GET", "/_rehearsal/log", &[]).json();
    assert_eq!(log.as_array().unwrap().len(), 2);
    assert_eq!(ask(&hub.cdn(), "GET", "/_rehearsal/log", &[]).0, 404, "the other host has no controls");
}
