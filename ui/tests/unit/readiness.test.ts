import { describe, expect, it } from "vitest";
import { announced, countWords, foundWords, partedChecks, statusWord } from "../../src/features/settings/readiness";
import { PlayedDoctor } from "../../src/lib/backend/memory/doctor";

describe("readiness, in words", () => {
  it("what is to be fixed comes before what is advised", () => {
    const parts = partedChecks(new PlayedDoctor().check());
    expect(parts.todo.map((c) => c.id)).toEqual(["gtt_cap", "swap", "early_oom"]);
    expect(parts.skipped.map((c) => c.id)).toEqual(["nvidia_toolkit"]);
    expect(parts.passed.every((c) => c.status === "pass")).toBe(true);
  });

  it("counts every kind but the skipped", () => {
    const { checks } = new PlayedDoctor().check();
    expect(countWords(checks)).toEqual({ fix: "1 to fix", advised: "2 advised", passed: "5 passed" });
    expect(announced([])).toBe("Readiness: 0 to fix, 0 advised, 0 passed");
  });

  it("says what was found beside what is wanted, while both are short", () => {
    expect(foundWords({ found: "None", wanted: "At least 8.0\u00a0GB" })).toBe("None, at least 8.0\u00a0GB wanted");
    expect(foundWords({ found: "60", wanted: "80" })).toBe("60, 80 wanted");
    expect(foundWords({ found: "Docker 19", wanted: "Docker 20.10 or newer" })).toBe("Docker 19, Docker 20.10 or newer wanted");
    const long = "You are not in render, video and some more groups";
    expect(foundWords({ found: long, wanted: "It fits" })).toBe(long);
  });

  it("has a word for each status", () => {
    expect((["fail", "warn", "pass", "skip"] as const).map(statusWord)).toEqual(["To fix", "Advised", "Passed", "Not looked at"]);
  });
});
