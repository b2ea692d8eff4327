//! An import that is told of, and one that nobody waits for any more.

use super::*;

/// A folder with a model of one file of weights, of so many bytes.
fn model(folder: &std::path::Path, bytes: usize) -> ImportModelRequest {
    let source = folder.join("mine");
    std::fs::create_dir_all(&source).unwrap();
    let config = r#"{"model_type":"qwen2","hidden_size":64,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100,"intermediate_size":128,"max_position_embeddings":1024}"#;
    std::fs::write(source.join("config.json"), config).unwrap();
    let header = format!(r#"{{"a":{{"dtype":"U8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#);
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend_from_slice(header.as_bytes());
    weights.resize(weights.len() + bytes, 7);
    std::fs::write(source.join("model.safetensors"), weights).unwrap();
    let path = source.to_str().unwrap().to_owned();
    ImportModelRequest { path, repo: Some("me/mine".to_owned()) }
}

#[test]
fn it_tells_how_far_it_is_while_it_hashes() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, asked) = (folder.path().join("hub"), model(folder.path(), 3 << 20));
    let (to, mut heard) = mpsc::channel(64);
    let mut last = Hashing::default();
    let imported = bring(&hub, &asked, &mut teller(&to, &mut last)).unwrap();
    assert_eq!(imported.repo, "me/mine");
    assert_eq!((last.done, last.total), (last.total, last.total));
    assert!(last.total > 3 << 20);
    let first: ImportProgress = serde_json::from_value(heard.try_recv().unwrap()).unwrap();
    assert_eq!((first.total_bytes, first.model), (last.total, None));
    assert!(first.done_bytes > 0 && first.done_bytes < first.total_bytes, "{}", first.done_bytes);
}

#[test]
fn when_nobody_listens_it_ends_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, asked) = (folder.path().join("hub"), model(folder.path(), 3 << 20));
    // In the first file, or in the middle of the second.
    for after in [0_u64, 1 << 20] {
        let (to, heard) = mpsc::channel(1);
        let (mut heard, mut last) = (Some(heard), Hashing::default());
        let mut tell = teller(&to, &mut last);
        let mut tell = |at: &Hashing| {
            if at.done > after {
                heard = None;
            }
            tell(at)
        };
        let error = bring(&hub, &asked, &mut tell).unwrap_err();
        assert_eq!(error.code, Code::Cancelled);
        let left: Vec<_> = std::fs::read_dir(&hub).unwrap().flatten().map(|e| e.path()).collect();
        assert!(left.is_empty(), "{after}: {left:?}");
    }
    // A face that is slow holds nothing up, and is still there.
    let (to, _heard) = mpsc::channel(1);
    bring(&hub, &asked, &mut teller(&to, &mut Hashing::default())).unwrap();
}
