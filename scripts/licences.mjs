// Every dependency of the two lock files must have a licence from the list below, written by hand.
// Not here: advisories, and what a licence text really says. Only what each package declares is read.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Licences under which Asgard may be passed on, linked with its dependencies. */
export const allowed = new Set([
  "0BSD",
  "Apache-2.0",
  "Apache-2.0 WITH LLVM-exception",
  "BlueOak-1.0.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "BSL-1.0",
  // For data alone (the list of Mozilla's root certificates): it is passed on with its text and nothing else is asked.
  "CDLA-Permissive-2.0",
  "CC0-1.0",
  "ISC",
  "MIT",
  "MIT-0",
  // File by file: changes to their own files must be passed on, nothing else.
  "MPL-2.0",
  "Unicode-3.0",
  "Unicode-DFS-2016",
  "Unlicense",
  "Zlib",
]);

/** Licences of tools that build and test the UI; nothing of them is passed on. */
export const allowedForTools = new Set([...allowed, "CC-BY-3.0", "CC-BY-4.0", "Python-2.0"]);

/** Packages that declare none: name to licence, each read in the package by a person. */
const declaredByHand = new Map();

/**
 * Whether an SPDX expression leaves a choice that is allowed: OR needs one side, AND both.
 * Cargo's older "MIT/Apache-2.0" is read as OR.
 */
export function permits(expression, list) {
  const tokens = expression.replaceAll("/", " OR ").match(/[()]|[^\s()]+/g) ?? [];
  let at = 0;
  const word = () => tokens[at]?.toUpperCase();
  function either() {
    let ok = both();
    while (word() === "OR") {
      at += 1;
      const right = both();
      ok = ok || right;
    }
    return ok;
  }
  function both() {
    let ok = one();
    while (word() === "AND") {
      at += 1;
      const right = one();
      ok = ok && right;
    }
    return ok;
  }
  function one() {
    if (tokens[at] === "(") {
      at += 1;
      const ok = either();
      if (tokens[at] !== ")") throw new Error("a bracket is not closed");
      at += 1;
      return ok;
    }
    let name = tokens[at];
    if (name === undefined || name === ")") throw new Error("a licence is missing");
    at += 1;
    if (word() === "WITH") {
      name = `${name} WITH ${tokens[at + 1]}`;
      at += 2;
    }
    return list.has(name);
  }
  const ok = either();
  if (at !== tokens.length) throw new Error(`"${tokens[at]}" is not expected`);
  return ok;
}

/** A sentence about what is wrong with one package, or null. */
export function complaint({ name, version, licence }, list) {
  const found = licence ?? declaredByHand.get(name);
  if (!found) return `${name} ${version} declares no licence.`;
  try {
    return permits(found, list) ? null : `${name} ${version} is under ${found}, which is not on the list.`;
  } catch (error) {
    return `${name} ${version} declares "${found}", which cannot be read: ${error.message}.`;
  }
}

function rustPackages() {
  const { status, stdout } = spawnSync("cargo", ["metadata", "--format-version", "1", "--locked"], {
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) {
    console.error("Cargo could not list the Rust packages. What it said is above.");
    process.exit(1);
  }
  return JSON.parse(stdout)
    .packages.filter((p) => p.source !== null)
    .map((p) => ({ name: p.name, version: p.version, licence: p.license }));
}

/** npm's lock file has most licences; an older entry without one is looked up in its installed package.json. */
function npmPackages(folder) {
  const lock = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  return Object.entries(lock.packages)
    .filter(([path, entry]) => path !== "" && !entry.link)
    .map(([path, entry]) => {
      const name = entry.name ?? path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
      const manifest = join(folder, path, "package.json");
      const installed = () => (existsSync(manifest) ? JSON.parse(readFileSync(manifest, "utf8")).license : undefined);
      const licence = entry.license ?? installed();
      return { name, version: entry.version, licence, tool: entry.dev === true || entry.devOptional === true };
    });
}

function main() {
  const rust = rustPackages();
  const npm = existsSync("ui/package-lock.json") ? npmPackages("ui") : [];
  const complaints = [
    ...rust.map((p) => complaint(p, allowed)),
    ...npm.map((p) => complaint(p, p.tool ? allowedForTools : allowed)),
  ].filter((sentence) => sentence !== null);
  for (const sentence of complaints) console.error(sentence);
  console.log(`${rust.length} Rust and ${npm.length} npm packages looked at, ${complaints.length} without an allowed licence.`);
  if (complaints.length > 0) {
    console.error("Remove the package, or read its licence and add it to the list in scripts/licences.mjs with a reason.");
    process.exitCode = 1;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) main();
