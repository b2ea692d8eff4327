use super::*;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn facts(name: &str, image: &str, cmd: &str) -> ContainerFacts {
    ContainerFacts {
        id: format!("id-{name}"),
        name: name.to_owned(),
        image: image.to_owned(),
        cmd: words(cmd),
        running: true,
        ..ContainerFacts::default()
    }
}

fn published(ip: &str, host: u16, container: u16) -> Vec<Published> {
    vec![Published { ip: ip.to_owned(), host, container }]
}

const SERVE: &str = "vllm serve Qwen/Qwen2.5-14B-Instruct-AWQ --host 0.0.0.0 --port 8001 \
                     --gpu-memory-utilization 0.20 --max-model-len 32768 --api-key sk-verysecret";

#[test]
fn a_compose_service_is_recognised_with_port_model_and_share() {
    let mut thor = facts("strix-vllm_thor-1", "docker.io/kyuz0/vllm-therock-gfx1151:latest", SERVE);
    thor.host_network = true;
    thor.labels = HashMap::from([
        (PROJECT[0].to_owned(), "strix".to_owned()),
        (SERVICE[0].to_owned(), "vllm_thor".to_owned()),
    ]);
    let found = container("docker", "us", &thor, &[8001]).unwrap();
    assert_eq!((found.kind, found.port), (Kind::Vllm, Some(8001)));
    assert_eq!(found.line.model.as_deref(), Some("Qwen/Qwen2.5-14B-Instruct-AWQ"));
    assert_eq!(found.line.utilization, Some(0.2));
    assert_eq!(found.key.reveal(), "sk-verysecret");
    assert!(!format!("{found:?}").contains("verysecret"), "a key is shown: {found:?}");
    assert!(
        matches!(&found.place, Place::Container { project: Some(p), service: Some(s), .. } if p == "strix" && s == "vllm_thor")
    );
    // One that was stopped is known by its project.
    thor.running = false;
    thor.cmd.insert(0, "/start.sh".to_owned());
    assert!(!container("docker", "us", &thor, &[8001]).unwrap().running);
    thor.labels.clear();
    assert_eq!(container("docker", "us", &thor, &[8001]), None);
}

#[test]
fn ours_is_never_a_neighbour_and_another_asgards_only_where_it_is_in_the_way() {
    let mut agent = facts("asgard-thor-1", "x", SERVE);
    agent.published = published("127.0.0.1", 8001, 8001);
    agent.labels.insert(INSTANCE.to_owned(), "us".to_owned());
    assert_eq!(container("docker", "us", &agent, &[8001]), None);
    let other = container("docker", "them", &agent, &[8001]).unwrap();
    assert_eq!(other.kind, Kind::Unknown);
    assert_eq!(container("docker", "them", &agent, &[8002]), None);
}

#[test]
fn a_port_counts_where_this_machine_reaches_it() {
    for (ip, host, port) in [
        ("127.0.0.1", 9000, Some(9000)),
        ("0.0.0.0", 9001, Some(9001)),
        ("", 9002, Some(9002)),
        ("192.168.1.5", 9003, None),
    ] {
        let mut server = facts("s", "ghcr.io/ggml-org/llama.cpp:server-vulkan", "-m /m/a.gguf --port 8080");
        server.entrypoint = words("/app/llama-server");
        server.published = published(ip, host, 8080);
        let found = container("podman", "us", &server, &[]).unwrap();
        assert_eq!((found.kind, found.port), (Kind::LlamaCpp, port), "{ip}");
    }
    // Something else on a port of the stack is named, and nowhere else.
    let mut web = facts("web", "nginx", "nginx");
    web.published = published("0.0.0.0", 8001, 80);
    assert_eq!(container("docker", "us", &web, &[8001]).unwrap().kind, Kind::Unknown);
    assert_eq!(container("docker", "us", &web, &[8002]), None);
}

#[test]
fn toolboxes_ollama_and_the_earlier_bifrost_are_told_apart() {
    let mut toolbox =
        facts("llama-rocm", "docker.io/kyuz0/amd-strix-halo-toolboxes:rocm-7.1", "llama-server -m /m.gguf");
    toolbox.labels.insert("com.github.containers.toolbox".to_owned(), "true".to_owned());
    toolbox.host_network = true;
    let found = container("podman", "us", &toolbox, &[]).unwrap();
    assert!(matches!(found.place, Place::Container { toolbox: true, .. }) && found.port == Some(8080));
    let mut ollama = facts("ollama", "ollama/ollama:latest", "serve");
    ollama.entrypoint = words("/bin/ollama");
    ollama.published = published("", 11_434, 11_434);
    assert_eq!(container("docker", "us", &ollama, &[]).unwrap().kind, Kind::Ollama);
    let mut bifrost = facts("strix-bifrost-1", "strix-bifrost", "uvicorn app:app --port 8899");
    bifrost.host_network = true;
    // With the host's network nothing is published: the port is where it says, or where it always was.
    for (cmd, env, port) in [
        ("uvicorn app:app --port 8900", "", 8900),
        ("uvicorn app:app", "BIFROST_PORT=8901", 8901),
        ("uvicorn app:app", "BIFROST_PORT=", 8899),
    ] {
        bifrost.cmd = words(cmd);
        bifrost.env = vec![env.to_owned()];
        let found = container("docker", "us", &bifrost, &[8899]).unwrap();
        assert_eq!((found.kind, found.port), (Kind::Bifrost, Some(port)), "{cmd} {env}");
    }
    assert_eq!(container("docker", "us", &facts("db", "postgres", "postgres"), &[8001]), None);
}

#[test]
fn what_was_started_in_a_toolbox_later_is_what_it_serves() {
    let mut toolbox =
        facts("vllm-box", "docker.io/kyuz0/vllm-therock-gfx1151:latest", "toolbox init-container");
    toolbox.host_network = true;
    toolbox.labels.insert("com.github.containers.toolbox".to_owned(), "true".to_owned());
    toolbox.inside = vec![words("toolbox init-container"), words("bash -l")];
    assert_eq!(
        container("podman", "us", &toolbox, &[8001]),
        None,
        "somebody works in it, and nothing serves"
    );
    toolbox.inside.push(words(&format!("/usr/bin/python3 /opt/venv/bin/{SERVE}")));
    toolbox.listening = vec![8001];
    let found = container("podman", "us", &toolbox, &[]).unwrap();
    assert_eq!((found.kind, found.port), (Kind::Vllm, Some(8001)));
    assert_eq!(found.line.model.as_deref(), Some("Qwen/Qwen2.5-14B-Instruct-AWQ"));
    assert!(found.command.iter().any(|w| w == "serve"), "{:?}", found.command);
    toolbox.inside = vec![words("/usr/bin/ollama serve")];
    toolbox.listening = vec![11_434];
    assert_eq!(container("podman", "us", &toolbox, &[]).unwrap().kind, Kind::Ollama);
}

#[test]
fn an_image_says_what_serves_only_where_its_command_says_nothing() {
    for (image, cmd, kind) in [
        ("vllm/vllm-openai:v0.11.0", "", Some(Kind::Vllm)),
        ("docker.io/kyuz0/vllm-therock-gfx1151:latest", "./serve.sh", Some(Kind::Vllm)),
        ("docker.io/kyuz0/vllm-therock-gfx1151:latest", "bash ./serve.sh", Some(Kind::Vllm)),
        ("docker.io/kyuz0/vllm-therock-gfx1151:latest", "/bin/bash", None),
        ("docker.io/kyuz0/vllm-therock-gfx1151:latest", "sleep infinity", None),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda", "", Some(Kind::LlamaCpp)),
        ("ollama/ollama:rocm", "", Some(Kind::Ollama)),
        ("docker.io/library/postgres:17", "postgres", None),
    ] {
        let found = container("docker", "us", &facts("c", image, cmd), &[]);
        assert_eq!(found.map(|n| n.kind), kind, "{image} {cmd}");
    }
}

#[test]
fn keys_and_tokens_are_not_shown_wherever_they_stand() {
    let shown = |command: &[&str], known: &str| {
        let command: Vec<String> = command.iter().map(|w| (*w).to_owned()).collect();
        let known = Secret::new(known);
        without_secrets(&command, &[&known]).join(" ")
    };
    for (command, expected) in [
        (
            &["vllm", "serve", "m", "--api-key", "sk-1", "--port", "8001"][..],
            "vllm serve m --api-key … --port 8001",
        ),
        (&["vllm", "--api_key=sk-1", "m"], "vllm --api_key=… m"),
        (&["vllm", "--api-key", "sk-1", "sk-2", "--port", "1"], "vllm --api-key … … --port 1"),
        (&["vllm", "--hf-token", "sk-1"], "vllm --hf-token …"),
        (
            &["env", "VLLM_API_KEY=sk-1", "HF_TOKEN=sk-2", "A=b", "vllm"],
            "env VLLM_API_KEY=… HF_TOKEN=… A=b vllm",
        ),
        (
            &["sh", "-c", "exec vllm serve m --api-key 'sk-1' --port 1"],
            "sh -c exec vllm serve m --api-key … --port 1",
        ),
        (&["sh", "-c", "LLAMA_API_KEY=\"sk-1\" llama-server"], "sh -c LLAMA_API_KEY=… llama-server"),
        (&["x", "--api-key-file", "/run/k"], "x --api-key-file /run/k"),
        (&["x", "", " ", "--config={\"key\": 1}"], "x    --config={\"key\": 1}"),
    ] {
        assert_eq!(shown(command, ""), expected);
    }
    // A key that is known is found wherever else it is written.
    assert_eq!(shown(&["x", "--header=Bearer:sk-known"], "sk-known"), "x --header=Bearer:…");
}

#[test]
fn processes_are_known_by_their_command_line_or_by_the_port_they_hold() {
    let of = |argv: &str, ports: &[u16]| ProcessFacts {
        pid: 42,
        started: 7,
        name: "x".to_owned(),
        argv: words(argv),
        ports: ports.to_vec(),
        own: true,
        ..ProcessFacts::default()
    };
    let native = process(&of("/usr/bin/llama-server -m /m/a.gguf --port 9090", &[9090]), &[]).unwrap();
    assert_eq!((native.kind, native.port, native.id.as_str()), (Kind::LlamaCpp, Some(9090), "process/42-7"));
    let python = format!("/usr/bin/python3 /opt/bin/{SERVE}");
    assert_eq!(process(&of(&python, &[8001]), &[]).unwrap().kind, Kind::Vllm);
    assert_eq!(process(&of("/usr/local/bin/ollama serve", &[11_434]), &[]).unwrap().kind, Kind::Ollama);
    assert_eq!(process(&of("nginx", &[8001]), &[8001]).unwrap().kind, Kind::Unknown);
    assert_eq!(process(&of("nginx", &[80]), &[8001]), None);
    assert_eq!(process(&of("", &[]), &[]), None);
}

mod anything {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_that_a_container_says_makes_it_fall_over(
            cmd in proptest::collection::vec(".{0,24}", 0..8),
            image in ".{0,40}",
            labels in proptest::collection::hash_map(".{0,12}", ".{0,12}", 0..4),
            host: bool,
        ) {
            let facts = ContainerFacts { cmd: cmd.clone(), image, labels, host_network: host, running: true, ..ContainerFacts::default() };
            let _ = container("docker", "us", &facts, &[8001]);
            let inside = ContainerFacts { inside: vec![cmd.clone()], running: true, ..ContainerFacts::default() };
            let _ = container("docker", "us", &inside, &[8001]);
            let of = ProcessFacts { argv: cmd, ..ProcessFacts::default() };
            let _ = process(&of, &[8001]);
        }

        #[test]
        fn a_key_is_never_in_what_is_shown(
            before in proptest::collection::vec("[ -~]{0,16}", 0..4),
            key in "[A-Za-z0-9]{12,24}",
            after in proptest::collection::vec("[ -~]{0,16}", 0..4),
            text: bool,
        ) {
            let said = if text { vec![format!("serve --api-key {key} -x")] } else { vec!["--api-key".to_owned(), key.clone()] };
            let command: Vec<String> = before.into_iter().chain(said).chain(after).collect();
            prop_assert!(!without_secrets(&command, &[]).concat().contains(&key));
        }
    }
}
