import type { Backend } from "./backend";
import { tauriBackend } from "./tauri";
import { webBackend } from "./web";

/** The host of this page. */
export async function chooseBackend(): Promise<Backend> {
  if (import.meta.env.MODE === "memory") {
    const { memoryBackend } = await import("./memory");
    return memoryBackend();
  }
  if ("__TAURI_INTERNALS__" in window) return tauriBackend();
  return webBackend(new URLSearchParams(location.hash.slice(1)).get("token") ?? "");
}
