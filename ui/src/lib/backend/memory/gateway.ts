// The played gateway: its settings, keys, session and what a change of them would be told.

import type { ApiError, GatewayPatch, GatewaySettings, GatewayView, KeyText, NewKeyRequest } from "../types";

const ago = (s: number): string => new Date(Date.now() - s * 1000).toISOString();

function no(message: string, next: string): Error {
  return Object.assign(new Error(message), { code: "failed", message, next } satisfies ApiError);
}

export class PlayedGateway {
  #settings: GatewaySettings = {
    listen: "127.0.0.1:8899",
    wake: true,
    hold: true,
    queue_limit: 32,
    max_streams: 512,
    odin_ttl: 1_200,
    odin_cooldown: 600,
    session_budget_odin: 3,
    session_budget_utility: 10,
    health_timeout: 300,
  };
  readonly #keys = new Map<string, { agents: string[] | null; lastUsed: string | null }>();
  #used = { reviewer: 2, utility: 4 };
  #start = ago(5_000);

  constructor(keyed: boolean) {
    if (!keyed) return;
    this.#keys.set("opencode", { agents: null, lastUsed: ago(500) });
    this.#keys.set("ci", { agents: ["thor", "valkyrie"], lastUsed: null });
  }

  view(): GatewayView {
    const { session_budget_odin: odin, session_budget_utility: utility } = this.#settings;
    return {
      session_start: this.#start,
      session_ends: ago(-6 * 3_600),
      budgets: [
        { tier: "reviewer", used: this.#used.reviewer, limit: odin === 0 ? null : odin, cooldown_until: this.#used.reviewer > 0 ? ago(-300) : null },
        { tier: "utility", used: this.#used.utility, limit: utility === 0 ? null : utility, cooldown_until: null },
      ],
      keys: [...this.#keys].map(([name, { agents, lastUsed }]) => ({ name, agents, last_used: lastUsed })),
      settings: { ...this.#settings },
    };
  }

  change(patch: GatewayPatch): GatewayView {
    if (patch.queue_limit !== null && patch.queue_limit > 100_000) {
      throw no(`${String(patch.queue_limit)} cannot be the limit of a queue.`, "Give at most 100000; 0 means no limit.");
    }
    const given = Object.fromEntries(Object.entries(patch).filter(([, value]) => value !== null)) as Partial<GatewaySettings>;
    this.#settings = { ...this.#settings, ...given };
    return this.view();
  }

  make({ name, agents }: NewKeyRequest): KeyText {
    if (!/^[a-z0-9-]+$/i.test(name)) throw no(`${name} cannot be a key's name.`, "Use letters, digits and hyphens.");
    this.#keys.set(name, { agents, lastUsed: null });
    return this.reveal(name);
  }

  reveal(name: string): KeyText {
    return { name, key: `asgard-${name}-played-0123456789abcdef` };
  }

  remove(name: string): void {
    if (this.#keys.size === 1 && !this.#settings.listen.startsWith("127.")) {
      throw no("It is the last key, and other computers reach the gateway.", "Listen on the loopback first.");
    }
    this.#keys.delete(name);
  }

  newSession(): void {
    this.#used = { reviewer: 0, utility: 0 };
    this.#start = ago(0);
  }
}
