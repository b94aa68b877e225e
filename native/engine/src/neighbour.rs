//! Who has which address on a segment: answers questions for hosts elsewhere, and announces changes on the local
//! bridge.

use std::collections::{BTreeMap, HashMap};

use crate::bytes::put_u48;
use crate::frame::{self, TYPE_ARP, TYPE_IPV6, ether_type, is_multicast, payload_at};
use crate::ids::{Ip, Mac};
use crate::limits::{ANNOUNCE_BATCH, ANNOUNCE_BATCH_MS, ANNOUNCE_INTERVAL_MS, ANNOUNCEMENTS, TABLE_NEIGHBOURS};
use crate::wire::ETHERNET_BYTES;
use crate::{arp, nd};

#[derive(Debug)]
struct Announcement {
    ip: Ip,
    at: u64,
    left: u32,
}

#[derive(Debug, Default)]
pub struct Neighbours {
    macs: HashMap<Ip, Mac>,
    /// In the order in which they were first wanted.
    announcements: BTreeMap<u64, Announcement>,
    /// The place of an address among them.
    places: HashMap<Ip, u64>,
    serial: u64,
}

impl Neighbours {
    /// A new or changed neighbour is announced 3 times. A full table refuses.
    pub fn set(&mut self, ip: Ip, mac: Mac, now: u64) {
        let known = self.macs.get(&ip);
        if known == Some(&mac) || (known.is_none() && self.macs.len() >= TABLE_NEIGHBOURS) {
            return;
        }
        self.macs.insert(ip, mac);
        let place = *self.places.entry(ip).or_insert_with(|| {
            self.serial += 1;
            self.serial
        });
        self.announcements.insert(place, Announcement { ip, at: now, left: ANNOUNCEMENTS });
    }

    pub fn unset(&mut self, ip: Ip) {
        self.macs.remove(&ip);
        if let Some(place) = self.places.remove(&ip) {
            self.announcements.remove(&place);
        }
    }

    /// The answer to a broadcast ARP or multicast ND question about a host elsewhere; None when the question travels.
    /// Probes and announcements (RFC 5227, RFC 4862 5.4), and questions about the asker itself (RFC 9161 3.2), always
    /// travel: they look for duplicates.
    pub fn answer(&self, bytes: &[u8], is_remote: impl Fn(Mac) -> bool) -> Option<Vec<u8>> {
        let at = payload_at(bytes);
        if self.macs.is_empty() || at != ETHERNET_BYTES || !is_multicast(frame::destination(bytes)) {
            return None;
        }
        let source = frame::source(bytes);
        let remote = |ip: Ip| self.macs.get(&ip).copied().filter(|&mac| mac != source && is_remote(mac));
        match ether_type(bytes, at) {
            TYPE_ARP => {
                let request = arp::parse_request(bytes, at).filter(|request| request.sender_mac == source)?;
                if request.sender_ip.is_unspecified() || request.sender_ip == request.target_ip {
                    return None;
                }
                Some(arp::answer(bytes, &request, remote(request.target_ip.into())?))
            }
            TYPE_IPV6 => {
                let question = nd::parse_solicitation(bytes)?;
                if question.source.is_unspecified() || question.source == question.target {
                    return None;
                }
                Some(nd::answer(bytes, &question, remote(question.target.into())?))
            }
            _ => None,
        }
    }

    /// Announcements that are due, for the local bridge, a batch at most. `tap_mac` stands as the source of those whose
    /// MAC is not behind a tunnel: under its own the bridge would look for a local machine behind the TAP.
    pub fn announce(
        &mut self,
        now: u64,
        tap_mac: Mac,
        is_remote: impl Fn(Mac) -> bool,
        mut deliver: impl FnMut(&[u8]),
    ) {
        let mut done = Vec::new();
        let due = self.announcements.iter_mut().filter(|(_, announcement)| announcement.at <= now);
        for (&place, announcement) in due.take(ANNOUNCE_BATCH) {
            let mac = self.macs[&announcement.ip];
            let mut bytes = announce(announcement.ip, mac);
            if !is_remote(mac) {
                put_u48(&mut bytes, 6, tap_mac);
            }
            deliver(&bytes);
            announcement.at = now + ANNOUNCE_INTERVAL_MS;
            announcement.left -= 1;
            if announcement.left == 0 {
                done.push(place);
            }
        }
        for place in done {
            if let Some(announcement) = self.announcements.remove(&place) {
                self.places.remove(&announcement.ip);
            }
        }
    }

    /// When announcements are next due; at least a batch's pause away.
    pub fn next_at(&self, now: u64) -> Option<u64> {
        let next = self.announcements.values().map(|announcement| announcement.at).min()?;
        Some(next.max(now + ANNOUNCE_BATCH_MS))
    }
}

fn announce(ip: Ip, mac: Mac) -> Vec<u8> {
    match ip {
        Ip::V4(ip) => arp::announce(ip, mac),
        Ip::V6(ip) => nd::announce(ip, mac),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_answered_or_travel(
            bytes in prop::collection::vec(any::<u8>(), 14..150),
            is_ipv6: bool,
            is_tidy: bool,
        ) {
            let mut bytes = bytes;
            bytes[0] |= 1;
            bytes[12..14].copy_from_slice(if is_ipv6 { &[0x86, 0xdd] } else { &[8, 6] });
            if is_tidy && bytes.len() > 60 {
                bytes[14] = 0x60;
                let length = (bytes.len() - 54).min(255) as u8;
                bytes[18..22].copy_from_slice(&[0, length, 58, 255]);
            }
            let mut neighbours = Neighbours::default();
            neighbours.set("10.0.0.1".parse().unwrap(), 5, 0);
            let _ = neighbours.answer(&bytes, |_| true);
        }
    }
}
