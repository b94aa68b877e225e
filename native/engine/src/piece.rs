//! One frame as the coalescer sees it: its flow, its payload, and whether it can be joined to another.

use crate::bytes::{get_u16, get_u32};
use crate::checksum;
use crate::frame::{Checksum, Frame, payload_at};
use crate::transport::{self, IPV4_BYTES, IPV6_BYTES, PROTOCOL_TCP, PROTOCOL_UDP, Transport};

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
const FIN: u8 = 0x01;
pub const UDP_BYTES: usize = 8;

/// What is looked at in a TCP or UDP frame.
pub struct Piece<'a> {
    pub bytes: &'a [u8],
    pub transport: Transport,
    pub ethernet_bytes: usize,
    pub payload_at: usize,
}

impl Piece<'_> {
    pub fn payload_bytes(&self) -> usize {
        self.bytes.len() - self.payload_at
    }

    /// After a shorter payload, PSH or FIN nothing follows.
    pub fn ends_run(&self, payload_bytes: usize) -> bool {
        let is_tcp = self.transport.protocol == PROTOCOL_TCP;
        self.payload_bytes() < payload_bytes || (is_tcp && self.bytes[self.transport.at + 13] & (PSH | FIN) != 0)
    }
}

/// A frame with at least the plain part of a TCP header, or with a UDP header.
pub fn piece_of(bytes: &[u8], joins_udp: bool) -> Option<Piece<'_>> {
    let transport = transport::find(bytes)?;
    let header_bytes = match transport.protocol {
        PROTOCOL_TCP => 20,
        PROTOCOL_UDP if joins_udp => UDP_BYTES,
        _ => return None,
    };
    if transport.end - transport.at < header_bytes {
        return None;
    }
    Some(Piece { bytes, transport, ethernet_bytes: payload_at(bytes), payload_at: 0 })
}

/// Where the payload is; false for a frame that cannot be joined to another.
pub fn find_payload(frame: &Frame<'_>, piece: &mut Piece<'_>) -> bool {
    let bytes = frame.bytes;
    let &Transport { is_ipv6, ip_at, at, end, .. } = &piece.transport;
    let is_tcp = piece.transport.protocol == PROTOCOL_TCP;
    let header_bytes = if is_tcp { usize::from(bytes[at + 12] >> 4) * 4 } else { UDP_BYTES };
    let payload_at = at + header_bytes;
    if frame.gso.is_some() || (is_tcp && header_bytes < 20) || payload_at >= end || end != bytes.len() {
        return false;
    }
    if is_tcp {
        let flags = bytes[at + 13];
        if flags & ACK == 0 || flags & !(ACK | PSH | FIN) != 0 {
            return false;
        }
    } else if usize::from(get_u16(bytes, at + 4)) != end - at {
        return false;
    }
    let plain = if is_ipv6 { IPV6_BYTES } else { IPV4_BYTES };
    if at - ip_at != plain || (!is_ipv6 && get_u16(bytes, ip_at + 6) & 0x3fff != 0) {
        return false;
    }
    piece.payload_at = payload_at;
    // A partial checksum cannot be wrong; a complete one that is wrong must reach the receiver as it is.
    frame.checksum != Checksum::Complete || checksum::is_right(bytes, &piece.transport)
}

/// By the ports and the ends of the addresses.
pub fn bucket_of(piece: &Piece<'_>) -> usize {
    let &Transport { is_ipv6, ip_at, at, .. } = &piece.transport;
    let (from, to) = if is_ipv6 { (ip_at + 20, ip_at + 36) } else { (ip_at + 12, ip_at + 16) };
    let mixed = get_u32(piece.bytes, at) ^ get_u32(piece.bytes, from).rotate_left(7) ^ get_u32(piece.bytes, to);
    (mixed.wrapping_mul(0x9e37_79b1) >> 24) as usize
}
