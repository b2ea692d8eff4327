import assert from "node:assert/strict";
import { test } from "node:test";
import { allowed, allowedForTools, complaint, permits } from "../licences.mjs";

const list = new Set(["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]);

for (const [expression, expected] of [
  ["MIT", true],
  ["GPL-3.0", false],
  ["MIT OR GPL-3.0", true],
  ["GPL-3.0 OR MIT", true],
  ["MIT AND GPL-3.0", false],
  ["MIT/Apache-2.0", true],
  ["Apache-2.0 WITH LLVM-exception OR GPL-3.0", true],
  ["GPL-3.0 WITH Classpath-exception-2.0", false],
  ["(MIT OR GPL-3.0) AND Apache-2.0", true],
  ["(MIT OR Apache-2.0) AND GPL-3.0", false],
  // AND binds tighter than OR.
  ["GPL-3.0 AND MIT OR Apache-2.0", true],
  ["MIT OR Apache-2.0 AND GPL-3.0", true],
]) {
  test(`${expression} is ${expected ? "allowed" : "refused"}`, () => {
    assert.equal(permits(expression, list), expected);
  });
}

test("a package without a licence, with an unknown one and with an unreadable one is named", () => {
  const named = (licence) => complaint({ name: "left", version: "1.0.0", licence }, list);
  assert.match(named(undefined), /^left 1\.0\.0 declares no licence/);
  assert.match(named("SSPL-1.0"), /^left 1\.0\.0 is under SSPL-1\.0/);
  assert.match(named("(MIT"), /^left 1\.0\.0 declares "\(MIT", which cannot be read/);
  assert.match(named("MIT GPL-3.0"), /cannot be read/);
  assert.equal(named("MIT"), null);
});

test("what is passed on is held to the shorter list", () => {
  assert.ok(!allowed.has("Python-2.0") && allowedForTools.has("Python-2.0"));
});
