//! The way through IPv4 and IPv6 headers to the transport header in a frame. Every offset handed out lies within the
//! frame.

use crate::bytes::get_u16;
use crate::checksum::{fold, ones_sum};
use crate::frame::{TYPE_IPV4, TYPE_IPV6, ether_type, payload_at};
use crate::wire::ETHERNET_BYTES;

pub const PROTOCOL_TCP: u8 = 6;
pub const PROTOCOL_UDP: u8 = 17;
pub const PROTOCOL_ICMPV6: u8 = 58;

pub const IPV4_BYTES: usize = 20;
pub const IPV6_BYTES: usize = 40;
/// A chain this long has no use but to cost time.
const EXTENSIONS_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    pub is_ipv6: bool,
    /// IP protocol number of what starts at `at`.
    pub protocol: u8,
    /// Where the IP header, the transport header, and the packet's end lie; bytes beyond the end are Ethernet padding.
    pub ip_at: usize,
    pub at: usize,
    pub end: usize,
}

/// None for other protocols than IP, malformed or cut-off headers, and fragments but the first.
pub fn find(frame: &[u8]) -> Option<Transport> {
    if frame.len() < ETHERNET_BYTES {
        return None;
    }
    let ip_at = payload_at(frame);
    match ether_type(frame, ip_at) {
        TYPE_IPV4 => in_ipv4(frame, ip_at),
        TYPE_IPV6 => in_ipv6(frame, ip_at),
        _ => None,
    }
}

/// The pseudo-header's sum for TCP, UDP and `ICMPv6` (RFC 9293 3.1, RFC 8200 8.1), folded: what virtio calls a partial
/// checksum.
pub fn pseudo_header_sum(frame: &[u8], transport: &Transport) -> u16 {
    let &Transport { is_ipv6, protocol, ip_at, at, end } = transport;
    let addresses = if is_ipv6 { &frame[ip_at + 8..ip_at + 40] } else { &frame[ip_at + 12..ip_at + 20] };
    let length = (end - at) as u64;
    fold(u64::from(ones_sum(addresses, 0)) + u64::from(protocol) + (length >> 16) + (length & 0xffff))
}

fn in_ipv4(frame: &[u8], ip_at: usize) -> Option<Transport> {
    if frame.len() < ip_at + IPV4_BYTES || frame[ip_at] >> 4 != 4 {
        return None;
    }
    let header_bytes = usize::from(frame[ip_at] & 0x0f) * 4;
    let end = ip_at + usize::from(get_u16(frame, ip_at + 2));
    let at = ip_at + header_bytes;
    if header_bytes < IPV4_BYTES || at > end || end > frame.len() {
        return None;
    }
    if get_u16(frame, ip_at + 6) & 0x1fff != 0 {
        return None;
    }
    Some(Transport { is_ipv6: false, protocol: frame[ip_at + 9], ip_at, at, end })
}

fn in_ipv6(frame: &[u8], ip_at: usize) -> Option<Transport> {
    if frame.len() < ip_at + IPV6_BYTES || frame[ip_at] >> 4 != 6 {
        return None;
    }
    let end = ip_at + IPV6_BYTES + usize::from(get_u16(frame, ip_at + 4));
    if end > frame.len() {
        return None;
    }
    let mut protocol = frame[ip_at + 6];
    let mut at = ip_at + IPV6_BYTES;
    let mut extensions = 0;
    while is_extension(protocol) {
        // Each has at least 8 bytes; the length is checked before it is trusted.
        if extensions == EXTENSIONS_MAX || at + 8 > end {
            return None;
        }
        if protocol == FRAGMENT && get_u16(frame, at + 2) >> 3 != 0 {
            return None;
        }
        let length = extension_bytes(protocol, frame[at + 1]);
        protocol = frame[at];
        at += length;
        if at > end {
            return None;
        }
        extensions += 1;
    }
    Some(Transport { is_ipv6: true, protocol, ip_at, at, end })
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION)
}

/// RFC 8200 4.3-4.6 count in 8 bytes beyond the first 8, RFC 4302 2.2 in 4 bytes beyond the first 8.
fn extension_bytes(protocol: u8, length_field: u8) -> usize {
    match protocol {
        FRAGMENT => 8,
        AUTHENTICATION => (usize::from(length_field) + 2) * 4,
        _ => (usize::from(length_field) + 1) * 8,
    }
}
