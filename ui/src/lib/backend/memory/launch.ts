// What an agent would be started with, as the controller says it.

import type { AgentStatus, ApiError, LaunchPreview } from "../types";

const GIB = 2 ** 30;

export function launchOf(agent: AgentStatus | undefined, name: string): LaunchPreview {
  if (agent === undefined) {
    throw Object.assign(new Error("unknown"), {
      code: "unknown",
      message: `There is no agent ${name}.`,
      next: "Look at `asgard status` for those there are.",
    } satisfies ApiError);
  }
  const kv = agent.claim.kv_bytes;
  const image = "docker.io/kyuz0/vllm-therock-gfx1151@sha256:1f2e3d4c";
  const args = ["serve", agent.model, "--port", String(agent.port), "--max-model-len", String(agent.context), "--kv-cache-memory-bytes", String(kv), "--gpu-memory-utilization", "0.01"];
  return {
    agent: name,
    backend: "vllm",
    engine: "docker",
    image,
    version: "vLLM 0.32.0",
    command: ["vllm", ...args],
    command_text: ["docker run --rm --init", `-p 127.0.0.1:${String(agent.port)}:${String(agent.port)}`, "-e 'VLLM_API_KEY=****'", "--entrypoint vllm", image, ...pairs(args)].join(" \\\n  "),
    env: [{ name: "HF_HUB_OFFLINE", value: "1" }, { name: "VLLM_API_KEY", value: null }],
    flags: [
      { flag: "--port", value: String(agent.port), why: "Its own port, from the stack file." },
      { flag: "--max-model-len", value: String(agent.context), why: "The longest conversation: a longer one would need more KV cache than was counted." },
      { flag: "--kv-cache-memory-bytes", value: String(kv), why: `${(kv / GIB).toFixed(1)}\u00a0GB of KV cache, as kv_cache says.` },
      { flag: "--gpu-memory-utilization", value: "0.01", why: "Sizes nothing beside explicit bytes." },
    ],
    dropped: agent.name === "odin" ? [{ flag: "--swap-space", why: "vLLM 0.32.0 does not know --swap-space: it had no effect since vLLM's first engine went." }] : [],
    notes: [],
  };
}

function pairs(args: readonly string[]): string[] {
  const lines: string[] = [];
  for (const word of args) {
    if (word.startsWith("-") || lines.length === 0) lines.push(word);
    else lines[lines.length - 1] += ` ${word}`;
  }
  return lines;
}
