//! Receiving in place: bytes of a TCP stream, or a datagram, read where they lie.
//!
//! The kernel lends its buffers, which count against the socket's receive buffer until they are dropped: who keeps them
//! slows his peer down. On Linux, and for sockets that do not lend, the bytes are received into memory of the heap.
//!
//! ```
//! use std::io::Write;
//! use std::net::{TcpListener, TcpStream};
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let mut client = TcpStream::connect(listener.local_addr()?)?;
//! let (server, _) = listener.accept()?;
//! client.write_all(b"read me where I lie")?;
//! drop(client);
//! let mut text = Vec::new();
//! loop {
//!     let received = nacre::receive::receive(&server)?;
//!     if received.is_empty() {
//!         break;
//!     }
//!     // Looked at without a copy; this one is the example's.
//!     received.pieces().for_each(|piece| text.extend_from_slice(piece));
//! }
//! assert_eq!(text, b"read me where I lie");
//! # std::io::Result::Ok(())
//! ```

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::{checked, number, system_call};

/// Pieces that are asked for at once: enough for any datagram.
const PIECES_MAX: usize = 64;
/// What is received at once where it has to be copied.
const COPY_LEN: usize = 65_536;

#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Piece {
    address: u64,
    len: u64,
    loan: u64,
}

/// What was received. Dropped, it is given back.
#[derive(Debug)]
pub struct Received(Kind);

#[derive(Debug)]
enum Kind {
    Lent(Vec<Piece>),
    Copied(Vec<u8>),
}

impl Received {
    /// The pieces in order, none of them empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let (lent, copied): (&[Piece], &[u8]) = match &self.0 {
            Kind::Lent(pieces) => (pieces, &[]),
            Kind::Copied(bytes) => (&[], bytes),
        };
        let bytes_of = |piece: &Piece| {
            let address = usize::try_from(piece.address).unwrap_or(0);
            // SAFETY: the kernel lends these bytes until they are given back, which dropping this does, and changes
            // them no more.
            unsafe {
                std::slice::from_raw_parts(
                    std::ptr::with_exposed_provenance(address),
                    usize::try_from(piece.len).unwrap_or(0),
                )
            }
        };
        lent.iter().map(bytes_of).chain(Some(copied).filter(|copied| !copied.is_empty()))
    }

    /// Bytes in all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    /// Whether there are none: the end of a stream, or an empty datagram.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the bytes lie in memory of the kernel. System calls do not take such addresses.
    #[must_use]
    pub fn is_lent(&self) -> bool {
        matches!(self.0, Kind::Lent(_))
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Kind::Lent(pieces) = &self.0
            && !pieces.is_empty()
        {
            // SAFETY: nobody refers to the bytes any more.
            unsafe { system_call(number::GIVE_BACK, [pieces.as_ptr().addr(), pieces.len(), 0, 0, 0, 0]) };
        }
    }
}

/// Receives what there is of a stream, or one datagram. Waits as `recv` does.
pub fn receive(socket: &impl AsFd) -> io::Result<Received> {
    const EOPNOTSUPP: i32 = 95;
    let fd = usize::try_from(socket.as_fd().as_raw_fd()).unwrap_or(usize::MAX);
    let mut pieces = [Piece { address: 0, len: 0, loan: 0 }; PIECES_MAX];
    let arguments = [fd, pieces.as_mut_ptr().expose_provenance(), PIECES_MAX, 0, 0, 0];
    // SAFETY: the array may be written.
    match checked(unsafe { system_call(number::RECEIVE_IN_PLACE, arguments) }) {
        Ok(count) => Ok(Received(Kind::Lent(pieces.get(..count).unwrap_or_default().to_vec()))),
        Err(error) if crate::is_absent(&error) || error.raw_os_error() == Some(EOPNOTSUPP) => receive_copy(fd),
        Err(error) => Err(error),
    }
}

fn receive_copy(fd: usize) -> io::Result<Received> {
    const SYS_RECVFROM: usize = 45;
    let mut bytes = vec![0; COPY_LEN];
    let arguments = [fd, bytes.as_mut_ptr().expose_provenance(), bytes.len(), 0, 0, 0];
    // SAFETY: the bytes may be written.
    let len = checked(unsafe { system_call(SYS_RECVFROM, arguments) })?;
    bytes.truncate(len);
    Ok(Received(Kind::Copied(bytes)))
}
