//! Receiving without a copy: the program is told where the bytes lie, reads them there, and gives them back.
//!
//! Program and kernel share their addresses, so what is lent is nothing but a pointer to memory of the kernel and its
//! length. What keeps the kernel whole is in [`net::loan`]; how many loans there may be, in [`super::loans`].

use abi::native::{RECEIVED_PIECES_MAX, ReceivedPiece};
use abi::{Errno, Fd, PollEvents, UserPtr};
use core::mem::offset_of;
use mm::user::{UserWriter, read_user_struct};
use net::loan::{Lent, Loan};
use net::socket::MessageFlags;

use super::loans::Room;
use crate::SyscallResult;
use crate::socket::transfer::receive_patience;
use crate::socket::{OpenSocket, address};
use crate::thread::Thread;

/// Lends what a socket has received, in up to `count` pieces that are described at `pieces`; answers how many. 0 at the
/// end of a stream, and for an empty datagram. Waits as `recvfrom` does. `ENOBUFS` when the process has too many loans
/// already.
pub(super) fn receive_in_place(
    thread: &Thread,
    fd: Fd,
    pieces: UserPtr,
    count: usize,
    address: UserPtr,
    address_length: UserPtr,
    flags: u32,
) -> SyscallResult {
    let flags = MessageFlags::from_bits_retain(flags);
    if !MessageFlags::DONTWAIT.contains(flags) || count == 0 {
        return Err(Errno::EINVAL.into());
    }
    let count = count.min(RECEIVED_PIECES_MAX);
    let mut writer = UserWriter::new(pieces.address(), count * size_of::<ReceivedPiece>())?;
    let open = OpenSocket::get(thread, fd)?;
    let socket = open.socket();
    let loans = &thread.process().loans;
    // Nothing is received that there is no room for. Who waits has taken none.
    let attempt = || {
        let room = loans.reserve(count)?;
        Ok(socket.lend(count)?.map(|lent| (lent, room)))
    };
    let (lent, room): (Lent, Room<'_>) = match attempt()? {
        Some(received) => received,
        None => {
            receive_patience(open.open(), socket, flags).wait(thread, open.open(), PollEvents::READABLE, attempt)?
        }
    };
    let sender = lent.address.as_ref().map_or_else(Default::default, |sender| address::to_bytes(socket.kind(), sender));
    let places: alloc::vec::Vec<_> =
        lent.loans.iter().map(|loan| (loan.bytes().as_ptr().addr(), loan.bytes().len())).collect();
    let numbers = room.fill(lent.loans);
    let mut tell = || {
        for ((place, length), number) in places.iter().zip(&numbers) {
            let piece = ReceivedPiece { address: *place as u64, length: *length as u64, loan: *number };
            writer.write_struct(&piece)?;
        }
        if address.is_null() { Ok(()) } else { address::write(&sender, address, address_length.address()) }
    };
    match tell() {
        Ok(()) => Ok(numbers.len()),
        Err(errno) => {
            // The program cannot give back what it does not know of.
            numbers.iter().for_each(|number| drop(loans.take(*number)));
            Err(errno.into())
        }
    }
}

/// Ends the loans that an array of `count` pieces names; answers how many. `EINVAL` for one that is none, or no more.
pub(super) fn give_back(thread: &Thread, pieces: UserPtr, count: usize) -> SyscallResult {
    for index in 0..count {
        let number = index
            .checked_mul(size_of::<ReceivedPiece>())
            .and_then(|offset| pieces.address().checked_add(offset)?.checked_add(offset_of!(ReceivedPiece, loan)))
            .ok_or(Errno::EFAULT)
            .and_then(read_user_struct);
        match number.and_then(|number| thread.process().loans.take(number)) {
            Ok(loan) => drop::<Loan>(loan),
            Err(errno) if index == 0 => return Err(errno.into()),
            Err(_) => return Ok(index),
        }
    }
    Ok(count)
}
