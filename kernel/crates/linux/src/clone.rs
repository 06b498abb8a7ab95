//! Making threads.
//!
//! A system call's handler only checks what is asked for; the thread is made on the caller's exit path, where all its
//! registers are known, since the new thread begins with a copy of them.

use abi::{CloneFlags, Errno, UserPtr};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use mm::user::write_user_struct;

use crate::members;
use crate::platform::ThreadStart;
use crate::registers::Registers;
use crate::scheduling;
use crate::thread::Thread;

/// A thread to make, known to be one that can be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ThreadRequest {
    pub flags: CloneFlags,
    /// Where its stack begins; 0: where the caller's is.
    pub stack: u64,
    /// Its fs base, with [`CloneFlags::SETTLS`].
    pub tls: u64,
    pub parent_tid: UserPtr,
    pub child_tid: UserPtr,
    /// The number it is to have.
    pub number: Option<u32>,
}

/// Makes a thread that begins with these registers, and answers its number.
pub(crate) fn create(caller: &Thread, registers: &Registers, request: &ThreadRequest) -> Result<u32, Errno> {
    let has = |flag| request.flags.contains(flag);
    let process = caller.process();
    let (system, platform) = (process.system(), caller.platform());

    let thread = Thread::beside(caller, has(CloneFlags::FILES), has(CloneFlags::FS));
    if has(CloneFlags::CHILD_CLEARTID) {
        thread.clear_child_tid.store(request.child_tid.address(), Relaxed);
    }
    let mut registers = Registers { rax: 0, ..*registers };
    if request.stack != 0 {
        registers.rsp = request.stack;
    }
    let fs_base = has(CloneFlags::SETTLS).then_some(request.tls);
    let created = platform.create_context(&thread, ThreadStart { registers, fs_base });
    created.inspect_err(|_| thread.fds().leave())?;
    scheduling::inherit(&thread, caller);

    let entered = system.register(&thread, request.number).and_then(|tid| {
        members::join(process, &thread).map_err(|members::Ending| {
            system.unregister(&thread);
            // The caller ends before it can see this.
            Errno::EAGAIN
        })?;
        Ok(tid)
    });
    let tid = match entered {
        Ok(tid) => tid,
        Err(errno) => {
            platform.abandon(&thread);
            thread.fds().leave();
            return Err(errno);
        }
    };
    if !has(CloneFlags::FILES) {
        // The limit may have changed since the table was copied; who changes it from now on sees the thread.
        thread.fds().set_limit(process.soft_limit(abi::resource::RLIMIT_NOFILE));
    }
    // Both live in the same memory, so the caller writes the thread's word as well. Bad addresses are the program's affair.
    if has(CloneFlags::PARENT_SETTID) {
        let _ = write_user_struct(request.parent_tid.address(), &tid);
    }
    if has(CloneFlags::CHILD_SETTID) {
        let _ = write_user_struct(request.child_tid.address(), &tid);
    }
    platform.launch(&thread);
    drop::<Arc<Thread>>(thread);
    Ok(tid)
}
