//! From what a container or a process shows of itself to a neighbour, if it is one. Pure.

use std::collections::HashMap;

use domain::secret::Secret;
use domain::server_line::ServerLine;
use domain::stack::BackendKind;

use super::{Kind, Neighbour, Place};

const INSTANCE: &str = "io.asgard.instance";

/// Docker's labels first, then those that podman-compose writes.
const PROJECT: [&str; 2] = ["com.docker.compose.project", "io.podman.compose.project"];
const SERVICE: [&str; 2] = ["com.docker.compose.service", "io.podman.compose.service"];

/// Variables that servers take their key from.
const KEYS: [&str; 3] = ["VLLM_API_KEY", "LLAMA_API_KEY", "LLAMA_ARG_API_KEY"];

/// What an engine says about one container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ContainerFacts {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) labels: HashMap<String, String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    /// "NAME=value".
    pub(crate) env: Vec<String>,
    pub(crate) published: Vec<Published>,
    pub(crate) host_network: bool,
    pub(crate) running: bool,
    pub(crate) pids: Vec<u32>,
    /// Command lines of its processes, where they may be looked at. In a toolbox a server is started later, by hand.
    pub(crate) inside: Vec<Vec<String>>,
    /// Ports that its processes listen on; with the host's network they are this machine's.
    pub(crate) listening: Vec<u16>,
}

/// A port of the container's on a port of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// Empty for every address.
    pub(crate) ip: String,
    pub(crate) host: u16,
    pub(crate) container: u16,
}

impl Published {
    fn is_reached_here(&self) -> bool {
        matches!(self.ip.as_str(), "" | "0.0.0.0" | "127.0.0.1" | "::" | "::1")
    }
}

/// The neighbour that a container is: it serves a model, or holds one of the ports in question. Nothing for ours.
pub(crate) fn container(
    engine: &str,
    instance: &str,
    facts: &ContainerFacts,
    wanted: &[u16],
) -> Option<Neighbour> {
    let labelled = |names: [&str; 2]| names.iter().find_map(|n| facts.labels.get(*n)).cloned();
    let owner = facts.labels.get(INSTANCE);
    if owner.is_some_and(|o| o == instance) {
        return None;
    }
    let mut whole: Vec<String> = facts.entrypoint.iter().chain(&facts.cmd).cloned().collect();
    let mut line = line_of(&whole).or_else(|| line_of(&facts.cmd));
    // A command that serves nothing itself, such as a toolbox's: what runs inside says more.
    if line.is_none() && !is_ollama(&whole) {
        let serving = facts.inside.iter().find(|argv| line_of(argv).is_some() || is_ollama(argv));
        if let Some(argv) = serving {
            line = line_of(argv);
            whole.clone_from(argv);
        }
    }
    let toolbox = facts.labels.contains_key("com.github.containers.toolbox")
        || facts.labels.get("manager").is_some_and(|m| m == "distrobox");
    let (project, service) = (labelled(PROJECT), labelled(SERVICE));
    let words = format!("{} {} {}", facts.image, facts.name, service.as_deref().unwrap_or_default());
    // A toolbox's image says what a person could start in it, not what runs.
    let image = if toolbox { "" } else { &facts.image };
    let mut kind = kind_of(line.as_ref(), &whole, image, &words);
    let line = line.unwrap_or_default();
    let port = container_port(facts, &line, &whole, kind, wanted);
    let holds_wanted = facts.running && port.is_some_and(|p| wanted.contains(&p));
    // An agent of another Asgard is no model server to take over, but its port may be in the way.
    if owner.is_some() {
        kind = Kind::Unknown;
    }
    if kind == Kind::Unknown && !holds_wanted || !facts.running && project.is_none() {
        return None;
    }
    let from_env = || KEYS.iter().find_map(|name| variable(&facts.env, name)).map(Secret::new);
    let key = line.api_key.clone().or_else(from_env).unwrap_or_default();
    Some(Neighbour {
        id: format!("{engine}/{}", facts.name),
        name: facts.name.clone(),
        engine: engine.to_owned(),
        kind,
        place: Place::Container {
            id: facts.id.clone(),
            image: facts.image.clone(),
            project,
            service,
            toolbox,
        },
        command: without_secrets(&whole, &[&key]),
        key,
        line,
        port,
        endpoint: port.map(|p| format!("http://127.0.0.1:{p}")),
        running: facts.running,
        pids: facts.pids.clone(),
    })
}

fn variable<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    env.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).filter(|v| !v.is_empty())
}

fn container_port(
    facts: &ContainerFacts,
    line: &ServerLine,
    command: &[String],
    kind: Kind,
    wanted: &[u16],
) -> Option<u16> {
    let inside = line
        .port
        .or_else(|| written_port(command))
        .or_else(|| {
            let name = match kind {
                Kind::LlamaCpp => "LLAMA_ARG_PORT",
                Kind::Ollama => "OLLAMA_HOST",
                Kind::Bifrost => "BIFROST_PORT",
                Kind::Vllm | Kind::Unknown => return None,
            };
            // "0.0.0.0:11434", or the number alone.
            variable(&facts.env, name)?.rsplit(':').next()?.parse().ok()
        })
        .or_else(|| usual_port(kind));
    if facts.host_network {
        return listens(&facts.listening, inside, wanted);
    }
    let here = || facts.published.iter().filter(|p| p.is_reached_here());
    here()
        .find(|p| Some(p.container) == inside)
        .or_else(|| here().find(|p| wanted.contains(&p.host)))
        .or_else(|| here().next())
        .map(|p| p.host)
}

/// What it really listens on is the truth; while it loads it listens on nothing yet, and others' may not be looked at.
fn listens(ports: &[u16], said: Option<u16>, wanted: &[u16]) -> Option<u16> {
    let held = ports.iter().find(|p| wanted.contains(p)).copied();
    held.or_else(|| said.filter(|p| ports.contains(p))).or(ports.first().copied()).or(said)
}

/// `--port 8899` of any program, a model server or not.
fn written_port(command: &[String]) -> Option<u16> {
    command.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--port")? {
        "" => command.get(at + 1)?.parse().ok(),
        value => value.strip_prefix('=')?.parse().ok(),
    })
}

/// Where each server listens when it is not told.
fn usual_port(kind: Kind) -> Option<u16> {
    match kind {
        Kind::Vllm => Some(8000),
        Kind::LlamaCpp => Some(8080),
        Kind::Ollama => Some(11_434),
        Kind::Bifrost => Some(8899),
        Kind::Unknown => None,
    }
}

/// By the command line, which is what runs; only where that says nothing, by the image's name.
fn kind_of(line: Option<&ServerLine>, command: &[String], image: &str, words: &str) -> Kind {
    if words.to_ascii_lowercase().contains("bifrost") {
        return Kind::Bifrost;
    }
    match line.and_then(|l| l.backend) {
        Some(BackendKind::Vllm) => return Kind::Vllm,
        Some(BackendKind::LlamaCpp) => return Kind::LlamaCpp,
        _ => {}
    }
    let image = image.to_ascii_lowercase();
    if is_ollama(command) {
        return Kind::Ollama;
    }
    // Somebody works in it, or keeps it open: its image could serve, and does not.
    if command.first().is_some_and(|first| is_idle(first, command)) {
        return Kind::Unknown;
    }
    // Only images that serve when they are started without a word: others of these projects are for working in.
    let serves = |names: &[&str]| names.iter().any(|name| image.contains(name));
    if serves(&["ollama/ollama"]) {
        Kind::Ollama
    } else if serves(&["vllm-openai", "rocm/vllm", "vllm-therock"]) {
        Kind::Vllm
    } else if serves(&["llama.cpp:server", "llama-server"]) {
        Kind::LlamaCpp
    } else {
        Kind::Unknown
    }
}

fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// A shell that was given nothing to run, or a program that only waits.
fn is_idle(first: &str, command: &[String]) -> bool {
    match program(first) {
        "sh" | "bash" | "zsh" | "fish" => command.iter().skip(1).all(|w| w.starts_with('-')),
        "sleep" | "tail" => true,
        _ => false,
    }
}

fn is_ollama(command: &[String]) -> bool {
    command.windows(2).any(|w| program(&w[0]) == "ollama" && w[1] == "serve")
}

/// What /proc says about one process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ProcessFacts {
    pub(crate) pid: u32,
    pub(crate) started: u64,
    pub(crate) name: String,
    pub(crate) argv: Vec<String>,
    /// Ports that it listens on where 127.0.0.1 reaches it.
    pub(crate) ports: Vec<u16>,
    pub(crate) unit: Option<String>,
    pub(crate) own: bool,
    pub(crate) folder: Option<std::path::PathBuf>,
    /// Of its environment, where that may be read.
    pub(crate) key: Option<String>,
    pub(crate) pids: Vec<u32>,
}

/// The neighbour that a process is: it serves a model, or holds one of the ports in question.
pub(crate) fn process(facts: &ProcessFacts, wanted: &[u16]) -> Option<Neighbour> {
    let line = line_of(&facts.argv);
    let held = facts.ports.iter().find(|p| wanted.contains(p)).copied();
    let words = facts.argv.iter().take(4).cloned().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    let is_bifrost = || {
        let folder = facts.folder.as_deref().and_then(|f| f.file_name());
        words.contains("bifrost")
            || words.contains("uvicorn")
                && (held == usual_port(Kind::Bifrost) || folder.is_some_and(|f| f == "bifrost"))
    };
    let kind = match line.as_ref().and_then(|l| l.backend) {
        Some(BackendKind::Vllm) => Kind::Vllm,
        Some(BackendKind::LlamaCpp) => Kind::LlamaCpp,
        _ if is_ollama(&facts.argv) => Kind::Ollama,
        _ if held.is_some() && is_bifrost() => Kind::Bifrost,
        _ => Kind::Unknown,
    };
    if kind == Kind::Unknown && held.is_none() {
        return None;
    }
    let line = line.unwrap_or_default();
    let said = line.port.or_else(|| usual_port(kind));
    let port = listens(&facts.ports, said, wanted);
    let key = line.api_key.clone().or_else(|| facts.key.clone().map(Secret::new)).unwrap_or_default();
    // The kernel's name of a Python program is that of one of its threads.
    let name = match kind {
        Kind::Vllm => "vllm",
        Kind::LlamaCpp => "llama-server",
        Kind::Ollama => "ollama",
        Kind::Bifrost | Kind::Unknown => &facts.name,
    };
    Some(Neighbour {
        id: format!("process/{}-{}", facts.pid, facts.started),
        name: name.to_owned(),
        engine: "process".to_owned(),
        kind,
        place: Place::Process {
            pid: facts.pid,
            started: facts.started,
            unit: facts.unit.clone(),
            own: facts.own,
            folder: facts.folder.clone(),
        },
        command: without_secrets(&facts.argv, &[&key]),
        key,
        line,
        port,
        endpoint: port.map(|p| format!("http://127.0.0.1:{p}")),
        running: true,
        pids: facts.pids.clone(),
    })
}

/// The variables that a key may come from.
pub(crate) fn key_variables() -> &'static [&'static str] {
    &KEYS
}

/// Scripts are shown with their interpreter before them, and images put a program of their own there.
fn line_of(argv: &[String]) -> Option<ServerLine> {
    ServerLine::read(argv).or_else(|| ServerLine::read(argv.get(1..)?))
}

/// What stands in the place of a key.
pub(crate) const HIDDEN: &str = "…";

/// Whether a variable of this name holds what nobody else may see.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEY", "TOKEN", "SECRET", "PASSWORD"].iter().any(|end| name.ends_with(end))
}

/// The command line as it may be shown and kept: keys and tokens are left out, in the text of a shell too.
fn without_secrets(command: &[String], known: &[&Secret]) -> Vec<String> {
    // Rather a word too many than a key: all is hidden up to the next flag.
    let mut hide = false;
    let mut one = |piece: &str| {
        let bare = piece.trim_matches(|c| matches!(c, '"' | '\'' | '(' | ')' | ';'));
        let before = &piece[..piece.find(bare).unwrap_or_default()];
        if std::mem::replace(&mut hide, false) && !bare.starts_with('-') {
            hide = true;
            return HIDDEN.to_owned();
        }
        let name = bare.split('=').next().unwrap_or(bare);
        let flag = matches!(name.replace('_', "-").as_str(), "--api-key" | "--hf-token");
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if bare.contains('=') && (flag || plain && is_secret_name(name)) {
            return format!("{before}{name}={HIDDEN}");
        }
        hide = flag;
        piece.to_owned()
    };
    let known: Vec<&str> = known.iter().map(|k| k.reveal()).filter(|k| k.len() >= 4).collect();
    let mut shown: Vec<String> = Vec::with_capacity(command.len());
    for word in command {
        let mut text = String::with_capacity(word.len());
        for piece in word.split_inclusive(char::is_whitespace) {
            let bare = piece.trim_end();
            if bare.is_empty() && !word.is_empty() {
                text.push_str(piece);
                continue;
            }
            text.push_str(&one(bare));
            text.push_str(&piece[bare.len()..]);
        }
        shown.push(known.iter().fold(text, |text, key| text.replace(key, HIDDEN)));
    }
    shown
}

#[cfg(test)]
mod tests;
