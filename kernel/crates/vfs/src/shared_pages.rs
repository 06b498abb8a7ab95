//! Contents of a file by reference: what `splice`, `sendfile` and `copy_file_range` move instead of bytes.
//!
//! A page that is given here stays the file's: a later write may change what the receiver has not looked at yet, as on
//! Linux. A page that is cut off the file is the receiver's from then on.

use alloc::vec::Vec;

use abi::inotify::InotifyMask;
use abi::{Errno, OpenFlags};
use file::OpenFile;
use mm::{FramePiece, PAGE_SIZE};

use crate::page_copy::{PAGE, min_len};
use crate::{CacheCounts, VnodeFile, notify};

impl VnodeFile {
    /// What a read of `len` bytes at `position` would give, in at most `pages_max` pages. Nothing at the end of the
    /// file. None when the file has no pages, or is not to be read by them: then it is to be read.
    pub fn share_pages(
        &self,
        open: &OpenFile,
        position: u64,
        len: usize,
        pages_max: usize,
    ) -> Option<Result<Vec<FramePiece>, Errno>> {
        let is_served = self.served_by().is_some() || open.flags().contains(OpenFlags::DIRECT);
        if is_served || !self.inode().metadata().is_regular() || !self.inode().is_mappable() {
            return None;
        }
        Some(self.gather(open, position, len, pages_max))
    }

    /// What of the pages `first..end` is in memory.
    pub fn count_cached(&self, first: u64, end: u64) -> CacheCounts {
        if self.served_by().is_some() { CacheCounts::default() } else { self.inode().count_cached(first, end) }
    }

    fn gather(&self, open: &OpenFile, position: u64, len: usize, pages_max: usize) -> Result<Vec<FramePiece>, Errno> {
        let inode = self.inode();
        let len = min_len(len, inode.length()?.saturating_sub(position));
        let mut pieces = Vec::with_capacity(pages_max.min(len.div_ceil(PAGE_SIZE) + 1));
        let mut done = 0;
        while done < len && pieces.len() < pages_max {
            let at = position + done as u64;
            let piece = match inode.piece_for_read(at, len - done) {
                Ok(piece) => piece,
                // The file was cut meanwhile.
                Err(Errno::EFAULT) => break,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            };
            done += piece.len();
            pieces.push(piece);
        }
        debug_assert!(done as u64 <= PAGE.saturating_mul(pages_max as u64));
        self.note_access(open);
        if done > 0 {
            notify::at(&self.path().dentry, InotifyMask::ACCESS);
        }
        Ok(pieces)
    }
}
