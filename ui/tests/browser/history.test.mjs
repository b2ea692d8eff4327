// Activity opens with the pictures of memory, as images that the window's policy lets in.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { UI, browse, open, serve } from "./harness.mjs";

let server;
let browser;

before(async () => {
  server = await serve(join(UI, "dist-memory"));
  browser = await browse();
});

after(async () => {
  await browser?.close();
  await server?.close();
});

async function activity(play, options) {
  const { page, faults } = await open(browser.context, server.url, { ...options, hash: `#play=${play}` });
  await page.getByTestId("nav-activity").click();
  await page.getByTestId("memory-history").waitFor();
  return { page, faults };
}

test("pictures, figures and events, in both looks; the range is chosen and the picture saved", async () => {
  for (const look of ["dark", "light"]) {
    const { page, faults } = await activity("switching", { look });
    const image = page.getByTestId("pool-history").locator("img").first();
    await image.waitFor();
    assert.match(await image.getAttribute("alt"), /last 24 hours.* in use at the end\./);
    // A picture that was refused or is broken has no size of its own.
    await page.waitForFunction(() => [...document.querySelectorAll("[data-testid=memory-history] img")].every((i) => i.complete && i.naturalWidth > 0));
    assert.ok((await page.locator("[data-testid^=figures-] img").count()) > 0);
    await page.getByTestId("figures").locator("summary").click();
    assert.ok(await page.locator("[data-testid^=figures-] img").first().isVisible());
    await page.getByTestId("tab-events").click();
    assert.ok(await page.getByTestId("events").isVisible());
    assert.match(await image.getAttribute("src"), look === "dark" ? /16191d/ : /ffffff/);

    await page.getByTestId("history-range").getByRole("radio", { name: "7 days" }).click();
    await page.getByRole("img", { name: /last 7 days/ }).first().waitFor();
    await page.locator(".mark").first().hover();
    await page.getByText("08:14 Thor ready in 38 s").waitFor();
    await page.getByTestId("save-png").click();
    await page.getByText("Written to /home/you/asgard-memory-168h.png.").waitFor();
    assert.deepEqual(faults, []);
    await page.close();
  }
});

test("a house without a history says so", async () => {
  const { page, faults } = await activity("imported");
  await page.getByTestId("history-empty").waitFor();
  assert.equal(await page.getByTestId("pool-history").count(), 0);
  assert.ok(await page.getByTestId("save-svg").isDisabled());
  assert.deepEqual(faults, []);
  await page.close();
});
