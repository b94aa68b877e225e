//! A switch with keys, and a sink that keeps what it is given.
#![allow(dead_code)]

use std::sync::Arc;

use overlayd_engine::checksum::complete;
use overlayd_engine::plane::PlaneOptions;
use overlayd_engine::{
    Checksum, Cipher, Command, Endpoint, Event, Location, Mac, MacKind, PeerId, SegmentConfig, SessionKeys, Sink,
    Switch, Vni,
};

pub const VNI: Vni = 7;
pub const MAC_A: Mac = 0x0200_0000_000a;
pub const MAC_B: Mac = 0x0200_0000_000b;
pub const A: PeerId = PeerId([0xaa; 16]);
pub const B: PeerId = PeerId([0xbb; 16]);

#[derive(Default)]
pub struct Kept {
    room: Vec<u8>,
    pub datagrams: Vec<Vec<u8>>,
    pub frames: Vec<Vec<u8>>,
    pub events: Vec<Event>,
}

impl Sink for Kept {
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.room.resize(bytes, 0xa5);
        &mut self.room
    }

    fn send(&mut self, _: &Endpoint, bytes: usize) {
        self.datagrams.push(self.room[..bytes].to_vec());
    }

    fn deliver(&mut self, _: Vni, frame: &mut [u8], checksum: Checksum) {
        if let Checksum::Partial { start, offset } = checksum {
            complete(frame, start, offset);
        }
        self.frames.push(frame.to_vec());
    }

    fn inject(&mut self, _: Vni, frame: &[u8]) {
        self.frames.push(frame.to_vec());
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

pub fn switch() -> Switch {
    Switch::new(PlaneOptions::new(Arc::default(), Box::new(|bytes| bytes.fill(1))))
}

pub fn at(host: PeerId) -> Endpoint {
    format!("10.9.0.{}:4794", if host == A { 1 } else { 2 }).parse().unwrap()
}

/// Keys of `own` for its session with `peer`; those of the two ends match. A is the initiator.
pub fn keys(own: PeerId, peer: PeerId, cipher: Cipher, partial_checksum: bool) -> SessionKeys {
    let index = |of: PeerId| u32::from(of.0[0]);
    SessionKeys {
        peer,
        local: index(own),
        remote: index(peer),
        cipher,
        seal_key: [own.0[0]; 32],
        seal_iv: [own.0[0] + 1; 12],
        open_key: [peer.0[0]; 32],
        open_iv: [peer.0[0] + 1; 12],
        confirmed: own < peer,
        peer_queues: 1,
        partial_checksum,
        endpoint: at(peer),
    }
}

/// Told of the network, the other host, both MACs and the keys.
pub fn ready(own: PeerId, peer: PeerId, cipher: Cipher, partial_checksum: bool) -> Switch {
    let mut made = switch();
    let mut kept = Kept::default();
    for command in commands(own, peer, keys(own, peer, cipher, partial_checksum)) {
        made.apply(command, 0, &mut kept);
    }
    made
}

pub fn commands(own: PeerId, peer: PeerId, keys: SessionKeys) -> [Command; 5] {
    let config = SegmentConfig {
        vni: VNI,
        tap: "ovt-7".into(),
        tap_mac: 1,
        tap_mtu: 1_500,
        mtu: 1_390,
        pinned_only: false,
        loop_probe: false,
    };
    let (mine, theirs) = if own == A { (MAC_A, MAC_B) } else { (MAC_B, MAC_A) };
    [
        Command::SegmentOpen(config),
        Command::FloodSet { vni: VNI, peers: vec![peer] },
        Command::MacPin { vni: VNI, mac: mine, at: Location::Local, kind: MacKind::Seen },
        Command::MacPin { vni: VNI, mac: theirs, at: Location::Peer(peer), kind: MacKind::Seen },
        Command::SessionInstall(Box::new(keys)),
    ]
}

/// An untagged frame from A to B with `payload`.
pub fn ethernet(payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAC_B.to_be_bytes()[2..]);
    bytes.extend_from_slice(&MAC_A.to_be_bytes()[2..]);
    bytes.extend_from_slice(&[0x12, 0x34]);
    bytes.extend_from_slice(payload);
    bytes
}
