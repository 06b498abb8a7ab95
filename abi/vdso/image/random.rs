//! `getrandom` without the kernel: a generator for each thread of the program, keyed by the kernel's.
//!
//! 1. The program (its libc) asks how large a state is and how memory for states is to be mapped, maps some, and hands one
//!    to every call. All zero is a fresh state.
//! 2. A state has a key for ChaCha20 and a batch of bytes not given out yet. A refill makes both, the new key over the
//!    old one ("fast key erasure", D. J. Bernstein, 2017); bytes given out are cleared. So a state never tells what was
//!    given out before.
//! 3. A key is asked of the kernel for a fresh state, and whenever the kernel's generator was seeded since: the page has
//!    the count ([`crate::page::Random`]), the state the count of its key.
//! 4. The state's memory is zero in a forked child and whenever the kernel took the page for something else, at any moment. A
//!    count of zero is no key's: after the work is done a look at the count tells whether the key was one to the end.
//!    If not, all is done again, once; then the kernel is asked.
//! 5. A signal handler may come here while the interrupted code is here with the same state: the state is marked while it
//!    is used, and one that is marked is left alone. The kernel is asked then.

use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{Ordering, compiler_fence};

use crate::page;
use crate::system_call::system_call;

global_asm!(include_str!("chacha20.s"));

const SYS_GETRANDOM: usize = 318;
const EFAULT: isize = 14;
/// GRND_NONBLOCK, GRND_RANDOM, GRND_INSECURE.
const KNOWN_FLAGS: u32 = 7;
const PROT_READ_WRITE: u32 = 3;
/// MAP_DROPPABLE | MAP_ANONYMOUS.
const MAP_FLAGS: u32 = 0x08 | 0x20;
/// The length that asks for [`Parameters`].
const ASK: usize = usize::MAX;
/// The most bytes a call gives, as the system call.
const LEN_MAX: usize = 0x7fff_f000;
const PAGE_BYTES: usize = 4096;
const BLOCK: usize = 64;
const BATCH: usize = 96;
const KEY: usize = 32;

/// `struct vgetrandom_opaque_params`.
#[repr(C)]
pub struct Parameters {
    state_len: u32,
    protection: u32,
    flags: u32,
    reserved: [u32; 13],
}

/// The state of one thread. Nobody outside looks into it.
#[repr(C)]
pub struct State {
    /// Bytes to give out, from `position` on.
    batch: [u8; BATCH],
    key: [u8; KEY],
    generation: u64,
    position: u8,
    is_used: bool,
}

/// A refill makes batch and key in one go.
const REFILL: usize = BATCH + KEY;
const _: () = assert!(REFILL % BLOCK == 0 && offset_of!(State, key) == BATCH);

/// Makes `count` blocks from number `counter` on, which advances. Called by name: the address of a function would need a table.
///
/// # Safety
/// The key may be read, and `count` blocks written at `output`.
unsafe fn chacha20_blocks(output: *mut u8, key: *const u8, counter: &mut u64, count: usize) {
    // SAFETY: chacha20.s does what the contract allows, as a C function.
    unsafe {
        asm!("call chacha20_blocks", in("rdi") output, in("rsi") key, in("rdx") counter, in("rcx") count,
            clobber_abi("C"));
    }
}

/// # Safety
/// `buffer` may be written, `len` bytes of it. `state` is a state, or parameters that may be written if `state_len` is
/// [`ASK`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __vdso_getrandom(
    buffer: *mut u8,
    len: usize,
    flags: u32,
    state: *mut State,
    state_len: usize,
) -> isize {
    let ask_kernel = || {
        // SAFETY: the kernel checks what it is given.
        unsafe { system_call(SYS_GETRANDOM, [buffer as usize, len, flags as usize]) }
    };
    if state_len == ASK && buffer.is_null() && len == 0 && flags == 0 {
        // SAFETY: per the contract.
        unsafe { state.cast::<Parameters>().write(PARAMETERS) };
        return 0;
    }
    // Half a state could vanish if it lay on two pages.
    if state as usize % PAGE_BYTES + size_of::<State>() > PAGE_BYTES {
        return -EFAULT;
    }
    if flags & !KNOWN_FLAGS != 0 || state_len != size_of::<State>() || page().random.generation() == 0 {
        return ask_kernel();
    }
    let len = len.min(LEN_MAX);
    if len == 0 {
        return 0;
    }
    // SAFETY: per the contract. Volatile and fenced: a signal handler is another reader.
    unsafe {
        if (&raw const (*state).is_used).read_volatile() {
            return ask_kernel();
        }
        (&raw mut (*state).is_used).write_volatile(true);
        compiler_fence(Ordering::SeqCst);
        let is_done = fill(state, buffer, len) || fill(state, buffer, len);
        compiler_fence(Ordering::SeqCst);
        (&raw mut (*state).is_used).write_volatile(false);
        if is_done { len as isize } else { ask_kernel() }
    }
}

const PARAMETERS: Parameters = Parameters {
    state_len: size_of::<State>() as u32,
    protection: PROT_READ_WRITE,
    flags: MAP_FLAGS,
    reserved: [0; 13],
};

/// Fills the buffer. False: the state's key was not one, and the same, to the end.
///
/// # Safety
/// As for [`__vdso_getrandom`]; the state is the caller's alone.
unsafe fn fill(state: *mut State, mut buffer: *mut u8, mut len: usize) -> bool {
    // SAFETY: all accesses stay in the state, or in the first `len` bytes of the buffer.
    unsafe {
        if !has_key(state) {
            return false;
        }
        let key = (&raw const (*state).key).cast::<u8>();
        let mut counter = 0_u64;
        loop {
            let position = usize::from((&raw const (*state).position).read_volatile()).min(BATCH);
            let count = len.min(BATCH - position);
            give_out((&raw mut (*state).batch).cast::<u8>().add(position), buffer, count);
            (&raw mut (*state).position).write_volatile((position + count) as u8);
            buffer = buffer.add(count);
            len -= count;
            if len == 0 {
                compiler_fence(Ordering::SeqCst);
                return (&raw const (*state).generation).read_volatile() == page().random.generation();
            }
            let blocks = len / BLOCK;
            chacha20_blocks(buffer, key, &mut counter, blocks);
            buffer = buffer.add(blocks * BLOCK);
            len -= blocks * BLOCK;
            chacha20_blocks(state.cast::<u8>(), key, &mut counter, REFILL / BLOCK);
            (&raw mut (*state).position).write_volatile(0);
        }
    }
}

/// Gives the state a key, unless it has one that is young enough. False: the kernel gave none.
///
/// # Safety
/// The state is the caller's alone.
unsafe fn has_key(state: *mut State) -> bool {
    // SAFETY: all accesses stay in the state.
    unsafe {
        let generation = page().random.generation();
        if (&raw const (*state).generation).read_volatile() == generation {
            return true;
        }
        // First, so that a page that is taken during the call shows.
        (&raw mut (*state).generation).write_volatile(generation);
        compiler_fence(Ordering::SeqCst);
        let key = &raw mut (*state).key;
        if system_call(SYS_GETRANDOM, [key as usize, KEY, 0]) != KEY as isize {
            (&raw mut (*state).generation).write_volatile(0);
            return false;
        }
        (&raw mut (*state).position).write_volatile(BATCH as u8);
        true
    }
}

/// Moves bytes out of the batch; what was there is cleared.
///
/// # Safety
/// `count` bytes may be written at both.
unsafe fn give_out(batch: *mut u8, buffer: *mut u8, count: usize) {
    let (words, rest) = (count / 8, count % 8);
    // SAFETY: per the contract; no alignment is assumed.
    unsafe {
        for index in 0..words {
            let (from, to) = (batch.cast::<u64>().add(index), buffer.cast::<u64>().add(index));
            to.write_unaligned(from.read_unaligned());
            from.write_unaligned(0);
        }
        for index in count - rest..count {
            buffer.add(index).write(batch.add(index).read());
            batch.add(index).write(0);
        }
    }
}
