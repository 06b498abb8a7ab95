//! Options of level `SOL_UDP`.

use alloc::vec::Vec;
use core::sync::atomic::Ordering::Relaxed;

use abi::Errno;

use super::UdpSocket;
use crate::flow_key::protocol;
use crate::socket::inet_options::int;

/// `UDP_CORK`.
const CORK: i32 = 1;
/// `UDP_NO_CHECK6_TX`.
const NO_CHECK6_TX: i32 = 101;
/// `UDP_NO_CHECK6_RX`.
const NO_CHECK6_RX: i32 = 102;
/// `UDP_SEGMENT`.
const SEGMENT: i32 = 103;
/// `UDP_GRO`.
const GRO: i32 = 104;

impl UdpSocket {
    pub(super) fn set_udp_option(&self, option: i32, value: &[u8]) -> Result<(), Errno> {
        let number = int(value).ok_or(Errno::EINVAL)?;
        match option {
            CORK => {
                self.is_corked.store(number != 0, Relaxed);
                if number == 0 {
                    return self.flush();
                }
            }
            NO_CHECK6_TX => self.no_check_transmit.store(number != 0, Relaxed),
            NO_CHECK6_RX => self.no_check_receive.store(number != 0, Relaxed),
            SEGMENT => self.segment_len.store(u16::try_from(number).map_err(|_| Errno::EINVAL)?, Relaxed),
            GRO => self.joins.store(number != 0, Relaxed),
            _ => return Err(Errno::ENOPROTOOPT),
        }
        Ok(())
    }

    pub(super) fn udp_option(&self, option: i32) -> Result<Vec<u8>, Errno> {
        let number = match option {
            CORK => i32::from(self.is_corked.load(Relaxed)),
            NO_CHECK6_TX => i32::from(self.no_check_transmit.load(Relaxed)),
            NO_CHECK6_RX => i32::from(self.no_check_receive.load(Relaxed)),
            SEGMENT => i32::from(self.segment_len.load(Relaxed)),
            GRO => i32::from(self.joins.load(Relaxed)),
            _ => return Err(Errno::ENOPROTOOPT),
        };
        Ok(number.to_ne_bytes().to_vec())
    }

    /// What the path to the peer takes.
    pub(super) fn path_mtu(&self) -> Option<usize> {
        let mut state = self.datagrams.state.lock();
        let remote = state.remote?;
        let source = state.local.map(|local| local.ip()).filter(|address| !address.is_unspecified());
        let request = self.datagrams.route_request(protocol::UDP, remote, source);
        self.datagrams.route(&mut state, &request).ok().map(|route| route.mtu())
    }
}
