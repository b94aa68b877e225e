/** The C programs of bench/probe and others that measurements call: compiled and looked up when first needed. */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");
const SOURCES = join(ROOT, "bench/probe");
export const CACHE = join(ROOT, "node_modules/.cache/overlayd-bench");

/** Brings what the network benchmarks call; does nothing where everything is there. */
export function setup(): void {
  execFileSync(join(ROOT, "scripts/setup"), ["--bench"], { stdio: "inherit" });
}

/** For this very machine, as the engine's cipher is. */
export function compiled(name: "probe" | "pingpong" | "flows"): string {
  const binary = join(CACHE, name);
  mkdirSync(CACHE, { recursive: true });
  const libraries = name === "probe" ? ["-lcrypto", "-lpthread"] : [];
  execFileSync("cc", ["-O3", "-march=native", "-o", binary, join(SOURCES, `${name}.c`), ...libraries]);
  return binary;
}

/** wireguard-go as scripts/setup brought it; the version is its package's. */
export function wireguardGo(): { readonly binary: string; readonly version: string } | undefined {
  const binary = join(CACHE, "wireguard-go");
  if (!existsSync(binary)) return undefined;
  return { binary, version: readFileSync(`${binary}.version`, "utf8").trim() };
}

/** The installed version of a Debian package, or "?" where the program came in another way. */
export function packageVersion(name: string): string {
  try {
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own format
    const text = execFileSync("dpkg-query", ["-W", "-f", "${Version}", name], { encoding: "utf8", stdio: "pipe" });
    return text.trim();
  } catch {
    return "?";
  }
}
