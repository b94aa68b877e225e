//! Receiving: many messages a call, each a run of datagrams of one size.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::address::{NAME_BYTES, Name};
use super::socket::UdpSocket;

/// A message is at most one IP packet, put together from a run of them or not.
const SLOT_BYTES: usize = 65_536;
/// One `cmsghdr` with the segment size, and room for an unexpected one.
const CONTROL_WORDS: usize = 8;

/// Datagrams of one sender: all of `segment` bytes but for the last, which may be shorter.
pub struct Message<'a> {
    pub from: SocketAddr,
    pub bytes: &'a mut [u8],
    pub segment: usize,
}

/// Buffers for one call. The kernel's structures point into the other boxes, which never move or grow.
pub struct Receiver {
    slots: Box<[u8]>,
    names: Box<[Name]>,
    controls: Box<[[u64; CONTROL_WORDS]]>,
    iovecs: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
}

// SAFETY: the pointers in `iovecs` and `headers` lead into boxes of the same object, which moves between threads as a whole.
unsafe impl Send for Receiver {}

impl Receiver {
    /// For up to `count` messages a call. Memory is taken as it is used.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mut slots = vec![0; count * SLOT_BYTES].into_boxed_slice();
        let mut names = vec![Name::empty(); count].into_boxed_slice();
        let mut controls = vec![[0; CONTROL_WORDS]; count].into_boxed_slice();
        let mut iovecs: Box<[libc::iovec]> = slots
            .chunks_exact_mut(SLOT_BYTES)
            .map(|slot| libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT_BYTES })
            .collect();
        let headers =
            (0..count).map(|at| header(&raw mut names[at], &raw mut iovecs[at], &raw mut controls[at])).collect();
        Self { slots, names, controls, iovecs, headers }
    }

    /// All messages lie in here.
    #[must_use]
    pub fn arena(&self) -> &[u8] {
        &self.slots
    }

    /// Takes at most `limit` messages that wait at `socket`; none when nothing waits.
    pub fn receive(&mut self, socket: &UdpSocket, limit: usize) -> impl Iterator<Item = Message<'_>> + use<'_> {
        let limit = limit.min(self.headers.len());
        for header in &mut self.headers[..limit] {
            header.msg_hdr.msg_namelen = NAME_BYTES;
            header.msg_hdr.msg_controllen = size_of::<[u64; CONTROL_WORDS]>();
        }
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: the headers name buffers of this object with their lengths, and nothing else uses these during the call.
        let count = unsafe {
            libc::recvmmsg(fd, self.headers.as_mut_ptr(), limit as libc::c_uint, libc::MSG_DONTWAIT, ptr::null_mut())
        };
        // Errors of earlier sends (ICMP) do not show on unconnected sockets: nothing waits, or a signal came.
        let count = usize::try_from(count).unwrap_or(0);
        debug_assert_eq!(self.iovecs.len(), self.controls.len());
        let received = self.headers[..count].iter().zip(&self.names).zip(self.slots.chunks_exact_mut(SLOT_BYTES));
        received.filter_map(|((header, name), slot)| message(header, name, slot))
    }
}

fn header(name: *mut Name, iovec: *mut libc::iovec, control: *mut [u64; CONTROL_WORDS]) -> libc::mmsghdr {
    // SAFETY: every field of mmsghdr is valid as zeros.
    let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
    header.msg_hdr.msg_name = name.cast();
    header.msg_hdr.msg_iov = iovec;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = control.cast();
    header
}

/// None for a sender that cannot be answered.
fn message<'a>(header: &libc::mmsghdr, name: &Name, slot: &'a mut [u8]) -> Option<Message<'a>> {
    let from = name.get().filter(|from| from.port() != 0)?;
    let length = header.msg_len as usize;
    let segment = segment_of(&header.msg_hdr).filter(|size| (1..length).contains(size)).unwrap_or(length);
    Some(Message { from, bytes: &mut slot[..length], segment })
}

fn segment_of(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel has just filled the control buffer that `header` names and set its length.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = control.as_ref() {
            if found.cmsg_level == libc::SOL_UDP && found.cmsg_type == libc::UDP_GRO {
                let size = libc::CMSG_DATA(control).cast::<libc::c_int>().read_unaligned();
                return usize::try_from(size).ok();
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}
