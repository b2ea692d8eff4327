// Fetches at most once per gap and one at a time; wishes in between are one wish.

export class Refresher {
  #running = false;
  #wanted = false;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #last = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(
    private readonly fetch: () => Promise<void>,
    private readonly gap: number,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Ask for a fetch: at once where none is under way and the last is long enough ago. */
  request(): void {
    if (this.#stopped) return;
    this.#wanted = true;
    this.#next();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #next(): void {
    if (!this.#wanted || this.#running || this.#timer !== null || this.#stopped) return;
    const wait = this.#last + this.gap - this.now();
    if (wait > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#next();
      }, wait);
      return;
    }
    this.#wanted = false;
    this.#running = true;
    this.#last = this.now();
    void this.fetch().finally(() => {
      this.#running = false;
      this.#next();
    });
  }
}
