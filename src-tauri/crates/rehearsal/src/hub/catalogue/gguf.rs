//! Repositories of GGUF files, for llama.cpp: several quantisations in one, some of them in parts.

use serde_json::json;

use super::families::{LLAMA_70B, QWEN_0_5B, QWEN_1_5B, QWEN_3B, QWEN_7B, QWEN_14B, QWEN_30B, Size};
use super::{About, SCALE};
use crate::hub::content::{Content, mix};
use crate::hub::repo::{File, Repo};
use crate::hub::weights::Gguf;

/// A quantisation's word in names, and the real file's bytes.
type Quantised = (&'static str, u64);

pub(super) fn repos() -> Vec<Repo> {
    let about = About::new;
    vec![
        repo(
            about("bartowski/Qwen2.5-14B-Instruct-GGUF", "apache-2.0", "Qwen/Qwen2.5-14B-Instruct").seen(
                71_340,
                55,
                "2024-09-19",
            ),
            QWEN_14B,
            "Qwen2.5-14B-Instruct",
            &[
                ("Q3_K_M", 7_339_203_936),
                ("IQ4_XS", 8_186_000_000),
                ("Q4_K_M", 8_988_110_976),
                ("Q5_K_M", 10_508_873_856),
                ("Q6_K", 12_124_683_904),
                ("Q8_0", 15_701_597_824),
            ],
        ),
        repo(
            about(
                "unsloth/Qwen3-Coder-30B-A3B-Instruct-GGUF",
                "apache-2.0",
                "Qwen/Qwen3-Coder-30B-A3B-Instruct",
            )
            .seen(402_911, 270, "2025-08-12"),
            QWEN_30B,
            "Qwen3-Coder-30B-A3B-Instruct",
            &[("Q4_K_M", 18_556_689_568), ("Q6_K", 25_092_535_456), ("Q8_0", 32_483_935_392)],
        ),
        repo(
            about("unsloth/Llama-3.3-70B-Instruct-GGUF", "llama3.3", "meta-llama/Llama-3.3-70B-Instruct")
                .seen(50_880, 96, "2025-05-10"),
            LLAMA_70B,
            "Llama-3.3-70B-Instruct",
            &[("Q2_K", 26_375_113_632), ("Q4_K_M", 42_520_398_432), ("Q8_0", 74_975_062_752)],
        ),
        repo(
            about("bartowski/Qwen2.5-7B-Instruct-GGUF", "apache-2.0", "Qwen/Qwen2.5-7B-Instruct").seen(
                66_022,
                40,
                "2024-09-19",
            ),
            QWEN_7B,
            "Qwen2.5-7B-Instruct",
            &[("Q4_K_M", 4_683_074_240), ("Q5_K_M", 5_444_831_936), ("Q8_0", 8_098_525_888)],
        ),
        repo(
            about("bartowski/Qwen2.5-3B-Instruct-GGUF", "other:qwen-research", "Qwen/Qwen2.5-3B-Instruct")
                .seen(33_171, 18, "2024-09-19"),
            QWEN_3B,
            "Qwen2.5-3B-Instruct",
            &[("Q4_K_M", 1_929_903_264), ("Q8_0", 3_285_476_512)],
        ),
        repo(
            about("Qwen/Qwen2.5-1.5B-Instruct-GGUF", "apache-2.0", "Qwen/Qwen2.5-1.5B-Instruct").seen(
                45_903,
                88,
                "2024-09-20",
            ),
            QWEN_1_5B,
            "qwen2.5-1.5b-instruct",
            &[("q4_k_m", 1_117_320_736), ("q8_0", 1_894_532_128)],
        ),
        repo(
            about("Qwen/Qwen2.5-0.5B-Instruct-GGUF", "apache-2.0", "Qwen/Qwen2.5-0.5B-Instruct").seen(
                59_114,
                79,
                "2024-09-20",
            ),
            QWEN_0_5B,
            "qwen2.5-0.5b-instruct",
            &[("q4_k_m", 491_400_032), ("q8_0", 675_710_816)],
        ),
        too_large(),
    ]
}

/// From this size on files are published in parts.
const WHOLE: u64 = 50_000_000_000;

fn repo(about: About, size: Size, stem: &str, quantised: &[Quantised]) -> Repo {
    let mut files = Vec::new();
    for (n, (word, bytes)) in (0_u64..).zip(quantised) {
        let seed = mix(n ^ about.id.len() as u64 ^ bytes);
        if *bytes < WHOLE {
            files.push(File::new(
                format!("{stem}-{word}.gguf"),
                content(size, stem, word, bytes / SCALE, (1, 1), seed),
            ));
        } else {
            for part in 1..=2 {
                let name = format!("{word}/{stem}-{word}-{part:05}-of-00002.gguf");
                files.push(File::new(
                    name,
                    content(size, stem, word, bytes / 2 / SCALE, (part, 2), seed ^ part),
                ));
            }
        }
    }
    let mut repo = about.repo(files, &["gguf"]);
    repo.library = String::new();
    repo.gguf = Some(json!({
        "total": quantised.first().map_or(0, |(_, bytes)| bytes * 8 / 5), "architecture": size.gguf_name(),
        "context_length": size.context,
    }));
    repo
}

/// The types of tensors that most of a file is made of: the format's number, elements and bytes of a block; and the
/// number of the mix.
fn kinds(word: &str) -> (u32, u64, u64, u32) {
    match word.to_ascii_uppercase().as_str() {
        "Q2_K" => (10, 256, 84, 10),
        "Q3_K_M" => (11, 256, 110, 12),
        "IQ4_XS" => (23, 256, 136, 30),
        "Q5_K_M" => (13, 256, 176, 17),
        "Q6_K" => (14, 256, 210, 18),
        "Q8_0" => (8, 32, 34, 7),
        _ => (12, 256, 144, 15),
    }
}

fn content(size: Size, name: &str, word: &str, bytes: u64, (part, parts): (u64, u64), seed: u64) -> Content {
    let kind = size.gguf_name();
    let (tensor, elements, block, mix) = kinds(word);
    let mut file = Gguf::default().word("general.architecture", kind);
    if part == 1 {
        file = file
            .word("general.name", name)
            .number("general.file_type", mix)
            .number(&format!("{kind}.block_count"), size.layers)
            .number(&format!("{kind}.context_length"), size.context)
            .number(&format!("{kind}.embedding_length"), size.hidden)
            .number(&format!("{kind}.feed_forward_length"), size.intermediate)
            .number(&format!("{kind}.attention.head_count"), size.heads)
            .number(&format!("{kind}.attention.head_count_kv"), 1)
            .number(&format!("{kind}.attention.key_length"), 1)
            .number(&format!("{kind}.attention.value_length"), 1)
            .number(&format!("{kind}.vocab_size"), size.vocabulary)
            .word("tokenizer.ggml.model", "gpt2")
            .word("tokenizer.chat_template", "{% for m in messages %}{{ m['content'] }}{% endfor %}");
        if kind == "qwen3moe" {
            file = file
                .number(&format!("{kind}.expert_count"), 128)
                .number(&format!("{kind}.expert_used_count"), 8)
                .number(&format!("{kind}.expert_feed_forward_length"), 768);
        }
    }
    if parts > 1 {
        file = file
            .number("split.no", u32::try_from(part - 1).unwrap_or(0))
            .number("split.count", u32::try_from(parts).unwrap_or(1));
    }
    let tensor_of = |file: Gguf, name: &str, share: u64| {
        let blocks = share / block;
        file.tensor(name, tensor, blocks * elements, blocks * block)
    };
    if part == 1 {
        file = tensor_of(file, "token_embd.weight", bytes / 16);
        file = tensor_of(file, "output.weight", bytes / 16);
    }
    let rest = if part == 1 { bytes - bytes / 8 } else { bytes };
    // As many layers as the model has, so that a reader finds each.
    let layers = u64::from(size.layers).div_ceil(parts);
    for layer in 0..layers {
        let tensor = if kind == "qwen3moe" { "ffn_gate_exps" } else { "ffn_down" };
        let name = format!("blk.{}.{tensor}.weight", (part - 1) * layers + layer);
        file = tensor_of(file, &name, rest / layers);
    }
    file.content(seed)
}

/// One file of more than 50 GB, in its real size: only its list is ever fetched.
fn too_large() -> Repo {
    let about = About::new("mradermacher/gpt-oss-120b-GGUF", "apache-2.0", "openai/gpt-oss-120b").seen(
        9120,
        12,
        "2025-08-14",
    );
    let files = vec![File::claimed("gpt-oss-120b.Q8_0.gguf", 63_387_346_208)];
    let mut repo = about.repo(files, &["gguf"]);
    repo.library = String::new();
    repo.gguf =
        Some(json!({ "total": 116_829_156_672_u64, "architecture": "gpt-oss", "context_length": 131_072 }));
    repo
}
