//! One key pair with a peer: its counters, its replay windows, and the sealing and opening of whole datagrams.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use crate::cipher::{Aead, Cipher};
use crate::command::SessionKeys;
use crate::datagram::{Outer, put_outer};
use crate::peer::Peer;
use crate::replay::{Place, Window};
use crate::sync::{AtomicU64, Ordering, Padded};
use crate::wire::{QUEUES_MAX, REJECT_MS};

/// Packets a key seals before `rekey` is reported, and at most.
#[derive(Clone, Copy, Debug)]
pub struct KeyLimits {
    pub rekey_packets: u64,
    pub reject_packets: u64,
}

pub struct Session {
    pub peer: Arc<Peer>,
    pub local: u32,
    pub cipher: Cipher,
    pub partial_checksum: bool,
    pub installed_at: u64,
    remote: u32,
    limits: KeyLimits,
    confirmed: AtomicBool,
    sealing: Aead,
    opening: Aead,
    /// The next counter of each queue sealed on here: 0 for controls, then one per data thread. Whatever two threads
    /// do, no counter is given out twice.
    counters: Box<[Padded<AtomicU64>]>,
    /// One per queue that the peer announced, made when its first datagram verifies.
    windows: Box<[OnceLock<Box<Window>>]>,
}

impl Session {
    pub fn new(peer: Arc<Peer>, keys: &SessionKeys, limits: KeyLimits, seal_queues: usize, now: u64) -> Self {
        let queues = usize::from(keys.peer_queues.min(QUEUES_MAX)) + 1;
        Self {
            peer,
            local: keys.local,
            remote: keys.remote,
            cipher: keys.cipher,
            partial_checksum: keys.partial_checksum,
            installed_at: now,
            limits,
            confirmed: AtomicBool::new(keys.confirmed),
            sealing: Aead::new(keys.cipher, &keys.seal_key, keys.seal_iv),
            opening: Aead::new(keys.cipher, &keys.open_key, keys.open_iv),
            counters: (0..=seal_queues).map(|_| Padded::default()).collect(),
            windows: (0..queues).map(|_| OnceLock::new()).collect(),
        }
    }

    pub fn is_confirmed(&self) -> bool {
        self.confirmed.load(Ordering::Acquire)
    }

    pub fn confirm(&self) {
        self.confirmed.store(true, Ordering::Release);
    }

    /// How many more it may seal now: 0 from the time or packet limit on, and until it is confirmed.
    pub fn room(&self, now: u64) -> u64 {
        if !self.is_confirmed() || self.is_over(now) {
            return 0;
        }
        self.limits.reject_packets.saturating_sub(self.sealed())
    }

    pub fn can_seal(&self, now: u64) -> bool {
        self.room(now) > 0
    }

    pub fn can_open(&self, now: u64) -> bool {
        let opened: u64 = self.windows.iter().filter_map(OnceLock::get).map(|window| window.accepted()).sum();
        opened < self.limits.reject_packets && !self.is_over(now)
    }

    pub fn is_over(&self, now: u64) -> bool {
        now.saturating_sub(self.installed_at) >= REJECT_MS
    }

    pub fn is_near_its_end(&self) -> bool {
        self.sealed() >= self.limits.rekey_packets
    }

    pub fn has_queue(&self, queue: u8) -> bool {
        usize::from(queue) < self.windows.len()
    }

    /// Writes the outer header and seals in place. `datagram` = 16 bytes of room | plaintext | 16 bytes of room. False
    /// when it was not sealed: then nothing of it may leave.
    #[must_use]
    pub fn seal(&self, datagram: &mut [u8], queue: u8) -> bool {
        let Padded(next) = &self.counters[usize::from(queue)];
        let counter = next.fetch_add(1, Ordering::Relaxed);
        put_outer(datagram, &Outer { receiver: self.remote, queue, counter });
        self.sealing.seal(datagram)
    }

    /// In place; false when the tag does not verify. Changes no window: `accept` comes after it.
    #[must_use]
    pub fn open(&self, datagram: &mut [u8]) -> bool {
        self.opening.open(datagram)
    }

    /// For a datagram that verified.
    pub fn accept(&self, queue: u8, counter: u64) -> Place {
        self.windows[usize::from(queue)].get_or_init(Box::default).accept(counter)
    }

    fn sealed(&self) -> u64 {
        self.counters.iter().map(|Padded(counter)| counter.load(Ordering::Relaxed)).sum()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "session {} with {}", self.local, self.peer.id)
    }
}
