// The controller's state as the window last fetched it. It is replaced whole, never edited: the controller owns it.

import { asApiError, type Backend, type OpenStream } from "../backend/backend";
import type { AgentState, AgentStatus, ApiError, Event, Pool, ProfileView, Status } from "../backend/types";
import { GB, unitFor, type Unit } from "../format";
import { dressed } from "../hues";
import { announcements, type Announcement } from "./announcements";
import { Refresher } from "./refresher";

/** At most about five fetches a second, however fast things change. */
const GAP = 200;
const RETRY = [500, 1_000, 2_000, 4_000] as const;
const EVENTS = 60;
const TREND = 60;

export class Live {
  status = $state.raw<Status | null>(null);
  profiles = $state.raw<readonly ProfileView[]>([]);
  events = $state.raw<readonly Event[]>([]);
  /** Why the controller cannot be reached; null while it can. What is on the screen is then the last that was known. */
  lost = $state.raw<ApiError | null>(null);
  /** For each agent the last speeds, one a second; only for the little curve on its card. */
  trends = $state.raw<Readonly<Record<string, readonly number[]>>>({});
  announced = $state.raw<{ readonly polite: string; readonly urgent: string }>({ polite: "", urgent: "" });
  /** Counts every change that was fetched, for those who fetch something of their own. */
  revision = $state(0);

  readonly pool: Pool | null = $derived(this.status?.pools[0] ?? null);
  readonly unit: Unit = $derived(this.pool === null ? GB : unitFor(this.pool.capacity_bytes));
  readonly agents: ReadonlyMap<string, AgentStatus> = $derived(
    new Map((this.status?.agents ?? []).map((a) => [a.name, a])),
  );
  readonly states: ReadonlyMap<string, AgentState> = $derived(
    new Map((this.status?.agents ?? []).map((a) => [a.name, a.state])),
  );
  /** Whether something is switching, starting or stopping: the aurora shows then, and only then. */
  readonly changing: boolean = $derived(
    this.status !== null &&
      (this.status.switching !== null ||
        this.status.agents.some((a) => !["asleep", "ready", "busy", "failed"].includes(a.state))),
  );

  readonly #backend: Backend;
  readonly #refresher: Refresher;
  #watch: OpenStream | null = null;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #attempt = 0;
  #stopped = false;
  #sampled = 0;

  constructor(backend: Backend) {
    this.#backend = backend;
    this.#refresher = new Refresher(() => this.#fetch(), GAP);
  }

  start(): void {
    this.#stopped = false;
    this.#open();
  }

  stop(): void {
    this.#stopped = true;
    this.#refresher.stop();
    this.#watch?.close();
    if (this.#retry !== null) clearTimeout(this.#retry);
  }

  /** Try again at once. */
  reconnect(): void {
    if (this.lost === null) return;
    this.#attempt = 0;
    this.#open();
  }

  /** Say something that is no change of state: a finished reply. */
  announce(text: string, urgent = false): void {
    this.#tell([{ text, urgent }]);
  }

  #open(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    this.#watch?.close();
    const watch = this.#backend.stream("watch", {}, () => {
      if (this.#watch === watch) this.#refresher.request();
    });
    this.#watch = watch;
    this.#refresher.request();
    watch.done.then(
      () => {
        if (this.#watch === watch) this.#lose(null);
      },
      (error: unknown) => {
        if (this.#watch === watch) this.#lose(asApiError(error));
      },
    );
  }

  #lose(error: ApiError | null): void {
    this.#watch = null;
    if (this.#stopped) return;
    this.lost = error ?? {
      code: "unreachable",
      message: "The controller has ended.",
      next: "Start it again with asgard serve, or open Asgard again. Agents that run keep running.",
    };
    const wait = RETRY[Math.min(this.#attempt, RETRY.length - 1)] ?? 4_000;
    this.#attempt += 1;
    this.#retry = setTimeout(() => {
      this.#open();
    }, wait);
  }

  /** What the page shows, read again now: for a press on something that the last reading holds back. */
  look(): Promise<void> {
    return this.#fetch();
  }

  async #fetch(): Promise<void> {
    try {
      const [told, profiles, events] = await Promise.all([
        this.#backend.call("status", {}),
        this.#backend.call("profiles", {}),
        this.#backend.call("events", { limit: EVENTS }),
      ]);
      // The one thing that is the window's own: a colour for those to whom the stack gives none.
      const status = { ...told, agents: dressed(told.agents) };
      const returned = this.lost !== null;
      if (returned) this.trends = {};
      this.#tell(announcements(returned ? null : this.status, status));
      this.#sample(status);
      this.status = status;
      this.profiles = profiles.profiles;
      this.events = events.events;
      this.lost = null;
      this.#attempt = 0;
      this.revision += 1;
    } catch (thrown) {
      const error = asApiError(thrown);
      if (this.status === null || error.code === "unreachable") this.lost = error;
    }
  }

  #tell(what: readonly Announcement[]): void {
    if (what.length === 0) return;
    const join = (urgent: boolean): string =>
      what
        .filter((a) => a.urgent === urgent)
        .map((a) => (/[.!?]$/.test(a.text) ? a.text : `${a.text}.`))
        .join(" ");
    // Equal text would not be read again, so the other region keeps what it had only when there is nothing new for it.
    this.announced = { polite: join(false) || this.announced.polite, urgent: join(true) || this.announced.urgent };
  }

  #sample(status: Status): void {
    const now = performance.now();
    if (now - this.#sampled < 900) return;
    this.#sampled = now;
    const trends: Record<string, readonly number[]> = {};
    for (const agent of status.agents) {
      if (agent.state !== "ready" && agent.state !== "busy") continue;
      const known = this.trends[agent.name] ?? [];
      if (known.length === 0 && agent.tokens_per_second === null) continue;
      trends[agent.name] = [...known, agent.tokens_per_second ?? 0].slice(-TREND);
    }
    this.trends = trends;
  }
}
