//! Ethernet frames: what a TAP with a vnet header gives, and the fields of the header. Frames come without preamble and
//! FCS.

use crate::bytes::{get_u16, get_u48, put_u16, put_u48};
use crate::ids::Mac;
use crate::wire::ETHERNET_BYTES;

/// A transport checksum as virtio has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    Complete,
    /// The field at `start + offset` holds the folded pseudo-header sum, to be completed over everything from `start`
    /// on.
    Partial {
        start: u16,
        offset: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    Tcp4,
    Tcp6,
    Udp4,
    Udp6,
}

/// A super-frame: many segments of `size` bytes of payload under one set of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    pub kind: GsoKind,
    pub size: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub bytes: &'a [u8],
    pub checksum: Checksum,
    pub gso: Option<Gso>,
}

impl<'a> Frame<'a> {
    pub fn complete(bytes: &'a [u8]) -> Self {
        Self { bytes, checksum: Checksum::Complete, gso: None }
    }

    pub fn to_owned(self) -> OwnedFrame {
        OwnedFrame { bytes: self.bytes.into(), checksum: self.checksum, gso: self.gso }
    }
}

/// A frame that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedFrame {
    pub bytes: Box<[u8]>,
    pub checksum: Checksum,
    pub gso: Option<Gso>,
}

impl OwnedFrame {
    pub fn view(&self) -> Frame<'_> {
        Frame { bytes: &self.bytes, checksum: self.checksum, gso: self.gso }
    }
}

pub const TYPE_IPV4: u16 = 0x0800;
pub const TYPE_ARP: u16 = 0x0806;
pub const TYPE_IPV6: u16 = 0x86dd;
const TYPE_VLAN: u16 = 0x8100;
const TYPE_SERVICE_VLAN: u16 = 0x88a8;

pub const BROADCAST: Mac = 0xffff_ffff_ffff;
/// A customer's tag inside a provider's (IEEE 802.1ad).
const VLAN_TAGS_MAX: usize = 2;
const VLAN_BYTES: usize = 4;
const GROUP_BIT: Mac = 1 << 40;
const LINK_LOCAL: Mac = 0x0180_c200_0000;

/// `bytes` has at least 14, here and below.
pub fn destination(bytes: &[u8]) -> Mac {
    get_u48(bytes, 0)
}

pub fn source(bytes: &[u8]) -> Mac {
    get_u48(bytes, 6)
}

/// The offset behind up to two VLAN tags; the type is the two bytes before it. A tag that is cut off stands as the
/// type.
pub fn payload_at(bytes: &[u8]) -> usize {
    let mut at = ETHERNET_BYTES;
    for _ in 0..VLAN_TAGS_MAX {
        let is_tag = matches!(get_u16(bytes, at - 2), TYPE_VLAN | TYPE_SERVICE_VLAN);
        if !is_tag || at + VLAN_BYTES > bytes.len() {
            break;
        }
        at += VLAN_BYTES;
    }
    at
}

/// The type behind the VLAN tags that end at `payload_at`.
pub fn ether_type(bytes: &[u8], payload_at: usize) -> u16 {
    get_u16(bytes, payload_at - 2)
}

/// Broadcast included.
pub fn is_multicast(mac: Mac) -> bool {
    mac & GROUP_BIT != 0
}

/// 01:80:c2:00:00:00 to 0f: frames that no bridge forwards (IEEE 802.1Q 8.6.3).
pub fn is_link_local(mac: Mac) -> bool {
    mac & !0x0f == LINK_LOCAL
}

/// An untagged header and `payload_bytes` of zeros to fill in behind it.
pub fn make(destination: Mac, source: Mac, ether_type: u16, payload_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0; ETHERNET_BYTES + payload_bytes];
    put_u48(&mut bytes, 0, destination);
    put_u48(&mut bytes, 6, source);
    put_u16(&mut bytes, 12, ether_type);
    bytes
}

/// An answer to `frame`: its VLAN tags and type, back to its source, and `payload_bytes` of zeros.
pub fn make_answer(frame: &[u8], from: Mac, payload_bytes: usize) -> Vec<u8> {
    let payload_at = payload_at(frame);
    let mut bytes = vec![0; payload_at + payload_bytes];
    bytes[..payload_at].copy_from_slice(&frame[..payload_at]);
    put_u48(&mut bytes, 0, source(frame));
    put_u48(&mut bytes, 6, from);
    bytes
}
