//! What the tests share: a process's view of a file system with short words for its calls, and the same words for the host.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(dead_code, reason = "every test file uses a part of it")]

use std::sync::Arc;

use abi::{AccessRights, Errno, OpenFlags, RenameFlags, ResolveFlags};
use file::{Attributes, DirectorySink, File, OpenFile, Progress};
use image_format::write::{Content, Metadata, Payload, Tree};
use image_format::{Image, Site};
use mm::user::{UserReader, UserWriter};
use vfs::fs::overlay;
use vfs::fs::root::RootFs;
use vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use vfs::{Credentials, FileSystem, FsContext, Lookup, MountFlags, Namespace, OpenRequest, PathRef};

/// The result of a call.
pub(crate) type Answer<T> = Result<T, Errno>;

/// Makes the machine that a test runs on: its clock ticks, so that no two times are equal.
pub(crate) fn machine() {
    testkit::frames::install();
    testkit::clock::tick(1_000_000_000, 1000);
}

/// A process's view of a tree.
pub(crate) struct World {
    pub(crate) context: FsContext,
    pub(crate) credentials: Credentials,
}

/// What `getdents` gives: name, inode number, type, position behind it.
pub(crate) type Entry = (String, u64, u8, u64);

impl World {
    /// At the root of a file system.
    pub(crate) fn over(file_system: Arc<dyn FileSystem>) -> Self {
        machine();
        let namespace = Namespace::new(file_system, b"none", MountFlags::empty());
        Self { context: FsContext::new(namespace), credentials: Credentials::root() }
    }

    /// An empty tmpfs.
    pub(crate) fn tmpfs() -> Self {
        machine();
        Self::over(Tmpfs::new(TmpfsOptions { mode: 0o755, ..TmpfsOptions::default() }))
    }

    /// An empty tmpfs with a limit of bytes.
    pub(crate) fn small_tmpfs(size_max: u64) -> Self {
        machine();
        Self::over(Tmpfs::new(TmpfsOptions { mode: 0o755, size_max: Some(size_max), ..TmpfsOptions::default() }))
    }

    /// A writable archive.
    pub(crate) fn overlay(archive: &ArchiveBuilder) -> Self {
        machine();
        Self::over(overlay::new(&*archive.build()))
    }

    /// The same view as a user without privileges.
    pub(crate) fn as_user(&self, uid: u32, groups: &[u32]) -> Self {
        let gid = uid;
        let credentials = Credentials {
            uid,
            gid,
            groups: Arc::from(groups),
            capabilities: vfs::Capabilities::empty(),
            ..self.credentials.clone()
        };
        Self { context: self.context.clone(), credentials }
    }

    pub(crate) fn resolve(&self, path: &str, flags: Lookup) -> Answer<PathRef> {
        vfs::resolve(&self.context, &self.credentials, None, path.as_bytes(), flags)
    }

    /// The place of a path, links followed.
    pub(crate) fn place(&self, path: &str) -> Answer<PathRef> {
        self.resolve(path, Lookup::FOLLOW)
    }

    pub(crate) fn stat(&self, path: &str) -> Answer<Attributes> {
        self.place(path).map(|place| vfs::stat(&place))
    }

    pub(crate) fn lstat(&self, path: &str) -> Answer<Attributes> {
        self.resolve(path, Lookup::empty()).map(|place| vfs::stat(&place))
    }

    pub(crate) fn mkdir(&self, path: &str) -> Answer<()> {
        vfs::mkdir(&self.context, &self.credentials, None, path.as_bytes(), 0o777)
    }

    pub(crate) fn mknod(&self, path: &str, mode: u32, device: u64) -> Answer<()> {
        vfs::mknod(&self.context, &self.credentials, None, path.as_bytes(), mode, device)
    }

    pub(crate) fn symlink(&self, target: &str, path: &str) -> Answer<()> {
        vfs::symlink(&self.context, &self.credentials, target.as_bytes(), None, path.as_bytes())
    }

    /// `link` without following a link at the end of the old path.
    pub(crate) fn link(&self, old: &str, new: &str) -> Answer<()> {
        let source = self.resolve(old, Lookup::empty())?;
        vfs::link(&self.context, &self.credentials, &source, None, new.as_bytes())
    }

    pub(crate) fn unlink(&self, path: &str) -> Answer<()> {
        vfs::unlink(&self.context, &self.credentials, None, path.as_bytes())
    }

    pub(crate) fn rmdir(&self, path: &str) -> Answer<()> {
        vfs::rmdir(&self.context, &self.credentials, None, path.as_bytes())
    }

    pub(crate) fn rename(&self, old: &str, new: &str) -> Answer<()> {
        self.rename_with(old, new, RenameFlags::empty())
    }

    pub(crate) fn rename_with(&self, old: &str, new: &str, flags: RenameFlags) -> Answer<()> {
        let (old, new) = ((None, old.as_bytes()), (None, new.as_bytes()));
        vfs::rename(&self.context, &self.credentials, old, new, flags)
    }

    pub(crate) fn readlink(&self, path: &str) -> Answer<String> {
        let place = self.resolve(path, Lookup::empty())?;
        vfs::readlink(&self.credentials, &place).map(|text| String::from_utf8(text).unwrap())
    }

    /// The target of a link, which may be no text.
    pub(crate) fn readlink_bytes(&self, path: &str) -> Answer<Vec<u8>> {
        vfs::readlink(&self.credentials, &self.resolve(path, Lookup::empty())?)
    }

    pub(crate) fn chmod(&self, path: &str, mode: u32) -> Answer<()> {
        vfs::chmod(&self.credentials, &self.place(path)?, mode)
    }

    pub(crate) fn chown(&self, path: &str, uid: Option<u32>, gid: Option<u32>) -> Answer<()> {
        vfs::chown(&self.credentials, &self.place(path)?, uid, gid)
    }

    pub(crate) fn truncate(&self, path: &str, len: u64) -> Answer<()> {
        vfs::truncate(&self.credentials, &self.place(path)?, len)
    }

    pub(crate) fn access(&self, path: &str, rights: AccessRights) -> Answer<()> {
        vfs::access(&self.credentials, &self.place(path)?, rights)
    }

    pub(crate) fn chdir(&mut self, path: &str) -> Answer<()> {
        let place = self.resolve(path, Lookup::FOLLOW | Lookup::DIRECTORY)?;
        vfs::access(&self.credentials, &place, AccessRights::X_OK)?;
        self.context.set_cwd(place)
    }

    pub(crate) fn cwd(&self) -> String {
        self.path_name(&self.context.cwd)
    }

    pub(crate) fn path_name(&self, place: &PathRef) -> String {
        String::from_utf8(vfs::path_name(Some(&self.context), place)).unwrap()
    }

    pub(crate) fn open(&self, path: &str, flags: OpenFlags) -> Answer<Handle> {
        self.open_with(path, flags, 0o666, ResolveFlags::empty())
    }

    pub(crate) fn open_with(&self, path: &str, flags: OpenFlags, mode: u32, resolve: ResolveFlags) -> Answer<Handle> {
        let request = OpenRequest { flags, mode, resolve };
        vfs::open(&self.context, &self.credentials, None, path.as_bytes(), &request).map(Handle)
    }

    /// Makes a file, or cuts it, and writes to it.
    pub(crate) fn write_file(&self, path: &str, contents: &[u8]) -> Answer<()> {
        let file = self.open(path, OpenFlags::WRONLY | OpenFlags::CREAT | OpenFlags::TRUNC)?;
        assert_eq!(file.write(contents)?, contents.len());
        Ok(())
    }

    pub(crate) fn read_file(&self, path: &str) -> Answer<Vec<u8>> {
        self.open(path, OpenFlags::empty())?.read_all()
    }

    /// The names in a directory, sorted, without `.` and `..`.
    pub(crate) fn names(&self, path: &str) -> Answer<Vec<String>> {
        let entries = self.open(path, OpenFlags::DIRECTORY)?.entries(usize::MAX)?;
        let mut names: Vec<String> = entries.into_iter().map(|entry| entry.0).collect();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }

    /// Mounts a file system on a directory.
    pub(crate) fn mount(&self, path: &str, file_system: Arc<dyn FileSystem>, flags: MountFlags) -> Answer<()> {
        let at = self.place(path)?;
        self.context.namespace.mount(&self.credentials, &at, file_system, b"none", flags).map(drop)
    }
}

/// An open file.
#[derive(Clone)]
pub(crate) struct Handle(pub(crate) Arc<OpenFile>);

fn done(progress: Progress) -> usize {
    match progress {
        Progress::Done(count) => count,
        Progress::WouldBlock => panic!("files of these tests do not block"),
    }
}

impl Handle {
    pub(crate) fn file(&self) -> &dyn File {
        &**self.0.file()
    }

    fn read_from(&self, len: usize, position: Option<u64>) -> Answer<Vec<u8>> {
        let mut bytes = vec![0xee; len];
        let count = done(self.file().read(&self.0, &mut UserWriter::to_kernel(&mut bytes), position)?);
        bytes.truncate(count);
        Ok(bytes)
    }

    pub(crate) fn read(&self, len: usize) -> Answer<Vec<u8>> {
        self.read_from(len, None)
    }

    pub(crate) fn pread(&self, len: usize, position: u64) -> Answer<Vec<u8>> {
        self.read_from(len, Some(position))
    }

    pub(crate) fn read_all(&self) -> Answer<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let part = self.read(10_000)?;
            if part.is_empty() {
                return Ok(all);
            }
            all.extend(part);
        }
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Answer<usize> {
        self.file().write(&self.0, &mut UserReader::from_kernel(bytes), None).map(done)
    }

    pub(crate) fn pwrite(&self, bytes: &[u8], position: u64) -> Answer<usize> {
        self.file().write(&self.0, &mut UserReader::from_kernel(bytes), Some(position)).map(done)
    }

    pub(crate) fn seek(&self, offset: i64, whence: u32) -> Answer<u64> {
        self.file().seek(&self.0, offset, whence)
    }

    pub(crate) fn truncate(&self, len: u64) -> Answer<()> {
        self.file().truncate(&self.0, len)
    }

    pub(crate) fn allocate(&self, mode: abi::FallocateFlags, offset: u64, len: u64) -> Answer<()> {
        self.file().allocate(&self.0, mode.bits(), offset, len)
    }

    pub(crate) fn stat(&self) -> Attributes {
        self.file().attributes().unwrap()
    }

    /// Whether it is a regular file.
    pub(crate) fn is_regular(&self) -> bool {
        self.stat().mode & 0o170_000 == 0o100_000
    }

    /// Names of up to `count` entries; those that are no text are left out.
    pub(crate) fn names(&self, count: usize) -> Answer<Vec<String>> {
        let mut sink = CollectNames { names: Vec::new(), count };
        self.file().read_directory(&self.0, &mut sink)?;
        Ok(sink.names)
    }

    /// Up to `count` entries from the position on.
    pub(crate) fn entries(&self, count: usize) -> Answer<Vec<Entry>> {
        let mut sink = Collect { entries: Vec::new(), count };
        self.file().read_directory(&self.0, &mut sink)?;
        Ok(sink.entries)
    }
}

struct Collect {
    entries: Vec<Entry>,
    count: usize,
}

impl DirectorySink for Collect {
    fn entry(&mut self, name: &[u8], inode: u64, kind: u8, next: u64) -> bool {
        if self.entries.len() == self.count {
            return false;
        }
        self.entries.push((String::from_utf8_lossy(name).into_owned(), inode, kind, next));
        true
    }
}

struct CollectNames {
    names: Vec<String>,
    count: usize,
}

impl DirectorySink for CollectNames {
    fn entry(&mut self, name: &[u8], _inode: u64, _kind: u8, _next: u64) -> bool {
        self.names.extend(String::from_utf8(name.to_vec()));
        self.names.len() < self.count
    }
}

/// A tree to be made into an archive.
#[derive(Default)]
pub(crate) struct ArchiveBuilder {
    tree: Tree,
    is_packed: bool,
}

/// The modification time of everything in an archive, in nanoseconds.
pub(crate) const ARCHIVE_TIME_NS: i64 = 1_000_000_000_000_000_000;

fn attributes(permissions: u32) -> Metadata {
    Metadata { modified_ns: ARCHIVE_TIME_NS, ..Metadata::with_permissions(permissions) }
}

impl ArchiveBuilder {
    pub(crate) fn new() -> Self {
        Self { tree: Tree::new(), is_packed: false }
    }

    fn parent<'a>(&self, path: &'a str) -> (image_format::write::NodeId, &'a [u8]) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        (self.tree.find(parent.as_bytes()).expect("the directory is there"), name.as_bytes())
    }

    /// Has files packed where that saves something.
    #[must_use]
    pub(crate) fn packed(mut self) -> Self {
        self.is_packed = true;
        self
    }

    #[must_use]
    pub(crate) fn directory(mut self, path: &str) -> Self {
        let (parent, name) = self.parent(path);
        self.tree.add_directory(parent, name, attributes(0o755)).unwrap();
        self
    }

    #[must_use]
    pub(crate) fn file(mut self, path: &str, contents: &[u8]) -> Self {
        let (parent, name) = self.parent(path);
        self.tree.add_file(parent, name, attributes(0o644), Content::Bytes(contents.to_vec())).unwrap();
        self
    }

    /// Marks instructions of a file that must not run as they are, by offset and first byte.
    #[must_use]
    pub(crate) fn sites(mut self, path: &str, sites: &[(u64, u8)]) -> Self {
        let kind = image_format::SiteKind::Privileged;
        let file = self.tree.find(path.as_bytes()).unwrap();
        let site = |(file_offset, original): &(u64, u8)| Site { file_offset: *file_offset, kind, original: *original };
        self.tree.set_sites(file, sites.iter().map(site).collect());
        self
    }

    #[must_use]
    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        let (parent, name) = self.parent(path);
        self.tree.add_link(parent, name, attributes(0o777), target.as_bytes()).unwrap();
        self
    }

    #[must_use]
    pub(crate) fn hard_link(mut self, path: &str, target: &str) -> Self {
        let (parent, name) = self.parent(path);
        let target = self.tree.find(target.as_bytes()).unwrap();
        self.tree.add_hard_link(parent, name, target).unwrap();
        self
    }

    /// The archive as a file system. Its bytes are never freed.
    pub(crate) fn build(&self) -> Arc<RootFs> {
        self.build_changed(|_| {}).unwrap()
    }

    /// The archive after a change of its bytes; `None` where that is noticed at once.
    pub(crate) fn build_changed(&self, change: impl FnOnce(&mut [u8])) -> Option<Arc<RootFs>> {
        machine();
        let payload = Payload { tree: self.tree.clone(), is_packed: self.is_packed, ..Payload::default() };
        let mut bytes = payload.to_bytes().unwrap();
        change(&mut bytes);
        let bytes: &'static [u8] = bytes.leak();
        RootFs::new(Image::parse(bytes).ok()?.archive()).ok()
    }
}

/// A generator of numbers that are the same for the same seed.
pub(crate) struct Random(testkit::Random);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(testkit::Random::new(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub(crate) fn index(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap()
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        self.0.pick(from)
    }

    /// The seed of a run, which is printed: from `NACRE_TEST_SEED`, or the given one.
    pub(crate) fn seeded(default: u64) -> (u64, Self) {
        let seed = std::env::var("NACRE_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
        println!("seed {seed}");
        (seed, Self(testkit::Random::new(seed)))
    }
}
