// What is said of a server that somebody else runs. Its name and its command are foreign text: only ever text.

import type { Answer, Neighbour } from "../../lib/backend/types";
import { memory, type Unit } from "../../lib/format";

export function memoryWords(n: Pick<Neighbour, "memory_bytes" | "memory_basis">, unit: Unit): string {
  if (n.memory_bytes === null || n.memory_basis === "unknown") return "memory not known";
  const size = memory(n.memory_bytes, unit);
  return n.memory_basis === "measured" ? `${size} measured` : `about ${size} by its command line`;
}

export const ANSWERS: Readonly<Record<Exclude<Answer, "open">, string>> = {
  left: "Left alone",
  adopted: "Adopted",
  stopped: "Stopped by Asgard",
};

export const SERVERS: Readonly<Record<Neighbour["server"], string>> = {
  vllm: "vLLM",
  "llama.cpp": "llama.cpp",
  ollama: "Ollama",
  bifrost: "Bifrost",
  unknown: "Unknown server",
};

/** "2 model servers run here that Asgard did not start." */
export function openWords(open: number): string {
  return open === 1 ? "1 model server runs here that Asgard did not start." : `${String(open)} model servers run here that Asgard did not start.`;
}

export interface Gateway {
  readonly address: string | null;
  readonly error: { readonly message: string } | null;
}

/** Whether it is what keeps the gateway from its port. */
export function holdsGateway(n: Pick<Neighbour, "port" | "running" | "agent" | "server">, gateway: Gateway | undefined): boolean {
  if (gateway === undefined || gateway.address !== null || n.port === null || !n.running || n.agent !== null) return false;
  const named: readonly string[] = gateway.error?.message.match(/\b\d{2,5}\b/g) ?? [];
  return named.length > 0 ? named.includes(String(n.port)) : n.server === "bifrost";
}

// Signs that turn the direction of what follows, and those that cannot be seen: a name could look like another one.
const UNSEEN = /[\p{Cc}\p{Cf}\u2028\u2029]/gu;

/** Foreign text on one line, with every sign that could mislead made visible. */
export function plain(text: string): string {
  return text.replace(UNSEEN, "\ufffd");
}

/** The command line for reading: arguments with spaces are put in quotes. Nobody runs this. */
export function commandLine(command: readonly string[]): string {
  return command.map((part) => (/^[\w@%+=:,./-]+$/.test(part) ? part : `'${plain(part)}'`)).join(" ");
}
