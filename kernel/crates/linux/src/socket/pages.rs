//! Sending pages on a socket: `sendfile` and `splice` without copies.
//!
//! The socket refers to the pages until they are acknowledged. What is written to a file meanwhile may be sent in place
//! of what was there, as on Linux.

use alloc::vec::Vec;

use abi::{Errno, PollEvents};
use file::{OpenFile, Progress};
use mm::FramePiece;
use net::frame::Piece;
use net::socket::{MessageFlags, SocketFile};

use super::transfer::send_patience;
use crate::SyscallResult;
use crate::error::SyscallError;
use crate::lookup::file_as;
use crate::signal::broken_pipe;
use crate::thread::Thread;

/// Whether an open file is a socket that takes pages.
pub(crate) fn takes(output: &OpenFile) -> bool {
    file_as::<SocketFile>(output).is_some_and(|file| file.socket().takes_pages())
}

/// Sends pages, all of them unless an error or a signal comes, on a socket that [takes](takes) them. `has_more`: others
/// follow at once.
pub(crate) fn send(thread: &Thread, output: &OpenFile, pages: &[FramePiece], has_more: bool) -> SyscallResult {
    let socket = file_as::<SocketFile>(output).ok_or(Errno::ENOTSOCK)?.socket();
    let mut patience = send_patience(output, &**socket, MessageFlags::empty());
    let mut left: Vec<Piece> = pages.iter().map(as_piece).collect();
    let mut done = 0;
    while !left.is_empty() {
        let attempt = || match socket.send_pages(&left, has_more)? {
            Progress::Done(count) => Ok(Some(count)),
            Progress::WouldBlock => Ok(None),
        };
        let sent = match attempt() {
            Ok(Some(sent)) => Ok(sent),
            Ok(None) => patience.wait(thread, output, PollEvents::WRITABLE, attempt),
            Err(errno) => Err(errno.into()),
        };
        match sent {
            Ok(sent) => {
                done += sent;
                drop_sent(&mut left, sent);
            }
            Err(_) if done > 0 => break,
            Err(SyscallError::Errno(Errno::EPIPE)) => return Err(broken_pipe(thread)),
            Err(error) => return Err(error),
        }
    }
    thread.accounting().count_write(done);
    Ok(done)
}

fn as_piece(piece: &FramePiece) -> Piece {
    Piece::Frame(piece.frame().clone(), piece.offset()..piece.offset() + piece.len())
}

/// Drops the pieces that make up the first `len` bytes: a socket takes pieces whole.
fn drop_sent(pieces: &mut Vec<Piece>, len: usize) {
    let mut end = 0;
    let is_sent = |piece: &&Piece| {
        end += piece.len();
        end <= len
    };
    let count = pieces.iter().take_while(is_sent).count();
    pieces.drain(..count);
}
