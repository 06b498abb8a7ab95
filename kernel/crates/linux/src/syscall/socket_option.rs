//! `getsockopt` and `setsockopt`: what all sockets have is done here, the rest is the socket's.

use alloc::vec::Vec;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;

use abi::interface::IFNAMSIZ;
use abi::socket::*;
use abi::{Errno, Fd, Timeval, UserPtr};
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};
use net::settings::{RECEIVE_BUFFER_MAX, SEND_BUFFER_MAX};
use net::socket::options::{Rare, SocketOptions};
use net::socket::{Caller, OPTION_LEN_MAX, Socket};
use net::tcp::engine;
use sync::machine::NEVER;
use zerocopy::{FromBytes, IntoBytes};

use crate::SyscallResult;
use crate::socket::{OpenSocket, address, caller};
use crate::thread::Thread;

/// The least a send buffer holds, as Linux has it.
const SEND_BUFFER_MIN: u32 = 4608;
/// The least a receive buffer holds.
const RECEIVE_BUFFER_MIN: u32 = 2304;
/// The most a buffer is set to.
const BUFFER_FORCED_MAX: u32 = i32::MAX as u32 / 2;
/// The largest priority that needs no privilege.
const PRIORITY_FREE_MAX: i32 = 6;
/// Bits of `SO_BUF_LOCK`: which buffers keep the size they have (`SOCK_SNDBUF_LOCK`, `SOCK_RCVBUF_LOCK`).
const LOCKS_SEND: u32 = 1;
const LOCKS_RECEIVE: u32 = 2;
const BUF_LOCKS: u32 = LOCKS_SEND | LOCKS_RECEIVE;
/// The bytes of an `int`.
const INT_LEN: usize = size_of::<i32>();

// ---- Setting --------------------------------------------------------------------------------------------------------

pub(crate) fn setsockopt(
    thread: &Thread,
    fd: Fd,
    level: i32,
    option: i32,
    value: UserPtr,
    length: i32,
) -> SyscallResult {
    let len = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
    let open = OpenSocket::get(thread, fd)?;
    let caller = caller(thread);
    let mut bytes = alloc::vec![0; len.min(OPTION_LEN_MAX)];
    if !bytes.is_empty() {
        UserReader::new(value.address(), bytes.len())?.read_exact(&mut bytes)?;
    }
    if level == SOL_SOCKET {
        set_common(thread, open.socket(), option, &bytes, &caller)?;
    } else {
        open.socket().set_option(level, option, &bytes, &caller)?;
    }
    Ok(0)
}

/// The option as a flag, if it is one that only has to be kept.
fn flag_of(options: &SocketOptions, option: i32) -> Option<&AtomicBool> {
    match option {
        SO_REUSEADDR => Some(&options.reuse_address),
        SO_REUSEPORT => Some(&options.reuse_port),
        SO_KEEPALIVE => Some(&options.keepalive),
        SO_BROADCAST => Some(&options.broadcast),
        SO_DONTROUTE => Some(&options.dont_route),
        SO_OOBINLINE => Some(&options.oob_inline),
        SO_PASSCRED => Some(&options.pass_credentials),
        _ => None,
    }
}

/// Whether an option of all sockets is refused by those of this domain.
fn is_of_another_domain(socket: &dyn Socket, option: i32, is_on: bool) -> bool {
    let domain = socket.kind().domain;
    let is_inet = [AF_INET, AF_INET6].iter().any(|inet| i32::from(*inet) == domain);
    let is_raw = domain == i32::from(AF_NETLINK) || (is_inet && socket.kind().kind == SOCK_RAW);
    let is_vsock = domain == i32::from(AF_VSOCK);
    match option {
        SO_PASSCRED | SO_PASSSEC => is_inet || is_vsock,
        SO_REUSEPORT => !is_inet && is_on,
        SO_PEEK_OFF => is_raw || is_vsock,
        _ => false,
    }
}

fn set_common(thread: &Thread, socket: &dyn Socket, option: i32, bytes: &[u8], caller: &Caller) -> Result<(), Errno> {
    let options = socket.options();
    if option == SO_BINDTODEVICE {
        return bind_to_device(thread, options, bytes);
    }
    let value = i32::from_ne_bytes(*bytes.first_chunk::<INT_LEN>().ok_or(Errno::EINVAL)?);
    if is_of_another_domain(socket, option, value != 0) {
        return Err(Errno::EOPNOTSUPP);
    }
    if let Some(flag) = flag_of(options, option) {
        flag.store(value != 0, Relaxed);
        return after_setting(socket, option, bytes, caller);
    }
    if option == SO_DEBUG && value != 0 && !caller.is_network_admin {
        return Err(Errno::EACCES);
    }
    if let Some(rare) = Rare::of(option) {
        options.set(rare, value != 0);
        return Ok(());
    }
    match option {
        SO_TYPE | SO_PROTOCOL | SO_DOMAIN | SO_ERROR | SO_SNDLOWAT => return Err(Errno::ENOPROTOOPT),
        // Ways are looked up anew whenever they may have changed; an advice about one changes nothing.
        SO_BSDCOMPAT | SO_CNX_ADVICE => {}
        // There is none.
        SO_DETACH_FILTER => return Err(Errno::ENOENT),
        SO_PEEK_OFF => options.peek_offset.store(value, Relaxed),
        SO_BUF_LOCK => {
            let locks = u32::try_from(value).ok().filter(|locks| *locks <= BUF_LOCKS).ok_or(Errno::EINVAL)?;
            options.is_send_buffer_set.store(locks & LOCKS_SEND != 0, Relaxed);
            options.is_receive_buffer_set.store(locks & LOCKS_RECEIVE != 0, Relaxed);
        }
        SO_SNDBUF => set_buffer(options, true, value.cast_unsigned().min(SEND_BUFFER_MAX.get())),
        SO_RCVBUF => set_buffer(options, false, value.cast_unsigned().min(RECEIVE_BUFFER_MAX.get())),
        SO_SNDBUFFORCE | SO_RCVBUFFORCE => {
            if !caller.is_network_admin {
                return Err(Errno::EPERM);
            }
            set_buffer(options, option == SO_SNDBUFFORCE, value.max(0).cast_unsigned());
        }
        SO_PRIORITY => {
            if !(0..=PRIORITY_FREE_MAX).contains(&value) && !caller.is_network_admin {
                return Err(Errno::EPERM);
            }
            options.priority.store(value.cast_unsigned(), Relaxed);
        }
        SO_LINGER => {
            let (linger, _) = Linger::read_from_prefix(bytes).map_err(|_| Errno::EINVAL)?;
            // A negative time is a very long one.
            options.set_linger((linger.l_onoff != 0).then_some(linger.l_linger.cast_unsigned()));
        }
        SO_TIMESTAMP | SO_TIMESTAMP_NEW => options.timestamp.store(u32::from(value != 0), Relaxed),
        SO_TIMESTAMPNS | SO_TIMESTAMPNS_NEW => options.timestamp.store(if value != 0 { 2 } else { 0 }, Relaxed),
        SO_RCVLOWAT => {
            let value = if value < 0 { i32::MAX } else { value.max(1) };
            if socket.kind().domain == i32::from(AF_VSOCK) {
                // As on Linux it refuses more than it has room for, and changes nothing then.
                after_setting(socket, option, &value.to_ne_bytes(), caller)?;
            }
            options.receive_low_water.store(value.min(low_water_max(socket)), Relaxed);
        }
        SO_RCVTIMEO | SO_RCVTIMEO_NEW => options.receive_timeout_ns.store(read_timeout(bytes)?, Relaxed),
        SO_SNDTIMEO | SO_SNDTIMEO_NEW => options.send_timeout_ns.store(read_timeout(bytes)?, Relaxed),
        SO_MARK => {
            if !caller.is_network_admin {
                return Err(Errno::EPERM);
            }
            options.mark.store(value.cast_unsigned(), Relaxed);
        }
        SO_BUSY_POLL => {
            let value = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
            if value > options.busy_poll_us.load(Relaxed) && !caller.is_network_admin {
                return Err(Errno::EPERM);
            }
            options.busy_poll_us.store(value, Relaxed);
        }
        SO_INCOMING_CPU => options.incoming_cpu.store(value, Relaxed),
        SO_MAX_PACING_RATE => options.pacing_rate_max.store(read_rate(bytes, value), Relaxed),
        SO_BINDTOIFINDEX => {
            let index = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
            options.bound_interface.store(index, Relaxed);
        }
        _ => return socket.set_option(SOL_SOCKET, option, bytes, caller),
    }
    after_setting(socket, option, bytes, caller)
}

/// What `SO_RCVLOWAT` sets at most: of TCP what its buffer, or the largest that it grows to, has room for.
fn low_water_max(socket: &dyn Socket) -> i32 {
    if socket.kind().protocol != IPPROTO_TCP {
        return i32::MAX;
    }
    let options = socket.options();
    let is_set = options.is_receive_buffer_set.load(Relaxed);
    let buffer = if is_set { options.receive_buffer.load(Relaxed) as usize } else { engine::RECEIVE_BUFFER_MAX };
    i32::try_from(buffer / 2).unwrap_or(i32::MAX)
}

/// Tells the socket of an option that was set here; what it does not care for is no error.
fn after_setting(socket: &dyn Socket, option: i32, bytes: &[u8], caller: &Caller) -> Result<(), Errno> {
    match socket.set_option(SOL_SOCKET, option, bytes, caller) {
        Err(Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) => Ok(()),
        result => result,
    }
}

/// Sets the size of a buffer: twice what is asked for, as half of it goes to what keeps the data.
fn set_buffer(options: &SocketOptions, is_send: bool, value: u32) {
    let doubled = value.min(BUFFER_FORCED_MAX) * 2;
    if is_send {
        options.send_buffer.store(doubled.max(SEND_BUFFER_MIN), Relaxed);
        options.is_send_buffer_set.store(true, Relaxed);
    } else {
        options.receive_buffer.store(doubled.max(RECEIVE_BUFFER_MIN), Relaxed);
        options.is_receive_buffer_set.store(true, Relaxed);
    }
}

/// A time-out: zero stands for none, a negative one for not waiting.
fn read_timeout(bytes: &[u8]) -> Result<u64, Errno> {
    let (timeout, _) = Timeval::read_from_prefix(bytes).map_err(|_| Errno::EINVAL)?;
    if !(0..1_000_000).contains(&timeout.tv_usec) {
        return Err(Errno::EDOM);
    }
    if timeout.tv_sec < 0 {
        return Ok(0);
    }
    match timeout.to_nanoseconds() {
        Some(0) | None => Ok(NEVER),
        Some(timeout_ns) => Ok(timeout_ns),
    }
}

/// A rate in bytes each second: an `unsigned long`, or an `int` of which -1 stands for none.
fn read_rate(bytes: &[u8], value: i32) -> u64 {
    match bytes.first_chunk() {
        Some(long) => u64::from_ne_bytes(*long),
        None if value == -1 => u64::MAX,
        None => value.cast_unsigned().into(),
    }
}

/// `SO_BINDTODEVICE`: an interface by its name; none takes the bond away.
fn bind_to_device(thread: &Thread, options: &SocketOptions, bytes: &[u8]) -> Result<(), Errno> {
    let name = &bytes[..bytes.len().min(IFNAMSIZ - 1)];
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let index = if name.is_empty() {
        0
    } else {
        let interfaces = thread.process().system().network().interfaces().snapshot();
        interfaces.interfaces().iter().find(|one| one.name().as_bytes() == name).ok_or(Errno::ENODEV)?.index()
    };
    options.bound_interface.store(index, Relaxed);
    Ok(())
}

// ---- Getting --------------------------------------------------------------------------------------------------------

pub(crate) fn getsockopt(
    thread: &Thread,
    fd: Fd,
    level: i32,
    option: i32,
    value: UserPtr,
    length: UserPtr,
) -> SyscallResult {
    let open = OpenSocket::get(thread, fd)?;
    let wanted: i32 = read_user_struct(length.address())?;
    let wanted = usize::try_from(wanted).map_err(|_| Errno::EINVAL)?;
    let socket = open.socket();
    let bytes = match level {
        SOL_SOCKET => common(thread, (socket, open.inode()), option, wanted, value)?,
        _ => socket.option(level, option, wanted, &read_argument(value, wanted))?,
    };
    if (level, option) == (SOL_SOCKET, SO_PEERGROUPS) && bytes.len() > wanted {
        // Part of them would be none; the program is told how much room it needs.
        write_user_struct(length.address(), &i32::try_from(bytes.len()).unwrap_or(i32::MAX))?;
        return Err(Errno::ERANGE.into());
    }
    let part = &bytes[..bytes.len().min(wanted)];
    if !part.is_empty() {
        UserWriter::new(value.address(), part.len())?.write_all(part)?;
    }
    write_user_struct(length.address(), &i32::try_from(part.len()).unwrap_or(i32::MAX))?;
    Ok(0)
}

/// What the program has where the value goes, as far as it can be read: a few options read it.
fn read_argument(value: UserPtr, wanted: usize) -> Vec<u8> {
    /// No option reads more.
    const ARGUMENT_LEN_MAX: usize = 256;
    let mut bytes = alloc::vec![0; wanted.min(ARGUMENT_LEN_MAX)];
    let read = UserReader::new(value.address(), bytes.len()).and_then(|mut reader| reader.read(&mut bytes));
    bytes.truncate(read.unwrap_or(0));
    bytes
}

fn common(
    thread: &Thread,
    (socket, inode): (&dyn Socket, u64),
    option: i32,
    wanted: usize,
    argument: UserPtr,
) -> Result<Vec<u8>, Errno> {
    let (options, kind) = (socket.options(), socket.kind());
    if is_of_another_domain(socket, option, false) {
        return Err(Errno::EOPNOTSUPP);
    }
    if let Some(flag) = flag_of(options, option) {
        return Ok(int(i32::from(flag.load(Relaxed))));
    }
    if let Some(rare) = Rare::of(option) {
        return Ok(int(i32::from(options.has(rare))));
    }
    let unsigned = |value: u32| int(value.cast_signed());
    Ok(match option {
        SO_TYPE => int(kind.kind),
        SO_DOMAIN => int(kind.domain),
        SO_PROTOCOL => int(kind.protocol),
        SO_ERROR => int(socket.take_error().map_or(0, |errno| i32::from(errno.raw()))),
        SO_ACCEPTCONN => int(i32::from(socket.is_listening())),
        SO_SNDBUF => unsigned(options.send_buffer.load(Relaxed)),
        SO_RCVBUF => unsigned(options.receive_buffer.load(Relaxed)),
        SO_SNDLOWAT => int(1),
        SO_RCVLOWAT => int(options.receive_low_water.load(Relaxed)),
        SO_PRIORITY => unsigned(options.priority.load(Relaxed)),
        SO_MARK => unsigned(options.mark.load(Relaxed)),
        SO_BUSY_POLL => unsigned(options.busy_poll_us.load(Relaxed)),
        SO_INCOMING_CPU => int(options.incoming_cpu.load(Relaxed)),
        SO_MAX_PACING_RATE => {
            let rate = options.pacing_rate_max.load(Relaxed);
            match wanted {
                ..8 => unsigned(u32::try_from(rate).unwrap_or(u32::MAX)),
                _ => rate.to_ne_bytes().to_vec(),
            }
        }
        SO_BINDTOIFINDEX => unsigned(options.bound_interface.load(Relaxed)),
        SO_BSDCOMPAT => int(0),
        // Packets come from no queue of a device that a program could poll.
        SO_INCOMING_NAPI_ID => int(0),
        SO_PEEK_OFF => int(options.peek_offset.load(Relaxed)),
        SO_BUF_LOCK => {
            let lock = |is_set: &AtomicBool, lock| if is_set.load(Relaxed) { lock } else { 0 };
            let send = lock(&options.is_send_buffer_set, LOCKS_SEND);
            unsigned(send | lock(&options.is_receive_buffer_set, LOCKS_RECEIVE))
        }
        SO_TIMESTAMP | SO_TIMESTAMP_NEW => int(i32::from(options.timestamp.load(Relaxed) == 1)),
        SO_TIMESTAMPNS | SO_TIMESTAMPNS_NEW => int(i32::from(options.timestamp.load(Relaxed) == 2)),
        SO_LINGER => {
            let (is_on, seconds) = (options.linger_seconds().is_some(), options.linger_time());
            Linger { l_onoff: i32::from(is_on), l_linger: seconds.cast_signed() }.as_bytes().to_vec()
        }
        SO_RCVTIMEO | SO_RCVTIMEO_NEW => timeout_bytes(options.receive_timeout_ns.load(Relaxed)),
        SO_SNDTIMEO | SO_SNDTIMEO_NEW => timeout_bytes(options.send_timeout_ns.load(Relaxed)),
        SO_PEERNAME => {
            let name = address::to_bytes(kind, &socket.peer_address()?);
            if name.len() < wanted {
                return Err(Errno::EINVAL);
            }
            name
        }
        SO_BINDTODEVICE => device_name(thread, options, wanted)?,
        SO_COOKIE if wanted < size_of::<u64>() => return Err(Errno::EINVAL),
        // No two sockets ever have the same.
        SO_COOKIE => inode.to_ne_bytes().to_vec(),
        // Nobody is at the other end whom this machine would know.
        SO_PEERCRED if kind.domain != i32::from(AF_UNIX) => {
            Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX }.as_bytes().to_vec()
        }
        SO_PEERGROUPS if kind.domain != i32::from(AF_UNIX) => return Err(Errno::ENODATA),
        // Without a security module there is nothing to tell.
        SO_PEERSEC => return Err(Errno::ENOPROTOOPT),
        _ => return socket.option(SOL_SOCKET, option, wanted, &read_argument(argument, wanted)),
    })
}

fn int(value: i32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

fn timeout_bytes(timeout_ns: u64) -> Vec<u8> {
    let timeout_ns = if timeout_ns == NEVER { 0 } else { i64::try_from(timeout_ns).unwrap_or(i64::MAX) };
    Timeval::from_nanoseconds(timeout_ns).as_bytes().to_vec()
}

/// The name of the interface a socket is bound to, with its closing zero; nothing when it is to none.
fn device_name(thread: &Thread, options: &SocketOptions, wanted: usize) -> Result<Vec<u8>, Errno> {
    let index = options.bound_interface.load(Relaxed);
    if index == 0 {
        return Ok(Vec::new());
    }
    if wanted < IFNAMSIZ {
        return Err(Errno::EINVAL);
    }
    let interfaces = thread.process().system().network().interfaces().snapshot();
    let interface = interfaces.interfaces().iter().find(|one| one.index() == index).ok_or(Errno::ENODEV)?;
    let mut name = interface.name().as_bytes().to_vec();
    name.push(0);
    Ok(name)
}
