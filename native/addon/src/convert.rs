//! Plain data of the contract (src/engine/engine.ts) to the engine's types and back.

use std::str::FromStr;

use napi::bindgen_prelude::{Env, FromNapiValue, Object, ToNapiValue, Uint8Array, Unknown};
use napi::{Error, Result};
use overlayd_engine::command::AdmissionKeys;
use overlayd_engine::ids::{mac_text, parse_mac};
use overlayd_engine::stats::Traffic;
use overlayd_engine::sys::udp::Refusal;
use overlayd_engine::{
    Cipher, Command, DropReason, EngineLimits, Event, Location, Mac, MacKind, PeerStats, SegmentConfig, SegmentStats,
    SessionKeys, Stats, Vni, Why,
};

/// # Errors
/// For what is no command of the contract.
pub fn command(from: &Object<'_>) -> Result<Command> {
    let what: String = field(from, "do")?;
    Ok(match what.as_str() {
        "admission.set" => Command::AdmissionSet(admission(from)?),
        "peer.endpoints" => Command::PeerEndpoints { peer: text(from, "peer")?, endpoints: texts(from, "endpoints")? },
        "session.install" => Command::SessionInstall(Box::new(session(from)?)),
        "session.retire" => Command::SessionRetire { peer: text(from, "peer")?, local: field(from, "local")? },
        "segment.open" => Command::SegmentOpen(segment(from)?),
        "segment.close" => Command::SegmentClose { vni: vni(from)? },
        "segment.block" => Command::SegmentBlock { vni: vni(from)?, blocked: field(from, "blocked")? },
        "flood.set" => Command::FloodSet { vni: vni(from)?, peers: texts(from, "peers")? },
        "mac.pin" => pin(from)?,
        "mac.unpin" => Command::MacUnpin { vni: vni(from)?, mac: mac(from, "mac")? },
        "neighbour.set" => Command::NeighbourSet { vni: vni(from)?, ip: text(from, "ip")?, mac: mac(from, "mac")? },
        "neighbour.unset" => Command::NeighbourUnset { vni: vni(from)?, ip: text(from, "ip")? },
        "limits.set" => Command::LimitsSet(limits(from)?),
        _ => return Err(wrong("do", &what)),
    })
}

/// # Errors
/// When the runtime is out of memory.
pub fn event(env: &Env, event: Event) -> Result<Object<'_>> {
    let mut to = Object::new(env)?;
    match event {
        Event::Control { from, body } => {
            to.set("on", "control")?;
            to.set("from", from.to_string())?;
            to.set("body", Uint8Array::new(body.into_vec()))?;
        }
        Event::Handshake { from, bytes } => {
            to.set("on", "handshake")?;
            to.set("from", from.to_string())?;
            to.set("bytes", Uint8Array::new(bytes.into_vec()))?;
        }
        Event::SessionWanted { peer, why } => {
            to.set("on", "session.wanted")?;
            to.set("peer", peer.to_string())?;
            to.set("why", why_text(why))?;
        }
        Event::SessionConfirmed { peer, local, endpoint } => {
            to.set("on", "session.confirmed")?;
            to.set("peer", peer.to_string())?;
            to.set("local", local)?;
            to.set("endpoint", endpoint.to_string())?;
        }
        Event::PeerMoved { peer, endpoint } => {
            to.set("on", "peer.moved")?;
            to.set("peer", peer.to_string())?;
            to.set("endpoint", endpoint.to_string())?;
        }
        Event::LoopSeen { vni, by, age_ms, own_age_ms } => {
            to.set("on", "loop.seen")?;
            to.set("vni", vni)?;
            to.set("by", by.to_string())?;
            to.set("ageMs", age_ms)?;
            to.set("ownAgeMs", number(own_age_ms))?;
        }
        Event::SegmentFailed { vni, why } => {
            to.set("on", "segment.failed")?;
            to.set("vni", vni)?;
            to.set("why", why)?;
        }
        Event::MacLearned { vni, mac, at } => mac_event(&mut to, "mac.learned", vni, mac, Some(at))?,
        Event::MacConflict { vni, mac, at } => mac_event(&mut to, "mac.conflict", vni, mac, Some(at))?,
        Event::MacAged { vni, mac } => mac_event(&mut to, "mac.aged", vni, mac, None)?,
        Event::MacSpoof { vni, mac } => mac_event(&mut to, "mac.spoof", vni, mac, None)?,
        Event::MacsFull { vni } => {
            to.set("on", "macs.full")?;
            to.set("vni", vni)?;
        }
        Event::EventsLost { count } => {
            to.set("on", "events.lost")?;
            to.set("count", number(count))?;
        }
    }
    Ok(to)
}

/// # Errors
/// When the runtime is out of memory.
pub fn stats<'a>(env: &'a Env, stats: &Stats) -> Result<Object<'a>> {
    let mut to = Object::new(env)?;
    to.set("drops", drops(env, &stats.drops)?)?;
    to.set("fragmented", number(stats.fragmented))?;
    to.set("peers", stats.peers.iter().map(|peer| peer_stats(env, peer)).collect::<Result<Vec<_>>>()?)?;
    to.set("segments", stats.segments.iter().map(|each| segment_stats(env, each)).collect::<Result<Vec<_>>>()?)?;
    Ok(to)
}

/// # Errors
/// When the runtime is out of memory.
pub fn refusal<'a>(env: &'a Env, refusal: &Refusal) -> Result<Object<'a>> {
    let mut to = Object::new(env)?;
    to.set("endpoint", refusal.to.to_string())?;
    to.set("why", refusal.to_string())?;
    Ok(to)
}

/// # Errors
/// For a text that is not what it should be.
pub fn parsed<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::from_reason(format!("\"{text}\" is not what it should be")))
}

fn admission(from: &Object<'_>) -> Result<AdmissionKeys> {
    Ok(AdmissionKeys {
        mac1: optional_bytes(from, "mac1")?,
        mac1_join: optional_bytes(from, "mac1Join")?,
        cookie_secret: bytes(from, "cookieSecret")?,
        loop_key: bytes(from, "loopKey")?,
        own: text(from, "self")?,
    })
}

fn session(from: &Object<'_>) -> Result<SessionKeys> {
    Ok(SessionKeys {
        peer: text(from, "peer")?,
        local: field(from, "local")?,
        remote: field(from, "remote")?,
        cipher: cipher(&field::<String>(from, "cipher")?)?,
        seal_key: bytes(from, "sealKey")?,
        seal_iv: bytes(from, "sealIv")?,
        open_key: bytes(from, "openKey")?,
        open_iv: bytes(from, "openIv")?,
        confirmed: field(from, "confirmed")?,
        peer_queues: field::<u32>(from, "peerQueues")? as u8,
        partial_checksum: field(from, "partialChecksum")?,
        endpoint: text(from, "endpoint")?,
    })
}

fn segment(from: &Object<'_>) -> Result<SegmentConfig> {
    Ok(SegmentConfig {
        vni: vni(from)?,
        tap: field(from, "tap")?,
        tap_mac: mac(from, "tapMac")?,
        tap_mtu: field(from, "tapMtu")?,
        mtu: field(from, "mtu")?,
        pinned_only: field(from, "pinnedOnly")?,
        loop_probe: field(from, "loopProbe")?,
    })
}

fn pin(from: &Object<'_>) -> Result<Command> {
    let at: String = field(from, "at")?;
    let kind: String = field(from, "kind")?;
    Ok(Command::MacPin {
        vni: vni(from)?,
        mac: mac(from, "mac")?,
        at: if at == "local" { Location::Local } else { Location::Peer(parsed(&at)?) },
        kind: match kind.as_str() {
            "pinned" => MacKind::Pinned,
            "seen" => MacKind::Seen,
            _ => return Err(wrong("kind", &kind)),
        },
    })
}

fn limits(from: &Object<'_>) -> Result<EngineLimits> {
    Ok(EngineLimits {
        bum_per_port: field::<u32>(from, "bumPerPort")?.into(),
        bum_per_segment: field::<u32>(from, "bumPerSegment")?.into(),
        local_macs: field::<u32>(from, "localMacs")? as usize,
    })
}

fn cipher(text: &str) -> Result<Cipher> {
    Cipher::parse(text).ok_or_else(|| wrong("cipher", text))
}

fn why_text(why: Why) -> &'static str {
    match why {
        Why::Frame => "frame",
        Why::Rekey => "rekey",
        Why::Silent => "silent",
    }
}

fn mac_event(to: &mut Object<'_>, on: &str, vni: Vni, mac: Mac, at: Option<Location>) -> Result<()> {
    to.set("on", on)?;
    to.set("vni", vni)?;
    to.set("mac", mac_text(mac))?;
    match at {
        None => Ok(()),
        Some(Location::Local) => to.set("at", "local"),
        Some(Location::Peer(peer)) => to.set("at", peer.to_string()),
    }
}

fn drops<'a>(env: &'a Env, drops: &[(DropReason, u64)]) -> Result<Object<'a>> {
    let mut to = Object::new(env)?;
    for &(reason, count) in drops {
        to.set(reason.text(), number(count))?;
    }
    Ok(to)
}

fn peer_stats<'a>(env: &'a Env, peer: &PeerStats) -> Result<Object<'a>> {
    let mut to = Object::new(env)?;
    to.set("peer", peer.peer.to_string())?;
    set_optional(&mut to, "endpoint", peer.endpoint.map(|endpoint| endpoint.to_string()))?;
    set_optional(&mut to, "cipher", peer.cipher.map(Cipher::text))?;
    set_optional(&mut to, "sessionAgeMs", peer.session_age_ms.map(number))?;
    set_optional(&mut to, "silentMs", peer.silent_ms.map(number))?;
    traffic(&mut to, &peer.traffic)?;
    to.set("drops", drops(env, &peer.drops)?)?;
    Ok(to)
}

fn segment_stats<'a>(env: &'a Env, segment: &SegmentStats) -> Result<Object<'a>> {
    let mut to = Object::new(env)?;
    to.set("vni", segment.vni)?;
    traffic(&mut to, &segment.traffic)?;
    to.set("localMacs", segment.local_macs as u32)?;
    to.set("remoteMacs", segment.remote_macs as u32)?;
    to.set("blocked", segment.blocked)?;
    Ok(to)
}

fn traffic(to: &mut Object<'_>, traffic: &Traffic) -> Result<()> {
    to.set("framesOut", number(traffic.frames_out))?;
    to.set("framesIn", number(traffic.frames_in))?;
    to.set("bytesOut", number(traffic.bytes_out))?;
    to.set("bytesIn", number(traffic.bytes_in))
}

/// A property that is there and undefined, as the contract has it.
fn set_optional<T: ToNapiValue>(to: &mut Object<'_>, name: &str, value: Option<T>) -> Result<()> {
    match value {
        Some(value) => to.set(name, value),
        None => to.set(name, ()),
    }
}

fn field<T: FromNapiValue>(from: &Object<'_>, name: &str) -> Result<T> {
    from.get::<T>(name)?.ok_or_else(|| Error::from_reason(format!("a command without \"{name}\"")))
}

fn text<T: FromStr>(from: &Object<'_>, name: &str) -> Result<T> {
    parsed(&field::<String>(from, name)?)
}

fn texts<T: FromStr>(from: &Object<'_>, name: &str) -> Result<Vec<T>> {
    field::<Vec<String>>(from, name)?.iter().map(|text| parsed(text)).collect()
}

fn vni(from: &Object<'_>) -> Result<Vni> {
    field(from, "vni")
}

fn mac(from: &Object<'_>, name: &str) -> Result<Mac> {
    let text: String = field(from, name)?;
    parse_mac(&text).ok_or_else(|| wrong(name, &text))
}

fn bytes<const N: usize>(from: &Object<'_>, name: &str) -> Result<[u8; N]> {
    let bytes: Uint8Array = field(from, name)?;
    <[u8; N]>::try_from(&*bytes).map_err(|_| Error::from_reason(format!("\"{name}\" has {} bytes", bytes.len())))
}

fn optional_bytes<const N: usize>(from: &Object<'_>, name: &str) -> Result<Option<[u8; N]>> {
    let found: Option<Unknown<'_>> = from.get(name)?;
    if found.is_none() { Ok(None) } else { bytes(from, name).map(Some) }
}

/// JavaScript counts exactly up to 2^53, which no counter of frames reaches.
fn number(value: u64) -> f64 {
    value as f64
}

fn wrong(name: &str, value: &str) -> Error {
    Error::from_reason(format!("\"{value}\" is no \"{name}\" of the contract"))
}
