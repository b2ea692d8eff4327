//! Command lines of model servers, read back.

#![allow(clippy::expect_used, clippy::panic, reason = "a test may fail")]

use domain::secret::Secret;
use domain::server_line::{ServerLine, split_shell};
use domain::stack::BackendKind;
use proptest::prelude::*;

fn words(text: &str) -> Vec<String> {
    split_shell(text).expect("plain words")
}

fn read(text: &str) -> ServerLine {
    ServerLine::read(&words(text)).unwrap_or_else(|| panic!("not read: {text}"))
}

#[test]
fn the_line_of_the_earlier_scheduler_is_read() {
    let line = read(
        "vllm serve Qwen/Qwen2.5-14B-Instruct-AWQ --host 0.0.0.0 --port 8001 --dtype float16 \
         --gpu-memory-utilization 0.20 --max-model-len 32768 --kv-cache-dtype auto --max-num-seqs 4 \
         --enable-prefix-caching --enable-auto-tool-choice --tool-call-parser hermes",
    );
    let wanted = ServerLine {
        backend: Some(BackendKind::Vllm),
        model: Some("Qwen/Qwen2.5-14B-Instruct-AWQ".into()),
        host: Some("0.0.0.0".into()),
        port: Some(8001),
        context: Some(32_768),
        sequences: Some(4),
        utilization: Some(0.2),
        dtype: Some("float16".into()),
        kv_dtype: Some("auto".into()),
        tool_parser: Some("hermes".into()),
        rest: vec!["--enable-prefix-caching".into()],
        ..ServerLine::default()
    };
    assert_eq!(line, wanted);
}

#[test]
fn every_way_to_start_vllm_is_seen() {
    for text in [
        "vllm serve a/b --port 8001",
        "/opt/venv/bin/vllm serve a/b --port 8001",
        "/usr/bin/python3.12 /opt/venv/bin/vllm serve a/b --port=8001",
        "python -m vllm.entrypoints.openai.api_server --model a/b --port 8001",
        "python3 -u -m vllm.entrypoints.openai.api_server --port 8001 --model=a/b",
        "python3 -m vllm.entrypoints.cli.main serve a/b --port 8001",
        "sh -c 'vllm serve a/b --port 8001'",
        "/bin/bash -lc \"exec vllm serve a/b \\\n  --port 8001\"",
        "bash -c 'source /opt/venv/bin/activate && HIP_VISIBLE_DEVICES=0 vllm serve a/b --port 8001'",
        "bash -c 'set -e\nvllm serve a/b --port 8001 2>&1 | tee /logs/thor.log'",
        "tini -g -- env VLLM_USE_V1=1 vllm serve a/b --port 8001",
        "uv run vllm serve a/b --port 8001",
        "--model a/b --port 8001",
        "vllm serve --port 8001 a/b",
        "vllm serve --model-tag a/b --port 8001",
    ] {
        let line = read(text);
        assert_eq!(line.backend, Some(BackendKind::Vllm), "{text}");
        assert_eq!(line.model.as_deref(), Some("a/b"), "{text}");
        assert_eq!(line.port, Some(8001), "{text}");
        assert_eq!(line.rest, Vec::<String>::new(), "{text}");
    }
}

#[test]
fn every_way_to_start_llama_server_is_seen() {
    for text in [
        "llama-server -m /models/a.gguf --port 8011",
        "/app/llama-server --model /models/a.gguf --port 8011",
        "-m /models/a.gguf --port 8011",
        "--model=/models/a.gguf --port 8011",
        "--server -m /models/a.gguf --port 8011",
        "sh -c 'llama-server -m /models/a.gguf --port 8011'",
    ] {
        let line = read(text);
        assert_eq!(line.backend, Some(BackendKind::LlamaCpp), "{text}");
        assert_eq!(line.model.as_deref(), Some("/models/a.gguf"), "{text}");
        assert_eq!(line.port, Some(8011), "{text}");
    }
    let hub = read("-hf bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M -c 4096");
    assert_eq!(hub.backend, Some(BackendKind::LlamaCpp));
    assert_eq!(hub.model.as_deref(), Some("bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M"));
}

#[test]
fn what_is_no_model_server_is_none() {
    for text in [
        "",
        "sleep infinity",
        "bash",
        "bash -c 'echo $(vllm serve a/b)'",
        "vllm bench serve a/b",
        "vllm",
        "python3 -m http.server 8001",
        "python app.py vllm serve a/b",
        "nginx -g 'daemon off;'",
        "--port 8000",
        "sh run.sh -c 'vllm serve a/b'",
    ] {
        assert_eq!(ServerLine::read(&words(text)), None, "{text}");
    }
}

#[test]
fn lengths_and_sizes_are_read_as_vllm_reads_them() {
    for (written, tokens) in [
        ("32768", Some(32_768)),
        ("32k", Some(32_000)),
        ("32K", Some(32_768)),
        ("25.6k", Some(25_600)),
        ("1M", Some(1 << 20)),
        ("auto", None),
        ("-1", None),
    ] {
        for text in [
            format!("vllm serve a/b --max-model-len {written}"),
            format!("vllm serve a/b --max_model_len={written}"),
        ] {
            let line = read(&text);
            assert_eq!(line.context, tokens, "{text}");
            assert!(line.rest.is_empty(), "{text}: {:?}", line.rest);
        }
    }
    assert_eq!(read("vllm serve a/b --kv-cache-memory-bytes 4G").kv_bytes, Some(4 << 30));
    assert_eq!(read("vllm serve a/b --kv-cache-memory=12884901888").kv_bytes, Some(12 << 30));
}

#[test]
fn what_is_not_understood_stays_word_for_word() {
    let text = "vllm serve a/b --max-model-len lots --port 70000 --gpu-memory-utilization 1.5 --rope-scaling \
                '{\"factor\": 2}' --lora-modules x=y z";
    let line = read(text);
    assert_eq!((line.context, line.port, line.utilization), (None, None, None));
    let wanted = [
        "--max-model-len",
        "lots",
        "--port",
        "70000",
        "--gpu-memory-utilization",
        "1.5",
        "--rope-scaling",
        "{\"factor\": 2}",
        "--lora-modules",
        "x=y",
        "z",
    ];
    assert_eq!(line.rest, wanted);
}

#[test]
fn names_and_lists_and_drafts_are_read() {
    let line = read(
        "vllm serve --served-model-name thor big-thor --api-key one two --tensor-parallel-size 4 -q awq \
         --speculative-config '{\"num_speculative_tokens\": 3, \"model\": \"a/small\"}' --revision abc --model a/b",
    );
    assert_eq!(line.served_names, ["thor", "big-thor"]);
    assert_eq!(line.tensor_parallel, Some(4));
    assert_eq!(line.quantization.as_deref(), Some("awq"));
    assert_eq!(line.draft_model.as_deref(), Some("a/small"));
    assert_eq!(line.revision.as_deref(), Some("abc"));
    assert_eq!(line.api_key, Some(Secret::new("one")));
    assert_eq!(line.model.as_deref(), Some("a/b"));
    assert!(line.rest.is_empty());
}

#[test]
fn the_context_of_llama_cpp_is_divided_among_its_slots() {
    for (flags, context, sequences) in [
        ("-c 32768", Some(32_768), None),
        ("-c 32768 -np 4", Some(8192), Some(4)),
        ("-np 4 --ctx-size 32768 --kv-unified", Some(32_768), Some(4)),
        ("-c 32768 -np -1", Some(32_768), None),
        ("-c 0", None, None),
        ("", None, None),
    ] {
        let line = read(&format!("llama-server -m /m/a.gguf {flags}"));
        assert_eq!((line.context, line.sequences), (context, sequences), "{flags}");
    }
}

#[test]
fn the_cache_types_of_llama_cpp_are_one_where_they_agree() {
    let same = read("llama-server -m /m/a.gguf -ctk q8_0 -ctv q8_0 -ngl 0 --device none --alias odin,o");
    assert_eq!(same.kv_dtype.as_deref(), Some("q8_0"));
    assert_eq!(same.gpu_layers.as_deref(), Some("0"));
    assert_eq!(same.served_names, ["odin", "o"]);
    assert_eq!(same.rest, ["--device", "none"]);
    let other = read("llama-server -m /m/a.gguf -ctk q8_0 -ctv f16");
    assert_eq!(other.rest, ["-ctv", "f16"]);
}

#[test]
fn a_key_is_never_among_the_rest_and_never_printed() {
    for text in [
        "vllm serve a/b --api-key sk-hidden",
        "vllm serve a/b --api-key=sk-hidden",
        "vllm serve a/b --api_key sk-hidden",
        "vllm serve a/b --api-ke sk-hidden",
        "vllm serve a/b --api-key sk-hidden sk-hidden-too",
        "vllm serve a/b --hf-token sk-hidden",
        "vllm serve a/b --hf_token=sk-hidden",
        "llama-server -m /m/a.gguf --api-key sk-hidden",
        "llama-server -m /m/a.gguf --api-key=sk-hidden",
        "llama-server -m /m/a.gguf -hft sk-hidden",
    ] {
        let line = read(text);
        assert!(!format!("{line:?}").contains("hidden"), "{text}: {line:?}");
        assert!(line.api_key.is_some() || line.hub_token.is_some(), "{text}");
    }
}

#[test]
fn a_text_is_split_as_a_shell_would() {
    for (text, wanted) in [
        ("a  b\tc\n d", Some(vec!["a", "b", "c", "d"])),
        ("a\\\n b", Some(vec!["a", "b"])),
        ("'a b' \"c d\" e\\ f", Some(vec!["a b", "c d", "e f"])),
        ("--x='{\"a\": 1}' ''", Some(vec!["--x={\"a\": 1}", ""])),
        ("\"\\\"\\$x\\q\"", Some(vec!["\"$x\\q"])),
        ("a;b && c # d", Some(vec!["a;b", "&&", "c", "#", "d"])),
        ("$HOME ${PORT:-8000} '$(x)' '`'", Some(vec!["$HOME", "${PORT:-8000}", "$(x)", "`"])),
        ("a $(b)", None),
        ("a \"$(b)\"", None),
        ("a `b`", None),
        ("'a", None),
        ("\"a", None),
        ("a\\", None),
    ] {
        let wanted = wanted.map(|w: Vec<&str>| w.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(split_shell(text), wanted, "{text:?}");
    }
}

/// A word that a model, a type or a name can be.
fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z][a-zA-Z0-9._]{0,12}"
}

prop_compose! {
    fn line()(
        backend in prop_oneof![Just(BackendKind::Vllm), Just(BackendKind::LlamaCpp)],
        model in name(),
        served_names in prop::collection::vec(name(), 0..3),
        port in prop::option::of(1_u16..),
        context in prop::option::of(1_u32..4_000_000),
        sequences in prop::option::of(1_u32..64),
        percent in prop::option::of(0_u32..=100),
        kv_bytes in prop::option::of(1_u64..1 << 50),
        texts in prop::collection::vec(prop::option::of(name()), 6),
        tensor_parallel in prop::option::of(1_u32..9),
        key in prop::option::of(name()),
    ) -> ServerLine {
        let vllm = backend == BackendKind::Vllm;
        let text = |i: usize| texts.get(i).cloned().flatten();
        ServerLine {
            backend: Some(backend),
            model: Some(if vllm { model } else { format!("/m/{model}.gguf") }),
            served_names,
            host: text(0),
            port,
            context,
            sequences,
            utilization: percent.filter(|_| vllm).map(|p| f64::from(p) / 100.0),
            kv_bytes: kv_bytes.filter(|_| vllm),
            dtype: text(1).filter(|_| vllm),
            kv_dtype: text(2),
            quantization: text(3).filter(|_| vllm),
            tool_parser: text(4).filter(|_| vllm),
            tensor_parallel: tensor_parallel.filter(|_| vllm),
            revision: text(5).filter(|_| vllm),
            gpu_layers: text(5).filter(|_| !vllm),
            api_key: key.map(Secret::new),
            ..ServerLine::default()
        }
    }
}

/// The words that start this server; `joined` writes `--flag=value`, as vLLM allows.
fn written(line: &ServerLine, joined: bool) -> Vec<String> {
    let vllm = line.backend == Some(BackendKind::Vllm);
    let mut words: Vec<String> =
        if vllm { vec!["vllm".into(), "serve".into()] } else { vec!["llama-server".into()] };
    let mut flag = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            if joined {
                words.push(format!("{name}={value}"));
            } else {
                words.extend([name.to_owned(), value]);
            }
        }
    };
    flag("--model", line.model.clone());
    flag("--host", line.host.clone());
    flag("--port", line.port.map(|p| p.to_string()));
    flag("--api-key", line.api_key.as_ref().map(|k| k.reveal().to_owned()));
    if vllm {
        flag("--max-model-len", line.context.map(|c| c.to_string()));
        flag("--max-num-seqs", line.sequences.map(|c| c.to_string()));
        flag("--gpu-memory-utilization", line.utilization.map(|u| u.to_string()));
        flag("--kv-cache-memory-bytes", line.kv_bytes.map(|b| b.to_string()));
        flag("--dtype", line.dtype.clone());
        flag("--kv-cache-dtype", line.kv_dtype.clone());
        flag("--quantization", line.quantization.clone());
        flag("--tool-call-parser", line.tool_parser.clone());
        flag("--tensor-parallel-size", line.tensor_parallel.map(|t| t.to_string()));
        flag("--revision", line.revision.clone());
        if !line.served_names.is_empty() {
            words.push("--served-model-name".into());
            words.extend(line.served_names.iter().cloned());
        }
    } else {
        let slots = line.sequences.unwrap_or(1);
        flag("-c", line.context.map(|c| (u64::from(c) * u64::from(slots)).to_string()));
        flag("-np", line.sequences.map(|s| s.to_string()));
        flag("-ctk", line.kv_dtype.clone());
        flag("-ctv", line.kv_dtype.clone());
        flag("-ngl", line.gpu_layers.clone());
        flag("--alias", (!line.served_names.is_empty()).then(|| line.served_names.join(",")));
    }
    words
}

proptest! {
    #[test]
    fn what_it_knows_it_reads_back(line in line(), joined: bool) {
        prop_assert_eq!(ServerLine::read(&written(&line, joined)), Some(line));
    }

    #[test]
    fn it_never_panics(
        head in prop::sample::select(vec!["vllm", "llama-server", "sh", "python3", "env", "--model", ""]),
        tail in prop::collection::vec(
            prop_oneof!["\\PC{0,12}", "--[a-z-]{1,20}", Just("-c".to_owned()), Just("serve".to_owned()), Just("-m".to_owned())],
            0..12,
        ),
    ) {
        let mut line = vec![head.to_owned()];
        line.extend(tail);
        let _ = ServerLine::read(&line);
    }

    #[test]
    fn splitting_never_panics_and_gives_back_what_was_quoted(
        wild in "\\PC{0,40}",
        plain in prop::collection::vec("[^']{0,10}", 0..6),
    ) {
        let _ = split_shell(&wild);
        let quoted: Vec<String> = plain.iter().map(|w| format!("'{w}'")).collect();
        prop_assert_eq!(split_shell(&quoted.join(" ")), Some(plain));
    }
}
