//! The run loop: the one owner of the state, and the one place where an operation may begin.
//!
//! Its inputs are one closed enum. At most one operation is under way; a wish that comes meanwhile is told so.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::shapes::plans::Outcome;
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::plan::{Goal, Plan, PlanError, plan};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::carry::{self, Ctx};
use crate::errand::Errand;
use crate::state::{Event, Operation, State};

pub(crate) type Answer = oneshot::Sender<Result<Outcome, ApiError>>;

/// A wish with its words.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) goal: Goal,
    /// What the goal is about, for the words: a profile or an agent.
    pub(crate) to: String,
    /// Rather not at all than under a request: who is in use when its turn to stop comes stays.
    pub(crate) gentle: bool,
    /// It brings back what was yielded.
    pub(crate) resumes: bool,
}

impl Wish {
    pub(crate) fn new(goal: Goal, to: impl Into<String>) -> Self {
        Self { goal, to: to.into(), gentle: false, resumes: false }
    }

    pub(crate) fn gentle(goal: Goal, to: impl Into<String>) -> Self {
        Self { gentle: true, ..Self::new(goal, to) }
    }
}

pub(crate) enum Message {
    Event(Event, Option<oneshot::Sender<()>>),
    Wish(Wish, Answer),
    Cancel(oneshot::Sender<Result<(), ApiError>>),
    /// A carrier came to its end.
    Ended(u64),
}

/// The way to the loop, and the view of the state.
#[derive(Clone)]
pub(crate) struct Loop {
    to: mpsc::UnboundedSender<Message>,
    view: watch::Receiver<Arc<State>>,
}

impl Loop {
    pub(crate) fn state(&self) -> Arc<State> {
        self.view.borrow().clone()
    }

    pub(crate) fn view(&self) -> watch::Receiver<Arc<State>> {
        self.view.clone()
    }

    /// Tells of an event, without waiting.
    pub(crate) fn note(&self, event: Event) {
        let _ = self.to.send(Message::Event(event, None));
    }

    /// Tells of an event, and returns when the state shows it.
    pub(crate) async fn tell(&self, event: Event) {
        let (done, applied) = oneshot::channel();
        if self.to.send(Message::Event(event, Some(done))).is_ok() {
            let _ = applied.await;
        }
    }

    pub(crate) async fn wish(&self, wish: Wish) -> Result<Outcome, ApiError> {
        let (answer, result) = oneshot::channel();
        self.to.send(Message::Wish(wish, answer)).map_err(|_| ending())?;
        result.await.map_err(|_| ending())?
    }

    pub(crate) async fn cancel(&self) -> Result<(), ApiError> {
        let (answer, result) = oneshot::channel();
        self.to.send(Message::Cancel(answer)).map_err(|_| ending())?;
        result.await.map_err(|_| ending())?
    }

    pub(crate) fn ended(&self, operation: u64) {
        let _ = self.to.send(Message::Ended(operation));
    }

    /// Waits until `fine` holds for the state, which is looked at whenever it changes.
    pub(crate) async fn until(&self, mut fine: impl FnMut(&State) -> bool) {
        let mut view = self.view();
        // An error means that the loop has ended, and with it everything that could be waited for.
        let _ = view.wait_for(|state| fine(state)).await;
    }
}

fn ending() -> ApiError {
    ApiError::new(Code::Unreachable, "The controller is ending.", "Start it again with: asgard serve")
}

/// The loop before it runs.
pub(crate) struct Pending {
    from: mpsc::UnboundedReceiver<Message>,
    publish: watch::Sender<Arc<State>>,
    state: State,
}

pub(crate) fn prepare(state: State) -> (Loop, Pending) {
    let (to, from) = mpsc::unbounded_channel();
    let (publish, view) = watch::channel(Arc::new(state.clone()));
    (Loop { to, view }, Pending { from, publish, state })
}

struct UnderWay {
    id: u64,
    cancel: CancellationToken,
}

impl Pending {
    /// Runs until every [`Loop`] is gone.
    pub(crate) async fn run(mut self, ctx: Ctx) {
        let mut under_way: Option<UnderWay> = None;
        let mut next_id = 1;
        while let Some(message) = self.from.recv().await {
            match message {
                Message::Event(event, done) => {
                    self.apply(event);
                    if let Some(done) = done {
                        let _ = done.send(());
                    }
                }
                Message::Wish(wish, answer) => match self.consider(&ctx, &wish, under_way.as_ref()) {
                    Err(refusal) => {
                        let _ = answer.send(Err(refusal));
                    }
                    Ok(plan) => {
                        let id = next_id;
                        next_id += 1;
                        let cancel = CancellationToken::new();
                        let errand = self.begin(id, wish, plan, cancel.clone());
                        under_way = Some(UnderWay { id, cancel });
                        tokio::spawn(carry::run(ctx.clone(), errand, answer));
                    }
                },
                Message::Cancel(answer) => {
                    let cancellable = self.state.operation.as_ref().is_some_and(|o| o.cancellable);
                    let result = match &under_way {
                        Some(operation) if cancellable => {
                            operation.cancel.cancel();
                            Ok(())
                        }
                        Some(_) => Err(ApiError::new(
                            Code::Busy,
                            "This can no longer be cancelled.",
                            "Wait until what ran before is back.",
                        )),
                        None => Err(ApiError::new(Code::Busy, "Nothing is under way.", "")),
                    };
                    let _ = answer.send(result);
                }
                Message::Ended(id) => {
                    if under_way.as_ref().is_some_and(|o| o.id == id) {
                        under_way = None;
                    }
                    self.apply(Event::OperationEnded { id });
                }
            }
        }
    }

    fn apply(&mut self, event: Event) {
        if self.state.apply(event, Timestamp::now()) {
            self.publish.send_replace(Arc::new(self.state.clone()));
        }
    }

    /// A plan that fits, or why not.
    fn consider(&mut self, ctx: &Ctx, wish: &Wish, under_way: Option<&UnderWay>) -> Result<Plan, ApiError> {
        if under_way.is_some() {
            let to = self.state.operation.as_ref().map(|o| o.to.clone()).unwrap_or_default();
            return Err(ApiError::new(
                Code::Busy,
                format!("{to} is under way."),
                "Wait until it is done, or cancel it.",
            ));
        }
        // The figures a wish is judged by are those of now.
        let look = ctx.world.read(&self.state);
        self.apply(Event::Read(look));
        let plan =
            plan(&self.state.stack, &self.state.situation(), &wish.goal).map_err(|e| plan_error(&e))?;
        if plan.starts().next().is_some()
            && let Some(unconfirmed) = &self.state.unconfirmed
        {
            return Err(ApiError::new(
                Code::Unconfirmed,
                format!("This stack was {}, and nobody has confirmed what it runs.", unconfirmed.source),
                "Look at it and confirm it: in the window, or with `asgard config confirm`.",
            ));
        }
        // A person who starts something arranges the memory anew.
        if plan.fits && plan.starts().next().is_some() && !wish.resumes && self.state.yielded.is_some() {
            crate::yielding::forget(ctx);
        }
        if plan.fits { Ok(plan) } else { Err(ApiError::new(Code::DoesNotFit, plan.reason, plan.next)) }
    }

    fn begin(&mut self, id: u64, wish: Wish, plan: Plan, cancel: CancellationToken) -> Errand {
        let awake_before: BTreeSet<AgentName> = self.state.awake();
        let profile_before = self.state.profile.clone();
        let plan = Arc::new(plan);
        if !plan.steps.is_empty() {
            self.apply(Event::OperationBegan(Operation {
                id,
                from: profile_before.clone(),
                to: wish.to.clone(),
                plan: plan.clone(),
                step: 0,
                undoing: false,
                cancellable: true,
                began: Timestamp::now(),
            }));
        }
        Errand { id, wish, plan, awake_before, profile_before, cancel }
    }
}

pub(crate) fn plan_error(error: &PlanError) -> ApiError {
    let message = error.to_string();
    match error {
        PlanError::UnknownProfile(_) => {
            ApiError::new(Code::Unknown, message, "See the profiles with: asgard status")
        }
        PlanError::UnknownAgent(_) => {
            ApiError::new(Code::Unknown, message, "See the agents with: asgard status")
        }
        PlanError::Capacity(_) | PlanError::NoPool => ApiError::new(
            Code::Failed,
            message,
            "Check that /proc/meminfo and /sys/class/drm can be read; nothing is started on a guess.",
        ),
    }
}
