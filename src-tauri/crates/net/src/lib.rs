//! How Asgard speaks HTTP: the one place where clients are made and TLS is chosen.
//!
//! TLS is rustls with ring, given to each client as a finished configuration. Nothing is installed for the whole
//! process, so no client depends on what another one did first; the price is that `reqwest::Client::new()` has no
//! provider and panics, which `clippy.toml` keeps anybody from writing.
//!
//! A client for servers elsewhere goes through the environment's proxies ([`Proxies`]), one for this machine's own
//! servers never. Deliberately absent: HTTP/2 and cookies.

mod proxies;

use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

pub use proxies::{BadProxy, Proxies};

/// For this machine's own servers: agents, engines, the gateway. It trusts no certificate, so `https` fails in the
/// handshake, and nothing is read from the disk to make it. No proxy of the environment's is asked, ever.
pub fn plain() -> ClientBuilder {
    with(nobody(&provider()))
}

/// For servers elsewhere: their certificates are checked against those that the system trusts, an administrator's own
/// included. Where the system has none at all, `https` fails in the handshake and `http` works. It goes through
/// `proxies`, but for what is on this machine.
pub fn verified(proxies: &Proxies) -> ClientBuilder {
    let provider = provider();
    let config = Verifier::new(Arc::clone(&provider)).ok().and_then(|verifier| {
        let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .ok()?;
        let checked = versions.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        Some(checked.with_no_client_auth())
    });
    proxies.on(with(config.or_else(|| nobody(&provider))))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Trusts nobody.
fn nobody(provider: &Arc<CryptoProvider>) -> Option<ClientConfig> {
    let roots = RootCertStore::empty();
    let config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Some(config)
}

fn with(config: Option<ClientConfig>) -> ClientBuilder {
    #[expect(clippy::disallowed_methods, reason = "this is the place that the others are sent to")]
    let builder = reqwest::Client::builder().no_proxy();
    match config {
        Some(mut config) => {
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            builder.tls_backend_preconfigured(config)
        }
        // Never with ring, which has every version. reqwest says it as an error of `build`, not as a panic.
        None => builder.tls_backend_preconfigured(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// What a server got first from a client that asked for `scheme://`, and whether the client had an answer.
    async fn first_bytes(client: reqwest::Client, scheme: &str) -> (Vec<u8>, Result<u16, reqwest::Error>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://localhost:{}/", listener.local_addr().unwrap().port());
        let server = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = vec![0; 4096];
            let read = stream.read(&mut bytes).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
            bytes.truncate(read);
            bytes
        });
        let answer = client.get(url).send().await.map(|a| a.status().as_u16());
        (server.await.unwrap(), answer)
    }

    #[tokio::test]
    async fn both_clients_are_made_without_a_provider_for_the_process() {
        for builder in [super::plain(), super::verified(&super::Proxies::none())] {
            let client = builder.build().unwrap();
            let (sent, answer) = first_bytes(client.clone(), "http").await;
            assert!(sent.starts_with(b"GET / HTTP/1.1"));
            assert_eq!(answer.unwrap(), 204);
            let (sent, answer) = first_bytes(client, "https").await;
            // A handshake of TLS, version 3.x in the record, and no request in the clear.
            assert_eq!(sent[..2], [0x16, 0x03]);
            assert!(answer.is_err());
        }
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }
}
