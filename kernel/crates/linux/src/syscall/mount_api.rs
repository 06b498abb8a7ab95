//! Mounting step by step: `fsopen`, `fsconfig`, `fsmount`, `fspick`, `open_tree`, `move_mount`, `mount_setattr` and
//! what goes with them.
//!
//! A file system is described in a [`MountContext`], becomes a mount that is nowhere, known by a descriptor, and is put
//! at its place at last.

use alloc::vec::Vec;

use abi::mount::{
    ConfigCommand, MountAttributeFlags as Attr, MountAttributes, MoveMountFlags, OpenTreeFlags, PickFlags,
};
use abi::{AtFlags, Errno, Fd, MountCallFlags, PAGE_SIZE, UserPtr};
use mm::user::{read_user_cstr, read_user_struct};
use vfs::fs::kinds;
use vfs::{FlagChange, MountFlags, PathRef};

use super::open::{check_rest_is_zero, number};
use crate::SyscallResult;
use crate::credentials::CAP_SYS_ADMIN;
use crate::lookup::{View, file_as, locate_with};
use crate::mount_context::{self, MountContext};
use crate::thread::Thread;

/// The longest key, with its closing zero.
const KEY_LEN_MAX: usize = 256;
/// The only flag of `fsopen` and `fsmount`.
const CLOEXEC: u32 = 1;

/// `EPERM` unless the caller may mount.
fn check_may_mount(thread: &Thread) -> Result<(), Errno> {
    thread.credentials().require(CAP_SYS_ADMIN)
}

/// The caller's view, if it may mount.
fn mounting_view(thread: &Thread) -> Result<View, Errno> {
    check_may_mount(thread)?;
    Ok(View::of(thread))
}

fn read_text(text: UserPtr, len_max: usize) -> Result<Vec<u8>, Errno> {
    let too_long = |errno| if errno == Errno::ENAMETOOLONG { Errno::EINVAL } else { errno };
    read_user_cstr(text.address(), len_max).map_err(too_long)
}

pub(crate) fn fsopen(thread: &Thread, name: UserPtr, flags: u32) -> SyscallResult {
    check_may_mount(thread)?;
    if flags & !CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    let kind = kinds::find(&read_text(name, PAGE_SIZE)?).ok_or(Errno::ENODEV)?;
    let context = mount_context::open(MountContext::new(kind));
    Ok(number(thread.fds().install(context, flags & CLOEXEC != 0)?))
}

pub(crate) fn fspick(thread: &Thread, directory: Fd, path: UserPtr, flags: u32) -> SyscallResult {
    let view = mounting_view(thread)?;
    let flags = PickFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let mut at = AtFlags::empty();
    at.set(AtFlags::SYMLINK_NOFOLLOW, flags.contains(PickFlags::SYMLINK_NOFOLLOW));
    at.set(AtFlags::EMPTY_PATH, flags.contains(PickFlags::EMPTY_PATH));
    let root = locate_with(thread, &view, directory, path, at)?;
    if !root.is_mount_root() {
        return Err(Errno::EINVAL.into());
    }
    let context = mount_context::open(MountContext::picked(root));
    Ok(number(thread.fds().install(context, flags.contains(PickFlags::CLOEXEC))?))
}

/// Whether a command comes with the arguments that belong to it.
fn has_arguments_of(command: ConfigCommand, key: UserPtr, value: UserPtr, auxiliary: i32) -> bool {
    /// The longest binary value.
    const BINARY_LEN_MAX: i32 = 1 << 20;
    let (has_key, has_value) = (key.address() != 0, value.address() != 0);
    match command {
        ConfigCommand::SetFlag => has_key && !has_value && auxiliary == 0,
        ConfigCommand::SetString => has_key && has_value && auxiliary == 0,
        ConfigCommand::SetBinary => has_key && has_value && (1..=BINARY_LEN_MAX).contains(&auxiliary),
        ConfigCommand::SetPath | ConfigCommand::SetPathEmpty => {
            has_key && has_value && (auxiliary >= 0 || auxiliary == Fd::AT_FDCWD.raw())
        }
        ConfigCommand::SetFd => has_key && !has_value && auxiliary >= 0,
        ConfigCommand::Create | ConfigCommand::CreateExclusive | ConfigCommand::Reconfigure => {
            !has_key && !has_value && auxiliary == 0
        }
    }
}

pub(crate) fn fsconfig(
    thread: &Thread,
    fd: Fd,
    command: u32,
    key: UserPtr,
    value: UserPtr,
    auxiliary: i32,
) -> SyscallResult {
    if fd.raw() < 0 {
        return Err(Errno::EINVAL.into());
    }
    let command = ConfigCommand::from_raw(command).ok_or(Errno::EOPNOTSUPP)?;
    if !has_arguments_of(command, key, value, auxiliary) {
        return Err(Errno::EINVAL.into());
    }
    let open = thread.fds().get(fd.raw())?;
    let context = file_as::<MountContext>(&open).ok_or(Errno::EINVAL)?;
    match command {
        ConfigCommand::SetFlag => context.set(&read_text(key, KEY_LEN_MAX)?, None)?,
        ConfigCommand::SetString => {
            let key = read_text(key, KEY_LEN_MAX)?;
            context.set(&key, Some(&read_text(value, KEY_LEN_MAX)?))?;
        }
        // No file system here has parameters of these kinds.
        ConfigCommand::SetBinary | ConfigCommand::SetPath | ConfigCommand::SetPathEmpty | ConfigCommand::SetFd => {
            return Err(Errno::EINVAL.into());
        }
        // Nothing is shared but disks, and those are known to be.
        ConfigCommand::CreateExclusive => return Err(Errno::EOPNOTSUPP.into()),
        ConfigCommand::Create | ConfigCommand::Reconfigure => {
            let view = mounting_view(thread)?;
            if command == ConfigCommand::Create { context.create(&view)? } else { context.reconfigure(&view)? }
        }
    }
    Ok(0)
}

/// Attributes and the restrictions that they ask for, but for the times of reading.
pub(super) const RESTRICTIONS: [(Attr, MountFlags); 6] = [
    (Attr::RDONLY, MountFlags::READ_ONLY),
    (Attr::NOSUID, MountFlags::NO_SET_ID),
    (Attr::NODEV, MountFlags::NO_DEVICES),
    (Attr::NOEXEC, MountFlags::NO_EXECUTE),
    (Attr::NODIRATIME, MountFlags::NO_DIRECTORY_ACCESS_TIME),
    (Attr::NOSYMFOLLOW, MountFlags::NO_LINKS),
];

/// The restrictions that attributes ask for, but for the times of reading.
fn restrictions(attributes: Attr) -> MountFlags {
    let asked = RESTRICTIONS.into_iter().filter(|(attribute, _)| attributes.contains(*attribute));
    asked.fold(MountFlags::empty(), |all, (_, flag)| all | flag)
}

/// When reading is to change times; `EINVAL` for two kinds at once.
fn access_times(attributes: Attr) -> Result<MountFlags, Errno> {
    match attributes & Attr::ATIME {
        Attr::NOATIME => Ok(MountFlags::NO_ACCESS_TIME),
        Attr::STRICTATIME => Ok(MountFlags::STRICT_ACCESS_TIME),
        none if none.is_empty() => Ok(MountFlags::RELATIVE_ACCESS_TIME),
        _ => Err(Errno::EINVAL),
    }
}

pub(crate) fn fsmount(thread: &Thread, fd: Fd, flags: u32, attributes: u32) -> SyscallResult {
    let view = mounting_view(thread)?;
    if flags & !CLOEXEC != 0 {
        return Err(Errno::EINVAL.into());
    }
    let attributes = Attr::from_bits(u64::from(attributes)).filter(|bits| !bits.contains(Attr::IDMAP));
    let attributes = attributes.ok_or(Errno::EINVAL)?;
    let mount_flags = restrictions(attributes) | access_times(attributes)?;
    let fds = thread.fds();
    let open = fds.get(fd.raw())?;
    let context = file_as::<MountContext>(&open).ok_or(Errno::EINVAL)?;
    let reservation = fds.reserve(flags & CLOEXEC != 0)?;
    let (superblock, source) = context.take()?;
    let mount = vfs::new_mount(superblock, &source, mount_flags);
    Ok(number(reservation.install(vfs::open_detached(&view.context.namespace, mount, &view.credentials))))
}

pub(crate) fn open_tree(thread: &Thread, directory: Fd, path: UserPtr, flags: u32) -> SyscallResult {
    open_tree_changed(thread, directory, path, flags, None)
}

pub(crate) fn open_tree_attr(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    flags: u32,
    attributes: UserPtr,
    size: usize,
) -> SyscallResult {
    let has_attributes = attributes.address() != 0;
    if !has_attributes && size != 0 {
        return Err(Errno::EINVAL.into());
    }
    open_tree_changed(thread, directory, path, flags, has_attributes.then_some((attributes, size)))
}

/// Opens a place, or a copy of what is mounted there, with other attributes if these are given.
fn open_tree_changed(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    flags: u32,
    attributes: Option<(UserPtr, usize)>,
) -> SyscallResult {
    let flags = OpenTreeFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let (is_copy, is_recursive) = (flags.contains(OpenTreeFlags::CLONE), flags.contains(OpenTreeFlags::RECURSIVE));
    if is_recursive && !is_copy {
        return Err(Errno::EINVAL.into());
    }
    let view = if is_copy { mounting_view(thread)? } else { View::of(thread) };
    let reservation = thread.fds();
    let reservation = reservation.reserve(flags.contains(OpenTreeFlags::CLOEXEC))?;
    let place = locate_with(thread, &view, directory, path, AtFlags::from_bits_truncate(flags.bits()))?;
    let namespace = &view.context.namespace;
    let (open, place) = if is_copy {
        let mount = namespace.copy_tree(&view.credentials, &place, is_recursive)?;
        let dentry = mount.root().clone();
        (vfs::open_detached(namespace, mount.clone(), &view.credentials), PathRef { mount, dentry })
    } else {
        (vfs::open_place_only(place.clone(), &view.credentials), place)
    };
    if let Some((attributes, size)) = attributes
        && let Some(change) = read_change(thread, attributes, size)?
    {
        namespace.change_flags(&view.credentials, &place, &change, is_recursive)?;
    }
    Ok(number(reservation.install(open)))
}

pub(crate) fn move_mount(
    thread: &Thread,
    from_directory: Fd,
    from_path: UserPtr,
    to_directory: Fd,
    to_path: UserPtr,
    flags: u32,
) -> SyscallResult {
    let view = mounting_view(thread)?;
    let flags = MoveMountFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    // No mount joins the group of another by this call, and below the topmost nothing is put.
    if flags.intersects(MoveMountFlags::SET_GROUP | MoveMountFlags::BENEATH) {
        return Err(Errno::EINVAL.into());
    }
    let locate = |directory, path, follows, is_empty| -> Result<PathRef, Errno> {
        let mut at = AtFlags::empty();
        at.set(AtFlags::SYMLINK_NOFOLLOW, !flags.contains(follows));
        at.set(AtFlags::EMPTY_PATH, flags.contains(is_empty));
        locate_with(thread, &view, directory, path, at)
    };
    let to = locate(to_directory, to_path, MoveMountFlags::T_SYMLINKS, MoveMountFlags::T_EMPTY_PATH)?;
    let from = locate(from_directory, from_path, MoveMountFlags::F_SYMLINKS, MoveMountFlags::F_EMPTY_PATH)?;
    view.context.namespace.move_mount(&view.credentials, &to, &from)?;
    Ok(0)
}

pub(crate) fn mount_setattr(
    thread: &Thread,
    directory: Fd,
    path: UserPtr,
    flags: u32,
    attributes: UserPtr,
    size: usize,
) -> SyscallResult {
    let known = AtFlags::EMPTY_PATH | AtFlags::RECURSIVE | AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let flags = crate::lookup::at_flags(flags, known)?;
    let Some(change) = read_change(thread, attributes, size)? else { return Ok(0) };
    let view = View::of(thread);
    let place = locate_with(thread, &view, directory, path, flags)?;
    let is_recursive = flags.contains(AtFlags::RECURSIVE);
    view.context.namespace.change_flags(&view.credentials, &place, &change, is_recursive)?;
    Ok(0)
}

/// The change that a `struct mount_attr` asks for, if any, of a caller who may mount.
fn read_change(thread: &Thread, attributes: UserPtr, size: usize) -> Result<Option<FlagChange>, Errno> {
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < size_of::<MountAttributes>() {
        return Err(Errno::EINVAL);
    }
    check_may_mount(thread)?;
    let asked: MountAttributes = read_user_struct(attributes.address())?;
    check_rest_is_zero(attributes, size_of::<MountAttributes>(), size)?;
    if (asked.attr_set, asked.attr_clr, asked.propagation) == (0, 0, 0) {
        return Ok(None);
    }
    flag_change(&asked).map(Some)
}

/// What `mount_setattr` asks for.
fn flag_change(asked: &MountAttributes) -> Result<FlagChange, Errno> {
    let propagation = match MountCallFlags::from_bits_retain(asked.propagation) {
        none if none.is_empty() => None,
        flag => Some(super::mount::propagation(flag).ok_or(Errno::EINVAL)?),
    };
    let set = Attr::from_bits(asked.attr_set).ok_or(Errno::EINVAL)?;
    let cleared = Attr::from_bits(asked.attr_clr).ok_or(Errno::EINVAL)?;
    if (set | cleared).contains(Attr::IDMAP) {
        return Err(Errno::EINVAL);
    }
    let mut change = FlagChange { set: restrictions(set), cleared: restrictions(cleared), propagation };
    if cleared.intersects(Attr::ATIME) {
        if !cleared.contains(Attr::ATIME) {
            return Err(Errno::EINVAL);
        }
        change.cleared |= MountFlags::of_access_times() - MountFlags::NO_DIRECTORY_ACCESS_TIME;
        change.set |= access_times(set)?;
    } else if set.intersects(Attr::ATIME) {
        return Err(Errno::EINVAL);
    }
    Ok(change)
}
