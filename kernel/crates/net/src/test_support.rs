//! A device for the tests of this crate: keeps what is sent.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use std::sync::Mutex;

use crate::Stack;
use crate::frame::{Payload, ReceivedFrame, TransmitFrame};
use crate::interface::{Interface, InterfaceAddress, Origin, RouteEntry};
use crate::nic::{Nic, NicCounters, NicFeatures, NicProperties};

/// The device's link address.
pub(crate) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// That of the other machine on the link.
pub(crate) const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A device that keeps what it is to send.
pub(crate) struct FakeNic {
    mac: [u8; 6],
    features: NicFeatures,
    sent: Mutex<Vec<Vec<u8>>>,
    kicks: Mutex<u64>,
}

impl FakeNic {
    pub(crate) fn new(features: NicFeatures) -> Arc<Self> {
        Self::with_mac(MAC, features)
    }

    pub(crate) fn with_mac(mac: [u8; 6], features: NicFeatures) -> Arc<Self> {
        Arc::new(Self { mac, features, sent: Mutex::default(), kicks: Mutex::default() })
    }

    /// What was sent since the last call.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.sent.lock().unwrap())
    }
}

impl Nic for FakeNic {
    fn properties(&self) -> NicProperties {
        NicProperties { mac: self.mac, mtu: 1500, features: self.features, queues: 1, pieces_max: 16 }
    }

    fn is_link_up(&self) -> bool {
        true
    }

    fn counters(&self) -> NicCounters {
        NicCounters { kicks: *self.kicks.lock().unwrap(), ..NicCounters::default() }
    }

    fn transmit(&self, frames: &mut Vec<TransmitFrame>) {
        *self.kicks.lock().unwrap() += 1;
        self.sent.lock().unwrap().extend(frames.drain(..).map(|frame| frame.to_vec().unwrap()));
    }

    fn poll(&self, _queue: u16, _budget: usize) -> bool {
        false
    }
}

/// A stack with one device, which has 10.0.0.1/24 and fd00::1/64, and default routes through the peer, .2 and ::2.
pub(crate) fn stack_with_nic(features: NicFeatures) -> (Arc<Stack>, Arc<FakeNic>, Arc<Interface>) {
    let stack = Stack::new(1);
    let nic = FakeNic::new(features);
    let as_nic: Arc<dyn Nic> = Arc::clone(&nic) as Arc<dyn Nic>;
    let interface = stack.interfaces().add(as_nic).unwrap();
    let index = interface.index();
    for (address, prefix_len, gateway) in [("10.0.0.1", 24, "10.0.0.2"), ("fd00::1", 64, "fd00::2")] {
        let address: IpAddr = address.parse().unwrap();
        stack
            .interfaces()
            .add_address(InterfaceAddress::permanent(index, address, prefix_len, Origin::Static))
            .unwrap();
        let route = RouteEntry::default_via(gateway.parse().unwrap(), index, 100, Origin::Static);
        stack.interfaces().add_route(route).unwrap();
    }
    (stack, nic, interface)
}

/// Lets the stack take a frame and do what follows from it.
pub(crate) fn receive(stack: &Arc<Stack>, interface: &Arc<Interface>, bytes: &[u8]) {
    stack.receive(interface, &mut core::iter::once(ReceivedFrame::new(Payload::from(bytes.to_vec()))));
    stack.work(0);
}
