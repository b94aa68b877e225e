//! TAP devices (Linux Documentation/networking/tuntap.rst) with a virtio network header before each frame, which carries offloads:
//! super-frames and checksums that are still to be computed. Not persistent: closing the last queue removes the device.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::{SysError, checked, errno, owned};

/// `struct virtio_net_hdr` (virtio 1.2, 5.1.6), the legacy layout that a TAP has unless told otherwise.
pub const VNET_BYTES: usize = 10;
/// The longest read: a super-frame of 64 KiB of IP behind Ethernet, two tags and the vnet header.
pub const READ_BYTES: usize = VNET_BYTES + 65_536 + 64;

/// Frames that the kernel keeps for the reader of each queue; it has 1,000 unless told. A thousand TCP flows have several super-frames each under
/// way, which that many do not hold: what is lost is sent again, and half of the throughput goes with it. TCP keeps what is in here for itself
/// too; a flood of UDP super-frames fills 640 MB at worst.
const QUEUE_FRAMES: u32 = 10_000;

/// `linux/if_tun.h`; libc has no names for these.
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
const TUN_F_CSUM: libc::c_ulong = 0x01;
const TUN_F_TSO4: libc::c_ulong = 0x02;
const TUN_F_TSO6: libc::c_ulong = 0x04;
const TUN_F_TSO_ECN: libc::c_ulong = 0x08;
const TUN_F_USO4: libc::c_ulong = 0x20;
const TUN_F_USO6: libc::c_ulong = 0x40;
const NAME_BYTES: usize = libc::IFNAMSIZ;

/// What the kernel hands over undone, best first: a kernel without USO (before 6.2) refuses the first, one without TSO the second.
const OFFLOADS: [(libc::c_ulong, Offloads); 4] = [
    (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN | TUN_F_USO4 | TUN_F_USO6, Offloads::TcpAndUdp),
    (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN, Offloads::Tcp),
    (TUN_F_CSUM, Offloads::Checksum),
    (0, Offloads::None),
];

/// Work that the kernel leaves to the reader of a TAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offloads {
    None,
    Checksum,
    Tcp,
    TcpAndUdp,
}

/// Why nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapFault {
    /// Nothing waits, or the kernel has no room.
    Again,
    /// This frame is refused; the next may pass.
    Refused,
    /// The device is down: frames are lost until it is up.
    Down,
    /// The device was deleted.
    Gone,
}

/// One queue of a device.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    name: String,
    offloads: Offloads,
}

impl Tap {
    /// Makes the device, down, with `queues` queues, its MAC set at once: udev rewrites one that it may think random.
    ///
    /// # Errors
    /// When the kernel has no TAP devices, the process may not make one, or the name is taken.
    pub fn open(name: &str, mac: [u8; 6], mtu: u32, queues: usize) -> Result<Vec<Self>, SysError> {
        let taps = (0..queues).map(|_| Self::open_queue(name, queues > 1)).collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = taps.first() {
            first.configure(mac, mtu)?;
            first.set_number("SIOCSIFTXQLEN", libc::SIOCSIFTXQLEN, QUEUE_FRAMES)?;
        }
        Ok(taps)
    }

    /// Sets MAC and MTU.
    ///
    /// # Errors
    /// When the kernel refuses them.
    pub fn configure(&self, mac: [u8; 6], mtu: u32) -> Result<(), SysError> {
        let mut request = Request::new(&self.name)?;
        request.set_mac(mac);
        request.submit("SIOCSIFHWADDR", &self.fd, libc::SIOCSIFHWADDR)?;
        self.set_number("SIOCSIFMTU", libc::SIOCSIFMTU, mtu)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Reads the next vnet header and frame into `buffer`; how long they are.
    ///
    /// # Errors
    /// `Again` when none waits.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, TapFault> {
        // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
        let length = unsafe { libc::read(self.fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if length >= 0 { Ok(length.unsigned_abs()) } else { Err(fault(errno())) }
    }

    /// Writes one vnet header and frame, in pieces.
    ///
    /// # Errors
    /// When the frame did not go in.
    pub fn write(&self, pieces: &Pieces<'_>) -> Result<(), TapFault> {
        let pieces = &pieces.0;
        // SAFETY: IoSlice is a struct iovec by its documentation, and the kernel only reads the bytes behind it.
        let length = unsafe {
            libc::writev(
                self.fd.as_raw_fd(),
                pieces.as_ptr().cast(),
                pieces.len().try_into().unwrap_or(libc::c_int::MAX),
            )
        };
        if length >= 0 { Ok(()) } else { Err(fault(errno())) }
    }

    fn set_number(&self, call: &'static str, request: libc::c_ulong, number: u32) -> Result<(), SysError> {
        // SAFETY: takes no pointer.
        let socket = owned("socket", unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
        let mut ifreq = Request::new(&self.name)?;
        ifreq.set_number(number);
        ifreq.submit(call, &socket, request)
    }

    fn open_queue(name: &str, is_multi: bool) -> Result<Self, SysError> {
        let mut request = Request::new(name)?;
        let flags = libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC;
        // SAFETY: the path ends with a zero byte.
        let fd = owned("open /dev/net/tun", unsafe { libc::open(c"/dev/net/tun".as_ptr(), flags) })?;
        let multi = if is_multi { libc::IFF_MULTI_QUEUE } else { 0 };
        request.set_flags(libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | multi);
        request.submit("TUNSETIFF", &fd, TUNSETIFF)?;
        let offloads = set_offloads(&fd);
        Ok(Self { fd, name: name.to_owned(), offloads })
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A frame in pieces, whose memory is kept from frame to frame by [`Pieces::reuse`].
#[derive(Default)]
pub struct Pieces<'a>(Vec<IoSlice<'a>>);

impl<'a> Pieces<'a> {
    pub fn push(&mut self, piece: &'a [u8]) {
        self.0.push(IoSlice::new(piece));
    }

    /// Empty, and free to hold pieces of other memory.
    #[must_use]
    pub fn reuse<'b>(mut self) -> Pieces<'b> {
        self.0.clear();
        // No slice is left to be turned into another; the memory is taken over as it is.
        Pieces(self.0.into_iter().map(|_| IoSlice::new(&[])).collect())
    }
}

/// One sentence for an operator about a device that could not be made.
#[must_use]
pub fn describe(name: &str, error: SysError) -> String {
    match error.errno {
        libc::ENOENT => "/dev/net/tun is missing: load the kernel module tun".to_owned(),
        libc::EPERM | libc::EACCES => {
            format!("no permission to make {name}: CAP_NET_ADMIN and access to /dev/net/tun are needed")
        }
        libc::EBUSY | libc::EINVAL => format!("{name} exists already and is in use or is no TAP device"),
        _ => format!("{name}: {error}"),
    }
}

fn fault(errno: i32) -> TapFault {
    match errno {
        libc::EAGAIN | libc::ENOBUFS | libc::EINTR | libc::ENOMEM => TapFault::Again,
        libc::EIO => TapFault::Down,
        libc::EBADFD | libc::EBADF | libc::ENODEV => TapFault::Gone,
        _ => TapFault::Refused,
    }
}

fn set_offloads(fd: &OwnedFd) -> Offloads {
    for (flags, offloads) in OFFLOADS {
        // SAFETY: this ioctl takes its flags by value.
        if unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETOFFLOAD, flags) } >= 0 {
            return offloads;
        }
    }
    Offloads::None
}

/// `struct ifreq`: a name, then a union.
struct Request(libc::ifreq);

impl Request {
    fn new(name: &str) -> Result<Self, SysError> {
        let bytes = name.as_bytes();
        let is_name = !bytes.is_empty()
            && bytes.len() < NAME_BYTES
            && bytes.iter().all(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | 0));
        if !is_name {
            return Err(SysError { call: "TUNSETIFF", errno: libc::EINVAL });
        }
        // SAFETY: every field of ifreq is valid as zeros.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        Ok(Self(request))
    }

    fn set_flags(&mut self, flags: libc::c_int) {
        self.0.ifr_ifru.ifru_flags = flags as libc::c_short;
    }

    fn set_number(&mut self, number: u32) {
        self.0.ifr_ifru.ifru_mtu = number.cast_signed();
    }

    fn set_mac(&mut self, mac: [u8; 6]) {
        let mut data = [0; 14];
        for (to, from) in data.iter_mut().zip(mac) {
            *to = libc::c_char::from_ne_bytes([from]);
        }
        self.0.ifr_ifru.ifru_hwaddr = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: data };
    }

    fn submit(&mut self, call: &'static str, fd: &OwnedFd, request: libc::c_ulong) -> Result<(), SysError> {
        // SAFETY: the ioctls used here read and write one struct ifreq, which `self` is.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut self.0) };
        checked(call, result).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_refused_before_any_device_is_made() {
        for name in ["", "a/b", "a b", "sixteen-letters-"] {
            let error = Tap::open(name, [2, 0, 0, 0, 0, 1], 1500, 1).unwrap_err();
            assert_eq!(error.errno, libc::EINVAL, "{name}");
        }
    }

    #[test]
    fn an_operator_is_told_what_to_do() {
        let told = |errno| describe("ovt-7", SysError { call: "TUNSETIFF", errno });
        assert_eq!(told(libc::ENOENT), "/dev/net/tun is missing: load the kernel module tun");
        assert_eq!(told(libc::EBUSY), "ovt-7 exists already and is in use or is no TAP device");
        assert!(told(libc::EPERM).contains("CAP_NET_ADMIN"));
        assert!(told(libc::ENOMEM).starts_with("ovt-7: TUNSETIFF: "));
    }
}
