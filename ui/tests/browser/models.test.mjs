// Models: what is installed and where it fits, what the Hub has, what is coming, and the Hub's token; by keyboard too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { played, violations } from "./played.mjs";

const begin = played();

async function models(page, tab = "installed") {
  await page.getByTestId("nav-models").click();
  await page.getByTestId("screen-models").waitFor();
  if (tab !== "installed") await page.getByTestId(`tab-${tab}`).click();
}

async function search(page, text) {
  await page.getByTestId("discover-search").fill(text);
  await page.getByTestId("discover-search").press("Enter");
}

const text = async (place) => (await place.innerText()).replace(/\s+/g, " ").trim();
const row = (page, name) => page.getByTestId("installed-row").filter({ hasText: name }).first();
const card = (page, name) => page.getByTestId("hub-model").filter({ hasText: name }).first();
const download = (page, name) => page.getByTestId("download").filter({ hasText: name }).first();
const focused = (page) => page.evaluate(() => document.activeElement?.dataset.testid ?? document.activeElement?.textContent?.trim() ?? "");
const opened = (page) => page.evaluate(() => document.documentElement.dataset.opened ?? null);

/** What scrolls sideways, and what is too small to hit. */
async function flaws(page) {
  return page.evaluate(() => {
    const wide = [...document.querySelectorAll("main, main > section, main > section *, dialog *")]
      .filter((e) => e.scrollWidth > e.clientWidth + 1 && !["hidden", "clip", "auto"].includes(getComputedStyle(e).overflowX) && getComputedStyle(e).display !== "inline" && !e.closest(".sr, .trunc, svg"))
      .map((e) => `${e.tagName}.${e.className}: ${e.scrollWidth} in ${e.clientWidth}`);
    const small = [...document.querySelectorAll("main button, main select, main summary, main input[type=range], dialog button, dialog summary")]
      .map((e) => [e.getAttribute("aria-label") ?? e.textContent?.trim(), e.getBoundingClientRect()])
      .filter(([, box]) => box.width > 0 && (box.width < 27.9 || box.height < 27.9))
      .map(([name, box]) => `${name}: ${box.width} x ${box.height}`);
    return [...wide, ...small];
  });
}

for (const look of ["dark", "light"]) {
  for (const [width, height] of [[960, 640], [1280, 800]]) {
    for (const play of ["switching", "hostile", "bare"]) {
      test(`the three lists, ${play}, ${look}, ${width} x ${height}`, () =>
        begin(play, async (page) => {
          await models(page);
          await page.getByTestId(play === "bare" ? "installed-empty" : play === "hostile" ? "installed" : "memory-total").waitFor();
          if (play === "hostile") {
            await page.locator("[data-id=hostile]").click();
            await page.getByTestId("memory-total").waitFor();
          }
          assert.deepEqual([...(await violations(page)), ...(await flaws(page))], []);
          await page.getByTestId("tab-discover").click();
          await page.getByTestId("hub-model").first().waitFor();
          assert.deepEqual([...(await violations(page)), ...(await flaws(page))], []);
          await page.getByTestId("tab-downloads").click();
          if (play === "bare") await page.getByTestId("downloads-empty").waitFor();
          else {
            await page.getByTestId("download-more").first().click();
            await page.getByTestId("download-files").getByText("came over the network").waitFor();
          }
          assert.deepEqual([...(await violations(page)), ...(await flaws(page))], []);
        }, { width, height, look }));
    }

    test(`the layers over them, ${look}, ${width} x ${height}`, () =>
      begin("switching", async (page) => {
        await models(page);
        await page.getByTestId("model-menu").click();
        await page.getByTestId("menu-verify").waitFor();
        assert.deepEqual([...(await violations(page)), ...(await flaws(page))], []);
        await page.getByTestId("menu-remove").click();
        await page.getByTestId("remove-words").waitFor();
        assert.deepEqual([...(await violations(page)), ...(await flaws(page))], []);
        await page.keyboard.press("Escape");
        await page.getByTestId("tab-discover").click();
        await search(page, "unsloth");
        await card(page, "Qwen3 4B").getByText("4 variants").click();
        await page.getByTestId("details-files").waitFor();
        assert.deepEqual([...(await violations(page)), ...(await flaws(page))], []);
        await page.keyboard.press("Escape");
        await page.getByTestId("tab-downloads").click();
        await page.getByTestId("download-cancel").first().click();
        await page.getByTestId("cancel-keep").waitFor();
        assert.deepEqual([...(await violations(page)), ...(await flaws(page))], []);
        await page.keyboard.press("Escape");
        await page.getByTestId("download-help").click();
        await page.getByTestId("token-field").waitFor();
        assert.deepEqual([...(await violations(page)), ...(await flaws(page))], []);
      }, { width, height, look }));
  }
}

test("the rail leads there by Ctrl 3, and counts what needs somebody, not what runs", () =>
  begin("switching", async (page) => {
    await page.keyboard.press("Control+3");
    await page.getByTestId("screen-models").waitFor();
    assert.equal(await text(page.getByTestId("models-badge")), "1");
    assert.equal(await page.getByTestId("nav-models").getAttribute("aria-label"), "Models, 1 download needs you");
    await page.keyboard.press("Control+4");
    await page.getByTestId("screen-activity").waitFor();
    await page.keyboard.press("Control+5");
    await page.getByTestId("screen-settings").waitFor();
  }));

test("the arrows choose a tab and take the focus along, round the ends, here and in the settings", () =>
  begin("switching", async (page) => {
    const chosen = () => page.locator("[role=tab][aria-selected=true]").getAttribute("data-testid");
    await models(page);
    await page.getByTestId("tab-installed").focus();
    for (const [key, tab] of [["ArrowRight", "tab-discover"], ["ArrowRight", "tab-downloads"], ["ArrowRight", "tab-installed"], ["ArrowLeft", "tab-downloads"]]) {
      await page.keyboard.press(key);
      assert.deepEqual([await chosen(), await focused(page)], [tab, tab], key);
    }
    await page.getByTestId("nav-settings").click();
    await page.getByTestId("tab-general").focus();
    await page.keyboard.press("ArrowRight");
    assert.notEqual(await chosen(), "tab-general");
    assert.equal(await focused(page), await chosen());
  }));

test("what is installed: its figures, its agents, and where it fits", () =>
  begin("switching", async (page) => {
    await models(page);
    assert.equal(await text(page.getByTestId("models-disk")), "86.0 GB on disk, 1.6 TB free");
    assert.equal(await page.getByTestId("installed-row").count(), 6);
    const odin = await text(row(page, "Llama 3.3 70B"));
    assert.match(odin, /39\.8 GB AWQ 4-bit Llama 3\.3 Odin/);
    assert.match(odin, /does not fit does not fit does not fit does not fit in this profile$/);
    assert.match(await text(row(page, "Qwen2.5 14B Instruct")), /Thor Frigga/);
    assert.match(await text(row(page, "Qwen2.5 Coder 14B")), /No agent fits beside it fits beside it fits with less context/);
    assert.deepEqual(await page.getByTestId("profile-key").locator("li").allTextContents(), ["standard", "heimdall", "loki", "frigga", "odin"]);
    await row(page, "Llama 3.3 70B").click();
    const panel = page.getByTestId("installed-panel");
    await panel.getByText("7.6 GB to spare").waitFor();
    await panel.getByText("42.4 GB short").waitFor();
  }));

for (const [width, columns] of [[960, 8], [1100, 8], [1280, 10], [1920, 10]]) {
  test(`the name keeps its room at ${width}`, () =>
    begin("switching", async (page) => {
      await models(page);
      await page.getByTestId("installed").waitFor();
      assert.equal(await page.getByRole("columnheader").filter({ visible: true }).count(), columns);
      assert.ok(await page.getByRole("columnheader").first().evaluate((e) => e.getBoundingClientRect().width >= 200));
      assert.deepEqual(await flaws(page), []);
    }, { width, height: 700 }));
}

test("another context is reckoned with as the slider moves, and says whom it still fits beside", () =>
  begin("switching", async (page) => {
    await models(page);
    await row(page, "Llama 3.3 70B").click();
    const total = page.getByTestId("memory-total");
    await total.getByText("49.9 GB").waitFor();
    const slider = page.getByTestId("context-slider");
    await slider.focus();
    await page.keyboard.press("End");
    assert.equal(await slider.getAttribute("aria-valuetext"), "128K tokens");
    await total.getByText("79.9 GB").waitFor();
    await page.getByTestId("verdicts").getByText("22.4 GB short").waitFor();
    await page.keyboard.press("Home");
    await total.getByText("40.5 GB").waitFor();
    await page.getByText("KV cache, 1 request of 2K").waitFor();
  }));

test("by every column, by the filter, and by keyboard: one stop, arrows, Enter to the panel and Escape back", () =>
  begin("switching", async (page) => {
    await models(page);
    const first = () => page.getByTestId("installed-row").first();
    await page.getByTestId("sort-size").click();
    assert.match(await text(first()), /39\.8 GB/);
    assert.equal(await page.getByRole("columnheader", { name: "Size" }).getAttribute("aria-sort"), "descending");
    await page.getByTestId("sort-size").click();
    assert.match(await text(first()), /2\.7 GB/);
    assert.equal(await page.locator("[data-row][tabindex='0']").count(), 1);
    await page.locator("[data-row]").first().focus();
    await page.keyboard.press("ArrowDown");
    const name = await page.getByTestId("installed-panel").getAttribute("aria-label");
    assert.ok((await focused(page)).startsWith(name ?? "?"));
    await page.keyboard.press("End");
    assert.equal(await page.getByTestId("installed-panel").getAttribute("aria-label"), "Llama 3.3 70B Instruct");
    await page.keyboard.press("Enter");
    assert.equal(await focused(page), "installed-panel");
    await page.keyboard.press("Escape");
    assert.match(await focused(page), /^Llama 3\.3 70B/);
    await page.keyboard.press("Control+f");
    assert.equal(await focused(page), "models-filter");
    await page.keyboard.type("coder awq");
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=installed-row]").length === 2);
    await page.keyboard.type(" nobody");
    await page.getByTestId("filter-clear").click();
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=installed-row]").length === 6);
  }));

test("the menu: compared again, its folder, removed only where nobody needs it", () =>
  begin("switching", async (page) => {
    await models(page);
    await row(page, "Qwen2.5 Coder 14B").click();
    await page.getByTestId("installed-panel").getByText("never").waitFor();
    const menu = page.getByTestId("model-menu");
    await menu.focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.getByTestId("verify").getByText("Every file is right").waitFor();
    assert.equal(await focused(page), "model-menu");
    await page.getByTestId("installed-panel").getByText(/today \d\d:\d\d/).waitFor();
    await page.getByTestId("verify-leave").click();
    await menu.click();
    await page.getByTestId("menu-folder").click();
    await page.waitForFunction(() => (document.documentElement.dataset.opened ?? "").endsWith("models--Qwen--Qwen2.5-Coder-14B-Instruct-AWQ"));
    await menu.click();
    await page.keyboard.press("Escape");
    assert.equal(await page.getByRole("menu").count(), 0);
    // Thor runs one: it stays whatever is pressed.
    await row(page, "Qwen2.5 14B Instruct").click();
    await menu.click();
    await page.getByTestId("menu-remove").click();
    await page.getByTestId("remove-protected").getByText("Thor runs it.").waitFor();
    assert.equal(await page.getByTestId("remove-confirm").getAttribute("aria-disabled"), "true");
    assert.equal(await page.getByTestId("remove-anyway").count(), 0);
    await page.getByTestId("remove-confirm").click({ force: true });
    assert.equal(await page.getByTestId("remove-dialog").count(), 1);
    await page.keyboard.press("Escape");
    // Odin merely is set to one and sleeps: that takes a second word.
    await row(page, "Llama 3.3 70B").click();
    await menu.click();
    await page.getByTestId("menu-remove").click();
    await page.getByTestId("remove-words").getByText("This deletes 17 files and frees 39.8 GB.").waitFor();
    assert.equal(await page.getByTestId("remove-confirm").getAttribute("aria-disabled"), "true");
    await page.getByTestId("remove-anyway").check();
    await page.getByTestId("remove-confirm").click();
    await page.getByTestId("remove-dialog").waitFor({ state: "detached" });
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=installed-row]").length === 5);
    await page.getByTestId("import-model").click();
    await page.getByTestId("import-progress").getByText("Importing, 42% of 5.0\u00a0GB").waitFor();
    await row(page, "My own model").waitFor();
    await page.waitForFunction(() => document.querySelector("[data-testid=installed-panel]")?.getAttribute("aria-label") === "My own model");
  }));

test("what is not as it should be says so: cut short, damaged, somebody else's, on its way", () =>
  begin("hostile", async (page) => {
    await models(page);
    await page.getByText("The folder cannot be written").waitFor();
    await row(page, "Half of one").getByText("Not complete").waitFor();
    await row(page, "Half of one").click();
    await page.getByTestId("incomplete").getByText("2 of 5 files are missing.").waitFor();
    assert.ok(await page.getByTestId("assign").isDisabled());
    await row(page, "Root's own").click();
    await page.getByTestId("owner").getByText("sudo chown -R you:").waitFor();
    await page.getByTestId("model-menu").click();
    await page.getByTestId("menu-verify").click();
    await page.getByTestId("verify").getByText("1 file is damaged").waitFor();
    await row(page, "Root's own").getByText("Damaged").waitFor();
    await row(page, "Coming in").getByText("Being downloaded").waitFor();
    await page.getByTestId("installed-row").filter({ hasText: "Root's own" }).click();
    await page.getByTestId("fetch-damaged").click();
    await page.getByTestId("downloads").waitFor();
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=download]").length === 13);
  }));

test("discover: first what the presets use, then a search whose cards fill in, and one button on each", () =>
  begin("switching", async (page) => {
    await models(page, "discover");
    await page.getByText("What Asgard's presets use, checked for gfx1151").waitFor();
    assert.equal(await page.getByTestId("hub-model").count(), 6);
    await card(page, "Qwen3 Next 80B").getByText("Downloading, 61%").waitFor();
    await card(page, "Llama 3.1 8B").getByText("Gated").waitFor();
    await card(page, "Llama 3.1 8B").getByTestId("card-token").waitFor();
    await page.getByTestId("discover-search").fill("qwen");
    await page.getByText("From Hugging Face, checked for gfx1151").waitFor();
    const fp8 = card(page, "Qwen/Qwen3-32B-FP8");
    await fp8.getByTestId("troubles").getByText("FP8 weights crash on gfx1151.").waitFor();
    await fp8.getByText("Measured with vLLM 0.11, 14 October 2025").waitFor();
    assert.match(await text(fp8.getByTestId("card-get")), /Get anyway/);
    const large = card(page, "Qwen2.5 32B");
    assert.match(await text(large), /19\.3 GB download 27\.0 GB in memory at 32K about 11 tok\/s ?, an estimate/);
    await large.getByText("Too large for every profile, by 5.4 GB or more").waitFor();
    await card(page, "Qwen2.5 7B Instruct").getByTestId("card-assign").waitFor();
    await page.getByTestId("discover-summary").getByText("6 models").waitFor();
    await page.getByTestId("filter-works_here").click();
    await page.getByTestId("discover-summary").getByText("5 models, 1 left out by the filters").waitFor();
    assert.equal(await page.getByTestId("filter-works_here").getAttribute("aria-pressed"), "true");
    await card(page, "Qwen3 4B").getByTestId("card-get").click();
    await card(page, "Qwen3 4B").getByText("Queued").click();
    await download(page, "Qwen3 4B").waitFor();
    // The search is still there for who comes back.
    await page.getByTestId("tab-discover").click();
    assert.equal(await page.getByTestId("discover-search").inputValue(), "qwen");
    await card(page, "Qwen3 4B").waitFor();
    await page.getByTestId("discover-search").press("Escape");
    await page.getByText("What Asgard's presets use").waitFor();
  }));

test("the chooser of variants: size, fit and speed of each, and why one is not to be had", () =>
  begin("switching", async (page) => {
    await models(page, "discover");
    await search(page, "unsloth");
    await card(page, "Qwen3 4B").getByText("4 variants").click();
    const of = (id) => page.locator(`[data-testid=variant][data-variant=${id}]`);
    assert.match(await text(of("Q4_K_M")), /Suits this machine best 2\.5 GB 4\.6 GB in memory at 32K about 84 tok\/s Fits beside 5 of 5 profiles/);
    assert.match(await text(of("FP8")), /over 50 GB and can only be had through Xet\. Choose Q8_0\./);
    assert.equal(await of("FP8").getByTestId("card-get").count(), 0);
    await of("Q8_0").getByTestId("card-get").click();
    await of("Q8_0").getByText("Queued").waitFor();
    await of("Q4_K_M").getByTestId("card-get").waitFor();
    await page.getByTestId("details-page").click();
    await page.waitForFunction(() => document.documentElement.dataset.opened === "https://hub.test/unsloth/Qwen3-4B-GGUF");
    await page.keyboard.press("Escape");
    await page.getByTestId("details-dialog").waitFor({ state: "detached" });
    assert.equal(await focused(page), "details");
  }));

test("a Hub that cannot be asked: what happened, what to do, and the way back to what is known without it", () =>
  begin("offline", async (page) => {
    await models(page, "discover");
    await page.getByTestId("hub-model").first().waitFor();
    await search(page, "qwen");
    await page.getByTestId("discover-error").getByText("this network answers with a page of its own").waitFor();
    await page.getByTestId("discover-error").getByText("Log in to the network in a browser").waitFor();
    await page.getByTestId("discover-again").click();
    await page.getByTestId("discover-error").waitFor();
    await page.getByTestId("discover-curated").click();
    await page.getByTestId("hub-model").first().waitFor();
    assert.equal(await focused(page), "discover-search");
  }));

test("nothing found, and nothing left by the filters, are two things", () =>
  begin("switching", async (page) => {
    await models(page, "discover");
    await search(page, "no such model");
    await page.getByTestId("discover-none").getByText("No model is called like that.").waitFor();
    await search(page, "phi");
    await card(page, "Phi 4").waitFor();
    await page.getByTestId("filter-backend").selectOption("llama.cpp");
    await page.getByTestId("discover-none").getByText("1 model was found, and the filters leave none of them.").waitFor();
    await page.getByTestId("filters-clear").click();
    await card(page, "Phi 4").waitFor();
  }));

test("downloads: paused and gone on with, kept or deleted, limited, and done when they are done", () =>
  begin("switching", async (page) => {
    await models(page, "downloads");
    assert.match(await text(page.getByTestId("downloads-total")), /^84 MB\/s, 5 min 2\d s left for 3 downloads$/);
    const next = download(page, "Qwen3 Next 80B");
    assert.match(await text(next), /61% 29\.8 of 48\.1 GB 84 MB\/s 3 min 3\d s left/);
    assert.equal(await next.getByRole("progressbar").getAttribute("aria-valuenow"), "61");
    assert.match(await text(download(page, "Qwen2.5 Coder 7B")), /Verifying checksums 5 of 7 files/);
    assert.match(await text(download(page, "Qwen2.5 7B Instruct")), /Finished \d\d:\d\d 5\.6 GB, checksums match/);
    await page.getByTestId("partial").getByText("deleted after 30 days").waitFor();
    await next.getByTestId("download-more").click();
    await next.getByTestId("download-files").getByText("42 MB/s").waitFor();
    await next.getByTestId("download-pause").click();
    await next.getByText("Paused").waitFor();
    await next.getByTestId("download-resume").click();
    await next.getByTestId("download-pause").waitFor();
    await page.getByTestId("downloads-limit").selectOption("25000000");
    await page.waitForFunction(() => document.querySelector("[data-testid=downloads-limit]")?.value === "25000000");
    await page.getByTestId("pause-all").click();
    await page.getByTestId("downloads-total").getByText("All downloads are paused").waitFor();
    await page.getByTestId("pause-all").getByText("Go on").click();
    await page.getByTestId("pause-all").getByText("Pause all").waitFor();
    for (let i = 0; i < 4; i += 1) await page.evaluate(() => dispatchEvent(new Event("asgard-step-download")));
    await next.getByText("checksums match").waitFor();
    await next.getByTestId("download-assign").click();
    await page.getByTestId("assign-dialog").waitFor();
    await page.keyboard.press("Escape");
    await next.getByTestId("download-forget").click();
    await next.waitFor({ state: "detached" });
    await download(page, "Mistral Small").getByTestId("download-cancel").click();
    await page.getByTestId("cancel-dialog").getByText("3.6 GB have arrived.").waitFor();
    await page.getByTestId("cancel-keep").click();
    await download(page, "Mistral Small").waitFor({ state: "detached" });
  }));

test("each reason has the button that helps", () =>
  begin("hostile", async (page) => {
    await models(page, "downloads");
    const help = (name) => download(page, name).getByTestId("download-help");
    assert.equal(await text(help("Licence not accepted")), "Accept the licence");
    assert.equal(await text(help("No access")), "Ask for access");
    assert.equal(await text(help("Token refused")), "Change the token");
    assert.equal(await text(help("Disk full")), "Free some space");
    assert.equal(await text(help("Too large a file")), "Choose another");
    assert.equal(await page.locator(".btn.primary").count(), 1);
    await help("Licence not accepted").click();
    await page.waitForFunction(() => document.documentElement.dataset.opened === "https://hub.test/gated");
    await help("Bytes were wrong").click();
    await download(page, "Bytes were wrong").getByTestId("download-pause").waitFor();
    await help("Disk full").click();
    await page.getByTestId("installed").waitFor();
    await page.getByTestId("tab-downloads").click();
    await help("Too large a file").click();
    assert.equal(await page.getByTestId("discover-search").inputValue(), "Too-large-a-file");
  }));

test("the token: checked, whose it is, where it is, never shown again, and taken away", () =>
  begin("switching", async (page) => {
    await models(page, "downloads");
    await download(page, "Llama 3.1 8B").getByTestId("download-help").click();
    assert.equal(await focused(page), "token-field");
    assert.equal(await page.getByTestId("token-field").getAttribute("type"), "password");
    await page.getByTestId("token-field").fill("short");
    await page.getByText("That is no token").waitFor();
    assert.equal(await page.getByTestId("token-set").getAttribute("aria-disabled"), "true");
    await page.getByTestId("token-field").fill("xx_not_a_good_one");
    await page.getByTestId("token-set").click();
    await page.getByTestId("token-dialog").getByText("The Hub does not take this token.").waitFor();
    await page.getByTestId("token-page").click();
    assert.equal(await opened(page), "https://hub.test/settings/tokens");
    await page.getByTestId("token-field").fill(" hf_very_secret_token \n");
    await page.keyboard.press("Enter");
    await page.getByTestId("token-whose").getByText("A token of you").waitFor();
    await page.getByTestId("token-whose").getByText("In the desktop's keyring.").waitFor();
    const kept = await page.evaluate(() => [document.documentElement.outerHTML, ...[...document.querySelectorAll("input")].map((i) => i.value), JSON.stringify({ ...localStorage })].join("\n"));
    assert.ok(!kept.includes("hf_very_secret_token"));
    await page.keyboard.press("Escape");
    await page.getByTestId("nav-settings").click();
    await page.getByTestId("row-hub-token").getByText("Of you. In the desktop's keyring.").waitFor();
    await page.getByTestId("hub-token").click();
    await page.getByTestId("token-remove").click();
    await page.getByTestId("token-field").waitFor();
    await page.keyboard.press("Escape");
    await page.getByTestId("row-hub-token").getByText("Add a token").waitFor();
  }));

test("strangers' texts are text, a card does nothing, and a hundred thousand files leave the page usable", () =>
  begin("hostile", async (page) => {
    await models(page, "discover");
    const title = await page.title();
    await card(page, "evil").getByTestId("details").click();
    await page.getByTestId("details-files").locator("summary").click();
    assert.equal(await text(page.getByTestId("details-files").locator("summary")), "100,000 files, 4 MB");
    assert.equal(await page.getByTestId("details-files").locator("li").count(), 100);
    await page.getByTestId("files-more").click();
    assert.equal(await page.getByTestId("details-files").locator("li").count(), 600);
    await page.getByTestId("details-card").locator("summary").click();
    await page.getByRole("heading", { name: "Hello" }).waitFor();
    assert.equal(await page.locator("dialog script, dialog img, dialog style, dialog a[href], dialog iframe").count(), 0);
    assert.equal(await page.title(), title);
    assert.equal(await page.evaluate(() => document.body.innerText.includes("\u202e")), false);
    await page.keyboard.press("Escape");
    await page.getByTestId("tab-downloads").click();
    await page.getByTestId("download-more").first().click();
    await page.getByTestId("download-files").getByText("Show 500 more").waitFor();
    assert.equal(await page.getByTestId("download-files").locator("li").count(), 60);
    // Only the two regions of the window speak; a row that moves is not read out.
    assert.equal(await page.locator("[data-testid=downloads] [aria-live], [data-testid=downloads] [role=status]").count(), 0);
  }));

test("the aurora is there while something is downloaded, and not before", () =>
  begin("rest", async (page) => {
    await models(page, "discover");
    const aurora = () => page.evaluate(() => document.querySelectorAll("main .aurora").length);
    assert.equal(await aurora(), 0);
    await card(page, "Qwen2.5 32B").getByTestId("card-get").click();
    await page.getByTestId("tab-downloads").click();
    await page.locator("main .aurora").waitFor();
    await page.getByTestId("download-pause").click();
    await page.locator("main .aurora").waitFor({ state: "detached" });
  }));

test("with no models the Stack leads to them", () =>
  begin("bare", async (page) => {
    await page.getByTestId("no-models-go").click();
    await page.getByTestId("discover").waitFor();
    await card(page, "Phi 4").getByTestId("card-get").click();
    await page.getByTestId("nav-stack").click();
    await page.getByTestId("no-models").getByText("The first models are on their way.").waitFor();
    await page.getByTestId("no-models-go").click();
    await page.getByTestId("downloads").waitFor();
  }));
