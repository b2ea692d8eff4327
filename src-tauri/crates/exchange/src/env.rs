//! The `.env` of strix-opencode, in each of its phases.

use std::collections::{BTreeMap, BTreeSet};

use domain::server_line::ServerLine;
use domain::stack::BackendKind;

use crate::agents::Draft;
use crate::dotenv::{self, Variable};
use crate::finish::{Household, finish};
use crate::interpolate::has_unset;
use crate::known::{AGENTS, KnownAgent};
use crate::report::{Place, Report, is_secret_name, plain, quoted};
use crate::{Facts, Import, ImportError, SourceFile};

const VLLM_IMAGE: &str = "docker.io/kyuz0/vllm-therock-gfx1151:latest";
const LLAMA_CPP_IMAGE: &str = "docker.io/kyuz0/amd-strix-halo-toolboxes:vulkan-radv";

/// A stack out of a `.env` alone.
///
/// # Errors
/// A line cannot be read, or no agent can be made.
pub fn import_env(file: &SourceFile, facts: &Facts) -> Result<Import, ImportError> {
    let mut report = Report::default();
    let variables = dotenv::read(file)?;
    let mut vars = Vars::new(&file.name, &variables);
    vars.secrets(&mut report);
    let mut house =
        Household { name: "strix-opencode".to_owned(), file: file.name.clone(), ..Household::default() };
    let ollama = vars.endpoint();
    for known in AGENTS {
        house.agents.extend(agent(known, &mut vars, ollama.as_deref(), &mut report));
    }
    house.gateway = gateway(&mut vars, &mut house.agents, &mut report);
    places(&mut vars, &mut report);
    vars.rest(&mut report);
    finish(house, facts, report)
}

/// The variables of a file, and which of them something here has read.
pub(crate) struct Vars<'a> {
    file: &'a str,
    variables: &'a [Variable],
    pub(crate) used: BTreeSet<String>,
}

impl<'a> Vars<'a> {
    pub(crate) fn new(file: &'a str, variables: &'a [Variable]) -> Self {
        Self { file, variables, used: BTreeSet::new() }
    }

    /// The folder that relative paths begin in, where the file says it.
    pub(crate) fn root(&mut self) -> Option<String> {
        self.text("REPO_ROOT").filter(|r| r.starts_with('/') && !has_unset(r))
    }

    /// The agents that are models of an Ollama daemon at this address.
    pub(crate) fn ollama(&mut self, endpoint: &str, report: &mut Report) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for known in AGENTS {
            if self.take(&format!("{}_OLLAMA_MODEL", known.prefix)).is_some() {
                drafts.extend(agent(known, self, Some(endpoint), report));
            }
        }
        drafts
    }

    fn take(&mut self, name: &str) -> Option<&'a Variable> {
        let variable = self.variables.iter().find(|v| v.name == name)?;
        self.used.insert(variable.name.clone());
        Some(variable).filter(|v| !v.value.is_empty())
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|v| v.value.clone())
    }

    /// A number within `least..=most`, or a finding.
    fn number<T>(
        &mut self,
        name: &str,
        agent: &str,
        report: &mut Report,
        fits: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let variable = self.take(name)?;
        let number = fits(variable.value.trim());
        if number.is_none() {
            report.not_understood(
                &Place::at(self.file, variable.line),
                Some(agent),
                name,
                format!("{} is not a value that {name} can have; it was left out.", quoted(&variable.value)),
            );
        }
        number
    }

    fn place(&self, name: &str) -> Place {
        let line = self.variables.iter().find(|v| v.name == name).map(|v| v.line);
        Place { file: self.file.to_owned(), line }
    }

    /// First of all, so that no later sentence can hold one.
    pub(crate) fn secrets(&mut self, report: &mut Report) {
        for variable in self.variables {
            if is_secret_name(&variable.name) || crate::report::looks_secret(&variable.value) {
                self.used.insert(variable.name.clone());
                if !has_unset(&variable.value) {
                    let place = Place::at(self.file, variable.line);
                    report.secret(&place, None, &variable.name, &variable.value);
                }
            }
        }
    }

    /// Where Ollama listens, if this file is about it.
    fn endpoint(&mut self) -> Option<String> {
        let named = self.variables.iter().any(|v| v.name.ends_with("_OLLAMA_MODEL"));
        let port = self.text("OLLAMA_PORT").and_then(|p| p.trim().parse::<u16>().ok()).filter(|p| *p > 0);
        let host = self.text("OLLAMA_HOST").and_then(|h| {
            let port = h.rsplit(':').next()?.trim_end_matches('/').parse::<u16>().ok();
            port.filter(|p| *p > 0)
        });
        named.then(|| format!("http://127.0.0.1:{}", port.or(host).unwrap_or(11_434)))
    }

    pub(crate) fn rest(&mut self, report: &mut Report) {
        for variable in self.variables {
            let place = Place::at(self.file, variable.line);
            if variable.command {
                report.not_understood(
                    &place,
                    None,
                    &variable.name,
                    "It holds a command to be run. Nothing is run from an imported file: it is plain text here.",
                );
            }
            if !self.used.contains(&variable.name) {
                report.not_understood(
                    &place,
                    None,
                    &variable.name,
                    "Nothing here reads this variable; it was left out.",
                );
            }
        }
    }
}

fn agent(
    known: &KnownAgent,
    vars: &mut Vars<'_>,
    ollama: Option<&str>,
    report: &mut Report,
) -> Option<Draft> {
    let key = |suffix: &str| format!("{}_{suffix}", known.prefix);
    let name = known.name;
    let tag = vars.text(&key("OLLAMA_MODEL"));
    let model = vars.text(&key("MODEL"));
    let gguf = vars.text(&key("GGUF"));
    let (suffix, backend, model) = match (ollama, tag, model, gguf) {
        (Some(_), Some(tag), older, _) => {
            if older.is_some() {
                report.understood(
                    &vars.place(&key("MODEL")),
                    Some(name),
                    &key("MODEL"),
                    "Left out: this file calls its vLLM settings the earlier ones, and names an Ollama model too.",
                );
            }
            ("OLLAMA_MODEL", BackendKind::Ollama, tag)
        }
        (_, _, Some(model), gguf) => {
            if gguf.is_some() {
                vars.used.insert(format!("LLAMA_{}_PORT", known.prefix));
                report.understood(
                    &vars.place(&key("GGUF")),
                    Some(name),
                    &key("GGUF"),
                    "Left out: the fallback for llama.cpp. The model for vLLM was taken.",
                );
            }
            ("MODEL", BackendKind::Vllm, model)
        }
        (_, _, None, Some(file)) => ("GGUF", BackendKind::LlamaCpp, file),
        _ => {
            let about: Vec<&Variable> =
                vars.variables.iter().filter(|v| v.name.starts_with(&format!("{}_", known.prefix))).collect();
            if let Some(first) = about.first() {
                let place = Place::at(vars.file, first.line);
                let message = "It names no model, so no agent was made of it.";
                report.not_understood(&place, Some(name), &format!("{}_MODEL", known.prefix), message);
                vars.used.extend(about.iter().map(|v| v.name.clone()));
            }
            return None;
        }
    };
    let place = vars.place(&key(suffix));
    let mut draft = Draft {
        name: name.to_owned(),
        place: place.clone(),
        what: known.prefix.to_owned(),
        line: ServerLine { backend: Some(backend), ..ServerLine::default() },
        ..Draft::default()
    };
    let model = if backend == BackendKind::LlamaCpp { gguf_path(&model, vars, name, report) } else { model };
    report.understood(&place, Some(name), &key(suffix), format!("{} on {}.", quoted(&model), backend.word()));
    draft.line.model = Some(model);
    let whole = |text: &str| text.parse::<u32>().ok().filter(|n| *n > 0);
    let length = |text: &str| whole(text).filter(|n| *n <= 16 << 20);
    let count = |text: &str| whole(text).filter(|n| *n <= 4096);
    let port = |text: &str| text.parse::<u16>().ok().filter(|p| *p > 0);
    draft.line.port = vars.number(&key("PORT"), name, report, port);
    // The fallback of the first phases had a port of its own.
    if draft.line.port.is_none() && backend == BackendKind::LlamaCpp {
        draft.line.port = vars.number(&format!("LLAMA_{}_PORT", known.prefix), name, report, port);
    }
    let max_len = vars.number(&key("MAX_LEN"), name, report, length);
    let context = vars.number(&key("CTX"), name, report, length);
    let cpu = vars.number(&key("CPU_CTX"), name, report, length);
    draft.line.sequences = vars.number(&key("MAX_NUM_SEQS"), name, report, count);
    let share = |text: &str| text.parse::<f64>().ok().filter(|s| *s > 0.0 && *s <= 1.0);
    let utilization = vars.number(&key("GPU_UTIL"), name, report, share);
    let threads = vars.number(&key("THREADS"), name, report, count);
    let kv_dtype = vars.text(&key("KV_CACHE_DTYPE"));
    let quantization = vars.text(&key("QUANTIZATION"));
    match backend {
        BackendKind::Vllm => {
            draft.image = Some(VLLM_IMAGE.to_owned());
            draft.line.context = max_len.or(context);
            draft.line.utilization = utilization;
            draft.line.kv_dtype = kv_dtype;
            draft.line.quantization = quantization;
        }
        BackendKind::LlamaCpp => {
            draft.image = Some(LLAMA_CPP_IMAGE.to_owned());
            draft.line.context = context.or(cpu).or(max_len);
            draft.line.sequences = draft.line.sequences.or(Some(1));
            // Threads were given for the agents on the CPU, and a context of their own.
            draft.for_cpu = threads.is_some() || cpu.is_some();
            if let Some(threads) = threads {
                draft.line.rest = vec!["-t".to_owned(), threads.to_string()];
            }
        }
        BackendKind::Ollama | BackendKind::External => {
            draft.endpoint = ollama.map(str::to_owned);
            // Their lengths are in the tags that strix-opencode made ("…-64k"); `MAX_LEN` was vLLM's.
            draft.line.context = context.or_else(|| tag_length(draft.model()));
        }
    }
    output(&key("MAX_TOKENS"), &draft, vars, report);
    output(&key("MAX_OUTPUT"), &draft, vars, report);
    Some(draft)
}

/// "qwen2.5:14b-64k" says 65,536.
fn tag_length(tag: &str) -> Option<u32> {
    let last = tag.rsplit('-').next()?;
    let thousands: u32 = last.strip_suffix(['k', 'K'])?.parse().ok()?;
    thousands.checked_mul(1024).filter(|n| (1..=16 << 20).contains(n))
}

/// An output limit is the client's business; one as long as the context leaves nothing for the question.
fn output(name: &str, draft: &Draft, vars: &mut Vars<'_>, report: &mut Report) {
    let Some(variable) = vars.take(name) else { return };
    let context = draft.context();
    let place = Place::at(vars.file, variable.line);
    match variable.value.trim().parse::<u32>() {
        Ok(limit) if limit >= context => report.corrected(
            &place,
            Some(&draft.name),
            name,
            format!(
                "An output of {limit} in a context of {context} leaves nothing for the question, and vLLM up to 0.16 \
                 refuses every request. Give clients {} at most.",
                context / 4
            ),
        ),
        _ => report.understood(&place, Some(&draft.name), name, "An output limit is set in the clients, not here."),
    }
}

/// The file's whole path, as far as it is known.
fn gguf_path(file: &str, vars: &mut Vars<'_>, agent: &str, report: &mut Report) -> String {
    if file.starts_with('/') {
        return file.to_owned();
    }
    let folder = vars.text("LLAMA_MODELS_DIR").filter(|f| !has_unset(f));
    let root = vars.root();
    let (path, whole) = host_path(folder.as_deref().unwrap_or("./models"), root.as_deref());
    let path = format!("{}/{file}", path.trim_end_matches('/'));
    if !whole {
        report.not_understood(
            &vars.place("LLAMA_MODELS_DIR"),
            Some(agent),
            "LLAMA_MODELS_DIR",
            format!(
                "{} is no whole path, and where it begins is not known. Write the whole path as model.",
                quoted(&path)
            ),
        );
    }
    path
}

/// A folder of the host, and whether that is its whole path.
pub(crate) fn host_path(folder: &str, root: Option<&str>) -> (String, bool) {
    if folder.starts_with('/') {
        return (folder.to_owned(), true);
    }
    let relative = folder.trim_start_matches("./");
    match root {
        Some(root) if !folder.starts_with("..") && !folder.starts_with('~') => {
            (format!("{}/{relative}", root.trim_end_matches('/')), true)
        }
        _ => (folder.to_owned(), false),
    }
}

/// What the earlier scheduler was told.
pub(crate) fn gateway(vars: &mut Vars<'_>, agents: &mut [Draft], report: &mut Report) -> Option<u16> {
    let port = vars.number("BIFROST_PORT", "bifrost", report, |t| t.parse::<u16>().ok().filter(|p| *p > 0));
    if port.is_some() {
        let message =
            "Asgard's own gateway listens there, on 127.0.0.1; the earlier scheduler is not needed.";
        report.understood(&vars.place("BIFROST_PORT"), None, "BIFROST_PORT", message);
    }
    let ttl = vars
        .number("BIFROST_ODIN_TTL", "odin", report, |t| t.parse::<u64>().ok().filter(|s| *s < 365 * 86_400));
    if let Some(seconds) = ttl.filter(|s| *s > 0)
        && let Some(odin) = agents.iter_mut().find(|a| a.name == "odin")
    {
        odin.ttl = Some(seconds);
        let message = "Odin sleeps again after so long without a request.";
        report.understood(&vars.place("BIFROST_ODIN_TTL"), Some("odin"), "BIFROST_ODIN_TTL", message);
    }
    let names: BTreeMap<&str, &str> = BTreeMap::from([
        ("BIFROST_ODIN_COOLDOWN", "A pause between two summons is no setting of a stack; it was left out."),
        ("BIFROST_SESSION_BUDGET_ODIN", "A number of summons is no setting of a stack; it was left out."),
        ("BIFROST_SESSION_BUDGET_UTILITY", "A number of summons is no setting of a stack; it was left out."),
    ]);
    for (name, message) in names {
        if vars.take(name).is_some() {
            report.not_understood(&vars.place(name), None, name, message);
        }
    }
    for name in [
        "BIFROST_HEALTH_TIMEOUT",
        "BIFROST_HEALTH_POLL_INTERVAL",
        "BIFROST_LOG_LEVEL",
        "COMPOSE_PROJECT_DIR",
        "COMPOSE_PROJECT_NAME",
        "DOCKER_HOST",
    ] {
        if vars.take(name).is_some() {
            let message =
                "It steered the earlier scheduler; Asgard waits for each agent as long as its load_timeout.";
            report.understood(&vars.place(name), None, name, message);
        }
    }
    port
}

/// Folders and what else belongs to no agent.
pub(crate) fn places(vars: &mut Vars<'_>, report: &mut Report) {
    for (name, message) in [
        ("HF_HOME", "Asgard mounts the Hugging Face cache itself, its hub folder alone."),
        ("VLLM_CACHE", "Asgard keeps vLLM's cache itself and mounts it where vLLM looks for it."),
        ("REPO_ROOT", "The folder of the earlier scheduler; nothing of it is needed."),
        ("LLAMA_MODELS_DIR", "The folder of the GGUF files."),
        ("OLLAMA_PORT", "Where Ollama listens."),
        ("OLLAMA_HOST", "Where Ollama listens."),
        ("OLLAMA_MODELS", "Ollama's own folder; the daemon is used as it is."),
        ("OLLAMA_NUM_PARALLEL", "A setting of the Ollama daemon, which is used as it is."),
        ("OLLAMA_MAX_LOADED_MODELS", "A setting of the Ollama daemon, which is used as it is."),
        ("OLLAMA_KEEP_ALIVE", "A setting of the Ollama daemon, which is used as it is."),
        ("OLLAMA_TOOLBOX_IMAGE", "The image of the Ollama daemon, which is used as it is."),
        ("CLOUD_PLANNER_MODEL", "A model elsewhere: that is the client's business."),
    ] {
        if vars.take(name).is_some() || vars.variables.iter().any(|v| v.name == name) {
            vars.used.insert(name.to_owned());
            report.understood(&vars.place(name), None, name, plain(message));
        }
    }
}
