// Each screen in both looks and at the smallest and the usual size: nothing that axe finds, nothing that the policy
// refuses, nothing that scrolls sideways.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { UI, browse, open, serve } from "./harness.mjs";
import { violations } from "./played.mjs";

const SIZES = [
  [960, 640],
  [1280, 800],
];

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

async function show(play, screen, options) {
  const { page, faults } = await open(browser.context, server.url, { ...options, hash: `#play=${play}` });
  await page.getByTestId(`nav-${screen}`).click();
  await page.getByTestId(`screen-${screen}`).waitFor();
  return { page, faults };
}

const CASES = [
  ["switching", "stack"],
  ["stages", "stack"],
  ["tight", "stack"],
  ["trouble", "stack"],
  ["lost", "stack"],
  ["rehearsal", "stack"],
  ["switching", "chat"],
  ["rest", "chat"],
  ["switching", "models"],
  ["bare", "stack"],
  ["bare", "models"],
  ["switching", "activity"],
  ["trouble", "settings"],
  ["rest", "settings"],
];

for (const look of ["dark", "light"]) {
  for (const [width, height] of SIZES) {
    for (const [play, screen] of CASES) {
      test(`${screen}, ${play}, ${look}, ${width} x ${height}`, async () => {
        const { page, faults } = await show(play, screen, { width, height, look });
        if (screen === "chat") await page.getByTestId("message-assistant").first().waitFor();
        if (screen === "chat" && play === "rest") {
          await page.getByTestId("conversation-2").click();
          await page.getByTestId("asleep").waitFor();
        }
        if (screen === "settings") await page.getByTestId("tab-stack").click();
        if (screen === "settings") await page.getByTestId("stack-file").getByText("stack.toml").first().waitFor();
        assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), look);
        assert.deepEqual(await violations(page), []);
        const sideways = await page.evaluate(() =>
          [document.documentElement, ...document.querySelectorAll("main > section, main > section > *")]
            .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "hidden")
            .map((e) => e.className || e.tagName),
        );
        assert.deepEqual(sideways, []);
        assert.deepEqual(faults, []);
        await page.close();
      });
    }
  }
}

test("the logs, in both looks", async () => {
  for (const look of ["dark", "light"]) {
    const { page, faults } = await show("switching", "activity", { look });
    await page.getByTestId("tab-logs").click();
    await page.getByTestId("log").getByText("vLLM API server").waitFor();
    assert.deepEqual(await violations(page), []);
    assert.deepEqual(faults, []);
    await page.close();
  }
});

test("1280 x 800 shows all of Stack without scrolling", async () => {
  for (const play of ["switching", "rest", "rehearsal", "tight", "stages"]) {
    const { page } = await show(play, "stack", { width: 1280, height: 800 });
    await page.getByTestId("agent-frigga").waitFor();
    const [inner, outer] = await page.getByTestId("screen-stack").evaluate((e) => [e.scrollHeight, e.clientHeight]);
    assert.ok(inner <= outer, `${play}: ${inner} px in ${outer}`);
    await page.close();
  }
});

test("the header is 119 px, the rail 192 and 56", async () => {
  for (const [width, rail] of [
    [1280, 192],
    [960, 56],
  ]) {
    const { page } = await show("switching", "stack", { width, height: 800 });
    await page.getByTestId("agent-thor").waitFor();
    assert.equal(await page.locator("header[aria-label=Memory]").evaluate((e) => e.getBoundingClientRect().height), 119);
    assert.equal(await page.locator("nav").evaluate((e) => e.getBoundingClientRect().width), rail);
    await page.close();
  }
});

test("every target is 28 px or larger", async () => {
  for (const screen of ["stack", "chat", "models", "activity", "settings"]) {
    const { page } = await show("switching", screen, { width: 960, height: 640 });
    await page.getByTestId("memory-free").waitFor();
    const small = await page.evaluate(() =>
      [...document.querySelectorAll("button, select, summary, [role=radio]")]
        .map((e) => [e.getAttribute("aria-label") ?? e.textContent?.trim(), e.getBoundingClientRect()])
        .filter(([, box]) => box.width > 0 && (box.width < 27.9 || box.height < 27.9))
        .map(([name, box]) => `${name}: ${box.width} x ${box.height}`),
    );
    assert.deepEqual(small, [], screen);
    await page.close();
  }
});

test("nothing moves for those who asked for less motion", async () => {
  const { page } = await open(browser.context, server.url, { hash: "#play=switching" });
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.getByTestId("agent-loki").waitFor();
  const moving = await page.evaluate(() => document.getAnimations().filter((a) => a.playState === "running").length);
  assert.equal(moving, 0);
  await page.close();
});

test("the aurora is absent at rest", async () => {
  const { page } = await show("rest", "stack", {});
  await page.getByTestId("agent-thor").waitFor();
  const painted = await page.evaluate(() =>
    [...document.querySelectorAll("*")].flatMap((e) => [e, "::before", "::after"].slice(1).map((p) => getComputedStyle(e, p).backgroundImage).concat(getComputedStyle(e).backgroundImage)).filter((b) => /rgb\(139, 123, 255\)|rgb\(108, 90, 230\)/.test(b)).length,
  );
  assert.equal(painted, 0);
  await page.close();
});

test("nothing of the played controller is in the real pages", () => {
  const dist = join(UI, "dist");
  const scripts = readdirSync(join(dist, "assets")).filter((f) => f.endsWith(".js"));
  assert.ok(scripts.length > 0);
  for (const script of scripts) {
    const text = readFileSync(join(dist, "assets", script), "utf8");
    assert.ok(!text.includes("Staggered start for vLLM"), script);
    // Libraries name their own pages in messages; nothing else has an address.
    const named = (text.match(/https?:\/\/[a-z0-9.-]+\/?[a-z0-9-]*/g) ?? []).filter(
      (a) => !/^https?:\/\/(www\.w3\.org|svelte\.dev\/e|github\.com\/(highlightjs|markedjs))/.test(a),
    );
    assert.deepEqual(named, [], script);
  }
  const page = readFileSync(join(dist, "index.html"), "utf8");
  assert.ok(!/style=|<style|<script>(?!<)/.test(page));
});
