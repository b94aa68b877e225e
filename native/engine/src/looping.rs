//! Loop probes: frames that only a loop outside the overlay can bring from one host's bridge to another's
//! (docs/PROTOCOL.md "Loop probes"). Signed with a key of the cluster, so that a machine on a bridge cannot make
//! another host block itself.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::blake2s::hmac16;
use crate::bytes::{get_u16, get_u32, get_u48, put_u32};
use crate::frame;
use crate::ids::{Mac, PeerId, Vni};
use crate::wire::{ETHERNET_BYTES, LOOP_ETHERTYPE, LOOP_MAC};

const HOST_AT: usize = ETHERNET_BYTES;
const VNI_AT: usize = HOST_AT + 16;
const AGE_AT: usize = VNI_AT + 4;
const SIGNATURE_AT: usize = AGE_AT + 4;
const SIGNATURE_END: usize = SIGNATURE_AT + 16;
/// The shortest frame.
const LOOP_BYTES: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopProbe {
    pub by: PeerId,
    pub vni: Vni,
    pub age_ms: u32,
}

/// True for anything that looks like a probe, signed or not: none of it travels. `frame` has at least 14 bytes.
pub fn is_probe(frame: &[u8]) -> bool {
    get_u16(frame, 12) == LOOP_ETHERTYPE && get_u48(frame, 0) == LOOP_MAC
}

pub fn make(loop_key: &[u8; 32], source: Mac, probe: &LoopProbe) -> Vec<u8> {
    let mut bytes = frame::make(LOOP_MAC, source, LOOP_ETHERTYPE, LOOP_BYTES - ETHERNET_BYTES);
    bytes[HOST_AT..VNI_AT].copy_from_slice(&probe.by.0);
    put_u32(&mut bytes, VNI_AT, probe.vni);
    put_u32(&mut bytes, AGE_AT, probe.age_ms);
    let signature = sign(loop_key, &bytes);
    bytes[SIGNATURE_AT..SIGNATURE_END].copy_from_slice(&signature);
    bytes
}

/// None unless signed with `loop_key`.
pub fn read(loop_key: &[u8; 32], frame: &[u8]) -> Option<LoopProbe> {
    let signature = frame.get(SIGNATURE_AT..SIGNATURE_END)?;
    verify_slices_are_equal(&sign(loop_key, frame), signature).ok()?;
    let by = PeerId(frame[HOST_AT..VNI_AT].try_into().ok()?);
    Some(LoopProbe { by, vni: get_u32(frame, VNI_AT), age_ms: get_u32(frame, AGE_AT) })
}

fn sign(loop_key: &[u8; 32], frame: &[u8]) -> [u8; 16] {
    hmac16(loop_key, &[b"overlayd loop probe", &frame[HOST_AT..SIGNATURE_AT]])
}
