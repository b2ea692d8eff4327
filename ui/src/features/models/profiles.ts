// The sign of a profile: that of the agent it is called after, the sign of the standard one, else its first letter.

import type { AgentStatus } from "../../lib/backend/types";
import { hue, rune, type Rune } from "../../lib/hues";

export function profileRune(profile: string, agents: ReadonlyMap<string, AgentStatus>): Rune {
  return profile === "standard" ? "standard" : rune(agents.get(profile), profile);
}

export function profileHue(profile: string, agents: ReadonlyMap<string, AgentStatus>): string {
  return profile === "standard" ? "var(--text-2)" : hue(agents.get(profile), profile);
}
