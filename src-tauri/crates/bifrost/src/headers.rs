//! Which headers pass.

use bytes::Bytes;
use domain::secret::Secret;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Set on the gateway's own answers, so that a client can tell them from an agent's.
pub(crate) const ORIGIN_OF_ANSWER: HeaderName = HeaderName::from_static("x-asgard-origin");

/// What belongs to one connection and not to the message (RFC 9110, 7.6.1), beside what `Connection` names.
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// What a client tells the gateway and not the agent. `Content-Length` is written anew for the same bytes, `Expect`
/// was answered here, and a key for another service is nobody's business further on.
const NOT_FORWARDED: [HeaderName; 8] = [
    header::HOST,
    header::AUTHORIZATION,
    header::COOKIE,
    header::ORIGIN,
    header::CONTENT_LENGTH,
    header::EXPECT,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-asgard-face"),
];

/// Whether a header passes, given what `Connection` names.
fn passes(name: &HeaderName, named: &[HeaderValue]) -> bool {
    let name = name.as_str();
    let is_named = |value: &HeaderValue| {
        value.as_bytes().split(|&b| b == b',').any(|n| n.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    !HOP_BY_HOP.contains(&name) && !name.starts_with("proxy-") && !named.iter().any(is_named)
}

fn connection(headers: &HeaderMap) -> Vec<HeaderValue> {
    headers.get_all(header::CONNECTION).iter().cloned().collect()
}

/// What the agent is sent. `key` in place of whatever the client had for the gateway.
pub(crate) fn for_agent(client: &HeaderMap, key: &Secret) -> HeaderMap {
    let named = connection(client);
    // With room for the two that are added.
    let mut headers = HeaderMap::with_capacity(client.len() + 2);
    for (name, value) in client {
        if !NOT_FORWARDED.contains(name) && passes(name, &named) {
            headers.append(name, value.clone());
        }
    }
    if !key.is_empty()
        && let Ok(mut bearer) =
            HeaderValue::from_maybe_shared(Bytes::from(["Bearer ", key.reveal()].concat()))
    {
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    headers
}

/// What the client is sent. A server's CORS headers stay here: llama.cpp sends some to everybody, and they would open
/// to web pages what [`door`](crate::door) closes.
pub(crate) fn for_client(mut agent: HeaderMap) -> HeaderMap {
    let named = connection(&agent);
    let stays = |name: &HeaderName| {
        !passes(name, &named) || *name == ORIGIN_OF_ANSWER || name.as_str().starts_with("access-control-")
    };
    // Most answers have one that stays or two: they are taken out of what came.
    let stay: Vec<HeaderName> = agent.keys().filter(|name| stays(name)).cloned().collect();
    for name in stay {
        agent.remove(name);
    }
    agent
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_belongs_to_a_connection_stays_on_it() {
        let sent = map(&[
            ("connection", "keep-alive, X-Hop"),
            ("connection", "x-other"),
            ("x-hop", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "close"),
            ("host", "localhost"),
            ("authorization", "Bearer client"),
            ("x-api-key", "sk-ant"),
            ("cookie", "a=b"),
            ("origin", "http://localhost"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("content-type", "application/json"),
            ("accept-encoding", "gzip"),
            ("x-twice", "1"),
            ("x-twice", "2"),
        ]);
        let expected = map(&[
            ("content-type", "application/json"),
            ("accept-encoding", "gzip"),
            ("x-twice", "1"),
            ("x-twice", "2"),
            ("authorization", "Bearer agent"),
        ]);
        assert_eq!(for_agent(&sent, &Secret::new("agent")), expected);
        assert!(!for_agent(&sent, &Secret::default()).contains_key("authorization"));
    }

    #[test]
    fn an_answer_opens_nothing_to_web_pages_and_does_not_pose_as_ours() {
        let sent = map(&[
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("x-asgard-origin", "gateway"),
            ("keep-alive", "timeout=5, max=100"),
            ("content-length", "3"),
            ("server", "llama.cpp"),
        ]);
        assert_eq!(for_client(sent), map(&[("content-length", "3"), ("server", "llama.cpp")]));
    }
}
