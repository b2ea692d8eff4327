//! How an agent is run: the keys `engine`, `image`, `command` and `endpoint`.

use std::net::IpAddr;

use super::super::super::quantity::quoted;
use super::super::super::{BackendKind, Runs};
use super::AgentCheck;

const VLLM_IMAGE: &str = "docker.io/kyuz0/vllm-therock-gfx1151:latest";
const LLAMA_CPP_IMAGE: &str = "ghcr.io/ggml-org/llama.cpp:server-vulkan";

/// Where Ollama listens unless it was told otherwise.
const OLLAMA: &str = "http://127.0.0.1:11434";

#[derive(Clone, Copy, PartialEq)]
enum Engine {
    Container,
    Process,
    External,
    Ollama,
}

impl AgentCheck<'_> {
    pub(super) fn runs(&mut self, backend: BackendKind) -> Option<Runs> {
        let engine = self.engine(backend)?;
        self.keys_of_others(engine);
        match engine {
            Engine::Container => Some(self.container(backend)),
            Engine::Process => Some(self.process()),
            Engine::External => self.external(),
            Engine::Ollama => self.ollama(),
        }
    }

    fn engine(&mut self, backend: BackendKind) -> Option<Engine> {
        let raw = self.raw;
        let words = [
            ("container", Engine::Container),
            ("process", Engine::Process),
            ("external", Engine::External),
            ("ollama", Engine::Ollama),
        ];
        let engine = match raw.engine {
            Some(_) => self.word("engine", raw.engine.as_deref(), &words)?,
            None if backend == BackendKind::External => Engine::External,
            None if backend == BackendKind::Ollama => Engine::Ollama,
            None if raw.command.is_some() => Engine::Process,
            None => Engine::Container,
        };
        if (engine == Engine::External) != (backend == BackendKind::External) {
            let whose = if engine == Engine::External { "that somebody else runs" } else { "of our own" };
            self.problem(
                "engine",
                format!("A server {whose} does not go with backend = \"{}\".", backend.word()),
                "Write \"external\" for both engine and backend, or for neither.",
            );
            return None;
        }
        if (engine == Engine::Ollama) != (backend == BackendKind::Ollama) {
            self.problem(
                "engine",
                format!("Models of Ollama are run by Ollama, and backend = \"{}\" is not.", backend.word()),
                "Write \"ollama\" for both engine and backend, or for neither.",
            );
            return None;
        }
        Some(engine)
    }

    /// A key without effect would only look like a setting.
    fn keys_of_others(&mut self, engine: Engine) {
        let raw = self.raw;
        let (word, wanted) = match engine {
            Engine::Container => ("a container", "image"),
            Engine::Process => ("a process", "command"),
            Engine::External => ("an external server", "endpoint"),
            Engine::Ollama => ("a model of Ollama", "endpoint"),
        };
        let given = [
            ("image", raw.image.is_some()),
            ("command", raw.command.is_some()),
            ("endpoint", raw.endpoint.is_some()),
        ];
        for (key, _) in given.iter().filter(|(key, given)| *given && *key != wanted) {
            self.problem(
                key,
                format!("{key} means nothing for {word}, which {} is.", self.name.proper()),
                format!("Remove {key}, or say with engine and backend what is meant."),
            );
        }
        if raw.host_ipc.is_some() && engine != Engine::Container {
            let path = ["agents", self.name.as_str(), "host_ipc"];
            self.found.note(&path, "host_ipc means something for containers only.");
        }
    }

    fn container(&mut self, backend: BackendKind) -> Runs {
        let default = if backend == BackendKind::LlamaCpp { LLAMA_CPP_IMAGE } else { VLLM_IMAGE };
        let image = self.raw.image.clone().unwrap_or_else(|| default.to_owned());
        let strange = |c: char| c.is_whitespace() || c.is_control();
        if image.is_empty() || image.starts_with('-') || image.contains(strange) {
            self.problem(
                "image",
                format!("{} is not the name of an image.", quoted(&image)),
                format!("Write it as the engine does, such as \"{default}\"."),
            );
        }
        Runs::Container { image, host_ipc: self.raw.host_ipc.unwrap_or(false) }
    }

    fn process(&mut self) -> Runs {
        let command = self.raw.command.clone().unwrap_or_default();
        if command.first().is_none_or(|program| program.trim().is_empty()) {
            self.problem(
                "command",
                "A process needs a program to run.",
                "Write command = [\"llama-server\"]: the program, then what comes before the usual arguments.",
            );
        }
        self.no_control("command", command.iter().map(String::as_str));
        Runs::Process { command }
    }

    fn ollama(&mut self) -> Option<Runs> {
        let written = self.raw.endpoint.as_deref().unwrap_or(OLLAMA);
        let parsed = endpoint(written);
        if parsed.is_none() {
            self.problem(
                "endpoint",
                format!("{} is not an address of Ollama on this machine.", quoted(written)),
                format!("Write endpoint = \"{OLLAMA}\", or leave it out."),
            );
        }
        parsed.map(|(endpoint, _)| Runs::Ollama { endpoint })
    }

    fn external(&mut self) -> Option<Runs> {
        let Some(written) = &self.raw.endpoint else {
            self.problem(
                "endpoint",
                "An external server needs its address.",
                "Write endpoint = \"http://127.0.0.1:PORT\".",
            );
            return None;
        };
        let parsed = endpoint(written);
        if parsed.is_none() {
            self.problem(
                "endpoint",
                format!("{} is not an address of a server on this machine.", quoted(written)),
                "Write endpoint = \"http://127.0.0.1:PORT\"; other machines are not supported yet.",
            );
        }
        parsed.map(|(endpoint, _)| Runs::External { endpoint })
    }
}

/// The address that paths such as `/v1/models` are put behind, and its port. Loopback only, plain HTTP only.
pub(super) fn endpoint(written: &str) -> Option<(String, u16)> {
    let base = written.trim().trim_end_matches('/');
    let base = base.strip_suffix("/v1").unwrap_or(base).trim_end_matches('/');
    let rest = base.strip_prefix("http://")?;
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p));
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '@' | '\\');
    if authority.contains(strange) || path.contains(strange) {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address are inside its brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|p| *p > 0)?),
        _ => (authority, 80),
    };
    let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let loopback = host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback.then(|| (base.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn only_this_machine_is_an_endpoint() {
        for (written, base, port) in [
            ("http://127.0.0.1:11434", "http://127.0.0.1:11434", 11434),
            ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434", 11434),
            ("http://localhost:8080/", "http://localhost:8080", 8080),
            ("http://[::1]:8080/llm", "http://[::1]:8080/llm", 8080),
            ("http://[::1]", "http://[::1]", 80),
        ] {
            assert_eq!(endpoint(written), Some((base.to_owned(), port)), "{written}");
        }
        for bad in [
            "",
            "127.0.0.1:80",
            "https://127.0.0.1",
            "http://192.168.1.2:80",
            "http://127.0.0.1:0",
            "http://127.0.0.1:99999",
            "http://127.0.0.1@evil.example:80",
            "http://127.0.0.1.evil.example",
            "http://localhost:80/a b",
            "http://",
        ] {
            assert_eq!(endpoint(bad), None, "{bad}");
        }
    }
}
