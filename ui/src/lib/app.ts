// What every component may ask for, handed down by context so that a test can hand down something else.

import { createContext } from "svelte";
import type { Backend } from "./backend/backend";
import { Actions } from "./state/actions.svelte";
import { Chat } from "./state/chat.svelte";
import { FirstSteps } from "./state/firstrun.svelte";
import { Live } from "./state/live.svelte";
import { Appearance } from "./state/look.svelte";
import { Models } from "./state/models.svelte";
import { View } from "./state/view.svelte";

export interface App {
  readonly backend: Backend;
  readonly live: Live;
  readonly actions: Actions;
  readonly look: Appearance;
  readonly view: View;
  readonly chat: Chat;
  readonly first: FirstSteps;
  readonly models: Models;
}

export function createApp(backend: Backend): App {
  const live = new Live(backend);
  const actions = new Actions(backend);
  return {
    backend,
    live,
    actions,
    look: new Appearance(backend),
    view: new View(),
    chat: new Chat(backend, actions, live),
    first: new FirstSteps(backend),
    models: new Models(backend),
  };
}

export const [getApp, setApp] = createContext<App>();
