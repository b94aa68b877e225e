/** Every bound of the portable engine, with its reason. */

/** Frames that wait for a peer's handshake: a TCP start or a burst of pings, not a transfer (docs/PROTOCOL.md "Engine"). */
export const WAITING_FRAMES_PER_PEER = 64;
/** A handshake takes one round trip and its first resend comes after a second; older frames have been sent again by their hosts. */
export const WAITING_MS = 1_000;
/** All peers together: 64 frames each for 64 peers, ~ 6 MB of full frames. */
export const WAITING_FRAMES = 4_096;

/**
 * Frames of one MAC that wait for its move to be claimed, and for how long. The claim is read by daemons, which a busy machine keeps waiting longer than
 * engines: a first ARP request that overtakes it is lost, and the machine asks again after a second. Half of that is what a silent host may cost.
 */
export const HELD_FRAMES_PER_MAC = 64;
export const HELD_MS = 500;
/** All MACs together: 16 machines moving at once with full queues, ~ 1.5 MB. */
export const HELD_FRAMES = 1_024;

/** One session.wanted per peer in this time: a handshake's own first answer takes about as long. */
export const WANTED_INTERVAL_MS = 250;
/** One report per MAC in this time, whatever its traffic. */
export const REPORT_INTERVAL_MS = 1_000;
/** MACs without an entry that are remembered for that interval, per segment. More at once are a scan: they are not reported. */
export const REPORTED_MACS = 1_024;

/** MAC entries of one segment, local and remote: 10,000 hosts with 10 each, and room. A full table refuses. */
export const TABLE_MACS = 131_072;
/** Neighbour entries of one segment: one address of each family for half of the MACs. */
export const TABLE_NEIGHBOURS = 131_072;
/** Networks one host is attached to; a TAP and a bridge each. */
export const SEGMENTS = 1_024;
/** Peers with an address, a session or a table entry. */
export const PEERS = 16_384;
/** Confirmed keys that a peer may seal with: the current one and the one before it, whose datagrams are still under way. */
export const SESSIONS_CONFIRMED = 2;
/** Keys installed but not yet confirmed: the two ends may start at the same moment. */
export const SESSIONS_NEXT = 2;
/** Sealing keys remembered so that none enters twice: at one rekey per 120 s with 128 peers, 17 hours of keys that live 180 s. */
export const KEYS_REMEMBERED = 65_536;

/** Local seen MACs age out after this silence, and are looked over this often. */
export const MAC_AGE_MS = 600_000;
export const MAC_SWEEP_MS = 10_000;

export const BUM_PER_PORT = 1_000;
export const BUM_PER_SEGMENT = 5_000;
export const LOCAL_MACS = 1_024;

/** Announcements of one neighbour, how far apart, and how many leave at once: a new daemon has its whole cluster to announce. */
export const ANNOUNCEMENTS = 3;
export const ANNOUNCE_INTERVAL_MS = 1_000;
export const ANNOUNCE_BATCH = 256;
export const ANNOUNCE_BATCH_MS = 10;

export const LOOP_PROBE_MS = 2_000;
/** The first one waits for the host to bring the TAP up. */
export const LOOP_FIRST_MS = 250;

/** NAT mappings for UDP live 30 s or more (RFC 4787 REQ-5 asks for 2 min, many give 30 s). */
export const KEEPALIVE_MS = 25_000;
/** An answer to data that the hosts above did not answer, so that the sender is not misled into a new handshake. */
export const PASSIVE_KEEPALIVE_MS = 4_000;
/** Sent for this long without hearing anything: the session may be gone at the other end. */
export const SILENT_MS = 7_000;
/** What is sent this soon after something was heard is an answer itself: nobody owes it another one. Longer than a round trip and what it starts. */
export const ANSWER_MS = 1_000;

/** Handshakes per second and at once from one source address: a member behind NAT with 20 neighbours that restart together. */
export const HANDSHAKES_PER_SOURCE = 20;
/** Handshakes per second from everywhere before cookies are asked for: at ~ 0.5 ms each, a tenth of a core. */
export const HANDSHAKES_GLOBAL = 200;
/** Source addresses with a budget of their own. */
export const HANDSHAKE_SOURCES = 4_096;

/** Events that wait for `takeEvents`. The daemon takes them each turn; this is a second of a large cluster's gossip. */
export const EVENTS = 8_192;

/** Segments of one super-frame: 64 KiB at the smallest MSS Linux allows (48). */
export const GSO_SEGMENTS = 1_400;
/** UDP payloads end at 65,507 bytes; the frame is what is left beside the two headers and the tag. */
export const FRAME_BYTES_SEALED = 65_507 - 40;

/** Peers nobody refers to any more are forgotten this long after they were let go. */
export const PEER_SWEEP_MS = 60_000;
