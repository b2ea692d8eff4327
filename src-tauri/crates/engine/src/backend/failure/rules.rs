//! The known texts, and what they mean to a person.

use super::super::scan::{after, figure};
use super::{Explanation, Place, said};

pub(super) struct Rule {
    pub(super) id: &'static str,
    /// Any of these in a line.
    pub(super) marks: &'static [&'static str],
    pub(super) say: fn(&Place<'_>, &'static str) -> Explanation,
}

/// A rule whose sentences need nothing of the text.
macro_rules! plain {
    ($id:literal, $marks:expr, $message:literal, $next:literal) => {
        Rule { id: $id, marks: &$marks, say: |_, id| said(id, $message, $next) }
    };
}

/// The nearer to the end of the log, the stronger; on one line the first of these.
pub(super) const RULES: &[Rule] = &[
    Rule { id: "free-memory", marks: &["is less than desired GPU memory utilization"], say: free_memory },
    plain!(
        "no-kv-memory",
        ["No available memory for the cache blocks"],
        "The weights and the work space alone fill the memory that the agent may take; nothing is left for the KV cache.",
        "Give it a larger `kv_cache` or `share` in the stack file, or choose a smaller model."
    ),
    Rule { id: "kv-too-small", marks: &["To serve at least one request with the model"], say: kv_too_small },
    plain!(
        "auto-fit",
        ["Cannot auto-fit max_model_len"],
        "Not even the shortest context fits in the KV cache.",
        "Give it a larger `kv_cache` in the stack file, or choose a smaller model."
    ),
    Rule {
        id: "context-too-long",
        marks: &["is greater than the derived max_model_len"],
        say: context_too_long,
    },
    plain!(
        "profiling",
        ["Error in memory profiling"],
        "Another program gave memory back while this server was measuring, which confuses it.",
        "Start it again while nothing else is starting or stopping."
    ),
    Rule {
        id: "quantization",
        marks: &["quantization is currently not supported in rocm"],
        say: |place, id| {
            let method = place
                .line
                .split("quantization is currently")
                .next()
                .and_then(|text| text.split_whitespace().last())
                .map(|name| name.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '_').to_owned())
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "This".to_owned());
            said(
                id,
                format!("{method} quantization does not work on this GPU."),
                "Choose a checkpoint of the model in AWQ, GPTQ or compressed-tensors.",
            )
        },
    },
    plain!(
        "dtype",
        ["is not supported for quantization method"],
        "This quantization needs another number format than the one asked for.",
        "Write `dtype = \"float16\"` for the agent in the stack file."
    ),
    plain!(
        "fp8",
        ["torch._scaled_mm"],
        "The model's weights are FP8, which this GPU cannot compute with.",
        "Choose a checkpoint of the model with another quantization, such as AWQ."
    ),
    plain!(
        "memory-fault",
        ["Memory access fault by GPU"],
        "A GPU kernel read memory that it must not: the program in the image and this GPU do not go together.",
        "Try another image or `args = [\"--enforce-eager\"]`; if it goes on, restart the machine to reset the GPU."
    ),
    Rule {
        id: "out-of-memory",
        marks: &[
            "HIP out of memory",
            "CUDA out of memory",
            "OutOfMemoryError",
            "HIP error: out of memory",
            "CUDA error: out of memory",
            "ROCm error: out of memory",
            "hipErrorOutOfMemory",
        ],
        say: |place, id| {
            said(
                id,
                match tried(place.line) {
                    Some(size) => format!("The GPU's memory ran out when {size} more was asked for."),
                    None => "The GPU's memory ran out.".to_owned(),
                },
                "Lower `kv_cache`, `context` or `sequences` for the agent, or stop another agent first.",
            )
        },
    },
    Rule {
        id: "out-of-memory",
        marks: &[
            "insufficient memory (attempted to allocate",
            "failed to allocate buffer for kv cache",
            "unable to allocate ",
            "Unable to allocate ",
            "failed to allocate ",
            "ErrorOutOfDeviceMemory",
            "ErrorOutOfHostMemory",
            "cudaMalloc failed: out of memory",
            "Device memory allocation of size ",
            "Cannot allocate memory",
            "std::bad_alloc",
        ],
        say: allocation,
    },
    Rule {
        id: "gated",
        marks: &["GatedRepoError", "You are trying to access a gated repo", "Cannot access gated repo"],
        say: gated,
    },
    Rule {
        id: "not-allowed",
        marks: &["401 Client Error", "403 Client Error", "Client error '401", "Client error '403"],
        say: not_allowed,
    },
    Rule {
        id: "bad-model",
        marks: &["Invalid repository ID or local directory specified", "Repo id must be in the form"],
        say: |place, id| {
            let model = place
                .between("specified: '", "'")
                .or_else(|| place.between("'namespace/repo_name': '", "'"))
                .map_or_else(|| "The model".to_owned(), |model| format!("{model:?}"));
            said(
                id,
                format!("{model} is neither a Hub id nor a folder that the server can see."),
                "Check `model` in the stack file; a folder must exist, and be mounted where the agent runs in a container.",
            )
        },
    },
    Rule {
        id: "no-weights",
        marks: &["Cannot find any model weights with"],
        say: |place, id| {
            let model = place.between("weights with `", "`").map_or_else(String::new, |m| format!(" of {m}"));
            said(
                id,
                format!("The weights{model} are not there: the download is not complete."),
                "Download the model again; files that are whole are kept.",
            )
        },
    },
    plain!(
        "not-cached",
        ["Cannot find an appropriate cached snapshot folder", "LocalEntryNotFoundError"],
        "The model is not in the Hugging Face cache, and agents never download by themselves.",
        "Download it first, then start the agent again."
    ),
    plain!(
        "truncated",
        [
            "incomplete metadata, file not fully covered",
            "Error while deserializing header",
            "model is corrupted or incomplete"
        ],
        "A file of the weights is cut short or damaged.",
        "Delete the file and download the model again."
    ),
    Rule {
        id: "missing-file",
        marks: &["failed to open GGUF file"],
        say: |place, id| {
            let file = place.between("GGUF file '", "'").unwrap_or_else(|| "the model's file".to_owned());
            said(
                id,
                format!("The server cannot open {file}."),
                "Check `model` in the stack file and that the file is there and readable.",
            )
        },
    },
    plain!(
        "not-gguf",
        ["invalid magic characters"],
        "The model's file is not a GGUF file.",
        "Choose a .gguf file as `model` in the stack file, or download it again."
    ),
    plain!(
        "tool-parser",
        ["--enable-auto-tool-choice requires --tool-call-parser"],
        "Tool calls are switched on and no parser for them is named.",
        "Write `tool_parser` for the agent in the stack file: hermes for Qwen2.5, llama3_json for Llama 3, qwen3_coder for Qwen3-Coder."
    ),
    Rule {
        id: "tool-parser",
        marks: &["invalid tool call parser"],
        say: |place, id| {
            let parser =
                place.between("invalid tool call parser: ", " ").unwrap_or_else(|| "that".to_owned());
            said(
                id,
                format!("This version of vLLM has no tool parser of the name {parser}."),
                "Write another `tool_parser` in the stack file: hermes for Qwen2.5, llama3_json for Llama 3, qwen3_coder for Qwen3-Coder.",
            )
        },
    },
    Rule {
        id: "bad-args",
        marks: &["unrecognized arguments:", "error: invalid argument:"],
        say: |place, id| {
            let flags = after(place.line, "arguments: ")
                .or_else(|| after(place.line, "argument: "))
                .map_or("an argument", str::trim);
            let version = place.above("version ").and_then(|line| {
                after(line, "version ").and_then(|rest| rest.split_whitespace().next()).map(str::to_owned)
            });
            said(
                id,
                match version {
                    Some(version) => format!("Version {version} of the server does not know {flags}."),
                    None => format!("This version of the server does not know {flags}."),
                },
                "Take it out of `args` in the stack file, or choose an image whose version has it.",
            )
        },
    },
    plain!(
        "port-in-use",
        ["ddress already in use", "couldn't bind HTTP server socket"],
        "The agent's port is taken by another program.",
        "Stop that program, or give the agent another `port` in the stack file."
    ),
    // With an init process a program that is not in the image fails after the start, not at it.
    Rule {
        id: "no-program",
        marks: &["[FATAL tini", "catatonit: failed to exec"],
        say: |place, id| {
            let program = place.between("exec ", " failed").unwrap_or_else(|| "the server".to_owned());
            said(
                id,
                format!("The image has no program {program}."),
                "Check `image` in the stack file: it must be one for the agent's backend.",
            )
        },
    },
    plain!(
        "no-space",
        ["No space left on device"],
        "A disk is full, or the server's shared memory is.",
        "Free some space, or write `host_ipc = true` where the agent needs more shared memory."
    ),
];

fn gated(place: &Place<'_>, id: &'static str) -> Explanation {
    let page = place.nearby("Access to model ", " ").map_or_else(
        || "its page on huggingface.co".to_owned(),
        |model| format!("https://huggingface.co/{model}"),
    );
    said(
        id,
        "The model is gated: its licence was not accepted, or the token for it is missing.",
        format!("Accept the licence at {page}, then download the model with your token."),
    )
}

fn not_allowed(place: &Place<'_>, id: &'static str) -> Explanation {
    // The Hub's own error for a gated model carries the same code on a line of its own.
    if place.nearby("access a gated repo", "\n").is_some()
        || place.nearby("Cannot access gated", "\n").is_some()
    {
        return gated(place, "gated");
    }
    let code = if place.line.contains("403") { "403" } else { "401" };
    said(
        id,
        format!(
            "The Hub refused the model's files ({code}): there is no such model, or the token may not read it."
        ),
        "Check the model's name in the stack file, and its licence and your token on huggingface.co.",
    )
}

fn allocation(place: &Place<'_>, id: &'static str) -> Explanation {
    const MIB: f64 = (1_u64 << 20) as f64;
    // The line that names the size stands just above the one that gives up.
    let sizes = [
        ("attempted to allocate ", 1.0),
        (": allocating ", 1.0),
        (" buffer of size ", MIB),
        ("allocation of size ", MIB),
    ];
    let megabytes = sizes.iter().find_map(|(mark, unit)| {
        let line = place.just_above(mark)?;
        after(line, mark).and_then(figure).map(|size| size / unit).filter(|size| *size > 0.0)
    });
    let size = megabytes.map_or_else(
        || "what it needs".to_owned(),
        |mb| if mb >= 1024.0 { format!("{:.1} GB", mb / 1024.0) } else { format!("{mb:.0} MB") },
    );
    said(
        id,
        format!("Memory ran out: the server asked for {size} and did not get it."),
        "Lower `context` or `sequences` for the agent, or stop another agent first.",
    )
}

fn free_memory(place: &Place<'_>, id: &'static str) -> Explanation {
    // "Free memory on device cuda:0 (F/T GiB) on startup is less than desired GPU memory utilization (u, R GiB)."
    let free = after(place.line, "Free memory on device").and_then(|rest| after(rest, "(")).and_then(figure);
    let total = after(place.line, "Free memory on device").and_then(|rest| after(rest, "/")).and_then(figure);
    let wanted = after(place.line, "utilization (").and_then(|rest| after(rest, ", ")).and_then(figure);
    let message = match (free, total, wanted) {
        (Some(free), Some(total), Some(wanted)) => format!(
            "The server wants {wanted:.1} GB of GPU memory to be free, and {free:.1} of {total:.1} GB are."
        ),
        _ => "Less GPU memory is free than the server wants.".to_owned(),
    };
    said(id, message, "Stop another agent or program that holds memory, or lower this agent's claim.")
}

fn kv_too_small(place: &Place<'_>, id: &'static str) -> Explanation {
    let fits = place.number("estimated maximum model length is ");
    let needed = after(place.line, "max seq len (")
        .and_then(|rest| after(rest, "("))
        .and_then(figure)
        .filter(|n| *n > 0.0);
    let there = place.number("available KV cache memory (");
    let message = match (needed, there) {
        (Some(needed), Some(there)) => {
            format!("One full context needs {needed:.1} GB of KV cache, and the agent has {there:.1} GB.")
        }
        _ => "The KV cache is too small for one full context.".to_owned(),
    };
    let next = match fits.filter(|n| *n >= 1.0) {
        Some(fits) => {
            format!("Write `context = {fits:.0}` or less, or a larger `kv_cache`, in the stack file.")
        }
        None => "Write a smaller `context` or a larger `kv_cache` in the stack file.".to_owned(),
    };
    said(id, message, next)
}

fn context_too_long(place: &Place<'_>, id: &'static str) -> Explanation {
    let asked = place.number("User-specified max_model_len (");
    let limit = place.number("max_position_embeddings=").or_else(|| place.number("model_max_length="));
    match (asked, limit) {
        (Some(asked), Some(limit)) => said(
            id,
            format!(
                "The context of {asked:.0} tokens is longer than the {limit:.0} that the model was made for."
            ),
            format!("Write `context = {limit:.0}` or less in the stack file."),
        ),
        _ => said(
            id,
            "The context is longer than the model was made for.",
            "Write a smaller `context` in the stack file.",
        ),
    }
}

/// "1.02 GiB" of "Tried to allocate 1.02 GiB. GPU 0 …".
fn tried(line: &str) -> Option<String> {
    let rest = after(line, "Tried to allocate ")?;
    let mut words = rest.split_whitespace();
    let amount = words.next()?;
    let unit = words.next()?.trim_end_matches('.');
    let unit = match unit {
        "GiB" => "GB",
        "MiB" => "MB",
        "KiB" => "kB",
        _ => return None,
    };
    Some(format!("{amount} {unit}"))
}
