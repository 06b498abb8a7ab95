//! Chooses the instructions that move into a stub.

use std::ops::Range;

use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use image_format::{PAGE_SIZE, Patch, Site, SiteKind};

use super::super::code_map::{CodeMap, LOCK_PREFIX, Place};
use super::super::object::Object;
use super::functions::{FunctionMap, computes_branches};
use super::targets::Targets;
use super::{Reason, SYSCALL_SIZE, liveness, movable};

/// The size of a `jmp rel32`.
const JUMP_SIZE: u64 = 5;
/// How many bytes on each side are looked at: four are too few, and one more instruction has up to fifteen.
const REACH_MAX: u64 = 19;
/// The largest instruction.
const INSTRUCTION_SIZE_MAX: u64 = 15;
/// The number of `rt_sigreturn`.
const RT_SIGRETURN: u64 = 15;

/// A system call and the instructions around it that can move.
pub(super) struct Candidate {
    pub(super) address: u64,
    /// Nearest first.
    before: Vec<Instruction>,
    /// What comes before these.
    obstacle: Reason,
    /// Nearest first.
    after: Vec<Instruction>,
}

impl Candidate {
    pub(super) fn new(map: &CodeMap<'_>, address: u64) -> Self {
        let resume = address + SYSCALL_SIZE;
        let mut candidate = Self { address, before: Vec::new(), obstacle: Reason::Unproven, after: Vec::new() };
        let mut start = address;
        while address - start < REACH_MAX
            && let Some(instruction) = previous(map, start)
        {
            if let Some(reason) = movable::why_not(&instruction) {
                candidate.obstacle = reason;
                break;
            }
            start = instruction.ip();
            candidate.before.push(instruction);
        }
        let mut end = resume;
        while end - resume < REACH_MAX
            && map.place(end) == Place::Start
            && let Some(instruction) = map.decode(end).filter(|instruction| movable::why_not(instruction).is_none())
        {
            end = instruction.next_ip();
            candidate.after.push(instruction);
        }
        candidate
    }

    /// Everything that may be covered.
    pub(super) fn range(&self) -> Range<u64> {
        let start = self.before.last().map_or(self.address, Instruction::ip);
        start..self.after.last().map_or(self.resume(), Instruction::next_ip)
    }

    /// The instructions that may be covered, without the first one, at which everybody may arrive.
    pub(super) fn starts(&self) -> Vec<u64> {
        let ahead = self.before.iter().rev().skip(1).map(Instruction::ip);
        ahead.chain([self.address]).chain(self.after.iter().map(Instruction::ip)).collect()
    }

    fn resume(&self) -> u64 {
        self.address + SYSCALL_SIZE
    }

    /// Whether it is the one that signal handlers return to.
    fn is_signal_return(&self) -> bool {
        let sets_number = |instruction: &&Instruction| {
            instruction.mnemonic() == Mnemonic::Mov
                && instruction.op0_kind() == OpKind::Register
                && instruction.op0_register().full_register() == Register::RAX
        };
        self.before.iter().find(sets_number).is_some_and(|instruction| {
            let is_constant = !matches!(instruction.op1_kind(), OpKind::Register | OpKind::Memory);
            is_constant && instruction.immediate(1) == RT_SIGRETURN
        })
    }

    fn choice(&self, before: usize, after: usize, is_covered: bool) -> Choice {
        let instructions = self.before.get(..before).unwrap_or_default();
        let behind = self.after.get(..after).unwrap_or_default();
        let start = instructions.last().map_or(self.address, Instruction::ip);
        let mut starts: Vec<u64> = instructions.iter().rev().map(Instruction::ip).collect();
        if is_covered {
            starts.push(self.address);
            starts.extend(behind.iter().map(Instruction::ip));
        }
        let covered_end = if is_covered { self.resume() } else { self.address };
        let end = behind.last().map_or(covered_end, Instruction::next_ip);
        Choice { range: start..end, syscall: self.address, starts }
    }
}

/// The proven instruction that ends at an address, with its lock prefix if it has one.
fn previous(map: &CodeMap<'_>, end: u64) -> Option<Instruction> {
    let is_locked = |start: u64| {
        start.checked_sub(1).is_some_and(|lock| map.place(lock) == Place::Start && map.byte(lock) == Some(LOCK_PREFIX))
    };
    (1..=INSTRUCTION_SIZE_MAX).find_map(|size| {
        let start = end.checked_sub(size).filter(|&start| !is_locked(start))?;
        let instruction = (map.place(start) == Place::Start).then(|| map.decode(start))??;
        (instruction.next_ip() == end).then_some(instruction)
    })
}

/// Some instructions in a row, with the `syscall` among them or right behind them.
pub(super) struct Choice {
    range: Range<u64>,
    syscall: u64,
    starts: Vec<u64>,
}

impl Choice {
    /// The covered bytes and the `syscall`.
    fn whole(&self) -> Range<u64> {
        self.range.start..self.range.end.max(self.syscall + SYSCALL_SIZE)
    }

    fn has_size(&self) -> bool {
        (JUMP_SIZE..=u64::from(Patch::LENGTH_MAX)).contains(&(self.range.end - self.range.start))
    }

    pub(super) fn site(&self, object: &Object<'_>, map: &CodeMap<'_>) -> Option<Site> {
        let Range { start, end } = self.range;
        let size = end - start;
        let bytes = object.read(start, size)?;
        let dead = liveness::behind(map, self.syscall + SYSCALL_SIZE);
        let patch = Patch {
            length: u8::try_from(size).ok()?,
            syscall_at: u8::try_from(self.syscall - start).ok()?,
            starts: self.starts.iter().fold(0, |starts, address| starts | 1 << (address - start)),
            is_r11_dead: dead.r11,
            are_flags_dead: dead.flags,
            checksum: Patch::checksum_of(bytes),
        };
        let original = *bytes.first()?;
        Some(Site { file_offset: object.file_offset(start)?, kind: SiteKind::Syscall(patch), original })
    }
}

/// What choices depend on.
pub(super) struct Chooser<'c, 'a> {
    object: &'c Object<'a>,
    map: &'c CodeMap<'a>,
    targets: &'c Targets,
    functions: FunctionMap,
}

impl<'c, 'a> Chooser<'c, 'a> {
    pub(super) fn new(object: &'c Object<'a>, map: &'c CodeMap<'a>, targets: &'c Targets) -> Self {
        Self { object, map, targets, functions: FunctionMap::new(object.function_ranges(), map.call_targets()) }
    }

    /// A choice for each candidate, if there is one. They do not overlap.
    pub(super) fn choose(&self, candidates: &[Candidate]) -> Vec<Option<Choice>> {
        let mut choices: Vec<Option<Choice>> = candidates.iter().map(|candidate| self.in_front(candidate)).collect();
        let mut free_from = 0;
        for index in 0..candidates.len() {
            let begin = |index: usize| {
                let choice = choices.get(index).and_then(Option::as_ref);
                choice.map(|choice| choice.range.start).or(candidates.get(index).map(|candidate| candidate.address))
            };
            let free = free_from..begin(index + 1).unwrap_or(u64::MAX);
            let Some((candidate, choice)) = candidates.get(index).zip(choices.get_mut(index)) else { break };
            if choice.is_none() {
                *choice = self.around(candidate, &free);
            }
            free_from = choice.as_ref().map_or(candidate.resume(), |choice| choice.whole().end);
        }
        choices
    }

    /// Form A.
    fn in_front(&self, candidate: &Candidate) -> Option<Choice> {
        let choices = (1..=candidate.before.len()).map(|count| candidate.choice(count, 0, false));
        choices.into_iter().find(|choice| self.is_right(candidate, choice))
    }

    /// Form B, within what is free.
    fn around(&self, candidate: &Candidate, free: &Range<u64>) -> Option<Choice> {
        let choices = (0..=candidate.before.len())
            .flat_map(|before| (0..=candidate.after.len()).map(move |after| candidate.choice(before, after, true)));
        let is_free = |choice: &Choice| free.start <= choice.range.start && choice.range.end <= free.end;
        choices.into_iter().find(|choice| is_free(choice) && self.is_right(candidate, choice))
    }

    fn is_right(&self, candidate: &Candidate, choice: &Choice) -> bool {
        choice.has_size() && self.obstacle(candidate, choice).is_none()
    }

    /// What speaks against a choice that is large enough.
    fn obstacle(&self, candidate: &Candidate, choice: &Choice) -> Option<Reason> {
        if candidate.is_signal_return() {
            return Some(Reason::SignalReturn);
        }
        if let Some(reason) = self.targets.inside(&choice.range) {
            return Some(reason);
        }
        let whole = choice.whole();
        let page = |address| self.object.file_offset(address).map(|offset| offset / PAGE_SIZE);
        if page(whole.start) != page(whole.end - 1) {
            return Some(Reason::PageEnd);
        }
        let function = self.functions.around(candidate.address);
        let is_reached = choice.starts.len() > 1 && computes_branches(self.object, self.map, &function);
        is_reached.then_some(Reason::ComputedBranch)
    }

    /// What spoke against the first choice.
    pub(super) fn why_not(&self, candidate: &Candidate) -> Reason {
        let mut choices = (1..=candidate.before.len()).map(|count| candidate.choice(count, 0, false));
        let first = choices.find(Choice::has_size);
        first.map_or(candidate.obstacle, |choice| self.obstacle(candidate, &choice).unwrap_or(Reason::Unproven))
    }
}
