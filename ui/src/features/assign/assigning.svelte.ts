// One opening of the dialog: the stack as it was read, the choice, what it would come to, and what the press came to.

import { asApiError, type Backend } from "../../lib/backend/backend";
import type { ApiError, AssignPreview, AssignRequest, Edited, StackForm } from "../../lib/backend/types";
import { nameProblem } from "../agents/draft";
import type { Wrong } from "../agents/quantities";
import { type Choice, choiceOf, freshChoice, type Model, pointable, portOf, requestOf } from "./choice";
import { Latest } from "./latest.svelte";

export class Assigning {
  form = $state.raw<StackForm | null>(null);
  unread = $state.raw<ApiError | null>(null);
  choice = $state.raw<Choice | null>(null);
  saving = $state(false);
  saved = $state.raw<Edited | null>(null);
  refused = $state.raw<ApiError | null>(null);
  readonly asking: Latest<AssignRequest, AssignPreview>;

  readonly #backend: Backend;

  constructor(
    backend: Backend,
    readonly model: Model,
    private readonly active: () => string | null,
  ) {
    this.#backend = backend;
    this.asking = new Latest(async (request) => {
      try {
        return await backend.call("assign_preview", request);
      } catch (thrown) {
        if (asApiError(thrown).code !== "busy") throw thrown;
        // Somebody else saved the file: the choice goes on upon what stands there now.
        await this.#read();
        return backend.call("assign_preview", { ...request, hash: this.form?.hash ?? request.hash });
      }
    });
  }

  /** Reads the stack, and begins with `agent`, or with the first that there is. */
  async begin(agent: string | null): Promise<void> {
    await this.#read();
    if (this.form === null) return;
    const known = pointable(this.form);
    // Who has the model already is who is meant.
    const first = known.find((a) => a.agent === agent) ?? known.find((a) => a.written["model"] === this.model.model) ?? known[0];
    if (first === undefined) this.startNew([]);
    else this.pick(first.agent);
  }

  async #read(): Promise<void> {
    try {
      this.form = await this.#backend.call("stack_form", {});
      this.unread = null;
    } catch (thrown) {
      this.unread = asApiError(thrown);
    }
  }

  pick(agent: string): void {
    const found = this.form?.agents.find((a) => a.agent === agent);
    if (found === undefined || this.form === null) return;
    this.#turn(choiceOf(found, this.form, this.model.model, this.active()));
  }

  startNew(dressed: readonly { readonly glyph: string | null; readonly color: string | null }[]): void {
    if (this.form === null) return;
    this.#turn(freshChoice(this.form, dressed, this.active()));
  }

  change(to: Partial<Choice>): void {
    if (this.choice === null) return;
    this.#turn({ ...this.choice, ...to });
  }

  #turn(choice: Choice): void {
    this.choice = choice;
    this.refused = null;
    this.saved = null;
    if (this.form !== null) this.asking.want(requestOf(choice, this.form, this.model));
  }

  /** What is wrong with what was typed for a new agent. */
  get wrong(): { readonly name: Wrong | null; readonly port: Wrong | null } {
    const fresh = this.choice?.fresh ?? null;
    if (fresh === null || this.form === null) return { name: null, port: null };
    const names = this.form.agents.map((a) => a.agent);
    const name = fresh.name === "" ? null : nameProblem(fresh.name, names);
    const port = fresh.port.trim() === "" || portOf(fresh.port) !== null ? null : { message: `${JSON.stringify(fresh.port)} is not a port.`, next: "Write a number from 1024 to 65535." };
    return { name, port };
  }

  /** Whether a press would write something that holds, as far as the answers go. */
  get ready(): boolean {
    const { choice, wrong } = this;
    const preview = this.asking.answer;
    if (choice === null || preview === null || this.saving || this.asking.error !== null) return false;
    return (choice.fresh === null || choice.fresh.name !== "") && wrong.name === null && wrong.port === null && preview.problems.length === 0;
  }

  async save(): Promise<boolean> {
    // What was chosen last is what is pressed for.
    await this.asking.settled();
    const { choice, form } = this;
    if (choice === null || form === null || !this.ready) return false;
    this.saving = true;
    this.refused = null;
    try {
      const edited = await this.#backend.call("assign", requestOf(choice, form, this.model));
      if (edited.saved) this.saved = edited;
      else {
        const first = edited.problems[0];
        this.refused = { code: "stack", message: first?.message ?? "It could not be saved.", next: first?.next ?? "" };
      }
      return edited.saved;
    } catch (thrown) {
      const error = asApiError(thrown);
      this.refused = error.code === "busy" ? { ...error, next: "It was read again; look at it, and press once more." } : error;
      if (error.code === "busy") {
        await this.#read();
        if (this.form !== null) this.asking.want(requestOf(choice, this.form, this.model));
      }
      return false;
    } finally {
      this.saving = false;
    }
  }
}
