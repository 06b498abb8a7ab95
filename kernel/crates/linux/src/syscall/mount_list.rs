//! What mounts there are: `listmount`, and `statmount` for one of them.
//!
//! Mounts are named by the numbers that are never given again. The caller sees what lies below its root, and everything
//! in its namespace if it may administer that.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::mount::{LISTMOUNT_REVERSE, LSMT_ROOT, MNT_ID_REQ_SIZE_VER0, MountAttributeFlags, MountIdRequest};
use abi::mount::{Statmount, StatmountMask as Mask};
use abi::stat::{device_major, device_minor};
use abi::{Errno, MountCallFlags, PAGE_SIZE, UserPtr};
use mm::user::{UserReader, UserWriter, check_range, read_user_struct};
use vfs::{Capabilities, Mount, MountFlags, MountSnapshot, PathRef, UNIQUE_ID_BASE};
use zerocopy::IntoBytes;

use super::mount_api::RESTRICTIONS;
use super::open::check_rest_is_zero;
use crate::SyscallResult;
use crate::lookup::{View, file_as};
use crate::namespace::{NamespaceFile, NamespaceKind};
use crate::proc::mounts::{mount_point, propagates_from, root_in_file_system};
use crate::thread::Thread;

/// The most numbers that one call of `listmount` gives.
const LISTED_MAX: usize = 1_000_000;

fn read_request(request: UserPtr) -> Result<MountIdRequest, Errno> {
    let size: u32 = read_user_struct(request.address())?;
    let size = size as usize;
    if size > PAGE_SIZE {
        return Err(Errno::E2BIG);
    }
    if size < MNT_ID_REQ_SIZE_VER0 {
        return Err(Errno::EINVAL);
    }
    let mut read = MountIdRequest::zeroed();
    let known = size.min(size_of::<MountIdRequest>());
    UserReader::new(request.address(), known)?.read_exact(&mut read.as_mut_bytes()[..known])?;
    check_rest_is_zero(request, known, size)?;
    // Another thread may have changed it meanwhile; nothing here goes by it again.
    let names_two = read.mnt_ns_fd != 0 && read.mnt_ns_id != 0;
    if names_two || read.mnt_id <= UNIQUE_ID_BASE {
        return Err(Errno::EINVAL);
    }
    Ok(read)
}

/// Whether the namespace that a request names is the one there is.
fn check_namespace(thread: &Thread, request: &MountIdRequest) -> Result<(), Errno> {
    if request.mnt_ns_id != 0 {
        return if request.mnt_ns_id == NamespaceKind::Mount.id() { Ok(()) } else { Err(Errno::ENOENT) };
    }
    if request.mnt_ns_fd != 0 {
        let fds = thread.fds();
        let open = fds.get(request.mnt_ns_fd.cast_signed())?;
        let kind = file_as::<NamespaceFile>(&open).map(NamespaceFile::kind);
        return if kind == Some(NamespaceKind::Mount) { Ok(()) } else { Err(Errno::EINVAL) };
    }
    Ok(())
}

fn root_of(mount: &Arc<Mount>) -> PathRef {
    PathRef { mount: mount.clone(), dentry: mount.root().clone() }
}

/// The mount with this number; `EPERM` for one that the caller may not know of.
fn find(view: &View, id: u64) -> Result<MountSnapshot, Errno> {
    let found = view.context.namespace.find(id).ok_or(Errno::ENOENT)?;
    let may_know = root_of(&found.mount).is_below(&view.context.root) || view.credentials.has(Capabilities::SYS_ADMIN);
    if may_know { Ok(found) } else { Err(Errno::EPERM) }
}

pub(crate) fn listmount(thread: &Thread, request: UserPtr, ids: UserPtr, count: usize, flags: u32) -> SyscallResult {
    if flags & !LISTMOUNT_REVERSE != 0 {
        return Err(Errno::EINVAL.into());
    }
    if count > LISTED_MAX {
        return Err(Errno::EOVERFLOW.into());
    }
    check_range(ids.address(), count * size_of::<u64>())?;
    let request = read_request(request)?;
    let last = request.param;
    if last != 0 && last <= UNIQUE_ID_BASE {
        return Err(Errno::EINVAL.into());
    }
    check_namespace(thread, &request)?;
    let view = View::of(thread);
    let top = if request.mnt_id == LSMT_ROOT {
        view.context.root.clone()
    } else {
        root_of(&find(&view, request.mnt_id)?.mount)
    };
    let is_backwards = flags & LISTMOUNT_REVERSE != 0;
    let is_next = |id: u64| last == 0 || if is_backwards { id < last } else { id > last };
    let below = view.context.namespace.mounts_below(&top);
    let ids_below = below.iter().map(|mount| mount.unique_id());
    let mut listed: Vec<u64> = ids_below.filter(|id| *id != request.mnt_id && is_next(*id)).collect();
    listed.sort_unstable();
    if is_backwards {
        listed.reverse();
    }
    listed.truncate(count);
    UserWriter::new(ids.address(), size_of_val(&*listed))?.write_all(listed.as_bytes())?;
    Ok(listed.len())
}

/// An answer of `statmount` that is being put together.
struct Answer {
    status: Statmount,
    texts: Vec<u8>,
    /// The size of the caller's buffer.
    room: usize,
}

impl Answer {
    /// Adds a text and answers where it is; 0 when it is empty, and is not told then. `EOVERFLOW` without room.
    fn put(&mut self, flag: Mask, text: &[u8]) -> Result<u32, Errno> {
        if self.texts.is_empty() {
            // What is not told begins here.
            self.texts.push(0);
        }
        if text.is_empty() {
            return Ok(0);
        }
        let start = self.texts.len();
        self.texts.extend_from_slice(text);
        if size_of::<Statmount>() + self.texts.len() >= self.room {
            return Err(Errno::EOVERFLOW);
        }
        self.texts.push(0);
        self.note(flag);
        u32::try_from(start).map_err(|_| Errno::EOVERFLOW)
    }

    fn note(&mut self, flag: Mask) {
        self.status.mask |= flag.bits();
    }

    fn put_superblock(&mut self, mount: &Mount) {
        let file_system = mount.file_system();
        let flags = [
            (mount.superblock().is_read_only(), MountCallFlags::RDONLY),
            (mount.superblock().is_synchronous(), MountCallFlags::SYNCHRONOUS),
        ];
        let set =
            flags.iter().filter(|(is_set, _)| *is_set).fold(MountCallFlags::empty(), |all, (_, flag)| all | *flag);
        self.status.sb_dev_major = device_major(file_system.device());
        self.status.sb_dev_minor = device_minor(file_system.device());
        self.status.sb_magic = file_system.statistics().magic;
        self.status.sb_flags = u32::try_from(set.bits()).unwrap_or_default();
        self.note(Mask::SB_BASIC);
    }

    fn put_mount(&mut self, snapshot: &MountSnapshot) {
        let MountSnapshot { mount, parent } = snapshot;
        let status = &mut self.status;
        (status.mnt_id, status.mnt_id_old) = (mount.unique_id(), mount.id());
        (status.mnt_parent_id, status.mnt_parent_id_old) = (parent.unique_id(), parent.id());
        status.mnt_attr = attributes(mount.flags()).bits();
        status.mnt_propagation = propagation(mount).bits();
        (status.mnt_peer_group, status.mnt_master) = (u64::from(mount.group()), u64::from(mount.master()));
        self.note(Mask::MNT_BASIC);
    }

    /// The texts that are asked for, in Linux's order.
    fn put_texts(&mut self, view: &View, mount: &Arc<Mount>, asked: Mask) -> Result<(), Errno> {
        let file_system = mount.file_system();
        if asked.contains(Mask::FS_TYPE) {
            self.status.fs_type = self.put(Mask::FS_TYPE, file_system.type_name().as_bytes())?;
        }
        if asked.contains(Mask::MNT_ROOT) {
            self.status.mnt_root = self.put(Mask::MNT_ROOT, &root_in_file_system(mount))?;
        }
        if asked.contains(Mask::MNT_POINT) {
            let place = mount_point(&view.context, mount).unwrap_or_default();
            self.status.mnt_point = self.put(Mask::MNT_POINT, &place)?;
        }
        let mut options = file_system.options();
        if options.first() == Some(&b',') {
            options.remove(0);
        }
        if asked.contains(Mask::MNT_OPTS) {
            self.status.mnt_opts = self.put(Mask::MNT_OPTS, &options)?;
        }
        if asked.contains(Mask::OPT_ARRAY) {
            let count = if options.is_empty() { 0 } else { options.split(|byte| *byte == b',').count() };
            options.iter_mut().filter(|byte| **byte == b',').for_each(|byte| *byte = 0);
            self.status.opt_array = self.put(Mask::OPT_ARRAY, &options)?;
            self.status.opt_num = u32::try_from(count).unwrap_or(u32::MAX);
        }
        if asked.contains(Mask::SB_SOURCE) {
            self.status.sb_source = self.put(Mask::SB_SOURCE, mount.source())?;
        }
        if asked.intersects(Mask::TEXTS) {
            // Nothing here has a subtype, labels or maps of users: an empty text stands for them.
            self.put(Mask::empty(), b"")?;
        }
        Ok(())
    }

    /// Writes it to the program, as much of the structure as there is room for.
    fn write(mut self, buffer: UserPtr) -> Result<(), Errno> {
        let len = self.room.min(size_of::<Statmount>());
        let texts = buffer.checked_add(size_of::<Statmount>()).ok_or(Errno::EFAULT)?;
        self.status.size = u32::try_from(len + self.texts.len()).map_err(|_| Errno::EOVERFLOW)?;
        if self.room > size_of::<Statmount>() {
            UserWriter::new(texts.address(), self.texts.len())?.write_all(&self.texts)?;
        }
        UserWriter::new(buffer.address(), len)?.write_all(&self.status.as_bytes()[..len])
    }
}

/// `MOUNT_ATTR_*` of a mount.
fn attributes(flags: MountFlags) -> MountAttributeFlags {
    let mut attributes = MountAttributeFlags::empty();
    for (attribute, flag) in RESTRICTIONS {
        attributes.set(attribute, flags.contains(flag));
    }
    if flags.contains(MountFlags::NO_ACCESS_TIME) {
        attributes |= MountAttributeFlags::NOATIME;
    } else if !flags.contains(MountFlags::RELATIVE_ACCESS_TIME) {
        attributes |= MountAttributeFlags::STRICTATIME;
    }
    attributes
}

/// How a mount takes part in propagation, as flags of `mount`.
fn propagation(mount: &Mount) -> MountCallFlags {
    let mut flags = MountCallFlags::empty();
    flags.set(MountCallFlags::SHARED, mount.group() != 0);
    flags.set(MountCallFlags::SLAVE, mount.master() != 0);
    flags.set(MountCallFlags::UNBINDABLE, mount.is_unbindable());
    if flags.is_empty() { MountCallFlags::PRIVATE } else { flags }
}

/// The nearest group that a mount receives from and the caller sees; 0 for none.
fn master_of(view: &View, mount: &Mount) -> u32 {
    if mount.master() == 0 { 0 } else { propagates_from(&view.context, &view.context.namespace.mounts(), mount) }
}

pub(crate) fn statmount(thread: &Thread, request: UserPtr, buffer: UserPtr, size: usize, flags: u32) -> SyscallResult {
    if flags != 0 {
        return Err(Errno::EINVAL.into());
    }
    let request = read_request(request)?;
    check_namespace(thread, &request)?;
    check_range(buffer.address(), size)?;
    let asked = Mask::from_bits_truncate(request.param);
    if asked.intersects(Mask::TEXTS) && size == size_of::<Statmount>() {
        return Err(Errno::EOVERFLOW.into());
    }
    let view = View::of(thread);
    let found = find(&view, request.mnt_id)?;
    let mut answer = Answer { status: Statmount::zeroed(), texts: Vec::new(), room: size };
    if asked.contains(Mask::SB_BASIC) {
        answer.put_superblock(&found.mount);
    }
    if asked.contains(Mask::MNT_BASIC) {
        answer.put_mount(&found);
    }
    if asked.contains(Mask::PROPAGATE_FROM) {
        answer.status.propagate_from = u64::from(master_of(&view, &found.mount));
        answer.note(Mask::PROPAGATE_FROM);
    }
    answer.put_texts(&view, &found.mount, asked)?;
    if asked.contains(Mask::MNT_NS_ID) {
        answer.status.mnt_ns_id = NamespaceKind::Mount.id();
        answer.note(Mask::MNT_NS_ID);
    }
    if asked.contains(Mask::SUPPORTED_MASK) {
        answer.status.supported_mask = Mask::all().bits();
        answer.note(Mask::SUPPORTED_MASK);
    }
    answer.write(buffer)?;
    Ok(0)
}
