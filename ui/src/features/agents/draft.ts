// What is typed in the editor, and what of it the stack file has to learn. Pure. Every field is kept as the text that
// stands in it, so that nothing typed is lost while it is half written; only what differs is sent.

import type { AgentForm, StackEdit, StackForm, StackProblem, StackValue } from "../../lib/backend/types";
import type { Wrong } from "./quantities";

type Kind = "text" | "whole" | "number" | "measure" | "flag" | "lines" | "pairs";

/** Every key of an agent that a person may set. The order is the one in which a new agent is written down. */
export const KEYS = {
  name: "text",
  title: "text",
  tier: "text",
  role: "text",
  served_by: "text",
  backend: "text",
  engine: "text",
  image: "text",
  host_ipc: "flag",
  command: "lines",
  endpoint: "text",
  model: "text",
  revision: "text",
  port: "whole",
  context: "whole",
  sequences: "whole",
  weights: "measure",
  overhead: "measure",
  kv_cache: "measure",
  memory: "measure",
  share: "number",
  dtype: "text",
  quantization: "text",
  kv_dtype: "text",
  tensor_parallel: "whole",
  devices: "lines",
  tool_parser: "text",
  draft_model: "text",
  draft_tokens: "whole",
  batched_tokens: "whole",
  prefix_caching: "flag",
  eager: "flag",
  attention_backend: "text",
  gpu_layers: "whole",
  load_mode: "text",
  cache_ram: "measure",
  args: "lines",
  env: "pairs",
  ttl: "measure",
  drain: "measure",
  load_timeout: "measure",
  request_timeout: "measure",
  min_residency: "measure",
  pinned: "flag",
  glyph: "text",
  color: "text",
} as const satisfies Record<string, Kind>;

export type Key = keyof typeof KEYS;
const ALL = Object.keys(KEYS) as Key[];

export type Texts = Readonly<Record<Key, string>>;
export type Server = "vllm" | "llama.cpp" | "ollama" | "external" | "role";

export interface Draft {
  /** Its name in the file. */
  readonly agent: string;
  readonly server: Server;
  readonly texts: Texts;
  readonly profiles: readonly string[];
}

export function isKey(key: string): key is Key {
  return Object.hasOwn(KEYS, key);
}

/** A value of the file as it stands in a field. */
export function shown(value: StackValue | undefined): string {
  if (value === undefined) return "";
  if (Array.isArray(value)) return value.join("\n");
  if (typeof value === "object") return Object.entries(value).map(([name, text]) => `${name}=${text}`).join("\n");
  return String(value);
}

/** Whether a field can show it: one line each is not enough for a text that has several. */
export function showable(value: StackValue | undefined): boolean {
  if (typeof value !== "object") return true;
  return !Object.values(value).some((text) => text.includes("\n"));
}

const emptyTexts = (): Record<Key, string> => Object.fromEntries(ALL.map((key) => [key, ""])) as Record<Key, string>;

function serverOf(form: AgentForm): Server {
  if (form.written["served_by"] !== undefined) return "role";
  const backend = form.written["backend"] ?? form.defaults["backend"];
  return backend === "llama.cpp" || backend === "ollama" || backend === "external" ? backend : "vllm";
}

export function draftOf(form: AgentForm): Draft {
  const texts = emptyTexts();
  for (const key of ALL) texts[key] = shown(form.written[key]);
  return { agent: form.agent, server: serverOf(form), texts, profiles: form.profiles };
}

export function blankDraft(form: StackForm): Draft {
  return {
    agent: "",
    server: "vllm",
    texts: { ...emptyTexts(), backend: "vllm", port: String(form.next_port), kv_cache: "4 GB" },
    profiles: [],
  };
}

/** What stands in a field as a value of the file: null where it is empty. */
export function parse(key: Key, text: string): { value: StackValue | null } | { wrong: Wrong } {
  const kind: Kind = KEYS[key];
  if (kind !== "lines" && text.trim() === "") return { value: null };
  switch (kind) {
    case "text":
      // The prompt is the only one in which breaks and blanks at the ends mean something.
      return { value: key === "role" ? text : text.trim() };
    case "measure":
      return { value: /^\d+$/.test(text.trim()) ? Number(text.trim()) : text.trim() };
    case "whole": {
      const number = Number(text.trim().replaceAll(/[,_\s]/g, ""));
      return Number.isSafeInteger(number)
        ? { value: number }
        : { wrong: { message: `${text.trim()} is not a whole number.`, next: "Write digits only." } };
    }
    case "number": {
      const number = Number(text.trim());
      return Number.isFinite(number)
        ? { value: number }
        : { wrong: { message: `${text.trim()} is not a number.`, next: "Write a number such as 0.25." } };
    }
    case "flag":
      return { value: text.trim() === "true" };
    case "lines": {
      const lines = text.split("\n").filter((line) => line.trim() !== "");
      return { value: lines.length === 0 ? null : lines };
    }
    case "pairs": {
      const pairs: Record<string, string> = {};
      for (const line of text.split("\n").filter((l) => l.trim() !== "")) {
        const at = line.indexOf("=");
        const name = line.slice(0, Math.max(0, at)).trim();
        if (name === "") {
          return { wrong: { message: `${line.trim()} has no name and value.`, next: "Write one variable in a line, as NAME=value." } };
        }
        if (Object.hasOwn(pairs, name)) {
          return { wrong: { message: `${name} is there twice.`, next: "Keep the one you mean." } };
        }
        pairs[name] = line.slice(at + 1);
      }
      return { value: pairs };
    }
  }
}

/** Keys that mean something for a server of this kind only; a role has none of them, and no bytes of its own. */
const SERVER_KEYS: readonly Key[] = [
  "backend", "engine", "image", "host_ipc", "command", "endpoint", "model", "revision", "port", "context", "sequences",
  "weights", "overhead", "kv_cache", "memory", "share", "dtype", "quantization", "kv_dtype", "tensor_parallel", "devices",
  "tool_parser", "draft_model", "draft_tokens", "batched_tokens", "prefix_caching", "eager", "attention_backend", "gpu_layers",
  "load_mode", "cache_ram", "args", "env", "load_timeout",
];
/** What only one kind of server understands; the controller refuses it for any other. */
const OF_VLLM: readonly Key[] = ["prefix_caching", "eager", "attention_backend"];
const OF_LLAMA_CPP: readonly Key[] = ["gpu_layers", "load_mode", "cache_ram"];
const RUNS_ELSEWHERE: readonly Key[] = [
  "engine", "image", "host_ipc", "command", "revision", "port", "dtype", "kv_dtype", "tensor_parallel", "draft_model", "draft_tokens", "batched_tokens", "args", "env",
];

export function hasKey(server: Server, key: Key): boolean {
  if (server === "role") return !SERVER_KEYS.includes(key);
  if (key === "served_by") return false;
  if (OF_VLLM.includes(key)) return server === "vllm";
  if (OF_LLAMA_CPP.includes(key)) return server === "llama.cpp";
  if (key === "endpoint") return server === "ollama" || server === "external";
  return server === "vllm" || server === "llama.cpp" || !RUNS_ELSEWHERE.includes(key);
}

/**
 * The texts that count. Where the kind of server was changed, what the new kind has no use for is taken out of the file;
 * where it was not, what a person wrote there by hand stays.
 */
function counting(draft: Draft, base: Draft | null): Texts {
  if (base !== null && base.server === draft.server) return draft.texts;
  const texts = { ...draft.texts };
  for (const key of ALL) if (!hasKey(draft.server, key)) texts[key] = "";
  texts.backend = draft.server === "role" ? "" : draft.server;
  return texts;
}

export interface Changes {
  readonly keys: Record<string, StackValue | null>;
  readonly wrong: Partial<Record<Key, Wrong>>;
}

/** What a draft changes: only keys that differ, null for those that are to go. */
export function changes(draft: Draft, base: Draft | null): Changes {
  const texts = counting(draft, base);
  const keys: Record<string, StackValue | null> = {};
  const wrong: Partial<Record<Key, Wrong>> = {};
  for (const key of ALL) {
    const before = base?.texts[key] ?? "";
    if (texts[key] === before) continue;
    const read = parse(key, texts[key]);
    if ("wrong" in read) wrong[key] = read.wrong;
    else if (read.value !== null || before !== "") keys[key] = read.value;
  }
  return { keys, wrong };
}

const same = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((x) => b.includes(x));

/** Empty where nothing was changed. */
export function edits(draft: Draft, base: Draft | null): StackEdit[] {
  const { keys } = changes(draft, base);
  if (base === null) {
    const own = Object.fromEntries(Object.entries(keys).filter(([, value]) => value !== null));
    return [{ edit: "add_agent", agent: draft.agent, keys: own, profiles: [...draft.profiles] }];
  }
  const made: StackEdit[] = [];
  if (Object.keys(keys).length > 0) made.push({ edit: "change_agent", agent: draft.agent, keys });
  if (!same(draft.profiles, base.profiles)) {
    made.push({ edit: "agent_profiles", agent: draft.agent, profiles: [...draft.profiles] });
  }
  return made;
}

export function isChanged(draft: Draft, base: Draft): boolean {
  return draft.agent !== base.agent || draft.server !== base.server || !same(draft.profiles, base.profiles) || ALL.some((key) => draft.texts[key] !== base.texts[key]);
}

/** The draft upon another text of the file: what was typed stays, what was not follows the file. */
export function rebase(draft: Draft, base: Draft, now: Draft): Draft {
  const texts = emptyTexts();
  for (const key of ALL) texts[key] = draft.texts[key] === base.texts[key] ? now.texts[key] : draft.texts[key];
  const added = draft.profiles.filter((p) => !base.profiles.includes(p));
  const left = base.profiles.filter((p) => !draft.profiles.includes(p));
  return {
    agent: draft.agent,
    server: draft.server === base.server ? now.server : draft.server,
    texts,
    profiles: [...now.profiles.filter((p) => !left.includes(p)), ...added.filter((p) => !now.profiles.includes(p))],
  };
}

/** What is wrong with a name in the file, before anything is asked. */
export function nameProblem(name: string, taken: readonly string[], what = "agent"): Wrong | null {
  if (name === "") return { message: `The ${what} has no name yet.`, next: "Write lower-case letters, digits and hyphens." };
  if (!/^[a-z][a-z0-9-]{0,39}$/.test(name)) {
    return { message: `${name} cannot be the name of ${what === "agent" ? "an agent" : "a profile"}.`, next: "Write lower-case letters, digits and hyphens, a letter first." };
  }
  if (taken.includes(name)) return { message: `There is ${what === "agent" ? "an agent" : "a profile"} ${name} already.`, next: "Write another name." };
  return null;
}

/** "thor-2": a name that nobody has. */
export function freeName(like: string, taken: readonly string[]): string {
  const stem = like.replace(/-\d+$/, "");
  for (let n = 2; ; n += 1) {
    const name = `${stem}-${String(n)}`;
    if (!taken.includes(name)) return name;
  }
}

/**
 * The field that a sentence of the controller is about. It names the key where it tells what to write ("context = 32768")
 * or at its beginning; words such as port and model are in many sentences, so nothing looser is taken.
 */
export function fieldOf(problem: Pick<StackProblem, "message" | "next">): Key | null {
  const text = `${problem.message} ${problem.next}`;
  const patterns: readonly [RegExp, Key | null][] = [
    [/(?:^|[\s(])([a-z_]+) = /, null],
    [/There is no ([a-z_]+) "/, null],
    [/cannot be an? ([a-z_]+)\b/, null],
    [/^([a-z_]+) (?:is|and|holds|does|=)/, null],
    [/\b(?:is not a port|has no port|port \d+)\b/i, "port"],
    [/\b(?:has no model|neither a Hub id nor a path)\b/, "model"],
    [/^A context of\b/, "context"],
    [/\bKV cache\b/, "kv_cache"],
    [/\bname of a rune\b/, "glyph"],
    [/\bnot a colour\b/, "color"],
    [/\bvariable of the environment\b/, "env"],
  ];
  for (const [pattern, given] of patterns) {
    const found = pattern.exec(text);
    const key = found === null ? null : (given ?? found[1] ?? null);
    if (key !== null && isKey(key)) return key;
  }
  return null;
}
