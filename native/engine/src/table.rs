//! The forwarding table of one segment: which host has a MAC. Data threads read it without a lock: a slot is one word,
//! written by one thread at a time. Filled by the core, and provisionally by what the local bridge shows.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bucket::Bucket;
use crate::command::{Location, MacKind};
use crate::events::Event;
use crate::ids::{Mac, Vni};
use crate::limits::{MAC_AGE_MS, TABLE_MACS};
use crate::sync::{AtomicU64, Ordering};

/// Who has a MAC: the local bridge, or the peer of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Local,
    Peer(u16),
}

/// What a reader finds, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub owner: Owner,
    pub kind: MacKind,
    index: usize,
}

/// Open addressing; a word is MAC 48 | pinned 1 | owner 15, 0 is free. A MAC keeps its slot as long as the array lives,
/// also when it is deleted, so that no reader ever takes one MAC's word for another's.
#[derive(Debug)]
pub struct Slots {
    words: Box<[AtomicU64]>,
    /// When a frame of the MAC last came from the local bridge, in ms, doubled; the lowest bit: its silence has been
    /// reported.
    seen: Box<[AtomicU64]>,
    shift: u32,
}

const SLOTS_MIN: usize = 64;
const PINNED: u64 = 1 << 15;
const CODE: u64 = PINNED - 1;
const CODE_DELETED: u64 = CODE;
const CODE_LOCAL: u64 = CODE - 1;

impl Slots {
    fn new(count: usize) -> Self {
        let zeros = || (0..count).map(|_| AtomicU64::new(0)).collect();
        Self { words: zeros(), seen: zeros(), shift: 64 - count.trailing_zeros() }
    }

    pub fn find(&self, mac: Mac) -> Option<Found> {
        let (index, word) = self.probe(mac);
        let code = word & CODE;
        if word == 0 || code == CODE_DELETED {
            return None;
        }
        let owner = if code == CODE_LOCAL { Owner::Local } else { Owner::Peer((code - 1) as u16) };
        let kind = if word & PINNED != 0 { MacKind::Pinned } else { MacKind::Seen };
        Some(Found { owner, kind, index })
    }

    /// A frame of it came from the local bridge.
    pub fn touch(&self, found: &Found, now: u64) {
        let seen = &self.seen[found.index];
        if seen.load(Ordering::Relaxed) != now << 1 {
            seen.store(now << 1, Ordering::Relaxed);
        }
    }

    /// The slot of `mac` and its word, or the free slot where it would be.
    fn probe(&self, mac: Mac) -> (usize, u64) {
        let mask = self.words.len() - 1;
        let mut index = (mac.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        loop {
            let word = self.words[index].load(Ordering::Acquire);
            if word == 0 || word >> 16 == mac {
                return (index, word);
            }
            index = (index + 1) & mask;
        }
    }

    fn put(&self, mac: Mac, owner: Owner, kind: MacKind) -> usize {
        let code = match owner {
            Owner::Local => CODE_LOCAL,
            Owner::Peer(slot) => u64::from(slot) + 1,
        };
        let pinned = if kind == MacKind::Pinned { PINNED } else { 0 };
        let (index, _) = self.probe(mac);
        self.words[index].store(mac << 16 | pinned | code, Ordering::Release);
        index
    }

    fn delete(&self, mac: Mac) {
        let (index, _) = self.probe(mac);
        self.words[index].store(mac << 16 | CODE_DELETED, Ordering::Release);
    }

    fn seen(&self, mac: Mac) -> u64 {
        self.seen[self.probe(mac).0].load(Ordering::Relaxed)
    }

    fn set_seen(&self, index: usize, seen: u64) {
        self.seen[index].store(seen, Ordering::Relaxed);
    }
}

/// What only the writer needs of a MAC.
#[derive(Debug)]
struct Entry {
    owner: Owner,
    kind: MacKind,
    /// The core said so; else it was only seen on the local bridge.
    is_pinned: bool,
    /// The order of arrival, in which reports come.
    serial: u64,
    /// What it may broadcast; made with its first broadcast.
    bum: Option<Bucket>,
}

impl Entry {
    fn is_local_seen(&self) -> bool {
        self.owner == Owner::Local && self.kind == MacKind::Seen
    }
}

/// The writer's side.
#[derive(Debug)]
pub struct Table {
    slots: Arc<Slots>,
    /// Slots that are not free, deleted ones included.
    used: usize,
    entries: HashMap<Mac, Entry>,
    local_seen: usize,
    remote: usize,
    serial: u64,
}

impl Default for Table {
    fn default() -> Self {
        let slots = Arc::new(Slots::new(SLOTS_MIN));
        Self { slots, used: 0, entries: HashMap::new(), local_seen: 0, remote: 0, serial: 0 }
    }
}

impl Table {
    /// For readers; another array after the table has grown.
    pub fn slots(&self) -> &Arc<Slots> {
        &self.slots
    }

    pub fn get(&self, mac: Mac) -> Option<Found> {
        self.slots.find(mac)
    }

    /// MACs learned from the local bridge, pinned by the core as seen or not yet.
    pub fn local_seen(&self) -> usize {
        self.local_seen
    }

    pub fn local(&self) -> usize {
        self.entries.len() - self.remote
    }

    pub fn remote(&self) -> usize {
        self.remote
    }

    /// A MAC of the local bridge that nobody owns yet. None when the table or the bridge's share is full.
    pub fn learn(&mut self, mac: Mac, now: u64, local_macs: usize) -> Option<Found> {
        if self.local_seen >= local_macs || self.entries.len() >= TABLE_MACS {
            return None;
        }
        self.insert(mac, Owner::Local, MacKind::Seen, false, now);
        self.get(mac)
    }

    /// False when the table is full.
    pub fn pin(&mut self, mac: Mac, owner: Owner, kind: MacKind, now: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&mac) else {
            let has_room = self.entries.len() < TABLE_MACS;
            if has_room {
                self.insert(mac, owner, kind, true, now);
            }
            return has_room;
        };
        let (was_remote, was_local_seen) = (entry.owner != Owner::Local, entry.is_local_seen());
        let seen = if entry.owner == owner { self.slots.seen(mac) & !1 } else { now << 1 };
        entry.owner = owner;
        entry.kind = kind;
        entry.is_pinned = true;
        self.remote = self.remote + usize::from(owner != Owner::Local) - usize::from(was_remote);
        self.local_seen = self.local_seen + usize::from(entry.is_local_seen()) - usize::from(was_local_seen);
        let index = self.slots.put(mac, owner, kind);
        self.slots.set_seen(index, seen);
        true
    }

    pub fn unpin(&mut self, mac: Mac) {
        let Some(entry) = self.entries.remove(&mac) else { return };
        self.remote -= usize::from(entry.owner != Owner::Local);
        self.local_seen -= usize::from(entry.is_local_seen());
        self.slots.delete(mac);
    }

    /// The budget for broadcasts of a MAC in the table.
    pub fn bum(&mut self, mac: Mac, per_second: u64, now: u64) -> Option<&mut Bucket> {
        let entry = self.entries.get_mut(&mac)?;
        Some(entry.bum.get_or_insert_with(|| Bucket::new(per_second, now)))
    }

    pub fn set_port_rate(&mut self, per_second: u64, now: u64) {
        for bucket in self.entries.values_mut().filter_map(|entry| entry.bum.as_mut()) {
            bucket.set_rate(per_second, now);
        }
    }

    /// Reports local seen MACs that fell silent, each once; forgets those the core never took up.
    pub fn age(&mut self, vni: Vni, now: u64, mut report: impl FnMut(Event)) {
        for (mac, is_pinned) in self.local_seen_macs() {
            let seen = self.slots.seen(mac);
            if seen & 1 != 0 || now.saturating_sub(seen >> 1) < MAC_AGE_MS {
                continue;
            }
            let (index, _) = self.slots.probe(mac);
            self.slots.set_seen(index, seen | 1);
            report(Event::MacAged { vni, mac });
            if !is_pinned {
                self.unpin(mac);
            }
        }
    }

    /// Local seen MACs as events that say the same.
    pub fn report(&self, vni: Vni, mut report: impl FnMut(Event)) {
        for (mac, _) in self.local_seen_macs() {
            report(if self.slots.seen(mac) & 1 != 0 {
                Event::MacAged { vni, mac }
            } else {
                Event::MacLearned { vni, mac, at: Location::Local }
            });
        }
    }

    /// Peers that own something here.
    pub fn owners(&self) -> impl Iterator<Item = u16> {
        self.entries.values().filter_map(|entry| match entry.owner {
            Owner::Local => None,
            Owner::Peer(slot) => Some(slot),
        })
    }

    /// In order of arrival.
    fn local_seen_macs(&self) -> Vec<(Mac, bool)> {
        let mut macs: Vec<_> = self.entries.iter().filter(|(_, entry)| entry.is_local_seen()).collect();
        macs.sort_unstable_by_key(|(_, entry)| entry.serial);
        macs.into_iter().map(|(&mac, entry)| (mac, entry.is_pinned)).collect()
    }

    fn insert(&mut self, mac: Mac, owner: Owner, kind: MacKind, is_pinned: bool, now: u64) {
        self.serial += 1;
        let entry = Entry { owner, kind, is_pinned, serial: self.serial, bum: None };
        self.remote += usize::from(owner != Owner::Local);
        self.local_seen += usize::from(entry.is_local_seen());
        if self.slots.probe(mac).1 == 0 {
            if (self.used + 1) * 2 > self.slots.words.len() {
                self.rebuild();
            }
            self.used += 1;
        }
        self.entries.insert(mac, entry);
        let index = self.slots.put(mac, owner, kind);
        self.slots.set_seen(index, now << 1);
    }

    /// A larger array, or one of the same size without the deleted ones. Readers go on with the old one until they see
    /// the new.
    fn rebuild(&mut self) {
        let count = ((self.entries.len() + 1) * 4).next_power_of_two().max(SLOTS_MIN);
        let slots = Slots::new(count);
        for (&mac, entry) in &self.entries {
            let index = slots.put(mac, entry.owner, entry.kind);
            slots.set_seen(index, self.slots.seen(mac));
        }
        self.used = self.entries.len();
        self.slots = Arc::new(slots);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Pin(Mac, u16, bool),
        Local(Mac),
        Unpin(Mac),
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(steps in prop::collection::vec(prop_oneof![
            (0u64..300, 0u16..16_384, any::<bool>()).prop_map(|(mac, slot, pinned)| Step::Pin(mac, slot, pinned)),
            (0u64..300).prop_map(Step::Local),
            (0u64..300).prop_map(Step::Unpin),
        ], 0..1_000)) {
            let mut table = Table::default();
            let mut model: HashMap<Mac, (Owner, MacKind)> = HashMap::new();
            for step in steps {
                match step {
                    Step::Pin(mac, slot, pinned) => {
                        let kind = if pinned { MacKind::Pinned } else { MacKind::Seen };
                        table.pin(mac, Owner::Peer(slot), kind, 0);
                        model.insert(mac, (Owner::Peer(slot), kind));
                    }
                    Step::Local(mac) => {
                        table.pin(mac, Owner::Local, MacKind::Seen, 0);
                        model.insert(mac, (Owner::Local, MacKind::Seen));
                    }
                    Step::Unpin(mac) => {
                        table.unpin(mac);
                        model.remove(&mac);
                    }
                }
            }
            for mac in 0..300 {
                prop_assert_eq!(table.get(mac).map(|found| (found.owner, found.kind)), model.get(&mac).copied());
            }
            let remote = model.values().filter(|(owner, _)| *owner != Owner::Local).count();
            prop_assert_eq!((table.remote(), table.local()), (remote, model.len() - remote));
            prop_assert_eq!(table.local_seen(), model.len() - remote);
        }
    }

    #[test]
    fn a_full_table_refuses() {
        let mut table = Table::default();
        assert!((0..TABLE_MACS as u64).all(|mac| table.pin(mac * 7, Owner::Peer(1), MacKind::Seen, 0)));
        assert!(!table.pin(1, Owner::Peer(1), MacKind::Seen, 0));
        assert!(table.learn(1, 0, 10).is_none());
        assert!(table.pin(7, Owner::Peer(2), MacKind::Seen, 0));
        assert_eq!(table.get(7).unwrap().owner, Owner::Peer(2));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::RwLock, thread};

    /// A reader of the array it knows, and of the one that it finds after a growth, sees one of the values a MAC has
    /// had since; never another MAC's, and nothing from before what it saw already.
    #[test]
    fn a_reader_sees_whole_words_over_moves_and_growth() {
        loom::model(|| {
            let mut table = Table { slots: Arc::new(Slots::new(2)), ..Table::default() };
            table.insert(1, Owner::Peer(1), MacKind::Seen, true, 0);
            let shared = loom::sync::Arc::new(RwLock::new(Arc::clone(table.slots())));
            let reader = {
                let shared = loom::sync::Arc::clone(&shared);
                thread::spawn(move || {
                    let slots = Arc::clone(&shared.read().unwrap());
                    let first = slots.find(1).map(|found| found.owner);
                    let slots = Arc::clone(&shared.read().unwrap());
                    let second = slots.find(1).map(|found| found.owner);
                    let other = slots.find(2).map(|found| found.owner);
                    (first, second, other)
                })
            };
            table.pin(1, Owner::Peer(2), MacKind::Pinned, 0);
            table.insert(2, Owner::Peer(3), MacKind::Seen, true, 0);
            *shared.write().unwrap() = Arc::clone(table.slots());
            let (first, second, other) = reader.join().unwrap();
            assert!(matches!(first, Some(Owner::Peer(1 | 2))));
            assert!(matches!(second, Some(Owner::Peer(1 | 2))));
            assert!(first != Some(Owner::Peer(2)) || second == Some(Owner::Peer(2)));
            assert!(matches!(other, None | Some(Owner::Peer(3))));
        });
    }
}
