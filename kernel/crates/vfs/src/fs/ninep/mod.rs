//! A directory of the host, shared by 9P.
//!
//! # 1. What is kept here: as little as can be
//!
//! The host may change everything at any time, so nothing is believed for longer than a call, as with `cache=none` of Linux:
//!
//! - *Names.* A directory keeps none: every component of every walk is asked for.
//! - *Attributes.* Asked for with every name that is found and every `stat`; sizes also before an append and for `SEEK_END`.
//! - *Contents.* `read` and `write` go to the server and through no cache. They are done when they return.
//!
//! # 2. Mapped files
//!
//! Pages that programs map are in a [`PageCache`](crate::PageCache), which fills them when they are touched. What is stored in a shared
//! mapping goes to the server with `msync`, `fsync`, `munmap`, `sync`, before a `read` of the file, after some seconds, when too much is
//! dirty ([`write_back`]), and when the machine ends; until then the file is on a list that keeps it. Files that were mapped are written through the cache, so the program that maps them sees it.
//! When times or size show that somebody else changed the file, pages that are not dirty are taken away and read again.
//!
//! # 3. Which file it is
//!
//! The server names files by qids, so all names of one file lead to one inode here, as long as anybody uses it ([`nodes`]). A server
//! may know a file by the path by which it was found; a fid is replaced by that of the latest walk for this reason.
//!
//! # 4. Locks
//!
//! No lock of a directory is held while the server is asked: it decides who of two makes or removes a name. A file's lock is held
//! while it is written or its length set, as everywhere. Pages are filled under no lock.
//!
//! # What it does not do
//!
//! No locks of the server, so `flock` is among this machine's programs alone. No `O_TMPFILE`, no `fallocate`, no exchange by rename. Of the
//! owner of what is made the server decides. Nothing can be mounted on a directory of it.

mod data;
mod inode;
mod nodes;

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::Errno;
use ninep::{Client, Transport};
use sync::{Mutex, rank};

use crate::file_system::anonymous_device;
use crate::write_back::{self, Cached};
use crate::{Dentry, FileSystem, FileSystemStatistics, RootDentry};

use inode::ServedInode;
use nodes::Nodes;

/// The most servers.
const SERVERS_MAX: usize = 64;
/// As whom the server is told that we come; it is of no importance to QEMU's.
const USER: &[u8] = b"root";

/// A way to a server.
struct Server {
    tag: Box<[u8]>,
    transport: Arc<dyn Transport>,
    /// Its tree, where it is mounted: a second session would end the first.
    mounted: Weak<ServedFs>,
}

static SERVERS: Mutex<Vec<Server>> = Mutex::new(rank::OVERLAY_INODES, Vec::new());

/// Makes the server that is reached by `transport` known by this tag.
pub fn register(tag: &[u8], transport: Arc<dyn Transport>) -> Result<(), Errno> {
    let mut servers = SERVERS.lock();
    if servers.iter().any(|server| &*server.tag == tag) {
        return Err(Errno::EEXIST);
    }
    if servers.len() >= SERVERS_MAX {
        return Err(Errno::ENOSPC);
    }
    servers.push(Server { tag: Box::from(tag), transport, mounted: Weak::new() });
    Ok(())
}

/// The tree of the server with this tag; `ENXIO` when there is none.
pub fn open(tag: &[u8]) -> Result<Arc<dyn FileSystem>, Errno> {
    let transport = {
        let servers = SERVERS.lock();
        let server = servers.iter().find(|server| &*server.tag == tag).ok_or(Errno::ENXIO)?;
        if let Some(mounted) = server.mounted.upgrade() {
            return Ok(mounted);
        }
        server.transport.clone()
    };
    let opened = ServedFs::connect(transport)?;
    let mut servers = SERVERS.lock();
    if let Some(server) = servers.iter_mut().find(|server| &*server.tag == tag) {
        server.mounted = Arc::downgrade(&opened);
    }
    Ok(opened)
}

/// What the inodes share.
struct Shared {
    device: u64,
    nodes: Nodes,
    /// Files with pages that the server does not have.
    dirty: Mutex<Vec<Arc<ServedInode>>>,
}

impl Shared {
    /// Keeps a file until its pages are written.
    fn keep(&self, inode: Arc<ServedInode>) {
        let mut dirty = self.dirty.lock();
        if !dirty.iter().any(|kept| Arc::ptr_eq(kept, &inode)) {
            dirty.push(inode);
        }
    }

    /// Writes all that is kept back; the first error.
    fn write_kept(&self) -> Result<(), Errno> {
        let dirty = core::mem::take(&mut *self.dirty.lock());
        let mut result = Ok(());
        for inode in dirty {
            let written = inode.write_back();
            if written.is_err() {
                self.keep(inode);
            }
            result = result.and(written);
        }
        result
    }

    /// Lets a file go whose pages are written.
    fn let_go(&self, inode: &ServedInode) {
        let gone = {
            let mut dirty = self.dirty.lock();
            let place = dirty.iter().position(|kept| core::ptr::eq(&**kept, inode));
            place.map(|place| dirty.swap_remove(place))
        };
        drop(gone);
    }
}

impl Cached for Shared {
    fn write_back(&self) -> Result<(), Errno> {
        self.write_kept()
    }

    fn write_all(&self) -> Result<(), Errno> {
        self.write_kept()
    }
}

/// A directory of the host.
pub struct ServedFs {
    shared: Arc<Shared>,
    directory: Arc<ServedInode>,
    root: RootDentry,
    rename_lock: Mutex<()>,
}

impl ServedFs {
    /// Begins a session with a server.
    pub fn connect(transport: Arc<dyn Transport>) -> Result<Arc<Self>, Errno> {
        let (fid, _) = Client::connect(transport, b"", USER)?;
        let shared = Arc::new(Shared {
            device: anonymous_device(),
            nodes: Nodes::new(),
            dirty: Mutex::new(rank::DENTRIES, Vec::new()),
        });
        let directory = shared.nodes.node(&shared, fid)?;
        if !directory.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let root = RootDentry::new(directory.clone());
        let cached: Weak<dyn Cached> = Arc::downgrade(&shared) as _;
        write_back::register(cached);
        Ok(Arc::new(Self { shared, directory, root, rename_lock: Mutex::new(rank::RENAME, ()) }))
    }
}

impl FileSystem for ServedFs {
    fn type_name(&self) -> &'static str {
        "9p"
    }

    fn root(&self) -> &Arc<Dentry> {
        self.root.get()
    }

    fn device(&self) -> u64 {
        self.shared.device
    }

    fn rename_lock(&self) -> &Mutex<()> {
        &self.rename_lock
    }

    fn statistics(&self) -> FileSystemStatistics {
        let told = self.directory.fid().statistics().unwrap_or_default();
        FileSystemStatistics {
            magic: u64::from(told.magic),
            block_size: u64::from(told.block_size),
            blocks: told.blocks,
            blocks_free: told.blocks_free,
            blocks_available: told.blocks_available,
            files: told.files,
            files_free: told.files_free,
            name_len_max: u64::from(told.name_len_max),
            id: told.id,
            flags: 0,
        }
    }

    fn options(&self) -> Vec<u8> {
        b",cache=none,trans=virtio,version=9p2000.L".to_vec()
    }

    fn sync(&self) -> Result<(), Errno> {
        self.shared.write_kept()
    }
}

impl Drop for ServedFs {
    fn drop(&mut self) {
        if self.shared.write_kept().is_err() {
            log::error!("9p: what was stored in mapped files could not be written");
        }
        // What could not be written would keep itself.
        let lost = core::mem::take(&mut *self.shared.dirty.lock());
        drop(lost);
    }
}
