//! Splits a super-frame into the frames that a network card would have made of it (docs/PROTOCOL.md "Splitting"), each
//! straight into the place where it will be sealed.

use crate::bytes::{get_u16, get_u32, put_u16, put_u32};
use crate::checksum::{TCP_CHECKSUM_OFFSET, UDP_CHECKSUM_OFFSET, fold, ones_sum};
use crate::frame::{Checksum, Frame, Gso, GsoKind, OwnedFrame};
use crate::limits::GSO_SEGMENTS;
use crate::transport::{self, PROTOCOL_TCP, PROTOCOL_UDP, Transport};

const TCP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const FIN_PSH: u8 = 0x09;
/// Belongs to the first segment (RFC 3168 6.1.2).
const CWR: u8 = 0x80;
/// IPv4: more fragments, or an offset.
const FRAGMENT_BITS: u16 = 0x3fff;

/// A super-frame whose headers have been checked, and what all its segments have in common.
#[derive(Debug)]
pub struct Split<'a> {
    whole: &'a [u8],
    transport: Transport,
    payload_at: usize,
    size: usize,
    count: usize,
    checksum_offset: usize,
    /// Sum of the pseudo-header but for the length.
    pseudo: u64,
    /// Sum of the IPv4 header but for length, identification and checksum.
    ip_sum: u64,
}

impl<'a> Split<'a> {
    /// None (`bad-gso`) when the headers are not what `gso` says.
    pub fn new(frame: &Frame<'a>, gso: Gso) -> Option<Self> {
        let whole = frame.bytes;
        let transport = transport::find(whole)?;
        if !fits(frame, gso, &transport) || gso.size == 0 {
            return None;
        }
        let payload_at = transport.at + header_bytes(whole, &transport)?;
        let payload = transport.end.checked_sub(payload_at)?;
        let size = usize::from(gso.size);
        let count = payload.div_ceil(size).max(1);
        if count > GSO_SEGMENTS {
            return None;
        }
        let is_tcp = transport.protocol == PROTOCOL_TCP;
        let checksum_offset = if is_tcp { TCP_CHECKSUM_OFFSET } else { UDP_CHECKSUM_OFFSET };
        let nothing = Transport { end: transport.at, ..transport };
        let pseudo = u64::from(transport::pseudo_header_sum(whole, &nothing));
        let ip_sum = if transport.is_ipv6 { 0 } else { ipv4_sum(whole, &transport) };
        Some(Self { whole, transport, payload_at, size, count, checksum_offset, pseudo, ip_sum })
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// Of all segments.
    pub fn checksum(&self) -> Checksum {
        Checksum::Partial { start: self.transport.at as u16, offset: self.checksum_offset as u16 }
    }

    pub fn segment_bytes(&self, index: usize) -> usize {
        let (from, to) = self.payload(index);
        self.payload_at + to - from
    }

    /// Writes segment `index` into `bytes`, which has its length.
    pub fn write(&self, index: usize, bytes: &mut [u8]) {
        let (from, to) = self.payload(index);
        let (headers, payload) = bytes.split_at_mut(self.payload_at);
        headers.copy_from_slice(&self.whole[..self.payload_at]);
        payload.copy_from_slice(&self.whole[from..to]);
        let end = self.payload_at + to - from;
        self.put_ip(headers, end, index);
        let at = self.transport.at;
        if self.transport.protocol == PROTOCOL_TCP {
            self.put_tcp(headers, index);
        } else {
            put_u16(headers, at + 4, (end - at) as u16);
        }
        // The length counts once: in both families it is one field of the pseudo-header.
        let pseudo = fold(self.pseudo + (end - at) as u64);
        put_u16(headers, at + self.checksum_offset, pseudo);
    }

    /// All segments, where they must wait.
    pub fn to_frames(&self) -> impl Iterator<Item = OwnedFrame> {
        (0..self.count).map(|index| {
            let mut bytes = vec![0; self.segment_bytes(index)];
            self.write(index, &mut bytes);
            OwnedFrame { bytes: bytes.into(), checksum: self.checksum(), gso: None }
        })
    }

    fn payload(&self, index: usize) -> (usize, usize) {
        let from = self.payload_at + index * self.size;
        (from, (from + self.size).min(self.transport.end))
    }

    /// Lengths; in IPv4 also the identification, which counts up, and the header's checksum.
    fn put_ip(&self, headers: &mut [u8], end: usize, index: usize) {
        let ip_at = self.transport.ip_at;
        if self.transport.is_ipv6 {
            put_u16(headers, ip_at + 4, (end - ip_at - 40) as u16);
            return;
        }
        let length = (end - ip_at) as u16;
        let id = get_u16(headers, ip_at + 4).wrapping_add(index as u16);
        put_u16(headers, ip_at + 2, length);
        put_u16(headers, ip_at + 4, id);
        put_u16(headers, ip_at + 10, !fold(self.ip_sum + u64::from(length) + u64::from(id)));
    }

    fn put_tcp(&self, headers: &mut [u8], index: usize) {
        let at = self.transport.at;
        let sequence = get_u32(headers, at + 4).wrapping_add((index * self.size) as u32);
        put_u32(headers, at + 4, sequence);
        if index + 1 < self.count {
            headers[at + 13] &= !FIN_PSH;
        }
        if index > 0 {
            headers[at + 13] &= !CWR;
        }
    }
}

fn fits(frame: &Frame<'_>, gso: Gso, transport: &Transport) -> bool {
    let (protocol, is_ipv6) = match gso.kind {
        GsoKind::Tcp4 => (PROTOCOL_TCP, false),
        GsoKind::Tcp6 => (PROTOCOL_TCP, true),
        GsoKind::Udp4 => (PROTOCOL_UDP, false),
        GsoKind::Udp6 => (PROTOCOL_UDP, true),
    };
    let &Transport { ip_at, at, end, .. } = transport;
    if transport.protocol != protocol || transport.is_ipv6 != is_ipv6 {
        return false;
    }
    if !is_ipv6 && get_u16(frame.bytes, ip_at + 6) & FRAGMENT_BITS != 0 {
        return false;
    }
    let (header, field) =
        if protocol == PROTOCOL_TCP { (TCP_BYTES, TCP_CHECKSUM_OFFSET) } else { (UDP_BYTES, UDP_CHECKSUM_OFFSET) };
    if end - at < header {
        return false;
    }
    match frame.checksum {
        Checksum::Complete => true,
        Checksum::Partial { start, offset } => usize::from(start) == at && usize::from(offset) == field,
    }
}

fn header_bytes(bytes: &[u8], transport: &Transport) -> Option<usize> {
    if transport.protocol == PROTOCOL_UDP {
        return Some(UDP_BYTES);
    }
    Some(usize::from(bytes[transport.at + 12] >> 4) * 4).filter(|&length| length >= TCP_BYTES)
}

fn ipv4_sum(bytes: &[u8], transport: &Transport) -> u64 {
    let &Transport { ip_at, at, .. } = transport;
    let fixed = [&bytes[ip_at..ip_at + 2], &bytes[ip_at + 6..ip_at + 10], &bytes[ip_at + 12..at]];
    fixed.iter().map(|part| u64::from(ones_sum(part, 0))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_split_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            kind in prop::sample::select(vec![GsoKind::Tcp4, GsoKind::Tcp6, GsoKind::Udp4, GsoKind::Udp6]),
            size: u16,
            lie in any::<bool>(),
        ) {
            let mut bytes = bytes;
            if bytes.len() > 40 && !lie {
                let is_ipv6 = matches!(kind, GsoKind::Tcp6 | GsoKind::Udp6);
                let is_tcp = matches!(kind, GsoKind::Tcp4 | GsoKind::Tcp6);
                let protocol = if is_tcp { 6 } else { 17 };
                let length = (bytes.len() - 14) as u16;
                if is_ipv6 {
                    bytes[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
                    put_u16(&mut bytes, 18, length.saturating_sub(40));
                    bytes[20] = protocol;
                } else {
                    bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
                    put_u16(&mut bytes, 16, length);
                    put_u16(&mut bytes, 20, 0);
                    bytes[23] = protocol;
                }
            }
            let frame = Frame::complete(&bytes);
            if let Some(split) = Split::new(&frame, Gso { kind, size }) {
                let total: usize = split.to_frames().map(|part| part.bytes.len() - split.payload_at).sum();
                prop_assert_eq!(total, split.transport.end - split.payload_at);
            }
        }
    }
}
