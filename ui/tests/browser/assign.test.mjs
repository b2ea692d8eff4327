// A model for an agent, chosen by pointing: the bar and the figures move with the sliders, and what is saved is what was
// shown.

import assert from "node:assert/strict";
import { test } from "node:test";
import { played, violations } from "./played.mjs";

const begin = played();

async function toDialog(page) {
  await page.getByTestId("nav-models").click();
  await page.getByTestId("assign").first().click();
  await page.getByTestId("assign-figures").waitFor();
}

const total = async (page) => Number(/([\d.]+)\sGB/.exec((await page.getByTestId("assign-figures").locator(".sum").textContent()) ?? "")?.[1]);
const width = (page, agent) => page.getByTestId("assign-bar").locator(`[data-segment="${agent}"]`).evaluate((e) => e.getBoundingClientRect().width);

test("the bar, the figures and every profile's verdict move with the sliders", () =>
  begin("rest", async (page) => {
    await toDialog(page);
    await page.getByTestId("assign-to-loki").click();
    await page.getByTestId("assign-bar").locator('[data-segment="loki"]').waitFor();
    const context = page.getByTestId("assign-context");
    await context.focus();
    await page.keyboard.press("Home");
    await page.waitForFunction(() => document.querySelector('[data-testid="assign-context"]').getAttribute("aria-valuetext").startsWith("1K"));
    await page.waitForTimeout(0);
    const small = await total(page);
    await page.keyboard.press("End");
    await page.waitForFunction(() => document.querySelector('[data-testid="assign-context"]').getAttribute("aria-valuetext").startsWith("128K"));
    await page.waitForFunction((before) => Number(/([\d.]+)\sGB/.exec(document.querySelector('[data-testid="assign-figures"] .sum').textContent)[1]) > before + 10, small);
    assert.match((await context.getAttribute("aria-valuetext")) ?? "", /does not fit/);
    await page.getByTestId("assign-profiles").getByText(/short/).first().waitFor();
    // With nobody else there is room for more.
    await page.getByTestId("assign-beside-nobody").click();
    await page.getByTestId("assign-bar").locator('[data-segment="thor"]').waitFor({ state: "detached" });
    const wide = await width(page, "loki");
    await page.getByTestId("assign-kv").getByRole("radio", { name: /8 bit/ }).click();
    await page.getByTestId("assign-kv-warning").getByText(/loses accuracy/).waitFor();
    await page.waitForFunction((before) => document.querySelector('[data-testid="assign-bar"] [data-segment="loki"]').getBoundingClientRect().width < before - 1, wide);
  }));

test("an agent that runs is saved, and started again only when that is asked for", () =>
  begin("rest", async (page) => {
    await toDialog(page);
    await page.getByTestId("assign-to-thor").click();
    await page.getByTestId("assign-restart").waitFor();
    await page.getByTestId("assign-command").locator("summary").click();
    await page.getByTestId("assign-command").getByTestId("command-text").waitFor();
    await page.getByTestId("assign-save").click();
    const saved = page.getByTestId("assign-saved");
    await saved.waitFor();
    assert.match((await saved.textContent()) ?? "", /Thor is set to Llama 3.3 70B Instruct/);
    assert.match((await saved.textContent()) ?? "", /only when you say so/);
    const then = page.getByTestId("assign-then");
    assert.match((await then.textContent()) ?? "", /Restart Thor when idle/);
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("data-testid")), "assign-then");
    await then.click();
    await saved.getByText("Thor is ready with it.").waitFor();
    await page.getByTestId("assign-done").click();
    await page.getByTestId("assign-dialog").waitFor({ state: "detached" });
  }));

test("who is in use restarts later: that is said, on its card as well, and can be taken back", () =>
  begin("waits", async (page) => {
    await toDialog(page);
    await page.getByTestId("assign-to-valkyrie").click();
    await page.getByTestId("assign-save").click();
    await page.getByTestId("assign-then").click();
    const saved = page.getByTestId("assign-saved");
    await saved.getByText(/restarts with .* when its last request has ended/).waitFor();
    await page.getByTestId("assign-take-back").click();
    await saved.getByText(/only when you say so/).waitFor();
    await page.getByTestId("assign-then").click();
    await page.getByTestId("assign-take-back").waitFor();
    await page.getByTestId("assign-done").click();
    await page.getByTestId("nav-stack").click();
    const waits = page.getByTestId("waits-to-restart-valkyrie");
    await waits.getByText("Restarts when nobody uses it").waitFor();
    await page.getByTestId("restart-back-valkyrie").click();
    await waits.waitFor({ state: "detached" });
  }));

test("one that sleeps is started from where it was saved", () =>
  begin("rest", async (page) => {
    await toDialog(page);
    await page.getByTestId("assign-to-loki").click();
    await page.getByTestId("assign-save").click();
    await page.getByTestId("assign-then").click();
    await page.getByTestId("assign-saved").getByText("Loki is ready with it.").waitFor();
    await page.getByTestId("assign-done").click();
  }));

test("a new agent has a name, a rune, a colour and a port of its own", () =>
  begin("rest", async (page) => {
    await toDialog(page);
    await page.getByTestId("assign-to-new").click();
    const save = page.getByTestId("assign-save");
    assert.equal(await save.getAttribute("aria-disabled"), "true", "it has no name yet");
    await page.getByTestId("entry-agent").fill("thor");
    await page.getByText("There is an agent thor already.").first().waitFor();
    await page.getByTestId("entry-agent").fill("bragi");
    await page.getByTestId("entry-port").fill("8001");
    await page.getByTestId("edit-problems").getByText("Port 8001 is taken by Thor.").waitFor();
    await page.getByTestId("entry-port").fill("8021");
    await page.getByTestId("edit-problems").waitFor({ state: "detached" });
    await page.getByTestId("assign-glyph").getByRole("radio", { name: "Rune gebo" }).click();
    await page.getByTestId("assign-color").getByRole("radio", { name: "Colour moss" }).click();
    await page.getByTestId("assign-in-odin").check();
    await page.getByTestId("assign-bar").locator('[data-segment="bragi"]').waitFor();
    await save.click();
    await page.getByTestId("assign-saved").waitFor();
    await page.getByTestId("assign-done").click();
    await page.getByTestId("nav-stack").click();
    await page.getByTestId("agent-bragi").waitFor();
  }));

test("somebody else saved the file: the choice goes on upon what stands there now", () =>
  begin("rest", async (page) => {
    await toDialog(page);
    await page.getByTestId("assign-to-loki").click();
    await page.evaluate(() => dispatchEvent(new Event("asgard-touch-stack")));
    await page.getByTestId("assign-save").click();
    await page.getByText("It was read again; look at it, and press once more.").waitFor();
    await page.getByTestId("assign-save").click();
    await page.getByTestId("assign-saved").waitFor();
  }));

test("cards are a radio group: arrows choose, and Escape leaves", () =>
  begin("rest", async (page) => {
    await toDialog(page);
    await page.getByTestId("assign-to-odin").focus();
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.getByTestId("assign-to-heimdall").getAttribute("aria-checked"), "true");
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("data-testid")), "assign-to-heimdall");
    await page.keyboard.press("Escape");
    await page.getByTestId("assign-dialog").waitFor({ state: "detached" });
  }));

for (const look of ["dark", "light"]) {
  for (const [width_, height] of [
    [960, 640],
    [1280, 800],
  ]) {
    test(`nothing that axe finds, ${look}, ${width_} x ${height}`, () =>
      begin(
        "rest",
        async (page) => {
          await toDialog(page);
          assert.deepEqual(await violations(page), []);
          await page.getByTestId("assign-to-new").click();
          await page.getByTestId("entry-agent").fill("bragi");
          await page.getByTestId("assign-bar").locator('[data-segment="bragi"]').waitFor();
          assert.deepEqual(await violations(page), []);
          const body = page.getByTestId("assign-dialog").locator(".body");
          assert.equal(await body.evaluate((e) => e.scrollWidth > e.clientWidth + 1), false, "nothing scrolls sideways");
        },
        { look, width: width_, height },
      ));
  }
}
