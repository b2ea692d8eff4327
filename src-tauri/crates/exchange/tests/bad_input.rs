//! What nobody should be able to do with a file that is imported.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::time::{Duration, Instant};

use common::resolved;
use domain::memory::{Bytes, GIB};
use std::fmt::Write as _;

use exchange::{Facts, Import, ImportError, SourceFile, import_compose, import_env, import_stack};
use proptest::prelude::*;

const MACHINE: Facts = Facts { capacity: Some(Bytes(124 * GIB)) };

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

fn compose(text: &str) -> Result<Import, ImportError> {
    import_compose(&[file("c.yml", text)], None, &MACHINE)
}

fn compose_with(text: &str, env: &str) -> Result<Import, ImportError> {
    import_compose(&[file("c.yml", text)], Some(&file(".env", env)), &MACHINE)
}

fn refused(text: &str) -> String {
    let error = compose(text).expect_err("must be refused");
    assert!(error.next.ends_with('.'), "{}", error.next);
    error.message
}

fn server(extra: &str) -> String {
    format!(
        "services:\n  one:\n    image: a\n    command: vllm serve Qwen/Qwen2.5-7B-Instruct-AWQ --port 8001\n{extra}"
    )
}

fn said(import: &Import, what: &str) -> bool {
    [&import.corrected, &import.not_understood, &import.understood]
        .iter()
        .any(|list| list.iter().any(|f| f.what.contains(what) || f.message.contains(what)))
}

#[test]
fn what_would_give_a_container_the_machine_is_refused() {
    for (extra, why) in [
        ("    privileged: true\n", "is privileged"),
        ("    pid: host\n", "processes"),
        ("    cap_add: [SYS_ADMIN]\n", "capability"),
        ("    cap_add:\n      - CAP_ALL\n", "capability"),
        ("    volumes: ['/var/run/docker.sock:/var/run/docker.sock']\n", "socket"),
        ("    volumes: ['/run/user/1000/podman/podman.sock:/s']\n", "socket"),
        ("    volumes: [{type: bind, source: /var/run/docker.sock, target: /s}]\n", "socket"),
        ("    volumes: ['/var/run:/host']\n", "socket"),
        ("  web:\n    image: portainer\n    volumes: ['/var/run/docker.sock:/s']\n", "socket"),
    ] {
        let message = refused(&server(extra));
        assert!(message.contains(why), "{extra}: {message}");
        assert!(message.contains("c.yml\", line"), "{message}");
    }
    // In a later file too.
    let files = [file("a.yml", &server("")), file("b.yml", "services:\n  one:\n    privileged: true\n")];
    assert!(import_compose(&files, None, &MACHINE).is_err());
}

#[test]
fn other_files_are_never_read() {
    assert!(refused("include: ['/etc/passwd']\nservices: {}\n").contains("include"));
    assert!(refused(&server("    extends: {file: ../../up.yml, service: x}\n")).contains("extends"));
    let import = compose(&server("    env_file: /etc/shadow\n")).expect("imported");
    assert!(said(&import, "env_file"));
}

#[test]
fn circles_are_named() {
    let text = "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: {c: {condition: service_started}}}\n  \
                c: {image: x, depends_on: [a]}\n";
    assert!(refused(text).contains("circle"));
}

#[test]
fn a_bomb_is_refused_at_once() {
    let mut text = String::from("x-0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for i in 1..10 {
        let _ = writeln!(text, "x-{i}: &a{i} [{}]", vec![format!("*a{}", i - 1); 10].join(", "));
    }
    text.push_str("services: {one: {image: a, command: *a9}}\n");
    let begun = Instant::now();
    assert!(refused(&text).contains("hundred thousand"));
    assert!(begun.elapsed() < Duration::from_secs(5));
    // The same with variables.
    let mut env = format!("V0={}\n", "x".repeat(60_000));
    env.push_str("W=1\n");
    let many: String = (0..5000).map(|i| format!("      K{i}: $V0\n")).collect();
    let error =
        compose_with(&server(&format!("    environment:\n{many}")), &env).expect_err("must be refused");
    assert!(error.message.contains("too large"), "{error}");
}

#[test]
fn a_variable_that_is_not_set_is_said_and_not_guessed() {
    let text = "services:\n  one:\n    image: x\n    command: vllm serve Qwen/Qwen2.5-7B-Instruct-AWQ --port ${PORT} \
                --gpu-memory-utilization ${UTIL} --seed ${SEED}\n";
    let import = compose(text).expect("imported");
    for variable in ["PORT", "UTIL", "SEED"] {
        assert!(
            import.not_understood.iter().any(|f| f.message.contains(variable)),
            "{variable}: {:#?}",
            import.not_understood
        );
    }
    assert!(!import.stack.contains("--seed"), "{}", import.stack);
    // Without its model there is no agent.
    let error =
        compose("services:\n  one: {image: x, command: 'vllm serve ${MODEL}'}\n").expect_err("no agent");
    assert!(error.message.contains("no model"), "{error}");
    assert!(
        refused("services:\n  one: {image: x, command: 'vllm serve ${MODEL:?name one}'}\n")
            .contains("MODEL must be set")
    );
}

#[test]
fn unknown_keys_are_listed_with_their_lines() {
    let import = compose(&server("    sprinkles: true\nsurprise: 1\n")).expect("imported");
    let found: Vec<_> = import.not_understood.iter().map(|f| (f.what.as_str(), f.line)).collect();
    assert!(found.contains(&("services.one.sprinkles", Some(5))), "{found:?}");
    assert!(found.contains(&("surprise", Some(6))), "{found:?}");
}

#[test]
fn a_dotenv_of_every_kind_is_read_and_nothing_is_run() {
    let env = "\u{feff}export THOR_MODEL = \"Qwen/Qwen2.5-14B-Instruct-AWQ\" # the leader\r\nTHOR_PORT='8001'\r\n\r\n\
               THOR_GPU_UTIL=0.20\r\nEVIL=$(touch /tmp/evil)\r\nTICK=`id`\r\n";
    let import = import_env(&file(".env", env), &MACHINE).expect("imported");
    let stack = resolved(&import.stack);
    assert_eq!(stack.agents.len(), 1);
    assert_eq!(stack.agents[0].port, 8001);
    for name in ["EVIL", "TICK"] {
        assert!(
            import.not_understood.iter().any(|f| f.what == name && f.message.contains("command")),
            "{name}"
        );
    }
    let error = import_env(&file(".env", "THOR_MODEL=a/b\nthis is prose\n"), &MACHINE).expect_err("refused");
    assert!(error.message.contains("line 2"), "{error}");
    let error = import_env(&file(".env", "HF_TOKEN=hf_x\n"), &MACHINE).expect_err("no agent");
    assert!(!error.to_string().contains("hf_x"));
}

#[test]
fn figures_beyond_sense_are_said_and_left_out() {
    let env = "THOR_MODEL=a/b\nTHOR_PORT=-1\nTHOR_MAX_LEN=99999999999999999999\nTHOR_GPU_UTIL=12\nTHOR_MAX_NUM_SEQS=0\n";
    let import = import_env(&file(".env", env), &MACHINE).expect("imported");
    for name in ["THOR_PORT", "THOR_MAX_LEN", "THOR_GPU_UTIL", "THOR_MAX_NUM_SEQS"] {
        assert!(import.not_understood.iter().any(|f| f.what == name), "{name}");
    }
    resolved(&import.stack);
    let text = server("").replace("8001", "-5");
    resolved(&compose(&text).expect("imported").stack);
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let model = "/m/a\\\"]\\n[agents.evil]\\nx = \\\"\\e[31m.gguf";
    let text = format!(
        "services:\n  \"a\\e[31m\\nb\": {{image: \"x\\ny\", command: [\"llama-server\", \"-m\", \"{model}\"]}}\n  \
         two: {{image: a, command: [vllm, serve, Qwen/Qwen2.5-7B-Instruct-AWQ, --chat-template, \"x\\\"]\\n[agents.evil]\"]}}\n"
    );
    let import = compose(&text).expect("imported");
    let stack = resolved(&import.stack);
    assert!(stack.agents.iter().all(|a| a.name.as_str() != "evil"));
    let all = format!("{:?}", (&import.corrected, &import.not_understood, &import.understood));
    assert!(!all.contains('\u{1b}'));
}

#[test]
fn secrets_are_found_wherever_they_stand() {
    const KEY: &str = "sk-aSecretOfThisTestAndNoOther0123";
    for text in [
        server(&format!("    environment: {{OPENAI_API_KEY: {KEY}}}\n")),
        server(&format!("    environment: ['HF_TOKEN={KEY}', 'PLAIN={KEY}']\n")),
        server("").replace("--port", &format!("--api-key {KEY} --port")),
        server("").replace("--port", &format!("--hf-token={KEY} --port")),
        server("").replace("--port", &format!("--proxy-secret {KEY} --port")),
        server("").replace("--port", &format!("--weird {KEY} --port")),
        server("")
            .replace("command: vllm", &format!("command: sh -c 'TOKEN={KEY} vllm"))
            .replace("8001", "8001'"),
    ] {
        match compose(&text) {
            Ok(import) => assert!(!format!("{import:?}").contains(KEY), "{text}\n{import:?}"),
            Err(error) => assert!(!format!("{error:?}").contains(KEY), "{error:?}"),
        }
    }
    let stack = format!(
        "version = 1\n# mine\n[agents.a]\nmodel = \"Qwen/Qwen2.5-7B-Instruct-AWQ\"\nport = 8001\nkv_cache = \"4 GB\"\n\
         env = {{ HF_TOKEN = \"{KEY}\", A = \"b\" }}\nargs = [\"--seed\", \"1\", \"--some-token\", \"{KEY}\"]\n[profiles.p]\nagents = [\"a\"]\n"
    );
    let import = import_stack(&file("stack.toml", &stack)).expect("imported");
    assert!(!format!("{import:?}").contains(KEY));
    assert!(import.stack.contains("# mine") && import.stack.contains("--seed"));
    assert_eq!(import.secrets.len(), 2);
    let error =
        import_stack(&file("stack.toml", &format!("version = 1\nname = \"{KEY}\"\n"))).expect_err("refused");
    assert!(!format!("{error:?}").contains(KEY));
}

#[test]
fn a_stack_file_is_kept_word_for_word() {
    let text = "# mine\nversion = 1\n[agents.a]   # here\nmodel = \"Qwen/Qwen2.5-7B-Instruct-AWQ\"\nport = 8001\nkv_cache = \"4 GB\"\n[profiles.p]\nagents = [\"a\"]\n";
    assert_eq!(import_stack(&file("s.toml", text)).expect("imported").stack, text);
    let error = import_stack(&file("s.toml", "version = 1\nx = [\n")).expect_err("no TOML");
    assert!(error.message.contains("line"), "{error}");
    let error = import_stack(&file("s.toml", &text.replace("8001", "80010"))).expect_err("no port");
    assert!(error.message.contains("agents.a.port"), "{error}");
}

#[test]
fn several_files_are_merged_as_compose_does() {
    let base = server("    environment: [A=1, B=2]\n    profiles: [x]\n");
    let over = "services:\n  one:\n    environment: {B: 3}\n    profiles: [y]\n    command: [vllm, serve, Qwen/Qwen2.5-3B-Instruct-AWQ]\n";
    let files = [file("a.yml", &base), file("b.yml", over)];
    let stack = resolved(&import_compose(&files, None, &MACHINE).expect("imported").stack);
    let one = &stack.agents[0];
    assert_eq!(one.model, "Qwen/Qwen2.5-3B-Instruct-AWQ");
    assert_eq!(one.env.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(), ["A=1", "B=3"]);
    assert_eq!(stack.profiles.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["x", "y"]);
}

/// Lines of compose files and of `.env`s, in any order.
fn pieces() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("services:".to_owned()),
        Just("  one:".to_owned()),
        Just("  two: &two".to_owned()),
        Just("    <<: *two".to_owned()),
        Just("    image: vllm/vllm-openai".to_owned()),
        Just("    profiles: [standard, odin]".to_owned()),
        Just("    command: vllm serve Qwen/Qwen2.5-7B-Instruct-AWQ --port ${P:-8001}".to_owned()),
        Just("    command: [llama-server, -m, /m/qwen2.5-7b-instruct.Q4_K_M.gguf, -c, \"0\"]".to_owned()),
        Just("    environment: {A: $A, HF_TOKEN: x}".to_owned()),
        Just("    depends_on: [one, two]".to_owned()),
        Just("    ports: ['1-2:3', 8001, {target: 8000}]".to_owned()),
        "    [a-z]{1,6}: [a-z0-9$\\{\\}:'\"&*\\[\\] -]{0,12}",
        "\\PC{0,20}",
    ];
    prop::collection::vec(line, 0..14).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_panics_and_what_is_imported_passes_the_check(
        text in pieces(),
        env in prop::collection::vec(
            prop_oneof![
                "(THOR|ORCH|ODIN|FAST)_(MODEL|GGUF|PORT|MAX_LEN|CTX|GPU_UTIL|OLLAMA_MODEL)=[a-zA-Z0-9./:-]{0,12}",
                Just("THOR_MODEL=Qwen/Qwen2.5-14B-Instruct-AWQ".to_owned()),
                "\\PC{0,16}",
            ],
            0..8,
        ),
        capacity in prop::option::of(0_u64..u64::MAX),
    ) {
        let facts = Facts { capacity: capacity.map(Bytes) };
        let env = file(".env", &env.join("\n"));
        let tries = [
            import_compose(&[file("c.yml", &text)], Some(&env), &facts),
            import_env(&env, &facts),
            import_env(&file(".env", &text), &facts),
            import_stack(&file("s.toml", &text)),
        ];
        for import in tries.into_iter().flatten() {
            resolved(&import.stack);
        }
    }
}
