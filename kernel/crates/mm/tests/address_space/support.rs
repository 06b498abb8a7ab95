//! What the tests of mappings share: a look behind an address space, and a file to map.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use abi::Errno;
use mm::{CodeSite, Frame, MappedObject, Mappings, PageCounts, PageKind, Rights};
use testkit::{Cpu, frames};

/// What the page table of an address space shows.
pub(crate) trait Observe {
    /// Pages with an entry.
    fn present_pages(&self) -> usize;

    /// The kind of a present page.
    fn kind(&self, address: usize) -> Option<PageKind>;

    /// Checks what must hold between areas, entries and counters.
    fn check_invariants(&self);
}

impl Observe for Cpu {
    fn present_pages(&self) -> usize {
        self.table.entries().len()
    }

    fn kind(&self, address: usize) -> Option<PageKind> {
        self.table.entries().get(&address).map(|entry| entry.kind)
    }

    fn check_invariants(&self) {
        let areas = self.space.areas();
        let entries = self.table.entries();
        for pair in areas.windows(2) {
            assert!(pair[0].range.end() <= pair[1].range.start(), "areas overlap");
        }
        let mut counts = PageCounts::default();
        for (address, entry) in entries.iter() {
            let area = areas.iter().find(|area| area.range.contains(*address)).expect("an entry outside all areas");
            assert!(entry.rights.is_empty() || entry.rights.contains(Rights::READ), "x86 cannot deny loads");
            assert!(area.rights.contains(entry.rights - Rights::READ), "an entry allows more than its area");
            assert_eq!(area.rights.is_empty(), entry.rights.is_empty(), "an entry allows more or less than its area");
            counts.add(entry.kind);
            if entry.rights.contains(Rights::WRITE) {
                assert!(
                    area.is_shared || (entry.kind == PageKind::Anonymous && entry.frame.is_exclusive()),
                    "a writable entry does not own its frame"
                );
            }
        }
        let usage = self.space.usage();
        assert_eq!(usage.resident_anonymous, counts.anonymous);
        assert_eq!(usage.resident_file, counts.file);
        assert_eq!(usage.resident_shared, counts.shared);
        assert_eq!(usage.mapped, areas.iter().map(|area| area.range.pages()).sum::<usize>());
    }
}

/// A file of the tests. Byte 0 of page n is at first n + 1.
pub(crate) struct FakeFile {
    pages: Mutex<Vec<Frame>>,
    pub(crate) sites: Vec<(u64, CodeSite)>,
    mappings: Mappings,
    pub(crate) notices: Mutex<Vec<u64>>,
    pub(crate) synchronized: Mutex<Vec<(u64, u64)>>,
    /// How often pages were asked for.
    pub(crate) looks: AtomicUsize,
    /// No page is in memory, as far as anybody asks.
    pub(crate) is_absent: AtomicBool,
    /// Runs once, between the next look-up of a page and its return.
    pub(crate) meanwhile: Mutex<Option<Meanwhile>>,
}

/// Something that happens while a page is fetched.
pub(crate) type Meanwhile = Box<dyn FnOnce() + Send>;

impl FakeFile {
    pub(crate) fn new(pages: u8) -> Arc<Self> {
        Self::with_sites(pages, Vec::new())
    }

    pub(crate) fn with_sites(pages: u8, sites: Vec<(u64, CodeSite)>) -> Arc<Self> {
        frames::install();
        let frames = (0..pages).map(|index| {
            let frame = Frame::allocate_zeroed().unwrap();
            frame.write(0, &[index + 1]);
            frame
        });
        Arc::new(Self {
            pages: Mutex::new(frames.collect()),
            sites,
            mappings: Mappings::new(),
            notices: Mutex::default(),
            synchronized: Mutex::default(),
            looks: AtomicUsize::new(0),
            is_absent: AtomicBool::new(false),
            meanwhile: Mutex::default(),
        })
    }

    /// Puts bytes in a page of the file.
    pub(crate) fn write(&self, index: usize, offset: usize, bytes: &[u8]) {
        self.pages.lock().unwrap()[index].write(offset, bytes);
    }

    pub(crate) fn byte(&self, index: usize) -> u8 {
        let mut byte = [0];
        self.pages.lock().unwrap()[index].read(0, &mut byte);
        byte[0]
    }

    pub(crate) fn truncate(&self, pages: usize) {
        self.pages.lock().unwrap().truncate(pages);
        self.mappings.truncate(pages as u64, u64::MAX);
    }
}

impl FakeFile {
    /// Puts new frames in the place of the pages from `first` on, as punching a hole does.
    pub(crate) fn replace_pages(&self, first: usize) {
        for page in &mut self.pages.lock().unwrap()[first..] {
            *page = Frame::allocate_zeroed().unwrap();
        }
        self.mappings.invalidate(first as u64, u64::MAX);
    }

    /// Checks that what the address space shows of the file is the file's.
    pub(crate) fn check_mapped(&self, cpu: &Cpu) {
        let pages: Vec<_> = self.pages.lock().unwrap().iter().map(Frame::number).collect();
        for (address, entry) in cpu.table.entries().iter() {
            let is_the_files = entry.kind != PageKind::File || pages.contains(&entry.frame.number());
            assert!(is_the_files, "a stale page at {address:#x}");
        }
    }
}

impl MappedObject for FakeFile {
    fn page_at_hand(&self, index: u64) -> Option<Frame> {
        if self.is_absent.load(Ordering::Relaxed) { None } else { self.page(index).ok() }
    }

    fn page(&self, index: u64) -> Result<Frame, Errno> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let page = self.pages.lock().unwrap().get(usize::try_from(index).unwrap()).cloned();
        let meanwhile = self.meanwhile.lock().unwrap().take();
        match meanwhile {
            Some(meanwhile) => meanwhile(),
            None => std::thread::yield_now(),
        }
        page.ok_or(Errno::EFAULT)
    }

    fn page_for_write(&self, index: u64) -> Result<Frame, Errno> {
        self.notices.lock().unwrap().push(index);
        self.page(index)
    }

    fn code_sites(&self, index: u64) -> Option<Vec<CodeSite>> {
        Some(self.sites.iter().filter(|(page, _)| *page == index).map(|(_, site)| *site).collect())
    }

    fn synchronize(&self, first: u64, end: u64) -> Result<(), Errno> {
        self.synchronized.lock().unwrap().push((first, end));
        Ok(())
    }

    fn remove_pages(&self, first: u64, end: u64) -> Result<(), Errno> {
        for (index, page) in self.pages.lock().unwrap().iter_mut().enumerate() {
            if (first..end).contains(&(index as u64)) {
                *page = Frame::allocate_zeroed()?;
            }
        }
        self.mappings.invalidate(first, end);
        Ok(())
    }

    fn mappings(&self) -> Option<&Mappings> {
        Some(&self.mappings)
    }

    fn name(&self) -> Vec<u8> {
        b"/file".to_vec()
    }

    fn device_and_inode(&self) -> (u64, u64) {
        (1, 2)
    }
}
