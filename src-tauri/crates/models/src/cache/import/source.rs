//! What is to be imported: which files, and whether they are a model.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::layout::{is_repo_path, small_file};
use super::super::presence::{extension, parts_of, verdict};
use super::{ImportError, failed, made_name};

/// More files than any model has.
const MOST: usize = 10_000;
const DEEPEST: u32 = 6;

pub(super) struct Source {
    /// Of the file or folder, without its ending.
    pub(super) name: String,
    pub(super) files: Vec<SourceFile>,
    /// The (first) GGUF file's path in the repository, where the source is one.
    pub(super) gguf: Option<String>,
}

pub(super) struct SourceFile {
    /// With every link followed.
    pub(super) path: PathBuf,
    /// In the repository.
    pub(super) inside: String,
    pub(super) bytes: u64,
}

impl Source {
    pub(super) fn look(hub: &Path, source: &Path) -> Result<Self, ImportError> {
        let path = source.canonicalize().map_err(|_| ImportError::NotThere(source.to_path_buf()))?;
        if hub.canonicalize().is_ok_and(|hub| path.starts_with(&hub) || hub.starts_with(&path)) {
            return Err(ImportError::InCache(path));
        }
        let found = if path.is_dir() { folder(&path)? } else { gguf(source, &path)? };
        let described = crate::describe(&path.to_string_lossy(), hub, None);
        match described {
            // Several GGUF files are several models, each of which can be read for itself.
            Err(_) if path.is_dir() && found.files.iter().any(|f| extension(&f.inside) == "gguf") => {
                Ok(found)
            }
            Err(why) => Err(ImportError::NotAModel { path, why: why.to_string() }),
            Ok(_) => Ok(found),
        }
    }
}

/// A GGUF file, with the other parts of it where it is split.
fn gguf(named: &Path, path: &Path) -> Result<Source, ImportError> {
    let no_model = |why: String| ImportError::NotAModel { path: named.to_path_buf(), why };
    let file_name = |path: &Path| path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
    // The name under which it was chosen: a link may have the better one.
    let name = file_name(named).ok_or_else(|| no_model("its name is not UTF-8.".to_owned()))?;
    if !name.to_ascii_lowercase().ends_with(".gguf") || !path.is_file() {
        return Err(no_model("it is neither a folder nor a GGUF file.".to_owned()));
    }
    let parts = parts_of(&name);
    let names = if parts.is_empty() { vec![name.clone()] } else { parts };
    let mut files = Vec::new();
    for part in &names {
        let beside = if *part == name { path.to_path_buf() } else { named.with_file_name(part) };
        let beside = beside
            .canonicalize()
            .map_err(|_| no_model(format!("{part}, one of its {} parts, is not beside it.", names.len())))?;
        let metadata = fs::metadata(&beside).map_err(|e| failed(&beside, &e))?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(no_model(format!("{part} is empty.")));
        }
        files.push(SourceFile { path: beside, inside: inside_name(part), bytes: metadata.len() });
    }
    let first = files.first().map(|f| f.inside.clone());
    let stem = name.get(..name.len() - ".gguf".len()).unwrap_or(&name);
    let stem = stem.split_once("-00001-of-").map_or(stem, |(stem, _)| stem);
    Ok(Source { name: stem.to_owned(), files, gguf: first })
}

/// A name that an agent's `model` can hold.
fn inside_name(name: &str) -> String {
    let stem = name.get(..name.len().saturating_sub(".gguf".len())).unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+');
    if stem.chars().all(plain) && !stem.starts_with('.') {
        format!("{stem}.gguf")
    } else {
        format!("{}.gguf", made_name(stem))
    }
}

fn folder(path: &Path) -> Result<Source, ImportError> {
    let mut files = Vec::new();
    walk(path, path, "", 0, &mut files)?;
    files.sort_by(|a, b| a.inside.cmp(&b.inside));
    let sizes: BTreeMap<String, Option<u64>> =
        files.iter().map(|f| (f.inside.clone(), Some(f.bytes))).collect();
    verdict(&sizes, &|name| small_file(&path.join(name)))
        .map_err(|why| ImportError::NotAModel { path: path.to_path_buf(), why })?;
    let name = path.file_name().map_or_else(|| "model".to_owned(), |n| n.to_string_lossy().into_owned());
    Ok(Source { name, files, gguf: None })
}

/// The plain files below a folder; what begins with a dot is a tool's own. A link is taken for the file that it leads
/// to, as long as that lies in the folder.
fn walk(
    root: &Path,
    folder: &Path,
    prefix: &str,
    depth: u32,
    files: &mut Vec<SourceFile>,
) -> Result<(), ImportError> {
    for entry in fs::read_dir(folder).map_err(|e| failed(folder, &e))? {
        let entry = entry.map_err(|e| failed(folder, &e))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let inside = format!("{prefix}{name}");
        if name.starts_with('.') || !is_repo_path(&inside) {
            continue;
        }
        let kind = entry.file_type().map_err(|e| failed(&entry.path(), &e))?;
        if kind.is_dir() {
            if depth < DEEPEST {
                walk(root, &entry.path(), &format!("{inside}/"), depth + 1, files)?;
            }
            continue;
        }
        let path = entry.path().canonicalize().map_err(|e| failed(&entry.path(), &e))?;
        if !path.starts_with(root) {
            return Err(ImportError::LeadsOut(entry.path()));
        }
        let metadata = fs::metadata(&path).map_err(|e| failed(&path, &e))?;
        if metadata.is_file() {
            let own = inside.clone();
            let inside = match name.to_ascii_lowercase().strip_suffix(".gguf") {
                Some(_) => format!("{prefix}{}", inside_name(&name)),
                None => inside,
            };
            // Two names may come out the same; then each keeps its own.
            let inside = if files.iter().any(|f| f.inside == inside) { own } else { inside };
            files.push(SourceFile { path, inside, bytes: metadata.len() });
        }
        if files.len() > MOST {
            return Err(ImportError::TooMany { path: root.to_path_buf(), most: MOST });
        }
    }
    Ok(())
}
