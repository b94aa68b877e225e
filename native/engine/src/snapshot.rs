//! What the data threads look things up in: never changed, only replaced. A change copies the part it is in and shares
//! the rest.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use crate::command::AdmissionKeys;
use crate::ids::{Endpoint, Vni};
use crate::peer::Counters;
use crate::session::Session;
use crate::table::Slots;

/// For numbers that no stranger chooses.
#[derive(Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = (self.0.rotate_left(32) ^ u64::from(value)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub type NumberMap<T> = HashMap<u32, T, BuildHasherDefault<NumberHasher>>;

const CHUNK: usize = 64;
const SHARDS: usize = 64;

/// The newest key that may seal for a peer, and where its datagrams go.
#[derive(Clone, Debug)]
pub struct PeerView {
    pub session: Option<Arc<Session>>,
    pub endpoint: Option<Endpoint>,
}

/// One network as data threads see it.
#[derive(Clone, Debug)]
pub struct SegmentView {
    pub vni: Vni,
    pub mtu: u32,
    /// The longest frame that is no super-frame.
    pub frame_bytes_max: usize,
    pub is_blocked: bool,
    pub slots: Arc<Slots>,
    pub members: Members,
    pub traffic: Arc<Counters>,
}

/// The peers of a flood list, one bit each.
#[derive(Clone, Debug, Default)]
pub struct Members(Box<[u64]>);

impl Members {
    pub fn new(slots: &[u16]) -> Self {
        let words = slots.iter().max().map_or(0, |&slot| usize::from(slot) / 64 + 1);
        let mut bits = vec![0; words];
        for &slot in slots {
            bits[usize::from(slot) / 64] |= 1 << (slot % 64);
        }
        Self(bits.into())
    }

    pub fn has(&self, slot: u16) -> bool {
        self.0.get(usize::from(slot) / 64).is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }
}

type Chunk = Vec<Option<PeerView>>;

#[derive(Clone, Debug)]
pub struct Snapshot {
    segments: Arc<NumberMap<Arc<SegmentView>>>,
    peers: Arc<Vec<Arc<Chunk>>>,
    /// By the index in datagrams to us.
    sessions: Arc<Vec<Arc<NumberMap<Arc<Session>>>>>,
    pub admission: Option<Arc<AdmissionKeys>>,
}

impl Default for Snapshot {
    fn default() -> Self {
        let shard = Arc::new(NumberMap::default());
        Self {
            segments: Arc::default(),
            peers: Arc::default(),
            sessions: Arc::new(vec![shard; SHARDS]),
            admission: None,
        }
    }
}

impl Snapshot {
    pub fn segment(&self, vni: Vni) -> Option<&SegmentView> {
        self.segments.get(&vni).map(AsRef::as_ref)
    }

    pub fn peer(&self, slot: u16) -> Option<&PeerView> {
        let slot = usize::from(slot);
        self.peers.get(slot / CHUNK)?.get(slot % CHUNK)?.as_ref()
    }

    pub fn session(&self, local: u32) -> Option<&Arc<Session>> {
        self.sessions[local as usize % SHARDS].get(&local)
    }

    pub fn set_segment(&mut self, vni: Vni, view: Option<SegmentView>) {
        let segments = Arc::make_mut(&mut self.segments);
        match view {
            Some(view) => segments.insert(vni, Arc::new(view)),
            None => segments.remove(&vni),
        };
    }

    pub fn set_peer(&mut self, slot: u16, view: Option<PeerView>) {
        let slot = usize::from(slot);
        let chunks = Arc::make_mut(&mut self.peers);
        while chunks.len() <= slot / CHUNK {
            chunks.push(Arc::new(vec![None; CHUNK]));
        }
        Arc::make_mut(&mut chunks[slot / CHUNK])[slot % CHUNK] = view;
    }

    pub fn add_session(&mut self, session: &Arc<Session>) {
        self.shard(session.local).insert(session.local, Arc::clone(session));
    }

    pub fn remove_session(&mut self, local: u32) {
        self.shard(local).remove(&local);
    }

    fn shard(&mut self, local: u32) -> &mut NumberMap<Arc<Session>> {
        let shards = Arc::make_mut(&mut self.sessions);
        Arc::make_mut(&mut shards[local as usize % SHARDS])
    }
}
