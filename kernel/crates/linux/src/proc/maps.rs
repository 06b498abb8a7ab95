//! `/proc/PID/maps` and what else shows the areas of memory.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use abi::stat::{device_major, device_minor};
use mm::{AreaSnapshot, PAGE_SIZE, Rights};
use vfs::fs::generated::{Directory, ListedNode, Node};
use vfs::{Capabilities, Credentials, FileKind, PathRef};

use super::process::Task;
use super::text::Text;
use crate::thread::Thread;

/// The column the name of an area begins in.
const NAME_COLUMN: usize = 73;
/// The column of the numbers of `smaps`.
const LABEL_WIDTH: usize = 16;
/// About how long a line of `maps` is.
const LINE_LEN_BYTES: usize = 96;
const KIB: usize = 1024;

fn header(text: &mut Text, area: &AreaSnapshot) {
    let begin = text.len();
    let flag = |right, letter| if area.rights.contains(right) { letter } else { b'-' };
    text.hexadecimal(area.range.start() as u64, 8);
    text.byte(b'-');
    text.hexadecimal(area.range.end() as u64, 8);
    text.bytes(&[
        b' ',
        flag(Rights::READ, b'r'),
        flag(Rights::WRITE, b'w'),
        flag(Rights::EXECUTE, b'x'),
        if area.is_shared { b's' } else { b'p' },
        b' ',
    ]);
    text.hexadecimal(area.offset, 8);
    text.byte(b' ');
    text.hexadecimal(u64::from(device_major(area.device)), 2);
    text.byte(b':');
    text.hexadecimal(u64::from(device_minor(area.device)), 2);
    text.byte(b' ');
    text.decimal(area.inode, 0);
    text.byte(b' ');
    if !area.name.is_empty() {
        text.blanks(NAME_COLUMN.saturating_sub(text.len() - begin));
        text.escaped(&area.name, b"\n");
    }
    text.byte(b'\n');
}

pub(super) fn maps(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let areas = thread.process().address_space().areas();
    let mut text = Text::with_room_for(areas.len() * LINE_LEN_BYTES);
    for area in areas {
        header(&mut text, &area);
    }
    Ok(text.into_bytes())
}

/// Whether an area has a file, and not a page of the kernel's.
fn has_file(area: &AreaSnapshot) -> bool {
    area.name.starts_with(b"/")
}

/// Two addresses as names of `map_files` have them.
fn parse_range(name: &[u8]) -> Option<(usize, usize)> {
    let (start, end) = core::str::from_utf8(name).ok()?.split_once('-')?;
    let number = |text: &str| usize::from_str_radix(text, 16).ok();
    let range = (number(start)?, number(end)?);
    // There is one way to write it.
    (format!("{:x}-{:x}", range.0, range.1).as_bytes() == name).then_some(range)
}

/// The area with exactly these addresses, if it has a file.
fn find(task: &Task, range: (usize, usize)) -> Result<AreaSnapshot, Errno> {
    let areas = task.living_thread(Errno::ENOENT)?.process().address_space().areas();
    let is_it = |area: &AreaSnapshot| (area.range.start(), area.range.end()) == range && has_file(area);
    areas.into_iter().find(is_it).ok_or(Errno::ENOENT)
}

/// What an area maps, for who may open what others map.
fn mapped(task: &Task, range: (usize, usize), credentials: &Credentials) -> Result<PathRef, Errno> {
    if !credentials.has(Capabilities::SYS_ADMIN) && !credentials.has(Capabilities::CHECKPOINT_RESTORE) {
        return Err(Errno::EPERM);
    }
    let area = find(task, range)?;
    let object = task.living_thread(Errno::ENOENT)?.process().address_space().object_of(area.range);
    object.and_then(|object| vfs::mapped_place(&*object)).ok_or(Errno::ENOENT)
}

/// The permission bits of a link: how what is mapped was opened.
fn mode(task: &Task, area: &AreaSnapshot) -> Option<u32> {
    let object = task.living_thread(Errno::ENOENT).ok()?.process().address_space().object_of(area.range)?;
    let Some(open) = vfs::mapped_open(&*object) else {
        // Shared memory without a file.
        return Some(0o600);
    };
    Some(if open.is_readable() { 0o400 } else { 0 } | if open.is_writable() { 0o200 } else { 0 })
}

/// `map_files`: a link for each area that has a file, to that.
pub(super) fn files(task: &Arc<Task>) -> Directory {
    let (found, listed) = (Arc::clone(task), Arc::clone(task));
    Directory::new().changing(
        move |name, _| {
            let range = parse_range(name)?;
            let area = find(&found, range).ok()?;
            let mode = mode(&found, &area)?;
            let (shown, followed) = (Arc::clone(&found), Arc::clone(&found));
            Some(Node::magic_link(
                mode,
                move |_| find(&shown, range).map(|area| area.name),
                move |credentials| mapped(&followed, range, credentials),
            ))
        },
        move |give| {
            let Ok(thread) = listed.living_thread(Errno::ENOENT) else { return };
            let areas = thread.process().address_space().areas();
            for (order, area) in (0..).zip(areas.iter().filter(|area| has_file(area))) {
                let name = format!("{:x}-{:x}", area.range.start(), area.range.end());
                give(ListedNode { name: name.as_bytes(), order, kind: FileKind::Symlink });
            }
        },
    )
}

/// The figures of one area, or of all, in bytes.
#[derive(Clone, Copy, Default)]
struct Resident {
    total: usize,
    anonymous: usize,
}

fn figures(text: &mut Text, size: Option<usize>, resident: Resident) {
    let file = resident.total - resident.anonymous;
    let mut line = |name: &str, bytes: usize| {
        text.kib(name, LABEL_WIDTH, (bytes / KIB) as u64);
    };
    if let Some(size) = size {
        line("Size", size);
        line("KernelPageSize", PAGE_SIZE);
        line("MMUPageSize", PAGE_SIZE);
    }
    line("Rss", resident.total);
    line("Pss", resident.total);
    line("Pss_Dirty", resident.anonymous);
    if size.is_none() {
        line("Pss_Anon", resident.anonymous);
        line("Pss_File", file);
        line("Pss_Shmem", 0);
    }
    line("Shared_Clean", 0);
    line("Shared_Dirty", 0);
    line("Private_Clean", file);
    line("Private_Dirty", resident.anonymous);
    line("Referenced", resident.total);
    line("Anonymous", resident.anonymous);
    for name in [
        "KSM",
        "LazyFree",
        "AnonHugePages",
        "ShmemPmdMapped",
        "FilePmdMapped",
        "Shared_Hugetlb",
        "Private_Hugetlb",
        "Swap",
        "SwapPss",
        "Locked",
    ] {
        line(name, 0);
    }
}

/// Pages counted at a time.
const BATCH: usize = 4096;

/// How much of an area is in memory.
fn resident(thread: &Thread, area: &AreaSnapshot) -> Resident {
    let space = thread.process().address_space();
    let mut pages = 0;
    let mut at = area.range.start();
    while at < area.range.end() {
        let len = (BATCH * PAGE_SIZE).min(area.range.end() - at);
        // An area that is gone meanwhile has nothing in memory.
        pages += space.residency(at, len).map_or(0, |residency| residency.iter().filter(|is_in| **is_in != 0).count());
        at += len;
    }
    let total = pages * PAGE_SIZE;
    Resident { total, anonymous: if area.inode == 0 { total } else { 0 } }
}

pub(super) fn smaps(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let mut text = Text::new();
    for area in thread.process().address_space().areas() {
        header(&mut text, &area);
        figures(&mut text, Some(area.range.len()), resident(thread, &area));
        text.line(format_args!("THPeligible:           0"));
        text.put(format_args!("VmFlags:"));
        for (is_set, name) in [
            (area.rights.contains(Rights::READ), "rd"),
            (area.rights.contains(Rights::WRITE), "wr"),
            (area.rights.contains(Rights::EXECUTE), "ex"),
            (area.is_shared, "sh"),
            (true, "mr"),
            (true, "mw"),
            (true, "me"),
            (!area.is_dumped, "dd"),
        ] {
            if is_set {
                text.put(format_args!(" {name}"));
            }
        }
        text.line(format_args!(" "));
    }
    Ok(text.into_bytes())
}

/// What each area has in memory, all of which is one node.
pub(super) fn numa_maps(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let mut text = Text::new();
    for area in thread.process().address_space().areas() {
        text.put(format_args!("{:08x} default", area.range.start()));
        match area.name.as_slice() {
            b"[heap]" => text.bytes(b" heap"),
            b"[stack]" => text.bytes(b" stack"),
            name if area.inode != 0 => {
                text.bytes(b" file=");
                text.escaped(name, b"\n\t= ");
            }
            _ => {}
        }
        let resident = resident(thread, &area);
        let (all, anonymous) = (resident.total / PAGE_SIZE, resident.anonymous / PAGE_SIZE);
        if anonymous > 0 {
            text.put(format_args!(" anon={anonymous} dirty={anonymous}"));
        }
        if all > anonymous {
            text.put(format_args!(" mapped={all}"));
        }
        if all > 0 {
            text.put(format_args!(" active=0 N0={all} kernelpagesize_kB={}", PAGE_SIZE / KIB));
        }
        text.byte(b'\n');
    }
    Ok(text.into_bytes())
}

pub(super) fn smaps_rollup(thread: &Thread) -> Result<Vec<u8>, Errno> {
    let areas = thread.process().address_space().areas();
    let start = areas.first().map_or(0, |area| area.range.start());
    let end = areas.last().map_or(0, |area| area.range.end());
    let sum = areas.iter().map(|area| resident(thread, area)).fold(Resident::default(), |sum, one| Resident {
        total: sum.total + one.total,
        anonymous: sum.anonymous + one.anonymous,
    });
    let mut text = Text::new();
    let begin = alloc::format!("{start:08x}-{end:08x} ---p 00000000 00:00 0 ");
    text.line(format_args!("{begin:NAME_COLUMN$}[rollup]"));
    figures(&mut text, None, sum);
    Ok(text.into_bytes())
}
