//! Counting what passes, without touching it.
//!
//! Of a stream: when its first and last event with content came, how many there were, and what the server says of
//! tokens in its last events. Of an answer in one piece: what the server says near its end. Nothing is parsed but
//! those few bytes, and what is kept does not grow with the answer.
//!
//! Looking for `"usage"` in raw bytes is safe: inside a JSON text the quotes would have a backslash before them.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use memchr::memmem::{self, Finder};
use serde::Deserialize;
use tokio::time::Instant;

/// How much of an answer's end is looked at: several times the longest tail of figures that vLLM and llama.cpp send.
const TAIL: usize = 4 << 10;
/// How much of a line that comes in pieces is kept until its rest is there.
const LINE: usize = 4 << 10;
/// Longer than any key that is looked for, with spaces: what is kept of a line that is too long.
const OVERLAP: usize = 64;
/// Below this a rate says more about buffers than about the model.
const SHORT: Duration = Duration::from_millis(5);

/// What was seen of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
    /// The tokens were counted by the events of the stream, not said by the server.
    pub(crate) counted: bool,
    /// From the lease to the first event with content.
    pub(crate) first_token: Option<Duration>,
    /// Between the first and the last token; for an answer in one piece what the server says.
    pub(crate) tokens_per_second: Option<f64>,
}

/// Looks at one answer.
pub(crate) struct Meter {
    kind: Kind,
    began: Instant,
    first: Option<Instant>,
    last: Option<Instant>,
    events: u64,
    /// What Anthropic's first event says, which its last need not repeat.
    opening: Usage,
    failed: bool,
    /// The rest of a line whose end is still to come, and whether content was seen in it.
    line: Vec<u8>,
    line_counts: bool,
    tail: Vec<u8>,
}

enum Kind {
    /// Compressed, or neither JSON nor events: nothing is looked at.
    Unknown,
    Json,
    Events(&'static Content),
}

/// Where an event has its content.
struct Content {
    /// What must stand before it.
    after: Option<Finder<'static>>,
    /// The keys whose value is content where it is a text that is not empty.
    keys: Vec<Finder<'static>>,
    /// The event whose figures are about the whole answer, where others have figures too.
    closing: Option<&'static str>,
}

/// In the order of [`Content::of`]. Made once: a searcher costs more than the search.
static CONTENTS: LazyLock<[Content; 4]> = LazyLock::new(|| {
    let delta = || Some(Finder::new("\"delta\""));
    let content = |after, keys: &[&'static str], closing| Content {
        after,
        keys: keys.iter().map(|key| Finder::new(*key)).collect(),
        closing,
    };
    [
        content(None, &["\"text\""], None),
        content(None, &["\"delta\""], None),
        content(delta(), &["\"text\"", "\"thinking\"", "\"partial_json\""], Some("\"message_delta\"")),
        content(delta(), &["\"content\"", "\"reasoning_content\"", "\"reasoning\"", "\"arguments\""], None),
    ]
});

impl Content {
    fn of(path: &str) -> &'static Self {
        let [completions, responses, messages, chat] = &*CONTENTS;
        match path {
            "/v1/completions" => completions,
            "/v1/responses" => responses,
            "/v1/messages" => messages,
            _ => chat,
        }
    }

    fn is_in(&self, line: &[u8]) -> bool {
        let from = match &self.after {
            None => Some(0),
            Some(after) => after.find(line),
        };
        let Some(rest) = from.and_then(|from| line.get(from..)) else { return false };
        self.keys.iter().any(|key| key.find_iter(rest).any(|at| is_text(&rest[at + key.needle().len()..])))
    }
}

/// Whether what follows a key is a text with something in it.
fn is_text(rest: &[u8]) -> bool {
    after_colon(rest)
        .is_some_and(|value| value.first() == Some(&b'"') && value.get(1).is_some_and(|&b| b != b'"'))
}

fn after_colon(rest: &[u8]) -> Option<&[u8]> {
    Some(rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start())
}

impl Meter {
    /// `headers`: of the answer. `began`: when the lease was had.
    pub(crate) fn new(path: &str, headers: &HeaderMap, began: Instant) -> Self {
        let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
        let kind = if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            Kind::Unknown
        } else if kind.starts_with(b"text/event-stream") {
            Kind::Events(Content::of(path))
        } else if kind.starts_with(b"application/json") {
            Kind::Json
        } else {
            Kind::Unknown
        };
        Self {
            kind,
            began,
            first: None,
            last: None,
            events: 0,
            opening: Usage::default(),
            failed: false,
            line: Vec::new(),
            line_counts: false,
            tail: Vec::new(),
        }
    }

    /// The next piece of the answer, wherever it is cut.
    pub(crate) fn see(&mut self, piece: &Bytes) {
        match &self.kind {
            Kind::Unknown => return,
            Kind::Json => {}
            Kind::Events(_) => {
                let events = self.events;
                self.lines(piece);
                if self.events > events {
                    let now = Instant::now();
                    self.first.get_or_insert(now);
                    self.last = Some(now);
                }
            }
        }
        self.keep(piece);
    }

    fn keep(&mut self, piece: &[u8]) {
        let piece = &piece[piece.len().saturating_sub(TAIL)..];
        if self.tail.len() + piece.len() > 2 * TAIL {
            let old = self.tail.len().saturating_sub(TAIL);
            self.tail.drain(..old);
        }
        self.tail.extend_from_slice(piece);
    }

    fn lines(&mut self, mut rest: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if self.line.is_empty() {
                self.line(&rest[..end], false);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&rest[..end]);
                self.line(&line, self.line_counts);
                line.clear();
                self.line = line;
                self.line_counts = false;
            }
            rest = &rest[end + 1..];
        }
        // A long piece of a line is looked at where it is, and not kept.
        if self.line.is_empty() && rest.len() > LINE {
            return self.cut(rest);
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > LINE {
            let line = std::mem::take(&mut self.line);
            self.cut(&line);
        }
    }

    /// A line that is too long to be kept until its end: what comes of it later is still the same event.
    fn cut(&mut self, line: &[u8]) {
        let events = self.events;
        self.line(line, self.line_counts);
        self.line_counts |= self.events > events;
        let start = if line.starts_with(b"data:") { "data:" } else { ":" };
        self.line.extend_from_slice(start.as_bytes());
        self.line.extend_from_slice(&line[line.len() - OVERLAP..]);
    }

    /// One line of the stream. `counted`: its content is already.
    fn line(&mut self, line: &[u8], counted: bool) {
        let Some(data) = line.strip_prefix(b"data:") else {
            self.failed |= line.starts_with(b"event: error") || line.starts_with(b"event: response.failed");
            return;
        };
        if counted {
            return;
        }
        self.failed |= data.trim_ascii_start().starts_with(b"{\"error\"");
        let Kind::Events(content) = &self.kind else { return };
        if content.is_in(data) {
            self.events += 1;
        } else if self.events == 0
            && let Some(opening) = Usage::last_in(data)
        {
            self.opening = opening;
        }
    }

    /// The end of the answer, where its figures are about the whole of it.
    fn closing(&self) -> Option<&[u8]> {
        match &self.kind {
            Kind::Events(Content { closing: Some(event), .. }) => {
                memmem::rfind(&self.tail, event.as_bytes()).and_then(|at| self.tail.get(at..))
            }
            _ => Some(&self.tail),
        }
    }

    /// The agent said in its stream that it failed.
    pub(crate) fn failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn seen(&self) -> Seen {
        let last = self.closing().and_then(Usage::last_in).unwrap_or_default();
        let timings = Timings::last_in(&self.tail).unwrap_or_default();
        let said = last.completion().or(timings.predicted_n);
        let counted = said.is_none() && self.events > 0;
        let completion_tokens = said.or((self.events > 0).then_some(self.events));
        let spent = self.last.zip(self.first).map(|(last, first)| last.duration_since(first));
        let measured =
            spent.filter(|spent| *spent >= SHORT).zip(completion_tokens).and_then(|(spent, tokens)| {
                #[allow(clippy::cast_precision_loss, reason = "no answer has 2^52 tokens")]
                (tokens > 1).then(|| (tokens - 1) as f64 / spent.as_secs_f64())
            });
        Seen {
            prompt_tokens: last.prompt().or(self.opening.prompt()).or_else(|| timings.prompt()),
            completion_tokens,
            counted,
            first_token: self.first.map(|first| first.saturating_duration_since(self.began)),
            tokens_per_second: measured
                .or(timings.predicted_per_second.filter(|rate| rate.is_finite() && *rate > 0.0)),
        }
    }
}

/// OpenAI's names for tokens, and Anthropic's.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[allow(clippy::struct_field_names, reason = "the servers' own names")]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    /// Anthropic does not count these among the input tokens.
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

impl Usage {
    fn last_in(tail: &[u8]) -> Option<Self> {
        last(tail, b"\"usage\"")
    }

    fn prompt(&self) -> Option<u64> {
        let cached = [self.cache_read_input_tokens, self.cache_creation_input_tokens];
        let cached: u64 = cached.into_iter().flatten().fold(0, u64::saturating_add);
        self.prompt_tokens.or(self.input_tokens.map(|input| input.saturating_add(cached)))
    }

    fn completion(&self) -> Option<u64> {
        self.completion_tokens.or(self.output_tokens)
    }
}

/// llama.cpp's own.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Timings {
    prompt_n: Option<u64>,
    cache_n: Option<u64>,
    predicted_n: Option<u64>,
    predicted_per_second: Option<f64>,
}

impl Timings {
    fn last_in(tail: &[u8]) -> Option<Self> {
        last(tail, b"\"timings\"")
    }

    fn prompt(&self) -> Option<u64> {
        self.prompt_n.map(|read| read.saturating_add(self.cache_n.unwrap_or(0)))
    }
}

/// The value of the last `key` that has an object for its value.
fn last<T: for<'de> Deserialize<'de>>(tail: &[u8], key: &[u8]) -> Option<T> {
    // From the front, which is several times faster than from the back; there is seldom more than one.
    let found = memmem::find_iter(tail, key).filter_map(|at| after_colon(&tail[at + key.len()..]));
    let value = found.filter(|value| value.starts_with(b"{")).last()?;
    serde_json::Deserializer::from_slice(value).into_iter().next()?.ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const CHAT: &str = "/v1/chat/completions";

    fn meter(path: &str, kind: &'static str) -> Meter {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Meter::new(path, &headers, Instant::now())
    }

    /// The events with content, the prompt's and the answer's tokens, in pieces of any size.
    fn check(path: &str, stream: &str, events: u64, prompt: Option<u64>, completion: Option<u64>) {
        for piece in [1, 2, 7, 64, 1000, 5000, usize::MAX] {
            let mut meter = meter(path, "text/event-stream; charset=utf-8");
            for piece in stream.as_bytes().chunks(piece.min(stream.len().max(1))) {
                meter.see(&Bytes::copy_from_slice(piece));
            }
            let seen = meter.seen();
            let head: String = stream.chars().take(200).collect();
            let got = (meter.events, seen.prompt_tokens, seen.completion_tokens);
            assert_eq!(got, (events, prompt, completion), "{head} in pieces of {piece}");
            assert_eq!(seen.first_token.is_some(), events > 0);
        }
    }

    #[test]
    fn events_with_content_are_told_from_others() {
        let chat = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n");
        for (delta, events) in [
            (r#"{"role":"assistant","content":""}"#, 0),
            (r#"{"content":"a"}"#, 1),
            (r#"{ "content" : "a" }"#, 1),
            (r#"{"content":null}"#, 0),
            (r#"{"content":null,"reasoning_content":"hm"}"#, 1),
            (r#"{"content":"","reasoning":"hm"}"#, 1),
            (r#"{"content":"a","reasoning_content":"b"}"#, 1),
            (r#"{"tool_calls":[{"function":{"name":"f","arguments":""}}]}"#, 0),
            (r#"{"tool_calls":[{"function":{"arguments":"{\"content\":\"x\"}"}}]}"#, 1),
            (r#"{"refused":"\"content\":\"x\""}"#, 0),
            ("{}", 0),
        ] {
            check(CHAT, &chat(delta), events, None, (events > 0).then_some(events));
        }
        check(CHAT, &": ping\n\n".repeat(2000), 0, None, None);
        check(CHAT, "data: [DONE]\n\n", 0, None, None);
        check("/v1/completions", "data: {\"choices\":[{\"text\":\" a\"}]}\n\n", 1, None, Some(1));
        let long = format!(r#"{{"content":"{}"}}"#, "x".repeat(50_000));
        check(CHAT, &(chat(&long) + &chat(r#"{"content":"a"}"#)), 2, None, Some(2));
    }

    #[test]
    fn what_the_server_says_wins_over_what_was_counted() {
        let one = r#"data: {"choices":[{"delta":{"content":"a"}}],"usage":null}"#;
        let usage = r#"data: {"choices":[],"usage":{"prompt_tokens":34,"completion_tokens":24}}"#;
        check(CHAT, &format!("{one}\n\n{usage}\n\ndata: [DONE]\n\n"), 1, Some(34), Some(24));
        let lies = r#"data: {"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":"many"}}"#;
        check(CHAT, &format!("{one}\n\n{lies}\n\n"), 1, None, Some(1));
        let wide = format!(
            r#"data: {{"x":"{}","usage" : {{"input_tokens":3,"output_tokens":4}}}}"#,
            "y".repeat(9000)
        );
        check("/v1/responses", &format!("{wide}\n\n"), 0, Some(3), Some(4));
        // A stream of Anthropic's that breaks off has only its opening figures.
        let start = r#"data: {"type":"message_start","message":{"usage":{"cache_read_input_tokens":33,"input_tokens":1,"output_tokens":0}}}"#;
        let delta = r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"The"}}"#;
        let end = r#"data: {"type":"message_delta","delta":{},"usage":{"output_tokens":8}}"#;
        check("/v1/messages", &format!("{start}\n\n{delta}\n\n{delta}\n\n"), 2, Some(34), Some(2));
        check("/v1/messages", &format!("{start}\n\n{delta}\n\n{end}\n\n"), 1, Some(34), Some(8));
    }

    #[test]
    fn what_is_kept_does_not_grow() {
        let mut meter = meter(CHAT, "text/event-stream");
        let event = Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
        for _ in 0..200_000 {
            meter.see(&event);
        }
        assert_eq!(meter.events, 200_000);
        meter.see(&Bytes::from(vec![b'x'; 10 << 20]));
        assert!(meter.tail.capacity() + meter.line.capacity() < 8 * TAIL + (11 << 20));
        meter.see(&Bytes::from_static(b"x"));
        assert!(meter.tail.capacity() <= 4 * TAIL, "{}", meter.tail.capacity());
        assert!(meter.line.capacity() <= 4 * LINE, "{}", meter.line.capacity());
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_between_the_first_and_the_last_token() {
        let mut meter = meter(CHAT, "text/event-stream");
        for _ in 0..11 {
            tokio::time::advance(Duration::from_millis(100)).await;
            meter.see(&Bytes::from_static(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"));
        }
        tokio::time::advance(Duration::from_secs(5)).await;
        let seen = meter.seen();
        assert_eq!(seen.first_token, Some(Duration::from_millis(100)));
        assert_eq!(seen.tokens_per_second, Some(10.0));
        assert!(seen.counted);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_fall_over(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)) {
            for kind in ["text/event-stream", "application/json", "text/plain"] {
                for path in [CHAT, "/v1/messages", "/v1/responses", "/v1/completions"] {
                    let mut meter = meter(path, kind);
                    for piece in &pieces {
                        meter.see(&Bytes::copy_from_slice(piece));
                    }
                    meter.seen();
                }
            }
        }
    }
}
