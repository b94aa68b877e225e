//! Commands and ticks: what one thread at a time does behind the plane's lock.

use std::sync::Arc;

use crate::agenda::Cause;
use crate::command::{Command, EngineLimits, Location, MacKind, SegmentConfig};
use crate::drops::DropReason;
use crate::events::Event;
use crate::ids::{Mac, PeerId, Vni};
use crate::lane::By;
use crate::limits::{LOOP_FIRST_MS, LOOP_PROBE_MS, MAC_SWEEP_MS, SEGMENTS};
use crate::looping::{self, LoopProbe};
use crate::plane::Plane;
use crate::rare::Rare;
use crate::segment::Segment;
use crate::sink::Sink;
use crate::snapshot::Members;
use crate::table::Owner;

/// One piece of work behind the lock.
pub struct Work<'a, S> {
    pub plane: &'a Plane,
    pub rare: &'a mut Rare,
    pub by: By,
    pub sink: &'a mut S,
}

impl<S: Sink> Work<'_, S> {
    pub fn apply(&mut self, command: Command) {
        match command {
            Command::AdmissionSet(keys) => {
                self.rare.set_admission(keys);
            }
            Command::PeerEndpoints { peer, endpoints } => self.set_endpoints(peer, &endpoints),
            Command::SessionInstall(keys) => self.install(&keys),
            Command::SessionRetire { peer, local } => self.retire(peer, local),
            Command::SegmentOpen(config) => self.open(config),
            Command::SegmentClose { vni } => self.close(vni),
            Command::SegmentBlock { vni, blocked } => {
                self.with_segment(vni, |segment| segment.is_blocked = blocked);
            }
            Command::FloodSet { vni, peers } => self.set_flood(vni, &peers),
            Command::MacPin { vni, mac, at, kind } => self.pin(vni, mac, at, kind),
            Command::MacUnpin { vni, mac } => {
                if let Some(segment) = self.rare.segments.get_mut(&vni) {
                    segment.table.unpin(mac);
                }
            }
            Command::NeighbourSet { vni, ip, mac } => {
                let now = self.by.now;
                if let Some(segment) = self.rare.segments.get_mut(&vni) {
                    segment.neighbours.set(ip, mac, now);
                    self.plane.agenda.arm(now, Cause::Announcement);
                }
            }
            Command::NeighbourUnset { vni, ip } => {
                if let Some(segment) = self.rare.segments.get_mut(&vni) {
                    segment.neighbours.unset(ip);
                }
            }
            Command::LimitsSet(limits) => self.set_limits(limits),
        }
    }

    pub fn tick(&mut self) {
        self.plane.agenda.clear();
        for vni in self.rare.opened.clone() {
            self.tick_segment(vni);
        }
        self.tick_tunnels();
    }

    pub fn drop(&mut self, reason: DropReason) {
        self.plane.drop(reason, 1);
    }

    fn with_segment(&mut self, vni: Vni, change: impl FnOnce(&mut Segment)) {
        if let Some(segment) = self.rare.segments.get_mut(&vni) {
            change(segment);
            self.rare.show_segment(vni);
        }
    }

    fn open(&mut self, config: SegmentConfig) {
        let (vni, now) = (config.vni, self.by.now);
        if self.rare.segments.contains_key(&vni) {
            self.with_segment(vni, |segment| segment.config = config);
            self.plane.agenda.arm(now, Cause::SegmentConfig);
            return;
        }
        if self.rare.segments.len() >= SEGMENTS {
            let why = format!("more than {SEGMENTS} segments");
            self.sink.event(Event::SegmentFailed { vni, why });
            return;
        }
        let segment = Segment::new(config, self.rare.limits.bum_per_segment, self.rare.shares(), now);
        self.rare.segments.insert(vni, segment);
        self.rare.opened.push(vni);
        self.rare.show_segment(vni);
        self.plane.agenda.arm(now, Cause::SegmentOpen);
    }

    fn close(&mut self, vni: Vni) {
        let Some(mut segment) = self.rare.segments.remove(&vni) else { return };
        let held = segment.hold.clear(&mut self.rare.held_room);
        self.plane.drop(DropReason::UnknownSegment, held as u64);
        self.rare.opened.retain(|&open| open != vni);
        self.rare.show_segment(vni);
    }

    fn set_flood(&mut self, vni: Vni, peers: &[PeerId]) {
        if !self.rare.segments.contains_key(&vni) {
            return;
        }
        let mut ids = peers.to_vec();
        ids.retain(|&id| self.rare.slot(id).is_some());
        ids.sort_unstable();
        let flood: Arc<[u16]> = ids.iter().filter_map(|&id| self.rare.slot(id)).collect();
        self.with_segment(vni, |segment| {
            segment.members = Members::new(&flood);
            segment.flood = flood;
        });
    }

    fn pin(&mut self, vni: Vni, mac: Mac, at: Location, kind: MacKind) {
        let now = self.by.now;
        if !self.rare.segments.contains_key(&vni) {
            return;
        }
        let owner = match at {
            Location::Local => Some(Owner::Local),
            Location::Peer(id) => self.rare.slot(id).map(Owner::Peer),
        };
        let segment = self.rare.segments.get_mut(&vni).expect("it is there");
        if !owner.is_some_and(|owner| segment.table.pin(mac, owner, kind, now)) {
            self.drop(DropReason::MacsFull);
            return;
        }
        self.rare.show_table(vni);
        if at == Location::Local {
            self.release(vni, mac);
        }
    }

    fn set_limits(&mut self, limits: EngineLimits) {
        self.rare.limits = limits;
        for segment in self.rare.segments.values_mut() {
            segment.bum.set_rate(limits.bum_per_segment, self.by.now);
            segment.table.set_port_rate(limits.bum_per_port, self.by.now);
        }
    }

    fn tick_segment(&mut self, vni: Vni) {
        let now = self.by.now;
        let Some(segment) = self.rare.segments.get(&vni) else { return };
        for mac in segment.hold.expired(now) {
            self.release(vni, mac);
        }
        let next = self.rare.segments.get(&vni).and_then(|segment| segment.hold.next_at());
        self.arm(next, Cause::HeldFrames);
        self.announce(vni);
        self.probe(vni);
        self.age(vni);
    }

    fn announce(&mut self, vni: Vni) {
        let Self { rare, sink, by, .. } = self;
        let segment = rare.segments.get_mut(&vni).expect("an open segment");
        if !segment.is_blocked {
            let table = &segment.table;
            let is_remote = |mac| table.get(mac).is_some_and(|found| found.owner != Owner::Local);
            segment.neighbours.announce(by.now, segment.config.tap_mac, is_remote, |frame| sink.inject(vni, frame));
        }
        let next = segment.neighbours.next_at(by.now);
        self.arm(next, Cause::Announcement);
    }

    /// A blocked segment probes on: that the probes come back no more is how it learns that the loop is gone.
    fn probe(&mut self, vni: Vni) {
        let Self { rare, sink, by, .. } = self;
        let keys = rare.snapshot().admission.clone();
        let segment = rare.segments.get_mut(&vni).expect("an open segment");
        if !segment.config.loop_probe {
            return;
        }
        let at = *segment.probe_at.get_or_insert(by.now + LOOP_FIRST_MS);
        if by.now >= at {
            segment.probe_at = Some(by.now + LOOP_PROBE_MS);
            if let Some(keys) = keys {
                let age = by.now.saturating_sub(segment.opened_at);
                let probe = LoopProbe { by: keys.own, vni, age_ms: u32::try_from(age).unwrap_or(u32::MAX) };
                sink.inject(vni, &looping::make(&keys.loop_key, segment.config.tap_mac, &probe));
            }
        }
        let next = segment.probe_at;
        self.arm(next, Cause::LoopProbe);
    }

    fn age(&mut self, vni: Vni) {
        let Self { rare, sink, by, .. } = self;
        let local_macs = rare.limits.local_macs;
        let segment = rare.segments.get_mut(&vni).expect("an open segment");
        let at = *segment.sweep_at.get_or_insert(by.now + MAC_SWEEP_MS);
        if by.now >= at {
            segment.table.age(vni, by.now, |event| sink.event(event));
            if segment.table.local_seen() < local_macs {
                segment.is_full = false;
            }
            segment.sweep_at = Some(by.now + MAC_SWEEP_MS);
        }
        let next = segment.sweep_at;
        self.arm(next, Cause::MacAge);
    }

    pub fn arm(&mut self, at: Option<u64>, cause: Cause) {
        if let Some(at) = at {
            self.plane.agenda.arm(at, cause);
        }
    }
}
