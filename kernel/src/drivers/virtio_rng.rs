//! The virtio entropy device: random bytes from the host.
//!
//! One request is always with the device; [`take`] answers what has come and asks for more, and never waits.
//!
//! Lock rank: `DRIVER`.

use alloc::sync::Arc;

use sync::{IrqSpinLock, rank};
use virtio_drivers::transport::Transport;

use super::hal::DmaBuffer;
use super::virtio::{AnyTransport, FEATURE_VERSION_1, Found, Queue};

const QUEUE: u16 = 0;
/// Bytes asked for at a time.
pub(crate) const REQUEST_LEN: usize = 64;

static DEVICE: IrqSpinLock<Option<Device>> = IrqSpinLock::new(rank::DRIVER, None);

struct Device {
    transport: AnyTransport,
    queue: Queue,
    buffer: Arc<DmaBuffer>,
}

bitflags::bitflags! {
    /// What the driver can do.
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        const VERSION_1 = FEATURE_VERSION_1;
    }
}

/// Drives the device, and asks for the first bytes. Always true: it needs no interrupt.
#[inline(never)]
pub(super) fn init(found: Found) -> bool {
    let mut transport = found.into_transport();
    let _ = transport.begin_init(Features::VERSION_1);
    let Some(mut queue) = Queue::new(&mut transport, QUEUE) else { return true };
    let Some(buffer) = DmaBuffer::new(REQUEST_LEN) else { return true };
    queue.set_interrupts(false);
    transport.finish_init();
    let mut device = Device { transport, queue, buffer: Arc::new(buffer) };
    device.ask();
    *DEVICE.lock() = Some(device);
    true
}

/// Whether there is such a device.
pub(crate) fn is_present() -> bool {
    DEVICE.lock().is_some()
}

/// Takes the bytes that have come; answers how many, zero if none.
pub(crate) fn take(out: &mut [u8; REQUEST_LEN]) -> usize {
    let mut device = DEVICE.lock();
    let Some(device) = device.as_mut() else { return 0 };
    let Some(used) = device.queue.take_used() else { return 0 };
    device.buffer.read(used.offset, &mut out[..used.len]);
    // The host's bytes are used once.
    device.buffer.write(0, &[0; REQUEST_LEN]);
    device.ask();
    used.len
}

impl Device {
    fn ask(&mut self) {
        if self.queue.give_input(&self.buffer, 0, REQUEST_LEN).is_some() {
            self.queue.notify(&mut self.transport);
        }
    }
}
