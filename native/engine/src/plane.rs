//! What all data threads share: the snapshot that they read without a lock, the counters that they add to, and, behind
//! one lock, everything rare.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::agenda::Agenda;
pub use crate::agenda::Due;
use crate::drops::{DropReason, Drops};
use crate::events::Event;
use crate::keys::KeyRegistry;
use crate::lane::Lane;
use crate::peer::Peer;
use crate::rare::Rare;
use crate::session::KeyLimits;
use crate::sink::Sink;
use crate::snapshot::Snapshot;
use crate::stats::Stats;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::wire::{QUEUES_MAX, REJECT_PACKETS, REKEY_PACKETS};

/// Fills its argument with random bytes.
pub type Random = Box<dyn Fn(&mut [u8]) + Send + Sync>;

pub struct PlaneOptions {
    /// Data threads: lane i seals on queue 1 + i. 1..=16.
    pub lanes: usize,
    /// One per process: a second engine in it refuses the keys of the first.
    pub keys: Arc<Mutex<KeyRegistry>>,
    pub random: Random,
    /// MTU of the underlay: longer datagrams are counted as fragmented.
    pub path_mtu: u32,
    /// Packets a key seals before `rekey` is reported, and at most.
    pub rekey_packets: u64,
    pub reject_packets: u64,
}

impl PlaneOptions {
    /// One lane, and the protocol's limits.
    pub fn new(keys: Arc<Mutex<KeyRegistry>>, random: Random) -> Self {
        Self { lanes: 1, keys, random, path_mtu: 1_500, rekey_packets: REKEY_PACKETS, reject_packets: REJECT_PACKETS }
    }
}

pub struct Plane {
    pub(crate) shared: Arc<ArcSwap<Snapshot>>,
    pub(crate) rare: Mutex<Rare>,
    pub(crate) keys: Arc<Mutex<KeyRegistry>>,
    pub(crate) agenda: Agenda,
    pub(crate) lanes: usize,
    pub(crate) key_limits: KeyLimits,
    pub(crate) random: Random,
    drops: Drops,
    fragmented: AtomicU64,
    path_mtu: usize,
}

impl Plane {
    pub fn new(options: PlaneOptions) -> Arc<Self> {
        let lanes = options.lanes.clamp(1, usize::from(QUEUES_MAX));
        Arc::new(Self {
            shared: Arc::default(),
            rare: Mutex::new(Rare::new(lanes + 1)),
            keys: options.keys,
            agenda: Agenda::default(),
            lanes,
            key_limits: KeyLimits { rekey_packets: options.rekey_packets, reject_packets: options.reject_packets },
            random: options.random,
            drops: Drops::default(),
            fragmented: AtomicU64::new(0),
            path_mtu: options.path_mtu as usize,
        })
    }

    /// The view of data thread `index`, 0..lanes. Each is taken once: its counters have one writer.
    pub fn lane(self: &Arc<Self>, index: usize) -> Lane {
        assert!(index < self.lanes, "there are {} lanes", self.lanes);
        Lane::new(self, index, (index + 1) as u8)
    }

    /// The view of the thread that commands. It seals on the first data thread's queue, as frames that waited go out
    /// with a command.
    pub fn control_lane(self: &Arc<Self>) -> Lane {
        Lane::new(self, self.lanes, 1)
    }

    /// When [`Lane::tick`] is wanted next. A tick that comes early does no harm.
    pub fn deadline(&self) -> Option<Due> {
        self.agenda.next()
    }

    pub fn stats(&self, now: u64) -> Stats {
        let rare = lock(&self.rare);
        Stats {
            drops: self.drops.view(),
            fragmented: self.fragmented.load(Ordering::Relaxed),
            peers: rare.peer_stats(now),
            segments: rare.segment_stats(),
        }
    }

    /// The state behind lost events: local MACs and wanted sessions, as events.
    pub fn report(&self) -> Vec<Event> {
        lock(&self.rare).report()
    }

    /// Counts what the system did not take (`tap-full`, `socket-full`, `send-error`).
    pub fn drop(&self, reason: DropReason, count: u64) {
        self.drops.add(reason, count);
    }

    /// After a thread died: keys whose counters may be anywhere seal no more, and peers that had some are wished for
    /// again.
    // A path to the method is not general enough over the lifetimes of `Work`.
    #[allow(clippy::redundant_closure_for_method_calls)]
    pub fn drop_sessions(self: &Arc<Self>, now: u64, sink: &mut impl Sink) {
        self.control_lane().work(now, sink, |work| work.drop_sessions());
    }

    pub(crate) fn drop_for(&self, reason: DropReason, peer: &Peer) {
        self.drops.add(reason, 1);
        peer.drops.add(reason, 1);
    }

    /// A datagram of `bytes` leaves. What does not fit the path is fragmented by the kernel.
    pub(crate) fn count_fragmented(&self, is_ipv6: bool, bytes: usize) {
        /// IPv6 header and UDP header.
        const UNDERLAY_BYTES_MAX: usize = 48;
        let headers = if is_ipv6 { UNDERLAY_BYTES_MAX } else { UNDERLAY_BYTES_MAX - 20 };
        if bytes + headers > self.path_mtu {
            self.fragmented.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Plane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "plane of {} lanes", self.lanes)
    }
}
