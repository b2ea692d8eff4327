// Settings of coding tools: the choices, the diff before anything is written, the lines to copy.

import assert from "node:assert/strict";
import { test } from "node:test";
import { played, violations } from "./played.mjs";

const begin = played();

async function tools(page) {
  await page.getByTestId("nav-settings").click();
  await page.getByTestId("tab-tools").click();
  await page.getByTestId("tool-opencode").waitFor();
}

const open = (page, tool) => page.getByTestId(`tool-${tool}`).locator("summary").first().click();

for (const look of ["dark", "light"]) {
  for (const [width, height] of [[960, 640], [1280, 800]]) {
    test(`coding tools, ${look}, ${width} x ${height}`, () =>
      begin("paused", async (page) => {
        await tools(page);
        await page.getByTestId("tool-primary").selectOption("cloud:");
        await page.getByTestId("tool-cloud").fill("nothing");
        await page.getByTestId("tool-cloud").blur();
        await open(page, "opencode");
        await open(page, "codex");
        assert.deepEqual(await violations(page), []);
        const misfits = await page.evaluate(() => [
          ...[...document.querySelectorAll("main, main *")]
            .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "hidden" && getComputedStyle(e).display !== "inline" && !e.closest(".sr, .trunc, pre, svg, .diff"))
            .map((e) => `${e.tagName}.${e.className}: ${e.scrollWidth} in ${e.clientWidth}`),
          ...[...document.querySelectorAll("main button, main select, main summary")]
            .map((e) => [e.textContent?.trim(), e.getBoundingClientRect()])
            .filter(([, box]) => box.width > 0 && (box.width < 27.9 || box.height < 27.9))
            .map(([name, box]) => `${name}: ${box.width} x ${box.height}`),
        ]);
        assert.deepEqual(misfits, []);
      }, { width, height, look }));
  }
}

test("every tool has its lines; two have a file that is written", () =>
  begin("rest", async (page) => {
    await tools(page);
    assert.deepEqual(await page.getByTestId("tools").locator("summary b").allTextContents(), ["OpenCode", "oh-my-opencode", "Codex CLI", "Claude Code", "Zed", "Continue", "Cline", "Aider"]);
    assert.equal(await page.getByTestId("tool-write").count(), 2);
    assert.ok(await page.getByTestId("tool-key").isDisabled());
    await open(page, "aider");
    await page.getByTestId("tool-aider").getByText("model: openai/thor").waitFor();
    await page.getByTestId("tool-aider").getByRole("button", { name: "Copy the configuration of Aider" }).waitFor();
    assert.equal(await page.getByTestId("tool-oh-my-opencode").getByTestId("tool-diff").count(), 0);
    assert.equal(await page.getByTestId("tool-oh-my-opencode").getByTestId("tool-write").getAttribute("aria-disabled"), "true");
  }));

test("the diff says by sign what comes and goes, follows the choices, and is gone once it is written", () =>
  begin("paused", async (page) => {
    await tools(page);
    await page.getByTestId("tool-opencode").locator("summary").first().focus();
    await page.keyboard.press("Enter");
    const diff = page.getByTestId("tool-opencode").getByTestId("tool-diff");
    const removed = diff.locator(".removed");
    assert.match((await removed.textContent()) ?? "", /^−.*claude-sonnet/);
    assert.match((await diff.locator(".added").first().textContent()) ?? "", /^\+.*asgard\/thor/);
    assert.equal(await diff.getByText("--- /home").count(), 0);
    await page.getByTestId("tool-primary").selectOption("valkyrie");
    await diff.getByText("asgard/valkyrie").waitFor();
    await page.getByTestId("tool-primary").selectOption("cloud:");
    await page.getByTestId("tool-cloud").fill("no model");
    await page.keyboard.press("Enter");
    await page.getByText("Write it as PROVIDER/MODEL").waitFor();
    await page.getByTestId("tool-cloud").fill("openai/gpt-5");
    await page.keyboard.press("Enter");
    await diff.getByText("openai/gpt-5").waitFor();
    await page.getByTestId("tool-key").selectOption("ci");
    await diff.getByText("keys/ci").waitFor();
    await page.getByTestId("tool-project").fill("work/house");
    await page.keyboard.press("Enter");
    await page.getByText("Write the whole path of the folder").waitFor();
    await page.getByTestId("tool-project").fill("/home/you/house");
    await page.keyboard.press("Enter");
    await page.getByTestId("tool-opencode").getByText("/home/you/house/.opencode/opencode.jsonc").first().waitFor();
    await page.getByTestId("tool-opencode").getByTestId("tool-write").click();
    await page.getByTestId("tool-written").getByText("/home/you/house/.opencode/opencode.jsonc.asgard-20261121-151500").waitFor();
    await diff.waitFor({ state: "detached" });
    await page.getByTestId("tool-opencode").getByText("Up to date").waitFor();
  }));
