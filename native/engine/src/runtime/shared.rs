//! What the lanes and the commanding thread have in common.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::mail::{Mail, Mailbox};
use crate::events::{Event, EventBuffer};
use crate::ids::Vni;
use crate::plane::Plane;
use crate::sys::tap::Tap;
use crate::sys::udp::Refusal;

/// Called when events wait. From any thread.
pub(super) type Wake = Box<dyn Fn() + Send + Sync>;
/// Told in one line what has gone wrong inside.
pub(super) type Failed = Box<dyn Fn(&str) + Send + Sync>;

pub(super) struct Shared {
    pub(super) plane: Arc<Plane>,
    pub(super) mailboxes: Box<[Mailbox]>,
    epoch: Instant,
    /// When lane 0 will look at the plane's clockwork.
    tick_at: AtomicU64,
    events: Mutex<Waiting>,
    /// The first queue of each segment's TAP. What is in here the lanes hold too, or have in their mail.
    taps: Mutex<HashMap<Vni, Arc<Tap>>>,
    refusals: Mutex<Vec<Refusal>>,
    failed: Failed,
    /// The first commands have been carried out: what came before them could only have been refused.
    is_commanded: Mutex<bool>,
    commanded: Condvar,
    is_closing: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    buffer: EventBuffer,
    wake: Option<Arc<Wake>>,
    is_woken: bool,
}

impl Shared {
    pub(super) fn new(plane: Arc<Plane>, mailboxes: Box<[Mailbox]>, failed: Failed) -> Self {
        Self {
            plane,
            mailboxes,
            epoch: Instant::now(),
            tick_at: AtomicU64::new(u64::MAX),
            events: Mutex::default(),
            taps: Mutex::default(),
            refusals: Mutex::default(),
            failed,
            is_commanded: Mutex::new(false),
            commanded: Condvar::new(),
            is_closing: AtomicBool::new(false),
        }
    }

    /// Whole milliseconds since the engine began, and some: times before now are never negative.
    pub(super) fn now(&self) -> u64 {
        const HEAD_START_MS: u64 = 1_000_000;
        HEAD_START_MS + self.epoch.elapsed().as_millis() as u64
    }

    /// Hands events over and wakes whoever takes them: at most once until [`Shared::take_events`].
    pub(super) fn publish(&self, events: &mut Vec<Event>) {
        let wake = {
            let mut waiting = lock(&self.events);
            for event in events.drain(..) {
                waiting.buffer.push(event);
            }
            waiting.wake_due()
        };
        if let Some(wake) = wake {
            wake();
        }
    }

    pub(super) fn take_events(&self) -> Vec<Event> {
        let mut waiting = lock(&self.events);
        waiting.is_woken = false;
        waiting.buffer.take(|| self.plane.report())
    }

    pub(super) fn on_ready(&self, wake: Wake) {
        let wake = {
            let mut waiting = lock(&self.events);
            waiting.wake = Some(Arc::new(wake));
            waiting.wake_due()
        };
        if let Some(wake) = wake {
            wake();
        }
    }

    pub(super) fn commanded(&self) {
        let mut is_commanded = lock(&self.is_commanded);
        if !*is_commanded {
            *is_commanded = true;
            self.commanded.notify_all();
        }
    }

    /// The kernel keeps meanwhile what arrives.
    pub(super) fn wait_for_commands(&self) {
        let guard = lock(&self.is_commanded);
        drop(self.commanded.wait_while(guard, |is_commanded| !*is_commanded));
    }

    /// Nobody is woken any more.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        lock(&self.events).wake = None;
        self.commanded();
        for mailbox in &self.mailboxes {
            mailbox.post(Mail::Stop);
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    pub(super) fn failed(&self, what: &str) {
        (self.failed)(what);
    }

    pub(super) fn refused(&self, refusals: &[Refusal]) {
        let mut all = lock(&self.refusals);
        for refusal in refusals {
            all.retain(|known| known.to != refusal.to);
            all.push(*refusal);
        }
    }

    pub(super) fn refusals(&self) -> Vec<Refusal> {
        lock(&self.refusals).clone()
    }

    pub(super) fn taps(&self) -> MutexGuard<'_, HashMap<Vni, Arc<Tap>>> {
        lock(&self.taps)
    }

    /// How long lane 0 may sleep. It is rung when something becomes due earlier.
    pub(super) fn sleep_ms(&self) -> Option<u64> {
        loop {
            let at = self.due_at();
            self.tick_at.store(at, Ordering::SeqCst);
            // Either this thread sees what another has armed, or that one sees how long this thread means to sleep.
            fence(Ordering::SeqCst);
            if self.due_at() >= at {
                return (at != u64::MAX).then(|| at.saturating_sub(self.now()));
            }
        }
    }

    pub(super) fn due_at(&self) -> u64 {
        self.plane.deadline().map_or(u64::MAX, |due| due.at)
    }

    /// After a batch of any thread but lane 0.
    pub(super) fn look_at_clockwork(&self) {
        fence(Ordering::SeqCst);
        if self.due_at() < self.tick_at.load(Ordering::SeqCst) {
            self.tick_at.store(0, Ordering::SeqCst);
            if let Some(first) = self.mailboxes.first() {
                first.bell().ring();
            }
        }
    }
}

impl Waiting {
    fn wake_due(&mut self) -> Option<Arc<Wake>> {
        if self.is_woken || self.buffer.is_empty() {
            return None;
        }
        let wake = self.wake.clone()?;
        self.is_woken = true;
        Some(wake)
    }
}

/// A panic elsewhere leaves nothing half-done behind these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
