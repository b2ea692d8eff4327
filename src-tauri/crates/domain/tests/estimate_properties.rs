//! Whatever the facts say: no panic, and figures that move the right way.

use domain::Bytes;
use domain::estimate::{
    Cache, Heads, LayerRun, ModelFacts, Parts, Request, State, Weights, active_weights, concurrency,
    estimate, longest_context, smallest_pool,
};
use domain::stack::BackendKind;
use proptest::prelude::*;

fn heads() -> impl Strategy<Value = Heads> {
    (prop_oneof![Just(1u32), Just(2), Just(8), 0u32..40, Just(u32::MAX)], 1u32..600, 1u32..600)
        .prop_map(|(kv, key, value)| Heads { kv, key, value })
}

fn cache() -> impl Strategy<Value = Cache> {
    prop_oneof![
        3 => heads().prop_map(|heads| Cache::Full { heads }),
        2 => (heads(), 1u32..20_000).prop_map(|(heads, window)| Cache::Sliding { heads, window }),
        1 => (heads(), 1u32..20_000).prop_map(|(heads, chunk)| Cache::Chunked { heads, chunk }),
        1 => (1u32..2000).prop_map(|width| Cache::Latent { width }),
        1 => (1u32..300).prop_map(|bytes_per_token| Cache::Fixed { bytes_per_token }),
        1 => (heads(), 1u32..3000).prop_map(|(heads, tokens)| Cache::Cross { heads, tokens }),
        2 => (0u64..100_000, 0u32..9, 0u64..1000, 0u64..10_000_000, prop_oneof![Just(0u32), Just(4)]).prop_map(
            |(conv, groups, per_group, recurrent, recurrent_bytes)| {
                Cache::State(State { conv, groups, per_group, recurrent, recurrent_bytes })
            }
        ),
    ]
}

fn facts() -> impl Strategy<Value = ModelFacts> {
    let layers = prop::collection::vec(
        (prop_oneof![1u64..100, Just(100_000), Just(u64::MAX)], cache())
            .prop_map(|(count, cache)| LayerRun { count, cache }),
        0..5,
    );
    let weights = prop_oneof![
        (0u64..1 << 42).prop_map(|b| Weights::Exact(Bytes(b))),
        any::<u64>().prop_map(|b| Weights::Computed(Bytes(b))),
        Just(Weights::Unknown { bound: None }),
    ];
    (layers, weights, any::<[u64; 4]>(), prop::option::of(1u32..2_000_000)).prop_map(
        |(layers, weights, parts, max_context)| ModelFacts {
            architecture: "Any".to_owned(),
            layers,
            hidden: 4096,
            intermediate: parts[3],
            vocabulary: u32::MAX,
            max_context,
            dtype: "bfloat16".to_owned(),
            weights,
            parts: Parts {
                total: Bytes(parts[0]),
                experts: Bytes(parts[1]),
                replicated: Bytes(parts[2]),
                ..Parts::default()
            },
            ..ModelFacts::default()
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let backend = prop_oneof![3 => Just(BackendKind::Vllm), 1 => Just(BackendKind::LlamaCpp)];
    let dtype = prop_oneof![Just(None), "(fp8|q8_0|q4_0|auto|nonsense)".prop_map(Some)];
    (
        backend,
        prop::option::of(1u32..2_000_000),
        1u32..300,
        1u32..9,
        dtype,
        prop::option::of(1u32..100_000),
        any::<bool>(),
    )
        .prop_map(
            |(backend, context, sequences, tensor_parallel, kv_dtype, batched_tokens, prefix_caching)| {
                Request {
                    backend,
                    context,
                    sequences,
                    tensor_parallel,
                    kv_dtype,
                    quantization: None,
                    batched_tokens,
                    prefix_caching,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn sums_are_sums_and_nothing_panics(facts in facts(), request in request(), kv in any::<u64>()) {
        let _ = concurrency(&facts, &request, Bytes(kv));
        let _ = longest_context(&facts, &request, Bytes(kv));
        let _ = active_weights(&facts, &request);
        let Ok(got) = estimate(&facts, &request) else { return Ok(()) };
        prop_assert_eq!(got.per_device.len(), request.tensor_parallel as usize);
        for device in &got.per_device {
            prop_assert_eq!(device.total, device.weights + device.kv + device.state + device.overhead);
        }
        let sum = |of: fn(&domain::estimate::DeviceEstimate) -> Bytes| got.per_device.iter().map(of).sum::<Bytes>();
        prop_assert_eq!(got.kv, sum(|d| d.kv));
        prop_assert_eq!(got.state, sum(|d| d.state));
        prop_assert_eq!(got.total, sum(|d| d.total));
        // Devices together never hold less than one alone would.
        let alone = estimate(&facts, &Request { tensor_parallel: 1, ..request.clone() }).unwrap();
        prop_assert!(got.weights >= alone.weights);
    }

    #[test]
    fn more_asked_for_is_never_less_memory(facts in facts(), request in request(), more in 1u32..5000) {
        let Ok(got) = estimate(&facts, &request) else { return Ok(()) };
        let pool = |e: &domain::estimate::Estimate| e.kv + e.state;
        let longer = Request { context: Some(got.context.saturating_add(more)), ..request.clone() };
        prop_assert!(pool(&estimate(&facts, &longer).unwrap()) >= pool(&got));
        let wider = Request { sequences: request.sequences + more, ..request.clone() };
        let wider = estimate(&facts, &wider).unwrap();
        prop_assert!(pool(&wider) >= pool(&got) && wider.overhead >= got.overhead);
    }

    /// What a pool is said to hold fits into it, and a little more does not.
    #[test]
    fn a_pool_of_the_estimates_size_holds_the_sequences(facts in facts(), request in request()) {
        let request = Request { backend: BackendKind::Vllm, ..request };
        let Ok(got) = estimate(&facts, &request) else { return Ok(()) };
        let pool = got.per_device[0].kv + got.per_device[0].state;
        if pool == Bytes::ZERO || pool.0 > 1 << 60 {
            return Ok(());
        }
        let concurrent = concurrency(&facts, &request, pool).unwrap();
        prop_assert!((concurrent - f64::from(request.sequences)).abs() < 1e-6, "{concurrent}");
    }

    #[test]
    fn the_longest_context_fits_and_the_next_does_not(facts in facts(), request in request(), kv in 0u64..1 << 40) {
        let Some(most) = facts.max_context else { return Ok(()) };
        let at = |context| smallest_pool(&facts, &Request { context: Some(context), ..request.clone() });
        match longest_context(&facts, &request, Bytes(kv)) {
            Some(longest) => {
                prop_assert!(longest <= most && at(longest).unwrap() <= Bytes(kv));
                prop_assert!(longest == most || at(longest + 1).unwrap() > Bytes(kv));
            }
            None => prop_assert!(at(1).is_none_or(|needed| needed > Bytes(kv))),
        }
    }
}
