//! Users, groups and capabilities.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::process::{CapabilityData, CapabilityHeader, NGROUPS_MAX};
use abi::{Errno, UserPtr};
use mm::user::{UserReader, UserWriter, read_user_struct, write_user_struct};

use crate::SyscallResult;
use crate::credentials::{CAP_SETGID, Credentials, Ids};
use crate::thread::Thread;

/// Versions of the capability interface: one with 32 bits, two with 64.
const CAPABILITY_VERSION_1: u32 = 0x1998_0330;
const CAPABILITY_VERSION_2: u32 = 0x2007_1026;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

fn number(id: u32) -> SyscallResult {
    Ok(id as usize)
}

/// Changes the thread's credentials by `change`, or not at all.
fn change<R>(thread: &Thread, change: impl FnOnce(&mut Credentials) -> Result<R, Errno>) -> Result<R, Errno> {
    let mut credentials = Credentials::clone(&thread.credentials());
    let result = change(&mut credentials)?;
    thread.set_credentials(credentials);
    Ok(result)
}

pub(crate) fn getuid(thread: &Thread) -> SyscallResult {
    number(thread.credentials().user.real)
}

pub(crate) fn geteuid(thread: &Thread) -> SyscallResult {
    number(thread.credentials().user.effective)
}

pub(crate) fn getgid(thread: &Thread) -> SyscallResult {
    number(thread.credentials().group.real)
}

pub(crate) fn getegid(thread: &Thread) -> SyscallResult {
    number(thread.credentials().group.effective)
}

pub(crate) fn setuid(thread: &Thread, user: u32) -> SyscallResult {
    change(thread, |credentials| credentials.set_user(user))?;
    Ok(0)
}

pub(crate) fn setgid(thread: &Thread, group: u32) -> SyscallResult {
    change(thread, |credentials| credentials.set_group(group))?;
    Ok(0)
}

pub(crate) fn setreuid(thread: &Thread, real: u32, effective: u32) -> SyscallResult {
    change(thread, |credentials| credentials.set_real_effective_user(real, effective))?;
    Ok(0)
}

pub(crate) fn setregid(thread: &Thread, real: u32, effective: u32) -> SyscallResult {
    change(thread, |credentials| credentials.set_real_effective_group(real, effective))?;
    Ok(0)
}

/// Changes the caller; but where nothing would change it stays who it is, as on Linux, for `linkat`. The file system's
/// id is the effective one afterwards, but it alone changes only if an effective one is given.
fn change_unless_same(
    thread: &Thread,
    now: Ids,
    wanted: [u32; 3],
    how: impl FnOnce(&mut Credentials) -> Result<(), Errno>,
) -> SyscallResult {
    let own = [now.real, now.effective, now.saved];
    let is_same = wanted.iter().zip(own).all(|(wanted, own)| *wanted == own || *wanted == u32::MAX);
    let is_given = wanted[1] != u32::MAX;
    if !is_same || is_given && now.file_system != now.effective {
        change(thread, how)?;
    }
    Ok(0)
}

pub(crate) fn setresuid(thread: &Thread, real: u32, effective: u32, saved: u32) -> SyscallResult {
    let user = thread.credentials().user;
    change_unless_same(thread, user, [real, effective, saved], |credentials| {
        credentials.set_users(real, effective, saved)
    })
}

pub(crate) fn setresgid(thread: &Thread, real: u32, effective: u32, saved: u32) -> SyscallResult {
    let group = thread.credentials().group;
    change_unless_same(thread, group, [real, effective, saved], |credentials| {
        credentials.set_all_groups(real, effective, saved)
    })
}

pub(crate) fn getresuid(thread: &Thread, real: UserPtr, effective: UserPtr, saved: UserPtr) -> SyscallResult {
    write_ids(&thread.credentials().user, real, effective, saved)
}

pub(crate) fn getresgid(thread: &Thread, real: UserPtr, effective: UserPtr, saved: UserPtr) -> SyscallResult {
    write_ids(&thread.credentials().group, real, effective, saved)
}

fn write_ids(ids: &Ids, real: UserPtr, effective: UserPtr, saved: UserPtr) -> SyscallResult {
    write_user_struct(real.address(), &ids.real)?;
    write_user_struct(effective.address(), &ids.effective)?;
    write_user_struct(saved.address(), &ids.saved)?;
    Ok(0)
}

pub(crate) fn setfsuid(thread: &Thread, user: u32) -> SyscallResult {
    number(change(thread, |credentials| Ok(credentials.set_file_system_user(user)))?)
}

pub(crate) fn setfsgid(thread: &Thread, group: u32) -> SyscallResult {
    number(change(thread, |credentials| Ok(credentials.set_file_system_group(group)))?)
}

pub(crate) fn getgroups(thread: &Thread, count: i32, groups: UserPtr) -> SyscallResult {
    let room = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let credentials = thread.credentials();
    let held = &credentials.groups;
    if room == 0 {
        return Ok(held.len());
    }
    if room < held.len() {
        return Err(Errno::EINVAL.into());
    }
    let mut writer = UserWriter::new(groups.address(), size_of_val(&**held))?;
    for group in held.iter() {
        writer.write_struct(group)?;
    }
    Ok(held.len())
}

pub(crate) fn setgroups(thread: &Thread, count: i32, groups: UserPtr) -> SyscallResult {
    thread.credentials().require(CAP_SETGID)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= NGROUPS_MAX).ok_or(Errno::EINVAL)?;
    let mut reader = UserReader::new(groups.address(), count * size_of::<u32>())?;
    let mut new = (0..count).map(|_| reader.read_struct()).collect::<Result<Vec<u32>, Errno>>()?;
    new.sort_unstable();
    change(thread, |credentials| {
        credentials.groups = Arc::from(new);
        Ok(())
    })?;
    Ok(0)
}

/// How many slices of 32 capabilities a version has; unknown versions are answered with the preferred one.
fn slices(header: &mut CapabilityHeader, address: usize) -> Result<usize, Errno> {
    match header.version {
        CAPABILITY_VERSION_1 => Ok(1),
        CAPABILITY_VERSION_2 | CAPABILITY_VERSION_3 => Ok(2),
        _ => {
            header.version = CAPABILITY_VERSION_3;
            write_user_struct(address, header)?;
            Err(Errno::EINVAL)
        }
    }
}

pub(crate) fn capget(thread: &Thread, header: UserPtr, data: UserPtr) -> SyscallResult {
    let mut head: CapabilityHeader = read_user_struct(header.address())?;
    let count = match slices(&mut head, header.address()) {
        // A null pointer asks which version is preferred.
        Err(Errno::EINVAL) if data.is_null() => return Ok(0),
        other => other?,
    };
    let pid = u32::try_from(head.pid).map_err(|_| Errno::EINVAL)?;
    let credentials = if pid == 0 || pid == thread.tid() {
        thread.credentials()
    } else {
        thread.process().system().thread(pid).ok_or(Errno::ESRCH)?.credentials()
    };
    if data.is_null() {
        return Ok(0);
    }
    let sets = credentials.capabilities;
    let mut writer = UserWriter::new(data.address(), count * size_of::<CapabilityData>())?;
    for shift in [0, 32].into_iter().take(count) {
        let slice = |set: u64| u32::try_from((set >> shift) & u64::from(u32::MAX)).unwrap_or(0);
        writer.write_struct(&CapabilityData {
            effective: slice(sets.effective),
            permitted: slice(sets.permitted),
            inheritable: slice(sets.inheritable),
        })?;
    }
    Ok(0)
}

pub(crate) fn capset(thread: &Thread, header: UserPtr, data: UserPtr) -> SyscallResult {
    let mut head: CapabilityHeader = read_user_struct(header.address())?;
    let count = slices(&mut head, header.address())?;
    if head.pid != 0 && u32::try_from(head.pid) != Ok(thread.tid()) {
        return Err(Errno::EPERM.into());
    }
    let mut reader = UserReader::new(data.address(), count * size_of::<CapabilityData>())?;
    let (mut effective, mut permitted, mut inheritable) = (0, 0, 0);
    for shift in [0, 32].into_iter().take(count) {
        let slice: CapabilityData = reader.read_struct()?;
        effective |= u64::from(slice.effective) << shift;
        permitted |= u64::from(slice.permitted) << shift;
        inheritable |= u64::from(slice.inheritable) << shift;
    }
    change(thread, |credentials| credentials.set_capabilities(effective, permitted, inheritable))?;
    Ok(0)
}
