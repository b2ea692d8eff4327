// The pictures are fetched when they are wanted, never while nobody can see them, and not more often than they change.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Backend } from "../../src/lib/backend/backend";
import type { HistoryRequest } from "../../src/lib/backend/types";
import { Histories, freshFor, imageOf } from "../../src/lib/state/history.svelte";

let asked: HistoryRequest[];
let visible: boolean;
let answer: () => Promise<unknown>;
let histories: Histories;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  asked = [];
  visible = true;
  answer = () => Promise.resolve({ pools: [], agents: [] });
  const backend = {
    call: (cmd: string, payload: HistoryRequest) => {
      if (cmd === "history") asked.push(payload);
      return answer();
    },
  } as unknown as Backend;
  histories = new Histories(backend, () => visible);
});

afterEach(() => {
  histories.close();
  vi.useRealTimers();
});

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const day = { hours: 24, theme: "dark", width: 800 } as const;

test("a picture that is looked at is drawn again a minute later, and one of an hour every ten seconds", async () => {
  histories.want({ ...day, hours: 1 });
  await pass(0);
  expect(asked).toHaveLength(1);
  await pass(9_900);
  expect(asked).toHaveLength(1);
  await pass(200);
  expect(asked).toHaveLength(2);
  histories.want(day);
  await pass(0);
  expect(asked.at(-1)).toMatchObject({ hours: 24, theme: "dark", width: 800 });
  await pass(59_000);
  expect(asked).toHaveLength(3);
  expect([1, 24, 168, 8760].map(freshFor)).toEqual([10_000, 60_000, 420_000, 600_000]);
});

test("nothing is asked for while nobody can see it", async () => {
  histories.want({ ...day, hours: 1 });
  await pass(0);
  visible = false;
  histories.looked();
  await pass(3_600_000);
  expect(asked).toHaveLength(1);
  visible = true;
  histories.looked();
  await pass(0);
  expect(asked).toHaveLength(2);
  histories.close();
  await pass(3_600_000);
  expect(asked).toHaveLength(2);
});

test("a window that is dragged asks once, a theme or a range at once", async () => {
  histories.want(day);
  await pass(0);
  for (const width of [840, 880, 920]) {
    histories.want({ ...day, width });
    await pass(50);
  }
  expect(asked).toHaveLength(1);
  await pass(150);
  expect(asked.map((a) => a.width)).toEqual([800, 920]);
  histories.want({ ...day, width: 920, theme: "light" });
  await pass(0);
  expect(asked.at(-1)?.theme).toBe("light");
});

test("the answer of a range that was left does not replace the one that is wanted", async () => {
  const waiting: ((value: unknown) => void)[] = [];
  answer = () => new Promise((resolve) => waiting.push(resolve));
  const named = (name: string): unknown => ({ pools: [{ name }], agents: [] });
  histories.want(day);
  await pass(0);
  histories.want({ ...day, hours: 1 });
  await pass(0);
  for (const resolve of waiting.slice(2)) resolve(named("hour"));
  await pass(0);
  for (const resolve of waiting.slice(0, 2)) resolve(named("day"));
  await pass(0);
  expect(histories.pools?.map((p) => p.name)).toEqual(["hour"]);
});

test("a refusal is shown, and gone with the next picture", async () => {
  answer = () => Promise.reject(Object.assign(new Error(), { code: "failed", message: "No.", next: "Later." }));
  histories.want({ ...day, hours: 1 });
  await pass(0);
  expect(histories.error?.message).toBe("No.");
  answer = () => Promise.resolve({ pools: [], agents: [] });
  await pass(10_000);
  expect(histories.error).toBeNull();
});

test("whatever is in a picture stays in its address", () => {
  const address = imageOf(`<svg><text>"'#%&?</text></svg>`);
  expect(address).toMatch(/^data:image\/svg\+xml;charset=utf-8,[A-Za-z0-9%\-_.!~*'()]+$/);
});
