//! What was looked at before, as long as there is room for it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use models::remote::Looked;

/// Files of all that is remembered together; a repository of a model has a few dozen.
const MOST_FILES: usize = 150_000;
const MOST_MODELS: usize = 300;

#[derive(PartialEq, Eq)]
struct Key {
    endpoint: String,
    /// A token may show what is hidden without it.
    with_token: bool,
    repo: String,
    commit: String,
}

/// Lives as long as the controller; nothing of it is written down.
#[derive(Default)]
pub(crate) struct Memory {
    /// What was used last stands at the end.
    kept: Mutex<VecDeque<(Key, Arc<Looked>)>>,
}

impl Memory {
    pub(super) fn get(
        &self,
        endpoint: &str,
        with_token: bool,
        repo: &str,
        commit: &str,
    ) -> Option<Arc<Looked>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(key, _)| {
            key.commit == commit
                && key.repo == repo
                && key.with_token == with_token
                && key.endpoint == endpoint
        })?;
        let found = kept.remove(place)?;
        let looked = Arc::clone(&found.1);
        kept.push_back(found);
        Some(looked)
    }

    /// What a licence or the network kept from being read is not remembered: it may be there the next time.
    pub(super) fn keep(&self, endpoint: &str, with_token: bool, looked: &Arc<Looked>) {
        if looked.problem.is_some() {
            return;
        }
        let key = Key {
            endpoint: endpoint.to_owned(),
            with_token,
            repo: looked.info.about.repo.clone(),
            commit: looked.info.commit.clone(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != key);
        kept.push_back((key, Arc::clone(looked)));
        // Each variant lists its files once more.
        let weight =
            |l: &Looked| l.tree.files.len() + l.variants.iter().map(|v| v.variant.files.len()).sum::<usize>();
        let mut all: usize = kept.iter().map(|(_, l)| weight(l)).sum();
        while all > MOST_FILES || kept.len() > MOST_MODELS {
            let Some((_, oldest)) = kept.pop_front() else { break };
            all -= weight(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use models::hub::{About, Hash, RepoFile, RepoInfo, Tree};

    use super::*;

    fn looked(repo: &str, files: usize) -> Arc<Looked> {
        let file = |n: usize| RepoFile { path: n.to_string(), size: 1, hash: Hash::Git("a".repeat(40)) };
        Arc::new(Looked {
            info: RepoInfo {
                commit: "c".to_owned(),
                about: About { repo: repo.to_owned(), ..About::default() },
            },
            tree: Tree { files: (0..files).map(file).collect(), refused: Vec::new() },
            variants: Vec::new(),
            problem: None,
        })
    }

    #[test]
    fn what_was_used_last_stays_and_the_rest_goes() {
        let memory = Memory::default();
        let has = |repo: &str| memory.get("e", false, repo, "c").is_some();
        for n in 0..MOST_MODELS + 5 {
            memory.keep("e", false, &looked(&n.to_string(), 1));
            assert!(has("0"), "it is used again and again");
        }
        assert!(!has("1") && !has("5") && has("6"));
        memory.keep("e", false, &looked("large", MOST_FILES - 1));
        assert!(has("large") && !has("0"));
        memory.keep("e", false, &looked("larger", MOST_FILES + 1));
        assert!(!has("larger") && !has("large"));
        memory.keep("e", true, &looked("mine", 1));
        assert!(!has("mine") && memory.get("e", true, "mine", "c").is_some());
    }
}
