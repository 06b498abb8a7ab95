//! The network: frames of a NIC to bytes of a socket, over channels.
//!
//! V. Jacobson's idea ("Speeding up networking", linux.conf.au 2006), as OSv made it known: the interrupt does nothing but find out
//! whose a frame is, and the protocol runs in the thread that wants the data.
//!
//! # The way in
//!
//! 1. A driver takes a batch of [`ReceivedFrame`]s from a queue of its [`Nic`] and gives it to [`Stack::receive`], in an interrupt or,
//!    under load, in the worker of that CPU.
//! 2. [`classify()`] looks at the headers of each, and gives it a [`FlowKey`] or sends it to the control worker.
//! 3. The [`channel::FlowTable`] has the [`channel::Flow`] of the key, found under RCU. Its channel takes the frame; a full one drops it, which
//!    is counted.
//! 4. Once per batch and flow its readers are woken.
//! 5. The reader takes the lock of its socket, and drains the channel into the protocol: TCP runs here. So do writers, `poll` and `epoll`.
//! 6. Where nobody reads, the worker of the CPU polls the flow in time.
//!
//! # The way out
//!
//! A protocol builds a [`TransmitFrame`] from the transport header on; [`interface`] adds addresses and the link's header
//! and gives it to the NIC's queue of the calling CPU.
//!
//! # What is where
//!
//! - [`frame`], [`nic`]: what drivers and protocols exchange.
//! - [`mod@classify`], [`flow_key`], [`channel`]: the way in.
//! - [`interface`]: interfaces, addresses, routes, neighbours.
//! - [`control`]: ARP, neighbour discovery, ICMP, fragments, DHCP: what belongs to no flow.
//! - [`tcp`]: the engine, listeners, ports, what remains of closed connections.
//! - [`socket`]: what programs see.
//! - [`vsock`]: sockets to the host, which have nothing to do with the rest.
//! - [`stack`]: all of it together; one a machine, several in tests.
//! - `room`: memory that may be refused, and what then.
//!
//! No clock, no thread and no device is known here: time and parking come through `sync::machine`, devices through [`Nic`].
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod byte_queue;
pub mod channel;
pub mod checksum;
pub mod classify;
pub mod control;
pub mod counters;
pub mod flow_key;
pub mod frame;
mod held;
pub mod interface;
pub mod loan;
pub mod nic;
pub mod ports;
mod room;
pub mod settings;
pub mod socket;
pub mod stack;
pub mod tcp;
#[cfg(test)]
mod test_support;
pub mod vsock;
mod worker;

pub use classify::classify;
pub use flow_key::FlowKey;
pub use frame::{ReceivedFrame, TransmitFrame};
pub use held::holds_output;
pub use nic::Nic;
pub use stack::Stack;
