/** Tells systemd how the service is doing: the protocol of sd_notify(3), one datagram per message to $NOTIFY_SOCKET. */

import koffi from "koffi";

export interface Notifier {
  /** How often systemd wants to hear `watchdog`, in ms; undefined when it does not. Send at half of it. */
  readonly watchdogMs: number | undefined;
  ready(status: string): void;
  /** One line for `systemctl status`. */
  status(text: string): void;
  watchdog(): void;
  stopping(): void;
  close(): void;
}

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sizeof(sun_path), unix(7). */
const PATH_BYTES_MAX = 108;
const STATUS_CHARS_MAX = 256;

const libc = koffi.load(null);
const socket = libc.func("int socket(int domain, int type, int protocol)");
const sendto = libc.func(
  "intptr_t sendto(int fd, const void *bytes, size_t length, int flags, const void *address, uint32_t addressLength)",
);
const closeFd = libc.func("int close(int fd)");

/**
 * A notifier for the service manager named in `env`; without one, or with an address this protocol cannot reach, every
 * call does nothing. A message that cannot be sent is dropped: the service matters more than its report.
 */
export function openNotifier(env: Readonly<Record<string, string | undefined>> = process.env): Notifier {
  const address = socketAddress(env.NOTIFY_SOCKET);
  let fd = address === undefined ? -1 : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const send = (message: string) => {
    if (fd < 0 || address === undefined) return;
    const bytes = Buffer.from(message);
    sendto(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length);
  };
  return {
    watchdogMs: fd < 0 ? undefined : watchdogMs(env),
    ready: status => send(`READY=1\nSTATUS=${oneLine(status)}`),
    status: text => send(`STATUS=${oneLine(text)}`),
    watchdog: () => send("WATCHDOG=1"),
    stopping: () => send("STOPPING=1"),
    close() {
      if (fd >= 0) closeFd(fd);
      fd = -1;
    },
  };
}

/** A sockaddr_un for a path or, beginning with @, for a name in the abstract namespace, where the @ stands for a zero byte. */
function socketAddress(name: string | undefined): Uint8Array | undefined {
  if (name === undefined || !/^[/@]./.test(name)) return undefined;
  const path = Buffer.from(name);
  if (path.length >= PATH_BYTES_MAX) return undefined;
  const abstract = name.startsWith("@");
  if (abstract) path[0] = 0;
  // A path ends with a zero byte; an abstract name ends where the address's length says.
  const address = new Uint8Array(2 + path.length + (abstract ? 0 : 1));
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX;
  address.set(path, 2);
  return address;
}

/** $WATCHDOG_PID says whose watchdog it is: a child that inherits the environment must not answer for its parent. */
function watchdogMs(env: Readonly<Record<string, string | undefined>>): number | undefined {
  const usec = Number(env.WATCHDOG_USEC);
  const ours = env.WATCHDOG_PID === undefined || env.WATCHDOG_PID === String(process.pid);
  return ours && Number.isSafeInteger(usec) && usec > 0 ? usec / 1000 : undefined;
}

/** A line break in a status would begin another assignment. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}+/gu, " ").slice(0, STATUS_CHARS_MAX);
}
