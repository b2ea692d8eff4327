//! Asking an agent's server: is it healthy, does it answer, how busy is it.

use std::time::Duration;

use domain::secret::Secret;
use domain::stack::BackendKind;
use engine::metrics::{self, Scrape, Slots};
use serde_json::{Value, json};

const SHORT: Duration = Duration::from_secs(5);

/// Whether the health path says yes.
pub(crate) async fn healthy(http: &reqwest::Client, endpoint: &str, path: &str) -> bool {
    matches!(
        http.get(format!("{endpoint}{path}")).timeout(SHORT).send().await,
        Ok(answer) if answer.status().is_success()
    )
}

/// Why a first answer was not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The connection broke: most likely the server died.
    Broke(String),
    /// It refused, in its own words.
    Refused(u16, String),
    Nothing,
    Garbage(String),
}

/// One generation of eight tokens. "Ready means that it answered."
pub(crate) async fn first_answer(
    http: &reqwest::Client,
    endpoint: &str,
    key: &Secret,
    model: &str,
    patience: Duration,
) -> Result<(), NoAnswer> {
    let body = json!({
        "model": model,
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 8,
        "temperature": 0,
        "stream": false,
    });
    let mut request = http.post(format!("{endpoint}/v1/chat/completions")).json(&body).timeout(patience);
    if !key.is_empty() {
        request = request.bearer_auth(key.reveal());
    }
    let answer = request.send().await.map_err(|e| NoAnswer::Broke(e.without_url().to_string()))?;
    let status = answer.status();
    let text = answer.text().await.map_err(|e| NoAnswer::Broke(e.without_url().to_string()))?;
    if !status.is_success() {
        return Err(NoAnswer::Refused(status.as_u16(), text.chars().take(300).collect()));
    }
    judge(&text)
}

fn judge(body: &str) -> Result<(), NoAnswer> {
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        return Err(NoAnswer::Garbage(body.chars().take(60).collect()));
    };
    let message = &value["choices"][0]["message"];
    let said = ["content", "reasoning", "reasoning_content"]
        .iter()
        .filter_map(|k| message[*k].as_str())
        .collect::<String>();
    match sound(&said) {
        Soundness::Sound => Ok(()),
        Soundness::Empty => Err(NoAnswer::Nothing),
        Soundness::Garbage => Err(NoAnswer::Garbage(said.chars().take(60).collect())),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Soundness {
    Sound,
    Empty,
    Garbage,
}

/// Whether a short answer looks like language. A model whose kernels are wrong repeats one character, or gives what
/// is no text at all.
fn sound(text: &str) -> Soundness {
    let text = text.trim();
    if text.is_empty() {
        return Soundness::Empty;
    }
    let strange = text.chars().filter(|c| *c == '\u{fffd}' || (c.is_control() && !c.is_whitespace())).count();
    let letters: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let one_character = letters.len() >= 5 && letters.iter().all(|c| Some(c) == letters.first());
    let wordless = letters.len() >= 5 && !letters.iter().any(|c| c.is_alphanumeric());
    if one_character || wordless || strange * 3 > letters.len() {
        Soundness::Garbage
    } else {
        Soundness::Sound
    }
}

/// How long one reading may take: the next is due soon.
const READING: Duration = Duration::from_secs(2);
/// A server's figures have some hundred kilobytes at most.
const LARGEST_READING: usize = 10 << 20;

/// What a server says of itself at one moment, as far as it has the pages for it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Said {
    pub(crate) scrape: Scrape,
    pub(crate) slots: Option<Slots>,
}

/// What a server says of itself in `/metrics`, and in `/slots` where the first is silent about the KV cache. Nothing
/// where neither is answered in time.
pub(crate) async fn figures(
    http: &reqwest::Client,
    endpoint: &str,
    key: &Secret,
    backend: BackendKind,
) -> Option<Said> {
    let metrics = async {
        let text = get(http, &format!("{endpoint}/metrics"), key).await?;
        Some(metrics::read(&String::from_utf8_lossy(&text)))
    };
    let slots = async {
        let json = get(http, &format!("{endpoint}/slots"), key).await?;
        metrics::read_slots(&json)
    };
    let (scrape, slots) = match backend {
        // It has neither; what it holds is read elsewhere.
        BackendKind::Ollama => return None,
        BackendKind::Vllm => (metrics.await, None),
        // Either may be switched off.
        BackendKind::LlamaCpp => tokio::join!(metrics, slots),
        BackendKind::External => {
            let scrape = metrics.await;
            let known = scrape.is_some_and(|s| s.kv_cache_used.is_some());
            (scrape, if known { None } else { slots.await })
        }
    };
    let said = Said { scrape: scrape.unwrap_or_default(), slots };
    (said != Said::default()).then_some(said)
}

/// The body of an answer, if it is one and not too large.
async fn get(http: &reqwest::Client, url: &str, key: &Secret) -> Option<Vec<u8>> {
    let mut request = http.get(url).timeout(READING);
    if !key.is_empty() {
        request = request.bearer_auth(key.reveal());
    }
    let mut answer = request.send().await.ok()?.error_for_status().ok()?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > LARGEST_READING {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn language_is_told_from_garbage() {
        for (text, wanted) in [
            ("Hello there.", Soundness::Sound),
            ("42", Soundness::Sound),
            ("你好", Soundness::Sound),
            ("", Soundness::Empty),
            (" \n ", Soundness::Empty),
            ("!!!!!!!!", Soundness::Garbage),
            ("! ! ! ! ! !", Soundness::Garbage),
            ("\u{fffd}\u{fffd}\u{fffd}a", Soundness::Garbage),
            ("#$%^&*(", Soundness::Garbage),
            ("aaaaaaaa", Soundness::Garbage),
        ] {
            assert_eq!(sound(text), wanted, "{text:?}");
        }
    }

    /// A server of one connection after another, each answered with what `page` makes of the request.
    async fn serve(page: fn(&str) -> Vec<u8>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut asked = vec![0; 4096];
                    let n = stream.read(&mut asked).await.unwrap_or_default();
                    let answer = page(&String::from_utf8_lossy(&asked[..n]));
                    let _ = stream.write_all(&answer).await;
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        format!("http://{address}")
    }

    fn ok(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    }

    fn gone() -> Vec<u8> {
        b"HTTP/1.1 501 Not Implemented\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec()
    }

    const SLOTS: &str =
        r#"[{"id":0,"n_ctx":100,"is_processing":true,"n_prompt_tokens":30,"next_token":[{"n_decoded":20}]}]"#;

    async fn ask(endpoint: &str, backend: BackendKind) -> Option<Said> {
        figures(&net::plain().build().unwrap(), endpoint, &Secret::new("key"), backend).await
    }

    #[tokio::test]
    async fn metrics_and_slots_are_read_together_and_either_may_be_missing() {
        let both = serve(|asked| {
            assert!(asked.to_lowercase().contains("authorization: bearer key"), "{asked}");
            if asked.starts_with("GET /slots") { ok(SLOTS) } else { ok("llamacpp:requests_deferred 3\n") }
        })
        .await;
        for backend in [BackendKind::LlamaCpp, BackendKind::External] {
            let said = ask(&both, backend).await.unwrap();
            assert_eq!(said.scrape.waiting, Some(3.0));
            assert_eq!(said.slots.map(|s| (s.busy, s.used_tokens, s.context_tokens)), Some((1, 50, 100)));
        }
        let slots = serve(|asked| if asked.starts_with("GET /slots") { ok(SLOTS) } else { gone() }).await;
        let said = ask(&slots, BackendKind::LlamaCpp).await.unwrap();
        assert_eq!((said.scrape, said.slots.map(|s| s.busy)), (Scrape::default(), Some(1)));
        let metrics = serve(|asked| {
            if asked.starts_with("GET /slots") { gone() } else { ok("llamacpp:requests_processing 2\n") }
        })
        .await;
        let said = ask(&metrics, BackendKind::LlamaCpp).await.unwrap();
        assert_eq!((said.scrape.running, said.slots), (Some(2.0), None));
        let neither = serve(|_| gone()).await;
        assert_eq!(ask(&neither, BackendKind::LlamaCpp).await, None);
        assert_eq!(ask(&neither, BackendKind::Vllm).await, None);
    }

    #[tokio::test]
    async fn slots_are_not_asked_of_a_server_that_tells_of_its_cache() {
        let vllm = serve(|asked| {
            assert!(!asked.contains("/slots"), "{asked}");
            ok("vllm:kv_cache_usage_perc{engine=\"0\"} 0.5\n")
        })
        .await;
        for backend in [BackendKind::Vllm, BackendKind::External] {
            let said = ask(&vllm, backend).await.unwrap();
            assert_eq!((said.scrape.kv_cache_used, said.slots), (Some(0.5), None));
        }
        assert_eq!(ask(&vllm, BackendKind::Ollama).await, None);
    }

    #[tokio::test]
    async fn a_page_without_an_end_is_left_and_one_that_is_no_text_is_read_where_it_is() {
        let endless = serve(|_| {
            let mut page = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
            page.extend(std::iter::repeat_n(b"vllm:num_requests_running 1\n", 400_000).flatten());
            page
        })
        .await;
        assert_eq!(ask(&endless, BackendKind::Vllm).await, None);
        let strange = serve(|_| {
            let mut page = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
            page.extend(b"\xff\xfe\0\nvllm:num_requests_running 1\n");
            page
        })
        .await;
        assert_eq!(ask(&strange, BackendKind::Vllm).await.unwrap().scrape.running, Some(1.0));
    }

    #[tokio::test]
    async fn a_mute_server_is_left_after_two_seconds() {
        let mute = serve(|_| Vec::new()).await;
        let asked = tokio::time::timeout(Duration::from_secs(20), ask(&mute, BackendKind::LlamaCpp)).await;
        assert_eq!(asked, Ok(None));
    }
}
