//! Coding tools: what each needs, laid over the file that it reads; shown first, written when a person says so.
//!
//! The tool's texts are made by `tools`; here are its files, and the facts of this machine.

mod files;
mod keys;
mod places;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use api::shapes::tools::{Tool, ToolConfig, ToolConfigs, ToolRequest, ToolWritten, ToolsRequest};
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::stack::Stack;
use jiff::Timestamp;
use store::database::Database;
use tools::jsonc::DocumentError;
use tools::{Ask, Edited, Household, Lines, Primary};

use crate::carry::Ctx;
use crate::here::Here;
use crate::start::Options;

pub use keys::put_tool_key;
pub use places::ToolPlaces;

const ALL: [Tool; 8] = [
    Tool::Opencode,
    Tool::OhMyOpencode,
    Tool::Codex,
    Tool::ClaudeCode,
    Tool::Zed,
    Tool::Continue,
    Tool::Cline,
    Tool::Aider,
];

/// What the configurations are made from.
#[derive(Debug, Clone)]
pub struct ToolGround {
    pub stack: Stack,
    /// The median of each agent's last starts.
    pub start_seconds: BTreeMap<AgentName, f64>,
    /// Where the gateway listens, where it does.
    pub address: Option<SocketAddr>,
    pub places: ToolPlaces,
    /// The folder below which the keys of tools are put down for them.
    pub keys: PathBuf,
}

impl ToolGround {
    /// For commands: the stack file, and what earlier starts took. `gateway`: as a status has it.
    ///
    /// # Errors
    /// A stack that does not hold.
    pub fn offline(options: &Options, gateway: Option<&str>) -> Result<Self, ApiError> {
        let file = options.paths.stack_file();
        let scale = if options.rehearsal { options.scale() } else { 1 };
        let stack =
            store::stack_file::load_on(&file, scale, &Here::of(options)).stack.map_err(|problems| {
                let first = problems.first().map_or("", |p| p.message.as_str());
                ApiError::new(
                    Code::Stack,
                    format!("The stack file does not hold: {first}"),
                    "See all of it with: asgard config check",
                )
            })?;
        // A database that cannot be read costs figures, not the export.
        let database = Database::open_to_read(&options.paths.database()).ok().flatten();
        let start_seconds = stack
            .agents
            .iter()
            .filter_map(|a| {
                let seconds = database.as_ref()?.start_seconds(a.name.as_str()).ok()??;
                Some((a.name.clone(), seconds))
            })
            .collect();
        let env = |name: &str| options.env.get(name).map(OsString::from);
        Ok(Self {
            start_seconds,
            // Where none listens, where one would that is started from here.
            address: gateway.and_then(address).or_else(|| {
                Some(stack.gateway.clone().with_env(|name| options.env.get(name).cloned()).0.listen)
            }),
            places: ToolPlaces::of(&env),
            keys: key_folder(&options.paths),
            stack,
        })
    }

    /// In the controller: its own state and surroundings.
    fn of(ctx: &Ctx) -> Self {
        let state = ctx.state.state();
        Self {
            stack: Stack::clone(&state.file_stack),
            start_seconds: state.start_seconds.clone(),
            address: state.gateway.as_deref().and_then(address),
            places: ToolPlaces::of(&|name| std::env::var_os(name)),
            keys: key_folder(&ctx.world.paths),
        }
    }

    fn household(&self) -> Result<Household<'_>, ApiError> {
        Household::of(&self.stack, &self.start_seconds, self.address).ok_or_else(|| {
            ApiError::new(Code::Stack, "The stack has no agents.", "Write one into the stack file.")
        })
    }

    fn ask(&self, primary: Option<&str>, key: Option<&str>) -> Result<Ask, ApiError> {
        let primary = primary
            .map(|text| {
                Primary::read(text, &self.stack).map_err(|e| {
                    let text = e.to_string();
                    let (message, next) = text.split_once(". ").unwrap_or((&text, ""));
                    ApiError::new(Code::Usage, format!("{message}."), next)
                })
            })
            .transpose()?;
        Ok(Ask { primary, key_file: key.map(|name| self.key_file(name)).transpose()? })
    }

    /// Where the key of this name is put down for tools to read.
    ///
    /// # Errors
    /// The stack has no such key.
    pub fn key_file(&self, name: &str) -> Result<PathBuf, ApiError> {
        let keys = &self.stack.gateway.keys;
        if keys.iter().any(|k| k.name == name) && !name.contains('/') && !name.starts_with('.') {
            return Ok(self.keys.join(name));
        }
        let there: Vec<&str> = keys.iter().map(|k| k.name.as_str()).collect();
        let next = if there.is_empty() {
            "Bifrost asks for none yet: make one in Settings.".to_owned()
        } else {
            format!("Choose one of: {}.", there.join(", "))
        };
        Err(ApiError::new(Code::Unknown, format!("There is no key {name:?}."), next))
    }
}

fn key_folder(paths: &store::paths::Paths) -> PathBuf {
    paths.config.join("tool-keys")
}

/// "http://127.0.0.1:8899/v1" as a place to connect to.
fn address(url: &str) -> Option<SocketAddr> {
    let rest = url.strip_prefix("http://")?;
    rest.split('/').next()?.parse().ok()
}

fn title(tool: Tool) -> &'static str {
    match tool {
        Tool::Opencode => "OpenCode",
        Tool::OhMyOpencode => "oh-my-opencode",
        Tool::Codex => "Codex CLI",
        Tool::ClaudeCode => "Claude Code",
        Tool::Zed => "Zed",
        Tool::Continue => "Continue",
        Tool::Cline => "Cline",
        Tool::Aider => "Aider",
    }
}

/// Whether Asgard writes this tool's own file.
pub fn writes(tool: Tool) -> bool {
    matches!(tool, Tool::Opencode | Tool::OhMyOpencode)
}

/// The file, what to know of its choice, and what edits it.
type Place = (PathBuf, Vec<String>, Edit);
type Edit = fn(&Household, &Ask, Option<&str>) -> Result<Edited, DocumentError>;

/// A tool whose file Asgard writes: which file, and what becomes of it.
fn edited(ground: &ToolGround, tool: Tool, project: Option<&Path>) -> Option<Result<Place, ApiError>> {
    let (place, edit): (_, Edit) = match tool {
        Tool::Opencode => (ground.places.opencode(project), tools::opencode),
        Tool::OhMyOpencode => (ground.places.oh_my_opencode(project), tools::oh_my_opencode),
        _ => return None,
    };
    Some(place.map(|(path, notes)| (path, notes, edit)))
}

fn bad_document(path: &Path, error: &DocumentError) -> ApiError {
    let next = match error {
        DocumentError::Broken { .. } => "Correct it, then try again; nothing was changed.",
        DocumentError::NotAnObject { .. } => "Make it an object, or take it out; nothing was changed.",
        DocumentError::Twice { .. } => "Remove one of the two; nothing was changed.",
    };
    ApiError::new(Code::Failed, format!("{}, {error}.", path.display()), next)
}

/// What would be written: the file as it is, and as it would be.
struct Proposal {
    path: PathBuf,
    found: files::Found,
    after: String,
    diff: String,
    notes: Vec<String>,
}

fn propose(
    ground: &ToolGround,
    household: &Household,
    asked: &ToolRequest,
    ask: &Ask,
) -> Option<Result<Proposal, ApiError>> {
    let project = asked.project.as_deref().map(Path::new);
    let place = edited(ground, asked.tool, project)?;
    Some(place.and_then(|(path, mut notes, edit)| {
        let found = files::look(&path)?;
        let before = found.text.as_deref();
        let done = edit(household, ask, before).map_err(|e| bad_document(&path, &e))?;
        notes.extend(done.notes);
        let name = path.display().to_string();
        let diff = tools::unified(before.unwrap_or_default(), &done.text, &name, before.is_some());
        Ok(Proposal { path, found, after: done.text, diff, notes })
    }))
}

/// One tool's configuration; nothing is written.
///
/// # Errors
/// A primary or a key that there is not, or a file of the tool's that cannot be edited.
pub fn tool_config(ground: &ToolGround, asked: &ToolRequest) -> Result<ToolConfig, ApiError> {
    let household = ground.household()?;
    let ask = ground.ask(asked.primary.as_deref(), asked.key.as_deref())?;
    let title = title(asked.tool).to_owned();
    if let Some(proposal) = propose(ground, &household, asked, &ask) {
        let proposal = proposal?;
        // A new file's whole text is what there is to copy, whatever is in the file that exists.
        return Ok(ToolConfig {
            text: fresh(&household, asked, &ask),
            tool: asked.tool,
            title,
            path: Some(proposal.path.display().to_string()),
            same: proposal.diff.is_empty(),
            diff: Some(proposal.diff),
            notes: proposal.notes,
        });
    }
    let Lines { file, text, notes } = lines(&household, asked.tool, &ask);
    Ok(ToolConfig {
        tool: asked.tool,
        title,
        path: file.and_then(|f| ground.places.below_home(f)).map(|p| p.display().to_string()),
        text,
        diff: None,
        same: false,
        notes,
    })
}

/// The text of a file where there was none.
fn fresh(household: &Household, asked: &ToolRequest, ask: &Ask) -> String {
    let made = match asked.tool {
        Tool::OhMyOpencode => tools::oh_my_opencode(household, ask, None),
        _ => tools::opencode(household, ask, None),
    };
    made.map(|m| m.text).unwrap_or_default()
}

fn lines(household: &Household, tool: Tool, ask: &Ask) -> Lines {
    match tool {
        Tool::Codex => tools::codex(household, ask),
        Tool::ClaudeCode => tools::claude_code(household, ask),
        Tool::Zed => tools::zed(household, ask),
        Tool::Continue => tools::continue_dev(household, ask),
        Tool::Cline => tools::cline(household, ask),
        Tool::Aider | Tool::Opencode | Tool::OhMyOpencode => tools::aider(household, ask),
    }
}

/// Every tool's. One whose file cannot be edited has its lines all the same, and the reason among its notes.
///
/// # Errors
/// A primary or a key that there is not.
pub fn tool_configs(ground: &ToolGround, asked: &ToolsRequest) -> Result<ToolConfigs, ApiError> {
    let household = ground.household()?;
    let ask = ground.ask(asked.primary.as_deref(), asked.key.as_deref())?;
    let tools = ALL
        .into_iter()
        .map(|tool| {
            let one = ToolRequest {
                tool,
                project: asked.project.clone(),
                primary: asked.primary.clone(),
                key: asked.key.clone(),
                shown: None,
            };
            tool_config(ground, &one).unwrap_or_else(|error| ToolConfig {
                tool,
                title: title(tool).to_owned(),
                path: None,
                text: fresh(&household, &one, &ask),
                diff: None,
                same: false,
                notes: vec![format!("{} {}", error.message, error.next).trim().to_owned()],
            })
        })
        .collect();
    Ok(ToolConfigs { tools })
}

/// Writes the file of a tool that Asgard writes.
///
/// # Errors
/// As [`tool_config`]; a tool that has none; one that became different from what was shown; a file that cannot be
/// written. Then it is as it was.
pub fn write_tool_config(ground: &ToolGround, asked: &ToolRequest) -> Result<ToolWritten, ApiError> {
    let household = ground.household()?;
    let ask = ground.ask(asked.primary.as_deref(), asked.key.as_deref())?;
    let Some(proposal) = propose(ground, &household, asked, &ask) else {
        return Err(ApiError::new(
            Code::Usage,
            format!("Asgard does not write the files of {}.", title(asked.tool)),
            "Print the lines without --write, and put them where the notes say.",
        ));
    };
    let proposal = proposal?;
    let path = proposal.path.display().to_string();
    if asked.shown.as_ref().is_some_and(|shown| *shown != proposal.diff) {
        return Err(files::changed(&proposal.path));
    }
    if proposal.diff.is_empty() {
        return Ok(ToolWritten { path, backup: None, same: true });
    }
    let stamp = format!("asgard-{}", Timestamp::now().strftime("%Y%m%d-%H%M%S"));
    let backup = files::write(&proposal.found, &proposal.after, &stamp)?;
    Ok(ToolWritten { path, backup: backup.map(|b| b.display().to_string()), same: false })
}

/// In the controller: every tool's, with the key put down for the lines that read it.
pub(crate) async fn answer_all(ctx: &Ctx, asked: &ToolsRequest) -> Result<ToolConfigs, ApiError> {
    let ground = ToolGround::of(ctx);
    let configs = tool_configs(&ground, asked)?;
    if let Some(key) = &asked.key {
        put_tool_key(&ground, &ctx.world.secrets, key).await?;
    }
    Ok(configs)
}

/// As [`answer_all`], of one tool. A file that Asgard writes gets its key when it is written.
pub(crate) async fn answer_one(ctx: &Ctx, asked: &ToolRequest) -> Result<ToolConfig, ApiError> {
    let ground = ToolGround::of(ctx);
    let config = tool_config(&ground, asked)?;
    if let Some(key) = asked.key.as_ref().filter(|_| !writes(asked.tool)) {
        put_tool_key(&ground, &ctx.world.secrets, key).await?;
    }
    Ok(config)
}

pub(crate) async fn answer_write(ctx: &Ctx, asked: &ToolRequest) -> Result<ToolWritten, ApiError> {
    let ground = ToolGround::of(ctx);
    if let Some(key) = asked.key.as_ref().filter(|_| writes(asked.tool)) {
        put_tool_key(&ground, &ctx.world.secrets, key).await?;
    }
    write_tool_config(&ground, asked)
}
