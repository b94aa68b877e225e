//! Two switches with a session between them, and what the first last sent.

use std::sync::{Arc, Mutex};

use overlayd_engine::keys::KeyRegistry;
use overlayd_engine::{
    Checksum, Cipher, Command, Endpoint, Event, Frame, Location, MacKind, PeerId, PlaneOptions, SegmentConfig,
    SessionKeys, Sink, Switch, Vni,
};

use crate::frames::{SENDER, receiver};

const VNI: Vni = 7;
const NOW: u64 = 1;
const ROOM: usize = 2_048;

pub struct Pair {
    a: Switch,
    b: Switch,
    sent: Sent,
}

impl Pair {
    /// `macs` receivers live behind the second.
    pub fn new(cipher: Cipher, macs: u64) -> Self {
        let [a, b] = [1, 2].map(|own| make(cipher, own, macs));
        Self { a, b, sent: Sent::default() }
    }

    pub fn inside(&mut self, frame: Frame<'_>) {
        self.sent.bytes = 0;
        self.a.inside(VNI, frame, NOW, &mut self.sent);
        assert!(self.sent.bytes > 0, "nothing was sent");
    }

    /// The datagram of the last frame arrives.
    pub fn outside(&mut self) {
        let mut arrived = Arrived::default();
        let from = endpoint(1);
        self.b.outside(&from, &mut self.sent.buffer[..self.sent.bytes], NOW, &mut arrived);
        assert_eq!(arrived.frames, 1);
    }
}

/// Each datagram overwrites the one before it.
struct Sent {
    buffer: Vec<u8>,
    bytes: usize,
}

impl Default for Sent {
    fn default() -> Self {
        Self { buffer: vec![0; ROOM], bytes: 0 }
    }
}

impl Sink for Sent {
    fn room(&mut self, _: usize) -> &mut [u8] {
        &mut self.buffer
    }
    fn send(&mut self, _: &Endpoint, bytes: usize) {
        self.bytes = bytes;
    }
    fn deliver(&mut self, _: Vni, _: &mut [u8], _: Checksum) {}
    fn inject(&mut self, _: Vni, _: &[u8]) {}
    fn event(&mut self, _: Event) {}
}

#[derive(Default)]
struct Arrived {
    frames: usize,
    sent: Sent,
}

impl Sink for Arrived {
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.sent.room(bytes)
    }
    fn send(&mut self, _: &Endpoint, _: usize) {}
    fn deliver(&mut self, _: Vni, _: &mut [u8], _: Checksum) {
        self.frames += 1;
    }
    fn inject(&mut self, _: Vni, _: &[u8]) {}
    fn event(&mut self, _: Event) {}
}

fn endpoint(host: u8) -> Endpoint {
    format!("10.9.0.{host}:4794").parse().expect("an endpoint")
}

fn make(cipher: Cipher, own: u8, macs: u64) -> Switch {
    let other = 3 - own;
    let keys = Arc::new(Mutex::new(KeyRegistry::default()));
    let options = PlaneOptions {
        rekey_packets: 1 << 40,
        reject_packets: 1 << 41,
        ..PlaneOptions::new(keys, Box::new(|bytes| bytes.fill(1)))
    };
    let mut made = Switch::new(options);
    let mut sent = Sent::default();
    for command in commands(cipher, own, other, macs) {
        made.apply(command, 0, &mut sent);
    }
    made
}

fn commands(cipher: Cipher, own: u8, other: u8, macs: u64) -> Vec<Command> {
    let peer = PeerId([other; 16]);
    let at = |host: u8| {
        if host == own { Location::Local } else { Location::Peer(peer) }
    };
    let pin = |mac, at| Command::MacPin { vni: VNI, mac, at, kind: MacKind::Pinned };
    let mut commands = vec![
        Command::SegmentOpen(SegmentConfig {
            vni: VNI,
            tap: "t".into(),
            tap_mac: 9,
            tap_mtu: 1_390,
            mtu: 1_390,
            pinned_only: false,
            loop_probe: false,
        }),
        Command::FloodSet { vni: VNI, peers: vec![peer] },
        Command::SessionInstall(Box::new(SessionKeys {
            peer,
            local: own.into(),
            remote: other.into(),
            cipher,
            seal_key: [own; 32],
            seal_iv: [own; 12],
            open_key: [other; 32],
            open_iv: [other; 12],
            confirmed: true,
            peer_queues: 1,
            partial_checksum: true,
            endpoint: endpoint(other),
        })),
        pin(SENDER, at(1)),
    ];
    commands.extend((0..macs).map(|index| pin(receiver(index), at(2))));
    commands
}
