//! Neighbour Discovery for IPv6 (RFC 4861), as far as answering and announcing need it.

use std::net::Ipv6Addr;

use crate::bytes::{get_u32, put_u16, put_u48};
use crate::checksum::checksum_of;
use crate::frame::{self, TYPE_IPV6};
use crate::ids::Mac;
use crate::transport::{self, IPV6_BYTES, PROTOCOL_ICMPV6, Transport};
use crate::wire::ETHERNET_BYTES;

/// Type, code, checksum, flags, target.
const ND_BYTES: usize = 24;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// Shows that no router has passed it on.
const HOP_LIMIT: u8 = 255;
const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;
/// An advertisement with the target's link-layer address.
const PACKET_BYTES: usize = IPV6_BYTES + ND_BYTES + 8;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = 0x3333_0000_0001;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// `::` while the asker checks that nobody else has the target (RFC 4862 5.4).
    pub source: Ipv6Addr,
    pub target: Ipv6Addr,
}

/// None for anything but a solicitation, and for what RFC 4861 7.1.1 tells a receiver to discard, a wrong checksum
/// included.
pub fn parse_solicitation(frame: &[u8]) -> Option<Solicitation> {
    let found = transport::find(frame)?;
    let Transport { ip_at, at, end, .. } = found;
    if !found.is_ipv6 || found.protocol != PROTOCOL_ICMPV6 || end - at < ND_BYTES {
        return None;
    }
    if frame[at] != SOLICITATION || frame[at + 1] != 0 || frame[ip_at + 7] != HOP_LIMIT || frame[at + 8] == 0xff {
        return None;
    }
    let pseudo = transport::pseudo_header_sum(frame, &found);
    if checksum_of(&frame[at..end], u32::from(pseudo)) != 0 {
        return None;
    }
    let states_link_layer = read_options(&frame[at + ND_BYTES..end])?;
    let source = address(frame, ip_at + 8);
    if source.is_unspecified() && (states_link_layer || !is_solicited_node(frame, ip_at + 24)) {
        return None;
    }
    Some(Solicitation { source, target: address(frame, at + 8) })
}

/// A frame that answers `solicitation`, the parse of `frame`: its target is at `mac`.
pub fn answer(frame: &[u8], solicitation: &Solicitation, mac: Mac) -> Vec<u8> {
    let mut bytes = frame::make_answer(frame, mac, PACKET_BYTES);
    let at = bytes.len() - PACKET_BYTES;
    let &Solicitation { source, target } = solicitation;
    put_advertisement(&mut bytes, at, target, source, mac, SOLICITED | OVERRIDE);
    bytes
}

/// A frame with an unsolicited advertisement to all nodes (RFC 4861 7.2.6).
pub fn announce(ip: Ipv6Addr, mac: Mac) -> Vec<u8> {
    let mut bytes = frame::make(ALL_NODES_MAC, mac, TYPE_IPV6, PACKET_BYTES);
    put_advertisement(&mut bytes, ETHERNET_BYTES, ip, ALL_NODES, mac, OVERRIDE);
    bytes
}

fn address(frame: &[u8], at: usize) -> Ipv6Addr {
    let bytes: [u8; 16] = frame[at..at + 16].try_into().expect("sixteen bytes");
    bytes.into()
}

/// Whether a source link-layer address is among the options; None when one has length 0 or does not fit.
fn read_options(options: &[u8]) -> Option<bool> {
    let mut states_source = false;
    let mut at = 0;
    while at < options.len() {
        let length = if at + 8 <= options.len() { usize::from(options[at + 1]) * 8 } else { 0 };
        if length == 0 || at + length > options.len() {
            return None;
        }
        states_source |= options[at] == OPTION_SOURCE;
        at += length;
    }
    Some(states_source)
}

/// `ff02::1:ff00:0/104` (RFC 4291 2.7.1).
fn is_solicited_node(frame: &[u8], at: usize) -> bool {
    get_u32(frame, at) == 0xff02_0000
        && get_u32(frame, at + 4) == 0
        && get_u32(frame, at + 8) == 1
        && frame[at + 12] == 0xff
}

/// IPv6 header, advertisement of `source` and option from `ip_at` to the end of `bytes`.
fn put_advertisement(bytes: &mut [u8], ip_at: usize, source: Ipv6Addr, to: Ipv6Addr, mac: Mac, flags: u8) {
    let at = ip_at + IPV6_BYTES;
    let end = at + ND_BYTES + 8;
    bytes[ip_at] = 0x60;
    put_u16(bytes, ip_at + 4, (end - at) as u16);
    bytes[ip_at + 6] = PROTOCOL_ICMPV6;
    bytes[ip_at + 7] = HOP_LIMIT;
    bytes[ip_at + 8..ip_at + 24].copy_from_slice(&source.octets());
    bytes[ip_at + 24..ip_at + 40].copy_from_slice(&to.octets());
    bytes[at] = ADVERTISEMENT;
    bytes[at + 4] = flags;
    bytes[at + 8..at + 24].copy_from_slice(&source.octets());
    bytes[at + ND_BYTES] = OPTION_TARGET;
    bytes[at + ND_BYTES + 1] = 1;
    put_u48(bytes, at + ND_BYTES + 2, mac);
    let transport = Transport { is_ipv6: true, protocol: PROTOCOL_ICMPV6, ip_at, at, end };
    let pseudo = transport::pseudo_header_sum(bytes, &transport);
    let checksum = checksum_of(&bytes[at..end], u32::from(pseudo));
    put_u16(bytes, at + 2, checksum);
}
