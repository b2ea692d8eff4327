// Requests whose shapes are settled and whose names are not in the generated list yet.

import type { ToolConfigs, ToolRequest } from "./types";

export interface Coming {
  tool_configs: [Pick<ToolRequest, "project" | "primary" | "key">, ToolConfigs];
}
