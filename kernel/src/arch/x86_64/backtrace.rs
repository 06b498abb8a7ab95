//! Backtraces of what an interrupt interrupted: the kernel's frames, and behind them the program's.
//!
//! 1. Kernel code has frame pointers, so its chain is followed, but only within the stack of the current thread: assembly and the first
//!    instructions of a function run with the frame pointer of somebody else, at worst the program's, which may be anything.
//! 2. Where the chain leaves the stack, it holds the frame pointer of the program, unless an exception brought it into the kernel: that
//!    saved all registers, and cut the chain by a zero.
//! 3. The program need not have frame pointers, so what is found there is a guess that whoever shows it has to check. Its stack
//!    is read through the page tables, as an interrupt handler must not fault. Interrupts are off, so no table or page that
//!    is found can be freed meanwhile: that waits for this CPU to flush.

use linux::Registers;

use super::boot::is_kernel_text;
use super::percpu::PerCpu;
use crate::memory::paging;

/// The most frames of the kernel, and of the program.
const KERNEL_FRAMES_MAX: usize = 30;
const PROGRAM_FRAMES_MAX: usize = 60;
/// How far a frame of the program may be from the one before.
const PROGRAM_FRAME_BYTES_MAX: u64 = 1 << 20;
const WORD: u64 = 8;

/// Addresses of instructions, innermost first.
pub(crate) struct Backtrace {
    addresses: [u64; KERNEL_FRAMES_MAX + PROGRAM_FRAMES_MAX],
    len: usize,
    kernel_len: usize,
    top: u64,
}

impl Backtrace {
    /// Follows what `registers` were saved of. In an interrupt handler, with interrupts off; `has_program` says whether the
    /// current thread runs one.
    pub(crate) fn take(registers: &Registers, has_program: bool) -> Self {
        let mut trace = Self { addresses: [0; KERNEL_FRAMES_MAX + PROGRAM_FRAMES_MAX], len: 0, kernel_len: 0, top: 0 };
        let (mut rip, mut frame, mut stack) = (registers.rip, registers.rbp, registers.rsp);
        if is_kernel_address(rip) {
            frame = trace.follow_kernel(rip, frame);
            trace.kernel_len = trace.len;
            let Some(saved) = has_program.then(|| PerCpu::current().program_frame()) else { return trace };
            (rip, stack) = (saved.rip, saved.rsp);
            if frame == 0 {
                frame = saved.rbp;
            }
        }
        if has_program && !is_kernel_address(rip) {
            trace.top = read_program_word(stack).unwrap_or_default();
            trace.follow_program(rip, frame);
        }
        trace
    }

    /// The kernel's frames.
    pub(crate) fn kernel(&self) -> &[u64] {
        &self.addresses[..self.kernel_len]
    }

    /// What is at the top of the program's stack: where a function that has no frame returns to. 0: it cannot be read.
    pub(crate) fn top(&self) -> u64 {
        self.top
    }

    /// The program's frames.
    pub(crate) fn program(&self) -> &[u64] {
        &self.addresses[self.kernel_len..self.len]
    }

    fn push(&mut self, address: u64) {
        if let Some(place) = self.addresses.get_mut(self.len) {
            *place = address;
            self.len += 1;
        }
    }

    /// Answers the frame pointer with which the chain leaves the stack.
    fn follow_kernel(&mut self, rip: u64, mut frame: u64) -> u64 {
        self.push(rip);
        let stack = PerCpu::current().kernel_stack();
        for _ in 1..KERNEL_FRAMES_MAX {
            let Some((next, return_address)) = read_kernel_frame(&stack, frame) else { return frame };
            if is_kernel_address(return_address) {
                self.push(return_address);
            }
            if stack.contains(&next) && next <= frame {
                return 0;
            }
            frame = next;
        }
        0
    }

    fn follow_program(&mut self, rip: u64, mut frame: u64) {
        self.push(rip);
        for _ in 1..PROGRAM_FRAMES_MAX {
            if !frame.is_multiple_of(WORD) {
                return;
            }
            let Some(above) = frame.checked_add(WORD) else { return };
            let (Some(next), Some(return_address)) = (read_program_word(frame), read_program_word(above)) else {
                return;
            };
            if return_address == 0 {
                return;
            }
            self.push(return_address);
            if next <= frame || next - frame > PROGRAM_FRAME_BYTES_MAX {
                return;
            }
            frame = next;
        }
    }
}

fn is_kernel_address(address: u64) -> bool {
    usize::try_from(address).is_ok_and(is_kernel_text)
}

/// The saved frame pointer and the return address of a frame, if it lies in the stack.
fn read_kernel_frame(stack: &core::ops::Range<u64>, frame: u64) -> Option<(u64, u64)> {
    let last = stack.end.checked_sub(2 * WORD)?;
    if !frame.is_multiple_of(WORD) || frame < stack.start || frame > last {
        return None;
    }
    let words = usize::try_from(frame).ok()? as *const u64;
    // SAFETY: both words lie in the current thread's kernel stack, which is mapped as long as it is current, and are aligned. What is
    // below the interrupted stack pointer may be anything, which is no more than a number here.
    unsafe { Some((words.read_volatile(), words.add(1).read_volatile())) }
}

fn read_program_word(address: u64) -> Option<u64> {
    paging::read_program_word(usize::try_from(address).ok()?)
}
