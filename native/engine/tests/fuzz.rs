//! Fuzz targets for whatever sees foreign bytes. `cargo test` runs each over its corpus and some random input; `cargo
//! bolero test NAME` goes on.

mod common;

use bolero::check;
use common::{A, B, Kept, MAC_A, MAC_B, VNI, at, ready};
use overlayd_engine::coalesce::coalesce;
use overlayd_engine::datagram;
use overlayd_engine::{Checksum, Cipher, DropReason, Frame, checksum, vnet};

/// Stands in front of what an attacker may choose behind it.
fn with_head(head: &[u8], bytes: &[u8]) -> Vec<u8> {
    [head, bytes].concat()
}

fn tagless(from: u64, to: u64) -> Vec<u8> {
    [&to.to_be_bytes()[2..], &from.to_be_bytes()[2..]].concat()
}

#[test]
fn fuzz_datagrams_from_anyone() {
    check!().for_each(|bytes: &[u8]| {
        let mut switch = ready(B, A, Cipher::ChaCha20Poly1305, true);
        let mut kept = Kept::default();
        let sealed = with_head(&[4, 0, 0, 0, 0, 0, 0, 0xbb], bytes);
        for mut datagram in [bytes.to_vec(), sealed] {
            let _ = datagram::parse(&datagram);
            switch.outside(&at(A), &mut datagram, 0, &mut kept);
        }
        assert!(kept.frames.is_empty() && kept.datagrams.is_empty());
    });
}

#[test]
fn fuzz_frames_of_a_member() {
    check!().for_each(|bytes: &[u8]| {
        let (mut a, mut b) = (ready(A, B, Cipher::Aes256Gcm, true), ready(B, A, Cipher::Aes256Gcm, true));
        let mut sent = Kept::default();
        let bytes = with_head(&tagless(MAC_A, MAC_B), bytes);
        let place = |at: usize| bytes.get(at..at + 2).map_or(0, |field| u16::from_be_bytes([field[0], field[1]]) % 100);
        // A member can seal any checksum place: this one does not look at it first.
        let checksum = Checksum::Partial { start: place(20), offset: place(22) };
        for checksum in [Checksum::Complete, checksum] {
            a.inside(VNI, Frame { bytes: &bytes, checksum, gso: None }, 0, &mut sent);
        }
        let mut kept = Kept::default();
        for mut datagram in sent.datagrams {
            b.outside(&at(A), &mut datagram, 0, &mut kept);
        }
        assert!(kept.frames.iter().all(|frame| frame.len() == bytes.len()));
    });
}

#[test]
fn fuzz_frames_of_a_tap() {
    check!().for_each(|bytes: &[u8]| {
        let mut switch = ready(A, B, Cipher::Aes256Gcm, false);
        let mut given = bytes.to_vec();
        if given.len() > 22 {
            given[10..22].copy_from_slice(&tagless(MAC_A, MAC_B));
        }
        match vnet::read(&mut given, vnet::HEADER_BYTES) {
            Ok(frame) => switch.inside(VNI, frame, 0, &mut Kept::default()),
            Err(reason) => assert!(matches!(reason, DropReason::ShortFrame | DropReason::BadGso)),
        }
    });
}

#[test]
fn fuzz_batches_to_be_joined() {
    check!().for_each(|bytes: &[u8]| {
        let size = usize::from(bytes.first().copied().unwrap_or(0)) + 54;
        let frames: Vec<_> = bytes.chunks(size).map(Frame::complete).collect();
        let length = |joined: usize, frame: &Frame<'_>| joined + frame.bytes.len();
        let total = frames.iter().fold(0, length);
        let joined = coalesce(&frames);
        assert!(joined.iter().map(|frame| frame.bytes.len()).sum::<usize>() <= total);
    });
}

#[test]
fn fuzz_checksum_places() {
    check!().with_type::<(Vec<u8>, u16, u16)>().for_each(|(bytes, start, offset)| {
        let mut bytes = bytes.clone();
        let length = bytes.len();
        if checksum::is_place(&bytes, *start, *offset) {
            assert!(usize::from(*start) + usize::from(*offset) + 2 <= length);
        }
        checksum::complete(&mut bytes, *start, *offset);
        assert_eq!(bytes.len(), length);
    });
}
