// Presets, import and export, played.

import type { ApiError, Confirmation, Exported, Imported, ImportKind, Preset, Presets, PresetUsed, SurfaceEntry } from "../types";

const KEPT = "/home/you/.config/asgard/kept/stack-2026-11-21-075000.toml";
const PATH = "/home/you/.config/asgard/stack.toml";
const SIX = ["Thor", "Valkyrie", "Odin", "Heimdall", "Loki", "Frigga"];

const PRESETS: readonly Preset[] = [
  { name: "norse", summary: "Six agents on vLLM, two awake at a time.", machine: "Strix Halo, 128 GB", agents: SIX, profiles: ["standard", "odin"], in_force: true, fits: true, reason: "Fits, 21.6\u00a0GB to spare" },
  { name: "norse-bf16", summary: "Thor and Valkyrie in BF16 on vLLM, the other four on llama.cpp and the CPU.", machine: "Strix Halo, 128 GB", agents: SIX, profiles: ["standard"], in_force: false, fits: true, reason: "Fits, 8.2\u00a0GB to spare" },
  { name: "qwen3-next-tp4", summary: "One large model over four cards.", machine: "Four NVIDIA cards, 16 GB each", agents: ["Odin"], profiles: ["odin"], in_force: false, fits: false, reason: "It needs four GPUs, and this machine has one." },
  { name: "small", summary: "Three small models on llama.cpp.", machine: "Any machine with 8 GB", agents: ["Thor", "Heimdall", "Frigga"], profiles: ["standard"], in_force: false, fits: null, reason: "The size of one model is not known yet." },
];

const SURFACE: SurfaceEntry[] = [
  { agent: "thor", kind: "image", text: "ghcr.io/strix/vllm-therock-gfx1151:latest" },
  { agent: "thor", kind: "mount", text: "/home/you/models, read only" },
  { agent: "thor", kind: "device", text: "/dev/kfd" },
  { agent: "thor", kind: "argument", text: "--enforce-eager" },
  { agent: "frigga", kind: "image", text: "ghcr.io/ggml-org/llama.cpp:server-vulkan" },
  { agent: "frigga", kind: "variable", text: "GGML_VK_VISIBLE_DEVICES=0" },
];

const IMPORTED: Imported = {
  stack: 'version = 1\nname = "strix"\n\n[[agents]]\nname = "thor"\ncontext = 32768\n',
  understood: [
    { file: "compose.yml", line: 12, agent: "thor", what: "services.vllm_thor.image", message: "The image of Thor." },
    { file: ".env", line: 3, agent: "thor", what: "THOR_GPU_UTIL", message: "0.22 of 120 GB is 26.4 GB." },
  ],
  corrected: [
    { file: ".env", line: 7, agent: "frigga", what: "FRIGGA_MAX_LEN", message: "65536 became 32768: the model of Frigga was trained for 32,768 tokens." },
  ],
  not_understood: [{ file: "compose.yml", line: 88, agent: null, what: "services.watchtower", message: "It serves no model, so nothing was made of it." }],
  secrets: ["HF_TOKEN"],
  surface: SURFACE,
  problems: [],
  written: null,
  kept: null,
};

function unknown(message: string, next: string): Error {
  return Object.assign(new Error(message), { code: "unknown", message, next } satisfies ApiError);
}

export class PlayedStacks {
  #presets = PRESETS;
  #chosen = false;

  presets(): Presets {
    return { presets: structuredClone(this.#presets) as Preset[] };
  }

  use(name: string, dry: boolean): PresetUsed {
    if (!this.#presets.some((p) => p.name === name)) throw unknown("There is no such preset.", "Look at the list again.");
    if (!dry) this.#presets = this.#presets.map((p) => ({ ...p, in_force: p.name === name }));
    return { name, path: PATH, kept: KEPT, written: !dry, text: `version = 1\nname = "${name}"\n` };
  }

  choose(kind: ImportKind): Imported {
    this.#chosen = true;
    return kind === "stack" ? { ...IMPORTED, understood: [], corrected: [], not_understood: [], secrets: [] } : IMPORTED;
  }

  write(): Imported | null {
    if (!this.#chosen) return null;
    this.#chosen = false;
    return { ...IMPORTED, written: PATH, kept: KEPT };
  }

  export(kind: string): Exported {
    return kind === "env"
      ? { files: [{ name: ".env", text: "THOR_MAX_LEN=32768\nTHOR_PORT=8001\n" }], notes: [] }
      : {
          files: [
            { name: "compose.yml", text: "services:\n  thor:\n    image: ${THOR_IMAGE}\n" },
            { name: ".env", text: "THOR_MAX_LEN=32768\n" },
          ],
          notes: ["Profiles that stop an agent before another one starts have no equal in compose."],
        };
  }

  confirmation(needed: boolean): Confirmation {
    return { needed, source: "imported from compose.yml", surface: SURFACE, hash: "c".repeat(16) };
  }
}
