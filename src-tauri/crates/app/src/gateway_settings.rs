//! `[gateway]` of the stack file as the window shows and changes it, with the session of the summon budgets.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use api::shapes::gateway::{BudgetView, GatewayPatch, GatewaySettings, GatewayView};
use api::{ApiError, Code};
use domain::schedule::Budget;
use domain::stack::{Gateway, Tier};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::stack_file::edit::Edit;

use crate::carry::Ctx;
use crate::editing;
use crate::gate::Gate;

/// The longest time that a setting may be: a year.
const LONGEST: f64 = 366.0 * 86_400.0;

/// The session of the budgets, as the schedule says it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    /// By the wall's clock, in seconds since 1970.
    pub(crate) start: i64,
    /// When it ends by itself.
    pub(crate) ends: Option<i64>,
    pub(crate) budgets: Vec<(Tier, Budget)>,
}

impl Session {
    pub(crate) fn of(gate: &Gate) -> Self {
        let tiers = [Tier::Reviewer, Tier::Utility];
        Self {
            start: gate.kept().session_start,
            ends: Some(gate.session_end()),
            budgets: tiers.map(|tier| (tier, gate.budget(tier))).to_vec(),
        }
    }
}

pub(crate) fn view(ctx: &Ctx, session: &Session) -> GatewayView {
    let state = ctx.state.state();
    GatewayView {
        session_start: time(session.start),
        session_ends: session.ends.map(time),
        budgets: session.budgets.iter().map(|(tier, budget)| budget_view(*tier, budget)).collect(),
        keys: ctx.keys.views(&state.stack),
        settings: settings(&state.stack.gateway),
    }
}

fn time(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or_default().to_string()
}

fn budget_view(tier: Tier, budget: &Budget) -> BudgetView {
    let tier = match tier {
        Tier::Primary => "primary",
        Tier::Coder => "coder",
        Tier::Reviewer => "reviewer",
        Tier::Utility => "utility",
    };
    BudgetView {
        tier: tier.to_owned(),
        used: budget.used,
        limit: budget.limit,
        cooldown_until: budget.cooldown_until.map(time),
    }
}

fn settings(gateway: &Gateway) -> GatewaySettings {
    GatewaySettings {
        listen: gateway.listen.to_string(),
        wake: gateway.wake,
        hold: gateway.hold,
        queue_limit: gateway.queue_limit,
        max_streams: gateway.max_streams,
        odin_ttl: gateway.odin_ttl.as_secs_f64(),
        odin_cooldown: gateway.odin_cooldown.as_secs_f64(),
        session_budget_odin: gateway.session_budget_odin,
        session_budget_utility: gateway.session_budget_utility,
        health_timeout: gateway.health_timeout.as_secs_f64(),
    }
}

/// Writes what is given into the stack file.
pub(crate) async fn change(ctx: &Ctx, patch: &GatewayPatch) -> Result<(), ApiError> {
    let _one = ctx.keys.change().await;
    let keys = keys_of(patch, &ctx.state.state().stack.gateway)?;
    if keys.is_empty() {
        return Ok(());
    }
    editing::write(ctx, &[Edit::ChangeGateway { keys }]).await
}

/// The keys of `[gateway]` that a patch sets.
fn keys_of(patch: &GatewayPatch, now: &Gateway) -> Result<BTreeMap<String, Value>, ApiError> {
    if let Some(listen) = &patch.listen {
        may_listen(listen, now)?;
    }
    let times = [
        ("odin_ttl", patch.odin_ttl),
        ("odin_cooldown", patch.odin_cooldown),
        ("health_timeout", patch.health_timeout),
    ];
    let mut keys = BTreeMap::new();
    for (key, seconds) in times {
        let Some(seconds) = seconds else { continue };
        if !(0.0..=LONGEST).contains(&seconds) {
            return Err(ApiError::new(
                Code::Usage,
                format!("{seconds} s cannot be `{key}`."),
                "Give seconds, from 0 to a year; 0 means no limit.",
            ));
        }
        // A whole number is written as a person would.
        #[expect(clippy::cast_possible_truncation, reason = "within a year")]
        let value = if seconds.fract() == 0.0 { json!(seconds as i64) } else { json!(seconds) };
        keys.insert(key.to_owned(), value);
    }
    let others = [
        ("wake", patch.wake.map(Value::from)),
        ("hold", patch.hold.map(Value::from)),
        ("queue_limit", patch.queue_limit.map(Value::from)),
        ("session_budget_odin", patch.session_budget_odin.map(Value::from)),
        ("session_budget_utility", patch.session_budget_utility.map(Value::from)),
        ("listen", patch.listen.clone().map(Value::from)),
    ];
    keys.extend(others.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    Ok(keys)
}

/// Where others reach it, a key has to be there before.
fn may_listen(listen: &str, now: &Gateway) -> Result<(), ApiError> {
    let Ok(address) = listen.parse::<SocketAddr>() else {
        return Err(ApiError::new(
            Code::Usage,
            format!("{listen:?} is no address with a port."),
            "Write it as 127.0.0.1:8899.",
        ));
    };
    if address.ip().is_loopback() || !now.keys.is_empty() {
        return Ok(());
    }
    Err(ApiError::new(
        Code::Failed,
        format!("Without a key, other machines could use every agent at {address}."),
        "Make a key first, here or with: asgard keys new NAME",
    ))
}

#[cfg(test)]
mod tests {
    use domain::stack::GatewayKey;

    use super::*;

    #[test]
    fn only_what_is_given_is_written() {
        let now = Gateway::default();
        assert!(keys_of(&GatewayPatch::default(), &now).unwrap().is_empty());
        let patch = GatewayPatch {
            wake: Some(false),
            queue_limit: Some(0),
            odin_ttl: Some(600.0),
            odin_cooldown: Some(0.5),
            listen: Some("127.0.0.1:9000".to_owned()),
            ..GatewayPatch::default()
        };
        let written = json!(keys_of(&patch, &now).unwrap());
        let expected = json!({
            "wake": false, "queue_limit": 0, "odin_ttl": 600, "odin_cooldown": 0.5, "listen": "127.0.0.1:9000"
        });
        assert_eq!(written, expected);
    }

    #[test]
    fn another_address_needs_a_key_and_absurd_figures_are_refused() {
        let open = Gateway::default();
        let key = GatewayKey { name: "zed".to_owned(), agents: None };
        let locked = Gateway { keys: vec![key], ..Gateway::default() };
        for (listen, without, with) in [
            ("127.0.0.1:9000", true, true),
            ("[::1]:9000", true, true),
            ("0.0.0.0:8899", false, true),
            ("192.168.1.5:8899", false, true),
            ("[::]:8899", false, true),
            ("localhost:8899", false, false),
            ("8899", false, false),
            ("", false, false),
        ] {
            let patch = GatewayPatch { listen: Some(listen.to_owned()), ..GatewayPatch::default() };
            assert_eq!(keys_of(&patch, &open).is_ok(), without, "{listen}");
            assert_eq!(keys_of(&patch, &locked).is_ok(), with, "{listen}");
        }
        for seconds in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            let patch = GatewayPatch { odin_ttl: Some(seconds), ..GatewayPatch::default() };
            assert_eq!(keys_of(&patch, &open).unwrap_err().code, Code::Usage, "{seconds}");
        }
    }
}
