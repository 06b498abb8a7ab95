//! The flags of a file that `chattr` sets, as far as anything here goes by them.

use bitflags::bitflags;

bitflags! {
    /// What nobody may do to a file, whatever his rights: some of the [flags of a file](crate::Inode::flags).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Protection: u8 {
        /// It is not changed at all.
        const IMMUTABLE = 0x10;
        /// It is only written at its end; a directory only gets names.
        const APPEND_ONLY = 0x20;
    }
}

/// It is not copied by `dump`: one of the flags of a file, which tells nobody here anything.
pub(crate) const NOT_DUMPED: u32 = 0x40;
/// Reading it does not count as an access: one of the flags of a file.
pub(crate) const NO_ACCESS_TIME: u32 = 0x80;
