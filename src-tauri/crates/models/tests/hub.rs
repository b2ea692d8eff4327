//! The client against a Hub on the loopback: what it asks for, what it believes, where the token goes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use domain::Bytes;
use domain::estimate::{Request, estimate};
use domain::secret::Secret;
use domain::stack::BackendKind;
use models::hub::{Hub, HubError, MOST_FILES, Sort, Wanted};
use models::remote::Looked;
use rehearsal::hub::{
    Access, Content, File, Hub as Loopback, Place, Repo, Running, TOKEN, Trouble, catalogue, hostile,
};

const MAIN: &str = "main";
const AWQ: &str = "Qwen/Qwen2.5-14B-Instruct-AWQ";
const GGUF: &str = "bartowski/Qwen2.5-14B-Instruct-GGUF";
const GATED: &str = "meta-llama/Llama-3.1-8B-Instruct";
const MANUAL: &str = "valhalla/Runes-70B";
const PRIVATE: &str = "rehearsal/odins-notes-7b";

fn client(hub: &Running, token: Option<&str>) -> Hub {
    Hub::new(&hub.endpoint(), token.map(Secret::new)).unwrap()
}

async fn look(hub: &Hub, repo: &str) -> Looked {
    let info = hub.info(repo, MAIN).await.unwrap();
    hub.look(info).await.unwrap()
}

#[tokio::test]
async fn a_search_goes_through_all_pages_once() {
    let hub = catalogue().start().unwrap();
    let client = client(&hub, None);
    let mut wanted =
        Wanted { tags: vec!["awq".to_owned()], sort: Sort::Downloads, limit: 3, ..Wanted::default() };
    let mut found = Vec::new();
    loop {
        let page = client.search(&wanted).await.unwrap();
        assert!(page.models.len() <= 3);
        for (about, commit) in page.models {
            assert!(about.tags.iter().any(|t| t == "awq") && commit.is_some(), "{about:?}");
            found.push(about);
        }
        wanted.cursor = page.cursor;
        if wanted.cursor.is_none() {
            break;
        }
    }
    let names: BTreeSet<&str> = found.iter().map(|a| a.repo.as_str()).collect();
    assert!(names.contains(AWQ) && names.len() == found.len() && found.len() > 3, "{names:?}");
    assert!(found.windows(2).all(|w| w[0].downloads >= w[1].downloads));
    let research = found.iter().find(|a| a.repo.contains("2.5-3B")).unwrap();
    assert_eq!(research.licence.as_deref(), Some("qwen-research"), "what the Hub calls other has a name");
    let none = client.search(&Wanted { text: "no such model <b>".to_owned(), ..wanted }).await.unwrap();
    assert!(none.models.is_empty() && none.cursor.is_none());
}

#[tokio::test]
async fn a_list_of_files_is_whole_however_small_its_pages() {
    let mut small = catalogue();
    small.page = 3;
    let hub = small.start().unwrap();
    let client = client(&hub, None);
    let info = client.info(AWQ, MAIN).await.unwrap();
    assert_eq!((info.about.repo.as_str(), info.about.licence.as_deref()), (AWQ, Some("apache-2.0")));
    let tree = client.files(AWQ, &info.commit).await.unwrap();
    let weights: u64 = tree.files.iter().filter(|f| f.path.ends_with(".safetensors")).map(|f| f.size).sum();
    assert!(tree.files.len() > 6 && tree.refused.is_empty());
    assert!((9_000_000..10_500_000).contains(&weights), "{weights}");
    assert!(hub.log().iter().filter(|e| e.target.contains("/tree/")).count() >= 3);
    // The commit is what is asked for, so that a push in between changes nothing.
    hub.push(AWQ, vec![File::new("config.json", Content::text("{}"))]);
    assert_eq!(client.files(AWQ, &info.commit).await.unwrap(), tree);
    assert_ne!(client.info(AWQ, MAIN).await.unwrap().commit, info.commit);
}

#[tokio::test]
async fn each_refusal_is_told_apart() {
    let hub = catalogue().start().unwrap();
    let (nobody, known, wrong) =
        (client(&hub, None), client(&hub, Some(TOKEN)), client(&hub, Some("hf_nobodys")));
    assert!(matches!(nobody.info(PRIVATE, MAIN).await, Err(HubError::NeedsToken { .. })));
    assert!(known.info(PRIVATE, MAIN).await.is_ok());
    assert_eq!(wrong.info(AWQ, MAIN).await, Err(HubError::BadToken));
    let missing = Err(HubError::NotFound { what: "o/none".to_owned() });
    assert_eq!(known.info("o/none", MAIN).await, missing);
    assert!(matches!(known.info(AWQ, "v9").await, Err(HubError::NotFound { what }) if what.contains("v9")));
    for name in ["", "../x", "a/b/c", "a b/c", "a/b?x=1"] {
        assert!(matches!(nobody.info(name, MAIN).await, Err(HubError::BadName { .. })), "{name}");
    }
    assert!(matches!(nobody.info(AWQ, "../x").await, Err(HubError::BadName { .. })));
    let config = async |client: &Hub, repo: &str| {
        let commit = client.info(repo, MAIN).await.unwrap().commit;
        client.small_file(repo, &commit, "config.json", 1 << 20).await
    };
    // The list of files of a gated repository is open, its content is not.
    let page = format!("{}/{GATED}", hub.endpoint());
    let (repo, gated) = (GATED.to_owned(), page.clone());
    assert_eq!(config(&nobody, GATED).await, Err(HubError::GatedNeedsToken { repo: repo.clone(), page }));
    assert_eq!(config(&known, GATED).await, Err(HubError::LicenceNotAccepted { repo, page: gated }));
    assert!(matches!(config(&known, MANUAL).await, Err(HubError::NoAccess { .. })));
    let before = look(&nobody, GATED).await;
    assert!(matches!(before.problem, Some(HubError::GatedNeedsToken { .. })));
    assert!(before.variants[0].facts.is_none() && before.variants[0].variant.download_bytes() > 0);
    hub.accept(TOKEN, GATED);
    assert!(config(&known, GATED).await.is_ok());
    assert!(look(&known, GATED).await.variants[0].facts.is_some());
    hub.put(
        Repo::new("o/gone", vec![File::new("config.json", Content::text("{}"))])
            .with_access(Access::Disabled),
    );
    assert!(matches!(config(&known, "o/gone").await, Err(HubError::NoAccess { .. })));
    // Whose token it is.
    let account = known.whoami().await.unwrap();
    assert_eq!((account.name.as_str(), account.role.as_deref()), ("rehearsal", Some("read")));
    assert_eq!(wrong.whoami().await, Err(HubError::BadToken));
    assert_eq!(nobody.whoami().await, Err(HubError::BadToken));
    for error in [wrong.whoami().await.unwrap_err(), known.info("o/none", MAIN).await.unwrap_err()] {
        assert!(!format!("{error} {error:?}").contains("hf_"));
    }
    assert!(!format!("{known:?}").contains(TOKEN));
}

#[tokio::test]
async fn the_token_stays_at_the_hubs_own_host() {
    let hub = catalogue().start().unwrap();
    let client = client(&hub, Some(TOKEN));
    look(&client, GGUF).await;
    look(&client, AWQ).await;
    let log = hub.log();
    assert!(log.iter().any(|e| e.host == "cdn" && e.status == 206), "a piece came from elsewhere");
    for entry in &log {
        assert_eq!(entry.authorization, entry.host == "hub", "{entry:?}");
    }
    // A redirect of the API leads nowhere else: that is a captive portal, or worse.
    hub.trouble(Trouble::Redirect { to: format!("{}/api/models/{AWQ}", hub.cdn()) }.on(Place::Api));
    hub.clear_log();
    assert!(matches!(client.info(AWQ, MAIN).await, Err(HubError::Strange { .. })));
    assert!(hub.log().iter().all(|e| e.host == "hub"));
}

#[tokio::test]
async fn a_hub_that_misbehaves_is_an_error_in_time() {
    let hub = catalogue().start().unwrap();
    let http = net::verified(&net::Proxies::none())
        .redirect(reqwest::redirect::Policy::none())
        .read_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let client = Hub { http, ..client(&hub, None) };
    let begun = Instant::now();
    for (trouble, passes) in [
        (Trouble::Portal, false),
        (Trouble::EndlessBody, false),
        (Trouble::EndlessHeaders, true),
        (Trouble::Silence, true),
        (Trouble::Failed { status: 500 }, true),
        (Trouble::Failed { status: 503 }, true),
        (Trouble::TooMany { retry_after: Some(7), rate_limit: None }, true),
        (Trouble::TooMany { retry_after: None, rate_limit: Some(55) }, true),
        (Trouble::Redirect { to: "/api/models/x/y".to_owned() }, false),
        (Trouble::Redirect { to: "file:///etc/passwd".to_owned() }, false),
    ] {
        hub.calm();
        hub.trouble(trouble.clone().on(Place::Api));
        let error = match client.info(AWQ, MAIN).await {
            Err(error) => error,
            Ok(info) => panic!("{trouble:?} went unseen: {info:?}"),
        };
        assert_eq!(error.passes(), passes, "{trouble:?}: {error}");
        match trouble {
            Trouble::TooMany { retry_after: Some(n), .. } | Trouble::TooMany { rate_limit: Some(n), .. } => {
                assert_eq!(error, HubError::RateLimited { seconds: n });
            }
            _ => {}
        }
    }
    // In the middle of a file.
    hub.calm();
    let commit = client.info(AWQ, MAIN).await.unwrap().commit;
    for trouble in [Trouble::Cut { at: 20 }, Trouble::Reset { at: 20 }, Trouble::Stall { at: 20 }] {
        hub.calm();
        hub.trouble(trouble.clone().of("config.json"));
        let error = client.small_file(AWQ, &commit, "config.json", 1 << 20).await.unwrap_err();
        assert!(matches!(error, HubError::Unreachable { .. }), "{trouble:?}: {error:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    hub.calm();
    hub.trouble(Trouble::Gzip.on(Place::Api));
    hub.trouble(Trouble::Gzip.of("config.json"));
    assert!(client.info(AWQ, MAIN).await.is_ok(), "packed, though nobody asked for it");
    assert!(look(&client, AWQ).await.variants[0].facts.is_some());
    // Pieces of a file are only what was asked for.
    let commit = client.info(GGUF, MAIN).await.unwrap().commit;
    let path = "Qwen2.5-14B-Instruct-Q4_K_M.gguf";
    let right = client.range(GGUF, &commit, path, 4096, 1000).await.unwrap();
    assert_eq!(right.len(), 1000);
    for trouble in
        [Trouble::WrongRange { shift: 512, honest: true }, Trouble::NoRange, Trouble::Portal, Trouble::Gzip]
    {
        hub.calm();
        hub.trouble(trouble.clone().of(path));
        let found = client.range(GGUF, &commit, path, 4096, 1000).await;
        assert!(matches!(found, Err(HubError::Strange { .. })), "{trouble:?}: {found:?}");
    }
}

#[tokio::test]
async fn facts_come_from_the_beginning_of_the_files() {
    let hub = catalogue().start().unwrap();
    let client = client(&hub, None);
    let awq = look(&client, AWQ).await;
    let [all] = awq.variants.as_slice() else { panic!("{:?}", awq.variants) };
    let facts = all.facts.as_ref().unwrap();
    assert_eq!((facts.quantization.as_deref(), facts.max_context), (Some("AWQ 4-bit"), Some(32_768)));
    let made = estimate(facts, &Request::one(BackendKind::Vllm, Some(32_768))).unwrap();
    // In the rehearsal's small unit: 9.98 MB of weights and 6 MB for 32K tokens.
    assert_eq!(made.weights, Bytes(all.variant.weights_bytes()));
    assert_eq!(made.kv_bytes_per_token, 192);
    let gguf = look(&client, GGUF).await;
    let words: Vec<&str> = gguf.variants.iter().map(|v| v.variant.id.as_str()).collect();
    assert_eq!(words, ["Q3_K_M", "IQ4_XS", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"]);
    for variant in &gguf.variants {
        let facts = variant.facts.as_ref().unwrap();
        let made = estimate(facts, &Request::one(BackendKind::LlamaCpp, Some(32_768))).unwrap();
        assert_eq!(made.weights, Bytes(variant.variant.weights_bytes()));
        assert_eq!(made.kv_bytes_per_token, 192, "{}", variant.variant.id);
        assert_eq!(facts.quantization.as_deref(), Some(format!("GGUF {}", variant.variant.id).as_str()));
    }
    // One piece of one file speaks for six of them.
    assert_eq!(hub.log().iter().filter(|e| e.host == "cdn").count(), 1);
    assert!(hub.bytes_served("gguf") <= 300 << 10, "{}", hub.bytes_served("gguf"));
    let moe = look(&client, "Qwen/Qwen3-Coder-30B-A3B-Instruct").await;
    let (all, active) = (moe.variants[0].parameters.unwrap(), moe.variants[0].active_parameters.unwrap());
    assert!(all > 10_000_000_000 && active < all / 5, "{all} {active}");
}

#[tokio::test]
async fn hostile_repositories_are_looked_at_without_harm() {
    let hub = Loopback::new(vec![hostile("o/hostile")]).start().unwrap();
    let looked = look(&client(&hub, None), "o/hostile").await;
    assert!(looked.tree.files.iter().all(|f| models::cache::is_repo_path(&f.path)));
    assert!(looked.tree.refused.len() > 8, "{:?}", looked.tree.refused);
    for refused in &looked.tree.refused {
        assert!(refused.path.len() <= 300 && !refused.path.contains(|c: char| c.is_control()), "{refused:?}");
    }
    assert!(looked.info.about.tags.iter().all(|t| t.chars().count() <= 200));
}

/// Answers every question with a page of 1,000 files and a way to the next one.
fn endless(listener: std::net::TcpListener, pages: usize) -> std::thread::JoinHandle<usize> {
    std::thread::spawn(move || {
        let mut asked = 0;
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut piece = [0; 4096];
            while !head.windows(4).any(|w| w == b"\r\n\r\n") {
                let read = stream.read(&mut piece).unwrap();
                if read == 0 {
                    return asked;
                }
                head.extend_from_slice(&piece[..read]);
            }
            let files: Vec<String> = (0..1000)
                .map(|n| {
                    format!(r#"{{"type":"file","path":"f{asked}-{n}","size":1,"oid":"{}"}}"#, "a".repeat(40))
                })
                .collect();
            asked += 1;
            let link = if asked < pages {
                format!("Link: </x?cursor={asked}>; rel=\"next\"\r\n")
            } else {
                String::new()
            };
            let body = format!("[{}]", files.join(","));
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n{link}Content-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body.as_bytes()).unwrap();
            if link.is_empty() {
                return asked;
            }
        }
        asked
    })
}

#[tokio::test]
async fn a_hundred_thousand_files_are_a_list_and_more_are_none() {
    let commit = "a".repeat(40);
    let started = |pages: usize| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (Hub::new(&format!("http://{address}"), None).unwrap(), address, endless(listener, pages))
    };
    let (client, _, server) = started(MOST_FILES / 1000);
    assert_eq!(client.files("o/many", &commit).await.unwrap().files.len(), MOST_FILES);
    assert_eq!(server.join().unwrap(), 100);
    let (client, address, server) = started(usize::MAX);
    assert!(matches!(client.files("o/more", &commit).await, Err(HubError::TooMany { .. })));
    drop(client);
    // Closed at once: the server ends, and tells how often it was asked.
    drop(std::net::TcpStream::connect(address).unwrap());
    assert_eq!(server.join().unwrap(), 101);
}
