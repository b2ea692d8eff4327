// Addresses and numbers of the gateway's settings, and what is said where a change is refused.

import { expect, test } from "vitest";
import { NO_CHANGE, type Backend } from "../../src/lib/backend/backend";
import { GatewayModel, inUnit, isLoopback, listenAt, typed } from "../../src/features/settings/gateway.svelte";

test("the same port, here or everywhere", () => {
  expect(listenAt("127.0.0.1:8899", true)).toBe("0.0.0.0:8899");
  expect(listenAt("0.0.0.0:9000", false)).toBe("127.0.0.1:9000");
  expect(listenAt("[::1]:8899", true)).toBe("[::]:8899");
  expect(listenAt("[::]:8899", false)).toBe("[::1]:8899");
  expect(["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "localhost:1"].every(isLoopback)).toBe(true);
  expect(["0.0.0.0:1", "[::]:1", "192.168.1.7:1", "[::12]:1"].some(isLoopback)).toBe(false);
});

test("numbers as they are typed", () => {
  expect(inUnit(1_200, 60)).toBe("20");
  expect(inUnit(90, 60)).toBe("1.5");
  expect(typed(" 20 ", 60, false)).toBe(1_200);
  expect(typed("1,5", 60, false)).toBe(90);
  for (const wrong of ["", "-1", "1e9", "ten", "1.5.5", "0x10", "99999999999"]) expect(typed(wrong, 60, false), wrong).toBeNull();
  expect(typed("1.5", 1, true)).toBeNull();
});

test("only what is given is changed; a refusal stays at its row until it is changed again", async () => {
  const asked: [string, unknown][] = [];
  let refuse = true;
  const backend = {
    call: (cmd: string, payload: unknown) => {
      asked.push([cmd, payload]);
      if (cmd === "change_gateway" && refuse) return Promise.reject(Object.assign(new Error(), { code: "failed", message: "No.", next: "Do not." }));
      return Promise.resolve({ settings: {}, keys: [], budgets: [] });
    },
  } as unknown as Backend;
  const model = new GatewayModel(backend);
  expect(await model.change("wake", { wake: false })).toBe(false);
  expect(asked[0]).toEqual(["change_gateway", { ...NO_CHANGE, wake: false }]);
  expect(model.problems["wake"]?.message).toBe("No.");
  expect(model.problems["hold"]).toBeUndefined();
  refuse = false;
  expect(await model.change("wake", { wake: true })).toBe(true);
  expect(model.problems["wake"]).toBeUndefined();
  expect(model.view).not.toBeNull();
  expect(model.busy("wake")).toBe(false);
});
