//! The engine: the switch between real TAP devices and real UDP ports, on threads of its own.
//!
//! Lane `i` is one thread. It owns queue `i` of every segment's TAP and one UDP socket of each address, and moves frames between them
//! without asking anybody. Commands are carried out by the thread that gives them, on a lane of its own; only TAP devices that come and go
//! are mail to the lanes. Events wait in one bounded buffer. Lane 0 also keeps the clockwork of the plane.

mod control;
mod engine;
mod listen;
mod mail;
mod output;
mod ports;
mod shared;
#[cfg(test)]
mod tests;
mod worker;

pub use engine::{Engine, Options, PATH_MTU, lanes_by_default};
pub use listen::Listen;
