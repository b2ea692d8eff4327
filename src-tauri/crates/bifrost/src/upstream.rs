//! One request to an agent, on a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A server on this machine takes a connection at once or not at all. After that nothing is timed.
const CONNECT: Duration = Duration::from_secs(5);

/// The connection under an answer. Dropping it closes it at once, which is how an agent learns that nobody listens any
/// more and stops generating.
pub(crate) struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends the bytes and waits for the head of the answer. The error is the rest of a sentence that starts with the
/// agent's name.
pub(crate) async fn ask(
    endpoint: &str,
    path_and_query: &str,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(Response<Incoming>, Connection), String> {
    let (authority, prefix) =
        parse(endpoint).ok_or_else(|| format!("has an address that is none: {endpoint:?}"))?;
    let connect = TcpStream::connect(&*authority);
    let stream = match tokio::time::timeout(CONNECT, connect).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(format!("cannot be reached at {authority} ({e})")),
        Err(_) => {
            return Err(format!("did not take a connection at {authority} within {} s", CONNECT.as_secs()));
        }
    };
    // Small chunks in both directions: waiting to fill a packet would be felt in every token.
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| format!("could not be spoken to at {authority} ({e})"))?;
    let connection = Connection(tokio::spawn(async move {
        // Its error reaches the reader of the answer too, who says it with the agent's name.
        let _ = connection.await;
    }));

    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("{prefix}{path_and_query}")
        .parse()
        .map_err(|e| format!("cannot be asked for this path ({e})"))?;
    *request.headers_mut() = headers;
    let host = HeaderValue::from_str(&authority).map_err(|e| format!("has an address that is none ({e})"))?;
    request.headers_mut().insert(HOST, host);
    let answer =
        sender.send_request(request).await.map_err(|e| format!("broke off before it answered ({e})"))?;
    if answer.status().is_informational() {
        return Err(format!("answered with {}, which is not an answer", answer.status()));
    }
    Ok((answer, connection))
}

/// `http://127.0.0.1:8001/prefix/` becomes `127.0.0.1:8001` and `/prefix`. Anything but plain HTTP is not spoken here.
fn parse(endpoint: &str) -> Option<(String, String)> {
    let uri: Uri = endpoint.parse().ok()?;
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let port = uri.port_u16().unwrap_or(80);
    Some((format!("{}:{port}", uri.host()?), uri.path().trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn an_endpoint_is_an_address_and_a_prefix() {
        let check = |endpoint: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(a, p)| (a.to_owned(), p.to_owned()));
            assert_eq!(parse(endpoint), expected, "{endpoint}");
        };
        check("http://127.0.0.1:8001", Some(("127.0.0.1:8001", "")));
        check("http://127.0.0.1:8001/", Some(("127.0.0.1:8001", "")));
        check("http://[::1]:8001/llm/", Some(("[::1]:8001", "/llm")));
        check("http://box", Some(("box:80", "")));
        check("https://127.0.0.1:8001", None);
        check("127.0.0.1:8001", None);
        check("", None);
    }
}
