//! Constants of the protocol (docs/PROTOCOL.md): what src/wire/protocol.ts says. A test compares the two.

/// First byte of a datagram.
pub const TYPE_INIT: u8 = 1;
pub const TYPE_RESPONSE: u8 = 2;
pub const TYPE_COOKIE: u8 = 3;
pub const TYPE_SEALED: u8 = 4;
pub const TYPE_JOIN: u8 = 5;

/// type u8 | flags u8 (0) | reserved u16 (0) | receiver u32 | queue u8, counter u56.
pub const OUTER_BYTES: usize = 16;
/// kind u8 | vni u24 | `csum_start` u16 | `csum_offset` u16.
pub const INNER_BYTES: usize = 8;
pub const TAG_BYTES: usize = 16;
pub const NONCE_BYTES: usize = 12;
pub const KEY_BYTES: usize = 32;
/// Where the frame or control begins in a datagram.
pub const BODY_AT: usize = OUTER_BYTES + INNER_BYTES;
/// What a datagram is longer by than its frame.
pub const OVERHEAD_BYTES: usize = BODY_AT + TAG_BYTES;

/// First byte of what a sealed datagram holds.
pub const KIND_FRAME: u8 = 1;
pub const KIND_CONTROL: u8 = 2;
pub const KIND_KEEPALIVE: u8 = 3;

/// Queue 0 carries controls and keepalives, 1..16 frames.
pub const QUEUE_CONTROL: u8 = 0;
pub const QUEUES_MAX: u8 = 16;

pub const CONTROL_BYTES_MAX: usize = 1_100;
/// A handshake or join datagram, MACs included.
pub const HANDSHAKE_BYTES_MAX: usize = 1_200;
pub const MAC1_BYTES: usize = 16;
pub const MAC2_BYTES: usize = 16;
pub const COOKIE_BYTES: usize = 16;

/// A key seals this many packets before a new one is asked for, and at most this many.
pub const REKEY_PACKETS: u64 = 1 << 26;
pub const REJECT_PACKETS: u64 = 1 << 28;
pub const REJECT_MS: u64 = 180_000;
pub const REPLAY_WINDOW: u64 = 8_192;

pub const ETHERNET_BYTES: usize = 14;
pub const FRAME_BYTES_MAX: usize = 65_535;

pub const LOOP_ETHERTYPE: u16 = 0x88b5;
pub const LOOP_MAC: u64 = 0x036f_766c_6179;
