//! ARP (RFC 826), as far as answering and announcing need it.

use std::net::Ipv4Addr;

use crate::bytes::{get_u16, get_u32, get_u48, put_u16, put_u32, put_u48};
use crate::frame::{self, BROADCAST, TYPE_ARP};
use crate::ids::Mac;
use crate::wire::ETHERNET_BYTES;

const ARP_BYTES: usize = 28;
/// Hardware type 1, protocol type 0x0800.
const ETHERNET_IPV4: u32 = 0x0001_0800;
/// 6 bytes of hardware address, 4 of protocol address.
const LENGTHS: u16 = 0x0604;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    op: u16,
    pub sender_mac: Mac,
    pub sender_ip: Ipv4Addr,
    target_mac: Mac,
    pub target_ip: Ipv4Addr,
}

/// A whole Ethernet-IPv4 ARP request in `frame`, whose payload starts at `at`.
pub fn parse_request(frame: &[u8], at: usize) -> Option<Arp> {
    if frame.len() < at + ARP_BYTES || get_u32(frame, at) != ETHERNET_IPV4 || get_u16(frame, at + 4) != LENGTHS {
        return None;
    }
    let ip = |at: usize| Ipv4Addr::from(get_u32(frame, at));
    let op = get_u16(frame, at + 6);
    let (sender_mac, target_mac) = (get_u48(frame, at + 8), get_u48(frame, at + 18));
    (op == REQUEST).then(|| Arp { op, sender_mac, sender_ip: ip(at + 14), target_mac, target_ip: ip(at + 24) })
}

/// A frame that answers `request`, the parse of `frame`: its target is at `mac`.
pub fn answer(frame: &[u8], request: &Arp, mac: Mac) -> Vec<u8> {
    let mut bytes = frame::make_answer(frame, mac, ARP_BYTES);
    let at = bytes.len() - ARP_BYTES;
    let reply = Arp {
        op: REPLY,
        sender_mac: mac,
        sender_ip: request.target_ip,
        target_mac: request.sender_mac,
        target_ip: request.sender_ip,
    };
    put(&mut bytes, at, &reply);
    bytes
}

/// A frame with an announcement (RFC 5227 2.3): a request for the own address, which neighbours take as news.
pub fn announce(ip: Ipv4Addr, mac: Mac) -> Vec<u8> {
    let mut bytes = frame::make(BROADCAST, mac, TYPE_ARP, ARP_BYTES);
    put(&mut bytes, ETHERNET_BYTES, &Arp { op: REQUEST, sender_mac: mac, sender_ip: ip, target_mac: 0, target_ip: ip });
    bytes
}

fn put(bytes: &mut [u8], at: usize, arp: &Arp) {
    put_u32(bytes, at, ETHERNET_IPV4);
    put_u16(bytes, at + 4, LENGTHS);
    put_u16(bytes, at + 6, arp.op);
    put_u48(bytes, at + 8, arp.sender_mac);
    put_u32(bytes, at + 14, arp.sender_ip.into());
    put_u48(bytes, at + 18, arp.target_mac);
    put_u32(bytes, at + 24, arp.target_ip.into());
}
