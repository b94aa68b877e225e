//! The commanding thread's own lane: commands, controls and handshakes are carried out where they are given.

use std::sync::mpsc::channel;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::mail::Mail;
use super::output::Output;
use super::shared::Shared;
use crate::command::{Command, SegmentConfig};
use crate::events::Event;
use crate::ids::{Endpoint, PeerId, Vni};
use crate::lane::Lane;
use crate::sink::Sink;
use crate::sys::SysError;
use crate::sys::tap::{Tap, describe};

/// A lane lets go of a device within a batch, which takes microseconds.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

pub(super) struct Control {
    shared: Arc<Shared>,
    lane: Lane,
    out: Output,
}

impl Control {
    pub(super) fn new(shared: Arc<Shared>, out: Output) -> Self {
        let lane = shared.plane.control_lane();
        Self { shared, lane, out }
    }

    pub(super) fn apply(&mut self, commands: Vec<Command>) {
        let now = self.shared.now();
        for command in commands {
            match &command {
                Command::SegmentOpen(config) if !self.open(config) => continue,
                Command::SegmentClose { vni } => self.close(*vni),
                _ => {}
            }
            self.lane.apply(command, now, &mut self.out);
        }
        self.finish();
    }

    pub(super) fn send_control(&mut self, to: PeerId, body: &[u8]) {
        let now = self.shared.now();
        self.lane.control(to, body, now, &mut self.out);
        self.finish();
    }

    /// Leaves as it is: the only bytes outside a session.
    pub(super) fn send_handshake(&mut self, to: Endpoint, bytes: &[u8]) {
        self.out.room(bytes.len()).copy_from_slice(bytes);
        self.out.send(&to, bytes.len());
        self.finish();
    }

    /// After a panic: a lane and a batch that know nothing of it.
    pub(super) fn recover(&mut self) {
        self.lane = self.shared.plane.control_lane();
        self.out.forget();
        self.shared.plane.drop_sessions(self.shared.now(), &mut self.out);
        self.finish();
    }

    pub(super) fn close_all(&mut self) {
        let vnis: Vec<Vni> = self.shared.taps().keys().copied().collect();
        for vni in vnis {
            self.close(vni);
        }
    }

    fn finish(&mut self) {
        self.out.finish(&self.shared);
        self.lane.idle();
        self.shared.look_at_clockwork();
    }

    /// Makes the device, or changes MAC and MTU of the one there is. False, after reporting why, when there is none.
    fn open(&mut self, config: &SegmentConfig) -> bool {
        let vni = config.vni;
        let known = self.shared.taps().get(&vni).cloned();
        let known = known.filter(|tap| {
            let is_same = tap.name() == config.tap;
            if !is_same {
                self.close(vni);
            }
            is_same
        });
        let [_, _, mac @ ..] = config.tap_mac.to_be_bytes();
        let result = match &known {
            Some(tap) => tap.configure(mac, config.tap_mtu),
            None => self.make(config, mac),
        };
        let Err(error) = result else { return true };
        self.out.event(Event::SegmentFailed { vni, why: describe(&config.tap, error) });
        known.is_some()
    }

    fn make(&mut self, config: &SegmentConfig, mac: [u8; 6]) -> Result<(), SysError> {
        let lanes = self.shared.mailboxes.len();
        let queues = Tap::open(&config.tap, mac, config.tap_mtu, lanes)?;
        for (mailbox, tap) in self.shared.mailboxes.iter().zip(queues) {
            let tap = Arc::new(tap);
            self.shared.taps().entry(config.vni).or_insert_with(|| Arc::clone(&tap));
            mailbox.post(Mail::Open { vni: config.vni, tap });
        }
        if let Some(tap) = self.shared.taps().get(&config.vni) {
            self.out.ports.open(config.vni, Arc::clone(tap));
        }
        Ok(())
    }

    /// The device is gone when this returns, unless a lane hangs.
    fn close(&mut self, vni: Vni) {
        self.out.ports.close(vni);
        if self.shared.taps().remove(&vni).is_none() {
            return;
        }
        // A lane that has not begun would not answer.
        self.shared.commanded();
        let (done, all_done) = channel();
        for mailbox in &self.shared.mailboxes {
            mailbox.post(Mail::Close { vni, done: done.clone() });
        }
        drop(done);
        if all_done.recv_timeout(CLOSE_WAIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.shared.failed(&format!("segment {vni}: a lane has not let go of its TAP"));
        }
    }
}
