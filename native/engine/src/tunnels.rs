//! Peers and their sessions: which key seals, what waits for one, who must be heard from, and where datagrams go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::agenda::Cause;
use crate::checksum;
use crate::command::SessionKeys;
use crate::datagram::{Inner, put_inner};
use crate::drops::DropReason;
use crate::events::{Event, Why};
use crate::frame::{Checksum, Frame};
use crate::ids::{Endpoint, PeerId, Vni};
use crate::lane::By;
use crate::limits::{
    ANSWER_MS, KEEPALIVE_MS, PASSIVE_KEEPALIVE_MS, PEER_SWEEP_MS, SESSIONS_CONFIRMED, SESSIONS_NEXT, SILENT_MS,
    WAITING_FRAMES_PER_PEER, WAITING_MS, WANTED_INTERVAL_MS,
};
use crate::mss;
use crate::peer::Peer;
use crate::plane::Plane;
use crate::rare::Waiting;
use crate::session::Session;
use crate::sink::Sink;
use crate::sync::lock;
use crate::wire::{
    BODY_AT, KIND_CONTROL, KIND_FRAME, KIND_KEEPALIVE, OUTER_BYTES, OVERHEAD_BYTES, QUEUE_CONTROL, REJECT_MS,
};
use crate::work::Work;

/// What one thread needs to seal for one peer.
pub struct Sealer<'a> {
    pub plane: &'a Plane,
    pub by: By,
    pub session: &'a Session,
    pub to: Endpoint,
}

impl Sealer<'_> {
    /// A complete frame or one with a partial checksum; an MSS above that of `mtu` is lowered on the way.
    pub fn frame(&self, vni: Vni, mtu: u32, frame: Frame<'_>, sink: &mut impl Sink) {
        let is_syn = mss::may_be_syn(frame.bytes);
        self.body(vni, frame.bytes.len(), frame.checksum, sink, |body| {
            body.copy_from_slice(frame.bytes);
            if is_syn {
                mss::clamp(body, mtu, frame.checksum);
            }
        });
        self.sent_frames(1, frame.bytes.len(), sink);
    }

    /// `fill` writes the frame into the place where it is sealed.
    pub fn body(&self, vni: Vni, bytes: usize, checksum: Checksum, sink: &mut impl Sink, fill: impl FnOnce(&mut [u8])) {
        let mut inner = Inner { kind: KIND_FRAME, vni, checksum_start: 0, checksum_offset: 0 };
        self.seal(self.by.queue, bytes, sink, |head, body| {
            fill(body);
            if let Checksum::Partial { start, offset } = checksum {
                if self.session.partial_checksum {
                    (inner.checksum_start, inner.checksum_offset) = (start, offset);
                } else {
                    checksum::complete(body, start, offset);
                }
            }
            put_inner(head, &inner);
        });
    }

    /// After one or more calls of `body`.
    pub fn sent_frames(&self, frames: u64, bytes: usize, sink: &mut impl Sink) {
        self.session.peer.traffic.count_out(self.by.share, frames, bytes as u64);
        self.sent(sink);
        self.expect_answer();
    }

    fn control(&self, body: &[u8], sink: &mut impl Sink) {
        self.seal(QUEUE_CONTROL, body.len(), sink, |head, place| {
            put_inner(head, &Inner { kind: KIND_CONTROL, vni: 0, checksum_start: 0, checksum_offset: 0 });
            place.copy_from_slice(body);
        });
        self.sent(sink);
        self.expect_answer();
    }

    fn keepalive(&self, sink: &mut impl Sink) {
        self.seal(QUEUE_CONTROL, 0, sink, |head, _| {
            put_inner(head, &Inner { kind: KIND_KEEPALIVE, vni: 0, checksum_start: 0, checksum_offset: 0 });
        });
        self.sent(sink);
    }

    fn seal(&self, queue: u8, bytes: usize, sink: &mut impl Sink, fill: impl FnOnce(&mut [u8], &mut [u8])) {
        let length = bytes + OVERHEAD_BYTES;
        let datagram = &mut sink.room(length)[..length];
        let (head, rest) = datagram.split_at_mut(BODY_AT);
        fill(&mut head[OUTER_BYTES..], &mut rest[..bytes]);
        if self.session.seal(datagram, queue) {
            self.plane.count_fragmented(self.to.is_ipv6(), length);
            sink.send(&self.to, length);
        } else {
            self.plane.drop_for(DropReason::SendError, &self.session.peer);
        }
    }

    fn sent(&self, sink: &mut impl Sink) {
        let By { now, .. } = self.by;
        let peer = &self.session.peer;
        peer.sent.set(now);
        peer.owes.clear();
        self.plane.agenda.arm(now + KEEPALIVE_MS, Cause::Keepalive);
        if self.session.is_near_its_end() {
            want(peer, Why::Rekey, now, sink);
        }
    }

    fn expect_answer(&self) {
        let peer = &self.session.peer;
        if !peer.heard.is_within(ANSWER_MS, self.by.now) && peer.unanswered.begin(self.by.now) {
            self.plane.agenda.arm(self.by.now + SILENT_MS, Cause::Silent);
        }
    }
}

fn want(peer: &Peer, why: Why, now: u64, sink: &mut impl Sink) {
    if peer.wanted.renew(now, WANTED_INTERVAL_MS) {
        sink.event(Event::SessionWanted { peer: peer.id, why });
    }
}

/// A datagram of a session verified and was new.
pub fn note_heard(plane: &Plane, peer: &Peer, is_data: bool, now: u64) {
    peer.heard.set(now);
    peer.unanswered.clear();
    if is_data && !peer.sent.is_within(ANSWER_MS, now) && peer.owes.begin(now) {
        plane.agenda.arm(now + PASSIVE_KEEPALIVE_MS, Cause::PassiveKeepalive);
    }
}

impl<S: Sink> Work<'_, S> {
    pub fn set_endpoints(&mut self, id: PeerId, endpoints: &[Endpoint]) {
        let Some(slot) = self.rare.slot(id) else { return };
        let state = self.rare.peer_mut(slot);
        match endpoints.first() {
            None => {
                state.endpoint = None;
                state.peer.is_proven.store(false, Ordering::Relaxed);
                self.let_go();
            }
            Some(&first) if !state.peer.is_proven.load(Ordering::Relaxed) => state.endpoint = Some(first),
            Some(_) => return,
        }
        self.rare.show_peer(slot);
    }

    /// Takes a key in, once. The initiator confirms it with a keepalive at once.
    pub fn install(&mut self, keys: &SessionKeys) {
        let Some(slot) = self.rare.slot(keys.peer) else { return };
        if self.rare.sessions.contains_key(&keys.local) || !lock(&self.plane.keys).admit(&keys.seal_key) {
            return;
        }
        let Plane { key_limits, lanes, .. } = *self.plane;
        let now = self.by.now;
        let peer = Arc::clone(&self.rare.peer(slot).peer);
        let session = Arc::new(Session::new(peer, keys, key_limits, lanes, now));
        self.rare.add_session(&session);
        self.plane.agenda.arm(now + REJECT_MS, Cause::SessionExpiry);
        if keys.confirmed {
            self.use_session(&session, keys.endpoint);
        } else {
            self.rare.peer_mut(slot).endpoint.get_or_insert(keys.endpoint);
            self.rare.show_peer(slot);
        }
        self.remove_surplus(slot);
    }

    pub fn retire(&mut self, id: PeerId, local: u32) {
        let Some(session) = self.rare.sessions.get(&local).filter(|session| session.peer.id == id).cloned() else {
            return;
        };
        self.rare.remove_session(&session);
        self.let_go();
    }

    /// Seals a frame of `vni` for a peer, or keeps it until there is a session.
    pub fn send_frame(&mut self, slot: u16, vni: Vni, frame: Frame<'_>) {
        let state = self.rare.peer(slot);
        let Some(session) = state.sealing(self.by.now).cloned() else {
            self.wait(slot, vni, frame);
            return;
        };
        let Some(to) = state.endpoint else {
            self.plane.drop_for(DropReason::NoPath, &session.peer);
            return;
        };
        Sealer { plane: self.plane, by: self.by, session: &session, to }.frame(vni, u32::MAX, frame, self.sink);
    }

    pub fn send_control(&mut self, id: PeerId, body: &[u8]) {
        let Some(slot) = self.rare.slot(id) else {
            self.drop(DropReason::NoSession);
            return;
        };
        let state = self.rare.peer(slot);
        let Some(session) = state.sealing(self.by.now).cloned() else {
            want(&state.peer, Why::Frame, self.by.now, self.sink);
            self.plane.drop_for(DropReason::NoSession, &state.peer);
            return;
        };
        let Some(to) = state.endpoint else {
            self.plane.drop_for(DropReason::NoPath, &session.peer);
            return;
        };
        Sealer { plane: self.plane, by: self.by, session: &session, to }.control(body, self.sink);
    }

    /// A datagram of `session` verified and was new, and confirms the session or may move the path. `is_newest`: no
    /// later one of its queue has come.
    pub fn heard(&mut self, session: &Arc<Session>, from: Endpoint, is_newest: bool) {
        // It may have been removed while this thread was opening.
        if !self.rare.sessions.get(&session.local).is_some_and(|known| Arc::ptr_eq(known, session)) {
            return;
        }
        let slot = session.peer.slot;
        if !session.is_confirmed() {
            self.confirm(session, from);
            return;
        }
        let state = self.rare.peer_mut(slot);
        if !is_newest {
            return;
        }
        if state.endpoint == Some(from) {
            state.peer.is_proven.store(true, Ordering::Relaxed);
        } else if state.sealing(self.by.now).is_some_and(|sealing| Arc::ptr_eq(sealing, session)) {
            self.move_path(slot, from);
            self.sink.event(Event::PeerMoved { peer: session.peer.id, endpoint: from });
        }
    }

    pub fn tick_tunnels(&mut self) {
        let now = self.by.now;
        let sessions: Vec<_> = self.rare.sessions.values().cloned().collect();
        for session in sessions {
            let at = session.installed_at + REJECT_MS;
            if now >= at {
                self.rare.remove_session(&session);
            } else {
                self.arm(Some(at), Cause::SessionExpiry);
            }
        }
        for slot in self.rare.peer_slots() {
            self.tick_peer(slot);
        }
        self.sweep();
    }

    /// All keys go, and every peer that had one is wished for.
    pub fn drop_sessions(&mut self) {
        for slot in self.rare.peer_slots() {
            let sessions = self.rare.peer(slot).sessions.clone();
            for session in &sessions {
                self.rare.remove_session(session);
            }
            if let Some(session) = sessions.first() {
                self.sink.event(Event::SessionWanted { peer: session.peer.id, why: Why::Frame });
            }
        }
    }

    fn wait(&mut self, slot: u16, vni: Vni, frame: Frame<'_>) {
        let now = self.by.now;
        let state = self.rare.peer(slot);
        want(&state.peer, Why::Frame, now, self.sink);
        if state.waiting.len() >= WAITING_FRAMES_PER_PEER || !self.rare.waiting_room.take() {
            self.drop_unsent(slot);
            return;
        }
        let waiting = Waiting { vni, frame: frame.to_owned(), until: now + WAITING_MS };
        self.rare.peer_mut(slot).waiting.push(waiting);
        self.plane.agenda.arm(now + WAITING_MS, Cause::WaitingFrames);
    }

    fn drop_unsent(&mut self, slot: u16) {
        let state = self.rare.peer(slot);
        let reason = if state.endpoint.is_none() { DropReason::NoPath } else { DropReason::NoSession };
        self.plane.drop_for(reason, &state.peer);
    }

    fn confirm(&mut self, session: &Arc<Session>, from: Endpoint) {
        session.confirm();
        let peer = &session.peer;
        self.sink.event(Event::SessionConfirmed { peer: peer.id, local: session.local, endpoint: from });
        self.use_session(session, from);
        self.remove_surplus(peer.slot);
    }

    /// A key became usable: the path is where it was agreed, and what waited goes.
    fn use_session(&mut self, session: &Arc<Session>, endpoint: Endpoint) {
        let slot = session.peer.slot;
        self.move_path(slot, endpoint);
        let waiting = std::mem::take(&mut self.rare.peer_mut(slot).waiting);
        self.rare.waiting_room.give(waiting.len());
        let sealer = Sealer { plane: self.plane, by: self.by, session, to: endpoint };
        if waiting.is_empty() {
            sealer.keepalive(self.sink);
        }
        for Waiting { vni, frame, .. } in &waiting {
            sealer.frame(*vni, u32::MAX, frame.view(), self.sink);
        }
    }

    fn move_path(&mut self, slot: u16, endpoint: Endpoint) {
        let state = self.rare.peer_mut(slot);
        state.endpoint = Some(endpoint);
        state.peer.is_proven.store(true, Ordering::Relaxed);
        self.rare.show_peer(slot);
    }

    /// What is beyond previous, current and two unconfirmed: the oldest of each sort. Unconfirmed keys older than a
    /// confirmed one stay: when both ends began at once, the other end may have confirmed them in another order and be
    /// sealing with them.
    fn remove_surplus(&mut self, slot: u16) {
        let sessions = &self.rare.peer(slot).sessions;
        let (confirmed, next): (Vec<_>, Vec<_>) = sessions.iter().cloned().partition(|session| session.is_confirmed());
        let surplus = |of: &[Arc<Session>], kept: usize| of[..of.len().saturating_sub(kept)].to_vec();
        for old in [surplus(&confirmed, SESSIONS_CONFIRMED), surplus(&next, SESSIONS_NEXT)].concat() {
            self.rare.remove_session(&old);
        }
    }

    fn tick_peer(&mut self, slot: u16) {
        let now = self.by.now;
        if !self.rare.peer(slot).waiting.is_empty() {
            self.expire_waiting(slot);
        }
        let state = self.rare.peer(slot);
        let peer = Arc::clone(&state.peer);
        let endpoint = state.endpoint;
        let Some(session) = state.sealing(now).cloned() else {
            // Without a session nobody owes anybody an answer.
            peer.unanswered.clear();
            peer.owes.clear();
            return;
        };
        self.check_silence(&peer);
        let Some(to) = endpoint else { return };
        let idle = peer.passed().map_or(now, |since| since + KEEPALIVE_MS);
        let at = peer.owes.get().map_or(idle, |since| idle.min(since + PASSIVE_KEEPALIVE_MS));
        if now >= at {
            Sealer { plane: self.plane, by: self.by, session: &session, to }.keepalive(self.sink);
        } else {
            self.arm(Some(at), Cause::Keepalive);
        }
    }

    fn check_silence(&mut self, peer: &Peer) {
        let Some(since) = peer.unanswered.get() else { return };
        let at = since + SILENT_MS;
        if self.by.now < at {
            self.arm(Some(at), Cause::Silent);
            return;
        }
        peer.unanswered.clear();
        want(peer, Why::Silent, self.by.now, self.sink);
    }

    fn expire_waiting(&mut self, slot: u16) {
        let now = self.by.now;
        let waiting = &mut self.rare.peer_mut(slot).waiting;
        let before = waiting.len();
        waiting.retain(|waiting| waiting.until > now);
        let expired = before - waiting.len();
        let next = waiting.first().map(|waiting| waiting.until);
        for _ in 0..expired {
            self.drop_unsent(slot);
        }
        self.rare.waiting_room.give(expired);
        self.arm(next, Cause::WaitingFrames);
    }

    fn let_go(&mut self) {
        let at = *self.rare.peers_sweep_at.get_or_insert(self.by.now + PEER_SWEEP_MS);
        self.arm(Some(at), Cause::PeerSweep);
    }

    /// Once after something let a peer go, not at each tick.
    fn sweep(&mut self) {
        let Some(at) = self.rare.peers_sweep_at else { return };
        if self.by.now < at {
            self.arm(Some(at), Cause::PeerSweep);
            return;
        }
        self.rare.peers_sweep_at = None;
        self.rare.sweep_peers();
    }
}
