/** The table of operator errors: complete, distinct, and the same in the documentation. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { asOperatorError, ERRORS, fromWireError, OperatorError, operatorError } from "../../src/daemon/errors.ts";

const entries = Object.entries(ERRORS);

describe("operator errors", () => {
  test("every code has an exit code of its own, clear of the ranges of shells, sysexits.h and systemd", () => {
    const exits = entries.map(([, { exit }]) => exit);
    expect(new Set(exits).size).toBe(exits.length);
    for (const exit of exits) expect(exit >= 1 && exit < 64).toBe(true);
  });

  test("docs/OPERATIONS.md lists exactly these codes, exit codes and statuses", () => {
    const text = readFileSync(resolve(import.meta.dirname, "../../docs/OPERATIONS.md"), "utf8");
    const section = text.split(/^## /m).find(part => part.startsWith("Errors\n")) ?? "";
    const rows = [...section.matchAll(/^\| `([a-z0-9-]+)` \| (\d+) \| (\d+) \|/gm)];
    const documented = rows.map(([, code, exit, status]) => ({ code, exit: Number(exit), status: Number(status) }));
    expect(documented).toEqual(entries.map(([code, { exit, status }]) => ({ code, exit, status })));
  });

  test("message and hint are filled in with the words given", () => {
    const error = operatorError("network-in-use", { network: "blue", hosts: "b, c" });
    expect(error.message).toBe("network 'blue' is still attached on b, c");
    expect(error.hint).toBe("Run 'overlayd detach blue' there first.");
    expect(error.exit).toBe(27);
    expect(error.status).toBe(409);
  });

  test("an error comes back from the API as it was sent", () => {
    const sent = operatorError("bridge-busy", { bridge: "br0", by: "it is not a bridge but veth" });
    const received = fromWireError(JSON.parse(JSON.stringify(sent)));
    expect(received).toBeInstanceOf(OperatorError);
    expect(received?.toJSON()).toEqual(sent.toJSON());
    expect(received?.exit).toBe(sent.exit);
  });

  test("a code of a newer daemon keeps its words and leaves with the general exit code", () => {
    const received = fromWireError({ code: "moon-phase", message: "the moon is full", hint: "wait" });
    expect(received?.message).toBe("the moon is full");
    expect(received?.exit).toBe(1);
  });

  test("the name of a method of Object is no code", () => {
    expect(fromWireError({ code: "toString", message: "m", hint: "h" })?.code).toBe("internal");
  });

  test("what is no error object is told apart", () => {
    for (const value of [undefined, null, 4, "x", {}, { code: 1, message: "m" }]) {
      expect(fromWireError(value)).toBeUndefined();
    }
  });

  test("a fault of ours shows none of its text", () => {
    const error = asOperatorError(new Error("secret 4711"));
    expect(error.code).toBe("internal");
    expect(JSON.stringify(error)).not.toContain("4711");
    expect((error.cause as Error).message).toBe("secret 4711");
  });

  test("a name with control characters reaches no terminal", () => {
    const { message } = operatorError("host-unknown", { host: "a\u001b[2J\u009b\nb" });
    expect(message).toBe("there is no host 'a [2J b' in the cluster");
  });
});
