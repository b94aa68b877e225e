//! One data thread's view of the plane: everything that moves a frame begins here. What is common takes no lock and
//! allocates nothing; what is not goes on behind the plane's lock (`Work`), where everything is looked up anew.

use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::command::Command;
use crate::frame::Frame;
use crate::ids::{Endpoint, PeerId, Vni};
use crate::plane::Plane;
use crate::sink::Sink;
use crate::snapshot::Snapshot;
use crate::sync::lock;
use crate::work::Work;
use crate::{inside, outside};

/// Who seals and counts, and when.
#[derive(Clone, Copy, Debug)]
pub struct By {
    /// The frame queue that this thread seals on.
    pub queue: u8,
    /// The counters that this thread alone writes.
    pub share: usize,
    /// Milliseconds.
    pub now: u64,
}

pub struct Lane {
    plane: Arc<Plane>,
    snapshot: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    share: usize,
    queue: u8,
}

impl Lane {
    pub(crate) fn new(plane: &Arc<Plane>, share: usize, queue: u8) -> Self {
        Self { plane: Arc::clone(plane), snapshot: Cache::new(Arc::clone(&plane.shared)), share, queue }
    }

    pub fn plane(&self) -> &Arc<Plane> {
        &self.plane
    }

    /// A frame from the TAP of `vni`. `now` is in whole milliseconds, here and below.
    pub fn inside(&mut self, vni: Vni, frame: Frame<'_>, now: u64, sink: &mut impl Sink) {
        let by = self.by(now);
        let snapshot = self.snapshot.load();
        if !inside::forward(&self.plane, snapshot, by, vni, frame, sink) {
            self.work(now, sink, |work| work.inside(vni, frame));
        }
    }

    /// A datagram from the network. It is opened in place, so its bytes are of no use afterwards.
    pub fn outside(&mut self, from: &Endpoint, datagram: &mut [u8], now: u64, sink: &mut impl Sink) {
        let by = self.by(now);
        let snapshot = self.snapshot.load();
        outside::datagram(&self.plane, snapshot, by, from, datagram, sink);
    }

    /// Seals `body` (<= 1,100 bytes) on queue 0.
    pub fn control(&mut self, to: PeerId, body: &[u8], now: u64, sink: &mut impl Sink) {
        self.work(now, sink, |work| work.send_control(to, body));
    }

    /// Idempotent; a command about something the plane does not hold is a no-op.
    pub fn apply(&mut self, command: Command, now: u64, sink: &mut impl Sink) {
        self.work(now, sink, |work| work.apply(command));
    }

    // A path to the method is not general enough over the lifetimes of `Work`.
    #[allow(clippy::redundant_closure_for_method_calls)]
    pub fn tick(&mut self, now: u64, sink: &mut impl Sink) {
        self.work(now, sink, |work| work.tick());
    }

    /// Before sleeping: lets go of what has been replaced meanwhile, retired keys among it.
    pub fn idle(&mut self) {
        self.snapshot.load();
    }

    /// Does something behind the lock, and shows the others what came of it.
    pub(crate) fn work<S: Sink>(&self, now: u64, sink: &mut S, what: impl FnOnce(&mut Work<'_, S>)) {
        work(&self.plane, self.by(now), sink, what);
    }

    fn by(&self, now: u64) -> By {
        By { queue: self.queue, share: self.share, now }
    }
}

pub fn work<S: Sink, R>(plane: &Plane, by: By, sink: &mut S, what: impl FnOnce(&mut Work<'_, S>) -> R) -> R {
    let mut rare = lock(&plane.rare);
    let result = what(&mut Work { plane, rare: &mut rare, by, sink });
    if let Some(snapshot) = rare.changed() {
        plane.shared.store(Arc::new(snapshot));
    }
    result
}

impl fmt::Debug for Lane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "lane of queue {}", self.queue)
    }
}
