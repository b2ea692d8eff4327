//! Configurations that lie, are damaged or mean harm: an error or a note, in bounded time, never a panic.

mod common;

use std::time::{Duration, Instant};

use common::{names, text, vllm};
use domain::Bytes;
use domain::estimate::{ModelFacts, Request, active_weights, concurrency, estimate, longest_context};
use domain::stack::BackendKind;
use models::config::{ConfigError, MOST_BYTES, read};
use proptest::prelude::*;
use serde_json::{Value, json};

fn base() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
        "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000,
        "max_position_embeddings": 4096,
    })
}

#[expect(clippy::unwrap_used, reason = "a value can always be written")]
fn with(key: &str, value: Value) -> Vec<u8> {
    let mut config = base();
    config[key] = value;
    serde_json::to_vec(&config).unwrap()
}

/// Everything that can be asked of it.
fn ask(facts: &ModelFacts) {
    for backend in [BackendKind::Vllm, BackendKind::LlamaCpp] {
        for tensor_parallel in [1, 4] {
            let request = Request { backend, tensor_parallel, sequences: 7, ..vllm(32_768) };
            let _ = estimate(facts, &request);
            let _ = concurrency(facts, &request, Bytes::gb(8.0));
            let _ = longest_context(facts, &request, Bytes::gb(8.0));
            let _ = active_weights(facts, &request);
        }
    }
}

#[test]
fn a_file_of_50_megabytes_is_refused_before_it_is_read() {
    let mut large = vec![b' '; 50 << 20];
    large[0] = b'{';
    let begun = Instant::now();
    assert_eq!(read(&large), Err(ConfigError::TooLarge(50 << 20)));
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(matches!(read(&vec![b'['; MOST_BYTES]), Err(ConfigError::NotJson(_))), "nesting without end");
}

#[test]
fn layer_counts_that_no_model_has_are_errors_that_name_them() {
    for (value, said) in [
        (json!(-3), "-3"),
        (json!(0), "no layers"),
        (json!(u64::MAX), "18446744073709551615"),
        (json!(4_000_000_000_u64), "4000000000"),
        (json!("many"), "many"),
        (json!(3.5), "3.5"),
        (json!({}), "num_hidden_layers"),
    ] {
        let error = read(&with("num_hidden_layers", value.clone())).unwrap_err().to_string();
        assert!(error.contains(said), "{value}: {error}");
        assert!(
            error.ends_with('.') && error.matches(". ").count() == 1,
            "what happened, then what to do: {error}"
        );
    }
    // As many as are still believed cost next to nothing.
    let facts = read(&with("num_hidden_layers", json!(100_000))).unwrap();
    assert_eq!(facts.layers.len(), 1);
    ask(&facts);
}

#[test]
fn words_that_only_python_knows_are_read_as_nothing() {
    let text = String::from_utf8(serde_json::to_vec(&base()).unwrap()).unwrap();
    let python =
        text.replacen('{', "{\"time_step_limit\": [0.0, Infinity], \"x\": -Infinity, \"y\": NaN,", 1);
    assert_eq!(read(python.as_bytes()).unwrap().hidden, 4096);
    let shape = text.replace("\"hidden_size\":4096", "\"hidden_size\":NaN");
    assert!(matches!(read(shape.as_bytes()), Err(ConfigError::NotAModel(_))), "a width of nothing is none");
    let quoted = text.replacen('{', "{\"note\": \"NaN \\\" Infinity\",", 1);
    assert!(read(quoted.as_bytes()).is_ok());
    for broken in ["", "NaN", "{", "[]", "null", "{\"a\":NaNa}", "\u{0}", "{\"num_hidden_layers\": Infinit}"]
    {
        assert!(read(broken.as_bytes()).is_err(), "{broken:?}");
    }
}

#[test]
fn numbers_that_are_no_numbers_become_notes() {
    let facts = read(&with("sliding_window", json!("NaN"))).unwrap();
    assert!(facts.notes.iter().any(|n| n.contains("sliding_window")), "{:?}", facts.notes);
    for key in
        ["head_dim", "num_key_value_heads", "vocab_size", "max_position_embeddings", "num_local_experts"]
    {
        for value in [
            json!(-1),
            json!(1e300),
            json!(u64::MAX),
            json!("12"),
            json!([1, -2]),
            json!({"a": 1}),
            json!(null),
            json!(true),
        ] {
            if let Ok(facts) = read(&with(key, value)) {
                ask(&facts);
            }
        }
    }
}

#[test]
fn the_last_of_two_equal_keys_counts_as_in_python() {
    let text = String::from_utf8(serde_json::to_vec(&base()).unwrap()).unwrap();
    let twice = text.replacen('{', "{\"hidden_size\": 1,", 1);
    assert_eq!(read(twice.as_bytes()).unwrap().hidden, 4096);
}

#[test]
fn lists_without_end_take_no_time_to_speak_of() {
    let mut config = base();
    config["layer_types"] = json!(vec!["full_attention"; 200_000]);
    config["quantization_config"] = json!({
        "quant_method": "compressed-tensors",
        "config_groups": {"a": {"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 128}}},
        "ignore": (0..50_000).map(|n| format!("model.layers.{n}.self_attn.q_proj")).chain(["re:(a*)*b".to_owned(), "re:(".to_owned(), "re:.{1000}{1000}".to_owned()]).collect::<Vec<_>>(),
    });
    config["num_hidden_layers"] = json!(2000);
    let json = serde_json::to_vec(&config).unwrap();
    let begun = Instant::now();
    let facts = read(&json).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(facts.notes.iter().any(|n| n.contains("unquantised")), "{:?}", facts.notes);
}

#[test]
fn what_is_not_understood_is_a_bound_with_a_note() {
    let mut strange = base();
    strange["layer_types"] = json!(vec!["full_attention"; 31]);
    strange["layer_types"].as_array_mut().unwrap().push(json!("quantum_attention"));
    let facts = read(&serde_json::to_vec(&strange).unwrap()).unwrap();
    assert!(facts.bounded && facts.notes[0].contains("quantum_attention"), "{:?}", facts.notes);
    let unknown = read(&with("quantization_config", json!({"quant_method": "vortex"}))).unwrap();
    assert!(matches!(unknown.weights, domain::estimate::Weights::Unknown { bound: Some(_) }));
    assert!(unknown.notes[0].contains("vortex"), "{:?}", unknown.notes);
    let recurrent = read(&with("model_type", json!("rwkv7"))).unwrap();
    assert!(recurrent.bounded && !recurrent.notes.is_empty());
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-4i64..300).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9.:*\\\\()_-]{0,12}".prop_map(Value::from),
        prop::collection::vec(any::<i32>().prop_map(Value::from), 0..5).prop_map(Value::from),
        prop::collection::vec("[a-z_]{0,16}".prop_map(Value::from), 0..5).prop_map(Value::from),
        Just(json!({"num_hidden_layers": 3, "hidden_size": 8})),
    ]
}

proptest! {
    /// A real configuration with keys spoiled, at the top and one level down.
    #[test]
    fn spoiled_configurations_never_panic(
        which in any::<prop::sample::Index>(),
        spoil in prop::collection::vec((any::<prop::sample::Index>(), values(), any::<bool>()), 1..6),
    ) {
        let names = names();
        let mut config: Value = serde_json::from_slice(&text(which.get::<String>(&names))).unwrap();
        for (key, value, inside) in spoil {
            let object = config.as_object_mut().unwrap();
            let keys: Vec<String> = object.keys().cloned().collect();
            let key = key.get(&keys).clone();
            match object.get_mut(&key).and_then(Value::as_object_mut).filter(|o| inside && !o.is_empty()) {
                Some(inner) => {
                    let first = inner.keys().next().unwrap().clone();
                    inner.insert(first, value);
                }
                None => { object.insert(key, value); }
            }
        }
        if let Ok(facts) = read(&serde_json::to_vec(&config).unwrap()) {
            ask(&facts);
        }
    }

    #[test]
    fn bytes_of_any_kind_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
    }
}
