//! A real registry on the loopback, behind a door whose pace a test sets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness: what fails here fails the test"
)]

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::household::free_port;

const MANIFESTS: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

pub struct Registry {
    _folder: tempfile::TempDir,
    child: Child,
    /// "127.0.0.1:PORT": the door's.
    pub address: String,
    pause: Arc<AtomicU64>,
}

impl Registry {
    /// Starts Debian's `docker-registry` and returns when it answers.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("asgard-registry-").tempdir_in("/tmp").unwrap();
        let own = free_port();
        let configuration = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:{own}\"}}\n",
            folder.path().join("data").display()
        );
        let file = folder.path().join("registry.yml");
        fs::write(&file, configuration).unwrap();
        let log = File::create(folder.path().join("registry.log")).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("docker-registry is installed");
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", own)).await.is_err() {
            assert!(Instant::now() < deadline, "the registry did not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let door = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = door.local_addr().unwrap().to_string();
        let pause = Arc::new(AtomicU64::new(0));
        let pace = Arc::clone(&pause);
        tokio::spawn(async move {
            while let Ok((client, _)) = door.accept().await {
                tokio::spawn(pass(client, own, Arc::clone(&pace)));
            }
        });
        Self { _folder: folder, child, address, pause }
    }

    /// Milliseconds between pieces of 64 KB that it sends; 0 for as fast as it goes.
    pub fn pause(&self, milliseconds: u64) {
        self.pause.store(milliseconds, Ordering::Relaxed);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The digest under a tag, by its own interface.
    pub async fn digest(&self, repository: &str, tag: &str) -> String {
        let answer = self.manifest(repository, tag).await;
        answer.headers()["docker-content-digest"].to_str().unwrap().to_owned()
    }

    async fn manifest(&self, repository: &str, tag: &str) -> reqwest::Response {
        let url = format!("http://{}/v2/{repository}/manifests/{tag}", self.address);
        let answer = net::plain().build().unwrap().get(url).header("accept", MANIFESTS).send().await.unwrap();
        answer.error_for_status().unwrap()
    }

    /// Moves a tag to what another one names, as a push from elsewhere would.
    pub async fn retag(&self, repository: &str, from: &str, to: &str) {
        let manifest = self.manifest(repository, from).await;
        let kind = manifest.headers()["content-type"].to_str().unwrap().to_owned();
        let body = manifest.bytes().await.unwrap();
        let url = format!("http://{}/v2/{repository}/manifests/{to}", self.address);
        let put = net::plain().build().unwrap().put(url).header("content-type", kind).body(body);
        put.send().await.unwrap().error_for_status().unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One connection, there and back. Either end's end is the other's.
async fn pass(client: TcpStream, port: u16, pause: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    });
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from_server.read(&mut piece).await {
        if to_client.write_all(&piece[..read]).await.is_err() {
            break;
        }
        let pause = pause.load(Ordering::Relaxed);
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
    let _ = to_client.shutdown().await;
    up.abort();
}
