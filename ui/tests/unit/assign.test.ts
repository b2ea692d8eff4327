import { describe, expect, it } from "vitest";
import type { AgentForm, AssignPreview, AssignRequest, FirstRun, StackForm } from "../../src/lib/backend/types";
import type { Backend } from "../../src/lib/backend/backend";
import { GB } from "../../src/lib/format";
import { Assigning } from "../../src/features/assign/assigning.svelte";
import { besideOf, choiceOf, contextMarks, contextSteps, freeName, freshChoice, longestWords, pointable, portOf, requestOf, saidOf, stepAt } from "../../src/features/assign/choice";
import { Latest } from "../../src/features/assign/latest.svelte";
import { diskSize, engineRows, enoughWords, fetchWords, imageName, shortOfDisk } from "../../src/features/firstrun/words";
import { FirstSteps } from "../../src/lib/state/firstrun.svelte";

const agent = (name: string, written: AgentForm["written"] = {}, over: Partial<AgentForm> = {}): AgentForm => ({
  agent: name,
  display_name: name.charAt(0).toUpperCase() + name.slice(1),
  written: { model: "Qwen/Qwen2.5-14B-Instruct-AWQ", port: 8001, context: 16_384, sequences: 2, ...written },
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
const form = (agents: AgentForm[] = [agent("thor")], hash = "1"): StackForm => ({
  hash,
  saved: true,
  agents,
  profiles: ["standard", "odin"].map((name) => ({ name, agents: ["thor"], fits: true, reason: "" })),
  next_port: 8020,
  models: [],
});
const preview = (over: Partial<AssignPreview> = {}): AssignPreview => ({
  context: 32_768,
  max_context: 131_072,
  longest_context: 49_152,
  sequences: 4,
  kv_dtype: "auto",
  kv_dtypes: [],
  backend: "vllm",
  weights_bytes: 8 * GB.bytes,
  kv_bytes: 4 * GB.bytes,
  overhead_bytes: 4 * GB.bytes,
  total_bytes: 16 * GB.bytes,
  kv_bytes_per_token: 1,
  certainty: "exact",
  pools: [{ id: "unified" } as AssignPreview["pools"][number]],
  profiles: [
    { name: "standard", agents: ["thor"], fits: true, reason: "" },
    { name: "odin", agents: ["thor"], fits: false, reason: "" },
  ],
  keys: {},
  launch: null,
  problems: [],
  notes: [],
  restart: false,
  learned_bytes: null,
  ...over,
});

describe("a model's choices", () => {
  it("begin with what the agent has of the same model, and with what suits another", () => {
    const thor = agent("thor");
    expect(choiceOf(thor, form(), "Qwen/Qwen2.5-14B-Instruct-AWQ", null)).toMatchObject({ context: 16_384, sequences: 2, kv: "auto", profiles: ["standard", "odin"], beside: "standard" });
    expect(choiceOf(thor, form(), "someone/else", "odin")).toMatchObject({ context: null, sequences: 2, kv: null, beside: "odin" });
  });

  it("are for agents that load a model of their own", () => {
    const all = form([agent("thor"), agent("bragi", { served_by: "thor" }), agent("ymir", {}, { defaults: { backend: "external" } }), agent("ask", {}, { defaults: { backend: "ollama" } }), agent("loki", { backend: "llama.cpp" }, { defaults: {} })]);
    expect(pointable(all).map((a) => a.agent)).toEqual(["thor", "loki"]);
  });

  it("of a new agent take a rune and a colour that nobody has, and no port until one is typed", () => {
    const fresh = freshChoice(form(), [{ glyph: "fehu", color: "rowan" }], "odin");
    expect(fresh).toMatchObject({ beside: "odin", profiles: [], fresh: { glyph: "uruz", color: "heather", port: "" } });
    const asked = requestOf(fresh, form(), { model: "a/b", revision: "abc" });
    expect(asked).toMatchObject({ hash: "1", agent: "new-agent", revision: "abc", new: { port: null, title: null, glyph: "uruz", color: "heather" } });
    expect(freeName(form([agent("new-agent")]))).toBe("new-agent-2");
  });

  it.each([
    ["8021", 8021],
    ["", null],
    ["80x", null],
    ["123456", null],
  ])("the port %j is %j", (text, port) => { expect(portOf(text)).toBe(port); });

  it("show a profile that the agent is in, else the active one", () => {
    expect(besideOf(["odin"], form(), "standard")).toBe("odin");
    expect(besideOf([], form(), "odin")).toBe("odin");
    expect(besideOf([], { ...form(), profiles: [] }, "odin")).toBeNull();
  });
});

describe("the slider", () => {
  it.each([
    [32_768, [null], 32_768],
    [40_960, [50_000], 40_960],
    [512, [], 512],
    [null, [], 131_072],
  ])("up to %s goes to the model's limit and no further", (most, others, last) => {
    const steps = contextSteps(most, others);
    expect(steps[steps.length - 1]).toBe(last);
    expect([...steps].sort((a, b) => a - b)).toEqual(steps);
    expect(new Set(steps).size).toBe(steps.length);
  });

  it("stops where something stands already", () => {
    const steps = contextSteps(131_072, [50_000, null]);
    expect(steps).toContain(50_000);
    expect(steps[stepAt(steps, 50_000)]).toBe(50_000);
    expect(steps[stepAt(steps, 1)]).toBe(1_024);
  });

  it("marks what fits, with room for every word", () => {
    const steps = contextSteps(262_144);
    const marks = contextMarks(steps, 49_152, true);
    expect(marks[marks.length - 1]).toMatchObject({ tokens: 262_144, label: "256K", at: 1, fits: false });
    expect(marks.find((m) => m.tokens <= 49_152)?.fits).toBe(true);
    expect(marks.length).toBeLessThanOrEqual(9);
    for (const [i, mark] of marks.entries()) if (i > 0) expect(mark.at - (marks[i - 1]?.at ?? 0)).toBeGreaterThan(0.08);
    expect(contextMarks([1_024], null, false)).toEqual([{ tokens: 1_024, label: "1K", at: 0, fits: null }]);
  });

  it("says how far it fits", () => {
    expect(longestWords(preview(), "loki")).toBe("Up to 48K fits with loki; the model goes to 128K.");
    expect(longestWords(preview({ longest_context: 131_072 }), null)).toBe("The model's whole 128K fits alone.");
    expect(longestWords(preview({ longest_context: null }), "loki")).toBe("No context fits with loki with 4 at once.");
    expect(longestWords(preview({ max_context: null }), "loki")).toBeNull();
    expect(saidOf(preview(), GB, "Loki")).toBe("Loki takes 16.0\u00a0GB with 32K of context, 1 of 2 profiles do not fit.");
  });
});

describe("questions of a slider that moves", () => {
  it("go out one at a time, and the last of them is always answered", async () => {
    const open: (() => void)[] = [];
    const asked: number[] = [];
    const latest = new Latest<number, number>((n) => {
      asked.push(n);
      return new Promise((resolve) => { open.push(() => { resolve(n * 10); }); });
    });
    for (const n of [1, 2, 3, 4]) latest.want(n);
    expect(asked).toEqual([1]);
    open.shift()?.();
    await Promise.resolve();
    await Promise.resolve();
    await Promise.resolve();
    expect(latest.answer).toBe(10);
    expect(asked).toEqual([1, 4]);
    expect(latest.pending).toBe(true);
    open.shift()?.();
    await latest.settled();
    expect([latest.answer, latest.pending, asked]).toEqual([40, false, [1, 4]]);
  });

  it("keep the last answer when one fails, and say why", async () => {
    let fail = false;
    const latest = new Latest<number, number>((n) => (fail ? Promise.reject(Object.assign(new Error("no"), { code: "failed", message: "No.", next: "" })) : Promise.resolve(n)));
    latest.want(7);
    await latest.settled();
    fail = true;
    latest.want(8);
    await latest.settled();
    expect([latest.answer, latest.error?.message]).toEqual([7, "No."]);
  });
});

describe("assigning", () => {
  function played(answers: { forms: StackForm[]; busy?: boolean }): { backend: Backend; asked: AssignRequest[] } {
    const asked: AssignRequest[] = [];
    let read = 0;
    const call = (cmd: string, payload: unknown): Promise<unknown> => {
      if (cmd === "stack_form") {
        const at = answers.forms[Math.min(read, answers.forms.length - 1)];
        read += 1;
        return Promise.resolve(at);
      }
      const request = payload as AssignRequest;
      asked.push(request);
      const now = answers.forms[answers.forms.length - 1]?.hash;
      if (request.hash !== now) return Promise.reject(Object.assign(new Error("busy"), { code: "busy", message: "Changed.", next: "" }));
      return Promise.resolve(cmd === "assign" ? { saved: true, problems: [], notes: [], restarts: ["thor"], profiles: [], kept: null } : preview());
    };
    return { backend: { call } as unknown as Backend, asked };
  }

  it("reads the file again when somebody else saved it, and asks once more", async () => {
    const { backend, asked } = played({ forms: [form(undefined, "old"), form(undefined, "new")] });
    const assigning = new Assigning(backend, { model: "a/b", revision: null }, () => null);
    await assigning.begin(null);
    await assigning.asking.settled();
    expect(asked.map((a) => a.hash)).toEqual(["old", "new"]);
    expect(assigning.asking.error).toBeNull();
    expect(assigning.form?.hash).toBe("new");
    expect(await assigning.save()).toBe(true);
    expect(assigning.saved?.restarts).toEqual(["thor"]);
  });

  it("begins with who has the model, or who is meant", async () => {
    const agents = [agent("thor"), agent("loki", { model: "a/b" })];
    const { backend } = played({ forms: [form(agents)] });
    const has = new Assigning(backend, { model: "a/b", revision: null }, () => null);
    await has.begin(null);
    expect(has.choice?.agent).toBe("loki");
    await has.begin("thor");
    expect(has.choice?.agent).toBe("thor");
  });

  it("writes no agent without a name, nor one with a name or a port that cannot be", async () => {
    const { backend, asked } = played({ forms: [form()] });
    const assigning = new Assigning(backend, { model: "a/b", revision: null }, () => null);
    await assigning.begin(null);
    assigning.startNew([]);
    for (const [name, port, ready] of [["", "", false], ["Bragi!", "", false], ["thor", "", false], ["bragi", "80x", false], ["bragi", "", true]] as const) {
      const fresh = assigning.choice?.fresh;
      if (fresh) assigning.change({ fresh: { ...fresh, name, port } });
      await assigning.asking.settled();
      expect(assigning.ready, `${name} ${port}`).toBe(ready);
    }
    const before = asked.length;
    expect(await assigning.save()).toBe(true);
    expect(asked[before]).toMatchObject({ agent: "bragi", new: { port: null } });
  });
});

describe("the first steps", () => {
  const first = (over: Partial<FirstRun> = {}): FirstRun => ({
    due: true,
    engine: { found: true, title: "Docker 27.3.1", problem: null, next: null, command: null, advice: [] },
    preset: "norse",
    machine: "128 GB",
    gpu: "Radeon 8060S, gfx1151",
    capacity_bytes: 128 * GB.bytes,
    limit_bytes: 120 * GB.bytes,
    least_limit_bytes: 32 * GB.bytes,
    most_limit_bytes: 124 * GB.bytes,
    other_bytes: 11 * GB.bytes,
    models: ["a", "b", "c"].map((repo, i) => ({ model: { repo } as FirstRun["models"][number]["model"], agents: ["thor"], bytes: 1e9, chosen: i < 2, installed: false })),
    image: { reference: "docker.io/kyuz0/vllm-therock-gfx1151:latest", bytes: null, present: false },
    free_bytes: 1.6e12,
    base: "standard",
    ...over,
  });

  it("say what was found", () => {
    expect(engineRows(first(), [], false).map((r) => [r.name, r.value])).toEqual([
      ["Docker", "27.3.1, running"],
      ["GPU", "Radeon 8060S, gfx1151"],
      ["Image", "vllm-therock-gfx1151, will be fetched with the models"],
    ]);
    const none = first({ engine: { found: false, title: "No engine", problem: "Docker is not running.", next: "Start it.", command: null, advice: [] }, gpu: null, image: null });
    expect(engineRows(none, [], false).map((r) => r.tone)).toEqual(["fail", "info"]);
    expect(engineRows(none, [], true).map((r) => r.tone)).toEqual(["info", "info"]);
  });

  it.each([
    ["docker.io/kyuz0/vllm:latest", "vllm"],
    ["127.0.0.1:5000/a/b@sha256:00", "b"],
    ["b", "b"],
  ])("the image %s is %s", (reference, name) => { expect(imageName(reference)).toBe(name); });

  it("count what is to be fetched, and what the disk is short of", () => {
    expect(diskSize(1.6e12)).toBe("1.6\u00a0TB");
    expect(fetchWords(first({ image: null }), 40.6e9, 2, true)).toBe("40.6\u00a0GB to fetch, 1.6\u00a0TB free. The standard profile will be ready.");
    // Of an image nobody knows the size before it comes.
    expect(fetchWords(first(), 40.6e9, 2, true)).toBe("40.6\u00a0GB and the image to fetch, 1.6\u00a0TB free. The standard profile will be ready.");
    expect(fetchWords(first({ free_bytes: null, image: null }), 5e9, 1, false)).toBe("5.0\u00a0GB to fetch.");
    expect(shortOfDisk(first({ free_bytes: 1e9 }), 3e9)).toBe(2e9);
    expect(shortOfDisk(first({ free_bytes: null }), 3e9)).toBe(0);
    expect(enoughWords(first())).toBe("The first two are enough to start. You can add the others at any time.");
  });

  it("are offered once, can be left and come back to, and take what was chosen", async () => {
    const asked: unknown[] = [];
    let due = true;
    const call = (cmd: string, payload: unknown): Promise<unknown> => {
      if (cmd === "finish_first_run") {
        asked.push(payload);
        due = false;
      }
      return Promise.resolve(cmd === "doctor" ? { checks: [] } : first({ due }));
    };
    const steps = new FirstSteps({ call } as unknown as Backend);
    await steps.offer();
    expect(steps.open).toBe(true);
    const models = steps.found?.models ?? [];
    steps.limit = 100 * GB.bytes;
    if (models[1]) steps.choose(models[1], false);
    if (models[2]) steps.choose(models[2], true);
    steps.step = "models";
    steps.leave();
    expect(steps.open).toBe(false);
    await steps.offer();
    expect(steps.open).toBe(false);
    steps.show();
    expect([steps.open, steps.limitBytes]).toEqual([true, 100 * GB.bytes]);
    expect(await steps.finish()).toBe(true);
    expect(asked).toEqual([{ preset: "norse", limit_bytes: 100 * GB.bytes, models: ["a", "c"], start: true, skip: false }]);
    expect(steps.open).toBe(false);
  });

  it("that nobody wants are skipped for good", async () => {
    const asked: unknown[] = [];
    const call = (cmd: string, payload: unknown): Promise<unknown> => {
      if (cmd === "finish_first_run") asked.push(payload);
      return Promise.resolve(cmd === "doctor" ? { checks: [] } : first());
    };
    const steps = new FirstSteps({ call } as unknown as Backend);
    await steps.offer();
    expect(await steps.skip()).toBe(true);
    expect(asked).toEqual([{ preset: null, limit_bytes: null, models: [], start: false, skip: true }]);
  });
});
