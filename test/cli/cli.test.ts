/** The command tree as a person meets it: help, completion, tables, durations. */

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { program } from "../../src/cli/cli.ts";
import { completionScript } from "../../src/cli/completion.ts";
import { duration, parseDuration, size, table } from "../../src/cli/table.ts";
import { renderMacs, renderNetworks, renderPeers, renderStatus } from "../../src/cli/verbs/status.ts";
import type { PeerView, StatusView } from "../../src/daemon/views.ts";
import { VERSION } from "../../src/version.ts";

const ROOT = resolve(import.meta.dirname, "../..");

function every(command: Command): Command[] {
  return [command, ...command.commands.flatMap(every)];
}

const NO_SUBNET = { subnet: null, subnet6: null, gateway: null, gateway6: null };
const NO_PART = { addresses: null, docker: [] };

describe("the command tree", () => {
  it("has the verbs that the documentation names", () => {
    const verbs = every(program()).map(command =>
      command.parent?.parent ? `${command.parent.name()} ${command.name()}` : command.name(),
    );
    const wanted = [
      "run",
      "init",
      "join",
      "leave",
      "status",
      "peers",
      "macs",
      "networks",
      "events",
      "attach",
      "detach",
      "evict",
      "completion",
    ];
    const nested = [
      "network create",
      "network rm",
      "token create",
      "token list",
      "token revoke",
      "issuer add",
      "endpoint add",
      "endpoint rm",
      "ca export",
      "ca import",
    ];
    expect(verbs).toEqual(expect.arrayContaining([...wanted, ...nested]));
  });

  it("describes every verb, argument and option", () => {
    for (const command of every(program())) {
      expect(command.description(), command.name()).not.toBe("");
      for (const option of command.options)
        expect(option.description, `${command.name()} ${option.flags}`).not.toBe("");
      for (const argument of command.registeredArguments)
        expect(argument.description, `${command.name()} ${argument.name()}`).not.toBe("");
    }
  });

  it("names no token on the command line in any example", () => {
    for (const command of every(program())) expect(command.helpInformation()).not.toMatch(/--token ovl1/);
    expect(readFileSync(resolve(ROOT, "README.md"), "utf8")).not.toMatch(/--token[ =]/);
  });

  it("has the version of package.json", () => {
    const { version } = JSON.parse(readFileSync(resolve(ROOT, "package.json"), "utf8")) as { version: string };
    expect(VERSION).toBe(version);
  });
});

describe("completion", () => {
  /** What bash offers for a line, asked of a real bash. */
  function offered(...words: readonly string[]): string[] {
    const script = `${completionScript(program())}
      COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _overlayd; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return execFileSync("bash", ["-c", script, "bash", ...words], { encoding: "utf8" })
      .trim()
      .split("\n")
      .filter(Boolean);
  }

  it("offers verbs", () => {
    expect(offered("overlayd", "ne")).toEqual(["network", "networks"]);
  });

  it("offers the verbs below a verb", () => {
    expect(offered("overlayd", "token", "")).toEqual(expect.arrayContaining(["create", "list", "revoke"]));
  });

  it("offers a verb's options, past its arguments", () => {
    expect(offered("overlayd", "attach", "blue", "--")).toContain("--bridge");
  });

  it("is not led astray by options' values and by arguments that look like verbs", () => {
    expect(offered("overlayd", "--socket", "/run/x.sock", "token", "")).toContain("revoke");
    expect(offered("overlayd", "attach", "token", "--")).toContain("--bridge");
    expect(offered("overlayd", "no such verb", "")).toContain("status");
  });

  it("offers nothing of other verbs", () => {
    expect(offered("overlayd", "attach", "blue", "--")).not.toContain("--ttl");
  });
});

describe("tables", () => {
  it("are as wide as their content and show what is missing as a dash", () => {
    expect(
      table(
        ["A", "LONGER"],
        [
          ["value", undefined],
          ["x", 7],
        ],
      ),
    ).toBe("A      LONGER\nvalue  -\nx      7");
  });

  it.each([
    [0, "0s"],
    [59, "59s"],
    [75, "1m15s"],
    [90_061, "1d1h"],
    [undefined, undefined],
  ])("show %s seconds as %s", (seconds, text) => {
    expect(duration(seconds)).toBe(text);
  });

  it.each([
    [12, "12"],
    [1536, "1.5K"],
    [20_971_520, "20M"],
    [undefined, undefined],
  ])("show %s bytes as %s", (bytes, text) => {
    expect(size(bytes)).toBe(text);
  });

  it.each([
    ["24h", 86_400],
    ["1d12h", 129_600],
    ["90s", 90],
    ["24", undefined],
    ["h", undefined],
    ["", undefined],
  ])("read %s as a duration", (text, seconds) => {
    expect(parseDuration(text)).toBe(seconds);
  });
});

const PEER: PeerView = {
  id: "ab".repeat(16),
  name: "b",
  label: "b",
  state: "alive",
  path: "none",
  endpoint: null,
  endpoints: [],
  rttMs: null,
  cipher: null,
  sessionAgeMs: null,
  silentMs: null,
  framesIn: 0,
  framesOut: 0,
  bytesIn: 0,
  bytesOut: 0,
  drops: { "no-path": 3 },
  issuer: false,
  certificateNotAfter: null,
};

describe("views", () => {
  it("shows a pair without a path as such, with its drops", () => {
    expect(renderPeers([PEER])).toMatch(/^b\s+alive\s+no path\s.*\s3$/m);
  });

  it("shows a conflict with the way out", () => {
    const network = {
      name: "blue",
      vni: 7,
      ...NO_SUBNET,
      mtu: 1390,
      state: "CONFLICT",
      why: "do this",
      hosts: ["a"],
      attached: false,
      bridge: null,
      tap: null,
      blocked: false,
      ...NO_PART,
    } as const;
    expect(renderNetworks([network])).toMatch(/CONFLICT[\s\S]*blue: do this/);
  });

  it("shows a blocked attachment", () => {
    const network = {
      name: "blue",
      vni: 7,
      ...NO_SUBNET,
      mtu: 1390,
      state: "ok",
      why: null,
      hosts: ["a"],
      attached: true,
      bridge: "br",
      tap: "t",
      blocked: true,
      ...NO_PART,
    } as const;
    expect(renderNetworks([network])).toContain("br (blocked: loop)");
  });

  it("shows a MAC that cannot be reached", () => {
    const mac = {
      network: "blue",
      vni: 7,
      mac: "02:00:00:00:00:01",
      host: "b",
      hostId: "b",
      kind: "seen",
      seq: 1,
      ips: [],
      name: null,
      state: "unreachable",
    } as const;
    expect(renderMacs([mac])).toContain("unreachable");
  });

  it("shows an idle host without inventing a cluster", () => {
    const idle: StatusView = {
      version: "1",
      pid: 1,
      uptimeS: 61,
      state: "idle",
      host: null,
      cluster: null,
      issuer: false,
      engine: { kind: "portable", why: "asked for" },
      listen: ["*:4794"],
      advertised: [],
      peers: { alive: 0, suspect: 0, dead: 0, noPath: 0 },
      networks: 0,
      attachments: 0,
      certificate: null,
      pskGeneration: 0,
      drops: {},
      fragmented: 0,
      warnings: [{ code: "x", message: "look here" }],
    };
    const text = renderStatus(idle);
    expect(text).not.toContain("fragmented:");
    expect(renderStatus({ ...idle, fragmented: 7 })).toMatch(/fragmented: +7 datagrams/);
    expect(text).not.toContain("cluster:");
    expect(text).toMatch(/uptime: +1m1s/);
    expect(text).toContain("warning: look here");
  });
});
