// The played record of requests: what the target pictures show, and a crowd for those who measure.

import type { RequestOutcome, RequestRow, Requests, RequestsQuery } from "../types";

const ago = (s: number): string => new Date(Date.now() - s * 1000).toISOString();

function row(id: number | null, seconds: number, client: string, agent: string | null, outcome: RequestOutcome, more: Partial<RequestRow> = {}): RequestRow {
  return {
    id,
    time: ago(seconds),
    client,
    agent,
    path: "/v1/chat/completions",
    stream: true,
    outcome,
    status: outcome === "waiting" ? null : 200,
    prompt_tokens: null,
    completion_tokens: null,
    counted: false,
    queued_seconds: 0,
    first_token_seconds: null,
    tokens_per_second: null,
    seconds: 9.4,
    place: null,
    why: null,
    ...more,
  };
}

const tokens = (prompt: number, completion: number, first: number, speed: number): Partial<RequestRow> => ({
  prompt_tokens: prompt,
  completion_tokens: completion,
  first_token_seconds: first,
  tokens_per_second: speed,
});

function busy(): { underWay: RequestRow[]; ended: RequestRow[] } {
  return {
    underWay: [
      row(null, 24, "OpenCode", "loki", "waiting", { status: null, place: { place: 1, stage: "Loading Loki", seconds_left: 41 }, why: "Loki was asleep" }),
      row(null, 12, "aider", "loki", "waiting", { status: null, place: { place: 2, stage: "Loading Loki", seconds_left: 41 } }),
      row(null, 22, "OpenCode", "valkyrie", "running", tokens(12_194, 286, 0.42, 31.2)),
      row(null, 9, "OpenCode", "valkyrie", "running", { ...tokens(4_120, 611, 0.38, 30.8), counted: true }),
      row(null, 4, "Chat", "heimdall", "running", tokens(1_204, 96, 0.09, 72.4)),
    ],
    ended: [
      row(14, 90, "OpenCode", "valkyrie", "done", tokens(10_377, 1_502, 0.47, 31.5)),
      row(13, 250, "Chat", "thor", "done", tokens(2_845, 318, 0.31, 19.1)),
      row(12, 480, "Bifrost", "frigga", "error", { status: 502, prompt_tokens: 6_590, completion_tokens: 0, why: "Frigga failed to start: its KV cache needs 16.0 GB and 13.6 GB was free." }),
      row(11, 600, "OpenCode", "odin", "done", { ...tokens(18_402, 412, 43.1, 4.8), queued_seconds: 41, seconds: 129, why: "Waited 41 s: Valkyrie was draining one request, Odin loaded in 38 s." }),
      row(10, 700, "ci", "odin", "refused", { status: 429, stream: false, why: "The session's budget of 3 summons for Odin is used up; it ends at 22:10 at the latest." }),
      row(9, 760, "OpenCode", "valkyrie", "broken", { ...tokens(3_110, 88, 0.4, 30.1), counted: true, why: "Valkyrie's server ended in the middle of the answer." }),
      row(8, 800, "curl", null, "refused", { status: 404, stream: false, why: "No agent is named gpt-4o." }),
      row(7, 86_400 + 3_000, "a-client-with-a-very-long-name-of-its-own", "heimdall", "left", { status: null, queued_seconds: 12, why: "Waited 12 s: Heimdall was loading." }),
    ],
  };
}

/** Two that have to wait until Valkyrie is done. */
function forOdin(): RequestRow[] {
  return ["OpenCode", "ci"].map((client, i) =>
    row(null, 20 - i, client, "odin", "waiting", { place: { place: i + 1, stage: "Draining Valkyrie", seconds_left: 38 } }),
  );
}

/** So many that a table must not mind. */
function crowd(): { underWay: RequestRow[]; ended: RequestRow[] } {
  const who = ["thor", "valkyrie", "odin", "heimdall"];
  const ended = Array.from({ length: 640 }, (_, i) => {
    const id = 640 - i;
    const waited = id % 7 === 0;
    return row(id, 30 + i * 20, id % 3 === 0 ? "Chat" : "OpenCode", who[id % 4] ?? "thor", id % 11 === 0 ? "error" : "done", {
      ...tokens(1_000 + id, 100 + (id % 50), 0.3, 20 + (id % 9)),
      queued_seconds: waited ? 41 : 0,
      why: waited ? "Waited 41 s: Valkyrie was draining one request." : null,
    });
  });
  return { underWay: busy().underWay, ended };
}

export class PlayedRequests {
  readonly #underWay: RequestRow[];
  readonly #ended: RequestRow[];

  constructor(play: "none" | "quiet" | "waits" | "busy" | "crowd") {
    const { underWay, ended } = play === "none" ? { underWay: [], ended: [] } : play === "crowd" ? crowd() : busy();
    this.#underWay = play === "quiet" ? [] : play === "waits" ? forOdin() : underWay;
    this.#ended = ended;
  }

  answer({ limit, before, agent, client }: RequestsQuery): Requests {
    const meant = (r: RequestRow): boolean => (agent === null || r.agent === agent) && (client === null || r.client === client);
    return structuredClone({
      under_way: this.#underWay.filter(meant),
      ended: this.#ended.filter((r) => meant(r) && (before === null || (r.id ?? 0) < before)).slice(0, limit),
    });
  }

  /** One more that ended: what a table that is held must not show. */
  end(): void {
    const id = (this.#ended[0]?.id ?? 0) + 1;
    this.#ended.unshift(row(id, 0, "curl", "thor", "done", tokens(12, 7, 0.2, 19)));
  }
}
