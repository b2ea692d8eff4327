//! The tray on a real session bus, with a watcher that plays the desktop.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use journeys::household::{Household, state_of};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::time::timeout;

/// The longest that anything here may take: a switch of six stand-ins on a busy machine.
const LONG: Duration = Duration::from_secs(90);

/// A session bus of its own, at an address that stays when the bus is ended and started again.
struct Bus {
    _daemon: Child,
}

impl Bus {
    fn address(household: &Household) -> String {
        format!("unix:path={}", household.path("bus").display())
    }

    async fn start(household: &Household) -> Self {
        let _ = std::fs::remove_file(household.path("bus"));
        let mut daemon = household
            .command("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .arg(format!("--address={}", Self::address(household)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon starts");
        // It says its address when it listens.
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        timeout(LONG, lines.next_line()).await.expect("the bus listens").unwrap().expect("its address");
        Self { _daemon: daemon }
    }
}

/// The desktop's side.
struct Desktop {
    _program: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    /// Events that came while an answer was waited for.
    events: Vec<String>,
}

impl Desktop {
    async fn start(household: &Household) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tray/watcher.py");
        let mut desktop = Self::of(household, &script);
        desktop.event("watching").await;
        desktop
    }

    /// A script that plays somebody on the bus.
    fn of(household: &Household, script: &Path) -> Self {
        // The system's Python, which has the system's packages.
        let mut program = household
            .command("/usr/bin/python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let to = program.stdin.take().unwrap();
        let from = BufReader::new(program.stdout.take().unwrap()).lines();
        Self { _program: program, to, from, events: Vec::new() }
    }

    /// A command that has no answer.
    async fn tell(&mut self, command: &str) {
        self.to.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> Value {
        let line = timeout(LONG, self.from.next_line()).await.expect("the watcher says something").unwrap();
        serde_json::from_str(&line.expect("the watcher runs")).unwrap()
    }

    async fn event(&mut self, name: &str) {
        if let Some(place) = self.events.iter().position(|event| event == name) {
            self.events.remove(place);
            return;
        }
        while self.line().await["event"] != name {}
    }

    async fn ask(&mut self, command: &str) -> Value {
        self.to.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        loop {
            let line = self.line().await;
            match line["event"].as_str() {
                Some(event) => self.events.push(event.to_owned()),
                None => return line["answer"].clone(),
            }
        }
    }

    /// Labels as a person reads them.
    async fn rows(&mut self) -> Vec<(String, Value)> {
        let rows = self.ask("menu").await;
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.into_iter()
            .map(|row| (row["label"].as_str().unwrap_or_default().replace('\u{a0}', " "), row))
            .collect()
    }

    /// The menu when `enough` accepts it: looked at now and after every change it tells of.
    async fn wait_rows(
        &mut self,
        what: &str,
        enough: impl Fn(&[(String, Value)]) -> bool,
    ) -> Vec<(String, Value)> {
        let waiting = async {
            loop {
                let rows = self.rows().await;
                if enough(&rows) {
                    return rows;
                }
                self.event("changed").await;
            }
        };
        timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("the menu never said: {what}"))
    }

    /// Clicks a row, as soon as the menu has it: it follows the state a moment later.
    async fn click(&mut self, label: &str) {
        self.wait_rows(label, |rows| rows.iter().any(|(text, _)| text.starts_with(label))).await;
        let clicked = self.ask(&format!("click {label}")).await;
        assert!(clicked["clicked"].is_string(), "there is no row {label}");
    }
}

fn row<'a>(rows: &'a [(String, Value)], label: &str) -> &'a Value {
    rows.iter()
        .find(|(text, _)| text.starts_with(label))
        .map_or_else(|| panic!("no row begins with {label:?}: {rows:#?}"), |(_, row)| row)
}

fn checked(rows: &[(String, Value)], label: &str) -> bool {
    rows.iter().any(|(text, row)| text.starts_with(label) && row["checked"] == true)
}

/// A household whose programs see a session bus at a known address, running or not.
fn with_address() -> Household {
    let mut household = Household::new();
    let address = Bus::address(&household);
    household
        .set("DBUS_SESSION_BUS_ADDRESS", address)
        .set("ASGARD_REHEARSAL_LOAD_MS", "300")
        .set("ASGARD_REHEARSAL_TOKENS_PER_SECOND", "80");
    household
}

/// The stand-ins that run for this household.
fn stand_ins(household: &Household) -> Vec<PathBuf> {
    household
        .processes()
        .into_iter()
        .map(|pid| PathBuf::from(format!("/proc/{pid}/cmdline")))
        .filter(|path| {
            std::fs::read(path)
                .is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == b"stand-in"))
        })
        .collect()
}

#[tokio::test]
async fn the_menu_is_read_by_label_and_a_click_switches() {
    let mut household = with_address();
    let _bus = Bus::start(&household).await;
    let mut desktop = Desktop::start(&household).await;
    household.serve(&["--rehearsal"]).await;
    desktop.event("registered").await;

    let item = desktop.ask("item").await;
    assert_eq!(item["id"], "asgard");
    assert_eq!(item["pictures"], serde_json::json!([[24, 24, 2304], [48, 48, 9216]]));
    assert!(item["tooltip"].as_str().unwrap().starts_with("Asgard, rehearsal"), "{item:#}");

    let rows = desktop.wait_rows("the memory and the profiles", checked_head).await;
    assert!(rows[0].0.contains(" of 120 MB, ") && rows[0].1["enabled"] == false, "{rows:#?}");
    assert!(rows.iter().any(|(label, _)| label.starts_with("Rehearsal")), "{rows:#?}");
    for profile in ["standard, 63 MB", "heimdall, 72 MB", "loki, 76 MB", "frigga, 83 MB", "odin, 87 MB"] {
        let row = row(&rows, profile);
        assert!(row["radio"] == true && row["enabled"] == true, "{row:#}");
    }
    for agent in ["Thor, asleep", "Odin, asleep"] {
        assert_eq!(row(&rows, agent)["enabled"], false);
    }
    for quit in ["Quit, keep agents", "Quit and stop agents"] {
        assert_eq!(row(&rows, quit)["enabled"], true);
    }

    // Two clicks: the icon, and the row.
    desktop.click("odin, 87").await;
    let status = household
        .wait_status("odin is awake", LONG, |s| state_of(s, "odin") == "ready" && s.switching.is_none())
        .await;
    assert_eq!(status.profile.as_deref(), Some("odin"));
    let rows = desktop
        .wait_rows("odin is the active profile", |rows| {
            checked(rows, "odin, 87") && rows.iter().any(|(text, _)| text == "Odin, ready")
        })
        .await;
    assert!(!checked(&rows, "standard"), "{rows:#?}");
    let rows = desktop
        .wait_rows("the switch is over", |rows| !rows.iter().any(|(t, _)| t.starts_with("Cancel")))
        .await;
    assert_eq!(row(&rows, "standard, 63")["enabled"], true, "{rows:#?}");

    assert!(!stand_ins(&household).is_empty());
    desktop.click("Quit and stop agents").await;
    assert!(household.ended(LONG).await.success());
    assert!(stand_ins(&household).is_empty(), "every agent has ended");
}

fn checked_head(rows: &[(String, Value)]) -> bool {
    rows.first().is_some_and(|(head, _)| head.ends_with("free"))
        && rows.iter().any(|(text, _)| text.starts_with("odin,"))
}

#[tokio::test]
async fn a_switch_that_is_under_way_is_cancelled_in_the_menu() {
    let mut household = with_address();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "60000");
    let _bus = Bus::start(&household).await;
    let mut desktop = Desktop::start(&household).await;
    household.serve(&["--rehearsal"]).await;
    desktop.event("registered").await;
    desktop.wait_rows("the profiles", checked_head).await;
    desktop.click("heimdall, 72").await;
    let rows = desktop
        .wait_rows("the switch, and the way back", |rows| {
            rows.iter().any(|(text, _)| text.starts_with("Cancel"))
        })
        .await;
    assert_eq!(row(&rows, "odin, 87")["enabled"], false, "one switch at a time: {rows:#?}");
    household
        .wait_status("an agent loads", LONG, |s| s.agents.iter().any(|a| a.state.word() == "loading"))
        .await;
    desktop.click("Cancel").await;
    household
        .wait_status("all is as before", LONG, |s| {
            s.switching.is_none() && s.agents.iter().all(|a| a.state.word() == "asleep")
        })
        .await;
    assert!(stand_ins(&household).is_empty());
}

#[tokio::test]
async fn quitting_with_agents_kept_leaves_them_running() {
    let mut household = with_address();
    let _bus = Bus::start(&household).await;
    let mut desktop = Desktop::start(&household).await;
    household.serve(&["--rehearsal"]).await;
    desktop.event("registered").await;
    household.json(&["start", "heimdall"]).await;
    desktop.click("Quit, keep agents").await;
    assert!(household.ended(LONG).await.success());
    assert_eq!(stand_ins(&household).len(), 1, "the agent lives on");
    // The next controller finds it.
    household.serve(&["--rehearsal"]).await;
    household.wait_status("heimdall is adopted", LONG, |s| state_of(s, "heimdall") == "ready").await;
}

#[tokio::test]
async fn it_appears_when_a_tray_appears_and_again_when_it_comes_back() {
    let mut household = with_address();
    let bus = Bus::start(&household).await;
    household.serve(&["--rehearsal"]).await;
    for _ in 0..2 {
        let mut desktop = Desktop::start(&household).await;
        desktop.event("registered").await;
        desktop.wait_rows("the profiles", checked_head).await;
        // The end of this block ends the desktop: a panel that is restarted.
    }
    // The whole session ends and comes back, while the controller runs on.
    drop(bus);
    let _bus = Bus::start(&household).await;
    let mut desktop = Desktop::start(&household).await;
    desktop.event("registered").await;
    desktop.wait_rows("the profiles", checked_head).await;
}

#[tokio::test]
async fn without_a_bus_or_a_tray_nothing_fails() {
    // An address at which nobody listens, and none at all; then a bus without anybody who shows trays.
    for address in [true, false] {
        let mut household = with_address();
        if !address {
            household.unset("DBUS_SESSION_BUS_ADDRESS");
        }
        household.serve(&["--rehearsal"]).await;
        household.json(&["start", "heimdall"]).await;
        assert_eq!(household.json(&["status"]).await["rehearsal"], true);
    }
    let mut household = with_address();
    let _bus = Bus::start(&household).await;
    household.serve(&["--rehearsal"]).await;
    household.json(&["start", "heimdall"]).await;
}

/// The machine's own sleep, played by a logind on the household's bus.
#[tokio::test]
async fn before_the_machine_sleeps_idle_agents_give_their_memory_back() {
    let mut household = with_address();
    let _bus = Bus::start(&household).await;
    let address = Bus::address(&household);
    household.set("DBUS_SYSTEM_BUS_ADDRESS", address);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/sleep/logind.py");
    let mut logind = Desktop::of(&household, &script);
    logind.event("ready").await;
    household.serve(&["--rehearsal", "--no-tray"]).await;
    logind.event("inhibited sleep delay").await;
    household.json(&["start", "heimdall"]).await;
    logind.tell("sleep").await;
    logind.event("released").await;
    let status = household.status().await;
    assert_eq!(state_of(&status, "heimdall"), "asleep", "it sleeps before the machine may");
    assert_eq!(status.yielded.expect("it is kept").agents, ["heimdall"]);
    logind.tell("wake").await;
    household
        .wait_status("heimdall is back", LONG, |s| state_of(s, "heimdall") == "ready" && s.yielded.is_none())
        .await;
    logind.event("inhibited sleep delay").await;
}

#[tokio::test]
async fn an_icon_can_be_done_without() {
    let mut household = with_address();
    let _bus = Bus::start(&household).await;
    let mut desktop = Desktop::start(&household).await;
    household.serve(&["--rehearsal", "--no-tray"]).await;
    household.json(&["start", "heimdall"]).await;
    // A start takes longer than to register; and what is said until now is all that was said.
    assert_eq!(desktop.ask("item").await, Value::Null, "nothing registered");
    assert!(!desktop.events.iter().any(|event| event == "registered"));
}
