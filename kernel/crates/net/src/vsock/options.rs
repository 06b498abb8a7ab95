//! [`Settings`]: the options of level `AF_VSOCK`.

use alloc::vec::Vec;

use abi::socket::{
    AF_VSOCK, SO_RCVLOWAT, SO_VM_SOCKETS_BUFFER_MAX_SIZE, SO_VM_SOCKETS_BUFFER_MIN_SIZE, SO_VM_SOCKETS_BUFFER_SIZE,
    SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW, SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD, SOL_SOCKET,
};
use abi::{Errno, Timeval};
use zerocopy::{FromBytes, IntoBytes};

use super::packet::{Kind, Operation};
use super::socket::VsockSocket;
use super::waiting::Cause;

/// Linux's defaults.
const BUFFER_DEFAULT: u64 = 256 * 1024;
const BUFFER_MIN_DEFAULT: u64 = 128;
const CONNECT_TIMEOUT_DEFAULT_NS: u64 = 2_000_000_000;
/// The largest buffer that counts can speak of.
const BUFFER_MAX: u64 = u32::MAX as u64;

/// What a program has set, which a listener's connections inherit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    buffer: u64,
    buffer_min: u64,
    buffer_max: u64,
    /// How long `connect` waits.
    pub(super) connect_timeout_ns: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            buffer: BUFFER_DEFAULT,
            buffer_min: BUFFER_MIN_DEFAULT,
            buffer_max: BUFFER_DEFAULT,
            connect_timeout_ns: CONNECT_TIMEOUT_DEFAULT_NS,
        }
    }
}

impl Settings {
    /// The room that packets tell of.
    pub(super) fn buffer(&self) -> u32 {
        u32::try_from(self.buffer).unwrap_or(u32::MAX)
    }

    /// Sets the room, as far as the bounds let it. The upper one wins, as on Linux since 6.18.
    fn set_buffer(&mut self, wanted: u64) {
        self.buffer = wanted.max(self.buffer_min).min(self.buffer_max).min(BUFFER_MAX);
    }

    fn set(&mut self, option: i32, value: &[u8]) -> Result<(), Errno> {
        let number = || value.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes)).ok_or(Errno::EINVAL);
        match option {
            SO_VM_SOCKETS_BUFFER_SIZE => self.set_buffer(number()?),
            SO_VM_SOCKETS_BUFFER_MAX_SIZE => {
                self.buffer_max = number()?;
                self.set_buffer(self.buffer);
            }
            SO_VM_SOCKETS_BUFFER_MIN_SIZE => {
                self.buffer_min = number()?;
                self.set_buffer(self.buffer);
            }
            SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD | SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW => {
                let (timeout, _) = Timeval::read_from_prefix(value).map_err(|_| Errno::EINVAL)?;
                if timeout.tv_sec < 0 || !(0..1_000_000).contains(&timeout.tv_usec) {
                    return Err(Errno::ERANGE);
                }
                let timeout_ns = timeout.to_nanoseconds().ok_or(Errno::ERANGE)?;
                self.connect_timeout_ns = if timeout_ns == 0 { CONNECT_TIMEOUT_DEFAULT_NS } else { timeout_ns };
            }
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    /// The value of an option; `wanted` is the room for it, which must do.
    pub(super) fn option(&self, level: i32, option: i32, wanted: usize) -> Result<Vec<u8>, Errno> {
        if level != i32::from(AF_VSOCK) {
            return Err(Errno::ENOPROTOOPT);
        }
        let number = |value: u64| value.to_ne_bytes().to_vec();
        let value = match option {
            SO_VM_SOCKETS_BUFFER_SIZE => number(self.buffer),
            SO_VM_SOCKETS_BUFFER_MAX_SIZE => number(self.buffer_max),
            SO_VM_SOCKETS_BUFFER_MIN_SIZE => number(self.buffer_min),
            SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD | SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW => {
                let timeout_ns = i64::try_from(self.connect_timeout_ns).unwrap_or(i64::MAX);
                Timeval::from_nanoseconds(timeout_ns).as_bytes().to_vec()
            }
            _ => return Err(Errno::ENOPROTOOPT),
        };
        if wanted < value.len() { Err(Errno::EINVAL) } else { Ok(value) }
    }
}

impl VsockSocket {
    /// Sets an option; the peer hears of another buffer.
    pub(super) fn set_vsock_option(&self, level: i32, option: i32, value: &[u8]) -> Result<(), Errno> {
        let mut inner = self.lock();
        if level == SOL_SOCKET && option == SO_RCVLOWAT && self.kind == Kind::Stream {
            let wanted = value.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
            let is_possible = u32::try_from(wanted).is_ok_and(|wanted| wanted <= inner.settings.buffer());
            return if is_possible { Ok(()) } else { Err(Errno::EINVAL) };
        }
        if level != i32::from(AF_VSOCK) {
            return Err(Errno::ENOPROTOOPT);
        }
        inner.settings.set(option, value)?;
        let buffer = inner.settings.buffer();
        let Some(connection) = inner.connection.as_mut().filter(|connection| !connection.is_over()) else {
            return Ok(());
        };
        let is_news = connection.credit.set_buffer(buffer) && connection.is_established();
        if is_news && self.vsock().has_room(inner.route) {
            self.post(&mut inner, Operation::CreditUpdate, 0, Cause::Call);
            self.finish(inner);
        }
        Ok(())
    }
}
