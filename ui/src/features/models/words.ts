// What is said of models. Their names, licences and files were written by strangers: only ever text, on one line.

import type { Download, DownloadState, Downloads, Fit, FitKind, HubModel, HubProblem, InstalledModel, ProfileFit, ProfileFitKind, Remedy, TokenPlace, Variant, VerifyProgress } from "../../lib/backend/types";
import type { IconName } from "../../lib/components/Icon.svelte";
import { clock, count, dayGroup, duration, fileSize, percent, speed, when } from "../../lib/format";
import type { Filters } from "../../lib/state/searching.svelte";
import { plain } from "../neighbours/words";

const NBSP = "\u00a0";
export const NONE = "–";

/** On one line, and no longer than a place for it has room. */
export function brief(text: string, most = 160): string {
  const line = plain(text.length > most * 4 ? text.slice(0, most * 4) : text);
  return line.length <= most ? line : `${line.slice(0, most - 1).trimEnd()}…`;
}

/* ------------------------------------------------------------------- fits */

export interface Mark {
  /** Null: the dot of what is in the profile already. */
  readonly icon: IconName | null;
  readonly tone: "ok" | "warn" | "bad" | "t-3" | "";
  readonly word: string;
}

export const PROFILE_MARKS: Readonly<Record<ProfileFitKind, Mark>> = {
  in_profile: { icon: null, tone: "", word: "In this profile" },
  fits: { icon: "check", tone: "ok", word: "Fits beside it" },
  less_context: { icon: "warn", tone: "warn", word: "Fits with less context" },
  no: { icon: "cross", tone: "t-3", word: "Does not fit" },
};

export const FIT_MARKS: Readonly<Record<FitKind, Mark>> = {
  fits: { icon: "check", tone: "ok", word: "Fits" },
  less_context: { icon: "warn", tone: "warn", word: "Fits with less context" },
  alone: { icon: "warn", tone: "warn", word: "Only in place of others" },
  never: { icon: "cross", tone: "bad", word: "Too large" },
  unknown: { icon: "info", tone: "t-3", word: "Not known whether it fits" },
};

export function fitIn(fit: Fit, profile: string | null): ProfileFit | null {
  return fit.profiles.find((p) => p.profile === profile) ?? null;
}

/** "standard: fits with less context, 12K, 0.4 GB to spare" */
export function fitTip(profile: string, fit: ProfileFit | null): string {
  if (fit === null) return `${brief(profile, 60)}: not known`;
  const word = PROFILE_MARKS[fit.kind].word.toLowerCase();
  return `${brief(profile, 60)}: ${word}${fit.reason === "" ? "" : `, ${brief(fit.reason)}`}`;
}

export function fitWords(fit: Fit): string {
  return fit.words === "" ? FIT_MARKS[fit.kind].word : brief(fit.words);
}

/* -------------------------------------------------------------- installed */

export type Column = "model" | "size" | "quantization" | "licence" | "used_by";
export interface Sort {
  readonly by: Column;
  readonly down: boolean;
}

export function licenceWord(model: Pick<InstalledModel | HubModel, "licence" | "licence_title">): string | null {
  const word = model.licence_title ?? model.licence;
  return word === null || word === "" ? null : brief(word, 60);
}

export function usersWord(model: Pick<InstalledModel, "used_by">): string {
  return model.used_by.length === 0 ? "No agent" : model.used_by.map((u) => plain(u.display_name)).join(", ");
}

/** The other way where it is the same column; sizes begin with the largest. */
export function turned(sort: Sort, by: Column): Sort {
  return sort.by === by ? { by, down: !sort.down } : { by, down: by === "size" };
}

export function sorted(models: readonly InstalledModel[], sort: Sort): readonly InstalledModel[] {
  const text = (m: InstalledModel): string =>
    sort.by === "quantization" ? (m.quantization ?? "") : sort.by === "licence" ? (licenceWord(m) ?? "") : sort.by === "used_by" ? m.used_by.map((u) => u.display_name).join() : m.title;
  const compare = (a: InstalledModel, b: InstalledModel): number => {
    if (sort.by === "size") return a.held_bytes - b.held_bytes;
    const [one, two] = [text(a), text(b)];
    // What is not known stands at the end, whichever way it goes.
    if ((one === "") !== (two === "")) return (one === "" ? 1 : -1) * (sort.down ? -1 : 1);
    return one.localeCompare(two, "en", { numeric: true, sensitivity: "base" });
  };
  return [...models].sort((a, b) => (sort.down ? -1 : 1) * compare(a, b) || a.title.localeCompare(b.title, "en") || a.id.localeCompare(b.id, "en"));
}

export function meant(model: InstalledModel, needle: string): boolean {
  const words = needle.trim().toLowerCase().split(/\s+/).filter((w) => w !== "");
  if (words.length === 0) return true;
  const text = [model.title, model.repo, model.model, model.quantization, model.licence, model.licence_title, model.architecture, model.backend, stateOf(model)?.word, usersWord(model)]
    .filter((t) => typeof t === "string")
    .join("\n")
    .toLowerCase();
  return words.every((w) => text.includes(w));
}

export interface ModelState {
  readonly word: string;
  readonly icon: IconName;
  readonly tone: "warn" | "bad" | "t-2";
}

/** What is not as it should be, shortest first; null where nothing is. */
export function stateOf(model: Pick<InstalledModel, "complete" | "problem" | "owner" | "download">, damaged = false): ModelState | null {
  if (model.download !== null) return { word: "Being downloaded", icon: "get", tone: "t-2" };
  if (damaged) return { word: "Damaged", icon: "fail", tone: "bad" };
  if (!model.complete) return { word: "Not complete", icon: "warn", tone: "warn" };
  if (model.problem !== null) return { word: "Something is wrong", icon: "warn", tone: "warn" };
  if (model.owner !== null) return { word: "Owned by another user", icon: "lock", tone: "warn" };
  return null;
}

/** "14:02", "Tue", "3 Nov": when its hashes were last right. */
export function verifiedWords(time: string | null, now: Date): string {
  if (time === null) return "never";
  return dayGroup(time, now) === "Today" ? `today ${clock(time)}` : when(time, now);
}

/** "Comparing checksums, 41%" and what came of it. */
export function checkWords(progress: VerifyProgress | null): string {
  if (progress === null) return "Comparing checksums";
  if (!progress.done) return `Comparing checksums, ${percent(progress.total_bytes === 0 ? 0 : progress.done_bytes / progress.total_bytes)}`;
  if (progress.damaged.length > 0) return `${files(progress.damaged.length)} ${progress.damaged.length === 1 ? "is" : "are"} damaged`;
  if (progress.unknown.length > 0) return `Nothing is wrong; of ${files(progress.unknown.length)} no checksum is known`;
  return "Every file is right";
}

export function files(n: number): string {
  return n === 1 ? "1 file" : `${count(n)} files`;
}

const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/;

/** Whose models these are: "huggingface.co". A rehearsal has a Hub of its own, whose port says nothing to anybody. */
export function hubName(host: string, rehearsal: boolean): string {
  return rehearsal && LOOPBACK.test(host) ? "the rehearsal's Hub" : plain(host);
}

/** Steps of a slider: the powers of two from 2K on, and the model's own limit at the end. */
export function contexts(max: number | null): readonly number[] {
  const top = Math.max(2_048, Math.min(max ?? 131_072, 16_777_216));
  const steps: number[] = [];
  for (let at = 2_048; at < top; at *= 2) steps.push(at);
  return [...steps, top];
}

/** The step that is the given context, or the last below it. */
export function stepOf(steps: readonly number[], context: number): number {
  return Math.max(0, steps.filter((s) => s <= context).length - 1);
}

/** Parts as shares of the most that it can come to, so that the bar grows with the slider; never more than the whole. */
export function shares(parts: readonly number[], most: number): readonly number[] {
  const whole = Math.max(most, parts.reduce((sum, p) => sum + p, 0));
  return parts.map((p) => (whole <= 0 ? 0 : p / whole));
}

/* --------------------------------------------------------------- discover */

export function bestOf(model: Pick<HubModel, "best" | "variants">): Variant | null {
  return model.variants.find((v) => v.id === model.best) ?? model.variants[0] ?? null;
}

/** "about 31 tok/s" */
export function speedWords(tokensPerSecond: number | null): string | null {
  return tokensPerSecond === null || tokensPerSecond <= 0 ? null : `about ${speed(tokensPerSecond)}${NBSP}tok/s`;
}

export const SPEED_NOTE = "An estimate, and an upper bound: memory bandwidth over the bytes that one token goes through.";

/** The controller does not search among what ships with Asgard; its filters hold there all the same. */
export function passes(model: HubModel, filters: Filters): boolean {
  if (filters.open_licence && model.open_licence !== true) return false;
  const any = model.variants.some(
    (v) =>
      (filters.backend === null || v.backend === filters.backend) &&
      (filters.quantization === null || (v.quantization ?? "").toLowerCase() === filters.quantization || (filters.quantization === "gguf" && v.backend === "llama.cpp")) &&
      (!filters.works_here || !v.troubles.some((t) => t.fatal)) &&
      (!filters.fits || v.fit.kind === "fits" || v.fit.kind === "less_context" || v.fit.kind === "alone"),
  );
  return any || (model.variants.length === 0 && filters.backend === null && filters.quantization === null && !filters.works_here && !filters.fits);
}

/** "Downloading, 62%" */
export function coming(download: Pick<Download, "state" | "done_bytes" | "total_bytes">): string {
  const share = shareOf(download);
  switch (download.state) {
    case "queued":
      return "Queued";
    case "resolving":
      return "Asking for its files";
    case "running":
      return share === null ? "Downloading" : `Downloading, ${percent(share)}`;
    case "verifying":
      return "Verifying";
    case "paused":
      return share === null ? "Paused" : `Paused at ${percent(share)}`;
    case "waiting":
      return "Waiting";
    case "failed":
      return "Failed";
    case "done":
      return "Here";
  }
}

/** The download of this repository that is nearest to its end; those that ended do not count. */
export function downloadOf(repo: string, downloads: readonly Download[]): Download | null {
  const order: readonly DownloadState[] = ["running", "verifying", "resolving", "waiting", "queued", "paused", "failed"];
  const own = downloads.filter((d) => d.repo === repo && d.state !== "done");
  return own.sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state))[0] ?? null;
}

/** The block of keys that many cards begin with is for machines. */
export function cardText(card: string): string {
  return card.replace(/^\uFEFF?---[ \t]*\r?\n[\s\S]*?\r?\n---[ \t]*(\r?\n|$)/, "").trim();
}

/* -------------------------------------------------------------- downloads */

export function shareOf(download: Pick<Download, "done_bytes" | "total_bytes">): number | null {
  const total = download.total_bytes;
  return total === null || total <= 0 ? null : Math.min(1, download.done_bytes / total);
}

/** "84 MB/s": whole from 10 on. */
export function rate(bytesPerSecond: number): string {
  const [of, unit] = bytesPerSecond >= 1e9 - 5e6 ? [1e9, "GB/s"] : bytesPerSecond >= 1e6 - 5e3 ? [1e6, "MB/s"] : [1e3, "kB/s"];
  const n = bytesPerSecond / of;
  return `${n >= 9.95 ? String(Math.round(n)) : n.toFixed(1)}${NBSP}${unit}`;
}

/** A time left that runs down by itself between two readings; null where it is not known, or ran out. */
export function left(seconds: number | null, passed: number): string | null {
  if (seconds === null || !Number.isFinite(seconds)) return null;
  const now = seconds - Math.max(0, passed);
  return now < 0.5 ? null : duration(now);
}

/** "84 MB/s, 5 min 26 s left for 2 downloads" */
export function totalWords(told: Downloads, passed: number): string {
  const open = told.downloads.filter((d) => ["running", "verifying", "resolving", "waiting", "queued"].includes(d.state)).length;
  if (told.paused) return "All downloads are paused";
  if (open === 0) return told.downloads.length === 0 ? "" : "Nothing is being downloaded";
  const time = left(told.seconds_left, passed);
  const for_ = `${String(open)} ${open === 1 ? "download" : "downloads"}`;
  const parts = [told.bytes_per_second === null ? null : rate(told.bytes_per_second), time === null ? for_ : `${time} left for ${for_}`];
  return parts.filter((p) => p !== null).join(", ");
}

export interface Face {
  readonly icon: IconName;
  readonly tone: "" | "ok" | "bad" | "warn";
  readonly spin: boolean;
  readonly word: string;
}

export function faceOf(download: Pick<Download, "state" | "problem">): Face {
  const face = (icon: IconName, word: string, tone: Face["tone"] = "", spin = false): Face => ({ icon, word, tone, spin });
  const remedy = download.problem?.remedy ?? null;
  if (remedy !== null && download.state !== "done" && ["add_token", "change_token", "accept_licence", "ask_for_access"].includes(remedy)) {
    return face(download.state === "failed" ? "fail" : "key", "Gated", "bad");
  }
  switch (download.state) {
    case "queued":
      return face("hourglass", "Queued");
    case "resolving":
      return face("arc", "Asking for its files", "", true);
    case "running":
      return face("get", "Downloading");
    case "verifying":
      return face("arc", "Verifying checksums", "", true);
    case "paused":
      return face("pause", "Paused");
    case "waiting":
      return face("hourglass", "Waiting", download.problem === null ? "" : "warn");
    case "failed":
      return face("fail", "Failed", "bad");
    case "done":
      return face("ok", "Finished", "ok");
  }
}

/** What the button says that helps; null where there is none. */
export function remedyWord(remedy: Remedy | null): string | null {
  switch (remedy) {
    case null:
      return null;
    case "add_token":
      return "Add a token";
    case "change_token":
      return "Change the token";
    case "accept_licence":
      return "Accept the licence";
    case "ask_for_access":
      return "Ask for access";
    case "try_again":
      return "Try again";
    case "free_disk":
      return "Free some space";
    case "choose_other":
      return "Choose another";
    case "fix_owner":
      return "Show what is installed";
  }
}

export function problemWords(problem: HubProblem): string {
  return brief([problem.message, problem.next].filter((t) => t !== "").join(" "), 400);
}

/** Rates to choose from, in bytes a second; what is set besides stands among them. */
export function limits(now: number | null): readonly { id: string; label: string }[] {
  const rates = [1e6, 5e6, 10e6, 25e6, 50e6, 100e6];
  if (now !== null && !rates.includes(now)) rates.push(now);
  return [{ id: "", label: "As fast as it goes" }, ...rates.sort((a, b) => a - b).map((r) => ({ id: String(r), label: `At most ${rate(r).replace(/\.0(?=\u00a0)/, "")}` }))];
}

/** "Unfinished downloads hold 33.4 GB; ..." */
export function partialWords(told: Pick<Downloads, "partial_bytes" | "partial_days">): string | null {
  if (told.partial_bytes <= 0) return null;
  return `Unfinished downloads hold ${fileSize(told.partial_bytes)}. What nobody takes up again is deleted after ${String(told.partial_days)}${NBSP}${told.partial_days === 1 ? "day" : "days"}.`;
}

/* ------------------------------------------------------------------ token */

export const PLACES: Readonly<Record<TokenPlace, string>> = {
  keyring: "In the desktop's keyring.",
  file: "In a file of Asgard that only you can read: there is no keyring here.",
  environment: "In the environment variable HF_TOKEN, which Asgard does not change.",
  client_file: "In the file of the Hub's own client, which Asgard does not change.",
};

/** Whether it is Asgard's to take away. */
export function isOurs(place: TokenPlace | null): boolean {
  return place === "keyring" || place === "file";
}

/** What was pasted, without what a copy brings along; null where it cannot be a token. */
export function pastedToken(text: string): string | null {
  const clean = text.trim().replace(/^["']|["']$/g, "");
  return /^[\x21-\x7e]{8,400}$/.test(clean) ? clean : null;
}

/* ------------------------------------------------------------------ cards */

/** What the one button of a card is for. */
export type CardAction = "download" | "installed" | "refused" | "add_token" | "change_token" | "accept_licence" | "ask_for_access" | "look_again" | "wait" | "nothing" | "get" | "get_anyway";

export function actionOf(model: HubModel, variant: Variant | null, download: Download | null, token: TokenPlace | null | undefined): CardAction {
  if (download !== null) return "download";
  if (variant?.installed === true) return "installed";
  if (variant !== null && variant.refused !== null) return "refused";
  const remedy = model.problem?.remedy ?? null;
  if (remedy === "add_token" || remedy === "change_token" || remedy === "accept_licence" || remedy === "ask_for_access") return remedy;
  // Before the account was read nothing is claimed of it.
  if ((model.gated !== "open" || model.private) && token === null) return "add_token";
  if (model.problem !== null) return "look_again";
  if (variant === null) return model.detailed ? "nothing" : "wait";
  return variant.troubles.some((t) => t.fatal) ? "get_anyway" : "get";
}

/** "1.2M", "45K", "812" */
export function short(n: number): string {
  if (n >= 999_500) return `${(n / 1e6).toFixed(n >= 9.95e6 ? 0 : 1)}M`;
  return n >= 1_000 ? `${(n / 1e3).toFixed(n >= 9_950 ? 0 : 1)}K` : String(n);
}

/** "29.8 of 48.1 GB": both in the unit of the whole. */
export function ofTotal(done: number, total: number | null): string {
  if (total === null) return fileSize(done);
  const whole = fileSize(total);
  const unit = whole.split(NBSP)[1] ?? "GB";
  const of = { TB: 1e12, GB: 1e9, MB: 1e6, kB: 1e3 }[unit] ?? 1e9;
  const part = done / of;
  return `${unit === "GB" || unit === "TB" ? part.toFixed(1) : String(Math.round(part))} of ${whole}`;
}
