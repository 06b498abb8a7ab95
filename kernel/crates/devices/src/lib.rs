//! How devices are spoken to, without touching any: protocols, encodings and bookkeeping of the machine's drivers.
//!
//! - [`pci`]: enumeration, base address registers, capabilities and MSI-X, over a trait for configuration space.
//! - [`io_apic`]: the redirection entries of the I/O APIC.
//! - [`console`]: the control protocol of the virtio console with several ports.
//! - [`split_queue`]: the driver's side of a virtqueue.
//! - [`virtio_blk`], [`virtio_net`], [`virtio_9p`], [`virtio_vsock`]: what a block device, a network device, a server of files and a socket device
//!   say and are told.
//! - [`transmit_ring`], [`receive_ring`]: which bytes of a buffer a device owns.
//! - [`control_line`]: the lines that the host and the kernel exchange on the control port.
//!
//! What a device says is not trusted: lengths and numbers are checked, loops are bounded, and a device that lies loses
//! data, nothing else. Ports, device memory and interrupts belong to the drivers in the machine.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod console;
pub mod control_line;
pub mod io_apic;
pub mod pci;
pub mod receive_ring;
pub mod split_queue;
pub mod transmit_ring;
pub mod virtio_9p;
pub mod virtio_blk;
pub mod virtio_net;
pub mod virtio_vsock;
