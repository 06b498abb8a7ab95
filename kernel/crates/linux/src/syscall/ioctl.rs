//! `ioctl`: the commands every file answers, job control of terminals; the rest is the file's.

use core::any::Any;

use abi::ioctl::{
    BLKRRPART, FIGETBSZ, FIOASYNC, FIOCLEX, FIONBIO, FIONCLEX, FIOQSIZE, FITRIM, FS_IOC_FIEMAP, FS_IOC_GETFLAGS,
    FS_IOC_SETFLAGS, TIOCGPGRP, TIOCGSID, TIOCNOTTY, TIOCSCTTY, TIOCSPGRP,
};
use abi::stat::{S_IFBLK, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG};
use abi::{Errno, Fd, OpenFlags};
use file::OpenFile;
use file::tty::TtyFile;
use mm::user::{read_user_struct, write_user_struct};
use net::socket::SocketFile;
use vfs::{TrimRange, VnodeFile};

use super::fiemap::fiemap;
use super::namespace::namespace_ioctl;
use super::socket_ioctl::socket_ioctl;
use crate::SyscallResult;
use crate::credentials::CAP_SYS_ADMIN;
use crate::file_signal;
use crate::lookup::file_as;
use crate::namespace::NamespaceFile;
use crate::process::Process;
use crate::thread::Thread;

pub(crate) fn ioctl(thread: &Thread, fd: Fd, command: u32, argument: u64) -> SyscallResult {
    let fds = thread.fds();
    let open = fds.get(fd.raw())?;
    let address = usize::try_from(argument).map_err(|_| Errno::EFAULT)?;
    match command {
        FIOCLEX | FIONCLEX => {
            fds.set_close_on_exec(fd.raw(), command == FIOCLEX)?;
            Ok(0)
        }
        FIONBIO => {
            let value: i32 = read_user_struct(address)?;
            let flags = if value == 0 { OpenFlags::empty() } else { OpenFlags::NONBLOCK };
            open.change_flags(OpenFlags::NONBLOCK, flags);
            Ok(0)
        }
        FIOASYNC => {
            let value: i32 = read_user_struct(address)?;
            let is_on = open.flags().contains(OpenFlags::ASYNC);
            if (value != 0) != is_on && open.file().signal_queue().is_none() {
                return Err(Errno::ENOTTY.into());
            }
            file_signal::set_async(thread, &open, fd.raw(), value != 0)?;
            Ok(0)
        }
        FIOQSIZE => {
            let attributes = open.file().attributes()?;
            if !matches!(attributes.mode & S_IFMT, S_IFREG | S_IFDIR | S_IFLNK) {
                return Err(Errno::ENOTTY.into());
            }
            write_user_struct(address, &attributes.size)?;
            Ok(0)
        }
        FIGETBSZ => {
            let size = vfs::statfs(&vfs::path_of(&open)).block_size;
            write_user_struct(address, &i32::try_from(size).unwrap_or(i32::MAX))?;
            Ok(0)
        }
        // The commands say that a long comes; it is an int.
        FS_IOC_GETFLAGS if let Some(file) = file_as::<VnodeFile>(&open).filter(|file| file.served_by().is_none()) => {
            write_user_struct(address, &vfs::inode_flags(file.path())?)?;
            Ok(0)
        }
        FS_IOC_SETFLAGS if let Some(file) = file_as::<VnodeFile>(&open).filter(|file| file.served_by().is_none()) => {
            let flags: u32 = read_user_struct(address)?;
            vfs::set_inode_flags(&thread.file_credentials(), file.path(), flags)?;
            Ok(0)
        }
        FS_IOC_FIEMAP => match file_as::<VnodeFile>(&open).filter(|file| file.served_by().is_none()) {
            Some(file) => fiemap(file, address),
            None => Err(Errno::EOPNOTSUPP.into()),
        },
        FITRIM if let Some(file) = file_as::<VnodeFile>(&open).filter(|file| file.served_by().is_none()) => {
            trim(thread, file, address)
        }
        BLKRRPART if !thread.credentials().has(CAP_SYS_ADMIN) && is_block_device(&open)? => Err(Errno::EACCES.into()),
        TIOCSCTTY | TIOCNOTTY | TIOCGPGRP | TIOCSPGRP | TIOCGSID => match terminal(&open) {
            Some(tty) => control_terminal(thread, tty, command, argument, address),
            None => Err(Errno::ENOTTY.into()),
        },
        _ => {
            if let Some(namespace) = file_as::<NamespaceFile>(&open) {
                return namespace_ioctl(thread, &open, namespace, command, argument);
            }
            if let Some(file) = file_as::<SocketFile>(&open)
                && let Some(result) = socket_ioctl(thread, &open, file.socket().kind().domain, command, address)
            {
                return result;
            }
            Ok(open.file().ioctl(&open, command, address)?)
        }
    }
}

fn is_block_device(open: &OpenFile) -> Result<bool, Errno> {
    Ok(open.file().attributes()?.mode & S_IFMT == S_IFBLK)
}

/// `FITRIM`.
fn trim(thread: &Thread, file: &VnodeFile, address: usize) -> SyscallResult {
    let file_system = file.path().mount.file_system();
    let volume = file_system.trimmed_volume().ok_or(Errno::ENOTTY)?;
    if !thread.credentials().has(CAP_SYS_ADMIN) {
        return Err(Errno::EPERM.into());
    }
    if !volume.disk().features().can_discard {
        return Err(Errno::EOPNOTSUPP.into());
    }
    let [start, len, len_min]: [u64; 3] = read_user_struct(address)?;
    let mut range = TrimRange { start, len, len_min };
    file_system.trim(&mut range)?;
    write_user_struct(address, &[range.start, range.len, range.len_min])?;
    Ok(0)
}

/// The terminal behind an open file, if it is one.
pub(crate) fn terminal(open: &OpenFile) -> Option<&TtyFile> {
    let file = &**open.file() as &dyn Any;
    let file = match file.downcast_ref::<VnodeFile>() {
        Some(vnode) => &**vnode.served_by()? as &dyn Any,
        None => file,
    };
    file.downcast_ref()
}

/// Whether `tty` is the controlling terminal of the process.
fn is_controlling(tty: &TtyFile, process: &Process) -> bool {
    tty.session() == Some(process.session().cast_signed())
}

fn control_terminal(thread: &Thread, tty: &TtyFile, command: u32, argument: u64, address: usize) -> SyscallResult {
    let process = thread.process();
    if command == TIOCSCTTY {
        return take_terminal(thread, tty, argument == 1);
    }
    if !is_controlling(tty, process) {
        return Err(Errno::ENOTTY.into());
    }
    match command {
        TIOCGPGRP => write_user_struct(address, &tty.foreground_group().unwrap_or(0))?,
        TIOCGSID => write_user_struct(address, &process.session())?,
        TIOCSPGRP => {
            let group: i32 = read_user_struct(address)?;
            let group_number = u32::try_from(group).map_err(|_| Errno::EINVAL)?;
            let members = process.system().processes();
            let member = members.iter().find(|other| other.group() == group_number).ok_or(Errno::ESRCH)?;
            if member.session() != process.session() {
                return Err(Errno::EPERM.into());
            }
            tty.set_foreground_group(Some(group));
        }
        _ => {
            // Only the leader takes the terminal away from the whole session.
            if process.session() == process.pid() {
                tty.set_session(None);
                tty.set_foreground_group(None);
            }
        }
    }
    Ok(0)
}

/// `TIOCSCTTY`.
fn take_terminal(thread: &Thread, tty: &TtyFile, by_force: bool) -> SyscallResult {
    let process = thread.process();
    let is_leader = process.session() == process.pid();
    if is_leader && is_controlling(tty, process) {
        return Ok(0);
    }
    if !is_leader {
        return Err(Errno::EPERM.into());
    }
    if tty.session().is_some() && !(by_force && thread.credentials().has(CAP_SYS_ADMIN)) {
        return Err(Errno::EPERM.into());
    }
    tty.set_session(Some(process.session().cast_signed()));
    tty.set_foreground_group(Some(process.group().cast_signed()));
    Ok(0)
}
