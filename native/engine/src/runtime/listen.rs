//! The engine's UDP sockets: those of each lane, on every address that is listened on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::sys::SysError;
use crate::sys::udp::{UdpSocket, steer};

/// Where to listen.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    /// None: all addresses of both families.
    pub address: Option<IpAddr>,
    pub port: u16,
}

/// The sockets of each lane, in the order of `listen`.
pub(super) fn open_all(listen: &[Listen], lanes: usize) -> Result<Vec<Vec<UdpSocket>>, SysError> {
    let mut sockets: Vec<Vec<UdpSocket>> = (0..lanes).map(|_| Vec::new()).collect();
    for Listen { address, port } in listen {
        match address {
            Some(address) => open(SocketAddr::new(*address, *port), &mut sockets)?,
            None => open_both(*port, &mut sockets)?,
        }
    }
    if sockets.iter().all(Vec::is_empty) {
        return Err(SysError { call: "bind", errno: libc::EADDRNOTAVAIL });
    }
    Ok(sockets)
}

/// One port on both families; a kernel without IPv6, or with it switched off, has the other one.
fn open_both(port: u16, sockets: &mut [Vec<UdpSocket>]) -> Result<(), SysError> {
    open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), sockets)?;
    let bound = sockets.first().and_then(|own| own.last()).map_or(port, |socket| socket.local().port());
    match open(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), bound), sockets) {
        Err(SysError { errno: libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL, .. }) => Ok(()),
        result => result,
    }
}

fn open(address: SocketAddr, sockets: &mut [Vec<UdpSocket>]) -> Result<(), SysError> {
    let is_shared = sockets.len() > 1;
    if is_shared && address.port() != 0 {
        // Sockets that share an address share it with every program of this user: somebody else's shows here only.
        drop(UdpSocket::open(address, false)?);
    }
    let mut address = address;
    for own in sockets.iter_mut() {
        let socket = UdpSocket::open(address, is_shared)?;
        address.set_port(socket.local().port());
        own.push(socket);
    }
    let count = sockets.len() as u32;
    match sockets.first().and_then(|own| own.last()) {
        Some(first) if is_shared => steer(first, count),
        _ => Ok(()),
    }
}
