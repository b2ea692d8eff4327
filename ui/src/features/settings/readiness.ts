// Readiness in words and in the order in which it is read.

import type { Doctor, DoctorCheck } from "../../lib/backend/types";

/** What is to be done, the failures first; what is in order; what nothing can be said of. */
export interface Parted {
  readonly todo: readonly DoctorCheck[];
  readonly passed: readonly DoctorCheck[];
  readonly skipped: readonly DoctorCheck[];
}

export function partedChecks(doctor: Doctor): Parted {
  const of = (status: DoctorCheck["status"]): DoctorCheck[] => doctor.checks.filter((c) => c.status === status);
  return { todo: [...of("fail"), ...of("warn")], passed: of("pass"), skipped: of("skip") };
}

/** "8.0 GB, at least 16.0 GB wanted": of what is to be done; a sentence of its own stays one. */
export function foundWords(check: Pick<DoctorCheck, "found" | "wanted">): string {
  const wanted = check.wanted.replace(/^It /, "it ");
  const first = wanted.charAt(0).toLowerCase() + wanted.slice(1);
  return check.found.length + wanted.length > 48 ? check.found : `${check.found}, ${keeps(wanted) ? wanted : first} wanted`;
}

/** Names keep their capital: "Docker 20.10 …", "/dev/dri", "512 MB". */
function keeps(text: string): boolean {
  return /^(?:[A-Z]{2}|Docker|Podman|[^A-Za-z])/.test(text);
}

export function countWords(checks: readonly DoctorCheck[]): { fix: string; advised: string; passed: string } {
  const count = (status: DoctorCheck["status"]): string => String(checks.filter((c) => c.status === status).length);
  return { fix: `${count("fail")} to fix`, advised: `${count("warn")} advised`, passed: `${count("pass")} passed` };
}

/** For those who do not see it change. */
export function announced(checks: readonly DoctorCheck[]): string {
  const { fix, advised, passed } = countWords(checks);
  return `Readiness: ${fix}, ${advised}, ${passed}`;
}

const WORDS: Record<DoctorCheck["status"], string> = { fail: "To fix", warn: "Advised", pass: "Passed", skip: "Not looked at" };

/** The icon's word. */
export function statusWord(status: DoctorCheck["status"]): string {
  return WORDS[status];
}
