//! One service: an agent, the earlier scheduler, an Ollama daemon, or nothing of ours.

use domain::server_line::{ServerLine, split_shell};
use domain::stack::BackendKind;

use super::merge::Service;
use super::values::{Mount, is_true, mounts, pairs, port, seconds, texts};
use super::{ollama, refuse};
use crate::agents::{Draft, name_of};
use crate::env::{Vars, host_path};
use crate::finish::Household;
use crate::interpolate::has_unset;
use crate::known;
use crate::report::{Place, Report, is_secret_name, plain, quoted};
use crate::yaml::Node;

/// Where these servers listen when they are not told.
const VLLM_PORT: u16 = 8000;
const LLAMA_CPP_PORT: u16 = 8080;

pub(super) fn read(
    service: &Service,
    root: Option<&str>,
    house: &mut Household,
    vars: &mut Vars<'_>,
    report: &mut Report,
) {
    let place = Place::at(&service.file, service.node.line);
    let what = format!("services.{}", plain(&service.name));
    if refuse::is_scheduler(service) {
        scheduler(service, house, report);
        return;
    }
    let Some(words) = command(service, &what, report) else { return };
    if ollama::is_ollama(service, &words) {
        ollama::read(service, vars, house, report);
        return;
    }
    let image = service.node.get("image").and_then(|n| n.text()).map(str::to_owned);
    let Some(line) = server_line(&words, image.as_deref()) else {
        let message = "It serves no model that is known here, so no agent was made of it.";
        report.not_understood(&place, None, &what, message);
        return;
    };
    let Some(name) = name_of(&service.name) else {
        let message = format!("No agent can be called as {} is; rename the service.", quoted(&service.name));
        report.not_understood(&place, None, &what, message);
        return;
    };
    let mut draft = Draft { name, place, what, line, image, ..Draft::default() };
    let mounted = service.node.get("volumes").map(|n| mounts(n)).unwrap_or_default();
    keys(service, &mut draft, &mounted, report);
    for profile in service.node.get("profiles").map(|n| texts(n)).unwrap_or_default() {
        if let Some(profile) = name_of(&profile) {
            if !house.explicit && !house.profiles.contains(&profile) {
                house.profiles.push(profile.clone());
            }
            draft.profiles.push(profile);
        } else {
            let message = format!("No profile can be called {}.", quoted(&profile));
            report.not_understood(
                &draft.place,
                Some(&draft.name),
                &format!("{}.profiles", draft.what),
                message,
            );
        }
    }
    // Whoever lists several profiles means them as they are.
    house.explicit |= draft.profiles.len() > 1;
    model(&mut draft, &mounted, root, report);
    published(service, &mut draft, report);
    for_cpu(service, &mut draft);
    let backend = draft.backend().word();
    if let Some(model) = draft.line.model.as_deref().filter(|m| !has_unset(m)) {
        let message = format!("{} on {backend}.", quoted(model));
        report.understood(&draft.place, Some(&draft.name), &draft.what, message);
    }
    house.agents.push(draft);
}

/// The words of entry point and command.
fn command(service: &Service, what: &str, report: &mut Report) -> Option<Vec<String>> {
    let mut words = Vec::new();
    for key in ["entrypoint", "command"] {
        let Some(node) = service.node.get(key) else { continue };
        match node.text() {
            None => words.extend(texts(node)),
            Some(text) => {
                if let Some(split) = split_shell(text) {
                    words.extend(split);
                } else {
                    report.not_understood(
                    &Place::at(&service.file, node.line),
                    None,
                    &format!("{what}.{key}"),
                    "It holds a command to be run, or a quote that does not end. Nothing is run here, so no agent \
                     was made of it.",
                );
                    return None;
                }
            }
        }
    }
    Some(words)
}

/// The line, with the program that the image brings where the command names none.
fn server_line(words: &[String], image: Option<&str>) -> Option<ServerLine> {
    ServerLine::read(words).or_else(|| {
        let image = image?.to_ascii_lowercase();
        let program: &[&str] = if image.contains("vllm") {
            &["vllm", "serve"]
        } else if image.contains("llama.cpp") {
            &["llama-server"]
        } else {
            return None;
        };
        // A program of the image that is no server stays what it is.
        let server = words.first()?;
        if !(server.starts_with('-')
            || (program.len() > 1 && server.contains('/') && !server.starts_with('/')))
        {
            return None;
        }
        let words: Vec<String> =
            program.iter().map(|w| (*w).to_owned()).chain(words.iter().cloned()).collect();
        ServerLine::read(&words)
    })
}

fn scheduler(service: &Service, house: &mut Household, report: &mut Report) {
    let place = Place::at(&service.file, service.node.line);
    let environment = service.node.get("environment").map(|e| pairs(e)).unwrap_or_default();
    let port =
        environment.iter().find(|(key, _, _)| key == "BIFROST_PORT").and_then(|(_, value, _)| value.clone());
    if let Some(port) = port.and_then(|p| p.trim().parse::<u16>().ok()).filter(|p| *p > 0) {
        house.gateway = Some(port);
    }
    for (key, value, line) in environment {
        if is_secret_name(&key) {
            report.secret(&Place::at(&service.file, line), None, &key, value.as_deref().unwrap_or_default());
        }
    }
    report.understood(
        &place,
        None,
        &format!("services.{}", plain(&service.name)),
        "The earlier scheduler: Asgard's own gateway takes its place, and nothing of it is needed, least of all the \
         engine's socket that it mounts.",
    );
}

/// Every key of the service, with what became of it.
fn keys(service: &Service, draft: &mut Draft, mounted: &[Mount], report: &mut Report) {
    for (key, node) in service.node.map().into_iter().flatten() {
        let place = Place::at(&service.file, node.line);
        let at = format!("{}.{}", draft.what, plain(key));
        let agent = draft.name.clone();
        let agent = Some(agent.as_str());
        match key.as_str() {
            // Read elsewhere.
            "command" | "entrypoint" | "image" | "profiles" | "ports" => {}
            "depends_on" => {
                report.understood(&place, agent, &at, "Asgard starts one agent after the other, whatever waits for what.");
            }
            "devices" | "group_add" | "security_opt" | "shm_size" => {
                report.understood(&place, agent, &at, "Asgard gives each server what the GPU of this machine needs.");
            }
            "environment" => environment(service, node, draft, report),
            "volumes" => volumes(service, mounted, draft, report),
            "healthcheck" => healthcheck(node, draft),
            "network_mode" if node.text() == Some("host") => report.corrected(
                &place,
                agent,
                &at,
                "Not the host's network, where every machine could reach it: its port is published on 127.0.0.1 instead.",
            ),
            "network_mode" | "networks" | "hostname" | "expose" | "container_name" | "labels" | "logging" | "tty"
            | "stdin_open" | "init" | "stop_grace_period" | "stop_signal" | "pull_policy" | "ulimits" => {
                report.understood(&place, agent, &at, "Not needed: Asgard names, connects and stops its servers itself.");
            }
            "ipc" => match node.text() {
                Some("host") => {
                    draft.host_ipc = true;
                    report.understood(&place, agent, &at, "Kept as host_ipc = true.");
                }
                _ => report.understood(&place, agent, &at, "Each server has a private one, of 16 GB at most."),
            },
            "restart" => match node.text() {
                Some("no") => report.understood(&place, agent, &at, "No restart: so it is here too."),
                _ => report.corrected(
                    &place,
                    agent,
                    &at,
                    "Left out: after a reboot the engine would start all of them at once, and each would count the memory \
                     of the others as its own. Asgard starts them in order.",
                ),
            },
            "build" => report.not_understood(
                &place,
                agent,
                &at,
                "Asgard builds no image. Build it once yourself and name it as image.",
            ),
            "env_file" => report.not_understood(
                &place,
                agent,
                &at,
                "It names another file, which was not read. Write what the server needs into env.",
            ),
            "deploy" | "mem_limit" | "memswap_limit" | "cpus" | "gpus" | "runtime" => report.not_understood(
                &place,
                agent,
                &at,
                "Left out: a limit of the engine does not bound the GPU's memory, and the devices are Asgard's to give.",
            ),
            "privileged" if !is_true(node) => report.understood(&place, agent, &at, "It never is."),
            key if key.starts_with("x-") => {}
            _ => report.not_understood(&place, agent, &at, "This key is not known here; it was left out."),
        }
    }
    if draft.image.is_none() && draft.line.backend != Some(BackendKind::Ollama) {
        report.not_understood(
            &draft.place,
            Some(&draft.name),
            &format!("{}.image", draft.what),
            "It names no image; Asgard's usual one for this server is taken.",
        );
    }
}

fn environment(service: &Service, node: &Node, draft: &mut Draft, report: &mut Report) {
    for (key, value, line) in pairs(node) {
        let place = Place::at(&service.file, line);
        let at = format!("{}.environment.{}", draft.what, plain(&key));
        match value {
            Some(value) if is_secret_name(&key) => {
                if !has_unset(&value) {
                    report.secret(&place, Some(&draft.name), &key, &value);
                }
            }
            Some(value) => {
                draft.env.insert(key, value);
            }
            None => report.not_understood(
                &place,
                Some(&draft.name),
                &at,
                "Its value would come from the shell that started compose; it was left out.",
            ),
        }
    }
}

fn volumes(service: &Service, mounted: &[Mount], draft: &Draft, report: &mut Report) {
    let at = format!("{}.volumes", draft.what);
    let agent = Some(draft.name.as_str());
    for mount in mounted {
        let place = Place::at(&service.file, mount.line);
        let target = mount.target.trim_end_matches('/');
        let cache = |name: &str| {
            let source = mount.source.to_ascii_lowercase().replace('_', "");
            source.contains(name)
        };
        let used = draft.model().starts_with(&format!("{target}/"));
        if used {
            report.understood(&place, agent, &at, "The folder of its model.");
        } else if target == "/root/.cache/vllm" || target == "/opt/triton_cache" || target == "/root/.aiter" {
            report.understood(
                &place,
                agent,
                &at,
                "Asgard keeps this cache itself and mounts it in the same place.",
            );
        } else if cache("vllm") && cache("cache") {
            report.corrected(
                &place,
                agent,
                &at,
                "vLLM's cache is mounted where vLLM does not look for it, so every start compiled anew. Asgard mounts its \
                 own at /root/.cache/vllm.",
            );
        } else if cache("huggingface") || target.contains("huggingface") {
            report.understood(
                &place,
                agent,
                &at,
                "Asgard mounts the hub folder of the Hugging Face cache itself, read-only.",
            );
        } else if has_unset(&mount.source) || has_unset(target) {
            report.not_understood(
                &place,
                agent,
                &at,
                format!(
                    "{} is not set, so this mount was left out.",
                    crate::interpolate::unset_in(&mount.source).join(", ")
                ),
            );
        } else {
            report.not_understood(
                &place,
                agent,
                &at,
                format!("{} is not mounted: Asgard mounts models and caches alone.", quoted(&mount.source)),
            );
        }
    }
}

/// How long compose would have waited.
fn healthcheck(node: &Node, draft: &mut Draft) {
    let time = |key: &str| node.get(key).and_then(|n| n.text()).and_then(seconds);
    if node.get("disable").is_some_and(|n| is_true(n)) {
        return;
    }
    let retries = node.get("retries").and_then(|n| n.text()).and_then(|t| t.parse::<u64>().ok()).unwrap_or(3);
    let each = time("interval").unwrap_or(30);
    let all = time("start_period").unwrap_or(0).saturating_add(retries.saturating_mul(each));
    draft.load_timeout = Some(all);
}

/// The model as a file of the host, or as the Hub's id.
fn model(draft: &mut Draft, mounted: &[Mount], root: Option<&str>, report: &mut Report) {
    let (place, name, at) = (draft.place.clone(), draft.name.clone(), format!("{}.model", draft.what));
    let Some(model) = draft.line.model.clone() else { return };
    if draft.backend() == BackendKind::LlamaCpp && !model.contains(".gguf") && !has_unset(&model) {
        draft.line.model = hub_file(&model, &mut draft.line.rest);
        if draft.line.model.is_none() {
            let message = format!(
                "Which file of {} is meant is not said; write it as OWNER/NAME/FILE.gguf.",
                quoted(&model)
            );
            report.not_understood(&place, Some(&name), &at, message);
        }
        return;
    }
    if !model.starts_with('/') {
        return;
    }
    let inside = mounted.iter().find_map(|m| {
        let rest = model.strip_prefix(m.target.trim_end_matches('/'))?.strip_prefix('/')?;
        Some((m, rest))
    });
    let Some((mount, rest)) = inside else { return };
    let named_volume = !mount.source.starts_with(['/', '.', '~']);
    let (folder, whole) = host_path(&mount.source, root);
    let path = format!("{}/{rest}", folder.trim_end_matches('/'));
    if !whole && !has_unset(&mount.source) {
        let message = if named_volume {
            format!(
                "{} is in a volume of the engine. Put it in a folder, and write its whole path as model.",
                quoted(rest)
            )
        } else {
            format!(
                "{} is no whole path, and where it begins is not known. Write the whole path as model.",
                quoted(&path)
            )
        };
        report.not_understood(&place, Some(&name), &at, message);
    }
    draft.line.model = Some(path);
    if draft.backend() == BackendKind::Vllm {
        report.not_understood(
            &place,
            Some(&name),
            &at,
            "A folder of its own: vLLM is given the Hugging Face cache alone here. Fetch the model into it, and write \
             its id as model.",
        );
        draft.line.model = None;
    }
}

/// `OWNER/NAME:QUANT`, or the repository with `--hf-file`.
fn hub_file(model: &str, rest: &mut Vec<String>) -> Option<String> {
    let (repo, quant) = model.split_once(':').map_or((model, None), |(r, q)| (r, Some(q)));
    if let Some(at) = rest.iter().position(|w| w == "--hf-file" || w == "-hff") {
        let file = rest.get(at + 1).cloned();
        rest.drain(at..(at + 2).min(rest.len()));
        return file.map(|file| format!("{repo}/{file}"));
    }
    known::hub_file(repo, quant).map(str::to_owned)
}

/// Its port on the host.
fn published(service: &Service, draft: &mut Draft, report: &mut Report) {
    let default = if draft.backend() == BackendKind::LlamaCpp { LLAMA_CPP_PORT } else { VLLM_PORT };
    let unread = draft.line.rest.iter().any(|w| w.starts_with("--port"));
    let inside = draft.line.port.unwrap_or(default);
    let at = format!("{}.ports", draft.what);
    let mut found = None;
    for entry in service.node.get("ports").and_then(|p| p.list()).unwrap_or_default() {
        let place = Place::at(&service.file, entry.line);
        match port(entry) {
            Some((host, target)) if target == inside => found = Some((host, place)),
            Some(_) => report.not_understood(
                &place,
                Some(&draft.name),
                &at,
                "Nothing of the server is at this port.",
            ),
            None => report.not_understood(
                &place,
                Some(&draft.name),
                &at,
                "This port is not understood: one number for the host and one for the server are wanted.",
            ),
        }
    }
    match found {
        Some((host, place)) => {
            draft.line.port = Some(host);
            report.understood(&place, Some(&draft.name), &at, format!("Port {host}, on 127.0.0.1 only."));
        }
        None if draft.line.port.is_none() && !unread => draft.line.port = Some(inside),
        None => {}
    }
}

fn for_cpu(service: &Service, draft: &mut Draft) {
    let devices = service.node.get("devices").map(|n| texts(n)).unwrap_or_default();
    let no_gpu = !devices.iter().any(|d| d.contains("/dev/dri") || d.contains("/dev/kfd"))
        && service.node.get("gpus").is_none()
        && service.node.get("deploy").is_none();
    let threads = draft.line.rest.iter().any(|w| w == "-t" || w == "--threads");
    let file = service.file.to_ascii_lowercase();
    draft.for_cpu = draft.backend() == BackendKind::LlamaCpp
        && (no_gpu || threads || known::file_name(&file).contains("cpu"));
}
