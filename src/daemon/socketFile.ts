/** A unix socket's file: put in place with its owner and mode at once, and taken away only by whoever put it there. */

import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { operatorError } from "./errors.ts";

/** Read and write for owner and group: connect(2) needs write. */
const MODE = 0o660;
/** A socket that neither accepts nor refuses in this time has a listener that hangs; it is in use. */
const CONNECT_MS = 1000;

export interface SocketFile {
  /** Removes the file, unless another socket stands there by now. */
  remove(): void;
}

/**
 * Makes `server` listen on `at`. The socket is bound in a directory nobody else can enter, gets its group and mode there and is
 * renamed into place: at no moment can anyone connect who may not, and a stale file is replaced in one step.
 * Throws `socket-in-use` when somebody listens on `at`, or when something that is no socket is there.
 */
export async function listenAt(
  server: net.Server,
  at: string,
  gid: number | undefined,
  options: { readonly mode?: number; readonly backlog?: number } = {},
): Promise<SocketFile> {
  const dir = path.dirname(at);
  const refuse = (problem: string, cause?: unknown) => operatorError("socket-in-use", { socket: at, problem }, cause);
  await requireFree(at, refuse);
  let nursery: string | undefined;
  try {
    fs.mkdirSync(dir, { recursive: true, mode: 0o755 });
    nursery = fs.mkdtempSync(path.join(dir, ".ovl"));
    const born = path.join(nursery, "s");
    await listen(server, born, options.backlog);
    if (gid !== undefined) fs.chownSync(born, -1, gid);
    fs.chmodSync(born, options.mode ?? MODE);
    const { ino, dev } = fs.statSync(born);
    fs.renameSync(born, at);
    return { remove: () => removeOwn(at, ino, dev) };
  } catch (error) {
    server.close();
    throw refuse((error as NodeJS.ErrnoException).code ?? "it cannot be bound", error);
  } finally {
    if (nursery !== undefined) fs.rmSync(nursery, { recursive: true, force: true });
  }
}

async function requireFree(at: string, refuse: (problem: string, cause?: unknown) => Error): Promise<void> {
  const stat = fs.lstatSync(at, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw refuse("a file that is no socket is there");
  if (await isListening(at)) throw refuse("another process listens on it");
}

/** Refused means nobody has the socket open: its process ended without removing the file. */
function isListening(at: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = net.connect(at);
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(CONNECT_MS, () => done(true));
    socket.once("connect", () => done(true));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      done(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
    });
  });
}

function listen(server: net.Server, at: string, backlog: number | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path: at, ...(backlog === undefined ? {} : { backlog }) }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function removeOwn(at: string, ino: number, dev: number): void {
  const stat = fs.lstatSync(at, { throwIfNoEntry: false });
  if (stat?.ino === ino && stat.dev === dev) fs.rmSync(at, { force: true });
}
