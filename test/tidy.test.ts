/** House rules that a compiler does not check: which folder may import which, file sizes, and words that mean unfinished work. */

import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

const root = join(import.meta.dirname, "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");
const files = (...patterns: readonly string[]) =>
  patterns.flatMap(pattern => globSync(pattern, { cwd: root })).toSorted();

const sources = files("src/**/*.ts");
const typescript = [...sources, ...files("test/**/*.ts", "bench/**/*.ts", "scripts/**/*.ts")];
const documents = files("docs/**/*.md", "*.md");

interface Rule {
  /** Files or folders under src/ whose names start like this. */
  readonly of: string;
  readonly mayImport: readonly string[];
  /** Packages, or "node:" for Node's own modules. */
  readonly packages: readonly string[];
}

const CRYPTO_TYPES = "src/crypto/crypto.ts";
const ENGINE_TYPES = "src/engine/engine.ts";
/** Knows nothing of the rest: core and engine both keep their timers in it. */
const HEAP = "src/heap.ts";
const LOWER = ["src/wire/", "src/crypto/", "src/sys/", "src/engine/", "src/core/"];
/** They reach core and engine through the daemon only. */
const FRONT_ENDS = ["src/cli/", "src/docker/", "src/dns/", "src/web/"];

/** The first rule whose `of` a path starts with applies. */
const RULES: readonly Rule[] = [
  { of: CRYPTO_TYPES, mayImport: [], packages: [] },
  { of: "src/crypto/", mayImport: ["src/crypto/", "src/sys/"], packages: ["node:", "@noble/", "koffi"] },
  { of: "src/wire/", mayImport: ["src/wire/", CRYPTO_TYPES], packages: ["msgpackr", "valibot"] },
  { of: ENGINE_TYPES, mayImport: ["src/wire/", CRYPTO_TYPES], packages: [] },
  { of: "src/sys/", mayImport: ["src/sys/", "src/wire/"], packages: ["node:", "koffi"] },
  {
    of: "src/engine/",
    mayImport: ["src/engine/", "src/wire/", "src/crypto/", "src/sys/", HEAP],
    packages: ["node:", "koffi"],
  },
  { of: "src/core/", mayImport: ["src/core/", "src/wire/", CRYPTO_TYPES, ENGINE_TYPES, HEAP], packages: ["valibot"] },
  { of: "src/daemon/", mayImport: [...LOWER, "src/daemon/", "src/version.ts"], packages: ["*"] },
  ...FRONT_ENDS.map(of => ({
    of,
    // The command line starts the others.
    mayImport: [...(of === "src/cli/" ? FRONT_ENDS : [of]), "src/wire/", "src/sys/", "src/daemon/", "src/version.ts"],
    packages: ["*"],
  })),
  { of: HEAP, mayImport: [], packages: [] },
  { of: "src/version.ts", mayImport: [], packages: ["node:"] },
  { of: "src/main.ts", mayImport: ["src/"], packages: ["*"] },
];

/** Without comments, so that a word or an import in prose does not count. */
const code = (text: string) => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");

function imports(path: string): string[] {
  const found = code(read(path)).matchAll(/(?:\bfrom\s+|\bimport\s+|\bimport\s*\(\s*)["']([^"']+)["']/g);
  return [...found].map(([, name]) => name!);
}

/** What is wrong with the imports of a file, one line each. */
function violations(path: string): string[] {
  const rule = RULES.find(({ of }) => path.startsWith(of));
  if (rule === undefined) return [`${path} is in no folder that a rule speaks of`];
  return imports(path)
    .filter(name => !isAllowed(rule, path, name))
    .map(name => `${path} imports ${name}`);
}

function isAllowed(rule: Rule, path: string, name: string): boolean {
  if (!name.startsWith(".")) return rule.packages.some(allowed => allowed === "*" || name.startsWith(allowed));
  const target = normalize(join(dirname(path), name));
  return rule.mayImport.some(allowed => target.startsWith(allowed));
}

/** `path:line: text` of every line that matches. */
function lines(paths: readonly string[], pattern: RegExp, of: (text: string) => string = text => text): string[] {
  return paths.flatMap(path =>
    of(read(path))
      .split("\n")
      .flatMap((line, index) => (pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()}`] : [])),
  );
}

describe("imports go one way", () => {
  test("wire <- core, wire and crypto <- engine, all of them <- daemon <- front ends", () => {
    expect(sources.length).toBeGreaterThan(10);
    expect(sources.flatMap(violations)).toEqual([]);
  });

  test("and the rules notice what they are for", () => {
    const of = (path: string) => RULES.find(rule => path.startsWith(rule.of))!;
    expect(isAllowed(of("src/wire/ids.ts"), "src/wire/ids.ts", "node:fs")).toBe(false);
    expect(isAllowed(of("src/wire/ids.ts"), "src/wire/ids.ts", "../engine/engine.ts")).toBe(false);
    expect(isAllowed(of("src/core/node.ts"), "src/core/node.ts", "../daemon/store.ts")).toBe(false);
    expect(isAllowed(of("src/core/node.ts"), "src/core/node.ts", "../crypto/node.ts")).toBe(false);
    expect(isAllowed(of("src/core/node.ts"), "src/core/node.ts", "../wire/ids.ts")).toBe(true);
    expect(isAllowed(of("src/engine/load.ts"), "src/engine/load.ts", "../core/machine.ts")).toBe(false);
    expect(isAllowed(of("src/daemon/api.ts"), "src/daemon/api.ts", "../cli/cli.ts")).toBe(false);
  });

  test("core and wire read no clock, no random numbers and no host", () => {
    const pure = sources.filter(path => path.startsWith("src/core/") || path.startsWith("src/wire/"));
    const global =
      /\b(Math\.random|Date\.now|new Date|setTimeout|setInterval|setImmediate|queueMicrotask|console\.|process\.|Buffer\.|performance\.|fetch\()/;
    expect(lines(pure, global, code)).toEqual([]);
  });
});

describe("files", () => {
  test("have at most 700 lines", () => {
    expect(typescript.filter(path => read(path).split("\n").length > 701)).toEqual([]);
  });

  test("of the program begin with a comment that says what they are", () => {
    expect(sources.filter(path => !/^(#!.*\n)?\s*(\/\*\*|\/\/)\s*\S/.test(read(path)))).toEqual([]);
  });

  test("hold no unfinished work and no test that is switched off", () => {
    const self = "test/tidy.test.ts";
    const others = typescript.filter(path => path !== self);
    expect(lines([...others, ...documents], /\b(TODO|FIXME|XXX|HACK)\b/)).toEqual([]);
    expect(lines(others, /\b(test|it|describe|suite)(\.\w+)*\.(skip|only|todo|fails)\b/)).toEqual([]);
  });
});

test("every section of docs/PROTOCOL.md that a comment sends the reader to is there", () => {
  const headings = new Set([...read("docs/PROTOCOL.md").matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading));
  const cited = typescript.flatMap(path =>
    [...read(path).matchAll(/PROTOCOL\.md "([^"]+)"/g)].map(([, heading]) => ({ path, heading: heading! })),
  );
  expect(cited.length).toBeGreaterThan(0);
  expect(cited.filter(({ heading }) => !headings.has(heading))).toEqual([]);
});
