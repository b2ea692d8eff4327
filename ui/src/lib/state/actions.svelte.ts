// What a press of a button asks of the controller, and what it says when the answer is no.

import { asApiError, type Answer, type Backend, type Command, type Payload } from "../backend/backend";
import type { ApiError } from "../backend/types";

export interface Problem {
  readonly id: number;
  readonly error: ApiError;
}

export class Actions {
  /** Answers that were no, until they are dismissed or the same thing is asked again. */
  problems = $state.raw<readonly Problem[]>([]);
  #busy = $state.raw<ReadonlySet<string>>(new Set());
  #next = 1;

  constructor(private readonly backend: Backend) {}

  /** Whether this was asked and is not answered yet. */
  busy(key: string): boolean {
    return this.#busy.has(key);
  }

  /** Ask; the answer, or null where it was no and the reason is on the screen. */
  ask<K extends Command>(key: string, cmd: K, payload: Payload<K>): Promise<Answer<K> | null> {
    return this.run(key, (backend) => backend.call(cmd, payload));
  }

  /** The same for what the desktop asks in a dialog of its own. */
  async run<T>(key: string, task: (backend: Backend) => Promise<T>): Promise<T | null> {
    if (this.#busy.has(key)) return null;
    this.#busy = new Set([...this.#busy, key]);
    this.problems = [];
    try {
      return await task(this.backend);
    } catch (thrown) {
      const error = asApiError(thrown);
      // Somebody who pressed Cancel knows.
      if (error.code !== "cancelled") this.report(error);
      return null;
    } finally {
      this.#busy = new Set([...this.#busy].filter((k) => k !== key));
    }
  }

  /** The desktop shows what the stack would run. Whoever says yes need not read again that it was asked for. */
  async confirmStack(): Promise<void> {
    await this.run("confirm", (backend) => backend.dialogs.confirmStack());
  }

  report(error: ApiError): void {
    this.problems = [...this.problems, { id: this.#next, error }].slice(-3);
    this.#next += 1;
  }

  dismiss(id: number): void {
    this.problems = this.problems.filter((p) => p.id !== id);
  }
}
