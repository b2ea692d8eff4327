// What a person does, by pointer and by keyboard, against the played controller.

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

/** Waits until a card is in a state. */
const state = (page, agent, wanted) => page.locator(`[data-testid=agent-${agent}][data-state=${wanted}]`).waitFor();

async function begin(play, run, options = {}) {
  const { page, faults } = await open(browser.context, server.url, { ...options, hash: `#play=${play}` });
  await page.getByTestId("agent-thor").waitFor();
  await run(page);
  assert.deepEqual(faults, []);
  await page.close();
}

test("hovering a profile previews it, leaving it puts the bar back", () =>
  begin("rest", async (page) => {
    const free = page.getByTestId("memory-free");
    const before = await free.textContent();
    await page.getByTestId("profile-odin").hover();
    await page.getByText("With odin", { exact: true }).waitFor();
    assert.equal(await page.getByTestId("memory-bar").locator("[data-segment=odin]").count(), 1);
    assert.match((await page.locator("header").first().textContent()) ?? "", /Stops.*Valkyrie.*Starts.*Odin/s);
    assert.notEqual(await free.textContent(), before);
    await page.mouse.move(640, 780);
    await page.getByText("With odin", { exact: true }).waitFor({ state: "detached" });
    assert.equal(await free.textContent(), before);
  }));

test("pressing odin stops Valkyrie first, and the cards follow", () =>
  begin("rest", async (page) => {
    await page.evaluate(() => {
      window.seen = [];
      new MutationObserver(() => {
        const of = (a) => document.querySelector(`[data-testid=agent-${a}]`)?.getAttribute("data-state");
        const now = `${of("valkyrie")} ${of("odin")}`;
        if (window.seen.at(-1) !== now) window.seen.push(now);
      }).observe(document.body, { subtree: true, attributes: true, attributeFilter: ["data-state"] });
    });
    await page.getByTestId("profile-odin").click();
    await page.getByTestId("switching").waitFor();
    await state(page, "odin", "ready");
    await state(page, "valkyrie", "asleep");
    const seen = await page.evaluate(() => window.seen);
    assert.ok(!seen.some((s) => /^(ready|stopping) (loading|ready)/.test(s)), seen.join(", "));
    await page.getByTestId("switching").waitFor({ state: "detached" });
    assert.equal(await page.getByTestId("profile-odin").getAttribute("aria-checked"), "true");
  }));

test("the profiles by keyboard: arrows preview, Escape leaves, Enter switches", () =>
  begin("rest", async (page) => {
    await page.keyboard.press("Control+p");
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("data-testid")), "profile-heimdall");
    await page.getByText("With heimdall", { exact: true }).waitFor();
    assert.equal(await page.getByTestId("profile-standard").getAttribute("aria-checked"), "true");
    await page.keyboard.press("Escape");
    await page.getByText("With heimdall", { exact: true }).waitFor({ state: "detached" });
    await page.keyboard.press("Control+p");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await state(page, "heimdall", "ready");
  }));

test("a profile that does not fit can be reached and says why, and does nothing", () =>
  begin("tight", async (page) => {
    const odin = page.getByTestId("profile-odin");
    await odin.focus();
    assert.equal(await odin.getAttribute("aria-disabled"), "true");
    assert.match((await odin.textContent()) ?? "", /Fits with 22\.1\u00a0GB closed.*Close programs/s);
    await page.keyboard.press("Enter");
    assert.equal(await page.getByTestId("switching").count(), 0);
    const start = page.getByTestId("start-odin");
    assert.equal(await start.getAttribute("aria-disabled"), "true");
    await start.click({ force: true });
    assert.equal(await page.getByTestId("agent-odin").getAttribute("data-state"), "asleep");
  }));

test("the memory bar by keyboard", () =>
  begin("rest", async (page) => {
    await page.keyboard.press("Control+m");
    const name = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
    assert.equal(await name(), "System and apps, 23.4\u00a0GB");
    await page.keyboard.press("ArrowRight");
    assert.match((await name()) ?? "", /^Thor, ready, /);
    await page.keyboard.press("End");
    assert.match((await name()) ?? "", /^Kept free above the limit, 8\.0/);
    await page.keyboard.press("Escape");
    assert.equal(await page.evaluate(() => document.activeElement?.tagName), "BODY");
  }));

test("the screens and the look by keyboard, and the look is kept", () =>
  begin("rest", async (page) => {
    for (const [key, screen] of [["2", "chat"], ["3", "models"], ["4", "activity"], ["5", "settings"], ["1", "stack"]]) {
      await page.keyboard.press(`Control+${key}`);
      await page.getByTestId(`screen-${screen}`).waitFor();
      assert.equal(await page.getByTestId(`nav-${screen}`).getAttribute("aria-current"), "page");
    }
    await page.keyboard.press("Control+Shift+L");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
    await page.reload();
    await page.getByTestId("agent-thor").waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
    await page.evaluate(() => { localStorage.clear(); });
  }));

test("a conversation: new, asked, streamed, stopped, asked again, deleted", () =>
  begin("rest", async (page) => {
    await page.keyboard.press("Control+n");
    await page.getByTestId("pick-thor").waitFor();
    await page.getByTestId("pick-thor").click();
    const input = page.getByTestId("chat-input");
    await input.fill("Why does it wait?");
    await input.press("Shift+Enter");
    assert.match(await input.inputValue(), /\n$/);
    await input.press("Enter");
    const reply = page.getByTestId("message-assistant");
    await reply.waitFor();
    assert.equal(await page.getByTestId("message-user").textContent().then((t) => t?.trim()), "Why does it wait?");
    await page.locator("[data-testid=message-assistant][data-state=streaming]").getByText("profiler").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("[data-testid=message-assistant][data-state=stopped]").waitFor();
    await page.getByTestId("message-stopped").waitFor();

    await page.getByTestId("chat-retry").click();
    await page.locator("[data-testid=message-assistant][data-state=done]").waitFor();
    assert.equal(await reply.count(), 1);
    assert.match((await page.getByTestId("message-stats").textContent()) ?? "", /31\.2 tok\/s\s*first token 0\.42\u00a0s\s*286 tokens/);
    assert.equal(await reply.locator("figure.code").count(), 1);
    assert.ok((await reply.locator(".hljs-attr").count()) > 3);
    // Told once, when it was finished.
    assert.match((await page.locator("[role=status][aria-live=polite]").textContent()) ?? "", /Thor: The second profiler/);

    const current = page.locator("[aria-current=true][data-testid^=conversation-]");
    const id = (await current.getAttribute("data-testid"))?.replace("conversation-", "");
    await current.hover();
    await page.getByTestId(`delete-${id}`).click();
    await page.getByTestId("keep").click();
    await page.getByTestId(`delete-${id}`).click();
    await page.getByTestId("confirm-delete").click();
    await page.getByTestId(`conversation-${id}`).waitFor({ state: "detached" });
  }));

test("an agent that is asleep is started by its first message, and another can be asked instead", () =>
  begin("rest", async (page) => {
    await page.getByTestId("chat-odin").click();
    await page.getByTestId("asleep").getByText("Odin is asleep.").waitFor();
    await page.getByText("With Odin", { exact: true }).waitFor();
    await page.getByTestId("chat-input").fill("Review this.");
    assert.equal((await page.getByTestId("chat-send").textContent())?.trim(), "Switch and send");
    await page.getByTestId("chat-send").click();
    await page.getByTestId("coming").waitFor();
    await page.locator("[data-testid=message-assistant][data-state=streaming]").waitFor();
    assert.equal(await page.getByTestId("chat-input").inputValue(), "");

    await page.getByTestId("nav-stack").click();
    await page.getByTestId("chat-loki").click();
    await page.getByTestId("chat-input").fill("And this?");
    await page.getByTestId("ask-other").click();
    await page.locator("[data-testid=thread][data-agent=thor]").waitFor();
    await page.getByTestId("message-user").getByText("And this?").waitFor();
  }));

test("a link in a reply goes nowhere", () =>
  begin("rest", async (page) => {
    await page.getByTestId("nav-chat").click();
    const link = page.locator("[data-link]");
    await link.waitFor();
    const before = page.url();
    await link.click();
    await link.click({ button: "middle" });
    assert.equal(page.url(), before);
    assert.equal(browser.context.pages().length, browser.context.pages().filter((p) => !p.url().includes("example.org")).length);
  }));

test("a failed card shows why, what to do, and its log; the log can be searched", () =>
  begin("switching", async (page) => {
    const card = page.getByTestId("agent-frigga");
    assert.match((await card.textContent()) ?? "", /Could not reserve its KV cache.*lower the context/s);
    await page.getByTestId("log-frigga").click();
    await page.getByTestId("log").getByText("vLLM API server").waitFor();
    assert.equal(await page.getByTestId("log-agent").inputValue(), "frigga");
    await page.keyboard.press("Control+f");
    await page.keyboard.type("went wrong");
    await page.getByText("1 of 1", { exact: true }).waitFor();
    assert.equal(await page.locator(".current").textContent(), "ERROR 11-21 14:10:25 [core.py:708] A line that says what went wrong, for the find field");
    assert.equal(await page.getByTestId("log-follow").getAttribute("aria-pressed"), "false");
  }));

test("the settings are asked and kept", () =>
  begin("rest", async (page) => {
    await page.getByTestId("nav-settings").click();
    await page.getByTestId("after-login").getByText("Base profile").click();
    await page.locator("[data-option=base_profile][aria-checked=true]").waitFor();
    await page.getByTestId("look").getByText("Light").click();
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
    await page.getByTestId("tab-stack").click();
    await page.getByTestId("save-stack").click();
    await page.getByTestId("save-stack").waitFor({ state: "detached" });
    await page.getByTestId("nav-stack").click();
    await page.getByTestId("nav-settings").click();
    await page.getByTestId("tab-general").click();
    await page.locator("[data-option=base_profile][aria-checked=true]").waitFor();
    await page.evaluate(() => { localStorage.clear(); });
  }));

test("no controller: said, with what to do", async () => {
  const { page } = await open(browser.context, server.url, { hash: "#play=lost" });
  const banner = page.getByTestId("lost");
  await banner.waitFor();
  assert.match((await banner.textContent()) ?? "", /No controller is running\..*asgard serve/s);
  await page.getByTestId("reconnect").click();
  await banner.waitFor();
  await page.close();
});

test("a rehearsal says so on every screen, at every width", () =>
  begin("rehearsal", async (page) => {
    for (const width of [1280, 960]) {
      await page.setViewportSize({ width, height: 700 });
      for (const screen of ["stack", "chat", "activity", "settings"]) {
        await page.getByTestId(`nav-${screen}`).click();
        await page.getByTestId(width === 960 ? "rehearsal-chip" : "rehearsal").waitFor();
      }
    }
    assert.match((await page.getByTestId("rehearsal").textContent()) ?? "", /Rehearsal.*stand-ins play the agents on a machine of 128\u00a0MB/s);
    assert.match((await page.getByTestId("memory-free").textContent()) ?? "", /MB/);
  }));
