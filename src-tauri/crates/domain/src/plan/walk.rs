//! The steps of a plan, one after another, with what is held after each.

use super::claims::Claims;
use super::proof::{Holding, Moment, Row, add, step_pools};
use super::view::{View, stays};
use super::words::{self, Subject, Why};
use super::{Action, Running, Step};
use crate::agent::AgentName;
use crate::matrix::concerns;
use crate::pool::Share;
use crate::stack::Agent;

/// The steps so far, and what is held after them.
pub(super) struct Walk<'a> {
    view: &'a View<'a>,
    pub(super) holding: Holding,
    /// The sums of `holding`.
    pub(super) sums: Row,
    pub(super) steps: Vec<Step>,
    /// Each start's highest instant.
    pub(super) moments: Vec<Moment>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(view: &'a View<'a>) -> Self {
        let holding = Holding::now(&view.ledgers);
        let sums = holding.sums(view.ledgers.len());
        Self { view, holding, sums, steps: Vec::new(), moments: Vec::new() }
    }

    pub(super) fn stop(&mut self, running: &Running, why: &Why) {
        let name = &running.agent;
        let during = self.sums.clone();
        let given_back = self.holding.agents.remove(name).unwrap_or_default();
        self.sums = self.holding.sums(self.view.ledgers.len());
        let after = self.sums.clone();
        if running.in_use > 0 && stays(running.state) {
            self.push(Action::Drain, name, words::drain(name, running.in_use), &during, &during, None);
        }
        self.push(Action::Stop, name, words::stop(why), &during, &after, None);
        let back = words::wait_memory(name, &self.view.ledgers, &given_back);
        self.push(Action::WaitMemory, name, back, &during, &after, None);
    }

    pub(super) fn start(&mut self, agent: &Agent, subject: &Subject) {
        let name = &agent.name;
        let before = self.sums.clone();
        if self.view.situation.to_pull.contains(name) {
            self.push(Action::Pull, name, words::pull(name), &before, &before, None);
        }
        let Some(Claims { steady, loading, .. }) = self.view.claims(name) else { return };
        let mut peak = before;
        add(&mut peak, loading);
        add(&mut self.sums, steady);
        self.holding.agents.insert(name.clone(), steady.clone());
        let after = self.sums.clone();
        let reason = words::start(subject, name, &concerns(self.view.stack.gpu, agent));
        self.push(Action::Start, name, reason, &peak, &after, None);
        let seconds = self.view.situation.start_seconds.get(name).copied();
        self.push(Action::WaitReady, name, words::wait_ready(name), &peak, &after, seconds);
        self.moments.push(Moment { loading: name.clone(), held: peak, claim: loading.clone() });
    }

    fn push(
        &mut self,
        action: Action,
        agent: &AgentName,
        reason: String,
        during: &[Share],
        after: &[Share],
        seconds: Option<f64>,
    ) {
        let pools = step_pools(&self.view.ledgers, during, after);
        self.steps.push(Step { action, agent: agent.clone(), seconds, reason, pools });
    }
}
