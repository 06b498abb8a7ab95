//! The life of threads: how they begin, what they share, how they and their process end, and a process of several threads that
//! becomes another program. What programs see of it is compared with Linux in `tests/binaries`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use abi::{Errno, Rlimit, Signal};
use linux::system::THREADS_MAX;
use linux::{Outcome, Registers, Thread};
use support::*;

const GETPID: u64 = 39;
const CLONE: u64 = 56;
const EXECVE: u64 = 59;
const EXIT: u64 = 60;
const KILL: u64 = 62;
const UMASK: u64 = 95;
const SETUID: u64 = 105;
const SETRLIMIT: u64 = 160;
const SET_TID_ADDRESS: u64 = 218;
const EXIT_GROUP: u64 = 231;
const TGKILL: u64 = 234;
const UNSHARE: u64 = 272;
const DUP: u64 = 32;
const CLOSE: u64 = 3;
const FCNTL: u64 = 72;
const F_GETFD: u64 = 1;

const VM: u64 = 0x100;
const FS: u64 = 0x200;
const FILES: u64 = 0x400;
const SIGHAND: u64 = 0x800;
const THREAD: u64 = 0x1_0000;
const SETTLS: u64 = 0x8_0000;
const PARENT_SETTID: u64 = 0x10_0000;
const CHILD_CLEARTID: u64 = 0x20_0000;
const CHILD_SETTID: u64 = 0x100_0000;
const THREAD_FLAGS: u64 = VM | FS | FILES | SIGHAND | THREAD;

const STACK: u64 = SCRATCH + 0x3000;
const WORD: u64 = SCRATCH + 0x100;
const OTHER_WORD: u64 = SCRATCH + 0x104;

fn errno(errno: Errno) -> i64 {
    i64::try_from(errno.as_negative()).unwrap()
}

/// How a call ended that does not return.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Thread,
    Process(Outcome),
}

/// A thread of the program, on whatever thread of the host it is used.
struct Task {
    thread: Arc<Thread>,
    registers: Registers,
}

impl Task {
    fn call(&mut self, number: u64, arguments: &[u64]) -> i64 {
        let mut words = [0; 6];
        words[..arguments.len()].copy_from_slice(arguments);
        let registers = &mut self.registers;
        (registers.rax, registers.original_rax) = (number, number);
        [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9] = words;
        if linux::syscall_entry(&self.thread, registers) || self.thread.needs_attention() {
            linux::syscall_exit(&self.thread, registers);
        }
        self.registers.rax.cast_signed()
    }

    fn last_call(&mut self, number: u64, arguments: &[u64]) -> End {
        let end = catch_unwind(AssertUnwindSafe(|| self.call(number, arguments))).expect_err("the thread goes on");
        match end.downcast::<Outcome>() {
            Ok(outcome) => End::Process(*outcome),
            Err(end) => {
                assert!(end.is::<ThreadEnded>(), "an orderly end");
                End::Thread
            }
        }
    }
}

fn first(machine: &Machine) -> Task {
    Task { thread: Arc::clone(&machine.thread), registers: machine.registers }
}

/// Makes a thread; the test runs it.
fn spawn(machine: &Machine, creator: &mut Task, flags: u64) -> Task {
    let tid = creator.call(CLONE, &[flags, STACK, WORD, OTHER_WORD, 0x7000]);
    assert!(tid > 0, "{tid}");
    let thread = machine.cpu.made.lock().unwrap().pop().unwrap();
    let start = machine.cpu.starts.lock().unwrap().pop().unwrap();
    assert_eq!(i64::from(thread.tid()), tid);
    Task { thread, registers: start.registers }
}

#[test]
fn a_thread_begins_as_its_creator_said() {
    let machine = boot();
    let mut task = first(&machine);
    (task.registers.rbx, task.registers.r15) = (0x1b, 0x15);
    let flags = THREAD_FLAGS | SETTLS | PARENT_SETTID | CHILD_SETTID | CHILD_CLEARTID;
    let tid = task.call(CLONE, &[flags, STACK, WORD, OTHER_WORD, 0x7000]);
    let start = machine.cpu.starts.lock().unwrap().pop().unwrap();
    let thread = machine.cpu.made.lock().unwrap().pop().unwrap();
    assert_eq!((start.registers.rax, start.registers.rsp, start.fs_base), (0, STACK, Some(0x7000)));
    assert_eq!((start.registers.rbx, start.registers.r15, start.registers.rdx), (0x1b, 0x15, WORD));
    assert_eq!((machine.read::<u32>(WORD), machine.read::<u32>(OTHER_WORD)), (thread.tid(), thread.tid()));
    assert_eq!((i64::from(thread.tid()), machine.cpu.launched.load(Ordering::Relaxed)), (tid, 1));
    assert_eq!(thread.process().thread_count(), 2);

    // Without a stack and a thread pointer it begins with the creator's.
    task.registers.rsp = STACK + 0x800;
    assert!(task.call(CLONE, &[THREAD_FLAGS, 0, 0, 0, 0x7000]) > 0);
    let start = machine.cpu.starts.lock().unwrap().pop().unwrap();
    assert_eq!((start.registers.rsp, start.fs_base), (STACK + 0x800, None));
}

#[test]
fn a_thread_without_a_context_leaves_nothing() {
    let machine = boot();
    let mut task = first(&machine);
    machine.cpu.room.store(0, Ordering::Relaxed);
    assert_eq!(task.call(CLONE, &[THREAD_FLAGS, STACK]), errno(Errno::ENOMEM));
    assert_eq!(task.thread.process().thread_count(), 1);
    assert_eq!(task.thread.process().system().thread_count(), 1);
    assert!(!task.thread.fds().is_shared());
    machine.cpu.room.store(1, Ordering::Relaxed);
    spawn(&machine, &mut task, THREAD_FLAGS);
    assert!(task.thread.fds().is_shared());
}

#[test]
fn processes_are_not_made_yet() {
    let machine = boot();
    let mut task = first(&machine);
    for flags in [17, VM | 17, VM | 0x4000 | 17, THREAD_FLAGS | 0x4000] {
        assert_eq!(task.call(CLONE, &[flags, STACK]), errno(Errno::ENOSYS), "{flags:#x}");
    }
    assert!(machine.cpu.made.lock().unwrap().is_empty());
}

#[test]
fn what_is_not_shared_is_copied() {
    let machine = boot();
    let mut task = first(&machine);
    let mut sharing = spawn(&machine, &mut task, THREAD_FLAGS);
    let mut alone = spawn(&machine, &mut task, VM | SIGHAND | THREAD);
    assert_eq!(task.call(DUP, &[0]), 3);
    assert_eq!(sharing.call(FCNTL, &[3, F_GETFD]), 0);
    assert_eq!(alone.call(FCNTL, &[3, F_GETFD]), errno(Errno::EBADF));
    assert_eq!(task.call(UMASK, &[0o27]), 0o22);
    assert_eq!((sharing.call(UMASK, &[0o77]), alone.call(UMASK, &[0o1])), (0o27, 0o22));

    assert_eq!(sharing.call(UNSHARE, &[FS | FILES]), 0);
    assert_eq!((sharing.call(UMASK, &[0]), task.call(UMASK, &[0o11])), (0o77, 0o77));
    assert_eq!(sharing.call(CLOSE, &[3]), 0);
    assert_eq!(task.call(FCNTL, &[3, F_GETFD]), 0);
    assert!(!task.thread.fds().is_shared());
    // A limit holds for all tables of the process.
    machine.write(WORD, &Rlimit::new(4, 4));
    assert_eq!(task.call(SETRLIMIT, &[7, WORD]), 0);
    for other in [&mut task, &mut sharing, &mut alone] {
        while other.call(DUP, &[0]) >= 0 {}
        assert_eq!(other.call(DUP, &[0]), errno(Errno::EMFILE));
        assert_eq!(other.call(FCNTL, &[3, F_GETFD]), 0);
    }
}

#[test]
fn the_last_that_begins_to_end_decides() {
    let machine = boot();
    let mut task = first(&machine);
    let mut second = spawn(&machine, &mut task, THREAD_FLAGS);
    let mut third = spawn(&machine, &mut task, THREAD_FLAGS);
    let process = Arc::clone(task.thread.process());
    let tids = [task.thread.tid(), second.thread.tid(), third.thread.tid()];
    assert_eq!(task.last_call(EXIT, &[1]), End::Thread);
    // The first thread keeps its number until all have ended.
    assert_eq!((process.thread_count(), process.threads().len()), (3, 2));
    assert_eq!(process.thread_numbers(), tids);
    assert_eq!(second.call(TGKILL, &[u64::from(tids[0]), u64::from(tids[0]), 0]), 0);
    assert_eq!(second.last_call(EXIT, &[2]), End::Thread);
    assert_eq!(third.call(TGKILL, &[u64::from(tids[0]), u64::from(tids[1]), 0]), errno(Errno::ESRCH));
    assert_eq!(process.thread_numbers(), [tids[0], tids[2]]);
    assert_eq!(third.last_call(EXIT, &[0x103]), End::Process(Outcome::Exited(3)));
}

#[test]
fn the_word_of_an_ended_thread_is_cleared() {
    let machine = boot();
    let mut task = first(&machine);
    let mut thread = spawn(&machine, &mut task, THREAD_FLAGS | CHILD_SETTID | CHILD_CLEARTID);
    assert_ne!(machine.read::<u32>(OTHER_WORD), 0);
    assert_eq!(thread.last_call(EXIT, &[0]), End::Thread);
    assert_eq!(machine.read::<u32>(OTHER_WORD), 0);
    // With nobody left there is nobody to tell, and the memory goes.
    assert_eq!(task.call(SET_TID_ADDRESS, &[WORD]), i64::from(task.thread.tid()));
    assert_eq!(task.last_call(EXIT, &[5]), End::Process(Outcome::Exited(5)));
    assert!(task.thread.process().address_space().areas().is_empty());
}

#[test]
fn all_end_when_one_ends_the_process() {
    let machine = boot();
    let mut task = first(&machine);
    let mut others: Vec<_> = (0..3).map(|_| spawn(&machine, &mut task, THREAD_FLAGS)).collect();
    assert_eq!(others[1].last_call(EXIT_GROUP, &[9]), End::Thread);
    // Nobody can join a process that ends.
    assert_eq!(task.last_call(CLONE, &[THREAD_FLAGS, STACK]), End::Thread);
    assert_eq!(machine.cpu.abandoned.load(Ordering::Relaxed), machine.cpu.made.lock().unwrap().len());
    assert_eq!(others[0].last_call(EXIT, &[1]), End::Thread);
    assert_eq!(others[2].last_call(GETPID, &[]), End::Process(Outcome::Exited(9)));
}

#[test]
fn a_fatal_signal_ends_all() {
    let machine = boot();
    let mut task = first(&machine);
    let mut other = spawn(&machine, &mut task, THREAD_FLAGS);
    let pid = u64::from(task.thread.process().pid());
    assert_eq!(other.last_call(KILL, &[pid, 9]), End::Thread);
    assert_eq!(task.last_call(GETPID, &[]), End::Process(Outcome::Killed(Signal::SIGKILL)));
}

#[test]
fn users_have_a_limit_of_threads() {
    let machine = boot();
    let mut task = first(&machine);
    machine.write(WORD, &Rlimit::new(3, 3));
    assert_eq!(task.call(SETRLIMIT, &[6, WORD]), 0);
    // Root has none.
    let mut others: Vec<_> = (0..4).map(|_| spawn(&machine, &mut task, THREAD_FLAGS)).collect();
    for other in &mut others[..2] {
        assert_eq!(other.call(SETUID, &[5]), 0);
    }
    // Only the thread itself changes users.
    assert_eq!(task.thread.credentials().user.real, 0);
    assert_eq!(others[0].call(CLONE, &[THREAD_FLAGS, STACK]), 6);
    assert_eq!(others[0].call(CLONE, &[THREAD_FLAGS, STACK]), errno(Errno::EAGAIN));
    assert_eq!(others[1].last_call(EXIT, &[0]), End::Thread);
    assert_eq!(others[0].call(CLONE, &[THREAD_FLAGS, STACK]), 7);
}

#[test]
fn as_many_threads_come_and_go_as_there_can_be() {
    let machine = boot();
    let mut task = first(&machine);
    let mut tasks: Vec<_> = (1..THREADS_MAX).map(|_| spawn(&machine, &mut task, THREAD_FLAGS)).collect();
    assert_eq!(task.thread.process().thread_count(), THREADS_MAX as usize);
    assert_eq!(task.call(CLONE, &[THREAD_FLAGS, STACK]), errno(Errno::EAGAIN));
    // From the front, from the middle and from the back.
    while !tasks.is_empty() {
        let index = [0, tasks.len() / 2, tasks.len() - 1][tasks.len() % 3];
        assert_eq!(tasks.swap_remove(index).last_call(EXIT, &[0]), End::Thread);
    }
    assert_eq!(task.thread.process().thread_count(), 1);
    assert_eq!(task.thread.process().system().thread_count(), 1);
}

/// Runs a thread of the program on one of the host until it is made to end, and says when it has.
fn run_until_ended(mut task: Task) -> JoinHandle<End> {
    testkit::threads::spawn(move || {
        while !task.thread.needs_attention() {
            std::thread::yield_now();
        }
        task.last_call(GETPID, &[])
    })
}

/// Executes the program anew.
fn execute(machine: &Machine, task: &mut Task) -> i64 {
    machine.write(SCRATCH + 0x200, b"/program\0");
    task.call(EXECVE, &[SCRATCH + 0x200, 0, 0])
}

#[test]
fn any_thread_becomes_the_program() {
    let machine = boot();
    let mut task = first(&machine);
    let mut caller = spawn(&machine, &mut task, THREAD_FLAGS);
    let others = [spawn(&machine, &mut task, THREAD_FLAGS), spawn(&machine, &mut caller, VM | SIGHAND | THREAD), task];
    let (system, process) = (Arc::clone(caller.thread.process().system()), Arc::clone(caller.thread.process()));
    let numbers = process.thread_numbers();
    let old_space = process.address_space();
    let ends = others.map(run_until_ended);
    assert_eq!(execute(&machine, &mut caller), 0);
    for end in ends {
        assert_eq!(end.join().unwrap(), End::Thread);
    }
    assert_eq!(process.thread_numbers(), [process.pid()]);
    assert_eq!(caller.thread.tid(), process.pid());
    assert!(Arc::ptr_eq(&system.thread(process.pid()).unwrap(), &caller.thread));
    assert!(numbers.iter().all(|number| *number == process.pid() || system.thread(*number).is_none()));
    assert!(!Arc::ptr_eq(&old_space, &process.address_space()));
    assert_eq!((caller.registers.rip, caller.registers.rbx, caller.registers.rax), (CODE + 0x80, 0, 0));
    // It is a process like any other: threads join, and it ends as its last one says.
    let mut thread = spawn(&machine, &mut caller, THREAD_FLAGS);
    assert_eq!(caller.last_call(EXIT, &[1]), End::Thread);
    assert_eq!(thread.last_call(EXIT, &[6]), End::Process(Outcome::Exited(6)));
}

#[test]
fn a_thread_takes_the_number_of_a_first_one_that_has_ended() {
    let machine = boot();
    let mut task = first(&machine);
    let mut caller = spawn(&machine, &mut task, THREAD_FLAGS);
    assert_eq!(task.last_call(EXIT, &[1]), End::Thread);
    assert_eq!(caller.thread.process().thread_count(), 2);
    assert_eq!(execute(&machine, &mut caller), 0);
    assert_eq!((caller.thread.process().thread_count(), caller.thread.tid()), (1, caller.thread.process().pid()));
    assert_eq!(caller.last_call(EXIT, &[2]), End::Process(Outcome::Exited(2)));
}

#[test]
fn a_program_that_cannot_be_executed_changes_nothing() {
    let machine = boot();
    let mut task = first(&machine);
    let other = spawn(&machine, &mut task, THREAD_FLAGS);
    machine.write(SCRATCH + 0x200, b"/missing\0");
    assert_eq!(task.call(EXECVE, &[SCRATCH + 0x200, 0, 0]), errno(Errno::ENOENT));
    machine.write(SCRATCH + 0x200, b"/program\0");
    assert_eq!(task.call(EXECVE, &[SCRATCH + 0x200, 8, 0]), errno(Errno::EFAULT));
    assert!(!other.thread.needs_attention());
    assert_eq!(task.thread.process().thread_count(), 2);
}

#[test]
fn who_waits_to_be_alone_can_be_killed() {
    let machine = boot();
    let mut task = first(&machine);
    let mut other = spawn(&machine, &mut task, THREAD_FLAGS);
    let mut second = spawn(&machine, &mut task, THREAD_FLAGS);
    let process = Arc::clone(task.thread.process());
    machine.write(SCRATCH + 0x200, b"/program\0");
    let caller = testkit::threads::spawn(move || task.last_call(EXECVE, &[SCRATCH + 0x200, 0, 0]));
    while !other.thread.needs_attention() {
        std::thread::yield_now();
    }
    // Another one that tries the same is told to end as well.
    assert_eq!(second.last_call(EXECVE, &[SCRATCH + 0x200, 0, 0]), End::Thread);
    process.raise(abi::Siginfo::new(Signal::SIGKILL, 0));
    let ends = [other.last_call(EXIT_GROUP, &[9]), caller.join().unwrap()];
    assert!(ends.iter().any(|end| matches!(end, End::Process(_))), "{ends:?}");
}
