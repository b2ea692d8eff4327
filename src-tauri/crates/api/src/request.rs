//! The list of requests, written once.

use serde::{Deserialize, Serialize};

use crate::shapes::{
    activity, agents, assign, chat, doctor, downloads, gateway, history, hub, images, installed, models,
    neighbours, plans, settings, stacks, status, tools,
};

/// Writes the enum, the map from request to response for TypeScript, and the names.
macro_rules! requests {
    (
        $( $(#[doc = $doc:literal])* $name:ident($req:ty) -> $resp:ty; )*
        => stream:
        $( $(#[doc = $sdoc:literal])* $sname:ident($sreq:ty) -> $schunk:ty; )*
    ) => {
        /// A request that has one answer.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(tag = "cmd", content = "payload", rename_all = "snake_case")]
        pub enum Request { $( $(#[doc = $doc])* $name($req), )* }

        /// A request that is answered by a stream of chunks.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(tag = "cmd", content = "payload", rename_all = "snake_case")]
        pub enum Streamed { $( $(#[doc = $sdoc])* $sname($sreq), )* }

        /// For each request: its name, its payload's and its response's TypeScript type, whether it streams.
        pub fn map(config: &ts_rs::Config) -> Vec<(&'static str, String, String, bool)> {
            use ts_rs::TS;
            vec![
                $( (stringify!($name), <$req as TS>::name(config), <$resp as TS>::name(config), false), )*
                $( (stringify!($sname), <$sreq as TS>::name(config), <$schunk as TS>::name(config), true), )*
            ]
        }
    };
}

requests! {
    /// The whole state, as `asgard status --json` prints it.
    Status(status::Nothing) -> status::Status;
    /// What a switch to each profile would do, in the order of the stack file.
    Profiles(status::Nothing) -> plans::Profiles;
    /// What a wish would do, without doing it.
    Plan(plans::PlanRequest) -> plans::Plan;
    /// Make a profile's agents awake and nobody else. Answers when it is done, undone or refused.
    Switch(plans::SwitchRequest) -> plans::Outcome;
    /// The named profile, else the active one, else the base.
    Up(plans::UpRequest) -> plans::Outcome;
    /// Everybody asleep.
    Down(status::Nothing) -> plans::Outcome;
    Start(agents::AgentRequest) -> plans::Outcome;
    Stop(agents::AgentRequest) -> plans::Outcome;
    Restart(agents::AgentRequest) -> plans::Outcome;
    /// Stop an agent and start it again as soon as nobody uses it. Answered at once; remembered until then.
    RestartWhenIdle(agents::AgentRequest) -> plans::Outcome;
    /// What `restart_when_idle` asked for shall not be, after all.
    TakeRestartBack(agents::AgentRequest) -> plans::Outcome;
    /// Put what is idle to sleep and keep it so, for a game or a build.
    Yield(agents::YieldRequest) -> plans::Outcome;
    /// Take the memory back: who was awake before the yield wakes again.
    Resume(status::Nothing) -> plans::Outcome;
    /// Write one of an agent's suggestions into the stack file; nothing is restarted by it.
    ApplySuggestion(agents::SuggestionRequest) -> stacks::Edited;
    /// The command that an agent is started with, and why each flag has its value.
    LaunchPreview(agents::AgentRequest) -> agents::LaunchPreview;
    /// What a model takes, and where it would fit.
    Estimate(models::EstimateRequest) -> models::Estimate;
    /// The models that the shipped presets name; no network is asked.
    CuratedModels(status::Nothing) -> hub::CuratedModels;
    /// A repository of the Hub, its files, and which of its variants run here.
    ModelInfo(hub::RepoRequest) -> hub::ModelInfo;
    /// The Hub's account, as it was known last.
    HubAccount(status::Nothing) -> hub::HubAccount;
    /// Keep a token, and ask the Hub whose it is. One that the Hub does not take is not kept.
    SetHubToken(hub::TokenRequest) -> hub::HubAccount;
    RemoveHubToken(status::Nothing) -> hub::HubAccount;
    /// Ask the Hub again.
    CheckHubToken(status::Nothing) -> hub::HubAccount;
    /// Put a repository, or one variant of it, into the queue of downloads. One that is there already is taken up.
    Pull(downloads::PullRequest) -> downloads::Download;
    Downloads(status::Nothing) -> downloads::Downloads;
    /// One download with its files.
    Download(downloads::DownloadRequest) -> downloads::DownloadDetail;
    PauseDownload(downloads::DownloadsRequest) -> downloads::Downloads;
    ResumeDownload(downloads::DownloadsRequest) -> downloads::Downloads;
    CancelDownload(downloads::CancelDownloadRequest) -> downloads::Downloads;
    /// Take one that ended out of the list; no file goes.
    ForgetDownload(downloads::DownloadRequest) -> downloads::Downloads;
    LimitDownloads(downloads::DownloadLimitRequest) -> downloads::Downloads;
    /// What is in the cache.
    InstalledModels(status::Nothing) -> installed::InstalledModels;
    /// Delete a model that nobody uses.
    RemoveModel(installed::RemoveModelRequest) -> installed::RemovedModel;
    /// What a model would come to as an agent's; nothing is written.
    AssignPreview(assign::AssignRequest) -> assign::AssignPreview;
    /// Write it to the stack file; nothing is restarted by it.
    Assign(assign::AssignRequest) -> stacks::Edited;
    FirstRun(status::Nothing) -> assign::FirstRun;
    FinishFirstRun(assign::FinishFirstRunRequest) -> assign::FirstRun;
    /// Cancel what is under way and put back what ran before.
    Cancel(status::Nothing) -> status::Nothing;
    /// Ask every agent that is awake (deep: for a streamed answer and a tool call).
    Health(agents::HealthRequest) -> agents::Health;
    /// The last lines of an agent's log.
    Logs(agents::LogsRequest) -> agents::LogTail;
    /// The latest events, newest first.
    Events(activity::EventsRequest) -> activity::Events;
    /// Who waits for an agent, who uses one, and what became of the others.
    Requests(gateway::RequestsQuery) -> gateway::Requests;
    /// Every request that is kept, as a table.
    ExportRequests(gateway::ExportRequestsRequest) -> gateway::NamedText;
    /// The gateway's settings, keys and summon budgets.
    GatewayView(status::Nothing) -> gateway::GatewayView;
    /// Change `[gateway]` of the stack file.
    ChangeGateway(gateway::GatewayPatch) -> gateway::GatewayView;
    /// The summon budgets begin anew.
    NewSession(status::Nothing) -> status::Nothing;
    /// While it is paused nobody is woken for tools, and nothing is queued.
    PauseGateway(gateway::PauseRequest) -> status::Nothing;
    /// Make a key for a tool. With the first, every request has to bring one.
    NewKey(gateway::NewKeyRequest) -> gateway::KeyText;
    /// A key's secret, for the tool's own configuration.
    RevealKey(gateway::KeyRequest) -> gateway::KeyText;
    RemoveKey(gateway::KeyRequest) -> status::Nothing;
    /// What each pool was used for, drawn and in words.
    History(history::HistoryRequest) -> history::History;
    /// What the agents' servers said of themselves, each figure a small picture.
    AgentHistory(history::AgentHistoryRequest) -> history::AgentHistories;
    /// The picture of the pools as a file, for whoever asks to write down.
    ExportPicture(history::PictureRequest) -> history::Picture;
    Conversations(status::Nothing) -> chat::Conversations;
    Conversation(chat::ConversationRequest) -> chat::Conversation;
    NewConversation(chat::NewConversation) -> chat::Conversation;
    DeleteConversation(chat::ConversationRequest) -> status::Nothing;
    /// End the reply under way; what has arrived is kept.
    StopReply(chat::ConversationRequest) -> status::Nothing;
    Settings(status::Nothing) -> settings::Settings;
    ChangeSettings(settings::SettingsPatch) -> settings::Settings;
    /// The stack in force: where it is, its text, its problems and notes.
    Stack(status::Nothing) -> settings::StackFile;
    /// Write the shipped stack to the stack file, where none exists yet.
    SaveStack(status::Nothing) -> settings::StackFile;
    /// The stack as an editor shows it.
    StackForm(status::Nothing) -> stacks::StackForm;
    /// Change the stack file; nothing is restarted by it.
    EditStack(stacks::EditRequest) -> stacks::Edited;
    /// Restart the running agents whose part of the stack changed: those that nobody uses now, the others as soon as
    /// nobody does.
    ApplyStack(status::Nothing) -> stacks::Applied;
    Presets(status::Nothing) -> stacks::Presets;
    /// Take a shipped stack; the file that is there is kept under another name.
    UsePreset(stacks::PresetRequest) -> stacks::PresetUsed;
    /// Read compose files, a .env, or a stack of somebody else.
    Import(stacks::ImportRequest) -> stacks::Imported;
    /// The stack in force in another form.
    Export(stacks::ExportRequest) -> stacks::Exported;
    /// What every coding tool needs to use the agents.
    ToolConfigs(tools::ToolsRequest) -> tools::ToolConfigs;
    /// What one of them needs; nothing is written.
    ToolConfig(tools::ToolRequest) -> tools::ToolConfig;
    /// Write it into the tool's own file, with a backup.
    WriteToolConfig(tools::ToolRequest) -> tools::ToolWritten;
    /// What the stack in force would run, and whether a person must confirm it first.
    Confirmation(status::Nothing) -> stacks::Confirmation;
    /// A person has seen it and says yes.
    ConfirmStack(stacks::ConfirmRequest) -> status::Nothing;
    /// Model servers that run here and that Asgard did not start.
    Neighbours(status::Nothing) -> neighbours::Neighbours;
    /// Show, route to and count one of them; never restart it.
    Adopt(neighbours::AdoptRequest) -> neighbours::Neighbours;
    /// Stop one of them, without removing it.
    StopNeighbour(neighbours::StopNeighbourRequest) -> neighbours::Neighbours;
    /// Leave it alone, and do not ask again.
    LeaveNeighbour(neighbours::NeighbourRequest) -> neighbours::Neighbours;
    /// Take back what was answered: what was adopted is left, what was stopped is started again.
    UndoNeighbour(neighbours::NeighbourRequest) -> neighbours::Neighbours;
    Images(status::Nothing) -> images::Images;
    /// Ask the registries for newer images under the same tags.
    CheckImages(status::Nothing) -> images::Images;
    /// Pull the newer image, restart one agent with it, and keep it if it answers.
    TryImage(images::TryImageRequest) -> images::Images;
    /// Back to the digest before.
    UndoImage(images::ImageRequest) -> images::Images;
    /// Remove an image that no agent uses.
    RemoveImage(images::ImageRequest) -> images::Images;
    /// What this machine needs to run the stack; nothing is changed by asking.
    Doctor(status::Nothing) -> doctor::Doctor;
    /// The same and more as a text to send, without secrets.
    DoctorReport(status::Nothing) -> doctor::DoctorReport;
    /// End the controller; agents keep running unless told otherwise.
    Shutdown(settings::ShutdownRequest) -> status::Nothing;
    => stream:
    /// A chunk per change of anything; the reader fetches what it shows.
    Watch(status::Nothing) -> status::Changed;
    /// The last lines, then each new one.
    FollowLogs(agents::LogsRequest) -> agents::LogLine;
    /// Send a message and receive the reply. Ending this stream does not end the reply.
    Send(chat::SendRequest) -> chat::ReplyChunk;
    /// Ask again for the last reply of a conversation.
    Retry(chat::ConversationRequest) -> chat::ReplyChunk;
    /// The reply under way in a conversation, from its start; ends at once where there is none.
    FollowReply(chat::ConversationRequest) -> chat::ReplyChunk;
    /// Ask an agent that is awake five short prompts, one line each, then one with the medians.
    Bench(tools::BenchRequest) -> tools::BenchLine;
    /// Search the Hub: a page, then each of its models again when it was looked at.
    SearchModels(hub::SearchRequest) -> hub::SearchChunk;
    /// Hash an installed model again.
    VerifyModel(installed::InstalledRequest) -> installed::VerifyProgress;
    /// Take a folder or a GGUF file into the cache; the original stays. Whoever hangs up ends it, and nothing is left.
    ImportModel(installed::ImportModelRequest) -> installed::ImportProgress;
}
