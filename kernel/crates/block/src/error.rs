//! [`BlockError`]: why a transfer failed.

use core::fmt;

use abi::Errno;

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockError {
    /// The device could not read or write.
    Io = 1,
    /// The device does not know the operation.
    NotSupported = 2,
    /// The device was removed, or given up.
    Dead = 3,
    /// The device, or the volume, is read only.
    ReadOnly = 4,
    /// It lies outside of the disk or volume, or is no multiple of the device's blocks.
    OutOfRange = 5,
    /// There was no memory for it.
    OutOfMemory = 6,
}

impl BlockError {
    /// The error with this number.
    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            2 => Self::NotSupported,
            3 => Self::Dead,
            4 => Self::ReadOnly,
            5 => Self::OutOfRange,
            6 => Self::OutOfMemory,
            _ => Self::Io,
        }
    }
}

impl From<BlockError> for Errno {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::Io | BlockError::Dead | BlockError::OutOfRange => Errno::EIO,
            BlockError::NotSupported => Errno::EOPNOTSUPP,
            BlockError::ReadOnly => Errno::EROFS,
            BlockError::OutOfMemory => Errno::ENOMEM,
        }
    }
}

impl fmt::Display for BlockError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Io => "input/output error",
            Self::NotSupported => "the device does not support it",
            Self::Dead => "the device is gone",
            Self::ReadOnly => "the device is read only",
            Self::OutOfRange => "outside of the device",
            Self::OutOfMemory => "out of memory",
        })
    }
}
