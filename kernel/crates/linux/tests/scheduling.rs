//! How threads are scheduled, and restartable sequences: system calls in, what the machine is told and the program finds out.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::atomic::Ordering;

use abi::resource::{SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RESET_ON_FORK, SCHED_RR};
use abi::{Errno, Rseq, RseqCs, SchedParam, Sigaction, SigactionFlags, Signal, Sigset, Ucontext};
use linux::{Outcome, interrupt_exit};
use sched::{CpuSet, Policy};
use support::*;

const GETPRIORITY: u64 = 140;
const SETPRIORITY: u64 = 141;
const SCHED_SETSCHEDULER: u64 = 144;
const SCHED_GETSCHEDULER: u64 = 145;
const SCHED_YIELD: u64 = 24;
const SCHED_SETAFFINITY: u64 = 203;
const SCHED_GETAFFINITY: u64 = 204;
const MEMBARRIER: u64 = 324;
const RSEQ: u64 = 334;
const KILL: u64 = 62;
const MPROTECT: u64 = 10;

/// Where the program's `struct rseq` is, its section, and the section's abort address with the signature before it.
const AREA: u64 = SCRATCH + 0x1000;
const SECTION: u64 = SCRATCH + 0x1100;
const ABORT: u64 = SCRATCH + 0x1204;
const SIGNATURE: u32 = 0x5305_3053;

fn errno(errno: Errno) -> i64 {
    i64::try_from(errno.as_negative()).unwrap()
}

fn set_policy(machine: &mut Machine, policy: i32, priority: i32) -> i64 {
    machine.write(SCRATCH, &SchedParam { sched_priority: priority });
    machine.syscall(SCHED_SETSCHEDULER, &[0, u64::from(policy.cast_unsigned()), SCRATCH])
}

#[test]
fn policies_are_put_in_force() {
    let mut machine = boot();
    let in_force = |machine: &Machine| *machine.cpu.policy.lock().unwrap();
    assert_eq!(set_policy(&mut machine, SCHED_FIFO, 7), 0);
    assert_eq!(in_force(&machine), Policy::Fifo { priority: 7 });
    assert_eq!(set_policy(&mut machine, SCHED_RR | SCHED_RESET_ON_FORK, 99), 0);
    assert_eq!(in_force(&machine), Policy::RoundRobin { priority: 99 });
    assert_eq!(machine.syscall(SCHED_GETSCHEDULER, &[0]), i64::from(SCHED_RR | SCHED_RESET_ON_FORK));
    assert_eq!(set_policy(&mut machine, SCHED_RR, 100), errno(Errno::EINVAL));
    // A nice value counts again when the policy has a use for it.
    assert_eq!(machine.syscall(SETPRIORITY, &[0, 0, (-4_i64).cast_unsigned()]), 0);
    assert_eq!(in_force(&machine), Policy::RoundRobin { priority: 99 });
    assert_eq!(set_policy(&mut machine, SCHED_IDLE, 0), 0);
    assert_eq!(in_force(&machine), Policy::Idle);
    assert_eq!(set_policy(&mut machine, SCHED_OTHER, 0), 0);
    assert_eq!(in_force(&machine), Policy::Other { nice: -4 });
    assert_eq!(machine.syscall(GETPRIORITY, &[0, 0]), 24);
}

#[test]
fn affinity_names_only_cpus_there_are() {
    let mut machine = boot();
    let set = |machine: &mut Machine, cpus: u64| {
        machine.write(SCRATCH, &cpus);
        machine.syscall(SCHED_SETAFFINITY, &[0, 8, SCRATCH])
    };
    assert_eq!(machine.syscall(SCHED_GETAFFINITY, &[0, 128, SCRATCH]), 8);
    assert_eq!(machine.read::<u64>(SCRATCH), 0b111);
    assert_eq!(set(&mut machine, u64::MAX << 1), 0);
    assert_eq!(*machine.cpu.affinity.lock().unwrap(), CpuSet(0b110));
    assert_eq!(set(&mut machine, u64::MAX << CPUS), errno(Errno::EINVAL));
    assert_eq!(machine.syscall(SCHED_GETAFFINITY, &[0, 8, SCRATCH]), 8);
    assert_eq!(machine.read::<u64>(SCRATCH), 0b110);
}

fn register(machine: &mut Machine) {
    machine.write(AREA, &Rseq { cpu_id: 77, ..Rseq::zeroed() });
    assert_eq!(machine.syscall(RSEQ, &[AREA, 32, 0, SIGNATURE.into()]), 0);
    machine.write(ABORT - 4, &SIGNATURE);
}

fn area(machine: &Machine) -> Rseq {
    machine.read(AREA)
}

/// Puts the program in a section of 16 bytes at `start`, at this offset from its beginning.
fn enter_section(machine: &mut Machine, offset: u64) {
    let section = RseqCs { start_ip: CODE + 0x400, post_commit_offset: 16, abort_ip: ABORT, ..RseqCs::zeroed() };
    machine.write(SECTION, &section);
    machine.write(AREA, &Rseq { rseq_cs: SECTION, ..area(machine) });
    machine.registers.rip = CODE + 0x400 + offset;
}

/// An interrupt after which the program goes on, on this CPU, with or without others having run.
fn interrupt(machine: &mut Machine, cpu: u32, was_preempted: bool) {
    if was_preempted {
        machine.thread.was_preempted();
        machine.cpu.number.store(cpu, Ordering::Relaxed);
    }
    if machine.thread.needs_attention() {
        interrupt_exit(&machine.thread, &mut machine.registers);
    }
}

#[test]
fn the_program_is_told_its_cpu() {
    let mut machine = boot();
    machine.cpu.number.store(2, Ordering::Relaxed);
    machine.thread.was_preempted();
    assert!(!machine.thread.needs_attention(), "nobody is registered");
    register(&mut machine);
    let Rseq { cpu_id_start, cpu_id, mm_cid, node_id, .. } = area(&machine);
    assert_eq!((cpu_id_start, cpu_id, mm_cid, node_id), (2, 2, 2, 0));
    interrupt(&mut machine, 1, true);
    assert_eq!((area(&machine).cpu_id_start, area(&machine).cpu_id), (1, 1));
    assert_eq!(machine.syscall(RSEQ, &[AREA, 32, 1, SIGNATURE.into()]), 0);
    assert_eq!((area(&machine).cpu_id_start, area(&machine).cpu_id), (0, u32::MAX));
    interrupt(&mut machine, 0, true);
    assert_eq!(area(&machine).cpu_id, u32::MAX);
}

#[test]
fn an_area_that_cannot_be_written_stays_registered() {
    let mut machine = boot();
    let protect = |machine: &mut Machine, rights| machine.syscall(MPROTECT, &[AREA, 4096, rights]);
    register(&mut machine);
    assert_eq!(protect(&mut machine, 1), 0);
    assert_eq!(machine.syscall(RSEQ, &[AREA, 32, 1, SIGNATURE.into()]), errno(Errno::EFAULT));
    assert_eq!(protect(&mut machine, 3), 0);
    assert_eq!(machine.syscall(RSEQ, &[AREA, 32, 0, SIGNATURE.into()]), errno(Errno::EBUSY));
    assert_eq!(machine.syscall(RSEQ, &[AREA, 32, 1, SIGNATURE.into()]), 0);
}

#[test]
fn preemption_ends_a_section() {
    for (offset, is_inside) in [(0, true), (15, true), (16, false)] {
        let mut machine = boot();
        register(&mut machine);
        enter_section(&mut machine, offset);
        let rip = machine.registers.rip;
        interrupt(&mut machine, 0, false);
        assert_eq!((machine.registers.rip, area(&machine).rseq_cs), (rip, SECTION));
        interrupt(&mut machine, 0, true);
        assert_eq!(machine.registers.rip, if is_inside { ABORT } else { rip });
        assert_eq!(area(&machine).rseq_cs, 0);
    }
}

#[test]
fn registering_inside_a_section_does_not_end_it() {
    let mut machine = boot();
    register(&mut machine);
    enter_section(&mut machine, 4);
    // The attention of the registration, without anything having happened.
    assert_eq!(machine.syscall(RSEQ, &[AREA, 32, 1, SIGNATURE.into()]), 0);
    let rip = machine.registers.rip;
    assert_eq!(machine.syscall(RSEQ, &[AREA, 32, 0, SIGNATURE.into()]), 0);
    assert_eq!((machine.registers.rip, area(&machine).rseq_cs), (rip + 2, 0), "what was left over is cleared");
}

#[test]
fn a_handler_returns_to_the_abort_address() {
    let mut machine = boot();
    machine.handle(Signal::SIGUSR1, SigactionFlags::SIGINFO, Sigset::EMPTY);
    register(&mut machine);
    enter_section(&mut machine, 6);
    // A system call in a section stands for whatever brings the signal.
    machine.syscall(KILL, &[1, u64::from(Signal::SIGUSR1.number())]);
    assert_eq!(machine.registers.rip, HANDLER);
    let context: Ucontext = machine.read(machine.registers.rdx);
    assert_eq!(context.uc_mcontext.rip, ABORT);
    assert_eq!(area(&machine).rseq_cs, 0);
    machine.return_from_handler();
    assert_eq!(machine.registers.rip, ABORT);
}

#[test]
fn bad_sections_kill() {
    let good = RseqCs { start_ip: CODE, post_commit_offset: 16, abort_ip: ABORT, ..RseqCs::zeroed() };
    let bad = [
        RseqCs { version: 1, ..good },
        RseqCs { start_ip: 1 << 47, ..good },
        RseqCs { post_commit_offset: u64::MAX, ..good },
        RseqCs { abort_ip: CODE + 4, ..good },
        RseqCs { abort_ip: ABORT + 4, ..good },
        RseqCs { abort_ip: 2, ..good },
        RseqCs { flags: 1, start_ip: 0x1000, post_commit_offset: ABORT - 0x2000, ..good },
    ];
    for section in bad {
        let mut machine = boot();
        machine.set_action(Signal::SIGSEGV, &Sigaction { handler: HANDLER, ..Sigaction::default() });
        register(&mut machine);
        machine.write(SECTION, &section);
        machine.write(AREA, &Rseq { rseq_cs: SECTION, ..area(&machine) });
        machine.thread.was_preempted();
        let outcome = machine.last_syscall(SCHED_YIELD, &[]);
        assert_eq!(outcome, Outcome::Killed(Signal::SIGSEGV), "{section:?}");
    }
}

#[test]
fn barriers_reach_the_machine_and_end_sequences() {
    let mut machine = boot();
    let barriers = |machine: &Machine| machine.cpu.barriers.load(Ordering::Relaxed);
    assert_eq!(machine.syscall(MEMBARRIER, &[8, 0, 0]), errno(Errno::EPERM));
    assert_eq!(barriers(&machine), 0);
    for (register, command) in [(16, 8), (64, 32), (256, 128), (4, 2)] {
        let before = barriers(&machine);
        assert_eq!(machine.syscall(MEMBARRIER, &[register, 0, 0]), 0);
        assert_eq!(machine.syscall(MEMBARRIER, &[command, 0, 0]), 0);
        assert_eq!(barriers(&machine), before + 1, "{command}");
    }
}
