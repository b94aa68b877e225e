//! Identifiers that travel, and their one text each (docs/PROTOCOL.md "Identifiers").

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A virtual network identifier, 1..2^24-1.
pub type Vni = u32;
/// An Ethernet address in the lower 48 bits.
pub type Mac = u64;
pub type Ip = IpAddr;

/// A host: the first 16 bytes of BLAKE2s-256 over its Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 16]);

impl fmt::Display for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// The text was not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl FromStr for PeerId {
    type Err = Malformed;

    /// Exactly 32 hex digits.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.len() != 32 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(Malformed);
        }
        let mut id = [0; 16];
        for (byte, at) in id.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| Malformed)?;
        }
        Ok(Self(id))
    }
}

/// A UDP address. An IPv4 address inside an IPv6 one is IPv4: a path has one name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// An IPv4 address is in the first four bytes, the others are 0.
    address: [u8; 16],
    port: u16,
    is_ipv6: bool,
}

impl Endpoint {
    pub fn new(ip: IpAddr, port: u16) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let mut address = [0; 16];
                address[..4].copy_from_slice(&ip.octets());
                Self { address, port, is_ipv6: false }
            }
            IpAddr::V6(ip) => Self { address: ip.octets(), port, is_ipv6: true },
        }
    }

    pub fn ip(&self) -> IpAddr {
        if self.is_ipv6 {
            return Ipv6Addr::from(self.address).into();
        }
        let [a, b, c, d, ..] = self.address;
        Ipv4Addr::new(a, b, c, d).into()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn is_ipv6(&self) -> bool {
        self.is_ipv6
    }

    /// 4 or 16 bytes.
    pub fn address(&self) -> &[u8] {
        if self.is_ipv6 { &self.address } else { &self.address[..4] }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&SocketAddr::new(self.ip(), self.port), out)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl FromStr for Endpoint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let address: SocketAddr = text.parse().map_err(|_| Malformed)?;
        Ok(Self::new(address.ip(), address.port()))
    }
}

/// `02:42:0a:4d:00:02`.
pub fn mac_text(mac: Mac) -> String {
    let [_, _, bytes @ ..] = mac.to_be_bytes();
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

/// Six pairs of hex digits, separated by ":".
pub fn parse_mac(text: &str) -> Option<Mac> {
    if text.len() != 17 || !text.is_ascii() {
        return None;
    }
    text.split(':').try_fold(0, |mac, pair| {
        let is_pair = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = u8::from_str_radix(pair, 16).ok().filter(|_| is_pair)?;
        Some(mac << 8 | u64::from(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_have_one_text() {
        for text in ["10.9.0.1:4794", "[fd00::1]:4794", "[::]:1", "[::1.2.3.4]:9", "[fd00:0:0:1::]:9"] {
            let canonical = if text.contains("::1.2") { "[::102:304]:9" } else { text };
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), canonical);
        }
        assert_eq!("[::ffff:10.9.0.1]:4794".parse::<Endpoint>().unwrap().to_string(), "10.9.0.1:4794");
        assert_eq!("10.9.0.1".parse::<Endpoint>(), Err(Malformed));
    }

    #[test]
    fn macs_and_hosts_have_one_text() {
        assert_eq!(parse_mac("02:42:0a:4d:00:02"), Some(0x0242_0a4d_0002));
        assert_eq!(mac_text(0x0242_0a4d_0002), "02:42:0a:4d:00:02");
        assert_eq!(parse_mac("02:42:0a:4d:00:0"), None);
        assert_eq!(parse_mac("02:42:0a:4d:00:+2"), None);
        let id = "ab".repeat(16);
        assert_eq!(id.parse::<PeerId>().unwrap().to_string(), id);
        assert_eq!("ab".repeat(15).parse::<PeerId>(), Err(Malformed));
    }
}
