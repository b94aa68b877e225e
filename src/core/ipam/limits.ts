/** Every bound and interval of address management, with its reason. */

/** Addresses of a pool that are given out: offsets stay numbers, and a cluster has no more containers. Of an IPv6 subnet the first so many. */
export const POOL_ADDRESSES_MAX = 2 ** 24;
/** Pools a host keeps something of: its networks, and what is left of those it had (docs/PROTOCOL.md "Addresses"). */
export const POOLS_MAX = 1_024;
/** Leases of one host over all pools: as many as MACs can be pinned. */
export const LEASES_MAX = 4_096;
/** What a lease is for: an endpoint's id of 64 digits and a word before it. */
export const LEASE_FOR_CHARS_MAX = 128;
/** Ranges one host holds of a pool, and those on their way out: both fit the host's record with its fences. */
export const RANGES_MAX = 40;
export const GRANTS_MAX = 12;
/** Fences shown in a record; all are kept. */
export const FENCES_SHOWN_MAX = 8;
/** Hosts one pool remembers to have taken something from, or fenced: more than ever meet in a cluster. */
export const PEERS_MAX = 4_096;
/** Requests that wait for another host's answer: every container of a host started at once, and then some. */
export const WAITING_MAX = 1_024;

/** A first block is this part of the pool, within bounds: 64 hosts find room, and a small pool is not cut into crumbs. */
export const BLOCK_SHIFT = 6;
export const BLOCK_MIN = 8;
export const BLOCK_MAX = 1_024;
/** A block fetched ahead is as large as what is held, up to this part of the pool. */
export const AHEAD_SHIFT = 3;
/** More is asked for when so much of what is held is leased. */
export const LOW_SHARE = 0.75;
/** A host with fewer free addresses gives away only to one that somebody waits at. */
export const SPARE_MIN = 16;

/** How long a caller waits for another host: Docker must be answered within 2 s. */
export const WAIT_MS = 1_500;
/** After a start new leases wait for word of another host, or this long: what is held may have been taken over meanwhile. Less than WAIT_MS: callers are answered. */
export const WORD_MS = 1_200;
/** An unanswered question is repeated, and then goes to the next host. */
export const ASK_MS = 250;
export const ASK_TRIES = 2;
/** A host that had nothing to give is not asked again for this long: by then something may have been released. */
export const NONE_MS = 5_000;
/** A gift that nobody confirms is repeated after this, doubling. */
export const GIVE_MS = 250;
export const GIVE_MS_MAX = 10_000;
/** A confirmed gift whose taker's record does not come is forgotten: the taker has passed it on and left the network since. */
export const TOOK_MS = 30_000;

/** What is returned is offered again after this. */
export const OFFER_MS = 1_000;

/** Stocktaking: questions are repeated, and it is given up when somebody whose word is needed has not answered. */
export const STOCK_ASK_MS = 250;
export const STOCK_MS = 3_000;
/** A founder asks living hosts that know nothing of the network too, but waits for them no longer than a caller does. */
export const STOCK_STRANGERS_MS = 1_200;
/** Addresses that nobody holds are looked for by a founder and by others after this: records of a gift come within it, in either order. */
export const HOLE_FOUNDER_MS = 3_000;
export const HOLE_MS = 10_000;
/** A stocktaking that failed is repeated after this. */
export const STOCK_AGAIN_MS = 10_000;
/** Who has promised to take nothing asks this often whether the stocktaking still lasts. */
export const LOCK_MS = 1_000;
/** What another host's record says besides is looked at this often while there is something to look at. */
export const LOOK_MS = 1_000;
/** Two holders of one address: the higher id gives it up after this, if it is free there, the lower one after twice as long. */
export const OVERLAP_MS = 10_000;
/** A fence reaches this far beyond the epoch known: its host may have begun others that nobody here heard of. */
export const FENCE_AHEAD = 1_000;
