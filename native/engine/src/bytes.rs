//! Big-endian numbers at an offset, as they travel. Offsets are the caller's to check.

pub fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub fn get_u24(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([0, bytes[at], bytes[at + 1], bytes[at + 2]])
}

pub fn get_u32(bytes: &[u8], at: usize) -> u32 {
    let field: &[u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_be_bytes(*field)
}

pub fn get_u48(bytes: &[u8], at: usize) -> u64 {
    let field: &[u8; 6] = bytes[at..at + 6].try_into().expect("six bytes");
    u64::from_be_bytes([0, 0, field[0], field[1], field[2], field[3], field[4], field[5]])
}

pub fn get_u56(bytes: &[u8], at: usize) -> u64 {
    (u64::from(bytes[at]) << 48) | get_u48(bytes, at + 1)
}

pub fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

pub fn put_u24(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 3].copy_from_slice(&value.to_be_bytes()[1..]);
}

pub fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

pub fn put_u48(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 6].copy_from_slice(&value.to_be_bytes()[2..]);
}
