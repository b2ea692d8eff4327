//! The state as the tray's menu wants it.

use domain::memory::Bytes;
use domain::plan::{Goal, plan};
use domain::tray::{AgentEntry, Head, ProfileEntry, Switching, TrayState};
use jiff::Timestamp;

use crate::state::State;
use crate::view;

/// Seconds are rounded up to tens, so that the menu does not change every second under the pointer.
fn rough(seconds: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let tens = (seconds / 10.0).ceil().clamp(0.0, 1e6) as u64;
    tens * 10
}

pub(crate) fn tray_state(state: &State, now: Timestamp) -> TrayState {
    let status = view::status(state, now);
    let pool = state.pools.first();
    let unit = domain::Unit::for_capacity(pool.and_then(|p| p.capacity).unwrap_or(Bytes(u64::MAX)));
    let head = status.pools.first().and_then(|p| {
        // To tenths: what changes less is not seen in the menu, and must not redraw it.
        let tenth = unit.bytes() / 10;
        let used = Bytes(p.used_bytes / tenth * tenth);
        Some(Head { used, limit: Bytes(p.limit_bytes?), unit })
    });
    let situation = state.situation();
    let matches = state.profile_matches();
    let profiles = state
        .stack
        .profiles
        .iter()
        .map(|p| {
            let total = view::profile_total(state, p);
            let plan = plan(&state.stack, &situation, &Goal::Profile(p.name.clone())).ok();
            ProfileEntry {
                name: p.name.clone(),
                total,
                unit,
                active: matches && state.profile.as_ref() == Some(&p.name),
                fits: plan.as_ref().is_some_and(|p| p.fits),
                shortfall: plan
                    .map(|p| p.pools.iter().map(|p| p.shortfall).max().unwrap_or_default())
                    .unwrap_or_default(),
            }
        })
        .collect();
    TrayState {
        head,
        rehearsal: state.rehearsal,
        engine_error: status
            .engines
            .iter()
            .filter(|_| {
                !state.rehearsal && state.stack.agents.iter().any(domain::stack::Agent::runs_in_container)
            })
            .find_map(|e| e.error.as_ref().map(|e| e.message.clone())),
        switching: status.switching.map(|s| Switching {
            to: s.to,
            seconds_left: s.seconds_left.map(rough),
            cancellable: s.cancellable,
            undoing: s.undoing,
        }),
        profiles,
        agents: status
            .agents
            .into_iter()
            .map(|a| AgentEntry { name: a.display_name, state: a.state })
            .collect(),
        can_open_window: true,
    }
}
