//! What the daemon tells the engine (`EngineCommand` in src/engine/engine.ts).

use std::fmt;

use crate::cipher::Cipher;
use crate::ids::{Endpoint, Ip, Mac, PeerId, Vni};

/// How a MAC came to its owner. Pinned ones never move by traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacKind {
    Pinned,
    Seen,
}

/// Behind a tunnel, or on the local bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    Local,
    Peer(PeerId),
}

/// Ordered and idempotent; a command about an id the engine does not hold is a no-op.
#[derive(Clone, Debug)]
pub enum Command {
    AdmissionSet(AdmissionKeys),
    PeerEndpoints { peer: PeerId, endpoints: Vec<Endpoint> },
    SessionInstall(Box<SessionKeys>),
    SessionRetire { peer: PeerId, local: u32 },
    SegmentOpen(SegmentConfig),
    SegmentClose { vni: Vni },
    SegmentBlock { vni: Vni, blocked: bool },
    FloodSet { vni: Vni, peers: Vec<PeerId> },
    MacPin { vni: Vni, mac: Mac, at: Location, kind: MacKind },
    MacUnpin { vni: Vni, mac: Mac },
    NeighbourSet { vni: Vni, ip: Ip, mac: Mac },
    NeighbourUnset { vni: Vni, ip: Ip },
    LimitsSet(EngineLimits),
}

#[derive(Clone)]
pub struct AdmissionKeys {
    /// Opens members' handshakes; None closes that door.
    pub mac1: Option<[u8; 32]>,
    /// Opens those of joiners.
    pub mac1_join: Option<[u8; 32]>,
    pub cookie_secret: [u8; 32],
    pub loop_key: [u8; 32],
    pub own: PeerId,
}

/// Wiped when they are dropped; the session has its own copies, and those are wiped with it.
#[derive(Clone)]
pub struct SessionKeys {
    pub peer: PeerId,
    /// The index in datagrams to us, and in datagrams to the peer.
    pub local: u32,
    pub remote: u32,
    pub cipher: Cipher,
    pub seal_key: [u8; 32],
    pub seal_iv: [u8; 12],
    pub open_key: [u8; 32],
    pub open_iv: [u8; 12],
    /// True at the initiator, which confirms with a keepalive at once.
    pub confirmed: bool,
    /// Frame queues the peer may send on: 1..16.
    pub peer_queues: u8,
    /// The peer takes frames whose transport checksum is partial.
    pub partial_checksum: bool,
    /// Where the handshake was answered from.
    pub endpoint: Endpoint,
}

impl Drop for SessionKeys {
    fn drop(&mut self) {
        self.seal_key.fill(0);
        self.open_key.fill(0);
        self.seal_iv.fill(0);
        self.open_iv.fill(0);
        // Or the compiler may see that nobody reads them any more.
        std::hint::black_box(&self);
    }
}

/// Without the keys.
impl fmt::Debug for SessionKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, local, remote, cipher, .. } = self;
        write!(out, "keys of session {local} to {remote} of {peer}, {}", cipher.text())
    }
}

/// Without the keys.
impl fmt::Debug for AdmissionKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "admission keys of {}", self.own)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentConfig {
    pub vni: Vni,
    pub tap: String,
    pub tap_mac: Mac,
    pub tap_mtu: u32,
    /// The network's MTU: TCP SYNs are clamped to it in both directions.
    pub mtu: u32,
    pub pinned_only: bool,
    pub loop_probe: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    /// Broadcast, unknown unicast and multicast per second from one source MAC, and from the whole segment.
    pub bum_per_port: u64,
    pub bum_per_segment: u64,
    /// MACs learned from one local bridge.
    pub local_macs: usize,
}
