//! The TypeScript twin of the shapes. It is generated, committed, and a test fails when it is stale.

use std::fmt::Write as _;

use ts_rs::{Config, TS};

use crate::request;
use crate::shapes::{
    activity, agents, chat, doctor, gateway, history, images, models, neighbours, plans, settings, stacks,
    status, tools,
};

/// The whole of `ui/src/lib/backend/types.ts`.
pub fn generate() -> String {
    let config = Config::new().with_large_int("number");
    let mut out = String::from(
        "// Generated from the Rust shapes by `make generate`. Do not edit: `make check` fails when it is stale.\n\n",
    );
    out.push_str(
        "export type AgentState =\n  | \"asleep\"\n  | \"pulling\"\n  | \"starting\"\n  | \"loading\"\n  | \"ready\"\n  | \"busy\"\n  | \"draining\"\n  | \"stopping\"\n  | \"failed\";\n\n",
    );
    out.push_str("export type Stage = \"container\" | \"weights\" | \"kv_cache\" | \"warm_up\";\n\n");
    out.push_str("/** What may stand at a key of the stack file. */\nexport type StackValue = string | number | boolean | string[] | { [key: string]: string };\n\n");
    macro_rules! declare {
        ($($shape:ty),* $(,)?) => { $( let _ = writeln!(out, "export {}\n", <$shape as TS>::decl(&config)); )* };
    }
    declare!(
        crate::error::Code,
        crate::error::ApiError,
        status::Nothing,
        status::Changed,
        status::Status,
        status::StackName,
        status::Notice,
        status::Severity,
        status::Switching,
        status::Yielded,
        status::Suggestion,
        status::Footprint,
        status::EngineStatus,
        status::GatewayStatus,
        status::Failure,
        status::Pool,
        status::PoolAgent,
        status::Learned,
        status::AgentStatus,
        status::ClaimParts,
        plans::PlanRequest,
        plans::PlanChange,
        plans::PlanChanged,
        plans::SwitchRequest,
        plans::UpRequest,
        plans::Profiles,
        plans::ProfileView,
        plans::Plan,
        plans::PlanStep,
        plans::PlanStepPool,
        plans::PlanPool,
        plans::PlanAgent,
        plans::Outcome,
        plans::OutcomeKind,
        models::EstimateRequest,
        models::Estimate,
        models::DeviceEstimate,
        models::Certainty,
        models::EstimateFit,
        agents::AgentRequest,
        agents::SuggestionRequest,
        agents::YieldRequest,
        agents::LaunchPreview,
        agents::LaunchVariable,
        agents::ExplainedFlag,
        agents::DroppedFlag,
        agents::HealthRequest,
        agents::Health,
        agents::AgentHealth,
        agents::LogsRequest,
        agents::LogTail,
        agents::LogLine,
        gateway::RequestsQuery,
        gateway::Requests,
        gateway::RequestOutcome,
        gateway::RequestRow,
        gateway::RequestPlace,
        gateway::TableFormat,
        gateway::ExportRequestsRequest,
        gateway::NamedText,
        gateway::GatewayView,
        gateway::BudgetView,
        gateway::KeyView,
        gateway::GatewaySettings,
        gateway::GatewayPatch,
        gateway::PauseRequest,
        gateway::NewKeyRequest,
        gateway::KeyRequest,
        gateway::KeyText,
        tools::Tool,
        tools::ToolRequest,
        tools::ToolsRequest,
        tools::ToolConfig,
        tools::ToolConfigs,
        tools::ToolWritten,
        tools::BenchRequest,
        tools::BenchLine,
        activity::EventsRequest,
        activity::Events,
        activity::Event,
        history::PictureTheme,
        history::PictureFormat,
        history::HistoryRequest,
        history::History,
        history::PoolHistory,
        history::HistoryMark,
        history::AgentHistoryRequest,
        history::AgentHistories,
        history::AgentHistory,
        history::FigureHistory,
        history::PictureRequest,
        history::Picture,
        chat::ConversationRequest,
        chat::NewConversation,
        chat::SendRequest,
        chat::Conversations,
        chat::ConversationSummary,
        chat::Conversation,
        chat::Message,
        chat::MessageRole,
        chat::MessageState,
        chat::ReplyStats,
        chat::ReplyChunk,
        settings::AfterLogin,
        settings::Settings,
        settings::SettingsPatch,
        settings::StackFile,
        settings::StackProblem,
        settings::ShutdownRequest,
        neighbours::Neighbours,
        neighbours::Neighbour,
        neighbours::NeighbourKind,
        neighbours::ServerKind,
        neighbours::MemoryBasis,
        neighbours::NeighbourModel,
        neighbours::Answer,
        neighbours::NeighbourRequest,
        neighbours::AdoptRequest,
        neighbours::StopNeighbourRequest,
        stacks::Presets,
        stacks::Preset,
        stacks::PresetRequest,
        stacks::PresetUsed,
        stacks::ImportKind,
        stacks::ImportRequest,
        stacks::Imported,
        stacks::Finding,
        stacks::SurfaceEntry,
        stacks::SurfaceKind,
        stacks::Confirmation,
        stacks::ConfirmRequest,
        stacks::ExportKind,
        stacks::ExportRequest,
        stacks::Exported,
        stacks::TextFile,
        stacks::StackForm,
        stacks::AgentForm,
        stacks::ProfileForm,
        stacks::StackEdit,
        stacks::EditRequest,
        stacks::Edited,
        stacks::Applied,
        images::Images,
        images::Image,
        images::ImageRequest,
        images::TryImageRequest,
        doctor::Doctor,
        doctor::DoctorCheck,
        doctor::DoctorStatus,
        doctor::DoctorReport,
    );
    let map = request::map(&config);
    for (name, streams, what) in [
        ("Calls", false, "Requests with one answer: payload and response."),
        ("Streams", true, "Requests answered by a stream: payload and chunk."),
    ] {
        let _ = writeln!(out, "/** {what} */\nexport interface {name} {{");
        for (cmd, payload, response, _) in map.iter().filter(|(_, _, _, s)| *s == streams) {
            let _ = writeln!(out, "  {}: [{payload}, {response}];", snake(cmd));
        }
        out.push_str("}\n\n");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

/// `FollowLogs` as serde spells it: `follow_logs`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
