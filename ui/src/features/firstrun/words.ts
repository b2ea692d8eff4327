// What the first steps say, from what was found. Pure.

import type { DoctorCheck, FirstRun } from "../../lib/backend/types";
import { fileSize, list } from "../../lib/format";

const NBSP = "\u00a0";

/** Disks of today have terabytes: "1.6 TB". */
export function diskSize(bytes: number): string {
  return bytes >= 1e12 ? `${(bytes / 1e12).toFixed(1)}${NBSP}TB` : fileSize(bytes);
}

export interface Row {
  readonly id: string;
  readonly name: string;
  readonly value: string;
  readonly tone: "ok" | "get" | "warn" | "fail" | "info";
}

const IMAGE_TAG = /@.*$|:[^/:]*$/;

/** "vllm-therock-gfx1151" of a whole reference. */
export function imageName(reference: string): string {
  return reference.replace(IMAGE_TAG, "").split("/").pop() ?? reference;
}

/** "Docker", "27.3.1, running". */
export function engineRows(first: FirstRun, checks: readonly DoctorCheck[], rehearsal: boolean): readonly Row[] {
  const [name, ...version] = first.engine.title.split(" ");
  const rows: Row[] = [];
  if (first.engine.found) rows.push({ id: "engine", name: name ?? "Engine", value: version.length > 0 ? `${version.join(" ")}, running` : "Running", tone: "ok" });
  else if (rehearsal) rows.push({ id: "engine", name: "Engine", value: "Not needed, stand-ins play as programs", tone: "info" });
  else rows.push({ id: "engine", name: "Container engine", value: first.engine.problem ?? "None answers", tone: "fail" });
  const none = rehearsal ? "Not needed, stand-ins compute nothing" : "None found, agents run on the processor";
  rows.push({ id: "gpu", name: "GPU", value: first.gpu ?? none, tone: first.gpu === null ? "info" : "ok" });
  const group = checks.find((c) => c.id === "gpu_groups");
  if (group !== undefined && group.status !== "skip") rows.push({ id: "group", name: group.title, value: group.found, tone: toneOf(group) });
  if (first.image !== null) {
    const what = imageName(first.image.reference);
    rows.push({ id: "image", name: "Image", value: first.image.present ? `${what}, here` : `${what}, will be fetched with the models`, tone: first.image.present ? "ok" : "get" });
  }
  return rows;
}

export function toneOf(check: DoctorCheck): Row["tone"] {
  return check.status === "pass" ? "ok" : check.status === "warn" ? "warn" : check.status === "fail" ? "fail" : "info";
}

/** Checks of the first step that ask for something to be done. */
export const ENGINE_CHECKS: readonly string[] = ["engine_socket", "engine", "kfd", "render_nodes", "gpu_groups", "nvidia_toolkit"];
/** And of the second. */
export const MEMORY_CHECKS: readonly string[] = ["gtt_cap", "carve_out", "swap"];

export function engineTitle(first: FirstRun, rehearsal: boolean): string {
  return first.engine.found || rehearsal ? "Your engine is ready" : "An engine is missing";
}

/** "40.6 GB to fetch, 1.6 TB free. The standard profile will be ready."; of an image nobody knows the size before. */
export function fetchWords(first: FirstRun, bytes: number, models: number, ready: boolean): string {
  if (models === 0 && bytes === 0) return "Nothing to fetch. Models can be added at any time.";
  const unsized = models > 0 && first.image !== null && !first.image.present && first.image.bytes === null;
  const free = first.free_bytes === null ? "" : `, ${diskSize(first.free_bytes)} free`;
  return `${diskSize(bytes)}${unsized ? " and the image" : ""} to fetch${free}.${ready ? ` The ${first.base} profile will be ready.` : ""}`;
}

/** Bytes that the disk is short of; zero where it is not known. */
export function shortOfDisk(first: FirstRun, bytes: number): number {
  return first.free_bytes === null ? 0 : Math.max(0, bytes - first.free_bytes);
}

/** "The first two are enough to start." */
export function enoughWords(first: FirstRun): string {
  const needed = first.models.filter((m) => m.chosen || m.installed).length;
  const words = ["No model is", "The first is", "The first two are", "The first three are", "The first four are"][needed] ?? `The first ${String(needed)} are`;
  return needed === 0 ? "You can add models at any time." : `${words} enough to start. You can add the others at any time.`;
}

export function agentWords(names: readonly string[]): string {
  return list(names);
}
