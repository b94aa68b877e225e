//! Waiting for many file descriptors at once (epoll(7)), and waking a thread that waits (eventfd(2)).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use super::{SysError, checked, errno, owned};

/// Descriptors reported by one wait; the rest come with the next.
const EVENTS: usize = 64;
const EVENTS_MAX: libc::c_int = 64;

/// Level-triggered: what was not read to the end is reported again.
pub struct Poll {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event; EVENTS]>,
}

impl Poll {
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new() -> Result<Self, SysError> {
        // SAFETY: takes no pointer.
        let epoll = owned("epoll_create1", unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let events = Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS]);
        Ok(Self { epoll, events })
    }

    /// `token` is reported whenever `fd` can be read, has failed or was hung up.
    ///
    /// # Errors
    /// When the kernel is out of memory or watches.
    pub fn watch(&self, fd: &impl AsFd, token: u64) -> Result<(), SysError> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token };
        self.control(libc::EPOLL_CTL_ADD, fd, &raw mut event)
    }

    /// Must come before the descriptor is closed if another thread holds a copy of it.
    pub fn forget(&self, fd: &impl AsFd) {
        // Fails only for what is not watched, which is what was asked for.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut());
    }

    /// Waits up to `timeout` (None: for ever) and returns the tokens that are ready; none after a signal.
    ///
    /// # Errors
    /// Never in practice: the descriptor is this object's own.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<impl Iterator<Item = u64> + use<'_>, SysError> {
        let fd = self.epoll.as_raw_fd();
        let ms = timeout.map_or(-1, |left| i32::try_from(left.as_millis()).unwrap_or(i32::MAX));
        // SAFETY: the kernel writes at most EVENTS entries into the array, which is that long.
        let count = unsafe { libc::epoll_wait(fd, self.events.as_mut_ptr(), EVENTS_MAX, ms) };
        let count = match usize::try_from(count) {
            Ok(count) => count,
            Err(_) if errno() == libc::EINTR => 0,
            Err(_) => return Err(SysError::last("epoll_wait")),
        };
        Ok(self.events[..count].iter().map(|event| event.u64))
    }

    fn control(&self, operation: i32, fd: &impl AsFd, event: *mut libc::epoll_event) -> Result<(), SysError> {
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: `event` is null where the operation reads none, else it points to a value that the caller keeps until this returns.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, event) };
        checked("epoll_ctl", result).map(|_| ())
    }
}

/// Wakes the one thread that watches it. Any thread may ring; rings before it looks are one.
pub struct Bell {
    event: OwnedFd,
}

impl Bell {
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new() -> Result<Self, SysError> {
        // SAFETY: takes no pointer.
        let event = owned("eventfd", unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        Ok(Self { event })
    }

    pub fn ring(&self) {
        let one = 1_u64;
        // SAFETY: an eventfd takes 8 bytes, which `one` has. It fails only when 2^64 - 2 rings wait, and then it rings already.
        unsafe { libc::write(self.event.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub fn hush(&self) {
        let mut rings = 0_u64;
        // SAFETY: an eventfd gives 8 bytes, for which `rings` has room. It fails when nobody rang.
        unsafe { libc::read(self.event.as_raw_fd(), (&raw mut rings).cast(), 8) };
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_is_heard_until_it_is_hushed_and_not_after_it_is_forgotten() {
        let bell = Bell::new().unwrap();
        let mut poll = Poll::new().unwrap();
        poll.watch(&bell, 7).unwrap();
        let now = Some(Duration::ZERO);
        assert_eq!(poll.wait(now).unwrap().count(), 0);
        bell.ring();
        bell.ring();
        assert_eq!(poll.wait(now).unwrap().collect::<Vec<_>>(), [7]);
        assert_eq!(poll.wait(now).unwrap().count(), 1);
        bell.hush();
        assert_eq!(poll.wait(now).unwrap().count(), 0);
        bell.ring();
        poll.forget(&bell);
        assert_eq!(poll.wait(now).unwrap().count(), 0);
    }
}
