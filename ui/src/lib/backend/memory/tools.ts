// The played coding tools: one file that would change, one that is as it should be, lines for the rest.

import type { Tool, ToolConfig, ToolConfigs, ToolRequest, ToolWritten } from "../types";

type Asked = Pick<ToolRequest, "project" | "primary" | "key">;

const OTHERS: readonly { tool: Tool; title: string; path: string | null; text: string; notes: string[] }[] = [
  { tool: "codex", title: "Codex CLI", path: "~/.codex/config.toml", text: 'model = "thor"\nmodel_provider = "asgard"\n\n[model_providers.asgard]\nname = "Asgard"\nbase_url = "http://127.0.0.1:8899/v1"\n', notes: ["The first two lines belong above every [table] of the file."] },
  { tool: "claude-code", title: "Claude Code", path: null, text: "export ANTHROPIC_BASE_URL=http://127.0.0.1:8899\nexport ANTHROPIC_MODEL=thor\n", notes: [] },
  { tool: "zed", title: "Zed", path: "~/.config/zed/settings.json", text: '{\n  "language_models": {}\n}\n', notes: [] },
  { tool: "continue", title: "Continue", path: "~/.continue/config.yaml", text: "models:\n  - name: Thor\n", notes: [] },
  { tool: "cline", title: "Cline", path: null, text: "Base URL: http://127.0.0.1:8899/v1\nModel: thor\n", notes: ["Enter them in Cline's settings, under API Configuration."] },
  { tool: "aider", title: "Aider", path: "~/.aider.conf.yml", text: "model: openai/thor\n", notes: [] },
];

export class PlayedTools {
  readonly #written = new Set<string>();

  configs(asked: Asked): ToolConfigs {
    const folder = asked.project ?? "/home/you/.config";
    const primary = asked.primary === null ? "asgard/thor" : asked.primary.startsWith("cloud:") ? asked.primary.slice(6) : `asgard/${asked.primary}`;
    const path = asked.project === null ? `${folder}/opencode/opencode.jsonc` : `${folder}/.opencode/opencode.jsonc`;
    const key = asked.key === null ? "" : `+      "apiKey": "{file:~/.config/asgard/keys/${asked.key}}",\n`;
    const same = this.#written.has(JSON.stringify(asked));
    const opencode: ToolConfig = {
      tool: "opencode",
      title: "OpenCode",
      path,
      text: `{\n  // mine\n  "model": "${primary}",\n  "small_model": "asgard/heimdall",\n}\n`,
      diff: same
        ? ""
        : `--- ${path}\n+++ ${path}\n@@ -1,4 +1,6 @@\n {\n   // mine, and it stays\n-  "model": "anthropic/claude-sonnet-4-5",\n+  "model": "${primary}",\n+  "small_model": "asgard/heimdall",\n${key}+  "a-line-that-is-longer-than-the-view-is-wide": "${"wide ".repeat(30)}",\n }\n`,
      same,
      notes: ["The time-outs are 20 minutes: not every agent's start was measured yet."],
    };
    const ohMy: ToolConfig = { ...opencode, tool: "oh-my-opencode", title: "oh-my-opencode", path: `${folder}/opencode/oh-my-opencode.json`, text: "{}\n", diff: "", same: true, notes: [] };
    return { tools: [opencode, ohMy, ...OTHERS.map((other) => ({ ...other, diff: null, same: false }))] };
  }

  write({ tool, project, primary, key }: ToolRequest): ToolWritten {
    const asked = { project, primary, key };
    const config = this.configs(asked).tools.find((one) => one.tool === tool);
    this.#written.add(JSON.stringify(asked));
    return { path: config?.path ?? "", backup: `${config?.path ?? ""}.asgard-20261121-151500`, same: false };
  }
}
