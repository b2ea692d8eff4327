// The diff that a person sees before a tool's file is written, and what may be typed beside it.

import { expect, test } from "vitest";
import { cloudProblem, diffLines, diffWords, projectProblem } from "../../src/features/settings/diff";

test("lines by what becomes of them, with the sign beside; names of files are left out", () => {
  const lines = diffLines('--- a\n+++ b\n@@ -1,3 +1,3 @@\n {\n--- a comment of SQL\n+++ another\n\\ No newline at end of file\n+\t"tab"\r\n');
  expect(lines.map((l) => [l.kind, l.sign, l.text])).toEqual([
    ["place", "", "@@ -1,3 +1,3 @@"],
    ["same", " ", "{"],
    ["removed", "−", "-- a comment of SQL"],
    ["added", "+", "++ another"],
    ["added", "+", '    "tab"'],
  ]);
  expect(diffWords(lines)).toBe("2 lines added, 1 line removed");
  expect(diffWords(diffLines("@@ -1 +0,0 @@\n-a\n"))).toBe("1 line removed");
  expect(diffLines("")).toEqual([]);
});

test("foreign text cannot turn its line around", () => {
  const text = diffLines("@@ @@\n+a\u202eb\u2028c\n")[1]?.text ?? "";
  expect(text).not.toMatch(/[\u202a-\u202e\u2028]/);
});

test("what may be typed", () => {
  expect(cloudProblem(" openai/gpt-5 ")).toBeNull();
  expect(cloudProblem("openrouter/qwen/qwen3-coder")).toBeNull();
  for (const wrong of ["gpt-5", "/gpt", "open ai/x", "openai/", "openai/a b"]) expect(cloudProblem(wrong), wrong).not.toBeNull();
  expect(projectProblem("/home/you")).toBeNull();
  expect(projectProblem(" ")).toBeNull();
  expect(projectProblem("~/house")).not.toBeNull();
});
