//! Repositories of safetensors, for vLLM.

use serde_json::{Value, json};

use super::families::{
    LLAMA_8B, LLAMA_70B, LLAMA_405B, QWEN_3B, QWEN_7B, QWEN_14B, QWEN_30B, QWEN_80B, Size,
};
use super::{About, SCALE};
use crate::hub::content::{Content, mix};
use crate::hub::repo::{Access, File, Repo};
use crate::hub::weights::safetensors;

/// How the weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Bf16,
    Awq,
    Gptq,
    Fp8,
    /// compressed-tensors, 4 bits.
    Packed,
}

const MB: u64 = 1_000_000;

pub(super) fn repos() -> Vec<Repo> {
    use Stored::{Awq, Bf16, Fp8, Gptq, Packed};
    let about = About::new;
    vec![
        repo(
            about(
                "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ",
                "apache-2.0",
                "Qwen/Qwen3-Coder-30B-A3B-Instruct",
            )
            .seen(214_320, 61, "2025-08-19"),
            QWEN_30B,
            Awq,
            &[3990, 3995, 3998, 4767],
        ),
        repo(
            about("Qwen/Qwen2.5-14B-Instruct-AWQ", "apache-2.0", "Qwen/Qwen2.5-14B-Instruct").seen(
                398_112,
                34,
                "2024-10-09",
            ),
            QWEN_14B,
            Awq,
            &[3990, 3970, 2020],
        ),
        repo(
            about("Qwen/Qwen2.5-7B-Instruct-AWQ", "apache-2.0", "Qwen/Qwen2.5-7B-Instruct").seen(
                512_077,
                29,
                "2024-10-09",
            ),
            QWEN_7B,
            Awq,
            &[4480, 1090],
        ),
        repo(
            about("Qwen/Qwen2.5-Coder-7B-Instruct-AWQ", "apache-2.0", "Qwen/Qwen2.5-Coder-7B-Instruct").seen(
                187_455,
                22,
                "2024-11-18",
            ),
            QWEN_7B,
            Awq,
            &[4480, 1090],
        ),
        repo(
            about("casperhansen/llama-3.3-70b-instruct-awq", "llama3.3", "meta-llama/Llama-3.3-70B-Instruct")
                .seen(121_904, 33, "2024-12-06"),
            LLAMA_70B,
            Awq,
            &[4940, 4990, 4970, 4960, 4990, 4970, 4990, 2890, 2100],
        ),
        repo(
            about("Qwen/Qwen2.5-3B-Instruct-AWQ", "other:qwen-research", "Qwen/Qwen2.5-3B-Instruct").seen(
                64_300,
                9,
                "2024-10-09",
            ),
            QWEN_3B,
            Awq,
            &[2684],
        ),
        repo(
            about("Qwen/Qwen2.5-14B-Instruct-GPTQ-Int4", "apache-2.0", "Qwen/Qwen2.5-14B-Instruct").seen(
                58_240,
                26,
                "2024-10-09",
            ),
            QWEN_14B,
            Gptq,
            &[3990, 3970, 2020],
        ),
        repo(
            about("RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8", "llama3.1", "meta-llama/Llama-3.1-8B-Instruct")
                .seen(301_556, 44, "2025-03-13"),
            LLAMA_8B,
            Fp8,
            &[4980, 4100],
        ),
        repo(
            about("meta-llama/Llama-3.1-8B-Instruct", "llama3.1", "meta-llama/Llama-3.1-8B")
                .seen(5_630_118, 4870, "2024-09-25")
                .access(Access::Auto),
            LLAMA_8B,
            Bf16,
            &[4980, 5000, 4920, 1160],
        ),
        repo(
            about("Qwen/Qwen2.5-14B-Instruct", "apache-2.0", "Qwen/Qwen2.5-14B").seen(
                1_204_870,
                290,
                "2024-09-25",
            ),
            QWEN_14B,
            Bf16,
            &[3890, 3990, 3990, 3990, 3990, 3990, 3990, 1670],
        ),
        repo(
            about("Qwen/Qwen3-Coder-30B-A3B-Instruct", "apache-2.0", "").seen(742_110, 812, "2025-08-21"),
            QWEN_30B,
            Bf16,
            &[3998; 15].iter().copied().chain([1090]).collect::<Vec<_>>(),
        ),
        repo(
            about(
                "cpatonn/Qwen3-Next-80B-A3B-Instruct-AWQ-4bit",
                "apache-2.0",
                "Qwen/Qwen3-Next-80B-A3B-Instruct",
            )
            .seen(90_112, 40, "2025-09-30"),
            QWEN_80B,
            Packed,
            &[4990, 4990, 4990, 4990, 4990, 4990, 4990, 4990, 4990, 4090],
        ),
        repo(
            about(
                "hugging-quants/Meta-Llama-3.1-405B-Instruct-AWQ-INT4",
                "llama3.1",
                "meta-llama/Llama-3.1-405B-Instruct",
            )
            .seen(8210, 36, "2024-09-13"),
            LLAMA_405B,
            Awq,
            &[4970; 41],
        ),
        // Whoever asks for it waits for a person, for ever.
        repo(
            about("valhalla/Runes-70B", "other:valhalla-research", "")
                .seen(312, 4, "2026-02-02")
                .access(Access::Manual),
            LLAMA_70B,
            Bf16,
            &[4980; 28],
        ),
        repo(
            about("rehearsal/odins-notes-7b", "other:private", "Qwen/Qwen2.5-7B-Instruct")
                .seen(3, 1, "2026-04-01")
                .access(Access::Private),
            QWEN_7B,
            Awq,
            &[4480, 1090],
        ),
        embeddings(),
    ]
}

/// `shards`: MB of the real files.
fn repo(about: About, size: Size, stored: Stored, shards: &[u64]) -> Repo {
    let (dtype, quantization, tags): (_, _, &[&str]) = match stored {
        Stored::Bf16 => ("bfloat16", None, &[]),
        Stored::Awq => (
            "float16",
            Some(
                json!({ "bits": 4, "group_size": 128, "modules_to_not_convert": null, "quant_method": "awq", "version": "gemm", "zero_point": true }),
            ),
            &["awq", "4-bit"],
        ),
        Stored::Gptq => (
            "float16",
            Some(
                json!({ "bits": 4, "group_size": 128, "desc_act": false, "quant_method": "gptq", "sym": true, "true_sequential": true }),
            ),
            &["gptq", "4-bit"],
        ),
        Stored::Fp8 => ("bfloat16", Some(fp8()), &["fp8", "compressed-tensors"]),
        Stored::Packed => ("bfloat16", Some(packed()), &["compressed-tensors", "4-bit"]),
    };
    let config = size.config(dtype, quantization.clone());
    let count = shards.len();
    let mut files = vec![
        json_file("config.json", &config),
        json_file("generation_config.json", &json!({ "do_sample": true, "temperature": 0.7, "top_p": 0.8 })),
        json_file(
            "tokenizer_config.json",
            &json!({ "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": size.context,
                     "chat_template": "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}" }),
        ),
        json_file(
            "tokenizer.json",
            &json!({ "version": "1.0", "model": { "type": "BPE", "vocab": {}, "merges": [] } }),
        ),
    ];
    let mut map = serde_json::Map::new();
    let (mut total, mut elements) = (0, serde_json::Map::new());
    for (n, mb) in (1..).zip(shards) {
        let name = if count == 1 {
            "model.safetensors".to_owned()
        } else {
            format!("model-{n:05}-of-{count:05}.safetensors")
        };
        let tensors = tensors(stored, n - 1, mb * MB / SCALE);
        for (tensor, dtype, shape) in &tensors {
            map.insert(tensor.clone(), json!(name));
            let so_far = elements.get(*dtype).and_then(Value::as_u64).unwrap_or(0);
            elements.insert((*dtype).to_owned(), json!(so_far + shape.iter().product::<u64>()));
        }
        let rows: Vec<_> = tensors.iter().map(|(t, d, s)| (t.as_str(), *d, s.clone())).collect();
        let seed = mix(u64::from(n) ^ about.id.bytes().fold(7, |seed, b| mix(seed ^ u64::from(b))));
        let content = safetensors(&rows, seed);
        total += content.size();
        files.push(File::new(name, content));
    }
    if count > 1 {
        let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
        files.push(json_file("model.safetensors.index.json", &index));
    }
    let mut repo = about.repo(files, tags);
    repo.tags.extend(["safetensors".to_owned(), size.kind.to_owned()]);
    let mut shown = json!({ "architectures": [size.architecture()], "model_type": size.kind });
    if let Some(quantization) = quantization {
        shown["quantization_config"] = quantization;
    }
    repo.config = Some(shown);
    let all: u64 = elements.values().filter_map(Value::as_u64).sum();
    repo.safetensors = Some(json!({ "parameters": elements, "total": all }));
    repo
}

fn json_file(path: &str, value: &Value) -> File {
    File::new(path, Content::text(format!("{value:#}\n")))
}

fn fp8() -> Value {
    let eight =
        json!({ "num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": false, "symmetric": true });
    json!({
        "config_groups": { "group_0": { "input_activations": eight, "weights": eight, "targets": ["Linear"] } },
        "format": "float-quantized", "ignore": ["lm_head"], "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
    })
}

fn packed() -> Value {
    let four = json!({ "num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "dynamic": false, "symmetric": false });
    json!({
        "config_groups": { "group_0": { "weights": four, "targets": ["Linear"] } },
        "format": "pack-quantized", "ignore": ["lm_head"], "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
    })
}

/// Tensors that take about so many bytes, most of them as they are stored, the rest in 16 bits.
fn tensors(stored: Stored, shard: u32, bytes: u64) -> Vec<(String, &'static str, Vec<u64>)> {
    let (dtype, width, name) = match stored {
        Stored::Bf16 => ("BF16", 2, "weight"),
        Stored::Awq | Stored::Gptq => ("I32", 4, "qweight"),
        Stored::Packed => ("I32", 4, "weight_packed"),
        Stored::Fp8 => ("F8_E4M3", 1, "weight"),
    };
    let (plain, scales) = match stored {
        Stored::Awq | Stored::Gptq => ("F16", "scales"),
        Stored::Bf16 | Stored::Fp8 | Stored::Packed => ("BF16", "input_layernorm"),
    };
    let of_layers = bytes * 15 / 16;
    let mut all = Vec::new();
    for layer in 0..4 {
        let name = format!("model.layers.{}.mlp.down_proj.{name}", shard * 4 + layer);
        all.push((name, dtype, vec![of_layers / 4 / width / 64, 64]));
    }
    all.push((
        format!("model.layers.{}.mlp.down_proj.{scales}", shard * 4),
        plain,
        vec![bytes / 16 / 2 / 64, 64],
    ));
    all
}

/// Not for chats: what filters are to leave out.
fn embeddings() -> Repo {
    let about = About::new("BAAI/bge-large-en-v1.5", "mit", "").seen(4_102_377, 560, "2024-02-21");
    let config = json!({
        "architectures": ["BertModel"], "model_type": "bert", "torch_dtype": "float32", "hidden_size": 1024,
        "intermediate_size": 4096, "max_position_embeddings": 512, "num_attention_heads": 16, "num_hidden_layers": 24,
        "vocab_size": 30_522,
    });
    let content = safetensors(
        &[("embeddings.word_embeddings.weight", "F32", vec![1_340 * MB / SCALE / 4 / 64, 64])],
        3,
    );
    let files = vec![json_file("config.json", &config), File::new("model.safetensors", content)];
    let mut repo = about.repo(files, &["safetensors", "bert", "sentence-transformers"]);
    "feature-extraction".clone_into(&mut repo.pipeline);
    "sentence-transformers".clone_into(&mut repo.library);
    repo.config = Some(json!({ "architectures": ["BertModel"], "model_type": "bert" }));
    repo
}
