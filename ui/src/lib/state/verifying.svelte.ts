// Models whose files are being compared with their hashes, by their id. It goes on while another screen is open.

import { asApiError, type Backend, type OpenStream } from "../backend/backend";
import type { ApiError, VerifyProgress } from "../backend/types";

export interface Check {
  /** Null before the first file. */
  readonly progress: VerifyProgress | null;
  readonly error: ApiError | null;
  readonly running: boolean;
}

export class Verifying {
  #checks = $state.raw<Readonly<Record<string, Check>>>({});
  readonly #streams = new Map<string, OpenStream>();

  constructor(
    private readonly backend: Backend,
    private readonly ended: () => void,
  ) {}

  of(id: string): Check | null {
    return this.#checks[id] ?? null;
  }

  start(id: string): void {
    if (this.#streams.has(id)) return;
    this.#set(id, { progress: null, error: null, running: true });
    const stream = this.backend.stream("verify_model", { id }, (progress) => {
      if (this.#streams.get(id) === stream) this.#set(id, { progress, error: null, running: !progress.done });
    });
    this.#streams.set(id, stream);
    const over = (error: ApiError | null): void => {
      if (this.#streams.get(id) !== stream) return;
      this.#streams.delete(id);
      const before = this.#checks[id];
      this.#set(id, { progress: before?.progress ?? null, error, running: false });
      this.ended();
    };
    stream.done.then(() => { over(null); }, (thrown: unknown) => { over(asApiError(thrown)); });
  }

  /** Ends it, and forgets what it said. */
  leave(id: string): void {
    const stream = this.#streams.get(id);
    this.#streams.delete(id);
    stream?.close();
    this.#checks = Object.fromEntries(Object.entries(this.#checks).filter(([other]) => other !== id));
  }

  close(): void {
    for (const id of [...this.#streams.keys()]) this.leave(id);
  }

  #set(id: string, check: Check): void {
    this.#checks = { ...this.#checks, [id]: check };
  }
}
