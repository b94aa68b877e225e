/**
 * Constants of the protocol (docs/PROTOCOL.md). What is written here is what travels; limits of this implementation stand beside the code
 * that they bound.
 */

/** Bound into every handshake's prologue together with HANDSHAKE_FORMAT. */
export const MAGIC = "overlayd";
export const HANDSHAKE_FORMAT = 1;
/** Versions of what is said inside a session; a handshake agrees on the highest both know. */
export const VERSION_MIN = 1;
export const VERSION_MAX = 1;

export const PORT_DEFAULT = 4794;

/** First byte of a datagram. 8 (VXLAN's flags byte) and 0 are never used. */
export const TYPE = { init: 1, response: 2, cookie: 3, sealed: 4, join: 5 } as const;

/** type u8 | flags u8 (0) | reserved u16 (0) | receiver u32 | queue u8, counter u56. Big-endian, counters from 0. */
export const OUTER_BYTES = 16;
/** kind u8 | vni u24 | csum_start u16 | csum_offset u16. */
export const INNER_BYTES = 8;
export const TAG_BYTES = 16;
export const NONCE_BYTES = 12;
export const KEY_BYTES = 32;

/** First byte of what a sealed datagram holds. */
export const KIND = { frame: 1, control: 2, keepalive: 3 } as const;

/** Queue 0 carries controls and keepalives, 1..16 frames. */
export const QUEUE_CONTROL = 0;
export const QUEUES_MAX = 16;

export const CONTROL_BYTES_MAX = 1100;
export const RECORD_BYTES_MAX = 900;
/** A handshake or join datagram, MACs included. */
export const HANDSHAKE_BYTES_MAX = 1200;
export const MAC1_BYTES = 16;
export const MAC2_BYTES = 16;
export const COOKIE_BYTES = 16;

/** A key seals this many packets before a new one is asked for, and at most this many (RFC 9001 6.6 gives 2^23 records of 2^14; ours are 2^11). */
export const REKEY_PACKETS = 2 ** 26;
export const REJECT_PACKETS = 2 ** 28;
export const REKEY_MS = 120_000;
export const REJECT_MS = 180_000;
export const REPLAY_WINDOW = 8192;

/** Frames: 14 bytes of Ethernet header, one 802.1Q tag, and up to 64 KiB of payload inside an engine; on the wire an MTU decides. */
export const ETHERNET_BYTES = 14;
export const FRAME_BYTES_MAX = 65_535;
/** Of a network: with 82 bytes of overhead over IPv4, 102 over IPv6, and a VLAN tag it fits an underlay of 1,500 (docs/PROTOCOL.md "Datagrams"). */
export const MTU_DEFAULT = 1390;

/** Loop probes: an EtherType for local experiments (IEEE 802, 0x88B5) and a multicast address of ours. */
export const LOOP_ETHERTYPE = 0x88b5;
export const LOOP_MAC = "03:6f:76:6c:61:79";
