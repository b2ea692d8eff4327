// What the desktop's file dialog takes into the cache, played.

import type { InstalledModel } from "../types";

export const IMPORTED: InstalledModel = {
  id: "imported/tiny-Q4_K_M/tiny-Q4_K_M.gguf@8d6b51a9d7b3e5fd0c2a1de42e7a11d3d63f2b0a",
  model: "imported/tiny-Q4_K_M/tiny-Q4_K_M.gguf",
  repo: "imported/tiny-Q4_K_M",
  title: "Tiny, Q4_K_M",
  commit: "8d6b51a9d7b3e5fd0c2a1de42e7a11d3d63f2b0a",
  revisions: ["main"],
  path: "/home/you/.cache/huggingface/hub/models--imported--tiny-Q4_K_M/snapshots/8d6b51a9d7b3e5fd0c2a1de42e7a11d3d63f2b0a/tiny-Q4_K_M.gguf",
  held_bytes: 1_900_000_000,
  shared_bytes: 0,
  files: 1,
  backend: "llama.cpp",
  quantization: "Q4_K_M",
  architecture: "qwen2",
  max_context: 32_768,
  licence: null,
  licence_title: null,
  used_by: [],
  presets: [],
  complete: true,
  problem: null,
  verified: null,
  owner: null,
  weights_bytes: 1_890_000_000,
  memory_bytes: 3_200_000_000,
  context: 32_768,
  fit: { kind: "fits", words: "Fits beside standard", profiles: [] },
  tokens_per_second: null,
  download: null,
};
