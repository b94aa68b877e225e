//! What one thread at a time works on (work.rs): peers and segments in full. The data threads come here for what is not
//! common.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::admission::Budgets;
use crate::command::{AdmissionKeys, EngineLimits};
use crate::events::{Event, Why};
use crate::frame::OwnedFrame;
use crate::hold::Room;
use crate::ids::{Endpoint, PeerId, Vni};
use crate::limits::{BUM_PER_PORT, BUM_PER_SEGMENT, HELD_FRAMES, LOCAL_MACS, PEERS, WAITING_FRAMES};
use crate::peer::Peer;
use crate::segment::Segment;
use crate::session::Session;
use crate::snapshot::{PeerView, Snapshot};
use crate::stats::{PeerStats, SegmentStats};

/// A frame for a peer without session.
#[derive(Debug)]
pub struct Waiting {
    pub vni: Vni,
    pub frame: OwnedFrame,
    pub until: u64,
}

/// A peer's addresses, keys and queue.
#[derive(Debug)]
pub struct PeerState {
    pub peer: Arc<Peer>,
    /// Where datagrams go.
    pub endpoint: Option<Endpoint>,
    /// In order of installation.
    pub sessions: Vec<Arc<Session>>,
    pub waiting: Vec<Waiting>,
    serial: u64,
}

impl PeerState {
    /// The newest confirmed key that is within its limits.
    pub fn sealing(&self, now: u64) -> Option<&Arc<Session>> {
        self.sessions.iter().rev().find(|session| session.can_seal(now))
    }

    /// Nothing is left that the engine was told or could need.
    fn is_idle(&self) -> bool {
        self.endpoint.is_none() && self.sessions.is_empty() && self.waiting.is_empty()
    }

    fn view(&self) -> PeerView {
        let session = self.sessions.iter().rev().find(|session| session.is_confirmed()).cloned();
        PeerView { session, endpoint: self.endpoint }
    }

    fn stats(&self, now: u64) -> PeerStats {
        let session = self.sealing(now);
        PeerStats {
            peer: self.peer.id,
            endpoint: self.endpoint,
            cipher: session.map(|session| session.cipher),
            session_age_ms: session.map(|session| now.saturating_sub(session.installed_at)),
            silent_ms: self.peer.heard.get().map(|at| now.saturating_sub(at)),
            traffic: self.peer.traffic.sum(),
            drops: self.peer.drops.view(),
        }
    }
}

#[derive(Debug)]
pub struct Rare {
    /// As it will be shown to the data threads.
    snapshot: Snapshot,
    is_changed: bool,
    /// By slot.
    peers: Vec<Option<PeerState>>,
    free: Vec<u16>,
    slots: HashMap<PeerId, u16>,
    /// In order of arrival.
    order: BTreeMap<u64, u16>,
    serial: u64,
    /// By the index in datagrams to us.
    pub sessions: HashMap<u32, Arc<Session>>,
    pub segments: HashMap<Vni, Segment>,
    /// In order of opening.
    pub opened: Vec<Vni>,
    pub limits: EngineLimits,
    pub budgets: Budgets,
    pub waiting_room: Room,
    pub held_room: Room,
    pub peers_sweep_at: Option<u64>,
    shares: usize,
}

impl Rare {
    pub fn new(shares: usize) -> Self {
        Self {
            snapshot: Snapshot::default(),
            is_changed: false,
            peers: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            order: BTreeMap::new(),
            serial: 0,
            sessions: HashMap::new(),
            segments: HashMap::new(),
            opened: Vec::new(),
            limits: EngineLimits {
                bum_per_port: BUM_PER_PORT,
                bum_per_segment: BUM_PER_SEGMENT,
                local_macs: LOCAL_MACS,
            },
            budgets: Budgets::default(),
            waiting_room: Room::new(WAITING_FRAMES),
            held_room: Room::new(HELD_FRAMES),
            peers_sweep_at: None,
            shares,
        }
    }

    /// What the data threads must see, if it is not what they saw last.
    pub fn changed(&mut self) -> Option<Snapshot> {
        std::mem::take(&mut self.is_changed).then(|| self.snapshot.clone())
    }

    /// The peer of a slot that some table or session names: it is there.
    pub fn peer(&self, slot: u16) -> &PeerState {
        self.peers[usize::from(slot)].as_ref().expect("a peer that is referred to")
    }

    pub fn peer_mut(&mut self, slot: u16) -> &mut PeerState {
        self.peers[usize::from(slot)].as_mut().expect("a peer that is referred to")
    }

    /// The slot of a peer, taken when it is new; None when there is no more room.
    pub fn slot(&mut self, id: PeerId) -> Option<u16> {
        if let Some(&slot) = self.slots.get(&id) {
            return Some(slot);
        }
        if self.slots.len() >= PEERS {
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            (self.peers.len() - 1) as u16
        });
        self.serial += 1;
        let peer = Arc::new(Peer::new(id, slot, self.shares));
        let state = PeerState { peer, endpoint: None, sessions: Vec::new(), waiting: Vec::new(), serial: self.serial };
        self.peers[usize::from(slot)] = Some(state);
        self.slots.insert(id, slot);
        self.order.insert(self.serial, slot);
        self.show_peer(slot);
        Some(slot)
    }

    /// All peers' slots, in order of arrival.
    pub fn peer_slots(&self) -> Vec<u16> {
        self.order.values().copied().collect()
    }

    /// After a change of address or keys.
    pub fn show_peer(&mut self, slot: u16) {
        let view = self.peers[usize::from(slot)].as_ref().map(PeerState::view);
        self.snapshot.set_peer(slot, view);
        self.is_changed = true;
    }

    pub fn add_session(&mut self, session: &Arc<Session>) {
        self.sessions.insert(session.local, Arc::clone(session));
        self.snapshot.add_session(session);
        let slot = session.peer.slot;
        self.peer_mut(slot).sessions.push(Arc::clone(session));
        self.show_peer(slot);
    }

    pub fn remove_session(&mut self, session: &Arc<Session>) {
        self.sessions.remove(&session.local);
        self.snapshot.remove_session(session.local);
        let slot = session.peer.slot;
        let sessions = &mut self.peer_mut(slot).sessions;
        sessions.retain(|other| !Arc::ptr_eq(other, session));
        if sessions.is_empty() {
            // Without a session nothing proves the address any more: the next advertised one is taken.
            session.peer.is_proven.store(false, Ordering::Relaxed);
        }
        self.show_peer(slot);
    }

    /// Forgets peers that neither commands nor tables refer to.
    pub fn sweep_peers(&mut self) {
        let mut referred = vec![false; self.peers.len()];
        for segment in self.segments.values() {
            for slot in segment.flood.iter().copied().chain(segment.table.owners()) {
                referred[usize::from(slot)] = true;
            }
        }
        for (slot, state) in self.peers.iter_mut().enumerate() {
            if let Some(idle) = state.take_if(|state| state.is_idle() && !referred[slot]) {
                self.slots.remove(&idle.peer.id);
                self.order.remove(&idle.serial);
                self.free.push(slot as u16);
                self.snapshot.set_peer(slot as u16, None);
                self.is_changed = true;
            }
        }
    }

    pub fn show_segment(&mut self, vni: Vni) {
        let view = self.segments.get(&vni).map(Segment::view);
        self.snapshot.set_segment(vni, view);
        self.is_changed = true;
    }

    /// After a change of a table: shown only if its array is another one.
    pub fn show_table(&mut self, vni: Vni) {
        let Some(segment) = self.segments.get(&vni) else { return };
        let shown = self.snapshot.segment(vni).map(|view| Arc::as_ptr(&view.slots));
        if shown != Some(Arc::as_ptr(segment.table.slots())) {
            self.show_segment(vni);
        }
    }

    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub fn set_admission(&mut self, keys: AdmissionKeys) {
        self.snapshot.admission = Some(Arc::new(keys));
        self.is_changed = true;
    }

    /// Threads that count, each for itself.
    pub fn shares(&self) -> usize {
        self.shares
    }

    pub fn peer_stats(&self, now: u64) -> Vec<PeerStats> {
        self.order.values().map(|&slot| self.peer(slot).stats(now)).collect()
    }

    pub fn segment_stats(&self) -> Vec<SegmentStats> {
        self.opened.iter().map(|vni| self.segments[vni].stats()).collect()
    }

    pub fn report(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for vni in &self.opened {
            self.segments[vni].table.report(*vni, |event| events.push(event));
        }
        let waits = self.order.values().map(|&slot| self.peer(slot)).filter(|state| !state.waiting.is_empty());
        events.extend(waits.map(|state| Event::SessionWanted { peer: state.peer.id, why: Why::Frame }));
        events
    }
}
