//! The data plane of overlayd. `src/engine/portable` is its executable specification: for one script both give the same
//! datagrams, frames and events (docs/PROTOCOL.md "Engine").
//!
//! The pure part has no system calls; time (whole milliseconds of a monotonic clock) and random bytes are arguments:
//! - a [`Plane`] is what all data threads share: tables, peers, sessions, counters;
//! - a [`Lane`] is one data thread's view of it, with everything that moves a frame: [`Lane::inside`],
//!   [`Lane::outside`], [`Lane::apply`], [`Lane::control`], [`Lane::tick`]. What comes of a call goes to a [`Sink`];
//! - a [`Switch`] is a plane with one lane, driven by one caller: the unit of conformance.
//!
//! Around it, `sys` has the system calls and `runtime` the threads.

#![deny(unsafe_code)]

// Bytes.
mod arp;
mod blake2s;
mod bytes;
pub mod checksum;
pub mod datagram;
pub mod frame;
pub mod ids;
pub mod mss;
mod nd;
pub mod transport;
pub mod vnet;
pub mod wire;

// Parts.
mod admission;
mod agenda;
mod bucket;
pub mod cipher;
pub mod coalesce;
pub mod command;
pub mod drops;
pub mod events;
mod hold;
pub mod keys;
pub mod limits;
pub mod looping;
mod neighbour;
mod peer;
mod piece;
mod replay;
mod reports;
mod run;
mod segment;
mod session;
pub mod sink;
mod snapshot;
pub mod split;
pub mod stats;
mod sync;
mod table;

// The ways of a frame.
mod inside;
mod lane;
mod outside;
pub mod plane;
mod rare;
pub mod switch;
mod tunnels;
mod work;

// The system around it.
#[cfg(not(loom))]
pub mod runtime;
#[cfg(not(loom))]
pub mod sys;

pub use cipher::Cipher;
pub use command::{Command, EngineLimits, Location, MacKind, SegmentConfig, SessionKeys};
pub use drops::DropReason;
pub use events::{Event, EventBuffer, Why};
pub use frame::{Checksum, Frame, Gso, GsoKind};
pub use ids::{Endpoint, Ip, Mac, PeerId, Vni};
pub use lane::Lane;
pub use plane::{Due, Plane, PlaneOptions};
pub use sink::Sink;
pub use stats::{PeerStats, SegmentStats, Stats};
pub use switch::Switch;
