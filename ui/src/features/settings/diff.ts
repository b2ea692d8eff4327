// A unified diff as lines to show. The file is somebody's own: nothing in it may turn the line around or end it.

import { plain } from "../neighbours/words";

export type LineKind = "added" | "removed" | "same" | "place";

export interface DiffLine {
  readonly kind: LineKind;
  readonly sign: string;
  readonly text: string;
}

export function diffLines(diff: string): readonly DiffLine[] {
  const lines = diff.split("\n");
  if (lines.at(-1) === "") lines.pop();
  let inside = false;
  return lines.flatMap((line): DiffLine[] => {
    if (line.startsWith("@@")) {
      inside = true;
      return [{ kind: "place", sign: "", text: plain(line) }];
    }
    // The names of the files stand above it; a line of the file may begin in the same way, but never before a place.
    if (!inside || line.startsWith("\\")) return [];
    const text = plain(line.slice(1).replaceAll("\t", "    ").replace(/\r$/, ""));
    if (line.startsWith("+")) return [{ kind: "added", sign: "+", text }];
    if (line.startsWith("-")) return [{ kind: "removed", sign: "−", text }];
    return [{ kind: "same", sign: " ", text }];
  });
}

/** "3 lines more, 1 less" */
export function diffWords(lines: readonly DiffLine[]): string {
  const of = (kind: LineKind): number => lines.filter((line) => line.kind === kind).length;
  const [added, removed] = [of("added"), of("removed")];
  const parts = [added > 0 ? `${String(added)} ${added === 1 ? "line" : "lines"} added` : "", removed > 0 ? `${String(removed)} ${removed === 1 ? "line" : "lines"} removed` : ""];
  return parts.filter((part) => part !== "").join(", ");
}

export const CLOUD = "cloud:";

/** Why "PROVIDER/MODEL" is none; null where it is one. */
export function cloudProblem(text: string): string | null {
  return /^[a-z0-9][a-z0-9._-]*\/\S+$/i.test(text.trim()) ? null : "Write it as PROVIDER/MODEL, such as anthropic/claude-sonnet-4-5.";
}

export function projectProblem(text: string): string | null {
  const clean = text.trim();
  return clean === "" || clean.startsWith("/") ? null : "Write the whole path of the folder, from the / on.";
}
