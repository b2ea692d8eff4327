//! HTTP/1.1 to the letter that clients of the Hub need, on a bare connection: nothing between the Hub and the bytes
//! prevents it from misbehaving.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No client of ours sends more in a head or to the control paths.
const MOST_HEAD: usize = 64 << 10;
const MOST_BODY: usize = 1 << 20;

#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As it came: path and query.
    pub(crate) target: String,
    /// Decoded, without empty ones.
    pub(crate) segments: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    /// Names in small letters.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may be given more than once, also as `name[]`.
    pub(crate) fn parameters(&self, name: &str) -> Vec<&str> {
        let is = |n: &str| n == name || n.strip_suffix("[]") == Some(name);
        self.query.iter().filter(|(n, _)| is(n)).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.parameter(name).is_some_and(|v| !["", "0", "false", "False"].contains(&v))
    }

    pub(crate) fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// `bytes=A-B` as (A, B), with B past the last one; "bytes=-N" counts from the end. `None` for no or no such range.
    pub(crate) fn range(&self, size: u64) -> Option<Result<(u64, u64), ()>> {
        let text = self.header("range")?.strip_prefix("bytes=")?;
        let (from, to) = text.split_once('-')?;
        let read = |t: &str| t.trim().parse::<u64>().ok();
        let range = match (read(from), read(to)) {
            (Some(from), Some(to)) => (from, to.saturating_add(1).min(size)),
            (Some(from), None) if to.is_empty() => (from, size),
            (None, Some(last)) if from.is_empty() => (size.saturating_sub(last), size),
            _ => return None,
        };
        Some(if range.0 < range.1 { Ok(range) } else { Err(()) })
    }

    pub(crate) fn wants_close(&self) -> bool {
        self.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("close"))
    }
}

/// What comes in on a connection: bytes of the next request may follow those of this one.
#[derive(Debug, Default)]
pub(crate) struct Incoming(Vec<u8>);

impl Incoming {
    /// The next request; `None` where the client closed, or sends what is no request.
    pub(crate) async fn next(&mut self, stream: &mut TcpStream) -> io::Result<Option<Request>> {
        let head = loop {
            if let Some(end) = self.0.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.0.split_off(end + 4);
                break std::mem::replace(&mut self.0, rest);
            }
            if self.0.len() > MOST_HEAD || stream.read_buf(&mut self.0).await? == 0 {
                return Ok(None);
            }
        };
        let Some(mut request) = parse(&String::from_utf8_lossy(&head)) else { return Ok(None) };
        let length = request.header("content-length").and_then(|l| l.parse::<usize>().ok()).unwrap_or(0);
        if length > MOST_BODY {
            return Ok(None);
        }
        while self.0.len() < length {
            if stream.read_buf(&mut self.0).await? == 0 {
                return Ok(None);
            }
        }
        let rest = self.0.split_off(length);
        request.body = std::mem::replace(&mut self.0, rest);
        Ok(Some(request))
    }
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((target.as_str(), ""));
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let pair = |text: &str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
    };
    Some(Request {
        method,
        segments: path.split('/').filter(|s| !s.is_empty()).map(decoded).collect(),
        query: query.split('&').filter(|p| !p.is_empty()).map(pair).collect(),
        headers,
        body: Vec::new(),
        target: target.clone(),
    })
}

/// Percent-encoding taken away.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = |at: usize| more.get(at).and_then(|b| char::from(*b).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, hex(0), hex(1)) {
            bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            rest = more.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encoding of everything but letters, digits and what `keep` holds.
pub(crate) fn encoded(text: &str, keep: &str) -> String {
    text.bytes()
        .map(|b| {
            let plain = b.is_ascii_alphanumeric() || b"-._~".contains(&b) || keep.as_bytes().contains(&b);
            if plain { char::from(b).to_string() } else { format!("%{b:02X}") }
        })
        .collect()
}

/// An answer without the bytes of a file.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn new(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("Content-Type", kind.to_owned())], body: body.into() }
    }

    pub(crate) fn json(value: &serde_json::Value) -> Self {
        Self::new(200, "application/json; charset=utf-8", value.to_string())
    }

    /// A refusal as the Hub words it: a code that programs look at, a message for people.
    pub(crate) fn refusal(status: u16, code: Option<&str>, message: &str) -> Self {
        let body = serde_json::json!({ "error": message }).to_string();
        let mut answer = Self::new(status, "application/json; charset=utf-8", body);
        if let Some(code) = code {
            answer = answer.with("X-Error-Code", code);
        }
        answer.with("X-Error-Message", message)
    }

    pub(crate) fn html(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/html; charset=utf-8", body)
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The first lines of an answer. Control characters in values (paths are hostile) are left out.
pub(crate) fn head(status: u16, headers: &[(&'static str, String)]) -> String {
    let mut text = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        let value: String = value.chars().filter(|c| !c.is_control()).collect();
        text.extend([name, ": ", &value, "\r\n"]);
    }
    text.push_str("\r\n");
    text
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        302 => "Found",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// Writes a whole answer.
pub(crate) async fn write(stream: &mut TcpStream, answer: &Answer, is_head: bool) -> io::Result<u64> {
    let mut headers = answer.headers.clone();
    headers.push(("Content-Length", answer.body.len().to_string()));
    let mut all = head(answer.status, &headers).into_bytes();
    if !is_head {
        all.extend_from_slice(&answer.body);
    }
    stream.write_all(&all).await?;
    Ok(if is_head { 0 } else { answer.body.len() as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_encoding_taken_away() {
        let request = parse(
            "GET /a/b/resolve/refs%2Fpr%2F1/x%20y.txt?expand=sha&expand%5B%5D=tags&q=a+b HTTP/1.1\r\nRange: bytes=5-\r\nHost: h\r\n\r\n",
        )
        .unwrap();
        assert_eq!(request.segments, ["a", "b", "resolve", "refs/pr/1", "x y.txt"]);
        assert_eq!(request.parameters("expand"), ["sha", "tags"]);
        assert_eq!(request.parameter("q"), Some("a b"));
        assert_eq!(request.range(10), Some(Ok((5, 10))));
        assert_eq!(request.range(5), Some(Err(())));
    }

    #[test]
    fn nothing_hostile_leaves_a_header() {
        assert!(!head(200, &[("X", "a\r\nSet-Cookie: b".to_owned())]).contains("\r\nSet-Cookie"));
        assert_eq!(decoded("%zz%2"), "%zz%2");
        assert_eq!(decoded(&encoded("ä /\r\n%", "")), "ä /\r\n%");
    }
}
