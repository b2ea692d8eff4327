//! The stack as a whole: presets, import and export, and the word of a person before a stack of somebody else runs
//! anything. What needs no controller works without one; the controller only reads the file again afterwards.

use std::path::{Path, PathBuf};

use api::shapes::settings::StackProblem;
use api::shapes::stacks::{
    Confirmation, ExportKind, ExportRequest, Exported, Finding, ImportKind, ImportRequest, Imported, Preset,
    PresetRequest, PresetUsed, Presets, SurfaceEntry, SurfaceKind, TextFile,
};
use api::{ApiError, Code};
use domain::memory::Bytes;
use domain::plan::{Goal, Situation, plan};
use domain::pool::PoolReading;
use domain::secret::Secret;
use domain::stack::{Stack, Surface};
use exchange::{Facts, SourceFile};
use jiff::Timestamp;
use store::confirm::Unconfirmed;
use store::paths::Paths;
use store::secrets::Secrets;
use store::stack_file::{self, FileProblem, presets};

/// Larger files are something else by mistake.
const LARGEST: u64 = 1 << 20;

/// Where a stack is read and written, and the machine it is for.
#[derive(Debug, Clone)]
pub struct Ground {
    pub paths: Paths,
    /// 1 for a real machine, 1024 for a rehearsal.
    pub scale: u64,
    pub pools: Vec<PoolReading>,
}

impl Ground {
    fn stack_file(&self) -> PathBuf {
        self.paths.stack_file()
    }

    /// The GPU's own bound where there is one: what a share of its memory is a share of.
    fn capacity(&self) -> Option<Bytes> {
        let pool = self.pools.first()?;
        let capacity = pool.capacity?;
        Some(pool.device_cap.map_or(capacity, |cap| cap.min(capacity)))
    }

    /// Whether a stack's base profile fits this machine when nothing of it runs.
    fn base_fits(&self, stack: &Stack) -> (Option<bool>, String) {
        let situation = Situation { pools: self.pools.clone(), ..Situation::default() };
        match plan(stack, &situation, &Goal::Profile(stack.base.clone())) {
            Ok(plan) => (Some(plan.fits), plan.reason),
            Err(error) => (None, error.to_string()),
        }
    }
}

/// A name for a kept file: one that sorts, and that no file system minds.
fn stamp() -> String {
    Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string()
}

pub(crate) fn not_written(error: &stack_file::SaveError) -> ApiError {
    ApiError::new(Code::Failed, error.to_string(), "Nothing was changed.")
}

pub(crate) fn problem(p: &FileProblem) -> StackProblem {
    StackProblem {
        file: p.file.display().to_string(),
        line: p.line,
        message: p.message.clone(),
        next: p.next.clone(),
    }
}

pub fn presets(ground: &Ground, in_force: &str) -> Presets {
    let presets = presets::all()
        .iter()
        .map(|preset| {
            let text = preset.text_scaled(ground.scale);
            let stack = stack_file::check(&ground.stack_file(), &text, ground.scale);
            let (fits, reason) = match &stack {
                Ok(stack) => ground.base_fits(stack),
                Err(_) => (None, "It does not hold: this is a fault of Asgard's.".to_owned()),
            };
            let (agents, profiles) = stack.map_or_else(
                |_| (Vec::new(), Vec::new()),
                |s| {
                    (
                        s.agents.iter().map(|a| a.display_name.clone()).collect(),
                        s.profiles.iter().map(|p| p.name.clone()).collect(),
                    )
                },
            );
            Preset {
                name: preset.name.to_owned(),
                summary: preset.summary.to_owned(),
                machine: preset.machine.to_owned(),
                agents,
                profiles,
                in_force: text == in_force,
                fits,
                reason,
            }
        })
        .collect();
    Presets { presets }
}

/// # Errors
/// No such preset, or a file that cannot be written; then nothing is changed.
pub fn use_preset(ground: &Ground, asked: &PresetRequest) -> Result<PresetUsed, ApiError> {
    let preset = presets::find(&asked.name).ok_or_else(|| {
        let names: Vec<&str> = presets::all().iter().map(|p| p.name).collect();
        ApiError::new(
            Code::Unknown,
            format!("There is no preset {:?}.", asked.name),
            format!("Choose one of: {}.", names.join(", ")),
        )
    })?;
    if preset.scale > 1 && ground.scale == 1 && !asked.dry_run {
        return Err(ApiError::new(
            Code::Usage,
            format!("{} plays on a machine of its own, of 128 MB.", preset.name),
            "Start it with: asgard serve --rehearsal",
        ));
    }
    let path = ground.stack_file();
    let text = if ground.scale == 1 { preset.text() } else { preset.text_scaled(ground.scale) };
    let kept = if asked.dry_run {
        None
    } else {
        let kept = stack_file::replace(&path, &text, &stamp()).map_err(|e| not_written(&e))?;
        // What Asgard ships needs nobody's word.
        store::confirm::clear(&ground.paths.unconfirmed_file())
            .map_err(|e| ApiError::new(Code::Failed, e.to_string(), "Remove the file it names."))?;
        kept
    };
    Ok(PresetUsed {
        name: preset.name.to_owned(),
        path: path.display().to_string(),
        kept: kept.map(|k| k.display().to_string()),
        written: !asked.dry_run,
        text,
    })
}

fn read_source(path: &str) -> Result<SourceFile, ApiError> {
    let wrong =
        |why: String, next: &str| ApiError::new(Code::Usage, format!("{path} cannot be read: {why}."), next);
    let metadata = std::fs::metadata(path).map_err(|e| wrong(e.to_string(), "Check the path."))?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(wrong("it is no text file of a usual size".to_owned(), "Name the file itself."));
    }
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string(), "Check who may read it."))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| wrong("it is not UTF-8 text".to_owned(), "Save it as UTF-8, then try again."))?;
    let name =
        Path::new(path).file_name().map_or_else(|| path.to_owned(), |n| n.to_string_lossy().into_owned());
    Ok(SourceFile { name, text })
}

/// Reads files of others into a stack; with `write` it becomes the stack, waiting for a person's word, and tokens go
/// to the secrets.
///
/// # Errors
/// What cannot be read or understood at all; then nothing is written.
pub async fn import(ground: &Ground, secrets: &Secrets, asked: &ImportRequest) -> Result<Imported, ApiError> {
    let files: Vec<SourceFile> = asked.files.iter().map(|f| read_source(f)).collect::<Result<_, _>>()?;
    let env = asked.env.as_deref().map(read_source).transpose()?;
    let first = files.first().ok_or_else(|| {
        ApiError::new(Code::Usage, "No file was named.", "Name at least one file to import.")
    })?;
    // A rehearsal's machine has megabytes for gigabytes.
    let capacity = ground.capacity().map(|c| Bytes(c.0.saturating_mul(ground.scale)));
    let facts = Facts { capacity };
    let import = match asked.kind {
        ImportKind::Compose => exchange::import_compose(&files, env.as_ref(), &facts),
        ImportKind::Env => exchange::import_env(first, &facts),
        ImportKind::Stack => exchange::import_stack(first),
    }
    .map_err(|e| ApiError::new(Code::Failed, e.message, e.next))?;
    let text = if ground.scale > 1 { import.stack.replace(" GB\"", " MB\"") } else { import.stack };
    let checked = stack_file::check(&ground.stack_file(), &text, ground.scale);
    let (surface, problems) = match &checked {
        Ok(stack) => (domain::stack::surface(stack), Vec::new()),
        Err(problems) => (Vec::new(), problems.iter().map(problem).collect()),
    };
    let mut imported = Imported {
        stack: text,
        understood: import.understood.into_iter().map(finding).collect(),
        corrected: import.corrected.into_iter().map(finding).collect(),
        not_understood: import.not_understood.into_iter().map(finding).collect(),
        secrets: import.secrets.iter().map(|(name, _)| name.clone()).collect(),
        surface: surface.iter().map(entry).collect(),
        problems,
        written: None,
        kept: None,
    };
    if asked.write {
        if let Some(problem) = imported.problems.first() {
            return Err(ApiError::new(
                Code::Stack,
                format!("The stack that came out does not hold yet: {}", problem.message),
                format!("{} Nothing was written.", problem.next),
            ));
        }
        let names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
        let waiting = Unconfirmed {
            source: format!("imported from {}", names.join(", ")),
            surface_hash: domain::stack::surface_hash(&surface),
        };
        // First what holds it back, then the stack: a crash between the two leaves nothing that starts by itself.
        store::confirm::write(&ground.paths.unconfirmed_file(), &waiting)
            .map_err(|e| ApiError::new(Code::Failed, e.to_string(), "Nothing was changed."))?;
        let kept = stack_file::replace(&ground.stack_file(), &imported.stack, &stamp())
            .map_err(|e| not_written(&e))?;
        keep_secrets(secrets, &import.secrets).await?;
        imported.written = Some(ground.stack_file().display().to_string());
        imported.kept = kept.map(|k| k.display().to_string());
    }
    Ok(imported)
}

async fn keep_secrets(secrets: &Secrets, found: &[(String, Secret)]) -> Result<(), ApiError> {
    for (name, secret) in found {
        secrets.set(name, secret).await.map_err(|e| {
            ApiError::new(
                Code::Failed,
                format!("The stack was written, but {name} could not be kept: {e}."),
                "Set it again in Settings, or log in with: hf auth login",
            )
        })?;
    }
    Ok(())
}

fn finding(f: exchange::Finding) -> Finding {
    Finding { file: f.file, line: f.line, agent: f.agent, what: f.what, message: f.message }
}

fn entry(s: &Surface) -> SurfaceEntry {
    use domain::stack::SurfaceKind as Kind;
    SurfaceEntry {
        agent: s.agent.to_string(),
        kind: match s.kind {
            Kind::Image => SurfaceKind::Image,
            Kind::Command => SurfaceKind::Command,
            Kind::Mount => SurfaceKind::Mount,
            Kind::Device => SurfaceKind::Device,
            Kind::Argument => SurfaceKind::Argument,
            Kind::Variable => SurfaceKind::Variable,
            Kind::Endpoint => SurfaceKind::Endpoint,
        },
        text: s.text.clone(),
    }
}

/// What the stack in force would run, and whether it waits for a person's word.
pub fn confirmation(ground: &Ground, stack: &Stack) -> Confirmation {
    let surface = domain::stack::surface(stack);
    let waiting = store::confirm::read(&ground.paths.unconfirmed_file());
    Confirmation {
        needed: waiting.is_some(),
        source: waiting.map(|w| w.source).unwrap_or_default(),
        hash: domain::stack::surface_hash(&surface),
        surface: surface.iter().map(entry).collect(),
    }
}

/// # Errors
/// What was confirmed is not what would run now.
pub fn confirm(ground: &Ground, stack: &Stack, hash: &str) -> Result<(), ApiError> {
    if confirmation(ground, stack).hash != hash {
        return Err(ApiError::new(
            Code::Busy,
            "The stack has changed since it was shown.",
            "Look at it again, then confirm it.",
        ));
    }
    store::confirm::clear(&ground.paths.unconfirmed_file())
        .map_err(|e| ApiError::new(Code::Failed, e.to_string(), "Check the folder of the stack file."))
}

pub fn export(stack: &Stack, asked: ExportRequest) -> Exported {
    let export = match asked.kind {
        ExportKind::Compose => exchange::export_compose(stack),
        ExportKind::Env => exchange::export_env(stack),
    };
    Exported {
        files: export.files.into_iter().map(|f| TextFile { name: f.name, text: f.text }).collect(),
        notes: export.notes,
    }
}

/// The ground for commands that need no controller: the user's own stack on this machine, or on a recorded one.
pub fn ground(options: &crate::start::Options) -> Ground {
    Ground { paths: options.paths.clone(), scale: 1, pools: options.machine().pools() }
}

/// The GPU of this machine, or of a recorded one, where it is one of which is known what works on it.
pub fn gpu(options: &crate::start::Options) -> Option<domain::stack::Gpu> {
    options.machine().gpu()
}

/// The stack in force when no controller runs, its text, and what of it does not hold.
pub fn stack_on(ground: &Ground) -> (Result<Stack, Vec<StackProblem>>, String) {
    let loaded = stack_file::load(&ground.stack_file(), ground.scale);
    (loaded.stack.map_err(|problems| problems.iter().map(problem).collect()), loaded.text)
}
