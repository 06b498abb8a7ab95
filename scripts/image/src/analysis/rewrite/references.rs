//! Everything in a file that could be the address of one of a few places.
//!
//! # 1. What counts as a reference
//!
//! Every byte offset of every segment is looked at, whether it is known to be code, data or neither:
//!
//! 1. Four or eight bytes that are the address: pointers, the addends of relocations, immediate operands. In a file whose address
//!    is not fixed, four bytes cannot be one, but they may be the distance from its start: there, only the first bytes of
//!    instructions count.
//! 2. In executable segments, four bytes behind an opcode of a branch or behind a ModRM byte that says "relative to the
//!    instruction pointer": the distance from their end, or from the end of an immediate operand behind them.
//! 3. Four bytes that are the distance from themselves: call frame information, tables of exceptions. Such distances lead to the
//!    first bytes of instructions. Proven code has none: an operand is the distance from the end of its instruction, which is rule 2,
//!    or from a label, and small constants would be taken for distances all the time.
//! 4. Four bytes that are the distance from a place up to [`TABLE_SIZE_MAX`] bytes before them, if that place has a reference by
//!    rules 1 to 3 and all entries from there on lead to code: jump tables of position independent code. Such tables lead to the first bytes of instructions.
//!
//! What is found by chance keeps a system call from being rewritten, nothing else. The rules know no alignment, no section and no
//! compiler, so they hold for assembly by hand as well.
//!
//! # 2. What does not count
//!
//! Addresses that are computed in another way: distances of one or two bytes, distances between two labels, multiples of an
//! instruction's size. The functions that do that name one of their own labels and branch to what is in a register;
//! [`super::functions`] looks for these. Branches with a distance of one byte are local and found there as well.

use std::collections::HashSet;
use std::ops::Range;

use super::super::code_map::{CodeMap, Place};
use super::super::object::{Object, Segment};

/// The largest jump table.
const TABLE_SIZE_MAX: u64 = 0x4000;
/// The size of an entry of a jump table.
const ENTRY_SIZE: u64 = 4;
/// The largest instruction.
const INSTRUCTION_SIZE_MAX: u64 = 15;
/// The sizes of what may follow the distance in an instruction.
const TRAILING_SIZES: [u64; 4] = [0, 1, 2, 4];

/// A set of addresses, made for many questions that are answered with no.
#[derive(Clone, Default)]
pub(super) struct AddressSet {
    low: u64,
    span: u64,
    /// One bit for each address.
    bits: Vec<u64>,
    /// One bit for each block of [`TABLE_SIZE_MAX`] addresses.
    blocks: Vec<u64>,
    sorted: Vec<u64>,
}

impl AddressSet {
    pub(super) fn new(mut addresses: Vec<u64>) -> Self {
        addresses.sort_unstable();
        addresses.dedup();
        let low = addresses.first().copied().unwrap_or(0) & !(TABLE_SIZE_MAX - 1);
        let span = addresses.last().map_or(0, |last| last + 1 - low);
        let words = |count: u64| vec![0_u64; usize::try_from(count.div_ceil(64)).unwrap_or(0)];
        let mut set =
            Self { low, span, bits: words(span), blocks: words(span.div_ceil(TABLE_SIZE_MAX)), sorted: addresses };
        for &address in &set.sorted {
            set_bit(&mut set.bits, address - low);
            set_bit(&mut set.blocks, (address - low) / TABLE_SIZE_MAX);
        }
        set
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        let distance = address.wrapping_sub(self.low);
        distance < self.span && get_bit(&self.bits, distance)
    }

    /// Whether one of the addresses lies in a range.
    pub(super) fn touches(&self, range: &Range<u64>) -> bool {
        let next = self.sorted.partition_point(|&address| address < range.start);
        self.sorted.get(next).is_some_and(|&address| address < range.end)
    }

    /// Whether one of the addresses may lie in the `TABLE_SIZE_MAX` bytes before `end`, or be `end`.
    fn may_touch(&self, end: u64) -> bool {
        let block = |address: u64| {
            let distance = address.wrapping_sub(self.low);
            distance < self.span && get_bit(&self.blocks, distance / TABLE_SIZE_MAX)
        };
        block(end) || block(end.wrapping_sub(TABLE_SIZE_MAX))
    }

    fn in_table_before(&self, end: u64) -> impl Iterator<Item = u64> {
        let start = end.saturating_sub(TABLE_SIZE_MAX);
        let first = self.sorted.partition_point(|&address| address < start);
        self.sorted.get(first..).unwrap_or_default().iter().copied().take_while(move |&address| address <= end)
    }
}

fn set_bit(bits: &mut [u64], index: u64) {
    if let Some(word) = usize::try_from(index / 64).ok().and_then(|word| bits.get_mut(word)) {
        *word |= 1 << (index % 64);
    }
}

fn get_bit(bits: &[u64], index: u64) -> bool {
    usize::try_from(index / 64).ok().and_then(|word| bits.get(word)).is_some_and(|word| word >> (index % 64) & 1 != 0)
}

/// The places that references are searched for.
pub(super) struct Wanted {
    /// Those that a branch may lead to.
    pub(super) targets: AddressSet,
    /// Those that may be named.
    pub(super) names: AddressSet,
    /// The first bytes of instructions among them.
    pub(super) starts: AddressSet,
    /// Whether addresses are fixed, so that four bytes can be one.
    pub(super) is_fixed: bool,
}

/// A wanted address that something refers to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Found {
    /// A branch or a jump table may lead there.
    Branch(u64),
    /// It may be named.
    Name(u64),
}

/// The wanted addresses that something in the file refers to. Those inside instructions count only if a branch leads there
/// that is code, or may be.
pub(super) fn find(object: &Object<'_>, map: &CodeMap<'_>, wanted: &Wanted) -> HashSet<Found> {
    let mut found = HashSet::new();
    if wanted.targets.is_empty() {
        return found;
    }
    let mut tables = Vec::new();
    for segment in object.segments() {
        scan::<true>(segment, wanted, &mut |reference| match reference {
            Reference::To(address) => {
                found.insert(Found::Name(address));
            }
            Reference::Distance { from, to } => {
                if !is_proven(map, from) {
                    found.insert(Found::Name(to));
                }
            }
            Reference::Branch { from, to } => {
                if map.place(to) != Place::Inside || map.place(from) != Place::Inside {
                    found.insert(Found::Branch(to));
                }
            }
            Reference::Operand { from, to } => {
                if map.place(to) != Place::Inside || may_be_operand(map, from, to) {
                    found.insert(Found::Name(to));
                }
            }
            Reference::Entry { table, entry, target } => {
                if is_table(object, table, entry) {
                    tables.push((table, target));
                }
            }
        });
    }
    found.extend(table_targets(object, map, &tables).into_iter().map(Found::Branch));
    found
}

/// Something that may refer to a wanted address.
enum Reference {
    To(u64),
    /// The four bytes at `from` are the distance from there.
    Distance {
        from: u64,
        to: u64,
    },
    /// The opcode of a branch is at `from`.
    Branch {
        from: u64,
        to: u64,
    },
    /// The distance at `from` is relative to the instruction pointer, if it is an operand.
    Operand {
        from: u64,
        to: u64,
    },
    /// If a table begins at `table`, the entry at `entry` leads to `target`.
    Entry {
        table: u64,
        entry: u64,
        target: u64,
    },
}

/// Applies all rules to a segment; of rule 4, if at all, only that an entry of a table may be there.
fn scan<const WITH_TABLES: bool>(segment: &Segment<'_>, wanted: &Wanted, found: &mut impl FnMut(Reference)) {
    let short_names = if wanted.is_fixed { &wanted.names } else { &wanted.starts };
    // The last eight bytes, the newest one highest.
    let mut window = 0_u64;
    for (count, &byte) in (1_u64..).zip(segment.bytes) {
        window = window >> 8 | u64::from(byte) << 56;
        if count < 4 {
            continue;
        }
        let start = segment.address + count - 4;
        let [.., escape, opcode, a, b, c, d] = window.to_le_bytes();
        let value = u32::from_le_bytes([a, b, c, d]);
        if short_names.contains(u64::from(value)) {
            found(Reference::To(u64::from(value)));
        }
        if count >= 8 && wanted.names.contains(window) {
            found(Reference::To(window));
        }
        let distance = i64::from(value.cast_signed());
        let target = start.wrapping_add_signed(distance);
        if wanted.starts.contains(target) {
            found(Reference::Distance { from: start, to: target });
        }
        if WITH_TABLES && wanted.starts.may_touch(target) {
            for target in wanted.starts.in_table_before(target) {
                let table = target.wrapping_add_signed(-distance);
                if start.wrapping_sub(table).is_multiple_of(ENTRY_SIZE) {
                    found(Reference::Entry { table, entry: start, target });
                }
            }
        }
        if segment.is_executable {
            scan_code(start, target.wrapping_add(4), [escape, opcode], wanted, found);
        }
    }
}

/// Rule 2 for the four bytes at `start`, which follow the bytes `escape` and `opcode`.
fn scan_code(start: u64, target: u64, [escape, opcode]: [u8; 2], wanted: &Wanted, found: &mut impl FnMut(Reference)) {
    let is_conditional = (escape == 0x0f && opcode & 0xf0 == 0x80) || (escape == 0xc7 && opcode == 0xf8);
    let is_branch = matches!(opcode, 0xe8 | 0xe9) || is_conditional;
    if is_branch && wanted.targets.contains(target) {
        found(Reference::Branch { from: start - if is_conditional { 2 } else { 1 }, to: target });
    }
    if opcode & 0xc7 == 0x05 {
        for size in TRAILING_SIZES {
            if wanted.names.contains(target.wrapping_add(size)) {
                found(Reference::Operand { from: start, to: target.wrapping_add(size) });
            }
        }
    }
}

/// Whether the four bytes at an address all belong to proven instructions.
fn is_proven(map: &CodeMap<'_>, address: u64) -> bool {
    (address..address + 4).all(|byte| matches!(map.place(byte), Place::Start | Place::Inside))
}

/// Whether a proven instruction has this operand, or may have it if it were known.
fn may_be_operand(map: &CodeMap<'_>, from: u64, to: u64) -> bool {
    if map.place(from) == Place::Unknown {
        return true;
    }
    let instruction = (1..INSTRUCTION_SIZE_MAX).find_map(|distance| {
        let start = from.checked_sub(distance).filter(|&start| map.place(start) == Place::Start)?;
        map.decode(start)
    });
    instruction.is_some_and(|instruction| instruction.ip_rel_memory_address() == to)
}

/// Whether everything from the start of a table to one of its entries leads to code. Zero stands for no entry.
fn is_table(object: &Object<'_>, table: u64, last: u64) -> bool {
    (table..=last).step_by(4).all(|entry| {
        let distance = object.read(entry, ENTRY_SIZE).and_then(|bytes| bytes.first_chunk());
        distance.is_some_and(|&bytes| {
            let distance = i32::from_le_bytes(bytes);
            distance == 0 || object.is_executable(table.wrapping_add_signed(i64::from(distance)))
        })
    })
}

/// Rule 4: the targets of those entries whose table something refers to.
fn table_targets(object: &Object<'_>, map: &CodeMap<'_>, entries: &[(u64, u64)]) -> Vec<u64> {
    let tables = entries.iter().map(|&(table, _)| table).filter(|&table| object.is_mapped(table)).collect();
    let names = AddressSet::new(tables);
    let wanted = Wanted { targets: AddressSet::default(), starts: names.clone(), names, is_fixed: true };
    let mut referred = HashSet::new();
    for segment in object.segments() {
        scan::<false>(segment, &wanted, &mut |reference| match reference {
            Reference::To(table) | Reference::Operand { to: table, .. } => {
                referred.insert(table);
            }
            Reference::Distance { from, to: table } => {
                if !is_proven(map, from) {
                    referred.insert(table);
                }
            }
            Reference::Branch { .. } | Reference::Entry { .. } => {}
        });
    }
    entries.iter().filter(|(table, _)| referred.contains(table)).map(|&(_, target)| target).collect()
}
