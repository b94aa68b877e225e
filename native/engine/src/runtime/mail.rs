//! What is told to a lane's thread: TAP devices that come and go, and the end.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::Vni;
use crate::sys::SysError;
use crate::sys::poll::Bell;
use crate::sys::tap::Tap;

pub(super) enum Mail {
    Open {
        vni: Vni,
        tap: Arc<Tap>,
    },
    /// `done` is dropped when the lane has let go of the device.
    Close {
        vni: Vni,
        done: Sender<()>,
    },
    /// For tests of what comes after.
    #[cfg(test)]
    Panic,
    Stop,
}

/// Letters for one lane, in order.
pub(super) struct Mailbox {
    bell: Bell,
    letters: Mutex<Vec<Mail>>,
}

impl Mailbox {
    pub(super) fn new() -> Result<Self, SysError> {
        Ok(Self { bell: Bell::new()?, letters: Mutex::default() })
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    pub(super) fn post(&self, letter: Mail) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        self.bell.ring();
    }

    pub(super) fn take(&self) -> Vec<Mail> {
        self.bell.hush();
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
