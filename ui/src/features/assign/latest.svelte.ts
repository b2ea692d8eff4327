// What a slider asks while it moves: one question is under way at a time, and after it the last that was wanted. So every
// answer is shown as it comes, and none in between is waited for.

import { asApiError } from "../../lib/backend/backend";
import type { ApiError } from "../../lib/backend/types";

export class Latest<Question, Answer> {
  /** The last answer; it stays until there is another. */
  answer = $state.raw<Answer | null>(null);
  error = $state.raw<ApiError | null>(null);
  /** Whether what is shown is of a question before the last. */
  pending = $state(false);

  #waiting: Question | null = null;
  #asking: Promise<void> | null = null;
  #ended = false;

  constructor(private readonly ask: (question: Question) => Promise<Answer>) {}

  want(question: Question): void {
    this.#waiting = question;
    this.pending = true;
    this.#asking ??= this.#run();
  }

  /** When the last question that was wanted is answered. */
  async settled(): Promise<void> {
    await this.#asking;
  }

  /** Nothing is shown of what comes yet. */
  end(): void {
    this.#ended = true;
    this.#waiting = null;
  }

  async #run(): Promise<void> {
    while (this.#waiting !== null) {
      const question: Question = this.#waiting;
      this.#waiting = null;
      let answer: Answer | null = null;
      let error: ApiError | null = null;
      try {
        answer = await this.ask(question);
      } catch (thrown) {
        error = asApiError(thrown);
      }
      if (this.#ended) break;
      this.answer = answer ?? this.answer;
      this.error = error;
    }
    this.#asking = null;
    this.pending = false;
  }
}
