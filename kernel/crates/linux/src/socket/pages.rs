//! Sending pages of a file on a socket: `sendfile` without copies.
//!
//! The socket refers to the pages until they are acknowledged. What is written to the file meanwhile may be sent in place of what was
//! there, as on Linux.

use alloc::vec::Vec;

use abi::{Errno, PollEvents};
use file::{OpenFile, Progress};
use mm::PAGE_SIZE;
use net::frame::Piece;
use net::socket::{MessageFlags, SocketFile};

use super::transfer::send_patience;
use crate::SyscallResult;
use crate::lookup::file_as;
use crate::signal::broken_pipe;
use crate::thread::Thread;

/// Pages that are given to a socket at once.
const PAGES_MAX: usize = 16;

/// Sends up to `count` bytes of `input` from `position` on. None: the socket does not take pages, or the file has none.
pub(crate) fn send(
    thread: &Thread,
    input: &OpenFile,
    position: u64,
    output: &OpenFile,
    count: usize,
) -> Option<SyscallResult> {
    let socket = file_as::<SocketFile>(output)?.socket();
    if !socket.takes_pages() {
        return None;
    }
    let pages = input.file().mapping(input).ok()?;
    let size = input.file().attributes().ok()?.size;
    let left = usize::try_from(size.saturating_sub(position)).unwrap_or(usize::MAX);
    let count = count.min(left).min(abi::io::RW_COUNT_MAX);
    let mut patience = send_patience(output, &**socket, MessageFlags::empty());
    let mut done = 0;
    while done < count {
        let gathered = gather(&*pages, position.saturating_add(done as u64), count - done);
        let pieces = match gathered {
            Ok(pieces) => pieces,
            Err(_) if done > 0 => break,
            Err(errno) => return Some(Err(errno.into())),
        };
        let has_more = pieces.iter().map(Piece::len).sum::<usize>() < count - done;
        let attempt = || match socket.send_pages(&pieces, has_more)? {
            Progress::Done(count) => Ok(Some(count)),
            Progress::WouldBlock => Ok(None),
        };
        let sent = match attempt() {
            Ok(Some(sent)) => Ok(sent),
            Ok(None) => patience.wait(thread, output, PollEvents::WRITABLE, attempt),
            Err(errno) => Err(errno.into()),
        };
        match sent {
            Ok(sent) => done += sent,
            Err(_) if done > 0 => break,
            Err(crate::error::SyscallError::Errno(Errno::EPIPE)) => return Some(Err(broken_pipe(thread))),
            Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(done))
}

/// The pages of up to `count` bytes from `position` on.
fn gather(pages: &dyn mm::MappedObject, position: u64, count: usize) -> Result<Vec<Piece>, Errno> {
    let page_size = PAGE_SIZE as u64;
    let mut pieces = Vec::with_capacity(PAGES_MAX);
    let mut left = count;
    let mut at = position;
    while left > 0 && pieces.len() < PAGES_MAX {
        let page = match pages.page(at / page_size) {
            Ok(page) => page,
            // The file has become shorter meanwhile, or memory has run out.
            Err(_) if !pieces.is_empty() => break,
            Err(errno) => return Err(if errno == Errno::EFAULT { Errno::EIO } else { errno }),
        };
        let start = usize::try_from(at % page_size).unwrap_or(0);
        let len = left.min(PAGE_SIZE - start);
        pieces.push(Piece::Frame(page, start..start + len));
        at = at.saturating_add(len as u64);
        left -= len;
    }
    Ok(pieces)
}
