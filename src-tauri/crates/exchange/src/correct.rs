//! What is set right in an agent, with the reason.

use domain::stack::{BackendKind, LoadMode};

use crate::agents::{Draft, Said};
use crate::known;
use crate::report::{Report, quoted};

/// Flags of vLLM that Asgard sets itself: what is left of them here is not in a form that a stack can say.
const VLLM_RESERVED: &[&str] = &[
    "--model",
    "--model-tag",
    "--revision",
    "--host",
    "--uds",
    "--port",
    "--served-model-name",
    "--api-key",
    "--max-model-len",
    "--max-num-seqs",
    "--kv-cache-memory-bytes",
    "--gpu-memory-utilization",
    "--device-memory-utilization",
    "--dtype",
    "--quantization",
    "-q",
    "--kv-cache-dtype",
    "--tensor-parallel-size",
    "-tp",
    "--tool-call-parser",
    "--enable-auto-tool-choice",
    "--no-enable-auto-tool-choice",
    "--speculative-config",
    "--speculative-model",
    "-sc",
    "--num-speculative-tokens",
    "--download-dir",
    "--config",
    "--max-num-batched-tokens",
    "--num-gpu-blocks-override",
    "--kv-offloading-size",
    "--kv-offloading-backend",
    "--pipeline-parallel-size",
    "-pp",
    "--data-parallel-size",
    "-dp",
    "--data-parallel-size-local",
    "-dpl",
    "--enable-prefix-caching",
    "--no-enable-prefix-caching",
    "--enforce-eager",
    "--no-enforce-eager",
    "--attention-backend",
];
const LLAMA_RESERVED: &[&str] = &[
    "--model",
    "-m",
    "--hf-repo",
    "-hf",
    "-hfr",
    "--hf-file",
    "-hff",
    "--model-url",
    "-mu",
    "--alias",
    "-a",
    "--host",
    "--port",
    "--api-key",
    "--api-key-file",
    "--ctx-size",
    "-c",
    "--parallel",
    "-np",
    "--cache-type-k",
    "-ctk",
    "--cache-type-v",
    "-ctv",
    "--model-draft",
    "-md",
    "--spec-draft-model",
    "--spec-draft-n-max",
    "--batch-size",
    "-b",
    "--ubatch-size",
    "-ub",
    "--cache-ram",
    "-cram",
    "--load-mode",
    "-lm",
    "--kv-unified",
    "-kvu",
    "--no-kv-unified",
    "-no-kvu",
    "--kv-unified-per-slot",
    "--swa-full",
    "--fit",
    "-fit",
    "--fit-target",
    "-fitt",
    "--fit-ctx",
    "-fitc",
    "--models-dir",
    "--models-preset",
    "--models-max",
    "--models-autoload",
    "--no-jinja",
    "--no-slots",
];
/// What Asgard gives llama-server unless the args do.
pub(crate) const LLAMA_DEFAULTS: &[(&[&str], &str)] = &[
    (&["--cache-ram", "-cram"], "0"),
    (&["--load-mode", "-lm"], "none"),
    (&["--flash-attn", "-fa"], "auto"),
];
/// Variables that Asgard sets itself.
const RESERVED_ENV: &[&str] = &[
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_CACHE",
    "VLLM_ROCM_USE_AITER",
    "VLLM_ROCM_USE_AITER_LINEAR",
    "VLLM_NO_USAGE_STATS",
    "DO_NOT_TRACK",
    "VLLM_CACHE_ROOT",
    "TRITON_CACHE_DIR",
    "VLLM_API_KEY",
    "LLAMA_API_KEY",
];

pub(crate) fn correct(draft: &mut Draft, report: &mut Report) {
    image(draft, report);
    environment(draft, report);
    context(draft, report);
    match draft.backend() {
        BackendKind::Vllm => {
            types(draft, report);
            tool_parser(draft, report);
            vllm_flags(draft, report);
        }
        BackendKind::LlamaCpp => {
            llama_flags(draft, report);
            layers(draft, report);
        }
        BackendKind::External | BackendKind::Ollama => {}
    }
}

/// Whether Asgard sets this variable itself.
pub(crate) fn is_own(variable: &str) -> bool {
    RESERVED_ENV.contains(&variable) || variable.starts_with("ASGARD_")
}

fn image(draft: &Draft, report: &mut Report) {
    let Some(image) = &draft.image else { return };
    let last = image.rsplit('/').next().unwrap_or(image);
    let floating = !image.contains('@') && (!last.contains(':') || last.ends_with(":latest"));
    if floating && report.first(&format!("latest {image}")) {
        report.corrected(
            &draft.place,
            Some(&draft.name),
            &format!("{}.image", draft.what),
            format!(
                "{} moves under its tag. Asgard writes down the digest that it pulls, and offers a newer one instead of \
                 taking it.",
                quoted(image)
            ),
        );
    }
}

fn environment(draft: &mut Draft, report: &mut Report) {
    let (place, name, what) = (draft.place.clone(), draft.name.clone(), draft.what.clone());
    let strix = draft.on_strix();
    let vllm = draft.backend() == BackendKind::Vllm;
    draft.env.retain(|key, _| {
        let at = format!("{what}.environment.{key}");
        if is_own(key) {
            report.understood(&place, Some(&name), &at, "Asgard sets this itself.");
            return false;
        }
        if key == "HSA_OVERRIDE_GFX_VERSION" && strix && vllm {
            report.corrected(
                &place,
                Some(&name),
                &at,
                "Left out: this image is built for gfx1151, and the override makes it pass for another GPU.",
            );
            return false;
        }
        if key == "VLLM_ATTENTION_BACKEND" {
            report.corrected(
                &place,
                Some(&name),
                &at,
                "Left out: vLLM no longer reads it; the key attention_backend does the same.",
            );
            return false;
        }
        true
    });
}

fn context(draft: &mut Draft, report: &mut Report) {
    let longest = known::model(draft.model()).map(|m| m.max_context).or_else(|| {
        // The Ollama models are GGUF files of the same families.
        (draft.backend() == BackendKind::Ollama)
            .then(|| known::ollama_model(draft.model()))
            .flatten()
            .map(|m| m.max_context)
    });
    let Some(longest) = longest else { return };
    match draft.line.context {
        Some(context) if context > longest => {
            report.corrected(
                &draft.place,
                Some(&draft.name),
                &format!("{}.context", draft.what),
                format!(
                    "A context of {context} tokens became {longest}: {} knows no longer one, and beyond it answers fall \
                     apart.",
                    quoted(draft.model())
                ),
            );
            draft.line.context = Some(longest);
        }
        _ => {}
    }
}

fn types(draft: &mut Draft, report: &mut Report) {
    let (place, name, what) = (draft.place.clone(), draft.name.clone(), draft.what.clone());
    let mut said = |key: &str, message: String| {
        report.corrected(&place, Some(&name), &format!("{what}.{key}"), message);
    };
    let model = draft.model().to_owned();
    let line = &mut draft.line;
    let auto = line.dtype.as_deref().is_none_or(|d| d.eq_ignore_ascii_case("auto"));
    if auto {
        line.dtype = None;
        if known::is_awq(&model) && !model.contains("cpatonn/") {
            line.dtype = Some("float16".to_owned());
            said(
                "dtype",
                "float16 was added: vLLM up to 0.16 reads AWQ weights in that type only.".to_owned(),
            );
        }
    }
    if line.kv_dtype.as_deref().is_some_and(|d| d.to_ascii_lowercase().starts_with("fp8")) {
        line.kv_dtype = None;
        said(
            "kv_dtype",
            "An FP8 KV cache became one of the model's own type: without calibrated scales, and gfx1151 has none in \
             hardware, answers get worse."
                .to_owned(),
        );
    }
    if line.kv_dtype.as_deref() == Some("auto") {
        line.kv_dtype = None;
    }
    if line.quantization.as_deref().is_some_and(|q| q.eq_ignore_ascii_case("fp8")) {
        line.quantization = None;
        said(
            "quantization",
            "FP8 weights were left out: gfx1151 cannot multiply them and vLLM stops at the start (torch._scaled_mm)."
                .to_owned(),
        );
    }
}

fn tool_parser(draft: &mut Draft, report: &mut Report) {
    let Some(right) = known::tool_parser(draft.model()) else { return };
    let Some(given) = draft.line.tool_parser.clone() else { return };
    if given != right {
        report.corrected(
            &draft.place,
            Some(&draft.name),
            &format!("{}.tool_parser", draft.what),
            format!(
                "The tool parser {} became {right}: that is how {} writes its calls, and another finds none.",
                quoted(&given),
                quoted(draft.model())
            ),
        );
        draft.line.tool_parser = Some(right.to_owned());
    }
}

/// One flag of the rest with the words behind it, and what becomes of it.
fn flags(rest: &[String]) -> Vec<(String, Vec<String>)> {
    let mut flags: Vec<(String, Vec<String>)> = Vec::new();
    for word in rest {
        let negative = word.strip_prefix('-').is_some_and(|w| w.starts_with(|c: char| c.is_ascii_digit()));
        match flags.last_mut() {
            Some((_, values)) if !word.starts_with('-') || negative => values.push(word.clone()),
            _ => flags.push((word.clone(), Vec::new())),
        }
    }
    flags
}

fn bare(flag: &str) -> String {
    let name = flag.split('=').next().unwrap_or(flag);
    if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() }
}

fn vllm_flags(draft: &mut Draft, report: &mut Report) {
    let (place, name, what) = (draft.place.clone(), draft.name.clone(), draft.what.clone());
    let batched = draft.line.sequences.unwrap_or(4).max(2048).to_string();
    let mut kept = Vec::new();
    for (flag, values) in flags(&draft.line.rest) {
        let bare = bare(&flag);
        let at = format!("{what}.{bare}");
        let gone = match bare.as_str() {
            "--swap-space" => {
                Some("it had no effect since vLLM's first engine went, and is unknown since 0.18")
            }
            "--disable-log-requests" => {
                Some("newer versions know it no more, and requests are not logged by default")
            }
            "--guided-decoding-backend" => Some("newer versions know it no more"),
            "--enable-reasoning" => {
                Some("newer versions know it no more; the reasoning parser alone says it")
            }
            _ => None,
        };
        if let Some(why) = gone {
            report.corrected(&place, Some(&name), &at, format!("{bare} was left out: {why}."));
        } else if bare == "--max-num-batched-tokens" && values.first().is_some_and(|v| *v == batched) {
            report.understood(&place, Some(&name), &at, "Asgard gives the same.");
        } else if bare == "--enable-prefix-caching" || bare == "--enable-chunked-prefill" {
            report.understood(&place, Some(&name), &at, "That is vLLM's default.");
        } else if !flag.starts_with('-') {
            report.not_understood(
                &place,
                Some(&name),
                &what,
                "A word of the command belongs to no flag; it was left out.",
            );
        } else if let Some((key, said)) =
            vllm_key(&bare, inline(&flag).or(values.first().map(String::as_str)))
        {
            report.understood(&place, Some(&name), &at, format!("It became {key}."));
            draft.keys.insert(key, said);
        } else if is_reserved(&bare, VLLM_RESERVED, true) {
            report.not_understood(
                &place,
                Some(&name),
                &at,
                format!(
                    "{bare} is set by Asgard itself, and its value here is not understood; it was left out."
                ),
            );
        } else {
            kept.push(flag);
            kept.extend(values);
        }
    }
    if let Some(index) = kept.iter().position(|w| w == "--trust-remote-code" || w == "--trust_remote_code") {
        report.understood(
            &place,
            Some(&name),
            &format!("{what}.{}", kept[index].replace('_', "-")),
            "Kept: this server runs code that comes with the model. Only for repositories that you trust.",
        );
    }
    draft.line.rest = kept;
}

fn llama_flags(draft: &mut Draft, report: &mut Report) {
    let (place, name, what) = (draft.place.clone(), draft.name.clone(), draft.what.clone());
    let agent = name.clone();
    let mut kept = Vec::new();
    for (flag, values) in flags(&draft.line.rest) {
        let bare = bare(&flag);
        let at = format!("{what}.{bare}");
        match bare.as_str() {
            "--no-mmap" | "--mmap" | "--mlock" | "--direct-io" | "-dio" | "--no-direct-io" => report.corrected(
                &place,
                Some(&name),
                &at,
                format!("{bare} was left out: newer builds refuse it. Asgard sets how the weights are read (--load-mode)."),
            ),
            name if LLAMA_DEFAULTS.iter().any(|(spellings, value)| {
                spellings.contains(&name) && values.iter().eq([value])
            }) =>
            {
                report.understood(&place, Some(&agent), &at, "Asgard gives the same.");
            }
            "-fa" | "--flash-attn" if !matches!(values.first().map(String::as_str), Some("on" | "off" | "auto")) => {
                report.corrected(
                    &place,
                    Some(&name),
                    &at,
                    format!("{bare} was left out: today it wants on, off or auto, and auto is set."),
                );
            }
            flag if llama_key(flag, values.first().map(String::as_str), draft.line.draft_model.is_some()).is_some() => {
                let drafts = draft.line.draft_model.is_some();
                if let Some((key, said)) = llama_key(flag, values.first().map(String::as_str), drafts) {
                    report.understood(&place, Some(&name), &at, format!("It became {key}."));
                    // Of the two sizes of a batch the smaller one is that of a pass.
                    if flag == "-b" || flag == "--batch-size" {
                        draft.keys.entry(key).or_insert(said);
                    } else {
                        draft.keys.insert(key, said);
                    }
                }
            }
            _ if !flag.starts_with('-') => {
                report.not_understood(
                    &place,
                    Some(&name),
                    &what,
                    "A word of the command belongs to no flag; it was left out.",
                );
            }
            _ if is_reserved(&bare, LLAMA_RESERVED, false) => report.not_understood(
                &place,
                Some(&name),
                &at,
                format!("{bare} is set by Asgard itself, and its value here is not understood; it was left out."),
            ),
            _ => {
                kept.push(flag);
                kept.extend(values);
            }
        }
    }
    draft.line.rest = kept;
}

/// The value behind an equals sign.
fn inline(flag: &str) -> Option<&str> {
    flag.split_once('=').map(|(_, value)| value)
}

/// The key of the stack file that says the same as a flag of vLLM, where it has a value that the key can have.
fn vllm_key(flag: &str, value: Option<&str>) -> Option<(&'static str, Said)> {
    match flag {
        "--max-num-batched-tokens" => Some(("batched_tokens", count(value)?)),
        "--enforce-eager" => Some(("eager", Said::Flag(true))),
        "--no-enforce-eager" => Some(("eager", Said::Flag(false))),
        "--no-enable-prefix-caching" => Some(("prefix_caching", Said::Flag(false))),
        "--attention-backend" => {
            let word =
                value.filter(|v| !v.is_empty() && !v.starts_with('-') && !v.contains(char::is_control))?;
            Some(("attention_backend", Said::Text(word.to_owned())))
        }
        _ => None,
    }
}

/// The same of llama-server. A number of drafted tokens means something beside a draft model only.
fn llama_key(flag: &str, value: Option<&str>, drafts: bool) -> Option<(&'static str, Said)> {
    match flag {
        "--batch-size" | "-b" | "--ubatch-size" | "-ub" => Some(("batched_tokens", count(value)?)),
        "--cache-ram" | "-cram" => {
            let mib = value?.parse::<u32>().ok()?;
            Some(("cache_ram", Said::Text(format!("{mib} MB"))))
        }
        "--load-mode" | "-lm" => {
            let mode = LoadMode::ALL.into_iter().find(|mode| Some(mode.word()) == value)?;
            Some(("load_mode", Said::Text(mode.word().to_owned())))
        }
        "--spec-draft-n-max" | "--draft-max" | "--draft" | "--draft-n" if drafts => {
            let tokens = value?.parse::<i64>().ok().filter(|n| (1..=64).contains(n))?;
            Some(("draft_tokens", Said::Number(tokens)))
        }
        _ => None,
    }
}

fn count(value: Option<&str>) -> Option<Said> {
    value?.parse::<i64>().ok().filter(|n| (1..=1 << 20).contains(n)).map(Said::Number)
}

/// llama.cpp once kept every layer on the CPU unless told otherwise; today it fills the GPU.
fn layers(draft: &mut Draft, report: &mut Report) {
    match draft.line.gpu_layers.take() {
        // All of them, which is what Asgard asks for.
        Some(layers) if layers == "all" || layers.parse::<u32>().is_ok_and(|n| n >= 99) => {}
        Some(layers) => match layers.parse::<i64>() {
            Ok(layers) if layers >= 0 => {
                draft.keys.insert("gpu_layers", Said::Number(layers));
            }
            // "auto", or a number that means it: what fits is planned, and all of them are asked for.
            _ => {}
        },
        None if draft.for_cpu => {
            report.corrected(
                &draft.place,
                Some(&draft.name),
                &format!("{}.gpu_layers", draft.what),
                "gpu_layers = 0 was added: it was meant for the CPU, and today's llama.cpp would put it on the GPU.",
            );
            draft.keys.insert("gpu_layers", Said::Number(0));
        }
        None => {}
    }
    let rest = &mut draft.line.rest;
    let device = rest.iter().position(|w| w == "--device" || w == "-dev");
    let Some(at) = device else { return };
    if rest.get(at + 1).is_some_and(|d| d == "none") {
        // It keeps everything on the processor, whatever the layers say; the key says it too.
        draft.keys.insert("gpu_layers", Said::Number(0));
    } else if draft.keys.get("gpu_layers") != Some(&Said::Number(0)) {
        return;
    }
    rest.drain(at..(at + 2).min(rest.len()));
}

fn is_reserved(flag: &str, reserved: &[&str], shortened: bool) -> bool {
    reserved.iter().any(|r| {
        flag == *r || (shortened && flag.len() >= 5 && flag.starts_with("--") && r.starts_with(flag))
    })
}
