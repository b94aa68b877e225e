//! The pure switch as a JavaScript class: for the conformance and differential tests (test/engine/native.test.ts), not
//! for the engine.

use std::sync::{Arc, Mutex};

use napi::bindgen_prelude::{Env, Object, Uint8Array};
use napi::{Error, Result};
use napi_derive::napi;
use overlayd_engine::checksum::complete;
use overlayd_engine::coalesce::coalesce;
use overlayd_engine::keys::KeyRegistry;
use overlayd_engine::plane::PlaneOptions;
use overlayd_engine::{Checksum, Endpoint, Event, Frame, Gso, GsoKind, Sink, Switch, Vni};

use crate::convert;

/// Which keys have entered; shared by the switches that stand for one process.
#[napi]
pub struct NativeKeys(Arc<Mutex<KeyRegistry>>);

#[napi]
impl NativeKeys {
    #[napi(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(Arc::default())
    }
}

/// A super-frame's `type` and `size`, and a partial checksum's place.
#[napi(object)]
pub struct FrameMeta {
    pub start: Option<u32>,
    pub offset: Option<u32>,
    pub gso: Option<String>,
    pub size: Option<u32>,
}

/// The next random bytes that the switch will draw, and whether it has.
type Drawn = Arc<Mutex<(Vec<u8>, bool)>>;

#[napi]
pub struct NativeSwitch {
    switch: Switch,
    random: Drawn,
}

#[napi]
impl NativeSwitch {
    /// `random`: what the switch draws first.
    #[napi(constructor)]
    pub fn new(keys: &NativeKeys, random: Uint8Array, path_mtu: u32, rekey_packets: f64, reject_packets: f64) -> Self {
        let random: Drawn = Arc::new(Mutex::new((random.to_vec(), false)));
        let drawn = Arc::clone(&random);
        let draw = move |into: &mut [u8]| {
            if let Ok(mut drawn) = drawn.lock() {
                into.copy_from_slice(&drawn.0[..into.len()]);
                drawn.1 = true;
            }
        };
        let mut options = PlaneOptions::new(Arc::clone(&keys.0), Box::new(draw));
        options.path_mtu = path_mtu;
        options.rekey_packets = rekey_packets as u64;
        options.reject_packets = reject_packets as u64;
        Self { switch: Switch::new(options), random }
    }

    #[napi]
    pub fn apply<'e>(&mut self, env: &'e Env, command: Object<'_>, now: f64) -> Result<Object<'e>> {
        let command = convert::command(&command)?;
        self.run(env, |switch, out| switch.apply(command, now as u64, out))
    }

    #[napi]
    pub fn inside<'e>(
        &mut self,
        env: &'e Env,
        vni: u32,
        bytes: Uint8Array,
        meta: FrameMeta,
        now: f64,
    ) -> Result<Object<'e>> {
        let frame = frame(&bytes, &meta)?;
        self.run(env, |switch, out| switch.inside(vni, frame, now as u64, out))
    }

    #[napi]
    pub fn outside<'e>(&mut self, env: &'e Env, from: String, bytes: Uint8Array, now: f64) -> Result<Object<'e>> {
        let from: Endpoint = convert::parsed(&from)?;
        let mut datagram = bytes.to_vec();
        self.run(env, |switch, out| switch.outside(&from, &mut datagram, now as u64, out))
    }

    #[napi]
    pub fn control<'e>(&mut self, env: &'e Env, to: String, body: Uint8Array, now: f64) -> Result<Object<'e>> {
        let to = convert::parsed(&to)?;
        self.run(env, |switch, out| switch.control(to, &body, now as u64, out))
    }

    #[napi]
    pub fn handshake<'e>(&mut self, env: &'e Env, to: String, bytes: Uint8Array) -> Result<Object<'e>> {
        let to: Endpoint = convert::parsed(&to)?;
        self.run(env, |switch, out| switch.handshake(&to, &bytes, out))
    }

    #[napi]
    pub fn tick<'e>(&mut self, env: &'e Env, now: f64) -> Result<Object<'e>> {
        self.run(env, |switch, out| switch.tick(now as u64, out))
    }

    #[napi]
    pub fn deadline<'e>(&self, env: &'e Env) -> Result<Option<Object<'e>>> {
        let Some(due) = self.switch.deadline() else { return Ok(None) };
        let mut to = Object::new(env)?;
        to.set("at", due.at as f64)?;
        to.set("why", due.why)?;
        Ok(Some(to))
    }

    #[napi]
    pub fn stats<'e>(&self, env: &'e Env, now: f64) -> Result<Object<'e>> {
        convert::stats(env, &self.switch.stats(now as u64))
    }

    #[napi]
    pub fn report<'e>(&self, env: &'e Env) -> Result<Vec<Object<'e>>> {
        self.switch.report().into_iter().map(|event| convert::event(env, event)).collect()
    }

    /// True when the random bytes have been drawn since the last call; then `next` are the next.
    #[napi]
    pub fn drawn(&self, next: Uint8Array) -> bool {
        let Ok(mut random) = self.random.lock() else { return false };
        let was_drawn = std::mem::take(&mut random.1);
        if was_drawn {
            random.0 = next.to_vec();
        }
        was_drawn
    }

    fn run<'e>(&mut self, env: &'e Env, call: impl FnOnce(&mut Switch, &mut Out)) -> Result<Object<'e>> {
        let mut out = Out::default();
        call(&mut self.switch, &mut out);
        out.into_js(env)
    }
}

/// Completes partial checksums, as the contract has it for frames that come out.
#[derive(Default)]
struct Out {
    room: Vec<u8>,
    datagrams: Vec<(Endpoint, Vec<u8>)>,
    frames: Vec<(Vni, Vec<u8>)>,
    events: Vec<Event>,
}

impl Sink for Out {
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        // Filled with anything but zeros: who relies on them must be found.
        self.room.clear();
        self.room.resize(bytes, 0xa5);
        &mut self.room
    }

    fn send(&mut self, to: &Endpoint, bytes: usize) {
        self.datagrams.push((*to, self.room[..bytes].to_vec()));
    }

    fn deliver(&mut self, vni: Vni, frame: &mut [u8], checksum: Checksum) {
        if let Checksum::Partial { start, offset } = checksum {
            complete(frame, start, offset);
        }
        self.frames.push((vni, frame.to_vec()));
    }

    fn inject(&mut self, vni: Vni, frame: &[u8]) {
        self.frames.push((vni, frame.to_vec()));
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl Out {
    fn into_js(self, env: &Env) -> Result<Object<'_>> {
        let mut datagrams = Vec::with_capacity(self.datagrams.len());
        for (to, bytes) in self.datagrams {
            let mut datagram = Object::new(env)?;
            datagram.set("to", to.to_string())?;
            datagram.set("bytes", Uint8Array::new(bytes))?;
            datagrams.push(datagram);
        }
        let mut frames = Vec::with_capacity(self.frames.len());
        for (vni, bytes) in self.frames {
            let mut frame = Object::new(env)?;
            frame.set("vni", vni)?;
            frame.set("bytes", Uint8Array::new(bytes))?;
            frames.push(frame);
        }
        let events = self.events.into_iter().map(|event| convert::event(env, event)).collect::<Result<Vec<_>>>()?;
        let mut to = Object::new(env)?;
        to.set("datagrams", datagrams)?;
        to.set("frames", frames)?;
        to.set("events", events)?;
        Ok(to)
    }
}

/// One batch of frames from a tunnel, joined as for a TAP: `{bytes, start?, offset?, gso?, size?}` each.
#[napi]
#[cfg_attr(test, allow(dead_code))]
pub fn native_coalesce(env: &Env, frames: Vec<Uint8Array>, metas: Vec<FrameMeta>) -> Result<Vec<Object<'_>>> {
    let frames = frames.iter().zip(&metas).map(|(bytes, meta)| frame(bytes, meta)).collect::<Result<Vec<_>>>()?;
    coalesce(&frames)
        .into_iter()
        .map(|joined| {
            let mut to = Object::new(env)?;
            to.set("bytes", Uint8Array::new(joined.bytes.into_vec()))?;
            if let Checksum::Partial { start, offset } = joined.checksum {
                to.set("start", start)?;
                to.set("offset", offset)?;
            }
            if let Some(Gso { kind, size }) = joined.gso {
                to.set("gso", KINDS.iter().find(|(_, known)| *known == kind).map(|(text, _)| *text))?;
                to.set("size", size)?;
            }
            Ok(to)
        })
        .collect()
}

const KINDS: [(&str, GsoKind); 4] =
    [("tcp4", GsoKind::Tcp4), ("tcp6", GsoKind::Tcp6), ("udp4", GsoKind::Udp4), ("udp6", GsoKind::Udp6)];

fn frame<'a>(bytes: &'a [u8], meta: &FrameMeta) -> Result<Frame<'a>> {
    let checksum = match (meta.start, meta.offset) {
        (Some(start), Some(offset)) => Checksum::Partial { start: start as u16, offset: offset as u16 },
        _ => Checksum::Complete,
    };
    let gso = match &meta.gso {
        None => None,
        Some(text) => {
            let (_, kind) =
                KINDS.iter().find(|(known, _)| known == text).ok_or_else(|| Error::from_reason("no such type"))?;
            Some(Gso { kind: *kind, size: meta.size.unwrap_or(0) as u16 })
        }
    };
    Ok(Frame { bytes, checksum, gso })
}
