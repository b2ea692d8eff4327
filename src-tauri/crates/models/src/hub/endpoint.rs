//! Which hub: an address that a token may be sent to.

use std::net::IpAddr;
use std::time::Duration;

use domain::secret::Secret;
use reqwest::Url;
use reqwest::redirect::Policy;

use super::Hub;

/// Where models are when nobody says otherwise.
pub const PUBLIC: &str = "https://huggingface.co";

/// A connection that is not made by then is tried again by whoever wants it.
const CONNECT: Duration = Duration::from_secs(10);
/// Silence in the middle of an answer, after which it counts as broken off.
const SILENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    #[error("{0:?} is no address of a Hub.")]
    NoAddress(String),
    #[error("The Hub's address holds a name or password.")]
    UserInfo,
    #[error("{0} is not on this machine, and http to it can be read and changed on the way.")]
    Clear(String),
    #[error("{0} names no proxy that could be used.")]
    Proxy(String),
    #[error("The HTTP client could not be made: {0}.")]
    Client(String),
}

impl BadEndpoint {
    pub fn next(&self) -> &'static str {
        match self {
            Self::NoAddress(_) => {
                "Set HF_ENDPOINT to an address like https://huggingface.co, or take it away."
            }
            Self::UserInfo => "Take them out of HF_ENDPOINT, and add a token instead.",
            Self::Clear(_) => "Use https.",
            Self::Proxy(_) => "Set it to an address like http://proxy.example:3128, or take it away.",
            Self::Client(_) => {
                "Restart Asgard; if it happens again, the machine is out of memory or of open files."
            }
        }
    }
}

impl Hub {
    /// A hub at `endpoint`, over https, or over http on this machine.
    ///
    /// # Errors
    /// An address that is none, that holds a password, or that nobody should send a token to.
    pub fn new(endpoint: &str, token: Option<Secret>) -> Result<Self, BadEndpoint> {
        let (url, clear) = parse(endpoint)?;
        if clear {
            return Err(BadEndpoint::Clear(shown_host(&url)));
        }
        make(&url, token)
    }

    /// The hub that the person's own `HF_ENDPOINT` names. Http to another machine is taken at their word, but a token
    /// is not sent that way.
    ///
    /// # Errors
    /// As [`Hub::new`], but for http.
    pub fn mirror(endpoint: &str, token: Option<Secret>) -> Result<Self, BadEndpoint> {
        let (url, clear) = parse(endpoint)?;
        make(&url, token.filter(|_| !clear))
    }

    /// "huggingface.co", for a person.
    pub fn host(&self) -> String {
        Url::parse(&self.endpoint).map_or_else(|_| self.endpoint.clone(), |url| shown_host(&url))
    }
}

/// The address, and whether what is sent there can be read on the way.
fn parse(endpoint: &str) -> Result<(Url, bool), BadEndpoint> {
    let none = || BadEndpoint::NoAddress(endpoint.chars().filter(|c| !c.is_control()).take(120).collect());
    let url = Url::parse(endpoint.trim()).map_err(|_| none())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadEndpoint::UserInfo);
    }
    if !matches!(url.scheme(), "https" | "http")
        || !url.has_host()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(none());
    }
    let clear = is_clear(&url);
    Ok((url, clear))
}

/// Whether others can read what is sent there.
pub(super) fn is_clear(url: &Url) -> bool {
    url.scheme() != "https" && !is_here(url)
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(crate) fn shown_host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn make(url: &Url, token: Option<Secret>) -> Result<Hub, BadEndpoint> {
    let proxies = net::Proxies::of_environment().map_err(|bad| BadEndpoint::Proxy(bad.variable))?;
    let http = net::verified(&proxies)
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .pool_idle_timeout(Duration::from_secs(20))
        .user_agent(concat!("asgard/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| BadEndpoint::Client(e.to_string()))?;
    let endpoint = url.as_str().trim_end_matches('/').to_owned();
    Ok(Hub { endpoint, token: token.filter(|t| !t.is_empty()), http, offline: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_checked_before_a_token_goes_there() {
        let token = || Some(Secret::new("hf_x"));
        for (text, endpoint) in [
            ("https://huggingface.co", "https://huggingface.co"),
            ("https://huggingface.co//", "https://huggingface.co"),
            (" https://mirror.example/hub/ ", "https://mirror.example/hub"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
            ("http://localhost:1", "http://localhost:1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            let hub = Hub::new(text, token()).unwrap();
            assert_eq!(hub.endpoint, endpoint, "{text}");
            assert!(hub.token.is_some());
        }
        let none = |text: &str| BadEndpoint::NoAddress(text.to_owned());
        for (text, error) in [
            ("", none("")),
            ("huggingface.co", none("huggingface.co")),
            ("ftp://a.b", none("ftp://a.b")),
            ("file:///etc/passwd", none("file:///etc/passwd")),
            ("https://a.b/?x=1", none("https://a.b/?x=1")),
            ("https://me:secret@a.b", BadEndpoint::UserInfo),
            ("http://mirror.lan:80", BadEndpoint::Clear("mirror.lan".to_owned())),
            ("http://127.0.0.1.evil.example", BadEndpoint::Clear("127.0.0.1.evil.example".to_owned())),
        ] {
            let found = Hub::new(text, token()).unwrap_err();
            assert_eq!(found, error, "{text}");
            assert!(!found.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_mirror_of_the_persons_own_may_be_in_the_clear_without_the_token() {
        let hub = Hub::mirror("http://mirror.lan:8080/", Some(Secret::new("hf_x"))).unwrap();
        assert_eq!((hub.endpoint.as_str(), hub.token.is_none()), ("http://mirror.lan:8080", true));
        assert_eq!(hub.host(), "mirror.lan:8080");
        assert!(Hub::mirror("https://mirror.lan", Some(Secret::new("hf_x"))).unwrap().token.is_some());
        assert!(Hub::mirror("https://mirror.lan", Some(Secret::new(""))).unwrap().token.is_none());
        assert!(Hub::mirror("javascript:alert(1)", None).is_err());
    }
}
