//! The packets of virtio's socket device (Virtual I/O Device specification 1.3, 5.10.6): a header, and bytes behind it.
//!
//! What comes in is anybody's bytes: [`parse`] answers a header whose numbers are in range and the payload that it
//! speaks of, or nothing.

use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::socket::address::VsockAddress;

/// Bytes of a header.
pub const HEADER_LEN: usize = 44;
/// The most bytes behind one. More are sent in several packets.
pub const PAYLOAD_LEN_MAX: usize = 64 * 1024;

/// In the flags of [`Operation::Shutdown`]: the sender receives nothing any more.
pub const SHUTDOWN_RECEIVE: u32 = 1;
/// It sends nothing any more.
pub const SHUTDOWN_SEND: u32 = 2;
/// In the flags of [`Operation::Data`]: a message ends here.
pub const END_OF_MESSAGE: u32 = 1;
/// And it was sent with `MSG_EOR`.
pub const END_OF_RECORD: u32 = 2;

/// What kind of socket a packet is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// Bytes in order.
    Stream = 1,
    /// Messages in order.
    Seqpacket = 2,
}

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// A connection is wanted.
    Request = 1,
    /// And granted.
    Response = 2,
    /// It is refused, or at its end.
    Reset = 3,
    /// One side does something no more.
    Shutdown = 4,
    /// Bytes.
    Data = 5,
    /// How much room there is, which every packet tells.
    CreditUpdate = 6,
    /// That is asked for.
    CreditRequest = 7,
}

impl Operation {
    fn of(number: u16) -> Option<Self> {
        use Operation::{CreditRequest, CreditUpdate, Data, Request, Reset, Response, Shutdown};
        [Request, Response, Reset, Shutdown, Data, CreditUpdate, CreditRequest]
            .into_iter()
            .find(|operation| *operation as u16 == number)
    }
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who sends.
    pub source: VsockAddress,
    /// Who is to receive.
    pub destination: VsockAddress,
    /// A [`Kind`], or one that there is not here.
    pub kind: u16,
    /// None: this is not known.
    pub operation: Option<Operation>,
    /// As the operation says.
    pub flags: u32,
    /// The sender's room for bytes that it receives.
    pub buffer_len: u32,
    /// The bytes that the sender's program has taken out of it, all told.
    pub taken: u32,
}

/// A packet on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What it is.
    pub header: Header,
    /// At most [`PAYLOAD_LEN_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// A header as it lies in memory.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Layout {
    source_cid: U64,
    destination_cid: U64,
    source_port: U32,
    destination_port: U32,
    len: U32,
    kind: U16,
    operation: U16,
    flags: U32,
    buffer_len: U32,
    taken: U32,
}

const _: () = assert!(size_of::<Layout>() == HEADER_LEN, "a header has another length");

/// The header and the payload of a packet. None: it is shorter than it says, has more bytes than any, or comes from
/// where nobody is.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let (layout, rest) = Layout::ref_from_prefix(bytes).ok()?;
    let len = usize::try_from(layout.len.get()).ok().filter(|len| *len <= PAYLOAD_LEN_MAX)?;
    let address = |cid: U64, port: U32| Some(VsockAddress { cid: u32::try_from(cid.get()).ok()?, port: port.get() });
    let header = Header {
        source: address(layout.source_cid, layout.source_port)?,
        destination: address(layout.destination_cid, layout.destination_port)?,
        kind: layout.kind.get(),
        operation: Operation::of(layout.operation.get()),
        flags: layout.flags.get(),
        buffer_len: layout.buffer_len.get(),
        taken: layout.taken.get(),
    };
    Some((header, rest.get(..len)?))
}

impl Packet {
    /// The bytes of the header.
    #[must_use]
    pub fn header_bytes(&self) -> [u8; HEADER_LEN] {
        let Header { source, destination, kind, operation, flags, buffer_len, taken } = self.header;
        let layout = Layout {
            source_cid: u64::from(source.cid).into(),
            destination_cid: u64::from(destination.cid).into(),
            source_port: source.port.into(),
            destination_port: destination.port.into(),
            len: u32::try_from(self.payload.len()).unwrap_or(0).into(),
            kind: kind.into(),
            operation: operation.map_or(0, |operation| operation as u16).into(),
            flags: flags.into(),
            buffer_len: buffer_len.into(),
            taken: taken.into(),
        };
        let mut bytes = [0; HEADER_LEN];
        bytes.copy_from_slice(layout.as_bytes());
        bytes
    }
}

/// The answer to a packet that nobody takes, of the kind of that packet, whatever it is. None to one that is such an answer.
#[must_use]
pub fn refusal(header: &Header) -> Option<Packet> {
    if header.operation == Some(Operation::Reset) {
        return None;
    }
    let header = Header {
        source: header.destination,
        destination: header.source,
        kind: header.kind,
        operation: Some(Operation::Reset),
        flags: 0,
        buffer_len: 0,
        taken: 0,
    };
    Some(Packet { header, payload: Vec::new() })
}

#[cfg(test)]
mod tests {
    use testkit::Random;

    use super::*;

    fn packet() -> Packet {
        let header = Header {
            source: VsockAddress { cid: 3, port: 0x0102_0304 },
            destination: VsockAddress { cid: 2, port: u32::MAX },
            kind: Kind::Seqpacket as u16,
            operation: Some(Operation::Data),
            flags: END_OF_MESSAGE | END_OF_RECORD,
            buffer_len: 262_144,
            taken: 0x0a0b_0c0d,
        };
        Packet { header, payload: alloc::vec![1, 2, 3] }
    }

    fn bytes_of(packet: &Packet) -> Vec<u8> {
        [&packet.header_bytes()[..], &packet.payload].concat()
    }

    #[test]
    fn a_header_is_laid_out_as_the_specification_says() {
        let bytes = bytes_of(&packet());
        let expected: [u8; HEADER_LEN] = [
            3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1, 255, 255, 255, 255, 3, 0, 0, 0, 2, 0, 5, 0, 3,
            0, 0, 0, 0, 0, 4, 0, 13, 12, 11, 10,
        ];
        assert_eq!(bytes[..HEADER_LEN], expected);
        assert_eq!(parse(&bytes), Some((packet().header, &[1, 2, 3][..])));
        // What lies behind the payload is not looked at.
        assert_eq!(parse(&[&bytes[..], &[9; 9]].concat()), Some((packet().header, &[1, 2, 3][..])));
    }

    #[test]
    fn what_no_packet_can_be_is_refused() {
        let bytes = bytes_of(&packet());
        assert!((0..bytes.len()).all(|len| parse(&bytes[..len]).is_none()));
        for (place, value) in [(4, 1), (15, 1), (26, 2), (27, 1)] {
            let mut bytes = bytes.clone();
            bytes.resize(HEADER_LEN + 2 * PAYLOAD_LEN_MAX, 0);
            bytes[place] = value;
            assert_eq!(parse(&bytes), None, "byte {place}");
        }
        let mut bytes = bytes;
        (bytes[28], bytes[30]) = (3, 99);
        let (header, _) = parse(&bytes).unwrap();
        assert_eq!((header.kind, header.operation), (3, None));
        let answer = refusal(&header).unwrap();
        assert_eq!((answer.header.kind, answer.header.source), (3, header.destination));
        assert_eq!(refusal(&answer.header), None, "nobody answers an answer");
    }

    #[test]
    fn any_bytes_parse_to_what_they_were_made_of_or_to_nothing() {
        let seed = 40;
        let mut random = Random::new(seed);
        for round in 0..20_000 {
            let mut bytes = bytes_of(&packet());
            bytes.resize(random.below(120), 7);
            for _ in 0..random.below(6) {
                if !bytes.is_empty() {
                    let place = random.below(bytes.len());
                    bytes[place] = random.below(256).to_le_bytes()[0];
                }
            }
            let Some((header, payload)) = parse(&bytes) else { continue };
            assert!(payload.len() <= bytes.len() - HEADER_LEN, "seed {seed}, round {round}");
            let again = bytes_of(&Packet { header, payload: payload.to_vec() });
            assert!(header.operation.is_none() || again == bytes[..again.len()], "seed {seed}, round {round}");
        }
    }
}
