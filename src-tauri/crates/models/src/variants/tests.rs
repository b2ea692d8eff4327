//! Realistic lists of files, and hostile ones.

use domain::stack::BackendKind;

use super::*;
use crate::hub::{Hash, Refused};

fn file(path: &str, size: u64) -> RepoFile {
    let lfs = size > 1_000_000;
    let hash = if lfs { Hash::Sha256("a".repeat(64)) } else { Hash::Git("b".repeat(40)) };
    RepoFile { path: path.to_owned(), size, hash }
}

fn tree(files: &[(&str, u64)]) -> Tree {
    Tree { files: files.iter().map(|(p, s)| file(p, *s)).collect(), refused: Vec::new() }
}

fn paths(variant: &RepoVariant) -> Vec<&str> {
    variant.files.iter().map(|f| f.path.as_str()).collect()
}

fn only(repo: &str, tree: &Tree) -> RepoVariant {
    let mut all = variants(repo, tree, None);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn an_awq_repository_is_one_variant_without_what_no_server_reads() {
    let tree = tree(&[
        (".gitattributes", 1519),
        ("LICENSE", 11343),
        ("README.md", 6000),
        ("config.json", 800),
        ("generation_config.json", 200),
        ("merges.txt", 1_671_853),
        ("model-00001-of-00003.safetensors", 3_990_000_000),
        ("model-00002-of-00003.safetensors", 3_970_000_000),
        ("model-00003-of-00003.safetensors", 2_020_000_000),
        ("model.safetensors.index.json", 130_000),
        ("tokenizer.json", 7_031_645),
        ("tokenizer_config.json", 7300),
        ("vocab.json", 2_776_833),
    ]);
    let all = only("Qwen/Qwen2.5-14B-Instruct-AWQ", &tree);
    assert_eq!((all.id.as_str(), all.backend), ("all", Some(BackendKind::Vllm)));
    assert_eq!(all.model, "Qwen/Qwen2.5-14B-Instruct-AWQ");
    assert_eq!(all.files.len(), 12, "everything but .gitattributes");
    assert_eq!(all.weights_bytes(), 9_980_000_000);
    assert_eq!(all.refused, None);
    let chosen = files_for("Qwen/Qwen2.5-14B-Instruct-AWQ", &tree, None, &[]).unwrap();
    assert_eq!((chosen.variant.as_deref(), chosen.files.len()), (Some("all"), 12));
}

#[test]
fn the_same_weights_in_another_format_are_left_out() {
    // gpt-oss: two more copies in folders.
    let oss = tree(&[
        ("chat_template.jinja", 16_000),
        ("config.json", 2000),
        ("metal/model.bin", 60_000_000_000),
        ("model-00001-of-00002.safetensors", 4_600_000_000),
        ("model-00002-of-00002.safetensors", 4_100_000_000),
        ("model.safetensors.index.json", 50_000),
        ("original/model--00001-of-00002.safetensors", 10_500_000_000),
        ("original/dtypes.json", 13_000),
        ("tokenizer.json", 27_000_000),
        ("USE_POLICY", 200),
    ]);
    let all = only("openai/gpt-oss-20b", &oss);
    assert_eq!(
        paths(&all),
        [
            "chat_template.jinja",
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "USE_POLICY",
        ]
    );
    assert_eq!(all.refused, None, "a copy of 60 GB that nobody fetches stops nothing");
    // Mistral: its own format beside the usual one.
    let mistral = tree(&[
        ("config.json", 600),
        ("consolidated.safetensors", 14_496_078_512),
        ("model-00001-of-00002.safetensors", 4_949_453_792),
        ("model-00002-of-00002.safetensors", 4_999_819_336),
        ("params.json", 202),
        ("tekken.json", 14_801_223),
        ("tokenizer.model.v3", 587_591),
        ("tokenizer.model", 587_591),
        ("pytorch_model-00001-of-00002.bin", 5_000_000_000),
        ("pytorch_model.bin.index.json", 23_950),
    ]);
    let all = only("mistralai/Mistral-7B-Instruct-v0.3", &mistral);
    assert_eq!(all.weights, ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]);
    assert!(!paths(&all).iter().any(|p| p.contains("consolidated") || p.contains("pytorch")));
    assert!(paths(&all).contains(&"tekken.json") && paths(&all).contains(&"tokenizer.model"));
    // And where the own format is all there is, it is taken.
    let native = tree(&[("consolidated.safetensors", 5_000_000_000), ("params.json", 1), ("tekken.json", 9)]);
    let all = only("mistralai/Ministral", &native);
    assert_eq!((all.backend, all.weights.len()), (Some(BackendKind::Vllm), 1));
    // Older models have pickled weights only.
    let old = tree(&[
        ("config.json", 1),
        ("pytorch_model.bin", 5_000_000_000),
        ("tf_model.h5", 5),
        ("flax_model.msgpack", 5),
    ]);
    assert_eq!(paths(&only("o/old", &old)), ["config.json", "pytorch_model.bin"]);
    // One whole file beside the same in parts.
    let both = tree(&[
        ("config.json", 1),
        ("model.safetensors", 9_000_000_000),
        ("model-00001-of-00001.safetensors", 9_000_000_000),
    ]);
    assert_eq!(only("o/both", &both).weights, ["model-00001-of-00001.safetensors"]);
}

#[test]
fn the_index_has_the_last_word() {
    let tree = tree(&[
        ("config.json", 1),
        ("model.safetensors.index.json", 1),
        ("model-00001-of-00002.safetensors", 5_000_000_000),
        ("model-00002-of-00002.safetensors", 5_000_000_000),
        ("model-00001-of-00003.safetensors", 5_000_000_000),
        ("model_mtp.safetensors", 1_000_000_000),
    ]);
    let index = br#"{"metadata":{},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model_mtp.safetensors"}}"#;
    let all = &variants("o/n", &tree, Some(index))[0];
    assert_eq!(all.weights_bytes(), 11_000_000_000);
    assert_eq!(all.refused, None);
    // Without it (or with one that names what is not there) the parts speak for themselves: one set is not whole.
    for bad in [&b"{"[..], br#"{"weight_map":{"a":"../../etc/passwd"}}"#, br#"{"weight_map":{}}"#] {
        assert_eq!(variants("o/n", &tree, Some(bad))[0].refused, Some(Unfit::Parts { parts: 3 }));
    }
}

#[test]
fn each_gguf_is_a_variant_with_its_parts() {
    let tree = tree(&[
        (".gitattributes", 3000),
        ("README.md", 9000),
        ("BF16/Llama-3.3-70B-Instruct-BF16-00001-of-00003.gguf", 49_800_000_000),
        ("BF16/Llama-3.3-70B-Instruct-BF16-00002-of-00003.gguf", 49_700_000_000),
        ("BF16/Llama-3.3-70B-Instruct-BF16-00003-of-00003.gguf", 41_600_000_000),
        ("Llama-3.3-70B-Instruct-IQ2_XXS.gguf", 19_100_000_000),
        ("Llama-3.3-70B-Instruct-Q4_K_M.gguf", 42_520_398_432),
        ("Llama-3.3-70B-Instruct-Q6_K-00001-of-00002.gguf", 39_000_000_000),
        ("Llama-3.3-70B-Instruct-Q6_K-00002-of-00002.gguf", 18_000_000_000),
        ("Llama-3.3-70B-Instruct-Q8_0.gguf", 74_975_062_752),
        ("Llama-3.3-70B-Instruct-UD-Q4_K_XL.gguf", 42_700_000_000),
        ("imatrix_unsloth.gguf", 30_000_000),
        ("mmproj-F16.gguf", 900_000_000),
        ("config.json", 40),
    ]);
    let all = variants("unsloth/Llama-3.3-70B-Instruct-GGUF", &tree, None);
    let ids: Vec<&str> = all.iter().map(|v| v.id.as_str()).collect();
    assert_eq!(ids, ["BF16", "IQ2_XXS", "Q4_K_M", "Q6_K", "Q8_0", "UD-Q4_K_XL"]);
    assert!(all.iter().all(|v| v.backend == Some(BackendKind::LlamaCpp)));
    assert_eq!(all[0].weights.len(), 3);
    assert_eq!(
        all[3].model,
        "unsloth/Llama-3.3-70B-Instruct-GGUF/Llama-3.3-70B-Instruct-Q6_K-00001-of-00002.gguf"
    );
    assert_eq!(all[3].weights_bytes(), 57_000_000_000);
    assert_eq!(paths(&all[2]), ["README.md", "Llama-3.3-70B-Instruct-Q4_K_M.gguf"]);
    // One file of 75 GB is not to be had; the largest that is smaller is named.
    match &all[4].refused {
        Some(unfit @ Unfit::TooLarge { instead: Some(instead), .. }) => {
            assert_eq!(instead, "Q6_K");
            assert!(unfit.to_string().contains("Q8_0.gguf has 74 GB"), "{unfit}");
            assert_eq!(unfit.next(), "Choose Q6_K, or one that is split into parts.");
        }
        other => panic!("{other:?}"),
    }
    let repo = "unsloth/Llama-3.3-70B-Instruct-GGUF";
    assert_eq!(files_for(repo, &tree, None, &[]).unwrap().variant.as_deref(), Some("Q4_K_M"));
    assert_eq!(files_for(repo, &tree, Some("q6_k"), &[]).unwrap().files.len(), 3);
    assert!(matches!(files_for(repo, &tree, Some("Q8_0"), &[]), Err(NotChosen::Unfit(_))));
    let no = files_for(repo, &tree, Some("Q9"), &[]).unwrap_err();
    assert_eq!(no.next(), "It has BF16, IQ2_XXS, Q4_K_M, Q6_K, Q8_0, UD-Q4_K_XL.");
    let by_name = files_for(repo, &tree, None, &["*Q6_K*".to_owned()]).unwrap();
    assert_eq!((by_name.files.len(), by_name.model), (2, all[3].model.clone()));
    assert!(matches!(files_for(repo, &tree, None, &["*.exe".to_owned()]), Err(NotChosen::NoFile { .. })));
    assert!(matches!(files_for(repo, &tree, None, &["*Q8_0*".to_owned()]), Err(NotChosen::Unfit(_))));
}

#[test]
fn two_models_in_one_repository_are_told_apart() {
    let two =
        tree(&[("small-Q4_K_M.gguf", 1), ("large-Q4_K_M.gguf", 2), ("large-Q8_0.gguf", 3), ("odd.gguf", 4)]);
    let all = variants("o/n", &two, None);
    let ids: Vec<&str> = all.iter().map(|v| v.id.as_str()).collect();
    assert_eq!(ids, ["small-Q4_K_M", "large-Q4_K_M", "Q8_0", "odd"]);
    let lower = tree(&[("qwen2.5-0.5b-instruct-q4_k_m.gguf", 1), ("a/x.gguf", 2), ("b/x.gguf", 3)]);
    let all = variants("o/n", &lower, None);
    let ids: Vec<&str> = all.iter().map(|v| v.id.as_str()).collect();
    assert_eq!(ids, ["Q4_K_M", "x", "b/x"]);
}

#[test]
fn what_is_no_model_can_still_be_had_whole_and_hostile_names_stop_it() {
    let adapter = tree(&[("adapter_config.json", 1), ("adapter_model.safetensors", 9)]);
    let all = only("o/lora", &adapter);
    assert_eq!((all.backend, all.files.len()), (None, 2));
    let pictures =
        tree(&[("model_index.json", 1), ("unet/diffusion.safetensors", 9), ("vae/x.safetensors", 9)]);
    assert_eq!(only("o/diffusion", &pictures).backend, None);
    let mut hostile = tree(&[("config.json", 1), ("model-00001-of-00002.safetensors", 9)]);
    hostile
        .refused
        .push(Refused { path: "../../model-00002-of-00002.safetensors".to_owned(), why: Refusal::Leaves });
    let all = only("o/evil", &hostile);
    assert!(matches!(&all.refused, Some(Unfit::Hostile { .. })), "{:?}", all.refused);
    let parts = tree(&[("m-00001-of-00003.gguf", 1), ("m-00003-of-00003.gguf", 1)]);
    assert_eq!(only("o/parts", &parts).refused, Some(Unfit::Parts { parts: 3 }));
    let late = tree(&[("m-00002-of-00002.gguf", 1), ("n-00000-of-00002.gguf", 1)]);
    assert!(
        variants("o/late", &late, None)
            .iter()
            .filter(|v| v.weights[0].starts_with('m'))
            .all(|v| v.refused.is_some())
    );
    assert!(matches!(files_for("o/none", &Tree::default(), None, &[]), Err(NotChosen::Nothing { .. })));
}

#[test]
fn a_hundred_thousand_files_are_looked_at_in_no_time() {
    let many: Vec<RepoFile> = (0..100_000).map(|n| file(&format!("m{n}-Q4_K_M.gguf"), 1)).collect();
    let all = variants("o/many", &Tree { files: many, refused: Vec::new() }, None);
    assert_eq!(all.len(), 100_000);
    let many: Vec<RepoFile> =
        (1..=99_999).map(|n| file(&format!("model-{n:05}-of-99999.safetensors"), 1)).collect();
    let mut files = many;
    files.push(file("config.json", 1));
    assert_eq!(variants("o/many", &Tree { files, refused: Vec::new() }, None)[0].weights.len(), 99_999);
}
