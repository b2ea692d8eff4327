//! What a repository of the Hub holds, without fetching it: its list of files, and of each variant what its config.json
//! or the beginning of one GGUF file says.
//!
//! Few questions on purpose, because the Hub counts them: one for the list, one for the facts. The quantisations of one
//! GGUF repository are one model: layers, heads, context and the count of weights are the same in each header, and a
//! token keeps the same in the cache. What differs is how many bytes the weights take, and that comes from each variant's
//! own files in the list. Types of tensors are read of one file alone, and count as shares of those bytes.

use domain::Bytes;
use domain::estimate::{ModelFacts, Weights};
use domain::stack::BackendKind;

use crate::hub::{About, Hub, HubError, RepoInfo, Tree};
use crate::variants::{ALL, RepoVariant, is_index, variants};
use crate::{config, gguf};

/// The first piece of a GGUF file: what it says of the model stands before the tokenizer's lists, which are the bulk.
const FIRST_PIECE: usize = 256 << 10;
/// No beginning is longer: the largest known have some 20 MB with all of their lists.
const MOST_BEGINNING: usize = 32 << 20;
const MOST_INDEX: usize = 32 << 20;
/// Files of a repository that is looked at: models have a few hundred at most, and each thousand is a question, which the
/// Hub counts. All of a larger one can still be downloaded.
pub const MOST_LOOKED: usize = 10_000;
/// Variants that are described; a repository with more is not one of a model.
const MOST_VARIANTS: usize = 80;

/// A repository, looked at.
#[derive(Debug, Clone)]
pub struct Looked {
    pub info: RepoInfo,
    pub tree: Tree,
    pub variants: Vec<Described>,
    /// Why the facts could not be read though the files are known: most often that a licence was not accepted.
    pub problem: Option<HubError>,
}

/// One variant, and what is known of it.
#[derive(Debug, Clone)]
pub struct Described {
    pub variant: RepoVariant,
    /// None where its files say nothing that is understood, or may not be read.
    pub facts: Option<ModelFacts>,
    /// Weights as a count: all of them, and those that a token goes through.
    pub parameters: Option<u64>,
    pub active_parameters: Option<u64>,
}

impl Hub {
    /// Looks at a repository at the commit that `info` names.
    ///
    /// # Errors
    /// What keeps the list of files from being read. Facts that cannot be read are told in [`Looked::problem`].
    pub async fn look(&self, info: RepoInfo) -> Result<Looked, HubError> {
        let repo = info.about.repo.clone();
        let tree = self.files_up_to(&repo, &info.commit, MOST_LOOKED).await?;
        let index = self.index(&repo, &info.commit, &tree).await;
        let mut found = variants(&repo, &tree, index.as_deref());
        found.truncate(MOST_VARIANTS);
        let mut problem = None;
        let mut read = |result: Result<Option<Facts>, HubError>| match result {
            Ok(facts) => facts,
            Err(error) => {
                problem = Some(error);
                None
            }
        };
        let whole = found.iter().find(|v| v.id == ALL && v.backend.is_some());
        let config = match whole {
            Some(_) => read(self.config(&repo, &info.commit, &tree).await),
            None => None,
        };
        let quantised = found.iter().find(|v| is_gguf(v) && v.refused.is_none());
        let header = match quantised.and_then(|v| v.weights.first()) {
            Some(path) => read(self.beginning(&repo, &info.commit, path, &info.about).await),
            None => None,
        };
        let variants = found
            .into_iter()
            .map(|variant| {
                let from = if is_gguf(&variant) { &header } else { &config };
                described(variant, from.as_ref())
            })
            .collect();
        Ok(Looked { info, tree, variants, problem })
    }

    /// The list of a split model's weights, where the names of the files alone could mislead.
    async fn index(&self, repo: &str, commit: &str, tree: &Tree) -> Option<Vec<u8>> {
        let file = tree.files.iter().find(|f| is_index(&f.path) && f.path.starts_with("model."))?;
        let weights = tree.files.iter().filter(|f| !f.path.contains('/') && f.path.ends_with(".safetensors"));
        let odd =
            weights.into_iter().any(|f| !f.path.contains("-of-") && !f.path.starts_with("consolidated"));
        if !odd {
            return None;
        }
        self.small_file(repo, commit, &file.path, MOST_INDEX).await.ok()
    }

    async fn config(&self, repo: &str, commit: &str, tree: &Tree) -> Result<Option<Facts>, HubError> {
        let name =
            if tree.files.iter().any(|f| f.path == "config.json") { "config.json" } else { return Ok(None) };
        let bytes = self.small_file(repo, commit, name, config::MOST_BYTES).await?;
        Ok(config::read(&bytes).ok().map(|facts| {
            let (parameters, active) = parameters_of(&bytes);
            Facts { of: facts, parameters, active }
        }))
    }

    /// The beginning of a GGUF file, in pieces that grow until what is needed is there.
    async fn beginning(
        &self,
        repo: &str,
        commit: &str,
        path: &str,
        about: &About,
    ) -> Result<Option<Facts>, HubError> {
        let mut bytes = Vec::new();
        let mut piece = FIRST_PIECE;
        loop {
            let more = self.range(repo, commit, path, bytes.len() as u64, piece).await?;
            let ended = more.len() < piece;
            bytes.extend_from_slice(&more);
            let Ok((header, whole)) = gguf::read_beginning(&bytes) else { return Ok(None) };
            if whole || says_enough(&header) {
                return Ok(Some(of_header(&header, whole, about)));
            }
            piece = bytes.len().saturating_mul(3);
            if ended || bytes.len().saturating_add(piece) > MOST_BEGINNING {
                return Ok(None);
            }
        }
    }
}

fn is_gguf(variant: &RepoVariant) -> bool {
    variant.id != ALL
}

struct Facts {
    of: ModelFacts,
    parameters: Option<u64>,
    active: Option<u64>,
}

/// Layers and heads are known, and the tokenizer's part was reached, which stands behind them.
fn says_enough(header: &gguf::Header) -> bool {
    let Some(architecture) = header.text("general.architecture") else { return false };
    let has = |name: &str| header.entries.contains_key(&format!("{architecture}.{name}"));
    has("block_count")
        && has("embedding_length")
        && header.entries.keys().any(|k| k.starts_with("tokenizer.ggml.tokens"))
}

fn of_header(header: &gguf::Header, whole: bool, about: &About) -> Facts {
    let mut facts = gguf::facts(header, &[]);
    let counted: u64 = header.tensors.iter().map(|t| t.elements).fold(0, u64::saturating_add);
    // Of a split model the first part has a part of the tensors alone.
    let split = header.number("split.count").is_some_and(|n| n > 1);
    let own = Some(counted).filter(|n| *n > 0 && whole && !split);
    let told = header.number("general.parameter_count").or(about.gguf.as_ref().and_then(|g| g.parameters));
    let parameters = own.or(told).filter(|n| *n > 0);
    let experts = expert_parameters(header);
    if !whole || split {
        // How the weights divide follows from the shapes that the header tells, as a share of what is counted.
        facts.parts.total = Bytes(parameters.unwrap_or(0));
        facts.parts.experts = Bytes(experts.unwrap_or(0).min(parameters.unwrap_or(0)));
        facts.parts.embedding = Bytes::ZERO;
        facts.parts.towers = Bytes::ZERO;
        facts.parts.prediction = Bytes::ZERO;
        facts.parts.replicated = Bytes::ZERO;
    }
    let active = parameters.and_then(|all| match facts.experts {
        Some(e) => {
            let experts = experts?.min(all);
            let share = u128::from(experts) * u128::from(e.active) / u128::from(e.total.max(1));
            Some(all - experts + u64::try_from(share).unwrap_or(experts))
        }
        None => Some(all),
    });
    Facts { of: facts, parameters, active }
}

/// Three matrices for each expert of each layer.
fn expert_parameters(header: &gguf::Header) -> Option<u64> {
    let architecture = header.text("general.architecture")?;
    let number = |name: &str| header.number(&format!("{architecture}.{name}"));
    let dense = number("leading_dense_block_count").unwrap_or(0);
    let layers = number("block_count")?.saturating_sub(dense);
    let width = number("expert_feed_forward_length").or_else(|| number("feed_forward_length"))?;
    [3, layers, number("embedding_length")?, width, number("expert_count")?]
        .into_iter()
        .try_fold(1_u64, u64::checked_mul)
}

/// Counts of weights that a config.json implies: what it would take in 16 bits, halved.
fn parameters_of(json: &[u8]) -> (Option<u64>, Option<u64>) {
    let plain = || {
        let mut value: serde_json::Value = serde_json::from_slice(json).ok()?;
        strip(&mut value);
        let facts = config::read(&serde_json::to_vec(&value).ok()?).ok()?;
        let all = facts.parts.total.0 / 2;
        let idle = facts.experts.map_or(0, |e| {
            let idle = u64::from(e.total.saturating_sub(e.active));
            facts.parts.experts.share(idle, u64::from(e.total.max(1)).saturating_mul(2)).0
        });
        (all > 0).then_some((all, all.saturating_sub(idle)))
    };
    plain().unzip()
}

/// As if it were not quantised, in 16 bits.
fn strip(value: &mut serde_json::Value) {
    let Some(map) = value.as_object_mut() else { return };
    for key in ["quantization_config", "compression_config"] {
        map.remove(key);
    }
    for key in ["torch_dtype", "dtype"] {
        if map.contains_key(key) {
            map.insert(key.to_owned(), "bfloat16".into());
        }
    }
    for part in ["text_config", "llm_config", "language_config"] {
        if let Some(part) = map.get_mut(part) {
            strip(part);
        }
    }
}

fn described(variant: RepoVariant, from: Option<&Facts>) -> Described {
    let bytes = Bytes(variant.weights_bytes());
    let facts = from.map(|f| {
        let mut facts = f.of.clone();
        // Its own files' sizes, whichever file the header was read of; `parts` stays that one's and counts as shares.
        facts.weights = Weights::Exact(bytes);
        if is_gguf(&variant) {
            facts.quantization = Some(format!("GGUF {}", variant.id));
        }
        facts
    });
    let known = facts.filter(|_| variant.backend != Some(BackendKind::External) && bytes > Bytes::ZERO);
    Described {
        facts: known,
        parameters: from.and_then(|f| f.parameters),
        active_parameters: from.and_then(|f| f.active),
        variant,
    }
}
