//! Frames of MACs that are moving to the local bridge: held until the move is claimed, else sent after a moment.

use crate::frame::{Frame, OwnedFrame};
use crate::ids::Mac;
use crate::limits::{HELD_FRAMES_PER_MAC, HELD_MS};

/// Places shared by many queues, so that their sum is bounded as well as each of them.
#[derive(Debug)]
pub struct Room(usize);

impl Room {
    pub fn new(places: usize) -> Self {
        Self(places)
    }

    pub fn take(&mut self) -> bool {
        let has_one = self.0 > 0;
        self.0 -= usize::from(has_one);
        has_one
    }

    pub fn give(&mut self, places: usize) {
        self.0 += places;
    }
}

#[derive(Debug)]
struct Held {
    mac: Mac,
    until: u64,
    frames: Vec<OwnedFrame>,
}

/// In order of their first frames; at most as many as there are places.
#[derive(Debug, Default)]
pub struct Hold(Vec<Held>);

impl Hold {
    /// Keeps a copy of `frame`; false when there is no room.
    pub fn add(&mut self, mac: Mac, frame: Frame<'_>, now: u64, room: &mut Room) -> bool {
        let held = self.0.iter_mut().find(|held| held.mac == mac);
        if held.as_ref().is_some_and(|held| held.frames.len() >= HELD_FRAMES_PER_MAC) || !room.take() {
            return false;
        }
        match held {
            Some(held) => held.frames.push(frame.to_owned()),
            None => self.0.push(Held { mac, until: now + HELD_MS, frames: vec![frame.to_owned()] }),
        }
        true
    }

    /// The frames of one MAC, in order; it is not held any more.
    pub fn release(&mut self, mac: Mac, room: &mut Room) -> Vec<OwnedFrame> {
        let Some(index) = self.0.iter().position(|held| held.mac == mac) else { return Vec::new() };
        let frames = self.0.remove(index).frames;
        room.give(frames.len());
        frames
    }

    /// MACs whose time is over.
    pub fn expired(&self, now: u64) -> Vec<Mac> {
        self.0.iter().filter(|held| held.until <= now).map(|held| held.mac).collect()
    }

    pub fn next_at(&self) -> Option<u64> {
        self.0.first().map(|held| held.until)
    }

    /// Gives up everything, as when the segment closes; says how many frames that were.
    pub fn clear(&mut self, room: &mut Room) -> usize {
        let frames = self.0.drain(..).map(|held| held.frames.len()).sum();
        room.give(frames);
        frames
    }
}
