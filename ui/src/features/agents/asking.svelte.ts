// Dry runs: what would come of the edits. The last one that was wanted wins, whatever order answers come in.

import { asApiError } from "../../lib/backend/backend";
import type { ApiError, Edited, EditRequest } from "../../lib/backend/types";

const REST = 250;

export class Asking {
  /** The last answer; null until there is one and after the edits are gone. */
  answer = $state.raw<Edited | null>(null);
  error = $state.raw<ApiError | null>(null);
  /** Whether what is shown is of edits before the last. */
  pending = $state(false);

  #turn = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ask: (request: EditRequest) => Promise<Edited>,
    private readonly rest = REST,
  ) {}

  /** Ask after a moment of rest; null where there is nothing to ask about. */
  want(request: EditRequest | null): void {
    clearTimeout(this.#timer);
    this.#turn += 1;
    const turn = this.#turn;
    if (request === null) {
      this.answer = null;
      this.error = null;
      this.pending = false;
      return;
    }
    this.pending = true;
    this.#timer = setTimeout(() => {
      this.ask({ ...request, dry_run: true }).then(
        (answer) => {
          if (turn === this.#turn) this.#settle(answer, null);
        },
        (thrown: unknown) => {
          if (turn === this.#turn) this.#settle(null, asApiError(thrown));
        },
      );
    }, this.rest);
  }

  #settle(answer: Edited | null, error: ApiError | null): void {
    this.answer = answer;
    this.error = error;
    this.pending = false;
  }
}
