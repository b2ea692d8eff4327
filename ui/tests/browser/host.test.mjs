// The real pages on a real controller in rehearsal, through the loopback host of the tests.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createConnection, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { UI, browse, open } from "./harness.mjs";

const BIN = join(process.env.CARGO_TARGET_DIR ?? join(UI, "../target"), "debug");
const ASGARD = join(BIN, "asgard");
const HOST = join(BIN, "asgard-browser-host");
const missing = [ASGARD, HOST, join(UI, "dist/index.html")].filter((f) => !existsSync(f));
const skip = missing.length === 0 || process.env.ASGARD_NO_SKIP === "1" ? false : `not built: ${missing.join(", ")}`;
const TOKEN = "a-token-of-the-tests";

let folder;
let env;
let lock;
let controller;
let host;
let address;
let browser;

async function until(what, look, seconds = 60) {
  const deadline = Date.now() + seconds * 1000;
  while (Date.now() < deadline) {
    const found = await look();
    if (found) return found;
    await pause(50);
  }
  throw new Error(`${what}: not within ${seconds} s`);
}

/** The agents' ports are fixed, so whoever plays a household on this machine takes turns. */
async function turn() {
  const held = spawn("flock", [join(tmpdir(), "asgard-journeys.lock"), "sh", "-c", "echo mine; cat"], { stdio: ["pipe", "pipe", "inherit"] });
  await new Promise((resolve) => held.stdout.once("data", resolve));
  return held;
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const answers = (socket) =>
  new Promise((resolve) => {
    const connection = createConnection(socket, () => {
      connection.destroy();
      resolve(true);
    });
    connection.on("error", () => resolve(false));
  });

async function serve() {
  const served = spawn(ASGARD, ["serve", "--rehearsal"], { env, stdio: ["ignore", "ignore", "inherit"] });
  await until("the controller answers", () => answers(join(env.XDG_RUNTIME_DIR, "asgard/control.sock")));
  return served;
}

async function end(child) {
  if (child === undefined || child.exitCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await gone;
}

before(async () => {
  if (skip) return;
  lock = await turn();
  // Short, because a socket's path may have 108 bytes.
  folder = mkdtempSync("/tmp/asgard-web-");
  env = { PATH: process.env.PATH, DOCKER_HOST: `unix://${folder}/no-engine.sock`, BIFROST_PORT: String(await freePort()) };
  for (const [name, below] of [
    ["HOME", "home"],
    ["XDG_CONFIG_HOME", "config"],
    ["XDG_DATA_HOME", "data"],
    ["XDG_STATE_HOME", "state"],
    ["XDG_CACHE_HOME", "cache"],
    ["XDG_RUNTIME_DIR", "run"],
  ]) {
    env[name] = join(folder, below);
    mkdirSync(env[name], { mode: 0o700 });
  }
  env.ASGARD_REHEARSAL_JOURNAL = join(folder, "journal.jsonl");
  controller = await serve();
  host = spawn(HOST, ["--dist", join(UI, "dist"), "--port", "0", "--token", TOKEN], { env, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  host.stdout.on("data", (part) => (said += part));
  address = await until("the host listens", () => /listening (http:\S+)/.exec(said)?.[1], 20);
  browser = await browse();
});

after(async () => {
  if (skip) return;
  await browser?.close();
  if (env !== undefined) spawnSync(ASGARD, ["down"], { env, timeout: 60_000 });
  await end(host);
  await end(controller);
  lock?.stdin.end();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

const state = (page, agent, wanted, timeout = 60_000) => page.locator(`[data-testid=agent-${agent}][data-state=${wanted}]`).waitFor({ timeout });

test("the first journey in a browser: up, switch to odin, talk to Odin", { skip, timeout: 180_000 }, async () => {
  const { page, faults } = await open(browser.context, address, { hash: `#token=${TOKEN}` });
  await page.getByTestId("agent-thor").waitFor();
  await page.getByTestId("rehearsal").getByText("128\u00a0MB").waitFor();
  await page.getByTestId("profile-standard").click();
  await state(page, "thor", "ready");
  await state(page, "valkyrie", "ready");

  await page.getByTestId("profile-odin").hover();
  await page.getByText("With odin", { exact: true }).waitFor();
  assert.equal(await page.getByTestId("memory-bar").locator("[data-segment=odin]").count(), 1);
  await page.getByTestId("profile-odin").click();
  await state(page, "odin", "loading");
  await state(page, "odin", "ready");
  await state(page, "valkyrie", "asleep");
  const journal = readFileSync(env.ASGARD_REHEARSAL_JOURNAL, "utf8").trim().split("\n").map((l) => JSON.parse(l));
  const left = journal.findIndex((e) => e.agent === "valkyrie" && e.event === "exit");
  const came = journal.findIndex((e) => e.agent === "odin" && e.event === "start");
  assert.ok(left !== -1 && left < came, "Odin began before Valkyrie had ended");

  await page.getByTestId("chat-odin").click();
  await page.getByTestId("chat-input").fill("What is a bridge for?");
  await page.getByTestId("chat-send").click();
  await page.locator("[data-testid=message-assistant][data-state=done]").waitFor({ timeout: 60_000 });
  assert.ok(((await page.getByTestId("message-text").textContent()) ?? "").trim().length > 10);
  assert.match((await page.getByTestId("message-stats").textContent()) ?? "", /tok\/s/);

  await page.getByTestId("nav-activity").click();
  await page.getByTestId("tab-events").click();
  await page.getByTestId("events").getByText(/odin/i).first().waitFor();
  await page.getByTestId("tab-logs").click();
  await page.getByTestId("log-agent").selectOption("odin");
  await page.locator("[data-testid=log] div").first().waitFor();

  await page.getByTestId("nav-settings").click();
  await page.getByTestId("tab-gateway").click();
  await page.getByTestId("gateway-address").getByText(`127.0.0.1:${env.BIFROST_PORT}`).waitFor();
  assert.deepEqual(faults, []);
  await page.close();
});

test("a conversation is there again in another page, and can be deleted", { skip, timeout: 60_000 }, async () => {
  const { page } = await open(browser.context, address, { hash: `#token=${TOKEN}` });
  await page.getByTestId("nav-chat").click();
  await page.getByTestId("message-user").getByText("What is a bridge for?").waitFor();
  await page.locator("[aria-current=true][data-testid^=conversation-]").hover();
  await page.locator("[data-testid^=delete-]").first().click();
  await page.getByTestId("confirm-delete").click();
  await page.getByText("No conversations yet.").waitFor();
  await page.close();
});

test("a controller that ends and comes back: said, then all is there again", { skip, timeout: 120_000 }, async () => {
  const { page } = await open(browser.context, address, { hash: `#token=${TOKEN}` });
  await state(page, "odin", "ready");
  await end(controller);
  await page.getByTestId("lost").waitFor();
  controller = await serve();
  await page.getByTestId("lost").waitFor({ state: "detached", timeout: 30_000 });
  await state(page, "odin", "ready");
  await page.close();
});

test("without the token nothing is answered", { skip, timeout: 30_000 }, async () => {
  const { page } = await open(browser.context, address, { hash: "#token=wrong" });
  await page.getByTestId("lost").waitFor();
  assert.equal(await page.locator("article").count(), 0);
  await page.close();
});
