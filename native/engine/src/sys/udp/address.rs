//! Socket addresses as the kernel has them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Room for an address of either family.
#[derive(Clone, Copy)]
pub(super) struct Name(libc::sockaddr_in6);

pub(super) const NAME_BYTES: libc::socklen_t = size_of::<libc::sockaddr_in6>() as libc::socklen_t;

impl Name {
    pub(super) fn empty() -> Self {
        // SAFETY: every field of sockaddr_in6 is valid as zeros.
        Self(unsafe { std::mem::zeroed() })
    }

    /// Returns the length that the kernel expects.
    pub(super) fn set(&mut self, address: SocketAddr) -> libc::socklen_t {
        match address {
            SocketAddr::V4(address) => {
                let name = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: address.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: a sockaddr_in is shorter than a sockaddr_in6 and both are plain data.
                unsafe { self.as_mut_ptr().cast::<libc::sockaddr_in>().write_unaligned(name) };
                size_of::<libc::sockaddr_in>() as libc::socklen_t
            }
            SocketAddr::V6(address) => {
                self.0 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: address.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                    sin6_scope_id: 0,
                };
                NAME_BYTES
            }
        }
    }

    /// None for a family that is neither. An IPv4 address within IPv6 comes back as IPv4; zones are left out: a path has one name.
    pub(super) fn get(&self) -> Option<SocketAddr> {
        match i32::from(self.0.sin6_family) {
            libc::AF_INET => {
                // SAFETY: a sockaddr_in is shorter than a sockaddr_in6, and all bits of it are valid.
                let name = unsafe { (&raw const self.0).cast::<libc::sockaddr_in>().read_unaligned() };
                let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::new(ip.into(), u16::from_be(name.sin_port)))
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from(self.0.sin6_addr.s6_addr).to_canonical();
                Some(SocketAddr::new(ip, u16::from_be(self.0.sin6_port)))
            }
            _ => None,
        }
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        (&raw mut self.0).cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_went_in() {
        for text in ["10.9.0.1:4794", "[fd09::2]:65535", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut name = Name::empty();
            name.set(address);
            assert_eq!(name.get(), Some(address));
        }
        let mut name = Name::empty();
        name.set("[::ffff:10.9.0.1]:1".parse().unwrap());
        assert_eq!(name.get(), Some("10.9.0.1:1".parse().unwrap()));
        assert_eq!(Name::empty().get(), None);
    }
}
