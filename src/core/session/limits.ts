/** Bounds and times of the session machine, each with its reason. Milliseconds are monotonic. */

/** Members a host keeps a session record of: as many as membership knows, at about 1 KiB each. Over it strangers with a certificate are refused. */
export const PEERS_MAX = 4_096;
/** Up to this many hosts, every pair keeps a session: 127 rekeys in 120 s cost about 0.1 % of a core. Above it, sessions are made on demand. */
export const MESH_HOSTS_MAX = 128;
/** The lower host id dials a new member at once, the higher only after this, so that pairs seldom dial each other at the same time. */
export const MESH_WAIT_MS = 2_000;
/** Spreads the dials of a host that learns of all members in one moment. */
export const MESH_JITTER_MS = 500;

/** Addresses tried in parallel: two families, a private and a public one each, and what peers observed. */
export const CANDIDATES_MAX = 8;
/** Addresses a peer was proven at lately: the one in use, and the one before it in case a move was a detour. */
export const PROVEN_MAX = 2;
/** Unanswered attempts that may still be answered: a round trip longer than the first retry must be able to finish. */
export const ATTEMPTS_MAX = 2;
/** Gap to the next attempt: 1 s, 2 s, 4 s, 8 s, then 16 s, each plus up to RETRY_JITTER_MS. */
export const RETRY_MS = 1_000;
export const RETRY_MS_MAX = 16_000;
export const RETRY_JITTER_MS = 250;
/** A dial ends after this long without an answer (WireGuard's REKEY_ATTEMPT_TIME). Members believed alive are dialled again. */
export const DIAL_MS = 90_000;
/** A caller that knows of a reason (a probe of the dead) may cut a gap short down to this. */
export const CONNECT_GAP_MS = 1_000;
/** Waiting frames and controls are a weaker reason: they come in floods (WireGuard's REKEY_TIMEOUT). */
export const WANTED_GAP_MS = 5_000;
/** Two hosts that dialled each other: the lower id insists on its own handshake for this long, the time of its first attempt. */
export const INSIST_MS = 1_000;
/** Unanswered for this long: no path. Longer than membership takes to bury a crashed host, so that death is not reported as a broken path. */
export const PATH_NONE_MS = 15_000;

/** The responder rekeys later than the initiator (REKEY_MS), as a fallback when that one does not. */
export const REKEY_RESPONDER_MS = 140_000;
/** Spreads the rekeys of sessions that were made at the same moment. */
export const REKEY_JITTER_MS = 5_000;
/** After a new pre-shared key all sessions are made anew within this time, not before others can have heard of the key. */
export const PSK_REKEY_AFTER_MS = 10_000;
export const PSK_REKEY_SPREAD_MS = 30_000;
/** Keys that were proven by a datagram: the one that seals, and the one before it for datagrams under way. The engine keeps as many. */
export const CONFIRMED_MAX = 2;
/** Keys offered by a peer's handshakes that no datagram has proven yet. */
export const UNCONFIRMED_MAX = 2;

/** Controls that wait for a session: what one machine says to one peer in a burst. The newest are kept, they are the least stale. */
export const WAITING_MAX = 32;
/** Longer than a handshake with one retry; whoever sent the control repeats it on longer terms. */
export const WAITING_MS = 2_000;

/** A cookie is good for as long as the secret it was made from (WireGuard whitepaper 5.4.7). */
export const COOKIE_MS = 120_000;
/** One cookie per address that was ever short of budget; the oldest goes. */
export const COOKIES_MAX = 1_024;

/** Addresses of our own that peers report: as many as a host record holds. */
export const OBSERVED_MAX = 8;
/** Peers whose report is remembered, one address each, so that one liar fills one place. */
export const WITNESSES_MAX = 64;

/** Both sides send at this pace for this long: a NAT opens with the first datagram outward, and hosts hear of the start some 100 ms apart. */
export const PUNCH_EVERY_MS = 250;
export const PUNCH_MS = 5_000;
/** A punch sends the same message until it is this old, then a fresh one. */
export const PUNCH_MESSAGE_MS = 1_000;
/** Punches under way: each is 4 datagrams a second to 8 addresses that another member named. */
export const PUNCHES_MAX = 16;
/** Members asked to arrange a punch, of those with a session; one of two should reach the peer. */
export const PUNCH_HELPERS = 2;
/** A member's wish for help is granted once in this time. */
export const PUNCH_ASK_MS = 1_000;

/** Forgotten peers (left, evicted) are cleared away this often. */
export const SWEEP_MS = 120_000;
/** An event that repeats with every handshake is told once in this time per peer. */
export const EVENT_EVERY_MS = 60_000;
