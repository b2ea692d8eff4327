// What a segment of the memory bar is called, and the exact figures behind it.

import type { AgentStatus, Pool } from "../../lib/backend/types";
import type { TipContent } from "../../lib/components/tips.svelte";
import { mebibytes, memory, memoryFigure, percent, type Unit } from "../../lib/format";
import { hue, rune } from "../../lib/hues";
import type { Lane, Segment } from "../../lib/memory/bar";
import { STATE_WORDS } from "../../lib/words";

type Agents = ReadonlyMap<string, AgentStatus>;

export function segmentName(segment: Segment, agents: Agents, unit: Unit): string {
  const size = memory(segment.bytes, unit);
  switch (segment.kind) {
    case "system":
      return `System and apps, ${size}`;
    case "lost":
      return `Did not come back after a stop, ${size}`;
    case "free":
      return `Free below the limit, ${size}`;
    case "reserved":
      return `Kept free above the limit, ${size}`;
    case "agent": {
      const agent = agents.get(segment.key);
      const who = agent?.display_name ?? segment.key;
      if (segment.leaving) return `${who}, leaves, ${size}`;
      if (segment.pending && segment.held > 0) return `${who}, starts, ${memory(segment.held, unit)} of ${size}`;
      if (segment.pending) return `${who}, would start, ${size}`;
      const state = agent === undefined ? "" : `, ${STATE_WORDS[agent.state].toLowerCase()}`;
      return `${who}${state}, ${size}`;
    }
  }
}

export function segmentDetail(segment: Segment, pool: Pool, agents: Agents, unit: Unit): TipContent | null {
  const total = `Total, ${unit.name}`;
  switch (segment.kind) {
    case "system":
      return {
        title: "System and apps",
        note: "measured",
        rows: [["In use by other programs", memory(segment.bytes, unit)]],
        foot: mebibytes(segment.bytes),
      };
    case "lost":
      return {
        title: "Did not come back",
        note: "measured",
        rows: [["Still held after a stop", memory(segment.bytes, unit)]],
        foot: mebibytes(segment.bytes),
      };
    case "free":
      return {
        title: "Free",
        rows: [
          ["Below the limit", memory(Math.max(0, (pool.limit_bytes ?? 0) - pool.used_bytes), unit, "down")],
          ["A further agent may claim", memory(pool.available_bytes, unit, "down")],
        ],
      };
    case "reserved":
      return {
        title: "Reserved",
        rows: [["Stays empty above the limit", memory(segment.bytes, unit)]],
        foot: "So the desktop never stalls.",
      };
    case "agent": {
      const agent = agents.get(segment.key);
      const here = pool.agents.find((a) => a.agent === segment.key);
      if (here === undefined) return null;
      const planned = here.weights_bytes + here.kv_bytes + here.overhead_bytes;
      const measured = here.measured_bytes;
      const used = agent?.kv_cache_used ?? null;
      return {
        title: agent?.display_name ?? segment.key,
        note: agent === undefined ? undefined : STATE_WORDS[agent.state],
        rune: { rune: rune(agent, segment.key), hue: hue(agent, segment.key) },
        head: ["", "measured", "planned"],
        rows: [
          ["Weights", "", memoryFigure(here.weights_bytes, unit)],
          ["KV cache", "", memoryFigure(here.kv_bytes, unit)],
          ["Beside them", "", memoryFigure(here.overhead_bytes, unit)],
        ],
        sum: [total, measured === null ? "–" : memoryFigure(measured, unit), memoryFigure(planned, unit)],
        foot: [
          measured === null ? null : mebibytes(measured),
          used === null ? null : `${percent(used)} of the KV cache in use`,
        ]
          .filter((s) => s !== null)
          .join(" · "),
      };
    }
  }
}

/**
 * Where each segment's label may stand, as bytes of its width and bytes left empty after it. A label is as wide as its
 * segment, so no two ever meet; what is past the limit leaves its place to the label of the limit itself.
 */
export function labelPlaces(lane: Lane): { readonly bytes: number; readonly after: number }[] {
  const limit = lane.limitAt === null ? lane.span : lane.limitAt * lane.span;
  let at = 0;
  return lane.segments.map((segment) => {
    const from = at;
    at += segment.bytes;
    const bytes = Math.max(0, Math.min(at, limit) - Math.min(from, limit));
    return { bytes, after: segment.bytes - bytes };
  });
}
