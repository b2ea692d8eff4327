// What Stack says of memory: suggestions, and memory that was given away.

import type { Suggestion, Yielded } from "../../lib/backend/types";
import { clock, list, when } from "../../lib/format";

/** A value as it would stand in the stack file: "10.0 GB", 24576, "true". */
export function written(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(written).join(", ");
  return JSON.stringify(value) ?? "";
}

/** What the button of a suggestion does: "Write kv_cache = 10.0 GB". */
export function suggestionLabel(suggestion: Suggestion): string {
  return `Write ${suggestion.key} = ${written(suggestion.value)}`;
}

/** "Thor and Valkyrie sleep until 14:20." `names` are those for a person. */
export function yieldedWords(yielded: Yielded, names: readonly string[], now: Date): string {
  const until = yielded.until === null ? "until resumed" : `until ${moment(yielded.until, now)}`;
  if (names.length === 0) return `Nobody was idle; nothing is started ${until} but by hand.`;
  return `${list(names)} ${names.length === 1 ? "sleeps" : "sleep"} ${until}.`;
}

/** The clock; with the day before it where that is not within a day. */
function moment(time: string, now: Date): string {
  const then = new Date(time);
  if (then.getTime() - now.getTime() < 86_400_000) return clock(then);
  // `when` tells past days apart, so the day is looked at from its own.
  return `${when(time, new Date(then.getTime() + 8 * 86_400_000))}, ${clock(then)}`;
}
