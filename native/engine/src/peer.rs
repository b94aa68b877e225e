//! Another host as all threads know it: its number in the tables, its clocks and its counters. What changes seldom is
//! in `rare.rs`.

use std::sync::atomic::AtomicBool;

use crate::drops::Drops;
use crate::ids::PeerId;
use crate::stats::Traffic;
use crate::sync::{AtomicU64, Ordering, Padded};

/// A moment in ms that may not have come yet.
#[derive(Debug)]
pub struct Moment(AtomicU64);

const NEVER: u64 = u64::MAX;

impl Default for Moment {
    fn default() -> Self {
        Self(AtomicU64::new(NEVER))
    }
}

impl Moment {
    pub fn get(&self) -> Option<u64> {
        let at = self.0.load(Ordering::Relaxed);
        (at != NEVER).then_some(at)
    }

    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }

    pub fn clear(&self) {
        if self.0.load(Ordering::Relaxed) != NEVER {
            self.0.store(NEVER, Ordering::Relaxed);
        }
    }

    /// True when it came less than `interval` ago.
    pub fn is_within(&self, interval: u64, now: u64) -> bool {
        self.get().is_some_and(|at| now.saturating_sub(at) < interval)
    }

    /// True when it had not come: then it is now.
    pub fn begin(&self, now: u64) -> bool {
        let is_new = self.0.load(Ordering::Relaxed) == NEVER;
        if is_new {
            self.set(now);
        }
        is_new
    }

    /// True when it had not come or is `interval` ago: then it is now, and of several threads only one is told so.
    pub fn renew(&self, now: u64, interval: u64) -> bool {
        let at = self.0.load(Ordering::Relaxed);
        if at != NEVER && now.saturating_sub(at) < interval {
            return false;
        }
        self.0.compare_exchange(at, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Counters of one thread, which alone writes them.
#[derive(Debug, Default)]
struct Share {
    frames_out: AtomicU64,
    frames_in: AtomicU64,
    bytes_out: AtomicU64,
    bytes_in: AtomicU64,
}

/// What passed, counted by each thread for itself.
#[derive(Debug)]
pub struct Counters(Box<[Padded<Share>]>);

impl Counters {
    pub fn new(shares: usize) -> Self {
        Self((0..shares).map(|_| Padded::default()).collect())
    }

    pub fn count_out(&self, share: usize, frames: u64, bytes: u64) {
        let Padded(share) = &self.0[share];
        add(&share.frames_out, frames);
        add(&share.bytes_out, bytes);
    }

    pub fn count_in(&self, share: usize, bytes: u64) {
        let Padded(share) = &self.0[share];
        add(&share.frames_in, 1);
        add(&share.bytes_in, bytes);
    }

    pub fn sum(&self) -> Traffic {
        let mut sum = Traffic::default();
        for Padded(share) in &self.0 {
            sum.frames_out += share.frames_out.load(Ordering::Relaxed);
            sum.frames_in += share.frames_in.load(Ordering::Relaxed);
            sum.bytes_out += share.bytes_out.load(Ordering::Relaxed);
            sum.bytes_in += share.bytes_in.load(Ordering::Relaxed);
        }
        sum
    }
}

/// One writer: no locked instruction.
fn add(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

#[derive(Debug)]
pub struct Peer {
    pub id: PeerId,
    /// Its place in the snapshot and in the tables' slots.
    pub slot: u16,
    pub drops: Drops,
    pub traffic: Counters,
    /// An authenticated datagram came from the endpoint in use: advertised addresses do not replace it.
    pub is_proven: AtomicBool,
    pub sent: Moment,
    pub heard: Moment,
    /// Since when something sent has had no answer, and since when something heard has had none.
    pub unanswered: Moment,
    pub owes: Moment,
    /// When a session was last wished for.
    pub wanted: Moment,
}

impl Peer {
    pub fn new(id: PeerId, slot: u16, shares: usize) -> Self {
        Self {
            id,
            slot,
            drops: Drops::default(),
            traffic: Counters::new(shares),
            is_proven: AtomicBool::new(false),
            sent: Moment::default(),
            heard: Moment::default(),
            unanswered: Moment::default(),
            owes: Moment::default(),
            wanted: Moment::default(),
        }
    }

    /// When anything authenticated last went either way: what keeps a NAT's mapping.
    pub fn passed(&self) -> Option<u64> {
        self.sent.get().max(self.heard.get())
    }
}
