//! Internet checksums (RFC 1071), their repair when a field changes (RFC 1624), and partial ones as virtio has them.

use crate::bytes::{get_u16, put_u16};
use crate::transport::{self, PROTOCOL_TCP, PROTOCOL_UDP, Transport};
use crate::wire::ETHERNET_BYTES;

/// Where the checksum field is in a TCP and in a UDP header.
pub const TCP_CHECKSUM_OFFSET: usize = 16;
pub const UDP_CHECKSUM_OFFSET: usize = 6;

/// The ones' complement sum in 16-bit big-endian words, an odd last byte padded with zero; added to `initial`; folded,
/// not complemented.
pub fn ones_sum(bytes: &[u8], initial: u32) -> u16 {
    fold(u64::from(initial) + u64::from(native_sum(bytes)))
}

/// Words are added as the machine reads them, 32 bytes at a time: only the order of bytes in the result differs (RFC
/// 1071 2.B).
fn native_sum(bytes: &[u8]) -> u16 {
    let mut lanes = [0u64; 8];
    let mut chunks = bytes.chunks_exact(32);
    for chunk in &mut chunks {
        for (lane, word) in lanes.iter_mut().zip(chunk.chunks_exact(4)) {
            *lane += u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
        }
    }
    let mut sum: u64 = lanes.iter().sum();
    let mut words = chunks.remainder().chunks_exact(2);
    for word in &mut words {
        sum += u64::from(u16::from_ne_bytes([word[0], word[1]]));
    }
    if let [last] = words.remainder() {
        sum += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    u16::from_be(fold(sum))
}

/// Adds carries back in until 16 bits are left.
pub fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// What goes into a checksum field: the complement of the sum.
pub fn checksum_of(bytes: &[u8], initial: u32) -> u16 {
    !ones_sum(bytes, initial)
}

/// RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
fn adjust(checksum: u16, before: u16, after: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!before) + u64::from(after))
}

/// Changes the 16-bit field at `at` and repairs the checksum at `checksum_at` of data that starts at `start`. A field
/// at an odd distance lies across two words; swapping its bytes gives the same sum.
pub fn replace_u16(bytes: &mut [u8], at: usize, value: u16, checksum_at: usize, start: usize) {
    let before = get_u16(bytes, at);
    let is_odd = !(at - start).is_multiple_of(2);
    let word = |field: u16| if is_odd { field.swap_bytes() } else { field };
    let checksum = adjust(get_u16(bytes, checksum_at), word(before), word(value));
    put_u16(bytes, at, value);
    put_u16(bytes, checksum_at, checksum);
}

/// Sums everything from `start` to the end, the field's partial sum included, and puts the result into the field at
/// `start + offset`. What lies beyond the frame is left alone.
pub fn complete(frame: &mut [u8], start: u16, offset: u16) {
    let (start, offset) = (usize::from(start), usize::from(offset));
    let sum = checksum_of(frame.get(start..).unwrap_or_default(), 0);
    // In UDP 0 means "none"; its other form is all ones (RFC 768). TCP knows no such case and takes either.
    let checksum = if sum == 0 && offset == UDP_CHECKSUM_OFFSET { 0xffff } else { sum };
    for (at, byte) in (start + offset..).zip(checksum.to_be_bytes()) {
        if let Some(place) = frame.get_mut(at) {
            *place = byte;
        }
    }
}

/// True when `start` is where a TCP or UDP header starts and `offset` is its checksum field: no other place may be
/// written to.
pub fn is_place(frame: &[u8], start: u16, offset: u16) -> bool {
    let (start, offset) = (usize::from(start), usize::from(offset));
    if start < ETHERNET_BYTES || start + offset + 2 > frame.len() {
        return false;
    }
    transport::find(frame).is_some_and(|found| found.at == start && offset_of(&found) == Some(offset))
}

/// Where the checksum field is in the transport header, if that is TCP or UDP.
pub fn offset_of(transport: &Transport) -> Option<usize> {
    match transport.protocol {
        PROTOCOL_TCP => Some(TCP_CHECKSUM_OFFSET),
        PROTOCOL_UDP => Some(UDP_CHECKSUM_OFFSET),
        _ => None,
    }
}

/// True when a TCP frame's complete checksum is right; only then may it be replaced by a partial one.
pub fn is_right(frame: &[u8], transport: &Transport) -> bool {
    let pseudo = transport::pseudo_header_sum(frame, transport);
    checksum_of(&frame[transport.at..transport.end], u32::from(pseudo)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the book, one word at a time.
    fn by_the_book(bytes: &[u8], initial: u32) -> u16 {
        let words = bytes.chunks(2).map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0)));
        fold(words.sum::<u64>() + u64::from(initial))
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_slow_one(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            initial in 0u32..0x2_0000,
        ) {
            prop_assert_eq!(ones_sum(&bytes, initial), by_the_book(&bytes, initial));
        }

        #[test]
        fn completing_never_writes_beyond_the_frame(
            mut bytes in prop::collection::vec(any::<u8>(), 0..80),
            start: u16,
            offset: u16,
        ) {
            complete(&mut bytes, start, offset);
            complete(&mut bytes, start % 90, offset % 90);
            let _ = is_place(&bytes, start % 90, offset % 20);
        }
    }

    #[test]
    fn the_longest_frame_does_not_overflow() {
        let bytes = vec![0xff; 65_535];
        assert_eq!(ones_sum(&bytes, 0xffff), by_the_book(&bytes, 0xffff));
    }
}
