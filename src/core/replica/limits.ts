/** Every bound and interval of the replica, with its reason. */

/** Records of all owners and scopes a host holds: about 30 MB, a quarter of what a daemon may use. */
export const RECORDS_MAX = 50_000;
/** Of one owner in one scope: 1,024 learned MACs and 3,000 containers on one network. It must be the same on every host, or their states would never agree. */
export const OWNER_SCOPE_RECORDS_MAX = 4_096;
/** Of one owner over all scopes: one member alone cannot fill the table. */
export const OWNER_RECORDS_MAX = 8_192;
/** Owners of one scope: ten times the largest cluster the protocol is meant for, since hosts stay until they leave or are evicted. */
export const OWNERS_MAX = 10_000;
/** Farewells kept to tell late hosts; the oldest goes first. Each is some 400 bytes. */
export const FAREWELLS_MAX = 1_024;
/** Owners of scopes not held whose newest passing record is remembered, so that each is passed on once. */
export const PASSED_MAX = 4_096;

/** Verified records of one owner that wait for an earlier version: a burst of writes that gossip shuffled. */
export const EARLY_MAX = 16;
/** A version missing for this long is asked for: two gossip ticks, in which shuffled rumors put themselves in order. */
export const GAP_MS = 200;
/** Owners with something missing. Beyond it the state hash finds them. */
export const GAPS_MAX = 1_024;

/** Own tombstones are told apart from "never existed" for a day, in steps of an hour; who was away longer gets the whole set. */
export const TOMBSTONE_STEP_MS = 3_600_000;
export const TOMBSTONE_STEPS = 24;
/** A host that hears foreign records under its own name moves past them at once, then after 1 s, 2 s, ...: two clones must not storm. */
export const MOVE_DELAY_MS = 1_000;
export const MOVE_DELAY_MAX_MS = 60_000;
/** Quiet for this long, the delay starts anew. */
export const MOVE_CALM_MS = 600_000;

/** Digests go to one peer at most this often per scope, and are answered hardly more often. */
export const DIGEST_MS = 1_000;
export const DIGEST_ANSWER_MS = 500;
/** Records of a network are passed on to so many of its hosts at a time, and by each host as often as this times the decimal order of their number (SWIM's own figures). */
export const MURMUR_PEERS = 3;
export const MURMUR_MS = 100;
export const MURMUR_FACTOR = 4;
/** So many records of one owner that a pull brought are passed on as well: a station that moved, a few that came or went. */
export const NEWS_MAX = 4;
/** Comparisons of one scope that this host begins: the answer to one has an entry for each owner that differs, which at a join are all. */
export const COMPARE_MS_PER_OWNER = 1;
/** While owners are on their way from somebody who answers, the next comparison waits this long at most. */
export const COMPARE_MS_MAX = 2_000;
/** A hash that differs is mostly a rumor on its way: two gossip ticks, or four in a full mesh. A second one after that brings a digest. */
export const MISMATCH_MS = 400;
/** In a network, one difference that is still there after this brings a digest as well. */
export const DOUBT_MS = 1_000;
/** A network of which nobody has spoken for this long is compared with one of its hosts: in a large cluster few of those that are pinged share it. */
export const QUIET_MS = 4_000;
/** Two differences further apart than this have nothing to do with each other. */
export const MISMATCH_MS_MAX = 10_000;
/** Everything is compared with a random peer this often, whatever the hashes say. */
export const FULL_MS = 600_000;
/** A scope just taken up is compared with this many holders at once, again each second until one has answered. */
export const FRESH_PEERS = 3;
export const FRESH_MS = 1_000;
/** After so many times without a holder in reach, pings are left to find one. */
export const FRESH_TRIES = 8;
/** `owners` messages that answer one digest: with 32 owners each, a cluster of 1,000 in one go. */
export const OWNERS_BATCHES = 32;

/** Batches one pull may bring, shared evenly among its wants; one pull per peer is under way. 32 KiB fit any socket buffer. */
export const BATCHES_IN_FLIGHT = 32;
/** A pull without answer is repeated after 250 ms, doubling, and given up after five. */
export const PULL_MS = 250;
export const PULL_TRIES = 5;
/** An owner that another peer is giving us without progress for this long may be asked of the next. */
export const PULL_STALL_MS = 1_000;
/** Owners waiting to be pulled from one peer: what one digest can turn up, and half as much again. */
export const PULL_QUEUE_MAX = 1_536;
/** Records verified but not yet whole sets, over all pulls under way. */
export const STAGED_MAX = 12_288;
/** Pulls of one peer answered per second: 3 MB/s at most, which brings the largest scope over in a few seconds. */
export const PULLS_SERVED_PER_S = 100;
/** An owner's set that a peer could not give whole is not asked of that peer for a while; nor is anything of one whose records fail. */
export const REFUSED_MS = 10_000;
export const REFUSED_MAX = 1_024;
export const PAUSE_MS = 30_000;
