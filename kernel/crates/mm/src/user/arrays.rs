//! Strings, arrays of strings and iovecs of the program.

use alloc::vec::Vec;

use abi::{Errno, Iovec};
use zerocopy::{FromZeros, IntoBytes};

use super::{IOVEC_COUNT_MAX, UserReader, read_user_struct};
use crate::PAGE_SIZE;

/// Reads a string up to its NUL, which is left off. ENAMETOOLONG when there is none in the first
/// `len_max` bytes, EFAULT when memory ends before it.
pub fn read_user_cstr(address: usize, len_max: usize) -> Result<Vec<u8>, Errno> {
    const CHUNK_LEN: usize = 64;
    let mut string = Vec::new();
    let mut at = address;
    while string.len() < len_max {
        // Never past the page: the string may end right before unmapped memory.
        let in_page = PAGE_SIZE - at % PAGE_SIZE;
        let mut chunk = [0; CHUNK_LEN];
        let part = CHUNK_LEN.min(in_page).min(len_max - string.len());
        UserReader::new(at, part)?.read_exact(&mut chunk[..part])?;
        if let Some(end) = chunk[..part].iter().position(|byte| *byte == 0) {
            string.extend_from_slice(&chunk[..end]);
            return Ok(string);
        }
        string.extend_from_slice(&chunk[..part]);
        at = at.checked_add(part).ok_or(Errno::EFAULT)?;
    }
    Err(Errno::ENAMETOOLONG)
}

/// Reads a NULL-terminated array of string pointers (argv, envp) and the strings. E2BIG when the
/// pointers and strings together pass `len_max` bytes. A null array is an empty one.
pub fn read_user_cstr_array(address: usize, len_max: usize) -> Result<Vec<Vec<u8>>, Errno> {
    let mut strings = Vec::new();
    if address == 0 {
        return Ok(strings);
    }
    let mut left = len_max;
    let mut at = address;
    loop {
        let pointer: usize = read_user_struct(at)?;
        if pointer == 0 {
            return Ok(strings);
        }
        at = at.checked_add(size_of::<usize>()).ok_or(Errno::EFAULT)?;
        left = left.checked_sub(size_of::<usize>()).ok_or(Errno::E2BIG)?;
        let string = read_user_cstr(pointer, left).map_err(|errno| match errno {
            Errno::ENAMETOOLONG => Errno::E2BIG,
            other => other,
        })?;
        left -= string.len() + 1;
        strings.push(string);
    }
}

/// Where the segments of an iovec are read to: the program may change its own meanwhile.
#[derive(Default, Debug)]
pub struct IovecBuffer {
    /// The segments if there are few, as there are nearly always: no memory is needed but the caller's stack.
    few: [Iovec; FEW_MAX],
    many: Vec<Iovec>,
}

/// More would have to be zeroed by a call.
const FEW_MAX: usize = 4;

impl IovecBuffer {
    /// An empty one.
    #[inline(always)]
    pub const fn new() -> Self {
        Self { few: [Iovec { iov_base: 0, iov_len: 0 }; FEW_MAX], many: Vec::new() }
    }

    /// Reads the segments of an iovec. EINVAL for more than [`IOVEC_COUNT_MAX`], ENOMEM without memory for them.
    pub fn read(&mut self, address: usize, count: usize) -> Result<&[Iovec], Errno> {
        if count > IOVEC_COUNT_MAX {
            return Err(Errno::EINVAL);
        }
        let mut reader = UserReader::new(address, count * size_of::<Iovec>())?;
        let segments = if count <= FEW_MAX {
            &mut self.few[..count]
        } else {
            self.many.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
            self.many.resize(count, Iovec::new_zeroed());
            &mut self.many[..]
        };
        reader.read_exact(segments.as_mut_bytes())?;
        Ok(segments)
    }
}
