//! Where the effects of a lane go. A call's effects arrive in order; whoever drives the lane carries them out.

use crate::events::Event;
use crate::frame::Checksum;
use crate::ids::{Endpoint, Vni};

/// Implemented by the send buffers of the real engine, and by plain vectors in tests.
///
/// Sinks are called with locks of the plane held: they must not call back into it.
pub trait Sink {
    /// At least `bytes` bytes, filled with anything, at the place where the next datagram will lie. A later call
    /// without a [`Sink::send`] between gives the same place again. May send what is there already to make room.
    fn room(&mut self, bytes: usize) -> &mut [u8];

    /// The first `bytes` bytes of the last [`Sink::room`] are a datagram to `to`. Runs of equal length to one endpoint
    /// follow each other without a gap in the buffer if the sink lets rooms follow each other: that is what
    /// `UDP_SEGMENT` takes.
    fn send(&mut self, to: &Endpoint, bytes: usize);

    /// A frame from a tunnel for the TAP of `vni`, opened in place: it begins [`crate::wire::BODY_AT`] bytes into the
    /// datagram that was given to [`crate::Lane::outside`] and ends [`crate::wire::TAG_BYTES`] before its end. Its
    /// checksum may be partial: to be completed by the TAP's vnet header or by [`crate::checksum::complete`].
    fn deliver(&mut self, vni: Vni, frame: &mut [u8], checksum: Checksum);

    /// A frame that was made here (answers, announcements, loop probes) for the TAP of `vni`; complete.
    fn inject(&mut self, vni: Vni, frame: &[u8]);

    fn event(&mut self, event: Event);
}
