// Played states for the development page and the browser tests: every state of a card, every state of the frame.

import type { AgentState, AgentStatus, Failure, Plan, Pool, PoolAgent, ProfileView, Stage, Status } from "../types";
import { GB, MB, memory, type Unit } from "../../format";

interface Spec {
  readonly name: string;
  readonly display: string;
  readonly title: string;
  readonly model: string;
  readonly port: number;
  readonly weights: number;
  readonly kv: number;
  readonly overhead: number;
}

const SPECS: readonly Spec[] = [
  { name: "thor", display: "Thor", title: "Primary Commander", model: "Qwen/Qwen2.5-14B-Instruct-AWQ", port: 8001, weights: 9.3, kv: 12, overhead: 4 },
  { name: "valkyrie", display: "Valkyrie", title: "Execution Specialist", model: "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ", port: 8002, weights: 15.6, kv: 18, overhead: 4 },
  { name: "odin", display: "Odin", title: "Supreme Architect", model: "casperhansen/llama-3.3-70b-instruct-awq", port: 8011, weights: 37, kv: 20, overhead: 5 },
  { name: "heimdall", display: "Heimdall", title: "Guardian", model: "Qwen/Qwen2.5-3B-Instruct-AWQ", port: 8012, weights: 2.5, kv: 2.5, overhead: 4 },
  { name: "loki", display: "Loki", title: "Adversarial Intelligence", model: "Qwen/Qwen2.5-7B-Instruct-AWQ", port: 8013, weights: 5.2, kv: 3.5, overhead: 4 },
  { name: "frigga", display: "Frigga", title: "Knowledge Curator", model: "Qwen/Qwen2.5-14B-Instruct-AWQ", port: 8014, weights: 9.3, kv: 7, overhead: 4 },
];

const PROFILES: Record<string, readonly string[]> = {
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
  readonly error?: Failure;
  readonly hint?: string;
  readonly refused?: boolean;
  readonly detail?: string;
  readonly drainSeconds?: number;
  readonly idleMinutes?: number;
}

export interface Play {
  readonly profile: string;
  readonly other: number;
  readonly rehearsal?: boolean;
  readonly agents: Readonly<Record<string, AgentPlay>>;
  readonly switching?: Partial<NonNullable<Status["switching"]>> & { to: string };
  readonly notices?: Status["notices"];
  readonly engineError?: Failure;
  readonly gatewayError?: Failure;
}

const ago = (s: number): string => new Date(Date.now() - s * 1000).toISOString();
const of = (name: string): Spec => SPECS.find((s) => s.name === name) ?? (SPECS[0] as Spec);
const total = (s: Spec): number => s.weights + s.kv + s.overhead;

export function statusOf(play: Play, revision: number): Status {
  const unit: Unit = play.rehearsal === true ? MB : GB;
  const bytes = (n: number): number => Math.round(n * unit.bytes);
  const awake = SPECS.filter((s) => !["asleep", "failed"].includes(play.agents[s.name]?.state ?? "asleep"));
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
  const measured = poolAgents.reduce((sum, a) => sum + (a.measured_bytes ?? 0), 0);
  const promised = poolAgents.reduce((sum, a) => sum + Math.max(a.reserved_bytes, a.measured_bytes ?? 0), 0);
  const pool: Pool = {
    id: "unified",
    name: "Unified memory",
    kind: "unified",
    capacity_bytes: bytes(128),
    limit_bytes: bytes(120),
    device_cap_bytes: bytes(124),
    used_bytes: bytes(play.other) + measured,
    device_used_bytes: measured,
    other_bytes: bytes(play.other),
    lost_bytes: 0,
    available_bytes: Math.max(0, bytes(120 - Math.max(play.other, 6)) - promised),
    agents: poolAgents,
  };
  return {
    revision,
    unconfirmed: false,
    open_neighbours: 0,
    profile: play.profile,
    profile_matches: play.switching === undefined,
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
      paused: false,
      error: play.gatewayError ?? null,
    },
    pools: [pool],
    agents: SPECS.map((s) => agentOf(s, play.agents[s.name] ?? { state: "asleep" }, unit)),
    notices: [
      ...(play.notices ?? []),
      ...[play.engineError, play.gatewayError]
        .filter((e) => e !== undefined)
        .map((e) => ({ severity: "failure" as const, message: e.message, next: e.next })),
    ],
    stack: { name: "norse", saved: false, hash: "0".repeat(16) },
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
    backend: "vllm",
    model: s.model,
    quantization: "awq",
    port: s.port,
    context: 32_768,
    running: on ? (play.running ?? 0) : null,
    waiting: on ? (play.waiting ?? 0) : null,
    kv_cache_used: on ? (play.kvUsed ?? 0) : null,
    tokens_per_second: play.speed ?? null,
    since: ago((play.idleMinutes ?? 4) * 60 + 5),
    drain_until: play.drainSeconds === undefined ? null : ago(-play.drainSeconds),
    idle_until: null,
    restart_to_apply: false,
    served_by: null,
    adopted: false,
    warnings: [],
    pinned: s.name === "thor",
    glyph: s.name,
    color: s.name,
    claim_bytes: bytes(total(s)),
    claim: { weights_bytes: bytes(s.weights), kv_bytes: bytes(s.kv), overhead_bytes: bytes(s.overhead) },
    error: play.error ?? null,
    start_hint: asleep ? (play.hint ?? "Starting takes about 45 s.") : null,
    start_refused: play.refused ?? false,
  };
}

export function profilesOf(status: Status): ProfileView[] {
  return Object.entries(PROFILES).map(([name, agents]) => ({
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
  const bytes = (n: number): number => Math.round(n * unit.bytes);
  const pool = status.pools[0];
  const stays = new Set(
    status.agents.filter((a) => !["asleep", "failed", "draining", "stopping"].includes(a.state)).map((a) => a.name),
  );
  const starts = agents.filter((a) => !stays.has(a));
  const stops = [...stays].filter((a) => !agents.includes(a));
  const planned = agents.reduce((sum, a) => sum + claimIn(status, a), 0);
  const room = (pool?.limit_bytes ?? 0) - (pool?.other_bytes ?? 0);
  const short = Math.max(0, planned - room);
  const seconds = stops.length > 0 ? 90 : 45;
  const fits = short === 0;
  const reason = !fits
    ? `Does not fit: ${memory(short, unit, "up")} short.`
    : stops.length > 0
      ? `Stops ${stops.map((n) => of(n).display).join(", ")}, about ${String(seconds)} s`
      : `Fits, ${memory(room - planned, unit, "down")} to spare`;
  return {
    profile,
    from: status.profile,
    fits,
    reason,
    next: fits ? "" : `Close programs that hold ${memory(short, unit, "up")}, or lower the context of an agent.`,
    stack_hash: status.stack.hash,
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
              agents: agents.map((name) => {
                const s = of(name);
                return {
                  agent: name,
                  weights_bytes: bytes(s.weights),
                  kv_bytes: bytes(s.kv),
                  overhead_bytes: bytes(s.overhead),
                  basis: "declared",
                };
              }),
            },
          ],
    awake: [...agents],
    stops,
    starts,
    seconds: starts.length > 0 ? seconds : null,
  };
}

const READY: AgentPlay = { state: "ready", kvUsed: 0.12, speed: 19 };
const BUSY: AgentPlay = { state: "busy", running: 2, waiting: 1, kvUsed: 0.41, speed: 31 };
const KV_FAILURE: Failure = {
  code: "kv_cache",
  message: "Could not reserve its KV cache: 7.0 GB needed, 5.4 GB was free at 14:02.",
  next: "Close programs that hold 1.6 GB, or lower the context from 32K to 24K.",
};
const ODIN_ASLEEP: AgentPlay = { state: "asleep", hint: "Starting takes about 90 s and stops Valkyrie.", detail: "Last awake until 13:39, 4.8 tok/s" };

export const PLAYS: Readonly<Record<string, Play>> = {
  rest: { profile: "standard", other: 23.4, agents: { thor: READY, valkyrie: { ...READY, speed: 31 }, odin: ODIN_ASLEEP } },
  switching: {
    profile: "heimdall",
    other: 23.4,
    agents: {
      thor: { ...READY, detail: "Last reply 14:06, first token 0.31 s" },
      valkyrie: BUSY,
      odin: ODIN_ASLEEP,
      heimdall: { state: "draining", measured: 8.6, running: 1, kvUsed: 0.08, drainSeconds: 38 },
      loki: { state: "loading", stage: "weights", progress: 0.62, secondsLeft: 41, measured: 3.1 },
      frigga: { state: "failed", error: KV_FAILURE },
    },
    switching: { to: "loki", from: "heimdall", agent: "loki" },
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
  tight: {
    profile: "standard",
    other: 54.8,
    agents: { thor: READY, valkyrie: BUSY, odin: { ...ODIN_ASLEEP, refused: true, hint: "Does not fit: 22.1 GB short." } },
  },
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

