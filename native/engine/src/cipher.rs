//! AEADs: those that seal datagrams, through aws-lc, and XChaCha20-Poly1305 for cookie replies.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use crate::wire::{NONCE_BYTES, OUTER_BYTES, TAG_BYTES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    ChaCha20Poly1305,
    Aes256Gcm,
}

impl Cipher {
    pub const fn text(self) -> &'static str {
        match self {
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::Aes256Gcm => "aes-256-gcm",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::ChaCha20Poly1305, Self::Aes256Gcm].into_iter().find(|cipher| cipher.text() == text)
    }
}

/// One direction's key and IV.
pub struct Aead {
    key: LessSafeKey,
    iv: [u8; NONCE_BYTES],
}

impl Aead {
    pub fn new(cipher: Cipher, key: &[u8; 32], iv: [u8; NONCE_BYTES]) -> Self {
        let algorithm = match cipher {
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Cipher::Aes256Gcm => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).expect("both take 32 bytes");
        Self { key: LessSafeKey::new(key), iv }
    }

    /// `datagram` = outer header | plaintext | room for the tag. False when it was not sealed: then nothing of it may
    /// leave.
    #[must_use]
    pub fn seal(&self, datagram: &mut [u8]) -> bool {
        let (outer, rest) = datagram.split_at_mut(OUTER_BYTES);
        let (plaintext, tag_place) = rest.split_at_mut(rest.len() - TAG_BYTES);
        let nonce = self.nonce(outer);
        match self.key.seal_in_place_separate_tag(nonce, Aad::from(&*outer), plaintext) {
            Ok(tag) => {
                tag_place.copy_from_slice(tag.as_ref());
                true
            }
            Err(_) => false,
        }
    }

    /// In place; the plaintext is between the outer header and the last 16 bytes. False when the tag does not verify:
    /// then the datagram's content is of no use.
    #[must_use]
    pub fn open(&self, datagram: &mut [u8]) -> bool {
        let (outer, sealed) = datagram.split_at_mut(OUTER_BYTES);
        self.key.open_in_place(self.nonce(outer), Aad::from(&*outer), sealed).is_ok()
    }

    /// `IV XOR (0^4 | bytes 8..15 of the outer header)`.
    fn nonce(&self, outer: &[u8]) -> Nonce {
        Nonce::assume_unique_for_key(make_nonce(&self.iv, outer))
    }
}

impl Drop for Aead {
    fn drop(&mut self) {
        self.iv.fill(0);
        std::hint::black_box(&self.iv);
    }
}

pub fn make_nonce(iv: &[u8; NONCE_BYTES], outer: &[u8]) -> [u8; NONCE_BYTES] {
    let mut nonce = *iv;
    for (byte, counted) in nonce[4..].iter_mut().zip(&outer[8..OUTER_BYTES]) {
        *byte ^= counted;
    }
    nonce
}

/// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha 2.3): ciphertext and tag.
pub fn xseal(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let subkey = hchacha20(key, &nonce[..16]);
    let mut rest = [0; NONCE_BYTES];
    rest[4..].copy_from_slice(&nonce[16..]);
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &subkey).expect("takes 32 bytes"));
    let mut sealed = plaintext.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(rest), Aad::from(aad), &mut sealed)
        .expect("a cookie is short");
    sealed
}

/// The block function of `ChaCha20` without its last addition (draft-irtf-cfrg-xchacha 2.2).
fn hchacha20(key: &[u8; 32], nonce: &[u8]) -> [u8; 32] {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[4 * at..4 * at + 4].try_into().expect("four bytes"));
    let mut x = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for i in 0..8 {
        x[4 + i] = word(key, i);
    }
    for i in 0..4 {
        x[12 + i] = word(nonce, i);
    }
    for _ in 0..10 {
        for column in 0..4 {
            quarter(&mut x, [column, column + 4, column + 8, column + 12]);
        }
        for diagonal in 0..4 {
            let [b, c, d] = [1, 2, 3].map(|row| 4 * row + (diagonal + row) % 4);
            quarter(&mut x, [diagonal, b, c, d]);
        }
    }
    let mut out = [0; 32];
    for (bytes, word) in out.chunks_exact_mut(4).zip(x[..4].iter().chain(&x[12..])) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    out
}

#[allow(clippy::many_single_char_names)]
fn quarter(x: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    for (left, right, turned, bits) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        x[left] = x[left].wrapping_add(x[right]);
        x[turned] = (x[turned] ^ x[left]).rotate_left(bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hchacha20_is_that_of_the_draft() {
        let key: [u8; 32] = std::array::from_fn(|i| i as u8);
        let nonce = [0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0, 0x31, 0x41, 0x59, 0x27];
        let expected = [
            0x82, 0x41, 0x3b, 0x42, 0x27, 0xb2, 0x7b, 0xfe, 0xd3, 0x0e, 0x42, 0x50, 0x8a, 0x87, 0x7d, 0x73, 0xa0, 0xf9,
            0xe4, 0xd5, 0x8a, 0x74, 0xa8, 0x53, 0xc1, 0x2e, 0xc4, 0x13, 0x26, 0xd3, 0xec, 0xdc,
        ];
        assert_eq!(hchacha20(&key, &nonce), expected);
    }

    #[test]
    fn opens_what_was_sealed_and_nothing_else() {
        for cipher in [Cipher::ChaCha20Poly1305, Cipher::Aes256Gcm] {
            let aead = Aead::new(cipher, &[7; 32], [3; 12]);
            let mut datagram = vec![5; 100];
            assert!(aead.seal(&mut datagram));
            for byte in 0..datagram.len() {
                // Bytes 0..7 are authenticated, though not part of the nonce.
                let mut flipped = datagram.clone();
                flipped[byte] ^= 1;
                assert!(!aead.open(&mut flipped));
            }
            assert!(aead.open(&mut datagram));
            assert_eq!(datagram[..84], [5; 84]);
        }
    }
}
