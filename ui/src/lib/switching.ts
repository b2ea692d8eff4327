// What is under way, as the window names it. The controller gives a target that is a profile or an agent; an agent and a
// profile may have the same name, and then the step tells which is meant.

import type { AgentStatus, Plan, ProfileView, Switching } from "./backend/types";
import { memory, type Unit } from "./format";
import { isLeaving } from "./memory/bar";
import { isStarting } from "./words";

export interface Underway {
  /** The profile that is being switched to; null for the start or stop of one agent. */
  readonly profile: string | null;
  readonly agent: AgentStatus | undefined;
  readonly text: string;
  readonly secondsLeft: number | null;
}

export function underway(
  switching: Switching,
  agents: ReadonlyMap<string, AgentStatus>,
  profiles: readonly ProfileView[],
): Underway {
  const target = agents.get(switching.to);
  const worked = switching.agent === null ? undefined : agents.get(switching.agent);
  const agent = target ?? worked;
  const profile = profiles.some((p) => p.name === switching.to) ? switching.to : null;
  const secondsLeft = switching.seconds_left;
  if (switching.undoing) return { profile, agent: worked, text: `Undoing: ${switching.to}`, secondsLeft };
  if (target !== undefined && isLeaving(target.state)) {
    return { profile: null, agent, text: `Stopping ${target.display_name}`, secondsLeft };
  }
  if (profile !== null) return { profile, agent, text: `Switching to ${profile}`, secondsLeft };
  if (target !== undefined) return { profile, agent, text: `Starting ${target.display_name}`, secondsLeft };
  return { profile, agent: worked, text: `Switching to ${switching.to}`, secondsLeft };
}

/** What is done just now: "Loading Loki". */
export function doingNow(switching: Switching, agents: ReadonlyMap<string, AgentStatus>): string {
  if (switching.undoing) return "Undoing";
  const agent = switching.agent === null ? undefined : agents.get(switching.agent);
  if (agent === undefined) return "Switching";
  if (switching.stage === "wait_memory") return `Waiting for ${agent.display_name}'s memory`;
  if (switching.stage === "drain") return `Draining ${agent.display_name}`;
  if (switching.stage === "stop" || isLeaving(agent.state)) return `Stopping ${agent.display_name}`;
  return isStarting(agent.state) ? `Loading ${agent.display_name}` : `Starting ${agent.display_name}`;
}

/** Counted for other programs even where they hold less. */
const FLOOR = 6;

/** A refusal in a few words; the plan's own sentence has the rest. */
export function briefly(plan: Plan, unit: Unit): string {
  const worst = plan.pools.reduce<Plan["pools"][number] | null>(
    (most, p) => (p.shortfall_bytes > (most?.shortfall_bytes ?? 0) ? p : most),
    null,
  );
  if (worst === null) return plan.reason;
  const missing = memory(worst.shortfall_bytes, unit, "up");
  const floor = FLOOR * unit.bytes;
  const counted = worst.planned_bytes + Math.max(worst.other_bytes, floor) + worst.lost_bytes;
  const byLimit = counted - (worst.limit_bytes ?? counted);
  const closable = worst.other_bytes - floor >= worst.shortfall_bytes;
  return byLimit === worst.shortfall_bytes && closable ? `Fits with ${missing} closed` : `${missing} short`;
}
