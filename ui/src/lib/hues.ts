// The colour and the rune of an agent. A stack may name both; what it does not name follows from the agent's name. An
// agent that nobody drew a rune for gets the first letter of its name, and one without a colour the next that nobody has.

import type { AgentStatus } from "./backend/types";

export const KNOWN = ["thor", "valkyrie", "odin", "heimdall", "loki", "frigga"] as const;
/** Further runes of the old row, for whoever wants one. Those that others have put to uses of hatred are left out. */
export const FURTHER_RUNES = ["fehu", "uruz", "thurisaz", "raidho", "kenaz", "gebo", "wunjo", "hagalaz", "naudiz", "ehwaz", "laguz", "dagaz"] as const;
/** In the order in which they are given out. */
export const FURTHER_HUES = [
  "rowan", "heather", "foxglove", "lichen", "moss", "cloudberry", "orchid", "clay", "fjord", "thistle", "juniper", "glacier", "rust", "bilberry",
] as const;

export const RUNES = [...KNOWN, "standard", ...FURTHER_RUNES] as const;
export const HUES = [...KNOWN, ...FURTHER_HUES] as const;
export type Drawn = (typeof RUNES)[number] | "lozenge";
export type Rune = Drawn | `letter:${string}`;

export function isKnown(name: string | null): name is (typeof KNOWN)[number] {
  return name !== null && (KNOWN as readonly string[]).includes(name);
}

function isHue(name: string | null): name is (typeof HUES)[number] {
  return name !== null && (HUES as readonly string[]).includes(name);
}

function isRune(name: string | null): name is (typeof RUNES)[number] {
  return name !== null && (RUNES as readonly string[]).includes(name);
}

const HEX = /^#[0-9a-f]{6}$/i;

/** A value for `--a`. Only a plain hexadecimal colour is taken from the stack file, so that nothing else gets into a style. */
export function hue(agent: Pick<AgentStatus, "name" | "color"> | undefined, name = agent?.name ?? ""): string {
  const color = agent?.color ?? null;
  if (isHue(color)) return `var(--${color})`;
  if (color !== null && HEX.test(color)) return color;
  return isKnown(name) ? `var(--${name})` : "var(--text-2)";
}

export function rune(agent: Pick<AgentStatus, "name" | "glyph"> | undefined, name = agent?.name ?? ""): Rune {
  const glyph = agent?.glyph ?? null;
  if (isRune(glyph)) return glyph;
  if (isKnown(name)) return name;
  const letter = /[\p{L}\p{N}]/u.exec(name)?.[0];
  return letter === undefined ? "lozenge" : `letter:${letter.toUpperCase()}`;
}

/** Agents in the order of the stack, each with a colour: its own, or the next one that nobody of them has. */
export function dressed<A extends Pick<AgentStatus, "name" | "color">>(agents: readonly A[]): A[] {
  const own = (a: A): string | null => {
    if (isHue(a.color) || (a.color !== null && HEX.test(a.color))) return a.color;
    return isKnown(a.name) ? a.name : null;
  };
  const taken = new Set(agents.map(own));
  const free = FURTHER_HUES.filter((h) => !taken.has(h));
  // When all are given out, they go round again: the rune or the letter tells who is meant.
  const round = free.length > 0 ? free : FURTHER_HUES;
  let next = 0;
  return agents.map((a) => {
    if (own(a) !== null) return a;
    const color = round[next % round.length] ?? null;
    next += 1;
    return { ...a, color };
  });
}
