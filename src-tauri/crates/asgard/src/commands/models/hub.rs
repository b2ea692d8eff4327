//! `asgard models search` and `info`: what the Hub has, and what of it would run here.

use std::fmt::Write as _;

use api::ApiError;
use api::client::Client;
use api::shapes::hub::{
    Fit, FitKind, Gate, HubModel, ModelInfo, RepoRequest, SearchChunk, SearchRequest, SearchSort, Variant,
};
use serde_json::json;
use tokio::sync::mpsc;

use super::text::{files, short, size, tame, tokens};
use crate::Answer;
use crate::args::{SearchArgs, Sort};
use crate::screen::Screen;
use crate::words::{plain, table};

/// Pages that are asked for at most, however few of their models the filters let through.
const MOST_PAGES: usize = 10;

pub(super) async fn search(screen: Screen, asked: &SearchArgs) -> Result<Answer, ApiError> {
    let limit = usize::from(asked.limit);
    let client = super::controller().await?;
    let mut found = Found::default();
    let mut cursor = None;
    for _ in 0..MOST_PAGES {
        page(client.as_ref(), &request(asked, cursor.take()), &mut found).await?;
        cursor.clone_from(&found.cursor);
        if cursor.is_none() || found.shown(asked).len() >= limit {
            break;
        }
    }
    let shown: Vec<&HubModel> = found.shown(asked).into_iter().take(limit).collect();
    screen.document(&json!({
        "models": shown,
        "checked_for": found.checked_for,
        "from": found.from,
    }));
    screen.piece(&render(&shown));
    Ok(if shown.is_empty() { Answer::No } else { Answer::Yes })
}

/// One page and what its models turn out to be.
async fn page(client: Option<&Client>, request: &SearchRequest, found: &mut Found) -> Result<(), ApiError> {
    if let Some(client) = client {
        let mut chunks = client.open("search_models", super::as_document(request)?)?;
        while let Some(chunk) = chunks.next().await? {
            found.take(crate::commands::read(&chunk)?);
        }
        return Ok(());
    }
    let options = super::options()?;
    let (to, mut heard) = mpsc::channel(16);
    let asking = app::offline_search(&options, request, to);
    tokio::pin!(asking);
    let mut done = None;
    loop {
        tokio::select! {
            answer = &mut asking, if done.is_none() => done = Some(answer),
            chunk = heard.recv() => match chunk {
                Some(chunk) => found.take(crate::commands::read(&chunk)?),
                None => break,
            },
        }
    }
    done.unwrap_or(Ok(()))
}

fn request(asked: &SearchArgs, cursor: Option<String>) -> SearchRequest {
    SearchRequest {
        text: asked.text.join(" "),
        backend: asked.backend.clone(),
        quantization: asked.quantization.clone(),
        works_here: asked.works_here,
        fits: asked.fits,
        open_licence: asked.open,
        sort: match asked.sort {
            Sort::Trending => SearchSort::Trending,
            Sort::Downloads => SearchSort::Downloads,
            Sort::Likes => SearchSort::Likes,
            Sort::Updated => SearchSort::Updated,
        },
        cursor,
    }
}

/// What a search has brought so far, in the Hub's order.
#[derive(Default)]
struct Found {
    models: Vec<HubModel>,
    cursor: Option<String>,
    checked_for: Option<String>,
    from: Option<String>,
}

impl Found {
    fn take(&mut self, chunk: SearchChunk) {
        match chunk {
            SearchChunk::Page { models, cursor, checked_for, from } => {
                self.models.extend(models);
                self.cursor = cursor;
                self.checked_for = checked_for;
                self.from = Some(from);
            }
            SearchChunk::Model { model } => {
                if let Some(known) = self.models.iter_mut().find(|m| m.repo == model.repo) {
                    *known = *model;
                }
            }
        }
    }

    /// What the filters let through; one whose files could not be looked at is shown where nothing was asked of them.
    fn shown(&self, asked: &SearchArgs) -> Vec<&HubModel> {
        let strict =
            asked.fits || asked.works_here || asked.backend.is_some() || asked.quantization.is_some();
        self.models.iter().filter(|m| m.matches.unwrap_or(!strict)).collect()
    }
}

fn render(models: &[&HubModel]) -> String {
    if models.is_empty() {
        return "Nothing was found. Try other words or fewer filters.\n".to_owned();
    }
    let head = ["REPOSITORY", "VARIANT", "DOWNLOAD", "FIT", "LICENCE", "DOWNLOADS", "CHANGED"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(models.iter().map(|m| row(m)));
    plain(&table(&rows, &[2, 5]))
}

fn row(model: &HubModel) -> Vec<String> {
    let best = model.variants.iter().find(|v| Some(&v.id) == model.best.as_ref()).or(model.variants.first());
    let gated = if model.gated == Gate::Open { "" } else { ", gated" };
    let licence = model.licence_title.as_ref().or(model.licence.as_ref()).map_or("unknown", String::as_str);
    vec![
        short(&model.repo, 70),
        best.map(|v| short(&v.title, 24)).unwrap_or_default(),
        best.map(|v| size(v.download_bytes)).unwrap_or_default(),
        match (best, &model.problem) {
            (_, Some(problem)) => short(&problem.message, 60),
            (Some(best), None) => short(&verdict(best), 60),
            (None, None) => String::new(),
        },
        format!("{}{gated}", short(licence, 24)),
        model.downloads.map(|n| n.to_string()).unwrap_or_default(),
        model.last_modified.as_ref().map(|t| t.chars().take(10).collect()).unwrap_or_default(),
    ]
}

/// What keeps a variant from running here comes before where it would fit.
fn verdict(variant: &Variant) -> String {
    if let Some(refused) = &variant.refused {
        return refused.message.clone();
    }
    if let Some(fatal) = variant.troubles.iter().find(|t| t.fatal) {
        return fatal.message.clone();
    }
    fit(&variant.fit)
}

fn fit(fit: &Fit) -> String {
    match fit.kind {
        FitKind::Unknown if fit.words.is_empty() => "not known".to_owned(),
        _ => fit.words.clone(),
    }
}

pub(super) async fn info(
    screen: Screen,
    repo: String,
    revision: Option<String>,
    all_files: bool,
) -> Result<Answer, ApiError> {
    let document = if let Some(client) = super::controller().await? {
        client.call_value("model_info", json!({ "repo": repo, "revision": revision })).await?
    } else {
        let asked = RepoRequest { repo, revision };
        super::as_document(&app::offline_info(&super::options()?, &asked).await?)?
    };
    let info: ModelInfo = crate::commands::read(&document)?;
    screen.document(&document);
    screen.piece(&render_info(&info, all_files));
    Ok(Answer::Yes)
}

fn render_info(info: &ModelInfo, all_files: bool) -> String {
    let model = &info.model;
    let mut text = format!("{}\n", tame(&model.repo));
    if !model.summary.is_empty() {
        let _ = writeln!(text, "{}", tame(&model.summary));
    }
    let licence = model.licence_title.as_ref().or(model.licence.as_ref()).map_or("not said", String::as_str);
    let gate = match model.gated {
        Gate::Open => "",
        Gate::Auto => "; its licence has to be accepted on its page",
        Gate::Manual => "; its publisher has to give access",
    };
    let _ = writeln!(text, "Licence: {}{gate}", tame(licence));
    if let Some(commit) = &model.commit {
        let _ = writeln!(text, "Commit: {}", tame(commit));
    }
    let _ = writeln!(
        text,
        "{}, {} in all\n{}\n",
        files(info.file_count),
        size(info.total_bytes),
        tame(&info.page)
    );
    let head = ["VARIANT", "", "DOWNLOAD", "MEMORY", "CONTEXT", "SPEED", "FIT"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(model.variants.iter().map(variant_row));
    if model.variants.is_empty() {
        text.push_str("Nothing in it runs on vLLM or llama.cpp.\n");
    } else {
        text.push_str(&table(&rows, &[2, 3, 4]));
    }
    for variant in &model.variants {
        for trouble in &variant.troubles {
            let _ = writeln!(
                text,
                "{}: {} ({}, {})",
                tame(&variant.id),
                tame(&trouble.message),
                tame(&trouble.source),
                tame(&trouble.date)
            );
        }
        if let Some(refused) = &variant.refused {
            let _ =
                writeln!(text, "{}: {} {}", tame(&variant.id), tame(&refused.message), tame(&refused.next));
        }
    }
    if let Some(problem) = &model.problem {
        let _ = writeln!(text, "{} {}", tame(&problem.message), tame(&problem.next));
    }
    if all_files {
        text.push('\n');
        let rows: Vec<Vec<String>> =
            info.files.iter().map(|f| vec![size(f.bytes), short(&f.path, 200)]).collect();
        text.push_str(&table(&rows, &[0]));
    }
    plain(&text)
}

fn variant_row(variant: &Variant) -> Vec<String> {
    let memory = variant.memory_bytes.map(|b| format!("{:.1} GB", b as f64 / (1_u64 << 30) as f64));
    let title = if variant.title == variant.id { String::new() } else { short(&variant.title, 24) };
    vec![
        short(&variant.id, 40),
        if variant.installed { format!("{title} (here)").trim().to_owned() } else { title },
        size(variant.download_bytes),
        memory.unwrap_or_default(),
        variant.context.map(tokens).unwrap_or_default(),
        variant.tokens_per_second.map(|t| format!("about {t:.0} tok/s")).unwrap_or_default(),
        short(&fit(&variant.fit), 80),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(repo: &str, matches: Option<bool>) -> HubModel {
        HubModel { repo: repo.to_owned(), matches, ..HubModel::default() }
    }

    fn asked(fits: bool) -> SearchArgs {
        SearchArgs {
            text: vec!["a".to_owned(), "b".to_owned()],
            backend: None,
            quantization: None,
            fits,
            works_here: false,
            open: false,
            sort: Sort::Likes,
            limit: 5,
        }
    }

    #[test]
    fn a_model_that_was_looked_at_takes_its_own_place() {
        let mut found = Found::default();
        found.take(SearchChunk::Page {
            models: vec![model("a/1", None), model("a/2", None), model("a/3", None)],
            cursor: Some("next".to_owned()),
            checked_for: None,
            from: "Hugging Face".to_owned(),
        });
        found.take(SearchChunk::Model { model: Box::new(model("a/2", Some(false))) });
        found.take(SearchChunk::Model { model: Box::new(model("a/3", Some(true))) });
        found.take(SearchChunk::Model { model: Box::new(model("b/9", Some(true))) });
        let names =
            |asked: &SearchArgs| found.shown(asked).iter().map(|m| m.repo.clone()).collect::<Vec<_>>();
        assert_eq!(names(&asked(false)), ["a/1", "a/3"]);
        assert_eq!(names(&asked(true)), ["a/3"]);
        assert_eq!(found.cursor.as_deref(), Some("next"));
    }

    #[test]
    fn the_words_become_one_request() {
        let request = request(&asked(true), Some("c".to_owned()));
        assert_eq!((request.text.as_str(), request.sort, request.fits), ("a b", SearchSort::Likes, true));
        let sent = json!({ "cmd": "search_models", "payload": request });
        assert!(serde_json::from_value::<api::Streamed>(sent).is_ok());
    }

    #[test]
    fn what_strangers_wrote_stays_on_its_line() {
        let hostile = HubModel {
            licence: Some("mit\x1b[2J\nYes".to_owned()),
            ..model("a/b\n\x1b]0;title\x07", Some(true))
        };
        let text = render(&[&hostile]);
        assert!(!text.contains('\x1b') && !text.contains('\x07'));
        assert_eq!(text.lines().count(), 2);
    }
}
