// The colour and the rune of an agent. A stack may name both; what it does not name follows from the agent's name, and
// an agent that nobody drew a rune for gets a lozenge in neutral ink.

import type { AgentStatus } from "./backend/types";

export const KNOWN = ["thor", "valkyrie", "odin", "heimdall", "loki", "frigga"] as const;
export type Rune = (typeof KNOWN)[number] | "standard" | "lozenge";

export function isKnown(name: string | null): name is (typeof KNOWN)[number] {
  return name !== null && (KNOWN as readonly string[]).includes(name);
}

/** A value for `--a`. Only a plain hexadecimal colour is taken from the stack file, so that nothing else gets into a style. */
export function hue(agent: Pick<AgentStatus, "name" | "color"> | undefined, name = agent?.name ?? ""): string {
  const color = agent?.color ?? null;
  if (isKnown(color)) return `var(--${color})`;
  if (color !== null && /^#[0-9a-f]{6}$/i.test(color)) return color;
  return isKnown(name) ? `var(--${name})` : "var(--text-2)";
}

export function rune(agent: Pick<AgentStatus, "name" | "glyph"> | undefined, name = agent?.name ?? ""): Rune {
  const glyph = agent?.glyph ?? null;
  if (isKnown(glyph) || glyph === "standard") return glyph;
  return isKnown(name) ? name : "lozenge";
}
