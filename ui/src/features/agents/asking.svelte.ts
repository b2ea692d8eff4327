// What would come of it, asked while it is typed. The last question that was wanted wins, whatever order answers come in.

import { asApiError } from "../../lib/backend/backend";
import type { ApiError } from "../../lib/backend/types";

const REST = 250;

export class Asking<Question, Answer> {
  /** The last answer; null until there is one and after the question is gone. */
  answer = $state.raw<Answer | null>(null);
  error = $state.raw<ApiError | null>(null);
  /** Whether what is shown is of a question before the last. */
  pending = $state(false);

  #turn = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly ask: (question: Question) => Promise<Answer>,
    private readonly rest = REST,
  ) {}

  /** Ask after a moment of rest; null where there is nothing to ask about. */
  want(question: Question | null): void {
    clearTimeout(this.#timer);
    this.#turn += 1;
    const turn = this.#turn;
    if (question === null) {
      this.answer = null;
      this.error = null;
      this.pending = false;
      return;
    }
    this.pending = true;
    this.#timer = setTimeout(() => {
      this.ask(question).then(
        (answer) => {
          if (turn === this.#turn) this.#settle(answer, null);
        },
        (thrown: unknown) => {
          if (turn === this.#turn) this.#settle(null, asApiError(thrown));
        },
      );
    }, this.rest);
  }

  #settle(answer: Answer | null, error: ApiError | null): void {
    this.answer = answer;
    this.error = error;
    this.pending = false;
  }
}
