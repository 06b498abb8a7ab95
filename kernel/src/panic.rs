//! How the kernel dies: one report on the serial port, the word `panic` on the control port, power off with a status of
//! its own.
//!
//! Takes no lock and allocates nothing. The backtrace follows frame pointers within the current stack; names come from
//! the image's own symbol table, addresses are printed relative to the link base as well so that they can be looked up
//! in the kernel file.
//!
//! Running out of memory is no panic where a program runs: it ends the program. The standard library tells of it by a
//! panic, as its other way is not stable, so that is known by its message.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on this machine")]

use core::fmt::Write;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use image_format::Symbols;
use linux::Registers;
use sync::Once;

use crate::arch::boot::{image_layout, is_kernel_text};
use crate::arch::percpu::PerCpu;
use crate::arch::{cpu, ipi, smp};
use crate::drivers::serial::PanicSerial;
use crate::platform::end;

/// Frames of a backtrace.
const FRAMES_MAX: usize = 32;
/// Frames of the backtraces of other CPUs, and how many have one.
const OTHER_FRAMES_MAX: usize = 8;
const OTHERS_MAX: usize = 8;
/// How far a frame pointer may leap.
const FRAME_BYTES_MAX: usize = 64 << 10;

static SYMBOLS: Once<Symbols<'static>> = Once::new();
static SLIDE: AtomicUsize = AtomicUsize::new(0);
static IS_DYING: AtomicBool = AtomicBool::new(false);

/// Tells where the image runs, for addresses in reports.
pub(crate) fn set_slide(slide: usize) {
    SLIDE.store(slide, Ordering::Relaxed);
}

/// Gives reports names of functions.
pub(crate) fn set_symbols(symbols: Symbols<'static>) {
    SYMBOLS.call_once(|| symbols);
}

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    if is_out_of_memory(info) && PerCpu::thread().is_some() {
        log::error!("out of memory: {}", info.message());
        end::program_ended(linux::Outcome::Killed(abi::Signal::SIGKILL));
    }
    x86_64::instructions::interrupts::disable();
    let mut out = begin();
    let _ = writeln!(out, "kernel panic: {}", info.message());
    if let Some(location) = info.location() {
        let _ = writeln!(out, "  at {}:{}", location.file(), location.line());
    }
    let frame_pointer: usize;
    // SAFETY: reads one register.
    unsafe { core::arch::asm!("mov {}, rbp", out(reg) frame_pointer, options(nomem, nostack, preserves_flags)) };
    backtrace(&mut out, None, frame_pointer, FRAMES_MAX);
    report_others(&mut out);
    end::end_of_panic()
}

/// Whether this is what the standard library says when there is no memory and nobody asked for it.
fn is_out_of_memory(info: &PanicInfo<'_>) -> bool {
    let mut start = Start { bytes: [0; OUT_OF_MEMORY.len()], len: 0 };
    // It ends with an error when it is full.
    let _ = write!(start, "{}", info.message());
    start.bytes == *OUT_OF_MEMORY
}

const OUT_OF_MEMORY: &[u8; 21] = b"memory allocation of ";

/// The first bytes of a text.
struct Start {
    bytes: [u8; OUT_OF_MEMORY.len()],
    len: usize,
}

impl Write for Start {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            *self.bytes.get_mut(self.len).ok_or(core::fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}

/// Reports an exception that the kernel cannot survive.
pub(crate) fn die_of_fault(registers: &Registers, vector: u8, address: usize, reason: &str) -> ! {
    x86_64::instructions::interrupts::disable();
    let mut out = begin();
    let _ = writeln!(out, "kernel panic: {reason}");
    let _ = writeln!(
        out,
        "  vector {vector} ({}), error code {:#x}, cr2 {address:#018x}",
        exception_name(vector),
        registers.original_rax
    );
    let r = registers;
    for row in [
        [("rax", r.rax), ("rbx", r.rbx), ("rcx", r.rcx), ("rdx", r.rdx)],
        [("rsi", r.rsi), ("rdi", r.rdi), ("rbp", r.rbp), ("rsp", r.rsp)],
        [("r8 ", r.r8), ("r9 ", r.r9), ("r10", r.r10), ("r11", r.r11)],
        [("r12", r.r12), ("r13", r.r13), ("r14", r.r14), ("r15", r.r15)],
        [("rip", r.rip), ("flg", r.rflags), ("cs ", r.cs), ("ss ", r.ss)],
    ] {
        for (name, value) in row {
            let _ = write!(out, "  {name} {value:016x}");
        }
        let _ = writeln!(out);
    }
    backtrace(&mut out, Some(r.rip as usize), r.rbp as usize, FRAMES_MAX);
    report_others(&mut out);
    end::end_of_panic()
}

/// The first report gets the port, and stops the other CPUs; a panic while reporting stops at once.
fn begin() -> PanicSerial {
    if IS_DYING.swap(true, Ordering::SeqCst) {
        cpu::halt_forever();
    }
    ipi::stop_others();
    let mut out = PanicSerial::take();
    if smp::count() > 1 {
        let _ = writeln!(out, "CPU {}:", PerCpu::number());
    }
    out
}

/// Says where the other CPUs were.
fn report_others(out: &mut PanicSerial) {
    for (cpu, rip, frame_pointer) in ipi::stopped_places().take(OTHERS_MAX) {
        let _ = writeln!(out, "CPU {cpu} was at:");
        backtrace(out, Some(rip as usize), frame_pointer as usize, OTHER_FRAMES_MAX);
    }
}

fn backtrace(out: &mut PanicSerial, rip: Option<usize>, frame_pointer: usize, frames_max: usize) {
    let _ = writeln!(out, "backtrace:");
    if let Some(rip) = rip {
        print_frame(out, rip);
    }
    let mut frame = frame_pointer;
    for _ in 0..frames_max {
        if frame < crate::memory::layout::DIRECT_MAP || !frame.is_multiple_of(8) {
            return;
        }
        // SAFETY: the chain starts in the frame pointer of kernel code, which is compiled with frame pointers; each step was
        // checked to stay near. A torn chain ends at a value outside of the kernel's half, or in a second report that stops.
        let (next, return_address) = unsafe { *(frame as *const (usize, usize)) };
        if !is_kernel_text(return_address) {
            return;
        }
        print_frame(out, return_address);
        if next <= frame || next - frame > FRAME_BYTES_MAX {
            return;
        }
        frame = next;
    }
}

fn print_frame(out: &mut PanicSerial, address: usize) {
    let unslid = address.wrapping_sub(SLIDE.load(Ordering::Relaxed));
    // The image's symbols count from its first byte.
    let offset = address.wrapping_sub(image_layout().text_start) as u64;
    match SYMBOLS.get().and_then(|symbols| symbols.lookup(offset)) {
        Some((name, distance)) if is_kernel_text(address) => {
            let _ = writeln!(out, "  {unslid:#x} {name}+{distance:#x}");
        }
        _ => {
            let _ = writeln!(out, "  {unslid:#x}");
        }
    }
}

fn exception_name(vector: u8) -> &'static str {
    match vector {
        0 => "#DE divide error",
        1 => "#DB debug",
        2 => "NMI",
        3 => "#BP breakpoint",
        4 => "#OF overflow",
        6 => "#UD invalid opcode",
        7 => "#NM no x87",
        8 => "#DF double fault",
        11 => "#NP segment not present",
        12 => "#SS stack segment",
        13 => "#GP general protection",
        14 => "#PF page fault",
        16 => "#MF x87 error",
        17 => "#AC alignment",
        18 => "#MC machine check",
        19 => "#XM SIMD error",
        _ => "exception",
    }
}
