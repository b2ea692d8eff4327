// A played "what if": the cache grows and shrinks with the context and the sequences, as the controller has it.

import type { ApiError, Plan, PlanChange, Status } from "../types";
import { GB, MB, memory } from "../../format";
import { PROFILES, planOf, type Play } from "./fixtures";

export function whatIf(status: Status, change: PlanChange, profile: string | null, profiles: Play["profiles"] = PROFILES): Plan {
  const agent = status.agents.find((a) => a.name === change.agent);
  const refuse = (code: ApiError["code"], message: string, next: string): never => {
    throw Object.assign(new Error(message), { code, message, next } satisfies ApiError);
  };
  if (agent === undefined) return refuse("unknown", `There is no agent ${change.agent}.`, "Choose another one.");
  if ((change.context ?? 0) > 131_072) {
    return refuse("stack", `A context of ${String(change.context)} tokens is longer than the model's own.`, "Write context = 131072 or less.");
  }
  const unit = status.rehearsal ? MB : GB;
  const amount = /^(\d+(?:\.\d+)?)/.exec(change.kv_cache ?? "");
  const factor = ((change.context ?? agent.context) / agent.context) * ((change.sequences ?? 4) / 4) * (change.kv_dtype?.startsWith("fp8") === true ? 0.5 : 1);
  const kv = amount === null ? Math.ceil((agent.claim.kv_bytes * factor) / MB.bytes) * MB.bytes : Number(amount[1]) * unit.bytes;
  const after = agent.claim_bytes - agent.claim.kv_bytes + kv;
  const changed: Status = {
    ...status,
    agents: status.agents.map((a) => (a.name === agent.name ? { ...a, state: "asleep", claim_bytes: after, claim: { ...a.claim, kv_bytes: kv } } : a)),
  };
  const plan = planOf(changed, profile, profile === null ? [agent.name] : (profiles[profile] ?? []));
  const keys = Object.fromEntries(Object.entries({ ...change, agent: null, kv_cache: change.kv_cache ?? kv }).filter(([, value]) => value !== null));
  return {
    ...plan,
    changed: {
      agent: agent.name,
      keys,
      claim_bytes_before: agent.claim_bytes,
      claim_bytes_after: after,
      notes: change.kv_dtype?.startsWith("fp8") === true ? [`An FP8 cache halves what a token takes, ${memory(agent.claim.kv_bytes / 2, unit)} here; it can lose accuracy.`] : [],
    },
  };
}
