//! `stack.toml`: read, checked, and every problem given with file, line and what to write.
//!
//! Three looks, each of which ends the reading if it finds something: the syntax, the shape (`shape`), the meaning
//! (`domain::stack::resolve`). Deliberately absent: watching the file, and what to do with the last good stack.

pub mod edit;
mod keys;
pub mod presets;
mod schema;
mod shape;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use domain::Bytes;
use domain::estimate::ModelFacts;
use domain::stack::raw::{RawAgent, RawStack};
use domain::stack::{Facts, Gpu, Problem, Stack, resolve};
use toml_edit::{Document, Item, TableLike};

use crate::{atomic, identity};

pub use schema::json_schema;
pub use share::{Shareable, shareable};

/// A stack file has a few kilobytes; what is larger than this is something else by mistake.
const LARGEST: u64 = 4 << 20;

/// The stack file as it was found.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub file: PathBuf,
    pub stack: Result<Stack, Vec<FileProblem>>,
    /// The text as it is; the shipped one where there is no file.
    pub text: String,
    /// Whether the file exists.
    pub saved: bool,
    /// Of the text: equal texts, equal hashes.
    pub hash: String,
}

/// Something wrong in the file, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    pub file: PathBuf,
    /// 1-based; none where the file as a whole is meant.
    pub line: Option<u32>,
    pub message: String,
    pub next: String,
}

impl std::fmt::Display for FileProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {} {}", self.message, self.next)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error("{} exists already. It was left as it is; edit it, or move it away first.", .0.display())]
    Exists(PathBuf),
    #[error("{} cannot be written: {cause}. Check that its folder is yours and has room.", path.display())]
    Io { path: PathBuf, cause: io::Error },
}

/// Reads and checks the stack file. Without one it is the shipped stack, in the size that `scale` asks for
/// ([`Facts::scale`]): 1 for a real machine, 1024 for a rehearsal.
pub fn load(path: &Path, scale: u64) -> Loaded {
    load_on(path, scale, &None)
}

/// As [`load`]; what is known to go wrong on `gpu` is among the stack's notes.
pub fn load_on(path: &Path, scale: u64, around: &dyn Surroundings) -> Loaded {
    let (text, saved) = match read(path) {
        Ok(Some(text)) => (text, true),
        Ok(None) => (shipped_text(scale), false),
        Err((message, next)) => {
            let problem = FileProblem { file: path.to_path_buf(), line: None, message, next };
            return Loaded {
                file: path.to_path_buf(),
                stack: Err(vec![problem]),
                text: String::new(),
                saved: true,
                hash: identity::hash(b""),
            };
        }
    };
    Loaded {
        file: path.to_path_buf(),
        stack: check_on(path, &text, scale, around),
        hash: identity::hash(text.as_bytes()),
        text,
        saved,
    }
}

/// What is known of the machine that a stack is for.
pub trait Surroundings {
    /// The GPU, where it is one of which is known what works on it.
    fn gpu(&self) -> Option<Gpu>;

    /// What a model's own files say, at a revision, without the network; nothing where they are not here.
    fn model(&self, model: &str, revision: Option<&str>) -> Option<ModelFacts>;
}

/// Nothing but the GPU.
impl Surroundings for Option<Gpu> {
    fn gpu(&self) -> Option<Gpu> {
        *self
    }

    fn model(&self, _: &str, _: Option<&str>) -> Option<ModelFacts> {
        None
    }
}

/// The shipped stack's text for a real machine (scale 1) or a rehearsal.
pub fn shipped_text(scale: u64) -> String {
    if scale > 1 { presets::rehearsal_text() } else { presets::NORSE.to_owned() }
}

/// Checks a text as the content of `file`, which need not exist: for an editor that has not saved yet.
pub fn check(file: &Path, text: &str, scale: u64) -> Result<Stack, Vec<FileProblem>> {
    check_on(file, text, scale, &None)
}

/// As [`check`]; what is known to go wrong on `gpu` is among the stack's notes.
pub fn check_on(
    file: &Path,
    text: &str,
    scale: u64,
    around: &dyn Surroundings,
) -> Result<Stack, Vec<FileProblem>> {
    let at = |span: Option<Range<usize>>, message: String, next: String| FileProblem {
        file: file.to_path_buf(),
        line: span.map(|s| line_of(text, s.start)),
        message,
        next,
    };
    let document = Document::parse(text).map_err(|error| {
        let said = error.message().lines().collect::<Vec<_>>().join("; ");
        vec![at(
            error.span(),
            format!("This is not TOML: {said}."),
            "Correct this line; texts stand in quotes, lists in [ ], and each table begins with its [name]."
                .to_owned(),
        )]
    })?;
    let root: &dyn TableLike = document.as_table();
    let findings = shape::check(root);
    if !findings.is_empty() {
        return Err(findings.into_iter().map(|f| at(f.span, f.message, f.next)).collect());
    }
    // The shape was checked above with better sentences; this catches what the table there does not know.
    let raw: RawStack = toml_edit::de::from_str(text).map_err(|error| {
        vec![at(
            error.span(),
            format!("{}.", error.message().trim_end_matches('.')),
            "Correct this line; `asgard config schema` describes every key.".to_owned(),
        )]
    })?;
    let facts = Facts {
        file_sizes: file_sizes(&raw),
        // On the small machine of a rehearsal nothing is as large as its model's files say.
        models: if scale > 1 { BTreeMap::new() } else { models(&raw, around) },
        scale,
        gpu: around.gpu(),
    };
    resolve(&raw, &facts).map_err(|problems| {
        let mut found: Vec<FileProblem> = problems
            .into_iter()
            .map(|Problem { path, message, next }| at(span_of(root, &path), message, next))
            .collect();
        found.sort_by_key(|p| p.line.unwrap_or(u32::MAX));
        found
    })
}

/// Writes the shipped stack, only if there is no file.
pub fn save_shipped(path: &Path, scale: u64) -> Result<(), SaveError> {
    let failed = |cause: io::Error| match cause.kind() {
        io::ErrorKind::AlreadyExists => SaveError::Exists(path.to_path_buf()),
        _ => SaveError::Io { path: path.to_path_buf(), cause },
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|cause| SaveError::Io { path: path.to_path_buf(), cause })?;
    }
    atomic::write_new(path, shipped_text(scale).as_bytes(), 0o644).map_err(failed)
}

/// Puts `text` in the place of the stack file, whole or not at all. What was there is kept beside it as
/// `stack.toml.before-STAMP`, and no earlier kept file is ever written over; the answer is its path, and none where
/// there was no file or where it said the same already.
///
/// # Errors
/// The folder or the file cannot be written; then what was there is still there.
pub fn replace(path: &Path, text: &str, stamp: &str) -> Result<Option<PathBuf>, SaveError> {
    let failed = |cause: io::Error| SaveError::Io { path: path.to_path_buf(), cause };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let before = match fs::read(path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    if before.as_deref() == Some(text.as_bytes()) {
        return Ok(None);
    }
    let kept = before.map(|bytes| keep(path, &bytes, stamp)).transpose().map_err(failed)?;
    atomic::write(path, text.as_bytes(), 0o644).map_err(failed)?;
    Ok(kept)
}

/// Writes a copy, not the file under a new name: a reader finds a stack file at every instant.
fn keep(path: &Path, bytes: &[u8], stamp: &str) -> io::Result<PathBuf> {
    // A stamp is a time of day at best; what else it holds must not lead out of the folder.
    let stamp: String =
        stamp.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let word = format!("before-{stamp}");
    let mut kept = atomic::free_name(path, &word);
    while let Err(error) = atomic::write_new(&kept, bytes, 0o644) {
        let next = atomic::free_name(path, &word);
        // Somebody kept another in the meantime: then the next name, while there is one.
        if error.kind() != io::ErrorKind::AlreadyExists || next == kept {
            return Err(error);
        }
        kept = next;
    }
    Ok(kept)
}

/// The text, or that there is no file, or what is wrong with it and what to do.
fn read(path: &Path) -> Result<Option<String>, (String, String)> {
    let unreadable = |cause: &dyn std::fmt::Display| {
        (format!("The file cannot be read: {cause}."), "Check who owns it, or move it away.".to_owned())
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    if !metadata.is_file() {
        return Err(unreadable(&"it is not a plain file"));
    }
    if metadata.len() > LARGEST {
        return Err(unreadable(&"it is far too large for a stack file"));
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count()
                + 1;
        (format!("Line {line} is not UTF-8 text."), "Save the file as UTF-8.".to_owned())
    })
}

fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count();
    u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
}

/// Where a path of keys is written. What is missing from the file is shown at the table it is missing from.
fn span_of(root: &dyn TableLike, path: &[String]) -> Option<Range<usize>> {
    let mut span = None;
    let mut table = Some(root);
    let mut item: Option<&Item> = None;
    for segment in path {
        if let Some(found) = table.and_then(|t| t.get_key_value(segment)) {
            span = found.0.span().or(span);
            item = Some(found.1);
            table = found.1.as_table_like();
        } else if let Some(element) = segment.parse().ok().and_then(|n: usize| item?.as_array()?.get(n)) {
            // Below a list there is nothing to name but its element; the first level is near enough.
            return element.span().or(span);
        } else {
            break;
        }
    }
    span
}

/// What the models' own files say, where they are here.
fn models(raw: &RawStack, around: &dyn Surroundings) -> BTreeMap<String, ModelFacts> {
    let named = raw.agents.0.iter().flat_map(|(_, agent)| {
        let model = agent.model.as_deref().map(|m| (m, agent.revision.as_deref()));
        [model, agent.draft_model.as_deref().map(|m| (m, None))]
    });
    named.flatten().filter_map(|(m, revision)| Some((m.to_owned(), around.model(m, revision)?))).collect()
}

/// Sizes on the disk of models that are files. One that is not there is left out: that is found before a start, with
/// better words, and the file may arrive later.
fn file_sizes(raw: &RawStack) -> BTreeMap<String, Bytes> {
    let named = |agent: &RawAgent| [agent.model.clone(), agent.draft_model.clone()];
    raw.agents
        .0
        .iter()
        .flat_map(|(_, agent)| named(agent))
        .flatten()
        .filter(|name| Path::new(name).is_absolute() && name.to_ascii_lowercase().ends_with(".gguf"))
        .filter_map(|name| Some((size_of(&name)?, name)))
        .map(|(size, name)| (name, size))
        .collect()
}

/// Of a model that is split ("-00001-of-00003.gguf") all the parts.
fn size_of(name: &str) -> Option<Bytes> {
    let length = |path: &str| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| Bytes(m.len()));
    match split_name(name) {
        Some((stem, parts)) => (1..=parts)
            .map(|part| length(&format!("{stem}-{part:05}-of-{parts:05}.gguf")))
            .sum::<Option<Bytes>>(),
        None => length(name),
    }
}

fn split_name(name: &str) -> Option<(&str, u32)> {
    let (rest, parts) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, first) = rest.rsplit_once('-')?;
    let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
    (number(first)? == 1).then_some(())?;
    Some((stem, number(parts).filter(|n| *n > 0)?))
}
