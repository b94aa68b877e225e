/**
 * The log: one JSON object per line. A level says what it asks of the reader:
 * `error` an operator must act, `warn` something works worse than it should, `info` the life cycle, `debug` everything else.
 * Every line has a `code`, the name of what happened; lines of one code and subject come once per interval, then as a count.
 */

import * as fs from "node:fs";
import { pino } from "pino";
import type { Millis } from "../core/machine.ts";
import { Limiter } from "./limiter.ts";
import { redactFields, redactText } from "./redact.ts";

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type LogFields = Readonly<Record<string, unknown>>;

/** `about` tells apart subjects of one code (a peer, a network): each has its own place in the rate limit. */
type Write = (code: string, message: string, fields?: LogFields, about?: string) => void;

export interface Log {
  readonly error: Write;
  readonly warn: Write;
  readonly info: Write;
  readonly debug: Write;
  /** Writes the counts that are still held back and stops the log's timer. */
  close(): void;
}

export interface LogOptions {
  readonly level?: LogLevel;
  /** Takes a line with its line break; without it lines go to standard output. */
  readonly write?: (line: string) => void;
  /** Monotonic, for the rate limit. The lines' own time is the wall clock's. */
  readonly clock?: () => Millis;
  /** One line per code and subject in this time, and one with the count of the rest. */
  readonly intervalMs?: number;
  /** Begin lines with the priority journald reads (sd-daemon(3)); on when standard output is the journal. */
  readonly journal?: boolean;
}

const INTERVAL_MS = 10_000;
const STDOUT = 1;
/** syslog(3) priorities by pino's numbers for the levels. */
const PRIORITY: Readonly<Record<number, number>> = { 50: 3, 40: 4, 30: 6, 20: 7 };

interface Line {
  readonly level: LogLevel;
  readonly code: string;
  readonly message: string;
  readonly fields: LogFields;
}

export function createLog(options: LogOptions = {}): Log {
  const clock = options.clock ?? (() => performance.now());
  const out = sink(options);
  const limiter = new Limiter<Line>(options.intervalMs ?? INTERVAL_MS);
  let timer: NodeJS.Timeout | undefined;

  const print = ({ level, code, message, fields }: Line, suppressed = 0) => {
    // The line's own words come last: a field called `code` or `msg` does not replace them.
    const words = { ...redactFields(fields), ...(suppressed === 0 ? {} : { suppressed }), code };
    out[level](words, redactText(message));
  };
  const release = (now: Millis) => {
    for (const { line, suppressed } of limiter.expire(now)) print(line, suppressed);
  };
  const arm = () => {
    const at = limiter.deadline();
    if (timer !== undefined || at === undefined) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        release(clock());
        arm();
      },
      Math.max(1, Math.ceil(at - clock())),
    );
    timer.unref();
  };
  const writer =
    (level: LogLevel): Write =>
    (code, message, fields = {}, about = "") => {
      if (!out.isLevelEnabled(level)) return;
      const line: Line = { level, code, message, fields };
      // Whoever asks for `debug` wants all of it.
      if (level === "debug") return print(line);
      const now = clock();
      release(now);
      if (limiter.admit(`${level} ${code} ${about}`, line, now)) print(line);
      arm();
    };
  return {
    error: writer("error"),
    warn: writer("warn"),
    info: writer("info"),
    debug: writer("debug"),
    close() {
      clearTimeout(timer);
      timer = undefined;
      release(Number.POSITIVE_INFINITY);
    },
  };
}

function sink(options: LogOptions) {
  const write = options.write ?? writeStdout;
  const journal = options.journal ?? (options.write === undefined && process.env.JOURNAL_STREAM !== undefined);
  const stream = {
    // With this key pino leaves the level of each line in `lastLevel`.
    [Symbol.for("pino.metadata")]: true,
    lastLevel: 0,
    write: (line: string) => write(journal ? `<${PRIORITY[stream.lastLevel] ?? 6}>${line}` : line),
  };
  return pino(
    {
      level: options.level ?? "info",
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      // redact.ts has dealt with errors already.
      serializers: { err: value => value },
    },
    stream,
  );
}

/** Written at once, so that the line before a crash is there. A reader that is gone or full costs the line, never the daemon. */
function writeStdout(line: string): void {
  const bytes = Buffer.from(line);
  try {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(STDOUT, bytes, at);
  } catch {
    // EPIPE and EAGAIN; there is nobody left to tell.
  }
}
