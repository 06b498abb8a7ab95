//! Files in memory without a name, and their seals.

use abi::open::{F_ADD_SEALS, NAME_MAX};
use abi::{Errno, MemfdFlags, UserPtr};
use file::OpenFile;
use mm::user::read_user_cstr;
use vfs::{MemoryFileSeals, SealFlags, VnodeFile};

use super::open::number;
use crate::SyscallResult;
use crate::lookup::file_as;
use crate::thread::Thread;

/// The longest name: with `memfd:` in front it is one of a directory.
const NAME_LEN_MAX: usize = NAME_MAX - b"memfd:".len();

pub(crate) fn memfd_create(thread: &Thread, name: UserPtr, flags: u32) -> SyscallResult {
    let flags = MemfdFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if flags.contains(MemfdFlags::EXEC | MemfdFlags::NOEXEC_SEAL) {
        return Err(Errno::EINVAL.into());
    }
    if flags.contains(MemfdFlags::HUGETLB) {
        // There are no huge pages to give.
        return Err(Errno::ENOSYS.into());
    }
    let name = read_user_cstr(name.address(), NAME_LEN_MAX + 1).map_err(|errno| match errno {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        errno => errno,
    })?;
    let seals = match flags {
        _ if flags.contains(MemfdFlags::NOEXEC_SEAL) => MemoryFileSeals::NotExecutable,
        _ if flags.contains(MemfdFlags::ALLOW_SEALING) => MemoryFileSeals::None,
        _ => MemoryFileSeals::Closed,
    };
    let credentials = thread.file_credentials();
    let open = vfs::memory_file(&credentials, &name, seals)?;
    Ok(number(thread.fds().install(open, flags.contains(MemfdFlags::CLOEXEC))?))
}

/// `F_ADD_SEALS` and `F_GET_SEALS`.
pub(super) fn seal(open: &OpenFile, operation: u32, argument: u64) -> SyscallResult {
    let file = file_as::<VnodeFile>(open).ok_or(Errno::EINVAL);
    if operation == F_ADD_SEALS {
        if !open.is_writable() {
            return Err(Errno::EPERM.into());
        }
        let low = u32::try_from(argument & u64::from(u32::MAX)).unwrap_or_default();
        let new = SealFlags::from_bits(low).ok_or(Errno::EINVAL)?;
        file?.add_seals(new)?;
        return Ok(0);
    }
    Ok(file?.seals()?.bits() as usize)
}
