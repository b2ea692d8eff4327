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
    let whole: Vec<String> = facts.entrypoint.iter().chain(&facts.cmd).cloned().collect();
    let line = ServerLine::read(&whole).or_else(|| ServerLine::read(&facts.cmd));
    let (project, service) = (labelled(PROJECT), labelled(SERVICE));
    let words = format!("{} {} {}", facts.image, facts.name, service.as_deref().unwrap_or_default());
    let mut kind = kind_of(line.as_ref(), &whole, &facts.image, &words);
    let line = line.unwrap_or_default();
    let port = container_port(facts, &line, kind, wanted);
    let holds_wanted = facts.running && port.is_some_and(|p| wanted.contains(&p));
    // An agent of another Asgard is no model server to take over, but its port may be in the way.
    if owner.is_some() {
        kind = Kind::Unknown;
    }
    if kind == Kind::Unknown && !holds_wanted || !facts.running && project.is_none() {
        return None;
    }
    let toolbox = facts.labels.contains_key("com.github.containers.toolbox")
        || facts.labels.get("manager").is_some_and(|m| m == "distrobox");
    let from_env = || {
        let value = |name: &str| facts.env.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        KEYS.iter().find_map(|name| value(name)).map(Secret::new)
    };
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
        command: without_key(&whole),
        key: line.api_key.clone().or_else(from_env).unwrap_or_default(),
        line,
        port,
        endpoint: port.map(|p| format!("http://127.0.0.1:{p}")),
        running: facts.running,
        pids: facts.pids.clone(),
    })
}

fn container_port(facts: &ContainerFacts, line: &ServerLine, kind: Kind, wanted: &[u16]) -> Option<u16> {
    let inside = line.port.or_else(|| usual_port(kind));
    if facts.host_network {
        return inside;
    }
    let here = || facts.published.iter().filter(|p| p.is_reached_here());
    here()
        .find(|p| Some(p.container) == inside)
        .or_else(|| here().find(|p| wanted.contains(&p.host)))
        .or_else(|| here().next())
        .map(|p| p.host)
}

/// Where each server listens when it is not told.
fn usual_port(kind: Kind) -> Option<u16> {
    match kind {
        Kind::Vllm => Some(8000),
        Kind::LlamaCpp => Some(8080),
        Kind::Ollama => Some(11_434),
        Kind::Bifrost | Kind::Unknown => None,
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
    if is_ollama(command) || image.contains("ollama/ollama") {
        return Kind::Ollama;
    }
    if image.contains("vllm-openai") {
        return Kind::Vllm;
    }
    if image.contains("llama.cpp:server") {
        return Kind::LlamaCpp;
    }
    Kind::Unknown
}

fn is_ollama(command: &[String]) -> bool {
    let name = |word: &String| word.rsplit('/').next().unwrap_or(word).to_owned();
    command.windows(2).any(|w| name(&w[0]) == "ollama" && w[1] == "serve")
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
    let words = facts.argv.iter().take(4).cloned().collect::<Vec<_>>().join(" ");
    let kind = match line.as_ref().and_then(|l| l.backend) {
        Some(BackendKind::Vllm) => Kind::Vllm,
        Some(BackendKind::LlamaCpp) => Kind::LlamaCpp,
        _ if is_ollama(&facts.argv) => Kind::Ollama,
        _ if held.is_some() && words.to_ascii_lowercase().contains("bifrost") => Kind::Bifrost,
        _ => Kind::Unknown,
    };
    if kind == Kind::Unknown && held.is_none() {
        return None;
    }
    let line = line.unwrap_or_default();
    let said = line.port.or_else(|| usual_port(kind));
    // What it really listens on is the truth; while it loads it listens on nothing yet.
    let port =
        held.or_else(|| said.filter(|p| facts.ports.contains(p))).or(facts.ports.first().copied()).or(said);
    Some(Neighbour {
        id: format!("process/{}-{}", facts.pid, facts.started),
        name: facts.name.clone(),
        engine: "process".to_owned(),
        kind,
        place: Place::Process {
            pid: facts.pid,
            started: facts.started,
            unit: facts.unit.clone(),
            own: facts.own,
            folder: facts.folder.clone(),
        },
        command: without_key(&facts.argv),
        key: line.api_key.clone().or_else(|| facts.key.clone().map(Secret::new)).unwrap_or_default(),
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

/// Scripts are shown with their interpreter before them.
fn line_of(argv: &[String]) -> Option<ServerLine> {
    ServerLine::read(argv).or_else(|| ServerLine::read(argv.get(1..)?))
}

/// The command line as it may be shown: a key in it is left out.
fn without_key(command: &[String]) -> Vec<String> {
    let mut hide = false;
    command
        .iter()
        .map(|word| {
            if std::mem::replace(&mut hide, false) {
                return "…".to_owned();
            }
            let flag = word.split('=').next().unwrap_or(word);
            if matches!(flag, "--api-key" | "--api_key") {
                if word.contains('=') {
                    return format!("{flag}=…");
                }
                hide = true;
            }
            word.clone()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn facts(name: &str, image: &str, cmd: &str) -> ContainerFacts {
        ContainerFacts {
            id: format!("id-{name}"),
            name: name.to_owned(),
            image: image.to_owned(),
            cmd: words(cmd),
            running: true,
            ..ContainerFacts::default()
        }
    }

    fn published(ip: &str, host: u16, container: u16) -> Vec<Published> {
        vec![Published { ip: ip.to_owned(), host, container }]
    }

    const SERVE: &str = "vllm serve Qwen/Qwen2.5-14B-Instruct-AWQ --host 0.0.0.0 --port 8001 \
                         --gpu-memory-utilization 0.20 --max-model-len 32768 --api-key sk-verysecret";

    #[test]
    fn a_compose_service_is_recognised_with_port_model_and_share() {
        let mut thor = facts("strix-vllm_thor-1", "docker.io/kyuz0/vllm-therock-gfx1151:latest", SERVE);
        thor.host_network = true;
        thor.labels = HashMap::from([
            (PROJECT[0].to_owned(), "strix".to_owned()),
            (SERVICE[0].to_owned(), "vllm_thor".to_owned()),
        ]);
        let found = container("docker", "us", &thor, &[8001]).unwrap();
        assert_eq!((found.kind, found.port), (Kind::Vllm, Some(8001)));
        assert_eq!(found.line.model.as_deref(), Some("Qwen/Qwen2.5-14B-Instruct-AWQ"));
        assert_eq!(found.line.utilization, Some(0.2));
        assert_eq!(found.key.reveal(), "sk-verysecret");
        assert!(!format!("{found:?}").contains("verysecret"), "a key is shown: {found:?}");
        assert!(
            matches!(&found.place, Place::Container { project: Some(p), service: Some(s), .. } if p == "strix" && s == "vllm_thor")
        );
        // One that was stopped is known by its project.
        thor.running = false;
        assert!(!container("docker", "us", &thor, &[8001]).unwrap().running);
        thor.labels.clear();
        assert_eq!(container("docker", "us", &thor, &[8001]), None);
    }

    #[test]
    fn ours_is_never_a_neighbour_and_another_asgards_only_where_it_is_in_the_way() {
        let mut agent = facts("asgard-thor-1", "x", SERVE);
        agent.published = published("127.0.0.1", 8001, 8001);
        agent.labels.insert(INSTANCE.to_owned(), "us".to_owned());
        assert_eq!(container("docker", "us", &agent, &[8001]), None);
        let other = container("docker", "them", &agent, &[8001]).unwrap();
        assert_eq!(other.kind, Kind::Unknown);
        assert_eq!(container("docker", "them", &agent, &[8002]), None);
    }

    #[test]
    fn a_port_counts_where_this_machine_reaches_it() {
        for (ip, host, port) in [
            ("127.0.0.1", 9000, Some(9000)),
            ("0.0.0.0", 9001, Some(9001)),
            ("", 9002, Some(9002)),
            ("192.168.1.5", 9003, None),
        ] {
            let mut server =
                facts("s", "ghcr.io/ggml-org/llama.cpp:server-vulkan", "-m /m/a.gguf --port 8080");
            server.entrypoint = words("/app/llama-server");
            server.published = published(ip, host, 8080);
            let found = container("podman", "us", &server, &[]).unwrap();
            assert_eq!((found.kind, found.port), (Kind::LlamaCpp, port), "{ip}");
        }
        // Something else on a port of the stack is named, and nowhere else.
        let mut web = facts("web", "nginx", "nginx");
        web.published = published("0.0.0.0", 8001, 80);
        assert_eq!(container("docker", "us", &web, &[8001]).unwrap().kind, Kind::Unknown);
        assert_eq!(container("docker", "us", &web, &[8002]), None);
    }

    #[test]
    fn toolboxes_ollama_and_the_earlier_bifrost_are_told_apart() {
        let mut toolbox = facts(
            "llama-rocm",
            "docker.io/kyuz0/amd-strix-halo-toolboxes:rocm-7.1",
            "llama-server -m /m.gguf",
        );
        toolbox.labels.insert("com.github.containers.toolbox".to_owned(), "true".to_owned());
        toolbox.host_network = true;
        let found = container("podman", "us", &toolbox, &[]).unwrap();
        assert!(matches!(found.place, Place::Container { toolbox: true, .. }) && found.port == Some(8080));
        let mut ollama = facts("ollama", "ollama/ollama:latest", "serve");
        ollama.entrypoint = words("/bin/ollama");
        ollama.published = published("", 11_434, 11_434);
        assert_eq!(container("docker", "us", &ollama, &[]).unwrap().kind, Kind::Ollama);
        let mut bifrost = facts("strix-bifrost-1", "strix-bifrost", "uvicorn app:app --port 8899");
        bifrost.host_network = true;
        bifrost.published = published("", 8899, 8899);
        assert_eq!(container("docker", "us", &bifrost, &[8899]).unwrap().kind, Kind::Bifrost);
        assert_eq!(container("docker", "us", &facts("db", "postgres", "postgres"), &[8001]), None);
    }

    #[test]
    fn processes_are_known_by_their_command_line_or_by_the_port_they_hold() {
        let of = |argv: &str, ports: &[u16]| ProcessFacts {
            pid: 42,
            started: 7,
            name: "x".to_owned(),
            argv: words(argv),
            ports: ports.to_vec(),
            own: true,
            ..ProcessFacts::default()
        };
        let native = process(&of("/usr/bin/llama-server -m /m/a.gguf --port 9090", &[9090]), &[]).unwrap();
        assert_eq!(
            (native.kind, native.port, native.id.as_str()),
            (Kind::LlamaCpp, Some(9090), "process/42-7")
        );
        let python = format!("/usr/bin/python3 /opt/bin/{SERVE}");
        assert_eq!(process(&of(&python, &[8001]), &[]).unwrap().kind, Kind::Vllm);
        assert_eq!(process(&of("/usr/local/bin/ollama serve", &[11_434]), &[]).unwrap().kind, Kind::Ollama);
        assert_eq!(process(&of("nginx", &[8001]), &[8001]).unwrap().kind, Kind::Unknown);
        assert_eq!(process(&of("nginx", &[80]), &[8001]), None);
        assert_eq!(process(&of("", &[]), &[]), None);
    }

    mod anything {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            #[test]
            fn nothing_that_a_container_says_makes_it_fall_over(
                cmd in proptest::collection::vec(".{0,24}", 0..8),
                image in ".{0,40}",
                labels in proptest::collection::hash_map(".{0,12}", ".{0,12}", 0..4),
                host: bool,
            ) {
                let facts = ContainerFacts { cmd: cmd.clone(), image, labels, host_network: host, running: true, ..ContainerFacts::default() };
                let _ = container("docker", "us", &facts, &[8001]);
                let of = ProcessFacts { argv: cmd, ..ProcessFacts::default() };
                let _ = process(&of, &[8001]);
            }
        }
    }
}
