//! A process becomes another program: the second half of `execve`, from which there is no way back.
//!
//! The calling thread first remains alone: it makes all others end and waits until they have left. If it was not the first
//! thread of its process it takes that one's number, since a process's first thread has the process's. Then the new address
//! space takes the place of the old one, and all that belonged to the old program goes: handlers, timers, descriptors marked
//! for it, the thread's own arrangements with it.

use core::sync::atomic::Ordering::Relaxed;

use abi::{Errno, Signal};

use crate::credentials::Credentials;
use crate::exec::{Prepared, file_name};
use crate::platform::Outcome;
use crate::registers::Registers;
use crate::thread::{Deferred, FaultRecord, Thread};
use crate::{futex, members};

/// Makes the process of `thread` run a program that is prepared, started as `name`, with these credentials. Fails only
/// when the process is ending.
pub(crate) fn become_program(
    thread: &Thread,
    mut prepared: Prepared,
    credentials: Credentials,
    name: &[u8],
) -> Result<(), Errno> {
    let process = thread.process();
    members::remain_alone(process, thread)?;
    process.system().take_process_number(thread);
    futex::thread_leaves(thread);
    // Nobody is left to be told of an end.
    thread.clear_child_tid.store(0, Relaxed);

    // The old address space stays until the new one is current.
    process.loans.clear();
    let old_space = process.replace_program(prepared.memory.hand_over(), prepared.image.clone());
    let entered = prepared.enter(thread.platform());
    // It goes here, where it may take its time, and not where the grace period ends.
    sync::rcu::flush();
    // Who still looks at it then has the last of an empty one.
    old_space.clear();
    drop(old_space);

    leave_old_program(thread, name);
    thread.set_credentials(credentials);
    process.enforce_limits();
    members::reopen(process);
    match entered {
        Ok(start) => thread.defer(Deferred::other(move |_, registers| {
            *registers = Registers { cs: registers.cs, ss: registers.ss, ..start };
        })),
        // Nothing is left that an error could be told to.
        Err(_) => process.begin_exit(Outcome::Killed(Signal::SIGKILL)),
    }
    Ok(())
}

/// Takes back what the old program had arranged.
fn leave_old_program(thread: &Thread, name: &[u8]) {
    let process = thread.process();
    if thread.unshare_fds().is_err() {
        process.begin_exit(Outcome::Killed(Signal::SIGKILL));
    }
    thread.fds().close_on_exec();
    process.timers.delete_all_posix();
    process.actions().reset_handlers();
    thread.sequence.forget();
    process.barriers.forget();
    thread.signals.set_stack(crate::signal::AlternateStack::default());
    // The machine may do without.
    let _ = thread.platform().set_gs_base(0);
    thread.set_fault(FaultRecord::default());
    thread.set_name(file_name(name));
    process.dumpable.store(1, Relaxed);
}
