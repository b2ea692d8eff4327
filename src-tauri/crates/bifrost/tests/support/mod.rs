//! A gateway on a real port, agents that do exactly what a test writes, and clients that see every byte.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bifrost::{
    Asked, Bound, Client, Control, ControlAnswer, Dispatch, Gateway, Lease, Model, Presented, Record,
    Refusal, Settings, Waiting, Wanted, route,
};
use domain::schedule::Place;
use domain::secret::Secret;
use domain::{AgentName, AgentState};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Every wait ends: a test that hangs says where.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

pub const KEY: &str = "key-of-this-start";

/// Stands in for the rest of Asgard: gives leases, and hears when they come back.
pub struct Fake {
    pub models: Vec<Model>,
    endpoints: HashMap<String, String>,
    pub wanted: Mutex<Vec<Wanted>>,
    pub refuse: Mutex<Option<Refusal>>,
    max_seconds: Option<u64>,
    their_name: Option<String>,
    /// Nobody is given a lease at once: the queue of a busy agent, and who waits in it.
    pub queue: AtomicBool,
    pub waiting: Mutex<Vec<Waiter>>,
    pub records: Mutex<Vec<Record>>,
    /// With any of them a request has to bring one.
    keys: HashMap<&'static str, Client>,
    pub controlled: Mutex<Vec<Control>>,
    /// What the next control path is answered.
    pub control: Mutex<Option<ControlAnswer>>,
    returned: mpsc::UnboundedSender<&'static str>,
}

struct Told(&'static str, mpsc::UnboundedSender<&'static str>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.1.send(self.0);
    }
}

#[async_trait]
impl Dispatch for Fake {
    fn models(&self) -> Arc<[Model]> {
        self.models.clone().into()
    }

    fn admit(&self, presented: &Presented<'_>) -> Result<Client, Refusal> {
        if self.keys.is_empty() {
            let name = presented.user_agent.unwrap_or("unknown").into();
            return Ok(Client { name, person: false, agents: None });
        }
        let message = "The key is missing or unknown. Set one of [gateway] keys.".to_owned();
        presented.key.and_then(|key| self.keys.get(key)).cloned().ok_or(Refusal::NoKey { message })
    }

    async fn control(&self, what: Control, _: &Client) -> ControlAnswer {
        self.controlled.lock().unwrap().push(what);
        self.control.lock().unwrap().take().unwrap()
    }

    async fn status(&self) -> Value {
        json!({"active_profile": "standard"})
    }

    async fn metrics(&self) -> String {
        "bifrost_up 1\n".to_owned()
    }

    fn record(&self, record: Record) {
        self.records.lock().unwrap().push(record);
    }

    fn ask(&self, wanted: &Wanted) -> Asked {
        self.wanted.lock().unwrap().push(wanted.clone());
        if let Some(refusal) = self.refuse.lock().unwrap().clone() {
            return Asked::Refused(refusal);
        }
        let Some(at) = route(&self.models, &wanted.model) else {
            let message = format!("No agent is called {:?}.", wanted.model);
            return Asked::Refused(Refusal::UnknownModel { message });
        };
        if self.queue.load(Ordering::Relaxed) {
            let place = Place {
                agent: self.models[at].id.clone(),
                place: 1,
                stage: "Loading".to_owned(),
                seconds_left: Some(38.0),
            };
            let (places, place) = watch::channel(place);
            let (grant, outcome) = oneshot::channel();
            self.waiting.lock().unwrap().push(Waiter { places, grant });
            return Asked::Waiting(Waiting::new(1, place, outcome, Told("queue", self.returned.clone())));
        }
        Asked::Granted(self.lease_on(at))
    }
}

/// One that waits in the queue, in the hands of the test.
pub struct Waiter {
    pub places: watch::Sender<Place>,
    pub grant: oneshot::Sender<Result<Lease, Refusal>>,
}

impl Fake {
    /// A lease on the agent at this place.
    pub fn lease_on(&self, at: usize) -> Lease {
        let agent = self.models[at].id.clone();
        let endpoint = self.endpoints.get(agent.as_str()).cloned().unwrap_or_default();
        let guard = Told("lease", self.returned.clone());
        let mut lease = Lease::new(1, agent, endpoint, Secret::new(KEY), guard);
        lease.max_seconds = self.max_seconds;
        lease.model.clone_from(&self.their_name);
        lease
    }
}

pub struct Rig {
    pub address: SocketAddr,
    pub fake: Arc<Fake>,
    pub agent: Agent,
    returned: mpsc::UnboundedReceiver<&'static str>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
pub struct With {
    pub settings: Settings,
    pub max_seconds: Option<u64>,
    /// What the agent's server calls its model.
    pub their_name: Option<String>,
    pub queue: bool,
    pub keys: HashMap<&'static str, Client>,
}

/// A gateway with odin (awake, the returned agent), thor (asleep, the same model) and loki (its port is closed).
pub async fn rig(with: With) -> Rig {
    let agent = Agent::bind().await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let model = |id: &str, model: &str, state| Model {
        id: AgentName::new(id).unwrap(),
        model: model.to_owned(),
        state,
        max_model_len: 32768,
    };
    let (returned, hears) = mpsc::unbounded_channel();
    let fake = Arc::new(Fake {
        models: vec![
            model("thor", "Qwen/Qwen2.5-14B", AgentState::Asleep),
            model("odin", "Qwen/Qwen2.5-14B", AgentState::Ready),
            model("loki", "Qwen/Qwen2.5-7B", AgentState::Busy),
        ],
        endpoints: HashMap::from([
            ("odin".to_owned(), format!("http://{}", agent.address)),
            ("loki".to_owned(), format!("http://{closed}")),
        ]),
        wanted: Mutex::default(),
        refuse: Mutex::default(),
        waiting: Mutex::default(),
        records: Mutex::default(),
        keys: with.keys,
        controlled: Mutex::default(),
        control: Mutex::default(),
        max_seconds: with.max_seconds,
        their_name: with.their_name,
        queue: with.queue.into(),
        returned,
    });
    let bound: Bound = Gateway::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = bound.address();
    let (stop, stopped) = oneshot::channel();
    let dispatch: Arc<dyn Dispatch> = Arc::clone(&fake) as _;
    let serving = tokio::spawn(bound.serve(dispatch, with.settings, async {
        let _ = stopped.await;
    }));
    Rig { address, fake, agent, returned: hears, stop: Some(stop), serving }
}

impl Rig {
    pub async fn client(&self) -> Wire {
        Wire::new(TcpStream::connect(self.address).await.unwrap())
    }

    /// A client that has sent `body` as a chat request, and the agent's end of it.
    pub async fn chat(&self, body: &[u8]) -> (Wire, Wire, Request) {
        let mut client = self.client().await;
        client.post(self.address, "/v1/chat/completions", body).await;
        let (agent, request) = self.agent.accept().await;
        (client, agent, request)
    }

    /// The next request that waits in the queue.
    pub async fn waiter(&self) -> Waiter {
        soon("a request to wait", async {
            loop {
                if let Some(waiter) = self.fake.waiting.lock().unwrap().pop() {
                    return waiter;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// The one record that there is or will be.
    pub async fn record(&self) -> Record {
        soon("a record", async {
            while self.fake.records.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let mut records = self.fake.records.lock().unwrap();
        assert_eq!(records.len(), 1, "one request, one record: {records:?}");
        records.remove(0)
    }

    /// What was given back: "lease" or "queue".
    pub async fn returned(&mut self) -> &'static str {
        soon("a lease to come back", self.returned.recv()).await.unwrap()
    }

    pub fn out(&mut self) -> bool {
        self.returned.try_recv().is_err()
    }

    pub fn asked(&self) -> usize {
        self.fake.wanted.lock().unwrap().len()
    }

    pub async fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        soon("the gateway to end", &mut self.serving).await.unwrap();
    }
}

/// An agent's port. What it answers is written in the test.
pub struct Agent {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Agent {
    async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// The bare connection of the next request.
    pub async fn listen(&self) -> (TcpStream, SocketAddr) {
        soon("the agent to be asked", self.listener.accept()).await.unwrap()
    }

    pub async fn accept(&self) -> (Wire, Request) {
        let (stream, _) = self.listen().await;
        let mut wire = Wire::new(stream);
        let request = wire.request().await;
        (wire, request)
    }
}

pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

/// One header's value in a raw head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .find_map(|(n, value)| n.eq_ignore_ascii_case(name).then(|| value.trim()))
}

pub fn status(head: &str) -> u16 {
    head.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// How a chunked body ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Clean,
    Broken,
}

/// A raw connection, either end.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("bytes to be taken", self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// A write that may meet a closed or a stalled connection.
    pub async fn try_send(&mut self, bytes: &[u8], patience: Duration) -> Result<(), &'static str> {
        match tokio::time::timeout(patience, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err("closed"),
            Err(_) => Err("stalled"),
        }
    }

    pub async fn chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.send(framed).await;
    }

    pub async fn post(&mut self, to: SocketAddr, path: &str, body: &[u8]) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.send(head).await;
        self.send(body).await;
    }

    pub async fn get(&mut self, to: SocketAddr, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: {to}\r\n\r\n")).await;
    }

    /// More bytes into the buffer; `false` at the end of the connection, however it came.
    async fn more(&mut self) -> bool {
        let mut part = vec![0; 64 << 10];
        match soon("bytes to arrive", self.stream.read(&mut part)).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.read.extend_from_slice(&part[..n]);
                true
            }
        }
    }

    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                let head = std::mem::replace(&mut self.read, rest);
                return String::from_utf8(head).unwrap();
            }
            assert!(
                self.more().await,
                "the connection ended inside a head: {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        let got = self.at_most(count).await;
        assert_eq!(got.len(), count, "the connection ended early");
        got
    }

    /// That many bytes, or those before the end of the connection.
    pub async fn at_most(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count && self.more().await {}
        let rest = self.read.split_off(count.min(self.read.len()));
        std::mem::replace(&mut self.read, rest)
    }

    /// The next chunk of a chunked body, which need not be the sender's; `None` for the last, `Err` for no more.
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let line = loop {
            if let Some(end) = self.read.windows(2).position(|w| w == b"\r\n") {
                let rest = self.read.split_off(end + 2);
                break std::mem::replace(&mut self.read, rest);
            }
            if !self.more().await {
                return Err(());
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
        let chunk = self.at_most(size + 2).await;
        if chunk.len() < size + 2 {
            return Err(());
        }
        assert!(chunk.ends_with(b"\r\n"));
        Ok((size > 0).then(|| chunk[..size].to_vec()))
    }

    /// Chunked bytes until there are as many as `expected`, which they must be.
    pub async fn arrives(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut got = Vec::new();
        while got.len() < expected.len() {
            got.extend(self.next_chunk().await.expect("the body ended early").expect("the body ended early"));
        }
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(expected));
    }

    /// Chunked bytes until these are among them; what came up to the end of that chunk.
    pub async fn until(&mut self, needle: &str) -> String {
        let mut got = String::new();
        while !got.contains(needle) {
            let chunk = self.next_chunk().await.ok().flatten();
            let chunk = chunk.unwrap_or_else(|| panic!("the body ended without {needle:?}: {got:?}"));
            got.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        got
    }

    pub async fn chunked(&mut self) -> (Vec<u8>, End) {
        let mut body = Vec::new();
        loop {
            match self.next_chunk().await {
                Ok(Some(chunk)) => body.extend(chunk),
                Ok(None) => return (body, End::Clean),
                Err(()) => return (body, End::Broken),
            }
        }
    }

    /// An answer of known length.
    pub async fn answer(&mut self) -> (String, Vec<u8>) {
        let head = self.head().await;
        let length =
            header(&head, "content-length").unwrap_or_else(|| panic!("no length in {head}")).parse().unwrap();
        let body = self.exactly(length).await;
        (head, body)
    }

    /// The next request on this connection.
    pub async fn request(&mut self) -> Request {
        let head = self.head().await;
        let length = header(&head, "content-length").map_or(0, |n| n.parse().unwrap());
        let body = self.exactly(length).await;
        Request { head, body }
    }

    /// Waits until the other end is gone.
    pub async fn hung_up(&mut self) {
        while self.more().await {}
    }

    /// As `hung_up`, and whether it ended with a reset.
    pub async fn reset(&mut self) -> bool {
        let mut part = vec![0; 1024];
        loop {
            match soon("the end", self.stream.read(&mut part)).await {
                Ok(0) => return false,
                Ok(n) => self.read.extend_from_slice(&part[..n]),
                Err(e) => return e.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    /// Ends this end as a killed process does: without a good-bye.
    pub fn die(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

/// A captured answer: its head's lines and its body.
pub fn capture(name: &str) -> (Vec<String>, Vec<u8>) {
    let path = format!("{}/tests/data/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let start = text.windows(5).position(|w| w == b"HTTP/").unwrap();
    let end = start + text[start..].windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&text[start..end]).unwrap();
    let mut body = text[end + 4..].to_vec();
    // Some captures end with a line or a remark of the recorder's own.
    if let Some(length) = header(head, "content-length") {
        body.truncate(length.parse().unwrap());
    }
    (head.lines().map(str::to_owned).collect(), body)
}
