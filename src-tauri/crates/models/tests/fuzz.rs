//! Fuzz targets for every format that is read of a model: whole inputs with things done to them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails a test")]

mod common;
#[path = "../../../../tests/fuzzing/mod.rs"]
mod fuzzing;
#[path = "../src/gguf/writing.rs"]
mod writing;

use std::sync::LazyLock;

use common::{names, text, vllm};
use domain::Bytes;
use domain::estimate::{ModelFacts, Request, active_weights, concurrency, estimate, longest_context};
use domain::stack::BackendKind;
use fuzzing::{Count, MOST_EDITS, SHORT, assert_fit_for_a_person, input};
use models::{config, gguf, safetensors};
use writing::Writer;

/// Whatever was read must do for everything that is asked of it.
fn ask(facts: &ModelFacts) {
    for backend in [BackendKind::Vllm, BackendKind::LlamaCpp] {
        for (tensor_parallel, sequences) in [(1, 1), (4, 1024)] {
            let request = Request { backend, tensor_parallel, sequences, ..vllm(32_768) };
            let _ = estimate(facts, &request);
            let _ = concurrency(facts, &request, Bytes::gb(8.0));
            let _ = longest_context(facts, &request, Bytes::gb(8.0));
            let _ = active_weights(facts, &request);
        }
    }
    for note in &facts.notes {
        assert_fit_for_a_person(note);
    }
}

#[test]
fn config_json() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| names().iter().map(|name| text(name)).collect());
    static COUNT: Count = Count::of("config.json");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let json = input(&WHOLE, edits);
        COUNT.try_one(|| config::read(&json).map(|facts| ask(&facts)).map_err(said).is_ok());
    });
    COUNT.finish();
}

#[test]
fn gguf_header() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(ggufs);
    static COUNT: Count = Count::of("GGUF header");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let bytes = input(&WHOLE, edits);
        COUNT.try_one(|| match gguf::read(&mut bytes.as_slice()) {
            Ok(header) => {
                assert!(header.length <= bytes.len() as u64, "no more was read than is there");
                ask(&gguf::facts(&header, &[]));
                ask(&gguf::facts(&header, std::slice::from_ref(&header)));
                true
            }
            Err(error) => {
                said(error);
                false
            }
        });
    });
    COUNT.finish();
}

#[test]
fn safetensors_header() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        [
            r#"{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[12,16]}}"#,
            r#"{"a":{"dtype":"I32","shape":[],"data_offsets":[0,4]}}"#,
            "{}",
        ]
        .map(|header| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 16]].concat())
        .into()
    });
    static COUNT: Count = Count::of("safetensors header");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let bytes = input(&WHOLE, edits);
        COUNT.try_one(|| {
            let size = bytes.len() as u64;
            let known = safetensors::read(&mut bytes.as_slice(), Some(size));
            if let Ok(header) = &known {
                assert!(header.bytes().0 <= size, "no more weights than the file has bytes: {header:?}");
            }
            let _ = safetensors::read(&mut bytes.as_slice(), None).map_err(said);
            known.map_err(said).is_ok()
        });
    });
    COUNT.finish();
}

#[test]
fn safetensors_index() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        let index = r#"{"metadata":{"total_size":9980000000},"weight_map":{"lm_head.weight":"model-00001-of-00002.safetensors"}}"#;
        vec![index.into(), br#"{"metadata":{"total_size":1.5e9}}"#.to_vec()]
    });
    static COUNT: Count = Count::of("safetensors index");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let json = input(&WHOLE, edits);
        COUNT.try_one(|| safetensors::index_total(&json).map_err(said).is_ok());
    });
    COUNT.finish();
}

#[test]
fn list_of_files() {
    static WHOLE: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        [
            r#"[{"type":"file","path":"model-00001-of-00002.safetensors","size":399,"lfs":{"size":3990000000}},{"path":"model-00002-of-00002.safetensors","size":3970000000},{"path":"config.json","size":700}]"#,
            r#"{"siblings":[{"rfilename":"pytorch_model.bin","size":12},{"rfilename":"training_args.bin"}]}"#,
            r#"{"model.safetensors":30,"README.md":1}"#,
        ]
        .map(|json| json.as_bytes().to_vec())
        .into()
    });
    static COUNT: Count = Count::of("list of files");
    bolero::check!().with_test_time(SHORT).with_max_len(MOST_EDITS).for_each(|edits: &[u8]| {
        let json = input(&WHOLE, edits);
        COUNT.try_one(|| {
            let files = safetensors::file_list(&json).map_err(said);
            files.map(|files| safetensors::weights(&files)).is_ok()
        });
    });
    COUNT.finish();
}

fn said(error: impl std::error::Error) {
    assert_fit_for_a_person(&error.to_string());
}

/// Headers of several kinds of models.
fn ggufs() -> Vec<Vec<u8>> {
    let plain = Writer::default()
        .string("general.architecture", "qwen2")
        .number("general.file_type", 15)
        .number("qwen2.block_count", 48)
        .number("qwen2.context_length", 32_768)
        .number("qwen2.embedding_length", 5120)
        .number("qwen2.attention.head_count", 40)
        .number("qwen2.attention.head_count_kv", 8)
        .words("tokenizer.ggml.tokens", &["a", "b", "c"])
        .tensor("token_embd.weight", &[5120, 152_064], 12)
        .tensor("output.weight", &[5120, 152_064], 14);
    let mixed = Writer::default()
        .string("general.architecture", "qwen3next")
        .number("qwen3next.block_count", 4)
        .number("qwen3next.context_length", 4096)
        .number("qwen3next.embedding_length", 64)
        .number("qwen3next.attention.head_count", 4)
        .list("qwen3next.attention.head_count_kv", &[0, 0, 0, 2])
        .number("qwen3next.full_attention_interval", 4)
        .number("qwen3next.expert_count", 8)
        .number("qwen3next.expert_used_count", 2)
        .number("qwen3next.ssm.conv_kernel", 4)
        .number("qwen3next.ssm.inner_size", 64)
        .number("qwen3next.ssm.state_size", 16)
        .number("qwen3next.ssm.group_count", 2)
        .number("split.count", 2)
        .tensor("blk.0.ffn_gate_exps.weight", &[64, 64, 8], 39);
    let windows = Writer::default()
        .string("general.architecture", "gemma3")
        .number("gemma3.block_count", 6)
        .number("gemma3.embedding_length", 64)
        .number("gemma3.attention.head_count", 4)
        .number("gemma3.attention.head_count_kv", 2)
        .number("gemma3.attention.key_length", 32)
        .number("gemma3.attention.value_length", 32)
        .number("gemma3.attention.sliding_window", 16)
        .tensor("token_embd.weight", &[64, 100], 0);
    let latent = Writer::default()
        .string("general.architecture", "deepseek2")
        .number("deepseek2.block_count", 3)
        .number("deepseek2.attention.head_count", 4)
        .number("deepseek2.attention.kv_lora_rank", 512)
        .number("deepseek2.rope.dimension_count", 64)
        .tensor("a", &[7], 99);
    [plain, mixed, windows, latent].map(Writer::done).into()
}
