//! The engine as its owner sees it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::control::Control;
use super::listen::{Listen, open_all};
use super::mail::Mailbox;
use super::output::Output;
use super::shared::{Shared, lock};
use super::worker::Worker;
use crate::command::Command;
use crate::events::Event;
use crate::ids::{Endpoint, PeerId};
use crate::keys::KeyRegistry;
use crate::plane::{Plane, PlaneOptions};
use crate::stats::Stats;
use crate::sys::udp::{Refusal, UdpSocket};
use crate::sys::{SysError, random};

/// MTU of an underlay that nobody has spoken of.
pub const PATH_MTU: u32 = 1_500;
/// Lanes beyond these would find the network's own queues the narrower place.
const LANES_BY_DEFAULT: usize = 4;

pub struct Options {
    pub listen: Vec<Listen>,
    /// Data threads, 1..=16.
    pub lanes: usize,
    /// MTU of the underlay.
    pub path_mtu: u32,
    /// One per process: a key enters once, whatever engine it enters into.
    pub keys: Arc<Mutex<KeyRegistry>>,
    /// Told in one line when something has failed inside, from any thread.
    pub failed: Box<dyn Fn(&str) + Send + Sync>,
}

/// Half of the cores, for the other half is the hosts' whose frames these are; but two where there are two: a lane also does the kernel's work behind
/// its writes, to the container's TCP and what that sends in return, which with many flows is as much as its own.
#[must_use]
pub fn lanes_by_default() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(cores.min(2), LANES_BY_DEFAULT)
}

pub struct Engine {
    shared: Arc<Shared>,
    control: Mutex<Option<Control>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    local_port: u16,
}

impl Engine {
    /// Binds at once.
    ///
    /// # Errors
    /// When a port is taken, an address is none of this host's, or the process has no descriptors or threads left.
    pub fn open(options: Options) -> Result<Self, SysError> {
        let lanes = options.lanes.clamp(1, crate::wire::QUEUES_MAX as usize);
        let sockets = open_all(&options.listen, lanes)?;
        let local_port = sockets[0].first().map_or(0, |socket| socket.local().port());
        let mailboxes = (0..lanes).map(|_| Mailbox::new()).collect::<Result<_, _>>()?;
        let plane = Plane::new(PlaneOptions {
            lanes,
            path_mtu: options.path_mtu,
            ..PlaneOptions::new(options.keys, Box::new(random))
        });
        let shared = Arc::new(Shared::new(plane, mailboxes, options.failed));
        let sockets: Vec<Arc<[UdpSocket]>> = sockets.into_iter().map(Arc::from).collect();
        let output = |lane: usize| Output::new(Arc::clone(&sockets[lane]), options.path_mtu as usize);
        let control = Control::new(Arc::clone(&shared), output(0));
        let engine = Self { shared, control: Mutex::new(Some(control)), threads: Mutex::default(), local_port };
        for lane in 0..lanes {
            engine.start(lane, output(lane))?;
        }
        Ok(engine)
    }

    /// The port of the first socket.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.local_port
    }

    /// Ordered and idempotent. TAP devices have come or gone when it returns. With the first commands the lanes begin.
    pub fn apply(&self, commands: Vec<Command>) {
        self.command(|control| control.apply(commands));
        self.shared.commanded();
    }

    pub fn send_control(&self, to: PeerId, body: &[u8]) {
        self.command(|control| control.send_control(to, body));
    }

    pub fn send_handshake(&self, to: Endpoint, bytes: &[u8]) {
        self.command(|control| control.send_handshake(to, bytes));
    }

    /// Everything since the last call.
    #[must_use]
    pub fn take_events(&self) -> Vec<Event> {
        self.shared.take_events()
    }

    /// `wake` is called when events wait, from any thread; at most once until the next [`Engine::take_events`].
    pub fn on_ready(&self, wake: Box<dyn Fn() + Send + Sync>) {
        self.shared.on_ready(wake);
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.plane.stats(self.shared.now())
    }

    /// Addresses to which datagrams leave one by one, and why.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.shared.refusals()
    }

    /// Data threads.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.shared.mailboxes.len()
    }

    /// Takes the devices and sockets away and ends the threads.
    pub fn close(&self) {
        let Some(mut control) = lock(&self.control).take() else { return };
        control.close_all();
        drop(control);
        self.shared.close();
        for thread in lock(&self.threads).drain(..) {
            // A lane's panics end in the lane.
            let _ = thread.join();
        }
    }

    #[cfg(test)]
    pub(super) fn post(&self, lane: usize, letter: super::mail::Mail) {
        self.shared.mailboxes[lane].post(letter);
    }

    fn start(&self, lane: usize, out: Output) -> Result<(), SysError> {
        let worker = Worker::new(Arc::clone(&self.shared), lane, out)?;
        let spawned = thread::Builder::new().name(format!("overlayd-lane{lane}")).spawn(move || worker.run());
        let thread = spawned.map_err(|error| SysError {
            call: "pthread_create",
            errno: error.raw_os_error().unwrap_or(libc::EAGAIN),
        })?;
        lock(&self.threads).push(thread);
        Ok(())
    }

    /// Whoever gives commands does not fall with the engine.
    fn command(&self, action: impl FnOnce(&mut Control)) {
        let mut control = lock(&self.control);
        let Some(control) = control.as_mut() else { return };
        if catch_unwind(AssertUnwindSafe(|| action(control))).is_ok() {
            return;
        }
        let cleaned = catch_unwind(AssertUnwindSafe(|| control.recover()));
        let after = if cleaned.is_ok() { "all sessions begin anew" } else { "and so did cleaning up" };
        self.shared.failed(&format!("a command failed: {after}"));
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}
