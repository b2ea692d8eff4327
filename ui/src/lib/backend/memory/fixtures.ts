// Played states for the development page and the browser tests: every state of a card, every state of the frame.

import type { AgentState, AgentStatus, Failure, Plan, Pool, PoolAgent, ProfileView, Stage, Status } from "../types";
import type { ModelsPlay } from "./models";
import { GB, MB, list, memory, memoryFigure, type Unit } from "../../format";

export interface Spec {
  readonly name: string;
  readonly display: string;
  readonly title: string;
  readonly model: string;
  readonly port: number;
  readonly weights: number;
  readonly kv: number;
  readonly overhead: number;
  /** Left out: the agent's own rune and colour. */
  readonly glyph?: string | null;
  readonly color?: string | null;
  /** A role on this one's server: no port and no bytes of its own. */
  readonly servedBy?: string;
  readonly pinned?: boolean;
  readonly context?: number;
  readonly backend?: string;
}

export const SPECS: readonly Spec[] = [
  { name: "thor", display: "Thor", title: "Primary Commander", model: "Qwen/Qwen2.5-14B-Instruct-AWQ", port: 8001, weights: 9.3, kv: 12, overhead: 4 },
  { name: "valkyrie", display: "Valkyrie", title: "Execution Specialist", model: "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ", port: 8002, weights: 15.6, kv: 18, overhead: 4 },
  { name: "odin", display: "Odin", title: "Supreme Architect", model: "casperhansen/llama-3.3-70b-instruct-awq", port: 8011, weights: 37, kv: 20, overhead: 5 },
  { name: "heimdall", display: "Heimdall", title: "Guardian", model: "Qwen/Qwen2.5-3B-Instruct-AWQ", port: 8012, weights: 2.5, kv: 2.5, overhead: 4 },
  { name: "loki", display: "Loki", title: "Adversarial Intelligence", model: "Qwen/Qwen2.5-7B-Instruct-AWQ", port: 8013, weights: 5.2, kv: 3.5, overhead: 4 },
  { name: "frigga", display: "Frigga", title: "Knowledge Curator", model: "Qwen/Qwen2.5-14B-Instruct-AWQ", port: 8014, weights: 9.3, kv: 7, overhead: 4 },
];

export const PROFILES: Readonly<Record<string, readonly string[]>> = {
  standard: ["thor", "valkyrie"],
  heimdall: ["thor", "valkyrie", "heimdall"],
  loki: ["thor", "valkyrie", "loki"],
  frigga: ["thor", "valkyrie", "frigga"],
  odin: ["thor", "odin"],
};

export interface AgentPlay {
  readonly state: AgentState;
  /** In the unit of the scenario. */
  readonly measured?: number;
  readonly stage?: Stage;
  readonly progress?: number;
  readonly secondsLeft?: number;
  readonly running?: number;
  readonly waiting?: number;
  readonly kvUsed?: number;
  readonly speed?: number;
  readonly firstToken?: number;
  readonly preempted?: number;
  readonly error?: Failure;
  readonly hint?: string;
  readonly refused?: boolean;
  readonly detail?: string;
  readonly drainSeconds?: number;
  readonly idleMinutes?: number;
}

export interface Play {
  readonly profile: string;
  /** Left out: the six of the shipped stack, and its profiles. */
  readonly household?: readonly Spec[];
  readonly profiles?: Readonly<Record<string, readonly string[]>>;
  /** Whether the stack file is there, and which text it has. */
  readonly saved?: boolean;
  readonly hash?: string;
  readonly other: number;
  readonly rehearsal?: boolean;
  readonly agents: Readonly<Record<string, AgentPlay>>;
  readonly switching?: Partial<NonNullable<Status["switching"]>> & { to: string };
  readonly notices?: Status["notices"];
  readonly engineError?: Failure;
  readonly gatewayError?: Failure;
  /** Others run servers here. */
  readonly guests?: boolean;
  readonly paused?: boolean;
  /** The gateway has keys already. */
  readonly keyed?: boolean;
  /** What crossed Bifrost; left out: what suits the rest. */
  readonly requests?: "none" | "quiet" | "waits" | "busy" | "crowd";
  /** What is installed and in the queue; left out: what suits the rest. */
  readonly models?: ModelsPlay;
  /** Nothing was set up here yet. */
  readonly first?: boolean;
  /** The stack came from somebody else, and nobody has seen yet what it runs. */
  readonly unconfirmed?: boolean;
  /** Memory that did not come back, and sources that differ. */
  readonly lost?: number;
  readonly doubt?: string;
  readonly yielded?: Status["yielded"];
  /** What differs of single agents. */
  readonly over?: Readonly<Record<string, Partial<AgentStatus>>>;
}

const ago = (s: number): string => new Date(Date.now() - s * 1000).toISOString();
const total = (s: Spec): number => (s.servedBy === undefined ? s.weights + s.kv + s.overhead : 0);

export function statusOf(play: Play, revision: number): Status {
  const unit: Unit = play.rehearsal === true ? MB : GB;
  const bytes = (n: number): number => Math.round(n * unit.bytes);
  const specs = play.household ?? SPECS;
  const awake = specs.filter((s) => s.servedBy === undefined && !["asleep", "failed"].includes(play.agents[s.name]?.state ?? "asleep"));
  const poolAgents: PoolAgent[] = awake.map((s) => ({
    agent: s.name,
    reserved_bytes: bytes(total(s)),
    measured_bytes: bytes(play.agents[s.name]?.measured ?? total(s) - 0.4),
    device_bytes: 0,
    host_bytes: 0,
    weights_bytes: bytes(s.weights),
    kv_bytes: bytes(s.kv),
    overhead_bytes: bytes(s.overhead),
    learned: null,
  }));
  const lost = play.lost ?? 0;
  const measured = poolAgents.reduce((sum, a) => sum + (a.measured_bytes ?? 0), 0);
  const promised = poolAgents.reduce((sum, a) => sum + Math.max(a.reserved_bytes, a.measured_bytes ?? 0), 0);
  const pool: Pool = {
    id: "unified",
    name: "Unified memory",
    kind: "unified",
    capacity_bytes: bytes(128),
    limit_bytes: bytes(120),
    device_cap_bytes: bytes(124),
    used_bytes: bytes(play.other + lost) + measured,
    device_used_bytes: measured,
    other_bytes: bytes(play.other),
    lost_bytes: bytes(lost),
    available_bytes: Math.max(0, bytes(120 - Math.max(play.other, 6) - lost) - promised),
    agents: poolAgents,
    doubt: play.doubt ?? null,
  };
  return {
    revision,
    unconfirmed: play.unconfirmed === true,
    open_neighbours: 0,
    yielded: play.yielded ?? null,
    profile: play.profile,
    profile_matches: play.switching === undefined && (play.yielded ?? null) === null,
    switching:
      play.switching === undefined
        ? null
        : {
            from: play.profile,
            step: 3,
            steps: 5,
            agent: null,
            stage: "wait_ready",
            progress: 0.62,
            seconds_left: 41,
            cancellable: true,
            undoing: false,
            ...play.switching,
          },
    rehearsal: play.rehearsal === true,
    engines: [
      {
        id: "docker",
        kind: play.rehearsal === true ? "process" : "docker",
        version: play.engineError === undefined ? "27.3" : null,
        reachable: play.engineError === undefined,
        error: play.engineError ?? null,
      },
    ],
    gateway: {
      address: play.gatewayError === undefined ? "http://127.0.0.1:8899/v1" : null,
      paused: play.paused === true,
      error: play.gatewayError ?? null,
    },
    pools: [pool],
    agents: specs.map((s) => ({
      ...agentOf(s, play.agents[s.name] ?? { state: "asleep" }, unit),
      ...play.over?.[s.name],
    })),
    notices: [
      ...(play.notices ?? []),
      ...[play.engineError, play.gatewayError]
        .filter((e) => e !== undefined)
        .map((e) => ({ severity: "failure" as const, message: e.message, next: e.next })),
    ],
    stack: { name: "norse", saved: play.saved ?? false, hash: play.hash ?? "0".repeat(16) },
    since: ago(4_000),
  };
}

function agentOf(s: Spec, play: AgentPlay, unit: Unit): AgentStatus {
  const bytes = (n: number): number => Math.round(n * unit.bytes);
  const on = play.state === "ready" || play.state === "busy" || play.state === "draining";
  const asleep = play.state === "asleep" || play.state === "failed";
  return {
    name: s.name,
    display_name: s.display,
    title: s.title,
    state: play.state,
    stage: play.stage ?? null,
    progress: play.progress ?? null,
    seconds_left: play.secondsLeft ?? null,
    detail: play.detail ?? null,
    engine: "docker",
    endpoint: asleep ? null : `http://127.0.0.1:${String(s.port)}`,
    backend: s.backend ?? "vllm",
    model: s.model,
    quantization: "awq",
    port: s.port,
    context: s.context ?? 32_768,
    running: on ? (play.running ?? 0) : null,
    waiting: on ? (play.waiting ?? 0) : null,
    kv_cache_used: on ? (play.kvUsed ?? 0) : null,
    tokens_per_second: play.speed ?? null,
    since: ago((play.idleMinutes ?? 4) * 60 + 5),
    drain_until: play.drainSeconds === undefined ? null : ago(-play.drainSeconds),
    idle_until: null,
    figures_at: on ? ago(1) : null,
    restart_to_apply: false,
    restart_when_idle: false,
    served_by: s.servedBy ?? null,
    adopted: false,
    warnings: [],
    pinned: s.pinned ?? s.name === "thor",
    glyph: s.glyph === undefined ? s.name : s.glyph,
    color: s.color === undefined ? s.name : s.color,
    claim_bytes: bytes(total(s)),
    claim:
      s.servedBy === undefined
        ? { weights_bytes: bytes(s.weights), kv_bytes: bytes(s.kv), overhead_bytes: bytes(s.overhead) }
        : { weights_bytes: 0, kv_bytes: 0, overhead_bytes: 0 },
    error: play.error ?? null,
    start_hint: asleep ? (play.hint ?? "Starting takes about 45 s.") : null,
    start_refused: play.refused ?? false,
    prompt_tokens_per_second: play.speed === undefined ? null : play.speed * 12,
    time_to_first_token_seconds: play.firstToken ?? null,
    preemptions: on ? (play.preempted ?? 0) : null,
    kv_capacity_tokens: on ? (s.context ?? 32_768) * 2 : null,
    footprint: null,
    suggestions: [],
  };
}

export function profilesOf(status: Status, profiles: Play["profiles"] = PROFILES): ProfileView[] {
  return Object.entries(profiles).map(([name, agents]) => ({
    name,
    agents: [...agents],
    total_bytes: agents.reduce((sum, a) => sum + claimIn(status, a), 0),
    active: status.profile === name,
    plan: planOf(status, name, agents),
  }));
}

function claimIn(status: Status, agent: string): number {
  return status.agents.find((a) => a.name === agent)?.claim_bytes ?? 0;
}

export function planOf(status: Status, profile: string | null, agents: readonly string[]): Plan {
  const unit: Unit = status.rehearsal ? MB : GB;
  const known = new Map(status.agents.map((a) => [a.name, a]));
  const pool = status.pools[0];
  const stays = new Set(
    status.agents.filter((a) => !["asleep", "failed", "draining", "stopping"].includes(a.state)).map((a) => a.name),
  );
  const starts = agents.filter((a) => !stays.has(a));
  const stops = [...stays].filter((a) => !agents.includes(a));
  const planned = agents.reduce((sum, a) => sum + claimIn(status, a), 0);
  const room = (pool?.limit_bytes ?? 0) - (pool?.other_bytes ?? 0) - (pool?.lost_bytes ?? 0);
  const short = Math.max(0, planned - room);
  const seconds = stops.length > 0 ? 90 : 45;
  const fits = short === 0;
  const reason = !fits
    ? `Does not fit: ${memory(short, unit, "up")} short.`
    : stops.length > 0
      ? `Stops ${stops.map((n) => known.get(n)?.display_name ?? n).join(", ")}, about ${String(seconds)} s`
      : `Fits, ${memory(room - planned, unit, "down")} to spare`;
  const named = (names: readonly string[]): string => list(names.map((n) => known.get(n)?.display_name ?? n));
  const sentenceOf = (): string => {
    if (!fits) return "";
    const doing = [stops.length > 0 ? `Stops ${named(stops)}` : "", starts.length > 0 ? `${stops.length > 0 ? "starts" : "Starts"} ${named(starts)}` : ""].filter((s) => s !== "");
    if (doing.length === 0) return "Nothing stops and nothing starts.";
    const peak = `at most ${memoryFigure(planned + (pool?.other_bytes ?? 0) + (pool?.lost_bytes ?? 0), unit)} of ${memory(pool?.limit_bytes ?? 0, unit)} in use on the way`;
    return `${doing.join(" and ")}, ${peak}${starts.length > 0 ? `, about ${String(seconds)} s` : ""}.`;
  };
  return {
    profile,
    from: status.profile,
    fits,
    reason,
    next: fits ? "" : `Close programs that hold ${memory(short, unit, "up")}, or lower the context of an agent.`,
    stack_hash: status.stack.hash,
    sentence: sentenceOf(),
    changed: null,
    steps: [],
    pools:
      pool === undefined
        ? []
        : [
            {
              ...pool,
              planned_bytes: planned,
              peak_bytes: planned + pool.other_bytes,
              shortfall_bytes: short,
              agents: agents
                .filter((name) => claimIn(status, name) > 0)
                .map((name) => ({
                  agent: name,
                  ...(known.get(name)?.claim ?? { weights_bytes: 0, kv_bytes: 0, overhead_bytes: 0 }),
                  basis: "declared",
                })),
            },
          ],
    awake: [...agents],
    stops,
    starts,
    seconds: starts.length > 0 ? seconds : null,
  };
}

const READY: AgentPlay = { state: "ready", kvUsed: 0.12, speed: 19, firstToken: 0.31 };
const BUSY: AgentPlay = { state: "busy", running: 2, waiting: 1, kvUsed: 0.41, speed: 31, firstToken: 0.42, preempted: 3 };
const KV_FAILURE: Failure = {
  code: "kv_cache",
  message: "Could not reserve its KV cache: 7.0 GB needed, 5.4 GB was free at 14:02.",
  next: "Close programs that hold 1.6 GB, or lower the context from 32K to 24K.",
};
const ODIN_ASLEEP: AgentPlay = { state: "asleep", hint: "Starting takes about 90 s and stops Valkyrie.", detail: "Last awake until 13:39, 4.8 tok/s" };

const TWENTY = twenty();

const footprint = (planned: number, steady: number, starts: number, drift: string | null = null): AgentStatus["footprint"] => ({
  planned_bytes: planned * GB.bytes,
  steady_bytes: steady * GB.bytes,
  peak_bytes: (steady + 0.6) * GB.bytes,
  starts,
  words: `planned ${planned.toFixed(1)}, measured ${steady.toFixed(1)}, ${String(starts)} ${starts === 1 ? "start" : "starts"}`,
  drift,
});

/** What was measured of the agents, and what it suggests. */
const MEASURED: NonNullable<Play["over"]> = {
  thor: {
    footprint: footprint(25.3, 24.6, 6),
    time_to_first_token_seconds: 0.31,
    preemptions: 0,
    suggestions: [
      {
        id: "kv_peak",
        key: "kv_cache",
        value: "10.0 GB",
        words: "The KV cache was never more than 38% full in a week. Writing kv_cache = 10.0 GB gives 2.0 GB back.",
        gives_bytes: 2 * GB.bytes,
      },
    ],
  },
  valkyrie: {
    footprint: footprint(37.6, 38.9, 4, "It takes 1.3 GB more than in its first starts."),
    time_to_first_token_seconds: 1.84,
    preemptions: 1_204,
  },
  odin: { footprint: footprint(62, 61.2, 1) },
  frigga: {
    suggestions: [
      { id: "failure", key: "context", value: 24_576, words: "7.0 GB of KV cache were needed and 5.4 GB were free. A context of 24,576 tokens fits.", gives_bytes: null },
    ],
  },
};

export const PLAYS: Readonly<Record<string, Play>> = {
  rest: { profile: "standard", other: 23.4, agents: { thor: READY, valkyrie: { ...READY, speed: 31 }, odin: ODIN_ASLEEP } },
  paused: { profile: "standard", other: 23.4, paused: true, keyed: true, agents: { thor: READY, valkyrie: { ...READY, speed: 31 }, odin: ODIN_ASLEEP } },
  waits: { profile: "standard", other: 23.4, requests: "waits", agents: { thor: READY, valkyrie: { ...BUSY, running: 1 }, odin: ODIN_ASLEEP } },
  crowd: { profile: "standard", other: 23.4, requests: "crowd", agents: { thor: READY, valkyrie: BUSY, odin: ODIN_ASLEEP } },
  switching: {
    profile: "heimdall",
    other: 23.4,
    agents: {
      thor: { ...READY, detail: "Last reply 14:06" },
      valkyrie: BUSY,
      odin: ODIN_ASLEEP,
      heimdall: { state: "draining", measured: 8.6, running: 1, kvUsed: 0.08, drainSeconds: 38 },
      loki: { state: "loading", stage: "weights", progress: 0.62, secondsLeft: 41, measured: 3.1 },
      frigga: { state: "failed", error: KV_FAILURE },
    },
    switching: { to: "loki", from: "heimdall", agent: "loki" },
  },
  measured: {
    profile: "standard",
    other: 23.4,
    agents: { thor: READY, valkyrie: BUSY, odin: ODIN_ASLEEP, frigga: { state: "failed", error: KV_FAILURE } },
    over: MEASURED,
  },
  leak: {
    profile: "standard",
    other: 23.4,
    lost: 10.2,
    doubt: "The kernel counts 84.1 GB in use and the driver 81.6 GB: 2.5 GB are held by something that neither names.",
    agents: { thor: READY, valkyrie: BUSY, odin: ODIN_ASLEEP },
    notices: [
      { severity: "warning", message: "10.2 GB did not come back when Odin stopped.", next: "Look for a process that still has the GPU open, or restart the machine." },
    ],
  },
  yielded: {
    profile: "standard",
    other: 43.4,
    agents: { odin: ODIN_ASLEEP },
    yielded: { until: ago(-2 * 3600), agents: ["thor", "valkyrie"] },
  },
  stages: {
    profile: "standard",
    other: 23.4,
    agents: {
      thor: { state: "stopping", measured: 12, detail: "Giving its memory back" },
      valkyrie: { state: "pulling", detail: "Pulling vllm, 3.1 of 8.4 GB", progress: 0.2, measured: 0 },
      odin: { state: "asleep", refused: true, hint: "Odin can start again at 14:20." },
      heimdall: { state: "starting", stage: "container", measured: 0.2, progress: 0.04 },
      loki: { state: "loading", stage: "kv_cache", progress: 0.8, secondsLeft: 218, measured: 10 },
      frigga: { state: "loading", stage: "warm_up", progress: 0.95, secondsLeft: 5, measured: 19 },
    },
    switching: { to: "standard", undoing: true, progress: 0.4, seconds_left: null },
  },
  rehearsal: {
    profile: "standard",
    other: 11.2,
    rehearsal: true,
    agents: { thor: READY, valkyrie: { ...READY, speed: 64 }, odin: { ...ODIN_ASLEEP, hint: "Stops Valkyrie, about 12 s." } },
  },
  guests: {
    profile: "standard",
    other: 48.2,
    guests: true,
    agents: { thor: { state: "asleep", refused: true, hint: "Port 8001 is held by strix-vllm_thor-1." }, valkyrie: { ...READY, speed: 31 }, odin: ODIN_ASLEEP },
    gatewayError: { code: "port", message: "Port 8899 is taken by another program.", next: "Close it, or set another port in the stack file." },
    over: {
      valkyrie: { restart_to_apply: true },
      odin: {
        warnings: [
          "AWQ of a 70B model hangs at graph capture on gfx1151. Seen with vLLM 0.11, 2 November 2025. Start it with enforce_eager.",
          "The FP8 cache loses accuracy on this GPU. Measured 14 October 2025.",
        ],
      },
      frigga: { served_by: "thor" },
    },
  },
  imported: {
    profile: "standard",
    other: 23.4,
    saved: true,
    unconfirmed: true,
    agents: { odin: ODIN_ASLEEP },
  },
  tight: {
    profile: "standard",
    other: 54.8,
    agents: { thor: READY, valkyrie: BUSY, odin: { ...ODIN_ASLEEP, refused: true, hint: "Does not fit: 22.1 GB short." } },
  },
  twenty: {
    profile: "everybody",
    other: 12.4,
    saved: true,
    household: TWENTY.household,
    profiles: TWENTY.profiles,
    agents: {
      ...Object.fromEntries(TWENTY.household.map((s, i) => [s.name, i % 7 === 3 ? BUSY : READY])),
      gullveig: { state: "failed", error: KV_FAILURE },
      ratatoskr: { state: "loading", stage: "weights", progress: 0.4, secondsLeft: 12, measured: 1.1 },
    },
    switching: { to: "everybody", agent: "ratatoskr" },
  },
  first: { profile: "standard", other: 11.2, models: "none", first: true, agents: {} },
  bare: { profile: "standard", other: 23.4, models: "none", agents: {} },
  hostile: { profile: "standard", other: 23.4, models: "hostile", agents: { thor: READY, valkyrie: BUSY, odin: ODIN_ASLEEP } },
  offline: { profile: "standard", other: 23.4, models: "offline", agents: { thor: READY, valkyrie: BUSY, odin: ODIN_ASLEEP } },
  trouble: {
    profile: "standard",
    other: 23.4,
    agents: {},
    engineError: { code: "engine", message: "Docker does not answer.", next: "Start it with systemctl start docker." },
    notices: [
      { severity: "warning", message: "stack.toml does not hold: line 12, context is negative.", next: "Write a whole number of tokens; the last good stack stays in force." },
      { severity: "info", message: "No GPU was found, so this is a rehearsal.", next: "Save a stack file in Settings to use your own." },
    ],
    gatewayError: { code: "port", message: "Port 8899 is taken by another program.", next: "Close it, or set another port in the stack file." },
  },
};


/** A household of twenty, most of them small: what six agents of the shipped stack never put to the test. */
function twenty(): { household: readonly Spec[]; profiles: Readonly<Record<string, readonly string[]>> } {
  const small = [
    ["baldr", "Light of the House"],
    ["freyja", "Keeper of the Long and Winding Conversation"],
    ["tyr", "Law"],
    ["idun", "Orchards"],
    ["bragi", "Verse"],
    ["skadi", "Winter Watch"],
    ["njord", "Harbours"],
    ["hel", "Archives"],
    ["mimir", "Counsel"],
    ["hermod", "Messages"],
    ["ratatoskr", "Gossip between the Branches"],
    ["gullveig", "Gold"],
    ["vidar-the-silent-one-of-the-wide-woods", "Silence"],
    ["nanna", "A role on Baldr's server"],
  ] as const;
  const further = small.map(([name, title], i): Spec => ({
    name,
    display: name.charAt(0).toUpperCase() + name.slice(1).replaceAll("-", " "),
    title,
    model: i % 2 === 0 ? "Qwen/Qwen2.5-0.5B-Instruct" : "unsloth/Qwen3-1.7B-Instruct-with-a-long-name-Q4_K_M.gguf",
    port: 8020 + i,
    weights: 0.6 + (i % 4) * 0.5,
    kv: 0.3 + (i % 3) * 0.4,
    overhead: 0.4,
    backend: i % 2 === 0 ? "vllm" : "llama.cpp",
    // Some with a rune and a colour that the stack names, most with neither.
    glyph: name === "baldr" ? "dagaz" : name === "skadi" ? "hagalaz" : null,
    color: name === "baldr" ? "lichen" : null,
    ...(name === "nanna" ? { servedBy: "baldr" } : {}),
  }));
  const names = further.map((s) => s.name);
  const profiles: Record<string, readonly string[]> = { ...PROFILES, everybody: [...SPECS.map((s) => s.name), ...names], "all-but-the-large-ones": names };
  for (const [i, name] of names.slice(0, 8).entries()) profiles[`${name}-watch`] = ["thor", ...names.slice(i, i + 3)];
  // The six with smaller models, so that all of the twenty can be awake at once.
  const lighter = SPECS.map((s): Spec => ({ ...s, weights: s.weights / 3, kv: s.kv / 6, overhead: 1 }));
  return { household: [...lighter, ...further], profiles };
}
