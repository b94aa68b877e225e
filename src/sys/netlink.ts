/** A netlink socket (netlink(7)): requests go out as bytes, the kernel has answered when the call returns. */

import koffi from "koffi";
import { checked, EAGAIN, errno, libc } from "./libc.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
export const NETLINK_NETFILTER = 12;
const NLMSG_ERROR = 2;
/** struct nlmsghdr. */
const HEADER_BYTES = 16;
const ANSWER_BYTES = 16_384;

const library = koffi.load(null);
const send = library.func("intptr_t send(int fd, const void *bytes, size_t length, int flags)") as (
  fd: number,
  bytes: Uint8Array,
  length: number,
  flags: number,
) => number;
const receive = library.func("intptr_t recv(int fd, _Out_ void *bytes, size_t length, int flags)") as (
  fd: number,
  bytes: Uint8Array,
  length: number,
  flags: number,
) => number;

const answers = new Uint8Array(ANSWER_BYTES);

export class Netlink {
  readonly #fd: number;

  /** Belongs to the network namespace it is made in, wherever it is used later. Throws SystemError. */
  constructor(protocol: number) {
    this.#fd = checked("socket", libc.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol));
  }

  /** Sends requests that ask for acknowledgements; returns the first errno the kernel answers with, 0 for none. Throws SystemError. */
  request(bytes: Uint8Array): number {
    checked("send", send(this.#fd, bytes, bytes.length, 0));
    let first = 0;
    for (;;) {
      const length = receive(this.#fd, answers, ANSWER_BYTES, 0);
      if (length < 0) {
        if (errno() === EAGAIN) return first;
        checked("recv", length);
      }
      first ||= firstError(answers.subarray(0, length));
    }
  }

  close(): void {
    libc.close(this.#fd);
  }
}

/** Of a datagram of answers: the first errno that is not 0. */
function firstError(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const length = view.getUint32(at, true);
    if (length < HEADER_BYTES || at + length > bytes.length) return 0;
    if (view.getUint16(at + 4, true) === NLMSG_ERROR && length >= HEADER_BYTES + 4) {
      const code = -view.getInt32(at + HEADER_BYTES, true);
      if (code !== 0) return code;
    }
    at += (length + 3) & ~3;
  }
  return 0;
}
