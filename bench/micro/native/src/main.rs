//! What single operations of the native engine cost. Prints JSON: a list of `{group, name, us}`.

mod frames;
mod operations;
mod pair;

use frames::{complete, super_frame};
use operations::Operations;
use overlayd_engine::cipher::Aead;
use overlayd_engine::coalesce::Coalescer;
use overlayd_engine::split::Split;
use overlayd_engine::wire::{NONCE_BYTES, OVERHEAD_BYTES};
use overlayd_engine::{Cipher, Frame};
use pair::Pair;

const FRAME_BYTES: usize = 1_400;
const CIPHERS: [Cipher; 2] = [Cipher::ChaCha20Poly1305, Cipher::Aes256Gcm];
const MACS: [u64; 2] = [1_000, 100_000];
/// Full segments of a super-frame in a network of MTU 1,390.
const SEGMENTS: usize = 48;

fn main() {
    let mut operations = Operations::default();
    add_aeads(&mut operations);
    add_switch(&mut operations);
    add_lookups(&mut operations);
    add_super_frames(&mut operations);
    operations.print();
}

fn add_aeads(operations: &mut Operations) {
    const GROUP: &str = "Seal and open, 1,400-byte frame, native engine";
    for cipher in CIPHERS {
        let aead = Aead::new(cipher, &[7; 32], [3; NONCE_BYTES]);
        let mut datagram = vec![0; FRAME_BYTES + OVERHEAD_BYTES];
        operations.add(GROUP, &format!("{}, aws-lc, seal", cipher.text()), || assert!(aead.seal(&mut datagram)));
        let mut sealed = vec![0; FRAME_BYTES + OVERHEAD_BYTES];
        assert!(aead.seal(&mut sealed));
        let mut opened = sealed.clone();
        operations.add(GROUP, &format!("{}, aws-lc, open (with a copy)", cipher.text()), || {
            opened.copy_from_slice(&sealed);
            assert!(aead.open(&mut opened));
        });
    }
}

/// Sealing alone can be repeated; opening needs fresh counters, so both are measured together and sealing is taken off by the reader.
fn add_switch(operations: &mut Operations) {
    const GROUP: &str = "Native switch, one frame";
    for cipher in CIPHERS {
        for bytes in [FRAME_BYTES, 78] {
            let mut pair = Pair::new(cipher, 1);
            let frame = complete(bytes, 0);
            let name = format!("native switch, {}, {bytes} bytes, inside", cipher.text());
            operations.add(GROUP, &name, || pair.inside(Frame::complete(&frame)));
            let name = format!("native switch, {}, {bytes} bytes, inside and outside", cipher.text());
            operations.add(GROUP, &name, || {
                pair.inside(Frame::complete(&frame));
                pair.outside();
            });
        }
    }
}

/// The smallest frame to one of many receivers, in an order that caches do not guess.
fn add_lookups(operations: &mut Operations) {
    const GROUP: &str = "Look-up of a MAC, native engine: a whole pass of the switch with 78 bytes";
    for count in MACS {
        let mut pair = Pair::new(Cipher::Aes256Gcm, count);
        let frames: Vec<_> = (0..count).map(|index| complete(78, index)).collect();
        let mut at = 0;
        operations.add(GROUP, &format!("native switch, one of {count} MACs"), || {
            at = (at + 7_919) % frames.len();
            pair.inside(Frame::complete(&frames[at]));
        });
    }
}

fn add_super_frames(operations: &mut Operations) {
    const GROUP: &str = "Super-frames of 48 segments, native engine";
    let whole = super_frame(SEGMENTS);
    let split = Split::new(&whole.frame(), whole.gso).expect("it can be split");
    let mut segment = vec![0; 2_000];
    operations.add(GROUP, "split", || {
        for index in 0..split.count() {
            split.write(index, &mut segment[..split.segment_bytes(index)]);
        }
    });
    let segments: Vec<_> = split.to_frames().collect();
    let mut coalescer = Coalescer::default();
    operations.add(GROUP, "coalesce", || {
        for owned in &segments {
            coalescer.push(Frame { bytes: &owned.bytes, checksum: owned.checksum, gso: None }, 0);
        }
        assert_eq!(coalescer.runs().len(), 1);
        coalescer.clear();
    });
    let mut pair = Pair::new(Cipher::Aes256Gcm, 1);
    operations.add(GROUP, "look up, split, seal", || pair.inside(whole.frame()));
}
