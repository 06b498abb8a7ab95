//! The vDSO's code: what a program calls instead of entering the kernel.
//!
//! The build script compiles this file, and what it names, to one object, and links it by `image.ld` into the shared
//! object that the kernel maps into programs. There is no library behind it: nothing may panic, allocate, or need data
//! that is written or relocated; the link fails otherwise.
//!
//! The page of data lies right before the image, so it is found relative to the instruction pointer. Whatever cannot be
//! answered from it is asked of the kernel by a system call, with the same arguments: errors are the kernel's.
//!
//! Programs call these functions on small stacks, from signal handlers and with any register contents that the C calling
//! convention permits. They hand in any pointer: a bad one is their fault, literally, as with Linux's vDSO.
#![no_std]
#![no_builtins]
#![deny(unsafe_op_in_unsafe_fn)]

#[path = "../src/page.rs"]
#[expect(dead_code, reason = "the kernel writes, this reads")]
mod page;
mod random;
mod system_call;

use core::arch::{asm, global_asm};
use core::sync::atomic::Ordering;

use page::{CLOCKS, MONOTONIC_CLOCKS, Page, REALTIME, REALTIME_CLOCKS};
use system_call::system_call;

const SYS_GETTIMEOFDAY: usize = 96;
const SYS_TIME: usize = 201;
const SYS_CLOCK_GETTIME: usize = 228;
const SYS_CLOCK_GETRES: usize = 229;

const NS_PER_SECOND: u64 = 1_000_000_000;
const NS_PER_MICROSECOND: u64 = 1000;
/// What clocks advance by, as the system call says it: the precise ones, and those of Linux's tick.
const RESOLUTION_NS: u64 = 1;
const RESOLUTION_COARSE_NS: u64 = 4_000_000;
const COARSE_CLOCKS: u32 = 1 << 5 | 1 << 6;

/// `struct timespec`.
#[repr(C)]
pub struct Timespec {
    seconds: u64,
    nanoseconds: u64,
}

/// `struct timeval`.
#[repr(C)]
pub struct Timeval {
    seconds: u64,
    microseconds: u64,
}

/// `struct timezone`.
#[repr(C)]
pub struct Timezone {
    minutes_west: i32,
    dst_time: i32,
}

/// The page that the kernel writes.
#[inline(always)]
fn page() -> &'static Page {
    let page: *const Page;
    // SAFETY: the kernel maps the page right before the image, where the linker script has the symbol, for as long as the
    // image is mapped. All of it is atomics.
    unsafe {
        asm!("lea {}, [rip + vdso_page]", out(reg) page, options(nomem, nostack, preserves_flags, pure));
        &*page
    }
}

/// The cycle counter, not read before the loads that precede in the program.
#[inline(always)]
fn cycles() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: every x86-64 CPU has the instructions, and the kernel lets programs use them. Not `nomem`: loads stay on their
    // side.
    unsafe { asm!("lfence", "rdtsc", out("rax") low, out("rdx") high, options(nostack, preserves_flags)) };
    high << 32 | low
}

/// The time of a clock, if the counter tells it.
#[inline(always)]
fn now_ns(clock: u32) -> Option<u64> {
    page().clock.nanoseconds(clock as usize, cycles)
}

/// Whether the page has this clock.
#[inline(always)]
fn is_one_of(clock: u32, clocks: u32) -> bool {
    clock < CLOCKS as u32 && clocks >> clock & 1 != 0
}

/// # Safety
/// `time` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_gettime(clock: u32, time: *mut Timespec) -> i32 {
    if is_one_of(clock, REALTIME_CLOCKS | MONOTONIC_CLOCKS)
        && let Some(now_ns) = page().clock.glance(clock as usize, cycles)
    {
        // SAFETY: per the contract.
        unsafe { time.write(Timespec { seconds: now_ns / NS_PER_SECOND, nanoseconds: now_ns % NS_PER_SECOND }) };
        return 0;
    }
    // SAFETY: per the contract.
    unsafe { wait_for_time(clock, time) }
}

/// As [`__vdso_clock_gettime`], where a look at the page was not enough. Apart, so that what it needs costs nothing before.
///
/// # Safety
/// `time` may be written.
#[cold]
#[inline(never)]
unsafe fn wait_for_time(clock: u32, time: *mut Timespec) -> i32 {
    if is_one_of(clock, REALTIME_CLOCKS | MONOTONIC_CLOCKS)
        && let Some(now_ns) = now_ns(clock)
    {
        // SAFETY: per the contract.
        unsafe { time.write(Timespec { seconds: now_ns / NS_PER_SECOND, nanoseconds: now_ns % NS_PER_SECOND }) };
        return 0;
    }
    // SAFETY: the kernel checks what it is given.
    unsafe { system_call(SYS_CLOCK_GETTIME, [clock as usize, time as usize, 0]) as i32 }
}

/// # Safety
/// `resolution` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_clock_getres(clock: u32, resolution: *mut Timespec) -> i32 {
    if !is_one_of(clock, REALTIME_CLOCKS | MONOTONIC_CLOCKS) {
        // SAFETY: the kernel checks what it is given.
        return unsafe { system_call(SYS_CLOCK_GETRES, [clock as usize, resolution as usize, 0]) as i32 };
    }
    if !resolution.is_null() {
        let nanoseconds = if is_one_of(clock, COARSE_CLOCKS) { RESOLUTION_COARSE_NS } else { RESOLUTION_NS };
        // SAFETY: per the contract.
        unsafe { resolution.write(Timespec { seconds: 0, nanoseconds }) };
    }
    0
}

/// # Safety
/// `time` and `zone` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_gettimeofday(time: *mut Timeval, zone: *mut Timezone) -> i32 {
    if !time.is_null() {
        let Some(now_ns) = now_ns(REALTIME as u32) else {
            // SAFETY: the kernel checks what it is given.
            return unsafe { system_call(SYS_GETTIMEOFDAY, [time as usize, zone as usize, 0]) as i32 };
        };
        let microseconds = now_ns % NS_PER_SECOND / NS_PER_MICROSECOND;
        // SAFETY: per the contract.
        unsafe { time.write(Timeval { seconds: now_ns / NS_PER_SECOND, microseconds }) };
    }
    if !zone.is_null() {
        let (minutes_west, dst_time) = page().zone.get();
        // SAFETY: per the contract.
        unsafe { zone.write(Timezone { minutes_west, dst_time }) };
    }
    0
}

/// # Safety
/// `time` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_time(time: *mut u64) -> i64 {
    let Some(now_ns) = now_ns(REALTIME as u32) else {
        // SAFETY: the kernel checks what it is given.
        return unsafe { system_call(SYS_TIME, [time as usize, 0, 0]) as i64 };
    };
    let seconds = now_ns / NS_PER_SECOND;
    if !time.is_null() {
        // SAFETY: per the contract.
        unsafe { time.write(seconds) };
    }
    seconds as i64
}

/// The kernel's table of functions that serve system calls, one for each number of arguments from none to six; null: there is
/// none. The table changes while the program runs, so calls go through it: the number is in rax, the arguments are where C
/// has them, the answer is in rax, and vector registers stay.
#[unsafe(no_mangle)]
pub extern "C" fn __nacre_calls() -> usize {
    page().calls.load(Ordering::Relaxed) as usize
}

// What such a function does when it has to use the instruction: the kernel shows a program that is interrupted in its own
// code here. The linker script puts it where the kernel expects it.
global_asm!(
    ".pushsection .calls, \"ax\", @progbits",
    ".global __nacre_by_syscall",
    ".type __nacre_by_syscall, @function",
    "__nacre_by_syscall:",
    "mov r10, rcx",
    "syscall",
    "ret",
    ".size __nacre_by_syscall, . - __nacre_by_syscall",
    ".popsection",
);

/// # Safety
/// `cpu` and `node` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_getcpu(cpu: *mut u32, node: *mut u32, _unused: usize) -> i32 {
    /// The selector of a segment whose limit says which CPU this is, in its low bits, and which node, above them.
    const CPU_SEGMENT: u32 = 0x7b;
    const CPU_BITS: u32 = 12;
    let limit: u32;
    // SAFETY: reads a limit; a selector that is not there would leave the register as it is, so that is set too.
    unsafe { asm!("lsl {0:e}, {1:e}", inout(reg) 0 => limit, in(reg) CPU_SEGMENT, options(nomem, nostack)) };
    if !cpu.is_null() {
        // SAFETY: per the contract.
        unsafe { cpu.write(limit & ((1 << CPU_BITS) - 1)) };
    }
    if !node.is_null() {
        // SAFETY: per the contract.
        unsafe { node.write(limit >> CPU_BITS) };
    }
    0
}
