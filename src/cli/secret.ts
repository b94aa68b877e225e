/** Secrets from where they do not leak: a prompt without echo, standard input, or a file; never argv by default. */

import { readFileSync } from "node:fs";
import { operatorError } from "../daemon/errors.ts";

/** A token or passphrase is far shorter; the limit keeps a wrong redirection from filling memory. */
const SECRET_BYTES_MAX = 16_384;
/** What a shell reports of a program that Ctrl-C ended: 128 + SIGINT. */
const INTERRUPTED = 130;

/** First line of `file`, or of standard input: asked for with `question` and without echo on a terminal. */
export async function readSecret(question: string, file: string | undefined): Promise<string> {
  const text = file !== undefined ? readTextFile(file).slice(0, SECRET_BYTES_MAX) : await readStdin(question);
  const line = text.split("\n", 1)[0]?.trim() ?? "";
  if (line === "") throw operatorError("usage", { problem: `${question} is empty` });
  return line;
}

/** A file that the operator named; throws OperatorError `usage` when it cannot be read. */
export function readTextFile(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw operatorError("usage", { problem: `cannot read ${file}: ${(error as Error).message}` });
  }
}

async function readStdin(question: string): Promise<string> {
  const terminal = process.stdin.isTTY === true;
  if (terminal) {
    process.stderr.write(`${question}: `);
    process.stdin.setRawMode(true);
  }
  try {
    return await readLine(terminal);
  } finally {
    if (terminal) {
      process.stdin.setRawMode(false);
      process.stderr.write("\n");
    }
    process.stdin.pause();
  }
}

/** Reads up to the first line end. On a raw terminal it also serves backspace, Ctrl-C and Ctrl-D. */
async function readLine(terminal: boolean): Promise<string> {
  let line = "";
  for await (const chunk of process.stdin) {
    for (const character of String(chunk)) {
      if (character === "\n" || character === "\r" || (terminal && character === "\u0004")) return line;
      if (terminal && character === "\u0003") process.exit(INTERRUPTED);
      if (terminal && (character === "\u007f" || character === "\b")) line = line.slice(0, -1);
      else line += character;
      if (line.length > SECRET_BYTES_MAX) return line;
    }
  }
  return line;
}
