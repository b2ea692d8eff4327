// A model given to an agent, as the controller would try it, in the plain sums of the play.

import type { AgentStatus, AssignPreview, AssignRequest, Edited, ProfileForm, StackEdit, StackProblem, StackValue, Status } from "../types";
import { GB, MB, memoryFigure } from "../../format";
import { PROFILES, planOf, type Play } from "./fixtures";
import type { Forms } from "./forms";
import { launchOf } from "./launch";
import type { PlayedModels } from "./models";

const FILE = "/home/you/.config/asgard/stack.toml";
const KV_BITS: Readonly<Record<string, number>> = { auto: 1, fp8: 0.5, q8_0: 0.53, q5_1: 0.375, q4_0: 0.28 };

export class PlayedAssign {
  constructor(
    private readonly forms: Forms,
    private readonly models: PlayedModels,
    private readonly status: () => Status,
    private readonly profiles: () => NonNullable<Play["profiles"]>,
  ) {}

  preview(asked: AssignRequest): AssignPreview {
    this.#sameText(asked);
    const status = this.status();
    const unit = status.rehearsal ? MB : GB;
    const scale = status.rehearsal ? 1_024 : 1;
    const known = this.models.installed().models.find((m) => m.model === asked.model);
    const gguf = /\.gguf$/i.test(asked.model);
    const weights = Math.round((known?.weights_bytes ?? 0) / scale);
    const most = known?.max_context ?? null;
    const before = status.agents.find((a) => a.name === asked.agent);
    const context = asked.context ?? Math.min(most ?? 32_768, 32_768);
    const sequences = asked.sequences ?? 4;
    const kvType = asked.kv_dtype ?? "auto";
    // A model with twice the weights keeps about half more for a token.
    const perToken = known === undefined ? null : Math.round(((Math.sqrt((known.weights_bytes ?? 0) / GB.bytes) * 20 * 1_024) / scale) * (KV_BITS[kvType] ?? 1));
    const overhead = Math.round((4 * GB.bytes) / scale);
    const kvOf = (tokens: number): number => Math.ceil(((perToken ?? 0) * tokens * sequences) / (unit.bytes / 10)) * (unit.bytes / 10);
    const changed = (tokens: number): Status => withAgent(status, asked, before, { weights, kv: kvOf(tokens), overhead });
    const now = changed(context);
    const planned = (profile: string | null, at: Status): ReturnType<typeof planOf> => {
      const others = profile === null ? [] : (this.profiles()[profile] ?? PROFILES[profile] ?? []);
      return planOf(at, profile, [...others.filter((a) => a !== asked.agent), asked.agent]);
    };
    const problems = this.#problems(asked, context, most, known !== undefined);
    const steps = Array.from({ length: Math.floor((most ?? 0) / 1_024) }, (_, i) => (i + 1) * 1_024).reverse();
    const longest = steps.find((tokens) => planned(asked.beside, changed(tokens)).fits) ?? null;
    const held = this.profiles();
    const profiles = Object.keys(held).map((name): ProfileForm => {
      const plan = planned(name, now);
      const inIt = asked.profiles?.includes(name) ?? held[name]?.includes(asked.agent) === true;
      return { name, agents: [...(held[name] ?? []).filter((a) => a !== asked.agent), ...(inIt ? [asked.agent] : [])], fits: plan.fits, reason: plan.reason };
    });
    const agent = now.agents.find((a) => a.name === asked.agent);
    const awake = before !== undefined && !["asleep", "failed"].includes(before.state);
    return {
      context,
      max_context: most,
      longest_context: longest,
      sequences,
      kv_dtype: kvType,
      kv_dtypes: gguf
        ? [
            { name: "auto", title: "16 bit", warning: null },
            { name: "q8_0", title: "8 bit (Q8_0)", warning: null },
          ]
        : [
            { name: "auto", title: "16 bit", warning: null },
            { name: "fp8", title: "8 bit (FP8)", warning: "An FP8 KV cache: loses accuracy on gfx1151. It is packed in software with scales that nobody calibrated. (Measured, 2026-02-09)" },
          ],
      backend: gguf ? "llama.cpp" : "vllm",
      weights_bytes: weights,
      kv_bytes: kvOf(context),
      overhead_bytes: overhead,
      total_bytes: weights + kvOf(context) + overhead,
      kv_bytes_per_token: perToken,
      certainty: known === undefined ? "unknown" : "exact",
      pools: problems.length > 0 ? [] : planned(asked.beside, now).pools,
      profiles: problems.length > 0 ? [] : profiles,
      keys: this.#keys(asked, context, sequences, kvOf(context), unit.name),
      launch: problems.length > 0 || agent === undefined ? null : launchOf(agent, asked.agent),
      problems,
      notes: before !== undefined && before.model !== asked.model ? ["tool_parser becomes hermes, which this family of models speaks."] : [],
      restart: awake && problems.length === 0,
      learned_bytes: null,
    };
  }

  assign(asked: AssignRequest): Edited {
    const preview = this.preview(asked);
    if (preview.problems.length > 0) return { saved: false, problems: preview.problems, notes: [], restarts: [], profiles: [], kept: null };
    const form = this.forms.form();
    const profiles = asked.profiles ?? form.agents.find((a) => a.agent === asked.agent)?.profiles ?? [];
    const keys = preview.keys;
    const edits: StackEdit[] =
      asked.new === null
        ? [
            { edit: "change_agent", agent: asked.agent, keys },
            { edit: "agent_profiles", agent: asked.agent, profiles },
          ]
        : [{ edit: "add_agent", agent: asked.agent, keys, profiles }];
    const edited = this.forms.edit({ hash: asked.hash, edits, dry_run: false });
    return { ...edited, notes: preview.notes };
  }

  #sameText(asked: AssignRequest): void {
    if (asked.hash === this.forms.form().hash) return;
    throw Object.assign(new Error("busy"), { code: "busy", message: "The stack file was changed by somebody else meanwhile.", next: "Load it again; what was chosen here is not lost." });
  }

  #problems(asked: AssignRequest, context: number, most: number | null, known: boolean): StackProblem[] {
    const form = this.forms.form();
    const problem = (message: string, next: string): StackProblem => ({ file: FILE, line: null, message, next });
    const taken = form.agents.find((a) => a.written["port"] === asked.new?.port);
    return [
      ...(known ? [] : [problem(`${asked.model} is not here, and how large it is is not known.`, "Download it first; then it can be given to an agent.")]),
      ...(asked.new !== null && form.agents.some((a) => a.agent === asked.agent) ? [problem(`There is an agent ${asked.agent} already.`, "Choose another name.")] : []),
      ...(taken !== undefined && asked.new !== null && asked.new.port !== null ? [problem(`Port ${String(asked.new.port)} is taken by ${taken.display_name}.`, "Write port = another one that nothing else uses.")] : []),
      ...(most !== null && context > most ? [problem(`A context of ${String(context)} tokens is longer than the model's own ${String(most)}.`, `Write context = ${String(most)} or less.`)] : []),
    ];
  }

  #keys(asked: AssignRequest, context: number, sequences: number, kv: number, unit: string): Record<string, StackValue | null> {
    const fresh = asked.new;
    return {
      model: asked.model,
      context: Math.min(context, 32_768),
      sequences,
      kv_cache: `${memoryFigure(kv, unit === "MB" ? MB : GB, "up")} ${unit}`,
      ...(asked.revision === null ? {} : { revision: asked.revision }),
      ...(fresh === null
        ? {}
        : {
            backend: "vllm",
            port: fresh.port ?? this.forms.form().next_port,
            ...(fresh.title === null ? {} : { title: fresh.title }),
            ...(fresh.glyph === null ? {} : { glyph: fresh.glyph }),
            ...(fresh.color === null ? {} : { color: fresh.color }),
          }),
    };
  }
}

/** The state as if the agent had the model already, asleep. */
function withAgent(status: Status, asked: AssignRequest, before: AgentStatus | undefined, parts: { weights: number; kv: number; overhead: number }): Status {
  const like = before ?? status.agents[0];
  if (like === undefined) return status;
  const made: AgentStatus = {
    ...like,
    name: asked.agent,
    model: asked.model,
    state: "asleep",
    claim_bytes: parts.weights + parts.kv + parts.overhead,
    claim: { weights_bytes: parts.weights, kv_bytes: parts.kv, overhead_bytes: parts.overhead },
  };
  const others = status.agents.filter((a) => a.name !== asked.agent);
  return { ...status, agents: before === undefined ? [...others, made] : status.agents.map((a) => (a.name === asked.agent ? made : a)) };
}
