//! What `/proc/sys/net` lets a program change of all sockets made from then on.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::ports::{EPHEMERAL_FIRST, EPHEMERAL_LAST};
use crate::socket::options::BUFFER_MAX;

/// A setting that is a number.
#[derive(Debug)]
pub struct Setting {
    value: AtomicU32,
    max: u32,
}

impl Setting {
    const fn new(value: u32, max: u32) -> Self {
        Self { value: AtomicU32::new(value), max }
    }

    /// Its value.
    pub fn get(&self) -> u32 {
        self.value.load(Relaxed)
    }

    /// Changes it; no when the value is out of range.
    #[must_use]
    pub fn set(&self, value: u32) -> bool {
        let is_allowed = value <= self.max;
        if is_allowed {
            self.value.store(value, Relaxed);
        }
        is_allowed
    }
}

/// The largest backlog of a listener (`net.core.somaxconn`). Each of its connections takes memory before anybody accepts it.
pub static BACKLOG_MAX: Setting = Setting::new(4096, u16::MAX as u32);
/// The first port that anybody may bind (`net.ipv4.ip_unprivileged_port_start`).
pub static UNPRIVILEGED_FIRST: Setting = Setting::new(1024, u16::MAX as u32);
/// The most that `SO_SNDBUF` sets without privilege, before it is doubled (`net.core.wmem_max`).
pub static SEND_BUFFER_MAX: Setting = Setting::new(BUFFER_MAX, i32::MAX as u32 / 2);
/// The most that `SO_RCVBUF` sets without privilege, before it is doubled (`net.core.rmem_max`).
pub static RECEIVE_BUFFER_MAX: Setting = Setting::new(BUFFER_MAX, i32::MAX as u32 / 2);
/// Whether congestion is told instead of being felt: 0 never, 1 asked for, 2 agreed to (`net.ipv4.tcp_ecn`).
pub static TCP_ECN: Setting = Setting::new(2, 2);
/// Whether data may go with the first segment, by bits (`net.ipv4.tcp_fastopen`): [`crate::tcp`].
pub static TCP_FASTOPEN: Setting = Setting::new(1, i32::MAX as u32);
/// Whether small writes wait for each other while the program goes on (`net.ipv4.tcp_autocorking`): [`crate::held`].
pub static TCP_AUTOCORKING: Setting = Setting::new(1, 1);
/// Whether routers may name better next hops: for IPv4 on all interfaces, and what the file for all says of IPv6
/// (`net.ipv4.conf.all.accept_redirects`).
pub static ACCEPT_REDIRECTS4: Setting = Setting::new(1, i32::MAX as u32);
/// See [`ACCEPT_REDIRECTS4`]; has no effect, as on Linux.
pub static ACCEPT_REDIRECTS6: Setting = Setting::new(1, i32::MAX as u32);
/// The first and the last port given to who does not choose, in the upper and the lower half (`net.ipv4.ip_local_port_range`).
static EPHEMERAL: AtomicU32 = AtomicU32::new((EPHEMERAL_FIRST as u32) << 16 | EPHEMERAL_LAST as u32);

/// The first and the last port given to who does not choose.
pub fn ephemeral_ports() -> (u16, u16) {
    let both = EPHEMERAL.load(Relaxed).to_be_bytes();
    (u16::from_be_bytes([both[0], both[1]]), u16::from_be_bytes([both[2], both[3]]))
}

/// Changes them; no when they are no range of ports.
#[must_use]
pub fn set_ephemeral_ports(first: u16, last: u16) -> bool {
    let is_allowed = first > 0 && first <= last;
    if is_allowed {
        EPHEMERAL.store(u32::from(first) << 16 | u32::from(last), Relaxed);
    }
    is_allowed
}
