//! Datagrams on the UDP port: what the first bytes say (docs/PROTOCOL.md "Datagrams").

use crate::bytes::{get_u16, get_u24, get_u32, get_u56, put_u16, put_u24, put_u32};
use crate::drops::DropReason;
use crate::wire::{
    COOKIE_BYTES, HANDSHAKE_BYTES_MAX, INNER_BYTES, KIND_CONTROL, KIND_FRAME, KIND_KEEPALIVE, MAC1_BYTES, MAC2_BYTES,
    OUTER_BYTES, TAG_BYTES, TYPE_COOKIE, TYPE_INIT, TYPE_JOIN, TYPE_RESPONSE, TYPE_SEALED,
};

/// mac1 | mac2 at the end of init, response and join.
pub const MACS_BYTES: usize = MAC1_BYTES + MAC2_BYTES;
pub const COOKIE_NONCE_BYTES: usize = 24;
const COOKIE_DATAGRAM_BYTES: usize = 8 + COOKIE_NONCE_BYTES + COOKIE_BYTES + TAG_BYTES;
const INIT_BYTES_MIN: usize = 8 + 32 + 48 + 16 + MACS_BYTES;
const RESPONSE_BYTES_MIN: usize = 12 + 32 + 16 + MACS_BYTES;
const JOIN_BYTES_MIN: usize = 9 + 16 + MACS_BYTES;
const SEALED_BYTES_MIN: usize = OUTER_BYTES + INNER_BYTES + TAG_BYTES;
/// A counter's upper three bits are reserved.
const COUNTER_MAX: u64 = (1 << 53) - 1;

/// A datagram outside a session, whose lengths and indices are as they must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeKind {
    Init,
    Response,
    Cookie,
    Join,
}

/// The outer header of a sealed datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    pub receiver: u32,
    pub queue: u8,
    pub counter: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    Sealed(Outer),
    Handshake(HandshakeKind),
}

pub fn parse(bytes: &[u8]) -> Result<Datagram, DropReason> {
    if bytes.len() < 4 {
        return Err(DropReason::ShortDatagram);
    }
    if bytes[1] != 0 || get_u16(bytes, 2) != 0 {
        return Err(DropReason::BadType);
    }
    let (kind, bytes_min) = match bytes[0] {
        TYPE_SEALED => return parse_sealed(bytes).map(Datagram::Sealed),
        TYPE_INIT => (HandshakeKind::Init, INIT_BYTES_MIN),
        TYPE_RESPONSE => (HandshakeKind::Response, RESPONSE_BYTES_MIN),
        TYPE_COOKIE => (HandshakeKind::Cookie, COOKIE_DATAGRAM_BYTES),
        TYPE_JOIN => (HandshakeKind::Join, JOIN_BYTES_MIN),
        _ => return Err(DropReason::BadType),
    };
    let bytes_max = if kind == HandshakeKind::Cookie { COOKIE_DATAGRAM_BYTES } else { HANDSHAKE_BYTES_MAX };
    if bytes.len() > bytes_max {
        return Err(DropReason::LongDatagram);
    }
    if bytes.len() < bytes_min {
        return Err(DropReason::ShortDatagram);
    }
    if get_u32(bytes, 4) == 0 || (kind == HandshakeKind::Response && get_u32(bytes, 8) == 0) {
        return Err(DropReason::BadType);
    }
    if kind == HandshakeKind::Join && !matches!(bytes[8], 1..=4) {
        return Err(DropReason::BadType);
    }
    Ok(Datagram::Handshake(kind))
}

fn parse_sealed(bytes: &[u8]) -> Result<Outer, DropReason> {
    if bytes.len() < SEALED_BYTES_MIN {
        return Err(DropReason::ShortDatagram);
    }
    let counter = get_u56(bytes, 9);
    if counter > COUNTER_MAX {
        return Err(DropReason::BadType);
    }
    Ok(Outer { receiver: get_u32(bytes, 4), queue: bytes[8], counter })
}

/// A whole cookie datagram; `sealed` = encrypted cookie and tag.
pub fn encode_cookie(receiver: u32, nonce: &[u8; COOKIE_NONCE_BYTES], sealed: &[u8]) -> Vec<u8> {
    let mut bytes = vec![TYPE_COOKIE, 0, 0, 0];
    bytes.extend_from_slice(&receiver.to_be_bytes());
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(sealed);
    bytes
}

pub fn put_outer(bytes: &mut [u8], outer: &Outer) {
    put_u32(bytes, 0, u32::from(TYPE_SEALED) << 24);
    put_u32(bytes, 4, outer.receiver);
    let place: &mut [u8] = &mut bytes[8..OUTER_BYTES];
    place.copy_from_slice(&(u64::from(outer.queue) << 56 | outer.counter).to_be_bytes());
}

/// The first 8 bytes of what a sealed datagram holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    pub kind: u8,
    /// 0 for control and keepalive.
    pub vni: u32,
    /// 0, 0 when the frame is complete.
    pub checksum_start: u16,
    pub checksum_offset: u16,
}

pub fn put_inner(bytes: &mut [u8], inner: &Inner) {
    bytes[0] = inner.kind;
    put_u24(bytes, 1, inner.vni);
    put_u16(bytes, 4, inner.checksum_start);
    put_u16(bytes, 6, inner.checksum_offset);
}

/// None (`bad-inner`) for fewer bytes, an unknown kind, a frame without VNI, or fields that are not zero where the kind
/// has no use for them.
pub fn parse_inner(opened: &[u8]) -> Option<Inner> {
    if opened.len() < INNER_BYTES {
        return None;
    }
    let kind = opened[0];
    let vni = get_u24(opened, 1);
    let inner = Inner { kind, vni, checksum_start: get_u16(opened, 4), checksum_offset: get_u16(opened, 6) };
    let is_good = match kind {
        KIND_FRAME => vni != 0,
        KIND_CONTROL => opened[1..INNER_BYTES] == [0; 7],
        KIND_KEEPALIVE => opened[1..] == [0; 7],
        _ => false,
    };
    is_good.then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_dropped(bytes in prop::collection::vec(any::<u8>(), 0..1_300), kind in 0u8..7) {
            let mut bytes = bytes;
            let _ = (parse(&bytes), parse_inner(&bytes));
            if bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&[kind, 0, 0, 0]);
                let _ = parse(&bytes);
            }
        }

        #[test]
        fn an_outer_header_comes_back(receiver: u32, queue: u8, counter in 0..=COUNTER_MAX) {
            let outer = Outer { receiver, queue, counter };
            let mut bytes = [0; SEALED_BYTES_MIN];
            put_outer(&mut bytes, &outer);
            prop_assert_eq!(parse(&bytes), Ok(Datagram::Sealed(outer)));
        }

        #[test]
        fn an_inner_header_comes_back(vni in 1u32..1 << 24, checksum_start: u16, checksum_offset: u16) {
            let inner = Inner { kind: KIND_FRAME, vni, checksum_start, checksum_offset };
            let mut bytes = [0; INNER_BYTES];
            put_inner(&mut bytes, &inner);
            prop_assert_eq!(parse_inner(&bytes), Some(inner));
        }
    }
}
