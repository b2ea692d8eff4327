// The words of a request: its status, why it waited, what else is known of it.

import type { RequestOutcome, RequestPlace, RequestRow } from "../../lib/backend/types";
import { clockSeconds, count, dayGroup, duration, exactSpeed, firstToken, list, when } from "../../lib/format";

export const NONE = "–";

const WORDS: Record<Exclude<RequestOutcome, "waiting">, string> = {
  running: "Running",
  done: "Done",
  refused: "Refused",
  error: "Failed",
  broken: "Broke off",
  left: "Client left",
};

/** `name` is the agent's for a person. */
export function statusWord(row: RequestRow, name: string | null): string {
  if (row.outcome !== "waiting") return WORDS[row.outcome];
  return name === null ? "Waiting" : `Waiting for ${name}`;
}

export function isFailure(outcome: RequestOutcome): boolean {
  return outcome === "error" || outcome === "broken";
}

/** "Next, draining Valkyrie, 41 s left"; `passed` seconds after it was read. */
export function placeWords(place: RequestPlace, passed: number): string {
  const where = place.place <= 1 ? "Next" : `Place ${String(place.place)}`;
  const stage = place.stage === "" ? null : place.stage.charAt(0).toLowerCase() + place.stage.slice(1);
  return [where, stage, leftWords(place.seconds_left, passed)].filter((part) => part !== null).join(", ");
}

/** A countdown that ran out is not known any more; it does not stand at nothing. */
export function leftWords(left: number | null, passed: number): string | null {
  if (left === null) return null;
  const now = left - passed;
  return now < 0.5 ? null : `${duration(now)} left`;
}

/** "2 requests wait for Odin, 38 s left". */
export function waitWords(rows: readonly RequestRow[], name: string | null, passed: number): string | null {
  if (rows.length === 0) return null;
  const known = rows.flatMap((row) => (row.place?.seconds_left === null || row.place === null ? [] : [row.place.seconds_left]));
  // Those of one agent are served by the same start, so the first one's time is theirs.
  const left = known.length === 0 ? null : leftWords(Math.min(...known), passed);
  const who = `${rows.length === 1 ? "1 request waits" : `${count(rows.length)} requests wait`}${name === null ? "" : ` for ${name}`}`;
  return left === null ? who : `${who}, ${left}`;
}

export function clientsOf(rows: readonly RequestRow[]): string {
  return list([...new Set(rows.map((row) => row.client))]);
}

export interface Cells {
  readonly time: string;
  readonly prompt: string;
  readonly completion: string;
  readonly firstToken: string;
  readonly speed: string;
}

export function cells(row: RequestRow, now: Date): Cells {
  const today = dayGroup(row.time, now) === "Today";
  return {
    time: today ? clockSeconds(row.time) : `${when(row.time, now)} ${clockSeconds(row.time)}`,
    prompt: row.prompt_tokens === null ? NONE : count(row.prompt_tokens),
    completion: row.completion_tokens === null ? NONE : `${row.counted ? "about " : ""}${count(row.completion_tokens)}`,
    firstToken: row.first_token_seconds === null ? NONE : firstToken(row.first_token_seconds),
    speed: row.tokens_per_second === null ? NONE : exactSpeed(row.tokens_per_second),
  };
}

/** What the columns have no room for. */
export function more(row: RequestRow): readonly (readonly [string, string])[] {
  const facts: (readonly [string, string])[] = [["Path", row.path], ["Answer", row.stream ? "streamed" : "in one piece"]];
  if (row.status !== null) facts.push(["HTTP status", String(row.status)]);
  if (row.queued_seconds > 0) facts.push(["In the queue", seconds(row.queued_seconds)]);
  facts.push(["In all", seconds(row.seconds)]);
  if (row.counted) facts.push(["Completion", "counted by the events of the stream, the server gave no number"]);
  return facts;
}

function seconds(s: number): string {
  return s < 10 ? firstToken(s) : duration(s);
}

/** Whether the find field means this row. `name` is the agent's for a person. */
export function matches(row: RequestRow, name: string | null, needle: string): boolean {
  const wanted = needle.trim().toLowerCase();
  if (wanted === "") return true;
  return [clockSeconds(row.time), row.client, name, row.agent, row.path, statusWord(row, name), row.why, row.place?.stage]
    .some((text) => typeof text === "string" && text.toLowerCase().includes(wanted));
}

/** Whoever is named by the rows, and the one that is chosen, in order. */
export function choices(rows: readonly (string | null)[], chosen: string | null): readonly string[] {
  return [...new Set([...rows, chosen].filter((one) => one !== null))].sort((a, b) => a.localeCompare(b, "en"));
}
