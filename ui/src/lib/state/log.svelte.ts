// The log on the screen: the last lines of one agent, and each new one.

import { asApiError, type Backend, type OpenStream } from "../backend/backend";
import type { ApiError } from "../backend/types";

/** What is kept while the end is followed, and while somebody reads further up and nothing may move under them. */
export const TAIL = 500;
const READING = 5_000;

export interface Line {
  readonly id: number;
  readonly text: string;
  readonly level: "error" | "warning" | "plain";
}

export function level(text: string): Line["level"] {
  if (/\b(ERROR|CRITICAL|FATAL|Traceback)\b|\b(?:Runtime|Value|Type|Import|OutOfMemory)?Error:/.test(text)) return "error";
  return /\bWARN(?:ING)?\b/.test(text) ? "warning" : "plain";
}

export class Log {
  lines = $state.raw<readonly Line[]>([]);
  error = $state.raw<ApiError | null>(null);
  /** Whether new lines may come. */
  live = $state(false);
  following = true;

  #stream: OpenStream | null = null;
  #waiting: Line[] = [];
  #flush: ReturnType<typeof setTimeout> | null = null;
  #next = 0;

  constructor(private readonly backend: Backend) {}

  open(agent: string): void {
    this.close();
    this.lines = [];
    this.error = null;
    this.live = true;
    const stream = this.backend.stream("follow_logs", { agent, lines: TAIL }, ({ text }) => {
      if (this.#stream !== stream) return;
      this.#waiting.push({ id: this.#next++, text, level: level(text) });
      // A model that loads writes hundreds of lines at once; they are drawn together.
      this.#flush ??= setTimeout(() => {
        this.#draw();
      }, 50);
    });
    this.#stream = stream;
    const over = (error: ApiError | null): void => {
      if (this.#stream !== stream) return;
      this.#draw();
      this.live = false;
      this.error = error;
      this.#stream = null;
    };
    stream.done.then(
      () => {
        over(null);
      },
      (thrown: unknown) => {
        over(asApiError(thrown));
      },
    );
  }

  close(): void {
    const stream = this.#stream;
    this.#stream = null;
    stream?.close();
    if (this.#flush !== null) clearTimeout(this.#flush);
    this.#flush = null;
    this.#waiting = [];
    this.live = false;
  }

  #draw(): void {
    if (this.#flush !== null) clearTimeout(this.#flush);
    this.#flush = null;
    if (this.#waiting.length === 0) return;
    this.lines = [...this.lines, ...this.#waiting].slice(this.following ? -TAIL : -READING);
    this.#waiting = [];
  }
}
