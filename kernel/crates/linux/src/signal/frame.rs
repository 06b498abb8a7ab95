//! The frame of a signal handler: Linux's `struct rt_sigframe` for x86-64, and the way back.
//!
//! From the handler's stack pointer up:
//!
//! ```text
//! rsp ->  pretcode                the handler's return address: sa_restorer, which calls rt_sigreturn
//!         struct ucontext         registers, signal mask, alternate stack
//!         siginfo_t               only written with SA_SIGINFO
//!         (alignment)
//!         vector state            at 64 bytes: XSAVE image with the software bytes at 464, then FP_XSTATE_MAGIC2
//! ```
//!
//! `rsp + 8` is a multiple of 16, as after a call. The 128 bytes below the interrupted stack pointer stay untouched: they
//! are the red zone.
//!
//! Nothing in a frame is trusted on the way back: of the flags only those a program may change are taken, of the segment
//! registers none, and the vector state is checked by the machine. The instruction pointer is checked on the exit path.

use core::mem::offset_of;

use abi::{
    Errno, FpxSwBytes, RtSigframe, Sigaction, SigactionFlags, Sigaltstack, Sigcontext, Siginfo, Signal, Sigset,
    Ucontext, UserSiginfo,
    signal::{
        FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, FPX_SW_BYTES_OFFSET, FXSAVE_SIZE, MINSIGSTKSZ, UC_FP_XSTATE,
        UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS, USER_CS, USER_DS,
    },
};
use mm::user::{check_range, read_user_into, read_user_struct, write_user_struct};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::platform::{CpuInfo, Platform};
use crate::registers::{Registers, flags};
use crate::signal::{AlternateStack, mask};
use crate::thread::Thread;

/// Below the stack pointer, functions without calls keep data.
const RED_ZONE: u64 = 128;
/// The vector state is aligned for XSAVE.
const VECTOR_STATE_ALIGNMENT: u64 = 64;
/// A frame's alignment, before the return address is counted.
const FRAME_ALIGNMENT: u64 = 16;
const FRAME_SIZE: u64 = size_of::<RtSigframe>() as u64;
const MAGIC2_SIZE: usize = size_of::<u32>();
/// The header behind the legacy part of an XSAVE image.
const XSAVE_HEADER_SIZE: usize = 64;

/// The part of a frame that every handler gets, up to the words that nobody writes; the mask follows them.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct FrameHead {
    pretcode: u64,
    uc_flags: u64,
    uc_link: u64,
    uc_stack: Sigaltstack,
    uc_mcontext: Sigcontext,
}

/// What a return takes from a frame, but for the mask.
#[derive(FromBytes, IntoBytes)]
#[repr(C)]
struct Saved {
    uc_stack: Sigaltstack,
    uc_mcontext: Sigcontext,
}

const UCONTEXT_OFFSET: u64 = offset_of!(RtSigframe, uc) as u64;
const SAVED_OFFSET: u64 = UCONTEXT_OFFSET + offset_of!(Ucontext, uc_stack) as u64;
const MASK_OFFSET: u64 = UCONTEXT_OFFSET + offset_of!(Ucontext, uc_sigmask) as u64;
const INFO_OFFSET: u64 = offset_of!(RtSigframe, info) as u64;

/// What the CPU leaves to the kernel in an XSAVE image; the header is completed by it.
#[derive(Clone, Copy, IntoBytes, Immutable)]
#[repr(C)]
struct VectorMiddle {
    software: FpxSwBytes,
    header: [u64; XSAVE_HEADER_SIZE / size_of::<u64>()],
}

/// The beginning of [`FpxSwBytes`], which is all that is looked at.
#[derive(FromBytes, IntoBytes)]
#[repr(C)]
struct Software {
    magic1: u32,
    extended_size: u32,
    xfeatures: u64,
    xstate_size: u32,
    _pad: u32,
}

/// What all frames of a machine have in common.
pub(crate) struct FrameLayout {
    /// Bytes of the vector state; a mark follows where there is a `middle`.
    state_size: usize,
    /// What is written into the vector state; none without XSAVE.
    middle: Option<VectorMiddle>,
}

impl FrameLayout {
    /// The layout for the processors of a machine.
    pub(crate) fn of(cpu: &CpuInfo) -> Self {
        let state_size = cpu.vector_state_size;
        let middle = cpu.vector_features.map(|features| VectorMiddle {
            software: FpxSwBytes {
                magic1: FP_XSTATE_MAGIC1,
                extended_size: size_u32(state_size + MAGIC2_SIZE),
                xfeatures: features,
                xstate_size: size_u32(state_size),
                ..FpxSwBytes::zeroed()
            },
            header: [0; XSAVE_HEADER_SIZE / size_of::<u64>()],
        });
        Self { state_size, middle }
    }

    /// Bytes of the vector state and its mark.
    fn state_len(&self) -> usize {
        self.state_size + if self.middle.is_some() { MAGIC2_SIZE } else { 0 }
    }
}

/// A frame could not be written or read: the program gets `SIGSEGV`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BadFrame;

impl From<Errno> for BadFrame {
    fn from(_: Errno) -> Self {
        Self
    }
}

/// The bytes a handler's stack needs for the frame alone, and at least what `sigaltstack` takes (`AT_MINSIGSTKSZ`).
pub fn stack_size_min(cpu: &CpuInfo) -> u64 {
    let vector_state = cpu.vector_state_size as u64 + MAGIC2_SIZE as u64 + VECTOR_STATE_ALIGNMENT - 1;
    (FRAME_SIZE + FRAME_ALIGNMENT - 1 + vector_state).next_multiple_of(FRAME_ALIGNMENT).max(MINSIGSTKSZ)
}

/// Where the parts of a frame go.
struct Place {
    frame: u64,
    vector_state: u64,
}

/// Writes the frame of a handler and makes the program continue in it.
pub(crate) fn build(
    thread: &Thread,
    registers: &mut Registers,
    signal: Signal,
    info: &Siginfo,
    action: &Sigaction,
) -> Result<(), BadFrame> {
    if !action.flags().contains(SigactionFlags::RESTORER) {
        return Err(BadFrame);
    }
    let layout = thread.process().system().frame_layout();
    let own = &thread.signals;
    let stack = own.stack();
    let place = place(stack, registers.rsp, action.flags(), layout)?;
    save_vector_state(thread.platform(), layout, user_address(place.vector_state)?)?;

    let mask = own.saved().unwrap_or_else(|| own.blocked());
    let xstate = if layout.middle.is_some() { UC_FP_XSTATE } else { 0 };
    let head = FrameHead {
        pretcode: action.restorer,
        uc_flags: xstate | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
        uc_link: 0,
        uc_stack: stack.in_frame(),
        uc_mcontext: sigcontext(thread, registers, mask, place.vector_state),
    };
    write_user_struct(user_address(place.frame)?, &head)?;
    write_user_struct(user_address(place.frame + MASK_OFFSET)?, &mask)?;
    if action.flags().contains(SigactionFlags::SIGINFO) {
        write_user_struct(user_address(place.frame + INFO_OFFSET)?, &UserSiginfo::from(*info))?;
    }
    if let Some(disarmed) = stack.disarmed() {
        own.set_stack(disarmed);
    }

    registers.rdi = u64::from(signal.number());
    registers.rsi = place.frame + INFO_OFFSET;
    registers.rdx = place.frame + UCONTEXT_OFFSET;
    registers.rax = 0;
    registers.rip = action.handler;
    registers.rsp = place.frame;
    registers.rflags &= !(flags::DF | flags::RF | flags::TF);
    thread.platform().reset_vector_state();
    Ok(())
}

fn user_address(address: u64) -> Result<usize, BadFrame> {
    usize::try_from(address).map_err(|_| BadFrame)
}

/// Writes the program's vector registers as a frame holds them: software bytes, a header, and a mark at the end.
fn save_vector_state(platform: &dyn Platform, layout: &FrameLayout, address: usize) -> Result<(), BadFrame> {
    let Some(middle) = &layout.middle else {
        return Ok(platform.save_vector_state_to_user(address)?);
    };
    check_range(address, layout.state_len())?;
    write_user_struct(address + FPX_SW_BYTES_OFFSET, middle)?;
    // With the header in place, since the CPU takes part of it over.
    platform.save_vector_state_to_user(address)?;
    Ok(write_user_struct(address + layout.state_size, &FP_XSTATE_MAGIC2)?)
}

fn size_u32(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Finds the place for a frame: below the interrupted stack pointer, or on the alternate stack.
fn place(
    stack: AlternateStack,
    stack_pointer: u64,
    flags: SigactionFlags,
    layout: &FrameLayout,
) -> Result<Place, BadFrame> {
    let mut top = stack_pointer.wrapping_sub(RED_ZONE);
    let mut is_on_alternate = stack.is_in_use(stack_pointer);
    if flags.contains(SigactionFlags::ONSTACK)
        && let Some(alternate) = stack.top_if_free(top)
    {
        top = alternate;
        is_on_alternate = true;
    }
    let vector_state = top.wrapping_sub(layout.state_len() as u64) & !(VECTOR_STATE_ALIGNMENT - 1);
    let frame = (vector_state.wrapping_sub(FRAME_SIZE) & !(FRAME_ALIGNMENT - 1)).wrapping_sub(8);
    // A stack that overflows must not silently continue below itself.
    if is_on_alternate && !stack.contains(frame) {
        return Err(BadFrame);
    }
    Ok(Place { frame, vector_state })
}

/// What the handler sees, and what its return restores. Inlined, as it is large and made only once.
#[inline(always)]
fn sigcontext(thread: &Thread, registers: &Registers, mask: Sigset, vector_state: u64) -> Sigcontext {
    let fault = thread.fault();
    let &Registers { r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, .. } =
        registers;
    Sigcontext {
        r8,
        r9,
        r10,
        r11,
        r12,
        r13,
        r14,
        r15,
        rdi,
        rsi,
        rbp,
        rbx,
        rdx,
        rax,
        rcx,
        rsp,
        rip,
        eflags: registers.rflags,
        cs: USER_CS,
        gs: 0,
        fs: 0,
        ss: USER_DS,
        err: fault.error_code,
        trapno: fault.trap_number,
        oldmask: mask.bits(),
        cr2: fault.fault_address,
        fpstate: vector_state,
    }
}

/// Undoes [`build`]: the program continues where the frame says. The handler's return has taken the return address.
pub(crate) fn restore(thread: &Thread, registers: &mut Registers) -> Result<(), BadFrame> {
    let frame = registers.rsp.wrapping_sub(size_of::<u64>() as u64);
    let mut saved = Saved { uc_stack: Sigaltstack::zeroed(), uc_mcontext: Sigcontext::zeroed() };
    read_user_into(user_address(frame.wrapping_add(SAVED_OFFSET))?, &mut saved)?;
    mask::set(thread, read_user_struct(user_address(frame.wrapping_add(MASK_OFFSET))?)?);
    let state = &saved.uc_mcontext;
    restore_registers(registers, state);
    restore_vector_state(thread, state.fpstate)?;
    // A stack that is refused is left as it was, as on Linux.
    let mut stack = thread.signals.stack();
    if stack.replace(&saved.uc_stack, registers.rsp).is_ok() {
        thread.signals.set_stack(stack);
    }
    Ok(())
}

fn restore_registers(registers: &mut Registers, from: &Sigcontext) {
    let &Sigcontext { r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, .. } = from;
    *registers = Registers {
        r15,
        r14,
        r13,
        r12,
        rbp,
        rbx,
        r11,
        r10,
        r9,
        r8,
        rax,
        rcx,
        rdx,
        rsi,
        rdi,
        original_rax: u64::MAX,
        rip,
        rsp,
        rflags: registers.rflags & !flags::PROGRAM | from.eflags & flags::PROGRAM,
        cs: registers.cs,
        ss: registers.ss,
    };
}

/// Loads the vector registers from a frame; a null pointer stands for the initial state.
fn restore_vector_state(thread: &Thread, address: u64) -> Result<(), BadFrame> {
    let platform = thread.platform();
    if address == 0 {
        platform.reset_vector_state();
        return Ok(());
    }
    let address = user_address(address)?;
    let layout = thread.process().system().frame_layout();
    let features = match layout.middle {
        Some(_) => features_of_frame(address, layout.state_size)?,
        None => None,
    };
    platform.restore_vector_state_from_user(address, features).map_err(|_| BadFrame)
}

/// The components of the XSAVE image at `address`, if the software bytes of the legacy part and the mark at its end say there
/// is one no longer than `size_max`.
fn features_of_frame(address: usize, size_max: usize) -> Result<Option<u64>, BadFrame> {
    let software: Software = read_user_struct(address.checked_add(FPX_SW_BYTES_OFFSET).ok_or(BadFrame)?)?;
    let size = usize::try_from(software.xstate_size).unwrap_or(usize::MAX);
    let is_sound = software.magic1 == FP_XSTATE_MAGIC1
        && (FXSAVE_SIZE + XSAVE_HEADER_SIZE..=size_max).contains(&size)
        && software.xstate_size <= software.extended_size;
    if !is_sound {
        return Ok(None);
    }
    let magic2: u32 = read_user_struct(address.checked_add(size).ok_or(BadFrame)?)?;
    Ok((magic2 == FP_XSTATE_MAGIC2).then_some(software.xfeatures))
}
