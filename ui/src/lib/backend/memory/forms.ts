// The played stack file: what an editor reads of it, and what edits make of it. It checks a few things in the way of the
// real one, enough to walk every path of the pages.

import type { AgentForm, Applied, Edited, EditRequest, ProfileForm, StackEdit, StackForm, StackProblem, StackValue } from "../types";
import { memory, type Unit } from "../../format";
import { PROFILES, SPECS, type Play, type Spec } from "./fixtures";

interface Agent {
  readonly name: string;
  readonly keys: Readonly<Record<string, StackValue>>;
  /** Figures of its model, where the play knows it. */
  readonly spec: Spec;
}

interface Text {
  readonly agents: readonly Agent[];
  readonly profiles: Readonly<Record<string, readonly string[]>>;
}

const FILE = "/home/you/.config/asgard/stack.toml";
const LONGEST = 32_768;

export interface Played {
  play: Play;
  change(agents: Play["agents"], rest?: Partial<Play>): void;
}

export class Forms {
  #text: Text;
  #edition = 0;
  /** Running agents whose settings are of an older text. */
  #behind = new Set<string>();

  constructor(
    private readonly played: Played,
    private readonly unit: Unit,
  ) {
    const { household = SPECS, profiles = PROFILES } = played.play;
    this.#text = { agents: household.map((spec) => ({ name: spec.name, keys: keysOf(spec, unit), spec })), profiles };
  }

  get #hash(): string {
    return String(this.#edition).padStart(16, "0");
  }

  form(): StackForm {
    const ports = this.#text.agents.map((a) => Number(a.keys["port"] ?? 0));
    return {
      hash: this.#hash,
      saved: this.#edition > 0 || this.played.play.saved === true,
      agents: this.#text.agents.map((a) => this.#agentForm(a)),
      profiles: this.#profileForms(this.#text),
      next_port: Math.max(8000, ...ports) + 1,
      models: [...new Set(this.#text.agents.map((a) => a.spec.model))].sort(),
    };
  }

  #agentForm(agent: Agent): AgentForm {
    const spec = specOf(agent);
    const role = spec.servedBy !== undefined;
    const bytes = (n: number): number => (role ? 0 : Math.round(n * this.unit.bytes));
    return {
      agent: agent.name,
      display_name: spec.display,
      written: { ...agent.keys },
      defaults: { backend: "vllm", context: LONGEST, sequences: 4, drain: "60 s", load_timeout: "30 min", pinned: false, name: proper(agent.name) },
      profiles: Object.entries(this.#text.profiles).filter(([, who]) => who.includes(agent.name)).map(([name]) => name),
      claim_bytes: bytes(spec.weights + spec.kv + spec.overhead),
      weights_bytes: bytes(spec.weights),
      kv_bytes: bytes(spec.kv),
      overhead_bytes: bytes(spec.overhead),
      kv_bytes_per_token: role ? null : Math.round((agent.spec.kv * this.unit.bytes) / LONGEST / 2),
      max_context: role ? null : LONGEST,
      warnings: /llama-3\.3-70b/i.test(spec.model) ? ["AWQ of a 70B model loads slowly on gfx1151: expect 5 minutes or more, as measured in September 2025."] : [],
    };
  }

  #profileForms(text: Text): ProfileForm[] {
    const claims = new Map(text.agents.map((a) => [a.name, claimOf(specOf(a))]));
    const room = 120 - this.played.play.other;
    return Object.entries(text.profiles).map(([name, agents]) => {
      const free = room - agents.reduce((sum, a) => sum + (claims.get(a) ?? 0), 0);
      const size = memory(Math.abs(free) * this.unit.bytes, this.unit, free < 0 ? "up" : "down");
      return { name, agents: [...agents], fits: free >= 0, reason: free >= 0 ? `Fits, ${size} to spare` : `Does not fit: ${size} short` };
    });
  }

  edit(request: EditRequest): Edited {
    if (request.hash !== this.#hash) {
      throw refusal("busy", "The stack file changed meanwhile.", "Read it again; what was typed can be kept.");
    }
    const problems: StackProblem[] = [];
    const problem = (message: string, next: string): void => {
      problems.push({ file: FILE, line: 12 + problems.length, message, next });
    };
    let text = this.#text;
    for (const edit of request.edits) text = edited(text, edit, problem);
    check(text, problem);
    const before = new Map(this.#text.agents.map((a) => [a.name, JSON.stringify(server(a.keys))]));
    const running = new Set(Object.entries(this.played.play.agents).filter(([, a]) => !["asleep", "failed"].includes(a.state)).map(([name]) => name));
    const restarts = text.agents.filter((a) => running.has(a.name) && before.get(a.name) !== JSON.stringify(server(a.keys))).map((a) => a.name);
    const saved = problems.length === 0 && !request.dry_run;
    let kept: string | null = null;
    if (saved) {
      this.#edition += 1;
      this.#text = text;
      for (const name of restarts) this.#behind.add(name);
      kept = `/home/you/.config/asgard/stack.toml.before-${String(this.#edition)}`;
      this.played.change({}, { household: text.agents.map((a) => specOf(a)), profiles: text.profiles, saved: true, hash: this.#hash });
    }
    return { saved, problems, notes: [], restarts: problems.length > 0 ? [] : restarts, profiles: problems.length > 0 ? [] : this.#profileForms(text), kept };
  }

  apply(): Applied {
    const busy = [...this.#behind].filter((name) => this.played.play.agents[name]?.state === "busy");
    const restarted = [...this.#behind].filter((name) => !busy.includes(name));
    this.#behind = new Set(busy);
    return { restarted, busy };
  }

  /** Somebody saves the file in another editor. */
  touch(): void {
    this.#edition += 1;
    const [first, ...others] = this.#text.agents;
    if (first !== undefined) this.#text = { ...this.#text, agents: [{ ...first, keys: { ...first.keys, title: "Changed by somebody else" } }, ...others] };
    this.played.change({}, { hash: this.#hash });
  }
}

function refusal(code: string, message: string, next: string): Error {
  return Object.assign(new Error(message), { code, message, next });
}

const proper = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);
const claimOf = (s: Spec): number => (s.servedBy === undefined ? s.weights + s.kv + s.overhead : 0);

function keysOf(spec: Spec, unit: Unit): Record<string, StackValue> {
  const keys: Record<string, StackValue> = { name: spec.display, title: spec.title };
  if (spec.servedBy !== undefined) keys["served_by"] = spec.servedBy;
  else {
    Object.assign(keys, { backend: spec.backend ?? "vllm", model: spec.model, port: spec.port, context: LONGEST, sequences: 4, kv_cache: `${String(Math.round(spec.kv * 10) / 10)} ${unit.name}` });
    if ((spec.backend ?? "vllm") === "vllm") keys["image"] = "docker.io/kyuz0/vllm-therock-gfx1151";
  }
  if (spec.name === "thor") keys["pinned"] = true;
  const glyph = spec.glyph === undefined ? spec.name : spec.glyph;
  const color = spec.color === undefined ? spec.name : spec.color;
  if (glyph !== null) keys["glyph"] = glyph;
  if (color !== null) keys["color"] = color;
  return keys;
}

function amount(value: StackValue | undefined): number | null {
  const found = typeof value === "string" ? /^(\d+(?:\.\d+)?) ?[GM]B$/.exec(value) : null;
  return found === null ? null : Number(found[1]);
}

function specOf(agent: Agent): Spec {
  const { keys, spec } = agent;
  const word = (key: string): string | undefined => (typeof keys[key] === "string" ? keys[key] : undefined);
  const rest: Record<string, unknown> = { ...spec };
  delete rest["servedBy"];
  const host = word("served_by");
  const all = amount(keys["memory"]) ?? (typeof keys["share"] === "number" ? keys["share"] * 128 : null);
  return {
    ...(rest as unknown as Spec),
    name: agent.name,
    display: word("name") ?? proper(agent.name),
    title: word("title") ?? "",
    model: word("model") ?? spec.model,
    port: typeof keys["port"] === "number" ? keys["port"] : spec.port,
    context: typeof keys["context"] === "number" ? keys["context"] : LONGEST,
    kv: amount(keys["kv_cache"]) ?? (all === null ? spec.kv : Math.max(0, all - spec.weights - spec.overhead)),
    backend: word("backend") ?? "vllm",
    pinned: keys["pinned"] === true,
    glyph: word("glyph") ?? null,
    color: word("color") ?? null,
    ...(host === undefined ? {} : { servedBy: host }),
  };
}

/** What a running server would have to be started again for. */
function server(keys: Readonly<Record<string, StackValue>>): Record<string, StackValue> {
  const own = ["name", "title", "role", "tier", "ttl", "drain", "load_timeout", "min_residency", "pinned", "glyph", "color"];
  return Object.fromEntries(Object.entries(keys).filter(([key]) => !own.includes(key)).sort());
}

function edited(text: Text, edit: StackEdit, problem: (message: string, next: string) => void): Text {
  const { agents, profiles } = text;
  const known = (name: string): boolean => agents.some((a) => a.name === name);
  const everywhere = (of: (names: readonly string[]) => readonly string[]): Text["profiles"] => Object.fromEntries(Object.entries(profiles).map(([name, who]) => [name, of(who)]));
  switch (edit.edit) {
    case "add_agent": {
      if (known(edit.agent)) problem(`There is an agent "${edit.agent}" already.`, "Write another name.");
      const keys = Object.fromEntries(Object.entries(edit.keys).filter((e): e is [string, StackValue] => e[1] !== null));
      const spec: Spec = { name: edit.agent, display: proper(edit.agent), title: "", model: String(keys["model"] ?? ""), port: 0, weights: 1, kv: 1, overhead: 1 };
      return {
        agents: [...agents, { name: edit.agent, keys, spec: SPECS.find((s) => s.model === spec.model) ?? spec }],
        profiles: Object.fromEntries(Object.entries(profiles).map(([name, who]) => [name, edit.profiles.includes(name) ? [...who, edit.agent] : who])),
      };
    }
    case "change_agent":
      return {
        profiles,
        agents: agents.map((a) => {
          if (a.name !== edit.agent) return a;
          const keys: Record<string, StackValue> = { ...a.keys };
          for (const [key, value] of Object.entries(edit.keys)) {
            if (value === null) Reflect.deleteProperty(keys, key);
            else keys[key] = value;
          }
          return { ...a, keys };
        }),
      };
    case "duplicate_agent": {
      const like = agents.find((a) => a.name === edit.agent);
      if (like === undefined || known(edit.to)) return text;
      const keys = { ...like.keys, name: proper(edit.to), port: edit.port };
      return { agents: [...agents, { ...like, name: edit.to, keys }], profiles };
    }
    case "rename_agent": {
      const to = (name: string): string => (name === edit.agent ? edit.to : name);
      return {
        agents: agents.map((a) => ({ ...a, name: to(a.name), keys: a.keys["served_by"] === edit.agent ? { ...a.keys, served_by: edit.to } : a.keys })),
        profiles: everywhere((who) => who.map(to)),
      };
    }
    case "remove_agent":
      return { agents: agents.filter((a) => a.name !== edit.agent), profiles: everywhere((who) => who.filter((a) => a !== edit.agent)) };
    case "order_agents":
      return { agents: edit.agents.flatMap((name) => agents.filter((a) => a.name === name)), profiles };
    case "agent_profiles":
      return {
        agents,
        profiles: Object.fromEntries(
          Object.entries(profiles).map(([name, who]) => {
            const others = who.filter((a) => a !== edit.agent);
            return [name, edit.profiles.includes(name) ? (who.includes(edit.agent) ? who : [...others, edit.agent]) : others];
          }),
        ),
      };
    case "put_profile":
      return { agents, profiles: { ...profiles, [edit.profile]: edit.agents } };
    case "remove_profile":
      return { agents, profiles: Object.fromEntries(Object.entries(profiles).filter(([name]) => name !== edit.profile)) };
  }
}

function check(text: Text, problem: (message: string, next: string) => void): void {
  const ports = new Map<unknown, string>();
  for (const { name, keys } of text.agents) {
    const who = typeof keys["name"] === "string" ? keys["name"] : proper(name);
    const host = keys["served_by"];
    if (host !== undefined) {
      if (!text.agents.some((a) => a.name === host)) problem(`There is no agent ${JSON.stringify(host)} whose server ${who} could use.`, "Write served_by = the name of an agent of this stack.");
      continue;
    }
    if (typeof keys["model"] !== "string") problem(`${who} has no model.`, 'Write its Hub id, such as model = "Qwen/Qwen2.5-14B-Instruct-AWQ".');
    const context = keys["context"];
    if (typeof context === "number" && context > LONGEST) {
      problem(`A context of ${String(context)} tokens is longer than the model's own ${String(LONGEST)}.`, `Write context = ${String(LONGEST)} or less.`);
    }
    const claims = ["kv_cache", "memory", "share"].filter((key) => keys[key] !== undefined);
    if (claims.length === 0 && keys["backend"] !== "external") problem(`${who} does not say how much memory it takes.`, 'Write kv_cache = "4 GB" or more, or the whole claim as memory = "...".');
    const size = keys["kv_cache"];
    if (size !== undefined && amount(size) === null) problem(`${JSON.stringify(size)} is not a size.`, 'Write kv_cache = "12 GB", a number above zero with its unit.');
    const port = keys["port"];
    if (port !== undefined && ports.has(port)) problem(`Port ${String(port)} is taken by ${ports.get(port) ?? ""}.`, "Write port = another one that nothing else uses.");
    if (port !== undefined) ports.set(port, who);
  }
  for (const [name, who] of Object.entries(text.profiles)) {
    if (who.length === 0) problem(`The profile ${name} has no agents.`, "Name one at least, or remove the profile.");
  }
}
