//! A small Hub on the loopback: the part of the Hugging Face Hub's protocol that finding and fetching models needs,
//! with a CDN of its own on another address, and every way to misbehave ([`Trouble`]).
//!
//! Protocol: `/api/models` (search, filters, sorting, pages by `Link`), `/api/models/{id}[/revision/{rev}]`,
//! `/api/models/{id}/tree/{rev}`, `/api/models/{id}/refs`, `/api/whoami-v2`, and HEAD and GET of
//! `/{id}/resolve/{rev}/{path}`. The Hub's own Python client is its judge (`tests/tests/hub.rs`).
//!
//! Deliberately absent: writing, data sets and spaces, Xet, TLS. It is never more than a rehearsal's, a test's or a
//! benchmark's, and listens on the loopback alone.

mod alone;
mod api;
mod catalogue;
mod content;
mod control;
mod gzip;
mod hostile;
mod log;
mod page;
mod repo;
mod resolve;
mod send;
mod server;
mod trouble;
mod weights;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::secret::Secret;

pub use alone::main;
pub use catalogue::{TOKEN, catalogue};
pub use content::Content;
pub use hostile::{hostile, many};
pub use log::Entry;
pub use repo::{Access, Account, Commit, File, Repo};
pub use trouble::{Place, Rule, Trouble};

/// A Hub before it is started.
#[derive(Debug, Clone)]
pub struct Hub {
    pub repos: Vec<Repo>,
    pub accounts: Vec<Account>,
    /// 0: any free one.
    pub port: u16,
    /// Where large files are served. Another host than the Hub's, which is 127.0.0.1.
    pub cdn_host: Ipv4Addr,
    /// How long a signed address of the CDN is good.
    pub addresses_live: Duration,
    /// Bytes a second on each connection; as fast as it goes where null.
    pub pace: Option<u64>,
    /// Small files are answered by a redirect within the Hub, as the Hub does since 2025.
    pub redirects_small: bool,
    /// Entries on a page of a list where the client names no limit.
    pub page: usize,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            repos: Vec::new(),
            accounts: Vec::new(),
            port: 0,
            cdn_host: Ipv4Addr::new(127, 0, 0, 2),
            addresses_live: Duration::from_secs(3600),
            pace: None,
            redirects_small: false,
            page: 1000,
        }
    }
}

impl Hub {
    pub fn new(repos: Vec<Repo>) -> Self {
        Self { repos, ..Self::default() }
    }

    /// Knows this token, of a user of that name.
    #[must_use]
    pub fn with_account(mut self, token: &str, user: &str) -> Self {
        self.accounts.push(Account {
            token: Secret::new(token),
            user: user.to_owned(),
            role: "read".to_owned(),
            ..Account::default()
        });
        self
    }

    /// Listens, on threads of its own: it goes on whatever the caller's thread does, and ends when the handle is
    /// dropped.
    ///
    /// # Errors
    /// The ports cannot be had, or no thread can be started.
    pub fn start(self) -> io::Result<Running> {
        let hub = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        let cdn = std::net::TcpListener::bind((self.cdn_host, 0))?;
        let shared = Arc::new(Shared {
            hub: hub.local_addr()?,
            cdn: cdn.local_addr()?,
            addresses_live: self.addresses_live,
            redirects_small: self.redirects_small,
            page: self.page.max(1),
            pace: AtomicU64::new(self.pace.unwrap_or(0)),
            addresses: AtomicU64::new(0),
            repos: Mutex::new(self.repos.into_iter().map(Arc::new).collect()),
            accounts: Mutex::new(self.accounts),
            troubles: Mutex::default(),
            log: log::Log::default(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("rehearsal-hub")
            .enable_all()
            .build()?;
        {
            let _within = runtime.enter();
            for (listener, is_cdn) in [(hub, false), (cdn, true)] {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                runtime.spawn(server::listen(listener, shared.clone(), is_cdn));
            }
        }
        Ok(Running { shared, runtime: Some(runtime) })
    }
}

/// A Hub that listens until this is dropped.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Running {
    /// For `HF_ENDPOINT`: "http://127.0.0.1:PORT".
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.shared.hub)
    }

    /// Where large files come from: "http://127.0.0.2:PORT".
    pub fn cdn(&self) -> String {
        format!("http://{}", self.shared.cdn)
    }

    /// Misbehaves from now on, as the rule says.
    pub fn trouble(&self, rule: impl Into<Rule>) {
        lock(&self.shared.troubles).add(rule.into());
    }

    /// Behaves again.
    pub fn calm(&self) {
        lock(&self.shared.troubles).calm();
    }

    /// Bytes a second on each connection from now on, also on those that are open.
    pub fn pace(&self, bytes_per_second: Option<u64>) {
        self.shared.pace.store(bytes_per_second.unwrap_or(0), Ordering::Relaxed);
    }

    /// Every signed address that was given out is too old from now on.
    pub fn expire_addresses(&self) {
        self.shared.addresses.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a repository, in place of one with the same id.
    pub fn put(&self, repo: Repo) {
        self.shared.put(repo);
    }

    /// A new commit on `main` of a repository that is there; its id.
    pub fn push(&self, repo: &str, files: Vec<File>) -> Option<String> {
        self.shared.push(repo, |_| files)
    }

    /// The account of this token accepts the licence, or is let in.
    pub fn accept(&self, token: &str, repo: &str) {
        self.shared.accept(token, repo);
    }

    /// Every request so far, in the order in which they came.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.log.all()
    }

    pub fn clear_log(&self) {
        self.shared.log.clear();
    }

    /// Bytes of files that connections took, in all; of those whose "owner/name/path" contains `of`.
    pub fn bytes_served(&self, of: &str) -> u64 {
        let is_of_file = |e: &&Entry| !e.file.is_empty() && e.file.contains(of) && e.status / 100 == 2;
        self.log().iter().filter(is_of_file).map(|e| e.bytes).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not waiting: the caller may be within a runtime of its own.
            runtime.shutdown_background();
        }
    }
}

/// What every connection sees.
#[derive(Debug)]
struct Shared {
    hub: SocketAddr,
    cdn: SocketAddr,
    addresses_live: Duration,
    redirects_small: bool,
    page: usize,
    /// 0: as fast as it goes.
    pace: AtomicU64,
    /// Which signed addresses are good: those of this round.
    addresses: AtomicU64,
    repos: Mutex<Vec<Arc<Repo>>>,
    accounts: Mutex<Vec<Account>>,
    troubles: Mutex<trouble::Troubles>,
    log: log::Log,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn repo(&self, id: &str) -> Option<Arc<Repo>> {
        lock(&self.repos).iter().find(|r| r.id.eq_ignore_ascii_case(id)).cloned()
    }

    fn repos(&self) -> Vec<Arc<Repo>> {
        lock(&self.repos).clone()
    }

    fn put(&self, repo: Repo) {
        let mut repos = lock(&self.repos);
        repos.retain(|r| r.id != repo.id);
        repos.push(Arc::new(repo));
    }

    fn push(&self, id: &str, files: impl FnOnce(&[File]) -> Vec<File>) -> Option<String> {
        let mut repos = lock(&self.repos);
        let place = repos.iter_mut().find(|r| r.id == id)?;
        let mut repo = Repo::clone(place);
        let files = files(repo.head().map_or(&[], |c| &c.files));
        repo.push(files);
        let commit = repo.head()?.id.clone();
        *place = Arc::new(repo);
        Some(commit)
    }

    fn accept(&self, token: &str, repo: &str) {
        for account in lock(&self.accounts).iter_mut().filter(|a| a.token.is(token)) {
            account.accepted.insert(repo.to_owned());
        }
    }

    fn strike(&self, asked: &trouble::Asked<'_>, wanted: impl Fn(&Trouble) -> bool) -> Vec<Trouble> {
        lock(&self.troubles).strike(asked, usize::MAX, wanted)
    }

    /// The first of them; the others are not used up.
    fn strike_one(&self, asked: &trouble::Asked<'_>, wanted: impl Fn(&Trouble) -> bool) -> Option<Trouble> {
        lock(&self.troubles).strike(asked, 1, wanted).pop()
    }
}
