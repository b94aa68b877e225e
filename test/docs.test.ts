/** The documentation says what the program does: routes, fields, events, drop reasons and configuration keys are all there and no others. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { program } from "../src/cli/cli.ts";
import { type ApiParts, apiRoutes } from "../src/daemon/api.ts";
import { parseConfig } from "../src/daemon/config.ts";
import { DROP_REASONS } from "../src/engine/engine.ts";

const read = (path: string) => readFileSync(join(import.meta.dirname, "..", path), "utf8");
const api = read("docs/API.md");
const operations = read("docs/OPERATIONS.md");
const protocol = read("docs/PROTOCOL.md");

/** The text between a heading and the next one of its level. */
function section(text: string, heading: string): string {
  const found = text.split(/^## /m).find(part => part.startsWith(`${heading}\n`));
  if (found === undefined) throw new Error(`there is no section '${heading}'`);
  return found;
}

/** The first cells of a section's tables, word by word in backquotes. */
function firstCells(text: string): string[] {
  const cells = text.split("\n").flatMap(line => /^\| (`.*?) \|/.exec(line)?.[1] ?? []);
  return cells.flatMap(cell => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word!));
}

/** Every quoted word that a pattern finds in a source file, once. */
function words(source: string, pattern: RegExp): string[] {
  return [...new Set([...source.matchAll(pattern)].map(([, word]) => word!))].sort();
}

/** `a, b: {c, d}, e?` -> a, b, e. */
function names(shape: string): string[] {
  let flat = shape;
  for (let before = ""; before !== flat; ) [before, flat] = [flat, flat.replace(/\{[^{}]*\}|\[[^[\]]*\]/g, "")];
  return flat.split(",").map(part => /^\s*(\w+)/.exec(part)![1]!);
}

describe("docs/API.md", () => {
  const rows = [...api.matchAll(/^\| `(GET|POST|PUT|DELETE) (\/v1\/[^`]*)` \| (.*) \|$/gm)];

  test("lists exactly the routes there are", () => {
    const routes = apiRoutes({} as ApiParts).map(({ method, path }) => `${method} ${path.replace(/:\w+/g, "X")}`);
    const listed = rows.map(([, method, path]) => `${method} ${path!.replace(/\?.*/, "").replace(/\/[A-Z]+/g, "/X")}`);
    expect(listed.sort()).toEqual(routes.sort());
  });

  test.each([
    ["/v1/status", "StatusView"],
    ["/v1/peers", "PeerView"],
    ["/v1/macs?network=NAME", "MacView"],
    ["/v1/networks", "NetworkView"],
  ])("gives every field of GET %s, and no other", (path, view) => {
    const [, , , answer] = rows.find(([, method, at]) => method === "GET" && at === path)!;
    const [, shape] = /`\[?\{(.*?)\}\]?`(?:;| \|)/.exec(`${answer} |`)!;
    const body = new RegExp(`interface ${view} \\{([\\s\\S]*?)^\\}`, "m").exec(read("src/daemon/views.ts"))![1]!;
    const fields = words(body, /^ {2}readonly (\w+)/gm);
    expect(names(shape!).sort()).toEqual(fields);
  });
});

describe("docs/OPERATIONS.md", () => {
  test("explains every reason for a drop, once", () => {
    expect(firstCells(section(operations, "Drops")).sort()).toEqual([...DROP_REASONS].sort());
  });

  test("explains every event and every code of the log", () => {
    const events = words(read("src/daemon/events.ts"), /"((?:[a-z]+\.)[a-z]+)"/g);
    const identity = words(/const IDENTITY = \{([\s\S]*?)\}/.exec(read("src/daemon/events.ts"))![1]!, /(\w+):/g);
    const logged = ["daemon.ts", "run.ts", "plumbing.ts"].flatMap(file =>
      words(read(`src/daemon/${file}`), /log\.\w+\(\s*"([^"]+)"/gi),
    );
    const wanted = [...events, "limit", "fragmented", ...identity.map(why => `identity.${why}`), ...logged];
    expect(events.length).toBeGreaterThan(10);
    expect(firstCells(section(operations, "Events")).sort()).toEqual([...new Set(wanted)].sort());
  });

  test("knows every key of the configuration, which are the options of `run`", () => {
    const keys = firstCells(section(operations, "Configuration"));
    for (const key of keys) expect(() => parseConfig(`${key} = {}`, "x"), key).toThrow(badValue);
    const run = program().commands.find(command => command.name() === "run")!;
    const options = run.options.map(({ long }) => long!.slice(2)).filter(name => name !== "config");
    expect(keys).toEqual(expect.arrayContaining(options));
    const commented = words(read("scripts/overlayd.toml"), /^#([a-z-]+) =/gm);
    expect(keys.map(key => key.replace("limits.", "")).sort()).toEqual(commented);
  });
});

/** The key is known, and a table is no value for it. */
const badValue = expect.objectContaining({ code: "config-bad-value" }) as unknown as Error;

describe("docs/PROTOCOL.md", () => {
  test("lists every control message with its keys", () => {
    const files = ["identity", "ipam", "membership", "overlay", "replica", "session"];
    const kinds = files.flatMap(file => words(read(`src/wire/messages/${file}.ts`), /v\.literal\("([^"]+)"\)/g));
    expect(
      firstCells(section(protocol, "Control bodies"))
        .filter(word => word !== "t")
        .sort(),
    ).toEqual(kinds.sort());
  });

  test("holds the numbers of the constants that travel", () => {
    const constants = read("src/wire/protocol.ts");
    const [, port] = /PORT_DEFAULT = (\d+)/.exec(constants)!;
    expect(protocol).toContain(`default ${port}`);
    expect(operations).toContain(`One UDP port, ${port},`);
  });
});
