//! A bound UDP socket of one family, set up for tunnels.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::super::{SysError, checked, owned, set_option};
use super::address::{NAME_BYTES, Name};

/// 20 ms at 6.5 Gbit/s; the kernel doubles it for its own bookkeeping, this and the next.
const SEND_BUFFER_BYTES: libc::c_int = 16 << 20;
/// 80 ms. A thousand TCP flows have 50 MB under way, most of which wait here when their sender has had more of the processor for a while; what does
/// not fit is sent again. The kernel's limit for all sockets together (`net.ipv4.udp_mem`) holds beyond it.
const RECEIVE_BUFFER_BYTES: libc::c_int = 64 << 20;
/// Where a sealed datagram has its type and its queue (docs/PROTOCOL.md "Datagrams").
const TYPE_AT: u32 = 0;
const QUEUE_AT: u32 = 8;
const TYPE_SEALED: u32 = 4;

/// Datagrams leave with DF clear and may be fragmented on the way.
#[derive(Debug)]
pub struct UdpSocket {
    fd: OwnedFd,
    local: SocketAddr,
    has_gro: bool,
}

impl UdpSocket {
    /// Port 0: one of the kernel's choice. `shared`: others of this process may bind the same address.
    ///
    /// # Errors
    /// When the address is another program's, none of this host's, or of a family that it does not have.
    pub fn open(address: SocketAddr, shared: bool) -> Result<Self, SysError> {
        let domain = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: takes no pointer.
        let fd = owned("socket", unsafe { libc::socket(domain, kind, 0) })?;
        set_options(&fd, address.is_ipv4(), shared)?;
        let has_gro = set_option(&fd, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        let mut name = Name::empty();
        let length = name.set(address);
        // SAFETY: `name` holds at least `length` bytes.
        checked("bind", unsafe { libc::bind(fd.as_raw_fd(), name.as_mut_ptr(), length) })?;
        let mut length = NAME_BYTES;
        // SAFETY: `name` has room for `length` bytes.
        checked("getsockname", unsafe { libc::getsockname(fd.as_raw_fd(), name.as_mut_ptr(), &raw mut length) })?;
        let local = name.get().unwrap_or(address);
        Ok(Self { fd, local, has_gro })
    }

    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The kernel hands over runs of datagrams as one.
    #[must_use]
    pub fn has_gro(&self) -> bool {
        self.has_gro
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Of `count` sockets that share an address, in the order in which they were bound: frames go to that of their queue, everything else to the
/// first. A sender's queue then always meets the same thread here, in order.
///
/// # Errors
/// When the kernel has no classic BPF for sockets.
pub fn steer(first: &UdpSocket, count: u32) -> Result<(), SysError> {
    let load_byte = |at| statement(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, at);
    let jump = |value, then, otherwise| {
        let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        libc::sock_filter { code, jt: then, jf: otherwise, k: value }
    };
    let mut program = [
        load_byte(TYPE_AT),
        jump(TYPE_SEALED, 0, 5),
        load_byte(QUEUE_AT),
        jump(0, 3, 0),
        statement(libc::BPF_ALU | libc::BPF_SUB | libc::BPF_K, 1),
        statement(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, count),
        statement(libc::BPF_RET | libc::BPF_A, 0),
        statement(libc::BPF_RET | libc::BPF_K, 0),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `filter` names `program` with its length, and both live until the kernel has copied them.
    let result = unsafe {
        libc::setsockopt(
            first.fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    checked("SO_ATTACH_REUSEPORT_CBPF", result).map(|_| ())
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn set_options(fd: &OwnedFd, is_ipv4: bool, shared: bool) -> Result<(), SysError> {
    // A kernel that refuses one of the rest still carries frames.
    if is_ipv4 {
        let _ = set_option(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT);
    } else {
        set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        let _ = set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT);
    }
    // Beyond net.core.{r,w}mem_max with CAP_NET_ADMIN, else up to it.
    let buffers = [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, RECEIVE_BUFFER_BYTES),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, SEND_BUFFER_BYTES),
    ];
    for (forced, usual, bytes) in buffers {
        if set_option(fd, libc::SOL_SOCKET, forced, bytes).is_err() {
            let _ = set_option(fd, libc::SOL_SOCKET, usual, bytes);
        }
    }
    if shared { set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1) } else { Ok(()) }
}
