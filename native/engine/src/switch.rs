//! A plane with one lane and one caller: the unit of conformance (docs/PROTOCOL.md "Engine").

use std::sync::Arc;

use crate::command::Command;
use crate::events::Event;
use crate::frame::Frame;
use crate::ids::{Endpoint, PeerId, Vni};
use crate::lane::Lane;
use crate::plane::{Due, Plane, PlaneOptions};
use crate::sink::Sink;
use crate::stats::Stats;

#[derive(Debug)]
pub struct Switch {
    plane: Arc<Plane>,
    lane: Lane,
}

impl Switch {
    pub fn new(options: PlaneOptions) -> Self {
        let plane = Plane::new(options);
        let lane = plane.lane(0);
        Self { plane, lane }
    }

    pub fn apply(&mut self, command: Command, now: u64, sink: &mut impl Sink) {
        self.lane.apply(command, now, sink);
    }

    pub fn inside(&mut self, vni: Vni, frame: Frame<'_>, now: u64, sink: &mut impl Sink) {
        self.lane.inside(vni, frame, now, sink);
    }

    /// `datagram` is opened in place.
    pub fn outside(&mut self, from: &Endpoint, datagram: &mut [u8], now: u64, sink: &mut impl Sink) {
        self.lane.outside(from, datagram, now, sink);
    }

    pub fn control(&mut self, to: PeerId, body: &[u8], now: u64, sink: &mut impl Sink) {
        self.lane.control(to, body, now, sink);
    }

    /// Leaves as it is: the only bytes outside a session.
    pub fn handshake(&mut self, to: &Endpoint, bytes: &[u8], sink: &mut impl Sink) {
        sink.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        sink.send(to, bytes.len());
    }

    pub fn tick(&mut self, now: u64, sink: &mut impl Sink) {
        self.lane.tick(now, sink);
    }

    pub fn deadline(&self) -> Option<Due> {
        self.plane.deadline()
    }

    pub fn stats(&self, now: u64) -> Stats {
        self.plane.stats(now)
    }

    pub fn report(&self) -> Vec<Event> {
        self.plane.report()
    }
}
