//! The engine's images: what is there, which digest a tag stands for, what the server in one says of itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use bollard::models::{ImageInspect, ImageSummary};
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder,
};
use domain::stack::BackendKind;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::link::{LONG, Link, SHORT};
use super::{ContainerEngine, Shared, once, pull, words};
use crate::{EngineError, ErrorKind, OnProgress, StartProgress};

pub use super::facts::{ServerFacts, unknown_flags};

/// A pull that says nothing for so long has lost its registry.
const PULL_SILENCE: Duration = Duration::from_mins(3);
/// A registry that is asked for one digest.
const REGISTRY: Duration = Duration::from_secs(30);
/// With less than this nothing is pulled at all: the desktop needs some of it.
const LEAST_FREE: u64 = 2_000_000_000;
/// Layers are kept packed while they are unpacked, and weigh about twice as much then.
const UNPACKED: u64 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    pub id: String,
    pub tags: Vec<String>,
    /// "name@sha256:…"
    pub digests: Vec<String>,
    pub size: u64,
    /// By any container, running or not, whoever's it is.
    pub used: bool,
}

/// A reference that stays the same whatever happens to the tag: "name@sha256:…". One that already names a digest, or is
/// an id, is itself. For an image that was made here the digest is its id; what this gives for it is taken by the
/// engine here all the same (`Shared::resolve`).
pub fn pinned(reference: &str, digest: &str) -> String {
    if reference.starts_with("sha256:") || reference.contains('@') {
        return reference.to_owned();
    }
    format!("{}@{digest}", repository(reference))
}

/// A reference as engines write it out: "docker.io/library/x:latest" for "x". For comparing two.
pub fn full_name(reference: &str) -> String {
    if reference.starts_with("sha256:") {
        return reference.to_owned();
    }
    let (name, rest) = pull::reference(reference).split_at_checked(repository(reference).len()).map_or_else(
        || (reference.to_owned(), String::new()),
        |(name, rest)| (name.to_owned(), rest.to_owned()),
    );
    format!("{}{rest}", full_repository(&name))
}

/// Without tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    let last = name.rfind('/').map_or(0, |at| at + 1);
    name.get(last..).and_then(|part| part.find(':')).and_then(|at| name.get(..last + at)).unwrap_or(name)
}

/// Whether no registry is named.
pub(super) fn is_short(reference: &str) -> bool {
    let name = repository(reference);
    !reference.starts_with("sha256:") && full_repository(name).len() > name.len()
}

/// A first part with a dot or a port in it is a registry; without one it is Docker's.
fn full_repository(name: &str) -> String {
    let name = name.strip_prefix("index.docker.io/").unwrap_or(name);
    match name.split_once('/') {
        Some(("docker.io", rest)) if !rest.contains('/') => format!("docker.io/library/{rest}"),
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

/// The digest under which an image is known for this reference: its repository's, else its own id.
fn digest_of(reference: &str, image: &ImageInspect) -> Option<String> {
    if let Some((_, digest)) = reference.split_once('@') {
        return Some(digest.to_owned());
    }
    let wanted = full_repository(repository(reference));
    let of_repository = image.repo_digests.iter().flatten().find_map(|known| {
        let (name, digest) = known.split_once('@')?;
        (full_repository(name) == wanted).then(|| digest.to_owned())
    });
    of_repository.or_else(|| image.id.as_deref().map(full_id))
}

/// Podman leaves the algorithm out here and there.
fn full_id(id: &str) -> String {
    if id.contains(':') { id.to_owned() } else { format!("sha256:{id}") }
}

fn facts_of(image: ImageSummary, used: &HashSet<String>) -> ImageFacts {
    let named = |all: Vec<String>| all.into_iter().filter(|name| !name.starts_with("<none>")).collect();
    let id = full_id(&image.id);
    ImageFacts {
        used: used.contains(&id),
        tags: named(image.repo_tags),
        digests: named(image.repo_digests),
        size: u64::try_from(image.size).unwrap_or_default(),
        id,
    }
}

impl Shared {
    /// The containers that use each image, by the image's id.
    async fn users(&self, link: &Link) -> Result<BTreeMap<String, String>, EngineError> {
        let list = link.containers(true, &HashMap::new()).await?;
        let pairs = list.into_iter().filter_map(|container| {
            let name = container.names.unwrap_or_default().into_iter().next().unwrap_or_default();
            Some((full_id(&container.image_id?), name.trim_start_matches('/').to_owned()))
        });
        Ok(pairs.collect())
    }

    async fn free_disk(&self, link: &Link) -> Result<Option<u64>, EngineError> {
        if !link.is_local() {
            return Ok(None);
        }
        let info = link.ask("say where it keeps its images", SHORT, link.docker.info()).await?;
        // One that runs in a machine of its own names a folder that is not here.
        Ok(info.docker_root_dir.and_then(|folder| free_at(Path::new(&folder))))
    }
}

fn free_at(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether a pull of so many packed bytes may go on.
fn check_room(reference: &str, packed: u64, free: Option<u64>) -> Result<(), EngineError> {
    let Some(free) = free else { return Ok(()) };
    if free < LEAST_FREE {
        return Err(words::no_room(reference, LEAST_FREE, free));
    }
    let needed = packed.saturating_mul(UNPACKED);
    if needed > free { Err(words::no_room(reference, needed, free)) } else { Ok(()) }
}

impl ContainerEngine {
    /// Every image of the engine, the largest first.
    pub async fn images(&self) -> Result<Vec<ImageFacts>, EngineError> {
        let link = self.shared.link().await?;
        let used: HashSet<String> = self.shared.users(&link).await?.into_keys().collect();
        let options = ListImagesOptionsBuilder::new().build();
        let all = link.ask("list its images", LONG, link.docker.list_images(Some(options))).await?;
        let mut all: Vec<ImageFacts> = all.into_iter().map(|image| facts_of(image, &used)).collect();
        all.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
        Ok(all)
    }

    /// The digest ("sha256:…") that a reference stands for here now: of a pulled one its repository's, of one made here
    /// its id. None where it is not there. Podman knows images that were made here by a digest too.
    pub async fn digest(&self, reference: &str) -> Result<Option<String>, EngineError> {
        let link = self.shared.link().await?;
        let reference = pull::reference(reference);
        let found = self.shared.resolve(&link, &reference).await?;
        Ok(found.and_then(|(_, image)| digest_of(&reference, &image)))
    }

    /// The digest that the registry has under the tag now, without pulling.
    ///
    /// # Errors
    /// Podman has no such question; the registry cannot be reached or does not have it.
    pub async fn newest(&self, reference: &str) -> Result<String, EngineError> {
        let link = self.shared.link().await?;
        let reference = pull::reference(reference);
        if let Some((_, digest)) = reference.split_once('@') {
            return Ok(digest.to_owned());
        }
        if link.kind == "podman" {
            return Err(EngineError::new(
                ErrorKind::Failed,
                format!("Podman cannot say what the registry has as {reference} without pulling it."),
                format!("Pull it with `podman pull {reference}`: only what is new is downloaded."),
            ));
        }
        let asking = link.docker.inspect_registry_image(&reference, None);
        let answer = link.ask(&format!("ask the registry for {reference}"), REGISTRY, asking).await;
        let answer = answer.map_err(|error| words::refused_pull(error, &reference))?;
        answer.descriptor.digest.ok_or_else(|| {
            EngineError::new(
                ErrorKind::Failed,
                format!("The registry did not say which digest {reference} has."),
                format!("`docker manifest inspect {reference}` shows what it says."),
            )
        })
    }

    /// Bytes free where the engine keeps its images. None where it is on another machine.
    pub async fn free_disk(&self) -> Result<Option<u64>, EngineError> {
        let link = self.shared.link().await?;
        self.shared.free_disk(&link).await
    }

    /// Runs the image for its server's version and flags, without network, devices or mounts, with little memory, and
    /// removes what ran.
    ///
    /// # Errors
    /// The image is not there, or its server does not say a version.
    pub async fn read_version(
        &self,
        reference: &str,
        backend: BackendKind,
    ) -> Result<ServerFacts, EngineError> {
        let link = self.shared.link().await?;
        let reference = pull::reference(reference);
        let Some((name, image)) = self.shared.resolve(&link, &reference).await? else {
            return Err(words::no_image(&reference));
        };
        let entry = image.config.and_then(|config| config.entrypoint).unwrap_or_default();
        once::read(&self.shared, &link, name, entry, backend).await
    }

    /// Removes an image that no container uses. Never forced: one that has several tags loses this one.
    pub async fn remove_image(&self, reference: &str) -> Result<(), EngineError> {
        let link = self.shared.link().await?;
        let reference = pull::reference(reference);
        let Some((name, image)) = self.shared.resolve(&link, &reference).await? else {
            return Err(words::no_image(&reference));
        };
        let id = image.id.map(|id| full_id(&id));
        let users = self.shared.users(&link).await?;
        if let Some(user) = id.as_ref().and_then(|id| users.get(id)) {
            return Err(EngineError::new(
                ErrorKind::Failed,
                format!("The container {user} uses {reference}."),
                format!("Stop it first; an ended one of others goes with `docker rm {user}`."),
            ));
        }
        // Podman takes only a tag or an id here.
        let name = id.filter(|_| link.kind == "podman" && name.contains('@')).unwrap_or(name);
        let options = RemoveImageOptionsBuilder::new().force(false).build();
        let removal = link.docker.remove_image(&name, Some(options), None);
        link.ask(&format!("remove {reference}"), LONG, removal).await.map(drop)
    }

    /// Pulls a reference, with progress in bytes. Refused, or given up, where the disk would not hold it.
    pub async fn pull_reference(&self, reference: &str, on: OnProgress<'_>) -> Result<(), EngineError> {
        let link = self.shared.link().await?;
        let reference = pull::reference(reference);
        // Only what was made here is known by its id alone.
        if reference.starts_with("sha256:") {
            let there = self.shared.has(&link, &reference).await?;
            return if there { Ok(()) } else { Err(words::made_here(&reference)) };
        }
        // Measured once: what the pull itself takes meanwhile is in the bytes that it needs.
        let free = self.shared.free_disk(&link).await?;
        check_room(&reference, 0, free)?;
        let options = CreateImageOptionsBuilder::new().from_image(&reference).build();
        // Dropping the stream ends the pull: engines give it up when nobody listens.
        let mut messages = link.docker.create_image(Some(options), None, None);
        let mut progress = pull::PullProgress::default();
        loop {
            let message = match timeout(PULL_SILENCE, messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => {
                    let error = words::error(&link.address, &format!("pull {reference}"), &error);
                    return Err(words::refused_pull(error, &reference));
                }
                Ok(None) => break,
                Err(_) => return Err(words::silent(&link.address, &format!("pull {reference}"))),
            };
            if let Some((done, total)) = progress.take(&message) {
                on(StartProgress::Pulling { done, total });
                check_room(&reference, progress.known(), free)?;
            }
        }
        // Some engines end the stream of a failed pull without an error in it.
        if self.shared.has(&link, &reference).await? { Ok(()) } else { Err(words::no_image(&reference)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_reference_has_no_tag_any_more() {
        let digest = "sha256:ab";
        assert_eq!(pinned("docker.io/kyuz0/x:latest", digest), "docker.io/kyuz0/x@sha256:ab");
        assert_eq!(pinned("127.0.0.1:5000/x", digest), "127.0.0.1:5000/x@sha256:ab");
        assert_eq!(pinned("127.0.0.1:5000/x:1", digest), "127.0.0.1:5000/x@sha256:ab");
        assert_eq!(pinned("x", digest), "x@sha256:ab");
        assert_eq!(pinned("x@sha256:cd", digest), "x@sha256:cd");
        assert_eq!(pinned("sha256:cd", digest), "sha256:cd");
    }

    #[test]
    fn names_are_compared_written_out() {
        for (short, full) in [
            ("x", "docker.io/library/x:latest"),
            ("x:1", "docker.io/library/x:1"),
            ("kyuz0/x", "docker.io/kyuz0/x:latest"),
            ("docker.io/x:2", "docker.io/library/x:2"),
            ("index.docker.io/kyuz0/x:2", "docker.io/kyuz0/x:2"),
            ("localhost/x", "localhost/x:latest"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
            ("ghcr.io/ggml-org/llama.cpp:server", "ghcr.io/ggml-org/llama.cpp:server"),
            ("kyuz0/x@sha256:ab", "docker.io/kyuz0/x@sha256:ab"),
            ("sha256:ab", "sha256:ab"),
        ] {
            assert_eq!(full_name(short), full);
            assert_eq!(full_name(full), full);
        }
        assert!(is_short("x:1") && is_short("kyuz0/x@sha256:ab"));
        assert!(!is_short("docker.io/kyuz0/x") && !is_short("sha256:ab") && !is_short("localhost/x"));
    }

    #[test]
    fn a_digest_is_the_repositorys_or_the_id() {
        let image = ImageInspect {
            id: Some("sha256:id".to_owned()),
            repo_digests: Some(vec!["other/x@sha256:no".to_owned(), "kyuz0/x@sha256:yes".to_owned()]),
            ..ImageInspect::default()
        };
        assert_eq!(digest_of("docker.io/kyuz0/x:latest", &image).as_deref(), Some("sha256:yes"));
        assert_eq!(digest_of("made-here:1", &image).as_deref(), Some("sha256:id"));
        assert_eq!(digest_of("kyuz0/x@sha256:old", &image).as_deref(), Some("sha256:old"));
        assert_eq!(digest_of("x", &ImageInspect::default()), None);
        assert_eq!(full_id("ab"), "sha256:ab");
    }

    #[test]
    fn untagged_names_are_no_names() {
        let image = ImageSummary {
            id: "sha256:a".to_owned(),
            repo_tags: vec!["<none>:<none>".to_owned()],
            repo_digests: vec!["<none>@<none>".to_owned(), "x@sha256:b".to_owned()],
            size: 7,
            ..ImageSummary::default()
        };
        let used = HashSet::from(["sha256:a".to_owned()]);
        let facts = facts_of(image, &used);
        assert_eq!((facts.tags.len(), facts.digests.as_slice()), (0, &["x@sha256:b".to_owned()][..]));
        assert!(facts.used && facts.size == 7);
    }

    #[test]
    fn a_pull_that_would_fill_the_disk_is_refused_with_numbers() {
        assert!(check_room("x", 1 << 40, None).is_ok(), "of another machine nothing is known");
        assert!(check_room("x", 3_000_000_000, Some(9_000_000_000)).is_ok());
        let error = check_room("x", 3_000_000_001, Some(9_000_000_000)).unwrap_err();
        assert!(error.message.contains("9.0 GB") && error.next.contains("docker system df"), "{error:?}");
        let error = check_room("x", 0, Some(1_900_000_000)).unwrap_err();
        assert!(error.message.contains("2.0 GB") && error.message.contains("1.9 GB"), "{error:?}");
        assert!(free_at(Path::new("/")).is_some_and(|free| free > 0));
        assert_eq!(free_at(Path::new("/no/such/folder")), None);
    }
}
