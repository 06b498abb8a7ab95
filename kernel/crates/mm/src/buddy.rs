//! The frame allocator: a binary buddy system over a slice of [`FrameInfo`].
//!
//! 1. Blocks. A block of order `n` is 2^n frames whose first frame number is a multiple of 2^n. Its
//!    buddy is the block whose number differs in bit `n` alone; two free buddies always merge, so the
//!    set of free blocks is a function of the set of free frames (the tests rely on it).
//! 2. Metadata. The first frame of a free block says so and gives the order; every other frame,
//!    free or not, says nothing. That is enough to find out in one load whether a buddy can merge,
//!    and it makes set-up cost per block, not per frame. All zero bytes are a valid slice in
//!    which nothing is free.
//! 3. Lists. The free blocks of an order form a doubly linked list through indices in the metadata,
//!    so taking a buddy out of the middle is O(1). A word with a bit for each order that has a block
//!    finds the smallest sufficient one. Allocation and freeing are O([`ORDER_MAX`]).
//! 4. Single frames come and go most. Some of them wait on a stack after they were freed, neither
//!    merged nor listed, and are the first to be allocated again: still in the cache, and without the cost
//!    of merging a block now to split it again. When the stack is full half of it is merged; all of it
//!    is before an allocation fails ([`Buddy::merge_recent`]).
//! 5. Sharing. Links and orders belong to whoever holds the lock around [`Buddy`]. The reference
//!    count in the same 16 bytes needs no lock. Everything is atomic so that both may look at the
//!    slice at once; the links use relaxed plain loads and stores.
//!
//! What it does not do: it takes no lock (the machine wraps it, behind per-CPU caches), touches no
//! frame's contents, and keeps no list of what is allocated: freeing what is not allocated is a kernel
//! bug, caught in debug builds where the metadata shows it.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, fence};

use crate::frame::FrameNumber;

/// The largest order: blocks of 2^18 frames, 1 GiB.
pub const ORDER_MAX: u32 = 18;
/// How many orders there are.
pub const ORDER_COUNT: usize = ORDER_MAX as usize + 1;

/// Single frames that wait to be allocated again.
const RECENT_MAX: usize = 64;

/// No frame, in a link.
const NONE: u32 = u32::MAX;
/// State of the first frame of a free block: this bit and the order.
const FREE: u32 = 1 << 31;
/// The count at which pinned frames start; gains and losses never bring it near 1.
const PINNED: u32 = 1 << 31;

/// What is known about one frame. All zeroes: in use or absent, no references.
#[derive(Debug, Default)]
pub struct FrameInfo {
    references: AtomicU32,
    state: AtomicU32,
    next: AtomicU32,
    previous: AtomicU32,
}

const _: () = assert!(size_of::<FrameInfo>() == 16);

impl FrameInfo {
    /// A frame that is not free.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            references: AtomicU32::new(0),
            state: AtomicU32::new(0),
            next: AtomicU32::new(0),
            previous: AtomicU32::new(0),
        }
    }

    /// Gives a frame that was just allocated its first reference.
    pub fn set_first_reference(&self) {
        debug_assert_eq!(self.references.load(Relaxed), 0, "an allocated frame has references");
        self.references.store(1, Relaxed);
    }

    /// Makes the frame one that is never freed; [`Self::reference_count`] stays above 1.
    pub fn pin(&self) {
        self.references.store(PINNED, Relaxed);
    }

    /// Undoes [`Self::pin`]: the frame has no references and may be given to the allocator.
    pub fn unpin(&self) {
        self.references.store(0, Relaxed);
    }

    /// True for frames that are never freed.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.references.load(Relaxed) >= PINNED / 2
    }

    /// Adds a reference.
    pub fn acquire(&self) {
        let before = self.references.fetch_add(1, Relaxed);
        debug_assert_ne!(before, 0, "a reference to a free frame");
    }

    /// Drops a reference. True: it was the last one, and the caller frees the frame.
    #[must_use]
    pub fn release(&self) -> bool {
        // A sole owner needs no atomic read-modify-write: nobody else can add a reference.
        if self.references.load(Acquire) == 1 {
            self.references.store(0, Relaxed);
            return true;
        }
        let before = self.references.fetch_sub(1, Release);
        debug_assert_ne!(before, 0, "a reference dropped twice");
        if before == 1 {
            fence(Acquire);
        }
        before == 1
    }

    /// The number of references; large for pinned frames.
    #[must_use]
    pub fn reference_count(&self) -> u32 {
        self.references.load(Acquire)
    }

    /// A word for the owner of an allocated frame (a page table counts its entries here).
    /// Undefined when the frame is allocated.
    #[must_use]
    pub fn owner_word(&self) -> &AtomicU32 {
        &self.next
    }
}

/// The allocator.
#[derive(Debug)]
pub struct Buddy<'a> {
    info: &'a [FrameInfo],
    /// Number of the frame that `info[0]` describes.
    first_frame: u32,
    /// First block of each order, as an index into `info`.
    heads: [u32; ORDER_COUNT],
    /// How many there are.
    counts: [u32; ORDER_COUNT],
    /// Bit n is set when order n has a free block.
    available: u32,
    /// Free frames that no list holds, the last freed on top.
    recent: [u32; RECENT_MAX],
    recent_len: usize,
    free_frames: u64,
    total_frames: u64,
}

impl<'a> Buddy<'a> {
    /// An allocator for the frames `first_frame..first_frame + info.len()`, none of them free yet.
    #[must_use]
    pub fn new(info: &'a [FrameInfo], first_frame: FrameNumber) -> Self {
        debug_assert!(
            u32::try_from(info.len()).is_ok_and(|count| first_frame.index().checked_add(count).is_some()),
            "frame numbers have 32 bits"
        );
        Self {
            info,
            first_frame: first_frame.index(),
            heads: [NONE; ORDER_COUNT],
            counts: [0; ORDER_COUNT],
            available: 0,
            recent: [0; RECENT_MAX],
            recent_len: 0,
            free_frames: 0,
            total_frames: 0,
        }
    }

    /// Frames that are free.
    #[must_use]
    pub fn free_frames(&self) -> u64 {
        self.free_frames
    }

    /// Free blocks by their order.
    #[must_use]
    pub fn free_blocks(&self) -> [u64; ORDER_COUNT] {
        let mut blocks = self.counts.map(u64::from);
        blocks[0] += self.recent_len as u64;
        blocks
    }

    /// Frames ever added.
    #[must_use]
    pub fn total_frames(&self) -> u64 {
        self.total_frames
    }

    /// The metadata of a frame, when it is in the slice.
    #[must_use]
    pub fn info(&self, frame: FrameNumber) -> Option<&'a FrameInfo> {
        self.info.get(frame.index().checked_sub(self.first_frame)? as usize)
    }

    /// Adds the frames `start..end`, which must be in the slice and must not have been added before.
    pub fn add_range(&mut self, start: FrameNumber, end: FrameNumber) {
        let mut at = start.index();
        self.total_frames += u64::from(end.index().saturating_sub(at));
        while at < end.index() {
            let left = end.index() - at;
            let order = at.trailing_zeros().min(left.ilog2()).min(ORDER_MAX);
            self.free_frames += 1 << order;
            self.merge(at, order);
            at += 1 << order;
        }
    }

    /// A block of 2^`order` frames, aligned to its size. None when there is no such block.
    pub fn allocate(&mut self, order: u32) -> Option<FrameNumber> {
        if order == 0 && self.recent_len > 0 {
            self.recent_len -= 1;
            self.free_frames -= 1;
            return Some(FrameNumber::new(self.recent[self.recent_len]));
        }
        if order > ORDER_MAX {
            return None;
        }
        if self.available >> order == 0 {
            self.merge_recent();
        }
        self.split(order)
    }

    /// Up to `count_max` single frames in a row, for somebody who wants many and has them one by one: the first, and
    /// how many. None when no list has one and none waits on the stack, or if none is wanted.
    pub fn allocate_run(&mut self, count_max: u32) -> Option<(FrameNumber, u32)> {
        let order_max = count_max.checked_ilog2()?;
        if self.recent_len > 0 {
            return self.allocate(0).map(|frame| (frame, 1));
        }
        // The smallest block goes first, as it would if they were asked for one by one.
        let order = self.available.trailing_zeros().min(order_max);
        self.split(order).map(|first| (first, 1 << order))
    }

    /// Frees a block. Any aligned part of an allocated block may be freed on its own.
    pub fn free(&mut self, frame: FrameNumber, order: u32) {
        debug_assert!(order <= ORDER_MAX && frame.index().is_multiple_of(1 << order), "a block is aligned");
        debug_assert!(self.state(frame.index() - self.first_frame) & FREE == 0, "{frame:?} freed twice");
        self.free_frames += 1 << order;
        if order > 0 {
            return self.merge(frame.index(), order);
        }
        if self.recent_len == RECENT_MAX {
            self.merge_oldest(RECENT_MAX / 2);
        }
        self.recent[self.recent_len] = frame.index();
        self.recent_len += 1;
    }

    /// Merges the single frames that wait on the stack.
    pub fn merge_recent(&mut self) {
        self.merge_oldest(self.recent_len);
    }

    /// Merges the `count` frames at the bottom of the stack.
    fn merge_oldest(&mut self, count: usize) {
        for index in 0..count {
            self.merge(self.recent[index], 0);
        }
        self.recent.copy_within(count..self.recent_len, 0);
        self.recent_len -= count;
    }

    /// Takes the smallest sufficient block from its list and lists what is too much.
    fn split(&mut self, order: u32) -> Option<FrameNumber> {
        let sufficient = self.available >> order << order;
        if sufficient == 0 {
            return None;
        }
        let mut found = sufficient.trailing_zeros();
        let index = self.heads[found as usize];
        self.unlink(index, found);
        while found > order {
            found -= 1;
            self.link(index + (1 << found), found);
        }
        self.free_frames -= 1 << order;
        Some(FrameNumber::new(self.first_frame + index))
    }

    /// Lists a block, after merging it with its buddies as far as possible.
    fn merge(&mut self, number: u32, order: u32) {
        let (mut number, mut order) = (number, order);
        while order < ORDER_MAX {
            let buddy = number ^ (1 << order);
            let Some(index) = buddy.checked_sub(self.first_frame) else { break };
            if self.state(index) != FREE | order {
                break;
            }
            self.unlink(index, order);
            number &= !(1 << order);
            order += 1;
        }
        self.link(number - self.first_frame, order);
    }

    /// The state word of a frame; that of an allocated one outside the slice.
    fn state(&self, index: u32) -> u32 {
        self.info.get(index as usize).map_or(0, |info| info.state.load(Relaxed))
    }

    /// Puts a block at the front of its order's list.
    fn link(&mut self, index: u32, order: u32) {
        let info = &self.info[index as usize];
        let head = self.heads[order as usize];
        info.state.store(FREE | order, Relaxed);
        info.next.store(head, Relaxed);
        info.previous.store(NONE, Relaxed);
        if head != NONE {
            self.info[head as usize].previous.store(index, Relaxed);
        }
        self.heads[order as usize] = index;
        self.counts[order as usize] += 1;
        self.available |= 1 << order;
    }

    /// Takes a block out of its order's list.
    fn unlink(&mut self, index: u32, order: u32) {
        let info = &self.info[index as usize];
        debug_assert_eq!(info.state.load(Relaxed), FREE | order, "the list holds free blocks of its order");
        info.state.store(0, Relaxed);
        self.counts[order as usize] -= 1;
        let next = info.next.load(Relaxed);
        let previous = info.previous.load(Relaxed);
        if next != NONE {
            self.info[next as usize].previous.store(previous, Relaxed);
        }
        if previous != NONE {
            self.info[previous as usize].next.store(next, Relaxed);
            return;
        }
        self.heads[order as usize] = next;
        if next == NONE {
            self.available &= !(1 << order);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const FIRST: u32 = 1_000;
    const FRAMES: u32 = 5_000;

    fn metadata() -> Vec<FrameInfo> {
        (0..FRAMES).map(|_| FrameInfo::new()).collect()
    }

    /// The free blocks that merging must lead to, from the free frames alone.
    fn blocks_of(free: &BTreeSet<u32>) -> BTreeSet<(u32, u32)> {
        let mut blocks: BTreeSet<(u32, u32)> = free.iter().map(|frame| (*frame, 0)).collect();
        for order in 0..ORDER_MAX {
            for (frame, _) in blocks.clone().into_iter().filter(|(_, its)| *its == order) {
                let buddy = frame ^ (1 << order);
                if frame < buddy && blocks.contains(&(buddy, order)) {
                    blocks.remove(&(frame, order));
                    blocks.remove(&(buddy, order));
                    blocks.insert((frame, order + 1));
                }
            }
        }
        blocks
    }

    fn blocks_in(buddy: &Buddy<'_>) -> BTreeSet<(u32, u32)> {
        let mut blocks = BTreeSet::new();
        for order in 0..=ORDER_MAX {
            let mut at = buddy.heads[order as usize];
            assert_eq!(at != NONE, buddy.available & (1 << order) != 0, "the word says what the lists hold");
            while at != NONE {
                assert!(blocks.insert((FIRST + at, order)), "a list with a loop");
                at = buddy.info[at as usize].next.load(Relaxed);
            }
        }
        blocks
    }

    #[test]
    fn agrees_with_a_set_of_frames() {
        for seed in 1..8_u64 {
            let mut state = seed;
            let mut below = |bound: u32| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                u32::try_from(state >> 33).unwrap() % bound
            };
            let info = metadata();
            let mut buddy = Buddy::new(&info, FrameNumber::new(FIRST));
            let mut free = BTreeSet::new();
            for (start, end) in [(FIRST, FIRST + 37), (FIRST + 100, FIRST + 4_321), (FIRST + 4_500, FIRST + FRAMES)] {
                buddy.add_range(FrameNumber::new(start), FrameNumber::new(end));
                free.extend(start..end);
            }
            assert_eq!(buddy.total_frames(), free.len() as u64);
            let mut allocated: Vec<(u32, u32)> = Vec::new();
            for step in 0..600 {
                if below(9) == 0 {
                    let count_max = below(70);
                    let (first, count) =
                        buddy.allocate_run(count_max).map_or((FIRST, 0), |(first, count)| (first.index(), count));
                    assert!(count <= count_max && (count > 0 || count_max == 0 || free.is_empty()));
                    for frame in first..first + count {
                        assert!(free.remove(&frame), "an allocated frame was not free");
                        allocated.push((frame, 0));
                    }
                } else if below(5) < 3 {
                    let order = below(8);
                    let block = buddy.allocate(order).map(FrameNumber::index);
                    if block.is_none() {
                        assert_eq!(buddy.recent_len, 0);
                        assert!(blocks_of(&free).iter().all(|(_, its)| *its < order), "seed {seed} step {step}");
                    }
                    if let Some(frame) = block {
                        assert!(frame.is_multiple_of(1 << order), "a block is aligned");
                        for part in frame..frame + (1 << order) {
                            assert!(free.remove(&part), "an allocated frame was not free");
                        }
                        allocated.push((frame, order));
                    }
                } else if !allocated.is_empty() {
                    let index = below(u32::try_from(allocated.len()).unwrap()) as usize;
                    let (frame, order) = allocated.swap_remove(index);
                    if below(3) == 0 {
                        // Part by part, in any order.
                        for part in (frame..frame + (1 << order)).rev() {
                            buddy.free(FrameNumber::new(part), 0);
                        }
                    } else {
                        buddy.free(FrameNumber::new(frame), order);
                    }
                    free.extend(frame..frame + (1 << order));
                }
                assert_eq!(buddy.free_frames(), free.len() as u64);
                let in_blocks: u64 = (0..).zip(buddy.free_blocks()).map(|(order, count)| count << order).sum();
                assert_eq!(in_blocks, free.len() as u64);
                if step % 50 == 0 {
                    buddy.merge_recent();
                    assert_eq!(blocks_in(&buddy), blocks_of(&free), "seed {seed} step {step}");
                }
            }
        }
    }

    #[test]
    fn serves_every_last_frame() {
        let info = metadata();
        let mut buddy = Buddy::new(&info, FrameNumber::new(FIRST));
        buddy.add_range(FrameNumber::new(FIRST), FrameNumber::new(FIRST + FRAMES));
        let frames: BTreeSet<_> = std::iter::from_fn(|| buddy.allocate(0)).collect();
        assert_eq!(frames.len(), FRAMES as usize);
        assert_eq!(buddy.allocate(0), None);
        for frame in frames {
            buddy.free(frame, 0);
        }
        assert!(buddy.recent_len > 0);
        buddy.merge_recent();
        assert_eq!(blocks_in(&buddy), blocks_of(&(FIRST..FIRST + FRAMES).collect()));
        assert_eq!(buddy.allocate(ORDER_MAX + 1), None);
    }

    #[test]
    fn counts_references() {
        let info = FrameInfo::new();
        info.set_first_reference();
        info.acquire();
        assert_eq!(info.reference_count(), 2);
        assert!(!info.release());
        assert!(info.release());
        info.pin();
        info.acquire();
        assert!(!info.release());
        assert!(!info.release());
        assert!(info.reference_count() > 1);
    }
}
