//! What an agent's `model` may be, by the backend that loads it.

use super::super::super::quantity::quoted;
use super::super::super::{BackendKind, HubFile, hub_file};
use super::AgentCheck;

impl<'a> AgentCheck<'a> {
    /// The model as written, where there is one; what is wrong with it is among the findings.
    pub(super) fn model(&mut self, backend: Option<BackendKind>) -> Option<&'a str> {
        let Some(model) = self.raw.model.as_deref().filter(|m| !m.trim().is_empty()) else {
            self.problem(
                "model",
                format!("{} has no model.", self.name.proper()),
                "Write its Hub id, such as model = \"Qwen/Qwen2.5-14B-Instruct-AWQ\".",
            );
            return None;
        };
        self.argument("model", Some(model));
        // Whatever an external server calls its model is right, and so is any path.
        let free = matches!(backend, Some(BackendKind::External | BackendKind::Ollama))
            || is_gguf(model)
            || model.starts_with('/');
        if free && model.split('/').any(|p| p == "..") {
            self.problem(
                "model",
                format!("{} leads out of where it points to.", quoted(model)),
                "Write the path without \"..\".",
            );
        }
        // What others run has its own folders.
        if !matches!(backend, Some(BackendKind::External | BackendKind::Ollama)) {
            self.mountable("model", model);
            if let Some(draft) = self.raw.draft_model.as_deref() {
                self.mountable("draft_model", draft);
            }
        }
        let part = |p: &str| {
            !p.is_empty()
                && !p.starts_with('.')
                && p.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        };
        self.named_well(backend, model);
        if let (Some(BackendKind::LlamaCpp), Some(draft)) = (backend, self.raw.draft_model.as_deref())
            && HubFile::parse(draft).is_some()
        {
            self.problem(
                "draft_model",
                format!("{} is a file of the Hub, and only model is looked for there.", quoted(draft)),
                "Write the whole path of its file.",
            );
        }
        let hub_id = model.split('/').count() <= 2 && model.split('/').all(part);
        if !free && !hub_id {
            self.problem(
                "model",
                format!("{} is neither a Hub id nor a path.", quoted(model)),
                "Write OWNER/NAME as on the Hub, or the whole path of a file.",
            );
        }
        Some(model)
    }

    /// What can be told of a name where the path or the Hub is no judge of it: a tag of Ollama, a file of the Hub.
    fn named_well(&mut self, backend: Option<BackendKind>, model: &str) {
        let strange = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '/'));
        if backend == Some(BackendKind::Ollama) {
            if model.contains(strange) || model.split('/').any(str::is_empty) {
                self.problem(
                    "model",
                    format!("{} is not a model of Ollama.", quoted(model)),
                    "Write it as `ollama list` shows it, such as model = \"qwen2.5:14b\".",
                );
            }
            return;
        }
        if backend == Some(BackendKind::External) || !is_gguf(model) {
            return;
        }
        let file = HubFile::parse(model);
        if let (Some(BackendKind::Vllm), Some(file)) = (backend, &file) {
            self.problem(
                "model",
                format!("{} is one file of {}, and vLLM loads whole repositories.", quoted(model), file.repo),
                "Write backend = \"llama.cpp\", or the id of a repository that vLLM loads.",
            );
        } else if let Some(first) = hub_file::first_part(model) {
            self.problem(
                "model",
                format!("{} is not the first part of its model.", quoted(model)),
                format!("Write {}; the server finds the others beside it.", quoted(&first)),
            );
        } else if file.is_none() && !model.starts_with('/') {
            // An import may not know where a folder begins: said, and left to be completed.
            let path = ["agents", self.name.as_str(), "model"];
            self.found.note(
                &path,
                format!("{} is neither a whole path nor OWNER/NAME/FILE.gguf of the Hub.", quoted(model)),
            );
        }
    }

    /// The folder of a model file is mounted into the agent's container: it must not be one that holds everything.
    fn mountable(&mut self, key: &str, model: &str) {
        const TOO_MUCH: [&str; 9] =
            ["/", "/etc", "/proc", "/sys", "/dev", "/root", "/home", "/run", "/var/run"];
        if !model.starts_with('/') {
            return;
        }
        // "//" and "/./" lead nowhere, and are not there to hide behind.
        let mut parts: Vec<&str> = model.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
        parts.pop();
        let folder = format!("/{}", parts.join("/"));
        let below = |roots: &[&str]| roots.iter().any(|root| folder.starts_with(root));
        // The sockets of engines lie below /run; so do removable disks, each in a folder of its own.
        let run = below(&["/run/", "/var/run/"]) && !(below(&["/run/media/"]) && parts.len() > 2);
        if TOO_MUCH.contains(&folder.as_str()) || below(&["/proc/", "/sys/", "/dev/"]) || run {
            self.problem(
                key,
                format!(
                    "The folder of {} would be given to the agent, and it holds more than models.",
                    quoted(model)
                ),
                "Put the file into a folder of its own.",
            );
        }
    }
}

pub(super) fn is_gguf(model: &str) -> bool {
    model.to_ascii_lowercase().ends_with(".gguf")
}
