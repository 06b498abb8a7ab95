//! The system as a whole: names, figures, random numbers.

use abi::resource::UTSNAME_FIELD;
use abi::{Errno, GetrandomFlags, PAGE_SIZE, Sysinfo, UserPtr, Utsname};
use mm::user::{UserReader, UserWriter, write_user_struct};
use sync::machine;

use crate::SyscallResult;
use crate::credentials::CAP_SYS_ADMIN;
use crate::load::FRACTION_BITS;
use crate::proc;
use crate::system::{RELEASE, VERSION, name_field};
use crate::thread::Thread;

/// Bits behind the point of a load in `struct sysinfo`.
const SI_LOAD_SHIFT: u32 = 16;
/// Random bytes made in one go, and the most for which a smaller buffer does: it is zeroed first.
const RANDOM_CHUNK: usize = 1024;
const RANDOM_FEW: usize = 256;

pub(crate) fn uname(thread: &Thread, buffer: UserPtr) -> SyscallResult {
    let system = thread.process().system();
    let names = Utsname {
        sysname: name_field(b"Linux"),
        nodename: system.hostname(),
        release: name_field(RELEASE.as_bytes()),
        version: name_field(VERSION.as_bytes()),
        machine: name_field(b"x86_64"),
        domainname: system.domainname(),
    };
    write_user_struct(buffer.address(), &names)?;
    Ok(0)
}

pub(crate) fn sethostname(thread: &Thread, name: UserPtr, length: i32) -> SyscallResult {
    let (name, length) = read_name(thread, name, length)?;
    thread.process().system().set_hostname(&name[..length]);
    Ok(0)
}

pub(crate) fn setdomainname(thread: &Thread, name: UserPtr, length: i32) -> SyscallResult {
    let (name, length) = read_name(thread, name, length)?;
    thread.process().system().set_domainname(&name[..length]);
    Ok(0)
}

fn read_name(thread: &Thread, name: UserPtr, length: i32) -> Result<([u8; UTSNAME_FIELD], usize), Errno> {
    thread.credentials().require(CAP_SYS_ADMIN)?;
    let length = usize::try_from(length).ok().filter(|length| *length < UTSNAME_FIELD).ok_or(Errno::EINVAL)?;
    let mut field = [0; UTSNAME_FIELD];
    UserReader::new(name.address(), length)?.read_exact(&mut field[..length])?;
    Ok((field, length))
}

pub(crate) fn sysinfo(thread: &Thread, buffer: UserPtr) -> SyscallResult {
    let frames = mm::frame::statistics();
    let page = PAGE_SIZE as u64;
    let uptime = machine::now_ns().div_ceil(1_000_000_000);
    let answer = Sysinfo {
        uptime: i64::try_from(uptime).unwrap_or(i64::MAX),
        loads: thread.process().system().load().get().map(|load| load << (SI_LOAD_SHIFT - FRACTION_BITS)),
        totalram: frames.total * page,
        freeram: frames.free * page,
        sharedram: vfs::fs::tmpfs::memory_pages() * page,
        bufferram: proc::buffer_pages() * page,
        procs: u16::try_from(thread.process().system().thread_count()).unwrap_or(u16::MAX),
        mem_unit: 1,
        ..Sysinfo::zeroed()
    };
    write_user_struct(buffer.address(), &answer)?;
    Ok(0)
}

pub(crate) fn getrandom(thread: &Thread, buffer: UserPtr, count: usize, flags: u32) -> SyscallResult {
    let flags = GetrandomFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    if flags.contains(GetrandomFlags::RANDOM | GetrandomFlags::INSECURE) {
        return Err(Errno::EINVAL.into());
    }
    // The generator is seeded before the first program runs, so nothing here waits.
    let writer = UserWriter::new(buffer.address(), count)?;
    if count <= RANDOM_FEW { fill::<RANDOM_FEW>(thread, writer) } else { fill::<RANDOM_CHUNK>(thread, writer) }
}

/// Writes random bytes, `CHUNK` at a time.
#[inline(never)]
fn fill<const CHUNK: usize>(thread: &Thread, mut writer: UserWriter<'_>) -> SyscallResult {
    let mut bytes = [0; CHUNK];
    let mut done = 0;
    while !writer.is_full() {
        let chunk = &mut bytes[..CHUNK.min(writer.remaining())];
        machine::fill_entropy(chunk);
        match writer.write(chunk) {
            Ok(written) if written == chunk.len() => done += written,
            Ok(written) => return Ok(done + written),
            Err(errno) if done == 0 => return Err(errno.into()),
            Err(_) => break,
        }
        if done.is_multiple_of(PAGE_SIZE) && thread.is_interrupted() {
            break;
        }
    }
    Ok(done)
}
