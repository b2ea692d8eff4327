// What the controller says of memory, in the window: measured figures, suggestions, what did not come back, memory that
// was given away, and "what if" while an agent is edited.

import assert from "node:assert/strict";
import { test } from "node:test";
import { played, violations } from "./played.mjs";

const begin = played();

const plain = async (place) => (await place.innerText()).replaceAll("\u00a0", " ").replaceAll(/\s+/g, " ").trim();

for (const look of ["dark", "light"]) {
  for (const [width, height] of [[960, 640], [1280, 800]]) {
    test(`nothing that axe finds, ${look}, ${width} x ${height}`, async () => {
      for (const play of ["measured", "leak", "yielded"]) {
        await begin(play, async (page) => { assert.deepEqual(await violations(page), [], play); }, { look, width, height });
      }
    });
  }
}

test("a card says what was planned and measured, and how fast the first token came", () =>
  begin("measured", async (page) => {
    assert.equal(await plain(page.getByTestId("footprint-thor")), "planned 25.3, measured 24.6, 6 starts");
    assert.match(await plain(page.getByTestId("drift-valkyrie")), /1\.3 GB more/);
    assert.equal(await plain(page.getByTestId("pace-thor")), "first token 0.31 s");
    assert.match(await plain(page.getByTestId("pace-valkyrie")), /1,204 preempted/);
    assert.equal(await page.getByTestId("pace-odin").count(), 0);
  }));

test("a suggestion is written with one press, and then waits for a restart", () =>
  begin("measured", async (page) => {
    const press = page.getByTestId("suggestion-thor-kv_peak");
    assert.equal(await plain(press), "Write kv_cache = 10.0 GB");
    await press.click();
    await page.getByTestId("restart-thor").waitFor();
    assert.equal(await page.getByTestId("suggestions-thor").count(), 0);
    // One that is not running has nothing to start again.
    await page.getByTestId("suggestion-frigga-failure").click();
    await page.getByTestId("suggestions-frigga").waitFor({ state: "detached" });
    assert.equal(await page.getByTestId("restart-frigga").count(), 0);
  }));

test("what did not come back has its place on the bar, and doubt is said below it", () =>
  begin("leak", async (page) => {
    const lost = page.locator('[data-segment="lost"]').first();
    assert.equal((await lost.getAttribute("aria-label"))?.replaceAll("\u00a0", " "), "Did not come back after a stop, 10.2 GB");
    assert.match(await plain(page.getByTestId("doubts")), /2\.5 GB are held by something/);
    assert.equal(await page.getByTestId("doubts").getAttribute("role"), "status");
  }));

test("a profile under the focus says what it would do, in one sentence", () =>
  begin("rest", async (page) => {
    await page.getByTestId("profile-odin").hover();
    assert.match(await plain(page.getByTestId("plan-sentence")), /^Stops Valkyrie and starts Odin, at most .* of 120\.0 GB/);
  }));

test("memory is given away for a while, and resumed", () =>
  begin("rest", async (page) => {
    await page.getByTestId("give-away").click();
    await page.getByTestId("give-away-dialog").getByRole("radio", { name: "Until resumed" }).click();
    assert.deepEqual(await violations(page), []);
    await page.getByTestId("give-away-now").click();
    await page.getByTestId("yielded").waitFor();
    assert.match(await plain(page.getByTestId("yielded")), /^Thor and Valkyrie sleep until resumed\./);
    assert.equal(await page.getByTestId("give-away").count(), 0);
    await page.getByTestId("resume").click();
    await page.getByTestId("yielded").waitFor({ state: "detached" });
    await page.locator('[data-testid="agent-thor"][data-state="ready"]').waitFor();
  }));

test("another context is asked about before anything is saved", () =>
  begin("rest", async (page) => {
    await page.getByTestId("nav-settings").click();
    await page.getByTestId("tab-agents").click();
    await page.getByTestId("edit-thor").click();
    await page.locator("#entry-context").fill("16384");
    await page.getByTestId("what-if-claim").waitFor();
    assert.match(await plain(page.getByTestId("what-if-claim")), /25\.3 GB now and 19\.3 GB then \(−6\.0 GB\)/);
    assert.match(await plain(page.getByTestId("what-if-sentence")), /^With standard: /);
    assert.deepEqual(await violations(page), []);
    await page.getByTestId("what-if-cache").click();
    assert.equal(await page.locator("#entry-kv_cache").inputValue(), "6.0 GB");
    await page.locator("#entry-context").fill("200000");
    await page.getByTestId("what-if").getByText("longer than the model's own").waitFor();
    // As it was: there is nothing to ask.
    await page.locator("#entry-context").fill("32768");
    await page.locator("#entry-kv_cache").fill("12 GB");
    await page.getByTestId("what-if-sentence").waitFor({ state: "detached" });
  }));
