//! Device drivers, and what the machine is made of.
//!
//! [`init`] reads what firmware told, sets the clocks going and starts every device it knows. Upper layers then use:
//! - [`standard_streams`]: the ports of the program's stdin, stdout and stderr;
//! - [`set_listener`]: signals that the host or the power button sends, and window sizes;
//! - [`finish`], [`finish_panic`]: the last report to the host and the end of the machine;
//! - [`serial`]: the log.
//!
//! Interrupt handlers touch only memory that is always mapped, do bookkeeping and wake. Lock ranks are in the modules.

mod acpi;
mod calibration;
mod hal;
mod io;
mod ioapic;
pub(crate) mod kvm_clock;
mod listener;
mod pci;
mod pit;
pub(crate) mod power;
mod power_button;
mod rtc;
pub(crate) mod serial;
mod virtio;
pub(crate) mod virtio_9p;
pub(crate) mod virtio_blk;
pub(crate) mod virtio_net;
pub(crate) mod virtio_rng;
mod virtio_serial;
pub(crate) mod virtio_vsock;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

pub(crate) use devices::control_line::{Report, Request};
use file::Port;
use firmware::BootInformation;
use firmware::command_line::Options;
use sync::{IrqSpinLock, rank};
use virtio_drivers::transport::DeviceType;

use crate::arch::smp;
use listener::Listener;
use virtio::Found;
use virtio_9p::Virtio9p;
use virtio_blk::VirtioBlk;
use virtio_net::VirtioNet;
use virtio_vsock::VirtioVsock;

/// The signal that the power button means.
const SIGTERM: u8 = 15;
/// The names of the ports of stdin, stdout and stderr.
const STREAMS: [&[u8]; 3] = [b"nacre.stdin", b"nacre.stdout", b"nacre.stderr"];

/// The name of the port that the host listens to.
const OBSERVER: &[u8] = b"nacre.observer";

static NEEDS_POLLING: AtomicBool = AtomicBool::new(false);
/// Network devices that nobody drives yet.
static NETWORKS: IrqSpinLock<Vec<Found>> = IrqSpinLock::new(rank::DRIVER, Vec::new());
/// Block devices that nobody drives yet.
static DISKS: IrqSpinLock<Vec<Found>> = IrqSpinLock::new(rank::DRIVER, Vec::new());
/// Servers of files that nobody uses yet.
static SERVERS: IrqSpinLock<Vec<Found>> = IrqSpinLock::new(rank::DRIVER, Vec::new());
/// Socket devices that nobody drives yet.
static SOCKETS: IrqSpinLock<Vec<Found>> = IrqSpinLock::new(rank::DRIVER, Vec::new());
static LISTENER: Listener<Request> = Listener::new();

/// Starts everything. The local APIC is on, interrupts are off; afterwards the clocks run and interrupts may come.
///
/// The steps are not inlined: together their locals would be too much for a kernel stack.
#[inline(never)]
pub(crate) fn init(information: &BootInformation, options: &Options, line: &[u8]) {
    let facts = acpi::read(information.rsdp);
    calibration::run(&facts, options);
    ioapic::init(facts.madt.as_ref());
    let processors = facts.madt.iter().flat_map(|madt| madt.processors());
    smp::set_listed(processors.filter(|processor| processor.is_enabled).map(|processor| processor.id));
    serial::enable_interrupts();
    power::init(&facts);
    power_button::set_listener(|()| LISTENER.call(Request::Signal(SIGTERM)));
    power_button::init(&facts);
    let functions = pci::init(facts.pci_window, &information.memory_map);
    let (mut networks, mut disks) = (Vec::new(), Vec::new());
    let (mut servers, mut sockets) = (Vec::new(), Vec::new());
    for found in virtio::find(&facts, line, functions) {
        let has_interrupt = match found.kind() {
            DeviceType::Console => virtio_serial::init(found),
            DeviceType::EntropySource => virtio_rng::init(found),
            DeviceType::Network => {
                networks.push(found);
                true
            }
            DeviceType::Block => {
                disks.push(found);
                true
            }
            DeviceType::_9P => {
                servers.push(found);
                true
            }
            DeviceType::Socket => {
                sockets.push(found);
                true
            }
            _ => true,
        };
        if !has_interrupt {
            NEEDS_POLLING.store(true, Ordering::Relaxed);
        }
    }
    *NETWORKS.lock() = networks;
    *DISKS.lock() = disks;
    *SERVERS.lock() = servers;
    *SOCKETS.lock() = sockets;
    virtio_serial::set_listener(|request| LISTENER.call(request));
}

/// The network devices, in the order in which they were found. Each is told once; all CPUs run by then.
pub(crate) fn take_networks() -> impl Iterator<Item = Arc<VirtioNet>> {
    let found = core::mem::take(&mut *NETWORKS.lock());
    found.into_iter().filter_map(VirtioNet::new)
}

/// The block devices, as [`take_networks`].
pub(crate) fn take_disks() -> impl Iterator<Item = VirtioBlk> {
    let found = core::mem::take(&mut *DISKS.lock());
    found.into_iter().filter_map(VirtioBlk::new)
}

/// The servers of files, as [`take_networks`].
pub(crate) fn take_servers() -> impl Iterator<Item = Virtio9p> {
    let found = core::mem::take(&mut *SERVERS.lock());
    found.into_iter().filter_map(Virtio9p::new)
}

/// The socket devices, as [`take_networks`].
pub(crate) fn take_sockets() -> impl Iterator<Item = Arc<VirtioVsock>> {
    let found = core::mem::take(&mut *SOCKETS.lock());
    found.into_iter().filter_map(VirtioVsock::new)
}

/// An idle CPU begins to look for work: devices that it can look at itself need not interrupt it. Interrupts are off, for all three.
pub(crate) fn begin_looking(cpu: u32) {
    virtio_net::idle::begin(cpu);
}

/// Looks once.
pub(crate) fn look(cpu: u32) {
    virtio_net::idle::look(cpu);
}

/// The CPU looks no more: devices interrupt it again.
pub(crate) fn end_looking(cpu: u32) {
    virtio_net::idle::end(cpu);
}

/// Whether a device has no interrupt, so that [`poll`] must be called while anybody waits.
pub(crate) fn needs_polling() -> bool {
    NEEDS_POLLING.load(Ordering::Relaxed)
}

/// Does what missing interrupts would do; nothing where none are missing.
pub(crate) fn poll() {
    if needs_polling() {
        virtio_serial::poll();
    }
}

/// The ports of stdin, stdout and stderr: virtio ports by name, else the serial port for all three, else nothing.
pub(crate) fn standard_streams(options: &Options) -> [Option<Arc<dyn Port>>; 3] {
    if !options.is_console_serial {
        let ports = STREAMS.map(virtio_serial::port);
        if ports.iter().any(Option::is_some) {
            for (name, _) in STREAMS.iter().zip(options.is_terminal).filter(|(_, is_terminal)| *is_terminal) {
                // The keys that send signals work even if nobody reads.
                virtio_serial::start(name);
            }
            return ports;
        }
    }
    let port = serial::port();
    [port.clone(), port.clone(), port]
}

/// The port on which the host is told what the program does, if it wants to know.
pub(crate) fn observer() -> Option<Arc<dyn Port>> {
    virtio_serial::port(OBSERVER)
}

/// Makes `listener` hear of signals for the program and of new window sizes; it runs in interrupt handlers.
pub(crate) fn set_listener(listener: fn(Request)) {
    LISTENER.set(listener);
}

/// Waits until the program's output is with the host, tells how it ended, and switches the machine off.
pub(crate) fn finish(report: Report<'_>) -> ! {
    virtio_serial::finish(report);
    serial::flush();
    power::off()
}

/// As [`finish`], for a kernel that is dying: in bounded time, without waiting for any lock.
pub(crate) fn finish_panic() -> ! {
    virtio_serial::finish_panic();
    power::debug_exit(PANIC_CODE);
    power::off()
}

/// What [`power::debug_exit`] tells of a panic: the emulator ends with status 125.
const PANIC_CODE: u8 = 62;
