//! Sending and receiving messages: `sendto`, `sendmsg`, `sendmmsg` and their opposites.

use alloc::vec::Vec;
use core::mem::offset_of;

use abi::io::RW_COUNT_MAX;
use abi::socket::{AF_INET, AF_INET6, MMSG_COUNT_MAX, Mmsghdr, Msghdr, SOCKADDR_STORAGE_LEN};
use abi::{Errno, Fd, Timespec, UserPtr};
use mm::user::{IOVEC_COUNT_MAX, IovecBuffer, UserReader, UserWriter, read_user_struct, write_user_struct};
use net::socket::{Address, MessageFlags, Received, SendRequest};
use sync::machine::{self, NEVER};

use crate::SyscallResult;
use crate::error::SyscallError;
use crate::socket::address::{self, Purpose};
use crate::socket::control::{self, ControlWriter};
use crate::socket::transfer::{receive, send};
use crate::socket::{OpenSocket, caller};
use crate::thread::Thread;

/// `MSG_CMSG_COMPAT`: for the kernel's own use.
const COMPAT: u32 = 0x8000_0000;

/// The flags of a call that takes a `struct msghdr`.
fn message_flags(flags: u32) -> Result<MessageFlags, Errno> {
    if flags & COMPAT != 0 { Err(Errno::EINVAL) } else { Ok(MessageFlags::from_bits_retain(flags)) }
}

/// The buffers of a message.
fn iovecs<'a>(header: &Msghdr, buffer: &'a mut IovecBuffer) -> Result<&'a [abi::Iovec], Errno> {
    if header.msg_iovlen > IOVEC_COUNT_MAX {
        return Err(Errno::EMSGSIZE);
    }
    buffer.read(header.msg_iov, header.msg_iovlen)
}

/// The length of the name in a header; longer than any is as long as the longest.
fn name_len(header: &Msghdr) -> Result<u32, Errno> {
    let len = u32::try_from(header.msg_namelen).map_err(|_| Errno::EINVAL)?;
    Ok(len.min(u32::try_from(SOCKADDR_STORAGE_LEN).unwrap_or(u32::MAX)))
}

// ---- Sending --------------------------------------------------------------------------------------------------------

pub(crate) fn sendto(
    thread: &Thread,
    fd: Fd,
    buffer: UserPtr,
    count: usize,
    flags: u32,
    address: UserPtr,
    length: u32,
) -> SyscallResult {
    let mut from = UserReader::new(buffer.address(), count.min(RW_COUNT_MAX))?;
    let open = OpenSocket::get(thread, fd)?;
    let socket = open.socket();
    let address = match address.non_null() {
        Some(pointer) => read_destination(thread, &open, (pointer, length), MessageFlags::from_bits_retain(flags))?,
        None => None,
    };
    let mut request = SendRequest {
        from: &mut from,
        address: address.as_ref(),
        control: &mut Vec::new(),
        flags: MessageFlags::from_bits_retain(flags),
        caller: &caller(thread),
    };
    send(thread, open.open(), socket, &mut request)
}

/// The destination of a message. An address of no bytes is none.
fn read_destination(
    thread: &Thread,
    open: &OpenSocket,
    (pointer, len): (UserPtr, u32),
    flags: MessageFlags,
) -> Result<Option<Address>, Errno> {
    let bytes = address::read_bytes(pointer, len)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let kind = open.socket().kind();
    if kind.kind == abi::socket::SOCK_DGRAM || kind.kind == abi::socket::SOCK_RAW {
        return address::parse(thread, kind, &bytes, Purpose::Send).map(Some);
    }
    let is_inet = [AF_INET, AF_INET6].map(i32::from).contains(&kind.domain);
    if is_inet && flags.contains(MessageFlags::FASTOPEN) {
        return address::parse(thread, kind, &bytes, Purpose::Connect).map(Some);
    }
    // Other sockets with connections do not look at what it says.
    Ok(Some(Address::Unspecified))
}

/// Sends the message that a `struct msghdr` describes.
fn send_message(thread: &Thread, open: &OpenSocket, message: usize, flags: MessageFlags) -> Result<Sent, SyscallError> {
    let header: Msghdr = read_user_struct(message)?;
    let name_len = name_len(&header)?;
    let address = match UserPtr(header.msg_name).non_null().filter(|_| name_len > 0) {
        Some(pointer) => Some(address::read_bytes(pointer, name_len).map(|bytes| (pointer, bytes))?),
        None => None,
    };
    let mut buffer = IovecBuffer::new();
    let mut from = UserReader::from_iovecs(iovecs(&header, &mut buffer)?)?;
    let socket = open.socket();
    let mut control = control::read(thread, socket.kind(), header.msg_control, header.msg_controllen)?;
    let address = match address {
        Some((pointer, _)) => read_destination(thread, open, (pointer, name_len), flags)?,
        None => None,
    };
    let caller = caller(thread);
    let mut request =
        SendRequest { from: &mut from, address: address.as_ref(), control: &mut control, flags, caller: &caller };
    let len = send(thread, open.open(), socket, &mut request)?;
    Ok(Sent { len, is_whole: from.is_empty() })
}

/// A message that was sent, or its beginning.
struct Sent {
    len: usize,
    is_whole: bool,
}

pub(crate) fn sendmsg(thread: &Thread, fd: Fd, message: UserPtr, flags: u32) -> SyscallResult {
    let flags = message_flags(flags)?;
    let open = OpenSocket::get(thread, fd)?;
    send_message(thread, &open, message.address(), flags).map(|sent| sent.len)
}

pub(crate) fn sendmmsg(thread: &Thread, fd: Fd, messages: UserPtr, count: u32, flags: u32) -> SyscallResult {
    let flags = message_flags(flags)?;
    let open = OpenSocket::get(thread, fd)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(MMSG_COUNT_MAX);
    let mut done = 0;
    while done < count {
        let at = element(messages, done)?;
        let sent = match send_message(thread, &open, at, flags) {
            Ok(sent) => sent,
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        };
        match write_len(at, sent.len) {
            Err(_) if done > 0 => break,
            result => result?,
        }
        done += 1;
        if !sent.is_whole || thread.is_interrupted() {
            break;
        }
    }
    Ok(done)
}

/// The address of one of several messages.
fn element(messages: UserPtr, index: usize) -> Result<usize, Errno> {
    messages.checked_add(index * size_of::<Mmsghdr>()).map(UserPtr::address).ok_or(Errno::EFAULT)
}

/// Tells the length of one of several messages.
fn write_len(message: usize, len: usize) -> Result<(), Errno> {
    write_user_struct(message + offset_of!(Mmsghdr, msg_len), &u32::try_from(len).unwrap_or(u32::MAX))
}

// ---- Receiving ------------------------------------------------------------------------------------------------------

pub(crate) fn recvfrom(
    thread: &Thread,
    fd: Fd,
    buffer: UserPtr,
    count: usize,
    flags: u32,
    address: UserPtr,
    length: UserPtr,
) -> SyscallResult {
    let mut to = UserWriter::new(buffer.address(), count.min(RW_COUNT_MAX))?;
    let open = OpenSocket::get(thread, fd)?;
    let socket = open.socket();
    let flags = MessageFlags::from_bits_retain(flags);
    let received = receive(thread, open.open(), socket, &mut to, flags, false)?;
    if !address.is_null() {
        address::write(&sender(&open, &received), address, length.address())?;
    }
    Ok(received.len)
}

/// The bytes of the sender's address; none if it is not known.
fn sender(open: &OpenSocket, received: &Received) -> Vec<u8> {
    received.address.as_ref().map_or_else(Vec::new, |address| address::to_bytes(open.socket().kind(), address))
}

/// Receives a message where a `struct msghdr` says. Answers its length and flags.
fn receive_message(
    thread: &Thread,
    open: &OpenSocket,
    message: usize,
    flags: MessageFlags,
) -> Result<(usize, MessageFlags), SyscallError> {
    let header: Msghdr = read_user_struct(message)?;
    name_len(&header)?;
    let mut buffer = IovecBuffer::new();
    let mut to = UserWriter::from_iovecs(iovecs(&header, &mut buffer)?)?;
    let socket = open.socket();
    // Without room for it as well: that something was left out is told.
    let received = receive(thread, open.open(), socket, &mut to, flags, true)?;
    let closes_on_exec = flags.contains(MessageFlags::CMSG_CLOEXEC);
    let mut control = ControlWriter::new(thread, header.msg_control, header.msg_controllen, closes_on_exec);
    let name = sender(open, &received);
    let Received { len, control: messages, flags: found, .. } = received;
    control.write_all(socket, messages);
    if let Some(pointer) = UserPtr(header.msg_name).non_null() {
        address::write(&name, pointer, message + offset_of!(Msghdr, msg_namelen))?;
    }
    let shown = found | control.flags | (flags & MessageFlags::CMSG_CLOEXEC);
    write_user_struct(message + offset_of!(Msghdr, msg_flags), &shown.bits())?;
    write_user_struct(message + offset_of!(Msghdr, msg_controllen), &control.used)?;
    Ok((len, found))
}

pub(crate) fn recvmsg(thread: &Thread, fd: Fd, message: UserPtr, flags: u32) -> SyscallResult {
    let flags = message_flags(flags)?;
    let open = OpenSocket::get(thread, fd)?;
    receive_message(thread, &open, message.address(), flags).map(|(len, _)| len)
}

pub(crate) fn recvmmsg(
    thread: &Thread,
    fd: Fd,
    messages: UserPtr,
    count: u32,
    flags: u32,
    timeout: UserPtr,
) -> SyscallResult {
    let mut flags = message_flags(flags)?;
    let deadline_ns = match timeout.non_null() {
        Some(pointer) => {
            let timeout: Timespec = read_user_struct(pointer.address())?;
            let timeout_ns = timeout.to_nanoseconds().ok_or(Errno::EINVAL)?;
            Some(machine::now_ns().saturating_add(timeout_ns))
        }
        None => None,
    };
    let open = OpenSocket::get(thread, fd)?;
    let ends_with_first = flags.contains(MessageFlags::WAITFORONE);
    flags.remove(MessageFlags::WAITFORONE);
    if !flags.contains(MessageFlags::ERRQUEUE)
        && let Some(errno) = open.socket().take_error()
    {
        return Err(errno.into());
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut done = 0;
    while done < count {
        let at = element(messages, done)?;
        let (len, found) = match receive_message(thread, &open, at, flags) {
            Ok(received) => received,
            Err(error) if done > 0 => {
                // The next call tells of it.
                if let SyscallError::Errno(errno) = error
                    && errno != Errno::EAGAIN
                {
                    open.socket().set_error(errno);
                }
                break;
            }
            Err(error) => return Err(error),
        };
        match write_len(at, len) {
            Err(_) if done > 0 => break,
            result => result?,
        }
        done += 1;
        if ends_with_first {
            flags |= MessageFlags::DONTWAIT;
        }
        let is_over = machine::now_ns() >= deadline_ns.unwrap_or(NEVER);
        if is_over || found.contains(MessageFlags::OOB) || thread.is_interrupted() {
            break;
        }
    }
    if let (Some(pointer), Some(deadline_ns)) = (timeout.non_null(), deadline_ns)
        && done > 0
    {
        let left_ns = i64::try_from(deadline_ns.saturating_sub(machine::now_ns())).unwrap_or(i64::MAX);
        write_user_struct(pointer.address(), &Timespec::from_nanoseconds(left_ns))?;
    }
    Ok(done)
}
