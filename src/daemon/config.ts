/** The configuration: /etc/overlayd/overlayd.toml and the command line over it, checked by one schema. */

import * as fs from "node:fs";
import * as path from "node:path";
import { parse as parseToml, TomlError } from "smol-toml";
import * as v from "valibot";
import { type Endpoint, isUnicastEndpoint, parseEndpoint, parseIp } from "../wire/ids.ts";
import { PORT_DEFAULT, QUEUES_MAX } from "../wire/protocol.ts";
import { operatorError } from "./errors.ts";
import { LOG_LEVELS, type LogLevel } from "./log.ts";

export const CONFIG_PATH = "/etc/overlayd/overlayd.toml";
export const STATE_DIR = "/var/lib/overlayd";
export const SOCKET_PATH = "/run/overlayd/overlayd.sock";

export interface Listen {
  /** Undefined: every address of the host, both families. */
  readonly address: string | undefined;
  readonly port: number;
}

export interface Config {
  readonly listen: readonly Listen[];
  /** What to tell peers; empty: the addresses on the interface of the default route. */
  readonly advertise: readonly Endpoint[];
  /** Whose addresses to advertise in place of the default route's. */
  readonly interface: string | undefined;
  readonly engine: "auto" | "native" | "portable";
  /** Data threads of the native engine; undefined: as many as it thinks right. */
  readonly lanes: number | undefined;
  readonly logLevel: LogLevel;
  readonly stateDir: string;
  readonly socket: string;
  readonly limits: ConfigLimits;
}

export interface ConfigLimits {
  /** Broadcast, unknown unicast and multicast frames per second, per source MAC and per segment. */
  readonly bumPerPort: number;
  readonly bumPerSegment: number;
  /** MACs learned from one local bridge. */
  readonly localMacs: number;
}

/** Options of the command line by their names without the dashes, which are the file's keys too: `{ "state-dir": "/tmp/x" }`. */
export type Overrides = Readonly<Record<string, unknown>>;

/** The file is written by hand; one beyond this is not a configuration. */
const FILE_BYTES_MAX = 64 * 1024;
/** One socket each; hosts have a handful of addresses. */
const LISTEN_MAX = 8;
/** As many as a host record carries (docs/PROTOCOL.md "Records"). */
const ADVERTISE_MAX = 8;
/** sun_path holds 108 bytes, and the socket is bound under a longer temporary name first (apiServer.ts). */
const SOCKET_PATH_BYTES_MAX = 80;
/** Beyond it a number is a typing error: 14.9 million frames per second fill 10 Gbit/s. */
const RATE_MAX = 10_000_000;
/** A segment of this many local MACs is beyond what its records can carry (50,000 per host). */
const LOCAL_MACS_MAX = 50_000;

/**
 * Reads `file` and puts `overrides` over it. A missing file is an empty one, except when the operator named it (`required`).
 * Throws `config-unreadable`, `config-syntax`, `config-unknown-key` or `config-bad-value`, naming file, line and key.
 */
export function loadConfig(file = CONFIG_PATH, options: { required?: boolean; overrides?: Overrides } = {}): Config {
  return parseConfig(readConfig(file, options.required ?? false), file, options.overrides);
}

/** As `loadConfig`, from the file's text; `file` is for messages only. */
export function parseConfig(text: string, file: string, overrides: Overrides = {}): Config {
  const fromFile = check(FileSchema, parseText(text, file), key => placeInFile(text, file, key));
  const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
  const fromLine = check(FileSchema, given, key => `option --${key.join("-")}`);
  return complete({ ...fromFile, ...fromLine, limits: { ...fromFile.limits, ...fromLine.limits } });
}

const integer = (min: number, max: number) =>
  v.custom<number>(
    value => Number.isInteger(value) && Number(value) >= min && Number(value) <= max,
    `must be a whole number from ${min} to ${max}`,
  );
const choice = <const T extends readonly string[]>(values: T) =>
  v.picklist(values, `must be one of ${values.map(value => `"${value}"`).join(", ")}`);
const absolutePath = v.custom<string>(
  value => typeof value === "string" && path.isAbsolute(value) && !value.includes("\0"),
  "must be an absolute path",
);
const interfaceName = v.custom<string>(
  value => typeof value === "string" && /^[^\s/:]{1,15}$/.test(value) && value !== "." && value !== "..",
  "must be the name of a network interface: 1 to 15 characters",
);

/** One text or a list of them, each parsed. */
function texts<T>(parse: (text: string) => T | undefined, max: number, words: string) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, readonly T[]>(({ dataset, addIssue, NEVER }) => {
      const list = Array.isArray(dataset.value) ? dataset.value : [dataset.value];
      const parsed = list.map(item => (typeof item === "string" ? parse(item) : undefined));
      if (parsed.length > 0 && parsed.length <= max && !parsed.includes(undefined)) return parsed as T[];
      addIssue({ message: `must be ${words}, or a list of 1 to ${max} such` });
      return NEVER;
    }),
  );
}

const FileSchema = v.strictObject({
  listen: v.optional(
    texts(parseListen, LISTEN_MAX, `"ADDRESS", "ADDRESS:PORT" or ":PORT" (the default port is ${PORT_DEFAULT})`),
  ),
  // Kept as text: the port that may be missing is the one listened on.
  advertise: v.optional(texts(parseAdvertised, ADVERTISE_MAX, `an IP address, "ADDRESS" or "ADDRESS:PORT"`)),
  interface: v.optional(interfaceName),
  engine: v.optional(choice(["auto", "native", "portable"])),
  lanes: v.optional(integer(1, QUEUES_MAX)),
  "log-level": v.optional(choice(LOG_LEVELS)),
  "state-dir": v.optional(absolutePath),
  socket: v.optional(
    v.pipe(
      absolutePath,
      v.check(
        text => Buffer.byteLength(text) <= SOCKET_PATH_BYTES_MAX,
        `must be at most ${SOCKET_PATH_BYTES_MAX} bytes long: the kernel takes no longer names for sockets`,
      ),
    ),
  ),
  limits: v.optional(
    v.strictObject(
      {
        "bum-per-port": v.optional(integer(1, RATE_MAX)),
        "bum-per-segment": v.optional(integer(1, RATE_MAX)),
        "local-macs": v.optional(integer(1, LOCAL_MACS_MAX)),
      },
      issue => (issue.expected === "Object" ? "must be a table" : issue.message),
    ),
  ),
});
type FileConfig = v.InferOutput<typeof FileSchema>;

function complete(file: FileConfig): Config {
  const listen = file.listen ?? [{ address: undefined, port: PORT_DEFAULT }];
  const port = listen[0]?.port ?? PORT_DEFAULT;
  const advertise = (file.advertise ?? []).map(text => parseEndpoint(text, port));
  return {
    listen,
    advertise: advertise.filter(endpoint => endpoint !== undefined),
    interface: file.interface,
    engine: file.engine ?? "auto",
    lanes: file.lanes,
    logLevel: file["log-level"] ?? "info",
    stateDir: file["state-dir"] ?? STATE_DIR,
    socket: file.socket ?? SOCKET_PATH,
    limits: {
      bumPerPort: file.limits?.["bum-per-port"] ?? 1000,
      bumPerSegment: file.limits?.["bum-per-segment"] ?? 5000,
      localMacs: file.limits?.["local-macs"] ?? 1024,
    },
  };
}

/** `:4795`, `10.9.0.1`, `10.9.0.1:4795`, `fd00::1`, `[fd00::1]:4795`. */
function parseListen(text: string): Listen | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text);
  const host = match === null ? text : (match[1] ?? match[2] ?? "");
  const port = match?.[3] === undefined ? PORT_DEFAULT : Number(match[3]);
  if (port < 1 || port > 0xffff) return undefined;
  if (host === "") return match?.[3] === undefined ? undefined : { address: undefined, port };
  const address = parseIp(host);
  return address === undefined ? undefined : { address, port };
}

function parseAdvertised(text: string): string | undefined {
  const endpoint = parseEndpoint(text, PORT_DEFAULT);
  return endpoint !== undefined && isUnicastEndpoint(endpoint) ? text : undefined;
}

function readConfig(file: string, required: boolean): string {
  try {
    const { size } = fs.statSync(file);
    if (size > FILE_BYTES_MAX) {
      throw operatorError("config-unreadable", { path: file, problem: `it has more than ${FILE_BYTES_MAX} bytes` });
    }
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" && !required) return "";
    if (code === undefined || (error as NodeJS.ErrnoException).errno === undefined) throw error;
    throw operatorError("config-unreadable", { path: file, problem: reason(code) }, error);
  }
}

function reason(code: string): string {
  switch (code) {
    case "ENOENT":
      return "there is no such file";
    case "EACCES":
      return "permission denied";
    case "EISDIR":
      return "it is a directory";
    default:
      return code;
  }
}

function parseText(text: string, file: string): unknown {
  try {
    return parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The first line says what is wrong; the rest is a drawing of the place.
    const problem = error.message.split("\n")[0] ?? "not TOML";
    throw operatorError("config-syntax", { where: `${file}, line ${error.line}`, problem }, error);
  }
}

type KeyPath = readonly string[];

function check(schema: typeof FileSchema, value: unknown, place: (key: KeyPath) => string): FileConfig {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const key = (issue.path ?? []).map(item => String(item.key));
  const name = key.join(".");
  if (issue.type === "strict_object" && issue.expected === "never") {
    throw operatorError("config-unknown-key", { where: place(key), key: name, nearest: nearestKey(name) });
  }
  throw operatorError("config-bad-value", { where: place(key), key: name, problem: issue.message });
}

/** Where the key stands, as far as a look at the lines can tell: the TOML reader keeps no positions. */
function placeInFile(text: string, file: string, key: KeyPath): string {
  const table = key.length > 1 ? key[0] : "";
  const name = (key.at(-1) ?? "").replace(/[^A-Za-z0-9_-]/g, "\\$&");
  const asKey = new RegExp(`^\\s*["']?${name}["']?\\s*[.=]`);
  const asTable = new RegExp(`^\\s*\\[+\\s*["']?${name}["']?\\s*[\\].]`);
  let inTable = "";
  for (const [index, line] of text.split("\n").entries()) {
    inTable = /^\s*\[+\s*["']?([^\]"'.\s]*)/.exec(line)?.[1] ?? inTable;
    if ((asKey.test(line) && inTable === table) || (table === "" && asTable.test(line))) {
      return `${file}, line ${index + 1}`;
    }
  }
  return file;
}

const KEYS: readonly string[] = Object.keys(FileSchema.entries).concat(
  Object.keys(FileSchema.entries.limits.wrapped.entries).map(key => `limits.${key}`),
);

/** The valid key a typing error or another spelling (state_dir, stateDir) was most likely meant to be; "" when none is near. */
function nearestKey(key: string): string {
  const plain = (text: string) => text.toLowerCase().replace(/[-_]/g, "");
  let best = { key: "", distance: Math.max(2, Math.floor(key.length / 3)) + 1 };
  for (const candidate of KEYS) {
    // A key of a table that was written outside it is near too.
    const bare = candidate.slice(candidate.indexOf(".") + 1);
    const distance = Math.min(...[candidate, bare].map(name => editDistance(plain(key), plain(name))));
    if (distance < best.distance) best = { key: candidate, distance };
  }
  return best.key;
}

/** Levenshtein's, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) {
      const replaced = (row[j] ?? 0) + (letter === b[j] ? 0 : 1);
      next.push(Math.min(replaced, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
