//! Who may come in: the checks that keep web pages away from the agents.
//!
//! A gateway on the loopback is reachable by every page that a browser on this machine shows. Two attacks follow, and
//! each has its check:
//!
//! - **DNS rebinding.** A page of evil.example has its name point at 127.0.0.1 after it was loaded; to the browser our
//!   answers are then of the page's own origin, and it may read them. Its requests still carry `Host: evil.example`,
//!   which a page cannot change. So `Host` must be a loopback name, and the port ours.
//! - **Requests across origins.** Any page may post a form or a text here without asking; it cannot read the answer,
//!   but a prompt would run, and an agent be woken. Such requests carry the page's `Origin`. So an `Origin`, where
//!   there is one, must be a page of this machine. Programs send none.
//!
//! No CORS header is ever sent, so that a preflight of another origin fails too.

use http::header::{HOST, ORIGIN};
use http::request::Parts;

const LOOPBACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Why a request is turned away, as a sentence for whoever looks at the log of an honest client.
pub(crate) fn look(request: &Parts, port: u16, allowed_hosts: &[String]) -> Result<(), String> {
    let mut hosts = request.headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    let named = request.uri.authority().map(http::uri::Authority::as_str);
    let fine = |host: &str| host_is_ours(host, port, allowed_hosts);
    if hosts.next().is_some() || !host.is_some_and(fine) || !named.is_none_or(fine) {
        let host = host.unwrap_or_default();
        return Err(format!("Requests for the host {host:?} are not taken here."));
    }
    let origins = request.headers.get_all(ORIGIN);
    if let Some(foreign) = origins.iter().find(|origin| !origin.to_str().is_ok_and(origin_is_local)) {
        return Err(format!("Requests of the web page {foreign:?} are not taken here."));
    }
    Ok(())
}

fn host_is_ours(host: &str, port: u16, allowed: &[String]) -> bool {
    let (name, given) = split_port(host);
    let known = LOOPBACK.iter().any(|ours| name.eq_ignore_ascii_case(ours))
        || allowed.iter().any(|ours| name.eq_ignore_ascii_case(ours));
    known && given.is_none_or(|given| given.parse() == Ok(port) && !given.starts_with('+'))
}

/// Pages that this machine serves to itself, and the window. Another port is fine: it is another program of the user.
fn origin_is_local(origin: &str) -> bool {
    if origin == "tauri://localhost" {
        return true;
    }
    let Some((name, port)) = origin.strip_prefix("http://").map(split_port) else { return false };
    LOOPBACK.contains(&name) && port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
}

/// `name:port` apart; a bracketed address keeps its colons.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let after_bracket = text.rfind(']').unwrap_or(0);
    match text[after_bracket..].find(':') {
        Some(at) => (&text[..after_bracket + at], Some(&text[after_bracket + at + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: &str, headers: &[(&str, &str)], open: bool) {
        let mut request = http::Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let verdict = look(&parts, 8899, &["nas.home".to_owned()]);
        assert_eq!(verdict.is_ok(), open, "{target} {headers:?}: {verdict:?}");
    }

    #[test]
    fn only_our_own_names_are_hosts() {
        for host in [
            "127.0.0.1:8899",
            "127.0.0.1",
            "localhost:8899",
            "LocalHost",
            "[::1]:8899",
            "[::1]",
            "nas.home:8899",
        ] {
            check("/v1/models", &[("host", host)], true);
        }
        for host in [
            "evil.com",
            "evil.com:8899",
            "localhost.evil.com",
            "127.0.0.1.evil.com:8899",
            "127.0.0.1:80",
            "localhost:",
            "localhost:+8899",
            "127.0.0.1:8899:8899",
            "user@127.0.0.1:8899",
            "0.0.0.0:8899",
            "127.1:8899",
            "::1",
            "",
            "[::1]evil:8899",
            "[::2]:8899",
            "localhost ",
            "evil.com]127.0.0.1",
        ] {
            check("/v1/models", &[("host", host)], false);
        }
        check("/v1/models", &[], false);
        check("/v1/models", &[("host", "localhost"), ("host", "localhost")], false);
        check("http://evil.com/v1/models", &[("host", "localhost")], false);
        check("http://localhost:8899/v1/models", &[("host", "localhost:8899")], true);
    }

    #[test]
    fn only_pages_of_this_machine_are_origins() {
        let host = ("host", "localhost:8899");
        for origin in ["http://127.0.0.1", "http://localhost:3000", "http://[::1]:5173", "tauri://localhost"]
        {
            check("/v1/models", &[host, ("origin", origin)], true);
        }
        for origin in [
            "https://evil",
            "http://evil",
            "null",
            "",
            "https://localhost",
            "http://localhost.evil.com",
            "http://localhost:3000@evil",
            "http://localhost:",
            "http://localhost/",
            "tauri://evil",
            "file://",
            "http://127.0.0.1:80 http://evil",
            "HTTP://localhost",
            "http://nas.home",
        ] {
            check("/v1/models", &[host, ("origin", origin)], false);
        }
        check("/v1/models", &[host, ("origin", "http://localhost"), ("origin", "https://evil")], false);
    }
}
