//! Counters as the daemon sees them (`EngineStats` in src/engine/engine.ts).

use crate::cipher::Cipher;
use crate::drops::DropReason;
use crate::ids::{Endpoint, PeerId, Vni};

/// What passed, in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub frames_out: u64,
    pub frames_in: u64,
    pub bytes_out: u64,
    pub bytes_in: u64,
}

#[derive(Clone, Debug)]
pub struct PeerStats {
    pub peer: PeerId,
    pub endpoint: Option<Endpoint>,
    pub cipher: Option<Cipher>,
    /// Milliseconds since the key in use was installed, and since the last datagram that opened.
    pub session_age_ms: Option<u64>,
    pub silent_ms: Option<u64>,
    pub traffic: Traffic,
    pub drops: Vec<(DropReason, u64)>,
}

#[derive(Clone, Debug)]
pub struct SegmentStats {
    pub vni: Vni,
    pub traffic: Traffic,
    pub local_macs: usize,
    pub remote_macs: usize,
    pub blocked: bool,
}

#[derive(Clone, Debug)]
pub struct Stats {
    /// Only reasons that occurred.
    pub drops: Vec<(DropReason, u64)>,
    /// Datagrams longer than the path: sent fragmented.
    pub fragmented: u64,
    pub peers: Vec<PeerStats>,
    pub segments: Vec<SegmentStats>,
}
