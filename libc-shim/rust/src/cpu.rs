//! Which processor this is, and data of its own.
//!
//! The number comes from the limit of a segment that every CPU has its own value of, on Nacre and on Linux: two instructions, no
//! memory. It is true at the moment it is read. A thread can be moved at any time, so what two threads may reach at once is
//! still shared: [`PerCpu`] hands out `&T`, for a `T` of atomics. What it saves is the traffic of cache lines between processors.

use std::arch::asm;

/// The selector of the segment, and how many bits of its limit are the number of the CPU.
const CPU_SEGMENT: u32 = 0x7b;
const CPU_MASK: u32 = 0xfff;

/// The number of the processor that ran this.
///
/// ```
/// let cpu = nacre::cpu::current();
/// assert!(cpu < 4096);
/// ```
#[inline]
pub fn current() -> usize {
    let limit: u32;
    // SAFETY: reads the limit of a segment; a selector that is not there leaves the register as it is.
    unsafe {
        asm!("lsl {limit:e}, {selector:e}", limit = inout(reg) 0_u32 => limit, selector = in(reg) CPU_SEGMENT,
            options(nomem, nostack));
    }
    (limit & CPU_MASK) as usize
}

/// A value of its own for every processor, each in cache lines of its own.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let served = nacre::cpu::PerCpu::new(|| AtomicU64::new(0));
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| (0..1000).for_each(|_| { served.here().fetch_add(1, Ordering::Relaxed); }));
///     }
/// });
/// let sum: u64 = served.all().map(|count| count.load(Ordering::Relaxed)).sum();
/// assert_eq!(sum, 4000);
/// ```
#[derive(Debug)]
pub struct PerCpu<T> {
    slots: Box<[Slot<T>]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Slot<T>(T);

impl<T> PerCpu<T> {
    /// A value for each processor there is.
    pub fn new(mut value: impl FnMut() -> T) -> Self {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).next_power_of_two();
        Self { slots: (0..count).map(|_| Slot(value())).collect() }
    }

    /// The value of the processor that runs this. A processor beyond those that were counted, where affinity hid some, shares one.
    #[inline]
    pub fn here(&self) -> &T {
        let index = current() & (self.slots.len() - 1);
        &self.slots[index].0
    }

    /// The values of all.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().map(|slot| &slot.0)
    }
}
