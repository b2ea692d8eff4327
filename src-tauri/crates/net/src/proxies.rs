//! The proxies that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and what `NO_PROXY` leaves out, each
//! in large or small letters. The small ones come first, as in curl.
//!
//! What goes to an `https` address goes through a proxy by `CONNECT`: it sees the host's name, and neither paths nor
//! headers nor a token. Loopback is never reached through one, whatever the environment says.

use reqwest::{ClientBuilder, NoProxy, Proxy, Url};

type Make = fn(Url) -> reqwest::Result<Proxy>;

/// What is on this machine, in the words of `NO_PROXY`.
const HERE: &str = "localhost,127.0.0.0/8,::1";
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// A variable that names no proxy that could be used. What it holds is not shown: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadProxy {
    /// "HTTPS_PROXY".
    pub variable: String,
}

/// Through what servers elsewhere are reached.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<Proxy>);

impl Proxies {
    /// Every server is reached directly.
    pub fn none() -> Self {
        Self::default()
    }

    /// By the environment of this process.
    ///
    /// # Errors
    /// A variable that holds no address of a proxy: of http, https or SOCKS.
    pub fn of_environment() -> Result<Self, BadProxy> {
        Self::of(|name| std::env::var(name).ok())
    }

    /// By variables that are told.
    ///
    /// # Errors
    /// As [`Proxies::of_environment`].
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self, BadProxy> {
        let find = |names: [&'static str; 2]| {
            names.into_iter().find_map(|n| Some((n, variable(n).filter(|v| !v.trim().is_empty())?)))
        };
        let left_out = find(["no_proxy", "NO_PROXY"]).map_or_else(String::new, |(_, list)| list);
        if left_out.split(',').any(|entry| entry.trim() == "*") {
            return Ok(Self::none());
        }
        let no_proxy = NoProxy::from_string(&format!("{left_out},{HERE}"));
        let wanted: [([&'static str; 2], Make); 3] = [
            (["https_proxy", "HTTPS_PROXY"], Proxy::https),
            (["http_proxy", "HTTP_PROXY"], Proxy::http),
            // Last: the first that takes an address has it.
            (["all_proxy", "ALL_PROXY"], Proxy::all),
        ];
        let mut proxies = Vec::new();
        for (names, make) in wanted {
            let Some((name, value)) = find(names) else { continue };
            let bad = || BadProxy { variable: name.to_owned() };
            let proxy = make(address(&value).ok_or_else(bad)?).map_err(|_| bad())?;
            proxies.push(proxy.no_proxy(no_proxy.clone()));
        }
        Ok(Self(proxies))
    }

    pub(crate) fn on(&self, builder: ClientBuilder) -> ClientBuilder {
        self.0.iter().cloned().fold(builder, ClientBuilder::proxy)
    }
}

/// "proxy.lan:3128" is one of http.
fn address(value: &str) -> Option<Url> {
    let value = value.trim();
    let url = if value.contains("://") { Url::parse(value) } else { Url::parse(&format!("http://{value}")) };
    url.ok().filter(|url| SCHEMES.contains(&url.scheme()) && url.has_host())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn of(variables: &[(&str, &str)]) -> Result<Proxies, BadProxy> {
        let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
        Proxies::of(|name| variables.get(name).map(|v| (*v).to_owned()))
    }

    /// A proxy, or a server, that says what it got. To `CONNECT` it says yes, reads on, and hangs up.
    fn listens() -> (String, Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut got = head(&mut stream);
                if got.starts_with(b"CONNECT ") {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                    let mut hello = vec![0; 4096];
                    let read = stream.read(&mut hello).unwrap_or(0);
                    got.extend_from_slice(&hello[..read]);
                } else if got.first() != Some(&5) {
                    let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
                }
                let _ = tell.send(got);
            }
        });
        (address, told)
    }

    /// The head of a request, or the first byte of one in SOCKS 5.
    fn head(stream: &mut TcpStream) -> Vec<u8> {
        let (mut got, mut byte) = (Vec::new(), [0]);
        while !got.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
            got.push(byte[0]);
            if got == [5] {
                break;
            }
        }
        got
    }

    async fn ask(client: ClientBuilder, url: &str) -> Option<u16> {
        let client = client.connect_timeout(PATIENCE).build().unwrap();
        let asked = client.get(url).header("authorization", "Bearer hf_marked").send().await;
        asked.ok().map(|answer| answer.status().as_u16())
    }

    #[tokio::test]
    async fn https_goes_through_a_tunnel_and_the_token_is_not_seen_in_it() {
        let (proxy, told) = listens();
        for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
            let proxies = of(&[(variable, &format!("http://{proxy}"))]).unwrap();
            assert_eq!(ask(crate::verified(&proxies), "https://hub.example/api/models/x").await, None);
            let got = told.recv_timeout(PATIENCE).unwrap();
            assert!(got.starts_with(b"CONNECT hub.example:443 HTTP/1.1\r\n"), "{variable}: {got:?}");
            let shown = String::from_utf8_lossy(&got);
            assert!(!shown.contains("hf_marked") && !shown.contains("/api/models"), "{variable}: {shown}");
            let end = got.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            // The hello of TLS comes through it: what follows is for the server alone.
            assert_eq!(got[end..end + 2], [0x16, 0x03], "{variable}");
        }
    }

    #[tokio::test]
    async fn http_is_handed_to_the_proxy_with_its_name_and_password() {
        let (proxy, told) = listens();
        let proxies = of(&[("http_proxy", &format!("me:secret@{proxy}"))]).unwrap();
        assert_eq!(ask(crate::verified(&proxies), "http://mirror.example/x").await, Some(204));
        let got = String::from_utf8(told.recv_timeout(PATIENCE).unwrap()).unwrap();
        assert!(got.starts_with("GET http://mirror.example/x HTTP/1.1\r\n"), "{got}");
        assert!(got.to_lowercase().contains("proxy-authorization: basic bwu6c2vjcmv0"), "{got}");
    }

    #[tokio::test]
    async fn a_proxy_may_speak_socks() {
        let (proxy, told) = listens();
        let proxies = of(&[("ALL_PROXY", &format!("socks5h://{proxy}"))]).unwrap();
        assert_eq!(ask(crate::verified(&proxies), "https://hub.example/").await, None);
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), [5]);
    }

    #[tokio::test]
    async fn this_machine_is_never_reached_through_one() {
        let (proxy, told) = listens();
        let (server, asked) = listens();
        let port = server.rsplit(':').next().unwrap();
        let through = format!("http://{proxy}");
        let all =
            of(&[("ALL_PROXY", &through), ("HTTP_PROXY", &through), ("HTTPS_PROXY", &through)]).unwrap();
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("http://{host}:{port}/");
            assert_eq!(ask(crate::verified(&all), &url).await, Some(204), "{host}");
            assert!(asked.recv_timeout(PATIENCE).unwrap().starts_with(b"GET / HTTP/1.1"));
        }
        for nowhere in ["http://127.0.0.9:1/", "http://[::1]:1/", "https://127.8.8.8:1/"] {
            assert_eq!(ask(crate::verified(&all), nowhere).await, None, "{nowhere}");
        }
        // Nor anything by the client for this machine's own servers, which the environment does not concern.
        assert_eq!(ask(crate::plain(), &format!("http://{server}/")).await, Some(204));
        assert!(told.try_recv().is_err(), "the proxy was asked");
    }

    #[tokio::test]
    async fn what_is_left_out_is_reached_directly() {
        let (proxy, told) = listens();
        let through = format!("http://{proxy}");
        for list in ["hub.invalid", ".invalid, 10.0.0.0/8", "*", "a.b, *", " invalid "] {
            for variable in ["NO_PROXY", "no_proxy"] {
                let proxies = of(&[("ALL_PROXY", &through), (variable, list)]).unwrap();
                assert_eq!(ask(crate::verified(&proxies), "http://hub.invalid/").await, None, "{list}");
            }
        }
        assert!(told.try_recv().is_err(), "the proxy was asked");
        let proxies = of(&[("ALL_PROXY", &through), ("NO_PROXY", "other.invalid")]).unwrap();
        assert_eq!(ask(crate::verified(&proxies), "http://hub.invalid/").await, Some(204));
    }

    #[test]
    fn what_is_no_proxy_is_said_by_its_name_alone() {
        for value in ["http://", "://x", "ftp://me:secret@proxy.lan", "http://me:secret@proxy.lan:99999"] {
            let bad = of(&[("HTTPS_PROXY", value)]).unwrap_err();
            assert_eq!(bad, BadProxy { variable: "HTTPS_PROXY".to_owned() }, "{value}");
        }
        for nothing in ["", "  "] {
            assert!(of(&[("HTTPS_PROXY", nothing)]).unwrap().0.is_empty());
        }
        // Small letters come first.
        assert!(of(&[("https_proxy", "proxy.lan:3128"), ("HTTPS_PROXY", "ftp://x")]).is_ok());
    }
}
