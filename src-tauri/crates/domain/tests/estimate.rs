//! The estimate on hand-made facts: what vLLM and llama.cpp do with layers, blocks, groups and devices.

use domain::Bytes;
use domain::estimate::{
    Cache, EstimateError, Experts, Heads, LayerRun, ModelFacts, Parts, Request, State, Sureness, Weights,
    active_weights, concurrency, estimate, longest_context, smallest_pool,
};
use domain::stack::BackendKind;

const KIB: u64 = 1 << 10;

fn model(layers: Vec<(u64, Cache)>) -> ModelFacts {
    ModelFacts {
        architecture: "Test".to_owned(),
        layers: layers.into_iter().map(|(count, cache)| LayerRun { count, cache }).collect(),
        attention_heads: 32,
        hidden: 4096,
        intermediate: 11_008,
        vocabulary: 32_000,
        max_context: Some(131_072),
        dtype: "bfloat16".to_owned(),
        weights: Weights::Exact(Bytes::gb(8.0)),
        ..ModelFacts::default()
    }
}

fn full(kv: u32, dim: u32) -> Cache {
    Cache::Full { heads: Heads::of(kv, dim) }
}

fn sliding(kv: u32, dim: u32, window: u32) -> Cache {
    Cache::Sliding { heads: Heads::of(kv, dim), window }
}

fn vllm(context: u32) -> Request {
    Request { batched_tokens: Some(2048), ..Request::one(BackendKind::Vllm, Some(context)) }
}

fn llama(context: u32) -> Request {
    Request::one(BackendKind::LlamaCpp, Some(context))
}

fn kv_type(name: &str, request: Request) -> Request {
    Request { kv_dtype: Some(name.to_owned()), ..request }
}

#[test]
fn a_context_is_rounded_up_to_blocks_of_sixteen() {
    let plain = model(vec![(28, full(4, 128))]);
    for (context, blocks) in [(1, 1), (16, 1), (17, 2), (32_768, 2048)] {
        let got = estimate(&plain, &vllm(context)).unwrap();
        assert_eq!(got.kv, Bytes(blocks * 16 * 56 * KIB), "{context}");
        assert_eq!(got.kv_bytes_per_token, 56 * KIB);
    }
    let four = estimate(&plain, &Request { sequences: 4, ..vllm(32_768) }).unwrap();
    assert_eq!(four.kv, Bytes(4 * 2048 * 16 * 56 * KIB));
}

#[test]
fn a_window_holds_itself_one_batch_and_a_block_more() {
    let slides = model(vec![(32, sliding(8, 128, 4096))]);
    let page = 32 * 16 * 4 * KIB;
    // 4095 + 2048 tokens: 384 blocks, and one because windows do not begin with a block.
    assert_eq!(estimate(&slides, &vllm(32_768)).unwrap().kv, Bytes(385 * page));
    assert_eq!(estimate(&slides, &vllm(1024)).unwrap().kv, Bytes(65 * page), "never more than the context");
    assert_eq!(estimate(&slides, &vllm(32_768)).unwrap().kv_bytes_per_token, 0, "it does not grow any more");
    assert_eq!(estimate(&slides, &vllm(1024)).unwrap().kv_bytes_per_token, 128 * KIB, "it still grows");
    let chunks = model(vec![(32, Cache::Chunked { heads: Heads::of(8, 128), chunk: 8192 })]);
    assert_eq!(estimate(&chunks, &vllm(100_000)).unwrap().kv, Bytes(640 * page));
}

#[test]
fn kinds_of_layers_share_one_pool_in_equal_groups() {
    // 52 sliding and 10 full layers: groups of 10, one full and six sliding (the last one padded).
    let mixed = model(vec![(52, sliding(16, 128, 1024)), (10, full(16, 128))]);
    let block = 10 * 16 * 8 * KIB;
    let got = estimate(&mixed, &vllm(32_768)).unwrap();
    assert_eq!(got.kv, Bytes((2048 + 6 * 193) * block));
    assert_eq!(got.kv_bytes_per_token, 80 * KIB, "only the full layers grow");
    // Numbers near each other make groups of the larger one.
    let even = model(vec![(12, sliding(8, 64, 128)), (13, full(8, 64))]);
    let got = estimate(&even, &vllm(16_384)).unwrap();
    assert_eq!(got.kv, Bytes((1024 + (127u64 + 2048).div_ceil(16) + 1) * 13 * 16 * 2 * KIB));
    // Two windows are two kinds.
    let two = model(vec![(8, sliding(8, 64, 128)), (8, sliding(8, 64, 512))]);
    let got = estimate(&two, &vllm(16_384)).unwrap();
    assert_eq!(got.kv, Bytes((137 + 161) * 8 * 16 * 2 * KIB));
}

#[test]
fn smaller_pages_are_stretched_to_the_largest() {
    // Half as many bytes for a token: blocks of twice as many tokens.
    let mixed = model(vec![(10, full(4, 256)), (50, sliding(16, 128, 1024))]);
    let page = 16 * 8 * KIB;
    let got = estimate(&mixed, &vllm(32_768)).unwrap();
    assert_eq!(got.kv, Bytes((32_768 / 32 + 5 * 193) * 10 * page));
    // One kind with layers of several widths is one group; nothing is stretched.
    let uneven = model(vec![(10, full(8, 128)), (10, full(2, 128))]);
    assert_eq!(estimate(&uneven, &vllm(16)).unwrap().kv, Bytes(16 * (40 + 10) * KIB));
}

#[test]
fn a_block_of_a_hybrid_model_holds_a_whole_state() {
    let state = State { conv: 24_576, recurrent: 524_288, ..State::default() };
    let hybrid = model(vec![(12, full(2, 256)), (36, Cache::State(state))]);
    let page = 544 * 2 * KIB;
    let got = estimate(&hybrid, &vllm(32_768)).unwrap();
    assert_eq!(got.kv, Bytes(32_768u64.div_ceil(544) * 12 * page));
    assert_eq!(got.state, Bytes(3 * 12 * page));
    assert_eq!(got.kv_bytes_per_token, 24 * KIB);
    // A model of states alone keeps one for each sequence, however long.
    let pure = model(vec![(64, Cache::State(state))]);
    let short = estimate(&pure, &vllm(100)).unwrap();
    let long = estimate(&pure, &vllm(100_000)).unwrap();
    assert_eq!((short.state, short.kv), (long.state, long.kv));
    assert_eq!(short.state, Bytes(64 * (24_576 + 524_288) * 2));
    assert_eq!(short.kv_bytes_per_token, 0);
    // Groups that the devices do not divide are repeated.
    let grouped = State { conv: 0, groups: 1, per_group: 768, recurrent: 0, recurrent_bytes: 4 };
    let mamba = model(vec![(1, Cache::State(grouped))]);
    let shared = estimate(&mamba, &Request { tensor_parallel: 4, ..vllm(16) }).unwrap();
    assert_eq!(shared.per_device[0].state, Bytes(768 * 2), "one group on each of four");
}

#[test]
fn heads_fewer_than_devices_are_repeated_and_latents_are_whole() {
    let on = |cache: Cache, ranks: u32| {
        let facts = model(vec![(10, cache)]);
        let got = estimate(&facts, &Request { tensor_parallel: ranks, ..vllm(16) }).unwrap();
        got.per_device[0].kv_bytes_per_token / 10
    };
    for (ranks, bytes) in [(1, 4096), (2, 2048), (8, 512), (16, 512), (32, 512)] {
        assert_eq!(on(full(8, 128), ranks), bytes, "{ranks} devices");
    }
    for ranks in [1, 2, 8] {
        assert_eq!(on(Cache::Latent { width: 576 }, ranks), 1152);
        assert_eq!(on(Cache::Fixed { bytes_per_token: 132 }, ranks), 132);
    }
    let facts = model(vec![(10, full(8, 128))]);
    assert_eq!(
        estimate(&facts, &Request { tensor_parallel: 3, ..vllm(16) }),
        Err(EstimateError::Heads { heads: 32, ranks: 3 })
    );
}

#[test]
fn cache_types_of_both_servers() {
    let plain = model(vec![(32, full(8, 128))]);
    for (name, per_token) in [
        ("auto", 131_072),
        ("bfloat16", 131_072),
        ("fp8", 65_536),
        ("fp8_e5m2", 65_536),
        ("FP8_E4M3", 65_536),
        ("int8_per_token_head", 32 * 8 * 2 * (128 + 4)),
    ] {
        let got = estimate(&plain, &kv_type(name, vllm(4096))).unwrap();
        assert_eq!((got.kv_bytes_per_token, got.certainty.kv), (per_token, Sureness::Exact), "{name}");
    }
    let values = 32 * 8 * 128 * 2;
    for (name, of_32) in [
        ("f16", 64),
        ("bf16", 64),
        ("f32", 128),
        ("q8_0", 34),
        ("q5_1", 24),
        ("q5_0", 22),
        ("q4_1", 20),
        ("q4_0", 18),
        ("iq4_nl", 18),
    ] {
        let got = estimate(&plain, &kv_type(name, llama(4096))).unwrap();
        assert_eq!(got.kv_bytes_per_token, values / 32 * of_32, "{name}");
        assert_eq!(got.kv, Bytes(values / 32 * of_32 * 4096), "{name}");
    }
    for request in [vllm(4096), llama(4096)] {
        let got = estimate(&plain, &kv_type("q3_magic", request)).unwrap();
        assert_eq!(got.certainty.kv, Sureness::Bound);
        assert_eq!(got.kv_bytes_per_token, 2 * 131_072, "the widest there is");
        assert!(got.notes.iter().any(|n| n.contains("q3_magic")));
    }
    // The sparse latent of DeepSeek: 656 bytes for each token.
    let latent = model(vec![(61, Cache::Latent { width: 576 })]);
    let got = estimate(&latent, &kv_type("fp8_ds_mla", vllm(4096))).unwrap();
    assert_eq!(got.kv_bytes_per_token, 61 * 656);
}

#[test]
fn llama_cpp_allocates_everything_at_once() {
    // Eight million cells of a small model, as its own complaint names them: 184,320,000,000 bytes.
    let small = model(vec![(30, full(3, 64))]);
    assert_eq!(estimate(&small, &llama(8_000_000)).unwrap().kv, Bytes(184_320_000_000));
    // Windows are bounded by themselves and one ubatch, in steps of 256 cells.
    let mixed = model(vec![(10, full(8, 128)), (10, sliding(8, 128, 1024))]);
    let got = estimate(&mixed, &Request { sequences: 2, ..llama(32_768) }).unwrap();
    assert_eq!(got.kv, Bytes(2 * 10 * 4 * KIB * (32_768 + 1536)));
    assert_eq!(concurrency(&mixed, &llama(32_768), Bytes(got.kv.0 + 5)), Some(2.0));
    // States are kept in 32 bits.
    let state = State { conv: 1000, recurrent: 2000, ..State::default() };
    assert_eq!(estimate(&model(vec![(3, Cache::State(state))]), &llama(99)).unwrap().state, Bytes(36_000));
}

#[test]
fn concurrency_and_the_longest_context_answer_each_other() {
    let plain = model(vec![(28, full(4, 128))]);
    let kv = Bytes::gb(10.0);
    let concurrent = concurrency(&plain, &vllm(32_768), kv).unwrap();
    assert!((concurrent - 5.7138).abs() < 0.001, "{concurrent}");
    let longest = longest_context(&plain, &vllm(32_768), kv).unwrap();
    assert_eq!(longest, 131_072, "the model's own limit");
    let less = Bytes::gb(1.0);
    let longest = longest_context(&plain, &vllm(32_768), less).unwrap();
    assert!(smallest_pool(&plain, &vllm(longest)).unwrap() <= less);
    assert!(smallest_pool(&plain, &vllm(longest + 1)).unwrap() > less);
    assert_eq!(longest_context(&plain, &vllm(32_768), Bytes(1000)), None);
    assert_eq!(concurrency(&model(Vec::new()), &vllm(100), kv), None, "nothing is kept");
}

#[test]
fn weights_are_what_is_loaded() {
    let exact = model(vec![(1, full(8, 128))]);
    let of = |facts: &ModelFacts| estimate(facts, &vllm(16)).unwrap();
    assert_eq!(of(&exact).weights, Bytes::gb(8.0));
    assert_eq!(of(&exact).certainty.weights, Sureness::Exact);
    // 32-bit files are loaded in 16 bits by vLLM, as they are by llama.cpp.
    let wide = ModelFacts { dtype: "float32".to_owned(), ..exact.clone() };
    assert_eq!(of(&wide).weights, Bytes::gb(4.0));
    assert_eq!(estimate(&wide, &llama(16)).unwrap().weights, Bytes::gb(8.0));
    // Quantised while loading.
    let eight = Request { quantization: Some("fp8".to_owned()), ..vllm(16) };
    let got = estimate(&exact, &eight).unwrap();
    assert!(got.weights < Bytes::gb(4.9) && got.weights > Bytes::gb(4.0), "{:?}", got.weights);
    assert_eq!(got.certainty.weights, Sureness::Computed);
    let strange = Request { quantization: Some("vortex".to_owned()), ..vllm(16) };
    let got = estimate(&exact, &strange).unwrap();
    assert_eq!((got.weights, got.certainty.weights), (Bytes::gb(8.0), Sureness::Bound));
    assert!(got.notes.iter().any(|n| n.contains("vortex")));
    let unknown = ModelFacts { weights: Weights::Unknown { bound: None }, ..exact.clone() };
    assert_eq!(of(&unknown).certainty.total(), Sureness::Unknown);
    assert!(!of(&unknown).notes.is_empty());
    // Layers for speculative decoding are in the files, and not loaded without it.
    let parts = Parts { total: Bytes(100 << 30), prediction: Bytes(4 << 30), ..Parts::default() };
    let with = |files: u64| {
        let facts = ModelFacts { weights: Weights::Exact(Bytes(files << 30)), parts, ..exact.clone() };
        of(&facts).weights.0 >> 30
    };
    assert_eq!((with(104), with(100), with(150)), (100, 100, 150));
}

#[test]
fn a_token_reads_its_own_experts() {
    let parts = Parts {
        total: Bytes(1000),
        embedding: Bytes(50),
        experts: Bytes(800),
        towers: Bytes(50),
        ..Parts::default()
    };
    let mixed = ModelFacts {
        experts: Some(Experts { total: 8, active: 2 }),
        parts,
        weights: Weights::Exact(Bytes(2000)),
        ..model(vec![(1, full(8, 128))])
    };
    assert_eq!(active_weights(&mixed, &vllm(16)), Some(Bytes(2 * (1000 - 600 - 50 - 50))));
    let unknown = ModelFacts { parts: Parts::default(), ..mixed };
    assert_eq!(active_weights(&unknown, &vllm(16)), None);
}

#[test]
fn what_has_no_answer_is_an_error_with_advice() {
    let facts = model(vec![(1, full(8, 128))]);
    let asked = |change: fn(&mut Request)| {
        let mut request = vllm(16);
        change(&mut request);
        estimate(&facts, &request).unwrap_err()
    };
    assert_eq!(asked(|r| r.sequences = 0), EstimateError::Sequences(0));
    assert_eq!(asked(|r| r.tensor_parallel = 0), EstimateError::Ranks(0));
    assert_eq!(asked(|r| r.backend = BackendKind::External), EstimateError::NotOurs);
    let short = ModelFacts { max_context: None, ..facts.clone() };
    let none = Request { context: None, ..vllm(16) };
    assert_eq!(estimate(&short, &none), Err(EstimateError::ContextUnknown));
    let said = estimate(&short, &none).unwrap_err().to_string();
    assert_eq!(said.matches(". ").count(), 1, "{said}");
    let far = estimate(&facts, &vllm(200_000)).unwrap();
    assert!(far.notes.iter().any(|n| n.contains("131072")), "{:?}", far.notes);
}

#[test]
fn overhead_stays_within_what_was_seen() {
    let seen = |facts: &ModelFacts, request: &Request| estimate(facts, request).unwrap().overhead;
    let small = model(vec![(28, full(4, 128))]);
    assert_eq!(seen(&small, &vllm(4096)), Bytes::gb(4.0), "never less than four");
    let large = ModelFacts {
        weights: Weights::Exact(Bytes::gb(37.0)),
        hidden: 8192,
        intermediate: 28_672,
        ..small.clone()
    };
    let planned = seen(&large, &vllm(4096));
    assert!(planned > Bytes::gb(4.0) && planned < Bytes::gb(7.0), "{planned:?}");
    let wider = Request { batched_tokens: Some(16_384), ..vllm(4096) };
    assert!(seen(&large, &wider) > planned, "activations grow with the batch");
    assert_eq!(seen(&small, &llama(4096)), Bytes::gb(1.0));
    assert!(seen(&small, &llama(1 << 20)) > Bytes::gb(1.0), "the mask grows with the context");
}
