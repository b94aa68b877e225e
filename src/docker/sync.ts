/** `overlayd docker sync`: makes on this host the Docker networks that other hosts have. */

import { DaemonApi } from "./daemonApi.ts";
import { DockerApi } from "./dockerApi.ts";

export interface SyncSockets {
  /** The daemon's. */
  readonly socket: string;
  readonly dockerSocket: string;
}

export interface Synced {
  readonly name: string;
  /** Docker's words when it could not be made. */
  readonly problem?: string;
}

/** The overlay networks that have Docker networks elsewhere and none here. Throws OperatorError. */
export async function missingHere({ socket }: Pick<SyncSockets, "socket">): Promise<string[]> {
  const api = new DaemonApi(socket);
  try {
    const pools = await api.pools();
    return pools.filter(pool => !pool.here && pool.hosts.length > 0 && pool.subnet != null).map(pool => pool.network);
  } finally {
    api.close();
  }
}

/** Makes `names`, or all that are missing. Throws OperatorError when there is nobody to ask. */
export async function sync(sockets: SyncSockets, names: readonly string[]): Promise<Synced[]> {
  const wanted = names.length > 0 ? names : await missingHere(sockets);
  const docker = new DockerApi(sockets.dockerSocket);
  const done: Synced[] = [];
  try {
    await docker.version();
    for (const name of wanted) {
      try {
        await docker.create(name);
        done.push({ name });
      } catch (error) {
        done.push({ name, problem: (error as Error).message });
      }
    }
  } finally {
    docker.close();
  }
  return done;
}
