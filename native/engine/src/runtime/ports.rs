//! The TAP queues of one lane, and the frames on their way into them.

use std::sync::Arc;

use crate::coalesce::{Coalescer, Run};
use crate::frame::{Checksum, Frame};
use crate::ids::Vni;
use crate::sys::tap::{Offloads, Pieces, Tap, TapFault};
use crate::vnet;

struct Port {
    vni: Vni,
    tap: Arc<Tap>,
    coalescer: Coalescer,
}

/// Frames that did not go into a TAP.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unwritten {
    /// The kernel had no room.
    pub(super) full: u64,
    /// The device is down or gone, or refused the frame.
    pub(super) failed: u64,
}

/// Ordered by VNI.
#[derive(Default)]
pub(super) struct Ports {
    open: Vec<Port>,
    /// Places of ports that frames wait for.
    waiting: Vec<usize>,
    /// Where the last frame went: the next one goes there too, mostly.
    last: usize,
    unwritten: Unwritten,
    pieces: Pieces<'static>,
}

impl Ports {
    pub(super) fn open(&mut self, vni: Vni, tap: Arc<Tap>) {
        self.close(vni);
        let at = self.open.partition_point(|port| port.vni < vni);
        let joins_udp = tap.offloads() == Offloads::TcpAndUdp;
        self.open.insert(at, Port { vni, tap, coalescer: Coalescer::new(joins_udp) });
    }

    /// Frames that wait for it are lost. Returns its TAP, for the caller to stop watching.
    pub(super) fn close(&mut self, vni: Vni) -> Option<Arc<Tap>> {
        let at = self.find(vni)?;
        self.forget();
        Some(self.open.remove(at).tap)
    }

    pub(super) fn tap(&mut self, vni: Vni) -> Option<&Arc<Tap>> {
        self.find(vni).map(|at| &self.open[at].tap)
    }

    /// A frame that lies `at` bytes into the arena that [`Ports::write`] will be given.
    pub(super) fn push(&mut self, vni: Vni, frame: &[u8], checksum: Checksum, at: usize) {
        let Some(place) = self.find(vni) else {
            self.unwritten.failed += 1;
            return;
        };
        if !self.waiting.contains(&place) {
            self.waiting.push(place);
        }
        self.open[place].coalescer.push(Frame { bytes: frame, checksum, gso: None }, at);
    }

    /// A complete frame, at once.
    pub(super) fn inject(&mut self, vni: Vni, frame: &[u8]) {
        let Some(place) = self.find(vni) else {
            self.unwritten.failed += 1;
            return;
        };
        let header = vnet::header(Checksum::Complete, None, 0);
        let mut pieces = Pieces::default();
        pieces.push(&header);
        pieces.push(frame);
        let result = self.open[place].tap.write(&pieces);
        self.unwritten.count(result, 1);
    }

    /// Writes what waits, out of `arena`.
    pub(super) fn write(&mut self, arena: &[u8]) {
        for place in self.waiting.drain(..) {
            let Port { tap, coalescer, .. } = &mut self.open[place];
            for run in coalescer.runs() {
                let result = write_run(tap, run, arena, &mut self.pieces);
                self.unwritten.count(result, run.pieces().len() as u64);
            }
            coalescer.clear();
        }
    }

    /// Lets go of what waits.
    pub(super) fn forget(&mut self) {
        for place in self.waiting.drain(..) {
            self.open[place].coalescer.clear();
        }
    }

    pub(super) fn take_unwritten(&mut self) -> Unwritten {
        std::mem::take(&mut self.unwritten)
    }

    fn find(&mut self, vni: Vni) -> Option<usize> {
        if self.open.get(self.last).is_some_and(|port| port.vni == vni) {
            return Some(self.last);
        }
        let at = self.open.binary_search_by_key(&vni, |port| port.vni).ok()?;
        self.last = at;
        Some(at)
    }
}

impl Unwritten {
    fn count(&mut self, result: Result<(), TapFault>, frames: u64) {
        match result {
            Ok(()) => {}
            Err(TapFault::Again) => self.full += frames,
            Err(TapFault::Refused | TapFault::Down | TapFault::Gone) => self.failed += frames,
        }
    }
}

/// Without copying: the kernel gathers the pieces where they lie.
fn write_run(tap: &Tap, run: &Run, arena: &[u8], spare: &mut Pieces<'static>) -> Result<(), TapFault> {
    let header = vnet::header(run.checksum(), run.gso(), run.headers().len());
    let mut pieces = std::mem::take(spare).reuse();
    pieces.push(&header);
    if run.is_joined() {
        pieces.push(run.headers());
    }
    for piece in run.pieces() {
        pieces.push(&arena[piece.clone()]);
    }
    let result = tap.write(&pieces);
    *spare = pieces.reuse();
    result
}
