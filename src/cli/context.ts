/** What every verb needs: the client for the socket that was named, and how it prints. */

import type { Command } from "commander";
import { operatorError } from "../daemon/errors.ts";
import { Client } from "./client.ts";

/** The API client for `--socket`, wherever on the command line it stands. */
export function clientOf(command: Command): Client {
  return new Client(command.optsWithGlobals<{ socket: string }>().socket);
}

/** For options and arguments that are counts and sizes. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw operatorError("usage", { problem: `'${text}' is not a whole number` });
  return Number(text);
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, undefined, 2));
}
