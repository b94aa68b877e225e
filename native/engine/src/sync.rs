//! Atomics and locks: the standard ones, or loom's when its tests explore every interleaving (`RUSTFLAGS="--cfg
//! loom"`).

#[cfg(loom)]
pub use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};
#[cfg(not(loom))]
pub use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, Ordering},
};

/// A thread that panicked while it held `mutex` has been reported and its sessions dropped; the tables behind it are
/// still the best there are.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Keeps what different threads write on different cache lines (two of them: processors fetch in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);
