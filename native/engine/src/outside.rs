//! The way of a datagram from the network to the local bridge:
//! 1 find the session · 2 open · 3 replay window · 4 path and keepalive · 5 inner header · 6 segment and membership · 7
//! checksum · 8 who may send under this MAC · 9 clamp the MSS · 10 deliver, to the local TAP only.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::admission::{Verdict, check_mac1, check_mac2, make_cookie_reply};
use crate::checksum;
use crate::command::Location;
use crate::datagram::{self, COOKIE_NONCE_BYTES, Datagram, HandshakeKind, Inner, Outer};
use crate::drops::DropReason;
use crate::events::Event;
use crate::frame::{self, Checksum, is_link_local, is_multicast};
use crate::ids::{Endpoint, Mac, Vni};
use crate::lane::{By, work};
use crate::looping;
use crate::mss;
use crate::peer::Peer;
use crate::plane::Plane;
use crate::replay::Place;
use crate::session::Session;
use crate::sink::Sink;
use crate::snapshot::Snapshot;
use crate::table::Owner;
use crate::tunnels::note_heard;
use crate::wire::{
    CONTROL_BYTES_MAX, ETHERNET_BYTES, INNER_BYTES, KIND_CONTROL, KIND_FRAME, KIND_KEEPALIVE, OUTER_BYTES,
    QUEUE_CONTROL, TAG_BYTES,
};
use crate::work::Work;

pub fn datagram(plane: &Plane, snapshot: &Snapshot, by: By, from: &Endpoint, bytes: &mut [u8], sink: &mut impl Sink) {
    let refused = match datagram::parse(bytes) {
        Ok(Datagram::Sealed(outer)) => {
            sealed(plane, snapshot, by, from, &outer, bytes, sink);
            return;
        }
        Ok(Datagram::Handshake(kind)) => handshake(plane, snapshot, by, from, kind, bytes, sink),
        Err(reason) => Err(reason),
    };
    match refused {
        Ok(()) => sink.event(Event::Handshake { from: *from, bytes: (&*bytes).into() }),
        Err(reason) => plane.drop(reason, 1),
    }
}

/// A cookie may leave: never longer than what it answers. The hash is computed before the lock is taken.
fn handshake(
    plane: &Plane,
    snapshot: &Snapshot,
    by: By,
    from: &Endpoint,
    kind: HandshakeKind,
    bytes: &[u8],
    sink: &mut impl Sink,
) -> Result<(), DropReason> {
    let keys = snapshot.admission.as_deref().ok_or(DropReason::BadMac1)?;
    if kind == HandshakeKind::Cookie {
        return work(plane, by, sink, |work| work.rare.budgets.check_cookie(from, by.now)).map_or(Ok(()), Err);
    }
    let mac1_key = check_mac1(keys, kind, bytes).ok_or(DropReason::BadMac1)?;
    match work(plane, by, sink, |work| work.rare.budgets.check(from, by.now)) {
        Verdict::Pass => Ok(()),
        Verdict::Refused => Err(DropReason::HandshakeBudget),
        Verdict::NeedsCookie if check_mac2(keys, bytes, from) => Ok(()),
        Verdict::NeedsCookie => {
            let mut nonce = [0; COOKIE_NONCE_BYTES];
            (plane.random)(&mut nonce);
            let reply = make_cookie_reply(keys, mac1_key, bytes, from, &nonce);
            sink.room(reply.len())[..reply.len()].copy_from_slice(&reply);
            sink.send(from, reply.len());
            Err(DropReason::NeedCookie)
        }
    }
}

fn sealed(
    plane: &Plane,
    snapshot: &Snapshot,
    by: By,
    from: &Endpoint,
    outer: &Outer,
    bytes: &mut [u8],
    sink: &mut impl Sink,
) {
    let Some(session) = snapshot.session(outer.receiver) else {
        plane.drop(DropReason::UnknownSession, 1);
        return;
    };
    let opened = Opened { plane, snapshot, by, session };
    if let Err(reason) = opened.datagram(from, outer, bytes, sink) {
        plane.drop_for(reason, &session.peer);
    }
}

/// A datagram of a session, on its way.
struct Opened<'a> {
    plane: &'a Plane,
    snapshot: &'a Snapshot,
    by: By,
    session: &'a Arc<Session>,
}

impl Opened<'_> {
    fn datagram(
        &self,
        from: &Endpoint,
        outer: &Outer,
        bytes: &mut [u8],
        sink: &mut impl Sink,
    ) -> Result<(), DropReason> {
        let &Self { session, by, .. } = self;
        if !session.has_queue(outer.queue) {
            return Err(DropReason::BadQueue);
        }
        if !session.can_open(by.now) {
            return Err(DropReason::SessionExpired);
        }
        if !session.open(bytes) {
            return Err(DropReason::BadTag);
        }
        let place = session.accept(outer.queue, outer.counter);
        if place == Place::Replay {
            return Err(DropReason::Replay);
        }
        let end = bytes.len() - TAG_BYTES;
        let plain = &mut bytes[OUTER_BYTES..end];
        let inner = datagram::parse_inner(plain);
        let is_data = inner.is_some_and(|inner| inner.kind != KIND_KEEPALIVE);
        self.heard(from, place == Place::Newest, is_data, sink);
        let inner = inner
            .filter(|inner| (inner.kind == KIND_FRAME) != (outer.queue == QUEUE_CONTROL))
            .ok_or(DropReason::BadInner)?;
        let body = &mut plain[INNER_BYTES..];
        match inner.kind {
            KIND_FRAME => self.frame(&inner, body, sink),
            KIND_CONTROL if body.len() > CONTROL_BYTES_MAX => Err(DropReason::BadInner),
            KIND_CONTROL => {
                sink.event(Event::Control { from: session.peer.id, body: (&*body).into() });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes the lock only if the key was not confirmed yet, or the peer is not where it was.
    fn heard(&self, from: &Endpoint, is_newest: bool, is_data: bool, sink: &mut impl Sink) {
        let &Self { plane, snapshot, by, session } = self;
        let peer = &session.peer;
        note_heard(plane, peer, is_data, by.now);
        if session.is_confirmed() {
            if !is_newest {
                return;
            }
            if let Some(view) = snapshot.peer(peer.slot) {
                if view.endpoint == Some(*from) {
                    if !peer.is_proven.load(Ordering::Relaxed) {
                        peer.is_proven.store(true, Ordering::Relaxed);
                    }
                    return;
                }
                let is_other = |newest: &Arc<Session>| !Arc::ptr_eq(newest, session) && newest.can_seal(by.now);
                if view.session.as_ref().is_some_and(is_other) {
                    return;
                }
            }
        }
        work(plane, by, sink, |work| work.heard(session, *from, is_newest));
    }

    fn frame(&self, inner: &Inner, bytes: &mut [u8], sink: &mut impl Sink) -> Result<(), DropReason> {
        let &Self { plane, snapshot, by, session } = self;
        let peer = &session.peer;
        let segment = snapshot.segment(inner.vni).ok_or(DropReason::UnknownSegment)?;
        if !segment.members.has(peer.slot) {
            return Err(DropReason::NotMember);
        }
        if segment.is_blocked {
            return Err(DropReason::LoopBlocked);
        }
        if bytes.len() < ETHERNET_BYTES {
            return Err(DropReason::ShortFrame);
        }
        if is_link_local(frame::destination(bytes)) {
            return Err(DropReason::LinkLocal);
        }
        if looping::is_probe(bytes) {
            return Err(DropReason::LoopProbe);
        }
        let source = frame::source(bytes);
        let is_owner = segment.slots.find(source).is_some_and(|found| found.owner == Owner::Peer(peer.slot));
        if !is_owner {
            work(plane, by, sink, |work| work.guard(inner.vni, peer, source))?;
        }
        let checksum = checksum_of(inner, bytes).ok_or(DropReason::BadChecksumOffsets)?;
        if mss::may_be_syn(bytes) {
            mss::clamp(bytes, segment.mtu, checksum);
        }
        segment.traffic.count_in(by.share, bytes.len() as u64);
        peer.traffic.count_in(by.share, bytes.len() as u64);
        sink.deliver(inner.vni, bytes, checksum);
        Ok(())
    }
}

/// None for a place that no checksum has.
fn checksum_of(inner: &Inner, bytes: &[u8]) -> Option<Checksum> {
    let &Inner { checksum_start: start, checksum_offset: offset, .. } = inner;
    if start == 0 {
        return (offset == 0).then_some(Checksum::Complete);
    }
    checksum::is_place(bytes, start, offset).then_some(Checksum::Partial { start, offset })
}

impl<S: Sink> Work<'_, S> {
    /// A source MAC counts for its owner only; one that nobody owns yet is delivered and reported.
    fn guard(&mut self, vni: Vni, peer: &Peer, source: Mac) -> Result<(), DropReason> {
        let now = self.by.now;
        let Some(segment) = self.rare.segments.get_mut(&vni) else { return Err(DropReason::UnknownSegment) };
        let owner = segment.table.get(source).map(|found| found.owner);
        if owner == Some(Owner::Peer(peer.slot)) {
            return Ok(());
        }
        if is_multicast(source) || source == 0 {
            return Err(DropReason::MacGuard);
        }
        let at = Location::Peer(peer.id);
        if owner.is_some() {
            if segment.conflicts.due(source, now) {
                self.sink.event(Event::MacConflict { vni, mac: source, at });
            }
            return Err(DropReason::MacGuard);
        }
        if segment.learned.due(source, now) {
            self.sink.event(Event::MacLearned { vni, mac: source, at });
        }
        Ok(())
    }
}
