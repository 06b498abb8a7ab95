//! The program's x87, SSE and AVX registers: switched on for it, saved for signals.
//!
//! Functions that touch them are never inlined, so that the check of the built kernel can tell them by name.
//!
//! The kernel is compiled without them, so they hold the program's values at any time it runs. Saved in the standard
//! (not compacted) XSAVE form, which is what a signal frame shows (SDM volume 1, chapter 13); FXSAVE without XSAVE.
#![expect(clippy::cast_possible_truncation, reason = "the instructions take their mask in two halves")]

use core::arch::asm;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use linux::InvalidVectorState;

use super::cpu::{self, Features};
use super::user_copy;

/// x87, SSE, AVX, the MPX pair left out, AVX-512; no protection keys (CR4.PKE stays 0) and no AMX (needs a permission).
const WANTED: u64 = 0b1110_0111;
/// The standard form with AVX-512; states that would be larger are not switched on.
const VECTOR_STATE_BYTES_MAX: usize = 2816;
const FXSAVE_BYTES: usize = 512;
const XSAVE_HEADER_BYTES: usize = 64;
const MXCSR_OFFSET: usize = 24;
const MXCSR_MASK_OFFSET: usize = 28;
const MXCSR_DEFAULT: u32 = 0x1f80;
const MXCSR_MASK_DEFAULT: u32 = 0xffbf;

/// XCR0 of every CPU.
static SWITCHED_ON: AtomicU64 = AtomicU64::new(0b11);
static ENABLED: AtomicU64 = AtomicU64::new(0b11);
static MXCSR_MASK: AtomicU32 = AtomicU32::new(MXCSR_MASK_DEFAULT);
static SIZE_BYTES: AtomicUsize = AtomicUsize::new(FXSAVE_BYTES);

/// A buffer that the instructions accept: its first `size_bytes()` bytes are initialised, the rest is never looked at.
#[repr(C, align(64))]
struct Area(MaybeUninit<[u8; VECTOR_STATE_BYTES_MAX]>);

impl Area {
    /// A state of zeroes.
    #[inline]
    fn new() -> Self {
        let mut area = Self(MaybeUninit::uninit());
        // SAFETY: the size is at most the area's (`init`).
        unsafe { area.0.as_mut_ptr().cast::<u8>().write_bytes(0, size_bytes()) };
        area
    }

    #[inline]
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: so many bytes were initialised by `new`.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), size_bytes()) }
    }
}

/// Decides what is switched on everywhere, and does so on the first CPU.
pub(crate) fn init() {
    if cpu::features().contains(Features::XSAVE) {
        let leaf = cpu::cpuid(0xd, 0);
        let supported = u64::from(leaf.edx) << 32 | u64::from(leaf.eax);
        let mut enabled = supported & WANTED;
        if enabled & 0b1110_0000 != 0b1110_0000 {
            enabled &= 0b111;
        }
        SWITCHED_ON.store(enabled, Ordering::Relaxed);
        switch_on();
        // With XCR0 set, EBX is the size of what is enabled.
        let size = cpu::cpuid(0xd, 0).ebx as usize;
        if size <= VECTOR_STATE_BYTES_MAX {
            ENABLED.store(enabled, Ordering::Relaxed);
            SIZE_BYTES.store(size, Ordering::Relaxed);
        }
    }
    MXCSR_MASK.store(find_mxcsr_mask(), Ordering::Relaxed);
    reset();
}

/// Does on another CPU what `init` did on the first.
pub(crate) fn init_other_cpu() {
    if cpu::features().contains(Features::XSAVE) {
        switch_on();
    }
    reset();
}

#[inline(never)]
fn switch_on() {
    let enabled = SWITCHED_ON.load(Ordering::Relaxed);
    // SAFETY: CR4.OSXSAVE is set and every bit is one the CPU supports, AVX-512's three together.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") enabled as u32, in("edx") (enabled >> 32) as u32, options(nostack));
    }
}

/// The state a program starts with: the legacy part, and a header that says that nothing differs from its initial state.
#[repr(C, align(64))]
struct Initial([u8; FXSAVE_BYTES + XSAVE_HEADER_BYTES]);

static INITIAL: Initial = {
    let mut bytes = [0; FXSAVE_BYTES + XSAVE_HEADER_BYTES];
    let mxcsr = MXCSR_DEFAULT.to_le_bytes();
    (bytes[0], bytes[1]) = (0x7f, 0x03);
    (bytes[MXCSR_OFFSET], bytes[MXCSR_OFFSET + 1]) = (mxcsr[0], mxcsr[1]);
    Initial(bytes)
};

/// Brings the registers to the state a program starts with.
pub(crate) fn reset() {
    reset_components(enabled());
}

/// Brings components, which are switched on, to their initial state.
#[inline(never)]
fn reset_components(mask: u64) {
    if cpu::features().contains(Features::XSAVE) {
        // SAFETY: aligned; the header has no component, so nothing behind it is read; MXCSR has no reserved bit.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) &raw const INITIAL, in("eax") mask as u32, in("edx") (mask >> 32) as u32,
                options(nostack, readonly));
        }
    } else {
        // SAFETY: aligned; MXCSR has no reserved bit.
        unsafe { asm!("fxrstor64 [{}]", in(reg) &raw const INITIAL, options(nostack, readonly)) };
    }
}

/// Components switched on, as XCR0 has them.
pub(crate) fn enabled() -> u64 {
    ENABLED.load(Ordering::Relaxed)
}

/// Bytes of the state.
pub(crate) fn size_bytes() -> usize {
    SIZE_BYTES.load(Ordering::Relaxed)
}

/// Stores the registers in `destination`, which takes as much as it has room for.
#[inline(never)]
pub(crate) fn save(destination: &mut [u8]) {
    let mut area = Area::new();
    if cpu::features().contains(Features::XSAVE) {
        let mask = enabled();
        // SAFETY: the area is aligned, zeroed (so its header is valid) and large enough (checked in `init`).
        unsafe {
            asm!("xsave64 [{}]", in(reg) area.bytes().as_mut_ptr(), in("eax") mask as u32, in("edx") (mask >> 32) as u32,
                options(nostack));
        }
    } else {
        // SAFETY: the area is aligned to 16 and has 512 bytes.
        unsafe { asm!("fxsave64 [{}]", in(reg) area.bytes().as_mut_ptr(), options(nostack)) };
    }
    let count = size_bytes().min(destination.len());
    destination[..count].copy_from_slice(&area.bytes()[..count]);
}

/// Loads the components of `features` that `source` has, and resets the others. The bytes are the program's.
pub(crate) fn restore(source: &[u8], features: u64) -> Result<(), InvalidVectorState> {
    if source.len() < FXSAVE_BYTES {
        return Err(InvalidVectorState);
    }
    let mut area = Area::new();
    let count = source.len().min(size_bytes());
    area.bytes()[..count].copy_from_slice(&source[..count]);
    let mut components = 0b11;
    if count >= FXSAVE_BYTES + XSAVE_HEADER_BYTES {
        let header = &mut area.bytes()[FXSAVE_BYTES..FXSAVE_BYTES + XSAVE_HEADER_BYTES];
        let mut word = [0; 8];
        word.copy_from_slice(&header[..8]);
        components = u64::from_le_bytes(word);
        // XCOMP_BV and the reserved words must be zero for the standard form.
        header[8..].fill(0);
    }
    let mut word = [0; 4];
    word.copy_from_slice(&area.bytes()[MXCSR_OFFSET..MXCSR_OFFSET + 4]);
    if u32::from_le_bytes(word) & !mxcsr_mask() != 0 {
        return Err(InvalidVectorState);
    }
    load(&mut area, components & features & enabled());
    Ok(())
}

/// An instruction, or two, on program memory at `$address`; on a fault that cannot be served the flag stays 1.
macro_rules! with_user_memory {
    ($first:literal, $second:literal, $address:expr, $mask:expr) => {{
        let mut is_fault = 1u32;
        asm!(
            concat!("2: ", $first),
            concat!("3: ", $second),
            "xor {fault:e}, {fault:e}",
            "4:",
            ".pushsection .user_copy_fixups, \"a\"",
            ".balign 4",
            ".long 2b - .",
            ".long 4b - .",
            ".long 3b - .",
            ".long 4b - .",
            ".popsection",
            address = in(reg) $address,
            fault = inout(reg) is_fault,
            in("eax") $mask as u32,
            in("edx") ($mask >> 32) as u32,
            options(nostack),
        );
        is_fault == 0
    }};
}

/// Stores the registers in program memory, as `save` does, and marks the legacy part as present. False: the memory is not there.
#[inline(never)]
pub(crate) fn save_to_user(address: usize) -> bool {
    if !user_copy::is_user_range(address, size_bytes()) || !address.is_multiple_of(64) {
        return false;
    }
    // SAFETY: aligned and in the program's half, where faults are recovered; `size_bytes` is what the instruction writes.
    unsafe {
        if cpu::features().contains(Features::XSAVE) {
            with_user_memory!("xsave64 [{address}]", "or byte ptr [{address} + 512], 3", address, enabled())
        } else {
            with_user_memory!("fxsave64 [{address}]", "nop", address, enabled())
        }
    }
}

/// Loads the components of `features` from an XSAVE image in program memory and resets the others; none: all there is is the
/// legacy part. When the memory is not there or the image is invalid, all are reset.
#[inline(never)]
pub(crate) fn restore_from_user(address: usize, features: Option<u64>) -> Result<(), InvalidVectorState> {
    let is_loaded = load_from_user(address, features);
    if !is_loaded {
        reset();
    }
    if is_loaded { Ok(()) } else { Err(InvalidVectorState) }
}

#[inline(never)]
fn load_from_user(address: usize, features: Option<u64>) -> bool {
    /// x87 and SSE.
    const LEGACY: u64 = 3;
    if !user_copy::is_user_range(address, size_bytes()) {
        return false;
    }
    // The CPU checks this as well, but not every emulator does.
    if user_copy::load_u32(address + MXCSR_OFFSET).is_none_or(|mxcsr| mxcsr & !mxcsr_mask() != 0) {
        return false;
    }
    let has_xsave = cpu::features().contains(Features::XSAVE);
    let mask = enabled() & features.unwrap_or(LEGACY);
    if has_xsave && mask != enabled() {
        reset_components(enabled() & !mask);
    }
    // SAFETY: in the program's half, where faults are recovered, those of an invalid image included.
    unsafe {
        if has_xsave && features.is_some() {
            with_user_memory!("xrstor64 [{address}]", "nop", address, mask)
        } else {
            with_user_memory!("fxrstor64 [{address}]", "nop", address, mask)
        }
    }
}

/// Saves the registers of a thread that leaves the CPU. Components in their initial state, or unchanged since they were loaded from
/// the same place, are left out where the CPU can tell (XSAVEOPT; SDM volume 1, 13.9).
///
/// # Safety
/// `area` has `size_bytes()` bytes, is aligned to 64, and its header was zero before the first save; only `save_to`, `save_whole_to`
/// and `load_from` are used on it.
#[inline(never)]
pub(crate) unsafe fn save_to(area: *mut u8) {
    let mask = enabled();
    let (low, high) = (mask as u32, (mask >> 32) as u32);
    let features = cpu::features();
    // SAFETY: per the contract; each form is used only where the CPU has it.
    unsafe {
        if features.contains(Features::XSAVEOPT) {
            asm!("xsaveopt64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack));
        } else if features.contains(Features::XSAVE) {
            asm!("xsave64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack));
        }
    }
}

/// Saves all registers, for a thread that begins with a copy of them.
///
/// # Safety
/// As for `save_to`.
#[inline(never)]
pub(crate) unsafe fn save_whole_to(area: *mut u8) {
    let mask = enabled();
    // SAFETY: per the contract.
    unsafe {
        if cpu::features().contains(Features::XSAVE) {
            asm!("xsave64 [{}]", in(reg) area, in("eax") mask as u32, in("edx") (mask >> 32) as u32, options(nostack));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack));
        }
    }
}

/// Loads the registers of a thread that comes to the CPU.
///
/// # Safety
/// `area` was filled by `save_to` or `save_whole_to`.
#[inline(never)]
pub(crate) unsafe fn load_from(area: *const u8) {
    let mask = enabled();
    // SAFETY: per the contract the area is valid for the instruction.
    unsafe {
        if cpu::features().contains(Features::XSAVE) {
            asm!("xrstor64 [{}]", in(reg) area, in("eax") mask as u32, in("edx") (mask >> 32) as u32,
                options(nostack, readonly));
        } else {
            asm!("fxrstor64 [{}]", in(reg) area, options(nostack, readonly));
        }
    }
}

/// The x87 control and status words.
#[inline(never)]
pub(crate) fn x87_words() -> (u16, u16) {
    let (mut control, mut status) = (0u16, 0u16);
    // SAFETY: stores two words; neither instruction waits for or raises a pending exception.
    unsafe {
        asm!("fnstcw word ptr [{}]", "fnstsw word ptr [{}]", in(reg) &mut control, in(reg) &mut status,
            options(nostack, preserves_flags));
    }
    (control, status)
}

/// The SSE control and status register.
#[inline(never)]
pub(crate) fn mxcsr() -> u32 {
    let mut value = 0u32;
    // SAFETY: stores one word.
    unsafe { asm!("stmxcsr dword ptr [{}]", in(reg) &mut value, options(nostack, preserves_flags)) };
    value
}

/// Loads the components of `area`, whose MXCSR is valid, and initialises the others.
#[inline(never)]
fn load(area: &mut Area, components: u64) {
    if cpu::features().contains(Features::XSAVE) {
        area.bytes()[FXSAVE_BYTES..FXSAVE_BYTES + 8].copy_from_slice(&components.to_le_bytes());
        let mask = enabled();
        // SAFETY: aligned; the header has only enabled components and zeroes; MXCSR has no reserved bit.
        unsafe {
            asm!("xrstor64 [{}]", in(reg) area.bytes().as_ptr(), in("eax") mask as u32, in("edx") (mask >> 32) as u32,
                options(nostack, readonly));
        }
    } else {
        // SAFETY: aligned; MXCSR has no reserved bit.
        unsafe { asm!("fxrstor64 [{}]", in(reg) area.bytes().as_ptr(), options(nostack, readonly)) };
    }
}

/// The MXCSR bits that this CPU accepts.
#[inline]
fn mxcsr_mask() -> u32 {
    MXCSR_MASK.load(Ordering::Relaxed)
}

#[inline(never)]
fn find_mxcsr_mask() -> u32 {
    let mut area = Area::new();
    // SAFETY: the area is aligned to 16 and has 512 bytes.
    unsafe { asm!("fxsave64 [{}]", in(reg) area.bytes().as_mut_ptr(), options(nostack)) };
    let mut word = [0; 4];
    word.copy_from_slice(&area.bytes()[MXCSR_MASK_OFFSET..MXCSR_MASK_OFFSET + 4]);
    let reported = u32::from_le_bytes(word);
    if reported == 0 { MXCSR_MASK_DEFAULT } else { reported }
}
