// Settings of the gateway, its keys, and what the frame says while it is paused.

import assert from "node:assert/strict";
import { test } from "node:test";
import { played, violations } from "./played.mjs";

const begin = played();

async function gateway(page) {
  await page.getByTestId("nav-settings").click();
  await page.getByTestId("tab-gateway").click();
  await page.getByTestId("gateway-session").waitFor();
}

const checked = (page, id) => page.getByTestId(id).getAttribute("aria-checked");
const focused = (page) => page.evaluate(() => document.activeElement?.getAttribute("data-testid"));

const misfits = (page) =>
  page.evaluate(() => [
    ...[...document.querySelectorAll("main, main *, dialog, dialog *")]
      .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "hidden" && getComputedStyle(e).display !== "inline" && !e.closest(".sr, .trunc, pre, svg"))
      .map((e) => `${e.tagName}.${e.className}: ${e.scrollWidth} in ${e.clientWidth}`),
    ...[...document.querySelectorAll("button, select, summary, [role=radio], .pick")]
      .map((e) => [e.getAttribute("aria-label") ?? e.textContent?.trim(), e.getBoundingClientRect()])
      .filter(([, box]) => box.width > 0 && (box.width < 27.9 || box.height < 27.9))
      .map(([name, box]) => `${name}: ${box.width} x ${box.height}`),
  ]);

for (const look of ["dark", "light"]) {
  for (const [width, height] of [[960, 640], [1280, 800]]) {
    test(`gateway with keys, paused, ${look}, ${width} x ${height}`, () =>
      begin("paused", async (page) => {
        await gateway(page);
        await page.getByRole("button", { name: "Show the key opencode" }).click();
        await page.getByTestId("key-text").waitFor();
        await page.getByTestId("queue-limit").fill("many");
        await page.getByTestId("queue-limit").blur();
        assert.deepEqual(await violations(page), []);
        assert.deepEqual(await misfits(page), []);
        await page.getByTestId("make-key").click();
        await page.getByTestId("key-some").click();
        assert.deepEqual(await violations(page), []);
        assert.deepEqual(await misfits(page), []);
      }, { width, height, look }));
  }
}

test("a number is written at Enter or when left, taken back at Escape, and refused in place", () =>
  begin("rest", async (page) => {
    await gateway(page);
    const ttl = page.getByTestId("odin-ttl");
    assert.equal(await ttl.inputValue(), "20");
    await ttl.fill("1.5");
    await page.keyboard.press("Escape");
    assert.equal(await ttl.inputValue(), "20");
    await ttl.fill("0");
    await page.keyboard.press("Enter");
    await page.getByText("0: it stays awake until something else needs its memory.").waitFor();
    const limit = page.getByTestId("queue-limit");
    await limit.fill("3.5");
    await page.getByTestId("health-timeout").focus();
    await page.getByTestId("row-queue-limit").getByRole("alert").getByText("“3.5” is no whole number").waitFor();
    assert.equal(await limit.getAttribute("aria-invalid"), "true");
    await limit.fill("200000");
    await page.keyboard.press("Enter");
    await page.getByTestId("row-queue-limit").getByRole("alert").getByText("200000 cannot be the limit of a queue.").waitFor();
    await limit.fill("8");
    await page.keyboard.press("Enter");
    await page.getByTestId("row-queue-limit").getByRole("alert").waitFor({ state: "detached" });
    assert.equal(await limit.inputValue(), "8");
  }));

test("switches, budgets and a new session", () =>
  begin("rest", async (page) => {
    await gateway(page);
    assert.equal(await checked(page, "gateway-wake"), "true");
    await page.getByTestId("gateway-wake").focus();
    await page.keyboard.press("Space");
    await page.getByText("Off: requests for a sleeping agent get 503.").waitFor();
    assert.equal(await checked(page, "gateway-wake"), "false");
    await page.getByTestId("budget-odin-note").getByText("2 of 3 used in this session, 1 left.").waitFor();
    await page.getByTestId("odin-cooldown-note").getByText(/^Tools can wake Odin again at \d\d:\d\d\.$/).waitFor();
    await page.getByTestId("new-session").click();
    await page.getByTestId("budget-odin-note").getByText("0 of 3 used in this session, 3 left.").waitFor();
    assert.equal(await page.getByTestId("odin-cooldown-note").count(), 0);
  }));

test("the network needs a key first; a key is made, shown, and removed once confirmed", () =>
  begin("rest", async (page) => {
    await gateway(page);
    await page.getByTestId("gateway-network").click();
    await page.getByTestId("needs-key").waitFor();
    assert.equal(await checked(page, "gateway-network"), "false");
    await page.getByTestId("needs-key-make").click();
    await page.getByTestId("key-dialog").waitFor();
    assert.equal(await focused(page), "key-name");
    await page.keyboard.type("my tool");
    await page.keyboard.press("Enter");
    await page.getByTestId("key-dialog").getByText("my tool cannot be a key's name.").waitFor();
    await page.getByTestId("key-name").fill("aider");
    await page.getByTestId("key-some").click();
    assert.equal(await page.getByTestId("key-confirm").getAttribute("aria-disabled"), "true");
    await page.getByTestId("key-agent-thor").click();
    await page.getByTestId("key-confirm").click();
    const clear = (await page.getByTestId("new-key-text").textContent()) ?? "";
    assert.match(clear, /^asgard-aider-/);
    await page.getByTestId("key-done").click();
    const key = page.getByTestId("key-aider");
    await key.getByText("Thor, never used").waitFor();
    assert.ok(!(await page.content()).includes(clear));
    await page.getByTestId("gateway-network").click();
    await page.getByText("On: other computers reach it at port 8899, with a key.").waitFor();
    await page.getByRole("button", { name: "Remove the key aider" }).click();
    await page.getByText("turn that off first").waitFor();
    await page.getByTestId("remove-key-confirm").click();
    await page.getByTestId("remove-key-dialog").getByText("It is the last key").waitFor();
    await page.keyboard.press("Escape");
    await page.getByTestId("gateway-network").click();
    await page.getByText("Off: only this computer can reach it.").waitFor();
    await page.getByRole("button", { name: "Show the key aider" }).click();
    assert.equal(await page.getByTestId("key-text").textContent(), clear);
    await page.getByRole("button", { name: "Remove the key aider" }).click();
    await page.getByTestId("remove-key-confirm").click();
    await key.waitFor({ state: "detached" });
  }));

test("a paused gateway is said by the rail, by a notice and in Settings, and resumed from each", () =>
  begin("paused", async (page) => {
    await page.getByTestId("paused").waitFor();
    await page.getByTestId("fact-gateway").getByText("Bifrost paused").waitFor();
    const edge = () => page.locator("nav").evaluate((e) => getComputedStyle(e).borderRightWidth);
    assert.equal(await edge(), "2px");
    assert.deepEqual(await violations(page), []);
    await page.getByTestId("rail-resume").click();
    await page.getByTestId("paused").waitFor({ state: "detached" });
    assert.equal(await edge(), "1px");
    await gateway(page);
    await page.getByTestId("gateway-pause").click();
    await page.getByTestId("gateway-resume").click();
    await page.getByTestId("gateway-pause").getByText("Pause").waitFor();
  }));

test("a card says who waits for its agent", () =>
  begin("waits", async (page) => {
    const line = page.getByTestId("waits-odin");
    await line.waitFor();
    assert.match((await line.locator(".trunc").textContent()) ?? "", /^2 requests wait, 3[78]\u00a0s left$/);
    assert.match((await line.locator(".sr").textContent()) ?? "", /^2 requests wait for Odin, 3[78]\u00a0s left: OpenCode and ci$/);
    assert.equal(await page.locator("[data-testid^=waits-]").count(), 1);
    assert.equal(await page.getByTestId("start-odin").getAttribute("aria-disabled"), "false");
    assert.deepEqual(await violations(page), []);
    const cut = await line.locator(".trunc").evaluate((e) => e.scrollWidth > e.clientWidth + 1);
    assert.equal(cut, false);
  }));
