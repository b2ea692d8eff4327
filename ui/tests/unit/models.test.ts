// @vitest-environment jsdom
// What is said of models, how they are sorted and found, and the stores behind the three lists.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  FIT_MARKS,
  PROFILE_MARKS,
  actionOf,
  bestOf,
  brief,
  cardText,
  checkWords,
  coming,
  contexts,
  downloadOf,
  faceOf,
  fitTip,
  fitWords,
  hubName,
  isOurs,
  left,
  licenceWord,
  limits,
  meant,
  ofTotal,
  partialWords,
  passes,
  pastedToken,
  rate,
  remedyWord,
  shareOf,
  shares,
  short,
  sorted,
  speedWords,
  stateOf,
  stepOf,
  totalWords,
  turned,
  verifiedWords,
} from "../../src/features/models/words";
import type { Backend } from "../../src/lib/backend/backend";
import { HOSTILE, PlayedModels, download, fitOf } from "../../src/lib/backend/memory/models";
import { PlayedHub } from "../../src/lib/backend/memory/hub";
import type { Download, HubModel, InstalledModel, Remedy, SearchChunk, SearchRequest, VerifyProgress } from "../../src/lib/backend/types";
import { cardHtml } from "../../src/lib/markdown/sanitise";
import { Models, needsPerson } from "../../src/lib/state/models.svelte";
import { NO_FILTERS, Searching, withModel, withPage } from "../../src/lib/state/searching.svelte";
import { Verifying } from "../../src/lib/state/verifying.svelte";

const NBSP = "\u00a0";
const installed = new PlayedModels("pictured").installed().models;
const hub = (): HubModel[] => {
  const page = new PlayedHub("pictured").search({ ...NO_FILTERS, text: "", cursor: null });
  const rest = new PlayedHub("pictured").search({ ...NO_FILTERS, text: "", cursor: "6" });
  return [...page, ...rest].flatMap((c) => (c.kind === "model" ? [c.model] : []));
};
const repo = (name: string): HubModel => {
  const found = hub().find((m) => m.repo.includes(name));
  if (found === undefined) throw new Error(name);
  return found;
};
const ids = (models: readonly InstalledModel[]): string[] => models.map((m) => m.title);

/* ----------------------------------------------------------------- words */

test("each kind of fit has a sign and a word of its own, and none is told by colour alone", () => {
  const profile = Object.values(PROFILE_MARKS);
  expect(new Set(profile.map((m) => m.icon)).size).toBe(4);
  expect(profile.map((m) => m.word)).toEqual(["In this profile", "Fits beside it", "Fits with less context", "Does not fit"]);
  expect(FIT_MARKS.never).toMatchObject({ icon: "cross", tone: "bad" });
  expect(FIT_MARKS.alone).toMatchObject({ icon: "warn", tone: "warn" });
  expect(fitWords({ kind: "alone", words: "", profiles: [] })).toBe("Only in place of others");
  expect(fitTip("odin", { profile: "odin", kind: "no", context: null, spare_bytes: -1, reason: "7.6 GB short" })).toBe("odin: does not fit, 7.6 GB short");
  expect(fitTip("odin", null)).toBe("odin: not known");
});

test("rates, sizes and times left", () => {
  expect([900, 84_000, 9_940_000, 9_960_000, 84e6, 994e6, 1.2e9].map(rate)).toEqual(["0.9 kB/s", "84 kB/s", "9.9 MB/s", "10 MB/s", "84 MB/s", "994 MB/s", "1.2 GB/s"].map((t) => t.replace(" ", NBSP)));
  expect(ofTotal(29.8e9, 48.1e9)).toBe(`29.8 of 48.1${NBSP}GB`);
  expect(ofTotal(3e6, 48.1e9)).toBe(`0.0 of 48.1${NBSP}GB`);
  expect(ofTotal(3e6, 98e6)).toBe(`3 of 98${NBSP}MB`);
  expect(ofTotal(0.4e12, 1.6e12)).toBe(`0.4 of 1.6${NBSP}TB`);
  expect(ofTotal(3e6, null)).toBe(`3${NBSP}MB`);
  expect(left(218, 1)).toBe(`3${NBSP}min 37${NBSP}s`);
  expect(left(2, 2)).toBeNull();
  expect(left(null, 0)).toBeNull();
  expect(left(Number.POSITIVE_INFINITY, 0)).toBeNull();
  // A clock that was set back adds nothing.
  expect(left(10, -500)).toBe(`10${NBSP}s`);
  expect([812, 999, 1_000, 9_949, 45_200, 999_499, 999_500, 1_214_000, 12_400_000].map(short)).toEqual(["812", "999", "1.0K", "9.9K", "45K", "999K", "1.0M", "1.2M", "12M"]);
  expect(speedWords(31.4)).toBe(`about 31${NBSP}tok/s`);
  expect(speedWords(0)).toBeNull();
  expect(shareOf({ done_bytes: 5, total_bytes: 0 })).toBeNull();
  expect(shareOf({ done_bytes: 12, total_bytes: 10 })).toBe(1);
});

test("the queue's one line", () => {
  const told = new PlayedModels("pictured").downloads();
  expect(totalWords(told, 0)).toBe(`84${NBSP}MB/s, 5${NBSP}min 26${NBSP}s left for 3 downloads`);
  expect(totalWords({ ...told, seconds_left: null, bytes_per_second: null }, 0)).toBe("3 downloads");
  expect(totalWords({ ...told, paused: true }, 0)).toBe("All downloads are paused");
  expect(totalWords({ ...told, downloads: told.downloads.filter((d) => d.state === "done") }, 0)).toBe("Nothing is being downloaded");
  expect(totalWords({ ...told, downloads: [] }, 0)).toBe("");
  expect(partialWords({ partial_bytes: 0, partial_days: 30 })).toBeNull();
  expect(partialWords({ partial_bytes: 33.4e9, partial_days: 1 })).toBe(`Unfinished downloads hold 33.4${NBSP}GB. What nobody takes up again is deleted after 1${NBSP}day.`);
});

test("each state of a download has its sign and its word, and gated is told from failed", () => {
  const one = (state: Download["state"], remedy: Remedy | null = null): Download =>
    download("A", "a/b", state, 10, 6.2, remedy === null ? {} : { problem: { message: "m", next: "n", remedy, page: null } });
  expect((["queued", "resolving", "running", "verifying", "paused", "waiting", "failed", "done"] as const).map((s) => coming(one(s)))).toEqual([
    "Queued", "Asking for its files", "Downloading, 62%", "Verifying", "Paused at 62%", "Waiting", "Failed", "Here",
  ]);
  expect(coming({ state: "running", done_bytes: 0, total_bytes: null })).toBe("Downloading");
  expect(faceOf(one("failed", "add_token"))).toMatchObject({ word: "Gated", tone: "bad" });
  expect(faceOf(one("failed", "try_again"))).toMatchObject({ word: "Failed", icon: "fail" });
  expect(faceOf(one("done", "add_token"))).toMatchObject({ word: "Finished", tone: "ok" });
  expect([one("failed"), one("paused", "free_disk"), one("waiting", "try_again"), one("running"), one("done", "add_token")].map(needsPerson)).toEqual([true, true, false, false, false]);
  const remedies: readonly Remedy[] = ["add_token", "change_token", "accept_licence", "ask_for_access", "try_again", "free_disk", "choose_other", "fix_owner"];
  const words = remedies.map(remedyWord);
  expect(new Set(words).size).toBe(remedies.length);
  expect(words).not.toContain(null);
  expect(remedyWord(null)).toBeNull();
});

test("a limit that nobody offers stands among the others", () => {
  expect(limits(null)[0]).toEqual({ id: "", label: "As fast as it goes" });
  expect(limits(null).map((l) => l.id)).not.toContain("7000000");
  const own = limits(7e6);
  expect(own[own.findIndex((l) => l.id === "7000000") - 1]?.id).toBe("5000000");
  expect(own.find((l) => l.id === "7000000")?.label).toBe(`At most 7${NBSP}MB/s`);
});

test("what is pasted is a token, or is not sent", () => {
  expect(pastedToken("  hf_abcdefghijk\n")).toBe("hf_abcdefghijk");
  expect(pastedToken('"hf_abcdefghijk"')).toBe("hf_abcdefghijk");
  for (const bad of ["", "hf_", "hf_abc def ghi jkl", `hf_${"x".repeat(500)}`, "hf_abcdéfghijk", "hf_abcdef\u202eghijk"]) expect(pastedToken(bad), bad).toBeNull();
  expect([isOurs("keyring"), isOurs("file"), isOurs("environment"), isOurs("client_file"), isOurs(null)]).toEqual([true, true, false, false, false]);
});

test("what a comparison found", () => {
  const at = (more: Partial<VerifyProgress>): VerifyProgress => ({ file: "f", done_bytes: 41, total_bytes: 100, done: false, damaged: [], unknown: [], ...more });
  expect(checkWords(null)).toBe("Comparing checksums");
  expect(checkWords(at({}))).toBe("Comparing checksums, 41%");
  expect(checkWords(at({ total_bytes: 0, done_bytes: 0 }))).toBe("Comparing checksums, 0%");
  expect(checkWords(at({ done: true }))).toBe("Every file is right");
  expect(checkWords(at({ done: true, damaged: ["a"] }))).toBe("1 file is damaged");
  expect(checkWords(at({ done: true, damaged: ["a", "b"], unknown: ["c"] }))).toBe("2 files are damaged");
  expect(checkWords(at({ done: true, unknown: ["c"] }))).toMatch(/of 1 file no checksum is known/);
  const now = new Date("2026-11-21T14:00:00");
  expect(verifiedWords(null, now)).toBe("never");
  expect(verifiedWords("2026-11-21T09:05:00", now)).toBe("today 09:05");
  expect(verifiedWords("2026-11-03T09:05:00", now)).toBe("3 Nov");
});

/* ------------------------------------------------------------- installed */

test("by every column and both ways; what is not known is last either way", () => {
  expect(ids(sorted(installed, { by: "size", down: true })).slice(0, 2)).toEqual(["Llama 3.3 70B Instruct", "Qwen3 Coder 30B A3B"]);
  expect(ids(sorted(installed, { by: "size", down: false }))[0]).toBe("Qwen2.5 3B Instruct");
  // Numbers in names count as numbers: 3B before 14B.
  expect(ids(sorted(installed, { by: "model", down: false })).slice(1, 4)).toEqual(["Qwen2.5 3B Instruct", "Qwen2.5 7B Instruct", "Qwen2.5 14B Instruct"]);
  const some = installed.map((m, i) => (i === 0 ? { ...m, licence: null, licence_title: null } : m));
  for (const down of [false, true]) expect(sorted(some, { by: "licence", down }).at(-1)?.id).toBe(some[0]?.id);
  for (const down of [false, true]) expect(sorted(installed, { by: "used_by", down }).at(-1)?.used_by).toEqual([]);
  expect(ids(sorted(installed, { by: "size", down: true }))).toHaveLength(installed.length);
  expect(turned({ by: "model", down: false }, "size")).toEqual({ by: "size", down: true });
  expect(turned({ by: "size", down: true }, "size")).toEqual({ by: "size", down: false });
  expect(turned({ by: "size", down: true }, "model")).toEqual({ by: "model", down: false });
});

test("the filter reads what a person sees: every word of it somewhere", () => {
  const found = (needle: string): string[] => ids(installed.filter((m) => meant(m, needle)));
  expect(found("ODIN")).toEqual(["Llama 3.3 70B Instruct"]);
  expect(found("qwen 14b awq")).toEqual(["Qwen2.5 Coder 14B", "Qwen2.5 14B Instruct"]);
  expect(found("no agent")).toEqual(["Qwen2.5 Coder 14B"]);
  expect(found("research")).toEqual(["Qwen2.5 3B Instruct"]);
  expect(found("  ")).toHaveLength(installed.length);
  expect(found("nothing like that")).toEqual([]);
});

test("what is wrong with an installed model, the gravest first", () => {
  const fine = { complete: true, problem: null, owner: null, download: null };
  expect(stateOf(fine)).toBeNull();
  expect(stateOf({ ...fine, complete: false, download: "d" })?.word).toBe("Being downloaded");
  expect(stateOf({ ...fine, complete: false }, true)?.word).toBe("Damaged");
  expect(stateOf({ ...fine, complete: false })?.word).toBe("Not complete");
  expect(stateOf({ ...fine, owner: { message: "", command: "" } })?.word).toBe("Owned by another user");
});

test("the slider's steps end at the model's own limit, and the bar is never fuller than full", () => {
  expect(contexts(131_072)).toEqual([2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072]);
  expect(contexts(40_960).at(-1)).toBe(40_960);
  expect(contexts(512)).toEqual([2_048]);
  expect(contexts(Number.MAX_SAFE_INTEGER).length).toBeLessThan(20);
  expect(stepOf(contexts(131_072), 33_000)).toBe(4);
  expect(stepOf(contexts(131_072), 1)).toBe(0);
  expect(shares([1, 1, 2], 8)).toEqual([0.125, 0.125, 0.25]);
  expect(shares([6, 6], 4).reduce((a, b) => a + b)).toBe(1);
  expect(shares([0, 0], 0)).toEqual([0, 0]);
});

/* -------------------------------------------------------------- discover */

test("one button per card, and it is the one that helps", () => {
  const phi = repo("phi-4");
  const best = bestOf(phi);
  expect(actionOf(phi, best, null, null)).toBe("get");
  expect(actionOf(phi, best, download("P", phi.repo, "running", 9, 1), null)).toBe("download");
  expect(actionOf(repo("Qwen3-32B-FP8"), bestOf(repo("Qwen3-32B-FP8")), null, null)).toBe("get_anyway");
  expect(actionOf(repo("Qwen2.5-7B"), bestOf(repo("Qwen2.5-7B")), null, null)).toBe("installed");
  const llama = repo("Meta-Llama");
  expect(actionOf(llama, bestOf(llama), null, null)).toBe("add_token");
  expect(actionOf(llama, bestOf(llama), null, "keyring")).toBe("get");
  // Before the account was read nothing is claimed of it.
  expect(actionOf(llama, bestOf(llama), null, undefined)).toBe("get");
  expect(actionOf({ ...phi, private: true }, best, null, null)).toBe("add_token");
  expect(actionOf(repo("asks-for-access"), bestOf(repo("asks-for-access")), null, "keyring")).toBe("ask_for_access");
  const refused = repo("Qwen3-4B").variants[3] ?? null;
  expect(actionOf(repo("Qwen3-4B"), refused, null, null)).toBe("refused");
  expect(actionOf({ ...phi, detailed: false }, null, null, null)).toBe("wait");
  expect(actionOf({ ...phi, variants: [] }, null, null, null)).toBe("nothing");
  expect(actionOf({ ...phi, problem: { message: "", next: "", remedy: "try_again", page: null } }, null, null, null)).toBe("look_again");
});

test("the download of a repository is the one that is nearest to its end", () => {
  const list = [download("A", "a/b", "queued", 1, 0), download("A", "a/b", "running", 1, 0.5), download("A", "a/b", "done", 1, 1), download("B", "b/c", "verifying", 1, 1)];
  expect(downloadOf("a/b", list)?.state).toBe("running");
  expect(downloadOf("z/z", list)).toBeNull();
  expect(list.map((d) => d.state)).toEqual(["queued", "running", "done", "verifying"]);
});

test("the filters hold for what ships with Asgard too", () => {
  const named = (change: Partial<typeof NO_FILTERS>): string[] => hub().filter((m) => passes(m, { ...NO_FILTERS, ...change })).map((m) => m.repo);
  expect(named({})).toHaveLength(hub().length);
  expect(named({ works_here: true })).not.toContain("Qwen/Qwen3-32B-FP8");
  expect(named({ fits: true })).not.toContain("Qwen/Qwen2.5-32B-Instruct-AWQ");
  expect(named({ open_licence: true })).not.toContain("meta-llama/Meta-Llama-3.1-8B-Instruct");
  expect(named({ backend: "llama.cpp" })).toEqual(["unsloth/Qwen3-4B-GGUF"]);
  expect(named({ quantization: "gguf" })).toEqual(["unsloth/Qwen3-4B-GGUF"]);
  expect(named({ quantization: "bf16" })).toEqual(["meta-llama/Meta-Llama-3.1-8B-Instruct"]);
  expect(passes({ ...repo("phi-4"), variants: [] }, NO_FILTERS)).toBe(true);
  expect(passes({ ...repo("phi-4"), variants: [] }, { ...NO_FILTERS, fits: true })).toBe(false);
});

/* --------------------------------------------------------------- hostile */

test("strangers' texts stay on one line, show their tricks, and have an end", () => {
  const text = brief(HOSTILE, 60);
  expect(text.length).toBeLessThanOrEqual(60);
  expect(text).not.toMatch(/[\u202e\n]/);
  expect(text).toContain("\ufffd");
  expect(brief("x".repeat(5_000_000), 40)).toHaveLength(40);
  expect(licenceWord({ licence: "x", licence_title: HOSTILE })?.length).toBeLessThanOrEqual(60);
  expect(fitWords(fitOf("nnnnn", [], HOSTILE)).length).toBeLessThanOrEqual(160);
  expect(cardText("---\na: b\n---\n# Hello")).toBe("# Hello");
  expect(cardText("no front\n---\nmatter\n---\n")).toMatch(/^no front/);
  expect(cardText(`---\n${"a: b\n".repeat(20_000)}`).length).toBeGreaterThan(1_000);
});

const CARDS: readonly [string, RegExp][] = [
  ["<script>alert(1)</script>kept", /kept/],
  ["<img src=x onerror=alert(1)>kept", /kept/],
  ['<div align="center" style="position:fixed">\nkept\n</div>', /kept/],
  ["<style>body{display:none}</style>\n\nkept", /kept/],
  ["[kept](javascript:alert(1))", /kept/],
  ["<a href='javascript:alert(1)' onclick=alert(1)>kept</a>", /kept/],
  ["<svg><g onload=alert(1)></g></svg>\n\nkept", /kept/],
  ["<!-- <img src=x onerror=alert(1)> --> kept", /kept/],
  ["<img alt='>' src=x onerror=alert(1)> kept", /kept/],
  ["<iframe src='https://evil.test'></iframe>\n\nkept", /kept/],
  ["<form action=/x><input name=a></form>kept", /kept/],
  ["![a picture](https://evil.test/pixel.png) kept", /kept/],
  ["<scr<script>ipt>alert(1)</script> kept", /kept/],
];

test.each(CARDS)("a card can do nothing: %s", (raw, kept) => {
  const html = cardHtml(raw);
  const page = new DOMParser().parseFromString(html, "text/html");
  expect(page.querySelectorAll("script, img, style, iframe, form, input, svg, object, embed, link, meta, template")).toHaveLength(0);
  for (const element of page.body.querySelectorAll("*")) {
    for (const { name } of element.attributes) expect(name).toMatch(/^(class|data-link|role|tabindex|rel|aria-label|start)$/);
  }
  expect(page.body.textContent).toMatch(kept);
  expect(html).not.toMatch(/javascript:/i);
});

test("no card holds the window up, however it is written", () => {
  for (const piece of ["*a", "_a_ ", "**a", "> ", "a@b.", "[", "<", "<div", "- "]) {
    const began = performance.now();
    // Once with no end of a paragraph, once with as many as still count as one.
    const html = [cardHtml(piece.repeat(100_000 / piece.length)), cardHtml(`${piece.repeat(5_900 / piece.length)}\n\n`)].join("");
    expect(performance.now() - began, piece).toBeLessThan(4_000);
    expect(html.length, piece).toBeGreaterThan(0);
  }
}, 60_000);

test("code in a card stays as it was written", () => {
  expect(new DOMParser().parseFromString(cardHtml("```html\n<script>alert(1)</script>\n```"), "text/html").body.textContent).toContain("<script>alert(1)</script>");
});

/* ---------------------------------------------------------------- stores */

interface Open {
  request: SearchRequest;
  send: (chunk: SearchChunk) => void;
  end: () => void;
  fail: (error: unknown) => void;
  closed: boolean;
}

let opened: Open[];
let calls: [string, unknown][];
let answers: Record<string, () => unknown>;
let backend: Backend;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance", "Date"] });
  opened = [];
  calls = [];
  answers = {};
  backend = {
    call: (cmd: string, payload: unknown) => {
      calls.push([cmd, payload]);
      const give = answers[cmd];
      return give === undefined ? Promise.reject(new Error("cut")) : Promise.resolve().then(give);
    },
    stream: (_: string, request: SearchRequest, send: Open["send"]) => {
      let end: () => void = () => undefined;
      let fail: (error: unknown) => void = () => undefined;
      const done = new Promise<void>((resolve, reject) => { end = resolve; fail = reject; });
      const open: Open = { request, send, end, fail, closed: false };
      opened.push(open);
      return { done, close: () => { open.closed = true; } };
    },
  } as unknown as Backend;
});

afterEach(() => { vi.useRealTimers(); });

const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);
const page = (models: readonly HubModel[], cursor: string | null = null): SearchChunk => ({ kind: "page", models: [...models], cursor, checked_for: "gfx1151", from: "Hugging Face" });

test("a search waits for the end of the typing, and Enter does not", async () => {
  const search = new Searching(backend);
  for (const text of ["q", "qw", "qwen"]) {
    search.type(text);
    await pass(200);
  }
  expect(opened).toHaveLength(0);
  await pass(400);
  expect(opened.map((o) => o.request.text)).toEqual(["qwen"]);
  search.type("qwen 7b");
  search.now();
  expect(opened.map((o) => o.request.text)).toEqual(["qwen", "qwen 7b"]);
  expect(opened[0]?.closed).toBe(true);
  // The very same is not asked for twice, by the timer or by Enter.
  await pass(1_000);
  search.now();
  expect(opened).toHaveLength(2);
  search.type("   ");
  expect(opened[1]?.closed).toBe(true);
  expect([search.searching, search.busy, search.found]).toEqual([false, false, null]);
});

test("the last question wins, and details take the place of their card alone", async () => {
  const [one, two] = [repo("phi-4"), repo("Qwen2.5-32B")];
  const search = new Searching(backend);
  search.type("a");
  search.now();
  search.type("b");
  search.now();
  opened[0]?.send(page([one]));
  expect(search.found).toBeNull();
  opened[1]?.send(page([{ ...one, detailed: false }, two], "next"));
  opened[1]?.send({ kind: "model", model: one });
  opened[1]?.send({ kind: "model", model: repo("Meta-Llama") });
  expect(search.found?.map((m) => [m.repo, m.detailed])).toEqual([[one.repo, true], [two.repo, true]]);
  expect(search.busy).toBe(true);
  search.more();
  expect(opened).toHaveLength(2);
  opened[1]?.end();
  await pass(0);
  expect(search.busy).toBe(false);
  search.more();
  expect(opened[2]?.request.cursor).toBe("next");
  opened[2]?.send(page([two, repo("Meta-Llama")]));
  expect(search.found?.map((m) => m.repo)).toEqual([one.repo, two.repo, repo("Meta-Llama").repo]);
  expect(search.cursor).toBeNull();
});

test("a search that fails says so, keeps what came, and can be asked again", async () => {
  const search = new Searching(backend);
  search.type("a");
  search.now();
  opened[0]?.send(page([repo("phi-4")]));
  opened[0]?.fail({ code: "failed", message: "The Hub asks to wait 55 s.", next: "Try again then." });
  await pass(0);
  expect(search.error?.message).toBe("The Hub asks to wait 55 s.");
  expect(search.found).toHaveLength(1);
  search.now();
  expect(opened).toHaveLength(2);
  expect(search.error).toBeNull();
});

test("a filter asks anew, and nothing where nobody searches", () => {
  const search = new Searching(backend);
  search.filter({ fits: true });
  expect(opened).toHaveLength(0);
  search.type("a");
  search.now();
  search.filter({ quantization: "awq" });
  expect(opened.map((o) => [o.request.fits, o.request.quantization])).toEqual([[true, null], [true, "awq"]]);
});

test("pages are joined without doubles", () => {
  const [a, b] = [repo("phi-4"), repo("Qwen2.5-32B")];
  expect(withPage([a], [a, b, b])).toHaveLength(2);
  expect(withModel([a], b)).toEqual([a]);
  expect(withModel([a], { ...a, summary: "new" })[0]?.summary).toBe("new");
});

test("the queue is read twice a second at most, and what a change answers is shown at once", async () => {
  const played = new PlayedModels("pictured");
  answers["downloads"] = () => played.downloads();
  answers["pause_download"] = () => played.pause(null, true);
  const models = new Models(backend);
  for (let i = 0; i < 20; i += 1) {
    models.lookDownloads();
    await pass(50);
  }
  expect(calls.filter(([cmd]) => cmd === "downloads").length).toBeLessThanOrEqual(3);
  await models.change("pause_download", { id: null });
  expect(models.downloads?.paused).toBe(true);
  answers["downloads"] = () => { throw new Error("cut"); };
  models.lookDownloads();
  await pass(1_000);
  expect(models.downloadsError?.message).toMatch(/cut/);
  expect(models.downloads?.downloads.length).toBeGreaterThan(0);
  models.stop();
});

test("a comparison tells what it found after the panel was left, and can be stopped", async () => {
  let ended = 0;
  const verifying = new Verifying(backend, () => { ended += 1; });
  verifying.start("a");
  verifying.start("a");
  expect(opened).toHaveLength(1);
  expect(verifying.of("a")?.running).toBe(true);
  (opened[0]?.send as unknown as (p: VerifyProgress) => void)({ file: "f", done_bytes: 1, total_bytes: 1, done: true, damaged: ["f"], unknown: [] });
  opened[0]?.end();
  await pass(0);
  expect(verifying.of("a")).toMatchObject({ running: false, progress: { damaged: ["f"] } });
  expect(ended).toBe(1);
  verifying.leave("a");
  expect(verifying.of("a")).toBeNull();
  verifying.start("b");
  verifying.leave("b");
  expect(opened[1]?.closed).toBe(true);
  opened[1]?.fail(new Error("late"));
  await pass(0);
  expect(verifying.of("b")).toBeNull();
});

test("whose models these are: the rehearsal's own Hub is called by what it is", () => {
  expect(hubName("huggingface.co", false)).toBe("huggingface.co");
  expect(hubName("127.0.0.1:43821", true)).toBe("the rehearsal's Hub");
  // A mirror of one's own is called by its address, and a rehearsal may ask another Hub.
  expect(hubName("127.0.0.1:43821", false)).toBe("127.0.0.1:43821");
  expect(hubName("127.0.0.1.evil.example", true)).toBe("127.0.0.1.evil.example");
});
