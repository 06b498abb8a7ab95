//! The read-only archive of the image, read where it lies.
//!
//! Nothing is unpacked: a lookup is a bisection in the archive, and a page of a file is a frame of the image itself. The inode
//! numbers are those of the archive plus 1. Nodes are made when they are met and hold nothing but attributes;
//! two nodes of one number are the same file.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use file::DirectorySink;
use image_format::{Archive, InodeIndex, SiteKind};
use mm::object::CodeSite;
use mm::user::UserWriter;
use mm::{CallPatch, Frame, PAGE_SIZE};
use sync::{Mutex, rank};

use crate::file_system::anonymous_device;
use crate::{
    Credentials, Dentry, FileSystem, FileSystemStatistics, FileTime, HashedName, Inode, LinkTarget, Metadata,
    NAME_LEN_MAX, NewMetadata, RootDentry,
};

/// The inode number of the root directory; 0 means no inode to programs.
const FIRST_NUMBER: u64 = 1;
/// Blocks of 512 bytes in a page.
const BLOCKS_OF_PAGE: u64 = 8;
/// What `statfs` says it is (`ROMFS_MAGIC`).
const MAGIC: u64 = 0x7275;

/// The archive as a file system.
pub struct RootFs {
    archive: Archive<'static>,
    device: u64,
    root: RootDentry,
    rename_lock: Mutex<()>,
}

impl RootFs {
    /// The file system of an archive.
    pub fn new(archive: Archive<'static>) -> Arc<Self> {
        let device = anonymous_device();
        let root = RootDentry::new(ArchiveInode::new(archive, device, archive.root()));
        Arc::new(Self { archive, device, root, rename_lock: Mutex::new(rank::RENAME, ()) })
    }
}

impl FileSystem for RootFs {
    fn type_name(&self) -> &'static str {
        "archive"
    }

    fn root(&self) -> &Arc<Dentry> {
        self.root.get()
    }

    fn device(&self) -> u64 {
        self.device
    }

    fn rename_lock(&self) -> &Mutex<()> {
        &self.rename_lock
    }

    fn statistics(&self) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: MAGIC,
            block_size: PAGE_SIZE as u64,
            files: self.archive.inode_count() as u64,
            name_len_max: NAME_LEN_MAX as u64,
            id: self.device,
            ..FileSystemStatistics::default()
        }
    }

    fn is_read_only(&self) -> bool {
        true
    }
}

/// A node of the archive.
struct ArchiveInode {
    archive: Archive<'static>,
    index: InodeIndex,
    metadata: Metadata,
}

impl ArchiveInode {
    fn new(archive: Archive<'static>, device: u64, index: InodeIndex) -> Arc<Self> {
        let inode = archive.inode(index);
        let metadata = Metadata::new(NewMetadata {
            number: FIRST_NUMBER + u64::from(index.number()),
            device,
            mode: inode.mode,
            uid: inode.uid,
            gid: inode.gid,
            links: inode.links,
            represents: inode.device,
            size: inode.size,
            time: FileTime::from_nanoseconds(inode.modified_ns),
        });
        if metadata.is_regular() {
            metadata.set_blocks(inode.size.div_ceil(PAGE_SIZE as u64) * BLOCKS_OF_PAGE);
        }
        Arc::new(Self { archive, index, metadata })
    }

    /// The whole page in place, or a copy of a page of a file too small to be aligned.
    fn frame(&self, index: u64) -> Result<Frame, Errno> {
        if let Some(frame) = self.archive.page(self.index, index).and_then(Frame::of_static) {
            return Ok(frame);
        }
        let start = usize::try_from(index).ok().and_then(|index| index.checked_mul(PAGE_SIZE));
        let data = start.and_then(|start| self.archive.data(self.index).get(start..)).unwrap_or_default();
        if data.is_empty() {
            return Err(Errno::EFAULT);
        }
        let frame = Frame::allocate()?;
        let len = data.len().min(PAGE_SIZE);
        frame.write(0, &data[..len]);
        frame.zero_range(len, PAGE_SIZE - len);
        Ok(frame)
    }
}

impl Inode for ArchiveInode {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn prepare_change(&self) -> Result<(), Errno> {
        Err(Errno::EROFS)
    }

    fn lookup(&self, name: HashedName<'_>, _credentials: &Credentials) -> Result<Arc<dyn Inode>, Errno> {
        if !self.metadata.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let index = self.archive.lookup(self.index, name.bytes()).ok_or(Errno::ENOENT)?;
        Ok(Self::new(self.archive, self.metadata.device(), index))
    }

    fn read_directory(&self, position: u64, sink: &mut dyn DirectorySink) -> Result<(), Errno> {
        let mut next = usize::try_from(position).map_err(|_| Errno::EINVAL)?;
        while let Some(entry) = self.archive.entry(self.index, next) {
            next += 1;
            let number = FIRST_NUMBER + u64::from(entry.inode.number());
            let kind = abi::directory::type_of_mode(self.archive.inode(entry.inode).mode);
            if !sink.entry(entry.name, number, kind, next as u64) {
                break;
            }
        }
        Ok(())
    }

    fn link_target(&self, _credentials: &Credentials) -> Result<LinkTarget, Errno> {
        if !self.metadata.is_symlink() {
            return Err(Errno::EINVAL);
        }
        Ok(LinkTarget::Path(Arc::from(self.archive.link_target(self.index))))
    }

    fn read_at(&self, position: u64, to: &mut UserWriter<'_>) -> Result<usize, Errno> {
        let start = usize::try_from(position).ok();
        match start.and_then(|start| self.archive.data(self.index).get(start..)) {
            Some(data) if !data.is_empty() => to.write(data),
            _ => Ok(0),
        }
    }

    fn write_at(&self, _position: u64, _from: &mut mm::user::UserReader<'_>) -> Result<usize, Errno> {
        Err(Errno::EROFS)
    }

    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.frame(index)
    }

    fn page_for_write(&self, _index: u64) -> Result<Frame, Errno> {
        Err(Errno::EROFS)
    }

    fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        let page = PAGE_SIZE as u64;
        let start = index.checked_mul(page)?;
        let sites = self.archive.sites(self.index)?.in_range(start, start.checked_add(page)?);
        let code_site = |site: image_format::Site| {
            let offset_in_page = u16::try_from(site.file_offset - start).ok()?;
            let call = match site.kind {
                SiteKind::Privileged => None,
                SiteKind::Syscall(patch) => Some(call_patch(&patch)?),
            };
            Some(CodeSite { offset_in_page, original: site.original, call })
        };
        Some(sites.filter_map(code_site).collect())
    }

    fn is_mappable(&self) -> bool {
        self.metadata.is_regular()
    }
}

/// How a call is rewritten, for those who map files. Not yet by a second jump.
fn call_patch(patch: &image_format::Patch) -> Option<CallPatch> {
    let image_format::Patch { length, syscall_at, starts, checksum, .. } = *patch;
    let is_full = !(patch.is_r11_dead && patch.are_flags_dead);
    patch.hop.is_none().then_some(CallPatch { length, syscall_at, starts, is_full, checksum })
}
