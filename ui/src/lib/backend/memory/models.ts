// The played cache and queue: what the target pictures show, an empty house, and texts of strangers at their worst.

import type { ApiError, Code, Download, DownloadDetail, Downloads, Estimate, EstimateRequest, Fit, HubAccount, InstalledModel, InstalledModels, ModelUser, ProfileFit, ProfileFitKind, PullRequest, RemovedModel, RemoveModelRequest, VerifyProgress } from "../types";

const G = 1e9;
const GIB = 2 ** 30;
const PROFILES = ["standard", "heimdall", "loki", "frigga", "odin"];
const SIGNS: Readonly<Record<string, ProfileFitKind>> = { o: "in_profile", y: "fits", l: "less_context", n: "no" };
const sha = (seed: string): string => (seed.replaceAll(/[^0-9a-f]/gi, "a").toLowerCase() + "9f3c5d7e1b204860a7c1".repeat(3)).slice(0, 40);
export const ago = (seconds: number): string => new Date(Date.now() - seconds * 1_000).toISOString();

export type ModelsPlay = "pictured" | "quiet" | "none" | "hostile" | "offline";

/** Right to left, a line break, a tag, and three hundred letters. */
export const HOSTILE = `evil\u202e<img src=x onerror=alert(1)>\n${"a-very-long-name-".repeat(18)}`;

export function played(code: Code, message: string, next: string): Error {
  return Object.assign(new Error(code), { code, message, next } satisfies ApiError);
}

/** A fit in five profiles, one sign each, with the gigabytes to spare or short. */
export function fitOf(signs: string, spare: readonly number[], words = ""): Fit {
  const profiles = PROFILES.map((profile, i): ProfileFit => {
    const kind = SIGNS[signs.charAt(i)] ?? "no";
    const gb = spare[i] ?? 4.2;
    return {
      profile,
      kind,
      context: kind === "no" ? null : kind === "less_context" ? 12_288 : 32_768,
      spare_bytes: (kind === "no" ? -gb : gb) * GIB,
      reason: kind === "no" ? `${gb.toFixed(1)}\u00a0GB short` : kind === "less_context" ? `12K of context, ${gb.toFixed(1)}\u00a0GB to spare` : `${gb.toFixed(1)}\u00a0GB to spare`,
    };
  });
  return { kind: /[oy]/.test(signs) ? "fits" : signs.includes("l") ? "less_context" : "never", words, profiles };
}

const USERS: Readonly<Record<string, ModelUser>> = Object.fromEntries(
  [["thor", "Thor", true], ["valkyrie", "Valkyrie", true], ["odin", "Odin", false], ["heimdall", "Heimdall", false], ["loki", "Loki", false], ["frigga", "Frigga", false]].map(([agent, name, awake]) => [
    agent,
    { agent, display_name: name, awake },
  ]),
) as Record<string, ModelUser>;

function one(title: string, repo: string, gb: number, users: readonly string[], fit: Fit, more: Partial<InstalledModel> = {}): InstalledModel {
  const weights = Math.round(gb * G * 0.998);
  return {
    id: repo,
    model: repo,
    repo,
    title,
    commit: sha(repo),
    revisions: ["main"],
    path: `/home/you/.cache/huggingface/hub/models--${repo.replaceAll("/", "--")}`,
    held_bytes: Math.round(gb * G),
    shared_bytes: 0,
    files: 12,
    backend: "vllm",
    quantization: "AWQ 4-bit",
    architecture: "Qwen2ForCausalLM",
    max_context: 131_072,
    licence: "apache-2.0",
    licence_title: "Apache 2.0",
    used_by: users.flatMap((u) => USERS[u] ?? []),
    presets: users.length > 0 ? ["strix-halo"] : [],
    complete: true,
    problem: null,
    verified: ago(3_000),
    owner: null,
    weights_bytes: weights,
    memory_bytes: weights + 6 * GIB,
    context: 32_768,
    fit,
    tokens_per_second: 210 / gb,
    download: null,
    ...more,
  };
}

function pictured(): InstalledModel[] {
  return [
    one("Llama 3.3 70B Instruct", "casperhansen/llama-3.3-70b-instruct-awq", 39.8, ["odin"], fitOf("nnnno", [42.4, 48.4, 55.4, 66.4, 7.6]), { licence: "llama3.3", licence_title: "Llama 3.3", architecture: "LlamaForCausalLM", files: 17 }),
    one("Qwen3 Coder 30B A3B", "QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ", 18.1, ["valkyrie"], fitOf("oooon", [12.1, 6.1, 2.2, 1.4, 9.9]), { architecture: "Qwen3MoeForCausalLM", max_context: 262_144, tokens_per_second: 74 }),
    one("Qwen2.5 Coder 14B", "Qwen/Qwen2.5-Coder-14B-Instruct-AWQ", 9.9, [], fitOf("yylnn", [8.4, 2.4, 0.4, 2.1, 5.8]), { verified: null }),
    one("Qwen2.5 14B Instruct", "Qwen/Qwen2.5-14B-Instruct-AWQ", 9.9, ["thor", "frigga"], fitOf("ooooo", [14.3, 8.6, 4.1, 2.2, 7.6])),
    one("Qwen2.5 7B Instruct", "Qwen/Qwen2.5-7B-Instruct-AWQ", 5.6, ["loki"], fitOf("yyonl", [11, 5, 4.1, 3.2, 0.9])),
    one("Qwen2.5 3B Instruct", "Qwen/Qwen2.5-3B-Instruct-AWQ", 2.7, ["heimdall"], fitOf("yoyny", [13, 8.6, 4.1, 1.1, 3.9]), { licence: "qwen-research", licence_title: "Qwen Research" }),
  ];
}

function worst(): InstalledModel[] {
  return [
    ...pictured().slice(2, 4),
    one(HOSTILE, `${"x".repeat(96)}/${"y".repeat(200)}`, 4.2, [], fitOf("ynnnn", []), { id: "hostile", licence_title: HOSTILE, quantization: HOSTILE, architecture: HOSTILE, presets: [HOSTILE] }),
    one("Half of one", "someone/half-of-one-GGUF", 3.1, [], fitOf("yyyyy", []), { complete: false, problem: "2 of 5 files are missing.", backend: "llama.cpp", quantization: "Q4_K_M" }),
    one("Root's own", "container/roots-own-AWQ", 7.7, [], fitOf("yyyyy", []), {
      owner: { message: "A container wrote these files as root, so you cannot change them.", command: "sudo chown -R you: /home/you/.cache/huggingface/hub/models--container--roots-own-AWQ" },
    }),
    one("Coming in", "cpatonn/Coming-In-AWQ-4bit", 29.8, [], fitOf("nnnny", []), { complete: false, download: "d1" }),
    one("Nobody knows", "unknown/nobody-knows", 1.2, [], { kind: "unknown", words: "", profiles: [] }, {
      backend: null, quantization: null, architecture: null, licence: null, licence_title: null, max_context: null, context: null, memory_bytes: null, weights_bytes: null, tokens_per_second: null, verified: null, shared_bytes: 0.4 * G,
    }),
  ];
}

let next = 100;

export function download(title: string, repo: string, state: Download["state"], gb: number | null, done: number, more: Partial<Download> = {}): Download {
  next += 1;
  return {
    id: `d${String(next)}`,
    repo,
    revision: "main",
    commit: gb === null ? null : sha(repo),
    variant: null,
    model: repo,
    title,
    state,
    detail: null,
    total_bytes: gb === null ? null : Math.round(gb * G),
    done_bytes: Math.round(done * G),
    verified_bytes: Math.round(done * G * 0.98),
    fetched_bytes: Math.round(done * G * 1.004),
    bytes_per_second: state === "running" ? 84e6 : null,
    seconds_left: state === "running" ? 218 : null,
    connections: state === "running" ? 8 : 0,
    files_total: gb === null ? null : 7,
    files_done: state === "done" ? 7 : done > 0 ? 4 : 0,
    problem: null,
    added: ago(4_000),
    finished: state === "done" ? ago(900) : null,
    ...more,
  };
}

function queue(): Download[] {
  return [
    download("Qwen3 Next 80B A3B Instruct", "cpatonn/Qwen3-Next-80B-A3B-Instruct-AWQ-4bit", "running", 48.1, 29.8, { id: "d1" }),
    download("Qwen2.5 Coder 7B Instruct", "Qwen/Qwen2.5-Coder-7B-Instruct-AWQ", "verifying", 5.6, 5.6, { verified_bytes: 4 * G, files_done: 5 }),
    download("Mistral Small 3.2 24B", "mistralai/Mistral-Small-3.2-24B-Instruct-AWQ", "paused", 14.9, 3.6),
    download("Llama 3.1 8B Instruct", "meta-llama/Llama-3.1-8B-Instruct", "failed", 16.1, 0, {
      problem: { message: "This model is gated.", next: "Accept its licence on Hugging Face, then add a token that may read it.", remedy: "add_token", page: "https://hub.test/meta-llama/Llama-3.1-8B-Instruct" },
    }),
    download("Phi 4 14B", "stelterlab/phi-4-AWQ", "queued", 9.1, 0, { detail: "Waiting for 1 download" }),
    download("Qwen2.5 7B Instruct", "Qwen/Qwen2.5-7B-Instruct-AWQ", "done", 5.6, 5.6),
  ];
}

function troubled(): Download[] {
  const gated = (title: string, remedy: NonNullable<Download["problem"]>["remedy"], message: string, next_: string): Download =>
    download(title, `gated/${title.replaceAll(" ", "-")}`, "failed", 8, 0, { problem: { message, next: next_, remedy, page: "https://hub.test/gated" } });
  return [
    download("Waits for the network", "a/waits", "waiting", 12, 3.4, { detail: "The network is away, next try in 30 s" }),
    download("Asked for patience", "a/patience", "waiting", 12, 3.4, { detail: "The Hub asks to wait 55 s", problem: { message: "Too many requests from this address.", next: "It goes on by itself.", remedy: null, page: null } }),
    download("Asks for its files", "a/asks", "resolving", null, 0),
    gated("Licence not accepted", "accept_licence", "Its licence is not accepted by your account.", "Accept it in the browser, then try again."),
    gated("No access", "ask_for_access", "Its publisher has not given your account access.", "Ask for it in the browser."),
    gated("Token refused", "change_token", "The Hub does not take the token.", "Add another one."),
    gated("Disk full", "free_disk", "The disk is full: 12.0 GB are needed and 3.1 GB are free.", "Remove what you do not need."),
    gated("Owned by root", "fix_owner", "Asgard may not write into the folder of this model.", "Give it back to yourself with the command in Installed."),
    gated("Too large a file", "choose_other", "One of its files is over 50 GB and can only be had through Xet.", "Choose another quantisation."),
    gated("Bytes were wrong", "try_again", "What arrived is not what the Hub's hash says.", "Try again; the wrong part is fetched anew."),
    download(HOSTILE, `${"x".repeat(96)}/${"y".repeat(200)}`, "paused", 3, 1, { detail: HOSTILE }),
  ];
}

export class PlayedModels {
  #models: InstalledModel[];
  #queue: Download[];
  #account: HubAccount;
  #paused = false;
  #limit: number | null = null;
  readonly offline: boolean;

  constructor(readonly play: ModelsPlay) {
    this.#models = play === "none" ? [] : play === "hostile" ? worst() : pictured();
    this.#queue = play === "pictured" ? queue() : play === "hostile" ? [...queue().slice(0, 1), ...troubled()] : [];
    this.offline = play === "offline";
    this.#account = { endpoint: "https://hub.test", token: null, user: null, role: null, checked: null, problem: null };
  }

  installed(): InstalledModels {
    return structuredClone({
      models: this.#models,
      path: "/home/you/.cache/huggingface/hub",
      held_bytes: this.#models.reduce((sum, m) => sum + m.held_bytes, 0),
      free_bytes: 1.6e12,
      read_only: this.play === "hostile" ? "The folder cannot be written: its file system is mounted read-only." : null,
      notes: this.play === "hostile" ? ["2 data sets lie beside the models, 3.4 GB.", HOSTILE] : [],
    });
  }

  downloads(): Downloads {
    const running = this.#queue.filter((d) => d.state === "running");
    return structuredClone({
      downloads: this.#queue,
      bytes_per_second: running.length > 0 ? 84e6 : null,
      seconds_left: running.length > 0 ? 326 : null,
      paused: this.#paused,
      limit_bytes_per_second: this.#limit,
      free_bytes: 1.6e12,
      partial_bytes: this.#queue.filter((d) => d.state !== "done").reduce((sum, d) => sum + d.done_bytes, 0),
      partial_days: 30,
      then_start: null,
    });
  }

  detail(id: string): DownloadDetail {
    const download_ = this.#one(id);
    const total = download_.total_bytes ?? 0;
    const names = this.play === "hostile" ? Array.from({ length: 2_000 }, (_, i) => (i === 3 ? HOSTILE : `shard-${String(i)}.safetensors`)) : ["config.json", ...Array.from({ length: 6 }, (_, i) => `model-0000${String(i + 1)}-of-00006.safetensors`)];
    return structuredClone({
      download: download_,
      files: names.map((path, i) => {
        const bytes = Math.round(total / names.length);
        const done = i < 2 ? bytes : i === 2 ? Math.round(bytes * 0.4) : 0;
        return { path, total_bytes: bytes, done_bytes: done, verified_bytes: done, bytes_per_second: i === 2 ? 42e6 : null, seconds_left: i === 2 ? 31 : null, connections: i === 2 ? 4 : 0, done: i < 2 };
      }),
    });
  }

  pull(request: PullRequest, title: string, gb: number): Download {
    if (this.offline) throw played("failed", "The Hub cannot be reached: no network.", "Look at the network, then try again.");
    const running = this.#queue.some((d) => d.state === "running");
    const made = download(title, request.repo, running ? "queued" : "running", gb, 0, { variant: request.variant, detail: running ? "Waiting for 1 download" : null });
    this.#queue = [made, ...this.#queue];
    return structuredClone(made);
  }

  /** The first that runs gets a tenth further, and is done after the last. */
  step(): void {
    const running = this.#queue.find((d) => d.state === "running");
    if (running === undefined) return;
    const total = running.total_bytes ?? 0;
    const done = Math.min(total, running.done_bytes + total / 10);
    this.#put(running.id, done >= total ? { state: "done", done_bytes: total, verified_bytes: total, finished: new Date().toISOString() } : { done_bytes: done });
  }

  pause(id: string | null, paused: boolean): Downloads {
    if (id === null) this.#paused = paused;
    for (const d of this.#queue) {
      if (id !== null && d.id !== id) continue;
      if (paused && ["running", "queued", "waiting", "resolving"].includes(d.state)) this.#put(d.id, { state: "paused" });
      if (!paused && (d.state === "paused" || (d.state === "failed" && id !== null))) this.#put(d.id, { state: "running", problem: null, bytes_per_second: 84e6, seconds_left: 131 });
    }
    return this.downloads();
  }

  drop(id: string): Downloads {
    this.#one(id);
    this.#queue = this.#queue.filter((d) => d.id !== id);
    return this.downloads();
  }

  limit(rate: number | null): Downloads {
    this.#limit = rate;
    return this.downloads();
  }

  remove({ id, dry_run, even_if_configured }: RemoveModelRequest): RemovedModel {
    const model = this.model(id);
    const awake = model.used_by.filter((u) => u.awake);
    const kept = awake.length > 0 ? `${awake[0]?.display_name ?? ""} runs it.` : model.used_by.length > 0 && !even_if_configured ? `${model.used_by[0]?.display_name ?? ""} is set to it.` : null;
    if (!dry_run && kept === null) this.#models = this.#models.filter((m) => m.id !== id);
    return { removed: !dry_run && kept === null, freed_bytes: model.held_bytes, files: model.files, protected: kept, users: structuredClone(model.used_by) };
  }

  import(): InstalledModel {
    const made = one("My own model", "imported/my-own-model", 2.2, [], fitOf("yyyyy", []), { commit: "", revisions: [], backend: "llama.cpp", quantization: "Q4_K_M", licence: null, licence_title: null });
    this.#models = [...this.#models.filter((m) => m.id !== made.id), made];
    return structuredClone(made);
  }

  model(id: string): InstalledModel {
    const found = this.#models.find((m) => m.id === id);
    if (found === undefined) throw played("unknown", "There is no such model.", "Look again.");
    return found;
  }

  /** What a comparison says, chunk by chunk; what somebody spoilt is found. */
  verify(id: string): readonly VerifyProgress[] {
    const model = this.model(id);
    const bad = model.repo.includes("roots-own") ? ["model-00001-of-00003.safetensors"] : [];
    const at = (share: number, done = false): VerifyProgress => ({ file: "model-00001-of-00003.safetensors", done_bytes: model.held_bytes * share, total_bytes: model.held_bytes, done, damaged: done ? bad : [], unknown: [] });
    return [at(0.1), at(0.41), at(0.8), at(1, true)];
  }

  verified(id: string): void {
    if (this.verify(id).some((c) => c.damaged.length > 0)) return;
    this.#models = this.#models.map((m) => (m.id === id ? { ...m, verified: new Date().toISOString() } : m));
  }

  account(): HubAccount {
    return structuredClone(this.#account);
  }

  setToken(token: string): HubAccount {
    if (!token.startsWith("hf_")) throw played("failed", "The Hub does not take this token.", "Copy it again, whole.");
    this.#account = { ...this.#account, token: "keyring", user: "you", role: "read", checked: new Date().toISOString() };
    return this.account();
  }

  removeToken(): HubAccount {
    this.#account = { ...this.#account, token: null, user: null, role: null, checked: null };
    return this.account();
  }

  estimate({ model, context }: EstimateRequest): Estimate {
    const known = this.#models.find((m) => m.path === model || m.model === model);
    const tokens = context ?? 32_768;
    const weights = known?.weights_bytes ?? 9 * G;
    const perToken = 320 * 1_024;
    const kv = perToken * tokens;
    const overhead = Math.round(2.9 * GIB);
    const extra = kv - perToken * 32_768;
    return {
      model,
      architecture: known?.architecture ?? "",
      backend: known?.backend ?? "vllm",
      source: "its files",
      quantization: known?.quantization ?? null,
      context: tokens,
      max_context: known?.max_context ?? null,
      sequences: 1,
      tensor_parallel: 1,
      weights_bytes: weights,
      kv_bytes_per_token: perToken,
      kv_bytes: kv,
      state_bytes: 0,
      overhead_bytes: overhead,
      total_bytes: weights + kv + overhead,
      per_device: [],
      certainty: { weights: "exact", kv: "computed", overhead: "bound" },
      fits: (known?.fit.profiles ?? []).map((p) => {
        const spare = (p.spare_bytes ?? 0) - extra;
        return { profile: p.profile, fits: spare >= 0, reason: `${(Math.abs(spare) / GIB).toFixed(1)}\u00a0GB ${spare >= 0 ? "to spare" : "short"}` };
      }),
      notes: [],
    } as Estimate;
  }

  #one(id: string): Download {
    const found = this.#queue.find((d) => d.id === id);
    if (found === undefined) throw played("unknown", "There is no such download.", "Look again.");
    return found;
  }

  #put(id: string, change: Partial<Download>): void {
    this.#queue = this.#queue.map((d) => (d.id === id ? { ...d, ...change } : d));
  }
}
