//! The Hub's account: where its token is, whose it is.
//!
//! The token is read here and goes into a [`Hub`] alone: no log, no environment of a server, no answer to a face ever
//! holds it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::shapes::downloads::Remedy;
use api::shapes::hub::{HubAccount, HubProblem, TokenPlace, TokenText};
use api::{ApiError, Code};
use domain::secret::Secret;
use jiff::Timestamp;
use models::hub::{Hub, HubError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::secrets::{HUB_TOKEN, Where};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::carry::Ctx;
use crate::hub_problem;
use crate::state::Event;
use crate::world::World;

/// A keyring that had no token is asked again after so long: it may have been locked.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A larger file is no token.
const LARGEST_TOKEN: u64 = 4096;

/// The key in the settings.
const SAID: &str = "hub_account";

/// How the Hub is reached, and where a token for it may be.
pub(crate) struct Access {
    /// Without a token.
    hub: Hub,
    /// What goes there could be read on the way: no token is sent.
    clear: bool,
    /// `HF_TOKEN`.
    environment: Option<Secret>,
    /// What the Hub's own client keeps.
    client_file: Option<PathBuf>,
    own: Mutex<Own>,
    /// A rehearsal's own Hub, which listens as long as this lives.
    _played: Option<rehearsal::hub::Running>,
}

/// What Asgard's own secrets were seen to hold.
enum Own {
    Unknown,
    Nothing(Instant),
    There(Secret, TokenPlace),
}

impl Access {
    /// A hub, and where the user's own tokens for it are.
    pub(crate) fn new(hub: Hub, clear: bool, environment: Option<Secret>, client_file: PathBuf) -> Self {
        Self {
            hub,
            clear,
            environment,
            client_file: Some(client_file),
            own: Mutex::new(Own::Unknown),
            _played: None,
        }
    }

    /// A rehearsal's own Hub. Nobody's real token is for it.
    pub(crate) fn played(hub: Hub, running: Option<rehearsal::hub::Running>) -> Self {
        Self {
            hub,
            clear: false,
            environment: None,
            client_file: None,
            own: Mutex::new(Own::Unknown),
            _played: running,
        }
    }
}

/// What the Hub said of a token, and of which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    /// A digest of the token: enough to know it again, nothing to sign in with.
    of: String,
    user: Option<String>,
    role: Option<String>,
    checked: String,
    /// It was not taken.
    refused: bool,
}

/// The Hub with the token in force.
pub(crate) async fn hub(ctx: &Ctx) -> Hub {
    hub_of(&ctx.world).await
}

pub(crate) async fn hub_of(world: &World) -> Hub {
    let token = if world.hub.clear { None } else { token(world).await.map(|(token, _)| token) };
    Hub { token, ..world.hub.hub.clone() }
}

/// The token in force: Asgard's own, then the environment's, then that of the Hub's client.
async fn token(world: &World) -> Option<(Secret, TokenPlace)> {
    if let Some(own) = own(world).await {
        return Some(own);
    }
    if let Some(token) = &world.hub.environment {
        return Some((token.clone(), TokenPlace::Environment));
    }
    let file = world.hub.client_file.clone()?;
    let read = tokio::task::spawn_blocking(move || client_token(&file)).await.ok().flatten()?;
    Some((read, TokenPlace::ClientFile))
}

async fn own(world: &World) -> Option<(Secret, TokenPlace)> {
    let mut known = world.hub.own.lock().await;
    match &*known {
        Own::There(token, place) => return Some((token.clone(), *place)),
        Own::Nothing(at) if at.elapsed() < LOOK_AGAIN => return None,
        Own::Nothing(_) | Own::Unknown => {}
    }
    match world.secrets.find(HUB_TOKEN).await {
        Ok(Some((token, place))) => {
            let place = place_of(place);
            *known = Own::There(token.clone(), place);
            Some((token, place))
        }
        Ok(None) => {
            *known = Own::Nothing(Instant::now());
            None
        }
        Err(error) => {
            tracing::warn!("The Hub's token cannot be read: {error}");
            *known = Own::Nothing(Instant::now());
            None
        }
    }
}

fn place_of(place: Where) -> TokenPlace {
    match place {
        Where::Keyring => TokenPlace::Keyring,
        Where::File => TokenPlace::File,
    }
}

/// The first line of the client's file, where that could be a token.
pub(crate) fn client_token(file: &Path) -> Option<Secret> {
    std::fs::metadata(file).ok().filter(|m| m.is_file() && m.len() <= LARGEST_TOKEN)?;
    let text = std::fs::read_to_string(file).ok()?;
    well_formed(text.trim()).then(|| Secret::new(text.trim()))
}

/// Whether it can stand in a header, and is no whole document.
fn well_formed(token: &str) -> bool {
    !token.is_empty() && token.len() <= 1000 && token.bytes().all(|b| b.is_ascii_graphic())
}

/// What is known of the account, without asking the Hub.
pub(crate) async fn account(ctx: &Ctx) -> HubAccount {
    let kept = ctx.world.database(|db| db.setting(SAID).ok().flatten()).await.flatten();
    let said = kept.and_then(|v| serde_json::from_value::<Said>(v).ok());
    shape(&ctx.world.hub, token(&ctx.world).await.as_ref(), said)
}

fn shape(access: &Access, token: Option<&(Secret, TokenPlace)>, said: Option<Said>) -> HubAccount {
    // What was said of another token says nothing of this one.
    let said = token.and_then(|(token, _)| said.filter(|s| s.of == digest(token)));
    let problem = if token.is_some() && access.clear {
        Some(HubProblem {
            message: format!("{} is not encrypted, so the token is not sent there.", access.hub.endpoint),
            next: "Set HF_ENDPOINT to an address with https.".to_owned(),
            remedy: None,
            page: None,
        })
    } else {
        said.as_ref().filter(|s| s.refused).map(|_| hub_problem::problem(&HubError::BadToken))
    };
    HubAccount {
        endpoint: access.hub.endpoint.clone(),
        token: token.map(|(_, place)| *place),
        user: said.as_ref().and_then(|s| s.user.clone()),
        role: said.as_ref().and_then(|s| s.role.clone()),
        checked: said.map(|s| s.checked),
        problem,
    }
}

/// Enough to know a token again. Tokens are long and random, so nothing can be guessed from it.
fn digest(token: &Secret) -> String {
    use std::fmt::Write as _;
    Sha256::digest(token.reveal().as_bytes()).iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Keeps a token that the Hub takes; any other leaves everything as it was.
pub(crate) async fn set(ctx: &Ctx, token: TokenText) -> Result<HubAccount, ApiError> {
    let access = &ctx.world.hub;
    let text = token.0.trim();
    if !well_formed(text) {
        return Err(ApiError::new(
            Code::Usage,
            "This is no token.",
            "Copy the whole token from the settings of your account on the Hub; it begins with hf_.",
        ));
    }
    if access.clear {
        return Err(ApiError::new(
            Code::Failed,
            format!("{} is not encrypted, so no token is sent there.", access.hub.endpoint),
            "Set HF_ENDPOINT to an address with https.",
        ));
    }
    let token = Secret::new(text);
    let hub = Hub { token: Some(token.clone()), ..access.hub.clone() };
    let said = match hub.whoami().await {
        Ok(who) => said(&token, Ok(who)),
        Err(error @ (HubError::BadToken | HubError::WeakToken { .. })) => {
            return Err(ApiError::new(Code::Failed, format!("{error} It was not kept."), error.next()));
        }
        // One that cannot be checked would fail later, when nobody looks.
        Err(error) => {
            return Err(ApiError::new(
                Code::Failed,
                format!("The token could not be checked, so it was not kept: {error}"),
                error.next(),
            ));
        }
    };
    let place =
        {
            let mut own = access.own.lock().await;
            let place =
                ctx.world.secrets.set(HUB_TOKEN, &token).await.map_err(|e| {
                    ApiError::new(Code::Failed, format!("The token could not be kept: {e}"), "")
                })?;
            *own = Own::There(token.clone(), place_of(place));
            place_of(place)
        };
    keep(ctx, Some(&said)).await;
    changed(ctx);
    Ok(shape(access, Some(&(token, place)), Some(said)))
}

pub(crate) async fn remove(ctx: &Ctx) -> Result<HubAccount, ApiError> {
    let place = token(&ctx.world).await.map(|(_, place)| place);
    let elsewhere = |message: &str, next: &str| Err(ApiError::new(Code::Failed, message, next));
    match place {
        Some(TokenPlace::Environment) => {
            return elsewhere(
                "The token is that of HF_TOKEN, which is not Asgard's to change.",
                "Unset HF_TOKEN where Asgard is started, and start it again.",
            );
        }
        Some(TokenPlace::ClientFile) => {
            return elsewhere(
                "The token is that of the Hub's own client, which is not Asgard's to change.",
                "Sign out there: hf auth logout",
            );
        }
        Some(TokenPlace::Keyring | TokenPlace::File) | None => {}
    }
    {
        let mut own = ctx.world.hub.own.lock().await;
        // Whatever comes of it, what is kept is looked at anew.
        *own = Own::Unknown;
        ctx.world
            .secrets
            .remove(HUB_TOKEN)
            .await
            .map_err(|e| ApiError::new(Code::Failed, format!("The token could not be removed: {e}"), ""))?;
    }
    keep(ctx, None).await;
    changed(ctx);
    Ok(account(ctx).await)
}

/// Asks the Hub whose the token in force is.
pub(crate) async fn check(ctx: &Ctx) -> Result<HubAccount, ApiError> {
    let access = &ctx.world.hub;
    let Some((token, place)) = token(&ctx.world).await else { return Ok(account(ctx).await) };
    if access.clear {
        return Ok(account(ctx).await);
    }
    let hub = Hub { token: Some(token.clone()), ..access.hub.clone() };
    let answer = match hub.whoami().await {
        Err(error) if !matches!(error, HubError::BadToken) => {
            // Nothing new is known of it.
            return Ok(HubAccount { problem: Some(hub_problem::problem(&error)), ..account(ctx).await });
        }
        answer => answer,
    };
    let said = said(&token, answer);
    keep(ctx, Some(&said)).await;
    changed(ctx);
    let mut shape = shape(access, Some(&(token, place)), Some(said));
    if place == TokenPlace::Environment
        && let Some(problem) = &mut shape.problem
    {
        "Correct HF_TOKEN where Asgard is started, or add another token here.".clone_into(&mut problem.next);
        problem.remedy = Some(Remedy::ChangeToken);
    }
    Ok(shape)
}

fn said(token: &Secret, answer: Result<models::hub::Account, HubError>) -> Said {
    let checked = Timestamp::now().to_string();
    let of = digest(token);
    match answer {
        Ok(who) => Said { of, user: Some(who.name), role: who.role.map(role_of), checked, refused: false },
        Err(_) => Said { of, user: None, role: None, checked, refused: true },
    }
}

/// The Hub writes "fineGrained".
fn role_of(role: String) -> String {
    if role == "fineGrained" { "fine-grained".to_owned() } else { role }
}

async fn keep(ctx: &Ctx, said: Option<&Said>) {
    let value = serde_json::to_value(said).unwrap_or_default();
    if ctx.world.database(move |db| db.set_setting(SAID, &value).is_ok()).await != Some(true) {
        tracing::warn!("What the Hub said of the token could not be kept.");
    }
}

/// What failed for want of a token is tried again, and faces look again.
fn changed(ctx: &Ctx) {
    ctx.downloads.token_changed();
    ctx.state.note(Event::DownloadsChanged);
}
