// Which screen is open, and what is previewed on the memory bar. Nothing here outlives the window.

import type { Plan } from "../backend/types";
import type { RequestFilter } from "./requests.svelte";

export const SCREENS = ["stack", "chat", "models", "activity", "settings"] as const;
export type Screen = (typeof SCREENS)[number];

export const MODELS_TABS = ["installed", "discover", "downloads"] as const;
export type ModelsTab = (typeof MODELS_TABS)[number];

export const SETTINGS_TABS = ["general", "agents", "stack", "engines", "gateway", "tools", "readiness"] as const;
export type SettingsTab = (typeof SETTINGS_TABS)[number];

export interface Preview {
  /** "With odin" */
  readonly label: string;
  readonly plan: Plan;
  /** Shown in the place of what is, and not below it. */
  readonly alone?: boolean;
}

export class View {
  screen = $state<Screen>("stack");
  /** The agent whose log Activity shows. */
  logAgent = $state<string | null>(null);
  activityTab = $state<"requests" | "logs" | "events">("requests");
  /** Whether Activity shall open at its list and not at the pictures. */
  activityJump = $state(false);
  /** Whose requests Activity lists. */
  requests = $state.raw<RequestFilter>({ agent: null, client: null });
  /** How many hours back Activity's pictures go. */
  historyHours = $state(24);
  /** Whether the figures of each agent are unfolded there. */
  figures = $state(false);
  modelsTab = $state<ModelsTab>("installed");
  /** Whether the dialog about the Hub's token is open. */
  hubToken = $state(false);
  /** Another limit than the one in force, while somebody chooses it; bytes. */
  limit = $state<number | null>(null);
  settingsTab = $state<SettingsTab>("general");
  /** Whether the panel with what others run is open. */
  neighbours = $state(false);
  /** Under the pointer or the focus; wins over a screen's own. */
  hovered = $state.raw<Preview | null>(null);
  /** What the open screen proposes: the chat of an agent that is asleep. */
  proposed = $state.raw<Preview | null>(null);
  readonly preview: Preview | null = $derived(this.hovered ?? this.proposed);

  go(screen: Screen): void {
    this.hovered = null;
    this.screen = screen;
  }

  showLog(agent: string): void {
    this.logAgent = agent;
    this.showList("logs");
  }

  showModels(tab: ModelsTab): void {
    this.modelsTab = tab;
    this.go("models");
  }

  showList(tab: View["activityTab"]): void {
    this.activityTab = tab;
    this.activityJump = true;
    this.go("activity");
  }
}
