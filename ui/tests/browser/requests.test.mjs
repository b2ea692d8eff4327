// What crosses Bifrost, in Activity and on the cards: read, filtered, found, held and saved, by keyboard too.

import assert from "node:assert/strict";
import { test } from "node:test";
import { played, violations } from "./played.mjs";

const begin = played();

async function activity(page) {
  await page.getByTestId("nav-activity").click();
  await page.getByTestId("tab-requests").waitFor();
}

const row = (page, text) => page.getByTestId("request").filter({ hasText: text }).first();
const focused = (page) => page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");

for (const look of ["dark", "light"]) {
  for (const [width, height] of [[960, 640], [1280, 800]]) {
    test(`requests, ${look}, ${width} x ${height}`, () =>
      begin("switching", async (page) => {
        await activity(page);
        await row(page, "Waiting for Loki").waitFor();
        await page.locator("[data-row]").first().click();
        await page.getByTestId("request-more").waitFor();
        assert.deepEqual(await violations(page), []);
        const wide = await page.evaluate(() =>
          [...document.querySelectorAll("main, main > section, main > section *")]
            .filter((e) => e.scrollWidth > e.clientWidth + 1 && !["hidden", "clip"].includes(getComputedStyle(e).overflowX) && getComputedStyle(e).display !== "inline" && !e.closest(".sr, .trunc, svg"))
            .map((e) => `${e.tagName}.${e.className}: ${e.scrollWidth} in ${e.clientWidth}`),
        );
        assert.deepEqual(wide, []);
        const small = await page.evaluate(() =>
          [...document.querySelectorAll("main button, main select, main summary")]
            .map((e) => [e.textContent?.trim(), e.getBoundingClientRect()])
            .filter(([, box]) => box.width > 0 && (box.width < 27.9 || box.height < 27.9))
            .map(([name, box]) => `${name}: ${box.width} x ${box.height}`),
        );
        assert.deepEqual(small, []);
      }, { width, height, look }));
  }
}

test("who waits is first, with its place and a countdown; what ended says why", () =>
  begin("switching", async (page) => {
    await activity(page);
    const outcomes = await page.getByTestId("requests").waitFor().then(() => page.getByTestId("request").evaluateAll((all) => all.map((e) => e.dataset.outcome)));
    assert.deepEqual(outcomes.slice(0, 5), ["waiting", "waiting", "running", "running", "running"]);
    assert.ok(outcomes.slice(5).every((o) => !["waiting", "running"].includes(o)));
    const place = page.getByTestId("place").first();
    assert.match((await place.textContent()) ?? "", /^Next, loading Loki, 4[01]\u00a0s left$/);
    assert.equal(await page.getByRole("columnheader").count(), 8);
    const done = row(page, "10,377");
    assert.match((await done.textContent()) ?? "", /Valkyrie\s*10,377\s*1,502\s*0\.47\u00a0s\s*31\.5\s*Done/);
    await row(page, "about 611").waitFor();
    await page.getByText("Waited 41 s: Valkyrie was draining one request, Odin loaded in 38 s.").waitFor();
    await row(page, "Failed").waitFor();
    await row(page, "Broke off").waitFor();
    await row(page, "Client left").waitFor();
    // No row is announced by itself.
    assert.equal(await page.locator("[data-testid=requests] [aria-live], [data-testid=requests] [role=status], [data-testid=requests] [role=alert]").count(), 0);
  }));

test("by keyboard: one stop for all rows, arrows between them, Enter tells more, Ctrl F finds", () =>
  begin("switching", async (page) => {
    await activity(page);
    await page.getByTestId("requests").waitFor();
    assert.equal(await page.locator("[data-row][tabindex='0']").count(), 1);
    await page.getByTestId("requests-json").focus();
    await page.keyboard.press("Tab");
    const first = await focused(page);
    await page.keyboard.press("ArrowDown");
    assert.notEqual(await focused(page), first);
    await page.keyboard.press("End");
    await page.keyboard.press("Enter");
    assert.match((await page.getByTestId("request-more").textContent()) ?? "", /Path.*In the queue/);
    await page.keyboard.press("Home");
    assert.equal(await focused(page), first);
    await page.keyboard.press("Control+f");
    assert.equal(await page.evaluate(() => document.activeElement?.dataset.testid), "requests-find");
    await page.keyboard.type("draining one");
    await page.getByTestId("requests-found").getByText("1 of 13").waitFor();
    assert.equal(await page.getByTestId("request").count(), 1);
    await page.keyboard.press("Escape");
    assert.equal(await page.getByTestId("request").count(), 13);
  }));

test("by agent and client; nothing like that says so and leads back", () =>
  begin("switching", async (page) => {
    await activity(page);
    await page.getByTestId("requests-agent").selectOption("odin");
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=request]").length === 2);
    await page.getByTestId("requests-client").selectOption("ci");
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=request]").length === 1);
    await row(page, "Refused").waitFor();
    await page.getByTestId("requests-client").selectOption("aider");
    await page.getByTestId("requests-all").click();
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=request]").length === 13);
    assert.equal(await page.getByTestId("requests-agent").inputValue(), "");
  }));

test("what is held stands still, and goes on; it is saved through a dialog", () =>
  begin("rest", async (page) => {
    const count = () => page.getByTestId("request").count();
    await activity(page);
    await row(page, "Failed").waitFor();
    const before = await count();
    await page.getByTestId("requests-hold").click();
    await page.evaluate(() => dispatchEvent(new Event("asgard-end-request")));
    await page.getByTestId("requests-csv").click();
    await page.getByText("Written to /home/you/asgard-requests.csv.").waitFor();
    assert.equal(await count(), before);
    await page.getByTestId("requests-hold").getByText("Go on").click();
    await page.waitForFunction((n) => document.querySelectorAll("[data-testid=request]").length === n + 1, before);
  }));

test("a house where nobody asked says what will come", () =>
  begin("imported", async (page) => {
    await activity(page);
    await page.getByTestId("requests-empty").getByText("http://127.0.0.1:8899/v1").waitFor();
  }));

test("five hundred rows stay fluid", () =>
  begin("crowd", async (page) => {
    await activity(page);
    const count = () => page.getByTestId("request").count();
    await page.getByTestId("requests-older").waitFor();
    while ((await count()) < 500) {
      const before = await count();
      await page.getByTestId("requests-older").click();
      await page.waitForFunction((n) => document.querySelectorAll("[data-testid=request]").length > n, before);
    }
    // Each look draws what changed alone. Counted in the processor's own time, so that a busy machine is no slow page.
    const cdp = await page.context().newCDPSession(page);
    await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
    const spent = async () =>
      (await cdp.send("Performance.getMetrics")).metrics.filter((m) => ["ScriptDuration", "LayoutDuration", "RecalcStyleDuration"].includes(m.name)).reduce((sum, m) => sum + m.value, 0);
    const before = await spent();
    const same = await page.evaluate(async () => {
      const body = document.querySelector("[data-testid=requests] tbody");
      const kept = [...body.querySelectorAll("[data-outcome=done]")].slice(5, 200);
      const rows = () => body.querySelectorAll("[data-testid=request]").length;
      for (let i = 0; i < 3; i += 1) {
        const was = rows();
        dispatchEvent(new Event("asgard-end-request"));
        await new Promise((resolve) => {
          const watch = new MutationObserver(() => { if (rows() > was) { watch.disconnect(); resolve(); } });
          watch.observe(body, { childList: true, subtree: true });
        });
        await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      }
      return kept.every((e) => e.isConnected);
    });
    assert.ok(same);
    const each = ((await spent()) - before) / 3;
    assert.ok(each < 0.15, `${(each * 1000).toFixed(0)} ms for one more row`);
    const section = page.getByTestId("screen-activity");
    await section.evaluate((e) => e.scrollTo(0, e.scrollHeight));
    await page.getByRole("columnheader", { name: "Completion" }).waitFor();
    assert.ok(await page.getByRole("columnheader", { name: "Completion" }).evaluate((e) => e.getBoundingClientRect().top < 200));
  }));
