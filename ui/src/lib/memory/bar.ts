// Pools and plans as lanes of segments. Pure: the components draw what stands here and decide nothing.

import type { AgentState, Plan, PlanPool, Pool, PoolAgent } from "../backend/types";

/** `solid` weights, `overhead` beside them, `kv` the cache; a ghost is promised and not there yet. */
export type PartKind = "solid" | "overhead" | "kv" | "ghost" | "ghost-kv";

export interface Part {
  readonly kind: PartKind;
  readonly bytes: number;
}

export type SegmentKind = "system" | "lost" | "agent" | "free" | "reserved";

export interface Segment {
  /** An agent's name, or the kind: unique in its lane. */
  readonly key: string;
  readonly kind: SegmentKind;
  readonly bytes: number;
  /** In use now; what is left of `bytes` is a ghost. */
  readonly held: number;
  readonly parts: readonly Part[];
  readonly leaving: boolean;
  /** Promised in part or whole. */
  readonly pending: boolean;
}

export interface Lane {
  readonly segments: readonly Segment[];
  /** What the whole width stands for. More than the capacity only where more is promised than there is. */
  readonly span: number;
  readonly capacity: number | null;
  /** 0 to 1 of the width; null where no limit is known. */
  readonly limitAt: number | null;
  /** Bytes in use or promised past the limit. */
  readonly over: number;
}

const SETTLED: readonly AgentState[] = ["ready", "busy", "draining", "stopping"];

export function isLeaving(state: AgentState | undefined): boolean {
  return state === "draining" || state === "stopping";
}

/** In the order of the stack, so that nobody changes place on the bar when somebody comes or goes. */
function inOrder<T extends { readonly agent: string }>(agents: readonly T[], order: Iterable<string>): T[] {
  const names = [...order];
  const place = (a: T): number => {
    const at = names.indexOf(a.agent);
    return at === -1 ? names.length : at;
  };
  return [...agents].sort((a, b) => place(a) - place(b));
}

/** The bar as it is. The states are in the order of the stack. */
export function laneNow(
  pool: Pool,
  states: ReadonlyMap<string, AgentState>,
  leaving: ReadonlySet<string> = new Set(),
): Lane {
  const agents = inOrder(pool.agents, states.keys()).map((agent) => {
    const state = states.get(agent.agent);
    const goes = isLeaving(state) || leaving.has(agent.agent);
    return agentNow(agent, state, goes);
  });
  return lane(pool, agents);
}

/** The bar as it would be after a plan. */
export function laneAfter(
  planned: PlanPool,
  now: Pool | undefined,
  starts: readonly string[],
  order: Iterable<string> = [],
): Lane {
  const awake = new Set(now?.agents.map((a) => a.agent));
  const agents = inOrder(planned.agents, order).map((agent): Segment => {
    const bytes = agent.weights_bytes + agent.kv_bytes + agent.overhead_bytes;
    const ghost = starts.includes(agent.agent) || !awake.has(agent.agent);
    return {
      key: agent.agent,
      kind: "agent",
      bytes,
      held: ghost ? 0 : bytes,
      parts: ghost
        ? parts([
            ["ghost", agent.weights_bytes + agent.overhead_bytes],
            ["ghost-kv", agent.kv_bytes],
          ])
        : parts([
            ["solid", agent.weights_bytes],
            ["overhead", agent.overhead_bytes],
            ["kv", agent.kv_bytes],
          ]),
      leaving: false,
      pending: ghost,
    };
  });
  return lane(planned, agents);
}

function agentNow(agent: PoolAgent, state: AgentState | undefined, leaving: boolean): Segment {
  const { weights_bytes: weights, kv_bytes: kv, overhead_bytes: overhead } = agent;
  const promised = weights + kv + overhead;
  const held = agent.measured_bytes ?? (state !== undefined && SETTLED.includes(state) ? agent.reserved_bytes : 0);
  const settled = leaving || (state !== undefined && SETTLED.includes(state));
  if (settled) {
    // What is measured is not told apart, so it is drawn in the proportions of the claim.
    const scale = promised > 0 ? held / promised : 0;
    const drawn: [PartKind, number][] =
      promised > 0
        ? [
            ["solid", weights * scale],
            ["overhead", overhead * scale],
            ["kv", kv * scale],
          ]
        : [["solid", held]];
    return { key: agent.agent, kind: "agent", bytes: held, held, parts: parts(drawn), leaving, pending: false };
  }
  // A start fills weights first, then what belongs to them, then the cache.
  let left = held;
  const take = (of: number): number => {
    const taken = Math.min(left, of);
    left -= taken;
    return taken;
  };
  const solid = take(weights);
  const beside = take(overhead);
  const cache = take(kv);
  // More than the claim is there all the same.
  const more = left;
  const drawn = parts([
    ["solid", solid],
    ["overhead", beside + more],
    ["kv", cache],
    ["ghost", weights - solid + (overhead - beside)],
    ["ghost-kv", kv - cache],
  ]);
  const bytes = drawn.reduce((sum, p) => sum + p.bytes, 0);
  return { key: agent.agent, kind: "agent", bytes, held, parts: drawn, leaving: false, pending: bytes > held };
}

interface Bounds {
  readonly capacity_bytes: number | null;
  readonly limit_bytes: number | null;
  readonly other_bytes: number;
  readonly lost_bytes: number;
}

function lane(bounds: Bounds, agents: readonly Segment[]): Lane {
  const plain = (key: SegmentKind, bytes: number, held: number): Segment => ({
    key,
    kind: key,
    bytes,
    held,
    parts: [],
    leaving: false,
    pending: false,
  });
  const segments: Segment[] = [plain("system", bounds.other_bytes, bounds.other_bytes)];
  segments.push(...agents.filter((a) => a.bytes > 0));
  if (bounds.lost_bytes > 0) segments.push(plain("lost", bounds.lost_bytes, bounds.lost_bytes));
  const taken = segments.reduce((sum, s) => sum + s.bytes, 0);

  const capacity = bounds.capacity_bytes;
  const limit = bounds.limit_bytes ?? capacity;
  const span = Math.max(capacity ?? 0, limit ?? 0, taken, 1);
  const free = Math.max(0, (limit ?? span) - taken);
  segments.push(plain("free", free, 0));
  // What is taken past the limit covers the reserve, so the reserve shrinks by as much.
  const reserve = span - Math.max(limit ?? span, taken);
  if (reserve > 0) segments.push(plain("reserved", reserve, 0));
  return {
    segments,
    span,
    capacity,
    limitAt: limit === null ? null : limit / span,
    over: limit === null ? 0 : Math.max(0, taken - limit),
  };
}

/** The same lane on a wider scale, so that two lanes can stand below each other. */
export function widen(lane: Lane, span: number): Lane {
  if (span <= lane.span) return lane;
  return { ...lane, span, limitAt: lane.limitAt === null ? null : (lane.limitAt * lane.span) / span };
}

function parts(drawn: readonly (readonly [PartKind, number])[]): Part[] {
  return drawn.filter(([, bytes]) => bytes > 0).map(([kind, bytes]) => ({ kind, bytes }));
}

export interface Figures {
  readonly measured: number;
  /** What everybody awake or starting may use at most, with system and apps. */
  readonly planned: number;
  /** Left below the limit; less than zero past it. Null where no limit is known. */
  readonly free: number | null;
}

export function figuresNow(pool: Pool, states: ReadonlyMap<string, AgentState>): Figures {
  const promised = pool.agents
    .filter((a) => !isLeaving(states.get(a.agent)))
    .reduce((sum, a) => sum + Math.max(a.reserved_bytes, a.measured_bytes ?? 0), 0);
  const limit = pool.limit_bytes ?? pool.capacity_bytes;
  return {
    measured: pool.used_bytes,
    planned: pool.other_bytes + pool.lost_bytes + promised,
    free: limit === null ? null : limit - pool.used_bytes,
  };
}

export function figuresAfter(pool: PlanPool): Figures {
  const limit = pool.limit_bytes ?? pool.capacity_bytes;
  const planned = pool.other_bytes + pool.lost_bytes + pool.planned_bytes;
  return { measured: pool.used_bytes, planned, free: limit === null ? null : limit - planned };
}

/** What a plan gives back and takes, on one pool. */
export function difference(plan: Plan, now: Pool): { gone: number; come: number } {
  const planned = plan.pools.find((p) => p.id === now.id);
  const gone = now.agents
    .filter((a) => plan.stops.includes(a.agent))
    .reduce((sum, a) => sum + Math.max(a.reserved_bytes, a.measured_bytes ?? 0), 0);
  const come = (planned?.agents ?? [])
    .filter((a) => plan.starts.includes(a.agent))
    .reduce((sum, a) => sum + a.weights_bytes + a.kv_bytes + a.overhead_bytes, 0);
  return { gone, come };
}
