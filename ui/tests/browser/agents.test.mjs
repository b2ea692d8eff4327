// Agents as they are edited, and a household of twenty.

import assert from "node:assert/strict";
import { test } from "node:test";
import { played, violations } from "./played.mjs";

const begin = played();

async function toAgents(page) {
  await page.getByTestId("nav-settings").click();
  await page.getByTestId("tab-agents").click();
  await page.getByTestId("agent-list").waitFor();
}

/** Whatever is wider than what it stands in, and may scroll sideways. */
const sideways = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll("html, body, main, main *, header")]
      .filter((e) => e.scrollWidth > e.clientWidth + 1 && ["auto", "scroll", "visible"].includes(getComputedStyle(e).overflowX) && getComputedStyle(e).display !== "inline" && !["svg", "text", "path", "option", "datalist"].includes(e.tagName) && !e.closest(".sr, .trunc, pre, svg"))
      .map((e) => `${e.tagName}.${e.className}: ${e.scrollWidth} in ${e.clientWidth}`),
  );

const order = (page) => page.locator("[data-testid^=row-]").evaluateAll((rows) => rows.map((r) => r.dataset.testid.slice(4)));
const focused = (page) => page.evaluate(() => document.activeElement?.getAttribute("data-testid") ?? document.activeElement?.id);
const spoken = (page, text) => page.locator("[role=status]").getByText(text).waitFor({ state: "attached" });

test("an agent is added: its consequence first, then the card and the profile", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("add-agent").click();
    assert.equal(await focused(page), "entry-agent");
    assert.equal(await page.getByTestId("editor-save").getAttribute("aria-disabled"), "true");
    await page.getByTestId("entry-agent").fill("Mimir");
    await page.getByText("Mimir cannot be the name of an agent.").waitFor();
    await page.getByTestId("entry-agent").fill("mimir");
    // Asked of the controller, and said at the field as well.
    await page.getByTestId("edit-problems").getByText("Mimir has no model.").waitFor();
    await page.getByTestId("entry-model").fill("Qwen/Qwen2.5-3B-Instruct-AWQ");
    await page.getByTestId("edit-problems").waitFor({ state: "detached" });
    await page.getByTestId("in-standard").check();
    await page.getByTestId("fits").getByText(/spare/).first().waitFor();
    await page.getByTestId("pick-color").getByRole("radio", { name: "Colour moss" }).click();
    await page.getByTestId("editor-save").click();
    await page.getByTestId("said").getByText("mimir is added.").waitFor();
    assert.match((await page.getByTestId("said").textContent()) ?? "", /The file before is kept as/);
    assert.deepEqual(await order(page), ["thor", "valkyrie", "odin", "heimdall", "loki", "frigga", "mimir"]);
    await page.getByTestId("nav-stack").click();
    await page.getByTestId("agent-mimir").waitFor();
  }));

test("a change: problems at the field, the profiles' fit, who restarts, and only then the file", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("edit-thor").click();
    assert.equal(await focused(page), "editor-title");
    await page.getByTestId("entry-context").fill("99999");
    const field = page.getByTestId("entry-context");
    await page.getByTestId("edit-problems").waitFor();
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    assert.match((await page.locator("#entry-context-problem").textContent()) ?? "", /longer than the model's own/);
    await page.getByRole("button", { name: "Go to context" }).click();
    assert.equal(await focused(page), "entry-context");
    await field.fill("16384");
    await page.getByTestId("cache-line").getByText("4 of 4", { exact: false }).or(page.getByTestId("cache-line").getByText("all 4 at once fit", { exact: false })).waitFor();
    await page.getByTestId("restarts").getByText("Thor restarts only when you say so").waitFor();
    await page.getByTestId("entry-kv_cache").fill("90 GB");
    await page.getByTestId("fits").getByText(/Does not fit: .* short/).first().waitFor();
    await page.getByTestId("entry-kv_cache").fill("10 GB");
    await page.getByTestId("fits").getByText(/Does not fit/).first().waitFor({ state: "detached" });
    await page.getByTestId("editor-save").click();
    await page.getByTestId("said").getByText("Thor is saved.").waitFor();
    assert.equal(await focused(page), "edit-thor");
    await page.getByTestId("apply").click();
    await spoken(page, "Thor is started again.");
    await page.getByTestId("apply").waitFor({ state: "detached" });
  }));

test("a memory given in another way: one of three, never two", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("edit-loki").click();
    await page.getByTestId("memory-way").getByRole("radio", { name: "Whole claim" }).click();
    await page.getByTestId("entry-memory").waitFor();
    assert.equal(await page.getByTestId("entry-memory").inputValue(), "12.7 GB");
    assert.equal(await page.getByTestId("entry-kv_cache").count(), 0);
    await page.getByTestId("entry-memory-slide").fill("20");
    assert.equal(await page.getByTestId("entry-memory").inputValue(), "20 GB");
    await page.getByTestId("memory-line").getByText("20.0\u00a0GB").waitFor();
    await page.getByTestId("editor-save").click();
    await page.getByTestId("said").waitFor();
    await page.getByTestId("row-loki").getByText("20.0\u00a0GB").waitFor();
  }));

test("a role on another's server takes no memory", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("edit-frigga").click();
    await page.getByTestId("entry-backend").selectOption("role");
    await page.getByText("it answers on the server of Thor").waitFor();
    await page.getByTestId("editor-save").click();
    await page.getByTestId("row-frigga").getByText("no memory of its own").waitFor();
  }));

test("a second copy that does not fit: the other's server is offered", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("edit-frigga").click();
    assert.equal(await page.getByTestId("offer").count(), 0);
    await page.getByTestId("entry-kv_cache").fill("40 GB");
    await page.getByTestId("offer").getByText("Thor serves the same model.").waitFor();
    await page.getByTestId("take-offer").click();
    await page.getByTestId("offer").waitFor({ state: "detached" });
    await page.getByTestId("editor-save").click();
    await page.getByTestId("row-frigga").getByText("on Thor's server").waitFor();
  }));

test("what cannot be read is not sent, and is found from the top", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("edit-thor").click();
    await page.getByTestId("entry-sequences").fill("many");
    await page.getByTestId("edit-problems").getByText("many is not a whole number.").waitFor();
    assert.equal(await page.getByTestId("editor-save").getAttribute("aria-disabled"), "true");
    await page.getByTestId("entry-title").focus();
    await page.getByRole("button", { name: "Go to requests at once" }).click();
    assert.equal(await focused(page), "entry-sequences");
  }));

test("leaving with something typed asks; another screen and back keeps it", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("edit-odin").click();
    await page.getByTestId("entry-title").fill("All-father");
    await page.keyboard.press("Escape");
    await page.getByTestId("discard").waitFor();
    await page.getByTestId("keep-editing").click();
    await page.getByTestId("nav-stack").click();
    await page.getByTestId("nav-settings").click();
    await page.getByTestId("tab-agents").click();
    assert.equal(await page.getByTestId("entry-title").inputValue(), "All-father");
    await page.getByTestId("editor-cancel").click();
    await page.getByTestId("discard").click();
    await page.getByTestId("agent-list").waitFor();
    await page.getByTestId("edit-odin").click();
    assert.equal(await page.getByTestId("entry-title").inputValue(), "Supreme Architect");
    await page.keyboard.press("Escape");
    await page.getByTestId("agent-list").waitFor();
  }));

test("the file changed meanwhile: said at once, read again, what was typed is kept", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("edit-thor").click();
    await page.getByTestId("entry-context").fill("16384");
    await page.evaluate(() => dispatchEvent(new Event("asgard-touch-stack")));
    await page.getByTestId("stale").waitFor();
    assert.equal(await page.getByTestId("editor-save").getAttribute("aria-disabled"), "true");
    await page.getByTestId("take-new").click();
    await page.getByTestId("stale").waitFor({ state: "detached" });
    assert.equal(await page.getByTestId("entry-context").inputValue(), "16384");
    assert.equal(await page.getByTestId("entry-title").inputValue(), "Changed by somebody else");
    await page.getByTestId("editor-save").click();
    await page.getByTestId("said").getByText("Thor is saved.").waitFor();
  }));

test("order by keyboard: Alt with an arrow moves, says so, and keeps the focus", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("edit-frigga").focus();
    await page.keyboard.press("Alt+ArrowUp");
    await spoken(page, "Frigga is number 5 of 6.");
    assert.deepEqual((await order(page)).slice(-2), ["frigga", "loki"]);
    assert.equal(await focused(page), "edit-frigga");
    await page.getByTestId("up-valkyrie").click();
    await spoken(page, "Valkyrie is number 1 of 6.");
    assert.deepEqual((await order(page)).slice(0, 2), ["valkyrie", "thor"]);
    await page.getByTestId("nav-stack").click();
    const cards = await page.locator("article").evaluateAll((a) => a.map((c) => c.dataset.testid));
    assert.deepEqual(cards.slice(0, 2), ["agent-valkyrie", "agent-thor"]);
  }));

test("rename and duplicate, by keyboard too", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("rename-loki").click();
    assert.equal(await focused(page), "entry-agent");
    await page.getByTestId("entry-agent").fill("thor");
    await page.getByText("There is an agent thor already.").waitFor();
    assert.ok(await page.getByTestId("confirm-rename").isDisabled());
    await page.getByTestId("entry-agent").fill("logi");
    await page.getByTestId("confirm-rename").click();
    await page.getByTestId("row-logi").waitFor();
    assert.equal(await focused(page), "rename-logi");
    await page.getByTestId("profile-row-loki").getByText("Loki", { exact: true }).waitFor();

    await page.getByTestId("duplicate-heimdall").click();
    assert.equal(await page.getByTestId("entry-agent").inputValue(), "heimdall-2");
    await page.getByTestId("confirm-duplicate").click();
    await page.getByTestId("row-heimdall-2").waitFor();
    await page.getByTestId("duplicate-thor").click();
    await page.keyboard.press("Escape");
    assert.equal(await focused(page), "duplicate-thor");
  }));

test("removing one that runs says that it is not stopped, and can be undone", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("remove-valkyrie").click();
    assert.equal(await focused(page), "keep-agent");
    await page.getByText("It is awake, and this does not stop it.").waitFor();
    await page.getByTestId("stop-first").click();
    await page.getByText("It is awake, and this does not stop it.").waitFor({ state: "detached" });
    await page.getByTestId("confirm-remove").click();
    await page.getByTestId("row-valkyrie").waitFor({ state: "detached" });
    assert.equal(await focused(page), "undo");
    await page.keyboard.press("Enter");
    await page.getByTestId("row-valkyrie").waitFor();
    assert.deepEqual(await order(page), ["thor", "valkyrie", "odin", "heimdall", "loki", "frigga"]);
    await page.getByTestId("profile-row-standard").getByText("Valkyrie").waitFor();
  }));

test("one that a profile cannot be without is not removed, and the reason is said", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    for (const name of ["standard", "heimdall", "loki", "frigga"]) {
      await page.getByTestId(`remove-profile-${name}`).click();
      await page.getByTestId("confirm-remove-profile").click();
      await page.getByTestId(`profile-row-${name}`).waitFor({ state: "detached" });
    }
    await page.getByTestId("edit-profile-odin").click();
    await page.getByTestId("with-thor").uncheck();
    await page.getByTestId("save-profile").click();
    await page.getByTestId("profile-edit").waitFor({ state: "detached" });
    await page.getByTestId("remove-odin").click();
    await page.getByTestId("edit-problems").getByText("The profile odin has no agents.").waitFor();
    assert.ok(await page.getByTestId("confirm-remove").isDisabled());
  }));

test("profiles: the fit is seen before it is saved", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("add-profile").click();
    await page.getByTestId("entry-profile").fill("evening");
    await page.getByTestId("with-odin").check();
    await page.getByTestId("profile-fit").getByText(/Fits, .* to spare/).waitFor();
    await page.getByTestId("with-valkyrie").check();
    await page.getByTestId("profile-fit").getByText(/Does not fit: .* short/).waitFor();
    await page.getByTestId("with-valkyrie").uncheck();
    await page.getByTestId("save-profile").click();
    await page.getByTestId("profile-row-evening").waitFor();
    await page.getByTestId("nav-stack").click();
    await page.getByTestId("profile-evening").waitFor();
  }));

for (const look of ["dark", "light"]) {
  for (const [width, height] of [[960, 640], [1280, 800]]) {
    test(`the agents' tab and its editor hold no barrier, ${look}, ${width} x ${height}`, () =>
      begin("rest", async (page) => {
        await toAgents(page);
        assert.deepEqual(await violations(page), []);
        assert.deepEqual(await sideways(page), []);
        await page.getByTestId("edit-odin").click();
        await page.getByTestId("advanced").click();
        await page.getByTestId("entry-context").fill("99999");
        await page.getByTestId("edit-problems").waitFor();
        assert.deepEqual(await violations(page), []);
        assert.deepEqual(await sideways(page), []);
        const small = await page.evaluate(() =>
          [...document.querySelectorAll("main button, main select, main summary, main [role=radio], main input[type=text], main input[type=range]")]
            .map((e) => [e.getAttribute("data-testid") ?? e.textContent?.trim(), (e.closest(".field") ?? e).getBoundingClientRect()])
            .filter(([, box]) => box.width > 0 && (box.width < 27.9 || box.height < 27.9))
            .map(([name, box]) => `${name}: ${box.width} x ${box.height}`),
        );
        assert.deepEqual(small, []);
      }, { width, height, look }));
  }
}

for (const look of ["dark", "light"]) {
  for (const [width, height] of [[960, 640], [1280, 800], [1920, 1080]]) {
    test(`twenty agents, ${look}, ${width} x ${height}: nothing scrolls sideways, no label meets another`, () =>
      begin("twenty", async (page) => {
        assert.equal(await page.locator("article").count(), 20);
        assert.deepEqual(await sideways(page), []);
        assert.equal(await page.locator("header[aria-label=Memory]").evaluate((e) => e.getBoundingClientRect().height), width >= 1600 ? 123 : 119);
        const meet = await page.evaluate(() => {
          // What can be seen of each label's text, in its own box; and the limit's, which lies above them.
          const boxes = [...document.querySelectorAll(".labels .label > span > *, .labels .limit")]
            .filter((e) => getComputedStyle(e).display !== "none" && getComputedStyle(e.parentElement).visibility !== "hidden")
            .map((e) => {
              const own = e.getBoundingClientRect();
              const clip = e.closest(".label")?.getBoundingClientRect() ?? own;
              return { text: e.textContent?.trim() ?? "", left: Math.max(own.left, clip.left), right: Math.min(own.right, clip.right) };
            })
            .filter((b) => b.right - b.left > 0.5)
            .sort((a, b) => a.left - b.left);
          return boxes.slice(1).flatMap((b, i) => (b.left < boxes[i].right - 0.5 ? [`${boxes[i].text} | ${b.text}`] : []));
        });
        assert.deepEqual(meet, []);
        // A figure is shown whole or not at all.
        const cut = await page.evaluate(() =>
          [...document.querySelectorAll(".labels .value")]
            .filter((e) => getComputedStyle(e).display !== "none" && getComputedStyle(e.parentElement).visibility !== "hidden" && e.getBoundingClientRect().right > e.closest(".label").getBoundingClientRect().right + 0.5)
            .map((e) => e.textContent?.trim()),
        );
        assert.deepEqual(cut, []);
        assert.deepEqual(await violations(page), []);
        // All are distinct on the bar, whatever the stack says of them.
        const hues = await page.getByTestId("memory-bar").locator("[data-segment]").evaluateAll((s) => s.filter((e) => e.classList.contains("agent")).map((e) => e.style.getPropertyValue("--a")));
        assert.ok(hues.length >= 18, String(hues.length));
        assert.equal(new Set(hues).size, hues.length);
        // A role has neither a segment nor bytes.
        assert.equal(await page.getByTestId("memory-bar").locator("[data-segment=nanna]").count(), 0);
        await page.getByTestId("profile-standard").hover();
        await page.getByText("With standard", { exact: true }).waitFor();
        assert.deepEqual(await sideways(page), []);
        await page.mouse.move(width / 2, height - 4);
        await page.getByTestId("nav-chat").click();
        await page.getByTestId("new-conversation").click();
        const menu = await page.getByRole("menu").boundingBox();
        assert.ok(menu.y + menu.height <= height, "the picker ends below the window");
        await page.getByTestId("pick-nanna").scrollIntoViewIfNeeded();
        await page.keyboard.press("Escape");
        await toAgents(page);
        assert.equal((await order(page)).length, 20);
        assert.deepEqual(await sideways(page), []);
        await page.getByTestId("edit-vidar-the-silent-one-of-the-wide-woods").click();
        assert.deepEqual(await sideways(page), []);
      }, { width, height, look }));
  }
}

test("the command of an agent: copied whole, without its secrets, and each flag with its reason", () =>
  begin("rest", async (page) => {
    for (const agent of ["thor", "odin"]) {
      await page.getByTestId(`command-of-${agent}`).click();
      const dialog = page.getByTestId(`command-${agent}`);
      const text = await dialog.getByTestId("command-text").innerText();
      assert.match(text, /--kv-cache-memory-bytes \d+/);
      assert.match(text, /'VLLM_API_KEY=\*\*\*\*'/);
      assert.match(await dialog.getByTestId("command-why").innerText(), /KV cache/);
      assert.equal(await dialog.getByText("Not passed as it was meant").count(), agent === "odin" ? 1 : 0);
      await dialog.getByRole("button", { name: "Copy the command" }).click();
      assert.deepEqual(await violations(page), []);
      assert.deepEqual(await sideways(page), []);
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
      assert.equal(await focused(page), `command-of-${agent}`);
    }
  }));

test("the editor shows a server's own keys, and gives only what the server understands", () =>
  begin("rest", async (page) => {
    await toAgents(page);
    await page.getByTestId("edit-thor").click();
    await page.getByTestId("advanced").click();
    for (const key of ["batched_tokens", "prefix_caching", "eager", "attention_backend"]) {
      assert.equal(await page.getByTestId(`entry-${key}`).count(), 1, key);
    }
    for (const key of ["gpu_layers", "load_mode", "cache_ram"]) {
      assert.equal(await page.getByTestId(`entry-${key}`).count(), 0, key);
    }
    await page.getByTestId("entry-prefix_caching").selectOption("false");
    await page.getByTestId("entry-backend").selectOption("llama.cpp");
    assert.equal(await page.getByTestId("entry-prefix_caching").count(), 0);
    for (const key of ["gpu_layers", "load_mode", "cache_ram", "draft_tokens"]) {
      assert.equal(await page.getByTestId(`entry-${key}`).count(), 1, key);
    }
    await page.getByTestId("entry-load_mode").selectOption("mlock");
    assert.equal(await page.getByTestId("entry-load_mode").inputValue(), "mlock");
  }));
