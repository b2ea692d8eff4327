// What is said of an image.

import type { Image } from "../../lib/backend/types";

/** "4f1c9a4f1c9a": as much of a digest as people compare. */
export function shortDigest(digest: string): string {
  return digest.replace(/^sha256:/, "").slice(0, 12);
}

/** What trying a newer one does, before it is done. */
export function tryWords(reference: string, agent: string): string {
  return `Pulls ${reference}, restarts ${agent} and asks it one question. Keeps it if ${agent} answers; else goes back to the image before.`;
}

/** Those that agents use, and those that only take room. */
export function parted(images: readonly Image[]): { used: readonly Image[]; unused: readonly Image[] } {
  return { used: images.filter((i) => i.used_by.length > 0), unused: images.filter((i) => i.used_by.length === 0) };
}
