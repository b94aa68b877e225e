/** Tokens, issuers, eviction and the CA's backup: who may join and who must go. */

import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { operatorError } from "../../daemon/errors.ts";
import type { Client } from "../client.ts";
import { clientOf, print, printJson, wholeNumber } from "../context.ts";
import { readSecret, readTextFile } from "../secret.ts";
import { duration, parseDuration, table } from "../table.ts";

const HELD_CA_KEY =
  "warning: it was an issuer and had the CA key, which can make new members; if it may be in the wrong hands, make a new cluster";

interface Token {
  readonly id: string;
  readonly expires: number;
  readonly usesLeft: number;
}

export function addTrustVerbs(root: Command): void {
  addTokenVerbs(root.command("token").description("tokens for joiners; kept by this issuer"));
  root
    .command("issuer")
    .description("hosts that hold the CA key: they count joins, sign and evict")
    .command("add")
    .description("give the CA key to another member, sealed, host to host")
    .argument("<host>", "name, label or id")
    .action(async (host: string, _options: object, command: Command) => {
      await clientOf(command).post("/v1/issuers", { host });
      print(`${host} is an issuer now`);
    });
  root
    .command("evict")
    .description("throw a host out for good: its certificate is revoked and the pre-shared key replaced")
    .argument("<host>", "name, label or id")
    .action(async (host: string, _options: object, command: Command) => {
      const { heldCaKey } = await clientOf(command).post<{ heldCaKey: boolean }>("/v1/evictions", { host });
      print(`evicted ${host}`);
      if (heldCaKey) print(HELD_CA_KEY);
    });
  addCaVerbs(root.command("ca").description("backup of the certificate authority"));
}

function addTokenVerbs(token: Command): void {
  token
    .command("create")
    .description("make a token; it is shown once and only its hash is kept")
    .option("--ttl <duration>", "how long it is good for: 30m, 24h, 7d", "24h")
    .option("--uses <count>", "how many hosts may join with it", wholeNumber, 1)
    .option("--json", "print JSON")
    .action(async (options: { ttl: string; uses: number; json?: boolean }, command: Command) => {
      const ttlS = parseDuration(options.ttl);
      if (ttlS === undefined) throw operatorError("usage", { problem: `'${options.ttl}' is not a duration like 24h` });
      const made = await clientOf(command).post<{ token: string }>("/v1/tokens", { ttlS, uses: options.uses });
      if (options.json === true) printJson(made);
      else print(made.token);
    });
  token
    .command("list")
    .description("show tokens that are still good")
    .option("--json", "print JSON")
    .action(async (options: { json?: boolean }, command: Command) => {
      const tokens = await clientOf(command).get<Token[]>("/v1/tokens");
      if (options.json === true) return printJson(tokens);
      const now = Date.now() / 1000;
      print(
        table(
          ["ID", "EXPIRES IN", "USES LEFT"],
          tokens.map(each => [each.id, duration(each.expires - now), each.usesLeft]),
        ),
      );
    });
  token
    .command("revoke")
    .description("make a token useless")
    .argument("<id>", "its id, from token list")
    .action(async (id: string, _options: object, command: Command) => {
      await clientOf(command).delete(`/v1/tokens/${encodeURIComponent(id)}`);
      print(`revoked ${id}`);
    });
}

function addCaVerbs(ca: Command): void {
  ca.command("export")
    .description("write the CA key, encrypted under a passphrase, to a file or standard output")
    .option("--passphrase-file <file>", "read the passphrase from a file")
    .option("--out <file>", "write here (mode 0600) instead of standard output")
    .action(async (options: { passphraseFile?: string; out?: string }, command: Command) => {
      const passphrase = await readSecret("passphrase", options.passphraseFile);
      const { backup } = await clientOf(command).post<{ backup: string }>("/v1/ca/export", { passphrase });
      if (options.out === undefined) return print(backup);
      writeNew(options.out, `${backup}\n`);
      print(`wrote ${options.out}`);
    });
  ca.command("import")
    .description("make this member an issuer from a backup")
    .argument("<file>", "what ca export wrote")
    .option("--passphrase-file <file>", "read the passphrase from a file")
    .action(async (file: string, options: { passphraseFile?: string }, command: Command) => {
      await importCa(clientOf(command), file, await readSecret("passphrase", options.passphraseFile));
      print("this host is an issuer now");
    });
}

/** Never over a file that is there: it may be the only backup of another cluster. */
function writeNew(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: 0o600, flag: "wx" });
  } catch (error) {
    throw operatorError("usage", { problem: `cannot write ${file}: ${(error as Error).message}` });
  }
}

async function importCa(client: Client, file: string, passphrase: string): Promise<void> {
  const backup = readTextFile(file).trim();
  await client.post("/v1/ca/import", { passphrase, backup });
}
