// What is on the disk, what is coming, and the Hub's account, as the window last fetched them. They are the controller's:
// each is replaced whole, and read again when a revision says that something changed.

import { asApiError, type Answer, type Backend, type Command, type Payload } from "../backend/backend";
import type { ApiError, Download, Downloads, HubAccount, InstalledModels } from "../backend/types";
import { Refresher } from "./refresher";
import { Searching } from "./searching.svelte";
import { Verifying } from "./verifying.svelte";

/** Bars move twice a second at most. */
const DOWNLOADS_GAP = 500;
/** The cache is looked through for it, so it is not asked at every token of a busy agent. */
const INSTALLED_GAP = 2_000;

/** The answer to these is the queue itself. */
type QueueCommand = "pause_download" | "resume_download" | "cancel_download" | "forget_download" | "limit_downloads";

export class Models {
  installed = $state.raw<InstalledModels | null>(null);
  downloads = $state.raw<Downloads | null>(null);
  account = $state.raw<HubAccount | null>(null);
  installedError = $state.raw<ApiError | null>(null);
  downloadsError = $state.raw<ApiError | null>(null);
  /** When the queue was read: its times left run from there. */
  readAt = $state(0);

  readonly search: Searching;
  readonly verifying: Verifying;
  readonly #backend: Backend;
  readonly #installed: Refresher;
  readonly #downloads: Refresher;

  constructor(backend: Backend) {
    this.#backend = backend;
    this.search = new Searching(backend);
    this.verifying = new Verifying(backend, () => { this.lookInstalled(); });
    this.#installed = new Refresher(() => this.#fetchInstalled(), INSTALLED_GAP);
    this.#downloads = new Refresher(() => this.#fetchDownloads(), DOWNLOADS_GAP);
  }

  lookInstalled(): void {
    this.#installed.request();
  }

  lookDownloads(): void {
    this.#downloads.request();
  }

  /** The account is asked for when somebody opens what shows it; nothing else changes it. */
  async lookAccount(): Promise<void> {
    try {
      this.account = await this.#backend.call("hub_account", {});
    } catch {
      // Whoever needs a token meets the reason where it is given.
    }
  }

  /** Asks for a change of the queue, and shows the queue of the answer at once. */
  async change<K extends QueueCommand>(cmd: K, payload: Payload<K>): Promise<void> {
    const told: Answer<K> = await this.#backend.call(cmd as Command, payload) as Answer<K>;
    this.#take(told as Downloads);
  }

  stop(): void {
    this.#installed.stop();
    this.#downloads.stop();
    this.search.close();
    this.verifying.close();
  }

  #take(told: Downloads): void {
    this.downloads = told;
    this.readAt = Date.now();
    this.downloadsError = null;
  }

  async #fetchInstalled(): Promise<void> {
    try {
      this.installed = await this.#backend.call("installed_models", {});
      this.installedError = null;
    } catch (thrown) {
      this.installedError = asApiError(thrown);
    }
  }

  async #fetchDownloads(): Promise<void> {
    try {
      this.#take(await this.#backend.call("downloads", {}));
    } catch (thrown) {
      this.downloadsError = asApiError(thrown);
    }
  }
}

/** Whether it stands still until a person does something. */
export function needsPerson(download: Pick<Download, "state" | "problem">): boolean {
  return download.state === "failed" || (download.state !== "done" && (download.problem?.remedy ?? null) !== null && download.problem?.remedy !== "try_again");
}
