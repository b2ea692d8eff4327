//! The gateway's keys: which tool a request is from. Their names and what they allow are in the stack file, their
//! secrets with the other secrets; here only digests of those are held.
//!
//! Deliberately absent: whether a key is needed, and which agents it allows. The stack says that.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use api::shapes::gateway::{KeyText, KeyView, NewKeyRequest};
use api::shapes::status::Severity;
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::secret::Secret;
use domain::stack::Stack;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use store::database::Database;
use store::secrets::{Secrets, SecretsError, gateway_key};
use store::stack_file::edit::Edit;
use tokio::sync::Notify;

use crate::activity::happened;
use crate::carry::Ctx;
use crate::editing;

/// What a key of ours begins with, so that one is known for what it is where it turns up.
const BEGINNING: &str = "asg-";
const RANDOM_BYTES: usize = 32;
/// How long a key's last use waits until it is written down with others.
const GATHER: Duration = Duration::from_secs(60);
/// Between two looks for a secret that was not there: a keyring that is locked is unlocked by a person.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Where the database keeps when each key was last used.
const LAST_USED: &str = "gateway_keys_used";

/// The keys that are known here. Clones are the same keys.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    known: RwLock<Known>,
    used: Mutex<BTreeMap<String, Timestamp>>,
    was_used: Notify,
    look_again: Notify,
    /// One change at a time: each reads the stack file before it writes it.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: Vec<(Arc<str>, [u8; 32])>,
    /// The secret of some key could not be had.
    missing: bool,
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether they are equal, in a time that says nothing of where they differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differing = a.iter().zip(b).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differing) == 0
}

impl Keys {
    /// The name of the key that was presented; none where it is no key of ours. Looks at every key, whichever fits.
    pub(crate) fn check(&self, presented: Option<&str>) -> Option<Arc<str>> {
        let presented = digest(presented?);
        let (found, missing) = {
            let known = self.inner.known.read().unwrap_or_else(PoisonError::into_inner);
            let found = known.keys.iter().fold(None, |found, (name, digest)| {
                if same(digest, &presented) { Some(name.clone()) } else { found }
            });
            (found, known.missing)
        };
        match &found {
            Some(name) => self.touch(name, Timestamp::now()),
            None if missing => self.inner.look_again.notify_one(),
            None => {}
        }
        found
    }

    fn touch(&self, name: &str, now: Timestamp) {
        let mut used = self.used();
        match used.get_mut(name) {
            Some(last) => *last = now,
            None => {
                used.insert(name.to_owned(), now);
            }
        }
        self.inner.was_used.notify_one();
    }

    fn used(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.inner.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When a request last came with it.
    pub(crate) fn last_used(&self, name: &str) -> Option<Timestamp> {
        self.used().get(name).copied()
    }

    /// Takes over the secrets of the keys that the stack names. One that cannot be had lets nobody in.
    pub(crate) async fn load(&self, secrets: &Secrets, stack: &Stack) {
        let names: Vec<Arc<str>> =
            stack.gateway.keys.iter().map(|key| Arc::from(key.name.as_str())).collect();
        let found = join_all(names.iter().map(|name| async move {
            match secrets.get(&gateway_key(name)).await {
                Ok(secret) => secret.filter(|secret| !secret.reveal().is_empty()),
                Err(error) => {
                    tracing::warn!("The gateway key {name} cannot be read: {error}");
                    None
                }
            }
        }))
        .await;
        let missing = found.iter().any(Option::is_none);
        let keys = names
            .into_iter()
            .zip(found)
            .filter_map(|(name, secret)| Some((name, digest(secret?.reveal()))))
            .collect();
        *self.inner.known.write().unwrap_or_else(PoisonError::into_inner) = Known { keys, missing };
    }

    /// Takes over what an earlier run wrote down.
    pub(crate) fn recall(&self, database: &Database) {
        let kept = database.setting(LAST_USED).ok().flatten();
        let kept = kept.as_ref().and_then(Value::as_object).into_iter().flatten();
        let times = kept.filter_map(|(name, time)| Some((name.clone(), time.as_str()?.parse().ok()?)));
        self.used().extend(times);
    }

    /// Writes down when each key was last used.
    pub(crate) async fn keep(&self, ctx: &Ctx) {
        let used: serde_json::Map<String, Value> =
            self.used().iter().map(|(name, time)| (name.clone(), json!(time.to_string()))).collect();
        if used.is_empty() {
            return;
        }
        let kept = ctx.world.database(move |db| db.set_setting(LAST_USED, &Value::Object(used))).await;
        if let Some(Err(error)) = kept {
            tracing::debug!("When keys were last used is not kept: {error}");
        }
    }

    /// Each key of the stack as the window shows it.
    pub(crate) fn views(&self, stack: &Stack) -> Vec<KeyView> {
        let view = |key: &domain::stack::GatewayKey| KeyView {
            name: key.name.clone(),
            agents: key.agents.as_ref().map(|agents| agents.iter().map(ToString::to_string).collect()),
            last_used: self.last_used(&key.name).map(|time| time.to_string()),
        };
        stack.gateway.keys.iter().map(view).collect()
    }

    /// For whoever changes the stack file by what it says of the gateway.
    pub(crate) async fn change(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.inner.changing.lock().await
    }
}

/// Sleeps until a key was used, or one was presented whose secret may be there by now.
pub(crate) async fn run(ctx: Ctx) {
    let looking = async {
        loop {
            ctx.keys.inner.look_again.notified().await;
            ctx.keys.load(&ctx.world.secrets, &ctx.state.state().stack).await;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    let keeping = async {
        loop {
            ctx.keys.inner.was_used.notified().await;
            tokio::time::sleep(GATHER).await;
            ctx.keys.keep(&ctx).await;
        }
    };
    tokio::join!(looking, keeping);
}

/// Makes a key: the secret first, so that no name is in the stack file that nothing stands behind.
pub(crate) async fn new(ctx: &Ctx, asked: &NewKeyRequest) -> Result<KeyText, ApiError> {
    let _one = ctx.keys.change().await;
    let state = ctx.state.state();
    check_new(&state.stack, asked)?;
    let secret = random()?;
    let name = gateway_key(&asked.name);
    ctx.world.secrets.set(&name, &secret).await.map_err(|e| not_kept(&e))?;
    let edit = Edit::AddGatewayKey { name: asked.name.clone(), agents: asked.agents.clone() };
    if let Err(error) = editing::write(ctx, &[edit]).await {
        if let Err(error) = ctx.world.secrets.remove(&name).await {
            tracing::warn!("{error}");
        }
        return Err(error);
    }
    happened(ctx, Severity::Info, None, format!("The gateway key {} was made.", asked.name));
    Ok(KeyText { name: asked.name.clone(), key: secret.reveal().to_owned() })
}

fn check_new(stack: &Stack, asked: &NewKeyRequest) -> Result<(), ApiError> {
    if AgentName::new(&asked.name).is_err() {
        return Err(ApiError::new(
            Code::Usage,
            format!("{:?} cannot be a key's name.", asked.name),
            "Use lower-case letters, digits and hyphens, a letter first, at most 40.",
        ));
    }
    if stack.gateway.keys.iter().any(|key| key.name == asked.name) {
        return Err(ApiError::new(
            Code::Usage,
            format!("There is a key {} already.", asked.name),
            "Choose another name, or remove that one first.",
        ));
    }
    let Some(agents) = &asked.agents else { return Ok(()) };
    if agents.is_empty() {
        return Err(ApiError::new(
            Code::Usage,
            "A key for no agent would open nothing.",
            "Name the agents, or leave them out for all of them.",
        ));
    }
    match agents.iter().find(|name| !stack.agents.iter().any(|agent| agent.name.as_str() == name.as_str())) {
        Some(name) => Err(ApiError::new(
            Code::Unknown,
            format!("There is no agent {name:?} in the stack."),
            "See the agents with: asgard status",
        )),
        None => Ok(()),
    }
}

fn random() -> Result<Secret, ApiError> {
    let mut bytes = [0_u8; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| {
        ApiError::new(Code::Failed, format!("The system gives no random bytes ({e})."), "Try again.")
    })?;
    let mut text = String::with_capacity(BEGINNING.len() + 2 * RANDOM_BYTES);
    text.push_str(BEGINNING);
    for byte in bytes {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Secret::new(text))
}

fn not_kept(error: &SecretsError) -> ApiError {
    ApiError::new(Code::Failed, error.to_string(), "Nothing was changed.")
}

fn unknown(name: &str) -> ApiError {
    ApiError::new(
        Code::Unknown,
        format!("There is no gateway key {name:?}."),
        "See the keys with: asgard keys list",
    )
}

/// The secret of a key, for a tool's own configuration.
pub(crate) async fn reveal(ctx: &Ctx, name: &str) -> Result<KeyText, ApiError> {
    let state = ctx.state.state();
    if !state.stack.gateway.keys.iter().any(|key| key.name == name) {
        return Err(unknown(name));
    }
    let failed = |e: SecretsError| ApiError::new(Code::Failed, e.to_string(), "");
    match ctx.world.secrets.get(&gateway_key(name)).await.map_err(failed)? {
        Some(secret) => Ok(KeyText { name: name.to_owned(), key: secret.reveal().to_owned() }),
        None => Err(ApiError::new(
            Code::Failed,
            format!("The stack file names the key {name}, and its secret is not kept on this machine."),
            "Unlock the keyring if it is locked; else remove the key and make it again.",
        )),
    }
}

/// Out of the stack file first: from then on it opens nothing, whatever becomes of the secret.
pub(crate) async fn remove(ctx: &Ctx, name: &str) -> Result<(), ApiError> {
    let _one = ctx.keys.change().await;
    let state = ctx.state.state();
    let keys = &state.stack.gateway.keys;
    if !keys.iter().any(|key| key.name == name) {
        return Err(unknown(name));
    }
    if keys.len() == 1 {
        needed(state.stack.gateway.listen)?;
    }
    editing::write(ctx, &[Edit::RemoveGatewayKey { name: name.to_owned() }]).await?;
    ctx.keys.used().remove(name);
    ctx.keys.keep(ctx).await;
    happened(ctx, Severity::Info, None, format!("The gateway key {name} was removed."));
    ctx.world.secrets.remove(&gateway_key(name)).await.map_err(|e| {
        ApiError::new(Code::Failed, format!("The key {name} opens nothing any more, but: {e}"), "")
    })
}

/// The last key may go only where nobody else can reach the gateway.
fn needed(listen: SocketAddr) -> Result<(), ApiError> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    Err(ApiError::new(
        Code::Failed,
        format!("Bifrost listens on {listen}, where other machines reach it, and this is its last key."),
        "Make another key first, or let it listen on 127.0.0.1.",
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::ffi::OsString;
    use std::path::Path;

    use domain::stack::GatewayKey;
    use store::paths::Paths;

    use super::*;

    fn stack(keys: &[&str]) -> Stack {
        let text = store::stack_file::shipped_text(1024);
        let mut stack = store::stack_file::check(Path::new("stack.toml"), &text, 1024).unwrap();
        stack.gateway.keys =
            keys.iter().map(|name| GatewayKey { name: (*name).to_owned(), agents: None }).collect();
        stack
    }

    /// Of a rehearsal, which asks nobody's keyring.
    fn secrets(folder: &Path) -> Secrets {
        let get = |name: &str| match name {
            "HOME" => Some(folder.into()),
            "XDG_RUNTIME_DIR" => Some(folder.join("run").into()),
            _ => None::<OsString>,
        };
        let paths = Paths::from_env(&get, rustix::process::getuid().as_raw(), true).unwrap();
        Secrets::open(&paths)
    }

    #[tokio::test]
    async fn a_key_opens_while_the_stack_names_it_and_its_secret_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = secrets(folder.path());
        let keys = Keys::default();
        let zed = random().unwrap();
        secrets.set(&gateway_key("zed"), &zed).await.unwrap();
        secrets.set(&gateway_key("empty"), &Secret::new("")).await.unwrap();
        // The token of something else opens nothing, whatever it is called.
        secrets.set("zed", &Secret::new("hf_x")).await.unwrap();
        keys.load(&secrets, &stack(&["aider", "zed", "empty"])).await;
        assert_eq!(keys.last_used("zed"), None);
        assert_eq!(keys.check(Some(zed.reveal())).as_deref(), Some("zed"));
        assert!(keys.last_used("zed").is_some());
        for wrong in ["", "hf_x", "zed", &zed.reveal()[1..], &format!("{} ", zed.reveal())] {
            assert_eq!(keys.check(Some(wrong)), None, "{wrong:?}");
        }
        assert_eq!(keys.check(None), None);
        keys.load(&secrets, &stack(&["aider"])).await;
        assert_eq!(keys.check(Some(zed.reveal())), None, "the stack names it no more");
    }

    #[tokio::test]
    async fn a_secret_that_was_not_there_is_looked_for_again() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = secrets(folder.path());
        let keys = Keys::default();
        keys.load(&secrets, &stack(&["zed"])).await;
        assert_eq!(keys.check(Some("anything")), None);
        tokio::time::timeout(Duration::ZERO, keys.inner.look_again.notified()).await.unwrap();
        secrets.set(&gateway_key("zed"), &Secret::new("k")).await.unwrap();
        keys.load(&secrets, &stack(&["zed"])).await;
        assert_eq!(keys.check(Some("anything")), None);
        let looked = tokio::time::timeout(Duration::ZERO, keys.inner.look_again.notified()).await;
        assert!(looked.is_err(), "nothing is missing");
        assert_eq!(keys.check(Some("k")).as_deref(), Some("zed"));
    }

    #[test]
    fn keys_are_long_random_and_known_by_their_beginning() {
        let made: HashSet<String> = (0..100).map(|_| random().unwrap().reveal().to_owned()).collect();
        assert_eq!(made.len(), 100);
        for key in made {
            let rest = key.strip_prefix("asg-").unwrap();
            assert!(rest.len() == 64 && rest.chars().all(|c| c.is_ascii_hexdigit()), "{key}");
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_refused_with_words() {
        let stack = stack(&["zed"]);
        let asked = |name: &str, agents: Option<&[&str]>| NewKeyRequest {
            name: name.to_owned(),
            agents: agents.map(|all| all.iter().map(|a| (*a).to_owned()).collect()),
        };
        check_new(&stack, &asked("aider", None)).unwrap();
        check_new(&stack, &asked("aider", Some(&["thor", "odin"]))).unwrap();
        for (wrong, code) in [
            (asked("zed", None), Code::Usage),
            (asked("", None), Code::Usage),
            (asked("../zed", None), Code::Usage),
            (asked("aider", Some(&[])), Code::Usage),
            (asked("aider", Some(&["thor", "nobody"])), Code::Unknown),
        ] {
            let error = check_new(&stack, &wrong).unwrap_err();
            assert_eq!(error.code, code, "{wrong:?}");
            assert!(error.message.ends_with('.') && !error.next.is_empty(), "{error:?}");
        }
    }

    #[test]
    fn the_last_key_stays_where_others_reach_the_gateway() {
        for (listen, may) in [("127.0.0.1:8899", true), ("[::1]:8899", true), ("0.0.0.0:8899", false)] {
            assert_eq!(needed(listen.parse().unwrap()).is_ok(), may, "{listen}");
        }
    }

    #[test]
    fn when_a_key_was_used_survives_a_restart() {
        let database = Database::in_memory().unwrap();
        database.set_setting(LAST_USED, &json!({"zed": "2026-11-21T14:00:00Z", "odd": 3})).unwrap();
        let keys = Keys::default();
        keys.recall(&database);
        assert_eq!(keys.last_used("zed").unwrap().to_string(), "2026-11-21T14:00:00Z");
        assert_eq!(keys.last_used("odd"), None);
    }
}
