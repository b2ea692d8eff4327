//! The compose file, in the syntax that docker-compose 1.29 and later both read.

use std::fmt::Write as _;

use domain::stack::{Agent, BackendKind, LoadMode, Runs, Stack};

use super::variables::{self, is_plain, prefixes};
use super::{Export, left_out};
use crate::SourceFile;
use crate::known::{file_name, is_awq};

const HEAD: &str = "# Written by Asgard: the same servers with the same flags. Start one profile at a time:\n\
                    #   docker-compose --profile NAME up -d\n";
/// vLLM's own default depends on the device, and takes memory.
const BATCHED_TOKENS: u32 = 2048;
const FORWARD: &str = "--max-num-batched-tokens";

/// A compose file with its `.env`.
pub fn export_compose(stack: &Stack) -> Export {
    let mut notes: Vec<String> = Vec::new();
    let mut yaml = Yaml(String::from(HEAD));
    let prefixes = prefixes(stack);
    let services: Vec<(&Agent, &String)> = stack
        .agents
        .iter()
        .zip(&prefixes)
        .filter(|(a, _)| matches!(a.runs, Runs::Container { .. }) && a.served_by.is_none())
        .collect();
    let ollama = stack.agents.iter().find(|a| matches!(a.runs, Runs::Ollama { .. }));
    notes.extend(stack.agents.iter().filter_map(left_out));
    if services.is_empty() && ollama.is_none() {
        notes.push(
            "Nothing of this stack runs in a container, so there is no compose file to write.".to_owned(),
        );
        return Export { files: Vec::new(), notes };
    }
    yaml.line(0, "services:");
    if let Some(agent) = ollama {
        daemon(&mut yaml, agent.port);
    }
    for (i, (agent, prefix)) in services.iter().enumerate() {
        let before: Vec<&Agent> = services[..i].iter().map(|(a, _)| *a).collect();
        service(&mut yaml, agent, prefix, &before, stack);
    }
    yaml.line(0, "x-asgard:");
    yaml.line(1, &format!("name: {}", quote(&stack.name)));
    yaml.line(1, &format!("base: {}", quote(&stack.base)));
    yaml.line(1, &format!("profiles: {}", list(stack.profiles.iter().map(|p| p.name.clone()))));
    let sets: Vec<String> =
        stack.conflicts.iter().map(|set| list(set.iter().map(ToString::to_string))).collect();
    yaml.line(1, &format!("conflicts: [{}]", sets.join(", ")));
    notes.push(
        "A compose file knows no memory plan: whether a profile fits is not checked when it is started there.".to_owned(),
    );
    let mut env_notes = Vec::new();
    let env = read_by(&yaml.0, &variables::all(stack, &mut env_notes));
    notes.extend(env_notes);
    Export {
        files: vec![
            SourceFile { name: "compose.yml".to_owned(), text: yaml.0 },
            SourceFile { name: ".env".to_owned(), text: env },
        ],
        notes,
    }
}

/// Of the variables those that the compose file reads, and those of the gateway: a name that nothing reads would only
/// look like a setting.
fn read_by(yaml: &str, env: &str) -> String {
    let kept = |line: &&str| match line.split_once('=') {
        Some((name, _)) if !name.starts_with('#') => {
            yaml.contains(&format!("${{{name}}}")) || name.starts_with("BIFROST_")
        }
        _ => true,
    };
    env.lines().filter(kept).map(|line| format!("{line}\n")).collect()
}

struct Yaml(String);

impl Yaml {
    fn line(&mut self, depth: usize, text: &str) {
        // Writing into a text cannot fail.
        let _ = writeln!(self.0, "{:1$}{text}", "", depth * 2);
    }
}

fn service_name(agent: &Agent) -> String {
    let backend = if agent.backend == BackendKind::LlamaCpp { "llama" } else { "vllm" };
    format!("{backend}_{}", agent.name.as_str().replace('-', "_"))
}

fn profiles_of(agent: &Agent, stack: &Stack) -> Vec<String> {
    let of = stack.profiles.iter().filter(|p| p.agents.contains(&agent.name));
    let names: Vec<String> = of.map(|p| p.name.clone()).collect();
    // Without a profile a service is in all of them.
    if names.len() == stack.profiles.len() { Vec::new() } else { names }
}

/// The one daemon that serves all of Ollama's models; which those are is a matter of `ollama pull`.
fn daemon(yaml: &mut Yaml, port: u16) {
    yaml.line(1, "ollama:");
    yaml.line(2, "image: docker.io/ollama/ollama");
    yaml.line(2, "container_name: ollama");
    yaml.line(2, &format!("ports: [{}]", quote(&format!("127.0.0.1:{port}:11434"))));
    yaml.line(2, "restart: \"no\"");
    yaml.line(2, "volumes:");
    mount(yaml, "\"${OLLAMA_HOME:-~/.ollama}\"", "/root/.ollama", false);
}

fn service(yaml: &mut Yaml, agent: &Agent, prefix: &str, before: &[&Agent], stack: &Stack) {
    let Runs::Container { image, host_ipc } = &agent.runs else { return };
    let name = service_name(agent);
    yaml.line(1, &format!("{name}:"));
    yaml.line(2, &format!("image: {}", quote(image)));
    yaml.line(2, &format!("container_name: {name}"));
    let mut profiles = profiles_of(agent, stack);
    if profiles.is_empty() && !stack.profiles.iter().any(|p| p.agents.contains(&agent.name)) {
        // In no profile of the stack: asked for by its own name alone.
        profiles.push(format!("only-{}", agent.name));
    }
    if !profiles.is_empty() {
        yaml.line(2, &format!("profiles: {}", list(profiles.iter().cloned())));
    }
    let port = format!("127.0.0.1:{0}:{0}", agent.port);
    yaml.line(2, &format!("ports: [{}]", quote(&port)));
    if agent.on_device() {
        let devices: &[&str] =
            if image.contains("vulkan") { &["/dev/dri"] } else { &["/dev/kfd", "/dev/dri"] };
        yaml.line(2, &format!("devices: {}", list(devices.iter().map(|d| (*d).to_owned()))));
        // Numbers: a name is looked up in the image, where it has another number or none.
        yaml.line(2, "group_add: [\"${RENDER_GID:-992}\", \"${VIDEO_GID:-44}\"]");
        yaml.line(2, "security_opt: [\"seccomp=unconfined\"]");
    }
    if *host_ipc {
        yaml.line(2, "ipc: host");
    } else {
        yaml.line(2, "shm_size: 16gb");
    }
    yaml.line(2, "restart: \"no\"");
    volumes(yaml, agent);
    environment(yaml, agent);
    yaml.line(2, &format!("command: {}", command(agent, prefix, stack)));
    let seconds = agent.load_timeout.as_secs();
    yaml.line(2, "healthcheck:");
    let probe = format!("curl -sf http://127.0.0.1:{}/health || exit 1", agent.port);
    yaml.line(3, &format!("test: [\"CMD-SHELL\", {}]", quote(&probe)));
    yaml.line(3, "interval: 10s");
    yaml.line(3, "timeout: 5s");
    yaml.line(3, &format!("retries: {}", seconds.div_ceil(10)));
    // One after the other: behind the last one that is there whenever this one is.
    let mine = profiles_of(agent, stack);
    let waits = before.iter().rev().find(|b| {
        let theirs = profiles_of(b, stack);
        let listed = stack.profiles.iter().any(|p| p.agents.contains(&b.name));
        listed && (theirs.is_empty() || (!mine.is_empty() && mine.iter().all(|p| theirs.contains(p))))
    });
    if let Some(waits) = waits {
        yaml.line(2, "depends_on:");
        yaml.line(3, &format!("{}:", service_name(waits)));
        yaml.line(4, "condition: service_healthy");
    }
}

fn volumes(yaml: &mut Yaml, agent: &Agent) {
    yaml.line(2, "volumes:");
    if agent.backend == BackendKind::LlamaCpp {
        let mut seen: Vec<&str> = Vec::new();
        for (model, target) in [(Some(&agent.model), "/models"), (agent.draft_model.as_ref(), "/draft")] {
            let Some((folder, _)) = model.filter(|m| m.starts_with('/')).and_then(|m| m.rsplit_once('/'))
            else {
                continue;
            };
            if !seen.contains(&target) {
                seen.push(target);
                mount(yaml, &quote(if folder.is_empty() { "/" } else { folder }), target, true);
            }
        }
        if seen.is_empty() {
            mount(yaml, "\"${HF_HOME:-~/.cache/huggingface}\"", "/root/.cache/huggingface", false);
        }
    } else {
        mount(yaml, "\"${HF_HOME:-~/.cache/huggingface}\"", "/root/.cache/huggingface", false);
        mount(yaml, "\"${VLLM_CACHE:-~/.cache/vllm}\"", "/root/.cache/vllm", false);
    }
}

/// In the long form, in which a colon of a folder's name separates nothing.
fn mount(yaml: &mut Yaml, source: &str, target: &str, read_only: bool) {
    yaml.line(3, "- type: bind");
    yaml.line(4, &format!("source: {source}"));
    yaml.line(4, &format!("target: {target}"));
    if read_only {
        yaml.line(4, "read_only: true");
    }
}

fn environment(yaml: &mut Yaml, agent: &Agent) {
    let mut all: Vec<(String, String)> = vec![("DO_NOT_TRACK".to_owned(), quote("1"))];
    if agent.backend == BackendKind::Vllm {
        for (key, value) in [
            ("HF_HOME", "/root/.cache/huggingface"),
            ("VLLM_NO_USAGE_STATS", "1"),
            ("VLLM_ROCM_USE_AITER", "0"),
            ("VLLM_ROCM_USE_AITER_LINEAR", "0"),
        ] {
            all.push((key.to_owned(), quote(value)));
        }
        all.push(("HF_TOKEN".to_owned(), "\"${HF_TOKEN:-}\"".to_owned()));
    }
    yaml.line(2, "environment:");
    for (key, value) in all {
        yaml.line(3, &format!("{key}: {value}"));
    }
    for (key, value) in &agent.env {
        yaml.line(3, &format!("{}: {}", quote(key), quote(value)));
    }
}

fn command(agent: &Agent, prefix: &str, stack: &Stack) -> String {
    // A variable of the .env where it is there, else the value itself.
    let variables = variables::of(agent, prefix, stack);
    let value = |suffix: &str, text: &str| {
        let name = format!("{prefix}_{suffix}");
        let there = variables.iter().any(|(n, v)| *n == name && v == text && is_plain(v));
        if there { format!("\"${{{name}}}\"") } else { quote(text) }
    };
    let mut words: Vec<String> = Vec::new();
    match agent.backend {
        BackendKind::LlamaCpp => llama_cpp(agent, &value, &mut words),
        _ => vllm(agent, &value, &super::share(agent, stack), &mut words),
    }
    words.extend(agent.args.iter().map(|a| quote(a)));
    format!("[{}]", words.join(", "))
}

fn vllm(agent: &Agent, value: &dyn Fn(&str, &str) -> String, share: &str, words: &mut Vec<String>) {
    let mut flag = |name: &str, value: String| words.extend([quote(name), value]);
    flag("vllm", quote("serve"));
    flag("--model", value("MODEL", &agent.model));
    if let Some(revision) = &agent.revision {
        flag("--revision", quote(revision));
    }
    flag("--host", quote("0.0.0.0"));
    flag("--port", value("PORT", &agent.port.to_string()));
    flag("--served-model-name", quote(agent.name.as_str()));
    flag("--max-model-len", value("MAX_LEN", &agent.context.to_string()));
    flag("--max-num-seqs", value("MAX_NUM_SEQS", &agent.sequences.to_string()));
    if !gives(agent, &[FORWARD]) {
        let batched = agent.batched_tokens.unwrap_or(BATCHED_TOKENS);
        flag(FORWARD, quote(&batched.max(agent.sequences).to_string()));
    }
    if let domain::stack::ClaimBasis::KvCache { kv_cache, .. } = agent.claim {
        let bytes = kv_cache.0 / u64::from(agent.tensor_parallel.max(1));
        flag("--kv-cache-memory-bytes", quote(&bytes.to_string()));
    }
    flag("--gpu-memory-utilization", value("GPU_UTIL", share));
    let awq = is_awq(&agent.model) || agent.quantization.as_deref().is_some_and(is_awq);
    if let Some(dtype) = agent.dtype.clone().or_else(|| awq.then(|| "float16".to_owned())) {
        flag("--dtype", quote(&dtype));
    }
    if let Some(method) = agent.quantization.as_deref().and_then(domain::quantization::vllm_method) {
        flag("--quantization", quote(method));
    }
    if let Some(kv_dtype) = &agent.kv_dtype {
        flag("--kv-cache-dtype", value("KV_CACHE_DTYPE", kv_dtype));
    }
    if agent.tensor_parallel > 1 {
        flag("--tensor-parallel-size", quote(&agent.tensor_parallel.to_string()));
    }
    if let Some(draft) = &agent.draft_model {
        let draft = draft.replace(['"', '\\'], "");
        flag(
            "--speculative-config",
            quote(&format!(
                "{{\"model\": \"{draft}\", \"num_speculative_tokens\": {}}}",
                agent.draft_tokens.unwrap_or(5)
            )),
        );
    }
    if let Some(attention) = &agent.attention_backend {
        flag("--attention-backend", quote(attention));
    }
    if let Some(parser) = &agent.tool_parser {
        flag("--tool-call-parser", quote(parser));
        words.push(quote("--enable-auto-tool-choice"));
    }
    match agent.prefix_caching {
        Some(true) => words.push(quote("--enable-prefix-caching")),
        Some(false) => words.push(quote("--no-enable-prefix-caching")),
        None => {}
    }
    if agent.eager {
        words.push(quote("--enforce-eager"));
    }
}

fn llama_cpp(agent: &Agent, value: &dyn Fn(&str, &str) -> String, words: &mut Vec<String>) {
    // The image's entry point already is the server.
    let mut flag = |name: &str, value: String| words.extend([quote(name), value]);
    if agent.model.starts_with('/') {
        flag("--model", quote(&format!("/models/{}", file_name(&agent.model))));
    } else if let Some((repo, file)) = agent.model.rsplit_once('/') {
        flag("--hf-repo", quote(repo));
        flag("--hf-file", quote(file));
    } else {
        flag("--model", quote(&agent.model));
    }
    if let Some(draft) = &agent.draft_model {
        flag("--model-draft", quote(&format!("/draft/{}", file_name(draft))));
    }
    flag("--alias", quote(agent.name.as_str()));
    flag("--host", quote("0.0.0.0"));
    flag("--port", value("PORT", &agent.port.to_string()));
    let context = u64::from(agent.context) * u64::from(agent.sequences.max(1));
    flag("--ctx-size", quote(&context.to_string()));
    flag("--parallel", value("MAX_NUM_SEQS", &agent.sequences.max(1).to_string()));
    if let Some(dtype) = &agent.kv_dtype {
        flag("--cache-type-k", quote(dtype));
        flag("--cache-type-v", quote(dtype));
    }
    if let Some(tokens) = agent.draft_tokens {
        flag("--spec-draft-n-max", quote(&tokens.to_string()));
    }
    if let Some(tokens) = agent.batched_tokens {
        flag("--batch-size", quote(&tokens.to_string()));
        flag("--ubatch-size", quote(&tokens.to_string()));
    }
    let cache_ram = agent.cache_ram.map(|bytes| (bytes.0 >> 20).to_string());
    for (spellings, default) in crate::correct::LLAMA_DEFAULTS {
        let own = match spellings[0] {
            "--cache-ram" => cache_ram.as_deref(),
            "--load-mode" => agent.load_mode.map(LoadMode::word),
            _ => None,
        };
        if own.is_some() || !gives(agent, spellings) {
            flag(spellings[0], quote(own.unwrap_or(default)));
        }
    }
    if let Some(layers) = agent.gpu_layers {
        flag("--n-gpu-layers", quote(&layers.to_string()));
        if layers == 0 {
            flag("--device", quote("none"));
        }
    } else if agent.on_device() && !gives(agent, &["--n-gpu-layers", "--gpu-layers", "-ngl"]) {
        flag("--n-gpu-layers", quote("all"));
    }
    words.extend(["--jinja", "--metrics", "--slots"].map(quote));
}

fn gives(agent: &Agent, spellings: &[&str]) -> bool {
    agent.args.iter().any(|a| spellings.contains(&a.split('=').next().unwrap_or(a)))
}

fn list(texts: impl Iterator<Item = String>) -> String {
    let quoted: Vec<String> = texts.map(|t| quote(&t)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A text in double quotes, whatever it holds; a dollar sign stays one.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' => out.push_str("$$"),
            ' '..='~' => out.push(c),
            other if u32::from(other) <= 0xffff => {
                let _ = write!(out, "\\u{:04x}", u32::from(other));
            }
            other => {
                let _ = write!(out, "\\U{:08x}", u32::from(other));
            }
        }
    }
    out.push('"');
    out
}
