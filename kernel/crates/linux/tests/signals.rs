//! Signals as a program meets them: frames, masks, restarts, default actions, faults.

mod support;

use std::mem::offset_of;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use abi::signal::*;
use abi::{
    Errno, FpxSwBytes, RtSigframe, Sigaction, SigactionFlags, Sigaltstack, Sigcontext, Siginfo, Signal, Sigset,
    Timespec, Ucontext,
};
use linux::{Fault, Outcome, fault_entry};
use support::*;

const SYS_RT_SIGPROCMASK: u64 = 14;
const SYS_PAUSE: u64 = 34;
const SYS_NANOSLEEP: u64 = 35;
const SYS_SETITIMER: u64 = 38;
const SYS_GETPID: u64 = 39;
const SYS_KILL: u64 = 62;
const SYS_RT_SIGPENDING: u64 = 127;
const SYS_RT_SIGTIMEDWAIT: u64 = 128;
const SYS_RT_SIGQUEUEINFO: u64 = 129;
const SYS_RT_SIGSUSPEND: u64 = 130;
const SYS_SIGALTSTACK: u64 = 131;
const SYS_TKILL: u64 = 200;
const SYS_RESTART_SYSCALL: u64 = 219;

const IF: u64 = 1 << 9;

fn kill(machine: &mut Machine, signal: Signal) -> i64 {
    machine.syscall(SYS_KILL, &[1, signal.number().into()])
}

fn errno(errno: Errno) -> i64 {
    errno.as_negative() as i64
}

fn frame(machine: &Machine) -> RtSigframe {
    machine.read(machine.registers.rsp)
}

fn set_mask(machine: &mut Machine, how: i32, set: Sigset) -> Sigset {
    machine.write(SCRATCH + 0x1000, &set);
    let how = u64::from(how.cast_unsigned());
    assert_eq!(machine.syscall(SYS_RT_SIGPROCMASK, &[how, SCRATCH + 0x1000, SCRATCH + 0x1008, 8]), 0);
    machine.read(SCRATCH + 0x1008)
}

fn mask(machine: &mut Machine) -> Sigset {
    assert_eq!(machine.syscall(SYS_RT_SIGPROCMASK, &[0, 0, SCRATCH + 0x1008, 8]), 0);
    machine.read(SCRATCH + 0x1008)
}

/// Sends a signal to the process once it sleeps.
fn send_later(machine: &Machine, signal: Signal) -> thread::JoinHandle<()> {
    let process = Arc::clone(machine.thread.process());
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        process.raise(Siginfo::new(signal, SI_KERNEL));
    })
}

#[test]
fn a_handler_runs_on_linuxs_frame_and_returns() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::SIGINFO, Sigset::of(&[Signal::SIGTERM]));
    machine.registers.rbx = 0x1234;
    machine.registers.rip = CODE + 0x90;
    machine.registers.rflags |= 1 << 10;
    let (stack, rip) = (machine.registers.rsp, machine.registers.rip + 2);
    kill(&mut machine, Signal::SIGUSR1);

    let registers = machine.registers;
    assert_eq!(registers.rip, HANDLER);
    assert_eq!(registers.rdi, Signal::SIGUSR1.number().into());
    assert_eq!(registers.rsi, registers.rsp + offset_of!(RtSigframe, info) as u64);
    assert_eq!(registers.rdx, registers.rsp + offset_of!(RtSigframe, uc) as u64);
    assert_eq!(registers.rax, 0);
    assert_eq!(registers.rsp % 16, 8, "as after a call");
    assert_eq!(registers.rflags & 1 << 10, 0, "handlers begin with the direction flag clear");

    let frame = frame(&machine);
    assert_eq!(frame.pretcode, RESTORER);
    assert_eq!((frame.info.info.si_signo, frame.info.info.si_code), (10, SI_USER));
    assert_eq!((frame.info.info.word(0), frame.info.info.word(1)), (1, 0));
    let context = frame.uc.uc_mcontext;
    assert_eq!(frame.uc.uc_flags, 7);
    assert_eq!((context.rip, context.rsp, context.rbx, context.rax), (rip, stack, 0x1234, 0));
    assert_eq!((context.cs, context.ss, context.fs, context.gs), (0x33, 0x2b, 0, 0));
    assert_ne!(context.eflags & 1 << 10, 0);
    assert_eq!(frame.uc.uc_sigmask, Sigset::EMPTY);
    assert_eq!(frame.uc.uc_stack.ss_flags, 0);

    // The vector state: aligned, marked at both ends, above the frame and below the red zone.
    let state = context.fpstate;
    assert_eq!(state % 64, 0);
    assert!(state >= registers.rsp + size_of::<RtSigframe>() as u64);
    assert!(state + VECTOR_STATE_SIZE as u64 + 4 <= stack - 128);
    let software: FpxSwBytes = machine.read(state + FPX_SW_BYTES_OFFSET as u64);
    assert_eq!(software.magic1, FP_XSTATE_MAGIC1);
    assert_eq!((software.xstate_size, software.extended_size), (832, 836));
    assert_eq!(software.xfeatures, VECTOR_FEATURES);
    assert_eq!(machine.read::<u32>(state + 832), FP_XSTATE_MAGIC2);
    assert_eq!(machine.read::<u64>(state + 512) & 3, 3);

    assert_eq!(mask(&mut machine), Sigset::of(&[Signal::SIGTERM, Signal::SIGUSR1]));
    machine.registers.rsp = registers.rsp;
    machine.return_from_handler();
    assert_eq!((machine.registers.rip, machine.registers.rsp, machine.registers.rbx), (rip, stack, 0x1234));
    assert_eq!(machine.registers.rax, 0, "the result of kill");
    assert_eq!(mask(&mut machine), Sigset::EMPTY);
}

#[test]
fn vector_registers_survive_a_handler() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::empty(), Sigset::EMPTY);
    machine.cpu.vector_state.lock().unwrap()[160] = 42;
    machine.cpu.vector_state.lock().unwrap()[600] = 43;
    kill(&mut machine, Signal::SIGUSR1);
    assert_eq!(machine.cpu.vector_state.lock().unwrap()[160], 0, "a handler begins with the initial state");
    machine.cpu.vector_state.lock().unwrap()[160] = 99;
    machine.return_from_handler();
    let state = machine.cpu.vector_state.lock().unwrap();
    assert_eq!((state[160], state[600]), (42, 43));
}

#[test]
fn a_frame_cannot_give_the_program_rights() {
    let mut machine = boot();
    machine.registers.cs = 8;
    machine.registers.ss = 16;
    machine.handle(Signal::SIGUSR1, SigactionFlags::empty(), Sigset::EMPTY);
    kill(&mut machine, Signal::SIGUSR1);
    let context = machine.registers.rsp + (8 + offset_of!(Ucontext, uc_mcontext)) as u64;
    machine.write(context + offset_of!(Sigcontext, eflags) as u64, &(0x3000_u64 | 1 << 14 | 1));
    machine.write(context + offset_of!(Sigcontext, cs) as u64, &0x1234_u16);
    machine.write(machine.registers.rsp + (8 + offset_of!(Ucontext, uc_sigmask)) as u64, &Sigset::ALL);
    machine.return_from_handler();
    let registers = machine.registers;
    assert_eq!((registers.cs, registers.ss), (8, 16));
    assert_eq!(registers.rflags & (IF | 0x3000 | 1 << 14), IF, "interrupts stay on, no I/O rights, no nested task");
    assert_eq!(registers.rflags & 1, 1);
    assert_eq!(mask(&mut machine), Sigset::ALL.difference(Sigset::UNBLOCKABLE));
}

#[test]
fn a_frame_that_leads_into_the_kernel_is_a_fault_there() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::empty(), Sigset::EMPTY);
    machine.handle(Signal::SIGSEGV, SigactionFlags::SIGINFO, Sigset::EMPTY);
    for (target, code, address, trap) in
        [(0xffff_ffff_8000_1000, SEGV_MAPERR, 0xffff_ffff_8000_1000, 14), (1 << 63, SI_KERNEL, 0, 13)]
    {
        kill(&mut machine, Signal::SIGUSR1);
        let context = machine.registers.rsp + (8 + offset_of!(Ucontext, uc_mcontext)) as u64;
        machine.write(context + offset_of!(Sigcontext, rip) as u64, &target);
        machine.return_from_handler();
        assert_eq!(machine.registers.rip, HANDLER);
        let frame = frame(&machine);
        assert_eq!((frame.info.info.si_signo, frame.info.info.si_code, frame.info.info.long(0)), (11, code, address));
        assert_eq!((frame.uc.uc_mcontext.rip, frame.uc.uc_mcontext.trapno), (target, trap));
        machine.registers.rsp += 8;
        machine.write(context + offset_of!(Sigcontext, rip) as u64, &CODE);
        let mut registers = machine.registers;
        registers.rip = CODE + 0x80;
        registers.rsp = SCRATCH + 0x7000;
        machine.registers = registers;
        assert_eq!(set_mask(&mut machine, SIG_SETMASK, Sigset::EMPTY), Sigset::of(&[Signal::SIGSEGV]));
    }
}

#[test]
fn a_damaged_vector_state_is_a_fault() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::empty(), Sigset::EMPTY);
    kill(&mut machine, Signal::SIGUSR1);
    let state = frame(&machine).uc.uc_mcontext.fpstate;
    machine.write(state + 26, &0xff_u8);
    machine.handle(Signal::SIGSEGV, SigactionFlags::SIGINFO, Sigset::EMPTY);
    machine.return_from_handler();
    let frame = frame(&machine);
    assert_eq!((frame.info.info.si_signo, frame.info.info.si_code), (11, SI_KERNEL));
}

#[test]
fn a_frame_without_extended_state_restores_the_legacy_part() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::empty(), Sigset::EMPTY);
    machine.cpu.vector_state.lock().unwrap()[160] = 42;
    machine.cpu.vector_state.lock().unwrap()[600] = 43;
    kill(&mut machine, Signal::SIGUSR1);
    let state = frame(&machine).uc.uc_mcontext.fpstate;
    machine.write(state + 832, &0_u32);
    machine.return_from_handler();
    let state = machine.cpu.vector_state.lock().unwrap();
    assert_eq!((state[160], state[600]), (42, 0));
}

#[test]
fn handlers_run_on_the_alternate_stack() {
    let mut machine = boot();
    let base = SCRATCH + 0x2000;
    let stack = Sigaltstack { ss_sp: base, ss_flags: 0, _pad0: 0, ss_size: 0x2000 };
    machine.write(SCRATCH, &stack);
    assert_eq!(machine.syscall(SYS_SIGALTSTACK, &[SCRATCH, 0]), 0);
    machine.handle(Signal::SIGUSR1, SigactionFlags::ONSTACK | SigactionFlags::NODEFER, Sigset::EMPTY);
    let outer = machine.registers.rsp;
    kill(&mut machine, Signal::SIGUSR1);
    assert!((base..base + 0x2000).contains(&machine.registers.rsp));
    assert_eq!(frame(&machine).uc.uc_stack, stack);

    assert_eq!(machine.syscall(SYS_SIGALTSTACK, &[0, SCRATCH]), 0);
    assert_eq!(machine.read::<Sigaltstack>(SCRATCH).ss_flags, SS_ONSTACK);
    assert_eq!(machine.syscall(SYS_SIGALTSTACK, &[SCRATCH, 0]), errno(Errno::EPERM));

    // A second handler goes on below the first.
    let first = machine.registers.rsp;
    kill(&mut machine, Signal::SIGUSR1);
    assert!((base..first).contains(&machine.registers.rsp));
    machine.return_from_handler();
    assert_eq!(machine.registers.rsp, first);
    machine.return_from_handler();
    assert_eq!(machine.registers.rsp, outer);
    assert_eq!(machine.syscall(SYS_SIGALTSTACK, &[0, SCRATCH]), 0);
    assert_eq!(machine.read::<Sigaltstack>(SCRATCH), stack);
}

#[test]
fn an_alternate_stack_that_overflows_kills() {
    let mut machine = boot();
    let stack = Sigaltstack { ss_sp: SCRATCH + 0x2000, ss_flags: 0, _pad0: 0, ss_size: MINSIGSTKSZ };
    machine.write(SCRATCH, &stack);
    assert_eq!(machine.syscall(SYS_SIGALTSTACK, &[SCRATCH, 0]), 0);
    machine.handle(Signal::SIGUSR1, SigactionFlags::ONSTACK | SigactionFlags::NODEFER, Sigset::EMPTY);
    kill(&mut machine, Signal::SIGUSR1);
    assert_eq!(machine.last_syscall(SYS_KILL, &[1, 10]), Outcome::Killed(Signal::SIGSEGV));
}

#[test]
fn flags_of_actions() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::RESETHAND, Sigset::EMPTY);
    kill(&mut machine, Signal::SIGUSR1);
    assert_eq!(mask(&mut machine), Sigset::of(&[Signal::SIGUSR1]));
    let sp = machine.registers.rsp;
    assert_eq!(machine.syscall(13, &[10, 0, SCRATCH, 8]), 0);
    assert_eq!(machine.read::<Sigaction>(SCRATCH).handler, Sigaction::SIG_DFL);
    assert_eq!(machine.registers.rsp, sp);
    machine.return_from_handler();

    machine.handle(Signal::SIGUSR2, SigactionFlags::NODEFER, Sigset::EMPTY);
    kill(&mut machine, Signal::SIGUSR2);
    assert_eq!(mask(&mut machine), Sigset::EMPTY);
    machine.return_from_handler();

    // Without SA_RESTORER there is no way back: Linux kills.
    let action = Sigaction { handler: HANDLER, ..Sigaction::zeroed() };
    machine.set_action(Signal::SIGHUP, &action);
    assert_eq!(machine.last_syscall(SYS_KILL, &[1, 1]), Outcome::Killed(Signal::SIGSEGV));
}

#[test]
fn unknown_flags_are_not_kept() {
    let mut machine = boot();
    let flags = (SigactionFlags::RESTORER | SigactionFlags::UNSUPPORTED).bits() | 1 << 40;
    let action = Sigaction { handler: HANDLER, flags, restorer: RESTORER, mask: Sigset::ALL };
    machine.set_action(Signal::SIGHUP, &action);
    assert_eq!(machine.syscall(13, &[1, 0, SCRATCH, 8]), 0);
    let kept: Sigaction = machine.read(SCRATCH);
    assert_eq!(kept.flags, SigactionFlags::RESTORER.bits());
    assert_eq!(kept.mask, Sigset::ALL.difference(Sigset::UNBLOCKABLE));
}

#[test]
fn blocked_signals_wait() {
    let mut machine = boot();
    let rip = machine.registers.rip;
    machine.handle(Signal::SIGUSR1, SigactionFlags::empty(), Sigset::EMPTY);
    set_mask(&mut machine, SIG_BLOCK, Sigset::of(&[Signal::SIGUSR1, Signal::SIGKILL]));
    assert_eq!(mask(&mut machine), Sigset::of(&[Signal::SIGUSR1]));
    assert_eq!(kill(&mut machine, Signal::SIGUSR1), 0);
    assert!(machine.registers.rip > rip && machine.registers.rip < HANDLER);
    assert_eq!(machine.syscall(SYS_RT_SIGPENDING, &[SCRATCH, 8]), 0);
    assert_eq!(machine.read::<Sigset>(SCRATCH), Sigset::of(&[Signal::SIGUSR1]));

    // Ignored, it is thrown away even while it is blocked.
    machine.set_action(Signal::SIGUSR1, &Sigaction { handler: Sigaction::SIG_IGN, ..Sigaction::zeroed() });
    assert_eq!(machine.syscall(SYS_RT_SIGPENDING, &[SCRATCH, 8]), 0);
    assert!(machine.read::<Sigset>(SCRATCH).is_empty());

    machine.handle(Signal::SIGUSR1, SigactionFlags::empty(), Sigset::EMPTY);
    kill(&mut machine, Signal::SIGUSR1);
    machine.write(SCRATCH, &Sigset::EMPTY);
    machine.syscall(SYS_RT_SIGPROCMASK, &[2, SCRATCH, 0, 8]);
    assert_eq!(machine.registers.rip, HANDLER);
}

#[test]
fn several_signals_make_several_frames() {
    let mut machine = boot();
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
        machine.handle(signal, SigactionFlags::empty(), Sigset::EMPTY);
    }
    set_mask(&mut machine, SIG_BLOCK, Sigset::of(&[Signal::SIGUSR1, Signal::SIGUSR2]));
    kill(&mut machine, Signal::SIGUSR2);
    kill(&mut machine, Signal::SIGUSR1);
    machine.write(SCRATCH, &Sigset::EMPTY);
    machine.syscall(SYS_RT_SIGPROCMASK, &[2, SCRATCH, 0, 8]);
    // The lower number first, interrupted at once by the other.
    assert_eq!(machine.registers.rdi, 12);
    assert_eq!(frame(&machine).uc.uc_mcontext.rip, HANDLER);
    machine.return_from_handler();
    assert_eq!((machine.registers.rip, machine.registers.rdi), (HANDLER, 10));
}

#[test]
fn default_actions() {
    for (signal, outcome) in [
        (Signal::SIGTERM, Outcome::Killed(Signal::SIGTERM)),
        (Signal::SIGKILL, Outcome::Killed(Signal::SIGKILL)),
        (Signal::new(64).unwrap(), Outcome::Killed(Signal::new(64).unwrap())),
    ] {
        assert_eq!(boot().last_syscall(SYS_KILL, &[1, signal.number().into()]), outcome);
    }
    let mut machine = boot();
    for signal in [Signal::SIGCHLD, Signal::SIGURG, Signal::SIGWINCH, Signal::SIGCONT, Signal::SIGTSTP] {
        assert_eq!(kill(&mut machine, signal), 0, "{signal}");
    }
    assert_eq!(machine.last_syscall(231, &[0x1ff]), Outcome::Exited(255));
}

#[test]
fn a_stopped_process_waits_to_be_continued() {
    let mut machine = boot();
    let process = Arc::clone(machine.thread.process());
    let other = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        process.raise(Siginfo::new(Signal::SIGCONT, SI_KERNEL));
    });
    let start = std::time::Instant::now();
    assert_eq!(kill(&mut machine, Signal::SIGSTOP), 0);
    assert!(start.elapsed() >= Duration::from_millis(25));
    other.join().unwrap();
    assert_eq!(machine.syscall(SYS_GETPID, &[]), 1);
}

#[test]
fn an_interrupted_sleep_tells_what_is_left() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::RESTART, Sigset::EMPTY);
    machine.write(SCRATCH, &Timespec { tv_sec: 10, tv_nsec: 0 });
    let rip = machine.registers.rip;
    let other = send_later(&machine, Signal::SIGUSR1);
    machine.syscall(SYS_NANOSLEEP, &[SCRATCH, SCRATCH + 16]);
    other.join().unwrap();
    assert_eq!(machine.registers.rip, HANDLER);
    let context = frame(&machine).uc.uc_mcontext;
    assert_eq!(context.rax.cast_signed(), errno(Errno::EINTR), "SA_RESTART does not restart a sleep");
    assert_eq!(context.rip, rip + 2);
    let left: Timespec = machine.read(SCRATCH + 16);
    assert_eq!(left.tv_sec, 9);
}

#[test]
fn an_interrupted_sleep_goes_on_when_no_handler_runs() {
    let mut machine = boot();
    machine.write(SCRATCH, &Timespec { tv_sec: 0, tv_nsec: 100_000_000 });
    let rip = machine.registers.rip;
    let start = std::time::Instant::now();
    let other = send_later(&machine, Signal::SIGTSTP);
    machine.syscall(SYS_NANOSLEEP, &[SCRATCH, 0]);
    other.join().unwrap();
    assert_eq!((machine.registers.rip, machine.registers.rax), (rip, SYS_RESTART_SYSCALL));
    assert_eq!(machine.syscall(SYS_RESTART_SYSCALL, &[]), 0);
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[test]
fn pause_returns_after_a_handler_only() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::RESTART, Sigset::EMPTY);
    let rip = machine.registers.rip;
    let other = send_later(&machine, Signal::SIGTSTP);
    machine.syscall(SYS_PAUSE, &[]);
    other.join().unwrap();
    assert_eq!((machine.registers.rip, machine.registers.rax), (rip, SYS_PAUSE), "the call is issued again");

    let other = send_later(&machine, Signal::SIGUSR1);
    machine.syscall(SYS_PAUSE, &[]);
    other.join().unwrap();
    assert_eq!(frame(&machine).uc.uc_mcontext.rax.cast_signed(), errno(Errno::EINTR));
}

#[test]
fn a_temporary_mask_is_seen_by_the_handler_and_taken_back_after_it() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::empty(), Sigset::EMPTY);
    let own = Sigset::of(&[Signal::SIGUSR1, Signal::SIGHUP]);
    set_mask(&mut machine, SIG_SETMASK, own);
    kill(&mut machine, Signal::SIGUSR1);
    machine.write(SCRATCH, &Sigset::of(&[Signal::SIGUSR2]));
    machine.syscall(SYS_RT_SIGSUSPEND, &[SCRATCH, 8]);
    assert_eq!(machine.registers.rip, HANDLER);
    assert_eq!(frame(&machine).uc.uc_sigmask, own);
    let sp = machine.registers.rsp;
    assert_eq!(mask(&mut machine), Sigset::of(&[Signal::SIGUSR1, Signal::SIGUSR2]));
    assert_eq!(machine.registers.rsp, sp);
    machine.return_from_handler();
    assert_eq!(machine.registers.rax.cast_signed(), errno(Errno::EINTR));
    assert_eq!(mask(&mut machine), own);
}

#[test]
fn queued_signals_keep_order_and_values() {
    let mut machine = boot();
    let realtime = Signal::new(40).unwrap();
    set_mask(&mut machine, SIG_BLOCK, Sigset::of(&[realtime]));
    for value in 0..20 {
        machine.write(SCRATCH + 0x100, &Siginfo::queued(realtime, 1, 0, value));
        assert_eq!(machine.syscall(SYS_RT_SIGQUEUEINFO, &[1, 40, SCRATCH + 0x100]), 0);
    }
    machine.write(SCRATCH, &Sigset::of(&[realtime]));
    machine.write(SCRATCH + 8, &Timespec { tv_sec: 0, tv_nsec: 1000 });
    for value in 0..20 {
        assert_eq!(machine.syscall(SYS_RT_SIGTIMEDWAIT, &[SCRATCH, SCRATCH + 0x200, SCRATCH + 8, 8]), 40);
        let info: Siginfo = machine.read(SCRATCH + 0x200);
        assert_eq!((info.si_code, info.long(2)), (SI_QUEUE, value));
    }
    assert_eq!(machine.syscall(SYS_RT_SIGTIMEDWAIT, &[SCRATCH, 0, SCRATCH + 8, 8]), errno(Errno::EAGAIN));
}

#[test]
fn waiting_takes_what_would_be_ignored() {
    let mut machine = boot();
    machine.write(SCRATCH, &Sigset::of(&[Signal::SIGCHLD]));
    let other = send_later(&machine, Signal::SIGCHLD);
    assert_eq!(machine.syscall(SYS_RT_SIGTIMEDWAIT, &[SCRATCH, 0, 0, 8]), 17);
    other.join().unwrap();
}

#[test]
fn senders_are_checked() {
    let mut machine = boot();
    assert_eq!(machine.syscall(SYS_KILL, &[1, 0]), 0);
    assert_eq!(machine.syscall(SYS_KILL, &[1, 65]), errno(Errno::EINVAL));
    assert_eq!(machine.syscall(SYS_KILL, &[77, 0]), errno(Errno::ESRCH));
    assert_eq!(machine.syscall(SYS_KILL, &[u64::MAX, 0]), errno(Errno::ESRCH), "nobody but the first process");
    assert_eq!(machine.syscall(SYS_TKILL, &[0, 0]), errno(Errno::EINVAL));
    assert_eq!(machine.syscall(SYS_TKILL, &[1, 0]), 0);
    assert_eq!(machine.syscall(234, &[2, 1, 0]), errno(Errno::ESRCH));
}

#[test]
fn faults_are_told_as_on_linux() {
    let mut machine = boot();
    for signal in [Signal::SIGSEGV, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGBUS] {
        machine.handle(signal, SigactionFlags::SIGINFO | SigactionFlags::NODEFER, Sigset::EMPTY);
    }
    let rip = CODE + 0x80;
    let page = |address: usize, error_code| Fault::PageFault { address, error_code };
    // (fault, signal, code, address, trap number, error code), as a program on Linux sees them.
    let cases = [
        (page(8, 2), 11, SEGV_MAPERR, 8, 14, 6),
        (page(0x40_0010, 3), 11, SEGV_ACCERR, 0x40_0010, 14, 7),
        (page(0x60_0000, 0x11), 11, SEGV_ACCERR, 0x60_0000, 14, 0x15),
        (page(0xffff_8000_0000_0000, 0), 11, SEGV_MAPERR, 0xffff_8000_0000_0000, 14, 5),
        (Fault::DivideError, 8, FPE_INTDIV, rip, 0, 0),
        (Fault::InvalidOpcode, 4, ILL_ILLOPN, rip, 6, 0),
        (Fault::Breakpoint, 5, SI_KERNEL, 0, 3, 0),
        (Fault::Debug { reasons: 1 << 14 }, 5, TRAP_TRACE, rip, 1, 0),
        (Fault::GeneralProtection { error_code: 0 }, 11, SI_KERNEL, 0, 13, 0),
        (Fault::StackSegment { error_code: 0 }, 7, SI_KERNEL, 0, 12, 0),
        (Fault::Simd { mxcsr: 0x1f80 & !(1 << 9) | 4 }, 8, FPE_FLTDIV, rip, 19, 0),
    ];
    for (fault, signal, code, address, trap, error_code) in cases {
        machine.registers.rip = rip;
        machine.registers.rsp = SCRATCH + 0x7f00;
        fault_entry(&machine.thread, &mut machine.registers, fault);
        assert_eq!(machine.registers.rip, HANDLER, "{fault:?}");
        let frame = frame(&machine);
        let found = (frame.info.info.si_signo, frame.info.info.si_code, frame.info.info.long(0));
        assert_eq!(found, (signal, code, address), "{fault:?}");
        let context = frame.uc.uc_mcontext;
        assert_eq!((context.trapno, context.err, context.rip), (trap, error_code, rip), "{fault:?}");
        if let Fault::PageFault { address, .. } = fault {
            assert_eq!(context.cr2, address as u64);
        }
    }
}

#[test]
fn page_faults_that_can_be_served_are_no_signals() {
    let mut machine = boot();
    let before = machine.registers;
    let address = usize::try_from(machine.registers.rsp - (64 << 10)).unwrap();
    fault_entry(&machine.thread, &mut machine.registers, Fault::PageFault { address, error_code: 2 });
    assert_eq!(machine.registers, before);
    assert!(machine.thread.accounting().minor_faults() > 0);
}

#[test]
fn a_blocked_or_ignored_fault_kills() {
    for action in [Sigaction::SIG_IGN, HANDLER] {
        let mut machine = boot();
        machine.set_action(Signal::SIGSEGV, &Sigaction { handler: action, ..Sigaction::zeroed() });
        if action == HANDLER {
            set_mask(&mut machine, SIG_BLOCK, Sigset::of(&[Signal::SIGSEGV]));
        }
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let fault = Fault::PageFault { address: 0, error_code: 0 };
            fault_entry(&machine.thread, &mut machine.registers, fault);
        }));
        assert_eq!(*end.unwrap_err().downcast::<Outcome>().unwrap(), Outcome::Killed(Signal::SIGSEGV));
    }
}

#[test]
fn a_fault_without_a_stack_kills() {
    let mut machine = boot();
    machine.handle(Signal::SIGSEGV, SigactionFlags::empty(), Sigset::EMPTY);
    machine.registers.rsp = 0x1000;
    let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        fault_entry(&machine.thread, &mut machine.registers, Fault::PageFault { address: 0xff8, error_code: 2 });
    }));
    assert_eq!(*end.unwrap_err().downcast::<Outcome>().unwrap(), Outcome::Killed(Signal::SIGSEGV));
}

#[test]
fn a_handler_outside_the_program_is_a_fault() {
    let mut machine = boot();
    let flags = SigactionFlags::RESTORER.bits();
    let action = Sigaction { handler: 0xffff_ffff_8000_0000, flags, restorer: RESTORER, mask: Sigset::EMPTY };
    machine.set_action(Signal::SIGUSR1, &action);
    machine.handle(Signal::SIGSEGV, SigactionFlags::SIGINFO, Sigset::EMPTY);
    kill(&mut machine, Signal::SIGUSR1);
    assert_eq!((machine.registers.rip, machine.registers.rdi), (HANDLER, 11));
    assert_eq!(frame(&machine).info.info.long(0), 0xffff_ffff_8000_0000);
}

#[test]
fn timers_shorter_than_a_look_at_them_end() {
    const ITIMER_PROF: u64 = 2;
    const STEP_NS: u64 = 10_000;
    let mut machine = boot();
    testkit::clock::tick(1_000_000_000, STEP_NS);
    machine.write(SCRATCH, &[0_u64, 1, 0, 1]);
    assert_eq!(machine.syscall(SYS_SETITIMER, &[ITIMER_PROF, SCRATCH, 0]), 0);
    machine.thread.process().system().timers().expire();
    assert!(machine.thread.needs_attention(), "SIGPROF was sent");
}
