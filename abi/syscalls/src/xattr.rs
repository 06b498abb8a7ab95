//! Extended attributes: limits, flags and the names that mean something to the kernel.
#![expect(missing_docs, reason = "fields and constants are named as in Linux's headers")]

use crate::layout::abi_struct;

/// The longest name.
pub const XATTR_NAME_MAX: usize = 255;
/// The longest value.
pub const XATTR_SIZE_MAX: usize = 65536;
/// The longest list of names.
pub const XATTR_LIST_MAX: usize = 65536;

pub const XATTR_CREATE: u32 = 0x1;
pub const XATTR_REPLACE: u32 = 0x2;

/// Capabilities that a program gets from its file.
pub const XATTR_NAME_CAPS: &[u8] = b"security.capability";

/// The access control list that decides about a file, and the one of what is made in a directory.
pub const XATTR_NAME_POSIX_ACL_ACCESS: &[u8] = b"system.posix_acl_access";
pub const XATTR_NAME_POSIX_ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// What both begin with, the tags of their entries, and whom an entry names that names nobody.
pub const POSIX_ACL_XATTR_VERSION: u32 = 2;
pub const ACL_USER_OBJ: u16 = 0x01;
pub const ACL_USER: u16 = 0x02;
pub const ACL_GROUP_OBJ: u16 = 0x04;
pub const ACL_GROUP: u16 = 0x08;
pub const ACL_MASK: u16 = 0x10;
pub const ACL_OTHER: u16 = 0x20;
pub const ACL_UNDEFINED_ID: u32 = u32::MAX;

/// What `security.capability` begins with, for values of two lengths.
pub const VFS_CAP_REVISION_MASK: u32 = 0xff00_0000;
pub const VFS_CAP_REVISION_2: u32 = 0x0200_0000;
pub const VFS_CAP_REVISION_3: u32 = 0x0300_0000;
pub const XATTR_CAPS_SZ_2: usize = 20;
pub const XATTR_CAPS_SZ_3: usize = 24;

abi_struct! {
    /// `struct xattr_args`.
    pub struct XattrArgs: 16 {
        pub value: u64,
        pub size: u32,
        pub flags: u32,
    }
}
