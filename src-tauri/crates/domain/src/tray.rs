//! The tray's menu, as data: a pure function from state to rows.
//!
//! On Linux a tray menu is rows of text with checks and separators, nothing else, so everything is said in words.

use crate::agent::AgentState;
use crate::memory::{Bytes, Unit};

/// What the tray shows. Plain data; whoever has the state fills it in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrayState {
    /// The main pool's figures; none until it was read.
    pub head: Option<Head>,
    pub rehearsal: bool,
    /// Why no engine can be reached, one sentence; none where one answers.
    pub engine_error: Option<String>,
    pub switching: Option<Switching>,
    pub profiles: Vec<ProfileEntry>,
    pub agents: Vec<AgentEntry>,
    /// Whether there is a window to open on this machine.
    pub can_open_window: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub used: Bytes,
    pub limit: Bytes,
    pub unit: Unit,
}

/// A change under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switching {
    /// A profile's name or an agent's.
    pub to: String,
    /// None where nothing like it was measured before.
    pub seconds_left: Option<u64>,
    pub cancellable: bool,
    /// What ran before is being put back.
    pub undoing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileEntry {
    pub name: String,
    /// What its agents take together of the main pool.
    pub total: Bytes,
    pub unit: Unit,
    pub active: bool,
    pub fits: bool,
    /// How much is missing; zero where it fits, or where memory is not the reason.
    pub shortfall: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentEntry {
    /// "Odin".
    pub name: String,
    pub state: AgentState,
}

/// What a click asks for: the request that the window would send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClickId {
    Switch(String),
    Cancel,
    OpenWindow,
    /// End the controller; agents go on.
    QuitKeep,
    /// Stop every agent, then end the controller.
    QuitStop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// To be read only.
    Text,
    Separator,
    Radio {
        checked: bool,
    },
    Item,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: Option<ClickId>,
    pub label: String,
    pub kind: RowKind,
    pub enabled: bool,
}

impl Row {
    fn text(label: impl Into<String>) -> Self {
        Self { id: None, label: label.into(), kind: RowKind::Text, enabled: false }
    }

    fn separator() -> Self {
        Self { id: None, label: String::new(), kind: RowKind::Separator, enabled: false }
    }

    fn item(id: ClickId, label: impl Into<String>, enabled: bool) -> Self {
        Self { id: Some(id), label: label.into(), kind: RowKind::Item, enabled }
    }
}

/// Which of the icon's pictures to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    Idle,
    /// Something is starting, stopping or switching.
    Working,
    /// Something is wrong and waits for a person.
    Warning,
}

/// The menu, from top to bottom. Every row that can be clicked has an id, and only such a row is enabled.
pub fn menu(state: &TrayState) -> Vec<Row> {
    let mut rows = vec![Row::text(head(state))];
    if state.rehearsal {
        rows.push(Row::text("Rehearsal: no real model runs"));
    }
    if let Some(error) = &state.engine_error {
        rows.push(Row::text(error.as_str()));
    }
    if !state.profiles.is_empty() {
        rows.push(Row::separator());
        rows.extend(state.profiles.iter().map(|p| profile(state, p)));
    }
    if let Some(switching) = &state.switching {
        rows.extend(change(state, switching));
    }
    if !state.agents.is_empty() {
        rows.push(Row::separator());
        rows.extend(state.agents.iter().map(|a| Row::text(format!("{}, {}", a.name, a.state))));
    }
    rows.push(Row::separator());
    rows.push(Row::item(ClickId::OpenWindow, "Open Asgard", state.can_open_window));
    rows.push(Row::item(
        ClickId::QuitKeep,
        "Quit, keep agents: their memory and requests are no longer watched",
        true,
    ));
    rows.push(Row::item(
        ClickId::QuitStop,
        "Quit and stop agents: all memory is given back, nothing is watched",
        true,
    ));
    rows
}

/// One line for a pointer that rests on the icon.
pub fn tooltip(state: &TrayState) -> String {
    let mut parts = vec![if state.rehearsal { "Asgard, rehearsal".to_owned() } else { "Asgard".to_owned() }];
    if let Some(switching) = &state.switching {
        parts.push(if switching.undoing {
            "putting back what ran before".to_owned()
        } else {
            format!("switching to {}", switching.to)
        });
    } else if let Some(active) = state.profiles.iter().find(|p| p.active) {
        parts.push(active.name.clone());
    }
    parts.push(head(state));
    parts.join(", ")
}

/// A warning is shown even while something is under way: the work ends by itself, what is wrong does not.
pub fn icon(state: &TrayState) -> Icon {
    let failed = state.agents.iter().any(|a| a.state == AgentState::Failed);
    let over = state.head.is_some_and(|h| h.used > h.limit);
    if failed || over || state.engine_error.is_some() {
        return Icon::Warning;
    }
    let moving = |s: AgentState| {
        use AgentState::{Draining, Loading, Pulling, Starting, Stopping};
        matches!(s, Pulling | Starting | Loading | Draining | Stopping)
    };
    if state.switching.is_some() || state.agents.iter().any(|a| moving(a.state)) {
        Icon::Working
    } else {
        Icon::Idle
    }
}

fn head(state: &TrayState) -> String {
    let Some(Head { used, limit, unit }) = state.head else {
        return "Memory is not known yet".to_owned();
    };
    let of = format!("{} of {}", one_decimal(used, unit), at_most_one_decimal(limit, unit));
    if used > limit {
        format!("{of}, {} over the limit", used.saturating_sub(limit).show_up(unit))
    } else {
        format!("{of}, {} free", limit.saturating_sub(used).show(unit))
    }
}

fn profile(state: &TrayState, entry: &ProfileEntry) -> Row {
    let target = state.switching.as_ref().filter(|s| !s.undoing && s.to == entry.name);
    let total = format!("{:.0}\u{a0}{}", entry.total.0 as f64 / entry.unit.bytes() as f64, entry.unit);
    let (label, enabled) = if let Some(switching) = target {
        let left = switching.seconds_left.map_or_else(|| "switching".to_owned(), left);
        (format!("{}, {total}, {left}", entry.name), false)
    } else if entry.fits {
        // One switch at a time: another can be asked for when this one has ended or was cancelled.
        (format!("{}, {total}", entry.name), state.switching.is_none())
    } else if entry.shortfall > Bytes::ZERO {
        (format!("{}, {} short", entry.name, entry.shortfall.show_up(entry.unit)), false)
    } else {
        (format!("{}, not possible now", entry.name), false)
    };
    let checked = target.is_some() || (entry.active && state.switching.is_none());
    Row { id: Some(ClickId::Switch(entry.name.clone())), label, kind: RowKind::Radio { checked }, enabled }
}

fn change(state: &TrayState, switching: &Switching) -> Vec<Row> {
    let mut rows = Vec::new();
    if switching.undoing {
        rows.push(Row::text("Putting back what ran before"));
    } else if !state.profiles.iter().any(|p| p.name == switching.to) {
        // One agent starts or stops: no profile's row can say so.
        let left = switching.seconds_left.map_or_else(|| "under way".to_owned(), left);
        rows.push(Row::text(format!("{}, {left}", switching.to)));
    }
    if switching.cancellable && !switching.undoing {
        rows.push(Row::item(ClickId::Cancel, "Cancel, back to what ran before", true));
    }
    rows
}

/// "41 s left", "3 min 38 s left".
fn left(seconds: u64) -> String {
    if seconds < 60 {
        format!("{seconds}\u{a0}s left")
    } else {
        format!("{}\u{a0}min {}\u{a0}s left", seconds / 60, seconds % 60)
    }
}

fn one_decimal(bytes: Bytes, unit: Unit) -> String {
    format!("{:.1}", bytes.0 as f64 / unit.bytes() as f64)
}

/// "120 GB", but "119.5 GB".
fn at_most_one_decimal(bytes: Bytes, unit: Unit) -> String {
    let shown = one_decimal(bytes, unit);
    format!("{}\u{a0}{unit}", shown.strip_suffix(".0").unwrap_or(&shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gb(amount: f64) -> Bytes {
        Bytes::gb(amount)
    }

    fn entry(name: &str, total: f64, active: bool, short: f64) -> ProfileEntry {
        ProfileEntry {
            name: name.into(),
            total: gb(total),
            unit: Unit::Gb,
            active,
            fits: short == 0.0,
            shortfall: gb(short),
        }
    }

    fn agent(name: &str, state: AgentState) -> AgentEntry {
        AgentEntry { name: name.into(), state }
    }

    fn state() -> TrayState {
        TrayState {
            head: Some(Head { used: gb(105.7), limit: gb(120.0), unit: Unit::Gb }),
            profiles: vec![
                entry("standard", 62.9, true, 0.0),
                entry("frigga", 83.2, false, 2.31),
                entry("odin", 87.3, false, 0.0),
            ],
            agents: vec![agent("Thor", AgentState::Ready), agent("Odin", AgentState::Asleep)],
            can_open_window: true,
            ..TrayState::default()
        }
    }

    /// "(o) odin, 87 GB" in short; a row that cannot be clicked is in square brackets.
    fn shown(state: &TrayState) -> Vec<String> {
        menu(state)
            .into_iter()
            .map(|row| {
                let mark = match row.kind {
                    RowKind::Radio { checked: true } => "(o) ",
                    RowKind::Radio { checked: false } => "( ) ",
                    RowKind::Separator => "--",
                    RowKind::Text | RowKind::Item => "",
                };
                let line = format!("{mark}{}", row.label.replace('\u{a0}', " "));
                if row.enabled || row.kind == RowKind::Separator { line } else { format!("[{line}]") }
            })
            .collect()
    }

    #[test]
    fn at_rest_it_lists_profiles_agents_and_actions() {
        assert_eq!(
            shown(&state()),
            [
                "[105.7 of 120 GB, 14.3 GB free]",
                "--",
                "(o) standard, 63 GB",
                "[( ) frigga, 2.4 GB short]",
                "( ) odin, 87 GB",
                "--",
                "[Thor, ready]",
                "[Odin, asleep]",
                "--",
                "Open Asgard",
                "Quit, keep agents: their memory and requests are no longer watched",
                "Quit and stop agents: all memory is given back, nothing is watched",
            ]
        );
        assert_eq!(
            tooltip(&state()).replace('\u{a0}', " "),
            "Asgard, standard, 105.7 of 120 GB, 14.3 GB free"
        );
        assert_eq!(icon(&state()), Icon::Idle);
    }

    #[test]
    fn while_it_switches_the_target_says_how_long_and_the_rest_waits() {
        let mut state = state();
        let switching =
            Switching { to: "odin".into(), seconds_left: Some(41), cancellable: true, undoing: false };
        state.switching = Some(switching.clone());
        assert_eq!(
            shown(&state)[2..6],
            [
                "[( ) standard, 63 GB]",
                "[( ) frigga, 2.4 GB short]",
                "[(o) odin, 87 GB, 41 s left]",
                "Cancel, back to what ran before",
            ]
        );
        assert_eq!(icon(&state), Icon::Working);
        let with = |change: Switching| TrayState { switching: Some(change), ..state.clone() };
        let unknown = with(Switching { seconds_left: None, ..switching.clone() });
        assert_eq!(
            shown(&unknown)[4],
            "[(o) odin, 87 GB, switching]",
            "no time is promised that was never measured"
        );
        let long = with(Switching { seconds_left: Some(218), ..switching.clone() });
        assert_eq!(shown(&long)[4], "[(o) odin, 87 GB, 3 min 38 s left]");
        let alone = with(Switching { to: "Heimdall".into(), ..switching.clone() });
        assert_eq!(shown(&alone)[5], "[Heimdall, 41 s left]");
        let fixed = with(Switching { cancellable: false, ..switching.clone() });
        assert!(!shown(&fixed).iter().any(|r| r.starts_with("Cancel")));
        let undoing = with(Switching { undoing: true, ..switching });
        assert_eq!(shown(&undoing)[4..6], ["[( ) odin, 87 GB]", "[Putting back what ran before]"]);
    }

    #[test]
    fn what_is_wrong_is_said_and_shown() {
        let mut over = state();
        over.head = Some(Head { used: gb(122.41), limit: gb(119.5), unit: Unit::Gb });
        assert_eq!(shown(&over)[0], "[122.4 of 119.5 GB, 3.0 GB over the limit]");
        assert_eq!(icon(&over), Icon::Warning);
        let mut engine = state();
        engine.engine_error = Some("Docker does not answer.".into());
        assert_eq!(shown(&engine)[1], "[Docker does not answer.]");
        assert_eq!(icon(&engine), Icon::Warning);
        let mut failed = state();
        failed.agents.push(agent("Frigga", AgentState::Failed));
        failed.switching =
            Some(Switching { to: "odin".into(), seconds_left: None, cancellable: true, undoing: false });
        assert_eq!(icon(&failed), Icon::Warning, "a failure is not hidden by the next switch");
        let mut loading = state();
        loading.agents.push(agent("Loki", AgentState::Loading));
        assert_eq!(icon(&loading), Icon::Working);
    }

    #[test]
    fn a_rehearsal_says_so_and_speaks_of_megabytes() {
        let state = TrayState {
            head: Some(Head { used: Bytes::mb(11.2), limit: Bytes::mb(120.0), unit: Unit::Mb }),
            rehearsal: true,
            profiles: vec![ProfileEntry {
                name: "odin".into(),
                total: Bytes::mb(87.3),
                unit: Unit::Mb,
                active: false,
                fits: true,
                shortfall: Bytes::ZERO,
            }],
            ..TrayState::default()
        };
        assert_eq!(
            shown(&state)[..4],
            ["[11.2 of 120 MB, 108.8 MB free]", "[Rehearsal: no real model runs]", "--", "( ) odin, 87 MB"]
        );
        assert!(tooltip(&state).starts_with("Asgard, rehearsal, "));
        assert_eq!(shown(&state)[5], "[Open Asgard]", "without a window there is nothing to open");
    }

    #[test]
    fn before_anything_is_known_there_is_still_a_way_out() {
        let rows = menu(&TrayState::default());
        assert_eq!(rows.first().map(|r| r.label.as_str()), Some("Memory is not known yet"));
        let ids: Vec<_> = rows.iter().filter(|r| r.enabled).filter_map(|r| r.id.clone()).collect();
        assert_eq!(ids, [ClickId::QuitKeep, ClickId::QuitStop]);
    }

    #[test]
    fn a_refusal_without_a_number_does_not_invent_one() {
        let mut state = state();
        state.profiles = vec![ProfileEntry { fits: false, ..entry("odin", 87.3, false, 0.0) }];
        assert_eq!(shown(&state)[2], "[( ) odin, not possible now]");
    }
}
