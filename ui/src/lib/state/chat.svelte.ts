// The conversations on the screen. The controller keeps them and asks the agents; a reply goes on when this looks away.

import { SvelteMap, SvelteSet } from "svelte/reactivity";
import { asApiError, type Backend, type OpenStream } from "../backend/backend";
import type { ApiError, Conversation, ConversationSummary, ReplyChunk } from "../backend/types";
import type { Actions } from "./actions.svelte";
import type { Live } from "./live.svelte";
import { Refresher } from "./refresher";
import { applyChunk, unsent, withoutLastReply } from "./reply";

export class Chat {
  summaries = $state.raw<readonly ConversationSummary[] | null>(null);
  open = $state.raw<Conversation | null>(null);
  /** Why the last message of the open conversation was not sent. */
  failure = $state.raw<ApiError | null>(null);
  /** Conversations whose message waits for its agent to be awake. */
  readonly waking = new SvelteSet<number>();
  /** What is typed and not sent, for each conversation. */
  readonly drafts = new SvelteMap<number, string>();
  readonly replying: boolean = $derived(this.open?.messages.at(-1)?.state === "streaming" || this.open?.replying === true);

  #stream: OpenStream | null = null;
  /** Counts what was asked to be on the screen, so that a late answer does not replace a later wish. */
  #wish = 0;
  readonly #list: Refresher;

  constructor(
    private readonly backend: Backend,
    private readonly actions: Actions,
    private readonly live: Live,
  ) {
    this.#list = new Refresher(() => this.#fetchList(), 1_500);
  }

  /** Look at the list again, soon. */
  refresh(): void {
    this.#list.request();
  }

  async #fetchList(): Promise<void> {
    try {
      const { conversations } = await this.backend.call("conversations", {});
      this.summaries = conversations;
    } catch (thrown) {
      const error = asApiError(thrown);
      // A controller that is gone has a banner of its own.
      if (error.code !== "unreachable") this.actions.report(error);
      return;
    }
    const shown = this.open;
    if (shown === null || this.#stream !== null) return;
    const now = this.summaries.find((s) => s.id === shown.id);
    if (now === undefined) this.open = null;
    // Somebody else (a terminal) wrote in it.
    else if (now.updated !== shown.updated || now.replying !== shown.replying) await this.show(shown.id);
  }

  async show(id: number): Promise<void> {
    this.#leave();
    this.#wish += 1;
    const wish = this.#wish;
    if (this.open?.id !== id) this.failure = null;
    try {
      const conversation = await this.backend.call("conversation", { conversation: id });
      // Something else was opened or begun meanwhile.
      if (wish !== this.#wish) return;
      this.open = conversation;
      if (conversation.replying) {
        this.#attach(id, this.backend.stream("follow_reply", { conversation: id }, (c) => { this.#take(id, c); }));
      }
    } catch (thrown) {
      this.actions.report(asApiError(thrown));
    }
  }

  /** The latest conversation with an agent, or a new one. */
  async talkTo(agent: string): Promise<void> {
    if (this.summaries === null) await this.#fetchList();
    const latest = this.summaries?.find((s) => s.agent === agent);
    if (latest !== undefined) await this.show(latest.id);
    else await this.create(agent);
  }

  async create(agent: string, draft = ""): Promise<number | null> {
    const conversation = await this.actions.ask("new_conversation", "new_conversation", { agent });
    if (conversation === null) return null;
    this.#wish += 1;
    this.#leave();
    this.failure = null;
    this.open = conversation;
    if (draft !== "") this.drafts.set(conversation.id, draft);
    this.refresh();
    return conversation.id;
  }

  async remove(id: number): Promise<void> {
    if ((await this.actions.ask(`delete:${String(id)}`, "delete_conversation", { conversation: id })) === null) return;
    this.drafts.delete(id);
    this.summaries = (this.summaries ?? []).filter((s) => s.id !== id);
    if (this.open?.id === id) {
      this.#leave();
      this.open = null;
    }
    this.refresh();
  }

  send(text: string): void {
    const shown = this.open;
    if (shown === null || text.trim() === "") return;
    this.failure = null;
    this.drafts.delete(shown.id);
    this.open = { ...shown, messages: [...shown.messages, unsent(text, new Date())] };
    this.#reply(shown.id, text, "send");
  }

  retry(): void {
    const shown = this.open;
    if (shown === null) return;
    this.failure = null;
    this.#reply(shown.id, "", "retry");
  }

  /** Wake the agent, then send. Leaving the conversation does not cancel it; a refusal keeps the text. */
  async wakeAndSend(text: string): Promise<void> {
    const shown = this.open;
    if (shown === null) return;
    const { id, agent } = shown;
    this.waking.add(id);
    this.drafts.set(id, text);
    const outcome = await this.actions.ask(`start:${agent}`, "start", { agent });
    this.waking.delete(id);
    if (outcome?.result !== "done") return;
    const waiting = this.drafts.get(id) ?? "";
    if (this.open?.id !== id) await this.show(id);
    this.send(waiting);
  }

  async stop(): Promise<void> {
    const shown = this.open;
    if (shown !== null) await this.actions.ask("stop_reply", "stop_reply", { conversation: shown.id });
  }

  #reply(id: number, text: string, how: "send" | "retry"): void {
    this.#wish += 1;
    this.#leave();
    let begun = false;
    const take = (chunk: ReplyChunk): void => {
      if (!begun && how === "retry" && this.open?.id === id) {
        this.open = { ...this.open, messages: withoutLastReply(this.open.messages) };
      }
      begun = true;
      this.#take(id, chunk);
    };
    const stream =
      how === "send"
        ? this.backend.stream("send", { conversation: id, text }, take)
        : this.backend.stream("retry", { conversation: id }, take);
    this.#attach(id, stream, (error) => {
      if (this.open?.id === id) this.failure = error;
      // What never arrived at the controller is given back to be sent again.
      if (!begun && how === "send") this.drafts.set(id, text);
    });
  }

  #attach(id: number, stream: OpenStream, failed: (error: ApiError) => void = () => undefined): void {
    this.#stream = stream;
    const over = (): void => {
      if (this.#stream !== stream) return;
      this.#stream = null;
      // The conversation as it was kept, with its ids.
      if (this.open?.id === id) void this.show(id);
      this.refresh();
    };
    stream.done.then(over, (thrown: unknown) => {
      if (this.#stream === stream) failed(asApiError(thrown));
      over();
    });
  }

  #take(id: number, chunk: ReplyChunk): void {
    const shown = this.open;
    if (shown?.id !== id) return;
    this.open = { ...shown, replying: chunk.kind !== "done", messages: applyChunk(shown.messages, chunk) };
    if (chunk.kind === "started") this.refresh();
    if (chunk.kind === "done") this.#told(shown.agent, chunk.message.text, chunk.message.state);
  }

  /** The finished message, once; never word by word. */
  #told(agent: string, text: string, state: string): void {
    const name = this.live.agents.get(agent)?.display_name ?? agent;
    if (state === "done") this.live.announce(`${name}: ${text}`);
    else this.live.announce(state === "stopped" ? `${name} was stopped` : `${name}'s reply broke off`, state === "failed");
  }

  #leave(): void {
    const stream = this.#stream;
    this.#stream = null;
    stream?.close();
  }
}
