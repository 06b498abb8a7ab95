//! [`Share`]: a server of 9P2000.L over a directory of this host, for tests of the client and of what stands on it.
//!
//! It reads and writes messages by code of its own, as a second opinion on theirs. A request is served at once, or, when the server is
//! [held](Share::hold), when the test says so, in the order the test says. It can [die](Share::die), and can [lie](Share::mangle).
//! Like QEMU's server it knows a file by its path and follows no links.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ninep::{Exchange, Transport};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};
use sync::WaitQueue;

use crate::Random;
use crate::exchange::{put, request_of};
use crate::machine::lock;

/// An error number.
type Number = i32;
const EBADF: Number = 9;
const EINVAL: Number = 22;
const EOPNOTSUPP: Number = 95;
/// The request for the entries of a directory.
const READDIR: u8 = 40;

/// What a fid names.
struct Held {
    path: PathBuf,
    open: Option<File>,
    listing: Vec<Listed>,
}

impl Held {
    /// The file: an open one also when it has lost its name, as QEMU's server has it from version 9 on.
    fn place(&self) -> PathBuf {
        match &self.open {
            Some(file) if file.metadata().is_ok_and(|found| found.is_file()) => {
                PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
            }
            _ => self.path.clone(),
        }
    }
}

struct Listed {
    qid: Vec<u8>,
    kind: u8,
    name: Vec<u8>,
}

#[derive(Default)]
struct State {
    fids: HashMap<u32, Held>,
    held: Vec<Exchange>,
    is_held: bool,
    room: usize,
    is_dead: bool,
    mangler: Option<Random>,
    goes_in_circles: bool,
    served: u64,
}

/// The server, and the way to it.
#[derive(Clone)]
pub struct Share(Arc<Shared>);

struct Shared {
    root: PathBuf,
    message_max: u32,
    pieces_max: usize,
    state: Mutex<State>,
    room: WaitQueue,
}

impl Share {
    /// Serves a directory.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self::with(root, 1 << 20, 128)
    }

    /// Serves a directory by messages of at most so many bytes, through a device of so many pieces.
    #[must_use]
    pub fn with(root: &Path, message_max: u32, pieces_max: usize) -> Self {
        let state = State { room: usize::MAX, ..State::default() };
        let (root, state) = (root.to_owned(), Mutex::new(state));
        Self(Arc::new(Shared { root, message_max, pieces_max, state, room: WaitQueue::new() }))
    }

    /// As what the client takes.
    #[must_use]
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.clone())
    }

    /// Fids that the client holds.
    #[must_use]
    pub fn fids(&self) -> usize {
        lock(&self.0.state).fids.len()
    }

    /// Requests served.
    #[must_use]
    pub fn served(&self) -> u64 {
        lock(&self.0.state).served
    }

    /// Keeps requests, at most `room` at once, until they are released.
    pub fn hold(&self, room: usize) {
        let mut state = lock(&self.0.state);
        state.is_held = true;
        state.room = room;
    }

    /// How many requests are kept.
    #[must_use]
    pub fn held(&self) -> usize {
        lock(&self.0.state).held.len()
    }

    /// Serves a kept request.
    pub fn release(&self, number: usize) {
        let exchange = lock(&self.0.state).held.remove(number);
        self.serve(exchange);
        self.0.room.wake(u32::MAX);
    }

    /// Keeps none any more.
    pub fn go_on(&self) {
        lock(&self.0.state).is_held = false;
        while self.held() > 0 {
            self.release(0);
        }
    }

    /// Answers nothing any more.
    pub fn die(&self) {
        self.stop();
    }

    /// Changes some bytes of replies from now on.
    pub fn mangle(&self, random: Option<Random>) {
        lock(&self.0.state).mangler = random;
    }

    /// Has every directory be an endless row of `.` from now on.
    pub fn go_in_circles(&self) {
        lock(&self.0.state).goes_in_circles = true;
    }

    fn serve(&self, exchange: Exchange) {
        let request = request_of(&exchange);
        let written = {
            let mut state = lock(&self.0.state);
            state.served += 1;
            let mut reply = self.0.reply(&mut state, &request);
            if let Some(random) = &mut state.mangler {
                mangle(random, &mut reply);
            }
            put(&exchange, &reply)
        };
        exchange.complete(Some(written));
    }
}

fn mangle(random: &mut Random, reply: &mut Vec<u8>) {
    if random.one_in(3) {
        for _ in 0..=random.below(3) {
            // Size, kind and tag stand in the first bytes; long replies would rarely be hit there.
            let at = if random.one_in(3) { random.below(7.min(reply.len())) } else { random.below(reply.len()) };
            reply[at] = u8::try_from(random.below(256)).unwrap_or(0);
        }
    }
    if random.one_in(20) {
        reply.truncate(random.below(reply.len()));
    }
}

impl Transport for Share {
    fn pieces_max(&self) -> usize {
        self.0.pieces_max
    }

    fn submit(&self, exchange: Exchange) -> Result<(), Exchange> {
        let pieces = exchange.outgoing().len() + exchange.incoming().len();
        assert!(pieces <= self.0.pieces_max, "an exchange of {pieces} pieces");
        {
            let mut state = lock(&self.0.state);
            if state.is_dead {
                drop(state);
                exchange.complete(None);
                return Ok(());
            }
            if state.is_held {
                if state.held.len() >= state.room {
                    return Err(exchange);
                }
                state.held.push(exchange);
                return Ok(());
            }
        }
        self.serve(exchange);
        Ok(())
    }

    fn room(&self) -> &WaitQueue {
        &self.0.room
    }

    fn stop(&self) {
        let held = {
            let mut state = lock(&self.0.state);
            state.is_dead = true;
            std::mem::take(&mut state.held)
        };
        held.into_iter().for_each(|exchange| exchange.complete(None));
        self.0.room.wake_all();
    }
}

/// Takes values from a request.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    fn number<const LEN: usize>(&mut self) -> u64 {
        let (taken, rest) = self.0.split_at(LEN);
        self.0 = rest;
        taken.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn word(&mut self) -> u32 {
        u32::try_from(self.number::<4>()).unwrap_or(0)
    }

    fn text(&mut self) -> Vec<u8> {
        let len = usize::try_from(self.number::<2>()).unwrap_or(0);
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken.to_vec()
    }

    fn name(&mut self) -> PathBuf {
        PathBuf::from(OsStr::from_bytes(&self.text()))
    }
}

fn number_of(error: std::io::Error) -> Number {
    error.raw_os_error().unwrap_or(5)
}

fn raw(error: rustix::io::Errno) -> Number {
    error.raw_os_error()
}

/// The attributes of a path; those of an open file where it stands for one.
fn metadata(path: &Path) -> Result<fs::Metadata, Number> {
    let is_open = path.starts_with("/proc/self/fd");
    if is_open { fs::metadata(path) } else { fs::symlink_metadata(path) }.map_err(number_of)
}

fn qid(path: &Path) -> Result<Vec<u8>, Number> {
    let found = metadata(path)?;
    let kind: u8 = if found.is_dir() {
        0x80
    } else if found.is_symlink() {
        2
    } else {
        0
    };
    let version = u32::try_from((found.mtime_nsec() as u64 ^ found.size() << 8) & 0xffff_ffff).unwrap_or(0);
    Ok([&[kind][..], &version.to_le_bytes(), &found.ino().to_le_bytes()].concat())
}

fn attributes(path: &Path) -> Result<Vec<u8>, Number> {
    let found = metadata(path)?;
    let mut reply = 0x7ff_u64.to_le_bytes().to_vec();
    reply.extend(qid(path)?);
    for word in [found.mode(), found.uid(), found.gid()] {
        reply.extend(word.to_le_bytes());
    }
    for word in [found.nlink(), found.rdev(), found.size(), found.blksize(), found.blocks()] {
        reply.extend(word.to_le_bytes());
    }
    let (accessed, modified) = ([found.atime(), found.atime_nsec()], [found.mtime(), found.mtime_nsec()]);
    for word in [accessed, modified, [found.ctime(), found.ctime_nsec()], [0, 0], [0, 0]].concat() {
        reply.extend(word.to_le_bytes());
    }
    Ok(reply)
}

/// A directory that says it goes on at 1 or 2, and shows nothing but itself.
fn one_dot(words: &mut Words<'_>) -> Vec<u8> {
    let _fid = words.word();
    let next: u64 = if words.number::<8>() == 1 { 2 } else { 1 };
    let entry = [&[0x80][..], &[0; 12], &next.to_le_bytes(), &[4, 1, 0, b'.']].concat();
    let len = u32::try_from(entry.len()).unwrap_or(0);
    [&len.to_le_bytes()[..], &entry].concat()
}

impl Shared {
    fn reply(&self, state: &mut State, request: &[u8]) -> Vec<u8> {
        let mut words = Words(request);
        let size = words.word();
        assert_eq!(usize::try_from(size).ok(), Some(request.len()), "a request says another size than it has");
        let kind = u8::try_from(words.number::<1>()).unwrap_or(0);
        let tag = words.number::<2>();
        let (kind, body) = match self.answer(state, kind, &mut words) {
            Ok(body) => (kind + 1, body),
            Err(number) => (7, number.to_le_bytes().to_vec()),
        };
        let len = u32::try_from(7 + body.len()).unwrap_or(0);
        assert!(len <= self.message_max, "a reply that is too long was asked for");
        [&len.to_le_bytes()[..], &[kind], &u16::try_from(tag).unwrap_or(0).to_le_bytes(), &body].concat()
    }

    fn answer(&self, state: &mut State, kind: u8, words: &mut Words<'_>) -> Result<Vec<u8>, Number> {
        if kind == READDIR && state.goes_in_circles {
            return Ok(one_dot(words));
        }
        if kind == 100 {
            let size = words.word().min(self.message_max);
            return Ok([&size.to_le_bytes()[..], &[8, 0], b"9P2000.L"].concat());
        }
        let fid = words.word();
        match kind {
            104 => {
                state.fids.insert(fid, Held { path: self.root.clone(), open: None, listing: Vec::new() });
                qid(&self.root)
            }
            120 => state.fids.remove(&fid).map(|_| Vec::new()).ok_or(EBADF),
            110 => walk(state, fid, words),
            70 | 74 => two_fids(state, fid, kind, words),
            12 | 14 | 40 | 50 | 116 | 118 => {
                open_file(state.fids.get_mut(&fid).ok_or(EBADF)?, kind, words, self.message_max)
            }
            _ => {
                let held = state.fids.get(&fid).ok_or(EBADF)?;
                by_path(&held.place(), kind, words)
            }
        }
    }
}

fn walk(state: &mut State, fid: u32, words: &mut Words<'_>) -> Result<Vec<u8>, Number> {
    let (new, count) = (words.word(), words.number::<2>());
    let mut path = state.fids.get(&fid).ok_or(EBADF)?.path.clone();
    let mut reply = u16::try_from(count).unwrap_or(0).to_le_bytes().to_vec();
    for _ in 0..count {
        path.push(words.name());
        reply.extend(qid(&path)?);
    }
    let old = state.fids.insert(new, Held { path, open: None, listing: Vec::new() });
    if old.is_some() { Err(EINVAL) } else { Ok(reply) }
}

fn two_fids(state: &mut State, fid: u32, kind: u8, words: &mut Words<'_>) -> Result<Vec<u8>, Number> {
    let path = |fid: u32| state.fids.get(&fid).map(|held| held.path.clone()).ok_or(EBADF);
    if kind == 70 {
        let (from, to) = (path(words.word())?, path(fid)?.join(words.name()));
        return fs::hard_link(from, to).map(|()| Vec::new()).map_err(number_of);
    }
    let from = path(fid)?.join(words.name());
    let directory = path(words.word())?;
    let to = directory.join(words.name());
    fs::rename(&from, &to).map_err(number_of)?;
    // Fids follow what is renamed through the server.
    for held in state.fids.values_mut() {
        if let Ok(below) = held.path.strip_prefix(&from) {
            held.path = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
        }
    }
    Ok(Vec::new())
}

fn opened(path: &Path, flags: u32, mode: Option<u32>) -> Result<File, Number> {
    let access = flags & 3;
    let mut options = OpenOptions::new();
    options.read(access != 1).write(access != 0).custom_flags(0o400_000);
    if let Some(mode) = mode {
        options.create_new(flags & 0o200 != 0).create(true).mode(mode);
    }
    let file = options.open(path).map_err(number_of)?;
    if let Some(mode) = mode {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(raw)?;
    }
    Ok(file)
}

fn open_file(held: &mut Held, kind: u8, words: &mut Words<'_>, message_max: u32) -> Result<Vec<u8>, Number> {
    match kind {
        12 => {
            let flags = words.word();
            held.open = Some(opened(&held.path, flags, None)?);
            Ok([qid(&held.path)?, vec![0; 4]].concat())
        }
        14 => {
            let (name, flags, mode) = (words.name(), words.word(), words.word());
            held.path.push(name);
            held.open = Some(opened(&held.path, flags, Some(mode & 0o7777))?);
            Ok([qid(&held.path)?, vec![0; 4]].concat())
        }
        40 => read_directory(held, words),
        50 => held.open.as_ref().ok_or(EBADF)?.sync_all().map(|()| Vec::new()).map_err(number_of),
        116 => {
            let (offset, count) = (words.number::<8>(), words.word().min(message_max - 24));
            let mut bytes = vec![0; usize::try_from(count).unwrap_or(0)];
            let read = held.open.as_ref().ok_or(EBADF)?.read_at(&mut bytes, offset).map_err(number_of)?;
            bytes.truncate(read);
            Ok([&u32::try_from(read).unwrap_or(0).to_le_bytes()[..], &bytes].concat())
        }
        _ => {
            let (offset, count) = (words.number::<8>(), words.word());
            assert_eq!(usize::try_from(count).ok(), Some(words.0.len()), "a write says another length than it has");
            let file = held.open.as_ref().ok_or(EBADF)?;
            file.write_all_at(words.0, offset).map_err(number_of)?;
            Ok(count.to_le_bytes().to_vec())
        }
    }
}

fn read_directory(held: &mut Held, words: &mut Words<'_>) -> Result<Vec<u8>, Number> {
    let (offset, count) = (words.number::<8>(), usize::try_from(words.word()).unwrap_or(0));
    held.open.as_ref().ok_or(EBADF)?;
    if offset == 0 {
        let own = qid(&held.path)?;
        let own = |name: &[u8]| Listed { qid: own.clone(), kind: 4, name: name.to_vec() };
        held.listing = vec![own(b"."), own(b"..")];
        for entry in fs::read_dir(&held.path).map_err(number_of)? {
            let entry = entry.map_err(number_of)?;
            let kind = match entry.file_type().map_err(number_of)? {
                kind if kind.is_dir() => 4,
                kind if kind.is_symlink() => 10,
                kind if kind.is_fifo() => 1,
                _ => 8,
            };
            let listed = Listed { qid: qid(&entry.path())?, kind, name: entry.file_name().as_bytes().to_vec() };
            held.listing.push(listed);
        }
    }
    let mut data = Vec::new();
    let first = usize::try_from(offset).unwrap_or(usize::MAX);
    for (number, listed) in held.listing.iter().enumerate().skip(first) {
        let len = u16::try_from(listed.name.len()).unwrap_or(0);
        let next = number as u64 + 1;
        let tail = [&next.to_le_bytes()[..], &[listed.kind], &len.to_le_bytes(), &listed.name].concat();
        if data.len() + listed.qid.len() + tail.len() > count {
            break;
        }
        data.extend([&listed.qid[..], &tail].concat());
    }
    Ok([&u32::try_from(data.len()).unwrap_or(0).to_le_bytes()[..], &data].concat())
}

fn by_path(path: &Path, kind: u8, words: &mut Words<'_>) -> Result<Vec<u8>, Number> {
    match kind {
        24 => attributes(path),
        26 => set_attributes(path, words),
        22 => {
            let target = fs::read_link(path).map_err(number_of)?;
            let bytes = target.as_os_str().as_bytes();
            Ok([&u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes()[..], bytes].concat())
        }
        16 => {
            let (name, target) = (path.join(words.name()), words.name());
            symlink(target, &name).map_err(number_of)?;
            qid(&name)
        }
        18 => {
            let (name, mode) = (path.join(words.name()), words.word());
            let node = FileType::from_raw_mode(mode);
            let mode = Mode::from_raw_mode(mode & 0o7777);
            let device = rustix::fs::makedev(words.word(), words.word());
            rustix::fs::mknodat(CWD, &name, node, mode, device).map_err(raw)?;
            rustix::fs::chmod(&name, mode).map_err(raw)?;
            qid(&name)
        }
        72 => {
            let (name, mode) = (path.join(words.name()), words.word());
            fs::DirBuilder::new().mode(0o700).create(&name).map_err(number_of)?;
            rustix::fs::chmod(&name, Mode::from_raw_mode(mode & 0o7777)).map_err(raw)?;
            qid(&name)
        }
        76 => {
            let (name, flags) = (path.join(words.name()), words.word());
            let removed = if flags & 0x200 != 0 { fs::remove_dir(name) } else { fs::remove_file(name) };
            removed.map(|()| Vec::new()).map_err(number_of)
        }
        8 => {
            let found = rustix::fs::statfs(path).map_err(raw)?;
            let mut reply = u32::try_from(found.f_type).unwrap_or(0).to_le_bytes().to_vec();
            reply.extend(u32::try_from(found.f_bsize).unwrap_or(0).to_le_bytes());
            for word in [found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree, 0] {
                reply.extend(word.to_le_bytes());
            }
            reply.extend(255_u32.to_le_bytes());
            Ok(reply)
        }
        _ => Err(EOPNOTSUPP),
    }
}

fn set_attributes(path: &Path, words: &mut Words<'_>) -> Result<Vec<u8>, Number> {
    let bits = words.word();
    let has = |bit: u32| bits & bit != 0;
    let (mode, uid, gid, size) = (words.word(), words.word(), words.word(), words.number::<8>());
    let [accessed, modified] = [(0x10, 0x80), (0x20, 0x100)].map(|(set, given)| {
        let (seconds, nanoseconds) = (words.number::<8>().cast_signed(), words.number::<8>().cast_signed());
        match (has(set), has(given)) {
            (false, _) => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            (true, false) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
            (true, true) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
        }
    });
    if has(1) {
        rustix::fs::chmod(path, Mode::from_raw_mode(mode & 0o7777)).map_err(raw)?;
    }
    if has(2) || has(4) {
        // As with QEMU's model `none`, somebody without privileges is not told that it did not work.
        let (owner, group) = (has(2).then(|| Uid::from_raw(uid)), has(4).then(|| Gid::from_raw(gid)));
        let _ = rustix::fs::chownat(CWD, path, owner, group, AtFlags::SYMLINK_NOFOLLOW);
    }
    if has(8) {
        // Without following links, but the one that stands for an open file.
        let flags = if path.starts_with("/proc/self/fd") { 0 } else { 0o400_000 };
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path).map_err(number_of)?;
        file.set_len(size).map_err(number_of)?;
    }
    if has(0x30) {
        let times = Timestamps { last_access: accessed, last_modification: modified };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(raw)?;
    }
    Ok(Vec::new())
}

/// A directory of this host that is gone with the value.
pub struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// A new, empty one.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "a test has nothing else to do then")]
    pub fn new() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("nacre-share-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("the host has room for a directory");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for TemporaryDirectory {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // A leftover harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
