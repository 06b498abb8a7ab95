//! Access control lists: who may change them, what they do to modes and to what is made, and the check of permissions.
//!
//! A file system that takes them ([`Inode::takes_acls`]) keeps them as two extended attributes, in the form programs
//! know: the list that decides about the file itself, and for directories the one that what is made in it begins with.
//! `list` has the algebra of one list.
//!
//! What decides is cached with the attributes of the inode ([`CachedAcl`]), and one bit beside the mode says whether
//! there may be any, so a check loads both at once. A list is kept only where the mode does not say the same.
//!
//! A list and the mode that goes with it are changed under the inode's lock, and the file system writes both in one
//! change. Whoever is checked goes by both or by neither: with a list the bits of the group are its mask, which is more
//! than the group may.

mod cached;
mod list;

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::inotify::InotifyMask;
use abi::xattr::{XATTR_NAME_POSIX_ACL_ACCESS, XATTR_NAME_POSIX_ACL_DEFAULT};

use crate::attributes::change;
use crate::file_flags::Protection;
use crate::metadata::{KIND_MASK, SET_GID};
use crate::{Capabilities, Credentials, FileKind, Inode, NewAcls, PathRef, Permissions, XattrChange};

pub(crate) use cached::CachedAcl;
pub(crate) use list::Acl;

/// Which of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AclKind {
    /// That of the file itself.
    Access,
    /// That of what is made in the directory.
    Default,
}

impl AclKind {
    /// The list that is an extended attribute of this name.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        match name {
            XATTR_NAME_POSIX_ACL_ACCESS => Some(Self::Access),
            XATTR_NAME_POSIX_ACL_DEFAULT => Some(Self::Default),
            _ => None,
        }
    }

    fn name(self) -> &'static [u8] {
        match self {
            Self::Access => XATTR_NAME_POSIX_ACL_ACCESS,
            Self::Default => XATTR_NAME_POSIX_ACL_DEFAULT,
        }
    }
}

impl dyn Inode {
    /// Whether `credentials` may do all of `wanted`; `EACCES` otherwise, and `EPERM` for writing what nobody may
    /// change. Linux's `inode_permission`.
    #[inline]
    pub fn check_permission(&self, credentials: &Credentials, wanted: Permissions) -> Result<(), Errno> {
        let metadata = self.metadata();
        // The common case of a walk by root needs no look at the inode: a walk only asks this of directories.
        if wanted == Permissions::EXECUTE && credentials.has(Capabilities::DAC_OVERRIDE) && metadata.is_directory() {
            return Ok(());
        }
        if wanted.contains(Permissions::WRITE) && metadata.protection().contains(Protection::IMMUTABLE) {
            return Err(Errno::EPERM);
        }
        let (mode, may_have_list) = metadata.mode_and_whether_list();
        if may_have_list && credentials.uid != metadata.uid() {
            return check_with_list(self, credentials, wanted);
        }
        metadata.check_mode(mode, credentials, wanted)
    }
}

/// The check of somebody who is not the owner, where there may be a list.
#[cold]
fn check_with_list(inode: &dyn Inode, credentials: &Credentials, wanted: Permissions) -> Result<(), Errno> {
    let metadata = inode.metadata();
    let (mode, list) = mode_and_list(inode)?;
    // Without any of the group's bits the mask lets nobody do anything.
    let Some(list) = list.filter(|_| mode & 0o070 != 0) else { return metadata.check_mode(mode, credentials, wanted) };
    match list.check_permission(credentials, metadata.gid(), wanted) {
        Err(Errno::EACCES) => metadata.check_capabilities(credentials, wanted),
        answer => answer,
    }
}

/// The mode and the list that decides, if there is one, of one moment.
fn mode_and_list(inode: &dyn Inode) -> Result<(u32, Option<Arc<Acl>>), Errno> {
    let metadata = inode.metadata();
    if !inode.takes_acls() {
        return Ok((metadata.mode(), None));
    }
    let (mode, known) = metadata.mode_and_list();
    if let Some(list) = known {
        return Ok((mode, list));
    }
    metadata.acl_was_read(read(inode, AclKind::Access)?.map(Arc::new));
    let (mode, known) = metadata.mode_and_list();
    Ok((mode, known.flatten()))
}

/// Asks the file system for a list. `EIO` for one that is not valid.
fn read(inode: &dyn Inode, kind: AclKind) -> Result<Option<Acl>, Errno> {
    let value = match inode.xattr(kind.name()) {
        Ok(value) => value,
        Err(Errno::ENODATA) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let list = Acl::parse(&value).map_err(|_| Errno::EIO)?;
    list.as_ref().map_or(Ok(()), Acl::check).map_err(|_| Errno::EIO)?;
    Ok(list)
}

/// Whether the inode can have lists.
fn check_takes(inode: &dyn Inode) -> Result<(), Errno> {
    if inode.takes_acls() && !inode.metadata().is_symlink() { Ok(()) } else { Err(Errno::EOPNOTSUPP) }
}

/// A list as programs know it, which everybody may ask for.
pub(crate) fn get(inode: &dyn Inode, kind: AclKind) -> Result<Vec<u8>, Errno> {
    check_takes(inode)?;
    inode.xattr(kind.name())
}

/// Sets a list, or removes it: Linux's `vfs_set_acl`. Whether there was one does not count.
pub(crate) fn set(credentials: &Credentials, path: &PathRef, kind: AclKind, value: Option<&[u8]>) -> Result<(), Errno> {
    change(path, InotifyMask::ATTRIB, |inode| {
        let list = Acl::parse(value.unwrap_or_default())?;
        let metadata = inode.metadata();
        metadata.check_unprotected()?;
        check_takes(inode)?;
        if kind == AclKind::Default && !metadata.is_directory() {
            return if list.is_some() { Err(Errno::EACCES) } else { Ok(()) };
        }
        if !credentials.owns(metadata.uid()) {
            return Err(Errno::EPERM);
        }
        list.as_ref().map_or(Ok(()), Acl::check)?;
        inode.prepare_change()?;
        match (kind, list) {
            (AclKind::Access, Some(list)) => {
                let (bits, is_all) = list.mode();
                let keeps_group = credentials.is_in_group(metadata.gid()) || credentials.has(Capabilities::FSETID);
                let kept = if keeps_group { !0o777 } else { !0o777 & !SET_GID };
                store_access(inode, metadata.mode() & kept | bits, (!is_all).then_some(list))
            }
            (AclKind::Access, None) => store_access(inode, metadata.mode(), None),
            (AclKind::Default, list) => {
                store(inode, kind, list.as_ref())?;
                metadata.acl().set_has_default(list.is_some());
                metadata.touch_changed();
                Ok(())
            }
        }
    })
}

/// Sets the permission bits, and what they say in the list that decides. Under the inode's lock, after all checks.
pub(crate) fn set_mode(inode: &dyn Inode, bits: u32) -> Result<(), Errno> {
    let metadata = inode.metadata();
    let list = if metadata.may_have_list() { mode_and_list(inode)?.1 } else { None };
    let Some(list) = list else {
        metadata.set_permission_bits(bits);
        metadata.touch_changed();
        return Ok(());
    };
    let mut list = Acl::clone(&list);
    list.set_mode(bits)?;
    store_access(inode, bits, Some(list))
}

/// Stores the list that decides, and the mode that goes with it.
fn store_access(inode: &dyn Inode, mode: u32, list: Option<Acl>) -> Result<(), Errno> {
    let metadata = inode.metadata();
    let (old_mode, old_list) = metadata.mode_and_list();
    metadata.set_access(list.clone().map(Arc::new), mode);
    metadata.touch_changed();
    store(inode, AclKind::Access, list.as_ref()).inspect_err(|_| match old_list {
        Some(old_list) => metadata.set_access(old_list, old_mode),
        None => metadata.set_access_unknown(old_mode),
    })
}

fn store(inode: &dyn Inode, kind: AclKind, list: Option<&Acl>) -> Result<(), Errno> {
    let value = list.map(Acl::to_bytes);
    let wanted = value.as_deref().map_or(XattrChange::Remove, XattrChange::Set);
    match inode.change_xattr(kind.name(), wanted) {
        Err(Errno::ENODATA) if value.is_none() => Ok(()),
        result => result,
    }
}

/// The lists that something new gets from its directory.
#[derive(Default)]
pub(crate) struct Inherited {
    access: Option<(Arc<Acl>, Vec<u8>)>,
    default: Option<Vec<u8>>,
}

impl Inherited {
    /// What a directory, whose lock is held, hands on to something new of this mode. Where it hands on nothing, the
    /// umask is taken from the mode. Linux's `posix_acl_create`.
    pub(crate) fn from(directory: &dyn Inode, mode: &mut u32, umask: u32) -> Result<Self, Errno> {
        let kind = *mode & KIND_MASK;
        if kind == FileKind::Symlink.mode_bits() {
            return Ok(Self::default());
        }
        let acl = directory.metadata().acl();
        let list = if acl.may_have_default() && directory.takes_acls() {
            let list = read(directory, AclKind::Default)?;
            acl.set_has_default(list.is_some());
            list
        } else {
            None
        };
        let Some(mut list) = list else {
            *mode &= !umask;
            return Ok(Self::default());
        };
        let default = (kind == FileKind::Directory.mode_bits()).then(|| list.to_bytes());
        let access = if list.restrict(mode)? {
            let bytes = list.to_bytes();
            Some((Arc::new(list), bytes))
        } else {
            None
        };
        Ok(Self { access, default })
    }

    /// What the file system is to store.
    pub(crate) fn stored(&self) -> NewAcls<'_> {
        NewAcls { access: self.access.as_ref().map(|(_, bytes)| &**bytes), default: self.default.as_deref() }
    }

    /// Notes the lists of the new inode, before anybody else sees it.
    pub(crate) fn note(self, inode: &dyn Inode) {
        if let Some((list, _)) = self.access {
            let metadata = inode.metadata();
            metadata.set_access(Some(list), metadata.mode());
        }
        if self.default.is_some() {
            inode.metadata().acl().set_has_default(true);
        }
    }
}
