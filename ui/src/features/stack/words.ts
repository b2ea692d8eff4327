// What Stack says of memory: suggestions, live figures beside the speed, and memory that was given away.

import type { AgentStatus, Suggestion, Yielded } from "../../lib/backend/types";
import { clock, count, firstToken, list, when } from "../../lib/format";

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

/** "first token 0.31 s", "3 preempted": only what is known, and nothing of what never happened. */
export function liveFacts(agent: Pick<AgentStatus, "time_to_first_token_seconds" | "preemptions">): string[] {
  const facts: string[] = [];
  if (agent.time_to_first_token_seconds !== null) facts.push(`first token ${firstToken(agent.time_to_first_token_seconds)}`);
  if (agent.preemptions !== null && agent.preemptions > 0) facts.push(`${count(agent.preemptions)} preempted`);
  return facts;
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
