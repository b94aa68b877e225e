//! The way of a frame from the local bridge to other hosts:
//! 1 check the header · 2 loop probes · 3 who may send under this MAC · 4 clamp the MSS · 5 find the receivers, within
//! the broadcast budget · 6 answer ARP and ND here · 7 split a super-frame · 8 seal for each receiver.

use crate::agenda::Cause;
use crate::command::{Location, MacKind};
use crate::drops::DropReason;
use crate::events::Event;
use crate::frame::{self, Frame, Gso, OwnedFrame, is_link_local, is_multicast};
use crate::ids::{Mac, Vni};
use crate::lane::By;
use crate::limits::HELD_MS;
use crate::looping;
use crate::mss;
use crate::plane::Plane;
use crate::segment::Segment;
use crate::sink::Sink;
use crate::snapshot::{SegmentView, Snapshot};
use crate::split::Split;
use crate::table::{Found, Owner};
use crate::tunnels::Sealer;
use crate::wire::ETHERNET_BYTES;
use crate::work::Work;

/// The whole way of a unicast frame of a known local MAC to a known host with a session, without a lock. False, with
/// nothing done, for any other: that is for `Work::inside`.
pub fn forward(plane: &Plane, snapshot: &Snapshot, by: By, vni: Vni, frame: Frame<'_>, sink: &mut impl Sink) -> bool {
    let Some(segment) = snapshot.segment(vni) else { return false };
    let bytes = frame.bytes;
    if refuse(bytes, frame.gso.is_some(), segment.frame_bytes_max).is_some()
        || looping::is_probe(bytes)
        || segment.is_blocked
    {
        return false;
    }
    let destination = frame::destination(bytes);
    let Some(source) = segment.slots.find(frame::source(bytes)).filter(|found| found.owner == Owner::Local) else {
        return false;
    };
    if is_multicast(destination) {
        return false;
    }
    let Some(Found { owner: Owner::Peer(slot), .. }) = segment.slots.find(destination) else { return false };
    let Some(view) = snapshot.peer(slot) else { return false };
    let (Some(session), Some(to)) = (&view.session, view.endpoint) else { return false };
    let room = session.room(by.now);
    let sealer = Sealer { plane, by, session, to };
    let is_sent = match frame.gso {
        None if room > 0 => {
            sealer.frame(vni, segment.mtu, frame, sink);
            segment.traffic.count_out(by.share, 1, bytes.len() as u64);
            true
        }
        None => false,
        Some(gso) => split_within(segment.frame_bytes_max, &frame, gso)
            .is_some_and(|split| forward_split(&sealer, segment, &split, room, sink)),
    };
    if is_sent {
        segment.slots.touch(&source, by.now);
    }
    is_sent
}

/// All segments, each sealed where it was split to, if the key has room for them all.
fn forward_split(
    sealer: &Sealer<'_>,
    segment: &SegmentView,
    split: &Split<'_>,
    room: u64,
    sink: &mut impl Sink,
) -> bool {
    let count = split.count() as u64;
    if count > room {
        return false;
    }
    let mut bytes = 0;
    for index in 0..split.count() {
        let length = split.segment_bytes(index);
        sealer.body(segment.vni, length, split.checksum(), sink, |place| split.write(index, place));
        bytes += length;
    }
    sealer.sent_frames(count, bytes, sink);
    segment.traffic.count_out(sealer.by.share, count, bytes as u64);
    true
}

/// None also where a segment would be a `long-frame`: all but the last are as long as the first.
fn split_within<'a>(frame_bytes_max: usize, frame: &Frame<'a>, gso: Gso) -> Option<Split<'a>> {
    Split::new(frame, gso).filter(|split| split.segment_bytes(0) <= frame_bytes_max)
}

/// A super-frame is as long as it likes; its segments are not.
fn refuse(bytes: &[u8], is_super: bool, frame_bytes_max: usize) -> Option<DropReason> {
    if bytes.len() < ETHERNET_BYTES {
        return Some(DropReason::ShortFrame);
    }
    if !is_super && bytes.len() > frame_bytes_max {
        return Some(DropReason::LongFrame);
    }
    is_link_local(frame::destination(bytes)).then_some(DropReason::LinkLocal)
}

impl<S: Sink> Work<'_, S> {
    /// A frame from the TAP of `vni`.
    pub fn inside(&mut self, vni: Vni, frame: Frame<'_>) {
        if let Err(reason) = self.try_inside(vni, frame) {
            self.drop(reason);
        }
    }

    /// The MAC is ours now, or has waited long enough: its frames go out.
    pub fn release(&mut self, vni: Vni, source: Mac) {
        let Some(segment) = self.rare.segments.get_mut(&vni) else { return };
        let frames = segment.hold.release(source, &mut self.rare.held_room);
        let is_known = segment.table.get(source).is_some();
        for held in &frames {
            if !is_known {
                self.inside(vni, held.view());
            } else if let Err(reason) = self.forward(vni, source, held.view()) {
                self.drop(reason);
            }
        }
    }

    fn try_inside(&mut self, vni: Vni, frame: Frame<'_>) -> Result<(), DropReason> {
        let now = self.by.now;
        let segment = self.rare.segments.get_mut(&vni).ok_or(DropReason::UnknownSegment)?;
        let bytes = frame.bytes;
        if let Some(reason) = refuse(bytes, frame.gso.is_some(), segment.frame_bytes_max()) {
            return Err(reason);
        }
        if looping::is_probe(bytes) {
            self.watch_loop(vni, bytes);
            return Err(DropReason::LoopProbe);
        }
        if segment.is_blocked {
            return Err(DropReason::LoopBlocked);
        }
        let source = frame::source(bytes);
        let found = match segment.table.get(source) {
            Some(found) => found,
            None => self.learn(vni, source)?,
        };
        let segment = self.segment(vni);
        if found.owner != Owner::Local {
            return self.hold(vni, source, found.kind, frame);
        }
        segment.table.slots().touch(&found, now);
        self.forward(vni, source, frame)
    }

    fn segment(&mut self, vni: Vni) -> &mut Segment {
        self.rare.segments.get_mut(&vni).expect("an open segment")
    }

    fn watch_loop(&mut self, vni: Vni, bytes: &[u8]) {
        let now = self.by.now;
        let Some(keys) = self.rare.snapshot().admission.clone() else { return };
        // An own probe that comes back is reported too: then the LAN is a loop by itself.
        let Some(probe) = looping::read(&keys.loop_key, bytes).filter(|probe| probe.vni == vni) else { return };
        let by = u64::from_be_bytes(probe.by.0[..8].try_into().expect("eight bytes")) >> 16;
        let segment = self.segment(vni);
        if segment.loops.due(by, now) {
            let own_age_ms = now.saturating_sub(segment.opened_at);
            self.sink.event(Event::LoopSeen { vni, by: probe.by, age_ms: probe.age_ms, own_age_ms });
        }
    }

    /// A provisional entry for a new MAC of the bridge, if it may send here.
    fn learn(&mut self, vni: Vni, source: Mac) -> Result<Found, DropReason> {
        let now = self.by.now;
        let local_macs = self.rare.limits.local_macs;
        let segment = self.segment(vni);
        if source == 0 || is_multicast(source) || segment.config.pinned_only {
            return Err(self.spoof(vni, source));
        }
        let Some(found) = segment.table.learn(source, now, local_macs) else {
            if !std::mem::replace(&mut segment.is_full, true) {
                self.sink.event(Event::MacsFull { vni });
            }
            return Err(DropReason::MacsFull);
        };
        if segment.table.local_seen() < local_macs {
            segment.is_full = false;
        }
        self.rare.show_table(vni);
        self.sink.event(Event::MacLearned { vni, mac: source, at: Location::Local });
        Ok(found)
    }

    /// A frame under a MAC that another host owns: a seen one may be moving here, a pinned one never does by traffic
    /// (RFC 7432 15.2).
    fn hold(&mut self, vni: Vni, source: Mac, kind: MacKind, frame: Frame<'_>) -> Result<(), DropReason> {
        let now = self.by.now;
        let segment = self.rare.segments.get_mut(&vni).expect("an open segment");
        if kind == MacKind::Pinned || segment.config.pinned_only {
            return Err(self.spoof(vni, source));
        }
        if segment.conflicts.due(source, now) {
            self.sink.event(Event::MacConflict { vni, mac: source, at: Location::Local });
        }
        if !segment.hold.add(source, frame, now, &mut self.rare.held_room) {
            return Err(DropReason::HeldFull);
        }
        self.plane.agenda.arm(now + HELD_MS, Cause::HeldFrames);
        Ok(())
    }

    fn spoof(&mut self, vni: Vni, source: Mac) -> DropReason {
        let now = self.by.now;
        if !is_multicast(source) && self.segment(vni).spoofs.due(source, now) {
            self.sink.event(Event::MacSpoof { vni, mac: source });
        }
        DropReason::MacSpoof
    }

    fn forward(&mut self, vni: Vni, source: Mac, input: Frame<'_>) -> Result<(), DropReason> {
        let clamped = self.clamped(vni, input);
        let frame = clamped.as_ref().map_or(input, OwnedFrame::view);
        let destination = frame::destination(frame.bytes);
        let is_group = is_multicast(destination);
        let segment = self.segment(vni);
        let owner = if is_group { None } else { segment.table.get(destination).map(|found| found.owner) };
        match owner {
            // The bridge has already given a frame for a local MAC to its machine.
            Some(Owner::Local) => return Err(DropReason::NoReceiver),
            Some(Owner::Peer(slot)) => return self.send(vni, &[slot], frame),
            None => {}
        }
        self.check_budget(vni, source)?;
        if is_group && self.answer(vni, frame.bytes) {
            return Ok(());
        }
        let flood = self.segment(vni).flood.clone();
        if flood.is_empty() {
            return Err(DropReason::NoReceiver);
        }
        self.send(vni, &flood, frame)
    }

    fn check_budget(&mut self, vni: Vni, source: Mac) -> Result<(), DropReason> {
        let now = self.by.now;
        let per_port = self.rare.limits.bum_per_port;
        let segment = self.segment(vni);
        if !segment.table.bum(source, per_port, now).is_none_or(|bucket| bucket.take(now)) {
            return Err(DropReason::BumPort);
        }
        if segment.bum.take(now) { Ok(()) } else { Err(DropReason::BumSegment) }
    }

    fn answer(&mut self, vni: Vni, bytes: &[u8]) -> bool {
        let segment = self.segment(vni);
        let answer = segment.neighbours.answer(bytes, |mac| segment.is_behind_tunnel(mac));
        if let Some(answer) = &answer {
            self.sink.inject(vni, answer);
        }
        answer.is_some()
    }

    fn send(&mut self, vni: Vni, to: &[u16], frame: Frame<'_>) -> Result<(), DropReason> {
        let Some(gso) = frame.gso else {
            self.seal(vni, to, frame);
            return Ok(());
        };
        let frame_bytes_max = self.segment(vni).frame_bytes_max();
        let split = split_within(frame_bytes_max, &frame, gso).ok_or(DropReason::BadGso)?;
        for part in split.to_frames() {
            self.seal(vni, to, part.view());
        }
        Ok(())
    }

    fn seal(&mut self, vni: Vni, to: &[u16], frame: Frame<'_>) {
        let share = self.by.share;
        self.segment(vni).traffic.count_out(share, 1, frame.bytes.len() as u64);
        for &slot in to {
            self.send_frame(slot, vni, frame);
        }
    }

    /// A copy with a smaller MSS, if that is called for: what comes in is not ours to change.
    fn clamped(&mut self, vni: Vni, frame: Frame<'_>) -> Option<OwnedFrame> {
        if frame.gso.is_some() || !mss::may_be_syn(frame.bytes) {
            return None;
        }
        let mut copy = frame.to_owned();
        mss::clamp(&mut copy.bytes, self.segment(vni).config.mtu, frame.checksum);
        Some(copy)
    }
}
