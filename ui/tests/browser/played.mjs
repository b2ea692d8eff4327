// The played controller's pages, for the tests of one area: a browser for the file, a page for each test.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before } from "node:test";
import { UI, browse, open, serve } from "./harness.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Registers the file's server and browser; gives the way to a page of a play, on which nothing may have failed. */
export function played() {
  let server;
  let browser;

  before(async () => {
    server = await serve(process.env.ASGARD_DIST ?? join(UI, "dist-memory"));
    browser = await browse();
  });

  after(async () => {
    await browser?.close();
    await server?.close();
  });

  return async function begin(play, run, options = {}) {
    const { page, faults } = await open(browser.context, server.url, { ...options, hash: `#play=${play}` });
    await page.getByTestId("agent-thor").waitFor();
    await run(page);
    assert.deepEqual(faults, []);
    await page.close();
  };
}

/** What axe finds, as lines to read. */
export async function violations(page) {
  // The policy of the page holds for the page; the test's own script comes in by the debugger.
  await page.evaluate(AXE);
  const found = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  return found.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.join(" ")} (${n.failureSummary?.split("\n")[1]?.trim()})`));
}
