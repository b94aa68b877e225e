//! What the engine reports (`EngineEvent` in src/engine/engine.ts), and the bounded buffer in which reports wait for
//! the daemon.

use crate::command::Location;
use crate::ids::{Endpoint, Mac, PeerId, Vni};
use crate::limits::EVENTS;

/// Why a session is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Frame,
    Rekey,
    Silent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Control { from: PeerId, body: Box<[u8]> },
    Handshake { from: Endpoint, bytes: Box<[u8]> },
    SessionWanted { peer: PeerId, why: Why },
    SessionConfirmed { peer: PeerId, local: u32, endpoint: Endpoint },
    PeerMoved { peer: PeerId, endpoint: Endpoint },
    MacLearned { vni: Vni, mac: Mac, at: Location },
    MacAged { vni: Vni, mac: Mac },
    MacConflict { vni: Vni, mac: Mac, at: Location },
    MacSpoof { vni: Vni, mac: Mac },
    LoopSeen { vni: Vni, by: PeerId, age_ms: u32, own_age_ms: u64 },
    MacsFull { vni: Vni },
    SegmentFailed { vni: Vni, why: String },
    EventsLost { count: u64 },
}

/// Events on their way to the daemon: bounded; a loss is made good by reporting anew what the engine still holds.
#[derive(Debug)]
pub struct EventBuffer {
    events: Vec<Event>,
    lost: u64,
    limit: usize,
}

impl Default for EventBuffer {
    fn default() -> Self {
        Self::new(EVENTS)
    }
}

impl EventBuffer {
    pub fn new(limit: usize) -> Self {
        Self { events: Vec::new(), lost: 0, limit }
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.lost == 0
    }

    pub fn push(&mut self, event: Event) {
        if self.events.len() < self.limit {
            self.events.push(event);
        } else {
            self.lost += 1;
        }
    }

    /// Everything since the last call. After a loss: the count, what is held, and the state that `report` gives
    /// ([`crate::Plane::report`]: local MACs and wanted sessions).
    pub fn take(&mut self, report: impl FnOnce() -> Vec<Event>) -> Vec<Event> {
        let events = std::mem::take(&mut self.events);
        let lost = std::mem::take(&mut self.lost);
        if lost == 0 {
            return events;
        }
        let mut all = vec![Event::EventsLost { count: lost }];
        all.extend(events);
        all.extend(report());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(vni: Vni) -> Event {
        Event::MacsFull { vni }
    }

    #[test]
    fn gives_events_in_order_once() {
        let mut buffer = EventBuffer::new(10);
        buffer.push(event(1));
        buffer.push(event(2));
        assert_eq!(buffer.take(Vec::new), [event(1), event(2)]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn after_a_loss_begins_with_the_count_and_ends_with_the_state() {
        let mut buffer = EventBuffer::new(2);
        for vni in 1..=5 {
            buffer.push(event(vni));
        }
        let taken = buffer.take(|| vec![event(9)]);
        assert_eq!(taken, [Event::EventsLost { count: 3 }, event(1), event(2), event(9)]);
        buffer.push(event(4));
        assert_eq!(buffer.take(|| vec![event(9)]), [event(4)]);
    }
}
