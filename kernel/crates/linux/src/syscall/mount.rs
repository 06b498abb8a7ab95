//! `mount`, `umount2` and `pivot_root`.
//!
//! The order of the checks is that of Linux's `path_mount`: what is asked for follows from the flags, and most of them have no
//! meaning for most of what can be asked. Bits that Linux does not know are ignored, as there.

use alloc::vec::Vec;

use abi::mount::{MS_MGC_MSK, MS_MGC_VAL};
use abi::{Errno, Fd, MountCallFlags as Flags, UmountFlags, UserPtr};
use mm::user::read_user_cstr;
use vfs::fs::kinds::{self, Source};
use vfs::{Capabilities, Lookup, MountFlags, PathRef, Propagation, SuperblockFlags, Unmount};

use crate::SyscallResult;
use crate::lookup::{View, locate, read_path};
use crate::thread::Thread;

/// The longest name or text of options, with its closing zero.
const TEXT_LEN_MAX: usize = 4096;

/// A name or text that may be absent.
fn read_text(text: UserPtr) -> Result<Option<Vec<u8>>, Errno> {
    if text.address() == 0 {
        return Ok(None);
    }
    let too_long = |errno| if errno == Errno::ENAMETOOLONG { Errno::EINVAL } else { errno };
    read_user_cstr(text.address(), TEXT_LEN_MAX).map(Some).map_err(too_long)
}

/// The kind of propagation that one flag stands for.
pub(super) fn propagation(flag: Flags) -> Option<Propagation> {
    match flag {
        Flags::SHARED => Some(Propagation::Shared),
        Flags::SLAVE => Some(Propagation::Slave),
        Flags::PRIVATE => Some(Propagation::Private),
        Flags::UNBINDABLE => Some(Propagation::Unbindable),
        _ => None,
    }
}

/// What a call of `mount` asks for.
struct Request<'a> {
    view: &'a View,
    target: PathRef,
    source: Option<Vec<u8>>,
    kind: Option<Vec<u8>>,
    options: Vec<u8>,
    flags: Flags,
}

pub(crate) fn mount(
    thread: &Thread,
    source: UserPtr,
    target: UserPtr,
    kind: UserPtr,
    flags: u64,
    data: UserPtr,
) -> SyscallResult {
    let kind = read_text(kind)?;
    let source = read_text(source)?;
    let options = read_text(data)?.unwrap_or_default();
    let view = View::of(thread);
    let target = locate(thread, &view, Fd::AT_FDCWD, target, true)?;
    let has_magic = flags & MS_MGC_MSK == MS_MGC_VAL;
    let flags = Flags::from_bits_retain(if has_magic { flags & !MS_MGC_MSK } else { flags });
    if flags.contains(Flags::NOUSER) {
        return Err(Errno::EINVAL.into());
    }
    if !view.credentials.has(Capabilities::SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    let request = Request { view: &view, target, source, kind, options, flags };
    request.carry_out()?;
    // A file system that was replaced or lost its last user is written back now.
    drop(request);
    vfs::settle();
    Ok(0)
}

impl Request<'_> {
    fn carry_out(&self) -> Result<(), Errno> {
        let Self { view, target, flags, .. } = self;
        let (namespace, credentials) = (&view.context.namespace, &*view.credentials);
        if flags.contains(Flags::REMOUNT | Flags::BIND) {
            return namespace.remount(credentials, target, self.mount_flags());
        }
        if flags.contains(Flags::REMOUNT) {
            let mount_flags = self.mount_flags();
            return namespace.reconfigure(credentials, target, self.superblock_flags(), mount_flags, &self.options);
        }
        if flags.contains(Flags::BIND) {
            let what = self.old_place()?;
            return namespace.bind(credentials, target, &what, flags.contains(Flags::REC)).map(drop);
        }
        if flags.intersects(Flags::SHARED | Flags::PRIVATE | Flags::SLAVE | Flags::UNBINDABLE) {
            return self.set_propagation();
        }
        if flags.contains(Flags::MOVE) {
            return namespace.move_mount(credentials, target, &self.old_place()?);
        }
        self.mount_new()
    }

    /// The place that is bound or moved.
    fn old_place(&self) -> Result<PathRef, Errno> {
        match self.source.as_deref() {
            None | Some(b"") => Err(Errno::EINVAL),
            Some(path) => self.view.resolve(None, path, true),
        }
    }

    fn mount_new(&self) -> Result<(), Errno> {
        let kind = kinds::find(self.kind.as_deref().ok_or(Errno::EINVAL)?).ok_or(Errno::ENODEV)?;
        let volume = match self.source.as_deref() {
            Some(source) if kind.needs_device() => Some(kinds::volume_at(&self.view.resolve(None, source, true)?)?),
            _ => None,
        };
        let source = self.source.as_deref().unwrap_or(b"none");
        let flags = self.superblock_flags();
        let superblock = kind.open(&Source { name: source, volume: volume.as_ref(), flags, options: &self.options })?;
        let (namespace, credentials) = (&self.view.context.namespace, &*self.view.credentials);
        namespace.mount_superblock(credentials, &self.target, superblock, source, self.mount_flags()).map(drop)
    }

    /// One kind of propagation, with `MS_REC` and `MS_SILENT`.
    fn set_propagation(&self) -> Result<(), Errno> {
        let kind = self.flags - Flags::REC - Flags::SILENT;
        let kind = propagation(kind).ok_or(Errno::EINVAL)?;
        let namespace = &self.view.context.namespace;
        let is_recursive = self.flags.contains(Flags::REC);
        namespace.set_propagation(&self.view.credentials, &self.target, kind, is_recursive)
    }

    fn superblock_flags(&self) -> SuperblockFlags {
        SuperblockFlags {
            is_read_only: self.flags.contains(Flags::RDONLY),
            is_synchronous: self.flags.contains(Flags::SYNCHRONOUS),
        }
    }

    fn mount_flags(&self) -> MountFlags {
        let pairs = [
            (Flags::RDONLY, MountFlags::READ_ONLY),
            (Flags::NOSUID, MountFlags::NO_SET_ID),
            (Flags::NODEV, MountFlags::NO_DEVICES),
            (Flags::NOEXEC, MountFlags::NO_EXECUTE),
            (Flags::NOATIME, MountFlags::NO_ACCESS_TIME),
            (Flags::NODIRATIME, MountFlags::NO_DIRECTORY_ACCESS_TIME),
            (Flags::RELATIME, MountFlags::RELATIVE_ACCESS_TIME),
            (Flags::STRICTATIME, MountFlags::STRICT_ACCESS_TIME),
            (Flags::NOSYMFOLLOW, MountFlags::NO_LINKS),
        ];
        let asked = pairs.into_iter().filter(|(flag, _)| self.flags.contains(*flag));
        let flags = asked.fold(MountFlags::empty(), |all, (_, flag)| all | flag);
        let keeps_times = self.flags.contains(Flags::REMOUNT) && !flags.intersects(MountFlags::of_access_times());
        if keeps_times { flags | self.target.mount.access_time_flags() } else { flags }
    }
}

pub(crate) fn umount2(thread: &Thread, target: UserPtr, flags: u32) -> SyscallResult {
    let flags = UmountFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let path = read_path(target)?;
    let view = View::of(thread);
    let mut lookup = Lookup::UNNOTICED;
    lookup.set(Lookup::FOLLOW, !flags.contains(UmountFlags::NOFOLLOW));
    // `.` may have something mounted on it, which goes first.
    let place = vfs::resolve(&view.context, &view.credentials, None, &path, lookup)?.into_topmost();
    let is_root = alloc::sync::Arc::ptr_eq(&place.mount, &view.context.root.mount);
    let is_forced = flags.intersects(UmountFlags::FORCE | UmountFlags::DETACH);
    if flags.contains(UmountFlags::EXPIRE) && (is_forced || is_root) {
        return Err(Errno::EINVAL.into());
    }
    let namespace = &view.context.namespace;
    if is_root && place.is_same(&namespace.root()) && !flags.contains(UmountFlags::DETACH) {
        // The root stays, and is only not written to any more.
        let superblock_flags = SuperblockFlags { is_read_only: true, ..place.mount.superblock().flags() };
        let mount_flags = place.mount.flags() | place.mount.access_time_flags();
        namespace.reconfigure(&view.credentials, &place, superblock_flags, mount_flags, &[])?;
        return Ok(0);
    }
    // The bits are the same.
    let how = Unmount::from_bits_truncate(flags.bits());
    let device = place.mount.file_system().device();
    // A fault that came late may have a file of it still.
    mm::object::settle();
    let result = namespace.unmount(&view.credentials, &place, how);
    drop(place);
    if how.contains(Unmount::DETACH) {
        // What was mounted on it goes with it.
        vfs::settle();
    }
    vfs::settle_device(device);
    result?;
    Ok(0)
}

pub(crate) fn pivot_root(thread: &Thread, new_root: UserPtr, put_old: UserPtr) -> SyscallResult {
    let view = View::of(thread);
    if !view.credentials.has(Capabilities::SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    let directory = |path: UserPtr| -> Result<PathRef, Errno> {
        let path = read_path(path)?;
        vfs::resolve(&view.context, &view.credentials, None, &path, Lookup::FOLLOW | Lookup::DIRECTORY)
    };
    let (new_root, old_at) = (directory(new_root)?, directory(put_old)?);
    let old_root = view.context.root.clone();
    view.context.namespace.pivot_root(&view.credentials, &old_root, &new_root, &old_at)?;
    // Whoever was at the old root goes on at the new one.
    for process in thread.process().system().processes() {
        for thread in process.threads() {
            thread.fs().change(|context| {
                context.move_root(&old_root, &new_root);
                Ok::<(), Errno>(())
            })?;
        }
    }
    Ok(0)
}
