//! Restartable sequences: [`Sequence`], what the kernel keeps of a thread's `struct rseq`, and what happens to the program in a
//! critical section.
//!
//! # 1. The promise
//!
//! A registered thread finds in its `struct rseq` the CPU on which it runs, whenever its program runs. While the program is in the
//! critical section that `rseq_cs` describes, it has not been off the CPU and no signal has been delivered since the section
//! began; if that happens, it continues at the section's abort address. Linux: kernel/rseq.c, `Documentation/userspace-api`
//! has no more than the header `linux/rseq.h`.
//!
//! # 2. How it is kept
//!
//! The machine calls [`Thread::was_preempted`] whenever the thread leaves a CPU. That sets two things: what happened
//! ([`Sequence::interrupt`]), and the attention of the exit path, which calls [`resume`] after everything that may change the program's
//! registers or sleep. To read and write the program's memory may itself put the thread off the CPU; then the attention is set once more,
//! and the exit path goes round again. So what the program finds was written on the CPU on which it runs, after it came there.
//!
//! A signal handler interrupts a section too: [`before_handler`] runs before the registers go to the handler's frame, so that the
//! handler returns to the abort address.
//!
//! # 3. Numbers of concurrency
//!
//! `mm_cid` has to differ between threads of a process that run at the same time, and to be small. It is the number of the CPU.
//! Linux gives smaller ones to processes that run on few CPUs of many.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use abi::sequence::{RSEQ_ALIGNMENT, RSEQ_CPU_ID_UNINITIALIZED, RSEQ_FEATURE_SIZE, RSEQ_SIZE_ORIGINAL};
use abi::{Errno, Rseq, RseqCs, Siginfo, Signal, signal::SI_KERNEL};
use core::mem::offset_of;
use mm::USER_END;
use mm::user::{check_range, read_user_struct, write_user_struct};

use crate::registers::Registers;
use crate::signal::force;
use crate::thread::{Attention, Thread};

/// The signature of an abort address is this many bytes before it.
const SIGNATURE_SIZE: u64 = size_of::<u32>() as u64;

/// The registration of a thread. Changed by the thread itself; others only note that it was interrupted.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// Of its `struct rseq`; 0: it has none.
    address: AtomicUsize,
    length: AtomicU32,
    signature: AtomicU32,
    /// The CPU that the program was told; [`RSEQ_CPU_ID_UNINITIALIZED`] before it was told any.
    told_cpu: AtomicU32,
    /// The thread was off the CPU since its section was last looked at.
    is_interrupted: AtomicBool,
}

/// A registration that cannot be served: its memory cannot be reached, or its section makes no sense. The program gets `SIGSEGV`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadSequence;

impl From<Errno> for BadSequence {
    fn from(_: Errno) -> Self {
        Self
    }
}

impl Sequence {
    pub(crate) const fn new() -> Self {
        Self {
            address: AtomicUsize::new(0),
            length: AtomicU32::new(0),
            signature: AtomicU32::new(0),
            told_cpu: AtomicU32::new(RSEQ_CPU_ID_UNINITIALIZED),
            is_interrupted: AtomicBool::new(false),
        }
    }

    /// Notes that the thread was off the CPU. True: it is registered, and its exit path has to look.
    #[inline]
    pub(crate) fn interrupt(&self) -> bool {
        if self.address.load(Relaxed) == 0 {
            return false;
        }
        self.is_interrupted.store(true, Relaxed);
        true
    }

    /// Forgets the registration: the program that made it is gone.
    pub(crate) fn forget(&self) {
        self.address.store(0, Relaxed);
        self.told_cpu.store(RSEQ_CPU_ID_UNINITIALIZED, Relaxed);
        self.is_interrupted.store(false, Relaxed);
    }

    fn is_registered_as(&self, address: usize, length: u32) -> bool {
        self.address.load(Relaxed) == address && self.length.load(Relaxed) == length
    }
}

/// Registers the `struct rseq` of a thread. The program finds its CPU there when the call returns.
pub(crate) fn register(thread: &Thread, address: usize, length: u32, signature: u32) -> Result<(), Errno> {
    let sequence = &thread.sequence;
    if sequence.address.load(Relaxed) != 0 {
        if !sequence.is_registered_as(address, length) {
            return Err(Errno::EINVAL);
        }
        return Err(if sequence.signature.load(Relaxed) == signature { Errno::EBUSY } else { Errno::EPERM });
    }
    let alignment = if length == RSEQ_SIZE_ORIGINAL { RSEQ_SIZE_ORIGINAL } else { RSEQ_ALIGNMENT };
    if length < RSEQ_SIZE_ORIGINAL || length < RSEQ_FEATURE_SIZE || !address.is_multiple_of(alignment as usize) {
        return Err(Errno::EINVAL);
    }
    check_range(address, length as usize)?;
    // Nobody can be in a section yet; what lies there is left over.
    if read_user_struct::<u64>(section_field(address))? != 0 {
        write_user_struct(section_field(address), &0_u64)?;
    }
    sequence.forget();
    sequence.length.store(length, Relaxed);
    sequence.signature.store(signature, Relaxed);
    sequence.address.store(address, Relaxed);
    thread.note(Attention::RESTARTABLE_SEQUENCE);
    Ok(())
}

/// Takes a registration back.
pub(crate) fn unregister(thread: &Thread, address: usize, length: u32, signature: u32) -> Result<(), Errno> {
    let sequence = &thread.sequence;
    if address == 0 || !sequence.is_registered_as(address, length) {
        return Err(Errno::EINVAL);
    }
    if sequence.signature.load(Relaxed) != signature {
        return Err(Errno::EPERM);
    }
    write_numbers(address, 0, RSEQ_CPU_ID_UNINITIALIZED, 0)?;
    sequence.forget();
    Ok(())
}

/// On the exit path, with the registers with which the program continues.
pub(crate) fn resume(thread: &Thread, registers: &mut Registers) {
    if end_section(thread, registers).and_then(|()| tell_cpu(thread)).is_err() {
        force(thread, Siginfo::new(Signal::SIGSEGV, SI_KERNEL));
    }
}

/// Before the registers go to the frame of a signal handler.
#[inline]
pub(crate) fn before_handler(thread: &Thread, registers: &mut Registers) -> Result<(), BadSequence> {
    if !thread.sequence.interrupt() {
        return Ok(());
    }
    end_section(thread, registers)?;
    tell_cpu(thread)
}

/// Ends the section that the program is in if it was interrupted; one that it is not in any more is forgotten.
fn end_section(thread: &Thread, registers: &mut Registers) -> Result<(), BadSequence> {
    let sequence = &thread.sequence;
    let address = sequence.address.load(Relaxed);
    if address == 0 {
        return Ok(());
    }
    let is_interrupted = sequence.is_interrupted.swap(false, Relaxed);
    let pointer: u64 = read_user_struct(section_field(address))?;
    if pointer == 0 {
        return Ok(());
    }
    let section = read_section(pointer, sequence.signature.load(Relaxed))?;
    if registers.rip.wrapping_sub(section.start_ip) < section.post_commit_offset {
        // The flags that once let a section go on are no more, in either place.
        let flags: u32 = read_user_struct(field(address, offset_of!(Rseq, flags)))?;
        if section.flags != 0 || flags != 0 {
            return Err(BadSequence);
        }
        if !is_interrupted {
            return Ok(());
        }
        registers.rip = section.abort_ip;
    }
    Ok(write_user_struct(section_field(address), &0_u64)?)
}

/// Reads the description of a section and checks it.
fn read_section(pointer: u64, signature: u32) -> Result<RseqCs, BadSequence> {
    let end = USER_END as u64;
    let address = usize::try_from(pointer).map_err(|_| BadSequence)?;
    let section: RseqCs = read_user_struct(address)?;
    let RseqCs { version, start_ip, post_commit_offset, abort_ip, .. } = section;
    let section_end = start_ip.checked_add(post_commit_offset).ok_or(BadSequence)?;
    let is_in_program = start_ip < end && section_end < end && abort_ip < end;
    let aborts_inside = abort_ip.wrapping_sub(start_ip) < post_commit_offset;
    if version != 0 || !is_in_program || aborts_inside {
        return Err(BadSequence);
    }
    let before = abort_ip.checked_sub(SIGNATURE_SIZE).ok_or(BadSequence)?;
    let found: u32 = read_user_struct(usize::try_from(before).map_err(|_| BadSequence)?)?;
    if found == signature { Ok(section) } else { Err(BadSequence) }
}

/// Tells the program on which CPU it runs, if that is new.
fn tell_cpu(thread: &Thread) -> Result<(), BadSequence> {
    let sequence = &thread.sequence;
    let address = sequence.address.load(Relaxed);
    let cpu = thread.platform().current_cpu();
    if address != 0 && sequence.told_cpu.load(Relaxed) != cpu {
        write_numbers(address, cpu, cpu, cpu)?;
        sequence.told_cpu.store(cpu, Relaxed);
    }
    Ok(())
}

fn write_numbers(address: usize, start: u32, cpu: u32, concurrency: u32) -> Result<(), Errno> {
    let numbers = [
        (offset_of!(Rseq, cpu_id_start), start),
        (offset_of!(Rseq, cpu_id), cpu),
        (offset_of!(Rseq, node_id), 0),
        (offset_of!(Rseq, mm_cid), concurrency),
    ];
    for (offset, number) in numbers {
        write_user_struct(field(address, offset), &number)?;
    }
    Ok(())
}

/// A field of a `struct rseq`, whose end was checked to lie in the program's half.
fn field(address: usize, offset: usize) -> usize {
    address.saturating_add(offset)
}

fn section_field(address: usize) -> usize {
    field(address, offset_of!(Rseq, rseq_cs))
}
