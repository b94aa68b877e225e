//! The door for handshakes (docs/PROTOCOL.md "Admission"): MAC1 first, then a budget per source, then one for all with
//! cookies behind it.

use std::collections::HashMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::blake2s::{hash, hmac16};
use crate::bucket::Bucket;
use crate::bytes::get_u32;
use crate::cipher::xseal;
use crate::command::AdmissionKeys;
use crate::datagram::{COOKIE_NONCE_BYTES, HandshakeKind, MACS_BYTES, encode_cookie};
use crate::drops::DropReason;
use crate::ids::Endpoint;
use crate::limits::{HANDSHAKE_SOURCES, HANDSHAKES_GLOBAL, HANDSHAKES_PER_SOURCE};
use crate::wire::{MAC1_BYTES, MAC2_BYTES};

/// The key with which a handshake's mac1 is right: None when it is not. A cookie has none, and its seal shows to the
/// core that it answers a request of ours.
pub fn check_mac1<'k>(keys: &'k AdmissionKeys, kind: HandshakeKind, bytes: &[u8]) -> Option<&'k [u8; 32]> {
    let key = if kind == HandshakeKind::Join { keys.mac1_join.as_ref() } else { keys.mac1.as_ref() };
    let (body, macs) = bytes.split_at(bytes.len().checked_sub(MACS_BYTES)?);
    key.filter(|key| verify_slices_are_equal(&hmac16(*key, &[body]), &macs[..MAC1_BYTES]).is_ok())
}

/// True when the sender holds the cookie that the secret gives its address.
pub fn check_mac2(keys: &AdmissionKeys, bytes: &[u8], from: &Endpoint) -> bool {
    let (body, mac2) = bytes.split_at(bytes.len() - MAC2_BYTES);
    verify_slices_are_equal(&hmac16(&make_cookie(keys, from), &[body]), mac2).is_ok()
}

/// A cookie datagram, shorter than every datagram it can answer. Its associated data is the request's mac1: it answers
/// that request only.
pub fn make_cookie_reply(
    keys: &AdmissionKeys,
    mac1_key: &[u8; 32],
    request: &[u8],
    from: &Endpoint,
    nonce: &[u8; COOKIE_NONCE_BYTES],
) -> Vec<u8> {
    let at = request.len() - MACS_BYTES;
    let mac1 = &request[at..at + MAC1_BYTES];
    let key = hash(&[b"overlayd cookie", mac1_key]);
    let sealed = xseal(&key, nonce, mac1, &make_cookie(keys, from));
    encode_cookie(get_u32(request, 4), nonce, &sealed)
}

/// 16 bytes bound to an address and port: two hosts behind one NAT get different cookies.
fn make_cookie(keys: &AdmissionKeys, from: &Endpoint) -> [u8; 16] {
    hmac16(&keys.cookie_secret, &[from.to_string().as_bytes()])
}

/// An IPv4 address, or the /64 that one IPv6 host can fill at will.
type SourceKey = (bool, [u8; 8]);

#[derive(Debug, Default)]
pub struct Budgets {
    sources: HashMap<SourceKey, Bucket>,
    all: Option<Bucket>,
}

/// What the budgets say to a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// Only with a right mac2.
    NeedsCookie,
    Refused,
}

impl Budgets {
    /// For a cookie datagram.
    pub fn check_cookie(&mut self, from: &Endpoint, now: u64) -> Option<DropReason> {
        let is_within = self.source(from, now).is_some_and(|source| source.take(now)) && self.all(now).take(now);
        (!is_within).then_some(DropReason::HandshakeBudget)
    }

    /// One source's flood ends at its own budget and takes nothing from the others. Many sources together meet the
    /// cookie.
    pub fn check(&mut self, from: &Endpoint, now: u64) -> Verdict {
        match self.source(from, now).map(|source| source.take(now)) {
            Some(false) => Verdict::Refused,
            Some(true) if self.all(now).take(now) => Verdict::Pass,
            _ => Verdict::NeedsCookie,
        }
    }

    fn all(&mut self, now: u64) -> &mut Bucket {
        self.all.get_or_insert_with(|| Bucket::new(HANDSHAKES_GLOBAL, now))
    }

    /// The budget of an address; None when no more addresses can be told apart.
    fn source(&mut self, from: &Endpoint, now: u64) -> Option<&mut Bucket> {
        let key = source_key(from);
        if !self.sources.contains_key(&key) && self.sources.len() >= HANDSHAKE_SOURCES {
            self.sources.retain(|_, bucket| !bucket.is_full(now));
            if self.sources.len() >= HANDSHAKE_SOURCES {
                return None;
            }
        }
        Some(self.sources.entry(key).or_insert_with(|| Bucket::new(HANDSHAKES_PER_SOURCE, now)))
    }
}

fn source_key(from: &Endpoint) -> SourceKey {
    let mut key = [0; 8];
    let address = from.address();
    let bytes = address.len().min(8);
    key[..bytes].copy_from_slice(&address[..bytes]);
    (from.is_ipv6(), key)
}
