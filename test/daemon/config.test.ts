/** The configuration file and the options over it. */

import * as fs from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CONFIG_PATH, loadConfig, parseConfig } from "../../src/daemon/config.ts";
import { OperatorError } from "../../src/daemon/errors.ts";

const FILE = "/etc/overlayd/overlayd.toml";

function fault(text: string, overrides?: Record<string, unknown>): { code: string; message: string } {
  try {
    parseConfig(text, FILE, overrides);
  } catch (error) {
    if (error instanceof OperatorError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: "none", message: "" };
}

describe("configuration", () => {
  test("an empty file gives the defaults", () => {
    expect(parseConfig("", FILE)).toEqual({
      listen: [{ address: undefined, port: 4794 }],
      advertise: [],
      interface: undefined,
      engine: "auto",
      lanes: undefined,
      logLevel: "info",
      stateDir: "/var/lib/overlayd",
      socket: "/run/overlayd/overlayd.sock",
      limits: { bumPerPort: 1000, bumPerSegment: 5000, localMacs: 1024 },
    });
  });

  test("every key is taken", () => {
    const text = `
      listen = ["10.9.0.1:4800", "[fd00::1]:4801", ":4802", "FD00::2"]
      advertise = ["203.0.113.7", "[2001:db8::1]:5000"]
      interface = "eth0.100"
      engine = "portable"
      lanes = 3
      log-level = "debug"
      state-dir = "/srv/overlayd"
      socket = "/run/o.sock"
      [limits]
      bum-per-port = 10
      bum-per-segment = 20
      local-macs = 30
    `;
    expect(parseConfig(text, FILE)).toEqual({
      listen: [
        { address: "10.9.0.1", port: 4800 },
        { address: "fd00::1", port: 4801 },
        { address: undefined, port: 4802 },
        { address: "fd00::2", port: 4794 },
      ],
      // A port that is not given is the one listened on.
      advertise: ["203.0.113.7:4800", "[2001:db8::1]:5000"],
      interface: "eth0.100",
      engine: "portable",
      lanes: 3,
      logLevel: "debug",
      stateDir: "/srv/overlayd",
      socket: "/run/o.sock",
      limits: { bumPerPort: 10, bumPerSegment: 20, localMacs: 30 },
    });
  });

  test("the command line wins over the file, and an option not given does not", () => {
    const text = 'engine = "portable"\nlog-level = "warn"\n[limits]\nlocal-macs = 5';
    const config = parseConfig(text, FILE, { engine: "native", "log-level": undefined, listen: ":5000" });
    expect(config.engine).toBe("native");
    expect(config.logLevel).toBe("warn");
    expect(config.listen).toEqual([{ address: undefined, port: 5000 }]);
    expect(config.limits.localMacs).toBe(5);
  });

  test("an unknown key is named with its line and the nearest key", () => {
    expect(fault("# x\n\nlistne = 1")).toEqual({
      code: "config-unknown-key",
      message: `${FILE}, line 3: unknown key 'listne'; did you mean 'listen'?`,
    });
    expect(fault('state_dir = "/x"').message).toContain("line 1: unknown key 'state_dir'; did you mean 'state-dir'?");
    expect(fault('stateDir = "/x"').message).toContain("did you mean 'state-dir'?");
    expect(fault("[limits]\nlocal-mac = 5").message).toContain(
      "line 2: unknown key 'limits.local-mac'; did you mean 'limits.local-macs'?",
    );
    expect(fault("local-macs = 5\n[limits]\n").message).toContain(
      "line 1: unknown key 'local-macs'; did you mean 'limits.local-macs'?",
    );
  });

  test("a key far from all others gets no suggestion", () => {
    expect(fault("[kubernetes]\na = 1").message).toBe(`${FILE}, line 1: unknown key 'kubernetes'`);
  });

  test("a bad value is named with its line and what it must be", () => {
    expect(fault('engine = "portable"\nlog-level = "loud"')).toEqual({
      code: "config-bad-value",
      message: `${FILE}, line 2: log-level must be one of "error", "warn", "info", "debug"`,
    });
    expect(fault("[limits]\nlocal-macs = 0").message).toBe(
      `${FILE}, line 2: limits.local-macs must be a whole number from 1 to 50000`,
    );
    expect(fault('state-dir = "var"').message).toContain("state-dir must be an absolute path");
    expect(fault("limits = 5").message).toContain("limits must be a table");
    expect(fault(`socket = "/${"x".repeat(100)}"`).message).toContain("socket must be at most 80 bytes long");
    expect(fault('interface = "a/b"').message).toContain("interface must be the name");
  });

  test.each(["10.9.0", "10.9.0.1:99999", "10.9.0.1:0", ":0", "[fd00::1", "host.example", "", "10.9.0.1:", "4794"])(
    "'%s' is nothing to listen on",
    listen => {
      expect(fault(`listen = "${listen}"`).code).toBe("config-bad-value");
    },
  );

  test.each(["0.0.0.0", "224.0.0.1", "::", "255.255.255.255", "a.example", ":4794", "10.0.0.1:0"])(
    "'%s' is nothing to advertise",
    advertise => {
      expect(fault(`advertise = ["${advertise}"]`).code).toBe("config-bad-value");
    },
  );

  test("a bad option is named as an option", () => {
    expect(fault("", { engine: "fast" }).message).toBe(
      'option --engine: engine must be one of "auto", "native", "portable"',
    );
  });

  test("a file that is not TOML is refused with the line", () => {
    expect(fault('engine = "portable"\nlisten = [')).toMatchObject({ code: "config-syntax" });
    expect(fault('engine = "portable"\nlisten = [').message).toContain(`${FILE}, line 2: `);
    expect(fault("a = 1\na = 2").code).toBe("config-syntax");
  });

  test("only the default file may be missing", () => {
    const missing = path.join(tmpdir(), `no-such-${process.pid}.toml`);
    expect(loadConfig(missing).stateDir).toBe("/var/lib/overlayd");
    expect(() => loadConfig(missing, { required: true })).toThrowError(`cannot read ${missing}: there is no such file`);
    expect(() => loadConfig(tmpdir())).toThrowError("it is a directory");
    expect(CONFIG_PATH).toBe(FILE);
  });

  test("a file that is far too long is refused unread", () => {
    const dir = fs.mkdtempSync(path.join(tmpdir(), "ovl-config-"));
    const file = path.join(dir, "big.toml");
    fs.writeFileSync(file, "#".repeat(70_000));
    expect(() => loadConfig(file)).toThrowError("more than 65536 bytes");
    fs.rmSync(dir, { recursive: true });
  });

  test("no text whatever gives anything but a configuration or a clear error", () => {
    const line = fc.oneof(
      fc.string(),
      fc
        .tuple(
          fc.constantFrom("listen", "advertise", "limits", "engine", "__proto__", "toString", "[limits]"),
          fc.json(),
        )
        .map(([key, value]) => `${key} = ${value}`),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 4 }), lines => {
        const { code } = fault(lines.join("\n"));
        expect(["none", "config-syntax", "config-unknown-key", "config-bad-value"]).toContain(code);
      }),
      { numRuns: 300 },
    );
  });
});
