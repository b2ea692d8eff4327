// Sizes as a person writes them, and what an agent would take of the memory. The controller's figures decide; these are
// for the line under the slider while one drags it.

import type { AgentForm } from "../../lib/backend/types";
import { contextSize, memory, type Unit } from "../../lib/format";
import type { Draft } from "./draft";

export interface Wrong {
  readonly message: string;
  readonly next: string;
}

const UNITS: Readonly<Record<string, number>> = { b: 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** "12 GB" in bytes; 1 GB of memory is 2^30. Null where it is no size. */
export function sizeBytes(text: string): number | null {
  const found = /^\s*(\d+(?:\.\d+)?)\s*([kmgt])?(?:i?b)?\s*$/i.exec(text.replaceAll("\u00a0", " "));
  if (found === null) return null;
  const unit = found[2]?.toLowerCase() ?? "b";
  const bytes = Number(found[1]) * (UNITS[unit] ?? 1);
  return bytes > 0 ? bytes : null;
}

/** As it is written into the file: "12 GB", "12.5 GB". */
export function sizeText(amount: number, unit: Unit): string {
  return `${String(Math.round(amount * 10) / 10)} ${unit.name}`;
}

export interface MemoryLine {
  readonly weights: number | null;
  readonly kv: number | null;
  readonly overhead: number | null;
  readonly claim: number | null;
  /** What one conversation of full length takes of the cache. */
  readonly perContext: number | null;
  /** How many of them the cache holds at once. */
  readonly holds: number | null;
  readonly sequences: number;
  readonly context: number;
}

const whole = (text: string, fallback: unknown): number => {
  const number = Number(text.replaceAll(/[,_\s]/g, ""));
  if (text.trim() !== "" && Number.isFinite(number) && number > 0) return number;
  return typeof fallback === "number" ? fallback : 0;
};

/** `agent` is null for one that is not in the file yet, of whose model nothing is known here. */
export function memoryLine(draft: Draft, agent: AgentForm | null, capacity: number | null): MemoryLine {
  const { texts } = draft;
  const context = whole(texts.context, agent?.defaults["context"] ?? 32_768);
  const sequences = whole(texts.sequences, agent?.defaults["sequences"] ?? 4);
  if (draft.server === "role") {
    return { weights: 0, kv: 0, overhead: 0, claim: 0, perContext: null, holds: null, sequences, context };
  }
  // Of a claim that is given whole, the parts are not told.
  const told = agent !== null && agent.weights_bytes + agent.kv_bytes + agent.overhead_bytes > 0;
  // Another model has other weights, which are known once it was looked at.
  const model = agent !== null && texts.model === String(agent.written["model"] ?? "");
  const cached = texts.kv_dtype === String(agent?.written["kv_dtype"] ?? "");
  const weights = sizeBytes(texts.weights) ?? (told && model && agent.written["weights"] === undefined ? agent.weights_bytes : null);
  const overhead = sizeBytes(texts.overhead) ?? (told && draft.server === (agent.written["backend"] ?? agent.defaults["backend"] ?? "vllm") && agent.written["overhead"] === undefined ? agent.overhead_bytes : null);
  const perToken = model && cached ? agent.kv_bytes_per_token : null;
  const perContext = perToken === null ? null : perToken * context;

  const share = Number(texts.share);
  const all = sizeBytes(texts.memory) ?? (texts.share !== "" && share > 0 && share <= 1 && capacity !== null ? share * capacity : null);
  let kv = sizeBytes(texts.kv_cache);
  let claim: number | null = null;
  if (kv !== null) claim = weights === null || overhead === null ? null : weights + kv + overhead;
  else if (all !== null) {
    claim = all;
    kv = weights === null || overhead === null ? null : Math.max(0, all - weights - overhead);
  }
  const holds = kv === null || perContext === null || perContext === 0 ? null : Math.floor((kv / perContext) * (1 + 1e-9));
  return { weights, kv, overhead, claim, perContext, holds, sequences, context };
}

/** One sentence on the cache; null where nothing is known of it. */
export function cacheSentence(line: MemoryLine, unit: Unit): string | null {
  if (line.perContext === null || line.holds === null) return null;
  const one = `One conversation of ${contextSize(line.context)} takes ${memory(line.perContext, unit)} of KV cache`;
  if (line.holds === 0) return `${one}, more than there is.`;
  if (line.holds >= line.sequences) return `${one}; all ${String(line.sequences)} at once fit.`;
  return `${one}; ${String(line.holds)} of ${String(line.sequences)} fit at once, the others wait.`;
}
