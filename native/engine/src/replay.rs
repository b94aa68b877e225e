//! A replay window: each counter passes once, and none that lies left of the window (RFC 6479, bits in a ring of
//! words).

use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::wire::REPLAY_WINDOW;

const WORD_BITS: u64 = 64;
/// One spare word, so that the word being filled never overlaps the oldest one in the window.
const WORDS: u64 = REPLAY_WINDOW / WORD_BITS + 1;

/// What a counter is to its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Moves the path.
    Newest,
    Late,
    /// Seen, or left of the window.
    Replay,
}

/// The window of one queue. A sender's queue arrives at one lane, as a rule: the lock is not contended.
#[derive(Debug, Default)]
pub struct Window {
    ring: Mutex<Ring>,
    accepted: AtomicU64,
}

impl Window {
    /// Only for counters whose datagram verified.
    pub fn accept(&self, counter: u64) -> Place {
        let mut ring = lock(&self.ring);
        let place = ring.accept(counter);
        if place != Place::Replay {
            // One writer at a time: the lock's holder.
            self.accepted.store(self.accepted.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        place
    }

    /// How many counters have been accepted.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct Ring {
    words: [u64; WORDS as usize],
    /// One more than the highest counter accepted.
    next: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self { words: [0; WORDS as usize], next: 0 }
    }
}

impl Ring {
    fn accept(&mut self, counter: u64) -> Place {
        let is_newest = counter >= self.next;
        if is_newest {
            self.advance(counter);
        } else if self.next - 1 - counter >= REPLAY_WINDOW {
            return Place::Replay;
        }
        let word = &mut self.words[(counter / WORD_BITS % WORDS) as usize];
        let bit = 1 << (counter % WORD_BITS);
        if *word & bit != 0 {
            return Place::Replay;
        }
        *word |= bit;
        if is_newest { Place::Newest } else { Place::Late }
    }

    fn advance(&mut self, counter: u64) {
        let to = counter / WORD_BITS;
        // Before the first counter all words are clear.
        let from = if self.next == 0 { 0 } else { (self.next - 1) / WORD_BITS };
        for word in to - (to - from).min(WORDS)..to {
            self.words[((word + 1) % WORDS) as usize] = 0;
        }
        self.next = counter + 1;
    }
}

#[cfg(all(test, not(loom)))]
#[allow(clippy::cast_possible_wrap, clippy::cast_sign_loss)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn agrees_with_a_set_of_all_counters(
            steps in prop::collection::vec(prop_oneof![-8_232i64..40, -3i64..3, 0i64..25_000], 0..400),
        ) {
            let window = Window::default();
            let mut seen = HashSet::new();
            let mut newest = -1i64;
            for by in steps {
                let counter = (newest + by).max(0);
                let is_fresh = !seen.contains(&counter) && newest - counter < REPLAY_WINDOW as i64;
                let place = window.accept(counter as u64);
                prop_assert_eq!(place != Place::Replay, is_fresh);
                prop_assert_eq!(place == Place::Newest, counter > newest);
                seen.insert(counter);
                newest = newest.max(counter);
            }
        }
    }

    #[test]
    fn takes_the_counters_at_the_edges_of_its_range_once() {
        let window = Window::default();
        for counter in [0, 1 << 52, (1 << 53) - 1] {
            assert_eq!(window.accept(counter), Place::Newest);
            assert_eq!(window.accept(counter), Place::Replay);
        }
        assert_eq!(window.accept((1 << 53) - REPLAY_WINDOW), Place::Late);
        assert_eq!(window.accept((1 << 53) - 1 - REPLAY_WINDOW), Place::Replay);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::Arc, thread};

    #[test]
    fn a_counter_passes_once_whoever_brings_it() {
        loom::model(|| {
            let window = Arc::new(Window::default());
            let bring = |counters: [u64; 2]| {
                let window = Arc::clone(&window);
                thread::spawn(move || counters.map(|counter| window.accept(counter) != Place::Replay))
            };
            let (one, two) = (bring([5, 70]), bring([70, 5]));
            let (one, two) = (one.join().unwrap(), two.join().unwrap());
            assert_ne!(one[0], two[1]);
            assert_ne!(one[1], two[0]);
            assert_eq!(window.accepted(), 2);
        });
    }
}
