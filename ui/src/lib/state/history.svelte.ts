// The pictures of Activity: fetched while somebody can see them, and no more often than they change.

import { asApiError, type Backend } from "../backend/backend";
import type { AgentHistories, ApiError, History, PictureTheme } from "../backend/types";

export interface Wanted {
  readonly hours: number;
  readonly theme: PictureTheme;
  /** Of the room for a picture, in pixels. */
  readonly width: number;
}

export const POOL_HEIGHT = 240;
export const FIGURE = { width: 220, height: 76 } as const;
/** Never more often than this while nothing else is asked for. */
const EVERY = 10_000;
/** The window is dragged wider in many small steps; one picture is enough for them. */
const SETTLED = 150;

/** An image's address. As an image a picture can run nothing and fetch nothing, whatever is in it. */
export function imageOf(svg: string): string {
  return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
}

/** How long a picture of so many hours is as good as new: a point of a week's is minutes wide. */
export function freshFor(hours: number): number {
  return Math.max(EVERY, Math.min(600_000, hours * 2_500));
}

export class Histories {
  pools = $state.raw<History["pools"] | null>(null);
  agents = $state.raw<AgentHistories["agents"]>([]);
  error = $state.raw<ApiError | null>(null);

  readonly #backend: Backend;
  readonly #visible: () => boolean;
  #wanted: Wanted | null = null;
  #asked = 0;
  #last = Number.NEGATIVE_INFINITY;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #closed = false;

  constructor(backend: Backend, visible: () => boolean = () => document.visibilityState === "visible") {
    this.#backend = backend;
    this.#visible = visible;
  }

  /** What is to be seen from now on. */
  want(wanted: Wanted): void {
    const before = this.#wanted;
    this.#wanted = wanted;
    const resized = before?.hours === wanted.hours && before.theme === wanted.theme;
    if (resized && before.width === wanted.width) return;
    this.#last = Number.NEGATIVE_INFINITY;
    this.#plan(resized ? SETTLED : 0);
  }

  /** The window came back to the front, or went. */
  looked(): void {
    this.#plan(this.#due());
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #due(): number {
    return Math.max(0, this.#last + freshFor(this.#wanted?.hours ?? 0) - performance.now());
  }

  #plan(wait: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#closed || this.#wanted === null || !this.#visible()) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#fetch();
    }, wait);
  }

  async #fetch(): Promise<void> {
    const wanted = this.#wanted;
    if (wanted === null || this.#closed) return;
    this.#asked += 1;
    const asked = this.#asked;
    this.#last = performance.now();
    const { hours, theme } = wanted;
    try {
      const [pools, figures] = await Promise.all([
        this.#backend.call("history", { pool: null, hours, theme, width: wanted.width, height: POOL_HEIGHT }),
        this.#backend.call("agent_history", { agent: null, hours, theme, ...FIGURE }),
      ]);
      // Another range was asked for meanwhile: its answer counts.
      if (asked !== this.#asked || this.#isClosed()) return;
      this.pools = pools.pools;
      this.agents = figures.agents;
      this.error = null;
    } catch (thrown) {
      if (asked !== this.#asked || this.#isClosed()) return;
      this.error = asApiError(thrown);
    }
    if (this.#timer === null) this.#plan(this.#due());
  }

  #isClosed(): boolean {
    return this.#closed;
  }
}
