//! UDP in batches: one system call sends or receives many messages (`sendmmsg(2)`, `recvmmsg(2)`), and one message may be many
//! datagrams of one size (`UDP_SEGMENT`, `UDP_GRO`; udp(7)).

mod address;
mod receive;
mod send;
mod socket;
#[cfg(test)]
mod tests;

pub use receive::{Message, Receiver};
pub use send::{Lost, Refusal, Sender};
pub use socket::{UdpSocket, steer};

/// UDP over IPv4 carries no more.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;
/// A run of datagrams is no longer: what UDP over either family carries, rounded down.
pub const PAYLOAD_BYTES_MAX: usize = 65_000;
