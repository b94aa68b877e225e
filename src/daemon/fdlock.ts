/** An exclusive lock on an open file (flock(2)): it ends with the process, however that ends. */

import koffi from "koffi";

const LOCK_EX = 2;
const LOCK_NB = 4;

const flock = koffi.load(null).func("int flock(int fd, int operation)");

/** True when the lock is now held through `fd`, false when another open file holds it. Throws on any other failure. */
export function tryLock(fd: number): boolean {
  for (;;) {
    if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
    const errno = koffi.errno();
    if (errno === koffi.os.errno.EWOULDBLOCK) return false;
    if (errno !== koffi.os.errno.EINTR) throw new Error(`flock failed with errno ${errno}`);
  }
}
