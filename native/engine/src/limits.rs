//! Every bound of the engine; src/engine/portable/limits.ts has the reasons, and the numbers are equal where they show.

pub const WAITING_FRAMES_PER_PEER: usize = 64;
pub const WAITING_MS: u64 = 1_000;
pub const WAITING_FRAMES: usize = 4_096;

pub const HELD_FRAMES_PER_MAC: usize = 64;
pub const HELD_MS: u64 = 500;
pub const HELD_FRAMES: usize = 1_024;

pub const WANTED_INTERVAL_MS: u64 = 250;
pub const REPORT_INTERVAL_MS: u64 = 1_000;
pub const REPORTED_MACS: usize = 1_024;

pub const TABLE_MACS: usize = 131_072;
pub const TABLE_NEIGHBOURS: usize = 131_072;
pub const SEGMENTS: usize = 1_024;
/// Fits the 14 bits of an owner in a table's slot.
pub const PEERS: usize = 16_384;
pub const SESSIONS_CONFIRMED: usize = 2;
pub const SESSIONS_NEXT: usize = 2;
pub const KEYS_REMEMBERED: usize = 65_536;

pub const MAC_AGE_MS: u64 = 600_000;
pub const MAC_SWEEP_MS: u64 = 10_000;

pub const BUM_PER_PORT: u64 = 1_000;
pub const BUM_PER_SEGMENT: u64 = 5_000;
pub const LOCAL_MACS: usize = 1_024;

pub const ANNOUNCEMENTS: u32 = 3;
pub const ANNOUNCE_INTERVAL_MS: u64 = 1_000;
pub const ANNOUNCE_BATCH: usize = 256;
pub const ANNOUNCE_BATCH_MS: u64 = 10;

pub const LOOP_PROBE_MS: u64 = 2_000;
pub const LOOP_FIRST_MS: u64 = 250;

pub const KEEPALIVE_MS: u64 = 25_000;
pub const PASSIVE_KEEPALIVE_MS: u64 = 4_000;
pub const SILENT_MS: u64 = 7_000;
pub const ANSWER_MS: u64 = 1_000;

pub const HANDSHAKES_PER_SOURCE: u64 = 20;
pub const HANDSHAKES_GLOBAL: u64 = 200;
pub const HANDSHAKE_SOURCES: usize = 4_096;

pub const EVENTS: usize = 8_192;

pub const GSO_SEGMENTS: usize = 1_400;
/// UDP payloads end at 65,507 bytes; the frame is what is left beside the two headers and the tag.
pub const FRAME_BYTES_SEALED: usize = 65_507 - 40;

pub const PEER_SWEEP_MS: u64 = 60_000;
