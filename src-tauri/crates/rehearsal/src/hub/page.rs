//! A repository's own page, for the browser of a rehearsal: where its licence is accepted.

use super::Shared;
use super::catalogue::TOKEN;
use super::repo::Access;
use super::wire::Answer;

pub(super) fn answer(shared: &Shared, id: &str, posted: bool) -> Answer {
    let Some(repo) = shared.repo(id) else {
        return Answer::html(404, "<!doctype html><title>404</title><h1>There is no such model here.</h1>");
    };
    let gated = matches!(repo.access, Access::Auto | Access::Manual);
    if posted && gated {
        shared.accept(TOKEN, &repo.id);
    }
    let below = match (gated, posted) {
        (true, true) => "<p>You have been granted access to this model.</p>",
        (true, false) => "<form method=post><button>Agree and access repository</button></form>",
        _ => "<p>This model can be fetched by anybody.</p>",
    };
    let title: String =
        repo.id.chars().filter(|c| c.is_ascii_alphanumeric() || "-_./".contains(*c)).collect();
    Answer::html(
        200,
        format!("<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{below}"),
    )
}
