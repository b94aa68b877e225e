//! TCP frames over IPv4, as large as wanted.

use overlayd_engine::{Checksum, Frame, Gso, GsoKind, Mac};

const ETHERNET: usize = 14;
const L4: usize = ETHERNET + 20;
const PAYLOAD: usize = L4 + 20;
const SEGMENT_BYTES: u16 = 1_338;
const TCP_CHECKSUM: u16 = 16;
const RECEIVER: Mac = 0x0200_0000_0000;
pub const SENDER: Mac = 0x0277_0000_0000;

pub struct SuperFrame {
    bytes: Vec<u8>,
    pub gso: Gso,
}

impl SuperFrame {
    pub fn frame(&self) -> Frame<'_> {
        let checksum = Checksum::Partial { start: L4 as u16, offset: TCP_CHECKSUM };
        Frame { bytes: &self.bytes, checksum, gso: Some(self.gso) }
    }
}

pub fn receiver(index: u64) -> Mac {
    RECEIVER + index
}

/// To `receiver(index)`.
pub fn complete(bytes: usize, index: u64) -> Vec<u8> {
    let mut frame = vec![0; bytes];
    frame[..6].copy_from_slice(&receiver(index).to_be_bytes()[2..]);
    frame[6..12].copy_from_slice(&SENDER.to_be_bytes()[2..]);
    frame[12..16].copy_from_slice(&[0x08, 0, 0x45, 0]);
    frame[16..18].copy_from_slice(&((bytes - ETHERNET) as u16).to_be_bytes());
    frame[22..24].copy_from_slice(&[64, 6]);
    frame[26..34].copy_from_slice(&[10, 77, 0, 1, 10, 77, 0, 2]);
    frame[L4..L4 + 4].copy_from_slice(&[0x30, 0, 0x14, 0x51]);
    frame[L4 + 12..L4 + 14].copy_from_slice(&[0x50, 0x10]);
    frame
}

pub fn super_frame(segments: usize) -> SuperFrame {
    let bytes = complete(PAYLOAD + segments * SEGMENT_BYTES as usize, 0);
    SuperFrame { bytes, gso: Gso { kind: GsoKind::Tcp4, size: SEGMENT_BYTES } }
}
