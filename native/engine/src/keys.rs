//! Which sealing keys have entered this process: none enters twice, or its counters would start again from 0 under the
//! same key.

use std::collections::{HashSet, VecDeque};

use crate::blake2s::{HASH_BYTES, hash};
use crate::limits::KEYS_REMEMBERED;

/// One per process, over all its engines.
#[derive(Debug, Default)]
pub struct KeyRegistry {
    known: HashSet<[u8; HASH_BYTES]>,
    order: VecDeque<[u8; HASH_BYTES]>,
}

impl KeyRegistry {
    /// False when `key` was here before. Only its hash is kept.
    pub fn admit(&mut self, key: &[u8; 32]) -> bool {
        let name = hash(&[b"overlayd sealing key", key]);
        if self.known.contains(&name) {
            return false;
        }
        if self.known.len() >= KEYS_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(name);
        self.known.insert(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_a_key_once_and_forgets_only_the_oldest_of_very_many() {
        let mut keys = KeyRegistry::default();
        let key = |i: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&i.to_be_bytes());
            key
        };
        assert!((0..KEYS_REMEMBERED).all(|i| keys.admit(&key(i))));
        assert!(!keys.admit(&key(0)));
        assert!(keys.admit(&key(KEYS_REMEMBERED)));
        assert!(!keys.admit(&key(1)));
        assert!(keys.admit(&key(0)));
    }
}
