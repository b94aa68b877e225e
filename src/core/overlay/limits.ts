/** Every bound and interval of the overlay, with its reason. */

/** Addresses one host offers; each is tried in parallel by a peer that has no session with it. */
export const ENDPOINTS_MAX = 8;
/** RFC 1123 2.1: a label of a host name. */
export const NAME_CHARS_MAX = 63;
/** Options of a network: room for a Docker driver's labels inside one record. */
export const OPTIONS_MAX = 6;
export const OPTION_KEY_CHARS_MAX = 32;
export const OPTION_VALUE_CHARS_MAX = 48;
/** Addresses of one pinned MAC: IPv4, global and link-local IPv6, and as many again for secondary ones. */
export const IPS_MAX = 6;
/** RFC 791: every IPv4 host takes 68 bytes; and what an IPv4 total length can say. */
export const MTU_MIN = 68;
export const MTU_MAX = 65_535;
/** A mobility sequence is a u32 (RFC 7432 7.7). */
export const SEQUENCE_MAX = 0xffff_ffff;
/** A CA-signed revocation: two ids, a date, a signature, and room. */
export const REVOCATION_BYTES_MAX = 256;
/** What a record's value may be: 900 bytes of record less owner, signature, names and framing. */
export const VALUE_BYTES_MAX = 700;

/** MACs learned from one local bridge, per segment: the engine's own default. */
export const LOCAL_MACS = 1_024;
/** MACs pinned to this host over all segments: a host full of containers, four times over. */
export const PINS_MAX = 4_096;

/** RFC 7432 15.1: five moves within 180 s are a duplicate address; it is tried again after 1,800 s. */
export const MOVES_MAX = 5;
export const MOVES_WINDOW_MS = 180_000;
export const FREEZE_MS = 1_800_000;
/** MACs whose moves are being counted. When it is full a MAC without a count may not move: a scan of stolen addresses must not outrun the count. */
export const MOVING_MACS_MAX = 4_096;

/**
 * A claim leaves at once and again after each of these waits but the last, until acknowledged: at 10 % loss one in 10,000 is not there after 200 ms. The
 * later ones are for hosts with whom a session is made first, which takes a second more when its first datagram is lost. Then gossip has it.
 */
export const CLAIM_WAITS_MS: readonly number[] = [50, 50, 50, 500, 1_000, 500];
/** An engine holds a moving MAC's frames for 500 ms, this daemon's own delay included; the move is given to it before, acknowledged or not. */
export const CLAIM_SETTLE_MS = 400;
/** Messages of claims under way: a machine room moving at once. What comes on top travels by gossip alone. */
export const CLAIMS_PENDING_MAX = 256;
/** Messages with claims of addresses nobody held, per second over all receivers: a bridge with 1,000 stations that is attached in front of 100 hosts must not storm. Moves are not counted. */
export const FRESH_CLAIMS_PER_S = 2_000;
/** After a first claim of an address that nobody held, those that follow are gathered for so long: stations begin to speak together. */
export const CLAIM_GATHER_MS = 20;

/** The guard asks for a record once per MAC and second. */
export const ASK_INTERVAL_MS = 1_000;
/** A source MAC without record: gossip gets this long, and every host adds up to as much again so that they do not all ask at once. */
export const ASK_PATIENCE_MS = 400;
export const ASK_STEP_MS = 25;
/** MACs asked for, or about to be, at once. */
export const ASKS_MAX = 1_024;

/** Claims and questions taken from one peer in a second: each costs a signature check or a signed answer (~ 0.2 ms). */
export const MESSAGES_PER_PEER_S = 512;

/** Verified claims that are ahead of the replica wait this long for it to catch up; anti-entropy needs 2 to 3 s at 30 % loss. */
export const AHEAD_MS = 10_000;
/** A claim pinned and taken back between two pulls leaves the replica as it was, which is no event: what is ahead is looked at this often. */
export const AHEAD_LOOK_MS = 500;
export const AHEAD_MAX = 1_024;

/** The operator hears of one MAC's spoofing once in this time, and of so many MACs at once. */
export const SPOOF_INTERVAL_MS = 60_000;
export const SPOOFS_MAX = 1_024;

/** Attachments closer in age than this were made together: the host ids decide which of them steps back. */
export const LOOP_AGE_MS = 2_000;
/** Probes come every 2 s; fifteen lost ones in a row are a LAN without a loop. */
export const LOOP_CLEAR_MS = 30_000;
/** From the first probe of the younger attachment, which steps back when it has seen one of ours: at most a probe's interval later, and a second for the way. */
export const LOOP_RELEARN_MS = 3_000;
/**
 * A probe's way makes each host see itself older by that much than the other does. At the edge of the tie both could then wait for the other;
 * the higher host id steps back a little beyond the edge, further than a probe takes through a LAN.
 */
export const LOOP_SLACK_MS = 20;

/** Networks that are told apart in one view: what 50,000 records can hold, and what an operator can still name. */
export const NETWORKS_MAX = 4_096;
