// A search of the Hub: first its page, then each model again as its files were looked at. The last question wins, and a
// question before it is closed.

import { asApiError, type Backend, type OpenStream } from "../backend/backend";
import type { ApiError, HubModel, SearchRequest, SearchSort } from "../backend/types";

const REST = 400;

export interface Filters {
  readonly backend: string | null;
  readonly quantization: string | null;
  readonly works_here: boolean;
  readonly fits: boolean;
  readonly open_licence: boolean;
  readonly sort: SearchSort;
}

export const NO_FILTERS: Filters = { backend: null, quantization: null, works_here: false, fits: false, open_licence: false, sort: "trending" };

/** The models with one in the place of that of the same repository. */
export function withModel(models: readonly HubModel[], model: HubModel): readonly HubModel[] {
  return models.some((m) => m.repo === model.repo) ? models.map((m) => (m.repo === model.repo ? model : m)) : models;
}

/** A further page behind what is known; a repository that moved between two pages stands once. */
export function withPage(models: readonly HubModel[], page: readonly HubModel[]): readonly HubModel[] {
  const known = new Set(models.map((m) => m.repo));
  const fresh: HubModel[] = [];
  for (const model of page) {
    if (known.has(model.repo)) continue;
    known.add(model.repo);
    fresh.push(model);
  }
  return [...models, ...fresh];
}

export class Searching {
  text = $state("");
  filters = $state.raw<Filters>(NO_FILTERS);
  /** What the last question found; null while nothing of it has come, and where nothing was asked. */
  found = $state.raw<readonly HubModel[] | null>(null);
  curated = $state.raw<readonly HubModel[] | null>(null);
  checkedFor = $state.raw<string | null>(null);
  from = $state.raw<string | null>(null);
  error = $state.raw<ApiError | null>(null);
  /** Whether a question is open: its page, or the files of its models. */
  busy = $state(false);
  cursor = $state.raw<string | null>(null);

  readonly #backend: Backend;
  readonly #rest: number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stream: OpenStream | null = null;
  #asked = "";

  constructor(backend: Backend, rest = REST) {
    this.#backend = backend;
    this.#rest = rest;
  }

  /** Whether something is searched for, not what ships with Asgard. */
  get searching(): boolean {
    return this.text.trim() !== "";
  }

  type(text: string): void {
    this.text = text;
    clearTimeout(this.#timer);
    if (!this.searching) {
      this.#clear();
      return;
    }
    this.#timer = setTimeout(() => { this.now(); }, this.#rest);
  }

  filter(change: Partial<Filters>): void {
    this.filters = { ...this.filters, ...change };
    if (this.searching) this.now();
  }

  /** At once, unless the very same is on its way or here. */
  now(again = false): void {
    clearTimeout(this.#timer);
    if (!this.searching) return;
    const question = JSON.stringify([this.text.trim(), this.filters]);
    if (!again && question === this.#asked && this.error === null) return;
    this.#asked = question;
    this.found = null;
    this.cursor = null;
    this.#open(null);
  }

  more(): void {
    if (this.cursor !== null && !this.busy) this.#open(this.cursor);
  }

  /** What ships with Asgard; known without a network, so it is asked for but once a while. */
  async lookCurated(): Promise<void> {
    try {
      const told = await this.#backend.call("curated_models", {});
      this.curated = told.models;
      this.checkedFor = told.checked_for;
      if (!this.searching) this.error = null;
    } catch (thrown) {
      if (!this.searching) this.error = asApiError(thrown);
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#stream?.close();
    this.#stream = null;
    this.busy = false;
  }

  #clear(): void {
    this.close();
    this.#asked = "";
    this.found = null;
    this.cursor = null;
    this.error = null;
  }

  #open(cursor: string | null): void {
    this.#stream?.close();
    this.busy = true;
    this.error = null;
    const request: SearchRequest = { ...this.filters, text: this.text.trim(), cursor };
    const stream = this.#backend.stream("search_models", request, (chunk) => {
      if (this.#stream !== stream) return;
      if (chunk.kind === "model") {
        this.found = this.found === null ? null : withModel(this.found, chunk.model);
        return;
      }
      this.found = withPage(cursor === null ? [] : (this.found ?? []), chunk.models);
      this.cursor = chunk.cursor;
      this.checkedFor = chunk.checked_for;
      this.from = chunk.from;
    });
    this.#stream = stream;
    stream.done.then(
      () => {
        if (this.#stream === stream) this.busy = false;
      },
      (thrown: unknown) => {
        if (this.#stream !== stream) return;
        this.busy = false;
        this.error = asApiError(thrown);
      },
    );
  }
}
