//! Trees of extents.
//!
//! # 1. The format
//!
//! A node has a header (magic number, entries, room for entries, depth, generation) and entries of 12 bytes in the order of their
//! first block in the file. In a leaf, of depth 0, an entry is a run of blocks; a length above 32,768 says that its blocks are only
//! room ("unwritten"), and counts from there. In other nodes an entry names a node of the next lower depth, whose first entry begins
//! where it says. The root is in the inode's record and has room for four; other nodes are blocks, with a checksum behind the room
//! for entries if the file system has them.
//!
//! # 2. What is checked
//!
//! Every node that is looked at: its depth is one less than that of the node above, so a walk ends; its entries are in order, do not
//! overlap, and lie in the range that the node above gives it; its blocks exist. The checksum is checked once for each reading
//! from the disk.
//!
//! # 3. Changes
//!
//! All changes go one way: the path to a leaf is read into memory, the leaf's entries are edited there, and [`put_back`] stores the
//! path from the leaf upwards. A node that became empty is freed and its entry above goes; one that has too many entries gives
//! the upper part to a new node, and the entry for that is added above; an entry above follows the first block below it. When the
//! root has too many, its entries move to a new node, and the tree is one level deeper. The blocks for new nodes are allocated
//! before anything is changed, so a full disk leaves the tree as it was.

use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::Errno;
use block::Buffer;

use crate::bytes::{get_u16, get_u32, join, put_u16, put_u32, split, split_u32};
use crate::checksum::crc32c;
use crate::inode::Inode;
use crate::{Change, corrupt};

use super::{Map, Place, REMOVED_MAX, Run};

const MAGIC: u16 = 0xf30a;
/// The deepest tree: enough for all the blocks a file can have.
pub(super) const DEPTH_MAX: u16 = 5;
/// Bytes of a header, and of an entry.
const ENTRY_LEN: usize = 12;
/// The longest extent with data.
const COUNT_MAX: u32 = 32_768;
/// The longest one without.
const UNWRITTEN_COUNT_MAX: u32 = COUNT_MAX - 1;

/// An entry of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) logical: u32,
    /// Blocks; 0 for the entry of a node below.
    count: u32,
    pub(super) block: u64,
    is_unwritten: bool,
}

impl Entry {
    pub(super) fn end(&self) -> u64 {
        u64::from(self.logical) + u64::from(self.count)
    }

    /// The part of it in `first..end`.
    fn part(&self, first: u64, end: u64) -> Option<Self> {
        let first = first.max(self.logical.into());
        let end = end.min(self.end());
        let count = u32::try_from(end.checked_sub(first)?).ok().filter(|count| *count > 0)?;
        let logical = u32::try_from(first).ok()?;
        Some(Self { logical, count, block: self.block + u64::from(logical - self.logical), ..*self })
    }

    fn is_followed_by(&self, next: &Self) -> bool {
        let most = if self.is_unwritten { UNWRITTEN_COUNT_MAX } else { COUNT_MAX };
        self.is_unwritten == next.is_unwritten
            && self.end() == u64::from(next.logical)
            && self.block + u64::from(self.count) == next.block
            && self.count + next.count <= most
    }

    fn run(&self) -> Run {
        let place = if self.is_unwritten { Place::Unwritten(self.block) } else { Place::Data(self.block) };
        Run { logical: self.logical, count: self.count, place }
    }
}

pub(super) struct Node {
    pub(super) depth: u16,
    max: usize,
    pub(super) entries: Vec<Entry>,
}

/// One node of a path.
struct Step {
    /// None for the root.
    buffer: Option<Arc<Buffer>>,
    node: Node,
    /// Which entry the path goes on at.
    position: usize,
    /// What is in the node lies before this.
    end: u64,
    is_changed: bool,
}

/// The root of an empty tree.
pub(crate) fn empty_root() -> [u8; crate::record::MAP_LEN] {
    let mut root = [0; crate::record::MAP_LEN];
    let max = root.len() / ENTRY_LEN - 1;
    store_node(&Node { depth: 0, max, entries: Vec::new() }, &mut root);
    root
}

fn wrong(inode: &Inode) -> Errno {
    corrupt(format_args!("the extents of inode {} are wrong", inode.number()))
}

/// Reads a node whose entries lie in `first..end`.
pub(super) fn parse(inode: &Inode, bytes: &[u8], depth: Option<u16>, (first, end): (u64, u64)) -> Result<Node, Errno> {
    let (count, max, found_depth) = (get_u16(bytes, 2), get_u16(bytes, 4), get_u16(bytes, 6));
    let room = bytes.len() / ENTRY_LEN - 1;
    let is_sane = get_u16(bytes, 0) == MAGIC
        && count <= max
        && (1..=room).contains(&usize::from(max))
        && found_depth <= DEPTH_MAX
        && depth.is_none_or(|depth| depth == found_depth && count > 0);
    if !is_sane || (found_depth > 0 && count == 0) {
        return Err(wrong(inode));
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(count.into());
    let mut at = first;
    for bytes in bytes.chunks_exact(ENTRY_LEN).skip(1).take(count.into()) {
        let entry = parse_entry(bytes, found_depth);
        let is_leaf = found_depth == 0;
        let entry_end = if is_leaf { entry.end() } else { u64::from(entry.logical) + 1 };
        let superblock = inode.file_system().superblock();
        let exists = superblock.has_blocks(entry.block, entry.count.max(1).into());
        if (is_leaf && entry.count == 0) || u64::from(entry.logical) < at || entry_end > end || !exists {
            return Err(wrong(inode));
        }
        at = entry_end;
        entries.push(entry);
    }
    // The entry above says where the first entry of a node begins.
    if depth.is_some() && entries.first().is_some_and(|entry| u64::from(entry.logical) != first) {
        return Err(wrong(inode));
    }
    Ok(Node { depth: found_depth, max: max.into(), entries })
}

fn parse_entry(bytes: &[u8], depth: u16) -> Entry {
    let logical = get_u32(bytes, 0);
    if depth > 0 {
        let block = join(get_u32(bytes, 4), get_u16(bytes, 8).into());
        return Entry { logical, count: 0, block, is_unwritten: false };
    }
    let len = u32::from(get_u16(bytes, 4));
    let is_unwritten = len > COUNT_MAX;
    let count = if is_unwritten { len - COUNT_MAX } else { len };
    Entry { logical, count, block: join(get_u32(bytes, 8), get_u16(bytes, 6).into()), is_unwritten }
}

pub(super) fn store_node(node: &Node, bytes: &mut [u8]) {
    let short = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    put_u16(bytes, 0, MAGIC);
    put_u16(bytes, 2, short(node.entries.len()));
    put_u16(bytes, 4, short(node.max));
    put_u16(bytes, 6, node.depth);
    for (entry, bytes) in node.entries.iter().zip(bytes.chunks_exact_mut(ENTRY_LEN).skip(1)) {
        let (low, high) = split(entry.block);
        let high = split_u32(high).0;
        put_u32(bytes, 0, entry.logical);
        if node.depth > 0 {
            put_u32(bytes, 4, low);
            put_u16(bytes, 8, high);
            put_u16(bytes, 10, 0);
        } else {
            let len = if entry.is_unwritten { entry.count + COUNT_MAX } else { entry.count };
            put_u16(bytes, 4, split_u32(len).0);
            put_u16(bytes, 6, high);
            put_u32(bytes, 8, low);
        }
    }
}

/// Where the checksum of a node in a block is.
fn checksum_offset(max: usize) -> usize {
    ENTRY_LEN * (max + 1)
}

pub(super) fn read_node(
    inode: &Inode,
    block: u64,
    depth: u16,
    range: (u64, u64),
) -> Result<(Arc<Buffer>, Node), Errno> {
    let buffer = inode.file_system().cache().get(block)?;
    let node = buffer.read(|bytes| {
        if !buffer.is_checked()
            && let Some(seed) = inode.checksum_seed()
        {
            let offset = checksum_offset(get_u16(bytes, 4).into());
            let summed = bytes.get(..offset).ok_or_else(|| wrong(inode))?;
            if crc32c(seed, summed) != get_u32(bytes, offset) {
                return Err(corrupt(format_args!("an extent block of inode {} has a wrong checksum", inode.number())));
            }
        }
        parse(inode, bytes, Some(depth), range)
    })?;
    buffer.mark_checked();
    Ok((buffer, node))
}

/// The root.
pub(super) fn root_node(inode: &Inode, map: &Map) -> Result<Node, Errno> {
    parse(inode, &map.root, None, (0, 1 << 32))
}

/// The path to the leaf where a block of the file is, or would be; the root first.
fn descend(inode: &Inode, map: &Map, logical: u32) -> Result<Vec<Step>, Errno> {
    let mut end = 1 << 32;
    let node = root_node(inode, map)?;
    let mut path = Vec::with_capacity(usize::from(node.depth) + 1);
    let mut step = Step { buffer: None, node, position: 0, end, is_changed: false };
    loop {
        let depth = step.node.depth;
        step.position = step.node.entries.partition_point(|entry| entry.logical <= logical).saturating_sub(1);
        if depth == 0 {
            path.push(step);
            return Ok(path);
        }
        let below = *step.node.entries.get(step.position).ok_or_else(|| wrong(inode))?;
        if let Some(next) = step.node.entries.get(step.position + 1) {
            end = next.logical.into();
        }
        path.push(step);
        let (buffer, node) = read_node(inode, below.block, depth - 1, (below.logical.into(), end))?;
        step = Step { buffer: Some(buffer), node, position: 0, end, is_changed: false };
    }
}

/// The run a block of the file is in.
pub(crate) fn find(inode: &Inode, map: &Map, logical: u32) -> Result<Run, Errno> {
    let path = descend(inode, map, logical)?;
    let leaf = path.last().ok_or(Errno::EUCLEAN)?;
    let next = leaf.node.entries.partition_point(|entry| entry.logical <= logical);
    if let Some(entry) = next.checked_sub(1).and_then(|position| leaf.node.entries.get(position))
        && u64::from(logical) < entry.end()
    {
        return Ok(entry.run());
    }
    let end = leaf.node.entries.get(next).map_or(leaf.end, |entry| entry.logical.into());
    Ok(Run::hole(logical, end))
}

/// Adds a run where there is a hole.
pub(crate) fn insert(inode: &Inode, change: &Change<'_>, map: &mut Map, run: Run) -> Result<(), Errno> {
    let (block, is_unwritten) = match run.place {
        Place::Data(block) => (block, false),
        Place::Unwritten(block) => (block, true),
        Place::Hole => return Ok(()),
    };
    let whole = Entry { logical: run.logical, count: run.count, block, is_unwritten };
    let most = if is_unwritten { UNWRITTEN_COUNT_MAX } else { COUNT_MAX };
    let mut at = u64::from(run.logical);
    while let Some(entry) = whole.part(at, at + u64::from(most)) {
        at = entry.end();
        let mut path = descend(inode, map, entry.logical)?;
        let leaf = path.last_mut().ok_or(Errno::EUCLEAN)?;
        let entries = &mut leaf.node.entries;
        let position = entries.partition_point(|other| other.logical < entry.logical);
        let is_free = entries.get(position).is_none_or(|next| entry.end() <= next.logical.into())
            && position
                .checked_sub(1)
                .and_then(|before| entries.get(before))
                .is_none_or(|before| before.end() <= entry.logical.into());
        if !is_free {
            return Err(corrupt(format_args!("blocks of inode {} are mapped twice", inode.number())));
        }
        entries.insert(position, entry);
        merge(entries);
        leaf.is_changed = true;
        put_back(inode, change, map, path)?;
    }
    Ok(())
}

/// Joins entries that continue each other.
fn merge(entries: &mut Vec<Entry>) {
    entries.dedup_by(|next, entry| {
        let is_joined = entry.is_followed_by(next);
        if is_joined {
            entry.count += next.count;
        }
        is_joined
    });
}

/// Cuts the extent in two that reaches over the beginning of a block.
pub(super) fn cut(inode: &Inode, change: &Change<'_>, map: &mut Map, at: u32) -> Result<(), Errno> {
    let mut path = descend(inode, map, at)?;
    let leaf = path.last_mut().ok_or(Errno::EUCLEAN)?;
    let entries = &mut leaf.node.entries;
    let position = entries.partition_point(|entry| entry.logical < at);
    let Some(entry) = position.checked_sub(1).and_then(|before| entries.get_mut(before)) else { return Ok(()) };
    let Some(upper) = entry.part(at.into(), u64::MAX) else { return Ok(()) };
    entry.count -= upper.count;
    entries.insert(position, upper);
    leaf.is_changed = true;
    put_back(inode, change, map, path)
}

/// Gives data to what was only room in `first..end`. The first block for another change; None when all is done.
pub(crate) fn set_written(
    inode: &Inode,
    change: &Change<'_>,
    map: &mut Map,
    first: u32,
    end: u64,
) -> Result<Option<u32>, Errno> {
    edit(inode, change, map, first, end, |entry, first, end, edited| {
        if !entry.is_unwritten {
            edited.push(entry);
            return None;
        }
        edited.extend(entry.part(0, first));
        edited.extend(entry.part(first, end).map(|part| Entry { is_unwritten: false, ..part }));
        edited.extend(entry.part(end, u64::MAX));
        None
    })
}

/// Takes blocks of `first..end` away and frees them. The first block for another change; None when all is done.
pub(crate) fn remove(
    inode: &Inode,
    change: &Change<'_>,
    map: &mut Map,
    first: u32,
    end: u64,
) -> Result<Option<u32>, Errno> {
    edit(inode, change, map, first, end, |entry, first, end, edited| {
        edited.extend(entry.part(0, first));
        edited.extend(entry.part(end, u64::MAX));
        entry.part(first, end).map(|part| (part.block, part.count))
    })
}

/// Lets `edit_one` replace the entries of one leaf that lie in `first..end`, as many as fit a change, and frees the blocks it names.
fn edit(
    inode: &Inode,
    change: &Change<'_>,
    map: &mut Map,
    first: u32,
    end: u64,
    edit_one: impl Fn(Entry, u64, u64, &mut Vec<Entry>) -> Option<(u64, u32)>,
) -> Result<Option<u32>, Errno> {
    let mut path = descend(inode, map, first)?;
    let leaf = path.last_mut().ok_or(Errno::EUCLEAN)?;
    let start = u64::from(first);
    let mut freed = Vec::new();
    let mut edited = Vec::with_capacity(leaf.node.entries.len() + 2);
    let mut next = leaf.end.min(end);
    let mut touched = 0;
    for entry in &leaf.node.entries {
        let is_inside = entry.end() > start && u64::from(entry.logical) < end && u64::from(entry.logical) < next;
        if !is_inside {
            edited.push(*entry);
        } else if touched == REMOVED_MAX {
            next = entry.logical.into();
            edited.push(*entry);
        } else {
            touched += 1;
            freed.extend(edit_one(*entry, start, end, &mut edited));
        }
    }
    merge(&mut edited);
    if touched > 0 {
        leaf.node.entries = edited;
        leaf.is_changed = true;
        put_back(inode, change, map, path)?;
    }
    for run in freed {
        inode.free_of_map(change, map, run, false)?;
    }
    Ok(u32::try_from(next).ok().filter(|_| next < end))
}

/// Stores a path whose leaf was changed; section 3.
fn put_back(inode: &Inode, change: &Change<'_>, map: &mut Map, mut path: Vec<Step>) -> Result<(), Errno> {
    let mut new_blocks = allocate_nodes(inode, change, map, &path)?;
    let mut freed = Vec::new();
    while let Some(mut step) = path.pop() {
        if !step.is_changed {
            break;
        }
        let Some(above) = path.last_mut() else {
            put_root_back(inode, change, map, step.node, &mut new_blocks)?;
            break;
        };
        let Some(first) = step.node.entries.first().copied() else {
            above.node.entries.remove(above.position);
            above.is_changed = true;
            freed.extend(step.buffer.map(|buffer| buffer.number()));
            continue;
        };
        if step.node.entries.len() > step.node.max {
            let upper = Node { entries: step.node.entries.split_off(split_at(&step.node)), ..step.node };
            let block = new_blocks.pop().ok_or(Errno::EUCLEAN)?;
            let logical = upper.entries.first().map_or(0, |entry| entry.logical);
            store_block(inode, change, &change.create(block)?, &upper)?;
            let entry = Entry { logical, count: 0, block, is_unwritten: false };
            above.node.entries.insert(above.position + 1, entry);
            above.is_changed = true;
        }
        if let Some(buffer) = &step.buffer {
            store_block(inode, change, buffer, &step.node)?;
        }
        if let Some(entry) = above.node.entries.get_mut(above.position)
            && entry.logical != first.logical
        {
            entry.logical = first.logical;
            above.is_changed = true;
        }
    }
    debug_assert!(new_blocks.is_empty(), "as many nodes are used as were foreseen");
    freed.into_iter().try_for_each(|block| inode.free_of_map(change, map, (block, 1), true))
}

/// Where a node with too many entries is split. Files mostly grow at their end: the lower node stays full then.
fn split_at(node: &Node) -> usize {
    let is_at_end = node.entries.len() == node.max + 1;
    if is_at_end && node.max > 8 { node.max.min(node.entries.len() - 1) } else { node.entries.len() / 2 }
}

/// Blocks for the nodes that storing a path will need.
fn allocate_nodes(inode: &Inode, change: &Change<'_>, map: &mut Map, path: &[Step]) -> Result<Vec<u64>, Errno> {
    let mut count = 0;
    let mut more = 0;
    for (number, step) in path.iter().enumerate().rev() {
        if step.node.entries.len() + more <= step.node.max {
            break;
        }
        if number == 0 && step.node.depth >= DEPTH_MAX {
            return Err(Errno::EFBIG);
        }
        count += 1;
        more = 1;
    }
    let goal = path.last().and_then(|leaf| leaf.node.entries.first()).map_or(0, |entry| entry.block);
    let mut blocks = Vec::new();
    for _ in 0..count {
        match inode.allocate_for_map(change, map, goal) {
            Ok(block) => blocks.push(block),
            Err(errno) => {
                blocks.into_iter().try_for_each(|block| inode.free_of_map(change, map, (block, 1), true))?;
                return Err(errno);
            }
        }
    }
    Ok(blocks)
}

/// Stores the root; one that has too many entries gets a level below it.
fn put_root_back(
    inode: &Inode,
    change: &Change<'_>,
    map: &mut Map,
    mut node: Node,
    new_blocks: &mut Vec<u64>,
) -> Result<(), Errno> {
    if node.entries.is_empty() {
        node.depth = 0;
    }
    if node.entries.len() > node.max {
        let block = new_blocks.pop().ok_or(Errno::EUCLEAN)?;
        let logical = node.entries.first().map_or(0, |entry| entry.logical);
        let max = inode.block_len() / ENTRY_LEN - 1;
        let below = Node { max, entries: core::mem::take(&mut node.entries), ..node };
        store_block(inode, change, &change.create(block)?, &below)?;
        node.depth += 1;
        node.entries.push(Entry { logical, count: 0, block, is_unwritten: false });
    }
    store_node(&node, &mut map.root);
    Ok(())
}

pub(super) fn store_block(inode: &Inode, change: &Change<'_>, buffer: &Arc<Buffer>, node: &Node) -> Result<(), Errno> {
    change.write(buffer, |bytes| {
        store_node(node, bytes);
        if let Some(seed) = inode.checksum_seed() {
            let offset = checksum_offset(node.max);
            let sum = crc32c(seed, bytes.get(..offset).unwrap_or_default());
            put_u32(bytes, offset, sum);
        }
    })?;
    buffer.mark_checked();
    Ok(())
}
