//! TCP MSS clamping: a SYN that offers more than the network carries is rewritten (RFC 9293 3.7.1).

use crate::bytes::{get_u16, put_u16};
use crate::checksum::{TCP_CHECKSUM_OFFSET, replace_u16};
use crate::frame::Checksum;
use crate::transport::{self, PROTOCOL_TCP};

const TCP_BYTES: usize = 20;
const FLAGS_AT: usize = 13;
const SYN: u8 = 0x02;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_MSS: u8 = 2;

/// A cheap no for the bulk of traffic: plain IPv4 and IPv6 without the SYN flag. Everything else is looked at properly.
pub fn may_be_syn(bytes: &[u8]) -> bool {
    if bytes.len() < 54 {
        return false;
    }
    match (bytes[12], bytes[13], bytes[14], bytes[20]) {
        (0x08, 0x00, 0x45, _) => bytes[23] == PROTOCOL_TCP && bytes[47] & SYN != 0,
        (0x86, 0xdd, _, PROTOCOL_TCP) => bytes.len() >= 74 && bytes[67] & SYN != 0,
        _ => true,
    }
}

/// Lowers the MSS option of a TCP SYN to what fits the network's `mtu` without IP and TCP options. A partial checksum
/// does not cover the option.
pub fn clamp(bytes: &mut [u8], mtu: u32, checksum: Checksum) {
    let Some(found) = transport::find(bytes) else { return };
    if found.protocol != PROTOCOL_TCP || found.at + TCP_BYTES > found.end || bytes[found.at + FLAGS_AT] & SYN == 0 {
        return;
    }
    let headers = if found.is_ipv6 { 60 } else { 40 };
    let Some(max) = mtu.checked_sub(headers).filter(|&max| max >= 1) else { return };
    let max = u16::try_from(max).unwrap_or(u16::MAX);
    let Some(mss_at) = find_mss(bytes, found.at, found.end) else { return };
    if get_u16(bytes, mss_at) <= max {
        return;
    }
    match checksum {
        Checksum::Complete => replace_u16(bytes, mss_at, max, found.at + TCP_CHECKSUM_OFFSET, found.at),
        Checksum::Partial { .. } => put_u16(bytes, mss_at, max),
    }
}

/// Where the MSS option's value is in the TCP header at `at`; None when there is none or the options are malformed
/// before it.
fn find_mss(bytes: &[u8], at: usize, end: usize) -> Option<usize> {
    let options_end = at + usize::from(bytes[at + 12] >> 4) * 4;
    if options_end > end {
        return None;
    }
    let mut option = at + TCP_BYTES;
    while option < options_end {
        match bytes[option] {
            OPTION_END => return None,
            OPTION_NOP => option += 1,
            kind => {
                let length = if option + 1 < options_end { usize::from(bytes[option + 1]) } else { 0 };
                if length < 2 || option + length > options_end {
                    return None;
                }
                if kind == OPTION_MSS {
                    return (length == 4).then_some(option + 2);
                }
                option += length;
            }
        }
    }
    None
}
