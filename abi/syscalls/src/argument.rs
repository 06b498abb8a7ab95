//! The types of system call arguments, and how each comes out of a register.
//!
//! A register is 64 bits wide; Linux takes the low half of it for `int` and `unsigned` parameters, so conversions
//! truncate and never fail. Whether a value makes sense is for the handler to say.

use core::fmt;

/// A parameter type of a system call.
pub trait SyscallArgument: Copy {
    /// The value the register holds, truncated to the width of the parameter as the C calling convention does.
    fn from_register(register: u64) -> Self;
}

/// A file descriptor number, not yet looked up; any `int` value may stand here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Fd(pub i32);

impl Fd {
    /// Where `*at` calls start from the working directory.
    pub const AT_FDCWD: Self = Self(-100);

    /// The number as the program wrote it.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Whether this is `AT_FDCWD`.
    pub const fn is_cwd(self) -> bool {
        self.0 == Self::AT_FDCWD.0
    }

    /// The number as an index into a descriptor table; none when it is negative.
    pub fn index(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }
}

/// An address in the program's memory, unchecked: it says where, never that something is there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UserPtr(pub usize);

impl UserPtr {
    /// The null pointer.
    pub const NULL: Self = Self(0);

    /// The address as a number.
    pub const fn address(self) -> usize {
        self.0
    }

    /// Whether the program passed no pointer.
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The address, or none for the null pointer.
    pub const fn non_null(self) -> Option<Self> {
        if self.0 == 0 { None } else { Some(self) }
    }

    /// The address `bytes` further on; none when it wraps around.
    pub const fn checked_add(self, bytes: usize) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(address) => Some(Self(address)),
            None => None,
        }
    }
}

impl fmt::Debug for UserPtr {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x}", self.0)
    }
}

macro_rules! integer_arguments {
    ($($type:ty),*) => {
        $(impl SyscallArgument for $type {
            #[inline]
            #[expect(clippy::allow_attributes, reason = "which casts are lossy depends on the type")]
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the low part is the value")]
            fn from_register(register: u64) -> Self {
                register as Self
            }
        })*
    };
}

integer_arguments!(u16, u32, i32, u64, i64, usize, isize);

impl SyscallArgument for Fd {
    #[inline]
    fn from_register(register: u64) -> Self {
        Self(i32::from_register(register))
    }
}

impl SyscallArgument for UserPtr {
    #[inline]
    fn from_register(register: u64) -> Self {
        Self(usize::from_register(register))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_low_half_counts_for_int() {
        assert_eq!(Fd::from_register(0xdead_beef_0000_0003), Fd(3));
        assert_eq!(Fd::from_register(0xffff_ff9c), Fd::AT_FDCWD);
        assert_eq!(i32::from_register(u64::MAX), -1);
        assert_eq!(u32::from_register(u64::MAX), u32::MAX);
        assert_eq!(i64::from_register(u64::MAX), -1);
        assert_eq!(UserPtr::from_register(0x1000).address(), 0x1000);
    }
}
