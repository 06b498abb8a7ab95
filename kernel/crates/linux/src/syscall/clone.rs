//! `clone`, `clone3` and `unshare`: what they are asked for, and whether it can be.
//!
//! All checks are Linux's, in its order. What passes them and makes a process answers `ENOSYS`, and so does a thread whose
//! creator wants to wait for it (`CLONE_VFORK`). Namespaces and pidfds of threads answer `EINVAL`, as on a Linux that was built
//! without the former and is too old for the latter.

use abi::{CloneArgs, CloneFlags, Errno, Signal, UserPtr};
use mm::user::{UserReader, read_user_struct};
use mm::{PAGE_SIZE, USER_END};
use zerocopy::IntoBytes;

use crate::SyscallResult;
use crate::clone::ThreadRequest;
use crate::credentials::{CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN};
use crate::system::PID_MAX;
use crate::thread::{Deferred, Thread};

/// The low byte of `clone`'s flags: the signal sent when the new process ends.
const EXIT_SIGNAL_BITS: u64 = 0xff;
/// The size of the first version of `struct clone_args`, and of the newest one known.
const SIZE_MIN: usize = 64;
const SIZE_MAX: usize = size_of::<CloneArgs>();
/// What makes namespaces, of which there is one of each kind.
const NAMESPACES: CloneFlags = CloneFlags::NEWNS
    .union(CloneFlags::NEWCGROUP)
    .union(CloneFlags::NEWUTS)
    .union(CloneFlags::NEWIPC)
    .union(CloneFlags::NEWNET)
    .union(CloneFlags::NEWTIME);
/// The most nested number spaces there can be (`MAX_PID_NS_LEVEL`); there is one.
const NUMBER_SPACES_MAX: u64 = 32;

pub(crate) fn clone(
    thread: &Thread,
    flags: u64,
    stack: usize,
    parent_tid: UserPtr,
    child_tid: UserPtr,
    tls: u64,
) -> SyscallResult {
    let flags = flags & u64::from(u32::MAX);
    let arguments = CloneArgs {
        flags: flags & !EXIT_SIGNAL_BITS,
        exit_signal: flags & EXIT_SIGNAL_BITS,
        pidfd: parent_tid.address() as u64,
        parent_tid: parent_tid.address() as u64,
        child_tid: child_tid.address() as u64,
        stack: stack as u64,
        tls,
        ..CloneArgs::zeroed()
    };
    start(thread, &arguments, None)
}

pub(crate) fn clone3(thread: &Thread, arguments: UserPtr, size: usize) -> SyscallResult {
    let mut arguments = read_arguments(arguments.address(), size)?;
    let number = read_number(&arguments)?;
    let has_signal = arguments.exit_signal != 0;
    if arguments.exit_signal > u64::from(Signal::MAX) {
        return Err(Errno::EINVAL.into());
    }
    let flags = CloneFlags::from_bits(arguments.flags).ok_or(Errno::EINVAL)?;
    let is_invalid = flags.contains(CloneFlags::DETACHED)
        || flags.contains(CloneFlags::SIGHAND | CloneFlags::CLEAR_SIGHAND)
        || (flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT) && has_signal)
        || (flags.contains(CloneFlags::INTO_CGROUP) && (size < SIZE_MAX || i32::try_from(arguments.cgroup).is_err()));
    if is_invalid {
        return Err(Errno::EINVAL.into());
    }
    arguments.stack = stack_end(arguments.stack, arguments.stack_size)?;
    start(thread, &arguments, number)
}

/// The structure, of whatever version: what a short one lacks is zero, what a long one adds has to be.
fn read_arguments(address: usize, size: usize) -> Result<CloneArgs, Errno> {
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < SIZE_MIN {
        return Err(Errno::EINVAL);
    }
    let mut arguments = CloneArgs::zeroed();
    let known = size.min(SIZE_MAX);
    let mut reader = UserReader::new(address, size)?;
    reader.read_exact(&mut arguments.as_mut_bytes()[..known])?;
    let mut rest = [0; 64];
    while reader.remaining() > 0 {
        let count = reader.remaining().min(rest.len());
        reader.read_exact(&mut rest[..count])?;
        if rest[..count].iter().any(|byte| *byte != 0) {
            return Err(Errno::E2BIG);
        }
    }
    Ok(arguments)
}

/// The number the new thread is to have. There is one number space, so at most one is asked for.
fn read_number(arguments: &CloneArgs) -> Result<Option<u32>, Errno> {
    let CloneArgs { set_tid, set_tid_size, .. } = *arguments;
    if set_tid_size > NUMBER_SPACES_MAX || (set_tid == 0) != (set_tid_size == 0) {
        return Err(Errno::EINVAL);
    }
    if set_tid == 0 {
        return Ok(None);
    }
    let address = usize::try_from(set_tid).map_err(|_| Errno::EFAULT)?;
    let number: i32 = read_user_struct(address)?;
    if set_tid_size > 1 {
        return Err(Errno::EINVAL);
    }
    u32::try_from(number).ok().filter(|number| (1..PID_MAX).contains(number)).map(Some).ok_or(Errno::EINVAL)
}

/// The stack pointer the thread begins with; 0 when no stack is given.
fn stack_end(start: u64, size: u64) -> Result<u64, Errno> {
    if (start == 0) != (size == 0) {
        return Err(Errno::EINVAL);
    }
    start.checked_add(size).filter(|end| *end <= USER_END as u64).ok_or(Errno::EINVAL)
}

/// Checks what both calls check, in Linux's order, and leaves the rest to the exit path.
fn start(thread: &Thread, arguments: &CloneArgs, number: Option<u32>) -> SyscallResult {
    let flags = CloneFlags::from_bits_retain(arguments.flags);
    let has = |flag| flags.contains(flag);
    if has(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) && arguments.pidfd == arguments.parent_tid {
        return Err(Errno::EINVAL.into());
    }
    let is_invalid = has(CloneFlags::NEWNS | CloneFlags::FS)
        || has(CloneFlags::NEWUSER | CloneFlags::FS)
        || (has(CloneFlags::THREAD) && !has(CloneFlags::SIGHAND))
        || (has(CloneFlags::SIGHAND) && !has(CloneFlags::VM))
        || (has(CloneFlags::THREAD) && flags.intersects(CloneFlags::NEWUSER | CloneFlags::NEWPID))
        || has(CloneFlags::PIDFD | CloneFlags::DETACHED);
    if is_invalid {
        return Err(Errno::EINVAL.into());
    }
    if !has(CloneFlags::THREAD) || has(CloneFlags::VFORK) {
        return Err(Errno::ENOSYS.into());
    }
    // There are no control groups that a descriptor could name.
    if has(CloneFlags::INTO_CGROUP) {
        return Err(Errno::EBADF.into());
    }
    if flags.intersects(NAMESPACES | CloneFlags::PIDFD) {
        return Err(Errno::EINVAL.into());
    }
    let may_choose = || [CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN].iter().any(|one| thread.credentials().has(*one));
    if number.is_some() && !may_choose() {
        return Err(Errno::EPERM.into());
    }
    let tls = if has(CloneFlags::SETTLS) { arguments.tls } else { 0 };
    if tls >= USER_END as u64 {
        return Err(Errno::EPERM.into());
    }
    let request = ThreadRequest {
        flags,
        stack: arguments.stack,
        tls,
        parent_tid: UserPtr(usize::try_from(arguments.parent_tid).map_err(|_| Errno::EFAULT)?),
        child_tid: UserPtr(usize::try_from(arguments.child_tid).map_err(|_| Errno::EFAULT)?),
        number,
    };
    thread.defer(Deferred::Clone(request));
    Ok(0)
}

/// What `unshare` takes.
const UNSHARED: CloneFlags = CloneFlags::THREAD
    .union(CloneFlags::SIGHAND)
    .union(CloneFlags::VM)
    .union(CloneFlags::FS)
    .union(CloneFlags::FILES)
    .union(CloneFlags::SYSVSEM);

pub(crate) fn unshare(thread: &Thread, flags: u64) -> SyscallResult {
    // Namespaces are not known, as on a Linux without them.
    let flags = CloneFlags::from_bits(flags).filter(|flags| UNSHARED.contains(*flags)).ok_or(Errno::EINVAL)?;
    let of_process = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    // There is nothing to part a thread that is alone from.
    if flags.intersects(of_process) && thread.process().thread_count() > 1 {
        return Err(Errno::EINVAL.into());
    }
    if flags.contains(CloneFlags::FS) {
        thread.unshare_fs()?;
    }
    if flags.contains(CloneFlags::FILES) {
        thread.unshare_fds()?;
    }
    Ok(0)
}
