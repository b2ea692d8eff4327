// Images, played: one with a newer digest, one that was changed, one that nobody uses.

import type { ApiError, Image, Images } from "../types";

const digest = (with_: string): string => `sha256:${with_.repeat(64).slice(0, 64)}`;

const FOUND: readonly Image[] = [
  {
    reference: "ghcr.io/strix/vllm-therock-gfx1151:latest",
    digest: digest("4f1c9a"),
    version: "vLLM 0.11.2",
    size_bytes: 18_412_000_000,
    since: "2026-11-02T09:12:00Z",
    used_by: ["thor", "valkyrie", "odin", "heimdall", "loki"],
    present: true,
    newer: null,
    checked: null,
    previous: null,
    detail: null,
  },
  {
    reference: "ghcr.io/ggml-org/llama.cpp:server-vulkan",
    digest: digest("b07e52"),
    version: "llama.cpp b6902",
    size_bytes: 1_240_000_000,
    since: "2026-10-20T18:40:00Z",
    used_by: ["frigga"],
    present: true,
    newer: null,
    checked: "2026-11-20T18:40:00Z",
    previous: digest("90aa1d"),
    detail: "Tried on Frigga, answered in 0.42 s, kept.",
  },
  {
    reference: "docker.io/vllm/vllm-openai:v0.9.0",
    digest: digest("77e0c3"),
    version: "vLLM 0.9.0",
    size_bytes: 21_900_000_000,
    since: null,
    used_by: [],
    present: true,
    newer: null,
    checked: null,
    previous: null,
    detail: null,
  },
];

export class PlayedImages {
  #list: readonly Image[] = FOUND;

  constructor(private readonly error: string | null) {}

  all(): Images {
    return this.error === null
      ? { images: structuredClone(this.#list) as Image[], free_bytes: 412_000_000_000, error: null }
      : { images: [], free_bytes: null, error: this.error };
  }

  #change(reference: string, change: (image: Image) => Partial<Image>): Images {
    if (!this.#list.some((i) => i.reference === reference)) {
      throw Object.assign(new Error("unknown"), { code: "unknown", message: "There is no such image.", next: "Look again." } satisfies ApiError);
    }
    this.#list = this.#list.map((i) => (i.reference === reference ? { ...i, ...change(i) } : i));
    return this.all();
  }

  check(): Images {
    const first = this.#list[0]?.reference ?? "";
    this.#list = this.#list.map((i) => (i.used_by.length === 0 ? i : { ...i, checked: new Date().toISOString() }));
    return this.#change(first, () => ({ newer: digest("c3d81e") }));
  }

  try(reference: string, name: string): Images {
    return this.#change(reference, (i) => ({ digest: i.newer ?? i.digest, previous: i.digest, newer: null, detail: `Tried on ${name}, answered in 0.38 s, kept.` }));
  }

  undo(reference: string): Images {
    return this.#change(reference, (i) => ({ digest: i.previous ?? i.digest, previous: null, detail: "The image before is taken again." }));
  }

  remove(reference: string): Images {
    this.#list = this.#list.filter((i) => i.reference !== reference || i.used_by.length > 0);
    return this.all();
  }
}
