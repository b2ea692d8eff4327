//! The state as the tray's menu wants it.

use domain::tray::TrayState;
use jiff::Timestamp;

use crate::state::State;

pub fn tray_state(_state: &State, _now: Timestamp) -> TrayState {
    TrayState::default()
}
