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

use abi::{
    Errno, FpxSwBytes, Sigaction, SigactionFlags, Sigcontext, Siginfo, Signal, Sigset, Ucontext,
    signal::{
        FP_XSTATE_MAGIC1, FP_XSTATE_MAGIC2, FPX_SW_BYTES_OFFSET, FXSAVE_SIZE, MINSIGSTKSZ, UC_FP_XSTATE,
        UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS, USER_CS, USER_DS,
    },
};
use mm::USER_END;
use mm::user::{UserWriter, read_user_struct, write_user_struct};
use zerocopy::{Immutable, IntoBytes};

use crate::platform::{CpuInfo, VectorLayout};
use crate::registers::{Registers, flags};
use crate::signal::mask;
use crate::thread::Thread;

/// Below the stack pointer, functions without calls keep data.
const RED_ZONE: u64 = 128;
/// The vector state is aligned for XSAVE.
const VECTOR_STATE_ALIGNMENT: u64 = 64;
/// A frame's alignment, before the return address is counted.
const FRAME_ALIGNMENT: u64 = 16;
const FRAME_SIZE: u64 = size_of::<abi::RtSigframe>() as u64;
const MAGIC2_SIZE: usize = size_of::<u32>();
/// The header behind the legacy part of an XSAVE image.
const XSAVE_HEADER_SIZE: usize = 64;

/// The part of a frame that every handler gets.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct FrameHead {
    pretcode: u64,
    uc: Ucontext,
}

/// What the CPU leaves to the kernel in an XSAVE image; the header is completed by it.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct VectorMiddle {
    software: FpxSwBytes,
    header: [u64; XSAVE_HEADER_SIZE / size_of::<u64>()],
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
    let layout = thread.platform().vector_layout();
    let place = place(thread, registers.rsp, action.flags(), layout)?;
    save_vector_state(thread, layout, user_address(place.vector_state)?)?;

    let head = FrameHead { pretcode: action.restorer, uc: context(thread, registers, place.vector_state, layout) };
    let mut writer = UserWriter::new(user_address(place.frame)?, size_of::<abi::RtSigframe>())?;
    writer.write_struct(&head)?;
    if action.flags().contains(SigactionFlags::SIGINFO) {
        writer.write_struct(info)?;
    }
    if let Some(disarmed) = thread.signals.stack().disarmed() {
        thread.signals.set_stack(disarmed);
    }

    let ucontext = place.frame + size_of::<u64>() as u64;
    registers.rdi = u64::from(signal.number());
    registers.rsi = ucontext + size_of::<Ucontext>() as u64;
    registers.rdx = ucontext;
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
fn save_vector_state(thread: &Thread, layout: VectorLayout, address: usize) -> Result<(), BadFrame> {
    let platform = thread.platform();
    let Some(features) = layout.features else {
        return Ok(platform.save_vector_state_to_user(address)?);
    };
    let extended_size = layout.size + MAGIC2_SIZE;
    let middle = VectorMiddle {
        software: FpxSwBytes {
            magic1: FP_XSTATE_MAGIC1,
            extended_size: size_u32(extended_size),
            xfeatures: features,
            xstate_size: size_u32(layout.size),
            ..FpxSwBytes::zeroed()
        },
        header: [0; XSAVE_HEADER_SIZE / size_of::<u64>()],
    };
    let end = address.checked_add(extended_size).filter(|end| *end <= USER_END).ok_or(BadFrame)?;
    write_user_struct(address + FPX_SW_BYTES_OFFSET, &middle)?;
    // With the header in place, since the CPU takes part of it over.
    platform.save_vector_state_to_user(address)?;
    Ok(write_user_struct(end - MAGIC2_SIZE, &FP_XSTATE_MAGIC2)?)
}

fn size_u32(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// Finds the place for a frame: below the interrupted stack pointer, or on the alternate stack.
fn place(thread: &Thread, stack_pointer: u64, flags: SigactionFlags, layout: VectorLayout) -> Result<Place, BadFrame> {
    let state_len = layout.size + if layout.features.is_some() { MAGIC2_SIZE } else { 0 };
    let stack = thread.signals.stack();
    let mut top = stack_pointer.wrapping_sub(RED_ZONE);
    let mut is_on_alternate = stack.is_in_use(stack_pointer);
    if flags.contains(SigactionFlags::ONSTACK)
        && let Some(alternate) = stack.top_if_free(top)
    {
        top = alternate;
        is_on_alternate = true;
    }
    let vector_state = top.wrapping_sub(state_len as u64) & !(VECTOR_STATE_ALIGNMENT - 1);
    let frame = (vector_state.wrapping_sub(FRAME_SIZE) & !(FRAME_ALIGNMENT - 1)).wrapping_sub(8);
    // A stack that overflows must not silently continue below itself.
    if is_on_alternate && !stack.contains(frame) {
        return Err(BadFrame);
    }
    Ok(Place { frame, vector_state })
}

/// What the handler sees, and what its return restores. Inlined, as it is large and made only once.
#[inline(always)]
fn context(thread: &Thread, registers: &Registers, vector_state: u64, layout: VectorLayout) -> Ucontext {
    let own = &thread.signals;
    let (mask, stack) = (own.saved().unwrap_or_else(|| own.blocked()), own.stack().in_frame());
    let xstate = if layout.features.is_some() { UC_FP_XSTATE } else { 0 };
    Ucontext {
        uc_flags: xstate | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
        uc_link: 0,
        uc_stack: stack,
        uc_mcontext: sigcontext(thread, registers, mask, vector_state),
        uc_sigmask: mask,
    }
}

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
        _reserved1: [0; 8],
    }
}

/// Undoes [`build`]: the program continues where the frame says. The handler's return has taken the return address.
pub(crate) fn restore(thread: &Thread, registers: &mut Registers) -> Result<(), BadFrame> {
    let frame = registers.rsp.wrapping_sub(size_of::<u64>() as u64);
    let context: Ucontext = read_user_struct(user_address(frame)?.checked_add(8).ok_or(BadFrame)?)?;
    mask::set(thread, context.uc_sigmask);
    let state = &context.uc_mcontext;
    restore_registers(registers, state);
    restore_vector_state(thread, state.fpstate)?;
    // A stack that is refused is left as it was, as on Linux.
    let mut stack = thread.signals.stack();
    if stack.replace(&context.uc_stack, registers.rsp).is_ok() {
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
    let features = match platform.vector_layout() {
        VectorLayout { size, features: Some(_) } => features_of_frame(address, size)?,
        VectorLayout { features: None, .. } => None,
    };
    platform.restore_vector_state_from_user(address, features).map_err(|_| BadFrame)
}

/// The components of the XSAVE image at `address`, if the software bytes of the legacy part and the mark at its end say there
/// is one no longer than `size_max`.
fn features_of_frame(address: usize, size_max: usize) -> Result<Option<u64>, BadFrame> {
    let software: FpxSwBytes = read_user_struct(address.checked_add(FPX_SW_BYTES_OFFSET).ok_or(BadFrame)?)?;
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
