//! What the rehearsal's Hub has: the models of the shipped stacks and some more, in megabytes for gigabytes.
//!
//! A file has 1/1024 of the real one's bytes, and a token of KV cache takes 1/1024 of the real one, by fewer layers or
//! heads of one element; every other figure of a configuration is the real model's. So every sum is the same as on a
//! machine of 128 GB, in the smaller unit. Sizes: lists of the real repositories' files, to three digits.

mod families;
mod gguf;
mod weighted;

use super::repo::{Access, File, Repo};
use super::{Content, Hub};

/// What is smaller here, and how much: MB for GB.
const SCALE: u64 = 1024;

/// The token that the rehearsal's Hub knows. It opens gated models once their licence was accepted with it, and the
/// private one.
pub const TOKEN: &str = "hf_rehearsal";

/// A Hub with the rehearsal's models, not started yet.
pub fn catalogue() -> Hub {
    let mut repos = weighted::repos();
    repos.extend(gguf::repos());
    // In the order of the lists above, which put what people fetch most first.
    let count = repos.len() as u64;
    for (n, repo) in (0_u64..).zip(&mut repos) {
        repo.trending = count - n;
    }
    let mut hub = Hub::new(repos).with_account(TOKEN, "rehearsal");
    for account in &mut hub.accounts {
        account
            .member_of
            .extend(hub.repos.iter().filter(|r| r.access == Access::Private).map(|r| r.id.clone()));
    }
    hub
}

/// What is said of a repository beside its weights.
#[derive(Debug, Clone, Copy)]
struct About {
    id: &'static str,
    /// "apache-2.0"; what the Hub calls "other" has its own name after a colon.
    licence: &'static str,
    base: &'static str,
    downloads: u64,
    likes: u64,
    modified: &'static str,
    access: Access,
}

impl About {
    const fn new(id: &'static str, licence: &'static str, base: &'static str) -> Self {
        Self { id, licence, base, downloads: 10_000, likes: 50, modified: "2025-01-12", access: Access::Open }
    }

    const fn seen(mut self, downloads: u64, likes: u64, modified: &'static str) -> Self {
        self.downloads = downloads;
        self.likes = likes;
        self.modified = modified;
        self
    }

    const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    fn repo(&self, mut files: Vec<File>, tags: &[&str]) -> Repo {
        files.insert(0, File::new("README.md", Content::text(self.readme())));
        files.insert(0, File::new(".gitattributes", Content::text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.gguf filter=lfs diff=lfs merge=lfs -text\n")));
        let (licence, name) = self.licence.split_once(':').unwrap_or((self.licence, ""));
        let mut repo = Repo::new(self.id, files).with_access(self.access).with_licence(licence);
        if !name.is_empty() {
            repo.card["license_name"] = name.into();
        }
        repo.card["language"] = serde_json::json!(["en"]);
        if !self.base.is_empty() {
            repo.card["base_model"] = self.base.into();
            repo.tags.push(format!("base_model:{}", self.base));
        }
        repo.tags.extend(tags.iter().map(|t| (*t).to_owned()));
        repo.tags.push("conversational".to_owned());
        repo.downloads = self.downloads;
        repo.likes = self.likes;
        repo.modified = format!("{}T10:11:12.000Z", self.modified);
        "2024-09-17T12:00:00.000Z".clone_into(&mut repo.created);
        repo
    }

    fn readme(&self) -> String {
        let name = self.id.rsplit('/').next().unwrap_or(self.id);
        let (licence, named) = self.licence.split_once(':').unwrap_or((self.licence, ""));
        let named = if named.is_empty() { String::new() } else { format!("license_name: {named}\n") };
        let base = if self.base.is_empty() { String::new() } else { format!("base_model: {}\n", self.base) };
        format!(
            "---\nlicense: {licence}\n{named}{base}pipeline_tag: text-generation\n---\n# {name}\n\n\
             This is the rehearsal's stand-in for `{}`. Its files have the real ones' form and a thousandth of their \
             size; no model is in them.\n\n## Use\n\n```\nasgard models pull {}\n```\n",
            self.id, self.id
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_model_of_the_shipped_stacks_is_here_in_its_size() {
        let hub = catalogue();
        for known in domain::catalog::all() {
            let (id, file) = match known.id.split('/').collect::<Vec<_>>()[..] {
                [owner, name] => (format!("{owner}/{name}"), None),
                [owner, name, file] => (format!("{owner}/{name}"), Some(file)),
                _ => panic!("{}", known.id),
            };
            let repo = hub.repos.iter().find(|r| r.id == id).unwrap_or_else(|| panic!("{id} is not here"));
            let weights: u64 = repo
                .head()
                .unwrap()
                .files
                .iter()
                .filter(|f| file.map_or(f.path.ends_with(".safetensors"), |name| f.path == name))
                .map(|f| f.content.size())
                .sum();
            let wanted = known.weights.0 as f64 / SCALE as f64;
            assert!((weights as f64 / wanted - 1.0).abs() < 0.02, "{}: {weights} for {wanted}", known.id);
        }
    }
}
