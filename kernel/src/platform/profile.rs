//! A profile of the machine: what its CPUs did at regular times, as the host asked with `profile=HZ`.
//!
//! 1. While it runs, the timer of every CPU fires at the period (`threads::timer`), and its interrupt takes a backtrace
//!    ([`Backtrace`]) into the CPU's buffer. Code with interrupts off is seen where it lets them in: that is a matter of microseconds.
//! 2. A worker empties the buffers a few times a period of [`DRAIN_NS`] and tells the host. A buffer that is full loses samples, and
//!    says how many.
//! 3. The host gives the addresses names. It is told where the kernel's text begins (`kernel ADDRESS`) and, whenever that has
//!    changed, what the executable areas of the program are: `forget`, then `area START END OFFSET NAME` for each.
//!
//! A sample is `sample CPU TID TOP KERNEL ADDRESS...`: the word at the top of the program's stack, which may be the return address of a
//! function without a frame, how many of the addresses are the kernel's, and all of them, innermost first.
//! TID is 0 for a worker of the kernel. `idle CPU COUNT` says how often there was nothing to do, `lost COUNT` how much was lost.
//!
//! Lock ranks: `PROFILE` around what is being told, and under it `SAMPLES` around a CPU's buffer, which is exchanged for an empty one.

use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use mm::Rights;
use sync::machine::{self, NEVER};
use sync::{IrqSpinLock, Mutex, Once, Parker, rank};

use super::{observe, program};
use crate::arch::backtrace::Backtrace;
use crate::arch::boot::image_layout;
use crate::arch::percpu::PerCpu;
use crate::threads;

/// How often samples may be taken.
const HERTZ_MAX: u64 = 10_000;
const SECOND_NS: u64 = 1_000_000_000;
/// How often buffers are emptied.
const DRAIN_NS: u64 = 20_000_000;
/// Words of a CPU's buffer: at the highest rate, all of `DRAIN_NS` with the longest backtraces.
const BUFFER_WORDS_MAX: usize = 32 << 10;
/// Words before the addresses of a sample.
const HEAD_WORDS: usize = 4;

static PERIOD_NS: AtomicU64 = AtomicU64::new(NEVER);
static BUFFERS: Once<Vec<IrqSpinLock<Buffer>>> = Once::new();
/// The buffer that is exchanged for a full one, and what the host was told of the program's areas.
static DRAINER: Mutex<Drainer> = Mutex::new(rank::PROFILE, Drainer { spare: Vec::new(), areas: Vec::new() });

/// What a CPU has seen since its buffer was emptied: samples of a thread's number, the top of the stack, the counts of the kernel's
/// and of all addresses, and these.
#[derive(Default)]
struct Buffer {
    words: Vec<u64>,
    idle: u64,
    lost: u64,
}

struct Drainer {
    spare: Vec<u64>,
    areas: Vec<u8>,
}

/// How far apart samples are; [`NEVER`] when there is no profile.
pub(crate) fn period_ns() -> u64 {
    PERIOD_NS.load(Relaxed)
}

/// Starts a profile. All CPUs run, and no thread does yet.
pub(super) fn start(hertz: u64) {
    let hertz = hertz.clamp(1, HERTZ_MAX);
    let buffers: Vec<_> = (0..threads::cpu::count())
        .map(|_| Buffer { words: Vec::with_capacity(BUFFER_WORDS_MAX), ..Buffer::default() })
        .map(|buffer| IrqSpinLock::new(rank::SAMPLES, buffer))
        .collect();
    DRAINER.lock().spare = Vec::with_capacity(BUFFER_WORDS_MAX);
    BUFFERS.call_once(|| buffers);
    let mut text = Text::default();
    text.put(format_args!("kernel {:x}\n", image_layout().text_start));
    observe::write(&text.0);
    if !threads::worker::start(0, work) {
        log::error!("not enough memory for the profile's worker");
        return;
    }
    PERIOD_NS.store(SECOND_NS / hertz, Relaxed);
}

/// Takes a sample of what the timer's interrupt interrupted. Called by its handler.
pub(crate) fn sample(cpu: u32) {
    if period_ns() == NEVER {
        return;
    }
    let Some(buffer) = BUFFERS.get().and_then(|buffers| buffers.get(usize::try_from(cpu).ok()?)) else { return };
    if PerCpu::context().is_none() {
        buffer.lock().idle += 1;
        return;
    }
    let thread = PerCpu::thread();
    let trace = Backtrace::take(&PerCpu::current().interrupted_registers(), thread.is_some());
    let (kernel, program) = (trace.kernel(), trace.program());
    let mut buffer = buffer.lock();
    let len = kernel.len() + program.len();
    if buffer.words.len() + HEAD_WORDS + len > BUFFER_WORDS_MAX {
        buffer.lost += 1;
        return;
    }
    let tid = thread.map_or(0, |thread| u64::from(thread.tid()));
    buffer.words.extend_from_slice(&[tid, trace.top(), kernel.len() as u64, len as u64]);
    buffer.words.extend_from_slice(kernel);
    buffer.words.extend_from_slice(program);
}

fn work(_cpu: u32) -> ! {
    let parker = Parker::new();
    loop {
        drain();
        let _is_over = parker.park_until(machine::now_ns().saturating_add(DRAIN_NS));
    }
}

/// Tells the host what all CPUs have seen.
pub(super) fn drain() {
    let Some(buffers) = BUFFERS.get() else { return };
    let mut drainer = DRAINER.lock();
    drainer.tell_areas();
    for (cpu, buffer) in buffers.iter().enumerate() {
        let spare = core::mem::take(&mut drainer.spare);
        let full = {
            let mut buffer = buffer.lock();
            core::mem::replace(&mut *buffer, Buffer { words: spare, ..Buffer::default() })
        };
        let mut text = Text::default();
        text.put_samples(cpu, &full);
        observe::write(&text.0);
        drainer.spare = full.words;
        drainer.spare.clear();
    }
}

impl Drainer {
    /// Tells the host where the program's code is, if that has changed.
    fn tell_areas(&mut self) {
        let Some(process) = program::process() else { return };
        let areas = process.address_space().areas();
        if areas.is_empty() {
            // It has ended. Its last samples are of where it was.
            return;
        }
        let mut text = Text::default();
        text.put(format_args!("forget\n"));
        for area in areas.iter().filter(|area| area.rights.contains(Rights::EXECUTE)) {
            text.put(format_args!("area {:x} {:x} {:x} ", area.range.start(), area.range.end(), area.offset));
            text.0.extend(area.name.iter().map(|byte| if *byte == b'\n' { b'?' } else { *byte }));
            text.put(format_args!("\n"));
        }
        if text.0 != self.areas {
            observe::write(&text.0);
            self.areas = text.0;
        }
    }
}

#[derive(Default)]
struct Text(Vec<u8>);

impl Text {
    fn put(&mut self, arguments: fmt::Arguments<'_>) {
        // Formatting numbers does not fail, and a vector takes everything.
        let _ = self.write_fmt(arguments);
    }

    fn put_samples(&mut self, cpu: usize, buffer: &Buffer) {
        let mut rest = buffer.words.as_slice();
        while let Some((&[tid, top, kernel_len, len], words)) = rest.split_first_chunk::<HEAD_WORDS>() {
            let Some((addresses, behind)) = usize::try_from(len).ok().and_then(|len| words.split_at_checked(len))
            else {
                return;
            };
            self.put(format_args!("sample {cpu} {tid} {top:x} {kernel_len}"));
            for address in addresses {
                self.put(format_args!(" {address:x}"));
            }
            self.put(format_args!("\n"));
            rest = behind;
        }
        if buffer.idle > 0 {
            self.put(format_args!("idle {cpu} {}\n", buffer.idle));
        }
        if buffer.lost > 0 {
            self.put(format_args!("lost {}\n", buffer.lost));
        }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
