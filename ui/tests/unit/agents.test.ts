import { readFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { AgentForm, Edited, EditRequest, StackForm } from "../../src/lib/backend/types";
import type { Backend } from "../../src/lib/backend/backend";
import { GB } from "../../src/lib/format";
import { Forms } from "../../src/lib/backend/memory/forms";
import { PLAYS, type Play } from "../../src/lib/backend/memory/fixtures";
import { Asking } from "../../src/features/agents/asking.svelte";
import { KEYS, blankDraft, changes, draftOf, edits, fieldOf, freeName, isChanged, nameProblem, parse, rebase, shown, showable, type Draft, type Key } from "../../src/features/agents/draft";
import { Editing, undoRemoval } from "../../src/features/agents/editing.svelte";
import { cacheSentence, memoryLine, sizeBytes, sizeText } from "../../src/features/agents/quantities";
import { labelPlaces } from "../../src/features/frame/segments";
import type { Lane } from "../../src/lib/memory/bar";

const agent = (written: AgentForm["written"] = {}, over: Partial<AgentForm> = {}): AgentForm => ({
  agent: "thor",
  display_name: "Thor",
  written: { name: "Thor", backend: "vllm", model: "Qwen/Qwen2.5-14B-Instruct-AWQ", port: 8001, context: 32_768, sequences: 4, kv_cache: "12 GB", pinned: true, args: ["--a", "b c"], env: { A: "1", B: "x=y" }, ...written },
  defaults: { backend: "vllm", context: 32_768, sequences: 4 },
  profiles: ["standard", "odin"],
  claim_bytes: 25 * GB.bytes,
  weights_bytes: 9 * GB.bytes,
  kv_bytes: 12 * GB.bytes,
  overhead_bytes: 4 * GB.bytes,
  kv_bytes_per_token: 196_608,
  max_context: 32_768,
  warnings: [],
  ...over,
});
const typed = (draft: Draft, texts: Partial<Record<Key, string>>): Draft => ({ ...draft, texts: { ...draft.texts, ...texts } });
const form = (over: Partial<StackForm> = {}): StackForm => ({
  hash: "1",
  saved: true,
  agents: [agent()],
  profiles: [{ name: "standard", agents: ["thor", "valkyrie"], fits: true, reason: "" }],
  next_port: 8020,
  models: [],
  ...over,
});

describe("a draft against the file", () => {
  const base = draftOf(agent());

  it("unchanged is nothing to send, whatever the file holds", () => {
    expect(edits(base, base)).toEqual([]);
    expect(isChanged(base, base)).toBe(false);
    // A file that says things in its own way is not corrected by opening it.
    const odd = draftOf(agent({ kv_cache: 12_884_901_888, ttl: 90, args: ["", " x "], command: ["a\nb"], title: " two  blanks " }));
    expect(edits(odd, odd)).toEqual([]);
  });

  it("sends only what differs, in the type of its key, and null for what is emptied", () => {
    const draft = typed(base, { context: "16,384", kv_cache: "8 GB", title: "Counsel", args: "--one\n\n--two three", env: "A=1", port: "", pinned: "" });
    expect(edits(draft, base)).toEqual([
      {
        edit: "change_agent",
        agent: "thor",
        keys: { context: 16_384, kv_cache: "8 GB", title: "Counsel", args: ["--one", "--two three"], env: { A: "1" }, port: null, pinned: null },
      },
    ]);
  });

  it("what was never written and is empty is not taken away", () => {
    expect(changes(typed(base, { dtype: "  " }), base).keys).toEqual({});
  });

  it("profiles are an edit of their own, and their order is none", () => {
    expect(edits({ ...base, profiles: ["odin", "standard"] }, base)).toEqual([]);
    expect(edits({ ...base, profiles: ["odin"] }, base)).toEqual([{ edit: "agent_profiles", agent: "thor", profiles: ["odin"] }]);
  });

  it("every key comes back from its field as it was", () => {
    const values = { text: "word", whole: 7, number: 0.25, measure: "12 GB", flag: true, lines: ["a", "b=c"], pairs: { A: "1", B: "x=y" } };
    for (const [key, kind] of Object.entries(KEYS)) {
      expect(parse(key as Key, shown(values[kind])), key).toEqual({ value: values[kind] });
    }
    expect(parse("kv_cache", "12884901888")).toEqual({ value: 12_884_901_888 });
    expect(parse("role", "One line.\nAnother.\n")).toEqual({ value: "One line.\nAnother.\n" });
  });

  it("knows the keys that the stack file has for an agent, all of them and no others", () => {
    const table = readFileSync(new URL("../../../src-tauri/crates/store/src/stack_file/keys.rs", import.meta.url), "utf8");
    const agents = /const AGENT: &\[Key\] = &\[([\s\S]*?)\n\];/.exec(table)?.[1] ?? "";
    const there = [...agents.matchAll(/key\(\s*"([a-z_]+)"/g)].map((m) => m[1]);
    expect(there.length).toBeGreaterThan(20);
    expect(Object.keys(KEYS).sort()).toEqual(there.sort());
  });

  it.each([
    ["context", "32K"],
    ["context", "1.5"],
    ["port", "eight"],
    ["share", "a third"],
    ["env", "no equals sign"],
    ["env", "=1"],
    ["env", "A=1\nA=2"],
  ] as const)("%s = %s is said to be wrong and not sent", (key, text) => {
    const found = changes(typed(base, { [key]: text }), base);
    expect(found.wrong[key]?.message).not.toBe("");
    expect(found.wrong[key]?.next).not.toBe("");
    expect(found.keys).toEqual({});
  });

  it("a field does not take what it cannot show", () => {
    expect(showable(["a\nb"])).toBe(false);
    expect(showable({ A: "1\n2" })).toBe(false);
    expect(showable("a\nb")).toBe(true);
    expect(showable(undefined)).toBe(true);
  });

  it("a role takes its server's keys out of the file; back again nothing is lost", () => {
    const role: Draft = { ...typed(base, { served_by: "odin" }), server: "role" };
    expect(changes(role, base).keys).toMatchObject({ served_by: "odin", model: null, port: null, kv_cache: null, backend: null, args: null });
    expect(changes(role, base).keys).not.toHaveProperty("pinned");
    expect(edits({ ...role, server: "vllm", texts: base.texts }, base)).toEqual([]);
  });

  it("an external server has no image and no port, and what stands there by hand stays while the kind does", () => {
    const external: Draft = { ...typed(base, { endpoint: "http://127.0.0.1:8080/v1" }), server: "external" };
    expect(changes(external, base).keys).toMatchObject({ backend: "external", endpoint: "http://127.0.0.1:8080/v1", port: null, args: null });
    const odd = draftOf(agent({ endpoint: "http://here" }));
    expect(changes(typed(odd, { title: "T" }), odd).keys).toEqual({ title: "T" });
  });

  it("a new one is added with its own keys only", () => {
    const draft = { ...typed(blankDraft(form()), { model: "a/b" }), agent: "mimir", profiles: ["standard"] };
    expect(edits(draft, null)).toEqual([{ edit: "add_agent", agent: "mimir", keys: { backend: "vllm", model: "a/b", port: 8020, kv_cache: "4 GB" }, profiles: ["standard"] }]);
    const role: Draft = { ...draft, server: "role", texts: { ...draft.texts, served_by: "thor", role: "You count." } };
    expect(edits(role, null)).toEqual([{ edit: "add_agent", agent: "mimir", keys: { role: "You count.", served_by: "thor" }, profiles: ["standard"] }]);
  });

  it("upon another text of the file: typed stays, untouched follows", () => {
    const mine: Draft = { ...typed(base, { title: "Mine" }), profiles: ["standard", "odin", "evening"] };
    const now = draftOf(agent({ title: "Theirs", context: 8192 }, { profiles: ["odin"] }));
    const draft = rebase(mine, base, now);
    expect(draft.texts).toMatchObject({ title: "Mine", context: "8192" });
    expect(draft.profiles).toEqual(["odin", "evening"]);
    expect(edits(draft, now)).toEqual([
      { edit: "change_agent", agent: "thor", keys: { title: "Mine" } },
      { edit: "agent_profiles", agent: "thor", profiles: ["odin", "evening"] },
    ]);
  });
});

describe("names", () => {
  it.each(["", "Thor", "1st", "a b", "-a", "å", "x".repeat(41)])("%j is none", (name) => {
    expect(nameProblem(name, [])).not.toBeNull();
  });

  it("one that is there is refused, and a free one is found", () => {
    expect(nameProblem("thor", ["thor"])?.message).toBe("There is an agent thor already.");
    expect(nameProblem("thor-2", ["thor"])).toBeNull();
    expect(freeName("thor", ["thor", "thor-2"])).toBe("thor-3");
    expect(freeName("thor-2", ["thor", "thor-2"])).toBe("thor-3");
  });
});

describe("the field of a problem", () => {
  it.each([
    ["A context of 99999 tokens is longer than the model's own 32768.", "Write context = 32768 or less.", "context"],
    ['There is no backend "vlm".', 'Did you mean "vllm"?', "backend"],
    ["Thor has no port.", "Write port = 8001, or another that nothing else uses.", "port"],
    ['"-x" cannot be a dtype.', "Write its name, or leave dtype out.", "dtype"],
    ["tensor_parallel = 2 does not go with 3 devices.", "Write tensor_parallel = 3.", "tensor_parallel"],
    ['"x" is not the name of a rune.', "Write a word.", "glyph"],
    ["No agent is ready in no time.", 'Write a time such as "30 min".', null],
    ["The profile evening has no agents.", "Name one at least, or remove the profile.", null],
    ["constructor = 1 is no key.", "Remove it.", null],
  ] as const)("%s", (message, next, key) => {
    expect(fieldOf({ message, next })).toBe(key);
  });
});

describe("what an agent takes", () => {
  const base = draftOf(agent());
  const capacity = 128 * GB.bytes;

  it.each([
    ["12 GB", 12 * GB.bytes],
    ["1.5GiB", 1.5 * GB.bytes],
    ["512 mb", 512 * 2 ** 20],
    ["4096", 4096],
    ["", null],
    ["-1 GB", null],
    ["12 XB", null],
    ["0 GB", null],
  ])("%j", (text, bytes) => {
    expect(sizeBytes(text)).toBe(bytes);
  });

  it("a size of the slider is read back as the same", () => {
    for (let at = 0.5; at <= 128; at += 0.5) expect(sizeBytes(sizeText(at, GB))).toBe(at * GB.bytes);
  });

  it("weights, cache and overhead are the claim", () => {
    const line = memoryLine(base, agent(), capacity);
    expect(line).toMatchObject({ weights: 9 * GB.bytes, kv: 12 * GB.bytes, overhead: 4 * GB.bytes, claim: 25 * GB.bytes, perContext: 6 * GB.bytes, holds: 2 });
    expect(cacheSentence(line, GB)).toBe("One conversation of 32K takes 6.0\u00a0GB of KV cache; 2 of 4 fit at once, the others wait.");
  });

  it("half the context, all four fit; a cache too small holds none", () => {
    expect(cacheSentence(memoryLine(typed(base, { context: "16384" }), agent(), capacity), GB)).toContain("all 4 at once fit");
    expect(cacheSentence(memoryLine(typed(base, { kv_cache: "5 GB" }), agent(), capacity), GB)).toContain("more than there is");
  });

  it("of a whole claim or a share the cache is what the rest leaves", () => {
    expect(memoryLine(typed(base, { kv_cache: "", memory: "20 GB" }), agent(), capacity)).toMatchObject({ claim: 20 * GB.bytes, kv: 7 * GB.bytes });
    expect(memoryLine(typed(base, { kv_cache: "", share: "0.25" }), agent(), capacity)).toMatchObject({ claim: 32 * GB.bytes, kv: 19 * GB.bytes });
    expect(memoryLine(typed(base, { kv_cache: "", share: "25" }), agent(), capacity).claim).toBeNull();
  });

  it("of another model nothing is claimed to be known", () => {
    const line = memoryLine(typed(base, { model: "a/b" }), agent(), capacity);
    expect(line).toMatchObject({ weights: null, claim: null, perContext: null, kv: 12 * GB.bytes });
    expect(cacheSentence(line, GB)).toBeNull();
    expect(memoryLine(typed(base, { model: "a/b", weights: "3 GB" }), agent(), capacity).claim).toBe(19 * GB.bytes);
  });

  it("of an agent whose claim is given whole, the parts are not known", () => {
    const whole = agent({ memory: "20 GB" }, { weights_bytes: 0, kv_bytes: 0, overhead_bytes: 0 });
    const draft = typed(draftOf(whole), { kv_cache: "", memory: "20 GB" });
    expect(memoryLine(draft, whole, capacity)).toMatchObject({ claim: 20 * GB.bytes, weights: null, kv: null });
    expect(memoryLine(typed(draft, { memory: "", kv_cache: "8 GB" }), whole, capacity)).toMatchObject({ claim: null, kv: 8 * GB.bytes });
  });

  it("a role takes nothing", () => {
    expect(memoryLine({ ...base, server: "role" }, agent(), capacity)).toMatchObject({ claim: 0, kv: 0 });
  });
});

describe("dry runs", () => {
  beforeEach(() => { vi.useFakeTimers(); });
  afterEach(() => { vi.useRealTimers(); });

  const edited = (note: string): Edited => ({ saved: false, problems: [], notes: [note], restarts: [], profiles: [], kept: null });
  const request = (hash: string): EditRequest => ({ hash, edits: [], dry_run: true });

  it("are asked once after a rest, for the last wish only", async () => {
    const asked: string[] = [];
    const asking = new Asking<EditRequest, Edited>((r) => { asked.push(r.hash); return Promise.resolve(edited(r.hash)); });
    for (const hash of ["a", "b", "c"]) {
      asking.want(request(hash));
      await vi.advanceTimersByTimeAsync(200);
    }
    expect(asked).toEqual([]);
    expect(asking.pending).toBe(true);
    await vi.advanceTimersByTimeAsync(60);
    expect(asked).toEqual(["c"]);
    expect(asking.answer?.notes).toEqual(["c"]);
    expect(asking.pending).toBe(false);
  });

  it("an answer that comes late does not replace a newer one, nor one that is not wanted any more", async () => {
    const asking = new Asking<EditRequest, Edited>((r) => new Promise((resolve) => setTimeout(() => { resolve(edited(r.hash)); }, r.hash === "slow" ? 5_000 : 10)));
    asking.want(request("slow"));
    await vi.advanceTimersByTimeAsync(300);
    asking.want(request("quick"));
    await vi.advanceTimersByTimeAsync(300);
    expect(asking.answer?.notes).toEqual(["quick"]);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(asking.answer?.notes).toEqual(["quick"]);
    asking.want(request("slow"));
    await vi.advanceTimersByTimeAsync(300);
    asking.want(null);
    await vi.advanceTimersByTimeAsync(6_000);
    expect(asking.answer).toBeNull();
  });

  it("a refusal is kept as it is", async () => {
    const asking = new Asking<EditRequest, Edited>(() => Promise.reject(Object.assign(new Error("x"), { code: "busy", message: "The file changed.", next: "Read it again." })));
    asking.want(request("a"));
    await vi.advanceTimersByTimeAsync(300);
    expect(asking.error).toMatchObject({ code: "busy" });
  });
});

/** A window on the played file. */
function played(play: string): { editing: Editing; forms: Forms; now: { play: Play } } {
  const now = {
    play: PLAYS[play] as Play,
    change(_agents: Play["agents"], rest: Partial<Play> = {}) { now.play = { ...now.play, ...rest }; },
  };
  const forms = new Forms(now, GB);
  const call = (cmd: string, payload: unknown): Promise<unknown> =>
    Promise.resolve().then(() => (cmd === "stack_form" ? forms.form() : cmd === "apply_stack" ? forms.apply() : forms.edit(payload as EditRequest)));
  return { editing: new Editing({ call } as unknown as Backend), forms, now };
}

describe("editing", () => {
  it("saves a change, says where the file before is, and who runs on with old settings", async () => {
    const { editing, now } = played("rest");
    await editing.load();
    editing.edit("thor");
    expect(editing.dirty).toBe(false);
    editing.change({ texts: { ...(editing.open as NonNullable<typeof editing.open>).draft.texts, context: "16384" } });
    expect(editing.dirty).toBe(true);
    expect(await editing.save()).toBe(true);
    expect(editing.open).toBeNull();
    expect(editing.said).toMatchObject({ text: "Thor is saved.", restarts: ["thor"] });
    expect(editing.said?.kept).toContain("before");
    expect(now.play.household?.find((s) => s.name === "thor")?.context).toBe(16_384);
    expect(await editing.apply()).toEqual({ restarted: ["thor"], busy: [] });
    expect(editing.said?.restarts).toEqual([]);
  });

  it("what does not hold is not saved, and the draft stays", async () => {
    const { editing } = played("rest");
    await editing.load();
    editing.edit("thor");
    editing.change({ texts: { ...(editing.open as NonNullable<typeof editing.open>).draft.texts, context: "99999" } });
    expect(await editing.save()).toBe(false);
    expect(editing.refused.map((p) => fieldOf(p))).toEqual(["context"]);
    expect(editing.open?.draft.texts.context).toBe("99999");
  });

  it("a file that changed meanwhile: said, read again, and what was typed is kept", async () => {
    const { editing, forms } = played("rest");
    await editing.load();
    editing.edit("thor");
    editing.change({ texts: { ...(editing.open as NonNullable<typeof editing.open>).draft.texts, context: "16384" } });
    forms.touch();
    expect(await editing.save()).toBe(false);
    expect(editing.stale).toBe(true);
    editing.takeNew();
    expect(editing.stale).toBe(false);
    expect(editing.open?.draft.texts).toMatchObject({ context: "16384", title: "Changed by somebody else" });
    expect(await editing.save()).toBe(true);
  });

  it("a dry run that finds another file has it read again", async () => {
    vi.useFakeTimers();
    const { editing, forms } = played("rest");
    await editing.load();
    editing.edit("thor");
    forms.touch();
    editing.change({ texts: { ...(editing.open as NonNullable<typeof editing.open>).draft.texts, context: "16384" } });
    expect(editing.stale).toBe(false);
    await vi.advanceTimersByTimeAsync(300);
    expect(editing.stale).toBe(true);
    vi.useRealTimers();
  });

  it("a press from the list upon another file: read again, and done once more it holds", async () => {
    const { editing, forms } = played("rest");
    await editing.load();
    forms.touch();
    const swap = (): Promise<boolean> => editing.press([{ edit: "remove_profile", profile: "loki" }], "loki is removed.");
    expect(await swap()).toBe(false);
    expect(editing.error?.code).toBe("busy");
    expect(await swap()).toBe(true);
    expect(editing.error).toBeNull();
  });

  it("an agent that somebody removed meanwhile is added again by saving", async () => {
    const { editing, forms } = played("rest");
    await editing.load();
    editing.edit("frigga");
    editing.change({ texts: { ...(editing.open as NonNullable<typeof editing.open>).draft.texts, title: "Mine" } });
    const { hash } = forms.form();
    forms.edit({ hash, edits: [{ edit: "remove_agent", agent: "frigga" }], dry_run: false });
    await editing.load();
    expect(editing.stale).toBe(true);
    editing.takeNew();
    expect(editing.open?.form).toBeNull();
    expect(await editing.save()).toBe(true);
    expect(forms.form().agents.find((a) => a.agent === "frigga")?.written).toMatchObject({ title: "Mine", port: 8014 });
  });

  it("a removal undone puts back keys, place and profiles", async () => {
    const { editing, forms } = played("rest");
    await editing.load();
    const before = forms.form();
    const undo = undoRemoval(before, "valkyrie");
    expect(await editing.press([{ edit: "remove_agent", agent: "valkyrie" }], "Valkyrie is removed.", undo)).toBe(true);
    expect(forms.form().agents.map((a) => a.agent)).not.toContain("valkyrie");
    expect(await editing.press(editing.said?.undo ?? [], "It is put back.")).toBe(true);
    const after = forms.form();
    expect(after.agents.map((a) => [a.agent, a.written])).toEqual(before.agents.map((a) => [a.agent, a.written]));
    expect(after.profiles).toEqual(before.profiles);
  });
});

describe("labels below the bar", () => {
  const lane = (bytes: number[], limit: number, span: number): Lane => ({
    segments: bytes.map((b, i) => ({ key: String(i), kind: "agent", bytes: b, held: b, parts: [], leaving: false, pending: false })),
    span,
    capacity: span,
    limitAt: limit / span,
    over: 0,
  });

  it("are as wide as their segments, and none stands past the limit", () => {
    expect(labelPlaces(lane([10, 20], 120, 128))).toEqual([{ bytes: 10, after: 0 }, { bytes: 20, after: 0 }]);
    expect(labelPlaces(lane([100, 40, 5], 120, 145))).toEqual([{ bytes: 100, after: 0 }, { bytes: 20, after: 20 }, { bytes: 0, after: 5 }]);
  });
});
