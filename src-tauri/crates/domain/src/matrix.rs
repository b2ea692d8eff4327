//! What is known to work on a GPU, and what is known to crash, hang or lose accuracy: data, each with its source and
//! date. It warns and never forbids, because a newer image may have mended what an older one could not do.

use crate::stack::{Agent, BackendKind, Gpu, LoadMode, offload};

/// What became of it when somebody tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Works,
    Slow,
    LosesAccuracy,
    Crashes,
    Hangs,
    Unsupported,
}

impl Verdict {
    /// Whether it is known not to run at all.
    pub fn is_fatal(self) -> bool {
        matches!(self, Self::Crashes | Self::Hangs | Self::Unsupported)
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Slow => "is slow",
            Self::LosesAccuracy => "loses accuracy",
            Self::Crashes => "crashes",
            Self::Hangs => "hangs",
            Self::Unsupported => "is not supported",
        }
    }
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Weights in this quantisation, by any of these words in the model's id or its `quantization`.
    Weights(&'static [&'static str]),
    /// A KV cache of a type that begins so.
    KvCache(&'static str),
    /// Arguments of the server: any of these, and each of its words after the other.
    Arguments(&'static [&'static [&'static str]]),
    /// Weights read through a mapping, by the key `load_mode`.
    Mapped,
    /// A variable of its environment with this value.
    Variable(&'static str, &'static str),
    /// An image whose name holds this.
    Image(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    pub gpu: Gpu,
    /// None: whatever the backend.
    pub backend: Option<BackendKind>,
    pub what: What,
    /// For a person: "FP8 weights".
    pub name: &'static str,
    pub verdict: Verdict,
    /// One sentence.
    pub reason: &'static str,
    pub source: &'static str,
    /// When it was seen, as precisely as the source says.
    pub date: &'static str,
}

/// Something to know about an agent's choices on this GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    pub verdict: Verdict,
    /// "FP8 weights crash on gfx1151: … (source, date)."
    pub sentence: String,
}

const VLLM: Option<BackendKind> = Some(BackendKind::Vllm);
const LLAMA_CPP: Option<BackendKind> = Some(BackendKind::LlamaCpp);

/// The table of gfx1151, Strix Halo's GPU. What works is in it too: it is what a choice is compared with.
pub const GFX1151: &[Entry] = &[
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["fp8", "ptpc_fp8", "fbgemm_fp8"]),
        name: "FP8 weights",
        verdict: Verdict::Crashes,
        reason: "torch._scaled_mm has no kernel for this GPU: it wants MI300 or newer.",
        source: "strix-opencode, DECISIONS.md",
        date: "2026-02-09",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::KvCache("fp8"),
        name: "An FP8 KV cache",
        verdict: Verdict::LosesAccuracy,
        reason: "It is packed in software with scales that nobody calibrated, all of them 1.0.",
        source: "strix-opencode, DECISIONS.md",
        date: "2026-02-09",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["awq"]),
        name: "AWQ 4-bit weights",
        verdict: Verdict::Works,
        reason: "With images of kyuz0/vllm-therock-gfx1151 of 10 February 2026 and later; the day before, the same tag \
                 ended in a memory access fault.",
        source: "strix-opencode, DECISIONS.md and PROGRESS.md",
        date: "2026-02-10",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["bf16", "bfloat16"]),
        name: "BF16 weights",
        verdict: Verdict::Works,
        reason: "The first set-up that was stable, at four times the memory of 4-bit weights.",
        source: "strix-opencode, PROGRESS.md",
        date: "2026-02-09",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["mxfp4"]),
        name: "MXFP4 weights in builds of vLLM that are not made for them",
        verdict: Verdict::Crashes,
        reason: "Memory access faults by the GPU were reported of a build with FP8 activations, made for MI350; \
                 openai/gpt-oss-120b itself works.",
        source: "ROCm #6157",
        date: "2026-04",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["openai/gpt-oss-120b"]),
        name: "openai/gpt-oss-120b",
        verdict: Verdict::Works,
        reason: "It is listed among the models that were run with kyuz0's image.",
        source: "kyuz0 vLLM toolboxes; ROCm #6157",
        date: "2026-04",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["awq_marlin", "gptq_marlin", "marlin"]),
        name: "Marlin kernels",
        verdict: Verdict::Works,
        reason: "They are for CUDA, and on ROCm vLLM takes the plain kernels of the same weights in their place.",
        source: "vLLM 0.16, list of quantisations for ROCm",
        date: "2026-02",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["gguf"]),
        name: "GGUF weights in vLLM",
        verdict: Verdict::Unsupported,
        reason: "They were on its list for ROCm at 0.16 and are gone by 0.33; llama.cpp loads them.",
        source: "vLLM 0.16 and 0.33, list of quantisations for ROCm",
        date: "2026-11",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["bitsandbytes", "bnb-4bit", "bnb_4bit"]),
        name: "bitsandbytes weights",
        verdict: Verdict::Unsupported,
        reason: "vLLM 0.16 had them on its list for ROCm; 0.11 and 0.33 do not.",
        source: "vLLM 0.11, 0.16 and 0.33, list of quantisations for ROCm",
        date: "2026-11",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["gptq", "w4a16"]),
        name: "GPTQ and other W4A16 weights",
        verdict: Verdict::Slow,
        reason: "They are on vLLM's list for ROCm, though said to be for CUDA alone: right with the Triton kernel, at \
                 under half of the memory's speed, and garbage with the RDNA3 one where that is forced.",
        source: "vLLM 0.16, list of quantisations for ROCm; vllm-rocm #24",
        date: "2026-07",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Weights(&["nvfp4", "modelopt"]),
        name: "NVFP4 weights",
        verdict: Verdict::Unsupported,
        reason: "They are made for NVIDIA's newest cards.",
        source: "vLLM 0.16, list of quantisations for ROCm",
        date: "2026-02",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: VLLM,
        what: What::Variable("VLLM_ROCM_USE_AITER", "1"),
        name: "AITER",
        verdict: Verdict::Crashes,
        reason: "It has no kernels for this GPU in places and ends with an architecture error; leave it off.",
        source: "kyuz0 vLLM toolboxes #73",
        date: "2026-07",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: LLAMA_CPP,
        what: What::Image("vulkan-amdvlk"),
        name: "The AMDVLK image",
        verdict: Verdict::Unsupported,
        reason: "One buffer may have 2 GB at most, so large models may fail; the RADV image has no such limit.",
        source: "kyuz0 toolboxes, README",
        date: "2026",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: LLAMA_CPP,
        what: What::Arguments(&[
            &["--mmap"],
            &["--load-mode", "mmap"],
            &["--load-mode", "mmap+mlock"],
            &["-lm", "mmap"],
            &["-lm", "mmap+mlock"],
        ]),
        name: "Reading a model through mmap",
        verdict: Verdict::Hangs,
        reason: "More than 20 GB through mmap hangs with ROCm; Asgard reads without it.",
        source: "ROCm #6182",
        date: "2026-06",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: LLAMA_CPP,
        what: What::Mapped,
        name: "load_mode with mmap",
        verdict: Verdict::Hangs,
        reason: "More than 20 GB through mmap hangs with ROCm; \"none\" copies instead.",
        source: "ROCm #6182",
        date: "2026-06",
    },
    Entry {
        gpu: Gpu::Gfx1151,
        backend: LLAMA_CPP,
        what: What::Weights(&["q4_k_m", "q4_k", "q5_k", "q6_k", "q8_0"]),
        name: "GGUF weights of the K kinds and Q8_0",
        verdict: Verdict::Works,
        reason: "On Vulkan (RADV, the most stable) and on ROCm.",
        source: "kyuz0 toolboxes, README; strix-opencode, DECISIONS.md",
        date: "2026-02-09",
    },
];

/// Every entry of a GPU.
pub fn entries(gpu: Gpu) -> &'static [Entry] {
    match gpu {
        Gpu::Gfx1151 => GFX1151,
    }
}

/// What speaks against an agent's choices on this GPU. Nothing where no GPU is known, for an agent that stays off
/// it, and for one whose server others run: they have seen for themselves.
pub fn concerns(gpu: Option<Gpu>, agent: &Agent) -> Vec<Concern> {
    let Some(gpu) = gpu.filter(|_| agent.on_device() && agent.is_ours()) else { return Vec::new() };
    entries(gpu)
        .iter()
        .filter(|e| e.verdict != Verdict::Works)
        .filter(|e| e.backend.is_none_or(|b| b == agent.backend))
        .filter(|e| concerns_agent(e.what, agent))
        .map(|e| Concern {
            verdict: e.verdict,
            sentence: format!(
                "{}: {} on gfx1151. {} ({}, {})",
                e.name,
                e.verdict.word(),
                e.reason,
                e.source,
                e.date
            ),
        })
        .chain(offload(agent).map(|sentence| Concern { verdict: Verdict::Slow, sentence }))
        .collect()
}

/// What speaks against a model that nobody has set up yet: its weights, by what is said of their quantisation and by
/// its name, and the type of cache that its checkpoint asks for. Where the table says of this very model that it works,
/// nothing is said against its weights.
pub fn troubles(
    gpu: Option<Gpu>,
    backend: BackendKind,
    model: &str,
    quantization: Option<&str>,
    cache_dtype: Option<&str>,
) -> Vec<&'static Entry> {
    let Some(gpu) = gpu else { return Vec::new() };
    let (model, quantization) =
        (model.to_ascii_lowercase(), quantization.unwrap_or_default().to_ascii_lowercase());
    let all = || entries(gpu).iter().filter(|e| e.backend.is_none_or(|b| b == backend));
    let itself_works = all().any(|e| {
        e.verdict == Verdict::Works
            && matches!(e.what, What::Weights(words) if words.contains(&model.as_str()))
    });
    all()
        .filter(|e| e.verdict != Verdict::Works)
        .filter(|e| match e.what {
            What::Weights(words) => {
                !itself_works && words.iter().any(|w| holds(&quantization, w) || holds(&model, w))
            }
            What::KvCache(prefix) => cache_dtype.is_some_and(|t| t.to_ascii_lowercase().starts_with(prefix)),
            _ => false,
        })
        .collect()
}

/// Words stand by themselves: "fp8" is not in "mxfp8x".
fn holds(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
        edge(text[..at].chars().next_back()) && edge(text[at + word.len()..].chars().next())
    })
}

fn concerns_agent(what: What, agent: &Agent) -> bool {
    match what {
        What::Weights(words) => {
            let quantization = agent.quantization.as_deref().unwrap_or_default().to_ascii_lowercase();
            let model = agent.model.to_ascii_lowercase();
            words.iter().any(|w| holds(&quantization, w) || holds(&model, w))
        }
        What::KvCache(prefix) => {
            agent.kv_dtype.as_deref().is_some_and(|t| t.to_ascii_lowercase().starts_with(prefix))
        }
        What::Arguments(any) => any.iter().any(|words| agent.args.windows(words.len()).any(|w| w == *words)),
        What::Mapped => matches!(agent.load_mode, Some(LoadMode::Mmap | LoadMode::MmapMlock)),
        // Who reads it takes "1" and "true" for the same.
        What::Variable(name, value) => agent
            .env
            .get(name)
            .is_some_and(|v| v == value || (value == "1" && v.trim().eq_ignore_ascii_case("true"))),
        What::Image(part) => {
            matches!(&agent.runs, crate::stack::Runs::Container { image, .. } if image.contains(part))
        }
    }
}
