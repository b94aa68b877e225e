//! When the plane next wants a tick, and why: the earliest of what its parts asked for, in one word that any thread may
//! lower.

use crate::sync::{AtomicU64, Ordering};

macro_rules! reasons {
    ($($name:ident = $text:literal),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Cause { $($name),+ }

        const TEXTS: &[&str] = &[$($text),+];
    };
}

reasons! {
    SessionExpiry = "session-expiry",
    PassiveKeepalive = "passive-keepalive",
    Keepalive = "keepalive",
    Silent = "silent",
    WaitingFrames = "waiting-frames",
    PeerSweep = "peer-sweep",
    HeldFrames = "held-frames",
    Announcement = "announcement",
    SegmentConfig = "segment-config",
    SegmentOpen = "segment-open",
    LoopProbe = "loop-probe",
    MacAge = "mac-age",
}

/// A tick wanted at `at`, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub at: u64,
    pub why: &'static str,
}

const NOTHING: u64 = u64::MAX;

/// A thread that arms while a tick begins may find the old word and leave it: the tick that comes for another reason
/// (at the latest after the 10 s of a MAC sweep) sees what it asked for.
#[derive(Debug)]
pub struct Agenda(AtomicU64);

impl Default for Agenda {
    fn default() -> Self {
        Self(AtomicU64::new(NOTHING))
    }
}

impl Agenda {
    pub fn next(&self) -> Option<Due> {
        let word = self.0.load(Ordering::Acquire);
        (word != NOTHING).then(|| Due { at: word >> 8, why: TEXTS[(word & 0xff) as usize] })
    }

    /// Asks for a tick at `at` or before. One that turns out too early costs a look, nothing else.
    pub fn arm(&self, at: u64, cause: Cause) {
        let mut word = self.0.load(Ordering::Relaxed);
        while at < word >> 8 {
            match self.0.compare_exchange_weak(word, at << 8 | cause as u64, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return,
                Err(other) => word = other,
            }
        }
    }

    /// At the start of a tick: every part then arms what it still waits for.
    pub fn clear(&self) {
        self.0.swap(NOTHING, Ordering::AcqRel);
    }
}
