//! Signals: actions, masks, waiting, sending.

use alloc::sync::Arc;

use abi::signal::{SI_TKILL, SI_USER, SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK};
use abi::{Errno, Sigaction, SigactionFlags, Sigaltstack, Siginfo, Signal, Sigset, Timespec, UserPtr, UserSiginfo};
use mm::user::{UserWriter, read_user_struct, write_user_struct};
use sync::machine::{self, NEVER};

use crate::credentials::{CAP_KILL, Credentials};
use crate::error::Restart;
use crate::process::Process;
use crate::signal::send::from_caller;
use crate::signal::{mask, restore_mask_unless, send_to_process, send_to_thread, set_temporary_mask};
use crate::thread::{Attention, Thread};
use crate::{SyscallResult, wait};

/// The size of a signal set, which calls take to tell old programs from new.
const SIGSET_SIZE: usize = size_of::<Sigset>();

fn check_set_size(size: usize) -> Result<(), Errno> {
    if size == SIGSET_SIZE { Ok(()) } else { Err(Errno::EINVAL) }
}

/// A structure the program may leave out.
fn read_optional<T: zerocopy::FromBytes + zerocopy::IntoBytes>(pointer: UserPtr) -> Result<Option<T>, Errno> {
    pointer.non_null().map(|pointer| read_user_struct(pointer.address())).transpose()
}

fn write_optional<T: zerocopy::IntoBytes + zerocopy::Immutable>(pointer: UserPtr, value: &T) -> Result<(), Errno> {
    pointer.non_null().map_or(Ok(()), |pointer| write_user_struct(pointer.address(), value))
}

pub(crate) fn rt_sigaction(
    thread: &Thread,
    signal: i32,
    action: UserPtr,
    old_action: UserPtr,
    set_size: usize,
) -> SyscallResult {
    check_set_size(set_size)?;
    let new: Option<Sigaction> = read_optional(action)?;
    let signal = Signal::from_raw(signal).ok_or(Errno::EINVAL)?;
    let actions = thread.process().actions();
    let old = match new {
        Some(_) if Sigset::UNBLOCKABLE.contains(signal) => return Err(Errno::EINVAL.into()),
        Some(mut new) => {
            // What is not known is not kept, so that programs can find out.
            new.flags = (new.flags() - SigactionFlags::UNSUPPORTED).bits();
            new.mask = new.mask.difference(Sigset::UNBLOCKABLE);
            let old = actions.replace(signal, new);
            if actions.ignores(signal) {
                // What waits is thrown away, even if it is blocked.
                thread.process().signals.lock().discard_everywhere(Sigset::of(&[signal]));
            }
            old
        }
        None => actions.get(signal),
    };
    write_optional(old_action, &old)?;
    Ok(0)
}

pub(crate) fn rt_sigprocmask(
    thread: &Thread,
    how: i32,
    set: UserPtr,
    old_set: UserPtr,
    set_size: usize,
) -> SyscallResult {
    check_set_size(set_size)?;
    let old = thread.signals.blocked();
    if let Some(set) = read_optional::<Sigset>(set)? {
        let new = match how {
            SIG_BLOCK => old.union(set),
            SIG_UNBLOCK => old.difference(set),
            SIG_SETMASK => set,
            _ => return Err(Errno::EINVAL.into()),
        };
        mask::set(thread, new);
    }
    write_optional(old_set, &old)?;
    Ok(0)
}

pub(crate) fn rt_sigpending(thread: &Thread, set: UserPtr, set_size: usize) -> SyscallResult {
    if set_size > SIGSET_SIZE {
        return Err(Errno::EINVAL.into());
    }
    let own = &thread.signals;
    let pending = thread.process().signals.set().union(own.pending()).intersection(own.blocked());
    UserWriter::new(set.address(), set_size)?.write_all(&pending.bits().to_ne_bytes()[..set_size])?;
    Ok(0)
}

pub(crate) fn rt_sigsuspend(thread: &Thread, set: UserPtr, set_size: usize) -> SyscallResult {
    check_set_size(set_size)?;
    let set: Sigset = read_user_struct(set.address())?;
    set_temporary_mask(thread, set);
    let interrupted = wait::for_signal(thread);
    restore_mask_unless(thread, true);
    Err(interrupted.restart(Restart::IfNoHandler))
}

pub(crate) fn pause(thread: &Thread) -> SyscallResult {
    Err(wait::for_signal(thread).restart(Restart::IfNoHandler))
}

pub(crate) fn rt_sigtimedwait(
    thread: &Thread,
    set: UserPtr,
    info: UserPtr,
    timeout: UserPtr,
    set_size: usize,
) -> SyscallResult {
    check_set_size(set_size)?;
    let set = read_user_struct::<Sigset>(set.address())?.difference(Sigset::UNBLOCKABLE);
    let deadline_ns = match read_optional::<Timespec>(timeout)? {
        Some(timeout) => machine::now_ns().saturating_add(timeout.to_nanoseconds().ok_or(Errno::EINVAL)?),
        None => NEVER,
    };
    thread.signals.set_awaited(set);
    let taken = wait::until(thread, &[], deadline_ns, || take_from(thread, set));
    thread.signals.set_awaited(Sigset::EMPTY);
    // Of more signals than one the thread may have been told.
    mask::hand_on(thread, set.intersection(thread.signals.blocked()));
    let (signal, mut taken) = taken.map_err(|_| Errno::EINTR)?.ok_or(Errno::EAGAIN)?;
    crate::timer::delivered(thread.process(), &mut taken);
    write_optional(info, &UserSiginfo::from(taken))?;
    Ok(usize::from(signal.number()))
}

/// Takes one waiting signal of a set.
fn take_from(thread: &Thread, set: Sigset) -> Option<(Signal, Siginfo)> {
    let others = Sigset::ALL.difference(set);
    let shared = &thread.process().signals;
    if thread.signals.pending().union(shared.set()).intersection(set).is_empty() {
        return None;
    }
    let mut info = Siginfo::zeroed();
    let mut process = shared.lock();
    let own = thread.signals.lock().take_next(others, &mut info);
    let signal = own.or_else(|| process.pending.take_next(others, &mut info))?;
    Some((signal, info))
}

/// Whether the thread is on the stack shows in its stack pointer.
pub(crate) fn sigaltstack(thread: &Thread, stack_pointer: u64, stack: UserPtr, old_stack: UserPtr) -> SyscallResult {
    let new: Option<Sigaltstack> = read_optional(stack)?;
    let mut stack = thread.signals.stack();
    let old = stack.describe(stack_pointer);
    if let Some(new) = new {
        stack.replace(&new, stack_pointer)?;
        thread.signals.set_stack(stack);
    }
    write_optional(old_stack, &old)?;
    Ok(0)
}

pub(crate) fn rt_sigreturn(thread: &Thread) -> SyscallResult {
    thread.note(Attention::SIGNAL_RETURN);
    Ok(0)
}

pub(crate) fn restart_syscall(thread: &Thread) -> SyscallResult {
    match thread.take_continuation() {
        Some(continuation) => continuation(thread),
        None => Err(Errno::EINTR.into()),
    }
}

/// The signal a program named; none for 0, which only asks whether it may send one.
fn parse(signal: i32) -> Result<Option<Signal>, Errno> {
    if signal == 0 { Ok(None) } else { Signal::from_raw(signal).map(Some).ok_or(Errno::EINVAL) }
}

/// Whether a thread may send a signal to a process.
#[inline]
fn check_may_send(thread: &Thread, target: &Process, signal: Option<Signal>) -> Result<(), Errno> {
    if core::ptr::eq(target, &raw const **thread.process()) {
        return Ok(());
    }
    may_send_to_other(thread, target, signal)
}

fn may_send_to_other(thread: &Thread, target: &Process, signal: Option<Signal>) -> Result<(), Errno> {
    let own = thread.credentials();
    if own.has(CAP_KILL) {
        return Ok(());
    }
    if signal == Some(Signal::SIGCONT) && target.session() == thread.process().session() {
        return Ok(());
    }
    let is_own = |other: &Credentials| {
        let targets = [other.user.real, other.user.saved];
        targets.contains(&own.user.effective) || targets.contains(&own.user.real)
    };
    let may = target.threads().first().is_some_and(|first| is_own(&first.credentials()));
    if may { Ok(()) } else { Err(Errno::EPERM) }
}

pub(crate) fn kill(thread: &Thread, pid: i32, signal: i32) -> SyscallResult {
    let system = thread.process().system();
    if pid > 0 {
        let target = system.process(pid.cast_unsigned()).ok_or(Errno::ESRCH)?;
        return kill_process(thread, &target, signal);
    }
    let own = thread.process();
    let is_meant = |target: &&Arc<Process>| match pid {
        0 => target.group() == own.group(),
        -1 => target.pid() > 1 && target.pid() != own.pid(),
        i32::MIN => false,
        group => target.group() == group.unsigned_abs(),
    };
    // Sending to one of many is enough; only when all refuse does the last refusal count.
    let mut result = Err(Errno::ESRCH.into());
    for target in system.processes().iter().filter(is_meant) {
        match kill_process(thread, target, signal) {
            Err(refusal) if result.is_err() => result = Err(refusal),
            Err(_) => {}
            sent => result = sent,
        }
    }
    result
}

fn kill_process(thread: &Thread, target: &Process, signal: i32) -> SyscallResult {
    let signal = parse(signal)?;
    check_may_send(thread, target, signal)?;
    if let Some(signal) = signal {
        send_to_process(target, from_caller(thread, signal, SI_USER))?;
    }
    Ok(0)
}

pub(crate) fn tkill(thread: &Thread, tid: i32, signal: i32) -> SyscallResult {
    let tid = u32::try_from(tid).ok().filter(|tid| *tid > 0).ok_or(Errno::EINVAL)?;
    kill_thread(thread, None, tid, signal)
}

pub(crate) fn tgkill(thread: &Thread, group: i32, tid: i32, signal: i32) -> SyscallResult {
    let positive = |number: i32| u32::try_from(number).ok().filter(|number| *number > 0).ok_or(Errno::EINVAL);
    let group = positive(group)?;
    kill_thread(thread, Some(group), positive(tid)?, signal)
}

/// The thread with this number, of this process if one is named.
fn find_thread(thread: &Thread, group: Option<u32>, tid: u32) -> Result<Arc<Thread>, Errno> {
    let target = thread.process().system().thread(tid).ok_or(Errno::ESRCH)?;
    if group.is_some_and(|group| group != target.process().pid()) {
        return Err(Errno::ESRCH);
    }
    Ok(target)
}

fn kill_thread(thread: &Thread, group: Option<u32>, tid: u32, signal: i32) -> SyscallResult {
    let is_own_group = group.is_none_or(|group| group == thread.process().pid());
    if tid == thread.tid() && is_own_group {
        // `raise` and `abort` need not look for anybody.
        return kill_found(thread, thread, signal);
    }
    kill_found(thread, &*find_thread(thread, group, tid)?, signal)
}

#[inline]
fn kill_found(thread: &Thread, target: &Thread, signal: i32) -> SyscallResult {
    let signal = parse(signal)?;
    check_may_send(thread, target.process(), signal)?;
    if let Some(signal) = signal {
        send_to_thread(target, from_caller(thread, signal, SI_TKILL))?;
    }
    Ok(0)
}

/// What a program has behind the part of its information that is kept.
type Rest = [u8; size_of::<UserSiginfo>() - size_of::<Siginfo>()];

/// The information a program made up itself; only to itself may it pretend to be the kernel or `kill`. `own` is its
/// number as far as the call names targets, `target` the one it named.
fn read_info(own: u32, target: i32, signal: i32, info: UserPtr) -> Result<Siginfo, Errno> {
    let address = info.address();
    let mut info: Siginfo = read_user_struct(address)?;
    info.si_signo = signal;
    // Only of what nobody knows does Linux look at what it does not keep.
    if !info.is_known() && read_user_struct::<Rest>(address + size_of::<Siginfo>())? != [0; _] {
        return Err(Errno::E2BIG);
    }
    let pretends = info.si_code >= 0 || info.si_code == SI_TKILL;
    if pretends && u32::try_from(target) != Ok(own) {
        return Err(Errno::EPERM);
    }
    Ok(info)
}

pub(crate) fn rt_sigqueueinfo(thread: &Thread, pid: i32, signal: i32, info: UserPtr) -> SyscallResult {
    let info = read_info(thread.process().pid(), pid, signal, info)?;
    let pid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let target = thread.process().system().process(pid).ok_or(Errno::ESRCH)?;
    let signal = parse(signal)?;
    check_may_send(thread, &target, signal)?;
    if signal.is_some() {
        send_to_process(&target, info)?;
    }
    Ok(0)
}

pub(crate) fn rt_tgsigqueueinfo(thread: &Thread, group: i32, tid: i32, signal: i32, info: UserPtr) -> SyscallResult {
    let positive = |number: i32| u32::try_from(number).ok().filter(|number| *number > 0).ok_or(Errno::EINVAL);
    let (group, target) = (positive(group)?, positive(tid)?);
    let info = read_info(thread.tid(), tid, signal, info)?;
    let target = find_thread(thread, Some(group), target)?;
    let signal = parse(signal)?;
    check_may_send(thread, target.process(), signal)?;
    if signal.is_some() {
        send_to_thread(&target, info)?;
    }
    Ok(0)
}
