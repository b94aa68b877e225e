//! Why a frame or datagram was not delivered (`DROP_REASONS` in src/engine/engine.ts), and the counts.

use crate::sync::{AtomicU64, Ordering};

macro_rules! reasons {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// Every drop is counted under exactly one of these.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum DropReason { $($name),+ }

        impl DropReason {
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name),+];

            /// The name in the contract.
            pub const fn text(self) -> &'static str {
                match self { $(DropReason::$name => $text),+ }
            }
        }
    };
}

reasons! {
    ShortDatagram = "short-datagram",
    LongDatagram = "long-datagram",
    BadType = "bad-type",
    BadMac1 = "bad-mac1",
    HandshakeBudget = "handshake-budget",
    NeedCookie = "need-cookie",
    UnknownSession = "unknown-session",
    BadQueue = "bad-queue",
    BadTag = "bad-tag",
    Replay = "replay",
    SessionExpired = "session-expired",
    BadInner = "bad-inner",
    BadChecksumOffsets = "bad-checksum-offsets",
    UnknownSegment = "unknown-segment",
    NotMember = "not-member",
    MacGuard = "mac-guard",
    ShortFrame = "short-frame",
    LongFrame = "long-frame",
    LinkLocal = "link-local",
    BumPort = "bum-port",
    BumSegment = "bum-segment",
    MacSpoof = "mac-spoof",
    MacsFull = "macs-full",
    HeldFull = "held-full",
    LoopBlocked = "loop-blocked",
    LoopProbe = "loop-probe",
    NoReceiver = "no-receiver",
    NoSession = "no-session",
    NoPath = "no-path",
    BadGso = "bad-gso",
    TapFull = "tap-full",
    SocketFull = "socket-full",
    SendError = "send-error",
}

/// Counts by reason; added to by any thread.
#[derive(Debug)]
pub struct Drops([AtomicU64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Drops {
    pub fn add(&self, reason: DropReason, count: u64) {
        self.0[reason as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Only reasons that occurred.
    pub fn view(&self) -> Vec<(DropReason, u64)> {
        let counts = DropReason::ALL.iter().map(|&reason| (reason, self.0[reason as usize].load(Ordering::Relaxed)));
        counts.filter(|&(_, count)| count > 0).collect()
    }
}
