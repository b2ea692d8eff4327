// The table of requests: pages that join without a gap, words, and no question that nobody needs answered.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Backend } from "../../src/lib/backend/backend";
import type { RequestRow, RequestsQuery } from "../../src/lib/backend/types";
import { cells, choices, matches, more, placeWords, statusWord, waitWords } from "../../src/features/activity/requests";
import { PAGE, Queue, RequestTable, joined, names } from "../../src/lib/state/requests.svelte";

const NBSP = "\u00a0";

function row(id: number | null, more: Partial<RequestRow> = {}): RequestRow {
  return {
    id, time: "2026-11-21T14:10:22Z", client: "OpenCode", agent: "odin", path: "/v1/chat/completions", stream: true,
    outcome: id === null ? "running" : "done", status: 200, prompt_tokens: null, completion_tokens: null, counted: false, queued_seconds: 0,
    first_token_seconds: null, tokens_per_second: null, seconds: 9.4, place: null, why: null, ...more,
  };
}
const rows = (from: number, to: number): RequestRow[] => Array.from({ length: from - to + 1 }, (_, i) => row(from - i));
const ids = (list: readonly RequestRow[]): (number | null)[] => list.map((r) => r.id);

test("pages join without a gap, without a double, and what is known stays the very same", () => {
  const known = rows(10, 1);
  const next = joined(known, rows(12, 9), false);
  expect(ids(next)).toEqual(ids(rows(12, 1)));
  expect(next[2]).toBe(known[0]);
  // Between 20 and 10 something is missing: only what is sure stays.
  expect(ids(joined(known, rows(24, 20), false))).toEqual([24, 23, 22, 21, 20]);
  // One page right before the other has nothing between it either way, but that cannot be known.
  expect(ids(joined(known, rows(14, 11), false))).toEqual([14, 13, 12, 11]);
  // A page that is not full is all there is: the record was cut.
  expect(ids(joined(known, rows(12, 9), true))).toEqual([12, 11, 10, 9]);
  expect(joined(known, [], true)).toEqual([]);
});

test("rows under way that look alike have names of their own", () => {
  const keys = names([row(null), row(null), row(null, { agent: "thor" }), row(3)]);
  expect(new Set(keys.values()).size).toBe(4);
});

test("words of a row", () => {
  expect(statusWord(row(null, { outcome: "waiting" }), "Loki")).toBe("Waiting for Loki");
  expect(statusWord(row(null, { outcome: "waiting", agent: null }), null)).toBe("Waiting");
  expect(["running", "done", "refused", "error", "broken", "left"].map((outcome) => statusWord(row(1, { outcome: outcome as RequestRow["outcome"] }), "Loki"))).toEqual([
    "Running", "Done", "Refused", "Failed", "Broke off", "Client left",
  ]);
  const place = { place: 1, stage: "Draining Valkyrie", seconds_left: 41 };
  expect(placeWords(place, 0)).toBe(`Next, draining Valkyrie, 41${NBSP}s left`);
  expect(placeWords({ ...place, place: 3 }, 11.2)).toBe(`Place 3, draining Valkyrie, 30${NBSP}s left`);
  expect(placeWords(place, 60)).toBe("Next, draining Valkyrie");
  expect(placeWords({ place: 1, stage: "", seconds_left: null }, 0)).toBe("Next");
  const now = new Date("2026-11-21T15:00:00Z");
  const shown = cells(row(1, { prompt_tokens: 12_194, completion_tokens: 611, counted: true, first_token_seconds: 0.42, tokens_per_second: 31.23 }), now);
  expect(shown).toMatchObject({ prompt: "12,194", completion: "about 611", firstToken: `0.42${NBSP}s`, speed: "31.2" });
  expect(shown.time).toMatch(/^\d\d:\d\d:22$/);
  expect(cells(row(1), now)).toMatchObject({ prompt: "–", completion: "–", firstToken: "–", speed: "–" });
  expect(cells(row(1), new Date("2026-11-24T15:00:00Z")).time).toMatch(/^[A-Z][a-z]{2} \d\d:\d\d:22$/);
  expect(more(row(1, { queued_seconds: 41, stream: false, seconds: 129 }))).toEqual([
    ["Path", "/v1/chat/completions"], ["Answer", "in one piece"], ["HTTP status", "200"], ["In the queue", `41${NBSP}s`], ["In all", `2${NBSP}min 9${NBSP}s`],
  ]);
});

test("what waits for one agent, in one line", () => {
  const waits = (left: number | null): RequestRow => row(null, { outcome: "waiting", place: { place: 1, stage: "Loading Odin", seconds_left: left } });
  expect(waitWords([], "Odin", 0)).toBeNull();
  expect(waitWords([waits(38)], "Odin", 0)).toBe(`1 request waits for Odin, 38${NBSP}s left`);
  expect(waitWords([waits(60), waits(38)], null, 1)).toBe(`2 requests wait, 37${NBSP}s left`);
  expect(waitWords([waits(null), row(null, { outcome: "waiting" })], "Odin", 0)).toBe("2 requests wait for Odin");
});

test("find reads what a person sees, and the choices keep the one that is chosen", () => {
  const one = row(1, { why: "Waited 41 s: Valkyrie was draining one request." });
  for (const needle of ["valkyrie", "opencode", "ODIN the", " done", "/v1/chat", ""]) expect(matches(one, "Odin the Wise", needle), needle).toBe(true);
  expect(matches(one, "Odin", "loki")).toBe(false);
  expect(choices(["b", null, "a", "b"], "z")).toEqual(["a", "b", "z"]);
});

let asked: RequestsQuery[];
let visible: boolean;
let underWay: RequestRow[];
let kept: RequestRow[];
let fails: boolean;
let table: RequestTable;
let backend: Backend;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  asked = [];
  visible = true;
  fails = false;
  underWay = [];
  kept = rows(250, 1);
  backend = {
    call: (_: string, query: RequestsQuery) => {
      asked.push(query);
      if (fails) return Promise.reject(new Error("cut"));
      const before = query.before ?? Number.POSITIVE_INFINITY;
      return Promise.resolve({
        under_way: underWay.slice(),
        ended: structuredClone(kept.filter((r) => (r.id ?? 0) < before && (query.agent === null || r.agent === query.agent)).slice(0, query.limit)),
      });
    },
  } as unknown as Backend;
  table = new RequestTable(backend, () => visible);
});

afterEach(() => {
  table.close();
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const ALL = { agent: null, client: null };

test("it is read every second while something runs, less often at rest, and never unseen or held", async () => {
  underWay = [row(null)];
  table.want(ALL);
  await pass(0);
  expect(asked).toHaveLength(1);
  await pass(1_000);
  expect(asked).toHaveLength(2);
  underWay = [];
  await pass(1_000);
  expect(asked).toHaveLength(3);
  await pass(4_900);
  expect(asked).toHaveLength(3);
  await pass(200);
  expect(asked).toHaveLength(4);
  visible = false;
  await pass(600_000);
  const before = asked.length;
  await pass(600_000);
  expect(asked.length).toBe(before);
  visible = true;
  table.changed();
  await pass(500);
  expect(asked.length).toBe(before + 1);
  table.hold(true);
  kept = [row(251), ...kept];
  for (let i = 0; i < 10; i += 1) table.changed();
  await pass(60_000);
  expect(asked.length).toBe(before + 1);
  expect(table.ended?.[0]?.id).toBe(250);
  table.hold(false);
  await pass(500);
  expect(table.ended?.[0]?.id).toBe(251);
});

test("older pages are appended to the end of the record, and stay when something new comes", async () => {
  table.want(ALL);
  await pass(0);
  expect(table.ended).toHaveLength(PAGE);
  expect(table.more).toBe(true);
  expect(await table.older()).toBe(PAGE);
  expect(await table.older()).toBe(50);
  expect(table.more).toBe(false);
  expect(ids(table.ended ?? [])).toEqual(ids(rows(250, 1)));
  const same = table.ended?.[7];
  kept = [row(251), ...kept];
  table.changed();
  await pass(1_000);
  expect(ids(table.ended ?? [])).toEqual(ids(rows(251, 1)));
  expect(table.ended?.[8]).toBe(same);
  expect(table.more).toBe(false);
});

test("a filter is the controller's, and an answer of the filter before is dropped", async () => {
  const late: ((told: unknown) => void)[] = [];
  const slow = { call: () => new Promise((resolve) => { late.push(resolve); }) } as unknown as Backend;
  const other = new RequestTable(slow, () => true);
  other.want(ALL);
  await pass(0);
  other.want({ agent: "thor", client: null });
  late[0]?.({ under_way: [], ended: rows(3, 1) });
  await pass(600);
  expect(other.ended).toBeNull();
  other.close();
  table.want({ agent: "odin", client: "ci" });
  await pass(0);
  expect(asked.at(-1)).toEqual({ limit: PAGE, before: null, agent: "odin", client: "ci" });
});

test("a failure is told and what was read stays", async () => {
  table.want(ALL);
  await pass(0);
  fails = true;
  table.changed();
  await pass(1_000);
  expect(table.error?.message).toMatch(/cut/);
  expect(table.ended).toHaveLength(PAGE);
  expect(await table.older()).toBeNull();
  expect(table.loading).toBe(false);
  fails = false;
  table.changed();
  await pass(1_000);
  expect(table.error).toBeNull();
});

test("the cards hear of those who wait alone", async () => {
  underWay = [row(null), row(null, { outcome: "waiting" })];
  const queue = new Queue(backend);
  queue.changed();
  await pass(0);
  expect(queue.waiting).toHaveLength(1);
  fails = true;
  queue.changed();
  await pass(1_000);
  expect(queue.waiting).toHaveLength(0);
  queue.close();
});
