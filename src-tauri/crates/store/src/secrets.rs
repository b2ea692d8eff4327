//! Tokens and keys: in the desktop's keyring (the freedesktop Secret Service), else in a file of mode 0600.
//!
//! The service is spoken to over the session bus that `zbus` already brings, with its "plain" session: what could
//! listen on a user's own bus could ask the keyring itself, so encrypting on the way would protect from nobody. No
//! prompt is ever caused: a keyring that is locked counts as none, and the file serves.
//!
//! Deliberately absent: the stack, logs, environments of model servers. None of them ever holds one of these.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::secret::Secret;
use tokio::time::timeout;
use zbus::Connection;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};

use crate::atomic;
use crate::paths::Paths;

/// A keyring answers at once, or it waits for a person.
const PATIENCE: Duration = Duration::from_secs(10);

const SERVICE: &str = "org.freedesktop.secrets";
const ROOT: &str = "/org/freedesktop/secrets";
const DEFAULT: &str = "/org/freedesktop/secrets/aliases/default";

/// Where a secret came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Keyring,
    File,
}

#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("The file {} cannot be {doing}: {cause}. Check that its folder is yours and has room.", path.display())]
    File { path: PathBuf, doing: &'static str, cause: io::Error },
    #[error("The file {} is damaged and was left as it is. Correct it, or move it away and give the tokens again.", .0.display())]
    Damaged(PathBuf),
    #[error("The keyring is locked, and it may hold a copy of {0}. Unlock it, and remove it again.")]
    Locked(String),
}

/// The secrets of this user's Asgard. Nothing is opened until one is asked for.
#[derive(Debug, Clone)]
pub struct Secrets {
    file: PathBuf,
    /// A rehearsal keeps its own, and asks nobody's keyring.
    keyring: bool,
}

/// What the Hub's token is called.
pub const HUB_TOKEN: &str = "huggingface";

/// What a secret is called in the keyring of a server of others.
pub fn server(agent: &str) -> String {
    format!("server:{agent}")
}

/// What the secret of a gateway key is called.
pub fn gateway_key(name: &str) -> String {
    format!("gateway-key/{name}")
}

impl Secrets {
    pub fn open(paths: &Paths) -> Self {
        Self { file: paths.secrets_file(), keyring: !paths.rehearsal }
    }

    /// # Errors
    /// The file is there and cannot be read.
    pub async fn get(&self, name: &str) -> Result<Option<Secret>, SecretsError> {
        Ok(self.find(name).await?.map(|(secret, _)| secret))
    }

    /// As [`Self::get`], with where it lies.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub async fn find(&self, name: &str) -> Result<Option<(Secret, Where)>, SecretsError> {
        // A copy in the file was put there later than one in the keyring: see `set`.
        let filed = read(&self.file).map(|mut all| all.remove(name).map(|s| (Secret::new(s), Where::File)));
        if self.keyring
            && !matches!(filed, Ok(Some(_)))
            && let Some(found) = quickly(Keyring::get(name)).await.flatten()
        {
            return Ok(Some((found, Where::Keyring)));
        }
        filed
    }

    /// # Errors
    /// No keyring takes it, and the file cannot be written either.
    pub async fn set(&self, name: &str, secret: &Secret) -> Result<Where, SecretsError> {
        if self.keyring && quickly(Keyring::set(name, secret)).await.is_some() {
            // A copy that was in the file before would be found when the keyring is away.
            self.forget_in_file(name)?;
            return Ok(Where::Keyring);
        }
        let mut all = read(&self.file)?;
        all.insert(name.to_owned(), secret.reveal().to_owned());
        write(&self.file, &all)?;
        Ok(Where::File)
    }

    /// # Errors
    /// The file is there and cannot be written, or the keyring is locked and may hold it.
    pub async fn remove(&self, name: &str) -> Result<(), SecretsError> {
        if self.keyring {
            let gone = quickly(Keyring::remove(name)).await;
            self.forget_in_file(name)?;
            return if gone == Some(false) { Err(SecretsError::Locked(name.to_owned())) } else { Ok(()) };
        }
        self.forget_in_file(name)
    }

    /// Of every secret there is, in order.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub async fn names(&self) -> Result<Vec<String>, SecretsError> {
        let mut names: BTreeSet<String> = read(&self.file)?.into_keys().collect();
        if self.keyring {
            names.extend(quickly(Keyring::names()).await.unwrap_or_default());
        }
        Ok(names.into_iter().collect())
    }

    fn forget_in_file(&self, name: &str) -> Result<(), SecretsError> {
        let mut all = read(&self.file)?;
        if all.remove(name).is_some() {
            write(&self.file, &all)?;
        }
        Ok(())
    }
}

/// The answer of the keyring, or nothing where there is none, where it is locked, and where it takes too long.
async fn quickly<T>(question: impl Future<Output = zbus::Result<T>>) -> Option<T> {
    match timeout(PATIENCE, question).await {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::debug!("The keyring does not serve: {error}");
            None
        }
        Err(_) => {
            tracing::warn!("The keyring did not answer within {} s; a file serves.", PATIENCE.as_secs());
            None
        }
    }
}

/// The secret as the service carries it: session, parameters, value, content type.
type Carried = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);

struct Keyring {
    bus: Connection,
    session: OwnedObjectPath,
}

impl Keyring {
    async fn open() -> zbus::Result<Self> {
        let bus = Connection::session().await?;
        let answer = bus
            .call_method(
                Some(SERVICE),
                ROOT,
                Some("org.freedesktop.Secret.Service"),
                "OpenSession",
                &("plain", Value::from("")),
            )
            .await?;
        let (_, session): (OwnedValue, OwnedObjectPath) = answer.body().deserialize()?;
        Ok(Self { bus, session })
    }

    fn attributes(name: &str) -> HashMap<&str, &str> {
        HashMap::from([("application", "asgard"), ("name", name)])
    }

    /// Items with these attributes: those that are unlocked, and those that are not.
    async fn items(
        &self,
        asked: HashMap<&str, &str>,
    ) -> zbus::Result<(Vec<OwnedObjectPath>, Vec<OwnedObjectPath>)> {
        let interface = Some("org.freedesktop.Secret.Service");
        let answer = self.bus.call_method(Some(SERVICE), ROOT, interface, "SearchItems", &(asked,)).await?;
        answer.body().deserialize()
    }

    async fn names() -> zbus::Result<Vec<String>> {
        let keyring = Self::open().await?;
        let (unlocked, locked) = keyring.items(HashMap::from([("application", "asgard")])).await?;
        let mut names = Vec::new();
        // What an item is called is told of locked ones too.
        for item in unlocked.iter().chain(&locked) {
            let asked = ("org.freedesktop.Secret.Item", "Attributes");
            let interface = Some("org.freedesktop.DBus.Properties");
            let answer = keyring.bus.call_method(Some(SERVICE), item, interface, "Get", &asked).await?;
            let value: OwnedValue = answer.body().deserialize()?;
            let mut attributes: HashMap<String, String> = value.try_into()?;
            names.extend(attributes.remove("name"));
        }
        Ok(names)
    }

    async fn get(name: &str) -> zbus::Result<Option<Secret>> {
        let keyring = Self::open().await?;
        let Some(item) = keyring.items(Self::attributes(name)).await?.0.into_iter().next() else {
            return Ok(None);
        };
        let interface = Some("org.freedesktop.Secret.Item");
        let answer = keyring
            .bus
            .call_method(Some(SERVICE), &item, interface, "GetSecret", &(&keyring.session,))
            .await?;
        let (carried,): (Carried,) = answer.body().deserialize()?;
        Ok(String::from_utf8(carried.2).ok().map(Secret::new))
    }

    async fn set(name: &str, secret: &Secret) -> zbus::Result<()> {
        let keyring = Self::open().await?;
        let label = format!("Asgard: {name}");
        let properties: HashMap<&str, Value<'_>> = HashMap::from([
            ("org.freedesktop.Secret.Item.Label", Value::from(label.as_str())),
            ("org.freedesktop.Secret.Item.Attributes", Value::from(Self::attributes(name))),
        ]);
        let carried = (&keyring.session, Vec::<u8>::new(), secret.reveal().as_bytes(), "text/plain");
        let interface = Some("org.freedesktop.Secret.Collection");
        let answer = keyring
            .bus
            .call_method(Some(SERVICE), DEFAULT, interface, "CreateItem", &(properties, carried, true))
            .await?;
        let (item, _prompt): (OwnedObjectPath, OwnedObjectPath) = answer.body().deserialize()?;
        // With a prompt to be answered first, nothing was made: it would wait for a person who was not asked.
        if item.as_str() == "/" { Err(zbus::Error::Failure("the keyring is locked".into())) } else { Ok(()) }
    }

    /// Whether nothing of that name is left.
    async fn remove(name: &str) -> zbus::Result<bool> {
        let keyring = Self::open().await?;
        let (unlocked, locked) = keyring.items(Self::attributes(name)).await?;
        let mut gone = locked.is_empty();
        for item in unlocked {
            let path: &ObjectPath<'_> = &item;
            let interface = Some("org.freedesktop.Secret.Item");
            let answer = keyring.bus.call_method(Some(SERVICE), path, interface, "Delete", &()).await?;
            let prompt: OwnedObjectPath = answer.body().deserialize()?;
            gone &= prompt.as_str() == "/";
        }
        Ok(gone)
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, String>, SecretsError> {
    let failed = |doing| move |cause| SecretsError::File { path: path.to_path_buf(), doing, cause };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed("read")(error)),
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!("{} could be read by others; it is yours alone again.", path.display());
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed("made private"))?;
    }
    let bytes = fs::read(path).map_err(failed("read"))?;
    // The cause would quote the content.
    serde_json::from_slice(&bytes).map_err(|_| SecretsError::Damaged(path.to_path_buf()))
}

fn write(path: &Path, all: &BTreeMap<String, String>) -> Result<(), SecretsError> {
    let failed = |cause| SecretsError::File { path: path.to_path_buf(), doing: "written", cause };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let text = serde_json::to_vec_pretty(all).map_err(|e| failed(e.into()))?;
    atomic::write(path, &text, 0o600).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(folder: &Path) -> Secrets {
        Secrets { file: folder.join("secrets.json"), keyring: false }
    }

    #[tokio::test]
    async fn without_a_keyring_a_private_file_serves() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = secrets(folder.path());
        assert_eq!(secrets.get("HF_TOKEN").await.unwrap(), None);
        assert_eq!(secrets.set("HF_TOKEN", &Secret::new("hf_x")).await.unwrap(), Where::File);
        secrets.set(&server("thor"), &Secret::new("k")).await.unwrap();
        let mode = fs::metadata(&secrets.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(secrets.get("HF_TOKEN").await.unwrap().unwrap().reveal(), "hf_x");
        secrets.remove("HF_TOKEN").await.unwrap();
        assert_eq!(secrets.get("HF_TOKEN").await.unwrap(), None);
        assert!(secrets.get("server:thor").await.unwrap().is_some());
        assert_eq!(secrets.names().await.unwrap(), ["server:thor"]);
    }

    #[tokio::test]
    async fn a_file_that_others_could_read_is_made_private() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = secrets(folder.path());
        secrets.set("a", &Secret::new("b")).await.unwrap();
        fs::set_permissions(&secrets.file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(secrets.get("a").await.unwrap().is_some());
        assert_eq!(fs::metadata(&secrets.file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_damaged_file_is_kept_and_its_content_is_not_told() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = secrets(folder.path());
        fs::write(&secrets.file, "{\"a\": \"hf_verysecret").unwrap();
        let error = secrets.set("b", &Secret::new("c")).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("verysecret"));
        assert!(fs::read_to_string(&secrets.file).unwrap().contains("verysecret"));
    }
}
