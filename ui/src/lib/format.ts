// Numbers for a person. One formatter for memory, so that two screens never disagree by a rounding.

const NBSP = "\u00a0";
const MINUS = "\u2212";
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** GB of memory is 2^30 bytes. The rehearsal plays a machine of 128 MB, where GB would show nothing but zeros. */
export interface Unit {
  readonly name: "GB" | "MB";
  readonly bytes: number;
}

export const GB: Unit = { name: "GB", bytes: GIB };
export const MB: Unit = { name: "MB", bytes: MIB };

export function unitFor(capacity: number | null | undefined): Unit {
  return typeof capacity === "number" && capacity < GIB ? MB : GB;
}

export type Rounding = "nearest" | "up" | "down";

/** "25.3": for places where the unit stands beside it. */
export function memoryFigure(bytes: number, unit: Unit, rounding: Rounding = "nearest"): string {
  const tenths = (bytes / unit.bytes) * 10;
  // The small allowance keeps a value that is exactly a tenth from being pushed to the next by binary fractions.
  const rounded =
    rounding === "up" ? Math.ceil(tenths - 1e-6) : rounding === "down" ? Math.floor(tenths + 1e-6) : Math.round(tenths);
  const text = (Math.abs(rounded) / 10).toFixed(1);
  return rounded < 0 ? MINUS + text : text;
}

/** "25.3 GB" */
export function memory(bytes: number, unit: Unit, rounding: Rounding = "nearest"): string {
  return `${memoryFigure(bytes, unit, rounding)}${NBSP}${unit.name}`;
}

/** "63": totals of profiles are whole. */
export function wholeFigure(bytes: number, unit: Unit): string {
  return String(Math.round(bytes / unit.bytes));
}

/** Files and disks count in 10^9: "1.6 TB", "8.4 GB", "98 MB". */
export function fileSize(bytes: number): string {
  if (bytes >= 1e12 - 5e7) return `${(bytes / 1e12).toFixed(1)}${NBSP}TB`;
  const [of, unit] = bytes >= 1e9 - 5e4 ? [1e9, "GB"] : bytes >= 1e6 ? [1e6, "MB"] : [1e3, "kB"];
  const size = bytes / of;
  return `${unit === "GB" ? size.toFixed(1) : String(Math.round(size))}${NBSP}${unit}`;
}

/** The exact figure of a tooltip, in the kernel's own unit. */
export function mebibytes(bytes: number): string {
  return `${count(Math.round(bytes / MIB))}${NBSP}MiB`;
}

/** "128": a capacity or a limit, without a decimal where it has none. */
export function sizeFigure(bytes: number, unit: Unit): string {
  return memoryFigure(bytes, unit).replace(/\.0$/, "");
}

export function count(n: number): string {
  return Math.round(n).toLocaleString("en-US");
}

/** "41 s", "3 min 38 s", "1 h 5 min" */
export function duration(seconds: number): string {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${String(s)}${NBSP}s`;
  const parts = (big: number, bigName: string, small: number, smallName: string): string =>
    small === 0
      ? `${String(big)}${NBSP}${bigName}`
      : `${String(big)}${NBSP}${bigName} ${String(small)}${NBSP}${smallName}`;
  if (s < 3600) return parts(Math.floor(s / 60), "min", s % 60, "s");
  const minutes = Math.round(s / 60);
  return parts(Math.floor(minutes / 60), "h", minutes % 60, "min");
}

/** An estimate: "about 90 s", "about 4 min". */
export function about(seconds: number): string {
  const s = Math.max(1, seconds);
  if (s < 10) return `about ${String(Math.ceil(s))}${NBSP}s`;
  if (s <= 120) return `about ${String(Math.round(s / 5) * 5)}${NBSP}s`;
  return `about ${duration(Math.round(s / 60) * 60)}`;
}

/** "4 min", "2 h", "3 days": how long something has lasted, coarse. */
export function span(seconds: number): string {
  const s = Math.max(0, seconds);
  if (s < 60) return duration(s);
  if (s < 3600) return `${String(Math.floor(s / 60))}${NBSP}min`;
  if (s < 48 * 3600) return `${String(Math.floor(s / 3600))}${NBSP}h`;
  return `${String(Math.floor(s / 86400))}${NBSP}days`;
}

/** 32768 is "32K"; what is no whole number of 1,024 is written out. */
export function contextSize(tokens: number): string {
  return tokens >= 1024 && tokens % 1024 === 0 ? `${String(tokens / 1024)}K` : count(tokens);
}

/** On cards: whole from 10 on. */
export function speed(tokensPerSecond: number): string {
  return tokensPerSecond >= 10 ? String(Math.round(tokensPerSecond)) : tokensPerSecond.toFixed(1);
}

/** In chats: always one decimal. */
export function exactSpeed(tokensPerSecond: number): string {
  return tokensPerSecond.toFixed(1);
}

/** "0.31 s", "1.9 s" */
export function firstToken(seconds: number): string {
  return `${seconds < 0.995 ? seconds.toFixed(2) : seconds.toFixed(1)}${NBSP}s`;
}

/** 0.415 is "41%": down, so that 100% means all of it. */
export function percent(share: number): string {
  return `${String(Math.floor(Math.min(1, Math.max(0, share)) * 100 + 1e-9))}%`;
}

/** "14:10:22" */
export function clockSeconds(time: string): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : `${clock(date)}:${two(date.getSeconds())}`;
}

/** "14:10" */
export function clock(time: string | Date): string {
  const date = typeof time === "string" ? new Date(time) : time;
  if (Number.isNaN(date.getTime())) return "";
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** The clock today, the weekday within a week, else the date. */
export function when(time: string, now: Date): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  const days = dayDistance(date, now);
  if (days <= 0) return clock(date);
  if (days < 7) return DAYS[date.getDay()] ?? "";
  const year = date.getFullYear() === now.getFullYear() ? "" : ` ${String(date.getFullYear())}`;
  return `${String(date.getDate())} ${MONTHS[date.getMonth()] ?? ""}${year}`;
}

/** The heading a conversation stands under. */
export function dayGroup(time: string, now: Date): "Today" | "Yesterday" | "This week" | "Earlier" {
  const days = dayDistance(new Date(time), now);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 7 ? "This week" : "Earlier";
}

function dayDistance(then: Date, now: Date): number {
  const midnight = (d: Date): number => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  return Math.round((midnight(now) - midnight(then)) / 86_400_000);
}

function two(n: number): string {
  return String(n).padStart(2, "0");
}

const QUANTIZATIONS: Record<string, string> = {
  awq: "AWQ 4-bit",
  gptq: "GPTQ 4-bit",
  fp8: "FP8",
};

export function quantization(name: string): string {
  return QUANTIZATIONS[name.toLowerCase()] ?? name;
}

export function signed(text: string, sign: "+" | "-"): string {
  return (sign === "-" ? MINUS : "+") + text;
}

/** "Thor", "Thor and Odin", "Thor, Odin and Loki" */
export function list(names: readonly string[]): string {
  if (names.length <= 1) return names[0] ?? "";
  return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1] ?? ""}`;
}
