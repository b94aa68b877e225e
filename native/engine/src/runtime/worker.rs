//! One lane's thread: waits for its TAPs, its sockets and its mail, and moves what comes.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use super::mail::Mail;
use super::output::Output;
use super::shared::Shared;
use crate::command::Command;
use crate::events::Event;
use crate::ids::{Endpoint, Vni};
use crate::lane::Lane;
use crate::plane::Plane;
use crate::sink::Sink;
use crate::sys::SysError;
use crate::sys::poll::Poll;
use crate::sys::tap::{READ_BYTES, Tap, TapFault, VNET_BYTES};
use crate::sys::udp::Receiver;
use crate::vnet;

/// Frames taken from one TAP before others, and the network, get their turn; and bytes, for super-frames are worth fifty.
const FRAMES_PER_TURN: usize = 64;
const BYTES_PER_TURN: usize = 128 << 10;
/// Messages of one `recvmmsg`: many where each is one datagram, fewer where each is a run of 64 KiB. Frames are joined within a batch, and what its
/// end cuts in two is acknowledged twice: with a thousand flows in turn, a batch of a few runs cuts one super-frame in ten.
const MESSAGES: usize = 64;
const LARGE_MESSAGES: usize = 32;
const LARGE_BYTES: usize = 8 << 10;
/// And calls before others get their turn; one, where it brought that many bytes.
const CALLS_PER_TURN: usize = 4;
const RECEIVED_PER_TURN: usize = 512 << 10;
/// A lane that fails again and again leaves the processor to others.
const PAUSE_AFTER_PANIC: Duration = Duration::from_millis(100);

/// Tokens of the poll: the mailbox, sockets by their number, TAPs by their VNI, which has 24 bits.
const MAIL: u64 = 0;
const SOCKET: u64 = 1 << 32;
const TAP: u64 = 2 << 32;

pub(super) struct Worker {
    shared: Arc<Shared>,
    index: usize,
    poll: Poll,
    out: Output,
    receiver: Receiver,
    frame: Box<[u8]>,
    ready: Vec<u64>,
    /// For the next call.
    messages: usize,
    /// The last turn of a TAP had one frame.
    was_alone: bool,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, index: usize, out: Output) -> Result<Self, SysError> {
        let poll = Poll::new()?;
        poll.watch(shared.mailboxes[index].bell(), MAIL)?;
        for (token, socket) in (SOCKET..).zip(out.sockets.iter()) {
            poll.watch(socket, token)?;
        }
        let receiver = Receiver::new(MESSAGES);
        let frame = vec![0; READ_BYTES].into_boxed_slice();
        Ok(Self { shared, index, poll, out, receiver, frame, ready: Vec::new(), messages: MESSAGES, was_alone: true })
    }

    /// Until the engine closes. A panic ends every session, for what the counters have come to is then uncertain, and nothing else.
    pub(super) fn run(mut self) {
        self.shared.wait_for_commands();
        while !self.shared.is_closing() {
            let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.serve())) else { continue };
            let why = describe(panic.as_ref());
            let cleaned = catch_unwind(AssertUnwindSafe(|| self.recover()));
            let after = if cleaned.is_ok() { "all sessions begin anew" } else { "and so did cleaning up" };
            self.shared.failed(&format!("lane {} failed ({why}): {after}", self.index));
            sleep(PAUSE_AFTER_PANIC);
        }
    }

    fn serve(&mut self) {
        let mut lane = self.shared.plane.lane(self.index);
        while self.turn(&mut lane) {}
    }

    fn recover(&mut self) {
        self.out.forget();
        self.shared.plane.drop_sessions(self.shared.now(), &mut self.out);
        self.out.finish(&self.shared);
    }

    /// Waits, and does what is ready. False when the engine closes.
    fn turn(&mut self, lane: &mut Lane) -> bool {
        lane.idle();
        let sleep = if self.index == 0 { self.shared.sleep_ms().map(Duration::from_millis) } else { None };
        match self.poll.wait(sleep) {
            Ok(ready) => self.ready.extend(ready),
            Err(error) => panic!("{error}"),
        }
        let now = self.shared.now();
        let mut goes_on = true;
        while let Some(token) = self.ready.pop() {
            match token {
                MAIL => goes_on = self.read_mail(),
                TAP.. => self.drain_tap(lane, (token - TAP) as Vni, now),
                _ => self.drain_socket(lane, (token - SOCKET) as usize, now),
            }
        }
        self.tick(lane);
        goes_on
    }

    fn tick(&mut self, lane: &mut Lane) {
        if self.index != 0 {
            self.shared.look_at_clockwork();
            return;
        }
        let now = self.shared.now();
        if self.shared.due_at() <= now {
            lane.tick(now, &mut self.out);
            self.out.finish(&self.shared);
        }
    }

    fn drain_tap(&mut self, lane: &mut Lane, vni: Vni, now: u64) {
        let Some(tap) = self.out.ports.tap(vni).cloned() else { return };
        let (mut count, mut bytes) = (0, 0);
        while count < FRAMES_PER_TURN && bytes < BYTES_PER_TURN {
            match tap.read(&mut self.frame) {
                Ok(length) => {
                    count += 1;
                    bytes += length;
                    match vnet::read(&mut self.frame[..length], VNET_BYTES) {
                        Ok(frame) => lane.inside(vni, frame, now, &mut self.out),
                        Err(reason) => Plane::drop(&self.shared.plane, reason, 1),
                    }
                }
                Err(TapFault::Again) => break,
                Err(_) => {
                    self.gone(lane, vni, &tap, now);
                    break;
                }
            }
            // After a frame alone the next one is alone too, mostly: it does not wait for the look that finds nothing more.
            if count == 1 && self.was_alone {
                self.out.finish(&self.shared);
            }
        }
        self.was_alone = count <= 1;
        self.out.finish(&self.shared);
    }

    fn drain_socket(&mut self, lane: &mut Lane, index: usize, now: u64) {
        let sockets = Arc::clone(&self.out.sockets);
        self.out.begin(self.receiver.arena());
        for _ in 0..CALLS_PER_TURN {
            let limit = self.messages;
            let (mut count, mut bytes) = (0, 0);
            for message in self.receiver.receive(&sockets[index], limit) {
                count += 1;
                bytes += message.bytes.len();
                let from = Endpoint::new(message.from.ip(), message.from.port());
                for datagram in message.bytes.chunks_mut(message.segment.max(1)) {
                    lane.outside(&from, datagram, now, &mut self.out);
                }
            }
            self.out.write(self.receiver.arena());
            self.out.finish(&self.shared);
            self.messages = if bytes > count * LARGE_BYTES { LARGE_MESSAGES } else { MESSAGES };
            if count < limit || bytes > RECEIVED_PER_TURN {
                break;
            }
        }
    }

    /// The device was deleted under the engine: the segment closes, here and in the other lanes.
    fn gone(&mut self, lane: &mut Lane, vni: Vni, tap: &Arc<Tap>, now: u64) {
        self.close(vni);
        let is_first = self.shared.taps().remove(&vni).is_some();
        // Each lane finds it gone; one of them reports it.
        if !is_first {
            return;
        }
        lane.apply(Command::SegmentClose { vni }, now, &mut self.out);
        let why = format!("{} is gone", tap.name());
        self.out.event(Event::SegmentFailed { vni, why });
    }

    fn read_mail(&mut self) -> bool {
        for letter in self.shared.mailboxes[self.index].take() {
            match letter {
                Mail::Open { vni, tap } => self.open(vni, tap),
                Mail::Close { vni, done } => {
                    self.close(vni);
                    drop(done);
                }
                #[cfg(test)]
                Mail::Panic => panic!("as asked"),
                Mail::Stop => return false,
            }
        }
        true
    }

    fn open(&mut self, vni: Vni, tap: Arc<Tap>) {
        self.close(vni);
        match self.poll.watch(&*tap, TAP | u64::from(vni)) {
            Ok(()) => self.out.ports.open(vni, tap),
            Err(error) => self.shared.failed(&format!("{}: {error}", tap.name())),
        }
    }

    fn close(&mut self, vni: Vni) {
        if let Some(tap) = self.out.ports.close(vni) {
            self.poll.forget(&*tap);
        }
    }
}

fn describe(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown panic")
}
