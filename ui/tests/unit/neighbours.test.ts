import { describe, expect, it } from "vitest";
import { GB, fileSize } from "../../src/lib/format";
import { PlayedNeighbours } from "../../src/lib/backend/memory/neighbours";
import { Neighbourhood } from "../../src/features/neighbours/neighbourhood.svelte";
import { commandLine, holdsGateway, memoryWords, openWords, plain } from "../../src/features/neighbours/words";
import { parted, shortDigest, tryWords } from "../../src/features/settings/images";
import type { Backend } from "../../src/lib/backend/backend";
import type { Image, Neighbours } from "../../src/lib/backend/types";

describe("what others run, in words", () => {
  it("tells a measurement from a promise and from nothing", () => {
    const bytes = 24.8 * GB.bytes;
    expect(memoryWords({ memory_bytes: bytes, memory_basis: "measured" }, GB)).toBe("24.8\u00a0GB measured");
    expect(memoryWords({ memory_bytes: bytes, memory_basis: "declared" }, GB)).toBe("about 24.8\u00a0GB by its command line");
    expect(memoryWords({ memory_bytes: null, memory_basis: "measured" }, GB)).toBe("memory not known");
    expect(memoryWords({ memory_bytes: bytes, memory_basis: "unknown" }, GB)).toBe("memory not known");
  });

  it("counts one and many", () => {
    expect(openWords(1)).toBe("1 model server runs here that Asgard did not start.");
    expect(openWords(2)).toBe("2 model servers run here that Asgard did not start.");
  });

  it("names the one that holds the gateway's port, and only while it does", () => {
    const n = { port: 8899, running: true, agent: null, server: "unknown" as const };
    const shut = { address: null, error: { message: "Port 8899 is taken by another program." } };
    expect(holdsGateway(n, shut)).toBe(true);
    expect(holdsGateway({ ...n, port: 8001 }, shut)).toBe(false);
    expect(holdsGateway({ ...n, port: 889 }, shut)).toBe(false);
    expect(holdsGateway({ ...n, running: false }, shut)).toBe(false);
    expect(holdsGateway(n, { address: "http://127.0.0.1:8899/v1", error: null })).toBe(false);
    expect(holdsGateway(n, undefined)).toBe(false);
    expect(holdsGateway({ ...n, server: "bifrost" }, { address: null, error: { message: "It has no address." } })).toBe(true);
  });

  it("no sign turns or hides what follows", () => {
    expect(plain("a\u202Eb\u200b\nc\u2028")).toBe("a\ufffdb\ufffd\ufffdc\ufffd");
    expect(plain("Gjallarhorn é 角")).toBe("Gjallarhorn é 角");
    expect(commandLine(["sh", "-c", "rm \u202E -rf"])).toBe("sh -c 'rm \ufffd -rf'");
  });
});

describe("the neighbourhood", () => {
  it("an answer is newer than the list that is still being read", async () => {
    const played = new PlayedNeighbours(true);
    let give: (list: Neighbours) => void = () => undefined;
    const old = played.all();
    const backend = { call: () => new Promise((resolve) => { give = resolve as typeof give; }) } as unknown as Backend;
    const neighbourhood = new Neighbourhood(backend);
    const reading = neighbourhood.load();
    neighbourhood.take(played.adopt({ id: "docker/strix-vllm_thor-1", agent: null, model: null }));
    give(old);
    await reading;
    expect(neighbourhood.list?.find((n) => n.agent === "thor")?.answer).toBe("adopted");
    expect(neighbourhood.reading).toBe(false);
  });

  it("a no leaves the list as it was", () => {
    const neighbourhood = new Neighbourhood({} as Backend);
    neighbourhood.take(new PlayedNeighbours(true).all());
    const before = neighbourhood.list;
    expect(neighbourhood.take(null)).toBe(false);
    expect(neighbourhood.list).toBe(before);
  });
});

describe("images", () => {
  it("digests are shortened, sizes counted as disks count", () => {
    expect(shortDigest(`sha256:${"4f1c9a".repeat(10)}`)).toBe("4f1c9a4f1c9a");
    expect(fileSize(8_412_000_000)).toBe("8.4\u00a0GB");
    expect(fileSize(98_362_432)).toBe("98\u00a0MB");
    expect(fileSize(12_400)).toBe("12\u00a0kB");
    expect(fileSize(999_960_000)).toBe("1.0\u00a0GB");
  });

  it("what trying does names who restarts and what becomes of a failure", () => {
    expect(tryWords("vllm:latest", "Heimdall")).toBe(
      "Pulls vllm:latest, restarts Heimdall and asks it one question. Keeps it if Heimdall answers; else goes back to the image before.",
    );
  });

  it("those that nobody uses stand apart", () => {
    const image = (reference: string, used_by: string[]): Image => ({ reference, used_by, digest: null, version: null, size_bytes: null, since: null, present: true, newer: null, checked: null, previous: null, detail: null });
    const { used, unused } = parted([image("a", []), image("b", ["thor"])]);
    expect(used.map((i) => i.reference)).toEqual(["b"]);
    expect(unused.map((i) => i.reference)).toEqual(["a"]);
  });
});
