//! What a path means.

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::Control;
use crate::refusal::Problem;

/// What goes to an agent beside the paths under `/v1`, where the servers have it.
const BESIDE: [&str; 6] = ["/tokenize", "/detokenize", "/rerank", "/score", "/pooling", "/classify"];

/// Paths of servers that change the server. They are no requests to a model.
const NOT_FOR_CLIENTS: [&str; 2] = ["/v1/load_lora_adapter", "/v1/unload_lora_adapter"];

/// A path with its method.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Health,
    Models,
    /// One of them: a name or a model's id, which has a slash in it that clients send as it is or as %2F.
    Model(String),
    Status,
    Metrics,
    Control(Control),
    /// A question to the agent that its body names.
    Inference,
}

/// What the path means, or the answer to one that means nothing.
pub(crate) fn meaning(method: &Method, path: &str) -> Result<Meaning, Problem> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        let message = format!("{method} is not spoken here. Chats go to POST /v1/chat/completions.");
        return Err(Problem::request(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message)
            .allowing("GET, HEAD, POST"));
    }
    let read = |meaning| {
        if matches!(*method, Method::GET | Method::HEAD) {
            Ok(meaning)
        } else {
            Err(wrong_method(method, path, "GET, HEAD"))
        }
    };
    let write =
        |meaning| if *method == Method::POST { Ok(meaning) } else { Err(wrong_method(method, path, "POST")) };
    let text = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
    match path {
        "/v1/health" => return read(Meaning::Health),
        "/v1/models" => return read(Meaning::Models),
        "/v1/status" => return read(Meaning::Status),
        "/metrics" => return read(Meaning::Metrics),
        "/v1/restore" => return write(Meaning::Control(Control::Restore)),
        _ if BESIDE.contains(&path) => return write(Meaning::Inference),
        _ if NOT_FOR_CLIENTS.contains(&path) => return Err(nothing(path)),
        _ => {}
    }
    let Some(rest) = path.strip_prefix("/v1/") else { return Err(nothing(path)) };
    match rest.split_once('/') {
        Some(("models", id)) if !id.is_empty() => return read(Meaning::Model(text(id))),
        Some(("summon", name)) if is_plain(name) => {
            return write(Meaning::Control(Control::Summon(text(name))));
        }
        Some(("release", name)) if is_plain(name) => {
            return write(Meaning::Control(Control::Release(text(name))));
        }
        Some(("models" | "summon" | "release" | "restore" | "health" | "status", _)) => {
            return Err(nothing(path));
        }
        // A response that was, by its id: OpenAI's service keeps them, no agent here does.
        Some(("responses", rest)) if *method != Method::POST || rest.contains('/') => {
            let message = format!(
                "Nothing is at {path}: answers are not kept, and no agent is named. Send the whole conversation to \
                 POST /v1/responses."
            );
            return Err(Problem::request(StatusCode::NOT_FOUND, "unknown_response", message));
        }
        _ => {}
    }
    // What is passed on must mean to every server what it meant here.
    if !rest.split('/').all(is_plain) || matches!(rest, "summon" | "release") {
        return Err(nothing(path));
    }
    if *method == Method::POST || KNOWN.contains(&rest) {
        write(Meaning::Inference)
    } else {
        Err(nothing(path))
    }
}

/// Paths of agents whose wrong methods are told as such; others may not exist at all.
const KNOWN: [&str; 6] =
    ["chat/completions", "completions", "responses", "messages", "messages/count_tokens", "embeddings"];

/// A segment that is a name: not empty, no dots that climb, nothing encoded.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('.')
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn wrong_method(method: &Method, path: &str, allowed: &'static str) -> Problem {
    let message = format!("{path} is not for {method}. Use {allowed}.");
    Problem::request(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", message).allowing(allowed)
}

fn nothing(path: &str) -> Problem {
    let message = format!("Nothing is at {path}. Chats go to POST /v1/chat/completions.");
    Problem::request(StatusCode::NOT_FOUND, "unknown_path", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "reads as a table")]
    fn check(method: &str, path: &str, expected: Result<Meaning, u16>) {
        let got = meaning(&method.parse().unwrap(), path).map_err(|problem| problem.status.as_u16());
        assert_eq!(got, expected, "{method} {path}");
    }

    #[test]
    fn paths_mean_what_the_table_says() {
        let summon = |name: &str| Ok(Meaning::Control(Control::Summon(name.to_owned())));
        for method in ["GET", "HEAD"] {
            check(method, "/v1/health", Ok(Meaning::Health));
            check(method, "/v1/models", Ok(Meaning::Models));
            check(method, "/v1/models/odin", Ok(Meaning::Model("odin".to_owned())));
            check(method, "/v1/models/Qwen/Qwen2.5", Ok(Meaning::Model("Qwen/Qwen2.5".to_owned())));
            check(method, "/v1/models/Qwen%2FQwen2.5", Ok(Meaning::Model("Qwen/Qwen2.5".to_owned())));
            check(method, "/v1/status", Ok(Meaning::Status));
            check(method, "/metrics", Ok(Meaning::Metrics));
            check(method, "/v1/chat/completions", Err(405));
            check(method, "/v1/summon/odin", Err(405));
            check(method, "/v1/restore", Err(405));
            check(method, "/tokenize", Err(405));
            check(method, "/v1/responses/resp_1", Err(404));
            check(method, "/v1/files", Err(404));
        }
        check("POST", "/v1/summon/odin", summon("odin"));
        check("POST", "/v1/summon/nobody.at-all_1", summon("nobody.at-all_1"));
        check("POST", "/v1/release/odin", Ok(Meaning::Control(Control::Release("odin".to_owned()))));
        check("POST", "/v1/restore", Ok(Meaning::Control(Control::Restore)));
        for path in [
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/responses",
            "/v1/responses/input_tokens",
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/v1/embeddings",
            "/v1/rerank",
            "/v1/audio/transcriptions",
            "/v1/images/generations",
            "/tokenize",
            "/rerank",
        ] {
            check("POST", path, Ok(Meaning::Inference));
        }
        for path in ["/v1/health", "/v1/models", "/v1/models/odin", "/v1/status", "/metrics"] {
            check("POST", path, Err(405));
            check("DELETE", path, Err(405));
            check("OPTIONS", path, Err(405));
        }
        for path in ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/summon/odin"] {
            for method in ["OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"] {
                check(method, path, Err(405));
            }
        }
        for path in [
            "/",
            "",
            "/v1",
            "/v1/",
            "/v1//chat/completions",
            "/v1/chat/completions/",
            "/v1/../sleep",
            "/v1/./sleep",
            "/v1/..%2Fsleep",
            "/v1/%2e%2e/sleep",
            "/v1/chat;x/completions",
            "/v1/.hidden",
            "/sleep",
            "/v2/rerank",
            "/v1/summon",
            "/v1/summon/",
            "/v1/summon/a/b",
            "/v1/release/..",
            "/v1/restore/odin",
            "/v1/models/",
            "/v1/health/x",
            "/v1/load_lora_adapter",
            "/v1/responses/resp_1/cancel",
            "/V1/chat/completions",
        ] {
            check("POST", path, Err(404));
        }
        check("DELETE", "/v1/responses/resp_1", Err(404));
        check("TRACE", "/", Err(405));
        check("CONNECT", "", Err(405));
    }
}
