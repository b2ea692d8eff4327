// What others run, played: a compose project that holds Thor's port, the old gateway, an Ollama, and a name made to harm.

import { GB } from "../../format";
import type { AdoptRequest, ApiError, Neighbour, Neighbours } from "../types";

function no(message: string, next: string): Error {
  return Object.assign(new Error(message), { code: "unknown", message, next } satisfies ApiError);
}

const BASE: Omit<Neighbour, "id" | "name" | "origin"> = {
  kind: "container",
  server: "vllm",
  image: null,
  command: [],
  port: null,
  endpoint: null,
  models: [],
  memory_bytes: null,
  memory_basis: "unknown",
  running: true,
  agent: null,
  answer: "open",
  adopt_hint: "It is shown and counted, and never restarted.",
  adopt_refused: false,
  stop_hint: "It is stopped, and stays where it is.",
  stop_refused: false,
};

const FOUND: readonly Neighbour[] = [
  {
    ...BASE,
    id: "docker/strix-vllm_thor-1",
    name: "strix-vllm_thor-1",
    kind: "compose",
    origin: "Compose project strix, service vllm_thor",
    image: "ghcr.io/strix/vllm-therock-gfx1151:latest",
    command: ["vllm", "serve", "Qwen/Qwen2.5-14B-Instruct-AWQ", "--max-model-len", "32768", "--gpu-memory-utilization", "0.22", "--port", "8001"],
    port: 8001,
    endpoint: "http://127.0.0.1:8001",
    models: [{ name: "Qwen/Qwen2.5-14B-Instruct-AWQ", size_bytes: null, loaded: true }],
    memory_bytes: Math.round(24.8 * GB.bytes),
    memory_basis: "measured",
    agent: "thor",
    adopt_hint: "Thor is served by it; it is never restarted.",
    stop_hint: "The container is stopped and not removed; then Thor is started on port 8001.",
  },
  {
    ...BASE,
    id: "docker/bifrost",
    name: "bifrost",
    server: "bifrost",
    origin: "Container of its own",
    image: "maximhq/bifrost:v1.2",
    command: ["/app/main", "-port", "8899"],
    port: 8899,
    endpoint: "http://127.0.0.1:8899",
    adopt_hint: "A gateway serves no model, so there is nothing to adopt.",
    adopt_refused: true,
    stop_hint: "The container is stopped and not removed; then the gateway takes port 8899.",
  },
  {
    ...BASE,
    id: "process/4711",
    name: "ollama",
    kind: "process",
    server: "ollama",
    origin: "System service ollama, process 4711",
    command: ["/usr/local/bin/ollama", "serve"],
    port: 11434,
    endpoint: "http://127.0.0.1:11434",
    models: [
      { name: "qwen2.5-coder:7b", size_bytes: 4_683_087_332, loaded: true },
      { name: "nomic-embed-text:latest", size_bytes: 274_302_450, loaded: false },
    ],
    memory_bytes: Math.round(5.1 * GB.bytes),
    memory_basis: "declared",
    adopt_hint: "Each model that is added becomes an agent of its own; Ollama loads and unloads it.",
    stop_hint: "It is a system service; stop it with systemctl stop ollama.",
    stop_refused: true,
  },
  {
    ...BASE,
    id: "docker/hostile",
    name: '<img src=x onerror="window.harmed=1">\u202Enoitpoda',
    server: "unknown",
    origin: "Container of its own",
    image: "registry.example/" + "very-long-name-".repeat(12) + "<b>bold</b>",
    command: ["sh", "-c", "<script>window.harmed=1</script>"],
    running: false,
    adopt_hint: "It answers no request, so it cannot be adopted.",
    adopt_refused: true,
    stop_hint: "It is stopped already.",
    stop_refused: true,
  },
];

export class PlayedNeighbours {
  #list: readonly Neighbour[];

  constructor(guests: boolean) {
    this.#list = guests ? FOUND : [];
  }

  get open(): number {
    return this.#list.filter((n) => n.answer === "open" && n.running).length;
  }

  /** Agents that a server of others serves. */
  get adopted(): readonly string[] {
    return this.#list.flatMap((n) => (n.answer === "adopted" && n.agent !== null ? [n.agent] : []));
  }

  all(): Neighbours {
    return { neighbours: structuredClone(this.#list) as Neighbour[] };
  }

  #found(id: string): Neighbour {
    const found = this.#list.find((n) => n.id === id);
    if (found === undefined) throw no("That server is no longer there.", "Look again.");
    return found;
  }

  #change(id: string, change: Partial<Neighbour>): Neighbours {
    this.#found(id);
    this.#list = this.#list.map((n) => (n.id === id ? { ...n, ...change } : n));
    return this.all();
  }

  adopt({ id, agent }: AdoptRequest): Neighbours {
    const found = this.#found(id);
    if (found.adopt_refused) throw no(`${found.name} cannot be adopted.`, found.adopt_hint);
    return this.#change(id, { answer: "adopted", agent: agent ?? found.agent });
  }

  stop(id: string): Neighbours {
    const found = this.#found(id);
    if (found.stop_refused) throw no(`${found.name} cannot be stopped from here.`, found.stop_hint);
    return this.#change(id, { answer: "stopped", running: false });
  }

  leave(id: string): Neighbours {
    return this.#change(id, { answer: "left" });
  }

  undo(id: string): Neighbours {
    return this.#change(id, { answer: "open", running: true });
  }
}
