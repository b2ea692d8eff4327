//! A screen without a monitor, a session bus on it, and the window driven over WebDriver.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a harness: what fails here fails the test"
)]

use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::actions::{InputSource, MouseActions, PointerAction};
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::household::{Household, free_port, program};

/// For what the page does by itself, without a model being loaded.
pub const SOON: Duration = Duration::from_secs(20);

/// An X server of its own, with a session bus for what runs on it.
pub struct Screen {
    number: u32,
    bus: String,
    _xvfb: Child,
    _bus: Child,
}

impl Screen {
    /// Both say on stdout when they are ready, and under which number and address.
    pub async fn start(width: u32, height: u32) -> Self {
        let size = format!("{width}x{height}x24");
        let mut xvfb = Command::new("Xvfb");
        xvfb.args(["-displayfd", "1", "-screen", "0", &size, "-nolisten", "tcp", "-noreset"]);
        let (number, xvfb) = started(xvfb).await;
        let mut bus = Command::new("dbus-daemon");
        bus.args(["--session", "--nofork", "--nopidfile", "--print-address=1"]);
        let (address, bus) = started(bus).await;
        Self { number: number.parse().unwrap(), bus: address, _xvfb: xvfb, _bus: bus }
    }

    pub fn display(&self) -> String {
        format!(":{}", self.number)
    }

    /// What a program on this screen needs to know.
    pub fn dress(&self, household: &mut Household) {
        household
            .set("DISPLAY", self.display())
            .set("DBUS_SESSION_BUS_ADDRESS", &self.bus)
            // No accessibility bridge and no settings daemon: each is a service more that the bus would start.
            .set("NO_AT_BRIDGE", "1")
            .set("GTK_A11Y", "none")
            .set("GSETTINGS_BACKEND", "memory");
    }

    /// A picture of the whole screen.
    pub async fn picture(&self, to: &Path) {
        let mut import = Command::new("import");
        import.args(["-display", &self.display(), "-window", "root"]).arg(to).kill_on_drop(true);
        let done = timeout(SOON, import.status()).await.expect("import did not end").unwrap();
        assert!(done.success(), "import failed");
    }

    /// The first visible window of that title, when there is one.
    pub async fn window(&self, title: &str, within: Duration) -> u32 {
        // It takes an expression.
        let name = format!("^{}$", title.replace('?', "[?]"));
        let mut search = Command::new("xdotool");
        search.args(["search", "--sync", "--onlyvisible", "--name", &name]).env("DISPLAY", self.display());
        search.kill_on_drop(true);
        let found = timeout(within, search.output()).await;
        let found = found.unwrap_or_else(|_| panic!("no window {title:?} within {within:?}")).unwrap();
        String::from_utf8_lossy(&found.stdout).lines().next().unwrap().parse().unwrap()
    }

    /// Types into a window of the desktop, as at a keyboard. Without a window manager no window has the keys by itself.
    pub async fn type_in(&self, window: u32, shortcut: &str, text: &str) {
        let id = window.to_string();
        let mut words = vec!["windowfocus", "--sync", &id, "key", "--clearmodifiers", shortcut];
        words.extend(["type", "--clearmodifiers", "--delay", "4", text]);
        assert!(self.xdotool(&words).await, "xdotool could not type into the window {window}");
    }

    /// Keys for one window, until it closes: a dialog that still looks at a disk takes no answer yet.
    pub async fn answer(&self, window: u32, keys: &[&str]) {
        let id = window.to_string();
        // A window that is gone takes no focus, and the keys go nowhere.
        let mut words = vec!["windowfocus", "--sync", &id, "key", "--clearmodifiers"];
        words.extend(keys);
        eventually("the dialog closes", SOON, || async {
            self.xdotool(&words).await;
            eventually_gone(|| self.shows(window)).await
        })
        .await;
    }

    async fn shows(&self, window: u32) -> bool {
        // Of a window that is gone or hidden there is no such state.
        let mut info = Command::new("xwininfo");
        info.args(["-display", &self.display(), "-id", &window.to_string()]).kill_on_drop(true);
        let told = timeout(SOON, info.output()).await.expect("xwininfo did not end").unwrap();
        String::from_utf8_lossy(&told.stdout).contains("IsViewable")
    }

    async fn xdotool(&self, words: &[&str]) -> bool {
        let mut tool = Command::new("xdotool");
        tool.args(words).env("DISPLAY", self.display()).stderr(Stdio::null()).kill_on_drop(true);
        timeout(SOON, tool.status()).await.expect("xdotool did not end").unwrap().success()
    }

    /// As a window manager does when somebody presses the cross.
    pub fn close(&self, window: u32) {
        let mut x = X11::connect(self.number);
        let protocols = x.atom("WM_PROTOCOLS");
        let delete = x.atom("WM_DELETE_WINDOW");
        x.tell(window, protocols, delete);
    }

    /// A connection to the X server itself.
    pub fn eye(&self) -> X11 {
        X11::connect(self.number)
    }

    /// As somebody does who pulls at the corner.
    pub async fn resize(&self, window: u32, width: u32, height: u32) {
        let [window, width, height] = [window, width, height].map(|n| n.to_string());
        assert!(self.xdotool(&["windowsize", "--sync", &window, &width, &height]).await, "xdotool failed");
    }
}

/// Starts a program and returns its first line.
async fn started(mut command: Command) -> (String, Child) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(SOON, lines.next_line()).await.expect("it did not become ready").unwrap();
    let line = line.unwrap_or_else(|| panic!("{command:?} ended at once")).trim().to_owned();
    // Whatever else it says is read and dropped, so that it never blocks.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (line, child)
}

/// The few words of the X protocol that closing a window and looking at it take.
pub struct X11 {
    line: UnixStream,
    root: u32,
}

impl X11 {
    fn connect(display: u32) -> Self {
        let mut stream = UnixStream::connect(format!("/tmp/.X11-unix/X{display}")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // Little-endian, protocol 11.0, no authorisation.
        stream.write_all(&[b'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut head = [0; 8];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[0], 1, "the X server refused the connection");
        let mut rest = vec![0; usize::from(u16::from_le_bytes([head[6], head[7]])) * 4];
        stream.read_exact(&mut rest).unwrap();
        // After the fixed part come the vendor's name, the formats, and then the first screen.
        let vendor = usize::from(u16::from_le_bytes([rest[16], rest[17]])).div_ceil(4) * 4;
        let screen = 32 + vendor + usize::from(rest[21]) * 8;
        let root = u32::from_le_bytes(rest[screen..screen + 4].try_into().unwrap());
        Self { line: stream, root }
    }

    /// How many colours there are in a part of the screen: one or two where nothing is drawn yet, many where there is
    /// text.
    pub fn colours(&mut self, x: u16, y: u16, width: u16, height: u16) -> usize {
        let mut request = vec![73, 2, 5, 0];
        request.extend(self.root.to_le_bytes());
        for number in [x, y, width, height] {
            request.extend(number.to_le_bytes());
        }
        request.extend(u32::MAX.to_le_bytes());
        let reply = self.ask(&request);
        let words = u32::from_le_bytes([reply[4], reply[5], reply[6], reply[7]]);
        let mut pixels = vec![0; usize::try_from(words).unwrap() * 4];
        self.line.read_exact(&mut pixels).unwrap();
        pixels.chunks_exact(4).collect::<std::collections::HashSet<_>>().len()
    }

    fn ask(&mut self, request: &[u8]) -> [u8; 32] {
        self.line.write_all(request).unwrap();
        let mut reply = [0; 32];
        self.line.read_exact(&mut reply).unwrap();
        assert_eq!(reply[0], 1, "the X server answered with an error: {reply:?}");
        reply
    }

    fn atom(&mut self, name: &str) -> u32 {
        let padded = name.len().div_ceil(4) * 4;
        let mut request = vec![16, 0];
        request.extend(u16::try_from(2 + padded / 4).unwrap().to_le_bytes());
        request.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        request.extend([0, 0]);
        request.extend(name.as_bytes());
        request.resize(8 + padded, 0);
        let reply = self.ask(&request);
        u32::from_le_bytes([reply[8], reply[9], reply[10], reply[11]])
    }

    /// A client message of one atom, and a question after it, so that an error of the first is seen.
    fn tell(&mut self, window: u32, kind: u32, what: u32) {
        let mut request = vec![25, 0, 11, 0];
        request.extend(window.to_le_bytes());
        request.extend(0_u32.to_le_bytes());
        request.extend([33, 32, 0, 0]);
        request.extend(window.to_le_bytes());
        request.extend(kind.to_le_bytes());
        request.extend(what.to_le_bytes());
        request.resize(44, 0);
        request.extend([43, 0, 1, 0]);
        self.ask(&request);
    }
}

/// The real window, driven by a WebDriver of its own.
pub struct Window {
    page: Client,
    driver: Child,
    /// The process group of the driver, the window and WebKit's helpers. The controller has another.
    group: Pid,
    pid: Pid,
}

impl Window {
    /// Starts `asgard-desktop …` in the household; the page is there when this returns.
    pub async fn open(household: &Household, arguments: &[&str]) -> Self {
        Self::open_program(household, &program("asgard-desktop"), arguments).await
    }

    pub async fn open_program(household: &Household, binary: &Path, arguments: &[&str]) -> Self {
        let port = free_port();
        let mut command = household.command("/usr/bin/WebKitWebDriver");
        command.arg(format!("--port={port}")).env("TAURI_WEBVIEW_AUTOMATION", "true").process_group(0);
        let words = std::fs::File::create(household.path("window.txt")).unwrap();
        command.stdout(words.try_clone().unwrap()).stderr(words);
        let driver = command.spawn().expect("WebKitWebDriver is not installed");
        let group = Pid::from_raw(i32::try_from(driver.id().unwrap()).unwrap()).unwrap();
        eventually("the driver listens", SOON, || async move {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        let options = json!({ "binary": binary, "args": arguments });
        let capabilities = json!({ "webkitgtk:browserOptions": options });
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.as_object().unwrap().clone());
        let page =
            timeout(Duration::from_mins(1), builder.connect(&format!("http://127.0.0.1:{port}"))).await;
        let page = page.expect("no session within 60 s").expect("no session");
        let parent = driver.id().unwrap();
        let pid = eventually("the window is a child of the driver", SOON, || async move {
            child_of(parent, "asgard-desktop")
        });
        let pid = pid.await;
        Self { page, driver, group, pid }
    }

    /// The window's own process.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// `kill -9` of the window.
    pub async fn kill9(self) {
        kill_process(self.pid, Signal::KILL).unwrap();
        self.gone().await;
    }

    /// Waits until the window's process has ended by itself.
    pub async fn gone(self) {
        let pid = self.pid();
        eventually("the window ends", SOON, || async move { (!is_alive(pid)).then_some(()) }).await;
    }

    /// The element with that `data-testid`, when it is there.
    pub async fn see(&self, testid: &str) -> Element {
        self.see_css(&format!("[data-testid=\"{testid}\"]")).await
    }

    pub async fn see_css(&self, css: &str) -> Element {
        self.see_css_within(css, SOON).await
    }

    pub async fn see_css_within(&self, css: &str, within: Duration) -> Element {
        let found = timeout(within, self.page.wait().at_most(within).for_element(Locator::Css(css))).await;
        match found {
            Ok(Ok(element)) => element,
            other => {
                panic!("{css} was not seen within {within:?}: {other:?}. The page:\n{}", self.words().await)
            }
        }
    }

    pub async fn count(&self, css: &str) -> usize {
        timeout(SOON, self.page.find_all(Locator::Css(css))).await.expect("no answer").unwrap().len()
    }

    pub async fn press(&self, testid: &str) {
        let element = self.see(testid).await;
        timeout(SOON, element.click()).await.expect("no answer").unwrap();
    }

    pub async fn type_into(&self, testid: &str, text: &str) {
        let element = self.see(testid).await;
        timeout(SOON, element.send_keys(text)).await.expect("no answer").unwrap();
    }

    pub async fn text(&self, testid: &str) -> String {
        let element = self.see(testid).await;
        timeout(SOON, element.text()).await.expect("no answer").unwrap()
    }

    pub async fn hover(&self, testid: &str) {
        let element = self.see(testid).await;
        let to = PointerAction::MoveToElement { element, duration: None, x: 0., y: 0. };
        let moved = self.page.perform_actions(MouseActions::new("mouse".to_owned()).then(to));
        timeout(SOON, moved).await.expect("no answer").unwrap();
    }

    /// The pointer to a place in the page, in pixels.
    pub async fn point(&self, x: f64, y: f64) {
        let to = PointerAction::MoveTo { duration: None, x, y };
        let moved = self.page.perform_actions(MouseActions::new("mouse".to_owned()).then(to));
        timeout(SOON, moved).await.expect("no answer").unwrap();
    }

    /// Runs `script` in the page; its `return` value comes back.
    pub async fn run(&self, script: &str) -> Value {
        timeout(SOON, self.page.execute(script, Vec::new())).await.expect("no answer").unwrap()
    }

    /// Until `script` returns something true.
    pub async fn until(&self, what: &str, within: Duration, script: &str) -> Value {
        let wanted = format!("the page: {what}");
        let done = timeout(within, async {
            loop {
                let value = self.run(script).await;
                if !matches!(value, Value::Null | Value::Bool(false)) {
                    return value;
                }
                // WebDriver tells of no events.
                sleep(Duration::from_millis(50)).await;
            }
        });
        let Ok(value) = done.await else {
            panic!("not within {within:?}: {wanted}. The page:\n{}", self.words().await);
        };
        value
    }

    /// Everything that can be read on the page.
    pub async fn words(&self) -> String {
        let all = timeout(SOON, self.page.execute("return document.body.innerText", Vec::new())).await;
        all.ok().and_then(Result::ok).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }

    pub async fn screenshot(&self, to: &Path) {
        let png = timeout(SOON, self.page.screenshot()).await.expect("no picture in time").unwrap();
        std::fs::write(to, png).unwrap();
    }

    /// The page as a person has it before them, kept beside the other pictures.
    pub async fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        // What the page holds is on the screen two frames later.
        self.run("window.painted = false; requestAnimationFrame(() => requestAnimationFrame(() => { painted = true; }))").await;
        self.until("the page is painted", SOON, "return window.painted").await;
        self.screenshot(&folder.join(format!("{name}.png"))).await;
    }

    pub fn page(&self) -> &Client {
        &self.page
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.driver.start_kill();
    }
}

/// Tries until there is something, for what tells of itself by no event.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Whether it is gone within a moment.
async fn eventually_gone<F: Future<Output = bool>>(mut shows: impl FnMut() -> F) -> Option<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    while shows().await {
        if Instant::now() > deadline {
            return None;
        }
        sleep(Duration::from_millis(20)).await;
    }
    Some(())
}

fn child_of(parent: u32, name: &str) -> Option<Pid> {
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name may hold anything, so what follows is counted from its closing bracket.
        let Some((before, after)) = stat.rsplit_once(')') else { continue };
        let ppid = after.split_whitespace().nth(1).and_then(|p| p.parse::<u32>().ok());
        if ppid == Some(parent) && before.split_once('(').is_some_and(|(_, n)| name.starts_with(n)) {
            return Pid::from_raw(pid);
        }
    }
    None
}

/// A zombie whose parent has not looked yet counts as gone.
pub fn is_alive(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit_once(')').is_some_and(|(_, after)| !after.trim_start().starts_with('Z'))
}
