//! Groups that interfaces are in.

use core::net::IpAddr;

use crate::Stack;

impl Stack {
    /// One more socket is in a group on an interface.
    pub(crate) fn join_group(&self, interface: u32, group: IpAddr) {
        self.interfaces().update(|snapshot| snapshot.join(interface, group));
    }

    /// One less is.
    pub(crate) fn leave_group(&self, interface: u32, group: IpAddr) {
        self.interfaces().update(|snapshot| snapshot.leave(interface, group));
    }
}
