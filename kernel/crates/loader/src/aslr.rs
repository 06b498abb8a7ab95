//! [`Layout`]: where the pieces of a program's address space go.
//!
//! Linux's rules and ranges for x86-64, as arithmetic over random numbers that the caller draws:
//!
//! - the stack ends up to 16 GiB below the top of the address space (22 bits of pages);
//! - the mapping area begins below the stack's limit, that randomness and the guard gap, moved down by up to 28 bits
//!   of pages, and grows down from there;
//! - a position-independent program with an interpreter sits two thirds up the address space, moved up by 28 bits of
//!   pages; one without an interpreter (static, or the dynamic linker itself) is the first mapping of the mapping area;
//! - the heap (`brk`) begins up to 1 GiB above the program's end; for a static position-independent program, which sits
//!   among the mappings, up to 1 GiB above the two-thirds point.
//!
//! It does not know what is mapped: a caller that finds a place taken picks another.

use abi::Errno;

use crate::plan::{Kind, LoadPlan};
use crate::{PAGE_SIZE, USER_END, USER_START, page_ceil, page_floor};

/// Bits of randomness, in pages, of the mapping area and of position-independent programs.
const MMAP_RANDOM_BITS: u32 = 28;
/// Mask of the stack's randomness in pages.
const STACK_RANDOM_MASK: u64 = 0x3f_ffff;
/// Range in bytes over which the heap's start is drawn.
const BRK_RANDOM_RANGE: u64 = 0x4000_0000;
/// Where position-independent programs begin.
const PROGRAM_BASE: u64 = USER_END / 3 * 2;
/// Unmapped space that stays between a growing stack and what lies below it.
const STACK_GUARD_GAP: u64 = 256 * PAGE_SIZE;
/// Least and most space between the top of the address space and the mapping area.
const STACK_GAP_MIN: u64 = 128 << 20;
const STACK_GAP_MAX: u64 = USER_END / 6 * 5;

/// Uniform random numbers for one address space. All zero gives the layout without randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RandomNumbers {
    /// Moves the stack.
    pub stack: u64,
    /// Moves the initial stack pointer within its first pages; used by [`crate::stack::build`].
    pub stack_pointer: u64,
    /// Moves the mapping area.
    pub mmap: u64,
    /// Moves a position-independent program that has an interpreter.
    pub program: u64,
    /// Moves the heap.
    pub brk: u64,
}

/// Places for the pieces of an address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// First address above the stack, page aligned.
    pub stack_top: u64,
    /// First address above the mapping area, which grows down; page aligned.
    pub mmap_base: u64,
    /// What to add to every address of the program, modulo 2^64 (a position-independent program may be linked high).
    pub load_bias: u64,
    /// Start of the heap, page aligned.
    pub brk_start: u64,
}

impl Layout {
    /// Places a program. `stack_limit` is the soft `RLIMIT_STACK` in bytes.
    ///
    /// # Errors
    /// `ENOMEM` when the program does not fit where it belongs.
    pub fn new(plan: &LoadPlan, random: &RandomNumbers, stack_limit: u64) -> Result<Self, Errno> {
        let stack_top = USER_END - (random.stack & STACK_RANDOM_MASK) * PAGE_SIZE;
        let mmap_base = mmap_base(random.mmap, stack_limit);
        let load_bias = load_bias(plan, random.program, mmap_base)?;
        let brk_start = brk_start(plan, random.brk, load_bias)?;
        Ok(Self { stack_top, mmap_base, load_bias, brk_start })
    }
}

const fn random_pages(random: u64) -> u64 {
    (random & ((1 << MMAP_RANDOM_BITS) - 1)) * PAGE_SIZE
}

fn mmap_base(random: u64, stack_limit: u64) -> u64 {
    let pad = STACK_RANDOM_MASK * PAGE_SIZE + STACK_GUARD_GAP;
    let gap = stack_limit.checked_add(pad).unwrap_or(stack_limit).clamp(STACK_GAP_MIN, STACK_GAP_MAX);
    // The largest gap and the largest random distance together stay below USER_END.
    let base = USER_END - gap - random_pages(random);
    page_ceil(base).unwrap_or(base)
}

fn load_bias(plan: &LoadPlan, random: u64, mmap_base: u64) -> Result<u64, Errno> {
    let pages = plan.pages();
    let start = match (plan.kind, plan.is_static()) {
        (Kind::Fixed, _) => return Ok(0),
        (Kind::PositionIndependent, false) => PROGRAM_BASE + random_pages(random),
        (Kind::PositionIndependent, true) => mmap_base.checked_sub(pages.len()).ok_or(Errno::ENOMEM)?,
    };
    let alignment = plan.alignment();
    // Addresses keep their remainder by the alignment: the bias is what gets aligned.
    let bias = page_floor(start).wrapping_sub(pages.start) & !(alignment - 1);
    let first = pages.start.wrapping_add(bias);
    let end = first.checked_add(pages.len()).ok_or(Errno::ENOMEM)?;
    if first < USER_START || end > USER_END {
        return Err(Errno::ENOMEM);
    }
    Ok(bias)
}

fn brk_start(plan: &LoadPlan, random: u64, load_bias: u64) -> Result<u64, Errno> {
    let lowest = if plan.kind == Kind::PositionIndependent && plan.is_static() {
        PROGRAM_BASE
    } else {
        plan.pages().end.wrapping_add(load_bias)
    };
    let start = page_ceil(lowest).ok_or(Errno::ENOMEM)?;
    let range_pages = (BRK_RANDOM_RANGE - (start - lowest)) / PAGE_SIZE;
    let start = start.checked_add(random % range_pages * PAGE_SIZE).ok_or(Errno::ENOMEM)?;
    if start > USER_END { Err(Errno::ENOMEM) } else { Ok(start) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ProgramHeaders, Rights, Segment, StackRights};

    fn plan(kind: Kind, interpreter: bool, vaddr: u64, len: u64, alignment: u64) -> LoadPlan {
        let rights = Rights { read: true, write: true, execute: false };
        LoadPlan {
            kind,
            entry: vaddr,
            segments: [Segment { vaddr, offset: vaddr % PAGE_SIZE, file_size: 0, mem_size: len, rights, alignment }]
                .into(),
            interpreter: interpreter.then(|| b"/lib/ld.so".to_vec()),
            tls: None,
            stack: StackRights::Default,
            relro: None,
            program_headers: ProgramHeaders { vaddr: 0, count: 1, entry_size: 56 },
        }
    }

    const ALL: RandomNumbers =
        RandomNumbers { stack: u64::MAX, stack_pointer: u64::MAX, mmap: u64::MAX, program: u64::MAX, brk: u64::MAX };
    const STACK_LIMIT: u64 = 8 << 20;

    #[test]
    fn without_randomness_everything_is_where_linux_puts_it() {
        // Read from /proc/self/maps under `setarch -R` with an 8 MiB stack limit.
        let layout =
            Layout::new(&plan(Kind::Fixed, false, 0x40_0000, 0x1234, 4096), &RandomNumbers::default(), STACK_LIMIT)
                .expect("it fits");
        assert_eq!(layout.stack_top, 0x7fff_ffff_f000);
        assert_eq!(layout.load_bias, 0);
        assert_eq!(layout.brk_start, 0x40_2000);
        let dynamic = plan(Kind::PositionIndependent, true, 0, 0x1234, 4096);
        let layout = Layout::new(&dynamic, &RandomNumbers::default(), STACK_LIMIT).expect("it fits");
        assert_eq!(layout.load_bias, 0x5555_5555_4000);
        assert_eq!(layout.brk_start, 0x5555_5555_6000);
        let pie = plan(Kind::PositionIndependent, false, 0, 0x1234, 4096);
        let layout = Layout::new(&pie, &RandomNumbers::default(), STACK_LIMIT).expect("it fits");
        assert_eq!(layout.load_bias, layout.mmap_base - 0x2000);
        assert_eq!(layout.brk_start, 0x5555_5555_5000);
    }

    #[test]
    fn the_widest_randomness_stays_in_range() {
        for stack_limit in [0, STACK_LIMIT, 1 << 46, u64::MAX] {
            for kind in [
                plan(Kind::PositionIndependent, true, 0x1000, 0x5000, 1 << 21),
                plan(Kind::Fixed, false, 0x40_0000, 1, 1),
            ] {
                let layout = Layout::new(&kind, &ALL, stack_limit).expect("it fits");
                assert_eq!(layout.stack_top, USER_END - (0x3f_ffff << 12));
                assert!(layout.mmap_base < layout.stack_top - (1 << 20));
                assert_eq!(layout.load_bias % kind.alignment(), 0);
                assert!(layout.brk_start > kind.pages().end);
            }
        }
    }

    #[test]
    fn a_program_that_does_not_fit_is_refused() {
        let huge = plan(Kind::PositionIndependent, false, 0, USER_END - PAGE_SIZE, 4096);
        assert_eq!(Layout::new(&huge, &RandomNumbers::default(), STACK_LIMIT), Err(Errno::ENOMEM));
        let aligned = plan(Kind::PositionIndependent, true, 0, 4096, 1 << 46);
        let layout = Layout::new(&aligned, &ALL, STACK_LIMIT).expect("two thirds up is beyond the first multiple");
        assert_eq!(layout.load_bias, 1 << 46);
        let impossible = plan(Kind::PositionIndependent, true, 0, 4096, 1 << 63);
        assert_eq!(Layout::new(&impossible, &ALL, STACK_LIMIT), Err(Errno::ENOMEM));
    }

    #[test]
    fn a_program_linked_high_moves_down() {
        let high = plan(Kind::PositionIndependent, true, 0x7000_0000_0000, 0x3000, 4096);
        let layout = Layout::new(&high, &RandomNumbers::default(), STACK_LIMIT).expect("it fits");
        assert_eq!(high.pages().start.wrapping_add(layout.load_bias), 0x5555_5555_4000);
    }
}
