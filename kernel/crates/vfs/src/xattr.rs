//! Extended attributes: who may do what to which name. File systems store them ([`Inode::xattr`] and its neighbours).
//!
//! A name begins with its name space, which decides (xattr(7)):
//!
//! - `user.`: regular files and directories, with the permissions of the file's contents; in a sticky directory only its owner changes
//!   them.
//! - `trusted.`: nobody sees or changes them without `CAP_SYS_ADMIN`.
//! - `security.`: everybody reads, `CAP_SYS_ADMIN` changes; `security.capability` has a form, and goes by `CAP_SETFCAP`.
//! - `system.`: access control lists, which have rules of their own (`acl`).

use alloc::vec::Vec;

use abi::Errno;
use abi::inotify::InotifyMask;
use abi::xattr::{
    VFS_CAP_REVISION_2, VFS_CAP_REVISION_3, VFS_CAP_REVISION_MASK, XATTR_CAPS_SZ_2, XATTR_CAPS_SZ_3, XATTR_LIST_MAX,
    XATTR_NAME_CAPS,
};

use crate::acl::{self, AclKind};
use crate::attributes::change;
use crate::metadata::STICKY;
use crate::{Capabilities, Credentials, Inode, PathRef, Permissions};

/// A change of one extended attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrChange<'a> {
    /// It gets this value, whether it was there or not.
    Set(&'a [u8]),
    /// It is new; `EEXIST` when it is there.
    Create(&'a [u8]),
    /// It is there; `ENODATA` when it is not.
    Replace(&'a [u8]),
    /// It goes; `ENODATA` when it is not there.
    Remove,
}

impl<'a> XattrChange<'a> {
    /// The new value, unless the attribute goes.
    pub fn value(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Set(value) | Self::Create(value) | Self::Replace(value) => Some(value),
            Self::Remove => None,
        }
    }

    /// Whether the change goes with the attribute's presence: `EEXIST` or `ENODATA` otherwise.
    pub fn check_presence(&self, is_there: bool) -> Result<(), Errno> {
        match self {
            Self::Create(_) if is_there => Err(Errno::EEXIST),
            Self::Replace(_) | Self::Remove if !is_there => Err(Errno::ENODATA),
            _ => Ok(()),
        }
    }
}

/// What a name begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameSpace {
    User,
    Trusted,
    Security,
    System,
    Unknown,
}

impl NameSpace {
    /// The name space of a name, and the rest of it.
    fn of(name: &[u8]) -> (Self, &[u8]) {
        let known: [(&[u8], Self); 4] = [
            (b"user.", Self::User),
            (b"trusted.", Self::Trusted),
            (b"security.", Self::Security),
            (b"system.", Self::System),
        ];
        let found = known.iter().find_map(|(prefix, space)| name.strip_prefix(*prefix).map(|rest| (*space, rest)));
        found.unwrap_or((Self::Unknown, name))
    }
}

/// The value of an extended attribute: `ENODATA` when there is none of this name, `EOPNOTSUPP` when there can be none.
pub fn get_xattr(credentials: &Credentials, path: &PathRef, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let inode = path.inode();
    if let Some(kind) = AclKind::of(name) {
        return acl::get(&**inode, kind);
    }
    check_access(credentials, &**inode, name, Permissions::READ)?;
    check_rest(name)?;
    inode.xattr(name)
}

/// Changes an extended attribute.
pub fn change_xattr(
    credentials: &Credentials,
    path: &PathRef,
    name: &[u8],
    wanted: XattrChange<'_>,
) -> Result<(), Errno> {
    if let Some(kind) = AclKind::of(name) {
        return acl::set(credentials, path, kind, wanted.value());
    }
    if name == XATTR_NAME_CAPS
        && let Some(value) = wanted.value().filter(|value| !value.is_empty())
    {
        check_capabilities(credentials, value)?;
    }
    change(path, InotifyMask::ATTRIB, |inode| {
        check_access(credentials, inode, name, Permissions::WRITE)?;
        if NameSpace::of(name).0 == NameSpace::Security {
            // Linux looks at the form of capabilities when they come, and at the right when they go.
            let right = match (name == XATTR_NAME_CAPS, wanted) {
                (true, XattrChange::Remove) => Capabilities::SETFCAP,
                (true, _) => Capabilities::empty(),
                (false, _) => Capabilities::SYS_ADMIN,
            };
            if !credentials.has(right) {
                return Err(Errno::EPERM);
            }
        }
        check_rest(name)?;
        inode.prepare_change()?;
        inode.change_xattr(name, wanted)?;
        inode.metadata().touch_changed();
        Ok(())
    })
}

/// Names of extended attributes, each with a zero behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct XattrList {
    names: Vec<u8>,
    len: usize,
}

impl XattrList {
    /// How long it is, which may be more than there can be told of it.
    pub fn length(&self) -> usize {
        self.len
    }

    /// All of it; `E2BIG` when it is too long for that.
    pub fn into_bytes(self) -> Result<Vec<u8>, Errno> {
        if self.len > self.names.len() { Err(Errno::E2BIG) } else { Ok(self.names) }
    }
}

/// The names of the extended attributes that are to be seen.
pub fn list_xattrs(credentials: &Credentials, path: &PathRef) -> Result<XattrList, Errno> {
    let sees_trusted = credentials.has(Capabilities::SYS_ADMIN);
    let takes_acls = path.inode().takes_acls();
    let mut list = XattrList::default();
    path.inode().list_xattrs(&mut |name| {
        let is_hidden = match NameSpace::of(name).0 {
            NameSpace::Trusted => !sees_trusted,
            NameSpace::System => !takes_acls,
            _ => false,
        };
        if is_hidden {
            return;
        }
        list.len = list.len.saturating_add(name.len() + 1);
        if list.len <= XATTR_LIST_MAX {
            list.names.extend_from_slice(name);
            list.names.push(0);
        }
    })?;
    Ok(list)
}

/// Linux's `xattr_permission`.
fn check_access(credentials: &Credentials, inode: &dyn Inode, name: &[u8], wanted: Permissions) -> Result<(), Errno> {
    let metadata = inode.metadata();
    if wanted == Permissions::WRITE {
        metadata.check_unprotected()?;
    }
    let refusal = if wanted == Permissions::WRITE { Errno::EPERM } else { Errno::ENODATA };
    match NameSpace::of(name).0 {
        NameSpace::Security | NameSpace::System => return Ok(()),
        NameSpace::Trusted if credentials.has(Capabilities::SYS_ADMIN) => return Ok(()),
        NameSpace::Trusted => return Err(refusal),
        NameSpace::User => {
            let is_directory = metadata.is_directory();
            if !metadata.is_regular() && !is_directory {
                return Err(refusal);
            }
            let is_shared = is_directory && metadata.mode() & STICKY != 0;
            if is_shared && wanted == Permissions::WRITE && !credentials.owns(metadata.uid()) {
                return Err(Errno::EPERM);
            }
        }
        NameSpace::Unknown => {}
    }
    inode.check_permission(credentials, wanted)
}

/// A name is more than its name space.
fn check_rest(name: &[u8]) -> Result<(), Errno> {
    match NameSpace::of(name) {
        (NameSpace::Unknown, _) | (NameSpace::System, []) => Err(Errno::EOPNOTSUPP),
        (_, []) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// Whether a value of `security.capability` has the form of one, and may be given.
fn check_capabilities(credentials: &Credentials, value: &[u8]) -> Result<(), Errno> {
    let revision = value.first_chunk().map_or(0, |word| u32::from_le_bytes(*word) & VFS_CAP_REVISION_MASK);
    let is_formed = matches!(
        (revision, value.len()),
        (VFS_CAP_REVISION_2, XATTR_CAPS_SZ_2) | (VFS_CAP_REVISION_3, XATTR_CAPS_SZ_3)
    );
    match (is_formed, credentials.has(Capabilities::SETFCAP)) {
        (false, _) => Err(Errno::EINVAL),
        (true, false) => Err(Errno::EPERM),
        (true, true) => Ok(()),
    }
}
