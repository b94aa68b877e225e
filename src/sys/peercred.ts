/** Who is at the other end of a unix socket: SO_PEERCRED and SO_PEERGROUPS of socket(7), as they were at connect(2). */

import koffi from "koffi";

export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  /** The primary group; supplementary groups are in `groups` (empty where the kernel does not tell: before Linux 4.13). */
  readonly gid: number;
  readonly groups: readonly number[];
}

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const SO_PEERGROUPS = 59;
/** NGROUPS_MAX of the kernel: nobody is in more groups. */
const GROUPS_MAX = 65_536;
const GROUPS_USUAL = 64;

const getsockopt = koffi
  .load(null)
  .func("int getsockopt(int fd, int level, int option, _Out_ void *value, _Inout_ void *length)");

/** The peer's credentials, or undefined when `fd` is no connected unix socket. */
export function peerCredentials(fd: number): PeerCredentials | undefined {
  const ucred = option(fd, SO_PEERCRED, 3);
  // A socket that is not connected, or not AF_UNIX, answers pid 0 and the ids (gid_t) -1.
  if (ucred?.length !== 3) return undefined;
  const [pid = 0, uid = 0, gid = 0] = ucred;
  if (pid === 0 && uid === 0xffffffff) return undefined;
  return { pid, uid, gid, groups: peerGroups(fd) };
}

function peerGroups(fd: number): readonly number[] {
  const groups = option(fd, SO_PEERGROUPS, GROUPS_USUAL) ?? option(fd, SO_PEERGROUPS, GROUPS_MAX);
  return groups === undefined ? [] : [...groups];
}

/** An option's value as `words` 32-bit numbers at most; undefined when the call fails, also for want of room. */
function option(fd: number, name: number, words: number): Uint32Array | undefined {
  const value = new Uint32Array(words);
  const length = new Uint32Array([value.byteLength]);
  if (getsockopt(fd, SOL_SOCKET, name, value, length) !== 0) return undefined;
  return value.subarray(0, (length[0] ?? 0) / value.BYTES_PER_ELEMENT);
}
