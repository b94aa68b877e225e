/**
 * Every error an operator can meet: code, exit code, HTTP status, sentence and what to do about it.
 * The CLI prints message and hint and leaves with the exit code; the API sends the first three fields as JSON.
 * docs/OPERATIONS.md holds the same table and a test compares the two.
 */

/** Thrown where an operator's wish cannot be met. Anything else that is thrown is a fault of ours and becomes `internal`. */
export class OperatorError extends Error {
  override readonly name = "OperatorError";
  readonly code: ErrorCode;
  readonly hint: string;

  constructor(code: ErrorCode, message: string, hint: string, cause?: unknown) {
    super(oneLine(message), cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = oneLine(hint);
  }

  /** The process's exit code: distinct for each code, stable over releases. */
  get exit(): number {
    return ERRORS[this.code].exit;
  }

  /** The HTTP status of an API answer with this error. */
  get status(): number {
    return ERRORS[this.code].status;
  }

  toJSON(): WireError {
    return { code: this.code, message: this.message, hint: this.hint };
  }
}

/** An error as it stands in an API answer under `error`. */
export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** Makes the error `code` with the words its sentence needs: `operatorError("network-unknown", { network: "blue" })`. */
export function operatorError<C extends ErrorCode>(code: C, ...rest: Arguments<C>): OperatorError {
  const [words, cause] = rest as [Words | undefined, unknown];
  // The signature has matched the words to the code; inside, one shape serves all of them.
  const entry = ERRORS[code] as unknown as Entry<Words>;
  return new OperatorError(code, entry.message(words ?? {}), hintOf(entry, words ?? {}), cause);
}

/** Reads the `error` object of an API answer; undefined when it is not one. A code from a newer daemon keeps its words and counts as `internal`. */
export function fromWireError(value: unknown): OperatorError | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { code, message, hint } = value as Readonly<Record<string, unknown>>;
  if (typeof code !== "string" || typeof message !== "string") return undefined;
  return new OperatorError(isErrorCode(code) ? code : "internal", message, typeof hint === "string" ? hint : "");
}

/** What was thrown, as an operator error. Foreign errors become `internal`, with the original as cause and none of its text. */
export function asOperatorError(thrown: unknown): OperatorError {
  return thrown instanceof OperatorError ? thrown : operatorError("internal", {}, thrown);
}

/** Names in a sentence may come from other hosts or from a typo: no control character of theirs reaches a terminal. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ");
}

export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}

type Words = Readonly<Record<string, string | number>>;

interface Entry<W extends Words> {
  readonly exit: number;
  readonly status: number;
  readonly message: (words: W) => string;
  readonly hint: string | ((words: W) => string);
}

function entry<W extends Words = Record<never, never>>(
  exit: number,
  status: number,
  message: (words: W) => string,
  hint: string | ((words: W) => string),
): Entry<W> {
  return { exit, status, message, hint };
}

function hintOf(entry: Entry<Words>, words: Words): string {
  return typeof entry.hint === "string" ? entry.hint : entry.hint(words);
}

/**
 * Exit codes: 0 is success, 1 a fault of overlayd's own, 2 wrong usage (as shells and getopt have it). They stay below 64,
 * clear of sysexits.h, of the shell's 126 and above and of systemd's 200 and above. A code, once released, keeps its number.
 */
export const ERRORS = {
  internal: entry(
    1,
    500,
    () => "overlayd failed in a way it should not",
    "The daemon's log has the details; please report them.",
  ),
  usage: entry(
    2,
    400,
    (w: { problem: string }) => w.problem,
    "'overlayd --help' lists the commands, 'overlayd COMMAND --help' explains one.",
  ),
  "not-running": entry(
    3,
    503,
    (w: { socket: string }) => `no overlayd answers on ${w.socket}`,
    "Start it with 'systemctl start overlayd' or 'overlayd run', or name its socket with --socket.",
  ),
  permission: entry(
    4,
    403,
    (w: { action: string }) => `no permission to ${w.action}`,
    "Changing needs root (sudo); reading needs root or membership in the group 'overlayd'.",
  ),
  timeout: entry(
    5,
    504,
    (w: { action: string; timeoutMs: number }) => `${w.action} took longer than ${w.timeoutMs / 1000} s`,
    "Try again; 'overlayd status' and the daemon's log show what it waits for.",
  ),
  busy: entry(
    6,
    503,
    (w: { what: string; max: number }) => `too many ${w.what}: ${w.max} is the limit`,
    "Wait for the others to end, then try again.",
  ),
  limit: entry(
    7,
    409,
    (w: { what: string; max: number }) => `no room for more ${w.what}: ${w.max} is the limit`,
    "Remove some that are no longer needed.",
  ),
  "request-bad": entry(
    8,
    400,
    (w: { problem: string }) => `bad request: ${w.problem}`,
    "docs/API.md describes every request.",
  ),
  "request-too-large": entry(
    9,
    413,
    (w: { maxBytes: number }) => `a request body is at most ${w.maxBytes} bytes`,
    "docs/API.md describes every request.",
  ),
  "route-unknown": entry(
    10,
    404,
    (w: { method: string; path: string }) => `there is no ${w.method} ${w.path}`,
    "The command line and the daemon may be of different versions: restart the daemon after an upgrade.",
  ),

  "not-member": entry(
    11,
    409,
    () => "this host is not in a cluster",
    "Make a cluster with 'overlayd init', or join one with 'overlayd join HOST'.",
  ),
  "already-member": entry(
    12,
    409,
    (w: { cluster: string }) => `this host is already in cluster '${w.cluster}'`,
    "Leave it first with 'overlayd leave'.",
  ),
  "token-wrong": entry(
    13,
    401,
    () => "the join token is not valid in this cluster",
    "Copy the whole token, from 'ovl1.' on, or make a new one on an issuer: 'overlayd token create'.",
  ),
  "token-expired": entry(
    14,
    401,
    () => "the join token has expired",
    "Make a new one on an issuer: 'overlayd token create'.",
  ),
  "token-used-up": entry(
    15,
    401,
    () => "the join token has no uses left",
    "Make a new one on an issuer: 'overlayd token create --uses N'.",
  ),
  "token-unknown": entry(
    16,
    404,
    (w: { token: string }) => `there is no join token '${w.token}'`,
    "'overlayd token list' on the issuer that made it shows its tokens.",
  ),
  "issuer-unreachable": entry(
    17,
    504,
    () => "the issuer of this token cannot be reached",
    "Check that the issuer's host is up and has a path to the others, or use a token of another issuer.",
  ),
  "not-issuer": entry(
    18,
    409,
    (w: { issuers: string }) => `this host is not an issuer; the cluster's issuers are: ${w.issuers}`,
    "Run the command on one of them, or make this host one with 'overlayd issuer add' there.",
  ),
  "peer-unreachable": entry(
    19,
    504,
    (w: { peer: string }) => `no answer from ${w.peer}`,
    "Check the address, that overlayd runs there, and that UDP passes on its port (4794 by default) in both directions.",
  ),
  "name-unresolved": entry(
    57,
    404,
    (w: { name: string }) => `this system finds no address for the name '${w.name}'`,
    "Check the spelling and what 'getent hosts NAME' says, or give the address itself.",
  ),
  "host-unknown": entry(
    20,
    404,
    (w: { host: string }) => `there is no host '${w.host}' in the cluster`,
    "'overlayd peers' lists the hosts.",
  ),
  "host-ambiguous": entry(
    47,
    409,
    (w: { host: string; ids: string }) => `several hosts are called '${w.host}': ${w.ids}`,
    "Give the id of the one you mean, or its first 8 digits.",
  ),
  "name-taken": entry(
    21,
    409,
    (w: { name: string }) => `the name '${w.name}' is already taken in this cluster`,
    "Choose another with --host.",
  ),
  evicted: entry(
    22,
    403,
    () => "this host was evicted from the cluster",
    "Run 'overlayd leave' here, then join again with a new token.",
  ),
  "version-unsupported": entry(
    23,
    409,
    (w: { peer: string }) => `${w.peer} speaks a protocol version this overlayd does not know`,
    "Neighbouring versions work together: upgrade the older host first.",
  ),
  "passphrase-wrong": entry(
    24,
    401,
    () => "the passphrase does not open this file, or the file was altered",
    "Type the passphrase that was given to 'overlayd ca export'.",
  ),

  "network-unknown": entry(
    25,
    404,
    (w: { network: string }) => `there is no network '${w.network}'`,
    (w: { network: string }) =>
      `'overlayd networks' lists them; make it with 'overlayd network create ${w.network} --subnet …'.`,
  ),
  "network-exists": entry(
    26,
    409,
    (w: { network: string }) => `network '${w.network}' exists with another definition`,
    "'overlayd networks' shows it. Attach to it as it is, or choose another name.",
  ),
  "network-in-use": entry(
    27,
    409,
    (w: { network: string; hosts: string }) => `network '${w.network}' is still attached on ${w.hosts}`,
    (w: { network: string }) => `Run 'overlayd detach ${w.network}' there first.`,
  ),
  "network-elsewhere": entry(
    48,
    409,
    (w: { network: string; hosts: string }) => `network '${w.network}' was not made here but on ${w.hosts}`,
    (w: { network: string }) => `Run 'overlayd network rm ${w.network}' there.`,
  ),
  "vni-clash": entry(
    28,
    409,
    (w: { vni: number; network: string }) => `VNI ${w.vni} already belongs to network '${w.network}'`,
    "Leave --vni out to get a free one, or choose another.",
  ),
  "already-attached": entry(
    29,
    409,
    (w: { network: string; bridge: string }) =>
      `network '${w.network}' is already attached here, to bridge ${w.bridge}`,
    (w: { network: string }) => `To move it to another bridge, run 'overlayd detach ${w.network}' first.`,
  ),
  "not-attached": entry(
    30,
    409,
    (w: { network: string }) => `network '${w.network}' is not attached on this host`,
    "'overlayd networks' shows what is attached.",
  ),
  "bridge-busy": entry(
    31,
    409,
    (w: { bridge: string; by: string }) => `${w.bridge} cannot be used: ${w.by}`,
    "Name another bridge with --bridge, or leave it out to get one of its own.",
  ),
  "interface-unknown": entry(
    32,
    400,
    (w: { interface: string; problem: string }) => `interface ${w.interface} cannot be used: ${w.problem}`,
    "'ip addr' lists the interfaces and their addresses; --advertise names an address outright.",
  ),
  "no-tun": entry(
    33,
    500,
    (w: { problem: string }) => `/dev/net/tun cannot be opened: ${w.problem}`,
    "Load the driver with 'modprobe tun'; in a container, pass the device in with --device /dev/net/tun.",
  ),
  "no-net-admin": entry(
    34,
    500,
    () => "overlayd lacks the capability CAP_NET_ADMIN",
    "Run it as root or from its systemd unit; in a container, add --cap-add NET_ADMIN.",
  ),
  "ip-command-failed": entry(
    35,
    500,
    (w: { command: string; problem: string }) => `'${w.command}' failed: ${w.problem}`,
    "What had been made was undone. The message is the kernel's or iproute2's own.",
  ),
  "no-iproute2": entry(36, 500, () => "the command 'ip' was not found", "Install the package iproute2."),
  "port-in-use": entry(
    37,
    500,
    (w: { address: string }) => `UDP ${w.address} is in use`,
    "'ss -lunp' shows by whom. Stop that, or choose another port with --listen.",
  ),
  "socket-in-use": entry(
    38,
    500,
    (w: { socket: string; problem: string }) => `${w.socket} cannot be the control socket: ${w.problem}`,
    "Stop the other overlayd, or choose another path with --socket.",
  ),

  "state-corrupt": entry(
    39,
    500,
    (w: { file: string; problem: string }) => `${w.file} is damaged: ${w.problem}`,
    "Nothing was changed. Restore the file from a backup; or move the state directory away and join again.",
  ),
  "state-locked": entry(
    40,
    500,
    (w: { dir: string; pid: string }) => `another overlayd${w.pid === "" ? "" : ` (pid ${w.pid})`} uses ${w.dir}`,
    "Stop it first, or give this one a directory of its own with --state-dir.",
  ),
  "state-unusable": entry(
    41,
    500,
    (w: { path: string; problem: string }) => `${w.path} cannot hold overlayd's state: ${w.problem}`,
    "The state directory must be a directory that belongs to the user overlayd runs as, on a writable disk.",
  ),
  "disk-full": entry(
    42,
    507,
    (w: { path: string }) => `no space left to write ${w.path}`,
    "The state from before is intact. Free some space, then try again.",
  ),

  "config-unknown-key": entry(
    43,
    400,
    (w: { where: string; key: string; nearest: string }) =>
      `${w.where}: unknown key '${w.key}'${w.nearest === "" ? "" : `; did you mean '${w.nearest}'?`}`,
    "docs/OPERATIONS.md lists the keys.",
  ),
  "config-bad-value": entry(
    44,
    400,
    (w: { where: string; key: string; problem: string }) => `${w.where}: ${w.key} ${w.problem}`,
    "docs/OPERATIONS.md lists the keys and their values.",
  ),
  "config-syntax": entry(
    45,
    400,
    (w: { where: string; problem: string }) => `${w.where}: ${w.problem}`,
    "The file is TOML: https://toml.io.",
  ),
  "config-unreadable": entry(
    46,
    400,
    (w: { path: string; problem: string }) => `cannot read ${w.path}: ${w.problem}`,
    "Check the path given with --config and the file's permissions.",
  ),
  "address-taken": entry(
    49,
    409,
    (w: { ip: string; holder: string }) => `${w.ip} is taken by ${w.holder}`,
    "Choose another address, or leave it out to get a free one.",
  ),
  "address-foreign": entry(
    50,
    409,
    (w: { ip: string; host: string; why: string }) => `${w.ip} belongs to ${w.host}, which ${w.why}`,
    (w: { host: string }) =>
      `Addresses of other hosts' blocks are asked of them. Choose another, wait until the host is back, or, if it is lost for good, run 'overlayd ip reclaim ${w.host}'.`,
  ),
  "address-outside": entry(
    51,
    400,
    (w: { ip: string; subnet: string }) => `${w.ip} is not an address for hosts of ${w.subnet}`,
    "Choose one inside the subnet that is neither its first nor its last nor the gateway.",
  ),
  "pool-exhausted": entry(
    52,
    409,
    (w: { network: string }) => `network '${w.network}' has no free address left`,
    (w: { network: string }) => `Release some; 'overlayd ip list ${w.network}' shows who has them.`,
  ),
  "pool-waiting": entry(
    53,
    503,
    (w: { network: string; why: string }) => `network '${w.network}' has no addresses for this host yet: ${w.why}`,
    "Try again when they answer. If one is lost for good, run 'overlayd evict' or 'overlayd ip reclaim' with its name.",
  ),
  "no-subnet": entry(
    54,
    409,
    (w: { network: string }) => `network '${w.network}' has no such subnet`,
    (w: { network: string }) =>
      `Give one when the network is created: 'overlayd network create ${w.network} --subnet 10.77.0.0/16'.`,
  ),
  "reclaim-refused": entry(
    55,
    409,
    (w: { host: string; why: string }) => `the addresses of ${w.host} cannot be taken over: ${w.why}`,
    (w: { host: string }) =>
      `Every living host of the network has to agree; hosts that are lost as well are named together: 'overlayd ip reclaim ${w.host} HOST'.`,
  ),
  "name-unknown": entry(
    56,
    404,
    (w: { name: string; network: string }) => `this host states no name '${w.name}' in network '${w.network}'`,
    "'overlayd name list' shows who states it; names of containers go with them.",
  ),
  "docker-request": entry(
    58,
    400,
    (w: { problem: string }) => w.problem,
    "docs/DOCKER.md lists what can be asked for.",
  ),
  "docker-plain-ipam": entry(
    59,
    400,
    () => "Docker's own IPAM gives the same addresses out on every host",
    "docker network create -d overlayd --ipam-driver overlayd NAME",
  ),
  "docker-unbound": entry(
    60,
    409,
    (w: { problem: string }) => w.problem,
    "'overlayd docker status' shows which Docker network is which overlay network.",
  ),
  "docker-unknown": entry(
    61,
    404,
    (w: { what: string }) => `overlayd does not know ${w.what}`,
    "Where the plugin's state was just lost, try again in a moment; else remove it with 'docker network rm' and create it again.",
  ),
  "docker-unreachable": entry(
    62,
    503,
    (w: { socket: string; problem: string }) => `Docker does not answer on ${w.socket}: ${w.problem}`,
    "'systemctl status docker' shows whether it runs; --docker-socket names another socket.",
  ),
  "docker-failed": entry(
    63,
    502,
    (w: { problem: string }) => w.problem,
    "The words are those of Docker or of the command that was run.",
  ),
} as const;

export type ErrorCode = keyof typeof ERRORS;
type WordsOf<C extends ErrorCode> =
  Parameters<(typeof ERRORS)[C]["message"]> extends [infer W extends Words] ? W : Record<never, never>;
type Arguments<C extends ErrorCode> = keyof WordsOf<C> extends never
  ? [words?: Record<never, never>, cause?: unknown]
  : [words: WordsOf<C>, cause?: unknown];
