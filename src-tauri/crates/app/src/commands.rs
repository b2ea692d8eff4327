//! Every request, and what answers it: one match.

use std::sync::Arc;

use api::request::{Request, Streamed};
use api::shapes::activity::Events;
use api::shapes::agents::{LogLine, LogTail};
use api::shapes::plans::{Outcome, OutcomeKind, PlanRequest};
use api::shapes::settings::{AfterLogin, Settings, SettingsPatch, StackFile};
use api::shapes::status::{Changed, Nothing, Severity};
use api::{ApiError, Code};
use domain::agent::AgentName;
use domain::plan::{Goal, Situation, plan};
use domain::schedule::PersonAct;
use futures_util::StreamExt;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::activity::happened;
use crate::carry::Ctx;
use crate::chat::{self, Replies};
use crate::gateway::Port;
use crate::gateway_settings::Session;
use crate::here::Here;
use crate::run_loop::{Wish, plan_error};
use crate::stack_watch;
use crate::state::Event;
use crate::telemetry::Lookers;
use crate::{
    account, assigning, bench, discover, doctor, downloads, editing, estimating, first_run, gateway_settings,
    health, history, images, installed, keys, neighbours, record, restarting, stacks, tools, view, what_if,
    yielding,
};

/// What Asgard can do, for the faces' hosts.
#[derive(Clone)]
pub struct App {
    pub(crate) ctx: Ctx,
    pub(crate) replies: Replies,
    pub(crate) lookers: Lookers,
    /// The gateway's port; its end is the controller's.
    pub(crate) port: Port,
    pub(crate) ended: watch::Sender<bool>,
    /// Held for the life of the controller.
    pub(crate) _lock: Arc<store::lock::ControllerLock>,
}

/// A request's name and payload as the enum wants them.
fn call<T: serde::de::DeserializeOwned>(cmd: &str, payload: Value) -> Result<T, ApiError> {
    let payload = if payload.is_null() { Value::Object(serde_json::Map::new()) } else { payload };
    serde_json::from_value(serde_json::json!({"cmd": cmd, "payload": payload})).map_err(|e| {
        ApiError::new(
            Code::Usage,
            format!("The request {cmd:?} could not be read: {e}."),
            "The face that sent it may be of another version: start it again.",
        )
    })
}

fn json<T: Serialize>(value: T) -> Result<Value, ApiError> {
    serde_json::to_value(value)
        .map_err(|e| ApiError::new(Code::Failed, format!("The answer could not be written: {e}."), ""))
}

impl App {
    /// Answers a request that has one answer.
    pub async fn handle(&self, cmd: &str, payload: Value) -> Result<Value, ApiError> {
        let ctx = &self.ctx;
        match call::<Request>(cmd, payload)? {
            Request::Status(_) => json(view::status(&ctx.state.state(), Timestamp::now())),
            Request::Profiles(_) => json(view::profiles(&ctx.state.state()).map_err(|e| plan_error(&e))?),
            Request::Plan(asked) => json(self.plan(&asked)?),
            Request::Switch(asked) => json(self.profile(asked.profile).await?),
            Request::Up(asked) => {
                let state = ctx.state.state();
                let profile = asked
                    .profile
                    .or_else(|| state.profile.clone())
                    .unwrap_or_else(|| state.stack.base.clone());
                json(self.profile(profile).await?)
            }
            Request::Down(_) => {
                let outcome = self.instead(None, Goal::Nobody, "down".to_owned()).await?;
                ctx.gate.person(PersonAct::Down);
                json(outcome)
            }
            Request::Start(asked) => {
                let agent = name(&asked.agent)?;
                ctx.gate.person(PersonAct::Started(ctx.state.state().stack.server_of(&agent).clone()));
                json(self.wish(Goal::Awake(agent), asked.agent).await?)
            }
            Request::Stop(asked) => {
                let agent = name(&asked.agent)?;
                let server = ctx.state.state().stack.server_of(&agent).clone();
                let outcome = self.wish(Goal::Asleep(agent), asked.agent).await?;
                ctx.gate.person(PersonAct::Stopped(server));
                json(outcome)
            }
            Request::Restart(asked) => {
                let agent = ctx.state.state().stack.server_of(&name(&asked.agent)?).clone();
                ctx.gate.person(PersonAct::Started(agent.clone()));
                self.wish(Goal::Asleep(agent.clone()), asked.agent.clone()).await?;
                json(self.wish(Goal::Awake(agent), asked.agent).await?)
            }
            Request::RestartWhenIdle(asked) => json(restarting::when_idle(ctx, &name(&asked.agent)?).await?),
            Request::TakeRestartBack(asked) => json(restarting::take_back(ctx, &name(&asked.agent)?).await?),
            Request::Yield(asked) => json(yielding::yield_memory(ctx, asked.hours).await?),
            Request::Resume(_) => json(yielding::resume(ctx).await?),
            Request::ApplySuggestion(asked) => json(editing::apply_suggestion(ctx, &asked).await?),
            Request::LaunchPreview(asked) => json(crate::preview::preview(ctx, &name(&asked.agent)?).await?),
            Request::Estimate(asked) => {
                let described = match estimating::describe(&ctx.world.paths, &asked) {
                    Err(error) if error.code == Code::Unknown => {
                        discover::described(ctx, &asked.model, error).await?
                    }
                    here => here?,
                };
                let state = ctx.state.state();
                let situation = Situation { pools: state.pools.clone(), ..Situation::default() };
                let ground = Some((state.stack.as_ref(), &situation));
                json(estimating::answer(&described, &asked, ground, ctx.world.scale())?)
            }
            Request::CuratedModels(_) => json(discover::curated(ctx)),
            Request::ModelInfo(asked) => json(discover::info(ctx, &asked).await?),
            Request::HubAccount(_) => json(account::account(ctx).await),
            Request::SetHubToken(asked) => json(account::set(ctx, asked.token).await?),
            Request::RemoveHubToken(_) => json(account::remove(ctx).await?),
            Request::CheckHubToken(_) => json(account::check(ctx).await?),
            Request::Pull(asked) => json(downloads::pull(ctx, &asked).await?),
            Request::Downloads(_) => json(downloads::list(ctx)),
            Request::Download(asked) => json(downloads::detail(ctx, &asked.id)?),
            Request::PauseDownload(asked) => json(downloads::pause(ctx, asked.id.as_deref()).await?),
            Request::ResumeDownload(asked) => json(downloads::resume(ctx, asked.id.as_deref()).await?),
            Request::CancelDownload(asked) => json(downloads::cancel(ctx, &asked).await?),
            Request::ForgetDownload(asked) => json(downloads::forget(ctx, &asked.id).await?),
            Request::LimitDownloads(asked) => json(downloads::limit(ctx, asked.bytes_per_second).await?),
            Request::InstalledModels(_) => json(installed::list(ctx).await?),
            Request::RemoveModel(asked) => json(installed::remove(ctx, &asked).await?),
            Request::AssignPreview(asked) => json(assigning::preview(ctx, &asked).await?),
            Request::Assign(asked) => json(assigning::assign(ctx, &asked).await?),
            Request::FirstRun(_) => json(first_run::first_run(ctx).await?),
            Request::FinishFirstRun(asked) => json(first_run::finish(ctx, &asked).await?),
            Request::Cancel(_) => {
                ctx.state.cancel().await?;
                json(Nothing {})
            }
            Request::Health(asked) => json(health::health(ctx, asked.deep).await),
            Request::Logs(asked) => json(self.logs(&asked.agent, asked.lines).await?),
            Request::Events(asked) => {
                let all = ctx.state.state().events.clone();
                json(Events { events: all.iter().take(asked.limit as usize).cloned().collect() })
            }
            Request::Requests(asked) => json(ctx.recorder.page(&asked).await?),
            Request::ExportRequests(asked) => {
                json(record::export(&ctx.recorder, &asked, Timestamp::now()).await?)
            }
            Request::GatewayView(_) => json(self.gateway_view()),
            Request::ChangeGateway(patch) => {
                gateway_settings::change(ctx, &patch).await?;
                json(self.gateway_view())
            }
            Request::NewSession(_) => {
                ctx.gate.new_session();
                json(Nothing {})
            }
            Request::PauseGateway(asked) => {
                ctx.gate.pause(asked.paused).await;
                json(Nothing {})
            }
            Request::NewKey(asked) => json(keys::new(ctx, &asked).await?),
            Request::RevealKey(asked) => json(keys::reveal(ctx, &asked.name).await?),
            Request::RemoveKey(asked) => {
                keys::remove(ctx, &asked.name).await?;
                json(Nothing {})
            }
            Request::History(asked) => json(history::pools(ctx, asked).await?),
            Request::AgentHistory(asked) => json(history::agents(ctx, asked).await?),
            Request::ExportPicture(asked) => json(history::export(ctx, asked).await?),
            Request::Conversations(_) => json(chat::list(ctx, &self.replies).await?),
            Request::Conversation(asked) => json(chat::one(ctx, &self.replies, asked.conversation).await?),
            Request::NewConversation(asked) => json(chat::new(ctx, &self.replies, &asked.agent).await?),
            Request::DeleteConversation(asked) => {
                chat::delete(ctx, &self.replies, asked.conversation).await?;
                json(Nothing {})
            }
            Request::StopReply(asked) => {
                self.replies.stop(asked.conversation);
                json(Nothing {})
            }
            Request::Settings(_) => json(self.settings().await),
            Request::ChangeSettings(patch) => json(self.change_settings(patch).await?),
            Request::Stack(_) => json(self.stack_file()),
            Request::SaveStack(_) => {
                stack_watch::save(ctx).await?;
                json(self.stack_file())
            }
            Request::StackForm(_) => json(editing::form(ctx)?),
            Request::EditStack(asked) => json(editing::edit(ctx, &asked).await?),
            Request::ApplyStack(_) => json(restarting::apply(ctx).await?),
            Request::Presets(_) => {
                let state = ctx.state.state();
                json(stacks::presets(&self.ground(), &state.source.text))
            }
            Request::UsePreset(asked) => {
                let used = stacks::use_preset(&self.ground(), &asked)?;
                if used.written {
                    stack_watch::read_again(ctx).await;
                }
                json(used)
            }
            Request::Import(asked) => {
                let imported = stacks::import(&self.ground(), &ctx.world.secrets, &asked).await?;
                if imported.written.is_some() {
                    stack_watch::read_again(ctx).await;
                }
                json(imported)
            }
            Request::Export(asked) => json(stacks::export(&ctx.state.state().file_stack, asked)),
            Request::ToolConfigs(asked) => json(tools::answer_all(ctx, &asked).await?),
            Request::ToolConfig(asked) => json(tools::answer_one(ctx, &asked).await?),
            Request::WriteToolConfig(asked) => json(tools::answer_write(ctx, &asked).await?),
            Request::Confirmation(_) => {
                json(stacks::confirmation(&self.ground(), &ctx.state.state().file_stack))
            }
            Request::ConfirmStack(asked) => {
                stacks::confirm(&self.ground(), &ctx.state.state().file_stack, &asked.hash)?;
                ctx.state.tell(Event::Confirming(None)).await;
                json(Nothing {})
            }
            Request::Neighbours(_) => json(neighbours::list(ctx).await),
            Request::Adopt(asked) => json(neighbours::adopt(ctx, &asked).await?),
            Request::StopNeighbour(asked) => json(neighbours::stop(self, &asked).await?),
            Request::LeaveNeighbour(asked) => json(neighbours::leave(ctx, &asked.id).await?),
            Request::UndoNeighbour(asked) => json(neighbours::undo(self, &asked.id).await?),
            Request::Images(_) => json(images::list(ctx).await),
            Request::CheckImages(_) => json(images::check(ctx).await),
            Request::TryImage(asked) => json(images::try_on(ctx, &asked).await?),
            Request::UndoImage(asked) => json(images::undo(ctx, &asked).await?),
            Request::RemoveImage(asked) => json(images::remove(ctx, &asked).await?),
            Request::Doctor(_) => json(doctor::doctor(ctx).await),
            Request::DoctorReport(_) => json(doctor::report(ctx).await),
            Request::Shutdown(asked) => {
                if asked.stop_agents {
                    self.wish(Goal::Nobody, "down".to_owned()).await?;
                }
                self.port.end();
                json(Nothing {})
            }
        }
    }

    pub fn is_stream(cmd: &str) -> bool {
        matches!(
            cmd,
            "watch"
                | "follow_logs"
                | "send"
                | "retry"
                | "follow_reply"
                | "bench"
                | "search_models"
                | "verify_model"
                | "import_model"
        )
    }

    /// Answers a request with chunks until it ends, or until nobody receives them.
    pub async fn stream(&self, cmd: &str, payload: Value, out: mpsc::Sender<Value>) -> Result<(), ApiError> {
        let ctx = &self.ctx;
        match call::<Streamed>(cmd, payload)? {
            Streamed::Watch(_) => {
                let _looking = self.lookers.come();
                let mut view = ctx.state.view();
                loop {
                    let revision = view.borrow_and_update().revision;
                    if out.send(json(Changed { revision })?).await.is_err() {
                        return Ok(());
                    }
                    tokio::select! {
                        changed = view.changed() => if changed.is_err() { return Ok(()) },
                        () = out.closed() => return Ok(()),
                    }
                }
            }
            Streamed::FollowLogs(asked) => self.follow_logs(&asked.agent, asked.lines, out).await,
            Streamed::Send(asked) => {
                chat::send(ctx, &self.replies, asked.conversation, asked.text, out).await
            }
            Streamed::Retry(asked) => chat::retry(ctx, &self.replies, asked.conversation, out).await,
            Streamed::FollowReply(asked) => chat::follow(ctx, &self.replies, asked.conversation, out).await,
            Streamed::Bench(asked) => bench::bench(ctx, &asked, out).await,
            Streamed::SearchModels(asked) => discover::search(ctx, &asked, out).await,
            Streamed::VerifyModel(asked) => installed::verify(ctx, &asked.id, out).await,
            Streamed::ImportModel(asked) => installed::import(ctx, &asked, out).await,
        }
    }

    /// Changes whenever anything does.
    pub fn view(&self) -> watch::Receiver<u64> {
        let mut state = self.ctx.state.view();
        let (to, view) = watch::channel(state.borrow().revision);
        tokio::spawn(async move {
            while state.changed().await.is_ok() {
                let revision = state.borrow_and_update().revision;
                if to.send(revision).is_err() {
                    return;
                }
            }
        });
        view
    }

    /// The tray's content.
    pub fn tray(&self) -> domain::tray::TrayState {
        crate::tray_view::tray_state(&self.ctx.state.state(), Timestamp::now())
    }

    /// Resolves when `shutdown` was asked for and everything is put away.
    pub async fn finished(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Asks for the end; agents keep running.
    pub fn end(&self) {
        self.port.end();
    }

    fn gateway_view(&self) -> api::shapes::gateway::GatewayView {
        gateway_settings::view(&self.ctx, &Session::of(&self.ctx.gate))
    }

    /// Where the stack is kept, and the machine it is for.
    fn ground(&self) -> stacks::Ground {
        let world = &self.ctx.world;
        stacks::Ground {
            paths: world.paths.clone(),
            scale: world.scale(),
            pools: self.ctx.state.state().pools.clone(),
        }
    }

    /// What the person wants awake from now on.
    async fn profile(&self, profile: String) -> Result<Outcome, ApiError> {
        let outcome = self.instead(Some(&profile), Goal::Profile(profile.clone()), profile.clone()).await?;
        self.ctx.gate.person(PersonAct::Switched);
        Ok(outcome)
    }

    /// What the person chose takes the place of a profile that waits for its downloads.
    async fn instead(&self, chosen: Option<&str>, goal: Goal, to: String) -> Result<Outcome, ApiError> {
        // Before the switch, so that it does not come in right behind it.
        let over = self.ctx.downloads.wait_is_over(chosen).await;
        let outcome = self.wish(goal, to).await;
        if !outcome.as_ref().is_ok_and(|o| o.result == OutcomeKind::Done) {
            self.ctx.downloads.wait_again(over).await;
        } else if let Some(words) = over.as_ref().and_then(downloads::Over::words) {
            happened(&self.ctx, Severity::Info, None, words);
        }
        outcome
    }

    async fn wish(&self, goal: Goal, to: String) -> Result<Outcome, ApiError> {
        self.ctx.state.wish(Wish::new(goal, to)).await
    }

    fn plan(&self, asked: &PlanRequest) -> Result<api::shapes::plans::Plan, ApiError> {
        let state = self.ctx.state.state();
        let goal = match (&asked.profile, &asked.agent) {
            (Some(profile), None) => Goal::Profile(profile.clone()),
            (None, Some(agent)) => Goal::Awake(name(agent)?),
            _ => {
                return Err(ApiError::new(
                    Code::Usage,
                    "A plan is for a profile or for an agent.",
                    "Name one of the two.",
                ));
            }
        };
        let Some(change) = &asked.change else {
            let plan = plan(&state.stack, &state.situation(), &goal).map_err(|e| plan_error(&e))?;
            return Ok(view::plan_shape(&plan, &state.stack_hash));
        };
        let source = what_if::Source {
            path: &self.ctx.world.paths.stack_file(),
            text: &state.source.text,
            scale: self.ctx.world.scale(),
            here: &Here::in_world(&self.ctx.world, state.gpu),
        };
        let (stack, changed) = what_if::changed(&source, &state.file_stack, &state.pools, change)?;
        let stack = crate::overlay::effective(&Arc::new(stack), &state.answers);
        // The agent itself would start again with it: it is planned as if it slept.
        let mut situation = state.situation();
        what_if::without(&mut situation, &changed.agent);
        let plan = plan(&stack, &situation, &goal).map_err(|e| plan_error(&e))?;
        Ok(api::shapes::plans::Plan { changed: Some(changed), ..view::plan_shape(&plan, &state.stack_hash) })
    }

    async fn logs(&self, agent: &str, lines: Option<u32>) -> Result<LogTail, ApiError> {
        let agent = self.known(agent)?;
        let wanted = lines.unwrap_or(500).min(5000) as usize;
        let state = self.ctx.state.state();
        let agent = state.stack.server_of(&agent).clone();
        let live = state.agents.get(&agent);
        let kept = live.map(|l| l.kept_log.clone()).unwrap_or_default();
        let lines = if kept.is_empty() {
            let mut found = Vec::new();
            for engine in self.ctx.world.engines() {
                if live.and_then(|l| l.engine.as_deref()).is_some_and(|id| id != engine.id()) {
                    continue;
                }
                if let Ok(tail) = engine.log_tail(&agent, wanted).await
                    && !tail.is_empty()
                {
                    found = tail;
                    break;
                }
            }
            found
        } else {
            kept[kept.len().saturating_sub(wanted)..].to_vec()
        };
        Ok(LogTail {
            agent: agent.to_string(),
            lines: lines.into_iter().map(|text| LogLine { text }).collect(),
        })
    }

    /// The tail, then what follows; through restarts of the agent, until nobody listens.
    async fn follow_logs(
        &self,
        agent: &str,
        lines: Option<u32>,
        out: mpsc::Sender<Value>,
    ) -> Result<(), ApiError> {
        let name = self.ctx.state.state().stack.server_of(&self.known(agent)?).clone();
        let tail = self.logs(agent, lines).await?;
        let shown = tail.lines.len();
        for line in tail.lines {
            if out.send(json(line)?).await.is_err() {
                return Ok(());
            }
        }
        let mut first = true;
        loop {
            let state = self.ctx.state.state();
            let live = state.agents.get(&name);
            let instance = live.and_then(|l| l.instance.as_ref()).map(|i| i.id.clone());
            let engine = live.and_then(|l| l.engine.as_deref()).and_then(|id| self.ctx.world.engine(id));
            if let (Some(_), Some(engine)) = (&instance, engine)
                && let Ok(mut log) = engine.log_follow(&name).await
            {
                // The follower begins at the start of the run; what the tail has shown is passed over.
                let mut skip = if first { shown.max(self.run_length(&engine, &name).await) } else { 0 };
                loop {
                    tokio::select! {
                        line = log.next() => match line {
                            Some(_) if skip > 0 => skip -= 1,
                            Some(text) => if out.send(json(LogLine { text })?).await.is_err() { return Ok(()) },
                            None => break,
                        },
                        () = out.closed() => return Ok(()),
                    }
                }
            }
            first = false;
            let next = self.ctx.state.until(|s| {
                let now = s.agents.get(&name).and_then(|l| l.instance.as_ref()).map(|i| &i.id);
                now.is_some() && now != instance.as_ref()
            });
            tokio::select! {
                () = next => {}
                () = out.closed() => return Ok(()),
            }
        }
    }

    async fn run_length(&self, engine: &Arc<dyn engine::Engine>, agent: &AgentName) -> usize {
        engine.log_tail(agent, 100_000).await.map_or(0, |lines| lines.len())
    }

    fn known(&self, agent: &str) -> Result<AgentName, ApiError> {
        let agent = name(agent)?;
        if self.ctx.state.state().agents.contains_key(&agent) {
            Ok(agent)
        } else {
            Err(no_agent(agent.as_str()))
        }
    }

    async fn settings(&self) -> Settings {
        let kept = self.ctx.world.database(|db| db.setting("after_login").ok().flatten()).await.flatten();
        let after_login = kept.and_then(|v| serde_json::from_value::<AfterLogin>(v).ok()).unwrap_or_default();
        Settings { after_login }
    }

    async fn change_settings(&self, patch: SettingsPatch) -> Result<Settings, ApiError> {
        if let Some(after_login) = patch.after_login {
            let value = json(after_login)?;
            let kept = self.ctx.world.database(move |db| db.set_setting("after_login", &value).is_ok()).await;
            if kept != Some(true) {
                return Err(ApiError::new(
                    Code::Failed,
                    "The setting could not be kept.",
                    "Check the disk that holds Asgard's data folder.",
                ));
            }
            crate::start::autostart(&self.ctx, after_login)?;
        }
        Ok(self.settings().await)
    }

    fn stack_file(&self) -> StackFile {
        let state = self.ctx.state.state();
        StackFile {
            path: state.source.path.clone(),
            saved: state.source.saved,
            text: state.source.text.clone(),
            problems: state.source.problems.clone(),
            notes: state
                .stack
                .notes
                .iter()
                .map(|n| match n.path.get(1).and_then(|a| AgentName::new(a).ok()) {
                    Some(agent) => format!("{}: {}", agent.proper(), n.message),
                    None => n.message.clone(),
                })
                .collect(),
        }
    }
}

pub(crate) fn no_agent(agent: &str) -> ApiError {
    ApiError::new(
        Code::Unknown,
        format!("There is no agent {agent:?} in the stack."),
        "See the agents with: asgard status",
    )
}

fn name(agent: &str) -> Result<AgentName, ApiError> {
    AgentName::new(agent).map_err(|_| no_agent(agent))
}
