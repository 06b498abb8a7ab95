//! Maps of pointers.
//!
//! The record has 15 pointers. Twelve name the first blocks of the file; the others name blocks of pointers to the following
//! ones, in one, two and three steps. A pointer that is 0 is a hole, however many blocks it stands for.
//!
//! A walk takes at most three steps, whatever is on the disk. A pointer to a block that does not exist is `EUCLEAN`.

use alloc::sync::Arc;

use abi::Errno;
use block::Buffer;

use crate::bytes::{get_u32, put_u32, split};
use crate::inode::Inode;
use crate::{Change, corrupt};

use super::{Map, Place, REMOVED_MAX, Run};

/// Pointers to data in the record.
const DIRECT: u64 = 12;
/// The most steps through blocks of pointers.
const STEPS_MAX: usize = 3;
/// Bytes of a pointer.
const POINTER_LEN: usize = 4;

/// Pointers in a block.
fn pointers(block_len: usize) -> u64 {
    (block_len / POINTER_LEN) as u64
}

/// How many blocks a file may have.
pub(crate) fn blocks_max(block_len: usize) -> u64 {
    let count = pointers(block_len);
    (DIRECT + count + count * count + count * count * count).min(u32::MAX.into())
}

/// The way to a pointer: which one in the record, then which one in each block.
struct Way {
    indexes: [usize; STEPS_MAX + 1],
    /// Blocks of pointers on the way.
    steps: usize,
}

impl Way {
    fn to(inode: &Inode, logical: u32) -> Result<Self, Errno> {
        let count = pointers(inode.block_len());
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let mut left = u64::from(logical);
        if left < DIRECT {
            return Ok(Self { indexes: [index(left), 0, 0, 0], steps: 0 });
        }
        left -= DIRECT;
        let mut size = count;
        for steps in 1..=STEPS_MAX {
            if left < size {
                let mut indexes = [0; STEPS_MAX + 1];
                indexes[0] = index(DIRECT) + steps - 1;
                let mut below = size;
                for slot in indexes.iter_mut().skip(1).take(steps) {
                    below /= count;
                    *slot = index(left / below);
                    left %= below;
                }
                return Ok(Self { indexes, steps });
            }
            left -= size;
            size = size.saturating_mul(count);
        }
        Err(Errno::EFBIG)
    }

    /// How many blocks of the file one pointer stands for, `step` steps down the way.
    fn span(&self, inode: &Inode, step: usize) -> u64 {
        (step..self.steps).fold(1, |span, _| span * pointers(inode.block_len()))
    }
}

fn check(inode: &Inode, block: u32) -> Result<u64, Errno> {
    let block = u64::from(block);
    if block != 0 && !inode.file_system().superblock().has_blocks(block, 1) {
        return Err(corrupt(format_args!("inode {} has a block {block} that does not exist", inode.number())));
    }
    Ok(block)
}

/// Where the pointers of one level are.
enum Table {
    Record,
    Block(Arc<Buffer>),
}

impl Table {
    fn read<R>(&self, map: &Map, look: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Record => look(&map.root),
            Self::Block(buffer) => buffer.read(look),
        }
    }

    fn get(&self, inode: &Inode, map: &Map, index: usize) -> Result<u64, Errno> {
        check(inode, self.read(map, |bytes| get_u32(bytes, index * POINTER_LEN)))
    }

    fn put(&self, change: &Change<'_>, map: &mut Map, index: usize, block: u64) -> Result<(), Errno> {
        let block = split(block).0;
        match self {
            Self::Record => put_u32(&mut map.root, index * POINTER_LEN, block),
            Self::Block(buffer) => change.write(buffer, |bytes| put_u32(bytes, index * POINTER_LEN, block))?,
        }
        Ok(())
    }
}

/// The run a block of the file is in, from that block on.
pub(crate) fn find(inode: &Inode, map: &Map, logical: u32) -> Result<Run, Errno> {
    if u64::from(logical) >= blocks_max(inode.block_len()) {
        return Ok(Run::hole(logical, 1 << 32));
    }
    let way = Way::to(inode, logical)?;
    let mut table = Table::Record;
    for step in 0..way.steps {
        let block = table.get(inode, map, way.indexes[step])?;
        if block == 0 {
            let span = way.span(inode, step);
            let skipped =
                (step + 1..=way.steps).fold(0, |sum, step| sum + way.indexes[step] as u64 * way.span(inode, step));
            return Ok(Run::hole(logical, u64::from(logical) + span - skipped));
        }
        table = Table::Block(inode.file_system().cache().get(block)?);
    }
    let index = way.indexes[way.steps];
    let end = if way.steps == 0 { DIRECT } else { pointers(inode.block_len()) };
    let (first, count) = table.read(map, |bytes| {
        let pointer = |index: usize| u64::from(get_u32(bytes, index * POINTER_LEN));
        let first = pointer(index);
        let left = usize::try_from(end).unwrap_or(0) - index;
        let follows = |number: &usize| pointer(index + number) == if first == 0 { 0 } else { first + *number as u64 };
        (first, (1..left).take_while(follows).count() + 1)
    });
    let count = u32::try_from(count).unwrap_or(1);
    if first == 0 {
        return Ok(Run { logical, count, place: Place::Hole });
    }
    if !inode.file_system().superblock().has_blocks(first, count.into()) {
        return Err(corrupt(format_args!("inode {} has a block {first} that does not exist", inode.number())));
    }
    Ok(Run { logical, count, place: Place::Data(first) })
}

/// Adds a run where there is a hole.
pub(crate) fn insert(inode: &Inode, change: &Change<'_>, map: &mut Map, run: Run) -> Result<(), Errno> {
    let (Place::Data(first) | Place::Unwritten(first)) = run.place else { return Ok(()) };
    for number in 0..run.count {
        let way = Way::to(inode, run.logical.checked_add(number).ok_or(Errno::EFBIG)?)?;
        let block = first + u64::from(number);
        let mut table = Table::Record;
        for step in 0..way.steps {
            let mut below = table.get(inode, map, way.indexes[step])?;
            if below == 0 {
                below = inode.allocate_for_map(change, map, block)?;
                change.create(below)?;
                table.put(change, map, way.indexes[step], below)?;
            }
            table = Table::Block(inode.file_system().cache().get(below)?);
        }
        if table.get(inode, map, way.indexes[way.steps])? != 0 {
            return Err(corrupt(format_args!("blocks of inode {} are mapped twice", inode.number())));
        }
        table.put(change, map, way.indexes[way.steps], block)?;
    }
    Ok(())
}

/// Takes blocks of `first..end` away and frees them, and blocks of pointers that are empty then. The first block for another
/// change; None when all is done.
pub(crate) fn remove(
    inode: &Inode,
    change: &Change<'_>,
    map: &mut Map,
    first: u32,
    end: u64,
) -> Result<Option<u32>, Errno> {
    let end = end.min(blocks_max(inode.block_len()));
    let mut at = u64::from(first);
    for _ in 0..REMOVED_MAX {
        let Some(logical) = u32::try_from(at).ok().filter(|_| at < end) else { return Ok(None) };
        let run = find(inode, map, logical)?;
        let run_end = run.end().min(end);
        if let Place::Data(block) = run.place {
            let count = u32::try_from(run_end - at).unwrap_or(0);
            clear(inode, change, map, logical, count)?;
            inode.free_of_map(change, map, (block, count), false)?;
        }
        at = run_end;
    }
    Ok(u32::try_from(at).ok().filter(|_| at < end))
}

/// Clears pointers that stand in one table, then those to tables that are empty.
fn clear(inode: &Inode, change: &Change<'_>, map: &mut Map, logical: u32, count: u32) -> Result<(), Errno> {
    let way = Way::to(inode, logical)?;
    let mut tables = [const { None }; STEPS_MAX + 1];
    tables[0] = Some(Table::Record);
    for step in 0..way.steps {
        let Some(table) = &tables[step] else { break };
        let block = table.get(inode, map, way.indexes[step])?;
        tables[step + 1] = Some(Table::Block(inode.file_system().cache().get(block)?));
    }
    let Some(table) = &tables[way.steps] else { return Err(Errno::EUCLEAN) };
    for number in 0..count as usize {
        table.put(change, map, way.indexes[way.steps] + number, 0)?;
    }
    for step in (0..way.steps).rev() {
        let (Some(above), Some(Table::Block(buffer))) = (&tables[step], &tables[step + 1]) else { break };
        if buffer.read(|bytes| bytes.iter().any(|byte| *byte != 0)) {
            break;
        }
        above.put(change, map, way.indexes[step], 0)?;
        inode.free_of_map(change, map, (buffer.number(), 1), true)?;
    }
    Ok(())
}
