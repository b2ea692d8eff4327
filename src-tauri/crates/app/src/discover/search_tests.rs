//! Searches on the rehearsal's own Hub, held against its own household.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api::shapes::hub::{FitKind, Gate};
use domain::plan::Situation;
use models::hub::MOST_FILES;
use rehearsal::hub::{Place, Running, Trouble, catalogue};
use store::stack_file::{check, shipped_text};

use super::*;

const SCALE: u64 = 1024;

fn ground() -> Ground {
    let stack = check(Path::new("stack.toml"), &shipped_text(SCALE), SCALE).unwrap();
    let machine = rehearsal::machine::reading(&[], rehearsal::machine::other_from(None));
    let situation = Situation { pools: vec![machine], ..Situation::default() };
    Ground {
        folder: PathBuf::from("/nowhere"),
        scale: SCALE,
        gpu: None,
        household: Some(Arc::new((stack, situation))),
    }
}

fn client(hub: &Running) -> Hub {
    Hub::new(&hub.endpoint(), None).unwrap()
}

/// All that came, the page first.
async fn searched(
    hub: &Hub,
    asked: &SearchRequest,
) -> (Vec<HubModel>, BTreeMap<String, HubModel>, Option<String>) {
    let (out, mut from) = mpsc::channel(100);
    search_on(hub, &ground(), &Memory::default(), asked, &out).await.unwrap();
    drop(out);
    let mut page = Vec::new();
    let mut next = None;
    let mut looked = BTreeMap::new();
    while let Some(chunk) = from.recv().await {
        match serde_json::from_value(chunk).unwrap() {
            SearchChunk::Page { models, cursor, .. } => {
                assert!(page.is_empty() && looked.is_empty(), "one page, and it comes first");
                (page, next) = (models, cursor);
            }
            SearchChunk::Model { model } => {
                assert!(looked.insert(model.repo.clone(), *model).is_none(), "each comes once");
            }
        }
    }
    (page, looked, next)
}

#[tokio::test]
async fn a_page_comes_first_and_then_each_model_with_what_fits() {
    let hub = catalogue().start().unwrap();
    let (page, looked, _) = searched(&client(&hub), &SearchRequest::default()).await;
    assert_eq!(page.len(), looked.len());
    assert!(page.iter().all(|m| !m.detailed && m.matches.is_none() && m.variants.is_empty()));
    let thor = &looked["Qwen/Qwen2.5-14B-Instruct-AWQ"];
    assert!(thor.detailed && thor.matches == Some(true) && thor.commit.is_some(), "{thor:?}");
    let all = &thor.variants[0];
    assert_eq!((all.title.as_str(), all.backend.as_deref()), ("AWQ 4-bit", Some("vllm")));
    assert_eq!(all.fit.kind, FitKind::Fits);
    assert!(all.fit.words.starts_with("Part of "), "{}", all.fit.words);
    // Weights of 9.98 MB, 6 MB of cache and a few of overhead: as on a machine of 128 GB, in megabytes.
    assert!((15_000_000..26_000_000).contains(&all.memory_bytes.unwrap()), "{all:?}");
    assert_eq!((all.context, all.max_context), (Some(32_768), Some(32_768)));
    let gated = looked.values().find(|m| m.gated == Gate::Auto).expect("one that is gated");
    let problem = gated.problem.as_ref().expect("no token was sent");
    assert_eq!(problem.remedy, Some(api::shapes::downloads::Remedy::AddToken));
    assert!(problem.page.is_some() && gated.variants[0].fit.kind == FitKind::Unknown);
}

#[tokio::test]
async fn filters_are_those_of_the_request() {
    let hub = catalogue().start().unwrap();
    let client = client(&hub);
    let asked =
        SearchRequest { backend: Some("llama.cpp".to_owned()), fits: true, ..SearchRequest::default() };
    let (_, looked, _) = searched(&client, &asked).await;
    assert!(!looked.is_empty());
    for model in looked.values() {
        let runs = model.variants.iter().any(|v| v.backend.as_deref() == Some("llama.cpp"));
        let fits = model.variants.iter().any(|v| {
            matches!(v.fit.kind, FitKind::Fits | FitKind::LessContext | FitKind::Alone) && v.refused.is_none()
        });
        assert_eq!(model.matches, Some(runs && fits), "{}", model.repo);
    }
    let open = SearchRequest { open_licence: true, text: "llama".to_owned(), ..SearchRequest::default() };
    let (_, looked, _) = searched(&client, &open).await;
    assert!(
        !looked.is_empty() && looked.values().all(|m| m.matches == Some(false)),
        "Llama's licence is not open"
    );
}

#[tokio::test]
async fn nobody_is_asked_for_when_nobody_reads_or_nothing_is_given() {
    let hub = catalogue().start().unwrap();
    let client = client(&hub);
    let (out, mut from) = mpsc::channel(1);
    let asked = SearchRequest::default();
    let ground = ground();
    let memory = Memory::default();
    let search = search_on(&client, &ground, &memory, &asked, &out);
    let reader = async move {
        let page = from.recv().await.unwrap();
        drop(from);
        page["models"].as_array().unwrap().len()
    };
    let (ended, models) = tokio::join!(search, reader);
    ended.unwrap();
    let trees = || hub.log().iter().filter(|e| e.target.contains("/tree/")).count();
    assert!(models > AT_ONCE && trees() <= AT_ONCE + 1, "{} of {models}", trees());
    // Another one, which no question is still on its way to.
    let hub = catalogue().start().unwrap();
    let client = self::client(&hub);
    let trees = || hub.log().iter().filter(|e| e.target.contains("/tree/")).count();
    // The Hub asks for patience: it is not asked for the rest of the page.
    hub.trouble(Trouble::TooMany { retry_after: Some(30), rate_limit: None }.of("/tree/").on(Place::Api));
    let (page, looked, _) = searched(&client, &asked).await;
    assert_eq!(page.len(), looked.len());
    assert!(looked.values().all(|m| m.problem.as_ref().is_some_and(|p| p.message.contains("30"))));
    assert!(trees() <= AT_ONCE, "{}", trees());
}

#[tokio::test]
async fn a_repository_is_looked_at_whole_and_once() {
    let hub = catalogue().start().unwrap();
    let client = client(&hub);
    let (ground, memory) = (ground(), Memory::default());
    let asked = RepoRequest { repo: "bartowski/Qwen2.5-14B-Instruct-GGUF".to_owned(), revision: None };
    let info = info_on(&client, &ground, &memory, &asked).await.unwrap();
    assert_eq!(info.model.best.as_deref(), Some("Q4_K_M"));
    assert_eq!(info.model.variants.len(), 6);
    assert!(
        info.card.as_ref().is_some_and(|c| c.starts_with('#')) && info.files.len() as u64 == info.file_count
    );
    assert!(info.file_count < MOST_FILES as u64 && info.total_bytes > 60_000_000);
    assert!(info.model.curated_for.iter().any(|p| p.contains("Thor")), "{:?}", info.model.curated_for);
    hub.clear_log();
    let again = info_on(&client, &ground, &memory, &asked).await.unwrap();
    assert_eq!(again.model, info.model);
    assert!(hub.log().iter().all(|e| !e.target.contains("/tree/") && e.host == "hub"), "{:?}", hub.log());
    let none = RepoRequest { repo: "nobody/nothing".to_owned(), revision: None };
    let error = info_on(&client, &ground, &memory, &none).await.unwrap_err();
    assert_eq!(error.code, api::Code::Unknown);
}

#[tokio::test]
async fn a_model_that_is_not_here_is_described_by_the_hub() {
    let hub = catalogue().start().unwrap();
    let (client, memory) = (client(&hub), Memory::default());
    let absent = || ApiError::new(api::Code::Unknown, "It is not here.", "");
    let of = async |model: &str| described_on(&client, &memory, model, absent()).await;
    let file = of("bartowski/Qwen2.5-14B-Instruct-GGUF/Qwen2.5-14B-Instruct-Q8_0.gguf").await.unwrap();
    assert!(file.is_gguf && file.facts.quantization.as_deref() == Some("GGUF Q8_0"));
    assert!(!of("Qwen/Qwen2.5-Coder-7B-Instruct-AWQ").await.unwrap().is_gguf);
    hub.clear_log();
    for none in ["nobody/nothing", "config.json", "/etc/passwd", "../x/y", "./a"] {
        assert_eq!(of(none).await.unwrap_err(), absent(), "{none}");
    }
    assert!(hub.log().len() <= 1, "only what could be a repository is asked for");
}
