// The words for what the controller says of memory: suggestions, memory given away, and "what if".

import { describe, expect, it } from "vitest";
import { draftOf, type Draft } from "../../src/features/agents/draft";
import { changeOf, claimWords, otherCache, questionOf } from "../../src/features/agents/whatif";
import { suggestionLabel, yieldedWords } from "../../src/features/stack/words";
import { GB } from "../../src/lib/format";
import { PLAYS, planOf, statusOf, type Play } from "../../src/lib/backend/memory/fixtures";
import { Forms } from "../../src/lib/backend/memory/forms";
import { whatIf } from "../../src/lib/backend/memory/whatif";
import type { AgentForm, PlanChange } from "../../src/lib/backend/types";

const NBSP = "\u00a0";
const play = PLAYS["rest"] as Play;
const forms = new Forms({ play, change: () => undefined }, GB).form();
const thor = forms.agents[0] as AgentForm;
const began = draftOf(thor);
const typed = (texts: Partial<Draft["texts"]>): Draft => ({ ...began, texts: { ...began.texts, ...texts } });
const plain = (text: string | null): string | null => text?.replaceAll(NBSP, " ") ?? null;

describe("suggestions", () => {
  it.each([
    ["kv_cache", "10.0 GB", "Write kv_cache = 10.0 GB"],
    ["context", 24_576, "Write context = 24576"],
    ["eager", true, "Write eager = true"],
    ["args", ["--a", "--b"], "Write args = --a, --b"],
  ])("%s", (key, value, label) => {
    expect(suggestionLabel({ id: "failure", key, value, words: "", gives_bytes: null })).toBe(label);
  });
});

describe("memory that was given away", () => {
  const now = new Date(2026, 10, 21, 12, 20);
  const until = (hours: number): string => new Date(now.getTime() + hours * 3_600_000).toISOString();

  it("names who sleeps and until when", () => {
    expect(yieldedWords({ until: until(2), agents: [] }, ["Thor", "Valkyrie"], now)).toBe("Thor and Valkyrie sleep until 14:20.");
    expect(yieldedWords({ until: null, agents: [] }, ["Thor"], now)).toBe("Thor sleeps until resumed.");
    expect(yieldedWords({ until: until(1), agents: [] }, [], now)).toBe("Nobody was idle; nothing is started until 13:20 but by hand.");
  });

  it("names the day where the clock alone would mislead", () => {
    expect(yieldedWords({ until: until(48), agents: [] }, ["Thor"], now)).toBe("Thor sleeps until 23 Nov, 12:20.");
  });
});

describe("what if", () => {
  it("asks about what differs, and about nothing else", () => {
    expect(changeOf(began, began, thor)).toBeNull();
    expect(changeOf(typed({ title: "Another" }), began, thor)).toBeNull();
    expect(changeOf(typed({ context: "16,384" }), began, thor)).toEqual({ agent: "thor", context: 16_384, sequences: null, kv_dtype: null, kv_cache: null });
    expect(changeOf(typed({ kv_cache: "8 GB", sequences: "2" }), began, thor)).toMatchObject({ kv_cache: "8 GB", sequences: 2 });
    expect(changeOf(typed({ kv_dtype: "fp8" }), began, thor)).toMatchObject({ kv_dtype: "fp8" });
    // Left empty, the default counts.
    expect(changeOf(typed({ context: "" }), began, thor)).toMatchObject({ context: 32_768 });
  });

  it("asks nothing of what cannot be read or cannot be asked", () => {
    expect(changeOf(typed({ context: "many" }), began, thor)).toBeNull();
    expect(changeOf(typed({ context: "0" }), began, thor)).toBeNull();
    expect(changeOf(typed({ memory: "30 GB", kv_cache: "" }), began, thor)).toBeNull();
    expect(changeOf({ ...typed({ context: "8192" }), server: "role" }, began, thor)).toBeNull();
  });

  it("asks for the active profile, else one that it is in, else for it alone", () => {
    const change: PlanChange = { agent: "thor", context: 8_192, sequences: null, kv_dtype: null, kv_cache: null };
    expect(questionOf(change, "odin", thor)).toEqual({ profile: "odin", agent: null, change });
    expect(questionOf(change, "gone", thor)?.profile).toBe("standard");
    expect(questionOf(change, "standard", { ...thor, profiles: [] })).toEqual({ profile: null, agent: "thor", change });
    expect(questionOf(null, "standard", thor)).toBeNull();
  });

  it("says what it takes before and after, and which cache that is", () => {
    const status = statusOf(play, 1);
    const plan = whatIf(status, { agent: "thor", context: 65_536, sequences: null, kv_dtype: null, kv_cache: null }, "standard");
    expect(plain(claimWords(plan, GB))).toBe("It takes 25.3 GB now and 37.3 GB then (+12.0 GB).");
    expect(otherCache(plan, began)).toBe(24 * GB.bytes);
    expect(otherCache(plan, typed({ kv_cache: "24 GB" }))).toBeNull();
    const less = whatIf(status, { agent: "thor", context: null, sequences: null, kv_dtype: null, kv_cache: "10 GB" }, "standard");
    expect(plain(claimWords(less, GB))).toBe("It takes 25.3 GB now and 23.3 GB then (\u22122.0 GB).");
    expect(otherCache(less, typed({ kv_cache: "10 GB" }))).toBeNull();
    expect(claimWords(planOf(status, "standard", ["thor"]), GB)).toBeNull();
  });
});
