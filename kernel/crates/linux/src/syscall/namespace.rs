//! `setns`, and what `ioctl` says of namespaces by their relations: to who asks, to mounts, to their owner.

use alloc::sync::Arc;

use abi::ioctl::{NS_GET_USERNS, NS_MNT_GET_INFO, NS_MNT_GET_NEXT, NS_MNT_GET_PREV};
use abi::mount::{MNT_NS_INFO_SIZE_VER0, MountNamespaceInfo};
use abi::{CloneFlags, Errno, Fd, OpenFlags, UserPtr};
use file::{File, OpenFile};
use mm::user::write_user_struct;

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

/// `ioctl` of a namespace.
pub(super) fn namespace_ioctl(
    thread: &Thread,
    open: &OpenFile,
    namespace: &NamespaceFile,
    command: u32,
    argument: u64,
) -> SyscallResult {
    /// Where a command has the length of its structure.
    const LEN: u32 = 0x3fff << 16;
    let argument = UserPtr(usize::try_from(argument).map_err(|_| Errno::EFAULT)?);
    let known_len = (command & LEN) >> 16;
    match command & !LEN {
        NS_GET_USERNS if known_len == 0 => open_owner(thread, namespace),
        relation @ (NS_MNT_GET_INFO | NS_MNT_GET_NEXT | NS_MNT_GET_PREV) if known_len >= MNT_NS_INFO_SIZE_VER0 => {
            match namespace.kind() {
                NamespaceKind::Mount if relation == NS_MNT_GET_INFO => tell_mounts(thread, argument),
                // There is one.
                NamespaceKind::Mount => Err(Errno::ENOENT.into()),
                _ => Err(Errno::EINVAL.into()),
            }
        }
        _ => Ok(namespace.ioctl(open, command, argument.address())?),
    }
}

/// `NS_MNT_GET_INFO`.
fn tell_mounts(thread: &Thread, to: UserPtr) -> SyscallResult {
    let to = to.non_null().ok_or(Errno::EINVAL)?;
    let count = thread.fs().get().namespace.mount_count();
    let info = MountNamespaceInfo {
        size: MNT_NS_INFO_SIZE_VER0,
        nr_mounts: u32::try_from(count).unwrap_or(u32::MAX),
        mnt_ns_id: NamespaceKind::Mount.id(),
    };
    write_user_struct(to.address(), &info)?;
    Ok(0)
}

/// A descriptor of the namespace that owns this one (`NS_GET_USERNS`).
fn open_owner(thread: &Thread, namespace: &NamespaceFile) -> SyscallResult {
    let open = OpenFile::new(namespace.owner()?, OpenFlags::empty());
    let fd = thread.fds().install(open, true)?;
    Ok(usize::try_from(fd).unwrap_or(0))
}
