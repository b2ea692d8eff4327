//! Repositories as their owners made them: files at commits, who may see them, what their cards say.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::content::{Content, Hashes, id_of};

/// One file at a commit.
#[derive(Debug, Clone)]
pub struct File {
    /// As the Hub says it; nothing checks it here, because clients must.
    pub path: String,
    pub content: Content,
    /// Large files are kept apart (LFS): served by the CDN, known by their SHA-256.
    pub lfs: bool,
    hashes: Hashes,
}

/// Files with these endings are kept apart whatever their size, as `.gitattributes` has it on the Hub.
const LARGE: [&str; 8] = [".safetensors", ".gguf", ".bin", ".pt", ".pth", ".h5", ".onnx", ".model"];
/// Other files are, from this size on.
const LARGE_FROM: u64 = 10 << 20;

impl File {
    pub fn new(path: impl Into<String>, content: Content) -> Self {
        let path = path.into();
        let lfs = LARGE.iter().any(|e| path.ends_with(e)) || content.size() >= LARGE_FROM;
        Self { path, content, lfs, hashes: Hashes::default() }
    }

    /// A file of any size whose SHA-256 is only claimed: for lists, not for fetching.
    pub fn claimed(path: impl Into<String>, size: u64) -> Self {
        let path = path.into();
        let hash = super::content::hex(&sha2_of(&path));
        let content = Content::Seeded { size, seed: size };
        Self { path, content, lfs: true, hashes: Hashes::claimed(hash) }
    }

    pub fn sha256(&self) -> &str {
        self.hashes.sha256(&self.content)
    }

    /// The git hash: of the content, or of the pointer that stands for it.
    pub(crate) fn oid(&self) -> String {
        if self.lfs { Content::text(self.pointer()).git() } else { self.hashes.git(&self.content).to_owned() }
    }

    /// What its blob is called in a cache, and its ETag without quotes.
    pub fn etag(&self) -> String {
        if self.lfs { self.sha256().to_owned() } else { self.oid() }
    }

    fn pointer(&self) -> String {
        format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n",
            self.sha256(),
            self.content.size()
        )
    }

    pub(crate) fn pointer_size(&self) -> usize {
        self.pointer().len()
    }
}

fn sha2_of(text: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(text.as_bytes()).into()
}

/// Who gets a repository's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    #[default]
    Open,
    /// Whoever accepted the licence.
    Auto,
    /// Whom the publisher let in.
    Manual,
    /// Members alone; for others it does not exist.
    Private,
    /// Taken down.
    Disabled,
}

/// One state of a repository.
#[derive(Debug, Clone)]
pub struct Commit {
    /// 40 hexadecimal digits.
    pub id: String,
    pub files: Vec<File>,
}

#[derive(Debug, Clone)]
pub struct Repo {
    /// "owner/name".
    pub id: String,
    /// The newest last; that is `main`.
    pub commits: Vec<Commit>,
    pub access: Access,
    /// What the front matter of its card says: `license`, `base_model`, …
    pub card: Value,
    pub tags: Vec<String>,
    pub pipeline: String,
    pub library: String,
    pub downloads: u64,
    pub likes: u64,
    pub trending: u64,
    /// RFC 3339, with milliseconds as the Hub has it.
    pub modified: String,
    pub created: String,
    /// The parts of config.json that the Hub shows.
    pub config: Option<Value>,
    /// Elements by type: `{"parameters": {"BF16": 8030261248}, "total": 8030261248}`.
    pub safetensors: Option<Value>,
    /// `{"total": …, "architecture": …, "context_length": …}`.
    pub gguf: Option<Value>,
}

impl Repo {
    pub fn new(id: impl Into<String>, files: Vec<File>) -> Self {
        let id = id.into();
        let mut repo = Self {
            id,
            commits: Vec::new(),
            access: Access::Open,
            card: json!({}),
            tags: Vec::new(),
            pipeline: "text-generation".to_owned(),
            library: "transformers".to_owned(),
            downloads: 1000,
            likes: 10,
            trending: 1,
            modified: "2026-03-14T09:26:53.000Z".to_owned(),
            created: "2025-01-02T03:04:05.000Z".to_owned(),
            config: None,
            safetensors: None,
            gguf: None,
        };
        repo.push(files);
        repo
    }

    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    #[must_use]
    pub fn with_licence(mut self, licence: &str) -> Self {
        self.card["license"] = json!(licence);
        self.tags.push(format!("license:{licence}"));
        self
    }

    /// A new commit with these files, which `main` is from then on. Its id follows from what it holds.
    pub fn push(&mut self, files: Vec<File>) {
        let mut said = format!("{} {}", self.id, self.commits.len());
        for file in &files {
            said.extend(["\0", &file.path, "\0", &file.content.size().to_string()]);
        }
        self.commits.push(Commit { id: id_of(&said), files });
    }

    /// What `main` is.
    pub fn head(&self) -> Option<&Commit> {
        self.commits.last()
    }

    pub(crate) fn at(&self, revision: &str) -> Option<&Commit> {
        match revision {
            "main" | "refs/heads/main" | "HEAD" => self.head(),
            other => self.commits.iter().find(|c| c.id == other),
        }
    }

    pub(crate) fn author(&self) -> &str {
        self.id.split_once('/').map_or(self.id.as_str(), |(author, _)| author)
    }

    pub(crate) fn gated(&self) -> Value {
        match self.access {
            Access::Auto => json!("auto"),
            Access::Manual => json!("manual"),
            _ => json!(false),
        }
    }
}

impl Commit {
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }

    /// The bytes of all its files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|f| f.content.size()).sum()
    }

    /// Every folder that a file lies in.
    pub(crate) fn folders(&self) -> BTreeSet<String> {
        let mut folders = BTreeSet::new();
        for file in &self.files {
            let mut path = file.path.as_str();
            while let Some((folder, _)) = path.rsplit_once('/') {
                folders.insert(folder.to_owned());
                path = folder;
            }
        }
        folders
    }
}

/// A token, and what its account may see.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub token: domain::secret::Secret,
    pub user: String,
    /// "read", "write", "fineGrained".
    pub role: String,
    /// Gated repositories that it was let into.
    pub accepted: BTreeSet<String>,
    /// Private repositories that it is a member of.
    pub member_of: BTreeSet<String>,
}
