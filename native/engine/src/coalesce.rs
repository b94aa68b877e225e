//! Joins TCP frames of one flow, and UDP frames if the TAP takes super-frames of UDP, into super-frames: the inverse of
//! split.rs (docs/PROTOCOL.md "Splitting"). Nothing is copied but one set of headers per run: a run names the places of
//! its pieces, to be written with one `writev`.

use std::ops::Range;

use crate::frame::{Frame, OwnedFrame};
use crate::piece::{Piece, bucket_of, find_payload, piece_of};
use crate::run::NONE;
pub use crate::run::Run;

/// Places of the table of open runs.
const BUCKETS: usize = 256;

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
        OwnedFrame { bytes: bytes.into(), checksum: run.checksum(), gso: run.gso() }
    };
    coalescer.runs().iter().map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::put_u16;
    use crate::checksum::{UDP_CHECKSUM_OFFSET, checksum_of};
    use crate::frame::{Checksum, Gso, GsoKind};
    use crate::piece::UDP_BYTES;
    use crate::split::Split;
    use crate::transport::{self, IPV4_BYTES, IPV6_BYTES, PROTOCOL_UDP, Transport};
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
