//! What a virtio socket device says (Virtual I/O Device specification 1.3, 5.10): features, this machine's CID, and the
//! events of its third queue. Its packets are `net`'s business.

bitflags::bitflags! {
    /// What the driver takes of what a device offers: the queues of slow devices know neither tables of descriptors nor
    /// event indexes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u64 {
        /// It carries streams. A device that offers neither kind does that.
        const STREAM = 1 << 0;
        /// It carries messages.
        const SEQPACKET = 1 << 1;
        /// It follows version 1 of the specification.
        const VERSION_1 = 1 << 32;
    }
}

/// Offsets in the configuration.
pub mod config {
    /// Eight bytes, the upper four of which are zero.
    pub const CID: usize = 0;
}

/// Numbers of the queues.
pub mod queue {
    /// Packets for this machine.
    pub const RECEIVE: u16 = 0;
    /// Packets of this machine.
    pub const TRANSMIT: u16 = 1;
    /// Events.
    pub const EVENT: u16 = 2;
}

/// An event that the device tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The machine is on another host: its connections are lost, and its CID may be another.
    TransportReset,
}

impl Event {
    /// The event in what the device has written, if it is a known one.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        match u32::from_le_bytes(*bytes.first_chunk()?) {
            0 => Some(Self::TransportReset),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_that_the_queues_do_not_do() {
        let offered = 1 << 0 | 1 << 1 | 1 << 28 | 1 << 29 | 1 << 32 | 1 << 34 | 1 << 40;
        assert_eq!(Features::from_bits_truncate(offered).bits(), 1 << 0 | 1 << 1 | 1 << 32);
    }

    #[test]
    fn events_are_four_bytes_of_which_one_value_is_known() {
        assert_eq!(Event::parse(&[0, 0, 0, 0, 9]), Some(Event::TransportReset));
        assert_eq!([Event::parse(&[0, 0, 0]), Event::parse(&[1, 0, 0, 0]), Event::parse(&[])], [None; 3]);
    }
}
