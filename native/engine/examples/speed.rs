//! Nanoseconds per frame of the pure part, on one thread: `cargo run --release --example speed`.

#![allow(clippy::cast_precision_loss, clippy::missing_panics_doc)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use overlayd_engine::plane::PlaneOptions;
use overlayd_engine::{
    Checksum, Cipher, Command, Endpoint, Event, Frame, Gso, GsoKind, Location, MacKind, PeerId, SegmentConfig,
    SessionKeys, Sink, Switch, Vni,
};

const VNI: Vni = 7;
const A: PeerId = PeerId([1; 16]);
const B: PeerId = PeerId([2; 16]);

/// A send buffer as the engine's: rooms follow each other, and all of it is thrown away when it is full.
struct Ring {
    bytes: Vec<u8>,
    used: usize,
    frames: usize,
}

impl Sink for Ring {
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.used + bytes > self.bytes.len() {
            self.used = 0;
        }
        &mut self.bytes[self.used..self.used + bytes]
    }

    fn send(&mut self, _: &Endpoint, bytes: usize) {
        self.used += bytes;
    }

    fn deliver(&mut self, _: Vni, frame: &mut [u8], _: Checksum) {
        black_box(frame);
        self.frames += 1;
    }

    fn inject(&mut self, _: Vni, _: &[u8]) {}

    fn event(&mut self, _: Event) {}
}

fn ring() -> Ring {
    Ring { bytes: vec![0; 1 << 17], used: 0, frames: 0 }
}

fn end(own: PeerId, peer: PeerId, cipher: Cipher) -> Switch {
    let mut options = PlaneOptions::new(Arc::default(), Box::new(|_| {}));
    options.rekey_packets = u64::MAX;
    options.reject_packets = u64::MAX;
    let mut switch = Switch::new(options);
    let id = |of: PeerId| u32::from(of.0[0]);
    let config = SegmentConfig {
        vni: VNI,
        tap: String::new(),
        tap_mac: 1,
        tap_mtu: 1_500,
        mtu: 1_390,
        pinned_only: false,
        loop_probe: false,
    };
    let pin = |of: PeerId, at| Command::MacPin {
        vni: VNI,
        mac: 0x0200_0000_0000 | u64::from(id(of)),
        at,
        kind: MacKind::Seen,
    };
    let keys = SessionKeys {
        peer,
        local: id(own),
        remote: id(peer),
        cipher,
        seal_key: [own.0[0]; 32],
        seal_iv: [3; 12],
        open_key: [peer.0[0]; 32],
        open_iv: [3; 12],
        confirmed: true,
        peer_queues: 1,
        partial_checksum: true,
        endpoint: "10.0.0.1:4794".parse().expect("an endpoint"),
    };
    let commands = [
        Command::SegmentOpen(config),
        Command::FloodSet { vni: VNI, peers: vec![peer] },
        pin(own, Location::Local),
        pin(peer, Location::Peer(peer)),
        Command::SessionInstall(Box::new(keys)),
    ];
    for command in commands {
        switch.apply(command, 0, &mut ring());
    }
    switch
}

/// Ethernet, IPv4 and TCP around `payload` bytes, from A to B, with a partial checksum.
fn tcp(payload: usize) -> Vec<u8> {
    let mut bytes = vec![0; 54 + payload];
    bytes[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
    bytes[14] = 0x45;
    bytes[16..18].copy_from_slice(&((40 + payload) as u16).to_be_bytes());
    bytes[22..24].copy_from_slice(&[64, 6]);
    bytes[46..48].copy_from_slice(&[0x50, 0x10]);
    bytes
}

/// Short stretches, of which the best counts: on a busy machine a long one measures the others.
const STRETCH: u32 = 96;
const STRETCHES: usize = 3_000;

fn measure(what: &str, per_call: u32, mut call: impl FnMut()) {
    let best = (0..STRETCHES).map(|_| {
        let start = Instant::now();
        for _ in 0..STRETCH / per_call {
            call();
        }
        start.elapsed()
    });
    report(what, best.min());
}

fn report(what: &str, best: Option<Duration>) {
    let nanoseconds = best.map_or(0.0, |best| best.as_secs_f64() * 1e9 / f64::from(STRETCH));
    println!("{what:<58} {nanoseconds:7.0} ns");
}

fn main() {
    let partial = Checksum::Partial { start: 34, offset: 16 };
    for cipher in [Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
        let name = cipher.text();
        let mut a = end(A, B, cipher);
        let mut sink = ring();
        for payload in [64, 1_346] {
            let bytes = tcp(payload - 54 % payload);
            let frame = Frame { bytes: &bytes, checksum: partial, gso: None };
            measure(&format!("{name}: look up and seal {} bytes", bytes.len()), 1, || {
                a.inside(VNI, frame, 1, &mut sink);
            });
        }
        let bytes = tcp(64_000);
        let gso = Some(Gso { kind: GsoKind::Tcp4, size: 1_346 });
        let frame = Frame { bytes: &bytes, checksum: partial, gso };
        measure(&format!("{name}: one of 48 segments of a super-frame"), 48, || a.inside(VNI, frame, 1, &mut sink));
        for payload in [10, 1_346] {
            open(cipher, payload);
        }
    }
}

fn open(cipher: Cipher, payload: usize) {
    /// Opened once each: a window takes a counter once.
    const COUNT: usize = 20_000;
    let bytes = tcp(payload);
    let datagram_bytes = bytes.len() + 40;
    let (mut a, mut b) = (end(A, B, cipher), end(B, A, cipher));
    let mut sink = Ring { bytes: vec![0; COUNT * datagram_bytes], used: 0, frames: 0 };
    let frame = Frame { bytes: &bytes, checksum: Checksum::Partial { start: 34, offset: 16 }, gso: None };
    for _ in 0..COUNT {
        a.inside(VNI, frame, 1, &mut sink);
    }
    let from = "10.0.0.1:4794".parse().expect("an endpoint");
    let mut into = ring();
    let best = sink.bytes.chunks_exact_mut(datagram_bytes * STRETCH as usize).map(|stretch| {
        let start = Instant::now();
        for datagram in stretch.chunks_exact_mut(datagram_bytes) {
            b.outside(&from, datagram, 1, &mut into);
        }
        start.elapsed()
    });
    report(&format!("{}: open, guard and deliver {} bytes", cipher.text(), bytes.len()), best.min());
    assert_eq!(into.frames, COUNT / STRETCH as usize * STRETCH as usize);
}
