// A played controller in the page: for `npm run dev` and the browser tests. The address picks what it plays:
// #play=switching. It starts, stops and answers after a moment, so that every path of the pages can be walked.

import type { Answer, Backend, Command, OpenStream, Payload, StreamCommand } from "../backend";
import { NO_CHANGE, unreachable } from "../backend";
import { GB, MB, list } from "../../format";
import type { ApiError, Conversation, Event, Message, ReplyChunk, SearchRequest, Status } from "../types";
import { PLAYS, PROFILES, planOf, profilesOf, statusOf, type AgentPlay, type Play } from "./fixtures";
import { PlayedAssign } from "./assign";
import { PlayedDoctor } from "./doctor";
import { PlayedFirstRun } from "./firstrun";
import { Forms } from "./forms";
import { PlayedGateway } from "./gateway";
import { agentHistoryOf, historyOf } from "./history";
import { PlayedHub } from "./hub";
import { PlayedImages } from "./images";
import { launchOf } from "./launch";
import { PlayedModels } from "./models";
import { PlayedNeighbours } from "./neighbours";
import { PlayedRequests } from "./requests";
import { PlayedStacks } from "./stacks";
import { PlayedTools } from "./tools";
import { whatIf } from "./whatif";
import { LOG, REPLY, conversations, events } from "./texts";

const STEP = 40;

class Controller {
  revision = 1;
  play: Play;
  readonly watchers = new Set<(revision: number) => void>();
  readonly kept: Conversation[] = conversations();
  readonly events: Event[] = events();
  stopped = new Set<number>();
  saved = false;
  afterLogin: "nothing" | "last_profile" | "base_profile" = "nothing";
  readonly forms: Forms;
  readonly neighbours: PlayedNeighbours;
  readonly doctor = new PlayedDoctor();
  readonly stacks = new PlayedStacks();
  readonly images: PlayedImages;
  readonly requests: PlayedRequests;
  readonly gateway: PlayedGateway;
  readonly tools = new PlayedTools();
  readonly models: PlayedModels;
  readonly hub: PlayedHub;
  readonly assign: PlayedAssign;
  readonly first: PlayedFirstRun;
  #id = 1000;

  constructor(play: Play) {
    this.play = play;
    this.neighbours = new PlayedNeighbours(play.guests === true);
    this.images = new PlayedImages(play.engineError === undefined ? null : `${play.engineError.message} ${play.engineError.next}`);
    this.models = new PlayedModels(play.models ?? (play.switching === undefined ? "quiet" : "pictured"));
    this.hub = new PlayedHub(this.models.play);
    this.gateway = new PlayedGateway(play.keyed === true);
    this.requests = new PlayedRequests(play.requests ?? (Object.keys(play.agents).length < 2 ? "none" : play.switching === undefined ? "quiet" : "busy"));
    this.forms = new Forms(this, play.rehearsal === true ? MB : GB);
    this.assign = new PlayedAssign(this.forms, this.models, () => this.status(), () => this.play.profiles ?? PROFILES);
    this.first = new PlayedFirstRun(play.first === true, play.engineError === undefined);
  }

  nextId(): number {
    this.#id += 1;
    return this.#id;
  }

  status(): Status {
    const status = statusOf(this.play, this.revision);
    const adopted = this.neighbours.adopted;
    const agents = status.agents.map((a) => (adopted.includes(a.name) ? { ...a, adopted: true, state: "ready" as const } : a));
    return { ...status, agents, open_neighbours: this.neighbours.open };
  }

  change(agents: Record<string, AgentPlay>, rest: Partial<Play> = {}): void {
    this.play = { ...this.play, ...rest, agents: { ...this.play.agents, ...agents } };
    this.revision += 1;
    for (const watcher of this.watchers) watcher(this.revision);
  }

  /** The answer, once everybody who watches knows. */
  told<T>(answer: T): T {
    this.change({});
    return answer;
  }

  /** Nothing switches any more. */
  settle(profile: string): void {
    // All but what is over.
    const over = ["switching", "engineError", "gatewayError"];
    const rest = Object.fromEntries(Object.entries(this.play).filter(([key]) => !over.includes(key))) as unknown as Play;
    this.play = { ...rest, profile: profile === "" ? this.play.profile : profile };
    this.change({});
  }

  conversation(id: number): Conversation {
    const found = this.kept.find((c) => c.id === id);
    if (found === undefined) {
      throw Object.assign(new Error("unknown"), {
        code: "unknown",
        message: "There is no such conversation.",
        next: "Open another one.",
      } satisfies ApiError);
    }
    return found;
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export function memoryBackend(): Backend {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("play") ?? "switching";
  const controller = new Controller(PLAYS[wanted] ?? (PLAYS["rest"] as Play));
  const lost = wanted === "lost";
  // A browser test saves the file "in another editor" by this.
  addEventListener("asgard-touch-stack", () => {
    controller.forms.touch();
  });

  // A download gets further by this.
  addEventListener("asgard-step-download", () => {
    controller.models.step();
    controller.change({});
  });

  // And a request ends by this.
  addEventListener("asgard-end-request", () => {
    controller.requests.end();
    controller.change({});
  });

  return {
    call: async (cmd, payload) => {
      await Promise.resolve();
      if (lost) throw unreachable("No controller is running.");
      return (await answer(controller, cmd, payload)) as Answer<typeof cmd>;
    },
    stream: (cmd, payload, onChunk): OpenStream => {
      let closed = false;
      let close: () => void = () => undefined;
      const ended = new Promise<void>((resolve) => {
        close = () => {
          closed = true;
          resolve();
        };
      });
      const send = (chunk: unknown): void => {
        if (!closed) onChunk(chunk as Parameters<typeof onChunk>[0]);
      };
      const run = lost
        ? Promise.reject(unreachable("No controller is running."))
        : stream(controller, cmd, payload as Record<string, unknown>, send, () => closed, ended);
      return { done: Promise.race([run, ended]), close };
    },
    dialogs: {
      importFiles: (kind) => Promise.resolve(controller.stacks.choose(kind)),
      importWrite: () => {
        const written = controller.stacks.write();
        if (written !== null) {
          controller.saved = true;
          controller.change({}, { unconfirmed: true });
        }
        return Promise.resolve(written);
      },
      confirmStack: () => {
        controller.change({}, { unconfirmed: false });
        return Promise.resolve(true);
      },
      stopNeighbour: async (id) => {
        await Promise.resolve();
        return controller.told(controller.neighbours.stop(id));
      },
      savePicture: ({ format, hours }) => Promise.resolve(`/home/you/asgard-memory-${String(hours)}h.${format}`),
      gatewayListen: (listen) => Promise.resolve().then(() => controller.told(controller.gateway.change({ ...NO_CHANGE, listen }))),
      writeTool: (request) => Promise.resolve(controller.tools.write(request)),
      saveRequests: ({ format }) => Promise.resolve(`/home/you/asgard-requests.${format}`),
      importModel: async (onProgress) => {
        onProgress({ file: "model.gguf", done_bytes: 2_100_000_000, total_bytes: 5_000_000_000, model: null });
        await pause(4 * STEP);
        return controller.told(controller.models.import());
      },
      openModelFolder: (id) => {
        document.documentElement.dataset["opened"] = controller.models.model(id).path;
        return Promise.resolve(true);
      },
      openPage: (url) => {
        document.documentElement.dataset["opened"] = url;
        return Promise.resolve(true);
      },
      saveReport: () => Promise.resolve("/home/you/asgard-report-20261121-140800.md"),
    },
    preference: (key) => Promise.resolve(JSON.parse(localStorage.getItem(`asgard.${key}`) ?? "null") as unknown),
    setPreference: (key, value) => {
      localStorage.setItem(`asgard.${key}`, JSON.stringify(value));
      return Promise.resolve();
    },
  };
}

async function answer(c: Controller, cmd: Command, payload: Payload<Command>): Promise<unknown> {
  const agent = "agent" in payload ? (payload.agent ?? "") : "";
  switch (cmd) {
    case "status":
      return c.status();
    case "profiles":
      return { profiles: profilesOf(c.status(), c.play.profiles) };
    case "plan": {
      const { change, profile: wanted } = payload as Payload<"plan">;
      if (change !== null) return whatIf(c.status(), change, wanted, c.play.profiles);
      const profile = profilesOf(c.status(), c.play.profiles).find((p) => (wanted === null ? p.agents.includes(agent) : p.name === wanted));
      return profile?.plan ?? planOf(c.status(), null, [agent]);
    }
    case "events":
      return { events: c.events };
    case "history":
      return historyOf(c.status(), payload as Payload<"history">, lived(c));
    case "agent_history":
      return agentHistoryOf(c.status(), payload as Payload<"agent_history">, lived(c));
    case "requests":
      return c.requests.answer(payload as Payload<"requests">);
    case "tool_configs":
      return c.tools.configs(payload as Payload<"tool_configs">);
    case "gateway_view":
      return c.gateway.view();
    case "change_gateway":
      return c.told(c.gateway.change(payload as Payload<"change_gateway">));
    case "new_key":
      return c.told(c.gateway.make(payload as Payload<"new_key">));
    case "reveal_key":
      return c.gateway.reveal((payload as Payload<"reveal_key">).name);
    case "remove_key":
      c.gateway.remove((payload as Payload<"remove_key">).name);
      return c.told({});
    case "new_session":
      c.gateway.newSession();
      return c.told({});
    case "pause_gateway":
      c.change({}, { paused: (payload as Payload<"pause_gateway">).paused });
      return {};
    case "neighbours":
      return c.neighbours.all();
    case "adopt":
      return c.told(c.neighbours.adopt(payload as Payload<"adopt">));
    case "leave_neighbour":
      return c.told(c.neighbours.leave((payload as Payload<"leave_neighbour">).id));
    case "undo_neighbour":
      return c.told(c.neighbours.undo((payload as Payload<"undo_neighbour">).id));
    case "images":
      return c.images.all();
    case "check_images":
      await pause(STEP);
      return c.images.check();
    case "try_image": {
      const { reference } = payload as Payload<"try_image">;
      return c.images.try(reference, c.status().agents.find((a) => a.name === agent)?.display_name ?? agent);
    }
    case "undo_image":
      return c.images.undo((payload as Payload<"undo_image">).reference);
    case "remove_image":
      return c.images.remove((payload as Payload<"remove_image">).reference);
    case "doctor":
      await pause(STEP);
      return c.doctor.check();
    case "presets":
      return c.stacks.presets();
    case "use_preset": {
      const { name, dry_run } = payload as Payload<"use_preset">;
      if (!dry_run) c.saved = true;
      return dry_run ? c.stacks.use(name, true) : c.told(c.stacks.use(name, false));
    }
    case "export":
      return c.stacks.export((payload as Payload<"export">).kind);
    case "confirmation":
      return c.stacks.confirmation(c.play.unconfirmed === true);
    case "restart":
      c.change({}, { over: { ...c.play.over, [agent]: { ...c.play.over?.[agent], restart_to_apply: false } } });
      return { result: "done", message: "It is ready.", profile: null, seconds: 1 };
    case "restart_when_idle":
    case "take_restart_back":
      c.change({}, { over: { ...c.play.over, [agent]: { ...c.play.over?.[agent], restart_when_idle: cmd === "restart_when_idle" } } });
      return { result: "done", message: "", profile: null, seconds: 0 };
    case "switch": {
      unseen(c);
      const to = "profile" in payload ? (payload.profile ?? "") : "";
      const wanted = profilesOf(c.status(), c.play.profiles).find((p) => p.name === to);
      for (const stop of wanted?.plan.stops ?? []) {
        c.change({ [stop]: { state: "stopping", measured: 4 } }, { switching: { to, agent: stop, stage: "stop" } });
        await pause(STEP * 4);
        c.change({ [stop]: { state: "asleep" } });
      }
      for (const name of wanted?.plan.starts ?? []) await wake(c, name, { to, agent: name });
      c.settle(to);
      return { result: "done", message: `${to} is active.`, profile: to, seconds: 1 };
    }
    case "yield": {
      const { hours } = payload as Payload<"yield">;
      const idle = c.status().agents.filter((a) => a.state === "ready");
      await pause(STEP);
      const until = hours === null ? null : new Date(Date.now() + hours * 3_600_000).toISOString();
      c.change(Object.fromEntries(idle.map((a) => [a.name, { state: "asleep" as const }])), { yielded: { until, agents: idle.map((a) => a.name) } });
      return { result: "done", message: `${list(idle.map((a) => a.display_name))} sleep.`, profile: c.play.profile, seconds: 1 };
    }
    case "resume": {
      const back = c.play.yielded?.agents ?? [];
      c.change({}, { yielded: null });
      for (const name of back) await wake(c, name, { to: c.play.profile, agent: name });
      c.settle(c.play.profile);
      return { result: "done", message: `${c.play.profile} is active.`, profile: c.play.profile, seconds: 1 };
    }
    case "apply_suggestion": {
      const { id } = payload as Payload<"apply_suggestion">;
      const told = c.status().agents.find((a) => a.name === agent);
      const running = told !== undefined && told.state !== "asleep" && told.state !== "failed";
      const suggestions = (told?.suggestions ?? []).filter((s) => s.id !== id);
      c.change({}, { over: { ...c.play.over, [agent]: { ...c.play.over?.[agent], suggestions, restart_to_apply: running } } });
      return { saved: true, problems: [], notes: [], restarts: running ? [agent] : [], profiles: [], kept: null };
    }
    case "start":
      unseen(c);
      await wake(c, agent, { to: agent, agent });
      c.settle(c.play.profile);
      return { result: "done", message: "It is ready.", profile: null, seconds: 1 };
    case "stop":
      c.change({ [agent]: { state: "asleep" } });
      return { result: "done", message: "It is asleep.", profile: null, seconds: 1 };
    case "conversations":
      return {
        conversations: c.kept.map(({ id, agent: who, title, updated, replying }) => ({ id, agent: who, title, updated, replying })),
      };
    case "conversation":
      return structuredClone(c.conversation("conversation" in payload ? payload.conversation : 0));
    case "new_conversation": {
      const made: Conversation = { id: c.nextId(), agent, title: "", updated: new Date().toISOString(), replying: false, messages: [] };
      c.kept.unshift(made);
      return structuredClone(made);
    }
    case "delete_conversation": {
      const id = "conversation" in payload ? payload.conversation : 0;
      c.kept.splice(c.kept.indexOf(c.conversation(id)), 1);
      return {};
    }
    case "stop_reply":
      if ("conversation" in payload) c.stopped.add(payload.conversation);
      return {};
    case "settings":
      return { after_login: c.afterLogin };
    case "change_settings":
      if ("after_login" in payload && payload.after_login !== null) c.afterLogin = payload.after_login;
      return { after_login: c.afterLogin };
    case "launch_preview":
      return launchOf(c.status().agents.find((a) => a.name === agent), agent);
    case "stack_form":
      return c.forms.form();
    case "edit_stack":
      return c.forms.edit(payload as Payload<"edit_stack">);
    case "apply_stack": {
      const applied = c.forms.apply();
      const over = { ...c.play.over };
      for (const busy of applied.busy) over[busy] = { ...over[busy], restart_when_idle: true };
      c.change({}, { over });
      return applied;
    }
    case "save_stack":
      c.saved = true;
      return stackFile(c);
    case "stack":
      return stackFile(c);
    case "logs":
      return { agent, lines: LOG.map((text) => ({ text })) };
    case "installed_models":
      return c.models.installed();
    case "remove_model": {
      const answered = c.models.remove(payload as Payload<"remove_model">);
      return answered.removed ? c.told(answered) : answered;
    }
    case "estimate":
      return c.models.estimate(payload as Payload<"estimate">);
    case "curated_models":
      return c.hub.curated();
    case "model_info":
      return c.hub.info((payload as Payload<"model_info">).repo);
    case "assign_preview":
      return c.assign.preview(payload as Payload<"assign_preview">);
    case "assign":
      return c.assign.assign(payload as Payload<"assign">);
    case "first_run":
      return c.first.first();
    case "finish_first_run": {
      const asked = payload as Payload<"finish_first_run">;
      for (const repo of asked.models) {
        const { title, gb } = c.first.title(repo);
        c.models.pull({ repo, revision: null, variant: null, files: [] }, title, gb);
      }
      return c.told(c.first.finish(asked));
    }
    case "pull": {
      const asked = payload as Payload<"pull">;
      const { title, gb } = c.hub.title(asked.repo, asked.variant);
      return c.told(c.models.pull(asked, title, gb));
    }
    case "downloads":
      return c.models.downloads();
    case "download":
      return c.models.detail((payload as Payload<"download">).id);
    case "pause_download":
      return c.told(c.models.pause((payload as Payload<"pause_download">).id, true));
    case "resume_download":
      return c.told(c.models.pause((payload as Payload<"resume_download">).id, false));
    case "cancel_download":
    case "forget_download":
      return c.told(c.models.drop((payload as Payload<"forget_download">).id));
    case "limit_downloads":
      return c.told(c.models.limit((payload as Payload<"limit_downloads">).bytes_per_second));
    case "hub_account":
    case "check_hub_token":
      return c.models.account();
    case "set_hub_token":
      await pause(STEP);
      return c.told(c.models.setToken((payload as Payload<"set_hub_token">).token));
    case "remove_hub_token":
      return c.told(c.models.removeToken());
    case "cancel":
    case "shutdown":
      return {};
    default:
      return { result: "done", message: "Done.", profile: null, seconds: 0 };
  }
}

/** A house that was set up a moment ago has no history. */
function lived(c: Controller): boolean {
  return c.status().agents.some((a) => a.state !== "asleep");
}

/** Nothing starts from a stack that nobody has looked at. */
function unseen(c: Controller): void {
  if (c.play.unconfirmed !== true) return;
  throw Object.assign(new Error("unconfirmed"), {
    code: "unconfirmed",
    message: "This stack came from somebody else, and nobody has seen yet what it runs.",
    next: "Look at what it runs and confirm it.",
  } satisfies ApiError);
}

function stackFile(c: Controller): unknown {
  return {
    path: "/home/you/.config/asgard/stack.toml",
    saved: c.saved,
    text: '# The shipped stack.\nversion = 1\nname = "norse"\nbase = "standard"\nconflicts = [["odin", "valkyrie"]]\n',
    problems:
      (c.play.notices ?? []).length > 0
        ? [{ file: "/home/you/.config/asgard/stack.toml", line: 12, message: "context is -1, and a context cannot be negative.", next: "Write a whole number of tokens, such as 32768." }]
        : [],
    notes: ["Thor's KV cache holds 2 of its 4 sequences at full context."],
  };
}

async function wake(c: Controller, name: string, switching: NonNullable<Play["switching"]>): Promise<void> {
  for (const progress of [0.1, 0.4, 0.7, 0.9]) {
    c.change(
      { [name]: { state: "loading", stage: progress < 0.5 ? "weights" : "kv_cache", progress, secondsLeft: 40 * (1 - progress), measured: progress * 9 } },
      { switching: { ...switching, progress, seconds_left: 40 * (1 - progress) } },
    );
    await pause(STEP * 3);
  }
  c.change({ [name]: { state: "ready", kvUsed: 0, speed: 5 } });
}

async function stream(
  c: Controller,
  cmd: StreamCommand,
  payload: Record<string, unknown>,
  send: (chunk: unknown) => void,
  closed: () => boolean,
  ended: Promise<void>,
): Promise<void> {
  // No host answers before the call has returned.
  await Promise.resolve();
  if (cmd === "watch") {
    const watcher = (revision: number): void => {
      send({ revision });
    };
    c.watchers.add(watcher);
    await ended;
    c.watchers.delete(watcher);
    return;
  }
  if (cmd === "follow_logs") {
    for (const text of LOG) send({ text });
    await ended;
    return;
  }
  if (cmd === "search_models") {
    for (const chunk of c.hub.search(payload as unknown as SearchRequest)) {
      await pause(STEP);
      if (closed()) return;
      send(chunk);
    }
    return;
  }
  if (cmd === "verify_model") {
    const model = String(payload["id"]);
    for (const chunk of c.models.verify(model)) {
      await pause(STEP);
      if (closed()) return;
      send(chunk);
    }
    c.models.verified(model);
    c.change({});
    return;
  }
  const id = Number(payload["conversation"]);
  const conversation = c.conversation(id);
  if (cmd === "follow_reply") return;
  const now = new Date().toISOString();
  if (cmd === "send") {
    const text = typeof payload["text"] === "string" ? payload["text"] : "";
    conversation.messages.push(message(c.nextId(), "user", text, now));
    if (conversation.title === "") conversation.title = text.slice(0, 40);
  } else {
    conversation.messages.pop();
  }
  const reply: Message = { ...message(c.nextId(), "assistant", "", now), state: "streaming" };
  conversation.messages.push(reply);
  conversation.replying = true;
  conversation.updated = now;
  send({ kind: "started", message: structuredClone(reply) } satisfies ReplyChunk);
  reply.thinking = "The question is about the order of two starts.";
  send({ kind: "thinking", text: reply.thinking } satisfies ReplyChunk);
  c.stopped.delete(id);
  for (const piece of REPLY.match(/\S+\s*/g) ?? []) {
    await pause(8);
    if (c.stopped.has(id)) break;
    reply.text += piece;
    if (!closed()) send({ kind: "text", text: piece } satisfies ReplyChunk);
  }
  reply.state = c.stopped.has(id) ? "stopped" : "done";
  reply.stats = { tokens: 286, tokens_per_second: 31.2, first_token_seconds: 0.42 };
  conversation.replying = false;
  send({ kind: "done", message: structuredClone(reply) } satisfies ReplyChunk);
}

function message(id: number, role: Message["role"], text: string, time: string): Message {
  return { id, role, text, thinking: "", state: "done", time, error: null, stats: null };
}
