//! test/vectors/*.json: what the portable switch made, made again.

mod common;

use common::{A, B, Kept, at};
use overlayd_engine::cipher::make_nonce;
use overlayd_engine::coalesce::coalesce;
use overlayd_engine::datagram::{Outer, put_outer};
use overlayd_engine::frame::OwnedFrame;
use overlayd_engine::looping::{self, LoopProbe};
use overlayd_engine::split::Split;
use overlayd_engine::{
    Checksum, Cipher, Command, Frame, Gso, GsoKind, Location, MacKind, SegmentConfig, SessionKeys, mss,
};
use serde_json::Value;

fn vectors(name: &str) -> Vec<Value> {
    let path = format!("{}/../../test/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the vectors are part of the sources");
    serde_json::from_str(&text).expect("vectors are JSON")
}

fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().expect("hex");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().expect("as many bytes")
}

fn gso(value: &Value) -> Option<Gso> {
    let kind = match value["gso"]["type"].as_str()? {
        "tcp4" => GsoKind::Tcp4,
        "tcp6" => GsoKind::Tcp6,
        "udp4" => GsoKind::Udp4,
        _ => GsoKind::Udp6,
    };
    Some(Gso { kind, size: number(&value["gso"]["size"]) as u16 })
}

fn frame(value: &Value) -> OwnedFrame {
    let place = |name: &str| value["checksum"][name].as_u64().map(|place| place as u16);
    let checksum = match (place("start"), place("offset")) {
        (Some(start), Some(offset)) => Checksum::Partial { start, offset },
        _ => Checksum::Complete,
    };
    OwnedFrame { bytes: hex(&value["bytes"]).into(), checksum, gso: gso(value) }
}

fn frames(value: &Value) -> Vec<OwnedFrame> {
    value.as_array().expect("frames").iter().map(frame).collect()
}

#[test]
fn nonces() {
    for case in vectors("nonces") {
        let mut header = [0; 16];
        let outer = Outer {
            receiver: number(&case["receiver"]) as u32,
            queue: number(&case["queue"]) as u8,
            counter: number(&case["counter"]),
        };
        put_outer(&mut header, &outer);
        assert_eq!(header, array(&case["header"]));
        assert_eq!(make_nonce(&array(&case["iv"]), &header), array(&case["nonce"]));
    }
}

#[test]
fn splitting() {
    for case in vectors("split") {
        let whole = frame(&case);
        let split = Split::new(&whole.view(), whole.gso.expect("a super-frame"));
        match split {
            Some(split) => assert_eq!(split.to_frames().collect::<Vec<_>>(), frames(&case["frames"])),
            None => assert_eq!(case["frames"], "bad-gso"),
        }
    }
}

#[test]
fn coalescing() {
    for case in vectors("coalesce") {
        let bytes: Vec<_> = case["frames"].as_array().unwrap().iter().map(hex).collect();
        let given: Vec<_> = bytes.iter().map(|bytes| Frame::complete(bytes)).collect();
        assert_eq!(coalesce(&given), frames(&case["joined"]));
    }
}

#[test]
fn clamping() {
    for case in vectors("mss") {
        let mut bytes = hex(&case["frame"]);
        mss::clamp(&mut bytes, number(&case["mtu"]) as u32, Checksum::Complete);
        assert_eq!(bytes, hex(&case["clamped"]));
    }
}

#[test]
fn loop_probes() {
    for case in vectors("loop") {
        let source = hex(&case["source"]).iter().fold(0, |mac, &byte| mac << 8 | u64::from(byte));
        let probe = LoopProbe {
            by: case["by"].as_str().unwrap().parse().unwrap(),
            vni: number(&case["vni"]) as u32,
            age_ms: number(&case["ageMs"]) as u32,
        };
        let key = array(&case["loopKey"]);
        let bytes = looping::make(&key, source, &probe);
        assert_eq!(bytes, hex(&case["frame"]));
        assert_eq!(looping::read(&key, &bytes), Some(probe));
    }
}

#[test]
fn sealing() {
    for case in vectors("sealed") {
        let session = &case["session"];
        let keys = SessionKeys {
            peer: B,
            local: number(&session["local"]) as u32,
            remote: number(&session["remote"]) as u32,
            cipher: Cipher::parse(session["cipher"].as_str().unwrap()).unwrap(),
            seal_key: array(&session["sealKey"]),
            seal_iv: array(&session["sealIv"]),
            open_key: array(&session["openKey"]),
            open_iv: array(&session["openIv"]),
            confirmed: true,
            peer_queues: 1,
            partial_checksum: session["partialChecksum"].as_bool().unwrap(),
            endpoint: at(B),
        };
        let mut mirrored = keys.clone();
        mirrored.peer = A;
        mirrored.endpoint = at(A);
        mirrored.confirmed = false;
        (mirrored.local, mirrored.remote) = (keys.remote, keys.local);
        (mirrored.seal_key, mirrored.open_key) = (keys.open_key, keys.seal_key);
        (mirrored.seal_iv, mirrored.open_iv) = (keys.open_iv, keys.seal_iv);
        let (mut a, mut b) =
            (end(keys, B, common::MAC_A, common::MAC_B), end(mirrored, A, common::MAC_B, common::MAC_A));
        let mut kept = Kept::default();
        for input in frames(&case["frames"]) {
            a.inside(common::VNI, input.view(), 0, &mut kept);
        }
        a.control(B, &hex(&case["control"]), 0, &mut kept);
        let datagrams: Vec<_> = case["datagrams"].as_array().unwrap().iter().map(hex).collect();
        assert_eq!(kept.datagrams, datagrams);
        for mut datagram in datagrams {
            b.outside(&at(A), &mut datagram, 0, &mut kept);
        }
        let delivered: Vec<_> = case["delivered"].as_array().unwrap().iter().map(hex).collect();
        assert_eq!(kept.frames, delivered);
    }
}

/// As the generator's pair: the confirming keepalive has been sent.
fn end(keys: SessionKeys, peer: overlayd_engine::PeerId, mine: u64, theirs: u64) -> overlayd_engine::Switch {
    let mut made = common::switch();
    let config = SegmentConfig {
        vni: common::VNI,
        tap: "ovt-7".into(),
        tap_mac: 1,
        tap_mtu: 1_390,
        mtu: 1_390,
        pinned_only: false,
        loop_probe: false,
    };
    let pin = |mac, at| Command::MacPin { vni: common::VNI, mac, at, kind: MacKind::Seen };
    let commands = [
        Command::SegmentOpen(config),
        Command::FloodSet { vni: common::VNI, peers: vec![peer] },
        Command::SessionInstall(Box::new(keys)),
        pin(mine, Location::Local),
        pin(theirs, Location::Peer(peer)),
    ];
    for command in commands {
        made.apply(command, 0, &mut Kept::default());
    }
    made
}
