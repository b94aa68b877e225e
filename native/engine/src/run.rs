//! A run of frames on its way into a TAP: one frame, or many of one flow under one set of headers.

use std::ops::Range;

use crate::bytes::{get_u16, get_u32, put_u16};
use crate::checksum::{TCP_CHECKSUM_OFFSET, UDP_CHECKSUM_OFFSET, checksum_of};
use crate::frame::{Checksum, Gso, GsoKind};
use crate::piece::Piece;
use crate::transport::{self, IPV6_BYTES, PROTOCOL_TCP, Transport};
use crate::wire::FRAME_BYTES_MAX;

/// Ethernet with two tags, IPv6, TCP with all its options: 22 + 40 + 60.
const HEADERS_MAX: usize = 122;
/// Pieces of a run: `writev` takes 1,024, and the two headers are among them.
const PIECES_MAX: usize = 1_000;
/// And of one of UDP: `UDP_MAX_SEGMENTS` of kernels before 6.9.
const UDP_PIECES_MAX: usize = 64;
/// The end of a chain of runs.
pub(crate) const NONE: u32 = u32::MAX;

/// A frame, or a super-frame in the making.
#[derive(Debug)]
pub struct Run {
    /// In the arena that `Coalescer::push` was told about; the first is the whole first frame while the run has only
    /// one.
    pub(crate) pieces: Vec<Range<usize>>,
    headers: [u8; HEADERS_MAX],
    headers_bytes: usize,
    transport: Transport,
    ethernet_bytes: usize,
    /// Of the first frame.
    pub(crate) payload_bytes: usize,
    /// Of the whole run.
    pub(crate) length: usize,
    pub(crate) checksum: Checksum,
    pub(crate) gso: Option<Gso>,
    pub(crate) next: u32,
    pub(crate) is_open: bool,
}

impl Run {
    /// To be written first; empty for a frame that stayed alone.
    pub fn headers(&self) -> &[u8] {
        if self.is_joined() { &self.headers[..self.headers_bytes] } else { &[] }
    }

    pub fn pieces(&self) -> &[Range<usize>] {
        &self.pieces
    }

    pub fn checksum(&self) -> Checksum {
        self.checksum
    }

    pub fn gso(&self) -> Option<Gso> {
        self.gso
    }

    pub fn is_joined(&self) -> bool {
        self.pieces.len() > 1
    }

    /// Bytes of the frame as it will be written.
    pub fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn new() -> Self {
        let nowhere = Transport { is_ipv6: false, protocol: 0, ip_at: 0, at: 0, end: 0 };
        Self {
            pieces: Vec::new(),
            headers: [0; HEADERS_MAX],
            headers_bytes: 0,
            transport: nowhere,
            ethernet_bytes: 0,
            payload_bytes: 0,
            length: 0,
            checksum: Checksum::Complete,
            gso: None,
            next: NONE,
            is_open: false,
        }
    }

    pub(crate) fn begin(&mut self, piece: &Piece<'_>, next: u32, is_open: bool) {
        self.headers[..piece.payload_at].copy_from_slice(&piece.bytes[..piece.payload_at]);
        self.headers_bytes = piece.payload_at;
        self.transport = piece.transport;
        self.ethernet_bytes = piece.ethernet_bytes;
        self.payload_bytes = piece.payload_bytes();
        self.next = next;
        self.is_open = is_open;
    }

    pub(crate) fn add(&mut self, piece: &Piece<'_>, whole: Range<usize>) {
        if self.pieces.len() == 1 {
            self.pieces[0].start += self.headers_bytes;
        }
        self.pieces.push(whole.start + piece.payload_at..whole.end);
        self.length += piece.payload_bytes();
        if self.is_tcp() {
            let flags_at = self.transport.at + 13;
            // The flags of the first are ACK alone, or nothing would follow it.
            self.headers[flags_at] = piece.bytes[flags_at];
        }
    }

    fn is_tcp(&self) -> bool {
        self.transport.protocol == PROTOCOL_TCP
    }

    /// Ethernet header, protocol, addresses and ports.
    pub(crate) fn is_same_flow(&self, piece: &Piece<'_>) -> bool {
        let &Transport { is_ipv6, ip_at, at, .. } = &self.transport;
        let (a, b) = (&self.headers, piece.bytes);
        let addresses = if is_ipv6 { ip_at + 8..ip_at + 40 } else { ip_at + 12..ip_at + 20 };
        self.ethernet_bytes == piece.ethernet_bytes
            && a[..ip_at] == b[..ip_at]
            && is_ipv6 == piece.transport.is_ipv6
            && self.transport.protocol == piece.transport.protocol
            && a[addresses.clone()] == b[addresses]
            && a[at..at + 4] == b[piece.transport.at..piece.transport.at + 4]
    }

    pub(crate) fn is_followed_by(&self, piece: &Piece<'_>) -> bool {
        let (a, b) = (&self.headers, piece.bytes);
        let &Transport { ip_at, at, .. } = &self.transport;
        let count = self.pieces.len();
        if piece.payload_bytes() > self.payload_bytes || count == PIECES_MAX {
            return false;
        }
        // The IP length field holds 16 bits.
        if self.length + piece.payload_bytes() - ip_at > FRAME_BYTES_MAX {
            return false;
        }
        if piece.payload_at != self.headers_bytes || !self.is_followed_in_ip(piece) {
            return false;
        }
        if !self.is_tcp() {
            return count < UDP_PIECES_MAX;
        }
        let sequence = get_u32(a, at + 4).wrapping_add((count * self.payload_bytes) as u32);
        get_u32(b, at + 4) == sequence
            && a[at + 8..at + 13] == b[at + 8..at + 13]
            && a[at + 14..at + 16] == b[at + 14..at + 16]
            && a[at + 18..self.headers_bytes] == b[at + 18..self.headers_bytes]
    }

    /// What split.rs would make: equal but for lengths, and in IPv4 the identification counts up.
    fn is_followed_in_ip(&self, piece: &Piece<'_>) -> bool {
        let (a, b) = (&self.headers, piece.bytes);
        let ip_at = self.transport.ip_at;
        if self.transport.is_ipv6 {
            return a[ip_at..ip_at + 4] == b[ip_at..ip_at + 4] && a[ip_at + 6..ip_at + 8] == b[ip_at + 6..ip_at + 8];
        }
        get_u16(b, ip_at + 4) == get_u16(a, ip_at + 4).wrapping_add(self.pieces.len() as u16)
            && a[ip_at + 1] == b[ip_at + 1]
            && a[ip_at + 6..ip_at + 9] == b[ip_at + 6..ip_at + 9]
    }

    pub(crate) fn finish(&mut self) {
        let transport = Transport { end: self.length, ..self.transport };
        let Transport { is_ipv6, ip_at, at, end, .. } = transport;
        let headers = &mut self.headers;
        if is_ipv6 {
            put_u16(headers, ip_at + 4, (end - ip_at - IPV6_BYTES) as u16);
        } else {
            put_u16(headers, ip_at + 2, (end - ip_at) as u16);
            put_u16(headers, ip_at + 10, 0);
            let checksum = checksum_of(&headers[ip_at..at], 0);
            put_u16(headers, ip_at + 10, checksum);
        }
        let is_tcp = transport.protocol == PROTOCOL_TCP;
        if !is_tcp {
            put_u16(headers, at + 4, (end - at) as u16);
        }
        let offset = if is_tcp { TCP_CHECKSUM_OFFSET } else { UDP_CHECKSUM_OFFSET };
        let pseudo = transport::pseudo_header_sum(headers, &transport);
        put_u16(headers, at + offset, pseudo);
        self.checksum = Checksum::Partial { start: at as u16, offset: offset as u16 };
        let kind = match (is_tcp, is_ipv6) {
            (true, false) => GsoKind::Tcp4,
            (true, true) => GsoKind::Tcp6,
            (false, false) => GsoKind::Udp4,
            (false, true) => GsoKind::Udp6,
        };
        self.gso = Some(Gso { kind, size: self.payload_bytes as u16 });
    }
}
