//! Sending: datagrams are written into one buffer, and those of one size for one address that follow each other leave as one message.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::super::errno;
use super::address::Name;
use super::socket::UdpSocket;
use super::{DATAGRAM_BYTES_MAX, PAYLOAD_BYTES_MAX};

/// Segments in one message: `UDP_MAX_SEGMENTS` of kernels before 6.9.
const SEGMENTS_MAX: usize = 64;
/// Messages a call: beyond this the call's own share in their cost is small.
const RUNS: usize = 64;
/// Three super-frames of 64 KiB, which still lie in the processor's second cache when the kernel copies them; more leaves earlier.
const BUFFER_BYTES: usize = 256 << 10;
/// A full send queue drains at the speed of the wire; a longer wait would starve what comes in.
const FULL_WAIT_MS: libc::c_int = 10;
/// Addresses remembered for taking no runs; when there are more, all are tried again.
const REFUSALS: usize = 1_024;
const IPV4_UDP_BYTES: usize = 28;
const IPV6_UDP_BYTES: usize = 48;

/// Datagrams that follow each other in the buffer: all of `segment` bytes but for the last, which may be shorter.
#[derive(Clone, Copy)]
struct Run {
    to: SocketAddr,
    start: usize,
    bytes: usize,
    segment: usize,
    count: usize,
    /// As long as the next may be: 0 after a shorter one.
    room: usize,
}

/// An address to which the kernel sends no runs of segments above `segment_max` bytes (0: none at all), and the error that said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub to: SocketAddr,
    pub segment_max: usize,
    pub errno: i32,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let error = io::Error::from_raw_os_error(self.errno);
        match self.segment_max {
            0 => write!(f, "the device takes no runs of datagrams ({error})"),
            max => write!(f, "the path takes no runs of datagrams above {max} bytes ({error})"),
        }
    }
}

/// Datagrams that did not leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The socket's buffer stayed full.
    pub full: u64,
    /// The kernel refused them.
    pub refused: u64,
}

/// A batch on its way out, over one socket of each family at most.
pub struct Sender {
    buffer: Box<[u8]>,
    used: usize,
    runs: Vec<Run>,
    headers: Headers,
    path_mtu: usize,
    refusals: Vec<Refusal>,
    refused_ever: usize,
    lost: Lost,
}

impl Sender {
    /// `path_mtu`: longer packets are fragmented, which the kernel does for single datagrams only.
    #[must_use]
    pub fn new(path_mtu: usize) -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            used: 0,
            runs: Vec::with_capacity(RUNS),
            headers: Headers::new(),
            path_mtu,
            refusals: Vec::new(),
            refused_ever: 0,
            lost: Lost::default(),
        }
    }

    /// Room for a datagram of `length` bytes, filled with anything; [`Sender::send`] takes it. What is in the buffer leaves first if need be.
    ///
    /// # Panics
    /// When `length` is beyond what UDP carries.
    pub fn room(&mut self, sockets: &[UdpSocket], length: usize) -> &mut [u8] {
        assert!(length <= DATAGRAM_BYTES_MAX, "{length} bytes are no datagram");
        if self.used + length > BUFFER_BYTES || self.runs.len() == RUNS {
            self.flush(sockets);
        }
        &mut self.buffer[self.used..self.used + length]
    }

    /// The first `length` bytes of the last room are a datagram to `to`.
    ///
    /// # Panics
    /// When there was no such room.
    pub fn send(&mut self, to: SocketAddr, length: usize) {
        assert!(self.used + length <= BUFFER_BYTES, "a datagram without room");
        if !self.extend(to, length) {
            self.begin(to, length);
        }
        self.used += length;
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Sends everything that is in the buffer, in order.
    pub fn flush(&mut self, sockets: &[UdpSocket]) {
        let mut at = 0;
        while let Some(first) = self.runs.get(at) {
            let is_ipv4 = first.to.is_ipv4();
            let end = at + self.runs[at..].iter().take_while(|run| run.to.is_ipv4() == is_ipv4).count();
            match sockets.iter().find(|socket| socket.local().is_ipv4() == is_ipv4) {
                Some(socket) => self.transmit(socket, at, end),
                None => self.lost.refused += datagrams(&self.runs[at..end]),
            }
            at = end;
        }
        self.runs.clear();
        self.used = 0;
    }

    /// What was lost since the last call.
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// Nothing of it leaves.
    pub fn forget(&mut self) {
        self.runs.clear();
        self.used = 0;
    }

    /// Counts up with each refusal.
    #[must_use]
    pub fn refused_ever(&self) -> usize {
        self.refused_ever
    }

    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    fn extend(&mut self, to: SocketAddr, length: usize) -> bool {
        let Some(run) = self.runs.last_mut() else { return false };
        let fits = length <= run.room && run.count < SEGMENTS_MAX && run.bytes + length <= PAYLOAD_BYTES_MAX;
        if !fits || run.to != to {
            return false;
        }
        run.bytes += length;
        run.count += 1;
        run.room = if length == run.segment { length } else { 0 };
        true
    }

    fn begin(&mut self, to: SocketAddr, length: usize) {
        let room = if length <= self.segment_max(to) { length } else { 0 };
        self.runs.push(Run { to, start: self.used, bytes: length, segment: length, count: 1, room });
    }

    fn segment_max(&self, to: SocketAddr) -> usize {
        let headers = if to.is_ipv4() { IPV4_UDP_BYTES } else { IPV6_UDP_BYTES };
        let path = self.path_mtu.saturating_sub(headers);
        let refusal = self.refusals.iter().find(|refusal| refusal.to == to);
        refusal.map_or(path, |refusal| refusal.segment_max.min(path))
    }

    fn transmit(&mut self, socket: &UdpSocket, from: usize, to: usize) {
        let mut at = from;
        while at < to {
            let sent = self.headers.send(socket, &self.buffer, &self.runs[at..to]);
            match sent {
                Ok(sent) => at += sent,
                Err(libc::EINTR) => {}
                Err(libc::EAGAIN | libc::ENOBUFS) => {
                    if !wait_for_room(socket) {
                        self.lost.full += datagrams(&self.runs[at..to]);
                        return;
                    }
                }
                Err(errno) => {
                    self.refused(socket, at, errno);
                    at += 1;
                }
            }
        }
    }

    /// The first message was refused: a run is sent again as single datagrams, and the address takes no more of this kind.
    fn refused(&mut self, socket: &UdpSocket, at: usize, errno: i32) {
        let run = self.runs[at];
        // EIO: the device cannot compute the checksums of segments. The others: a segment is longer than the path takes.
        let segment_max = match errno {
            libc::EIO => 0,
            libc::EINVAL | libc::EMSGSIZE => run.segment - 1,
            _ => {
                self.lost.refused += run.count as u64;
                return;
            }
        };
        if run.count == 1 {
            self.lost.refused += 1;
            return;
        }
        self.refusals.retain(|refusal| refusal.to != run.to);
        if self.refusals.len() == REFUSALS {
            self.refusals.clear();
        }
        self.refused_ever += 1;
        self.refusals.push(Refusal { to: run.to, segment_max, errno });
        let mut rest = run.bytes;
        for index in 0..run.count {
            let bytes = rest.min(run.segment);
            rest -= bytes;
            let single = Run { start: run.start + index * run.segment, bytes, segment: bytes, count: 1, ..run };
            match self.headers.send(socket, &self.buffer, &[single]) {
                Ok(_) => {}
                Err(libc::EAGAIN | libc::ENOBUFS) => self.lost.full += 1,
                Err(_) => self.lost.refused += 1,
            }
        }
    }
}

fn datagrams(runs: &[Run]) -> u64 {
    runs.iter().map(|run| run.count as u64).sum()
}

/// False when the socket has stayed full.
fn wait_for_room(socket: &UdpSocket) -> bool {
    let mut poll = libc::pollfd { fd: socket.as_fd().as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: the kernel reads and writes this one entry.
    unsafe { libc::poll(&raw mut poll, 1, FULL_WAIT_MS) > 0 }
}

/// One `cmsghdr` with a u16, aligned.
type Control = [u64; 3];

/// The structures around a batch, filled anew for each call.
struct Headers {
    names: Box<[Name; RUNS]>,
    iovecs: Box<[libc::iovec; RUNS]>,
    controls: Box<[Control; RUNS]>,
    messages: Box<[libc::mmsghdr; RUNS]>,
}

// SAFETY: its pointers are written before each call and followed during it only.
unsafe impl Send for Headers {}

impl Headers {
    fn new() -> Self {
        // SAFETY: every field of mmsghdr is valid as zeros.
        let message: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let iovec = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self {
            names: Box::new([Name::empty(); RUNS]),
            iovecs: Box::new([iovec; RUNS]),
            controls: Box::new([[0; 3]; RUNS]),
            messages: Box::new([message; RUNS]),
        }
    }

    /// One call for as many of `runs` as fit; how many of them left, or why the first did not.
    fn send(&mut self, socket: &UdpSocket, buffer: &[u8], runs: &[Run]) -> Result<usize, i32> {
        let count = runs.len().min(RUNS);
        for (at, run) in runs[..count].iter().enumerate() {
            self.put(at, buffer, run);
        }
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: the first `count` messages name parts of `buffer` and of this object, which live until the call returns.
        let sent = unsafe { libc::sendmmsg(fd, self.messages.as_mut_ptr(), count as libc::c_uint, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| errno())
    }

    fn put(&mut self, at: usize, buffer: &[u8], run: &Run) {
        let bytes = &buffer[run.start..run.start + run.bytes];
        self.iovecs[at] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let header = &mut self.messages[at].msg_hdr;
        header.msg_namelen = self.names[at].set(run.to);
        header.msg_name = self.names[at].as_mut_ptr().cast();
        header.msg_iov = &raw mut self.iovecs[at];
        header.msg_iovlen = 1;
        header.msg_control = ptr::null_mut();
        header.msg_controllen = 0;
        if run.count > 1 {
            header.msg_control = self.controls[at].as_mut_ptr().cast();
            put_segment(header, run.segment as u16);
        }
    }
}

fn put_segment(header: &mut libc::msghdr, segment: u16) {
    // SAFETY: `msg_control` names a Control, which is as long and aligned as one cmsghdr with a u16 needs.
    unsafe {
        header.msg_controllen = libc::CMSG_SPACE(2) as usize;
        let control = libc::CMSG_FIRSTHDR(header);
        (*control).cmsg_level = libc::SOL_UDP;
        (*control).cmsg_type = libc::UDP_SEGMENT;
        (*control).cmsg_len = libc::CMSG_LEN(2) as usize;
        libc::CMSG_DATA(control).cast::<u16>().write_unaligned(segment);
    }
}
