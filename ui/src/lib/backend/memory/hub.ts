// The played Hub: what the target pictures show, and what strangers may write.

import type { CuratedModels, Fit, FitKind, HubModel, ModelInfo, SearchChunk, SearchRequest, Trouble, Variant } from "../types";
import { HOSTILE, ago, fitOf, played, type ModelsPlay } from "./models";

const G = 1e9;
const GIB = 2 ** 30;

const FP8: Trouble = { verdict: "crashes", fatal: true, message: "FP8 weights crash on gfx1151.", source: "Measured with vLLM 0.11", date: "14 October 2025" };
const SLOW: Trouble = { verdict: "is slow", fatal: false, message: "BF16 is slow for its size here: every byte is read for each token.", source: "Measured", date: "2 November 2025" };

function fit(kind: FitKind, words: string): Fit {
  const signs = { fits: "yynnn", less_context: "lnnnn", alone: "nnnnn", never: "nnnnn", unknown: "" }[kind];
  return { ...(kind === "unknown" ? { profiles: [] } : fitOf(signs, [])), kind, words };
}

function variant(id: string, gb: number, memory: number | null, f: Fit, more: Partial<Variant> = {}): Variant {
  return {
    id,
    title: id === "all" ? "AWQ 4-bit" : id,
    backend: "vllm",
    quantization: "awq",
    model: "",
    files: ["config.json", "model.safetensors"],
    download_bytes: gb * G,
    memory_bytes: memory === null ? null : memory * GIB,
    weights_bytes: gb * G,
    context: 32_768,
    max_context: 131_072,
    parameters: null,
    active_parameters: null,
    tokens_per_second: 210 / gb,
    fit: f,
    troubles: [],
    refused: null,
    installed: false,
    ...more,
  };
}

function model(title: string, repo: string, summary: string, variants: readonly Variant[], more: Partial<HubModel> = {}): HubModel {
  return {
    repo,
    title,
    summary,
    licence: "apache-2.0",
    licence_title: "Apache 2.0",
    open_licence: true,
    gated: "open",
    private: false,
    downloads: 128_400,
    likes: 312,
    last_modified: ago(86_400 * 24),
    curated_for: [],
    commit: null,
    detailed: true,
    variants: variants.map((v) => ({ ...v, model: v.backend === "llama.cpp" ? `${repo}/${v.id}.gguf` : repo })),
    best: variants[0]?.id ?? null,
    matches: true,
    problem: null,
    ...more,
  };
}

const GGUF: Partial<Variant> = { backend: "llama.cpp", quantization: "gguf" };

function shelf(): HubModel[] {
  return [
    model("Qwen3 Next 80B A3B", "cpatonn/Qwen3-Next-80B-A3B-Instruct-AWQ-4bit", "Mixture of experts, 3B active. Long context, fast for its size.", [variant("all", 48.1, 52.4, fit("alone", "Only in place of Valkyrie or Odin"), { tokens_per_second: 62 })], { downloads: 1_214_000 }),
    model("Mistral Small 3.2 24B", "mistralai/Mistral-Small-3.2-24B-Instruct-AWQ", "Dense 24B with strong instruction following and tool use.", [variant("all", 14.9, 19.8, fit("fits", "Fits beside standard"))]),
    model("Phi 4 14B", "stelterlab/phi-4-AWQ", "Dense 14B for reasoning and maths. 16K context at most.", [variant("all", 9.1, 12.7, fit("fits", "Fits beside standard and heimdall"), { context: 16_384 })], { licence: "mit", licence_title: "MIT" }),
    model("Llama 3.1 8B Instruct", "meta-llama/Meta-Llama-3.1-8B-Instruct", "Dense 8B in BF16. Not quantised, so slow for its size here.", [variant("all", 16.1, 20.2, fit("fits", "Fits beside standard"), { title: "BF16", quantization: "bf16", troubles: [SLOW] })], { gated: "auto", licence: "llama3.1", licence_title: "Llama 3.1", open_licence: false }),
    model("Qwen2.5 32B Instruct", "Qwen/Qwen2.5-32B-Instruct-AWQ", "Dense 32B. A middle step between Thor and Odin.", [variant("all", 19.3, 27, fit("never", "Too large for every profile, by 5.4 GB or more"))]),
    model("Qwen2.5 Coder 7B", "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ", "Small coder, useful as a draft model for Valkyrie.", [variant("all", 5.6, 7.2, fit("fits", "Fits beside 4 of 5 profiles"))]),
    model("Qwen3 4B", "unsloth/Qwen3-4B-GGUF", "Dense 4B in many quantisations.", [
      variant("Q4_K_M", 2.5, 4.6, fit("fits", "Fits beside 5 of 5 profiles"), GGUF),
      variant("Q8_0", 4.3, 6.4, fit("less_context", "Fits beside standard with 12K of context"), GGUF),
      variant("BF16", 8.1, 10.2, fit("alone", "Only in place of Loki"), GGUF),
      variant("FP8", 60.2, null, fit("unknown", ""), { ...GGUF, backend: null, refused: { message: "One of its files is over 50 GB and can only be had through Xet.", next: "Choose Q8_0.", remedy: "choose_other", page: null } }),
    ]),
    model("Qwen3 32B", "Qwen/Qwen3-32B-FP8", "Dense 32B in FP8.", [variant("all", 34.1, 40.2, fit("alone", "Only in place of Valkyrie"), { title: "FP8", quantization: "fp8", troubles: [FP8] })]),
    model("Qwen2.5 7B Instruct", "Qwen/Qwen2.5-7B-Instruct-AWQ", "Dense 7B.", [variant("all", 5.6, 9.2, fit("fits", "Fits beside standard"), { installed: true })]),
    model("A publisher decides", "gated/asks-for-access", "Behind a form.", [variant("all", 5.6, 9.2, fit("fits", "Fits beside standard"))], {
      gated: "manual", problem: { message: "Your account may not read it yet.", next: "Ask its publisher for access.", remedy: "ask_for_access", page: "https://hub.test/gated/asks-for-access" },
    }),
  ];
}

function hostile(): HubModel[] {
  return [
    model(HOSTILE, `${"x".repeat(96)}/${"y".repeat(200)}`, `<script>alert(1)</script> ${HOSTILE}`, [variant("all", 5.6, 7.2, fit("fits", HOSTILE), { title: HOSTILE, troubles: [{ ...SLOW, message: HOSTILE }] })], { licence_title: HOSTILE, curated_for: [HOSTILE] }),
    model("A hundred thousand files", "many/files", "", [variant("all", 99, null, fit("unknown", ""), { refused: { message: "It has a path that leads out of its folder.", next: "Choose another model.", remedy: "choose_other", page: null } })]),
    model("Cut off", "cut/off", "", [], { problem: { message: "The Hub did not answer in time.", next: "Try again.", remedy: "try_again", page: null } }),
    ...shelf().slice(0, 3),
  ];
}

const CARD = `---
license: apache-2.0
tags: [x]
---
# Hello

<script>document.title = "owned"</script>
<img src="https://evil.test/pixel.png" onerror="document.title='owned'">
<a href="javascript:document.title='owned'">press</a> and [a page](https://evil.test/a)

<style>body { display: none }</style>

| a | b |
|---|---|
| 1 | 2 |
`;

export class PlayedHub {
  readonly #models: readonly HubModel[];

  constructor(private readonly play: ModelsPlay) {
    this.#models = play === "hostile" ? hostile() : shelf();
  }

  curated(): CuratedModels {
    return structuredClone({ models: this.#models.slice(0, 6).map((m, i) => ({ ...m, curated_for: i === 5 ? ["strix-halo: Valkyrie"] : m.curated_for })), checked_for: "gfx1151" });
  }

  title(repo: string, id: string | null): { title: string; gb: number } {
    const found = this.#models.find((m) => m.repo === repo);
    const v = found?.variants.find((x) => x.id === id) ?? found?.variants[0];
    return { title: found?.title ?? repo, gb: (v?.download_bytes ?? 5 * G) / G };
  }

  info(repo: string): ModelInfo {
    const found = this.#models.find((m) => m.repo === repo);
    if (found === undefined || this.play === "offline") throw played("failed", "The Hub cannot be reached: no network.", "Look at the network, then try again.");
    const many = this.play === "hostile";
    const files = many
      ? Array.from({ length: 2_000 }, (_, i) => ({ path: i === 0 ? HOSTILE : `folder/${"z".repeat(200)}-${String(i)}.bin`, bytes: 1_000 + i, sha256: null }))
      : ["README.md", "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"].map((path, i) => ({ path, bytes: i < 2 ? 1_200 : 2.4e9, sha256: null }));
    return structuredClone({ model: found, files, file_count: many ? 100_000 : files.length, total_bytes: files.reduce((sum, f) => sum + f.bytes, 0), card: CARD, page: `https://hub.test/${repo}` });
  }

  /** The page without its figures, then the figures; what is asked for twice comes in two pages. */
  search(request: SearchRequest): readonly SearchChunk[] {
    if (this.play === "offline") throw played("failed", "The Hub cannot be reached: this network answers with a page of its own.", "Log in to the network in a browser, then try again.");
    const words = request.text.toLowerCase().split(/\s+/);
    if (words.includes("patience")) throw played("failed", "The Hub asks to wait 55 s.", "Try again then; with a token it lets more through.");
    const found = this.#models.filter((m) => words.every((w) => `${m.title} ${m.repo}`.toLowerCase().includes(w)) || this.play === "hostile");
    const first = request.cursor === null ? 0 : Number(request.cursor);
    const page = found.slice(first, first + 6);
    const matches = (m: HubModel): boolean =>
      (!request.open_licence || m.open_licence === true) &&
      (request.quantization === null || m.variants.some((v) => v.quantization === request.quantization)) &&
      (request.backend === null || m.variants.some((v) => v.backend === request.backend)) &&
      (!request.works_here || !m.variants.every((v) => v.troubles.some((t) => t.fatal))) &&
      (!request.fits || m.variants.some((v) => v.fit.kind !== "never"));
    const bare = page.map((m) => ({ ...m, detailed: false, variants: [], best: null, matches: null, summary: "", problem: null }));
    return structuredClone([
      { kind: "page" as const, models: bare, cursor: first + 6 < found.length ? String(first + 6) : null, checked_for: "gfx1151", from: "Hugging Face" },
      ...page.map((m) => ({ kind: "model" as const, model: { ...m, matches: matches(m) } })),
    ]);
  }
}
