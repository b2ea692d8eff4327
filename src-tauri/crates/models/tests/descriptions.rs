//! A model described from files and folders as they lie about, whole, in part and damaged.

#![allow(clippy::unwrap_used, reason = "what is missing fails the test")]

mod common;
#[path = "../src/gguf/writing.rs"]
mod writing;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use common::text;
use domain::Bytes;
use domain::estimate::Weights;
use models::{DescribeError, Described, describe, facts_of};
use writing::Writer;

const NO_CACHE: &str = "/nonexistent/hub";

fn of(path: &Path) -> Result<Described, DescribeError> {
    describe(path.to_str().unwrap(), Path::new(NO_CACHE), None)
}

/// One tensor of that many bytes.
fn safetensors(bytes: usize) -> Vec<u8> {
    let header = format!(r#"{{"w":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; bytes]].concat()
}

fn gguf() -> Writer {
    Writer::default()
        .string("general.architecture", "llama")
        .number("llama.block_count", 2)
        .number("llama.context_length", 4096)
        .number("llama.embedding_length", 64)
        .number("llama.attention.head_count", 4)
        .number("llama.attention.head_count_kv", 2)
}

#[test]
fn a_part_alone_does_not_pass_for_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let part = |n: u32| folder.path().join(format!("model-{n:05}-of-00002.safetensors"));
    fs::write(folder.path().join("config.json"), text("qwen2.5-3b")).unwrap();
    fs::write(part(1), safetensors(1000)).unwrap();
    let alone = of(&part(1)).unwrap().facts;
    assert_eq!(alone.weights, Weights::Unknown { bound: None });
    assert!(alone.notes.iter().any(|n| n.contains("Fetch the rest")), "{:?}", alone.notes);
    let in_part = of(folder.path()).unwrap().facts.weights;
    assert!(
        matches!(in_part, Weights::Computed(_)),
        "from the config, not from half of the files: {in_part:?}"
    );
    fs::write(part(2), safetensors(500)).unwrap();
    for source in [part(1), part(2), folder.path().to_path_buf(), folder.path().join("config.json")] {
        let Weights::Exact(bytes) = of(&source).unwrap().facts.weights else {
            panic!("{}", source.display())
        };
        assert!((1500..2000).contains(&bytes.0), "{}: {bytes:?}", source.display());
    }
}

#[test]
fn a_split_gguf_is_summed_and_a_missing_part_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let part = |n: u32| folder.path().join(format!("m-Q8_0-{n:05}-of-00003.gguf"));
    let tensor = |to: Writer, name: &str| to.tensor(name, &[64, 10], 8).done();
    fs::write(part(1), tensor(gguf().number("split.count", 3), "token_embd.weight")).unwrap();
    fs::write(part(2), tensor(Writer::default(), "blk.0.attn_q.weight")).unwrap();
    let facts = of(&part(1)).unwrap().facts;
    assert_eq!(facts.weights, Weights::Unknown { bound: None });
    assert!(facts.notes.iter().any(|n| n.contains("m-Q8_0-00003-of-00003.gguf")), "{:?}", facts.notes);
    fs::write(part(3), tensor(Writer::default(), "output.weight")).unwrap();
    for source in [part(1), folder.path().to_path_buf()] {
        let facts = of(&source).unwrap().facts;
        assert_eq!(facts.weights, Weights::Exact(Bytes(3 * 640 / 32 * 34)));
        assert!(!facts.tied_embeddings, "the output layer stands in the last part");
    }
    assert_eq!(facts_of(Path::new(NO_CACHE), part(1).to_str().unwrap(), None).unwrap().layers[0].count, 2);
}

#[test]
fn files_that_lie_are_refused_in_words_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let claims = |tensors: u64| [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &[0; 8]].concat();
    let strings = [&8_u32.to_le_bytes()[..], &(1_u64 << 60).to_le_bytes()].concat();
    let nested: Vec<u8> =
        (0..1000).flat_map(|_| [&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat()).collect();
    let cases: [(&str, Vec<u8>, &str); 12] = [
        ("tensors.gguf", claims(1 << 63), "9223372036854775808"),
        ("strings.gguf", gguf().raw("x", 9, &strings).done(), "1152921504606846976"),
        ("nested.gguf", gguf().raw("x", 9, &nested).done(), "nested too deep"),
        ("short.gguf", gguf().done()[..60].to_vec(), "ends early"),
        ("big-endian.gguf", b"GGUF\0\0\0\x03rest".to_vec(), "other byte order"),
        ("empty.gguf", Vec::new(), "no GGUF"),
        ("long.safetensors", (1_u64 << 63).to_le_bytes().to_vec(), "9223372036854775808"),
        ("short.safetensors", safetensors(9)[..20].to_vec(), "ends early"),
        (
            "cut.safetensors",
            {
                let mut cut = safetensors(90);
                cut.truncate(80);
                cut
            },
            "outside",
        ),
        ("model.safetensors.index.json", br#"{"metadata":{"total_size":1e400}}"#.to_vec(), "cannot be read"),
        ("large.json", vec![b' '; 50 << 20], "large"),
        ("config.json", br#"{"num_hidden_layers": -3}"#.to_vec(), "."),
    ];
    for (name, bytes, said) in cases {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let begun = Instant::now();
        let error = of(&path).expect_err(name);
        assert!(begun.elapsed() < Duration::from_secs(5), "{name}: {:?}", begun.elapsed());
        let message = format!("{error} {}", error.next());
        assert!(message.contains(said), "{name}: {message}");
        assert!(message.trim().ends_with('.') && !message.chars().any(char::is_control), "{message}");
    }
}

#[test]
fn a_name_of_nothing_is_said_without_its_control_characters() {
    let error = describe("no/such\u{1b}[31m\nmodel", Path::new(NO_CACHE), None).unwrap_err();
    assert!(!error.to_string().chars().any(char::is_control), "{error}");
    assert!(!error.next().is_empty());
    assert_eq!(facts_of(Path::new(NO_CACHE), "no/such", None), None);
    let folder = tempfile::tempdir().unwrap();
    let wrong = of(folder.path()).unwrap_err().to_string();
    assert!(wrong.contains("neither a config.json nor a .gguf"), "{wrong}");
}

#[test]
fn lists_and_indexes_take_the_config_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("files.json");
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&list, br#"[{"type":"file","path":"model.safetensors","size":6171877376}]"#).unwrap();
    fs::write(&index, br#"{"metadata":{"total_size":6171877376},"weight_map":{}}"#).unwrap();
    for with_config in [false, true] {
        if with_config {
            fs::write(folder.path().join("config.json"), text("qwen2.5-3b")).unwrap();
        }
        for source in [&list, &index] {
            let facts = of(source).unwrap().facts;
            assert_eq!(facts.weights, Weights::Exact(Bytes(6_171_877_376)));
            assert_eq!(facts.layers.is_empty(), !with_config);
            assert_eq!(facts.notes.is_empty(), with_config, "what is not known is said: {:?}", facts.notes);
        }
    }
}
