// The first steps: engine, memory, models; each can be skipped, all of it left and taken up again.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { UI, browse, open, serve } from "./harness.mjs";
import { violations } from "./played.mjs";

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

async function begin(run, options = {}) {
  const { page, faults } = await open(browser.context, server.url, { ...options, hash: "#play=first" });
  await page.getByTestId("screen-firstrun").waitFor();
  await run(page);
  assert.deepEqual(faults, []);
  await page.close();
}

const next = (page) => page.getByTestId("first-continue").click();
const title = (page) => page.locator("#first-title").textContent();

test("three steps lead to the downloads", () =>
  begin(async (page) => {
    assert.equal(await title(page), "Your engine is ready");
    await page.getByTestId("first-row-engine").getByText("27.3.1, running").waitFor();
    await next(page);
    // The limit moves the mark on the bar, and what is left for agents.
    await page.getByTestId("first-left").getByText("108.8").waitFor();
    const mark = () => page.getByTestId("memory-bar").locator(".limit").evaluate((e) => parseFloat(e.style.left));
    const before_ = await mark();
    await page.getByTestId("first-limit").fill(String(96 * 2 ** 30));
    await page.getByTestId("first-left").getByText("84.8").waitFor();
    assert.ok((await mark()) < before_ - 10);
    await page.getByTestId("first-fix-swap").click();
    await page.getByText("swapfile-asgard").first().waitFor();
    await next(page);
    assert.equal(await page.evaluate(() => document.activeElement?.id), "first-title");
    // What the base profile takes stands on the bar already.
    await page.getByTestId("memory-bar").locator('[data-segment="valkyrie"]').waitFor();
    await page.getByTestId("first-finish").getByText("Download 40.6").waitFor();
    await page.getByTestId("first-model-Qwen/Qwen2.5-7B-Instruct-AWQ").check();
    await page.getByTestId("first-finish").getByText("Download 46.2").waitFor();
    await page.getByTestId("first-finish").click();
    await page.getByTestId("screen-models").waitFor();
    await page.getByTestId("download").nth(2).waitFor();
    assert.equal(await page.getByTestId("download").count(), 3);
    assert.equal(await page.getByTestId("screen-firstrun").count(), 0);
  }));

test("it can be left and taken up again, with what was chosen", () =>
  begin(async (page) => {
    await next(page);
    await page.getByTestId("first-limit").fill(String(100 * 2 ** 30));
    await page.getByTestId("first-later").click();
    await page.getByTestId("agent-thor").waitFor();
    assert.equal(await page.getByTestId("screen-firstrun").count(), 0);
    await page.getByTestId("nav-settings").click();
    await page.getByTestId("first-again-settings").click();
    await page.getByTestId("first-step-memory").click();
    await page.getByTestId("first-left").getByText("88.8").waitFor();
  }));

test("every step can be skipped, and nothing is asked again after that", () =>
  begin(async (page) => {
    await next(page);
    await page.getByTestId("first-limit").fill(String(100 * 2 ** 30));
    await page.getByTestId("first-skip-step").click();
    await page.getByTestId("first-back").click();
    await page.getByTestId("first-left").getByText("108.8").waitFor();
    await next(page);
    await page.getByTestId("first-skip-step").click();
    await page.getByTestId("agent-thor").waitFor();
    assert.equal(await page.getByTestId("screen-firstrun").count(), 0);
  }));

test("without anything chosen it is finished, and nothing is fetched", () =>
  begin(async (page) => {
    await page.getByTestId("first-step-models").click();
    await page.getByTestId("first-model-Qwen/Qwen2.5-14B-Instruct-AWQ").uncheck();
    await page.getByTestId("first-model-QuantTrio/Qwen3-Coder-30B-A3B-Instruct-AWQ").uncheck();
    await page.getByTestId("first-say").getByText("Nothing to fetch.").waitFor();
    await page.getByTestId("first-finish").click();
    await page.getByTestId("screen-models").waitFor();
    assert.equal(await page.getByTestId("download").count(), 0);
  }));

for (const look of ["dark", "light"]) {
  for (const [width, height] of [
    [960, 640],
    [1280, 800],
  ]) {
    test(`nothing that axe finds, ${look}, ${width} x ${height}`, () =>
      begin(
        async (page) => {
          for (const step of ["engine", "memory", "models"]) {
            await page.getByTestId(`first-step-${step}`).click();
            await page.locator("#first-title").waitFor();
            assert.deepEqual(await violations(page), [], step);
            const sideways = await page.locator("main, main section").evaluateAll((all) => all.some((e) => e.scrollWidth > e.clientWidth + 1));
            assert.equal(sideways, false, `${step} scrolls sideways`);
          }
        },
        { look, width, height },
      ));
  }
}
