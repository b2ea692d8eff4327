// The stack while it is edited: what the controller read from the file, the draft of one agent, and what the last press
// came to. It outlives the tab, so that looking at another screen loses nothing that was typed; it ends with the window.

import { asApiError, type Backend } from "../../lib/backend/backend";
import type { AgentForm, ApiError, Applied, Edited, EditRequest, Plan, PlanRequest, StackEdit, StackForm, StackProblem } from "../../lib/backend/types";
import { Asking } from "./asking.svelte";
import { blankDraft, changes, draftOf, edits, isChanged, nameProblem, rebase, type Draft } from "./draft";

const WHAT_IF_REST = 300;

export interface Open {
  readonly draft: Draft;
  /** What the draft began as; for a new agent what it was proposed as. */
  readonly began: Draft;
  /** Null for an agent that is not in the file. */
  readonly form: AgentForm | null;
  /** Of the text that it is made on. */
  readonly hash: string;
}

/** What a press came to, until the next one. */
export interface Said {
  readonly text: string;
  readonly kept: string | null;
  readonly restarts: readonly string[];
  readonly undo: readonly StackEdit[] | null;
}

export class Editing {
  form = $state.raw<StackForm | null>(null);
  /** Why the form could not be read. */
  unread = $state.raw<ApiError | null>(null);
  open = $state.raw<Open | null>(null);
  said = $state.raw<Said | null>(null);
  /** Why the last press was not done. */
  refused = $state.raw<readonly StackProblem[]>([]);
  error = $state.raw<ApiError | null>(null);
  saving = $state(false);
  readonly asking: Asking<EditRequest, Edited>;
  /** The same of another context or cache, with what it does to a profile. */
  readonly whatIf: Asking<PlanRequest, Plan>;

  readonly #backend: Backend;

  constructor(backend: Backend) {
    this.#backend = backend;
    this.whatIf = new Asking((request) => backend.call("plan", request), WHAT_IF_REST);
    this.asking = new Asking(async (request) => {
      try {
        return await backend.call("edit_stack", { ...request, dry_run: true });
      } catch (thrown) {
        // Somebody else changed the file, perhaps in nothing that the state shows.
        if (asApiError(thrown).code === "busy") await this.load();
        throw thrown;
      }
    });
  }

  // Getters and not derived values: those would end with the tab in which they were first made.

  /** The file changed under the draft. */
  get stale(): boolean {
    return this.open !== null && this.form !== null && this.open.hash !== this.form.hash;
  }

  get dirty(): boolean {
    return this.open !== null && isChanged(this.open.draft, this.open.began);
  }

  async load(): Promise<void> {
    try {
      this.form = await this.#backend.call("stack_form", {});
      this.unread = null;
    } catch (thrown) {
      this.unread = asApiError(thrown);
    }
  }

  edit(agent: string): void {
    const form = this.form?.agents.find((a) => a.agent === agent);
    if (form === undefined || this.form === null) return;
    const draft = draftOf(form);
    this.#begin({ draft, began: draft, form, hash: this.form.hash });
  }

  add(): void {
    if (this.form === null) return;
    const draft = blankDraft(this.form);
    this.#begin({ draft, began: draft, form: null, hash: this.form.hash });
  }

  #begin(open: Open): void {
    this.#clear();
    this.open = open;
    this.asking.want(null);
  }

  change(to: Partial<Draft>): void {
    if (this.open === null) return;
    this.open = { ...this.open, draft: { ...this.open.draft, ...to } };
    this.refused = [];
    this.error = null;
    this.look();
  }

  /** Ask what would come of the draft. */
  look(): void {
    const { open } = this;
    if (open === null || this.stale || !this.dirty || !this.#sound(open)) {
      this.asking.want(null);
      return;
    }
    const made = this.#edits(open);
    this.asking.want(made.length === 0 ? null : { hash: open.hash, edits: made, dry_run: true });
  }

  /** Whether everything typed can be read at all; if not, there is nothing to ask about yet. */
  #sound(open: Open): boolean {
    const base = open.form === null ? null : open.began;
    if (Object.keys(changes(open.draft, base).wrong).length > 0) return false;
    return open.form !== null || nameProblem(open.draft.agent, this.#names()) === null;
  }

  get sound(): boolean {
    return this.open !== null && this.#sound(this.open);
  }

  #edits(open: Open): StackEdit[] {
    return edits(open.draft, open.form === null ? null : open.began);
  }

  #names(): string[] {
    return this.form?.agents.map((a) => a.agent) ?? [];
  }

  /** The draft goes on upon the text that the file has now. */
  takeNew(): void {
    const { open, form } = this;
    if (open === null || form === null) return;
    const found = open.form === null ? undefined : form.agents.find((a) => a.agent === open.draft.agent);
    if (open.form === null || found === undefined) {
      // Somebody took it out of the file; saving puts it there again, with everything that it had.
      const began = blankDraft(form);
      this.open = { draft: { ...open.draft, profiles: open.draft.profiles.filter((p) => form.profiles.some((q) => q.name === p)) }, began, form: null, hash: form.hash };
    } else {
      const began = draftOf(found);
      this.open = { draft: rebase(open.draft, open.began, began), began, form: found, hash: form.hash };
    }
    this.error = null;
    this.look();
  }

  close(): void {
    this.open = null;
    this.asking.want(null);
    this.#clear();
  }

  #clear(): void {
    this.refused = [];
    this.error = null;
    this.said = null;
  }

  async save(): Promise<boolean> {
    const { open } = this;
    if (open === null || !this.#sound(open)) return false;
    const who = open.draft.texts.name === "" ? open.draft.agent : open.draft.texts.name;
    const done = await this.press(this.#edits(open), open.form === null ? `${who} is added.` : `${who} is saved.`, null, open.hash);
    if (done) {
      this.open = null;
      this.asking.want(null);
    }
    return done;
  }

  /** Would these hold? Asked before something is done whose consequence is to be shown first. */
  async dry(made: readonly StackEdit[]): Promise<Edited | null> {
    if (this.form === null) return null;
    try {
      return await this.#backend.call("edit_stack", { hash: this.form.hash, edits: [...made], dry_run: true });
    } catch (thrown) {
      this.error = asApiError(thrown);
      return null;
    }
  }

  /** Write the edits. True when they are in the file. */
  async press(made: readonly StackEdit[], text: string, undo: readonly StackEdit[] | null = null, hash = this.form?.hash ?? ""): Promise<boolean> {
    if (this.saving) return false;
    this.saving = true;
    this.#clear();
    try {
      const edited = await this.#backend.call("edit_stack", { hash, edits: [...made], dry_run: false });
      if (edited.saved) this.said = { text, kept: edited.kept, restarts: edited.restarts, undo };
      else this.refused = edited.problems;
      return edited.saved;
    } catch (thrown) {
      const error = asApiError(thrown);
      this.error = error.code === "busy" ? { ...error, next: "It was read again; look at it, and do it once more." } : error;
      return false;
    } finally {
      this.saving = false;
      // After a no as well: the file may be another one by now, and then that is the reason.
      await this.load();
      if (this.stale) this.error = null;
    }
  }

  async apply(): Promise<Applied | null> {
    try {
      const applied = await this.#backend.call("apply_stack", {});
      if (this.said !== null) this.said = { ...this.said, restarts: applied.busy };
      return applied;
    } catch (thrown) {
      this.error = asApiError(thrown);
      return null;
    }
  }
}

const kept = new WeakMap<Backend, Editing>();

/** The one of this window. */
export function editingOf(backend: Backend): Editing {
  const known = kept.get(backend) ?? new Editing(backend);
  kept.set(backend, known);
  return known;
}

/** What puts a removed agent back: its keys, its place, and every profile as it was. */
export function undoRemoval(form: StackForm, agent: string): StackEdit[] {
  const removed = form.agents.find((a) => a.agent === agent);
  if (removed === undefined) return [];
  return [
    { edit: "add_agent", agent, keys: removed.written, profiles: [] },
    { edit: "order_agents", agents: form.agents.map((a) => a.agent) },
    ...form.profiles.filter((p) => p.agents.includes(agent)).map((p): StackEdit => ({ edit: "put_profile", profile: p.name, agents: p.agents })),
  ];
}
