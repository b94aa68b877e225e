//! The header with which a TAP gives and takes super-frames and partial checksums: `struct virtio_net_hdr` (virtio 1.2,
//! 5.1.6), in the machine's own byte order.

use crate::checksum;
use crate::drops::DropReason;
use crate::frame::{Checksum, Frame, Gso, GsoKind, TYPE_IPV6, ether_type, payload_at};
use crate::wire::ETHERNET_BYTES;

/// flags u8 | gso type u8 | header length u16 | gso size u16 | `csum_start` u16 | `csum_offset` u16.
pub const HEADER_BYTES: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCP4: u8 = 1;
const GSO_TCP6: u8 = 4;
const GSO_UDP: u8 = 5;
/// A TCP super-frame with CWR set: splitting looks at the flag itself.
const GSO_ECN: u8 = 0x80;

/// What a TAP gave: a header of `header_bytes` (10, or 12 with a count of buffers) and a frame. Sees to it that a frame
/// that is no super-frame has a partial checksum only where a receiver takes one: the kernel leaves those inside a
/// guest's own tunnels open too.
pub fn read(bytes: &mut [u8], header_bytes: usize) -> Result<Frame<'_>, DropReason> {
    if bytes.len() < header_bytes || header_bytes < HEADER_BYTES {
        return Err(DropReason::ShortFrame);
    }
    let (header, frame) = bytes.split_at_mut(header_bytes);
    let field = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let gso = read_gso(header[1] & !GSO_ECN, field(4), frame)?;
    if header[0] & NEEDS_CHECKSUM == 0 {
        return Ok(Frame { bytes: frame, checksum: Checksum::Complete, gso });
    }
    let (start, offset) = (field(6), field(8));
    if gso.is_none() && !checksum::is_place(frame, start, offset) {
        checksum::complete(frame, start, offset);
        return Ok(Frame::complete(frame));
    }
    Ok(Frame { bytes: frame, checksum: Checksum::Partial { start, offset }, gso })
}

/// The header of a frame for a TAP; `headers_bytes` are those of a super-frame, Ethernet to transport. A TAP whose
/// headers have 12 bytes takes two zeros behind it.
pub fn header(checksum: Checksum, gso: Option<Gso>, headers_bytes: usize) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let mut put = |at: usize, value: u16| header[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    if let Checksum::Partial { start, offset } = checksum {
        put(6, start);
        put(8, offset);
    }
    if let Some(Gso { size, .. }) = gso {
        put(2, headers_bytes as u16);
        put(4, size);
    }
    if checksum != Checksum::Complete {
        header[0] = NEEDS_CHECKSUM;
    }
    header[1] = match gso.map(|gso| gso.kind) {
        None => GSO_NONE,
        Some(GsoKind::Tcp4) => GSO_TCP4,
        Some(GsoKind::Tcp6) => GSO_TCP6,
        Some(GsoKind::Udp4 | GsoKind::Udp6) => GSO_UDP,
    };
    header
}

fn read_gso(kind: u8, size: u16, frame: &[u8]) -> Result<Option<Gso>, DropReason> {
    let kind = match kind {
        GSO_NONE => return Ok(None),
        GSO_TCP4 => GsoKind::Tcp4,
        GSO_TCP6 => GsoKind::Tcp6,
        GSO_UDP if frame.len() < ETHERNET_BYTES => return Err(DropReason::ShortFrame),
        GSO_UDP if ether_type(frame, payload_at(frame)) == TYPE_IPV6 => GsoKind::Udp6,
        GSO_UDP => GsoKind::Udp4,
        _ => return Err(DropReason::BadGso),
    };
    Ok(Some(Gso { kind, size }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_dropped(
            bytes in prop::collection::vec(any::<u8>(), 0..150),
            header_bytes in 0usize..20,
        ) {
            let mut bytes = bytes;
            let _ = read(&mut bytes, header_bytes);
        }

        #[test]
        fn a_header_comes_back(size: u16, start: u16, offset: u16) {
            let gso = Some(Gso { kind: GsoKind::Tcp6, size });
            let checksum = Checksum::Partial { start, offset };
            let mut bytes = header(checksum, gso, 74).to_vec();
            bytes.extend([0; 100]);
            let frame = read(&mut bytes, HEADER_BYTES).unwrap();
            prop_assert_eq!((frame.checksum, frame.gso), (checksum, gso));
        }
    }

    #[test]
    fn an_open_checksum_at_a_foreign_place_is_completed() {
        // A GRE packet, whose inner checksum the kernel left open.
        let mut bytes = header(Checksum::Partial { start: 40, offset: 16 }, None, 0).to_vec();
        let mut frame = [0; 80];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[17] = 66;
        frame[23] = 47;
        frame[40] = 9;
        bytes.extend(frame);
        let read = read(&mut bytes, HEADER_BYTES).unwrap();
        assert_eq!(read.checksum, Checksum::Complete);
        assert_eq!(read.bytes[56..58], (!0x0900u16).to_be_bytes());
    }
}
