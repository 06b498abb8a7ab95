//! What is known about every byte of the executable segments.

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic};

use super::object::{Object, Segment};

/// The byte belongs to a proven instruction.
const COVERED: u8 = 1;
/// A proven instruction begins here.
const START: u8 = 2;
/// The opcode and the size of a direct call.
const CALL: u8 = 0xe8;
const CALL_SIZE: usize = 5;
/// The prefix that programs jump over to leave it out.
pub(super) const LOCK_PREFIX: u8 = 0xf0;

/// Marks for all code of an object.
pub(super) struct CodeMap<'a> {
    segments: Vec<Marked<'a>>,
    /// The addresses of all proven instructions, in the order in which they were proven.
    proven: Vec<u64>,
}

struct Marked<'a> {
    segment: Segment<'a>,
    marks: Vec<u8>,
}

/// How an address relates to proven code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A proven instruction begins here.
    Start,
    /// It lies inside one.
    Inside,
    /// Nothing is known.
    Unknown,
    /// There is no code here.
    Outside,
}

impl<'a> CodeMap<'a> {
    pub(super) fn new(object: &Object<'a>) -> Self {
        let executable = object.segments().iter().filter(|segment| segment.is_executable);
        let segments = executable.map(|&segment| Marked { segment, marks: vec![0; segment.bytes.len()] }).collect();
        Self { segments, proven: Vec::new() }
    }

    pub(super) fn place(&self, address: u64) -> Place {
        match self.mark(address) {
            None => Place::Outside,
            Some(mark) if mark & START != 0 => Place::Start,
            Some(mark) if mark & COVERED != 0 => {
                // Behind a lock prefix begins the same instruction without it.
                let previous = address.wrapping_sub(1);
                let is_unlocked = self.mark(previous).is_some_and(|mark| mark & START != 0)
                    && self.byte(previous) == Some(LOCK_PREFIX);
                if is_unlocked { Place::Start } else { Place::Inside }
            }
            Some(_) => Place::Unknown,
        }
    }

    /// Decodes the instruction at an address, which may be invalid.
    pub(super) fn decode(&self, address: u64) -> Option<Instruction> {
        self.decoder(address).map(|mut decoder| decoder.decode())
    }

    /// A decoder from an address to the end of its segment.
    pub(super) fn decoder(&self, address: u64) -> Option<Decoder<'a>> {
        let marked = self.find(address)?;
        let bytes = marked.segment.bytes.get(marked.position(address)?..)?;
        Some(Decoder::with_ip(64, bytes, address, DecoderOptions::NONE))
    }

    pub(super) fn byte(&self, address: u64) -> Option<u8> {
        let marked = self.find(address)?;
        marked.segment.bytes.get(marked.position(address)?).copied()
    }

    /// Notes that there is an instruction.
    pub(super) fn prove(&mut self, instruction: &Instruction) {
        let address = instruction.ip();
        let Some(marked) = self.segments.iter_mut().find(|marked| marked.segment.file_range().contains(&address))
        else {
            return;
        };
        let Some(position) = marked.position(address) else { return };
        if let Some(marks) = marked.marks.get_mut(position..position + instruction.len()) {
            if marks[0] & START == 0 {
                self.proven.push(address);
            }
            marks.iter_mut().for_each(|mark| *mark |= COVERED);
            marks[0] |= START;
        }
    }

    /// Whether all of a range is proven.
    pub(super) fn is_covered(&self, range: &Range<u64>) -> bool {
        let marks = self.find(range.start).and_then(|marked| {
            let start = marked.position(range.start)?;
            marked.marks.get(start..start.checked_add(usize::try_from(range.end - range.start).ok()?)?)
        });
        marks.is_some_and(|marks| marks.iter().all(|mark| mark & COVERED != 0))
    }

    /// The parts of which nothing is known.
    pub(super) fn gaps(&self) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        for marked in &self.segments {
            let mut begin = None;
            for (address, mark) in (marked.segment.address..).zip(&marked.marks) {
                match (begin, mark & COVERED != 0) {
                    (None, false) => begin = Some(address),
                    (Some(start), true) => {
                        gaps.push(start..address);
                        begin = None;
                    }
                    _ => {}
                }
            }
            gaps.extend(begin.map(|start| start..marked.segment.file_range().end));
        }
        gaps
    }

    /// How many instructions are proven.
    pub(super) fn proven_count(&self) -> usize {
        self.proven.len()
    }

    /// The instructions that were proven after the first `count` ones.
    pub(super) fn proven_since(&self, count: usize) -> impl Iterator<Item = Instruction> {
        self.proven.get(count..).unwrap_or_default().iter().filter_map(|&address| self.decode(address))
    }

    /// The targets of all proven direct calls, in order.
    pub(super) fn call_targets(&self) -> Vec<u64> {
        let mut targets = Vec::new();
        for Marked { segment, marks } in &self.segments {
            for ((address, window), mark) in (segment.address..).zip(segment.bytes.windows(CALL_SIZE)).zip(marks) {
                let &[CALL, a, b, c, d] = window else { continue };
                if mark & START != 0 {
                    let distance = i64::from(i32::from_le_bytes([a, b, c, d]));
                    targets.push((address + 5).wrapping_add_signed(distance));
                }
            }
        }
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// The first address behind `start` of which nothing is known.
    pub(super) fn end_of_proven(&self, start: u64) -> u64 {
        (start..).find(|&address| self.mark(address).is_none_or(|mark| mark & COVERED == 0)).unwrap_or(start)
    }

    /// How many bytes are proven, and how many are neither that nor padding.
    pub(super) fn count(&self) -> (u64, u64) {
        let all = self.segments.iter().flat_map(|marked| &marked.marks);
        let proven = all.filter(|mark| **mark & COVERED != 0).count();
        let unproven = self.gaps().iter().map(|gap| gap.end - self.skip_padding(gap)).sum();
        (u64::try_from(proven).unwrap_or(u64::MAX), unproven)
    }

    /// The first address of a gap that is not padding, or its end.
    pub(super) fn skip_padding(&self, gap: &Range<u64>) -> u64 {
        let mut address = gap.start;
        while address < gap.end {
            if self.byte(address) == Some(0) {
                address += 1;
                continue;
            }
            match self.decode(address) {
                Some(instruction) if is_padding(&instruction) && instruction.next_ip() <= gap.end => {
                    address = instruction.next_ip();
                }
                _ => break,
            }
        }
        address
    }

    fn mark(&self, address: u64) -> Option<u8> {
        let marked = self.find(address)?;
        marked.marks.get(marked.position(address)?).copied()
    }

    fn find(&self, address: u64) -> Option<&Marked<'a>> {
        self.segments.iter().find(|marked| marked.segment.file_range().contains(&address))
    }
}

impl Marked<'_> {
    fn position(&self, address: u64) -> Option<usize> {
        usize::try_from(address.checked_sub(self.segment.address)?).ok()
    }
}

/// What compilers and linkers put between functions.
pub(super) fn is_padding(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3 | Mnemonic::Fnop)
        || (instruction.mnemonic() == Mnemonic::Xchg && instruction.op0_register() == instruction.op1_register())
        || (instruction.mnemonic() == Mnemonic::Lea
            && instruction.memory_base() == instruction.op0_register()
            && instruction.memory_displacement64() == 0)
}
