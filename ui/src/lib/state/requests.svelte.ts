// What crosses Bifrost, for whoever looks: read while somebody can see it, and as often as it changes.

import { asApiError, type Backend } from "../backend/backend";
import type { ApiError, RequestRow } from "../backend/types";
import { Refresher } from "./refresher";

/** So many of those that ended are read at once. */
export const PAGE = 100;
const GAP = 500;
/** While something is under way its times run; else a look now and then catches what nobody told of. */
const RUNNING = 1_000;
const AT_REST = 5_000;

export interface RequestFilter {
  readonly agent: string | null;
  readonly client: string | null;
}

/**
 * The latest page joined with what was read before, the latest first and without a gap. Rows that ended never change,
 * so those that are known stay the very same.
 */
export function joined(known: readonly RequestRow[], page: readonly RequestRow[], whole: boolean): readonly RequestRow[] {
  const before = new Map(known.map((row) => [row.id, row]));
  const fresh = page.map((row) => before.get(row.id) ?? row);
  const last = page[page.length - 1];
  if (whole || last === undefined || last.id === null) return fresh;
  const oldest = last.id;
  // More came than a page holds since the last look: what lies between is not known, so what is older goes too.
  if (!known.some((row) => row.id !== null && row.id >= oldest)) return fresh;
  return [...fresh, ...known.filter((row) => row.id !== null && row.id < oldest)];
}

/** A name for each row. Requests under way have no number; two that look alike are told apart by their order. */
export function names(rows: readonly RequestRow[]): ReadonlyMap<RequestRow, string> {
  const seen = new Map<string, number>();
  return new Map(
    rows.map((row) => {
      if (row.id !== null) return [row, `ended ${String(row.id)}`];
      const alike = `${row.time} ${row.client} ${row.agent ?? ""}`;
      const nth = seen.get(alike) ?? 0;
      seen.set(alike, nth + 1);
      return [row, `${alike} ${String(nth)}`];
    }),
  );
}

export class RequestTable {
  underWay = $state.raw<readonly RequestRow[]>([]);
  /** Null until the first answer. */
  ended = $state.raw<readonly RequestRow[] | null>(null);
  /** Whether older ones are kept. */
  more = $state(false);
  error = $state.raw<ApiError | null>(null);
  held = $state(false);
  loading = $state(false);
  /** When the rows under way were read: their times left run from there. */
  readAt = $state(0);

  readonly #backend: Backend;
  readonly #visible: () => boolean;
  readonly #refresher: Refresher;
  #filter: RequestFilter = { agent: null, client: null };
  #asked = 0;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #closed = false;
  #open = false;

  constructor(backend: Backend, visible: () => boolean = () => document.visibilityState === "visible") {
    this.#backend = backend;
    this.#visible = visible;
    this.#refresher = new Refresher(() => this.#fetch(), GAP);
  }

  want(filter: RequestFilter): void {
    const same = this.#open && filter.agent === this.#filter.agent && filter.client === this.#filter.client;
    if (same) return;
    this.#filter = filter;
    if (this.#open) {
      // An answer that is on its way is of the filter before. What is held is held; another filter is another table.
      this.#asked += 1;
      this.ended = null;
      this.more = false;
      this.underWay = [];
    }
    this.#open = true;
    this.#refresher.request();
  }

  /** Something changed, or somebody looks again. */
  changed(): void {
    if (this.#open && !this.held && this.#visible()) this.#refresher.request();
  }

  hold(held: boolean): void {
    this.held = held;
    this.changed();
  }

  /** Reads the page before the oldest row; how many came, null where it failed. */
  async older(): Promise<number | null> {
    const oldest = this.ended?.at(-1)?.id ?? null;
    if (oldest === null || this.loading) return null;
    this.loading = true;
    const asked = this.#asked;
    const filter = this.#filter;
    try {
      const page = await this.#backend.call("requests", { limit: PAGE, before: oldest, ...filter });
      if (filter !== this.#filter || this.#closed) return null;
      // A look meanwhile may have dropped what these would stand behind.
      if (asked !== this.#asked && this.ended?.at(-1)?.id !== oldest) return null;
      this.ended = [...(this.ended ?? []), ...page.ended];
      this.more = page.ended.length >= PAGE;
      this.error = null;
      return page.ended.length;
    } catch (thrown) {
      if (!this.#closed) this.error = asApiError(thrown);
      return null;
    } finally {
      this.loading = false;
    }
  }

  close(): void {
    this.#closed = true;
    this.#refresher.stop();
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #fetch(): Promise<void> {
    this.#asked += 1;
    const asked = this.#asked;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    try {
      const told = await this.#backend.call("requests", { limit: PAGE, before: null, ...this.#filter });
      if (asked !== this.#asked || this.#closed) return;
      const whole = told.ended.length < PAGE;
      const rows = joined(this.ended ?? [], told.ended, whole);
      this.more = !whole && (rows.length > told.ended.length ? this.more : true);
      if (this.ended === null || rows.length !== this.ended.length || rows.some((row, i) => row !== this.ended?.[i])) this.ended = rows;
      this.underWay = told.under_way;
      this.readAt = Date.now();
      this.error = null;
    } catch (thrown) {
      if (asked !== this.#asked || this.#closed) return;
      this.error = asApiError(thrown);
    }
    this.#timer = setTimeout(() => {
      this.changed();
    }, this.underWay.length > 0 ? RUNNING : AT_REST);
  }
}

function byAgent(rows: readonly RequestRow[]): ReadonlyMap<string, readonly RequestRow[]> {
  const by = new Map<string, RequestRow[]>();
  for (const row of rows) by.set(row.agent ?? "", [...(by.get(row.agent ?? "") ?? []), row]);
  return by;
}

/** Who waits for whom, for the cards. */
export class Queue {
  waiting = $state.raw<readonly RequestRow[]>([]);
  readAt = $state(0);
  readonly #by = $derived(byAgent(this.waiting));

  readonly #backend: Backend;
  readonly #refresher: Refresher;

  constructor(backend: Backend) {
    this.#backend = backend;
    this.#refresher = new Refresher(() => this.#fetch(), RUNNING);
  }

  of(agent: string): readonly RequestRow[] {
    return this.#by.get(agent) ?? [];
  }

  changed(): void {
    this.#refresher.request();
  }

  close(): void {
    this.#refresher.stop();
  }

  async #fetch(): Promise<void> {
    try {
      const told = await this.#backend.call("requests", { limit: 1, before: null, agent: null, client: null });
      this.waiting = told.under_way.filter((row) => row.outcome === "waiting");
      this.readAt = Date.now();
    } catch {
      // The banner says what is wrong with the controller; a card says nothing rather than something old.
      this.waiting = [];
    }
  }
}
