import { describe, expect, it } from "vitest";
import {
  GB,
  MB,
  about,
  contextSize,
  count,
  dayGroup,
  duration,
  exactSpeed,
  firstToken,
  list,
  mebibytes,
  memory,
  memoryFigure,
  percent,
  quantization,
  signed,
  sizeFigure,
  span,
  speed,
  unitFor,
  when,
  wholeFigure,
} from "../../src/lib/format";

const GIB = 2 ** 30;
const plain = (text: string): string => text.replaceAll("\u00a0", " ").replaceAll("\u2212", "-");

describe("memory", () => {
  it.each([
    [0, "0.0 GB"],
    [25.3 * GIB, "25.3 GB"],
    [62.9 * GIB, "62.9 GB"],
    [37.1 * GIB, "37.1 GB"],
    [128 * GIB, "128.0 GB"],
    [-2.25 * GIB, "-2.2 GB"],
  ])("%d bytes are %s", (bytes, text) => {
    expect(plain(memory(bytes, GB))).toBe(text);
  });

  it("a shortfall never looks smaller and what is to spare never larger", () => {
    expect(memoryFigure(2.31 * GIB, GB, "up")).toBe("2.4");
    expect(memoryFigure(2.39 * GIB, GB, "down")).toBe("2.3");
    // Exactly a tenth stays where it is, in spite of binary fractions.
    expect(memoryFigure(2.3 * GIB, GB, "up")).toBe("2.3");
    expect(memoryFigure(2.3 * GIB, GB, "down")).toBe("2.3");
  });

  it("rounding up is never below, and rounding down never above, what is rounded", () => {
    for (let bytes = 0; bytes < 3 * GIB; bytes += 7_654_321) {
      const exact = bytes / GIB;
      expect(Number(memoryFigure(bytes, GB, "up"))).toBeGreaterThanOrEqual(exact - 1e-6);
      expect(Number(memoryFigure(bytes, GB, "down"))).toBeLessThanOrEqual(exact + 1e-6);
      expect(Math.abs(Number(memoryFigure(bytes, GB)) - exact)).toBeLessThanOrEqual(0.05 + 1e-9);
    }
  });

  it("a machine of less than a GB is told in MB", () => {
    expect(unitFor(128 * 2 ** 20)).toBe(MB);
    expect(unitFor(128 * GIB)).toBe(GB);
    expect(unitFor(null)).toBe(GB);
    expect(plain(memory(11.2 * 2 ** 20, unitFor(128 * 2 ** 20)))).toBe("11.2 MB");
  });

  it("totals are whole, capacities lose a decimal that says nothing", () => {
    expect(wholeFigure(62.9 * GIB, GB)).toBe("63");
    expect(sizeFigure(120 * GIB, GB)).toBe("120");
    expect(sizeFigure(116.5 * GIB, GB)).toBe("116.5");
    expect(plain(mebibytes(24.6 * GIB))).toBe("25,190 MiB");
  });
});

describe("time", () => {
  it.each([
    [0, "0 s"],
    [41, "41 s"],
    [59.6, "1 min"],
    [60, "1 min"],
    [218, "3 min 38 s"],
    [3_600, "1 h"],
    [3_900, "1 h 5 min"],
    [-3, "0 s"],
  ])("%d s is %s", (seconds, text) => {
    expect(plain(duration(seconds))).toBe(text);
  });

  it.each([
    [0.2, "about 1 s"],
    [7.1, "about 8 s"],
    [88, "about 90 s"],
    [120, "about 120 s"],
    [236, "about 4 min"],
  ])("%d s is %s", (seconds, text) => {
    expect(plain(about(seconds))).toBe(text);
  });

  it.each([
    [5, "5 s"],
    [299, "4 min"],
    [7_300, "2 h"],
    [3 * 86_400, "3 days"],
  ])("%d s lasted %s", (seconds, text) => {
    expect(plain(span(seconds))).toBe(text);
  });

  it("the clock today, the weekday this week, else the date", () => {
    const now = new Date(2026, 10, 21, 14, 10);
    expect(when(new Date(2026, 10, 21, 9, 5).toISOString(), now)).toBe("09:05");
    expect(when(new Date(2026, 10, 19, 9, 5).toISOString(), now)).toBe("Thu");
    expect(when(new Date(2026, 1, 7).toISOString(), now)).toBe("7 Feb");
    expect(when(new Date(2025, 1, 7).toISOString(), now)).toBe("7 Feb 2025");
    expect(when("nonsense", now)).toBe("");
    expect(dayGroup(new Date(2026, 10, 20, 23, 59).toISOString(), now)).toBe("Yesterday");
    expect(dayGroup(new Date(2026, 10, 21, 0, 1).toISOString(), now)).toBe("Today");
    expect(dayGroup(new Date(2026, 10, 1).toISOString(), now)).toBe("Earlier");
  });
});

describe("other numbers", () => {
  it.each([
    [32_768, "32K"],
    [131_072, "128K"],
    [4_000, "4,000"],
    [512, "512"],
  ])("a context of %d is %s", (tokens, text) => {
    expect(contextSize(tokens)).toBe(text);
  });

  it("speeds, first tokens, shares, counts", () => {
    expect(speed(31.4)).toBe("31");
    expect(speed(4.82)).toBe("4.8");
    expect(exactSpeed(31.24)).toBe("31.2");
    expect(plain(firstToken(0.419))).toBe("0.42 s");
    expect(plain(firstToken(1.94))).toBe("1.9 s");
    expect(plain(firstToken(0.999))).toBe("1.0 s");
    expect(percent(0.419)).toBe("41%");
    expect(percent(0.9999)).toBe("99%");
    expect(percent(1.4)).toBe("100%");
    expect(count(32_768)).toBe("32,768");
    expect(plain(signed("5.7", "-"))).toBe("-5.7");
    expect(quantization("awq")).toBe("AWQ 4-bit");
    expect(quantization("Q4_K_M")).toBe("Q4_K_M");
    expect(list(["Thor", "Odin", "Loki"])).toBe("Thor, Odin and Loki");
  });
});
