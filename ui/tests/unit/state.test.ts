import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Message, Status } from "../../src/lib/backend/types";
import { PLAYS, statusOf } from "../../src/lib/backend/memory/fixtures";
import { announcements } from "../../src/lib/state/announcements";
import { level } from "../../src/lib/state/log.svelte";
import { Refresher } from "../../src/lib/state/refresher";
import { applyChunk, unsent, withoutLastReply } from "../../src/lib/state/reply";
import { KNOWN, dressed, hue, rune } from "../../src/lib/hues";
import { GB } from "../../src/lib/format";
import { briefly, doingNow, underway } from "../../src/lib/switching";
import { profilesOf } from "../../src/lib/backend/memory/fixtures";

function status(play: string): Status {
  const found = PLAYS[play];
  if (found === undefined) throw new Error(play);
  return statusOf(found, 1);
}

describe("the refresher", () => {
  beforeEach(() => { vi.useFakeTimers(); });
  afterEach(() => { vi.useRealTimers(); });

  it("fetches at once, then at most once a gap, and never twice at a time", async () => {
    let under = 0;
    let most = 0;
    let fetched = 0;
    const refresher = new Refresher(async () => {
      under += 1;
      most = Math.max(most, under);
      fetched += 1;
      await new Promise((resolve) => setTimeout(resolve, 70));
      under -= 1;
    }, 200, () => Date.now());
    refresher.request();
    expect(fetched).toBe(1);
    for (let i = 0; i < 100; i += 1) {
      refresher.request();
      await vi.advanceTimersByTimeAsync(10);
    }
    expect(most).toBe(1);
    // A second of wishes: one at once and one each 200 ms.
    expect(fetched).toBeGreaterThanOrEqual(5);
    expect(fetched).toBeLessThanOrEqual(6);
    await vi.advanceTimersByTimeAsync(2_000);
    const rested = fetched;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(fetched).toBe(rested);
  });

  it("a wish during a slow fetch is not lost", async () => {
    let fetched = 0;
    const refresher = new Refresher(() => { fetched += 1; return new Promise((resolve) => setTimeout(resolve, 1_000)); }, 200, () => Date.now());
    refresher.request();
    await vi.advanceTimersByTimeAsync(500);
    refresher.request();
    await vi.advanceTimersByTimeAsync(400);
    expect(fetched).toBe(1);
    await vi.advanceTimersByTimeAsync(200);
    expect(fetched).toBe(2);
  });

  it("stopped, it stays stopped", async () => {
    let fetched = 0;
    const refresher = new Refresher(() => { fetched += 1; return Promise.resolve(); }, 200, () => Date.now());
    refresher.request();
    refresher.request();
    refresher.stop();
    await vi.advanceTimersByTimeAsync(5_000);
    refresher.request();
    expect(fetched).toBe(1);
  });
});

describe("what is announced", () => {
  it("nothing on the first look", () => {
    expect(announcements(null, status("switching"))).toEqual([]);
  });

  it("nothing when nothing changed", () => {
    expect(announcements(status("switching"), status("switching"))).toEqual([]);
  });

  it("states politely, failures at once and with their reason", () => {
    const told = announcements(status("rest"), status("switching"));
    const texts = told.map((t) => t.text);
    expect(texts).toContain("Loki is loading");
    expect(texts).toContain("Heimdall is draining");
    expect(texts).toContain("Switching to loki");
    const failure = told.find((t) => t.text.startsWith("Frigga failed"));
    expect(failure?.urgent).toBe(true);
    expect(failure?.text).toContain("Close programs that hold");
    expect(told.filter((t) => t.urgent)).toHaveLength(1);
  });

  it("not each request that makes an agent busy", () => {
    const before = status("rest");
    const after = { ...before, agents: before.agents.map((a) => (a.name === "thor" ? { ...a, state: "busy" as const } : a)) };
    expect(announcements(before, after)).toEqual([]);
    expect(announcements(after, before)).toEqual([]);
  });

  it("a new notice, once", () => {
    const calm = { ...status("trouble"), notices: [] };
    expect(announcements(calm, status("trouble")).map((t) => t.urgent)).toEqual([false, false, true, true]);
    expect(announcements(status("trouble"), status("trouble"))).toEqual([]);
  });
});

describe("the pieces of a reply", () => {
  const reply = (over: Partial<Message> = {}): Message => ({
    id: 7,
    role: "assistant",
    text: "",
    thinking: "",
    state: "streaming",
    time: "2026-11-21T04:00:00Z",
    error: null,
    stats: null,
    ...over,
  });
  const asked = unsent("Hello", new Date(0));

  it("build the message, and the finished one takes its place", () => {
    let messages: Message[] = [asked];
    messages = applyChunk(messages, { kind: "started", message: reply({ text: "So" }) });
    messages = applyChunk(messages, { kind: "thinking", text: "hm" });
    messages = applyChunk(messages, { kind: "text", text: " far" });
    expect(messages.at(-1)).toMatchObject({ text: "So far", thinking: "hm", state: "streaming" });
    messages = applyChunk(messages, { kind: "done", message: reply({ text: "So far, so good.", state: "done" }) });
    expect(messages).toHaveLength(2);
    expect(messages.at(-1)).toMatchObject({ text: "So far, so good.", state: "done" });
  });

  it("joining late replaces what was fetched instead of doubling it", () => {
    const fetched = [asked, reply({ text: "So" })];
    const messages = applyChunk(fetched, { kind: "started", message: reply({ text: "So far" }) });
    expect(messages).toHaveLength(2);
    expect(messages.at(-1)?.text).toBe("So far");
  });

  it("text with nothing to belong to changes nothing, and neither does a kind of tomorrow", () => {
    expect(applyChunk([asked], { kind: "text", text: "x" })).toEqual([asked]);
    expect(applyChunk([asked], { kind: "later" } as never)).toEqual([asked]);
  });

  it("asking again takes the last reply away, and only a reply", () => {
    expect(withoutLastReply([asked, reply()])).toEqual([asked]);
    expect(withoutLastReply([asked])).toEqual([asked]);
  });
});

describe("hues and runes", () => {
  it("follow the stack where it says, and the name where it does not", () => {
    expect(hue({ name: "thor", color: null })).toBe("var(--thor)");
    expect(hue({ name: "mimir", color: "odin" })).toBe("var(--odin)");
    expect(hue({ name: "mimir", color: "#12ab9F" })).toBe("#12ab9F");
    expect(rune({ name: "mimir", glyph: "loki" })).toBe("loki");
    expect(rune({ name: "mimir", glyph: "laguz" })).toBe("laguz");
    expect(rune({ name: "mimir", glyph: null })).toBe("letter:M");
    expect(rune({ name: "mimir", glyph: "toString" })).toBe("letter:M");
    expect(rune(undefined, "")).toBe("lozenge");
  });

  it("twenty agents without a colour of their own each have another one, always the same", () => {
    const agents = [...KNOWN, ...Array.from({ length: 14 }, (_, i) => `agent-${String(i)}`)].map((name) => ({ name, color: null }));
    const hues = dressed(agents).map((a) => hue(a));
    expect(new Set(hues).size).toBe(20);
    expect(dressed(agents)).toEqual(dressed(agents));
    expect(hues).not.toContain("var(--text-2)");
  });

  it("a colour that somebody chose is given to nobody else, and a false one to its agent neither", () => {
    const given = dressed([{ name: "mimir", color: "moss" }, { name: "tyr", color: "nonsense" }, ...Array.from({ length: 13 }, (_, i) => ({ name: `a${String(i)}`, color: null }))]);
    expect(given.filter((a) => a.color === "moss")).toHaveLength(1);
    expect(given[1]?.color).toBe("rowan");
    expect(new Set(given.map((a) => a.color)).size).toBe(14);
  });

  it.each(["red; background: url(https://evil.example)", "url(x)", "var(--bg)", "#12345"])("%s gets into no style", (color) => {
    expect(hue({ name: "mimir", color })).toBe("var(--text-2)");
  });
});

describe("lines of a log", () => {
  it.each([
    ["ERROR 11-21 engine core stopped", "error"],
    ["RuntimeError: CUDA out of memory", "error"],
    ["Traceback (most recent call last):", "error"],
    ["WARNING 11-21 pin_memory", "warning"],
    ["srv  warn: nothing", "plain"],
    ["INFO terror and errors in prose", "plain"],
  ])("%s is %s", (text, wanted) => {
    expect(level(text)).toBe(wanted);
  });
});

describe("what is under way", () => {
  const now = status("switching");
  const agents = new Map(now.agents.map((a) => [a.name, a]));
  const profiles = profilesOf(now);
  const switching = now.switching;
  if (switching === null) throw new Error("it switches");

  it("is named after the profile, and what is done just now after its agent", () => {
    expect(underway(switching, agents, profiles)).toMatchObject({ profile: "loki", text: "Switching to loki" });
    expect(doingNow(switching, agents)).toBe("Loading Loki");
    expect(doingNow({ ...switching, agent: "heimdall", stage: "drain" }, agents)).toBe("Draining Heimdall");
    expect(doingNow({ ...switching, undoing: true }, agents)).toBe("Undoing");
  });

  it("the stop of an agent is no switch to the profile of its name", () => {
    const stop = { ...switching, to: "heimdall", agent: "heimdall", stage: "drain" };
    expect(underway(stop, agents, profiles)).toMatchObject({ profile: null, text: "Stopping Heimdall" });
  });

  it("an agent that is no profile is started", () => {
    expect(underway({ ...switching, to: "thor" }, agents, profiles)).toMatchObject({ profile: null, text: "Starting Thor" });
  });
});

describe("a refusal in a few words", () => {
  it("says how much is missing, and whether closing programs is enough", () => {
    const odin = profilesOf(status("tight")).find((p) => p.name === "odin");
    if (odin === undefined) throw new Error("odin");
    expect(briefly(odin.plan, GB)).toBe("Fits with 22.1\u00a0GB closed");
    const full = { ...odin.plan, pools: odin.plan.pools.map((p) => ({ ...p, other_bytes: 6 * GB.bytes })) };
    expect(briefly(full, GB)).toBe("22.1\u00a0GB short");
    const rule = { ...odin.plan, reason: "Odin and Valkyrie are never awake together.", pools: [] };
    expect(briefly(rule, GB)).toBe("Odin and Valkyrie are never awake together.");
  });
});
