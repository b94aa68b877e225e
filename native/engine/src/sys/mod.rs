//! The system calls of the data plane. Beside the addon the only place with `unsafe`, each with its reason.

#![allow(unsafe_code)]

pub mod poll;
pub mod tap;
pub mod udp;

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A system call that failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SysError {
    pub call: &'static str,
    pub errno: i32,
}

impl SysError {
    /// The reason of the call just made.
    fn last(call: &'static str) -> Self {
        Self { call, errno: errno() }
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, io::Error::from_raw_os_error(self.errno))
    }
}

impl std::error::Error for SysError {}

/// Fills `bytes` with random ones.
///
/// # Panics
/// When the kernel has none, which it does not say after the first second of its life.
pub fn random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = &mut bytes[filled..];
        // SAFETY: the kernel writes at most `rest.len()` bytes into `rest`.
        let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(count) {
            Ok(count) => filled += count,
            Err(_) => assert!(errno() == libc::EINTR, "no random bytes"),
        }
    }
}

fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// `result`, or the error behind -1.
fn checked(call: &'static str, result: libc::c_int) -> Result<libc::c_int, SysError> {
    if result < 0 { Err(SysError::last(call)) } else { Ok(result) }
}

/// A file descriptor that a call has just made and nobody else knows.
fn owned(call: &'static str, result: libc::c_int) -> Result<OwnedFd, SysError> {
    let fd = checked(call, result)?;
    // SAFETY: the kernel has just given `fd` to this call, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn set_option(fd: &impl AsRawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> Result<(), SysError> {
    // SAFETY: the kernel reads `size_of::<c_int>()` bytes of `value`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    checked("setsockopt", result).map(|_| ())
}
