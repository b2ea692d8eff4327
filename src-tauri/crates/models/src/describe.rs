//! What a model is, from whatever one has of it: a file, a folder, a list of files, or its name on the Hub.
//!
//! Never the network: a name is looked up in the cache, then among the models that the shipped stacks name.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use domain::Bytes;
use domain::catalog::known_model;
use domain::estimate::{ModelFacts, Weights};
use domain::stack::HubFile;

use crate::cache::Presence;
use crate::{cache, config, gguf, safetensors};

/// A model, and where it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Described {
    /// "Qwen/Qwen2.5-14B-Instruct-AWQ", or the name of the file or folder.
    pub name: String,
    pub facts: ModelFacts,
    /// "from its config.json and 3 files of weights"
    pub source: String,
    /// Whether llama.cpp serves it.
    pub is_gguf: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescribeError {
    #[error("{0} is neither a file or folder here nor a model in the cache.")]
    Unknown(String),
    #[error("{path}: {why}")]
    Read { path: String, why: String },
}

impl DescribeError {
    /// What to do about it; empty where the message says it.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Unknown(_) => {
                "Give a config.json, a folder with one, a .gguf file, or fetch the model first."
            }
            Self::Read { .. } => "",
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it takes errors and texts alike")]
fn unreadable(path: &Path, why: impl ToString) -> DescribeError {
    DescribeError::Read { path: path.display().to_string(), why: why.to_string() }
}

/// Describes what `source` names. `hub` is the cache's `hub` folder.
///
/// # Errors
/// What is not there, cannot be read, or is damaged; each says what to do.
pub fn describe(source: &str, hub: &Path, revision: Option<&str>) -> Result<Described, DescribeError> {
    let path = Path::new(source);
    if path.is_dir() {
        return folder(path, &name_of(path));
    }
    if path.is_file() {
        return file(path);
    }
    named(source, hub, revision)
}

/// What is known of an agent's model without the network, cheaply; nothing where it is not here.
pub fn facts_of(hub: &Path, model: &str, revision: Option<&str>) -> Option<ModelFacts> {
    let path = Path::new(model);
    if path.is_absolute() && path.is_file() && is_gguf(path) {
        return gguf_file(path).ok().map(|d| d.facts);
    }
    if let Some(of) = HubFile::parse(model) {
        return gguf_file(&cache::gguf_path(hub, &of.repo, &of.file, revision)?).ok().map(|d| d.facts);
    }
    match cache::has_model(hub, model, revision) {
        Presence::Complete { snapshot } => folder(&snapshot, model).ok().map(|d| d.facts),
        Presence::Incomplete { .. } | Presence::Absent => None,
    }
}

fn name_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

fn is_gguf(path: &Path) -> bool {
    has_ending(path, "gguf")
}

fn small(path: &Path, most: usize) -> Result<Vec<u8>, DescribeError> {
    let file = File::open(path).map_err(|e| unreadable(path, format!("It cannot be read: {e}.")))?;
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that the reader of the format can say that it is too large.
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| unreadable(path, format!("It cannot be read: {e}.")))?;
    Ok(bytes)
}

fn file(path: &Path) -> Result<Described, DescribeError> {
    if is_gguf(path) {
        return gguf_file(path);
    }
    if has_ending(path, "safetensors") {
        return one_safetensors(path);
    }
    if path.file_name().is_some_and(|n| n.to_string_lossy().ends_with(".index.json")) {
        let total = safetensors::index_total(&small(path, safetensors::MOST_LIST)?)
            .map_err(|e| unreadable(path, e))?;
        return beside_config(path, total, "its index");
    }
    let bytes = small(path, config::MOST_BYTES)?;
    let wrong = match config::read(&bytes) {
        Ok(facts) => return Ok(with_config(path, facts)),
        Err(wrong) => wrong,
    };
    if let Ok(files) = safetensors::file_list(&bytes)
        && let Some(total) = safetensors::weights(&files)
    {
        return beside_config(path, total, "a list of its files");
    }
    Err(unreadable(path, wrong))
}

/// A config.json, and the weights beside it where they are.
fn with_config(path: &Path, facts: ModelFacts) -> Described {
    let name = path.parent().map(name_of).filter(|n| !n.is_empty() && n != "/");
    let mut described = Described {
        name: name.unwrap_or_else(|| name_of(path)),
        facts,
        source: "its config.json".to_owned(),
        is_gguf: false,
    };
    if path.file_name().is_some_and(|n| n == "config.json")
        && let Some(folder) = path.parent()
        && let Some((bytes, count)) = weights_in(folder)
    {
        described.facts.weights = Weights::Exact(bytes);
        described.source = words(count);
    }
    described
}

fn words(files: usize) -> String {
    match files {
        1 => "its config.json and its file of weights".to_owned(),
        n => format!("its config.json and {n} files of weights"),
    }
}

/// Weights that are known to the byte, and the config.json beside them where there is one.
fn beside_config(path: &Path, weights: Bytes, from: &str) -> Result<Described, DescribeError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let config_file = folder.join("config.json");
    let (mut facts, source) = if config_file.is_file() {
        let facts = config::read(&small(&config_file, config::MOST_BYTES)?)
            .map_err(|e| unreadable(&config_file, e))?;
        (facts, format!("{from} and the config.json beside it"))
    } else {
        let note = "There is no config.json beside it: the KV cache is not known.".to_owned();
        (ModelFacts { bounded: true, notes: vec![note], ..ModelFacts::default() }, from.to_owned())
    };
    facts.weights = Weights::Exact(weights);
    Ok(Described { name: name_of(path), facts, source, is_gguf: false })
}

fn one_safetensors(path: &Path) -> Result<Described, DescribeError> {
    let opened = File::open(path).map_err(|e| unreadable(path, format!("It cannot be read: {e}.")))?;
    let size = opened.metadata().ok().map(|m| m.len());
    let header = safetensors::read(&mut BufReader::new(opened), size).map_err(|e| unreadable(path, e))?;
    if name_of(path).contains("-of-") {
        // One part says nothing of the others: the folder has to.
        let whole = weights_in(path.parent().unwrap_or(Path::new(".")));
        let bytes = whole.map_or(Bytes::ZERO, |(bytes, _)| bytes);
        let mut described = beside_config(path, bytes, "its parts")?;
        if whole.is_none() {
            described.facts.weights = Weights::Unknown { bound: None };
            described.facts.bounded = true;
            let note =
                "Not all parts of the model are beside this one: the weights are not known. Fetch the rest.";
            described.facts.notes.push(note.to_owned());
        }
        return Ok(described);
    }
    beside_config(path, header.bytes(), "the header of its weights")
}

fn gguf_file(path: &Path) -> Result<Described, DescribeError> {
    let read = |path: &Path| {
        let opened = File::open(path).map_err(|e| unreadable(path, format!("It cannot be read: {e}.")))?;
        gguf::read(&mut BufReader::with_capacity(1 << 18, opened)).map_err(|e| unreadable(path, e))
    };
    let header = read(path)?;
    let mut others = Vec::new();
    let mut missing = Vec::new();
    for part in other_parts(path, &header) {
        if part.is_file() { others.push(read(&part)?) } else { missing.push(name_of(&part)) }
    }
    let mut facts = gguf::facts(&header, &others);
    if let Some(first) = missing.first() {
        facts.weights = Weights::Unknown { bound: None };
        facts.notes.push(format!(
            "{} of its parts are not here, the first of them {first}: the weights are not known.",
            missing.len()
        ));
    }
    let source = match others.len() {
        0 => "the header of its GGUF file".to_owned(),
        n => format!("the headers of its {} GGUF files", n + 1),
    };
    Ok(Described { name: name_of(path), facts, source, is_gguf: true })
}

/// The other parts of a split model, by the first part's name and what its header says.
fn other_parts(path: &Path, header: &gguf::Header) -> Vec<PathBuf> {
    let count = header.number("split.count").unwrap_or(0);
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = || {
        let (rest, of) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let (number, of): (u64, u64) = (number.parse().ok()?, of.parse().ok()?);
        (of == count && (2..=999).contains(&count)).then(|| (stem.to_owned(), number))
    };
    let Some((stem, own)) = stem() else { return Vec::new() };
    (1..=count)
        .filter(|n| *n != own)
        .map(|n| path.with_file_name(format!("{stem}-{n:05}-of-{count:05}.gguf")))
        .collect()
}

fn folder(path: &Path, name: &str) -> Result<Described, DescribeError> {
    let config_file = path.join("config.json");
    if config_file.is_file() {
        let mut facts = config::read(&small(&config_file, config::MOST_BYTES)?)
            .map_err(|e| unreadable(&config_file, e))?;
        let mut source = "its config.json".to_owned();
        if let Some((bytes, count)) = weights_in(path) {
            facts.weights = Weights::Exact(bytes);
            source = words(count);
        }
        return Ok(Described { name: name.to_owned(), facts, source, is_gguf: false });
    }
    let mut ggufs: Vec<PathBuf> =
        entries(path).into_iter().filter(|p| is_gguf(p) && !is_projector(p)).collect();
    ggufs.sort();
    let firsts: Vec<&PathBuf> = ggufs.iter().filter(|p| is_first(p)).collect();
    match firsts.as_slice() {
        [one] => gguf_file(one).map(|d| Described { name: name.to_owned(), ..d }),
        [] => Err(unreadable(
            path,
            "There is neither a config.json nor a .gguf file in it. Give the folder of one model.",
        )),
        several => Err(unreadable(
            path,
            format!(
                "There are {} models in it, the first of them {}. Give one of the files.",
                several.len(),
                name_of(several[0])
            ),
        )),
    }
}

/// A part behind the first is no model of its own.
fn is_first(path: &Path) -> bool {
    let name = name_of(path);
    !name.contains("-of-") || name.contains("-00001-of-")
}

/// The eyes of a model, which come in a file of their own.
fn is_projector(path: &Path) -> bool {
    path.file_name().is_some_and(|n| n.to_string_lossy().to_ascii_lowercase().contains("mmproj"))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().take(100_000).map(|e| e.path()).collect()
}

/// The bytes of the weights in a folder and how many files they are, where all of them are there.
fn weights_in(folder: &Path) -> Option<(Bytes, usize)> {
    let files: Vec<safetensors::File> = entries(folder)
        .into_iter()
        .filter_map(|path| {
            let meta = fs::metadata(&path).ok()?;
            let name = path.file_name()?.to_string_lossy().into_owned();
            meta.is_file().then_some(safetensors::File { path: name, size: Some(meta.len()) })
        })
        .collect();
    let weights = safetensors::weights(&files).filter(|bytes| *bytes > Bytes::ZERO)?;
    let count = files.iter().filter(|f| has_ending(Path::new(&f.path), "safetensors")).count().max(1);
    // The first of several parts says how many there must be.
    let claimed = files.iter().find_map(|f| {
        let (_, rest) = f.path.rsplit_once("-of-")?;
        rest.split('.').next()?.parse::<usize>().ok()
    });
    let parts = files
        .iter()
        .filter(|f| f.path.contains("-of-") && has_ending(Path::new(&f.path), "safetensors"))
        .count();
    claimed.is_none_or(|claimed| parts >= claimed || parts == 0).then_some((weights, count))
}

fn named(source: &str, hub: &Path, revision: Option<&str>) -> Result<Described, DescribeError> {
    if let Some(of) = HubFile::parse(source)
        && let Some(path) = cache::gguf_path(hub, &of.repo, &of.file, revision)
    {
        return gguf_file(&path).map(|d| Described { name: source.to_owned(), ..d });
    }
    if HubFile::parse(source).is_none()
        && let Presence::Complete { snapshot } = cache::has_model(hub, source, revision)
    {
        return folder(&snapshot, source);
    }
    let known = known_model(source).ok_or_else(|| DescribeError::Unknown(shown(source)))?;
    Ok(Described {
        name: known.id.to_owned(),
        facts: known.facts(),
        source: "what Asgard knows of it".to_owned(),
        is_gguf: HubFile::parse(source).is_some(),
    })
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}
