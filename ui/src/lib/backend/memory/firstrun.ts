// The first steps, played: a machine on which nothing was set up yet.

import type { FinishFirstRunRequest, FirstModel, FirstRun, HubModel } from "../types";
import { GB } from "../../format";

const G = 1e9;

function one(title: string, repo: string, gb: number, agents: readonly string[], chosen = false): FirstModel {
  const model: HubModel = {
    repo,
    title,
    summary: "",
    licence: "apache-2.0",
    licence_title: "Apache 2.0",
    open_licence: true,
    gated: "open",
    private: false,
    downloads: null,
    likes: null,
    last_modified: null,
    curated_for: [],
    commit: null,
    detailed: false,
    variants: [],
    best: null,
    matches: null,
    problem: null,
  };
  return { model, agents: [...agents], bytes: gb * G, chosen, installed: false };
}

const MODELS: readonly FirstModel[] = [
  one("Qwen2.5 14B Instruct", "Qwen/Qwen2.5-14B-Instruct-AWQ", 9.9, ["thor", "frigga"], true),
  one("Qwen3 Coder 30B A3B", "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ", 18.1, ["valkyrie"], true),
  one("Llama 3.3 70B Instruct", "casperhansen/llama-3.3-70b-instruct-awq", 39.8, ["odin"]),
  one("Qwen2.5 7B Instruct", "Qwen/Qwen2.5-7B-Instruct-AWQ", 5.6, ["loki"]),
  one("Qwen2.5 3B Instruct", "Qwen/Qwen2.5-3B-Instruct-AWQ", 2.7, ["heimdall"]),
];

export class PlayedFirstRun {
  #due: boolean;
  #limit = 120;
  /** What was asked for at last, for who looks. */
  finished: FinishFirstRunRequest | null = null;

  constructor(
    due: boolean,
    private readonly engine: boolean,
  ) {
    this.#due = due;
  }

  first(): FirstRun {
    return {
      due: this.#due,
      engine: this.engine
        ? { found: true, title: "Docker 27.3.1", problem: null, next: null, command: null, advice: ["Swap: None"] }
        : { found: false, title: "No engine", problem: "Docker is not running.", next: "Start it, then look again.", command: "sudo systemctl start docker", advice: [] },
      preset: this.#due ? "norse" : null,
      machine: "128 GB of memory that processor and GPU share",
      gpu: "Radeon 8060S, gfx1151",
      capacity_bytes: 128 * GB.bytes,
      limit_bytes: this.#limit * GB.bytes,
      least_limit_bytes: 32 * GB.bytes,
      most_limit_bytes: 124 * GB.bytes,
      other_bytes: 11.2 * GB.bytes,
      models: structuredClone([...MODELS]),
      image: { reference: "docker.io/kyuz0/vllm-therock-gfx1151", bytes: 12.6 * G, present: false },
      free_bytes: 1.6e12,
      base: "standard",
    };
  }

  finish(asked: FinishFirstRunRequest): FirstRun {
    this.#due = false;
    this.finished = asked;
    if (asked.limit_bytes !== null) this.#limit = asked.limit_bytes / GB.bytes;
    return this.first();
  }

  title(repo: string): { title: string; gb: number } {
    const found = MODELS.find((m) => m.model.repo === repo);
    return { title: found?.model.title ?? repo, gb: (found?.bytes ?? 0) / G };
  }
}
