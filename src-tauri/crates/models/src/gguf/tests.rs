//! Headers written here, read again; and headers that lie.

use domain::Bytes;
use domain::estimate::{Cache, Heads, Weights};
use proptest::prelude::*;

use super::writing::Writer;
use super::{GgufError, facts, read};

fn of(bytes: &[u8]) -> domain::estimate::ModelFacts {
    facts(&read(&mut &bytes[..]).unwrap(), &[])
}

/// Qwen2.5-14B, by its documented figures.
fn qwen() -> Writer {
    Writer::default()
        .string("general.architecture", "qwen2")
        .number("general.file_type", 15)
        .number("qwen2.block_count", 48)
        .number("qwen2.context_length", 32_768)
        .number("qwen2.embedding_length", 5120)
        .number("qwen2.feed_forward_length", 13_824)
        .number("qwen2.attention.head_count", 40)
        .number("qwen2.attention.head_count_kv", 8)
        .words("tokenizer.ggml.tokens", &["a", "b", "c"])
}

#[test]
fn a_plain_model_is_read() {
    let bytes = qwen()
        .tensor("token_embd.weight", &[5120, 152_064], 12)
        .tensor("output.weight", &[5120, 152_064], 14)
        .tensor("blk.0.attn_norm.weight", &[5120], 0)
        .done();
    let facts = of(&bytes);
    assert_eq!(facts.quantization.as_deref(), Some("GGUF Q4_K_M"));
    assert_eq!((facts.max_context, facts.vocabulary, facts.tied_embeddings), (Some(32_768), 3, false));
    let all = 5120 * 152_064_u64;
    assert_eq!(facts.weights, Weights::Exact(Bytes(all / 256 * 144 + all / 256 * 210 + 5120 * 4)));
    let [run] = facts.layers.as_slice() else { panic!("{:?}", facts.layers) };
    assert_eq!((run.count, run.cache), (48, Cache::Full { heads: Heads::of(8, 128) }));
    assert!(!facts.bounded && facts.notes.is_empty(), "{:?}", facts.notes);
}

#[test]
fn windows_states_and_latents_are_told_apart() {
    let gemma = of(&Writer::default()
        .string("general.architecture", "gemma3")
        .number("gemma3.block_count", 62)
        .number("gemma3.embedding_length", 5376)
        .number("gemma3.attention.head_count", 32)
        .number("gemma3.attention.head_count_kv", 16)
        .number("gemma3.attention.key_length", 128)
        .number("gemma3.attention.value_length", 128)
        .number("gemma3.attention.sliding_window", 1024)
        .done());
    let counted = |facts: &domain::estimate::ModelFacts, wanted: fn(&Cache) -> bool| -> u64 {
        facts.layers.iter().filter(|r| wanted(&r.cache)).map(|r| r.count).sum()
    };
    assert_eq!(counted(&gemma, |c| matches!(c, Cache::Sliding { window: 1024, .. })), 52);
    assert_eq!(counted(&gemma, |c| matches!(c, Cache::Full { .. })), 10);

    let next = of(&Writer::default()
        .string("general.architecture", "qwen3next")
        .number("qwen3next.block_count", 48)
        .number("qwen3next.embedding_length", 2048)
        .number("qwen3next.attention.head_count", 16)
        .number("qwen3next.attention.head_count_kv", 2)
        .number("qwen3next.attention.key_length", 256)
        .number("qwen3next.attention.value_length", 256)
        .number("qwen3next.full_attention_interval", 4)
        .number("qwen3next.ssm.conv_kernel", 4)
        .number("qwen3next.ssm.inner_size", 4096)
        .number("qwen3next.ssm.state_size", 128)
        .number("qwen3next.ssm.group_count", 16)
        .done());
    assert_eq!(counted(&next, |c| matches!(c, Cache::Full { .. })), 12);
    let state = next.layers.iter().find_map(|r| match r.cache {
        Cache::State(state) => Some((r.count, state.conv, state.recurrent)),
        _ => None,
    });
    assert_eq!(state, Some((36, 3 * (4096 + 2 * 16 * 128), 128 * 4096)));

    let jamba = of(&Writer::default()
        .string("general.architecture", "jamba")
        .number("jamba.block_count", 4)
        .number("jamba.embedding_length", 64)
        .number("jamba.attention.head_count", 4)
        .list("jamba.attention.head_count_kv", &[0, 0, 2, 0])
        .number("jamba.ssm.conv_kernel", 4)
        .number("jamba.ssm.inner_size", 128)
        .number("jamba.ssm.state_size", 16)
        .done());
    assert_eq!(counted(&jamba, |c| matches!(c, Cache::State(_))), 3);
    assert_eq!(counted(&jamba, |c| matches!(c, Cache::Full { .. })), 1);

    let deepseek = of(&Writer::default()
        .string("general.architecture", "deepseek2")
        .number("deepseek2.block_count", 61)
        .number("deepseek2.embedding_length", 7168)
        .number("deepseek2.attention.head_count", 128)
        .number("deepseek2.attention.head_count_kv", 1)
        .number("deepseek2.attention.kv_lora_rank", 512)
        .number("deepseek2.rope.dimension_count", 64)
        .done());
    assert_eq!(deepseek.layers[0].cache, Cache::Latent { width: 576 });
}

#[test]
fn what_is_not_known_is_a_bound_and_said() {
    let strange = of(&qwen().tensor("blk.0.x", &[256], 99).done());
    assert_eq!(strange.weights, Weights::Unknown { bound: Some(Bytes(2048)) });
    assert!(strange.notes[0].contains("type 99"), "{:?}", strange.notes);
    let windowed = of(&Writer::default()
        .string("general.architecture", "newmodel")
        .number("newmodel.block_count", 4)
        .number("newmodel.attention.sliding_window", 512)
        .done());
    assert!(windowed.bounded && windowed.notes[0].contains("newmodel"));
}

#[test]
fn headers_that_lie_are_refused_at_once() {
    let head = |version: u32, tensors: u64, entries: u64| {
        let mut all = b"GGUF".to_vec();
        all.extend(version.to_le_bytes());
        all.extend(tensors.to_le_bytes());
        all.extend(entries.to_le_bytes());
        all
    };
    let error = |bytes: &[u8]| read(&mut &bytes[..]).unwrap_err();
    assert_eq!(error(b""), GgufError::NotGguf);
    assert_eq!(error(b"PK\x03\x04 and so on"), GgufError::NotGguf);
    assert_eq!(error(&head(3_u32.swap_bytes(), 0, 0)), GgufError::BigEndian);
    assert_eq!(error(&head(9, 0, 0)), GgufError::Version(9));
    for (tensors, entries) in [(1 << 63, 0), (0, 1 << 63)] {
        assert!(matches!(error(&head(3, tensors, entries)), GgufError::Damaged(_)));
    }
    assert_eq!(error(&head(3, 1, 1)), GgufError::Short);
    let list_of = |kind: u32, count: u64| {
        let mut value = kind.to_le_bytes().to_vec();
        value.extend(count.to_le_bytes());
        error(&Writer::default().raw("x", 9, &value).done())
    };
    assert!(matches!(list_of(8, 1 << 60), GgufError::Damaged(_)));
    assert!(matches!(list_of(4, u64::MAX), GgufError::Damaged(_)));
    assert!(matches!(list_of(77, 1), GgufError::Damaged(_)));
    // Lists in lists in lists.
    let mut nested = Vec::new();
    for _ in 0..1000 {
        nested.extend(9_u32.to_le_bytes());
        nested.extend(1_u64.to_le_bytes());
    }
    assert!(matches!(error(&Writer::default().raw("x", 9, &nested).done()), GgufError::Damaged(_)));
    let long = Writer::default().raw("x", 8, &(1_u64 << 62).to_le_bytes()).done();
    assert!(matches!(error(&long), GgufError::Damaged(_)));
    assert!(matches!(error(&qwen().tensor("t", &[1 << 40, 1 << 40], 0).done()), GgufError::Damaged(_)));
}

proptest! {
    #[test]
    fn anything_at_all_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&mut &bytes[..]);
        let mut behind = b"GGUF\x03\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0".to_vec();
        behind.extend(bytes);
        if let Ok(header) = read(&mut &behind[..]) {
            let _ = facts(&header, &[]);
        }
    }

    /// A good header with one byte changed.
    #[test]
    fn one_wrong_byte_is_no_disaster(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = qwen().tensor("token_embd.weight", &[5120, 152_064], 12).done();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(header) = read(&mut &bytes[..]) {
            let _ = facts(&header, &[]);
        }
    }
}

#[test]
fn a_table_that_is_the_output_layer_too_is_read_for_every_token() {
    let table = || qwen().tensor("token_embd.weight", &[5120, 152_064], 12);
    assert_eq!(of(&table().done()).parts.embedding, Bytes::ZERO);
    let own_output = of(&table().tensor("output.weight", &[5120, 152_064], 14).done());
    assert_eq!(own_output.parts.embedding, Bytes(5120 * 152_064 / 256 * 144));
}
