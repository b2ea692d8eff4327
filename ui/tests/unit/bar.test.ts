import { describe, expect, it } from "vitest";
import type { AgentState, Plan, PlanPool, Pool, PoolAgent } from "../../src/lib/backend/types";
import { difference, figuresAfter, figuresNow, laneAfter, laneNow, widen, type Lane, type Segment } from "../../src/lib/memory/bar";

const agent = (name: string, weights: number, kv: number, overhead: number, measured: number | null): PoolAgent => ({
  agent: name,
  reserved_bytes: weights + kv + overhead,
  measured_bytes: measured,
  device_bytes: 0,
  host_bytes: 0,
  weights_bytes: weights,
  kv_bytes: kv,
  overhead_bytes: overhead,
  learned: null,
});

function pool(other: number, agents: PoolAgent[], limit: number | null = 120, capacity: number | null = 128): Pool {
  const measured = agents.reduce((sum, a) => sum + (a.measured_bytes ?? 0), 0);
  return {
    id: "unified",
    name: "Unified memory",
    kind: "unified",
    capacity_bytes: capacity,
    limit_bytes: limit,
    device_cap_bytes: null,
    used_bytes: other + measured,
    device_used_bytes: null,
    other_bytes: other,
    lost_bytes: 0,
    available_bytes: 0,
    agents,
    doubt: null,
  };
}

const states = (of: Record<string, AgentState>): Map<string, AgentState> => new Map(Object.entries(of));
const sum = (segments: readonly Segment[]): number => segments.reduce((s, x) => s + x.bytes, 0);
const find = (lane: Lane, key: string): Segment => {
  const segment = lane.segments.find((s) => s.key === key);
  if (segment === undefined) throw new Error(`no segment ${key}`);
  return segment;
};

describe("the bar as it is", () => {
  it("an agent that is ready takes what is measured, in the proportions of its claim", () => {
    const lane = laneNow(pool(23, [agent("thor", 9, 12, 4, 20)]), states({ thor: "ready" }));
    const thor = find(lane, "thor");
    expect(thor.bytes).toBe(20);
    expect(thor.pending).toBe(false);
    expect(thor.parts.map((p) => p.kind)).toEqual(["solid", "overhead", "kv"]);
    expect(thor.parts.reduce((s, p) => s + p.bytes, 0)).toBeCloseTo(20);
    expect(find(lane, "free").bytes).toBe(120 - 43);
    expect(find(lane, "reserved").bytes).toBe(8);
    expect(lane.limitAt).toBeCloseTo(120 / 128);
  });

  it("an agent that loads fills its weights first, and the rest is a ghost", () => {
    const lane = laneNow(pool(23, [agent("loki", 5, 3, 4, 3)]), states({ loki: "loading" }));
    const loki = find(lane, "loki");
    expect(loki.parts).toEqual([
      { kind: "solid", bytes: 3 },
      { kind: "ghost", bytes: 6 },
      { kind: "ghost-kv", bytes: 3 },
    ]);
    expect(loki).toMatchObject({ bytes: 12, held: 3, pending: true, leaving: false });
  });

  it("an agent that begins has only a ghost, and one that passed its claim no ghost at all", () => {
    const begun = find(laneNow(pool(0, [agent("loki", 5, 3, 4, null)]), states({ loki: "starting" })), "loki");
    expect(begun).toMatchObject({ bytes: 12, held: 0, pending: true });
    const grown = find(laneNow(pool(0, [agent("loki", 5, 3, 4, 15)]), states({ loki: "loading" })), "loki");
    expect(grown).toMatchObject({ bytes: 15, held: 15, pending: false });
  });

  it("who drains or stops leaves, and so does who a previewed plan stops", () => {
    const given = pool(10, [agent("valkyrie", 15, 18, 4, 37)]);
    expect(find(laneNow(given, states({ valkyrie: "draining" })), "valkyrie").leaving).toBe(true);
    expect(find(laneNow(given, states({ valkyrie: "stopping" })), "valkyrie").leaving).toBe(true);
    expect(find(laneNow(given, states({ valkyrie: "busy" })), "valkyrie").leaving).toBe(false);
    expect(find(laneNow(given, states({ valkyrie: "busy" }), new Set(["valkyrie"])), "valkyrie").leaving).toBe(true);
  });

  it("past the limit it says by how much, and the reserve shrinks", () => {
    const lane = laneNow(pool(100, [agent("thor", 9, 12, 4, 25)]), states({ thor: "ready" }));
    expect(lane.over).toBe(5);
    expect(find(lane, "free").bytes).toBe(0);
    expect(find(lane, "reserved").bytes).toBe(3);
  });

  it("agents stand in the order of the stack, whoever comes and goes", () => {
    const given = pool(0, [agent("odin", 3, 1, 1, 5), agent("thor", 3, 1, 1, 5), agent("unknown", 1, 1, 1, 3)]);
    const order = states({ thor: "ready", valkyrie: "asleep", odin: "ready" });
    const keys = (lane: Lane): string[] => lane.segments.filter((s) => s.kind === "agent").map((s) => s.key);
    expect(keys(laneNow(given, order))).toEqual(["thor", "odin", "unknown"]);
    const planned = given.agents.map((a) => ({ ...a, basis: "declared" }));
    expect(keys(laneAfter({ ...given, planned_bytes: 0, peak_bytes: 0, shortfall_bytes: 0, agents: planned }, given, [], order.keys()))).toEqual(["thor", "odin", "unknown"]);
  });

  it("what was lost is a segment of its own", () => {
    const lane = laneNow({ ...pool(20, []), lost_bytes: 4 }, states({}));
    expect(find(lane, "lost").bytes).toBe(4);
    expect(find(lane, "free").bytes).toBe(96);
  });

  it("without a known capacity or limit nothing is promised to be free", () => {
    const lane = laneNow(pool(20, [agent("thor", 9, 12, 4, 25)], null, null), states({ thor: "ready" }));
    expect(lane.limitAt).toBeNull();
    expect(lane.over).toBe(0);
    expect(find(lane, "free").bytes).toBe(0);
    expect(sum(lane.segments)).toBe(lane.span);
  });
});

// Small numbers, every combination: the lanes must be sound whatever the controller says.
describe("every lane", () => {
  const awake: AgentState[] = ["pulling", "starting", "loading", "ready", "busy", "draining", "stopping"];
  const cases: { name: string; lane: Lane; given: Pool }[] = [];
  for (const other of [0, 11, 60, 119, 140]) {
    for (const state of awake) {
      for (const measured of [null, 0, 1, 24, 25, 40]) {
        for (const [limit, capacity] of [[120, 128], [128, 128], [null, 128], [null, null]] as const) {
          const given = pool(other, [agent("thor", 9, 12, 4, measured), agent("odin", 0, 0, 0, measured)], limit, capacity);
          cases.push({
            name: `${String(other)} ${state} ${String(measured)} ${String(limit)}`,
            given,
            lane: laneNow(given, states({ thor: state, odin: state })),
          });
        }
      }
    }
  }

  it("fills its span exactly, with no segment or part below zero", () => {
    expect(cases.length).toBeGreaterThan(500);
    for (const { name, lane } of cases) {
      expect(sum(lane.segments), name).toBeCloseTo(lane.span, 6);
      for (const segment of lane.segments) {
        expect(segment.bytes, name).toBeGreaterThanOrEqual(0);
        expect(segment.held, name).toBeLessThanOrEqual(segment.bytes + 1e-9);
        for (const part of segment.parts) expect(part.bytes, name).toBeGreaterThan(0);
        if (segment.kind === "agent") {
          expect(segment.parts.reduce((s, p) => s + p.bytes, 0), name).toBeCloseTo(segment.bytes, 6);
        }
      }
    }
  });

  it("is never wider than the span, and keys are unique", () => {
    for (const { name, lane } of cases) {
      if (lane.limitAt !== null) expect(lane.limitAt, name).toBeLessThanOrEqual(1);
      expect(new Set(lane.segments.map((s) => s.key)).size, name).toBe(lane.segments.length);
    }
  });
});

describe("a preview", () => {
  const now = pool(23, [agent("thor", 9, 12, 4, 25), agent("valkyrie", 15, 18, 4, 37)]);
  const planned: PlanPool = {
    ...now,
    planned_bytes: 87,
    peak_bytes: 110,
    shortfall_bytes: 0,
    agents: [
      { agent: "thor", weights_bytes: 9, kv_bytes: 12, overhead_bytes: 4, basis: "declared" },
      { agent: "odin", weights_bytes: 37, kv_bytes: 20, overhead_bytes: 5, basis: "declared" },
    ],
  };
  const plan = { stops: ["valkyrie"], starts: ["odin"], pools: [planned] } as unknown as Plan;

  it("shows who starts as a ghost and who stays as it will be", () => {
    const lane = laneAfter(planned, now, ["odin"]);
    expect(find(lane, "odin")).toMatchObject({ bytes: 62, held: 0, pending: true });
    expect(find(lane, "odin").parts.map((p) => p.kind)).toEqual(["ghost", "ghost-kv"]);
    expect(find(lane, "thor")).toMatchObject({ bytes: 25, held: 25, pending: false });
    expect(lane.segments.some((s) => s.key === "valkyrie")).toBe(false);
    expect(find(lane, "free").bytes).toBe(120 - 23 - 87);
  });

  it("says what comes and goes, and what is free after", () => {
    expect(difference(plan, now)).toEqual({ gone: 37, come: 62 });
    expect(figuresAfter(planned)).toEqual({ measured: 85, planned: 110, free: 10 });
  });

  it("a plan that cannot fit is wider than the machine, and both lanes share its scale", () => {
    const lane = laneAfter({ ...planned, other_bytes: 60 }, now, ["odin"]);
    expect(lane.over).toBe(27);
    expect(lane.span).toBe(147);
    const both = widen(laneNow(now, states({ thor: "ready", valkyrie: "ready" })), lane.span);
    expect(both.span).toBe(147);
    expect(both.limitAt).toBeCloseTo(lane.limitAt ?? 0);
  });
});

describe("the figures", () => {
  it("planned counts those who stay with the larger of reserved and measured", () => {
    const given = pool(20, [agent("thor", 9, 12, 4, 20), agent("loki", 5, 3, 4, 14), agent("odin", 30, 20, 5, 50)]);
    const figures = figuresNow(given, states({ thor: "ready", loki: "busy", odin: "draining" }));
    expect(figures).toEqual({ measured: 104, planned: 20 + 25 + 14, free: 16 });
  });

  it("free is not known where no limit is", () => {
    expect(figuresNow(pool(20, [], null, null), states({})).free).toBeNull();
  });
});
