// "What if" of a draft: which question to ask of the controller, and the words for its answer. Pure.

import type { AgentForm, Plan, PlanChange, PlanRequest } from "../../lib/backend/types";
import { memory, signed, type Unit } from "../../lib/format";
import { changes, type Draft } from "./draft";
import { sizeBytes } from "./quantities";

const whole = (text: string, fallback: unknown): number | null => {
  if (text.trim() === "") return typeof fallback === "number" ? fallback : null;
  const number = Number(text.replaceAll(/[,_\s]/g, ""));
  return Number.isSafeInteger(number) && number > 0 ? number : null;
};

/** What of the draft the planner can be asked about; null where it differs in nothing of it, or cannot be read. */
export function changeOf(draft: Draft, began: Draft, form: AgentForm): PlanChange | null {
  if (draft.server === "role" || draft.server !== began.server) return null;
  const { wrong } = changes(draft, began);
  if (["context", "sequences", "kv_dtype", "kv_cache", "memory", "share"].some((key) => Object.hasOwn(wrong, key))) return null;
  const is = draft.texts;
  const was = began.texts;
  // A whole claim or a share is not a question that can be asked this way.
  if (is.memory !== was.memory || is.share !== was.share) return null;
  const change: PlanChange = {
    agent: form.agent,
    context: is.context === was.context ? null : whole(is.context, form.defaults["context"]),
    sequences: is.sequences === was.sequences ? null : whole(is.sequences, form.defaults["sequences"]),
    kv_dtype: is.kv_dtype === was.kv_dtype ? null : is.kv_dtype.trim() || "auto",
    kv_cache: is.kv_cache === was.kv_cache || is.kv_cache.trim() === "" ? null : is.kv_cache.trim(),
  };
  const { context, sequences, kv_dtype, kv_cache } = change;
  return context === null && sequences === null && kv_dtype === null && kv_cache === null ? null : change;
}

/** Asked for the active profile if the agent is in it, else for the first that it is in, else for it alone. */
export function questionOf(change: PlanChange | null, active: string | null, form: AgentForm): PlanRequest | null {
  if (change === null) return null;
  const profile = form.profiles.find((p) => p === active) ?? form.profiles[0] ?? null;
  return { profile, agent: profile === null ? form.agent : null, change };
}

/** "25.3 GB before, 37.3 GB after (+12.0 GB)"; null where it does not move. */
export function claimWords(plan: Plan, unit: Unit): string | null {
  const { changed } = plan;
  if (changed === null) return null;
  const more = changed.claim_bytes_after - changed.claim_bytes_before;
  if (more === 0) return `It takes ${memory(changed.claim_bytes_after, unit)} as before.`;
  const by = signed(memory(Math.abs(more), unit), more < 0 ? "-" : "+");
  return `It takes ${memory(changed.claim_bytes_before, unit)} now and ${memory(changed.claim_bytes_after, unit)} then (${by}).`;
}

/** The cache that the answer reckons with, where it is not the one that stands in the draft. */
export function otherCache(plan: Plan, draft: Draft): number | null {
  const value = plan.changed?.keys["kv_cache"];
  const bytes = typeof value === "number" ? value : typeof value === "string" ? sizeBytes(value) : null;
  return bytes === null || bytes === sizeBytes(draft.texts.kv_cache) ? null : bytes;
}
