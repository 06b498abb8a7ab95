//! `/proc/locks`: who has locked which bytes of which file, and who waits.

use alloc::format;
use alloc::vec::Vec;

use abi::stat::{device_major, device_minor};
use file::lock::{self, LockKind};

/// The file.
pub(super) fn locks() -> Vec<u8> {
    let mut text = Vec::new();
    for lock in lock::all() {
        let arrow = if lock.is_waiting { "-> " } else { "" };
        let kind = if lock.kind == LockKind::Shared { "READ" } else { "WRITE" };
        let (major, minor) = (device_major(lock.device), device_minor(lock.device));
        let last = if lock.range.last >= lock::WHOLE_FILE.last { "EOF".into() } else { format!("{}", lock.range.last) };
        let line = format!(
            "{}: {arrow}{:<6} ADVISORY  {kind} {} {major:02x}:{minor:02x}:{} {} {last}\n",
            lock.number, lock.call, lock.process, lock.inode, lock.range.first
        );
        text.extend_from_slice(line.as_bytes());
    }
    text
}
