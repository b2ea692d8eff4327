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

/** What may stand at a key of the stack file. */
export type StackValue = string | number | boolean | string[] | { [key: string]: string };

export type Code = "usage" | "unknown" | "does_not_fit" | "busy" | "cancelled" | "failed" | "engine" | "unreachable" | "stack" | "unconfirmed" | "asleep";

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
 * Whether the stack in force came from somebody else and waits for a person's word.
 */
unconfirmed: boolean, 
/**
 * How many servers of others were found that nobody has said anything about.
 */
open_neighbours: number, 
/**
 * The name of the stack in force, and whether it is a file of the user's or the shipped one.
 */
stack: StackName, 
/**
 * RFC 3339: since when this controller runs.
 */
since: string, 
/**
 * The memory was given to something else: what was stopped for it, and until when it stays so.
 */
yielded: Yielded | null, };

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

export type Yielded = { 
/**
 * RFC 3339; null until resumed.
 */
until: string | null, 
/**
 * Who was awake before.
 */
agents: Array<string>, };

export type Suggestion = { 
/**
 * "failure", "footprint", "kv_peak".
 */
id: string, key: string, 
/**
 * As it would be written in the stack file.
 */
value: unknown, 
/**
 * One or two sentences: what was seen, and what the change does.
 */
words: string, 
/**
 * Memory that it gives back (above zero) or takes.
 */
gives_bytes: number | null, };

export type Footprint = { planned_bytes: number, steady_bytes: number, peak_bytes: number, starts: number, 
/**
 * "planned 25.0, measured 24.6, 6 starts"
 */
words: string, 
/**
 * What moved since earlier starts, in words.
 */
drift: string | null, };

export type EngineStatus = { id: string, 
/**
 * "docker", "podman", "process", "external", "ollama".
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
kind: string, capacity_bytes: number | null, limit_bytes: number | null, device_cap_bytes: number | null, used_bytes: number, device_used_bytes: number | null, other_bytes: number, lost_bytes: number, available_bytes: number, agents: Array<PoolAgent>, 
/**
 * Two sources of this pool's figures that differ, in words; null where they agree.
 */
doubt: string | null, };

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
kv_cache_used: number | null, tokens_per_second: number | null, prompt_tokens_per_second: number | null, 
/**
 * Mean over the requests that got their first token last.
 */
time_to_first_token_seconds: number | null, 
/**
 * Requests that had to give their KV cache up for others, since the server started.
 */
preemptions: number | null, 
/**
 * Tokens that its KV cache holds, as the server says.
 */
kv_capacity_tokens: number | null, 
/**
 * RFC 3339: since when it is in this state.
 */
since: string | null, drain_until: string | null, idle_until: string | null, 
/**
 * RFC 3339: when the live figures were read; it may be half a minute older where they stayed the same.
 */
figures_at: string | null, restart_to_apply: boolean, 
/**
 * A person asked for its restart: it comes as soon as nobody uses it. Forgotten with a stop of the agent, a switch
 * of the profile, and the controller's end.
 */
restart_when_idle: boolean, pinned: boolean, 
/**
 * Another agent's server, on which this one is a role.
 */
served_by: string | null, 
/**
 * It runs on a server that Asgard did not start: shown and counted, never restarted.
 */
adopted: boolean, 
/**
 * What is known of its choices on this GPU, each with reason, source and date.
 */
warnings: Array<string>, glyph: string | null, color: string | null, 
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
start_refused: boolean, footprint: Footprint | null, 
/**
 * Changes worth a press: after a failure for want of memory, where a measured figure is below the declared one,
 * where the KV cache of a week was hardly used or always full.
 */
suggestions: Array<Suggestion>, };

export type ClaimParts = { weights_bytes: number, kv_bytes: number, overhead_bytes: number, };

export type SearchSort = "trending" | "downloads" | "likes" | "updated";

export type SearchRequest = { text: string, 
/**
 * "vllm" or "llama.cpp"; both where null.
 */
backend: string | null, 
/**
 * "awq", "gptq", "gguf", "bf16", …; any where null.
 */
quantization: string | null, 
/**
 * Only what is not known to fail on this machine's GPU.
 */
works_here: boolean, 
/**
 * Only what fits beside a profile or alone.
 */
fits: boolean, open_licence: boolean, sort: SearchSort, 
/**
 * Of the page before; null for the first.
 */
cursor: string | null, };

export type SearchChunk = { "kind": "page", models: Array<HubModel>, 
/**
 * For the next page; null at the end.
 */
cursor: string | null, 
/**
 * What it is checked for: "gfx1151". Null where the GPU is not one that something is known of.
 */
checked_for: string | null, 
/**
 * Where it comes from: "Hugging Face", or the mirror's host.
 */
from: string, } | { "kind": "model", model: HubModel, };

export type CuratedModels = { models: Array<HubModel>, checked_for: string | null, };

export type Gate = "open" | "auto" | "manual";

export type HubModel = { 
/**
 * "Qwen/Qwen2.5-14B-Instruct-AWQ".
 */
repo: string, 
/**
 * For a person: "Qwen2.5 14B Instruct".
 */
title: string, 
/**
 * One sentence of ours on what it is: "Mixture of experts, 3B active. Long context, fast for its size."
 */
summary: string, 
/**
 * As the Hub has it: "apache-2.0".
 */
licence: string | null, 
/**
 * "Apache 2.0".
 */
licence_title: string | null, open_licence: boolean | null, gated: Gate, private: boolean, downloads: number | null, likes: number | null, 
/**
 * RFC 3339.
 */
last_modified: string | null, 
/**
 * Presets that name it, and their agents: "strix-halo: Thor and Frigga".
 */
curated_for: Array<string>, 
/**
 * Pinned when it was resolved; null before.
 */
commit: string | null, 
/**
 * Whether the files were looked at; before that `variants` is empty, or what is known of a curated one.
 */
detailed: boolean, variants: Array<Variant>, 
/**
 * The id of the variant that suits this machine best; null where none runs here.
 */
best: string | null, 
/**
 * Whether the request's filters let it through; null until the files were looked at.
 */
matches: boolean | null, 
/**
 * Why the files could not be looked at, and what helps.
 */
problem: HubProblem | null, };

export type Variant = { 
/**
 * "all", or the GGUF's own word: "Q4_K_M". Unique in its repository.
 */
id: string, 
/**
 * "AWQ 4-bit", "Q4_K_M".
 */
title: string, 
/**
 * "vllm" or "llama.cpp"; null: nothing here runs it.
 */
backend: string | null, quantization: string | null, 
/**
 * What an agent's `model` would say: the repository, or OWNER/NAME/FILE.gguf.
 */
model: string, 
/**
 * Paths in the repository, those that are fetched.
 */
files: Array<string>, download_bytes: number, 
/**
 * All that it takes of memory at `context` and one sequence; null where it is not known.
 */
memory_bytes: number | null, weights_bytes: number | null, 
/**
 * Tokens that `memory_bytes` is for.
 */
context: number | null, max_context: number | null, 
/**
 * All of them, and those that a token goes through.
 */
parameters: number | null, active_parameters: number | null, 
/**
 * Memory bandwidth over active bytes: an estimate, an upper bound. Null where either is not known.
 */
tokens_per_second: number | null, fit: Fit, 
/**
 * What is known not to work with it on this GPU.
 */
troubles: Array<Trouble>, 
/**
 * Why it cannot be fetched at all, and what to choose instead: a file over 50 GB, a hostile path.
 */
refused: HubProblem | null, 
/**
 * All its files are in the cache.
 */
installed: boolean, };

export type FitKind = "fits" | "less_context" | "alone" | "never" | "unknown";

export type Fit = { kind: FitKind, 
/**
 * "Fits beside standard and heimdall", "Too large for every profile, by 5.4 GB or more".
 */
words: string, 
/**
 * In the stack's order, at last alone (`profile` null).
 */
profiles: Array<ProfileFit>, };

export type ProfileFitKind = "in_profile" | "fits" | "less_context" | "no";

export type ProfileFit = { 
/**
 * Null: with nobody else awake.
 */
profile: string | null, kind: ProfileFitKind, 
/**
 * The longest context that fits, in tokens, at one sequence; null where none does.
 */
context: number | null, 
/**
 * Bytes left at the peak where it fits, bytes short (negative) where it does not.
 */
spare_bytes: number | null, 
/**
 * "7.6 GB to spare", "42.4 GB short".
 */
reason: string, };

export type Trouble = { 
/**
 * "crashes", "loses accuracy", "is slow", …
 */
verdict: string, 
/**
 * Whether it is known not to run at all.
 */
fatal: boolean, message: string, source: string, date: string, };

export type RepoRequest = { repo: string, 
/**
 * "main" where null.
 */
revision: string | null, };

export type ModelInfo = { model: HubModel, 
/**
 * At most 2,000 of them, in the repository's order.
 */
files: Array<RepoFile>, file_count: number, total_bytes: number, 
/**
 * The model card's text, at most 100,000 characters; hostile.
 */
card: string | null, 
/**
 * Its page, for a browser.
 */
page: string, };

export type RepoFile = { path: string, bytes: number, 
/**
 * Null where the Hub has only the git hash.
 */
sha256: string | null, };

export type HubProblem = { message: string, next: string, remedy: Remedy | null, 
/**
 * The page that helps: where the licence is accepted, or access is asked for.
 */
page: string | null, };

export type HubAccount = { 
/**
 * "https://huggingface.co".
 */
endpoint: string, 
/**
 * Where the token is; null where there is none.
 */
token: TokenPlace | null, 
/**
 * Whose token it is, as the Hub said last.
 */
user: string | null, 
/**
 * "read", "write", "fine-grained".
 */
role: string | null, 
/**
 * RFC 3339.
 */
checked: string | null, problem: HubProblem | null, };

export type TokenPlace = "keyring" | "file" | "environment" | "client_file";

export type TokenRequest = { token: TokenText, };

export type TokenText = string;

export type PullRequest = { repo: string, 
/**
 * "main" where null; pinned to the commit that it is when it is first resolved.
 */
revision: string | null, 
/**
 * A variant's id ("Q4_K_M"); null: what a server needs of the repository, and of several GGUF files the best here.
 */
variant: string | null, 
/**
 * Paths or globs in the repository; where there are any they count instead of the variant.
 */
files: Array<string>, };

export type DownloadRequest = { id: string, };

export type DownloadsRequest = { id: string | null, };

export type CancelDownloadRequest = { id: string, 
/**
 * Leave what has arrived for a later try; else it is deleted.
 */
keep: boolean, };

export type DownloadLimitRequest = { 
/**
 * Bytes a second over all downloads; null: as fast as it goes.
 */
bytes_per_second: number | null, };

export type Downloads = { downloads: Array<Download>, 
/**
 * Over all of them.
 */
bytes_per_second: number | null, seconds_left: number | null, 
/**
 * The person has paused them all.
 */
paused: boolean, limit_bytes_per_second: number | null, 
/**
 * Free on the disk of the cache.
 */
free_bytes: number | null, 
/**
 * What unfinished downloads hold there.
 */
partial_bytes: number, 
/**
 * Partial files of downloads that nobody took up again are deleted after so many days.
 */
partial_days: number, 
/**
 * The profile that is started once what it needs is here; null: none.
 */
then_start: string | null, };

export type DownloadState = "queued" | "resolving" | "running" | "verifying" | "paused" | "waiting" | "failed" | "done";

export type Remedy = "add_token" | "change_token" | "accept_licence" | "ask_for_access" | "try_again" | "free_disk" | "choose_other" | "fix_owner";

export type Download = { id: string, repo: string, 
/**
 * As asked for.
 */
revision: string, 
/**
 * What it is pinned to; null before it is resolved.
 */
commit: string | null, variant: string | null, 
/**
 * What an agent's `model` would say of it.
 */
model: string, title: string, state: DownloadState, 
/**
 * "Waiting for 1 download", "The Hub asks to wait 55 s".
 */
detail: string | null, total_bytes: number | null, done_bytes: number, 
/**
 * Of `done_bytes`, hashed and found right so far.
 */
verified_bytes: number, 
/**
 * Bytes that came over the network in this and earlier attempts; more than `done_bytes` where some came twice.
 */
fetched_bytes: number, bytes_per_second: number | null, seconds_left: number | null, connections: number, files_total: number | null, files_done: number, problem: HubProblem | null, 
/**
 * RFC 3339.
 */
added: string, finished: string | null, };

export type DownloadDetail = { download: Download, 
/**
 * At most 2,000 of them, those under way first.
 */
files: Array<DownloadFile>, };

export type DownloadFile = { path: string, total_bytes: number, done_bytes: number, verified_bytes: number, bytes_per_second: number | null, seconds_left: number | null, connections: number, done: boolean, };

export type InstalledModels = { 
/**
 * By name.
 */
models: Array<InstalledModel>, 
/**
 * The `hub` folder.
 */
path: string, 
/**
 * What the cache really holds; shared blobs counted once.
 */
held_bytes: number, free_bytes: number | null, 
/**
 * Why nothing can be written there, in a sentence; null where it can.
 */
read_only: string | null, 
/**
 * What there is besides models (data sets, folders that are none): a sentence each.
 */
notes: Array<string>, };

export type InstalledModel = { 
/**
 * For requests; unique in the list.
 */
id: string, 
/**
 * What an agent's `model` says of it.
 */
model: string, repo: string, title: string, commit: string, 
/**
 * Branches and tags that point to the commit.
 */
revisions: Array<string>, 
/**
 * The folder or file.
 */
path: string, 
/**
 * What its removal would free.
 */
held_bytes: number, 
/**
 * What it shares with other snapshots besides.
 */
shared_bytes: number, files: number, backend: string | null, 
/**
 * "AWQ 4-bit".
 */
quantization: string | null, architecture: string | null, max_context: number | null, licence: string | null, licence_title: string | null, used_by: Array<ModelUser>, 
/**
 * Presets that name it.
 */
presets: Array<string>, complete: boolean, 
/**
 * What is missing or wrong.
 */
problem: string | null, 
/**
 * When its hashes were last compared and right, RFC 3339.
 */
verified: string | null, 
/**
 * Files that others own and this user cannot change: what that is, and the command that mends it.
 */
owner: OwnerProblem | null, weights_bytes: number | null, 
/**
 * At `context` and one sequence.
 */
memory_bytes: number | null, context: number | null, fit: Fit, tokens_per_second: number | null, 
/**
 * The download that brings the rest of it, where one is in the queue.
 */
download: string | null, };

export type ModelUser = { agent: string, display_name: string, awake: boolean, };

export type OwnerProblem = { message: string, command: string, };

export type InstalledRequest = { id: string, };

export type VerifyProgress = { file: string, done_bytes: number, total_bytes: number, done: boolean, 
/**
 * Files whose content is not what their name says, or that cannot be read; at the end.
 */
damaged: Array<string>, 
/**
 * Files that nothing is known of to compare with.
 */
unknown: Array<string>, };

export type RemoveModelRequest = { id: string, 
/**
 * Say what would go, and delete nothing.
 */
dry_run: boolean, 
/**
 * Also where an agent is set to it, as long as it sleeps.
 */
even_if_configured: boolean, };

export type RemovedModel = { removed: boolean, freed_bytes: number, files: number, 
/**
 * Why it is kept: who uses it.
 */
protected: string | null, users: Array<ModelUser>, };

export type ImportModelRequest = { 
/**
 * A folder with a config.json and weights, or a GGUF file. A whole path.
 */
path: string, 
/**
 * "organisation/name" under which it is to be found; made from the file's name where null.
 */
repo: string | null, };

export type ImportProgress = { 
/**
 * Read at the moment, as it will be called in the repository.
 */
file: string, done_bytes: number, total_bytes: number, model: InstalledModel | null, };

export type AssignRequest = { 
/**
 * Of the stack file's text that the choice was made on.
 */
hash: string, agent: string, 
/**
 * Makes an agent of that name; null: it exists.
 */
new: NewAgent | null, 
/**
 * What the stack file will say: a repository, OWNER/NAME/FILE.gguf, or the whole path of a GGUF file.
 */
model: string, 
/**
 * The commit; null: "main".
 */
revision: string | null, 
/**
 * "vllm" or "llama.cpp"; found out from the model where null.
 */
backend: string | null, 
/**
 * Tokens; the model's limit, at most 32K, where null.
 */
context: number | null, sequences: number | null, 
/**
 * "auto", "fp8", "q8_0", …
 */
kv_dtype: string | null, 
/**
 * Bytes of KV cache; what `sequences` full contexts take where null.
 */
kv_cache_bytes: number | null, 
/**
 * The profiles that it shall be in; as they are where null.
 */
profiles: Array<string> | null, 
/**
 * The profile whose memory is shown.
 */
beside: string | null, };

export type NewAgent = { title: string | null, 
/**
 * A rune's name or one letter.
 */
glyph: string | null, color: string | null, 
/**
 * The next free one where null.
 */
port: number | null, };

export type AssignPreview = { 
/**
 * What is in force with it.
 */
context: number, max_context: number | null, 
/**
 * The longest context that fits `beside` with these sequences; null where none does.
 */
longest_context: number | null, sequences: number, kv_dtype: string, 
/**
 * KV types that this server and GPU take, each with what is known of it.
 */
kv_dtypes: Array<KvChoice>, backend: string, weights_bytes: number, kv_bytes: number, overhead_bytes: number, total_bytes: number, kv_bytes_per_token: number | null, 
/**
 * How the figures are known: "exact", "computed", "bound", "unknown".
 */
certainty: string, 
/**
 * The pools under `beside` (or with nobody else awake).
 */
pools: Array<PlanPool>, 
/**
 * The check against every profile.
 */
profiles: Array<ProfileForm>, 
/**
 * The keys that would be written; null takes one away.
 */
keys: { [key: string]: StackValue | null }, launch: LaunchPreview | null, problems: Array<StackProblem>, notes: Array<string>, 
/**
 * It runs and would have to be started again for this to count.
 */
restart: boolean, 
/**
 * Memory that its model was seen to take at other starts: nothing is known yet where null.
 */
learned_bytes: number | null, };

export type KvChoice = { name: string, title: string, warning: string | null, };

export type FirstRun = { 
/**
 * Whether the window should offer it: no stack file was ever written, and nobody has skipped it.
 */
due: boolean, engine: FirstEngine, 
/**
 * The preset that suits the machine, and its title.
 */
preset: string | null, machine: string, gpu: string | null, 
/**
 * Bytes, of the pool that agents live in.
 */
capacity_bytes: number | null, limit_bytes: number | null, 
/**
 * Bounds of a limit that may be chosen.
 */
least_limit_bytes: number | null, most_limit_bytes: number | null, other_bytes: number | null, 
/**
 * Of the base profile first.
 */
models: Array<FirstModel>, image: FirstImage | null, free_bytes: number | null, base: string, };

export type FirstEngine = { found: boolean, 
/**
 * "Docker 27.3".
 */
title: string, problem: string | null, next: string | null, 
/**
 * A whole command for a shell, where one helps.
 */
command: string | null, 
/**
 * Checks of readiness that are not passed, a sentence each.
 */
advice: Array<string>, };

export type FirstModel = { model: HubModel, agents: Array<string>, bytes: number | null, 
/**
 * Proposed: the base profile needs it.
 */
chosen: boolean, installed: boolean, };

export type FirstImage = { reference: string, bytes: number | null, present: boolean, };

export type FinishFirstRunRequest = { 
/**
 * Take this preset; null: the stack stays.
 */
preset: string | null, limit_bytes: number | null, 
/**
 * Repositories to fetch.
 */
models: Array<string>, 
/**
 * Start the base profile when all of them are here.
 */
start: boolean, 
/**
 * Nothing of all this: it is not offered again.
 */
skip: boolean, };

export type PlanRequest = { 
/**
 * Exactly one of the two.
 */
profile: string | null, agent: string | null, 
/**
 * As if this were written in the stack file already.
 */
change: PlanChange | null, };

export type PlanChange = { agent: string, 
/**
 * Tokens.
 */
context: number | null, sequences: number | null, kv_dtype: string | null, 
/**
 * "12 GB". Left out, the cache grows and shrinks with the other three.
 */
kv_cache: string | null, };

export type PlanChanged = { agent: string, 
/**
 * The keys as they would be written.
 */
keys: Record<string, unknown>, 
/**
 * The agent's whole claim before and after, bytes.
 */
claim_bytes_before: number, claim_bytes_after: number, 
/**
 * What the check of the stack says of it.
 */
notes: Array<string>, };

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
seconds: number | null, 
/**
 * The whole of it for a person: "Stops Valkyrie and starts Odin, at most 108.3 of 120.0 GB in use on the way,
 * about 90 s."
 */
sentence: string, 
/**
 * Where the question was "what if".
 */
changed: PlanChanged | null, };

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

export type EstimateRequest = { 
/**
 * A Hub id, a folder, a GGUF file, a config.json.
 */
model: string, 
/**
 * Tokens; the model's limit, at most 32K, where null.
 */
context: number | null, 
/**
 * 1 where null.
 */
sequences: number | null, 
/**
 * 1 where null.
 */
tensor_parallel: number | null, kv_dtype: string | null, quantization: string | null, };

export type Estimate = { model: string, architecture: string, 
/**
 * "vllm" or "llama.cpp".
 */
backend: string, 
/**
 * What it was read from, in words.
 */
source: string, quantization: string | null, context: number, 
/**
 * The model's own limit.
 */
max_context: number | null, sequences: number, tensor_parallel: number, weights_bytes: number, 
/**
 * What one more token costs at full context: only layers that still grow. Of the model; what devices repeat stands
 * with them.
 */
kv_bytes_per_token: number, kv_bytes: number, 
/**
 * What does not grow with tokens.
 */
state_bytes: number, overhead_bytes: number, total_bytes: number, per_device: Array<DeviceEstimate>, 
/**
 * How each figure is known: "exact", "computed", "bound", "unknown".
 */
certainty: Certainty, fits: Array<EstimateFit>, notes: Array<string>, };

export type DeviceEstimate = { device: number, weights_bytes: number, 
/**
 * With replication.
 */
kv_bytes_per_token: number, kv_bytes: number, state_bytes: number, overhead_bytes: number, total_bytes: number, };

export type Certainty = { weights: string, kv: string, overhead: string, };

export type EstimateFit = { 
/**
 * Null: alone.
 */
profile: string | null, fits: boolean, reason: string, };

export type AgentRequest = { agent: string, };

export type SuggestionRequest = { agent: string, id: string, };

export type YieldRequest = { 
/**
 * For how long; null until resumed.
 */
hours: number | null, };

export type LaunchPreview = { agent: string, 
/**
 * "vllm", "llama.cpp".
 */
backend: string, 
/**
 * "docker", "podman", "container" where no engine answers, "process".
 */
engine: string, 
/**
 * With its digest where one is pinned; null for a process.
 */
image: string | null, 
/**
 * "vLLM 0.32.0"; null where the image was not asked yet, and then no flag is dropped.
 */
version: string | null, 
/**
 * The server's own command line.
 */
command: Array<string>, 
/**
 * A whole command for a shell, the container around it included; secrets are `****`.
 */
command_text: string, env: Array<LaunchVariable>, 
/**
 * In the order of the command line.
 */
flags: Array<ExplainedFlag>, dropped: Array<DroppedFlag>, 
/**
 * What else is to be known, a sentence each.
 */
notes: Array<string>, };

export type LaunchVariable = { name: string, 
/**
 * Null: it is a secret.
 */
value: string | null, };

export type ExplainedFlag = { flag: string, 
/**
 * Null for a flag that has none.
 */
value: string | null, why: string, };

export type DroppedFlag = { flag: string, why: string, };

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

export type RequestsQuery = { 
/**
 * At most so many of those that ended; up to 1000, and 0 is 100.
 */
limit: number, 
/**
 * Those that ended before this one; null for the latest.
 */
before: number | null, agent: string | null, client: string | null, };

export type Requests = { 
/**
 * Waiting and running ones, the oldest first.
 */
under_way: Array<RequestRow>, 
/**
 * Those that ended, the latest first.
 */
ended: Array<RequestRow>, };

export type RequestOutcome = "waiting" | "running" | "done" | "refused" | "error" | "broken" | "left";

export type RequestRow = { 
/**
 * Null while it is under way.
 */
id: number | null, 
/**
 * When it came.
 */
time: string, 
/**
 * The key's name, else the user agent's first word.
 */
client: string, agent: string | null, path: string, stream: boolean, outcome: RequestOutcome, 
/**
 * What the client was sent.
 */
status: number | null, prompt_tokens: number | null, completion_tokens: number | null, 
/**
 * Completion tokens were counted by the events of the stream, not said by the server.
 */
counted: boolean, queued_seconds: number, first_token_seconds: number | null, tokens_per_second: number | null, seconds: number, 
/**
 * While it waits: its place, what is under way, the time left.
 */
place: RequestPlace | null, 
/**
 * Why it waited or was refused, in one sentence.
 */
why: string | null, };

export type RequestPlace = { 
/**
 * 1 is next.
 */
place: number, 
/**
 * "Draining Valkyrie", "Loading Odin".
 */
stage: string, seconds_left: number | null, };

export type TableFormat = "csv" | "json";

export type ExportRequestsRequest = { format: TableFormat, };

export type NamedText = { name: string, text: string, };

export type GatewayView = { session_start: string, 
/**
 * Ends by itself after 8 hours without a summon.
 */
session_ends: string | null, budgets: Array<BudgetView>, keys: Array<KeyView>, 
/**
 * The settings of `[gateway]` in force, as their keys spell them.
 */
settings: GatewaySettings, };

export type BudgetView = { 
/**
 * "reviewer" or "utility".
 */
tier: string, used: number, 
/**
 * Null: no limit.
 */
limit: number | null, 
/**
 * Until when the cooldown forbids a summon.
 */
cooldown_until: string | null, };

export type KeyView = { name: string, 
/**
 * Null: every agent.
 */
agents: Array<string> | null, 
/**
 * When a request last came with it.
 */
last_used: string | null, };

export type GatewaySettings = { listen: string, wake: boolean, hold: boolean, queue_limit: number, max_streams: number, odin_ttl: number, odin_cooldown: number, session_budget_odin: number, session_budget_utility: number, health_timeout: number, };

export type GatewayPatch = { wake: boolean | null, hold: boolean | null, queue_limit: number | null, odin_ttl: number | null, odin_cooldown: number | null, session_budget_odin: number | null, session_budget_utility: number | null, health_timeout: number | null, 
/**
 * Address and port. Another address than the loopback needs a key first.
 */
listen: string | null, };

export type PauseRequest = { paused: boolean, };

export type NewKeyRequest = { name: string, 
/**
 * Null: every agent.
 */
agents: Array<string> | null, };

export type KeyRequest = { name: string, };

export type KeyText = { name: string, key: string, };

export type Tool = "opencode" | "oh-my-opencode" | "codex" | "claude-code" | "zed" | "continue" | "cline" | "aider";

export type ToolRequest = { tool: Tool, 
/**
 * Write a project's `.opencode/` instead of the user's own configuration.
 */
project: string | null, 
/**
 * The primary: an agent's name, or "cloud:PROVIDER/MODEL". Null leaves what is there.
 */
primary: string | null, 
/**
 * Which gateway key the tool shall use; null: none.
 */
key: string | null, 
/**
 * To write: the diff that the person saw. Where it would be another one now, nothing is written.
 */
shown?: string, };

export type ToolsRequest = { project: string | null, primary: string | null, key: string | null, };

export type ToolConfig = { tool: Tool, 
/**
 * "OpenCode".
 */
title: string, 
/**
 * The file it belongs into; null where the tool has no file of its own (settings in its window, variables).
 */
path: string | null, 
/**
 * The lines to copy, whole.
 */
text: string, 
/**
 * What Asgard would write: a unified diff against the file as it is; null where it does not write this tool's.
 */
diff: string | null, 
/**
 * Nothing would change.
 */
same: boolean, 
/**
 * In one line each: what to know before using it.
 */
notes: Array<string>, };

export type ToolConfigs = { tools: Array<ToolConfig>, };

export type ToolWritten = { path: string, 
/**
 * Where the file as it was is kept; null where there was none.
 */
backup: string | null, same: boolean, };

export type BenchRequest = { agent: string, };

export type BenchLine = { agent: string, 
/**
 * 1 to 5; 0 in the last line.
 */
prompt: number, of: number, first_token_seconds: number | null, tokens_per_second: number | null, tokens: number | null, 
/**
 * The medians are in this line.
 */
done: boolean, 
/**
 * A prompt that got no answer.
 */
error: string | null, };

export type EventsRequest = { limit: number, };

export type Events = { events: Array<Event>, };

export type Event = { time: string, severity: Severity, agent: string | null, message: string, };

export type PictureTheme = "dark" | "light";

export type PictureFormat = "svg" | "png";

export type HistoryRequest = { 
/**
 * A pool's id; all pools where null.
 */
pool: string | null, 
/**
 * How far back, up to a year.
 */
hours: number, theme: PictureTheme, 
/**
 * Of each picture, in pixels.
 */
width: number, height: number, };

export type History = { 
/**
 * Empty where no pool is known at all.
 */
pools: Array<PoolHistory>, };

export type PoolHistory = { id: string, name: string, 
/**
 * Whether anything was recorded in this time.
 */
recorded: boolean, 
/**
 * The picture: shapes and text alone.
 */
svg: string, 
/**
 * What it shows, in words.
 */
summary: string, 
/**
 * RFC 3339.
 */
from: string, to: string, marks: Array<HistoryMark>, };

export type HistoryMark = { 
/**
 * 0 to 1 of the picture's width.
 */
x: number, 
/**
 * "14:05 Odin ready in 38 s", in order of time.
 */
texts: Array<string>, };

export type AgentHistoryRequest = { 
/**
 * An agent's name; all agents where null.
 */
agent: string | null, 
/**
 * How far back, up to a year.
 */
hours: number, theme: PictureTheme, 
/**
 * Of each picture, in pixels.
 */
width: number, height: number, };

export type AgentHistories = { 
/**
 * In the order of the stack; agents of which nothing was recorded in this time are left out.
 */
agents: Array<AgentHistory>, };

export type AgentHistory = { agent: string, figures: Array<FigureHistory>, };

export type FigureHistory = { 
/**
 * "kv_cache_used", "tokens_per_second", "time_to_first_token", "running", "waiting", "preemptions".
 */
figure: string, 
/**
 * "KV cache in use".
 */
name: string, 
/**
 * The latest, in words: "34 %".
 */
latest: string, svg: string, 
/**
 * What it shows, in words.
 */
summary: string, };

export type PictureRequest = { format: PictureFormat, 
/**
 * A pool's id; all pools below each other where null.
 */
pool: string | null, 
/**
 * How far back, up to a year.
 */
hours: number, theme: PictureTheme, 
/**
 * Of each pool's picture, in pixels; a PNG has twice as many.
 */
width: number, height: number, };

export type Picture = { 
/**
 * What it may be called: "asgard-memory-24h.svg".
 */
name: string, format: PictureFormat, 
/**
 * Its bytes, as RFC 4648 base64.
 */
base64: string, 
/**
 * What it shows, in words.
 */
summary: string, };

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

export type Neighbours = { 
/**
 * By port, those without one last.
 */
neighbours: Array<Neighbour>, };

export type Neighbour = { 
/**
 * Stays the same as long as it is the same container or process: "docker/strix-vllm_thor-1", "process/4711".
 */
id: string, 
/**
 * The container's or the program's name.
 */
name: string, kind: NeighbourKind, server: ServerKind, 
/**
 * Where it comes from, one line: "Compose project strix, service vllm_thor".
 */
origin: string, image: string | null, 
/**
 * The command line it was started with, secrets left out.
 */
command: Array<string>, port: number | null, 
/**
 * Where requests would go; null where it cannot be reached from here.
 */
endpoint: string | null, 
/**
 * What it serves; of Ollama every model that it has.
 */
models: Array<NeighbourModel>, memory_bytes: number | null, memory_basis: MemoryBasis, running: boolean, 
/**
 * The agent of the stack whose port or model it has.
 */
agent: string | null, answer: Answer, 
/**
 * What adopting does, or why it is not possible: "Thor is served by it; it is never restarted."
 */
adopt_hint: string, adopt_refused: boolean, 
/**
 * What stopping does, or why it is not possible.
 */
stop_hint: string, stop_refused: boolean, };

export type NeighbourKind = "container" | "compose" | "toolbox" | "process";

export type ServerKind = "vllm" | "llama.cpp" | "ollama" | "bifrost" | "unknown";

export type MemoryBasis = "measured" | "declared" | "unknown";

export type NeighbourModel = { name: string, 
/**
 * On the disk, where the server tells.
 */
size_bytes: number | null, loaded: boolean, };

export type Answer = "open" | "left" | "adopted" | "stopped";

export type NeighbourRequest = { id: string, };

export type AdoptRequest = { id: string, 
/**
 * The agent that it serves from now on; null for the one whose place it holds, or a guest of its own.
 */
agent: string | null, 
/**
 * Of a server with several models (Ollama), the one that is meant.
 */
model: string | null, };

export type StopNeighbourRequest = { id: string, 
/**
 * Start the agent whose place it held.
 */
take_place: boolean, };

export type Presets = { presets: Array<Preset>, };

export type Preset = { name: string, 
/**
 * One sentence on what it is.
 */
summary: string, 
/**
 * The machine it is made for: "Strix Halo, 128 GB".
 */
machine: string, 
/**
 * The agents' names for a person.
 */
agents: Array<string>, profiles: Array<string>, 
/**
 * Whether the stack in force is this one, unchanged.
 */
in_force: boolean, 
/**
 * Whether its base profile fits this machine now; null where that could not be planned.
 */
fits: boolean | null, 
/**
 * "Fits, 21.6 GB to spare", or why not.
 */
reason: string, };

export type PresetRequest = { name: string, 
/**
 * Say what would be written, and write nothing.
 */
dry_run: boolean, };

export type PresetUsed = { name: string, path: string, 
/**
 * Where the stack file that was there before is kept.
 */
kept: string | null, written: boolean, text: string, };

export type ImportKind = "compose" | "env" | "stack";

export type ImportRequest = { kind: ImportKind, 
/**
 * Whole paths.
 */
files: Array<string>, env: string | null, 
/**
 * Make it the stack; else only say what it would be.
 */
write: boolean, };

export type Imported = { 
/**
 * The text of the stack file.
 */
stack: string, understood: Array<Finding>, 
/**
 * With the reason of each.
 */
corrected: Array<Finding>, not_understood: Array<Finding>, 
/**
 * Names of secrets found; they go to the keyring or a file of mode 0600, never to the stack.
 */
secrets: Array<string>, surface: Array<SurfaceEntry>, 
/**
 * What of the stack does not hold yet, if anything.
 */
problems: Array<StackProblem>, 
/**
 * Where it was written, and where the stack before it is kept.
 */
written: string | null, kept: string | null, };

export type Finding = { file: string, 
/**
 * 1-based.
 */
line: number | null, 
/**
 * The agent it is about, where it is about one.
 */
agent: string | null, 
/**
 * The variable, service or key: "THOR_MAX_LEN", "services.vllm_frigga.volumes".
 */
what: string, 
/**
 * One or two sentences: what became of it, and why.
 */
message: string, };

export type SurfaceEntry = { agent: string, kind: SurfaceKind, text: string, };

export type SurfaceKind = "image" | "command" | "mount" | "device" | "argument" | "variable" | "endpoint";

export type Confirmation = { needed: boolean, 
/**
 * Where the stack came from: "imported from hybrid.yml".
 */
source: string, surface: Array<SurfaceEntry>, 
/**
 * Of what is confirmed; another surface has another hash.
 */
hash: string, };

export type ConfirmRequest = { hash: string, };

export type ExportKind = "compose" | "env";

export type ExportRequest = { kind: ExportKind, };

export type Exported = { files: Array<TextFile>, 
/**
 * What could not be carried over, and why.
 */
notes: Array<string>, };

export type TextFile = { name: string, text: string, };

export type StackForm = { 
/**
 * Of the text; an edit names it, so that two editors do not undo each other.
 */
hash: string, saved: boolean, agents: Array<AgentForm>, profiles: Array<ProfileForm>, 
/**
 * Ports that are free for a further agent, the first to propose.
 */
next_port: number, 
/**
 * Names of models that the machine has or that Asgard knows.
 */
models: Array<string>, };

export type AgentForm = { agent: string, display_name: string, 
/**
 * As written in the file: text, number, flag or list of texts.
 */
written: { [key: string]: StackValue }, 
/**
 * What is in force where nothing is written.
 */
defaults: { [key: string]: StackValue }, profiles: Array<string>, claim_bytes: number, weights_bytes: number, kv_bytes: number, overhead_bytes: number, 
/**
 * Bytes of KV cache that one more token costs, where it is known.
 */
kv_bytes_per_token: number | null, 
/**
 * The longest context of its model, where it is known.
 */
max_context: number | null, 
/**
 * What is worth knowing of its choices, from what is known of this GPU.
 */
warnings: Array<string>, };

export type ProfileForm = { name: string, agents: Array<string>, fits: boolean | null, reason: string, };

export type StackEdit = { "edit": "add_agent", agent: string, keys: { [key: string]: StackValue | null }, profiles: Array<string>, } | { "edit": "change_agent", agent: string, keys: { [key: string]: StackValue | null }, } | { "edit": "duplicate_agent", agent: string, to: string, port: number, } | { "edit": "rename_agent", agent: string, to: string, } | { "edit": "remove_agent", agent: string, } | { "edit": "order_agents", agents: Array<string>, } | { "edit": "agent_profiles", agent: string, profiles: Array<string>, } | { "edit": "put_profile", profile: string, agents: Array<string>, } | { "edit": "remove_profile", profile: string, };

export type EditRequest = { 
/**
 * The hash of the text that the edits were made on.
 */
hash: string, edits: Array<StackEdit>, dry_run: boolean, };

export type Edited = { saved: boolean, 
/**
 * Why it was not saved.
 */
problems: Array<StackProblem>, notes: Array<string>, 
/**
 * Running agents whose server must be started again for this to count.
 */
restarts: Array<string>, profiles: Array<ProfileForm>, 
/**
 * Where the text before is kept, if it was saved.
 */
kept: string | null, };

export type Applied = { restarted: Array<string>, 
/**
 * In use: each is restarted when its last request has ended, as after `restart_when_idle`.
 */
busy: Array<string>, };

export type Images = { images: Array<Image>, 
/**
 * Free where the engine keeps its images.
 */
free_bytes: number | null, 
/**
 * Why nothing can be said, if so.
 */
error: string | null, };

export type Image = { 
/**
 * As the stack writes it, or the tag of an image that no agent uses.
 */
reference: string, 
/**
 * The digest that agents are started with, "sha256:…"; null until it was pulled once.
 */
digest: string | null, 
/**
 * "vLLM 0.32.0", read once from the image itself.
 */
version: string | null, size_bytes: number | null, 
/**
 * RFC 3339: when this digest was written down.
 */
since: string | null, 
/**
 * Agents of the stack that use it; empty for an unused one.
 */
used_by: Array<string>, present: boolean, 
/**
 * A newer digest under the same tag, as found at `checked`.
 */
newer: string | null, checked: string | null, 
/**
 * The digest before the last change; it can be taken again.
 */
previous: string | null, 
/**
 * One line: what became of the last check or trial.
 */
detail: string | null, };

export type ImageRequest = { reference: string, };

export type TryImageRequest = { reference: string, 
/**
 * The one agent that it is tried on.
 */
agent: string, };

export type Doctor = { 
/**
 * In an order that stays: memory, swap, kernel, devices, engine, disks, ports, the stack and its profiles.
 */
checks: Array<DoctorCheck>, };

export type DoctorCheck = { 
/**
 * Stays the same between versions: "gtt_cap", "profile.odin".
 */
id: string, title: string, status: DoctorStatus, 
/**
 * What is there; of a skip, why nothing can be said.
 */
found: string, 
/**
 * What would pass.
 */
wanted: string, 
/**
 * What goes wrong otherwise.
 */
why: string, 
/**
 * Commands to copy, one a line; given with a warning and a failure, else null.
 */
fix: string | null, };

export type DoctorStatus = "pass" | "warn" | "fail" | "skip";

export type DoctorReport = { 
/**
 * A name for the file.
 */
name: string, 
/**
 * Markdown.
 */
text: string, };

/** Requests with one answer: payload and response. */
export interface Calls {
  status: [Nothing, Status];
  profiles: [Nothing, Profiles];
  plan: [PlanRequest, Plan];
  switch: [SwitchRequest, Outcome];
  up: [UpRequest, Outcome];
  down: [Nothing, Outcome];
  start: [AgentRequest, Outcome];
  stop: [AgentRequest, Outcome];
  restart: [AgentRequest, Outcome];
  restart_when_idle: [AgentRequest, Outcome];
  take_restart_back: [AgentRequest, Outcome];
  yield: [YieldRequest, Outcome];
  resume: [Nothing, Outcome];
  apply_suggestion: [SuggestionRequest, Edited];
  launch_preview: [AgentRequest, LaunchPreview];
  estimate: [EstimateRequest, Estimate];
  curated_models: [Nothing, CuratedModels];
  model_info: [RepoRequest, ModelInfo];
  hub_account: [Nothing, HubAccount];
  set_hub_token: [TokenRequest, HubAccount];
  remove_hub_token: [Nothing, HubAccount];
  check_hub_token: [Nothing, HubAccount];
  pull: [PullRequest, Download];
  downloads: [Nothing, Downloads];
  download: [DownloadRequest, DownloadDetail];
  pause_download: [DownloadsRequest, Downloads];
  resume_download: [DownloadsRequest, Downloads];
  cancel_download: [CancelDownloadRequest, Downloads];
  forget_download: [DownloadRequest, Downloads];
  limit_downloads: [DownloadLimitRequest, Downloads];
  installed_models: [Nothing, InstalledModels];
  remove_model: [RemoveModelRequest, RemovedModel];
  assign_preview: [AssignRequest, AssignPreview];
  assign: [AssignRequest, Edited];
  first_run: [Nothing, FirstRun];
  finish_first_run: [FinishFirstRunRequest, FirstRun];
  cancel: [Nothing, Nothing];
  health: [HealthRequest, Health];
  logs: [LogsRequest, LogTail];
  events: [EventsRequest, Events];
  requests: [RequestsQuery, Requests];
  export_requests: [ExportRequestsRequest, NamedText];
  gateway_view: [Nothing, GatewayView];
  change_gateway: [GatewayPatch, GatewayView];
  new_session: [Nothing, Nothing];
  pause_gateway: [PauseRequest, Nothing];
  new_key: [NewKeyRequest, KeyText];
  reveal_key: [KeyRequest, KeyText];
  remove_key: [KeyRequest, Nothing];
  history: [HistoryRequest, History];
  agent_history: [AgentHistoryRequest, AgentHistories];
  export_picture: [PictureRequest, Picture];
  conversations: [Nothing, Conversations];
  conversation: [ConversationRequest, Conversation];
  new_conversation: [NewConversation, Conversation];
  delete_conversation: [ConversationRequest, Nothing];
  stop_reply: [ConversationRequest, Nothing];
  settings: [Nothing, Settings];
  change_settings: [SettingsPatch, Settings];
  stack: [Nothing, StackFile];
  save_stack: [Nothing, StackFile];
  stack_form: [Nothing, StackForm];
  edit_stack: [EditRequest, Edited];
  apply_stack: [Nothing, Applied];
  presets: [Nothing, Presets];
  use_preset: [PresetRequest, PresetUsed];
  import: [ImportRequest, Imported];
  export: [ExportRequest, Exported];
  tool_configs: [ToolsRequest, ToolConfigs];
  tool_config: [ToolRequest, ToolConfig];
  write_tool_config: [ToolRequest, ToolWritten];
  confirmation: [Nothing, Confirmation];
  confirm_stack: [ConfirmRequest, Nothing];
  neighbours: [Nothing, Neighbours];
  adopt: [AdoptRequest, Neighbours];
  stop_neighbour: [StopNeighbourRequest, Neighbours];
  leave_neighbour: [NeighbourRequest, Neighbours];
  undo_neighbour: [NeighbourRequest, Neighbours];
  images: [Nothing, Images];
  check_images: [Nothing, Images];
  try_image: [TryImageRequest, Images];
  undo_image: [ImageRequest, Images];
  remove_image: [ImageRequest, Images];
  doctor: [Nothing, Doctor];
  doctor_report: [Nothing, DoctorReport];
  shutdown: [ShutdownRequest, Nothing];
}

/** Requests answered by a stream: payload and chunk. */
export interface Streams {
  watch: [Nothing, Changed];
  follow_logs: [LogsRequest, LogLine];
  send: [SendRequest, ReplyChunk];
  retry: [ConversationRequest, ReplyChunk];
  follow_reply: [ConversationRequest, ReplyChunk];
  bench: [BenchRequest, BenchLine];
  search_models: [SearchRequest, SearchChunk];
  verify_model: [InstalledRequest, VerifyProgress];
  import_model: [ImportModelRequest, ImportProgress];
}
