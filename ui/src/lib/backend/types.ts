// Generated from the Rust shapes by `make generate`. Do not edit: `make check` fails when it is stale.

export type AgentState =
  | "asleep"
  | "pulling"
  | "starting"
  | "loading"
  | "ready"
  | "busy"
  | "draining"
  | "stopping"
  | "failed";

export type Stage = "container" | "weights" | "kv_cache" | "warm_up";

export type Code = "usage" | "unknown" | "does_not_fit" | "busy" | "cancelled" | "failed" | "engine" | "unreachable" | "stack" | "asleep";

export type ApiError = { code: Code, message: string, next: string, };

export type Nothing = Record<symbol, never>;

export type Changed = { revision: number, };

export type Status = { revision: number, profile: string | null, 
/**
 * Whether exactly the profile's agents are awake.
 */
profile_matches: boolean, switching: Switching | null, rehearsal: boolean, engines: Array<EngineStatus>, gateway: GatewayStatus, pools: Array<Pool>, agents: Array<AgentStatus>, 
/**
 * Sentences that concern the whole: a stack file that does not hold, an engine that went away, lost memory.
 */
notices: Array<Notice>, 
/**
 * The name of the stack in force, and whether it is a file of the user's or the shipped one.
 */
stack: StackName, 
/**
 * RFC 3339: since when this controller runs.
 */
since: string, };

export type StackName = { name: string, saved: boolean, hash: string, };

export type Notice = { severity: Severity, message: string, next: string, };

export type Severity = "info" | "warning" | "failure";

export type Switching = { from: string | null, 
/**
 * A profile, or the agent that a start or stop is about.
 */
to: string, 
/**
 * 1-based.
 */
step: number, steps: number, agent: string | null, 
/**
 * "drain", "stop", "wait_memory", "pull", "start", "wait_ready", "undo".
 */
stage: string, 
/**
 * 0 to 1 over the whole.
 */
progress: number | null, seconds_left: number | null, cancellable: boolean, 
/**
 * Whether it is being undone.
 */
undoing: boolean, };

export type EngineStatus = { id: string, 
/**
 * "docker", "podman", "process", "external".
 */
kind: string, version: string | null, reachable: boolean, error: Failure | null, };

export type GatewayStatus = { 
/**
 * "http://127.0.0.1:8899/v1"; null when its port could not be had.
 */
address: string | null, paused: boolean, error: Failure | null, };

export type Failure = { code: string, message: string, next: string, };

export type Pool = { id: string, name: string, 
/**
 * "unified", "vram", "ram".
 */
kind: string, capacity_bytes: number | null, limit_bytes: number | null, device_cap_bytes: number | null, used_bytes: number, device_used_bytes: number | null, other_bytes: number, lost_bytes: number, available_bytes: number, agents: Array<PoolAgent>, };

export type PoolAgent = { agent: string, reserved_bytes: number, measured_bytes: number | null, device_bytes: number, host_bytes: number, 
/**
 * What the reservation is made of, for the bar: solid, hatched, and the rest.
 */
weights_bytes: number, kv_bytes: number, overhead_bytes: number, learned: Learned | null, };

export type Learned = { steady_bytes: number, peak_bytes: number, starts: number, };

export type AgentStatus = { name: string, 
/**
 * "Odin".
 */
display_name: string, title: string, state: AgentState, stage: Stage | null, 
/**
 * 0 to 1 of the start.
 */
progress: number | null, seconds_left: number | null, 
/**
 * One line for a person about what it is doing.
 */
detail: string | null, 
/**
 * The id of the engine it runs on.
 */
engine: string | null, endpoint: string | null, backend: string, model: string, quantization: string | null, port: number, context: number, running: number | null, waiting: number | null, 
/**
 * 0 to 1.
 */
kv_cache_used: number | null, tokens_per_second: number | null, 
/**
 * RFC 3339: since when it is in this state.
 */
since: string | null, drain_until: string | null, idle_until: string | null, restart_to_apply: boolean, pinned: boolean, glyph: string | null, color: string | null, 
/**
 * What it takes when awake, on the pool it takes most of.
 */
claim_bytes: number, claim: ClaimParts, error: Failure | null, 
/**
 * What pressing Start would do ("Stops Valkyrie", "Starting takes about 90 s"); null when awake.
 */
start_hint: string | null, 
/**
 * Whether pressing Start would be refused; the hint says why.
 */
start_refused: boolean, };

export type ClaimParts = { weights_bytes: number, kv_bytes: number, overhead_bytes: number, };

export type PlanRequest = { 
/**
 * Exactly one of the two.
 */
profile: string | null, agent: string | null, };

export type SwitchRequest = { profile: string, };

export type UpRequest = { profile: string | null, };

export type Profiles = { profiles: Array<ProfileView>, };

export type ProfileView = { name: string, agents: Array<string>, 
/**
 * The sum of its agents' claims on the main pool.
 */
total_bytes: number, active: boolean, plan: Plan, };

export type Plan = { profile: string | null, from: string | null, fits: boolean, reason: string, 
/**
 * What to do about a refusal; empty where it fits.
 */
next: string, stack_hash: string, steps: Array<PlanStep>, pools: Array<PlanPool>, 
/**
 * Who is awake at the end.
 */
awake: Array<string>, stops: Array<string>, starts: Array<string>, 
/**
 * About how long it takes in all, where every part was measured once.
 */
seconds: number | null, };

export type PlanStep = { 
/**
 * "drain", "stop", "wait_memory", "pull", "start", "wait_ready", "undo".
 */
action: string, agent: string, seconds: number | null, reason: string, pools: Array<PlanStepPool>, };

export type PlanStepPool = { id: string, reserved_bytes_after: number, peak_bytes: number, };

export type PlanPool = { id: string, name: string, kind: string, capacity_bytes: number | null, limit_bytes: number | null, device_cap_bytes: number | null, used_bytes: number, device_used_bytes: number | null, other_bytes: number, lost_bytes: number, available_bytes: number, planned_bytes: number, peak_bytes: number, shortfall_bytes: number, agents: Array<PlanAgent>, };

export type PlanAgent = { agent: string, weights_bytes: number, kv_bytes: number, overhead_bytes: number, 
/**
 * "declared", "estimated", "learned".
 */
basis: string, };

export type Outcome = { result: OutcomeKind, 
/**
 * One sentence: "odin is active." or what failed and what was put back.
 */
message: string, profile: string | null, seconds: number, };

export type OutcomeKind = "done" | "cancelled";

export type AgentRequest = { agent: string, };

export type HealthRequest = { deep: boolean, };

export type Health = { agents: Array<AgentHealth>, };

export type AgentHealth = { name: string, state: string, 
/**
 * Null when asleep: a listing never wakes anyone.
 */
healthy: boolean | null, detail: string, 
/**
 * Seconds to the first token of the deep check.
 */
first_token_seconds: number | null, tool_call: boolean | null, };

export type LogsRequest = { agent: string, 
/**
 * At most this many of the last lines; 500 where null.
 */
lines: number | null, };

export type LogTail = { agent: string, lines: Array<LogLine>, };

export type LogLine = { text: string, };

export type EventsRequest = { limit: number, };

export type Events = { events: Array<Event>, };

export type Event = { time: string, severity: Severity, agent: string | null, message: string, };

export type ConversationRequest = { conversation: number, };

export type NewConversation = { agent: string, };

export type SendRequest = { conversation: number, text: string, };

export type Conversations = { 
/**
 * The latest first.
 */
conversations: Array<ConversationSummary>, };

export type ConversationSummary = { id: number, agent: string, 
/**
 * The first words of the first message.
 */
title: string, updated: string, 
/**
 * Whether a reply is under way.
 */
replying: boolean, };

export type Conversation = { id: number, agent: string, title: string, updated: string, replying: boolean, messages: Array<Message>, };

export type Message = { id: number, role: MessageRole, 
/**
 * Text as the model gave it: hostile until sanitised.
 */
text: string, thinking: string, state: MessageState, time: string, error: Failure | null, stats: ReplyStats | null, };

export type MessageRole = "user" | "assistant";

export type MessageState = "done" | "streaming" | "stopped" | "failed";

export type ReplyStats = { tokens: number | null, tokens_per_second: number | null, first_token_seconds: number | null, };

export type ReplyChunk = { "kind": "started", message: Message, } | { "kind": "text", text: string, } | { "kind": "thinking", text: string, } | { "kind": "done", message: Message, };

export type AfterLogin = "nothing" | "last_profile" | "base_profile";

export type Settings = { after_login: AfterLogin, };

export type SettingsPatch = { after_login: AfterLogin | null, };

export type StackFile = { path: string, 
/**
 * Whether the file exists; if not, the text is the shipped stack.
 */
saved: boolean, text: string, problems: Array<StackProblem>, notes: Array<string>, };

export type StackProblem = { file: string, 
/**
 * 1-based; null where the whole file is meant.
 */
line: number | null, message: string, next: string, };

export type ShutdownRequest = { stop_agents: boolean, };

/** Requests with one answer: payload and response. */
export interface Requests {
  status: [Nothing, Status];
  profiles: [Nothing, Profiles];
  plan: [PlanRequest, Plan];
  switch: [SwitchRequest, Outcome];
  up: [UpRequest, Outcome];
  down: [Nothing, Outcome];
  start: [AgentRequest, Outcome];
  stop: [AgentRequest, Outcome];
  restart: [AgentRequest, Outcome];
  cancel: [Nothing, Nothing];
  health: [HealthRequest, Health];
  logs: [LogsRequest, LogTail];
  events: [EventsRequest, Events];
  conversations: [Nothing, Conversations];
  conversation: [ConversationRequest, Conversation];
  new_conversation: [NewConversation, Conversation];
  delete_conversation: [ConversationRequest, Nothing];
  stop_reply: [ConversationRequest, Nothing];
  settings: [Nothing, Settings];
  change_settings: [SettingsPatch, Settings];
  stack: [Nothing, StackFile];
  save_stack: [Nothing, StackFile];
  shutdown: [ShutdownRequest, Nothing];
}

/** Requests answered by a stream: payload and chunk. */
export interface Streams {
  watch: [Nothing, Changed];
  follow_logs: [LogsRequest, LogLine];
  send: [SendRequest, ReplyChunk];
  retry: [ConversationRequest, ReplyChunk];
  follow_reply: [ConversationRequest, ReplyChunk];
}
