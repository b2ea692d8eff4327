// What others run, as it was read last. One for the window: the panel on Stack and the section in Settings show the same.

import { asApiError, type Backend } from "../../lib/backend/backend";
import type { ApiError, Neighbour, Neighbours } from "../../lib/backend/types";
import type { Actions } from "../../lib/state/actions.svelte";

export class Neighbourhood {
  list = $state.raw<readonly Neighbour[] | null>(null);
  /** Why it could not be read. */
  unread = $state.raw<ApiError | null>(null);
  reading = $state(false);
  readonly #backend: Backend;
  #turn = 0;

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  async load(): Promise<void> {
    this.#turn += 1;
    const turn = this.#turn;
    this.reading = true;
    try {
      const { neighbours } = await this.#backend.call("neighbours", {});
      if (turn !== this.#turn) return;
      this.list = neighbours;
      this.unread = null;
    } catch (thrown) {
      if (turn === this.#turn) this.unread = asApiError(thrown);
    } finally {
      if (turn === this.#turn) this.reading = false;
    }
  }

  /** An answer is newer than whatever is being read. */
  take(answer: Neighbours | null): boolean {
    if (answer === null) return false;
    this.#turn += 1;
    this.reading = false;
    this.list = answer.neighbours;
    this.unread = null;
    return true;
  }

  /** Takes the adoption of an agent's server back; the server runs on. */
  async leave(agent: string, actions: Actions): Promise<void> {
    this.take(
      await actions.run(`leave:${agent}`, async (backend) => {
        const { neighbours } = await backend.call("neighbours", {});
        const found = neighbours.find((n) => n.agent === agent && n.answer === "adopted");
        if (found === undefined) return { neighbours };
        return backend.call("undo_neighbour", { id: found.id });
      }),
    );
  }
}

const kept = new WeakMap<Backend, Neighbourhood>();

export function neighbourhoodOf(backend: Backend): Neighbourhood {
  const known = kept.get(backend) ?? new Neighbourhood(backend);
  kept.set(backend, known);
  return known;
}
