/**
 * SWIM's numbers: periods, timeouts and bounds, each with its reason (docs/PROTOCOL.md "Membership").
 * `hosts` counts the members taken for alive, oneself included.
 * Sources: SWIM (Das, Gupta, Motivala 2002), Lifeguard (Dadgar, Phillips, Currey 2018) and memberlist's defaults.
 */

/** Hosts in the table. Each costs about 0.5 KB here and one probe slot; above this one probe a second needs more than an hour to visit all. */
export const MEMBERS_MAX = 4096;

/** Up to here every pair of hosts keeps a session; above, sessions come on demand and a probe may need a handshake first. */
export const MESH_HOSTS = 128;

export const PROBE_PERIOD_MS = 1000;
/** A timer this late means that this host stood still: nothing it waited for counts as missed. */
export const STALL_MS = 1000;

/** Direct answers are awaited 3 times as long as they recently took, within these bounds: below 100 ms a scheduler's pause would look like loss. */
export const DIRECT_MIN_MS = 100;
export const DIRECT_MAX_MS = 500;
export const DIRECT_RTT_FACTOR = 3;
/** Two tries of a handshake that are 1 s apart, and their answers. */
export const SESSION_WAIT_MS = 2500;

/** Members asked to probe in our place. Three helpers make one lost path or one ill helper harmless. */
export const HELPERS = 3;
/** How long a helper tries, and how long its asker waits: longer by two transits. Without a full mesh a handshake comes first. */
export const HELPER_MS = { mesh: 400, demand: 1500 } as const;
export const INDIRECT_MS = { mesh: 700, demand: 2200 } as const;
/** Probes run for others: 8 per asker is more than an honest asker starts within a helper's wait; 256 in all bounds the table. */
export const DUTIES_PER_ASKER = 8;
export const DUTIES_MAX = 256;

/** An answer counts as evidence when it answers something sent at most this long ago. */
export const EVIDENCE_MS = 5000;
/** Pings awaiting an answer: 5 s of the fastest pace that looks, probes and duties together can reach. */
export const PENDING_MAX = 4096;

/** A suspect is looked at again this often by whoever accused it or has a session with it; the first look is spread, so that looks do not arrive at once. */
export const LOOK_PERIOD_MS = 2000;
/** Less often when there are many: half of a large cluster is out of reach together, and comes back together. */
export const LOOK_MS_PER_SUSPECT = 20;
export const LOOK_SPREAD_MS = 500;
/** A host that only heard of a suspicion looks for itself this long before its verdict: a handshake, a ping and the helpers' answers fit. */
export const LAST_LOOK_MS = 5500;
/** One ping of an unexpected sender brings one probe in this time. */
export const REPROBE_MS = 500;

/** Dead and unknown members: one is tried every second, for ever, so that healing depends on no seed. */
export const LOST_PERIOD_MS = 1000;
/** Lost members of which there is a sign of life are tried at this pace: in a mesh a session comes up anyway, else each costs a handshake. */
export const EAGER_MS = { mesh: 15, demand: 300 } as const;

/** This many different members must vouch for a lost one, within this time, before it counts as alive without an answer of its own. */
export const VOUCHERS = 3;
export const VOUCH_WINDOW_MS = 15_000;
/** An accusation is passed on for this long. A suspicion this old has reached everybody it can reach: from then on members may vouch for the suspect. */
export const HEARSAY_MS = 5000;
/** Lost members, and suspects with few accusers, are asked about at one live member in this time; with none nothing is asked. */
export const VOUCH_PERIOD_MS = 2000;
/** Ids in one message (1,056 of 1,100 bytes), and messages at once to a member that has just returned: one side of an even split of 2,000 hosts. */
export const VOUCH_PAGE = 66;
export const VOUCH_PAGES = 16;
/** Such a burst at most this often: many members return within the same moment. */
export const VOUCH_BURST_MS = 500;
/** An answer to such a question comes within this time. */
export const ANSWER_MS = 1000;
/** How long a verdict's accusations are kept for those who still wait for them: the longest suspicion of a few hundred hosts. */
export const ENDED_MS = 60_000;

/** Confirmations by different accusers after which a suspicion runs its shortest time. */
const CONFIRMATIONS = 3;
const SUSPICION_FACTOR_MS = 4000;
const SUSPICION_MAX_FACTOR = 6;

/** Refutations of one's own: one a second is faster than any accusation can come back, and bounds a storm. */
export const REFUTE_MS = 1000;
/** A member's own word is sent back to one who is behind at most this often. */
export const WORD_MS = 500;

export const FANOUT = 3;
const RETRANSMIT_FACTOR = 4;
const RETRANSMIT_STEPS_MAX = 3;
/** Rumors waiting to be passed on: a burst of 1,000 changed records or refutations. */
export const RUMORS_MAX = 2048;
/**
 * Datagrams to one member in one tick while more waits than one holds: 12 datagrams a tick carry 500 refutations in about a second. In a large cluster
 * everybody has much to say at a partition, and hears the same from many.
 */
export const RUMOR_DATAGRAMS = { mesh: 4, demand: 2 } as const;
/** What the items of one datagram may take: 1,100 less the message's frame. */
export const RUMOR_BYTES = 1070;
/** Items in one datagram: a suspicion is the shortest but one, and eleven fit. */
export const RUMOR_ITEMS = 16;
/** Rumors remembered so that a repeat is not checked again; within 30 s every copy of one has stopped moving. */
export const SEEN_MAX = 8192;
export const SEEN_MS = 30_000;

/** Shortest suspicion: 4 s up to 10 hosts, 8 s at 100, 12 s at 1,000: rumors need time in proportion to log n to be refuted. */
export function suspicionMinMs(hosts: number): number {
  return SUSPICION_FACTOR_MS * Math.max(1, Math.log10(hosts));
}

/** Longest suspicion, when nobody else confirms it: the accuser itself may be the one cut off. */
export function suspicionMaxMs(hosts: number): number {
  return SUSPICION_MAX_FACTOR * suspicionMinMs(hosts);
}

/** Confirmations that are possible: everybody but oneself and the suspect. */
export function confirmations(hosts: number): number {
  return Math.max(0, Math.min(CONFIRMATIONS, hosts - 2));
}

export function gossipTickMs(hosts: number): number {
  return hosts <= MESH_HOSTS ? 100 : 200;
}

/**
 * How often each host passes a rumor on. In a large cluster what is heard again counts as well, and what then remains unheard depends on how often each is
 * told in all, not on how many they are (Demers et al. 1987, 1.4): with 12, five times, and one in a hundred hears of it otherwise.
 */
export function retransmits(hosts: number): number {
  return RETRANSMIT_FACTOR * Math.min(RETRANSMIT_STEPS_MAX, Math.ceil(Math.log10(hosts + 1)));
}
