// Light, dark, or as the desktop has it.

import type { Backend } from "../backend/backend";

export type Look = "system" | "light" | "dark";
const KEY = "look";

function isLook(value: unknown): value is Look {
  return value === "system" || value === "light" || value === "dark";
}

export class Appearance {
  choice = $state<Look>("system");
  #desktopLight = $state(false);
  readonly shown: "light" | "dark" = $derived(
    this.choice === "system" ? (this.#desktopLight ? "light" : "dark") : this.choice,
  );
  readonly #backend: Backend;

  constructor(backend: Backend) {
    this.#backend = backend;
    const media = window.matchMedia("(prefers-color-scheme: light)");
    this.#desktopLight = media.matches;
    media.addEventListener("change", (change) => {
      this.#desktopLight = change.matches;
      this.#apply();
    });
  }

  async load(): Promise<void> {
    const kept = await this.#backend.preference(KEY).catch(() => null);
    if (isLook(kept)) this.choice = kept;
    this.#apply();
  }

  choose(look: Look): void {
    this.choice = look;
    this.#apply();
    // A preference that could not be kept is no reason to interrupt; it holds until the window closes.
    this.#backend.setPreference(KEY, look).catch(() => undefined);
  }

  toggle(): void {
    this.choose(this.shown === "dark" ? "light" : "dark");
  }

  #apply(): void {
    document.documentElement.dataset["theme"] = this.shown;
    try {
      // For theme.js, before the next first paint.
      if (this.choice === "system") localStorage.removeItem("asgard.look");
      else localStorage.setItem("asgard.look", this.choice);
    } catch {
      // Storage may be closed to the page.
    }
  }
}
