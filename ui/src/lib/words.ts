// One word per state, the same in cards, logs and announcements.

import type { AgentState, Stage } from "./backend/types";

export const STATE_WORDS: Record<AgentState, string> = {
  asleep: "Asleep",
  pulling: "Pulling",
  starting: "Starting",
  loading: "Loading",
  ready: "Ready",
  busy: "Busy",
  draining: "Draining",
  stopping: "Stopping",
  failed: "Failed",
};

export const STAGES: readonly { readonly stage: Stage; readonly word: string; readonly doing: string }[] = [
  { stage: "container", word: "Container", doing: "Starting" },
  { stage: "weights", word: "Weights", doing: "Loading weights" },
  { stage: "kv_cache", word: "KV cache", doing: "Reserving KV cache" },
  { stage: "warm_up", word: "Warm-up", doing: "Warming up" },
];

const ENGINES: Record<string, string> = {
  docker: "Docker",
  podman: "Podman",
  process: "Local processes",
  external: "External server",
  ollama: "Ollama",
};

export function engineName(kind: string): string {
  return ENGINES[kind] ?? kind;
}

const BACKENDS: Record<string, string> = {
  vllm: "vLLM",
  "llama.cpp": "llama.cpp",
  ollama: "Ollama",
  external: "A server that runs already",
};

export function backendName(backend: string): string {
  return BACKENDS[backend] ?? backend;
}

export function isStarting(state: AgentState): boolean {
  return state === "pulling" || state === "starting" || state === "loading";
}

export function isAwake(state: AgentState): boolean {
  return state === "ready" || state === "busy";
}
