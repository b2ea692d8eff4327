use http::StatusCode;
use serde_json::{Value, json};

use super::*;

fn place(number: u32, seconds_left: Option<f64>) -> Place {
    Place {
        agent: domain::AgentName::new("odin").unwrap(),
        place: number,
        stage: "Loading Odin".to_owned(),
        seconds_left,
    }
}

fn voice(protocol: Protocol, comments_only: bool) -> Voice {
    let (model, id) = ("odin".to_owned(), "resp_1".to_owned());
    Voice::new(Opening { protocol, model, created_at: 1_795_226_984, id, comments_only })
}

/// What a reader of server-sent events makes of it: names and data, comments skipped.
fn read(text: &[u8]) -> Vec<(Option<String>, Value)> {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.ends_with("\n\n"), "{text:?} ends no event");
    let mut events = Vec::new();
    for block in text.split("\n\n") {
        let (mut name, mut data) = (None, None);
        for line in block.lines().filter(|line| !line.starts_with(':')) {
            match line.split_once(": ") {
                Some(("event", value)) => name = Some(value.to_owned()),
                Some(("data", "[DONE]")) => data = Some(json!("[DONE]")),
                Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                _ => panic!("a line that is none: {line:?}"),
            }
        }
        if let Some(data) = data {
            events.push((name, data));
        }
    }
    events
}

#[test]
fn a_beat_tells_the_place_in_a_comment() {
    for protocol in [Protocol::Chat, Protocol::Responses, Protocol::Messages] {
        let beat = voice(protocol, false).beat(&place(1, Some(37.4)));
        assert!(beat.starts_with(b": asgard place=1 stage=\"Loading Odin\" seconds_left=38\n\n"), "{beat:?}");
        for unknown in [None, Some(f64::NAN), Some(-1.5), Some(1e300)] {
            let beat = voice(protocol, false).beat(&place(12, unknown));
            assert!(beat.starts_with(b": asgard place=12 stage=\"Loading Odin\"\n\n"), "{beat:?}");
        }
    }
    let mut tricky = place(1, None);
    tricky.stage = "a\r\ndata: \"x\"\n\nb".to_owned();
    let beat = voice(Protocol::Chat, false).beat(&tricky);
    assert_eq!(beat, &b": asgard place=1 stage=\"a  data: 'x'  b\"\n\n"[..], "no line ends inside");
}

#[test]
fn beats_are_events_only_where_events_mean_nothing_yet() {
    assert_eq!(read(&voice(Protocol::Chat, false).beat(&place(1, None))), []);
    let ping = (Some("ping".to_owned()), json!({"type": "ping"}));
    assert_eq!(read(&voice(Protocol::Messages, false).beat(&place(1, None))), [ping]);
    assert_eq!(read(&voice(Protocol::Responses, true).beat(&place(1, None))), []);

    let mut voice = voice(Protocol::Responses, false);
    let mut events = read(&voice.beat(&place(2, None)));
    events.extend(read(&voice.beat(&place(1, None))));
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_deref().unwrap()).collect();
    assert_eq!(names, ["response.created", "response.queued", "response.queued"]);
    for (number, (name, data)) in events.iter().enumerate() {
        assert_eq!(data["type"].as_str(), name.as_deref());
        assert_eq!(data["sequence_number"], number);
        assert_eq!(data["response"]["status"], "queued");
    }
}

#[test]
fn a_response_that_waits_has_every_field_of_a_real_one_that_its_type_demands() {
    let capture = include_str!("../../tests/data/vllm-responses-stream.txt");
    let real = capture.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let real: Value = serde_json::from_str(real).unwrap();
    let ours = &read(&voice(Protocol::Responses, false).beat(&place(1, None)))[0].1;
    assert_eq!(real["type"], ours["type"]);
    let demanded = [
        "id",
        "created_at",
        "error",
        "incomplete_details",
        "instructions",
        "metadata",
        "model",
        "object",
        "output",
        "parallel_tool_calls",
        "temperature",
        "tool_choice",
        "tools",
        "top_p",
        "status",
        "usage",
    ];
    for field in demanded {
        let (ours, real) = (&ours["response"], &real["response"]);
        assert!(ours.get(field).is_some(), "{field} is missing");
        let same_kind = std::mem::discriminant(&ours[field]) == std::mem::discriminant(&real[field]);
        assert!(
            same_kind || ours[field].is_null() || real[field].is_null(),
            "{field}: {} {}",
            ours[field],
            real[field]
        );
    }
    assert_eq!(ours["response"]["object"], "response");
    assert_eq!(ours["response"]["output"], json!([]));
}

#[test]
fn failures_have_the_shape_of_their_protocol() {
    let problem = Problem::server(StatusCode::SERVICE_UNAVAILABLE, "busy", "Odin is draining.").later(3);

    let chat = read(&voice(Protocol::Chat, false).failure(&problem));
    let error =
        json!({"message": "Odin is draining.", "type": "server_error", "code": "busy", "param": null});
    assert_eq!(chat, [(None, json!({"error": error})), (None, json!("[DONE]"))]);

    let messages = read(&voice(Protocol::Messages, false).failure(&problem));
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].0.as_deref(), Some("error"));
    assert_eq!(messages[0].1["type"], "error");
    assert_eq!(messages[0].1["error"]["type"], "overloaded_error");
    assert_eq!(messages[0].1["error"]["message"], "Odin is draining.");

    // With and without events before it: `response.created` is always the first.
    for (beats, comments_only) in [(0, false), (2, false), (2, true)] {
        let mut voice = voice(Protocol::Responses, comments_only);
        let mut events = Vec::new();
        for _ in 0..beats {
            events.extend(read(&voice.beat(&place(1, None))));
        }
        events.extend(read(&voice.failure(&problem)));
        assert_eq!(events[0].0.as_deref(), Some("response.created"));
        for (number, (_, data)) in events.iter().enumerate() {
            assert_eq!(data["sequence_number"], number);
        }
        let [.., (complaint, said), (failed, end)] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((complaint.as_deref(), failed.as_deref()), (Some("error"), Some("response.failed")));
        assert_eq!(
            (&said["message"], &said["code"], &said["param"]),
            (&json!("Odin is draining."), &json!("busy"), &json!(null))
        );
        assert_eq!(said["error"], error);
        assert_eq!(end["response"]["status"], "failed");
        assert_eq!(end["response"]["error"], json!({"code": "server_error", "message": "Odin is draining."}));
        assert_eq!(end["response"]["id"], "resp_1");
    }
}

#[test]
fn an_agents_own_error_keeps_its_words() {
    let captured = include_str!("../../tests/data/vllm-err-context-overflow.txt");
    let body = captured.lines().find(|line| line.starts_with('{')).unwrap();
    let theirs: Value = serde_json::from_str(body).unwrap();
    let mut problem = Problem::request(
        StatusCode::BAD_REQUEST,
        "agent_error",
        theirs["error"]["message"].as_str().unwrap(),
    );
    problem.theirs = theirs["error"].as_object().cloned().map(Box::new);
    assert_eq!(read(&voice(Protocol::Chat, false).failure(&problem))[0].1, theirs);
    let messages = &read(&voice(Protocol::Messages, false).failure(&problem))[0].1;
    assert_eq!(messages["error"]["type"], "invalid_request_error");
    assert_eq!(messages["error"]["message"], theirs["error"]["message"]);
    let responses = read(&voice(Protocol::Responses, false).failure(&problem));
    assert_eq!(responses[2].1["response"]["error"]["code"], "invalid_prompt");
    assert_eq!(responses[2].1["response"]["error"]["message"], theirs["error"]["message"]);
}

#[test]
fn types_of_errors_are_those_of_anthropics_service() {
    for (status, expected) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (408, "timeout_error"),
        (409, "invalid_request_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
    ] {
        let problem = Problem::server(StatusCode::from_u16(status).unwrap(), "word", "What happened.");
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            let body = Protocol::of(path).body(&problem);
            assert_eq!(body["type"], "error");
            assert_eq!(body["error"]["type"], expected, "{status}");
        }
        assert_eq!(Protocol::of("/v1/embeddings").body(&problem)["error"]["code"], "word");
    }
}

#[test]
fn a_break_in_the_middle_is_told_after_the_end_of_half_an_event() {
    for (path, event) in [
        ("/v1/chat/completions", None),
        ("/v1/completions", None),
        ("/v1/messages", Some("error")),
        ("/v1/responses", Some("error")),
    ] {
        let told = broken(path, "Odin broke off.");
        assert!(told.starts_with(b"\n\n"));
        let events = read(&told);
        assert_eq!(events[0].0.as_deref(), event, "{path}");
        assert_eq!(events[0].1["error"]["message"], "Odin broke off.");
    }
}
