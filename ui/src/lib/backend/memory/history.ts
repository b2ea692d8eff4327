// Pictures of the played controller: the real ones are drawn in Rust; these have their size and their colours.

import type { AgentHistories, AgentHistoryRequest, FigureHistory, History, HistoryRequest, Status } from "../types";
import { memory, unitFor } from "../../format";

const GROUND = { dark: ["#16191d", "#687280", "#b0b7c0"], light: ["#ffffff", "#6c7581", "#464e58"] } as const;
const HUES = ["#eec351", "#5c82e6", "#aa6a95"] as const;

function picture(width: number, height: number, theme: "dark" | "light", title: string, bands: readonly (readonly [number, string])[]): string {
  const [ground, , text] = GROUND[theme];
  let below = height - 30;
  const areas = bands.map(([share, colour], n) => {
    const high = share * (height - 80);
    below -= high;
    // Agents wake a third into the picture, so that there is something to see.
    const from = n === 0 ? 58 : 58 + (width - 72) / 3;
    return `<rect x="${from.toFixed(0)}" y="${below.toFixed(0)}" width="${(width - 14 - from).toFixed(0)}" height="${high.toFixed(0)}" fill="${colour}"/>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${String(width)}" height="${String(height)}" viewBox="0 0 ${String(width)} ${String(height)}"><rect width="100%" height="100%" fill="${ground}"/>${areas.join("")}<text x="58" y="18" font-size="13" font-family="sans-serif" fill="${text}">${title}</text></svg>`;
}

const ago = (hours: number): string => new Date(Date.now() - hours * 3_600_000).toISOString();

function words(hours: number): string {
  if (hours <= 1) return "last hour";
  return hours <= 24 ? "last 24 hours" : hours <= 168 ? "last 7 days" : "last year";
}

export function historyOf(status: Status, asked: HistoryRequest, lived: boolean): History {
  const { hours, theme, width, height } = asked;
  return {
    pools: status.pools.map((pool) => {
      const whole = pool.limit_bytes ?? pool.used_bytes;
      const other = pool.other_bytes / whole;
      const bands = pool.agents.map((a, n) => [(a.measured_bytes ?? a.reserved_bytes) / whole, HUES[n % HUES.length] ?? HUES[0]] as const);
      const title = `${pool.name}, ${words(hours)}`;
      const used = memory(pool.used_bytes, unitFor(pool.capacity_bytes));
      return {
        id: pool.id,
        name: pool.name,
        recorded: lived,
        svg: picture(width, height, theme, title, [[other, GROUND[theme][1]], ...bands]),
        summary: lived ? `${title}: ${used} in use at the end.` : `${title}: nothing was recorded in this time.`,
        from: ago(hours),
        to: ago(0),
        marks: lived ? [{ x: 0.36, texts: ["08:14 Thor ready in 38 s", "08:15 Valkyrie ready in 61 s"] }] : [],
      };
    }),
  };
}

export function agentHistoryOf(status: Status, asked: AgentHistoryRequest, lived: boolean): AgentHistories {
  const figure = (agent: string, id: string, name: string, latest: string, share: number): FigureHistory => ({
    figure: id,
    name,
    latest,
    svg: picture(asked.width, asked.height + 40, asked.theme, "", [[share, HUES[0]]]),
    summary: `${agent}: ${name}, ${words(asked.hours)}: ${latest} at the end.`,
  });
  const awake = status.agents.filter((a) => ["ready", "busy"].includes(a.state) && (asked.agent ?? a.name) === a.name);
  return {
    agents: (lived ? awake : []).map((a) => ({
      agent: a.name,
      figures: [
        figure(a.display_name, "kv_cache_used", "KV cache in use", "34 %", 0.34),
        figure(a.display_name, "tokens_per_second", "Tokens a second", "12.5", 0.6),
        figure(a.display_name, "running", "Requests under way", "1", 0.5),
        figure(a.display_name, "waiting", "Requests waiting", "0", 0),
      ],
    })),
  };
}
