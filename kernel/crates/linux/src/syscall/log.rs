//! `syslog`: the kernel's log, as far as it is not `/dev/kmsg`.

use abi::{Errno, UserPtr};
use mm::user::UserWriter;

use crate::SyscallResult;
use crate::credentials::CAP_SYSLOG;
use crate::kernel_log;
use crate::thread::Thread;

const CLOSE: i32 = 0;
const OPEN: i32 = 1;
const READ: i32 = 2;
const READ_ALL: i32 = 3;
const READ_CLEAR: i32 = 4;
const CLEAR: i32 = 5;
const CONSOLE_OFF: i32 = 6;
const SIZE_UNREAD: i32 = 9;
const SIZE_BUFFER: i32 = 10;

pub(crate) fn syslog(thread: &Thread, kind: i32, buffer: UserPtr, length: i32) -> SyscallResult {
    if !matches!(kind, READ_ALL | SIZE_BUFFER) {
        thread.credentials().require(CAP_SYSLOG)?;
    }
    match kind {
        CLOSE | OPEN => Ok(0),
        READ_ALL | READ_CLEAR => {
            let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
            if buffer.address() == 0 {
                return Err(Errno::EINVAL.into());
            }
            if length == 0 {
                return Ok(0);
            }
            let lines = kernel_log::last_lines(length, kind == READ_CLEAR);
            UserWriter::new(buffer.address(), length)?.write_all(&lines)?;
            Ok(lines.len())
        }
        CLEAR => {
            kernel_log::last_lines(0, true);
            Ok(0)
        }
        SIZE_BUFFER => Ok(kernel_log::RING_LEN),
        // What one reader has taken is not noted, and the console's level stays as it is.
        READ | CONSOLE_OFF..=SIZE_UNREAD => Err(Errno::ENOSYS.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}
