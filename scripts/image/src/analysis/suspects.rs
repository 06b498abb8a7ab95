//! Places that may be code: mentioned somewhere, or lying between proven parts.
//!
//! # 1. Trial
//!
//! From a suspect all control flow is followed without proving anything. It is refuted by an invalid instruction, an
//! overlap with proven instructions or with itself, a branch or a reference to nowhere, and by instructions that programs
//! hardly ever contain.
//!
//! # 2. Evidence
//!
//! Bytes that are not code pass a trial too often when the flow is short. So something in it must be unlikely by chance:
//! a branch with four bytes of displacement that hits a proven instruction, or a reference relative to the instruction
//! pointer that hits a segment. Each does so by chance about once in 2^32 / (size of the file) times. The usual first
//! instructions of a function count as well, and so does a whole table of addresses.

use std::collections::{BTreeMap, HashSet};

use iced_x86::{Code, Instruction, Mnemonic, OpKind};

use super::code_map::{CodeMap, Place};
use super::descent::{self, fits, is_zeros};
use super::forbidden::{DisplacementSize, direct_target, ends_flow, is_implausible};
use super::object::Object;

/// A trial that has followed so many instructions without being refuted has passed.
const TRIAL_MAX: usize = 2048;
/// A bound; programs take four to twelve rounds.
const ROUNDS_MAX: usize = 32;
/// A round that proves less than one in so many instructions was the last one.
const PROGRESS_MIN_DIVISOR: usize = 1000;
/// A table of fewer code addresses may be chance.
const TABLE_MIN: usize = 3;
const TABLE_MAX: usize = 4096;
/// What begins a function when it is compiled for control-flow protection, or with a frame pointer.
const PROLOGUES: [&[u8]; 2] = [&[0xf3, 0x0f, 0x1e, 0xfa], &[0x55, 0x48, 0x89, 0xe5]];

/// Tries suspects until hardly any of them turn out to be code.
pub(super) fn prove_suspects(map: &mut CodeMap<'_>, object: &Object<'_>) {
    let mut addresses = object.code_pointers();
    let mut refuted = HashSet::new();
    let mut seen = 0;
    for _ in 0..ROUNDS_MAX {
        let proven_before = map.proven_count();
        let mut tables = Vec::new();
        seen = follow_new(map, object, seen, &mut addresses, &mut tables);
        for (suspects, has_evidence) in [(&addresses, false), (&tables, true)] {
            for &suspect in suspects {
                try_suspect(map, object, suspect, has_evidence, &mut refuted);
            }
        }
        addresses.retain(|&address| map.place(address) == Place::Unknown && !refuted.contains(&address));
        for mut gap in map.gaps() {
            loop {
                gap.start = map.skip_padding(&gap);
                if gap.is_empty() || !try_suspect(map, object, gap.start, false, &mut refuted) {
                    break;
                }
                gap.start = map.end_of_proven(gap.start);
            }
        }
        let proven_now = map.proven_count();
        if proven_now - proven_before <= proven_now / PROGRESS_MIN_DIVISOR {
            return;
        }
    }
}

/// Follows the branches of instructions proven since `seen`, collects what these mention, and returns how many have been
/// seen now.
fn follow_new(
    map: &mut CodeMap<'_>,
    object: &Object<'_>,
    mut seen: usize,
    addresses: &mut Vec<u64>,
    tables: &mut Vec<u64>,
) -> usize {
    let mut bases = Vec::new();
    while seen < map.proven_count() {
        let new: Vec<Instruction> = map.proven_since(seen).collect();
        seen = map.proven_count();
        let targets = new.iter().filter_map(direct_target).map(|(target, _)| target).collect();
        descent::follow(map, targets);
        for instruction in &new {
            for address in mentioned(instruction) {
                if object.is_executable(address) {
                    addresses.push(address);
                } else if instruction.mnemonic() == Mnemonic::Lea {
                    bases.push(address);
                }
            }
        }
    }
    tables.extend(bases.into_iter().flat_map(|table| table_targets(map, object, table)));
    for list in [addresses, tables] {
        list.retain(|&address| map.place(address) == Place::Unknown);
        list.sort_unstable();
        list.dedup();
    }
    seen
}

/// The addresses that an instruction computes or holds.
fn mentioned(instruction: &Instruction) -> impl Iterator<Item = u64> {
    let relative = (instruction.mnemonic() == Mnemonic::Lea && instruction.is_ip_rel_memory_operand())
        .then(|| instruction.ip_rel_memory_address());
    let immediate = match instruction.code() {
        Code::Mov_r32_imm32 | Code::Mov_rm64_imm32 | Code::Mov_r64_imm64 | Code::Mov_rm32_imm32 | Code::Pushq_imm32 => {
            let operand = instruction.op_count() - 1;
            Some(instruction.immediate(operand))
        }
        _ => None,
    };
    relative.into_iter().chain(immediate)
}

/// The targets of a table of four-byte distances from its own start to code.
fn table_targets(map: &CodeMap<'_>, object: &Object<'_>, table: u64) -> Vec<u64> {
    let mut targets = Vec::new();
    for index in 0..TABLE_MAX {
        let at = u64::try_from(index * 4).ok().and_then(|offset| table.checked_add(offset));
        let entry = at.and_then(|address| object.read(address, 4)).and_then(|bytes| bytes.first_chunk());
        let Some(entry) = entry else { break };
        let target = table.wrapping_add_signed(i64::from(i32::from_le_bytes(*entry)));
        if matches!(map.place(target), Place::Inside | Place::Outside) {
            break;
        }
        targets.push(target);
    }
    if targets.len() < TABLE_MIN {
        targets.clear();
    }
    targets
}

/// Tries one suspect and proves it if it passes. Says whether something new is proven.
fn try_suspect(
    map: &mut CodeMap<'_>,
    object: &Object<'_>,
    suspect: u64,
    has_evidence: bool,
    refuted: &mut HashSet<u64>,
) -> bool {
    if map.place(suspect) != Place::Unknown || refuted.contains(&suspect) {
        return false;
    }
    match Trial::run(map, object, suspect) {
        Verdict::Refuted => {
            refuted.insert(suspect);
            false
        }
        Verdict::Consistent { instructions, evidence } => {
            let is_proven = has_evidence || evidence || has_prologue(map, suspect);
            if is_proven {
                instructions.iter().for_each(|instruction| map.prove(instruction));
            }
            is_proven
        }
    }
}

fn has_prologue(map: &CodeMap<'_>, address: u64) -> bool {
    PROLOGUES
        .iter()
        .any(|prologue| (address..).zip(prologue.iter()).all(|(address, &byte)| map.byte(address) == Some(byte)))
}

enum Verdict {
    Refuted,
    Consistent { instructions: Vec<Instruction>, evidence: bool },
}

struct Trial<'m, 'a> {
    map: &'m CodeMap<'a>,
    object: &'m Object<'a>,
    seen: BTreeMap<u64, Instruction>,
    evidence: bool,
}

/// A contradiction.
struct Refuted;

impl<'m, 'a> Trial<'m, 'a> {
    fn run(map: &'m CodeMap<'a>, object: &'m Object<'a>, suspect: u64) -> Verdict {
        let mut trial = Self { map, object, seen: BTreeMap::new(), evidence: false };
        let mut work = vec![suspect];
        while let Some(address) = work.pop() {
            if trial.seen.len() >= TRIAL_MAX {
                break;
            }
            if trial.follow_run(address, &mut work).is_err() {
                return Verdict::Refuted;
            }
        }
        Verdict::Consistent { instructions: trial.seen.into_values().collect(), evidence: trial.evidence }
    }

    fn follow_run(&mut self, mut address: u64, work: &mut Vec<u64>) -> Result<(), Refuted> {
        loop {
            match self.map.place(address) {
                Place::Start => return Ok(()),
                Place::Inside | Place::Outside => return Err(Refuted),
                Place::Unknown if self.seen.contains_key(&address) => return Ok(()),
                Place::Unknown => {}
            }
            let instruction = self.map.decode(address).ok_or(Refuted)?;
            self.check(&instruction)?;
            if let Some((target, size)) = direct_target(&instruction) {
                self.check_target(target, size)?;
                work.push(target);
            }
            self.seen.insert(address, instruction);
            if ends_flow(&instruction) || self.seen.len() >= TRIAL_MAX {
                return Ok(());
            }
            address = instruction.next_ip();
        }
    }

    fn check(&mut self, instruction: &Instruction) -> Result<(), Refuted> {
        let is_odd = is_implausible(instruction) || is_zeros(self.map, instruction.ip());
        if !fits(self.map, instruction) || is_odd || self.overlaps(instruction) {
            return Err(Refuted);
        }
        if instruction.is_ip_rel_memory_operand() {
            if !self.object.is_mapped(instruction.ip_rel_memory_address()) {
                return Err(Refuted);
            }
            self.evidence = true;
        }
        // An absolute address in an operand is always that of something.
        let has_absolute = (0..instruction.op_count()).any(|operand| instruction.op_kind(operand) == OpKind::Memory)
            && !instruction.is_ip_rel_memory_operand()
            && instruction.memory_base() == iced_x86::Register::None
            && instruction.memory_index() == iced_x86::Register::None
            && instruction.segment_prefix() == iced_x86::Register::None;
        if has_absolute && !self.object.is_mapped(instruction.memory_displacement64()) {
            return Err(Refuted);
        }
        Ok(())
    }

    fn check_target(&mut self, target: u64, size: DisplacementSize) -> Result<(), Refuted> {
        match self.map.place(target) {
            Place::Inside | Place::Outside => return Err(Refuted),
            Place::Start if size == DisplacementSize::Long => self.evidence = true,
            Place::Start | Place::Unknown => {}
        }
        Ok(())
    }

    /// Whether the instruction overlaps one that this trial has seen.
    fn overlaps(&self, instruction: &Instruction) -> bool {
        let before = self.seen.range(..instruction.ip()).next_back();
        let after = self.seen.range(instruction.ip()..).next();
        before.is_some_and(|(_, other)| other.next_ip() > instruction.ip())
            || after.is_some_and(|(&address, _)| address < instruction.next_ip())
    }
}
