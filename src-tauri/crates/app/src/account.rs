//! The Hub's account: where its token is, whose it is.
//!
//! The token is read here and goes into a [`Hub`] alone: no log, no environment of a server, no answer to a face ever
//! holds it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::shapes::hub::{HubAccount, TokenPlace, TokenText};
use api::{ApiError, Code};
use domain::secret::Secret;
use models::hub::Hub;
use store::secrets::{HUB_TOKEN, Where};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::carry::Ctx;

/// A keyring that had no token is asked again after so long: it may have been locked.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// A larger file is no token.
const LARGEST_TOKEN: u64 = 4096;

/// How the Hub is reached, and where a token for it may be.
pub(crate) struct Access {
    /// Without a token.
    hub: Hub,
    /// `HF_TOKEN`.
    environment: Option<Secret>,
    /// What the Hub's own client keeps; none in a rehearsal with a Hub of its own, which is nobody's account.
    client_file: Option<PathBuf>,
    own: Mutex<Own>,
}

/// What Asgard's own secrets were seen to hold.
enum Own {
    Unknown,
    Nothing(Instant),
    There(Secret, TokenPlace),
}

impl Access {
    pub(crate) fn new(hub: Hub, environment: Option<Secret>, client_file: Option<PathBuf>) -> Self {
        Self { hub, environment, client_file, own: Mutex::new(Own::Unknown) }
    }
}

/// The Hub with the token in force.
pub(crate) async fn hub(ctx: &Ctx) -> Hub {
    let token = token(ctx).await.map(|(token, _)| token);
    Hub { token, ..ctx.world.hub.hub.clone() }
}

/// The token in force: Asgard's own, then the environment's, then that of the Hub's client.
async fn token(ctx: &Ctx) -> Option<(Secret, TokenPlace)> {
    let access = &ctx.world.hub;
    if let Some(own) = own(ctx).await {
        return Some(own);
    }
    if let Some(token) = &access.environment {
        return Some((token.clone(), TokenPlace::Environment));
    }
    let file = access.client_file.clone()?;
    let read = tokio::task::spawn_blocking(move || client_token(&file)).await.ok().flatten()?;
    Some((read, TokenPlace::ClientFile))
}

async fn own(ctx: &Ctx) -> Option<(Secret, TokenPlace)> {
    let mut known = ctx.world.hub.own.lock().await;
    match &*known {
        Own::There(token, place) => return Some((token.clone(), *place)),
        Own::Nothing(at) if at.elapsed() < LOOK_AGAIN => return None,
        Own::Nothing(_) | Own::Unknown => {}
    }
    match ctx.world.secrets.find(HUB_TOKEN).await {
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
fn client_token(file: &Path) -> Option<Secret> {
    std::fs::metadata(file).ok().filter(|m| m.is_file() && m.len() <= LARGEST_TOKEN)?;
    let text = std::fs::read_to_string(file).ok()?;
    well_formed(text.trim()).then(|| Secret::new(text.trim()))
}

/// Whether it can stand in a header, and is no whole document.
fn well_formed(token: &str) -> bool {
    !token.is_empty() && token.len() <= 1000 && token.bytes().all(|b| b.is_ascii_graphic())
}

fn absent() -> ApiError {
    ApiError::new(Code::Failed, "This part is not there yet.", "")
}

pub(crate) async fn account(ctx: &Ctx) -> HubAccount {
    let place = token(ctx).await.map(|(_, place)| place);
    HubAccount {
        endpoint: ctx.world.hub.hub.endpoint.clone(),
        token: place,
        user: None,
        role: None,
        checked: None,
        problem: None,
    }
}

pub(crate) async fn set(_ctx: &Ctx, _token: TokenText) -> Result<HubAccount, ApiError> {
    Err(absent())
}

pub(crate) async fn remove(_ctx: &Ctx) -> Result<HubAccount, ApiError> {
    Err(absent())
}

pub(crate) async fn check(_ctx: &Ctx) -> Result<HubAccount, ApiError> {
    Err(absent())
}
