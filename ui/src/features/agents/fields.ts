// The words of the editor's fields, and which of them stand where.

import type { Key, Server } from "./draft";

export const LABELS: Readonly<Record<Key, string>> = {
  name: "Name",
  title: "Title",
  tier: "Tier",
  role: "Role prompt",
  served_by: "Whose server",
  backend: "Runs on",
  engine: "Run as",
  image: "Image",
  host_ipc: "Shares the host's IPC, only where an image needs it",
  command: "Command",
  endpoint: "Address",
  model: "Model",
  revision: "Revision",
  port: "Port",
  context: "Context",
  sequences: "Requests at once",
  weights: "Weights",
  overhead: "Overhead",
  kv_cache: "KV cache",
  memory: "Whole claim",
  share: "Share of the memory",
  dtype: "Type of the weights",
  quantization: "Quantisation",
  kv_dtype: "Type of the KV cache",
  tensor_parallel: "Split over devices",
  devices: "Devices",
  tool_parser: "Tool parser",
  draft_model: "Draft model",
  draft_tokens: "Tokens drafted ahead",
  batched_tokens: "Tokens in one pass",
  prefix_caching: "Keeps shared beginnings",
  eager: "No graphs",
  attention_backend: "Attention kernels",
  gpu_layers: "Layers on the GPU",
  load_mode: "How weights are read",
  cache_ram: "Memory for old prompts",
  args: "Flags",
  env: "Variables",
  ttl: "Sleeps after",
  drain: "Time to finish requests",
  load_timeout: "Longest start",
  request_timeout: "Longest request",
  min_residency: "Stays at least",
  pinned: "Stays awake through every switch",
  glyph: "Rune",
  color: "Colour",
};

export const SERVERS: readonly { readonly id: Server; readonly label: string }[] = [
  { id: "vllm", label: "vLLM" },
  { id: "llama.cpp", label: "llama.cpp" },
  { id: "ollama", label: "Ollama" },
  { id: "external", label: "A server that runs already" },
  { id: "role", label: "Another agent's server, as a role" },
];

export const TIERS = [
  { id: "", label: "Not said" },
  { id: "primary", label: "Primary" },
  { id: "coder", label: "Coder" },
  { id: "reviewer", label: "Reviewer" },
  { id: "utility", label: "Utility" },
] as const;

/** A field that is a line or a few lines of text. */
export interface Plain {
  readonly key: Key;
  readonly hint?: string;
  readonly example?: string;
  readonly lines?: number;
  readonly mono?: boolean;
  readonly numeric?: boolean;
  /** The only values there are, each with its words; the first is "left out". */
  readonly choices?: readonly { readonly id: string; readonly label: string }[];
}

const LEFT_OUT = { id: "", label: "As the server does" } as const;

export const LIMITS: readonly Plain[] = [
  { key: "ttl", example: "20 min", hint: "So long without a request; empty is never." },
  { key: "drain", example: "60 s", hint: "Before it is stopped; or finish, or abort." },
  { key: "min_residency", example: "5 min", hint: "Once it is awake." },
  { key: "load_timeout", example: "30 min", hint: "Then its start has failed." },
  { key: "request_timeout", example: "300 s", hint: "Empty is as long as its client waits." },
];

export const ADVANCED: readonly Plain[] = [
  { key: "tool_parser", example: "hermes", mono: true },
  { key: "quantization", hint: "Left out, the server finds out.", mono: true },
  { key: "dtype", example: "float16", mono: true },
  { key: "kv_dtype", example: "auto", mono: true },
  { key: "revision", hint: "A commit, tag or branch.", mono: true },
  { key: "draft_model", hint: "For speculative decoding; its memory counts too.", mono: true },
  { key: "draft_tokens", numeric: true, hint: "How far the draft model runs ahead." },
  { key: "batched_tokens", numeric: true, example: "2048", hint: "More is faster with long prompts, and takes memory." },
  { key: "prefix_caching", choices: [LEFT_OUT, { id: "true", label: "Yes" }, { id: "false", label: "No" }] },
  { key: "eager", choices: [{ id: "", label: "Left out: graphs are captured" }, { id: "true", label: "No graphs: less memory, slower" }, { id: "false", label: "Graphs" }] },
  { key: "attention_backend", example: "TRITON_ATTN", mono: true },
  { key: "gpu_layers", numeric: true, example: "all", hint: "0 keeps it on the processor." },
  {
    key: "load_mode",
    choices: [
      { id: "", label: "Left out: copied into memory" },
      { id: "none", label: "Copied into memory" },
      { id: "mmap", label: "Mapped from the disk" },
      { id: "mlock", label: "Copied and locked" },
      { id: "mmap+mlock", label: "Mapped and locked" },
      { id: "dio", label: "Past the page cache" },
    ],
  },
  { key: "cache_ram", example: "0", hint: "For prompts that left their slot; it counts in the claim." },
  { key: "weights", example: "9.3 GB", hint: "Only where it is not known." },
  { key: "overhead", example: "4 GB", hint: "What the server takes besides." },
  { key: "tensor_parallel", example: "1", numeric: true },
  { key: "engine", example: "container", hint: "container, process or external.", mono: true },
  { key: "devices", lines: 2, mono: true, hint: "The pools it runs on, one in a line." },
  { key: "args", lines: 4, mono: true, example: "--reasoning-parser", hint: "One word in a line; not those that Asgard sets itself." },
  { key: "env", lines: 3, mono: true, example: "NAME=value", hint: "One in a line. No secrets: this file is not kept like one." },
];
