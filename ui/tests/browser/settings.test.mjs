// What others run, the tabs of Settings, presets, import, export and images.

import assert from "node:assert/strict";
import { test } from "node:test";
import { played, violations } from "./played.mjs";

const begin = played();

/** Whatever is wider than what it stands in, or a target too small to hit. */
const misfits = (page) =>
  page.evaluate(() => [
    ...[...document.querySelectorAll("main, main *, dialog, dialog *")]
      .filter((e) => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "hidden" && getComputedStyle(e).display !== "inline" && !e.closest(".sr, .trunc, pre, svg"))
      .map((e) => `${e.tagName}.${e.className}: ${e.scrollWidth} in ${e.clientWidth}`),
    ...[...document.querySelectorAll("button, select, summary, [role=radio]")]
      .map((e) => [e.getAttribute("aria-label") ?? e.textContent?.trim(), e.getBoundingClientRect()])
      .filter(([, box]) => box.width > 0 && (box.width < 27.9 || box.height < 27.9))
      .map(([name, box]) => `${name}: ${box.width} x ${box.height}`),
  ]);

async function to(page, tab) {
  await page.getByTestId("nav-settings").click();
  await page.getByTestId(`tab-${tab}`).click();
}

const focused = (page) => page.evaluate(() => document.activeElement?.getAttribute("data-testid") ?? document.activeElement?.id);
const neighbour = (page, id) => page.locator(`[data-testid=neighbour][data-id="${id}"]`);
const THOR = "docker/strix-vllm_thor-1";

const VIEWS = {
  panel: ["guests", async (page) => {
    await page.getByTestId("show-others").click();
    await neighbour(page, THOR).waitFor();
    for (const fold of await page.locator("dialog summary").all()) await fold.click();
  }],
  guests: ["guests", async (page) => {
    await page.getByTestId("warnings-odin").click();
    await page.getByTestId("all-warnings-odin").waitFor();
  }],
  unconfirmed: ["imported", async (page) => page.getByTestId("unconfirmed").waitFor()],
  general: ["rest", async (page) => to(page, "general")],
  review: ["rest", async (page) => {
    await to(page, "stack");
    await page.getByTestId("import-compose").click();
    await page.getByTestId("review").waitFor();
    for (const fold of await page.locator("[data-testid=review] summary").all()) await fold.click();
  }],
  preset: ["rest", async (page) => {
    await to(page, "stack");
    await page.getByTestId("use-small").click();
    await page.getByTestId("preset-confirm").waitFor();
  }],
  exported: ["rest", async (page) => {
    await to(page, "stack");
    await page.getByTestId("export-compose").click();
    await page.getByTestId("exported").first().waitFor();
  }],
  engines: ["guests", async (page) => {
    await to(page, "engines");
    await neighbour(page, THOR).waitFor();
    await page.getByTestId("image").first().waitFor();
  }],
  away: ["trouble", async (page) => {
    await to(page, "engines");
    await page.getByTestId("images-error").waitFor();
  }],
  gateway: ["rest", async (page) => to(page, "gateway")],
  readiness: ["rest", async (page) => {
    await to(page, "readiness");
    await page.getByTestId("readiness-skipped").locator("summary").click();
    await page.getByTestId("check-gtt_cap").waitFor();
  }],
};

for (const look of ["dark", "light"]) {
  for (const [width, height] of [[960, 640], [1280, 800]]) {
    for (const [name, [play, run]] of Object.entries(VIEWS)) {
      test(`${name}, ${look}, ${width} x ${height}`, () =>
        begin(play, async (page) => {
          await run(page);
          assert.deepEqual(await violations(page), []);
          assert.deepEqual(await misfits(page), []);
        }, { width, height, look }));
    }
  }
}

test("what others run: shown from Stack, adopted, left, and taken back", () =>
  begin("guests", async (page) => {
    await page.getByTestId("others").getByText("3 model servers run here that Asgard did not start.").waitFor();
    await page.getByTestId("show-others").click();
    const thor = neighbour(page, THOR);
    await thor.getByText("24.8\u00a0GB measured").waitFor();
    await neighbour(page, "docker/bifrost").getByText("Holds the gateway's port 8899.").waitFor();
    assert.equal(await page.getByText("Holds the gateway's port").count(), 1);
    await thor.getByTestId("neighbour-adopt").click();
    await thor.getByText("Adopted", { exact: true }).waitFor();
    await neighbour(page, "docker/bifrost").getByTestId("neighbour-leave").click();
    await neighbour(page, "docker/bifrost").getByText("Left alone", { exact: true }).waitFor();
    await page.keyboard.press("Escape");
    await page.getByTestId("neighbours-panel").waitFor({ state: "detached" });
    assert.equal(await focused(page), "show-others");
    const card = page.getByTestId("agent-thor");
    await card.getByText("Run by others, never restarted").waitFor();
    assert.equal(await page.getByTestId("stop-thor").count(), 0);
    await page.getByTestId("leave-thor").click();
    await page.getByTestId("start-thor").waitFor();
    await page.getByTestId("others").getByText("2 model servers").waitFor();
  }));

test("what is not possible stays in reach, says why, and does nothing", () =>
  begin("guests", async (page) => {
    await page.getByTestId("show-others").click();
    const adopt = neighbour(page, "docker/bifrost").getByTestId("neighbour-adopt");
    await adopt.focus();
    assert.equal(await focused(page), "neighbour-adopt");
    assert.equal(await adopt.getAttribute("aria-disabled"), "true");
    const described = await adopt.getAttribute("aria-describedby");
    assert.match((await page.locator(`[id="${described}"]`).textContent()) ?? "", /serves no model/);
    await page.keyboard.press("Enter");
    assert.equal(await neighbour(page, "docker/bifrost").getAttribute("data-answer"), "open");
    const stop = neighbour(page, "docker/bifrost").getByTestId("neighbour-stop");
    assert.equal((await stop.textContent())?.trim(), "Stop");
    await stop.click();
    await neighbour(page, "docker/bifrost").getByText("Stopped by Asgard").waitFor();
    await neighbour(page, "docker/bifrost").getByTestId("neighbour-undo").click();
    await stop.waitFor();
  }));

test("the panel keeps the focus", () =>
  begin("guests", async (page) => {
    await page.getByTestId("show-others").click();
    await neighbour(page, THOR).waitFor();
    for (let i = 0; i < 40; i += 1) {
      await page.keyboard.press("Tab");
      const inside = await page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest("dialog") !== null);
      assert.ok(inside, `after ${i + 1} tabs`);
    }
  }));

test("names and commands of others are text and nothing else", () =>
  begin("guests", async (page) => {
    await page.getByTestId("show-others").click();
    const hostile = neighbour(page, "docker/hostile");
    await hostile.locator("summary").click();
    await hostile.getByText("<script>window.harmed=1</script>").waitFor();
    assert.equal(await hostile.locator("img, script, b").count(), 0);
    assert.equal(await page.evaluate(() => window.harmed), undefined);
    assert.ok(!((await hostile.textContent()) ?? "").includes("\u202E"));
  }));

test("Ollama: each of its models can be added", () =>
  begin("guests", async (page) => {
    await to(page, "engines");
    const ollama = neighbour(page, "process/4711");
    await ollama.getByText("4.7\u00a0GB, loaded").waitFor();
    assert.equal(await ollama.getByTestId("neighbour-adopt").count(), 0);
    await ollama.getByRole("button", { name: "Add qwen2.5-coder:7b" }).click();
    await ollama.getByText("Adopted", { exact: true }).waitFor();
  }));

test("a changed agent restarts on a press, and a role says whose server it is on", () =>
  begin("guests", async (page) => {
    await page.getByTestId("agent-frigga").getByText("role on Thor's server").waitFor();
    await page.getByTestId("restart-valkyrie").click();
    await page.getByTestId("restart-valkyrie").waitFor({ state: "detached" });
  }));

test("a stack of somebody else: nothing starts before it was seen", () =>
  begin("imported", async (page) => {
    await page.getByTestId("start-thor").click();
    await page.getByTestId("confirm-problem").waitFor();
    assert.equal(await page.getByTestId("agent-thor").getAttribute("data-state"), "asleep");
    for (const screen of ["chat", "activity", "settings", "stack"]) {
      await page.getByTestId(`nav-${screen}`).click();
      await page.getByTestId("unconfirmed").waitFor();
    }
    await page.getByTestId("confirm-problem").click();
    await page.getByTestId("unconfirmed").waitFor({ state: "detached" });
    await page.getByTestId("confirm-problem").waitFor({ state: "detached" });
    await page.getByTestId("start-thor").click();
    await page.locator("[data-testid=agent-thor][data-state=ready]").waitFor();
  }));

test("the tabs by keyboard", () =>
  begin("rest", async (page) => {
    await page.getByTestId("nav-settings").click();
    await page.getByTestId("tab-general").focus();
    const seen = [];
    for (let i = 0; i < 7; i += 1) {
      await page.keyboard.press("ArrowRight");
      seen.push(await focused(page));
    }
    assert.deepEqual(seen, ["tab-agents", "tab-stack", "tab-engines", "tab-gateway", "tab-tools", "tab-readiness", "tab-general"]);
    assert.equal(await page.locator("[role=tab][tabindex='0']").count(), 1);
  }));

test("a preset: asked once, then where the file before is kept", () =>
  begin("rest", async (page) => {
    await to(page, "stack");
    await page.getByTestId("use-small").click();
    await page.getByTestId("preset-dialog").getByText("Nothing is stopped.").waitFor();
    await page.keyboard.press("Escape");
    await page.getByTestId("preset-dialog").waitFor({ state: "detached" });
    assert.equal(await focused(page), "use-small");
    assert.equal(await page.getByTestId("preset-used").count(), 0);
    await page.getByTestId("use-small").click();
    await page.getByTestId("preset-confirm").click();
    await page.getByTestId("preset-used").getByText("/home/you/.config/asgard/kept/").waitFor();
    await page.getByTestId("preset-small").getByText("In force").waitFor();
    assert.equal(await page.getByTestId("use-small").count(), 0);
  }));

test("an import is looked at first, discarded, and then made the stack", () =>
  begin("rest", async (page) => {
    await to(page, "stack");
    await page.getByTestId("import-compose").click();
    await page.getByTestId("review").waitFor();
    assert.equal(await focused(page), "review-title");
    const corrected = page.getByTestId("findings-corrected");
    await corrected.getByText("FRIGGA_MAX_LEN").waitFor();
    await corrected.getByText(".env:7").waitFor();
    await corrected.getByText("trained for 32,768 tokens").waitFor();
    assert.match((await page.getByTestId("secrets").textContent()) ?? "", /HF_TOKEN goes to the keyring, not into the file/);
    await page.getByTestId("would-run").locator("summary").click();
    await page.getByTestId("surface").getByText("/dev/kfd").waitFor();
    await page.getByTestId("import-discard").click();
    await page.getByTestId("review").waitFor({ state: "detached" });
    assert.equal(await focused(page), "import-compose");
    assert.equal(await page.getByTestId("unconfirmed").count(), 0);
    await page.getByTestId("import-env").click();
    await page.getByTestId("import-write").click();
    await page.getByTestId("import-written").getByText("The file before is kept as").waitFor();
    await page.getByTestId("unconfirmed").waitFor();
  }));

test("an export is shown to be copied", () =>
  begin("rest", async (page) => {
    await to(page, "stack");
    await page.getByTestId("export-compose").click();
    await page.getByTestId("export").getByText("${THOR_IMAGE}").waitFor();
    assert.equal(await page.getByTestId("exported").count(), 2);
    await page.getByTestId("export").getByText("have no equal in compose").waitFor();
  }));

test("images: looked for, tried on one agent, taken back, removed", () =>
  begin("rest", async (page) => {
    await to(page, "engines");
    await page.getByTestId("images-free").getByText("412.0\u00a0GB free").waitFor();
    assert.equal(await page.getByTestId("try-image").count(), 0);
    await page.getByTestId("check-images").click();
    await page.getByTestId("try-image").click();
    await page.getByTestId("try-agent").getByRole("radio", { name: "Heimdall" }).click();
    assert.match((await page.getByTestId("try-words").textContent()) ?? "", /^Pulls .*, restarts Heimdall and asks it one question\. Keeps it if Heimdall answers; else goes back/);
    await page.getByTestId("try-confirm").click();
    const first = page.getByTestId("image").first();
    await first.getByText("Tried on Heimdall").waitFor();
    await first.getByTestId("undo-image").click();
    await first.getByText("The image before is taken again.").waitFor();
    await page.getByTestId("remove-image").click();
    await page.getByTestId("remove-confirm").click();
    await page.getByTestId("unused-image").waitFor({ state: "detached" });
  }));

test("readiness: what to fix with its command, looked at again, and a report", () =>
  begin("rest", async (page) => {
    await to(page, "readiness");
    const counts = page.getByTestId("readiness-counts");
    await counts.getByText("1 to fix").waitFor();
    await counts.getByText("2 advised").waitFor();
    const first = page.getByTestId("readiness-todo").locator("li").first();
    assert.equal(await first.getAttribute("data-testid"), "check-gtt_cap");
    assert.match((await first.textContent()) ?? "", /ttm\.pages_limit=32505856/);
    assert.equal(await page.getByTestId("check-engine").locator("p, pre").count(), 0);
    await page.getByTestId("check-again").click();
    await counts.getByText("1 advised").waitFor();
    await page.getByTestId("readiness-passed").getByTestId("check-swap").waitFor();
    await page.getByTestId("save-report").click();
    await page.getByTestId("report-saved").getByText("asgard-report-").waitFor();
  }));
