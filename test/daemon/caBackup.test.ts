/** The CA key's backup: comes back under its passphrase, and under nothing else. */

import { describe, expect, test } from "vitest";
import { openCaKey, sealCaKey } from "../../src/daemon/caBackup.ts";

const SEED = Uint8Array.from({ length: 32 }, (_, index) => index);
const BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const refused = (backup: string, passphrase: string) =>
  expect(openCaKey(backup, passphrase)).rejects.toMatchObject({
    code: "passphrase-wrong",
  });

describe("a backup of the CA key", () => {
  test("comes back under its passphrase, in whatever form Unicode gives that", async () => {
    const backup = await sealCaKey(SEED, "caf\u00e9 \u212b");
    expect(backup).toMatch(/^ovca1\.[A-Za-z0-9_-]{102}$/);
    expect(new Uint8Array(await openCaKey(backup, "cafe\u0301 \u00c5"))).toEqual(SEED);
    await refused(backup, "cafe \u00c5");
    await refused(backup, "");
  });

  test("is another text each time", async () => {
    expect(await sealCaKey(SEED, "x")).not.toBe(await sealCaKey(SEED, "x"));
  });

  test("with any character changed, cut or added is refused", async () => {
    const backup = await sealCaKey(SEED, "x");
    // Each try costs a scrypt: characters of all fields, and the last one in every value it can have.
    const places = [6, 20, 28, 34, 44, 50, 80, 90, backup.length - 2];
    for (const at of places) {
      const other = BASE64URL[(BASE64URL.indexOf(backup[at]!) + 1) % 64]!;
      await refused(backup.slice(0, at) + other + backup.slice(at + 1), "x");
    }
    for (const last of BASE64URL) if (last !== backup.at(-1)) await refused(backup.slice(0, -1) + last, "x");
    for (const text of ["", "ovca1.", backup.slice(0, -1), `${backup}A`, `${backup}=`, `ovca2.${backup.slice(6)}`])
      await refused(text, "x");
    await refused(`${backup.slice(0, 50)}\n${backup.slice(50)}`, "x");
  });
});
