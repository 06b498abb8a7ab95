//! `setns`, and what `ioctl` says of the owner of a namespace.

use abi::{CloneFlags, Errno, Fd, OpenFlags};
use alloc::sync::Arc;
use file::OpenFile;

use crate::SyscallResult;
use crate::credentials::{CAP_SYS_ADMIN, CAP_SYS_CHROOT};
use crate::lookup::file_as;
use crate::namespace::{NamespaceFile, NamespaceKind};
use crate::thread::Thread;

/// Enters a namespace, in which the caller is already: all checks are Linux's, in its order.
pub(crate) fn setns(thread: &Thread, fd: Fd, kind: i32) -> SyscallResult {
    let open = thread.fds().get(fd.raw())?;
    let namespace = file_as::<NamespaceFile>(&open).ok_or(Errno::EINVAL)?.kind();
    let wanted = CloneFlags::from_bits(u64::from(kind.cast_unsigned())).ok_or(Errno::EINVAL)?;
    if !wanted.is_empty() && wanted != namespace.flag() {
        return Err(Errno::EINVAL.into());
    }
    match namespace {
        // Nobody enters the one he is in: he would get all rights there.
        NamespaceKind::User => return Err(Errno::EINVAL.into()),
        NamespaceKind::Time if thread.process().thread_count() > 1 => return Err(Errno::EUSERS.into()),
        NamespaceKind::Mount => thread.credentials().require(CAP_SYS_CHROOT)?,
        _ => {}
    }
    thread.credentials().require(CAP_SYS_ADMIN)?;
    if namespace == NamespaceKind::Mount {
        enter_mounts(thread)?;
    }
    Ok(0)
}

/// Goes to the root of all mounts. Threads that share root and working directory cannot.
fn enter_mounts(thread: &Thread) -> Result<(), Errno> {
    if Arc::strong_count(thread.fs()) > 1 {
        return Err(Errno::EINVAL);
    }
    thread.fs().change(|context| {
        let root = context.namespace.root();
        (context.root, context.cwd) = (root.clone(), root);
        Ok(())
    })
}

/// A descriptor of the namespace that owns this one (`NS_GET_USERNS`).
pub(super) fn open_owner(thread: &Thread, namespace: &NamespaceFile) -> SyscallResult {
    let open = OpenFile::new(namespace.owner()?, OpenFlags::empty());
    let fd = thread.fds().install(open, true)?;
    Ok(usize::try_from(fd).unwrap_or(0))
}
