// "Get": one way for cards and for the chooser of variants.

import type { App } from "../../lib/app";
import type { HubModel, Variant } from "../../lib/backend/types";
import { plain } from "../neighbours/words";

export async function get({ actions, models, live }: Pick<App, "actions" | "models" | "live">, model: HubModel, variant: Variant | null): Promise<boolean> {
  const begun = await actions.ask(`pull ${model.repo}`, "pull", { repo: model.repo, revision: model.commit, variant: variant?.id ?? null, files: [] });
  if (begun === null) return false;
  models.lookDownloads();
  live.announce(`${plain(begun.title)} is in the queue.`);
  return true;
}
