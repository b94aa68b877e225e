//! Joins TCP frames of one flow, and UDP frames if the TAP takes super-frames of UDP, into super-frames: the inverse of
//! split.rs (docs/PROTOCOL.md "Splitting"). Nothing is copied but one set of headers per run: a run names the places of
//! its pieces, to be written with one `writev`.

use std::ops::Range;

use crate::bytes::{get_u16, get_u32, put_u16};
use crate::checksum::{self, TCP_CHECKSUM_OFFSET, UDP_CHECKSUM_OFFSET, checksum_of};
use crate::frame::{Checksum, Frame, Gso, GsoKind, OwnedFrame, payload_at};
use crate::transport::{self, IPV4_BYTES, IPV6_BYTES, PROTOCOL_TCP, PROTOCOL_UDP, Transport};
use crate::wire::FRAME_BYTES_MAX;

const ACK: u8 = 0x10;
const PSH: u8 = 0x08;
const FIN: u8 = 0x01;
/// Ethernet with two tags, IPv6, TCP with all its options: 22 + 40 + 60.
const HEADERS_MAX: usize = 122;
/// Pieces of a run: `writev` takes 1,024, and the two headers are among them.
const PIECES_MAX: usize = 1_000;
/// And of one of UDP: `UDP_MAX_SEGMENTS` of kernels before 6.9.
const UDP_PIECES_MAX: usize = 64;
const UDP_BYTES: usize = 8;
/// Places of the table of open runs.
const BUCKETS: usize = 256;
const NONE: u32 = u32::MAX;

/// A frame, or a super-frame in the making.
#[derive(Debug)]
pub struct Run {
    /// In the arena that `Coalescer::push` was told about; the first is the whole first frame while the run has only
    /// one.
    pieces: Vec<Range<usize>>,
    headers: [u8; HEADERS_MAX],
    headers_bytes: usize,
    transport: Transport,
    ethernet_bytes: usize,
    /// Of the first frame.
    payload_bytes: usize,
    /// Of the whole run.
    length: usize,
    checksum: Checksum,
    gso: Option<Gso>,
    next: u32,
    is_open: bool,
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
}

/// One batch for one TAP, in order. Frames of a flow stay in order; a run stands where its first frame stood. Frames
/// that cannot be joined (not TCP, no payload, flags other than ACK, PSH, FIN, fragments, IP options, a wrong checksum)
/// pass unchanged and end their flow's run.
#[derive(Debug)]
pub struct Coalescer {
    runs: Vec<Run>,
    used: usize,
    heads: Box<[u32; BUCKETS]>,
    joins_udp: bool,
}

impl Default for Coalescer {
    fn default() -> Self {
        Self::new(false)
    }
}

/// What is looked at in a TCP or UDP frame.
struct Piece<'a> {
    bytes: &'a [u8],
    transport: Transport,
    ethernet_bytes: usize,
    payload_at: usize,
}

impl Coalescer {
    /// `joins_udp`: the TAP takes super-frames of UDP (Linux 6.2).
    pub fn new(joins_udp: bool) -> Self {
        Self { runs: Vec::new(), used: 0, heads: Box::new([NONE; BUCKETS]), joins_udp }
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// `at` is the frame's place in the arena.
    pub fn push(&mut self, frame: Frame<'_>, at: usize) {
        let whole = at..at + frame.bytes.len();
        let Some(mut piece) = piece_of(frame.bytes, self.joins_udp) else {
            self.alone(&frame, whole);
            return;
        };
        let bucket = bucket_of(&piece);
        let open = self.find(bucket, &piece);
        let can_join = find_payload(&frame, &mut piece);
        if let Some(index) = open {
            let run = &mut self.runs[index];
            if can_join && run.is_followed_by(&piece) {
                run.add(&piece, whole);
                if piece.ends_run(run.payload_bytes) {
                    run.is_open = false;
                }
                return;
            }
            run.is_open = false;
        }
        if !can_join {
            self.alone(&frame, whole);
            return;
        }
        let ends = piece.ends_run(piece.payload_bytes());
        let head = self.heads[bucket];
        self.heads[bucket] = self.used as u32;
        let run = self.alone(&frame, whole);
        run.begin(&piece, head, !ends);
    }

    /// The batch, after which `clear` begins another.
    pub fn runs(&mut self) -> &[Run] {
        for run in &mut self.runs[..self.used] {
            if run.is_joined() {
                run.finish();
            }
        }
        &self.runs[..self.used]
    }

    pub fn clear(&mut self) {
        if self.used > 0 {
            self.used = 0;
            self.heads.fill(NONE);
        }
    }

    fn alone(&mut self, frame: &Frame<'_>, whole: Range<usize>) -> &mut Run {
        if self.used == self.runs.len() {
            self.runs.push(Run::new());
        }
        let run = &mut self.runs[self.used];
        self.used += 1;
        run.pieces.clear();
        run.length = whole.len();
        run.pieces.push(whole);
        run.checksum = frame.checksum;
        run.gso = frame.gso;
        run.is_open = false;
        run
    }

    fn find(&self, bucket: usize, piece: &Piece<'_>) -> Option<usize> {
        let mut index = self.heads[bucket];
        while index != NONE {
            let run = &self.runs[index as usize];
            if run.is_open && run.is_same_flow(piece) {
                return Some(index as usize);
            }
            index = run.next;
        }
        None
    }
}

/// The same in one call, over frames of their own.
pub fn coalesce(frames: &[Frame<'_>]) -> Vec<OwnedFrame> {
    coalesce_with(&mut Coalescer::default(), frames)
}

fn coalesce_with(coalescer: &mut Coalescer, frames: &[Frame<'_>]) -> Vec<OwnedFrame> {
    let mut arena = Vec::new();
    for frame in frames {
        coalescer.push(*frame, arena.len());
        arena.extend_from_slice(frame.bytes);
    }
    let join = |run: &Run| {
        let mut bytes = run.headers().to_vec();
        for piece in run.pieces() {
            bytes.extend_from_slice(&arena[piece.clone()]);
        }
        OwnedFrame { bytes: bytes.into(), checksum: run.checksum, gso: run.gso }
    };
    coalescer.runs().iter().map(join).collect()
}

impl Run {
    fn new() -> Self {
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

    fn begin(&mut self, piece: &Piece<'_>, next: u32, is_open: bool) {
        self.headers[..piece.payload_at].copy_from_slice(&piece.bytes[..piece.payload_at]);
        self.headers_bytes = piece.payload_at;
        self.transport = piece.transport;
        self.ethernet_bytes = piece.ethernet_bytes;
        self.payload_bytes = piece.payload_bytes();
        self.next = next;
        self.is_open = is_open;
    }

    fn add(&mut self, piece: &Piece<'_>, whole: Range<usize>) {
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
    fn is_same_flow(&self, piece: &Piece<'_>) -> bool {
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

    fn is_followed_by(&self, piece: &Piece<'_>) -> bool {
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

    fn finish(&mut self) {
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

impl Piece<'_> {
    fn payload_bytes(&self) -> usize {
        self.bytes.len() - self.payload_at
    }

    /// After a shorter payload, PSH or FIN nothing follows.
    fn ends_run(&self, payload_bytes: usize) -> bool {
        let is_tcp = self.transport.protocol == PROTOCOL_TCP;
        self.payload_bytes() < payload_bytes || (is_tcp && self.bytes[self.transport.at + 13] & (PSH | FIN) != 0)
    }
}

/// A frame with at least the plain part of a TCP header, or with a UDP header.
fn piece_of(bytes: &[u8], joins_udp: bool) -> Option<Piece<'_>> {
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
fn find_payload(frame: &Frame<'_>, piece: &mut Piece<'_>) -> bool {
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
fn bucket_of(piece: &Piece<'_>) -> usize {
    let &Transport { is_ipv6, ip_at, at, .. } = &piece.transport;
    let (from, to) = if is_ipv6 { (ip_at + 20, ip_at + 36) } else { (ip_at + 12, ip_at + 16) };
    let mixed = get_u32(piece.bytes, at) ^ get_u32(piece.bytes, from).rotate_left(7) ^ get_u32(piece.bytes, to);
    (mixed.wrapping_mul(0x9e37_79b1) >> 24) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::Split;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_joined_or_pass(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..8),
            is_ipv6: bool,
        ) {
            let mut frames = frames;
            for frame in frames.iter_mut().filter(|frame| frame.len() > 34) {
                let head: &[u8] = if is_ipv6 { &[0x86, 0xdd, 0x60] } else { &[8, 0, 0x45] };
                frame[12..15].copy_from_slice(head);
                frame[if is_ipv6 { 20 } else { 23 }] = 6;
                frame[16] = 0;
                frame[18] = 0;
            }
            let given: Vec<Frame<'_>> = frames.iter().map(|bytes| Frame::complete(bytes)).collect();
            for joined in [coalesce(&given), coalesce_with(&mut Coalescer::new(true), &given)] {
                prop_assert!(joined.len() <= given.len());
            }
        }
    }

    /// A super-frame of UDP over IPv4 or IPv6 with `payload` bytes.
    fn udp(is_ipv6: bool, payload: usize, size: u16) -> OwnedFrame {
        let ip_bytes = if is_ipv6 { IPV6_BYTES } else { IPV4_BYTES };
        let at = 14 + ip_bytes;
        let mut bytes: Vec<u8> = (0..at + UDP_BYTES + payload).map(|i| (i * 7) as u8).collect();
        let end = bytes.len();
        if is_ipv6 {
            bytes[12..15].copy_from_slice(&[0x86, 0xdd, 0x60]);
            put_u16(&mut bytes, 18, (end - at) as u16);
            bytes[20] = PROTOCOL_UDP;
        } else {
            bytes[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
            put_u16(&mut bytes, 16, (end - 14) as u16);
            put_u16(&mut bytes, 20, 0x4000);
            bytes[23] = PROTOCOL_UDP;
            put_u16(&mut bytes, 24, 0);
            let checksum = checksum_of(&bytes[14..at], 0);
            put_u16(&mut bytes, 24, checksum);
        }
        put_u16(&mut bytes, at + 4, (end - at) as u16);
        let transport = Transport { is_ipv6, protocol: PROTOCOL_UDP, ip_at: 14, at, end };
        let pseudo = transport::pseudo_header_sum(&bytes, &transport);
        put_u16(&mut bytes, at + UDP_CHECKSUM_OFFSET, pseudo);
        let kind = if is_ipv6 { GsoKind::Udp6 } else { GsoKind::Udp4 };
        OwnedFrame {
            bytes: bytes.into(),
            checksum: Checksum::Partial { start: at as u16, offset: UDP_CHECKSUM_OFFSET as u16 },
            gso: Some(Gso { kind, size }),
        }
    }

    #[test]
    fn a_split_udp_frame_is_joined_where_the_tap_takes_it_and_nowhere_else() {
        for is_ipv6 in [false, true] {
            for (payload, size) in [(1000, 100), (1001, 100), (6400, 100), (130, 64)] {
                let whole = udp(is_ipv6, payload, size);
                let split = Split::new(&whole.view(), whole.gso.unwrap()).unwrap();
                let parts: Vec<OwnedFrame> = split.to_frames().collect();
                let views: Vec<Frame<'_>> = parts.iter().map(OwnedFrame::view).collect();
                assert_eq!(coalesce_with(&mut Coalescer::new(true), &views), std::slice::from_ref(&whole));
                assert_eq!(coalesce(&views), parts);
            }
        }
    }

    #[test]
    fn a_run_of_udp_is_no_longer_than_the_kernel_takes() {
        let whole = udp(false, 100 * 10, 10);
        let parts: Vec<OwnedFrame> = Split::new(&whole.view(), whole.gso.unwrap()).unwrap().to_frames().collect();
        let views: Vec<Frame<'_>> = parts.iter().map(OwnedFrame::view).collect();
        let joined = coalesce_with(&mut Coalescer::new(true), &views);
        assert_eq!(joined.iter().map(|frame| frame.bytes.len() - 42).collect::<Vec<_>>(), [640, 360]);
    }
}
