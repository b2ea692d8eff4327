//! What is set right in an agent, with the reason.

use domain::stack::BackendKind;

use crate::agents::Draft;
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
    "--download-dir",
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
                "Left out: vLLM no longer reads it; --attention-backend in args does the same.",
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
            "--draft-max" | "--draft" | "--draft-n" => {
                report.corrected(
                    &place,
                    Some(&name),
                    &at,
                    format!("{bare} became --spec-draft-n-max, its name today."),
                );
                kept.push("--spec-draft-n-max".to_owned());
                kept.extend(values);
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

/// llama.cpp once kept every layer on the CPU unless told otherwise; today it fills the GPU.
fn layers(draft: &mut Draft, report: &mut Report) {
    match draft.line.gpu_layers.take() {
        // All of them, which is what Asgard asks for.
        Some(layers) if layers == "all" || layers.parse::<u32>().is_ok_and(|n| n >= 99) => {}
        Some(layers) => draft.line.rest.extend(["-ngl".to_owned(), layers]),
        None if draft.for_cpu => {
            report.corrected(
                &draft.place,
                Some(&draft.name),
                &format!("{}.args", draft.what),
                "-ngl 0 --device none was added: it was meant for the CPU, and today's llama.cpp would put it on the GPU.",
            );
            let device = draft.line.rest.iter().any(|w| w == "--device" || w == "-dev");
            draft.line.rest.extend(["-ngl", "0"].map(str::to_owned));
            if !device {
                draft.line.rest.extend(["--device", "none"].map(str::to_owned));
            }
        }
        None => {}
    }
}

fn is_reserved(flag: &str, reserved: &[&str], shortened: bool) -> bool {
    reserved.iter().any(|r| {
        flag == *r || (shortened && flag.len() >= 5 && flag.starts_with("--") && r.starts_with(flag))
    })
}
