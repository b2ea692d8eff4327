// A model's choices for an agent: where they begin, which steps a slider has, what is asked of the controller. Pure.

import type { AgentForm, AssignPreview, AssignRequest, ProfileForm, StackForm } from "../../lib/backend/types";
import { contextSize, memory, type Unit } from "../../lib/format";
import { FURTHER_HUES, FURTHER_RUNES } from "../../lib/hues";

export interface Fresh {
  readonly name: string;
  readonly title: string;
  readonly glyph: string;
  readonly color: string;
  /** As typed; empty is the next free one. */
  readonly port: string;
}

export interface Choice {
  readonly agent: string;
  /** Of an agent that is not in the file yet. */
  readonly fresh: Fresh | null;
  /** Null: what the controller proposes. */
  readonly context: number | null;
  readonly sequences: number | null;
  readonly kv: string | null;
  readonly profiles: readonly string[];
  /** The profile whose memory is shown; null: with nobody else awake. */
  readonly beside: string | null;
}

export interface Model {
  readonly model: string;
  readonly revision: string | null;
}

/** Agents that a model can be given to: a role has none, and what others run loads its own. */
export function pointable(form: StackForm): readonly AgentForm[] {
  return form.agents.filter((a) => a.written["served_by"] === undefined && !["external", "ollama"].includes(String(a.defaults["backend"] ?? a.written["backend"] ?? "vllm")));
}

const number = (value: unknown): number | null => (typeof value === "number" && value > 0 ? value : null);

/** What a profile's memory is shown with: one that it is in, the active one first. */
export function besideOf(profiles: readonly string[], form: StackForm, active: string | null): string | null {
  return profiles.find((p) => p === active) ?? profiles[0] ?? form.profiles.find((p) => p.name === active)?.name ?? form.profiles[0]?.name ?? null;
}

export function choiceOf(agent: AgentForm, form: StackForm, model: string, active: string | null): Choice {
  const own = agent.written["model"] === model;
  const standing = (key: string): unknown => agent.written[key] ?? agent.defaults[key];
  const kv = standing("kv_dtype");
  return {
    agent: agent.agent,
    fresh: null,
    // Another model has other limits: what suits it is proposed.
    context: own ? number(standing("context")) : null,
    sequences: number(standing("sequences")),
    kv: own ? (typeof kv === "string" ? kv : "auto") : null,
    profiles: agent.profiles,
    beside: besideOf(agent.profiles, form, active),
  };
}

export function freshChoice(form: StackForm, dressed: readonly { readonly glyph: string | null; readonly color: string | null }[], active: string | null): Choice {
  const taken = (of: "glyph" | "color"): Set<string | null> => new Set(dressed.map((a) => a[of]));
  const glyphs = taken("glyph");
  const colors = taken("color");
  return {
    agent: "",
    fresh: {
      name: "",
      title: "",
      glyph: FURTHER_RUNES.find((r) => !glyphs.has(r)) ?? "",
      color: FURTHER_HUES.find((h) => !colors.has(h)) ?? "",
      port: "",
    },
    context: null,
    sequences: null,
    kv: null,
    profiles: [],
    beside: besideOf([], form, active),
  };
}

export function portOf(text: string): number | null {
  return /^\d{1,5}$/.test(text.trim()) ? Number(text) : null;
}

export function requestOf(choice: Choice, form: StackForm, model: Model): AssignRequest {
  const { fresh } = choice;
  return {
    hash: form.hash,
    // A name that is typed yet stands in for itself; the figures need none.
    agent: fresh === null ? choice.agent : fresh.name === "" ? freeName(form) : fresh.name,
    new: fresh === null ? null : { title: fresh.title || null, glyph: fresh.glyph || null, color: fresh.color || null, port: portOf(fresh.port) },
    model: model.model,
    revision: model.revision,
    backend: null,
    context: choice.context,
    sequences: choice.sequences,
    kv_dtype: choice.kv,
    kv_cache_bytes: null,
    profiles: [...choice.profiles],
    beside: choice.beside,
  };
}

export function freeName(form: StackForm): string {
  const taken = new Set(form.agents.map((a) => a.agent));
  for (let n = 1; ; n += 1) {
    const name = n === 1 ? "new-agent" : `new-agent-${String(n)}`;
    if (!taken.has(name)) return name;
  }
}

const STEPS = [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, 384, 512, 640, 768, 1024, 2048, 4096, 8192, 10_240].map((k) => k * 1024);

/** Where a slider stops: powers of two and what lies between, the model's limit, and what stands there already. */
export function contextSteps(most: number | null, others: readonly (number | null)[] = []): readonly number[] {
  const limit = most ?? 131_072;
  const all = [...STEPS.filter((s) => s < limit), limit, ...others.filter((o): o is number => o !== null && o > 0 && o <= limit)];
  return [...new Set(all)].sort((a, b) => a - b);
}

/** The step that is nearest to a number of tokens. */
export function stepAt(steps: readonly number[], tokens: number): number {
  let best = 0;
  steps.forEach((step, i) => {
    if (Math.abs(step - tokens) < Math.abs((steps[best] ?? 0) - tokens)) best = i;
  });
  return best;
}

export interface Mark {
  readonly tokens: number;
  readonly label: string;
  /** 0 to 1 of the slider. */
  readonly at: number;
  readonly fits: boolean | null;
}

/** A few named places below the slider, powers of two and the limit: not every step has room for its words. */
export function contextMarks(steps: readonly number[], longest: number | null, known: boolean): readonly Mark[] {
  const last = steps.length - 1;
  const round = (tokens: number): boolean => Number.isInteger(Math.log2(tokens));
  const room = Math.max(2, Math.ceil(steps.length / 8));
  const marks: Mark[] = [];
  let before = last + room;
  for (let i = last; i >= 0; i -= 1) {
    const tokens = steps[i] ?? 0;
    if (before - i < room || (i !== last && !round(tokens))) continue;
    before = i;
    marks.unshift({ tokens, label: contextSize(tokens), at: last === 0 ? 0 : i / last, fits: known ? longest !== null && tokens <= longest : null });
  }
  return marks;
}

/** "Up to 48K fits with loki." Null where nothing is known. */
export function longestWords(preview: AssignPreview, beside: string | null): string | null {
  const where = beside === null ? "alone" : `with ${beside}`;
  if (preview.max_context === null || preview.pools.length === 0) return null;
  if (preview.longest_context === null) return `No context fits ${where} with ${String(preview.sequences)} at once.`;
  if (preview.longest_context >= preview.max_context) return `The model's whole ${contextSize(preview.max_context)} fits ${where}.`;
  return `Up to ${contextSize(preview.longest_context)} fits ${where}; the model goes to ${contextSize(preview.max_context)}.`;
}

/** How the figures are known, for who asks. */
export function certaintyWords(preview: AssignPreview): string {
  switch (preview.certainty) {
    case "exact":
      return "Read from the model's own files.";
    case "computed":
      return "Computed from what is known of the model.";
    case "bound":
      return "At most so much: part of the model was not understood.";
    default:
      return "What this model takes is not known here.";
  }
}

/** One sentence of it for a screen reader, once it has come to rest. */
export function saidOf(preview: AssignPreview, unit: Unit, who: string): string {
  const own = preview.problems[0];
  if (own !== undefined) return `${own.message} ${own.next}`;
  const no = preview.profiles.filter((p) => p.fits === false).length;
  const fits = no === 0 ? "every profile fits" : `${String(no)} of ${String(preview.profiles.length)} profiles do not fit`;
  return `${who} takes ${memory(preview.total_bytes, unit)} with ${contextSize(preview.context)} of context, ${fits}.`;
}

/** Whether an agent is, or would be, in a profile. */
export function inProfile(profile: ProfileForm, agent: string): boolean {
  return profile.agents.includes(agent);
}
