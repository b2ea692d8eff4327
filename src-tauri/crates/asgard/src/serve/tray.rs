//! The icon in the tray: a view of the menu that `domain::tray` makes of the state. A click sends the request that
//! the window would send.
//!
//! Where there is no session bus, or nothing on it that shows trays, nothing is shown and nothing fails; it appears
//! when they do. Nothing here is polled but a bus that is not there, once a minute at most.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use app::App;
use domain::tray::{self, ClickId, Icon, Row, RowKind};
use futures_util::StreamExt as _;
use ksni::menu::{MenuItem, RadioGroup, RadioItem, StandardItem};
use ksni::{Handle, OfflineReason, ToolTip, Tray, TrayMethods as _};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::window;

/// Menus are not drawn more often than a person can read them.
const DRAWN_EVERY: Duration = Duration::from_millis(250);

/// Between looks for a session bus: the first, and the longest.
const BUS_FIRST: Duration = Duration::from_secs(2);
const BUS_LONGEST: Duration = Duration::from_mins(1);

/// Who shows trays may come just between asking for it and listening for it; so it is asked for again this often,
/// and from then on it is only listened for.
const ASKED_AGAIN: u32 = 3;

/// A bus that does not answer is as good as none.
const ANSWERS: Duration = Duration::from_secs(10);

/// A click, and the desktop's permission to bring a window to the front.
type Clicked = (ClickId, Option<String>);

pub(super) async fn run(app: App, exe: PathBuf, mut ending: watch::Receiver<bool>) {
    let (clicks, mut clicked) = mpsc::unbounded_channel();
    let themed = themed(&|name| std::env::var(name).ok());
    let mut changes = app.view();
    let mut model = Model::of(&app, &exe);
    let mut place = Place::new(clicks, themed);
    let mut outdated = false;
    let mut not_before = Instant::now();
    loop {
        tokio::select! {
            () = super::ended(&mut ending) => break,
            Some((click, activation)) = clicked.recv() => act(&app, &exe, click, activation),
            changed = changes.changed(), if !outdated => match changed {
                Ok(()) => outdated = true,
                Err(_) => break,
            },
            () = sleep_until(not_before), if outdated => {
                outdated = false;
                not_before = Instant::now() + DRAWN_EVERY;
                let now = Model::of(&app, &exe);
                if now != model {
                    model = now;
                    place.draw(&model).await;
                }
            }
            () = sleep_until(place.due()), if place.waits() => place.appear(&model).await,
            () = place.lost() => place.leave().await,
        }
    }
    place.leave().await;
}

fn act(app: &App, exe: &Path, click: ClickId, activation: Option<String>) {
    let (cmd, payload) = match click {
        ClickId::OpenWindow => return window::open(exe, activation),
        ClickId::Switch(profile) => ("switch", json!({ "profile": profile })),
        ClickId::Cancel => ("cancel", json!({})),
        ClickId::QuitKeep => ("shutdown", json!({ "stop_agents": false })),
        ClickId::QuitStop => ("shutdown", json!({ "stop_agents": true })),
    };
    let app = app.clone();
    // A switch takes minutes; how it goes is seen in the menu, and how it failed in the log and the window.
    tokio::spawn(async move {
        if let Err(error) = app.handle(cmd, payload).await {
            tracing::warn!("{cmd}, asked for in the tray: {} {}", error.message, error.next);
        }
    });
}

/// Everything that is shown.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    rows: Vec<Row>,
    icon: Icon,
    tooltip: String,
}

impl Model {
    fn of(app: &App, exe: &Path) -> Self {
        let mut state = app.tray();
        // Only the program that would open it knows whether it is installed.
        state.can_open_window = window::is_there(exe);
        Self { rows: tray::menu(&state), icon: tray::icon(&state), tooltip: tray::tooltip(&state) }
    }
}

/// The place in the desktop's tray: had, waited for, or lost with its bus.
struct Place {
    clicks: mpsc::UnboundedSender<Clicked>,
    themed: bool,
    /// A connection that only tells when the bus goes away; ksni does not say so.
    bus: Option<zbus::MessageStream>,
    handle: Option<Handle<Shown>>,
    /// Whether nobody who shows trays is there; kept true by ksni.
    alone: Arc<AtomicBool>,
    next_look: Option<Instant>,
    pause: Duration,
    asked: u32,
}

impl Place {
    fn new(clicks: mpsc::UnboundedSender<Clicked>, themed: bool) -> Self {
        let next_look = Some(Instant::now());
        let alone = Arc::default();
        Self { clicks, themed, bus: None, handle: None, alone, next_look, pause: BUS_FIRST, asked: 0 }
    }

    fn waits(&self) -> bool {
        self.next_look.is_some()
    }

    fn due(&self) -> Instant {
        self.next_look.unwrap_or_else(Instant::now)
    }

    /// Resolves when the bus went away.
    async fn lost(&mut self) {
        match &mut self.bus {
            Some(bus) => while bus.next().await.is_some_and(|message| message.is_ok()) {},
            None => std::future::pending().await,
        }
    }

    async fn appear(&mut self, model: &Model) {
        if self.handle.is_some() && !self.alone.load(Ordering::SeqCst) {
            self.next_look = None;
            return;
        }
        self.drop_handle().await;
        self.alone = Arc::default();
        match timeout(ANSWERS, self.connect(model)).await {
            Ok(Ok(handle)) => {
                self.handle = Some(handle);
                self.pause = BUS_FIRST;
                let alone = self.alone.load(Ordering::SeqCst);
                self.asked = if alone { self.asked + 1 } else { 0 };
                self.next_look = (alone && self.asked < ASKED_AGAIN).then(|| Instant::now() + BUS_FIRST);
            }
            failed => {
                if let Ok(Err(error)) = failed {
                    tracing::debug!("No tray: {error}.");
                } else {
                    tracing::debug!("No tray: the session bus does not answer.");
                }
                self.bus = None;
                self.next_look = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(BUS_LONGEST);
            }
        }
    }

    async fn connect(&mut self, model: &Model) -> Result<Handle<Shown>, ksni::Error> {
        if self.bus.is_none() {
            let bus = zbus::Connection::session().await.map_err(ksni::Error::Dbus)?;
            self.bus = Some(bus.into());
        }
        let alone = self.alone.clone();
        let shown = Shown { model: model.clone(), clicks: self.clicks.clone(), themed: self.themed, alone };
        // Whoever shows trays may come later; ksni then registers by itself.
        shown.assume_sni_available(true).spawn().await
    }

    async fn draw(&mut self, model: &Model) {
        if let Some(handle) = &self.handle {
            let model = model.clone();
            let drawn = timeout(ANSWERS, handle.update(|shown| shown.model = model)).await;
            if !matches!(drawn, Ok(Some(()))) {
                self.leave().await;
            }
        }
    }

    /// Gives the place back, and looks for one again later.
    async fn leave(&mut self) {
        self.drop_handle().await;
        self.bus = None;
        self.asked = 0;
        self.next_look = Some(Instant::now() + self.pause);
    }

    async fn drop_handle(&mut self) {
        if let Some(handle) = self.handle.take() {
            let _ = timeout(Duration::from_secs(1), handle.shutdown()).await;
        }
    }
}

/// What ksni asks.
struct Shown {
    model: Model,
    clicks: mpsc::UnboundedSender<Clicked>,
    /// Whether the desktop's icon theme has our pictures, for a panel to draw in its own colour.
    themed: bool,
    alone: Arc<AtomicBool>,
}

impl Shown {
    fn click(&self, id: &ClickId) {
        let _ = self.clicks.send((id.clone(), ksni::current_xdg_activation_token()));
    }
}

impl Tray for Shown {
    fn id(&self) -> String {
        "asgard".to_owned()
    }

    fn title(&self) -> String {
        "Asgard".to_owned()
    }

    fn icon_name(&self) -> String {
        // A name that the theme does not have hides the pictures below on some desktops.
        if self.themed { format!("asgard-{}-symbolic", word(self.model.icon)) } else { String::new() }
    }

    fn icon_pixmap(&self) -> Vec<ksni::Icon> {
        pictures(self.model.icon)
    }

    fn tool_tip(&self) -> ToolTip {
        ToolTip { title: self.model.tooltip.clone(), ..ToolTip::default() }
    }

    fn activate(&mut self, _x: i32, _y: i32) {
        let open = self.model.rows.iter().any(|row| row.enabled && row.id == Some(ClickId::OpenWindow));
        if open {
            self.click(&ClickId::OpenWindow);
        }
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        items(&self.model.rows)
    }

    fn watcher_online(&self) {
        self.alone.store(false, Ordering::SeqCst);
    }

    fn watcher_offline(&self, _reason: OfflineReason) -> bool {
        self.alone.store(true, Ordering::SeqCst);
        true
    }
}

/// Rows as ksni wants them. Radio rows that follow each other are one group.
fn items(rows: &[Row]) -> Vec<MenuItem<Shown>> {
    let mut items = Vec::new();
    for group in rows.chunk_by(|a, b| is_radio(a) && is_radio(b)) {
        match group {
            [row, ..] if is_radio(row) => items.push(radio(group)),
            _ => items.extend(group.iter().map(item)),
        }
    }
    items
}

fn is_radio(row: &Row) -> bool {
    matches!(row.kind, RowKind::Radio { .. })
}

fn radio(group: &[Row]) -> MenuItem<Shown> {
    let ids: Vec<Option<ClickId>> = group.iter().map(|row| row.id.clone()).collect();
    RadioGroup {
        // No row of this number: none is checked.
        selected: group
            .iter()
            .position(|row| row.kind == RowKind::Radio { checked: true })
            .unwrap_or(usize::MAX),
        select: Box::new(move |shown: &mut Shown, n| {
            if let Some(Some(id)) = ids.get(n) {
                shown.click(id);
            }
        }),
        options: group
            .iter()
            .map(|row| RadioItem { label: label(&row.label), enabled: row.enabled, ..RadioItem::default() })
            .collect(),
    }
    .into()
}

fn item(row: &Row) -> MenuItem<Shown> {
    if row.kind == RowKind::Separator {
        return MenuItem::Separator;
    }
    let id = row.id.clone();
    StandardItem {
        label: label(&row.label),
        enabled: row.enabled,
        activate: Box::new(move |shown: &mut Shown| {
            if let Some(id) = &id {
                shown.click(id);
            }
        }),
        ..StandardItem::default()
    }
    .into()
}

/// One underscore would mark an access key.
fn label(text: &str) -> String {
    text.replace('_', "__")
}

fn word(icon: Icon) -> &'static str {
    match icon {
        Icon::Idle => "idle",
        Icon::Working => "working",
        Icon::Warning => "warning",
    }
}

macro_rules! picture {
    ($name:literal, $size:literal) => {
        ($size, include_bytes!(concat!("../../../../../icons/tray/", $name, "-", $size, ".argb")).as_slice())
    };
}

fn pictures(icon: Icon) -> Vec<ksni::Icon> {
    let sizes: [(i32, &[u8]); 2] = match icon {
        Icon::Idle => [picture!("idle", 24), picture!("idle", 48)],
        Icon::Working => [picture!("working", 24), picture!("working", 48)],
        Icon::Warning => [picture!("warning", 24), picture!("warning", 48)],
    };
    sizes.map(|(size, data)| ksni::Icon { width: size, height: size, data: data.to_vec() }).to_vec()
}

/// Whether `make install` or a package put the tray's pictures into the icon theme.
fn themed(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let own = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| format!("{home}/.local/share")));
    let all = set("XDG_DATA_DIRS").unwrap_or_else(|| "/usr/local/share:/usr/share".to_owned());
    own.iter().map(String::as_str).chain(all.split(':')).any(|folder| {
        Path::new(folder).join("icons/hicolor/symbolic/apps/asgard-idle-symbolic.svg").is_file()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(label: &str, kind: RowKind, id: Option<ClickId>) -> Row {
        Row { enabled: id.is_some(), id, label: label.to_owned(), kind }
    }

    fn shown(rows: Vec<Row>) -> (Shown, mpsc::UnboundedReceiver<Clicked>) {
        let (clicks, clicked) = mpsc::unbounded_channel();
        let model = Model { rows, icon: Icon::Idle, tooltip: String::new() };
        (Shown { model, clicks, themed: false, alone: Arc::default() }, clicked)
    }

    #[test]
    fn rows_become_items_and_radio_rows_one_group() {
        let switch = |name: &str| Some(ClickId::Switch(name.to_owned()));
        let (mut shown, mut clicked) = shown(vec![
            row("105.7 of 120 GB", RowKind::Text, None),
            row("", RowKind::Separator, None),
            row("standard", RowKind::Radio { checked: false }, switch("standard")),
            row("my_odin", RowKind::Radio { checked: true }, switch("my_odin")),
            row("Cancel", RowKind::Item, Some(ClickId::Cancel)),
        ]);
        let items = shown.menu();
        let [
            MenuItem::Standard(head),
            MenuItem::Separator,
            MenuItem::RadioGroup(group),
            MenuItem::Standard(cancel),
        ] = items.as_slice()
        else {
            panic!("{items:?}");
        };
        assert!(!head.enabled && cancel.enabled);
        assert_eq!((group.selected, group.options.len()), (1, 2));
        assert_eq!(group.options[1].label, "my__odin", "an underscore is no access key");
        (group.select)(&mut shown, 1);
        (cancel.activate)(&mut shown);
        assert_eq!(clicked.try_recv().unwrap().0, ClickId::Switch("my_odin".to_owned()));
        assert_eq!(clicked.try_recv().unwrap().0, ClickId::Cancel);
    }

    #[test]
    fn none_checked_is_none_selected() {
        let (shown, _) = shown(vec![row("standard", RowKind::Radio { checked: false }, None)]);
        assert!(
            matches!(&shown.menu()[0], MenuItem::RadioGroup(group) if group.selected >= group.options.len())
        );
    }

    #[test]
    fn a_click_on_the_icon_opens_the_window_only_where_there_is_one() {
        let open = |enabled| Row { enabled, ..row("Open Asgard", RowKind::Item, Some(ClickId::OpenWindow)) };
        for enabled in [true, false] {
            let (mut shown, mut clicked) = shown(vec![open(enabled)]);
            shown.activate(0, 0);
            assert_eq!(clicked.try_recv().is_ok(), enabled);
        }
    }

    #[test]
    fn the_pictures_are_whole() {
        for icon in [Icon::Idle, Icon::Working, Icon::Warning] {
            for picture in pictures(icon) {
                let pixels = usize::try_from(picture.width * picture.height).unwrap();
                assert_eq!(picture.data.len(), pixels * 4, "{icon:?}");
            }
        }
    }

    #[test]
    fn names_are_given_only_where_the_theme_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap().to_owned();
        let variable = |name: &str| matches!(name, "XDG_DATA_HOME" | "XDG_DATA_DIRS").then(|| root.clone());
        assert!(!themed(&variable));
        let apps = folder.path().join("icons/hicolor/symbolic/apps");
        std::fs::create_dir_all(&apps).unwrap();
        std::fs::write(apps.join("asgard-idle-symbolic.svg"), "").unwrap();
        assert!(themed(&variable));
    }
}
