//! What comes of frames and datagrams: a lane's sink, which gathers a batch and carries it out.

use std::net::SocketAddr;
use std::sync::Arc;

use super::ports::Ports;
use super::shared::Shared;
use crate::drops::DropReason;
use crate::events::Event;
use crate::frame::Checksum;
use crate::ids::{Endpoint, Vni};
use crate::plane::Plane;
use crate::sink::Sink;
use crate::sys::udp::{Sender, UdpSocket};

pub(super) struct Output {
    pub(super) sockets: Arc<[UdpSocket]>,
    pub(super) ports: Ports,
    sender: Sender,
    events: Vec<Event>,
    /// Address of the arena that datagrams are opened in.
    arena: usize,
    refusals_known: usize,
}

impl Output {
    pub(super) fn new(sockets: Arc<[UdpSocket]>, path_mtu: usize) -> Self {
        Self {
            sockets,
            ports: Ports::default(),
            sender: Sender::new(path_mtu),
            events: Vec::new(),
            arena: 0,
            refusals_known: 0,
        }
    }

    /// Frames that are delivered from now on lie in `arena`.
    pub(super) fn begin(&mut self, arena: &[u8]) {
        self.arena = arena.as_ptr().addr();
    }

    /// Writes what was delivered into the TAPs.
    pub(super) fn write(&mut self, arena: &[u8]) {
        self.ports.write(arena);
    }

    /// Sends, counts and reports everything else.
    pub(super) fn finish(&mut self, shared: &Shared) {
        if !self.sender.is_empty() {
            self.sender.flush(&self.sockets);
        }
        self.count(shared);
        if !self.events.is_empty() {
            shared.publish(&mut self.events);
        }
    }

    /// After a panic: nothing of the batch is left.
    pub(super) fn forget(&mut self) {
        self.ports.forget();
        self.sender.forget();
        self.events.clear();
    }

    fn count(&mut self, shared: &Shared) {
        let lost = self.sender.take_lost();
        let unwritten = self.ports.take_unwritten();
        let counts = [
            (DropReason::SocketFull, lost.full),
            (DropReason::SendError, lost.refused + unwritten.failed),
            (DropReason::TapFull, unwritten.full),
        ];
        for (reason, count) in counts {
            if count > 0 {
                Plane::drop(&shared.plane, reason, count);
            }
        }
        if self.sender.refused_ever() != self.refusals_known {
            self.refusals_known = self.sender.refused_ever();
            shared.refused(self.sender.refusals());
        }
    }
}

impl Sink for Output {
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.sender.room(&self.sockets, bytes)
    }

    fn send(&mut self, to: &Endpoint, bytes: usize) {
        self.sender.send(SocketAddr::new(to.ip(), to.port()), bytes);
    }

    fn deliver(&mut self, vni: Vni, frame: &mut [u8], checksum: Checksum) {
        let at = frame.as_ptr().addr() - self.arena;
        self.ports.push(vni, frame, checksum, at);
    }

    fn inject(&mut self, vni: Vni, frame: &[u8]) {
        self.ports.inject(vni, frame);
    }

    fn event(&mut self, event: Event) {
        self.events.push(event);
    }
}
