// The first steps: what was found, what the person chose so far. It outlives the screen, so that one can leave and come
// back; it ends with the window.

import { asApiError, type Backend } from "../backend/backend";
import type { ApiError, Doctor, FirstModel, FirstRun } from "../backend/types";

export const STEPS = ["engine", "memory", "models"] as const;
export type Step = (typeof STEPS)[number];

export class FirstSteps {
  /** Null until the controller was asked. */
  found = $state.raw<FirstRun | null>(null);
  doctor = $state.raw<Doctor | null>(null);
  error = $state.raw<ApiError | null>(null);
  /** Whether the screen is in the place of the others. */
  open = $state(false);
  step = $state<Step>("engine");
  /** Bytes; null: as it was found. */
  limit = $state<number | null>(null);
  /** Repositories; null: as it is proposed. */
  chosen = $state.raw<ReadonlySet<string> | null>(null);
  start = $state(true);
  busy = $state(false);

  readonly #backend: Backend;
  #offered = false;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Asked once when the window opens: whether there is anything to offer. */
  async offer(): Promise<void> {
    if (this.#offered) return;
    this.#offered = true;
    await this.look();
    if (this.found?.due === true) this.show();
  }

  show(): void {
    this.open = true;
    this.step = "engine";
    void this.look();
    void this.#check();
  }

  leave(): void {
    this.open = false;
  }

  async look(): Promise<void> {
    try {
      this.found = await this.#backend.call("first_run", {});
      this.error = null;
    } catch (thrown) {
      this.error = asApiError(thrown);
    }
  }

  /** Both once more: somebody has started the engine, or made room. */
  async again(): Promise<void> {
    await Promise.all([this.look(), this.#check()]);
  }

  async #check(): Promise<void> {
    try {
      this.doctor = await this.#backend.call("doctor", {});
    } catch {
      // What was not checked is not shown; the engine is said by itself.
      this.doctor = null;
    }
  }

  get limitBytes(): number | null {
    return this.limit ?? this.found?.limit_bytes ?? null;
  }

  isChosen(model: FirstModel): boolean {
    return !model.installed && (this.chosen?.has(model.model.repo) ?? model.chosen);
  }

  choose(model: FirstModel, on: boolean): void {
    const now = new Set(this.chosen ?? this.found?.models.filter((m) => m.chosen).map((m) => m.model.repo));
    if (on) now.add(model.model.repo);
    else now.delete(model.model.repo);
    this.chosen = now;
  }

  get models(): readonly FirstModel[] {
    return this.found?.models.filter((m) => this.isChosen(m)) ?? [];
  }

  go(by: 1 | -1): void {
    const to = STEPS[STEPS.indexOf(this.step) + by];
    if (to !== undefined) this.step = to;
  }

  /** Takes what was chosen; true when it is in the queue. */
  finish(): Promise<boolean> {
    const { found, limit } = this;
    if (found === null) return Promise.resolve(false);
    return this.#press({ preset: found.preset, limit_bytes: limit, models: this.models.map((m) => m.model.repo), start: this.start, skip: false });
  }

  /** Nothing of it, and it is not offered again. */
  skip(): Promise<boolean> {
    return this.#press({ preset: null, limit_bytes: null, models: [], start: false, skip: true });
  }

  async #press(request: { preset: string | null; limit_bytes: number | null; models: string[]; start: boolean; skip: boolean }): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.error = null;
    try {
      this.found = await this.#backend.call("finish_first_run", request);
      this.open = false;
      this.limit = null;
      this.chosen = null;
      return true;
    } catch (thrown) {
      this.error = asApiError(thrown);
      return false;
    } finally {
      this.busy = false;
    }
  }
}
