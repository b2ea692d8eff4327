// What a screen reader is told when the state changes: who, and what became of them. Failures interrupt, the rest waits.

import type { AgentState, Status } from "../backend/types";
import { STATE_WORDS } from "../words";

export interface Announcement {
  readonly text: string;
  readonly urgent: boolean;
}

/** States that are the way to another one and pass by themselves; telling each would be noise. */
const PASSING: readonly AgentState[] = ["pulling", "starting", "stopping"];

export function announcements(before: Status | null, after: Status): Announcement[] {
  if (before === null) return [];
  const told: Announcement[] = [];
  const was = new Map(before.agents.map((a) => [a.name, a]));
  for (const agent of after.agents) {
    const old = was.get(agent.name);
    if (old === undefined || old.state === agent.state) continue;
    if (agent.state === "failed") {
      const why = agent.error === null ? "" : `: ${agent.error.message} ${agent.error.next}`;
      told.push({ text: `${agent.display_name} failed${why}`, urgent: true });
    } else if (agent.state === "busy" || (agent.state === "ready" && old.state === "busy")) {
      // Every request makes an agent busy and ready again.
      continue;
    } else if (!PASSING.includes(agent.state)) {
      told.push({ text: `${agent.display_name} is ${STATE_WORDS[agent.state].toLowerCase()}`, urgent: false });
    }
  }
  const from = before.switching;
  const to = after.switching;
  if (to !== null && from?.to !== to.to) told.push({ text: `Switching to ${to.to}`, urgent: false });
  if (to !== null && to.undoing && from !== null && !from.undoing) {
    told.push({ text: `Undoing the switch to ${to.to}`, urgent: true });
  }
  for (const notice of after.notices) {
    const known = before.notices.some((n) => n.message === notice.message);
    if (!known) told.push({ text: `${notice.message} ${notice.next}`, urgent: notice.severity === "failure" });
  }
  return told;
}
