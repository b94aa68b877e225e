//! BLAKE2s-256 (RFC 7693) and HMAC (RFC 2104) over it: for the door and loop probes, which aws-lc has no function for.

const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const SIGMA: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const BLOCK_BYTES: usize = 64;
pub const HASH_BYTES: usize = 32;

struct State {
    h: [u32; 8],
    block: [u8; BLOCK_BYTES],
    held: usize,
    /// Bytes compressed; nothing hashed here is longer than 2^32.
    count: u32,
}

impl State {
    fn new() -> Self {
        let mut h = IV;
        // No key, 32 bytes out, fanout and depth 1.
        h[0] ^= 0x0101_0000 ^ HASH_BYTES as u32;
        Self { h, block: [0; BLOCK_BYTES], held: 0, count: 0 }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.held == BLOCK_BYTES {
                self.count += BLOCK_BYTES as u32;
                self.compress(false);
                self.held = 0;
            }
            let taken = bytes.len().min(BLOCK_BYTES - self.held);
            self.block[self.held..self.held + taken].copy_from_slice(&bytes[..taken]);
            self.held += taken;
            bytes = &bytes[taken..];
        }
    }

    fn finish(mut self) -> [u8; HASH_BYTES] {
        self.count += self.held as u32;
        self.block[self.held..].fill(0);
        self.compress(true);
        let mut out = [0; HASH_BYTES];
        for (bytes, word) in out.chunks_exact_mut(4).zip(self.h) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        out
    }

    fn compress(&mut self, is_last: bool) {
        let mut m = [0u32; 16];
        for (word, bytes) in m.iter_mut().zip(self.block.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let mut v = [0u32; 16];
        v[..8].copy_from_slice(&self.h);
        v[8..].copy_from_slice(&IV);
        v[12] ^= self.count;
        if is_last {
            v[14] = !v[14];
        }
        for s in &SIGMA {
            mix(&mut v, [0, 4, 8, 12], m[s[0]], m[s[1]]);
            mix(&mut v, [1, 5, 9, 13], m[s[2]], m[s[3]]);
            mix(&mut v, [2, 6, 10, 14], m[s[4]], m[s[5]]);
            mix(&mut v, [3, 7, 11, 15], m[s[6]], m[s[7]]);
            mix(&mut v, [0, 5, 10, 15], m[s[8]], m[s[9]]);
            mix(&mut v, [1, 6, 11, 12], m[s[10]], m[s[11]]);
            mix(&mut v, [2, 7, 8, 13], m[s[12]], m[s[13]]);
            mix(&mut v, [3, 4, 9, 14], m[s[14]], m[s[15]]);
        }
        for (i, h) in self.h.iter_mut().enumerate() {
            *h ^= v[i] ^ v[i + 8];
        }
    }
}

// The names of RFC 7693.
#[allow(clippy::many_single_char_names)]
fn mix(v: &mut [u32; 16], [a, b, c, d]: [usize; 4], x: u32, y: u32) {
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(x);
    v[d] = (v[d] ^ v[a]).rotate_right(16);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(12);
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(y);
    v[d] = (v[d] ^ v[a]).rotate_right(8);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(7);
}

/// Of the concatenation of `parts`.
pub fn hash(parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let mut state = State::new();
    for part in parts {
        state.add(part);
    }
    state.finish()
}

/// `key` has at most 64 bytes.
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; HASH_BYTES] {
    let pad = |with: u8| {
        let mut block = [with; BLOCK_BYTES];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        let mut state = State::new();
        state.add(&block);
        state
    };
    let mut inner = pad(0x36);
    for part in parts {
        inner.add(part);
    }
    let mut outer = pad(0x5c);
    outer.add(&inner.finish());
    outer.finish()
}

/// The first 16 bytes of [`hmac`].
pub fn hmac16(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = [0; 16];
    mac.copy_from_slice(&hmac(key, parts)[..16]);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    #[test]
    fn hashes_what_rfc_7693_does() {
        assert_eq!(hex(&hash(&[b"abc"])), "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
        assert_eq!(hex(&hash(&[])), "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9");
    }

    #[test]
    fn hashes_in_parts_of_any_length() {
        let bytes: Vec<u8> = (0..=255).collect();
        for at in 0..bytes.len() {
            assert_eq!(hash(&[&bytes[..at], &bytes[at..]]), hash(&[&bytes]));
        }
    }
}
