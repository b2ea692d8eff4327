// The gateway's settings as they were last read, and what was wrong with a change of one: said where it was made.

import { NO_CHANGE, asApiError, type Backend } from "../../lib/backend/backend";
import type { ApiError, GatewayPatch, GatewayView } from "../../lib/backend/types";

export class GatewayModel {
  view = $state.raw<GatewayView | null>(null);
  /** Why it cannot be read. */
  error = $state.raw<ApiError | null>(null);
  /** By the name of the row. */
  problems = $state.raw<Readonly<Record<string, ApiError>>>({});
  #busy = $state.raw<ReadonlySet<string>>(new Set());
  #asked = 0;

  constructor(private readonly backend: Backend) {}

  busy(row: string): boolean {
    return this.#busy.has(row);
  }

  async read(): Promise<void> {
    this.#asked += 1;
    const asked = this.#asked;
    try {
      const view = await this.backend.call("gateway_view", {});
      if (asked !== this.#asked) return;
      this.view = view;
      this.error = null;
    } catch (thrown) {
      if (asked === this.#asked) this.error = asApiError(thrown);
    }
  }

  change(row: string, patch: Partial<GatewayPatch>): Promise<boolean> {
    return this.run(row, (backend) => backend.call("change_gateway", { ...NO_CHANGE, ...patch }));
  }

  /** Does it, and reads what is in force then. False: it was refused, and the row says why. */
  async run(row: string, task: (backend: Backend) => Promise<unknown>): Promise<boolean> {
    if (this.#busy.has(row)) return false;
    this.#busy = new Set([...this.#busy, row]);
    this.#forget(row);
    try {
      await task(this.backend);
      return true;
    } catch (thrown) {
      const error = asApiError(thrown);
      if (error.code !== "cancelled") this.problems = { ...this.problems, [row]: error };
      return false;
    } finally {
      await this.read();
      this.#busy = new Set([...this.#busy].filter((other) => other !== row));
    }
  }

  refuse(row: string, message: string, next: string): void {
    this.problems = { ...this.problems, [row]: { code: "usage", message, next } };
  }

  #forget(row: string): void {
    this.problems = Object.fromEntries(Object.entries(this.problems).filter(([other]) => other !== row));
  }
}

/** The same port, on the loopback or on every address of this computer. */
export function listenAt(listen: string, everywhere: boolean): string {
  const port = /:(\d+)$/.exec(listen)?.[1] ?? "8899";
  const six = listen.startsWith("[");
  return `${everywhere ? (six ? "[::]" : "0.0.0.0") : six ? "[::1]" : "127.0.0.1"}:${port}`;
}

export function isLoopback(listen: string): boolean {
  return /^(127\.|\[::1\]|localhost)/.test(listen);
}

/** "20", "1.5": a time in a bigger unit, without needless digits. */
export function inUnit(seconds: number, unit: number): string {
  return String(Math.round((seconds / unit) * 100) / 100);
}

/** What was typed, in the setting's own unit; null where it is no such number. */
export function typed(text: string, unit: number, whole: boolean): number | null {
  const clean = text.trim().replace(",", ".");
  if (!(whole ? /^\d{1,9}$/ : /^\d{1,9}(\.\d{1,3})?$/).test(clean)) return null;
  return Math.round(Number(clean) * unit * 1_000) / 1_000;
}
