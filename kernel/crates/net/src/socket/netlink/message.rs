//! [`MessageWriter`]: netlink messages with their attributes, one behind the other.

use alloc::vec::Vec;

use abi::Errno;
use abi::netlink::{NLM_F_MULTI, NLMSG_DONE, NLMSG_ERROR, Nlmsgerr, Nlmsghdr, Rtattr};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What messages and attributes are aligned to.
pub(super) const ALIGNMENT: usize = 4;
/// The bytes of a datagram of a dump; programs have buffers for a page.
const DATAGRAM_LEN_MAX: usize = 3776;

/// Datagrams of messages, in answer to one request.
pub(super) struct MessageWriter {
    datagrams: Vec<Vec<u8>>,
    /// There was no memory for some.
    is_incomplete: bool,
    request: Nlmsghdr,
    port: u32,
}

impl MessageWriter {
    /// For answers to `request` from the socket `port`.
    pub(super) fn new(request: Nlmsghdr, port: u32) -> Self {
        Self { datagrams: Vec::new(), is_incomplete: false, request, port }
    }

    /// For news that nobody has asked for.
    pub(super) fn for_news() -> Self {
        let request = Nlmsghdr { nlmsg_len: 0, nlmsg_type: 0, nlmsg_flags: 0, nlmsg_seq: 0, nlmsg_pid: 0 };
        Self::new(request, 0)
    }

    /// The datagrams; an error if there was no memory for all of them.
    pub(super) fn into_datagrams(self) -> (Vec<Vec<u8>>, Result<(), Errno>) {
        (self.datagrams, if self.is_incomplete { Err(Errno::ENOBUFS) } else { Ok(()) })
    }

    /// Adds a message of `kind`: a structure, and what `fill` puts behind it.
    pub(super) fn message<T: IntoBytes + Immutable>(
        &mut self,
        kind: u16,
        is_dump: bool,
        structure: &T,
        fill: impl FnOnce(&mut Vec<u8>),
    ) {
        let mut bytes = alloc::vec![0; size_of::<Nlmsghdr>()];
        bytes.extend_from_slice(structure.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        fill(&mut bytes);
        let header = Nlmsghdr {
            nlmsg_len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            nlmsg_type: kind,
            nlmsg_flags: if is_dump { NLM_F_MULTI } else { 0 },
            nlmsg_seq: self.request.nlmsg_seq,
            nlmsg_pid: self.port,
        };
        bytes[..size_of::<Nlmsghdr>()].copy_from_slice(header.as_bytes());
        if is_dump
            && let Some(last) = self.datagrams.last_mut()
            && last.len() + bytes.len() <= DATAGRAM_LEN_MAX
            && last.try_reserve(bytes.len()).is_ok()
        {
            last.extend_from_slice(&bytes);
        } else if self.datagrams.try_reserve(1).is_ok() {
            self.datagrams.push(bytes);
        } else {
            self.is_incomplete = true;
        }
    }

    /// Ends a dump.
    pub(super) fn done(&mut self) {
        self.message(NLMSG_DONE, true, &0_i32, |_| ());
    }

    /// Answers with an error, or with 0 for none. An error quotes `payload`, which is what follows the header of the request, if it is to and
    /// if there is memory for it.
    pub(super) fn error(&mut self, errno: i32, payload: Option<&[u8]>) {
        let error = Nlmsgerr { error: -errno, msg: self.request };
        let mut is_capped = true;
        self.message(NLMSG_ERROR, false, &error, |bytes| {
            if let Some(payload) = payload
                && errno != 0
                && bytes.try_reserve(payload.len() + ALIGNMENT).is_ok()
            {
                bytes.extend_from_slice(payload);
                bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
                is_capped = false;
            }
        });
        if is_capped && let Some(last) = self.datagrams.last_mut() {
            // The request was left out.
            let flags = abi::netlink::NLM_F_CAPPED;
            if let Some(place) = last.get_mut(6..8) {
                place.copy_from_slice(&flags.to_ne_bytes());
            }
        }
    }
}

/// Appends an attribute.
pub(super) fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = size_of::<Rtattr>() + value.len();
    let header = Rtattr { rta_len: u16::try_from(len).unwrap_or(u16::MAX), rta_type: kind };
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

/// Appends a text with its closing zero.
pub(super) fn text_attribute(bytes: &mut Vec<u8>, kind: u16, text: &str) {
    let mut value = text.as_bytes().to_vec();
    value.push(0);
    attribute(bytes, kind, &value);
}

/// The attributes behind a message: kind and value.
pub(super) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    core::iter::from_fn(move || {
        let (header, _) = Rtattr::read_from_prefix(rest).ok()?;
        let len = usize::from(header.rta_len);
        let value = rest.get(size_of::<Rtattr>()..len)?;
        rest = rest.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((header.rta_type, value))
    })
}

/// The value of an attribute.
pub(super) fn find_attribute(rest: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(rest).find(|(found, _)| *found == kind).map(|(_, value)| value)
}
