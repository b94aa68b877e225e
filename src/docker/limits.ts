/** Every bound and interval of the Docker integration, with its reason. */

/** No call is answered later: Docker has no timeout of its own and holds the network's lock meanwhile. */
export const ANSWER_MS = 1_900;
/** What a call may spend waiting for others (the daemon, a binding), so that tidying up still fits before the answer. */
export const WAIT_MS = 1_500;
/** A daemon that restarts is back in a third of a second; it is asked again this often. */
export const RETRY_MS = 50;

/** Publishing all 65,535 ports of a container makes 7 MB of JSON: the largest request Docker sends. */
export const BODY_BYTES_MAX = 8 * 1024 * 1024;
/** Docker opens a connection per call: 1,000 containers starting at once, twice over. */
export const CONNECTIONS_MAX = 2_048;
/** Connections that wait while a turn of the loop lasts; the kernel's own bound (net.core.somaxconn) is 4,096. */
export const BACKLOG = 4_096;
export const HEADERS_MS = 5_000;
/** For headers and body together: 8 MB through a local socket. */
export const REQUEST_MS = 10_000;
export const HEADERS_BYTES_MAX = 8 * 1024;
/** What a stop gives the calls under way. */
export const CLOSE_MS = 2_000;

/** Docker networks of one host: as many as it can be attached to networks at all. */
export const NETWORKS_MAX = 256;
/** Two pools for each, IPv4 and IPv6, and some of creations that were broken off. */
export const POOLS_MAX = 1_024;
/** As many as the daemon pins MACs on one host. */
export const ENDPOINTS_MAX = 4_096;
/** One for each endpoint, and auxiliary addresses. */
export const LEASES_MAX = 8_192;
/** Auxiliary addresses of one pool: a router, a few printers. */
export const AUX_MAX = 64;
/** Overlay networks whose word is still to be withdrawn, because others are attached. */
export const WITHDRAWALS_MAX = 256;

/** Pools handed out in one `network create` before it is refused: Docker asks again for as long as it finds an overlap. */
export const POOL_TRIES_MAX = 64;
/** A pool that no network has taken in this time belongs to a creation that was broken off. */
export const POOL_IDLE_MS = 60_000;

/** A network's record and the word that it is Docker's come a round of gossip apart, at worst some; hosts' clocks are a little apart too. */
export const FRESH_S = 5;
export const SETTLE_MS = 1_000;

/** Endpoints, leases and networks younger than this may be under way in Docker: they are not collected. */
export const YOUNG_MS = 30_000;
/** Docker's own lists are compared with ours this often, and after each gap in its events. */
export const COLLECT_MS = 60_000;
/** Rules and links that others removed are put back within this time. */
export const REPAIR_MS = 15_000;
/** What the daemon did not take is offered again after this long. */
export const ERRAND_MS = 1_000;
/** A binding that failed is tried again; doubling up to the second figure. */
export const BIND_RETRY_MS = 250;
export const BIND_RETRY_MAX_MS = 5_000;
/** Waiting for a Docker or a daemon that is away: doubling up to the second figure. */
export const RECONNECT_MS = 100;
export const RECONNECT_MAX_MS = 2_000;
/** One Docker API request outside any handler. A container that is being started answers when it has started. */
export const DOCKER_MS = 20_000;
/** Changes of names that come together are published together. */
export const NAMES_GATHER_MS = 20;
/** An answer of Docker's with thousands of containers is some megabytes. */
export const DOCKER_BYTES_MAX = 64 * 1024 * 1024;
/** Containers on overlay networks that are remembered with their aliases. */
export const CONTAINERS_MAX = 8_192;
/** Names of one container on one network: its own, its short id, its service and aliases. */
export const NAMES_PER_CONTAINER_MAX = 16;

/** Connections to the daemon, which serves 64 to everybody: for Docker's calls, and for what nobody waits for and may not hold those up. */
export const API_CONNECTIONS = 36;
export const QUIET_CONNECTIONS = 4;
