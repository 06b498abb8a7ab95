//! Cached translations, of all CPUs: who must flush what when tables change, and how they are told.
//!
//! # Who
//!
//! Each CPU says in [`Cpu::root`] whose lower half it runs on. Who changes tables first changes the entries, then looks at the
//! roots of all CPUs ([`flush`]): those with other tables need nothing, as they load the register, which flushes, before they
//! run on these. Both sides have a full fence between their store and their load, so one sees the other:
//! 1. The root reads as *ours*: the CPU is told.
//! 2. It reads as *switching*: the CPU is about to load the register, or has and not said so yet. It is told, to be sure.
//! 3. It reads as another's: either the CPU has left our tables, and loading the register flushed them; or it has not yet
//!    begun to switch to them, and walks the changed entries when it has.
//!
//! An idle CPU does not touch the program's memory, so it is not woken: it is marked stale, and flushes before it leaves
//! idleness ([`leave_idle`]). But when tables were unlinked it is told like others: the hardware may walk them on a guess, and they
//! are going to hold something else.
//!
//! # How
//!
//! One request for a whole batch ([`FlushPlan`]). Each CPU has one outgoing request, and an inbox with a bit for each sender:
//! 1. The sender writes its request and the set of CPUs that are to serve it, sets its bit in each inbox, and interrupts those
//!    whose inbox was empty; the others have an interrupt under way already.
//! 2. A receiver empties its inbox, serves every sender in it, and clears its own bit in each request served.
//! 3. The sender goes on when its request has no bits left. Only then may frames and tables be used for something else.
//!
//! A sender that waits looks into its own inbox meanwhile, even with interrupts off, so two CPUs that send to each other do not
//! wait for ever. It is not preempted until it is done, which makes the request its own. It must not hold a lock that is
//! taken with interrupts off: a receiver that spins for that lock would never answer.
//!
//! # The kernel's half
//!
//! Its translations are global, and shared. Nothing in it is ever unmapped but kernel stacks, many at a time ([`flush_kernel`]).

use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use linux::FlushCounters;
use mm::flush::{FlushPlan, RANGES_MAX};
use x86_64::VirtAddr;
use x86_64::instructions::tlb as instructions;
use x86_64::registers::control::{Cr4, Cr4Flags};

use super::{PAGE_BYTES, paging};
use crate::arch::percpu::PerCpu;
use crate::arch::smp::{self, CPUS_MAX};
use crate::arch::{clock, interrupts, ipi};

/// After how long a wait for other CPUs is told of.
const PATIENCE_NS: u64 = 10_000_000_000;

/// [`Cpu::root`] of a CPU that may be on any tables.
const SWITCHING: u64 = u64::MAX;
/// [`Cpu::root`] of a CPU on the kernel's own tables.
const NO_ROOT: u64 = 0;

/// The bits of [`Cpu::idleness`]; none while the CPU is busy.
mod idle {
    /// The CPU touches no memory of programs.
    pub(super) const IDLE: u32 = 1;
    /// It flushes the program's half before it goes on.
    pub(super) const STALE: u32 = 2;
    /// It flushes everything before it goes on.
    pub(super) const STALE_GLOBAL: u32 = 4;
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Flush what the plan says, if on these tables.
    Flush,
    /// Flush the kernel's half too.
    FlushKernel,
    /// Leave these tables.
    Leave,
    /// Nothing but to be interrupted.
    Barrier,
}

impl Wish {
    fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Flush,
            1 => Self::FlushKernel,
            2 => Self::Leave,
            _ => Self::Barrier,
        }
    }
}

/// What others may know about a CPU.
#[repr(align(64))]
struct Cpu {
    /// Physical address of the top table, [`NO_ROOT`] or [`SWITCHING`].
    root: AtomicU64,
    idleness: AtomicU32,
    /// Who has a request for this CPU, a bit each.
    inbox: AtomicU64,
    /// How often it found something there.
    served: AtomicU64,
}

/// What a CPU asks of others. Written by it alone, and only while nobody is to serve it.
#[repr(align(64))]
struct Request {
    /// Who has not served it yet, a bit each.
    waiting: AtomicU64,
    wish: AtomicU32,
    /// How many ranges there are; more than fit: everything.
    len: AtomicU32,
    root: AtomicU64,
    ranges: [(AtomicUsize, AtomicUsize); RANGES_MAX],
}

static CPUS: [Cpu; CPUS_MAX] = [const {
    Cpu {
        root: AtomicU64::new(NO_ROOT),
        idleness: AtomicU32::new(0),
        inbox: AtomicU64::new(0),
        served: AtomicU64::new(0),
    }
}; CPUS_MAX];

static REQUESTS: [Request; CPUS_MAX] = [const {
    Request {
        waiting: AtomicU64::new(0),
        wish: AtomicU32::new(0),
        len: AtomicU32::new(0),
        root: AtomicU64::new(0),
        ranges: [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; RANGES_MAX],
    }
}; CPUS_MAX];

static REQUESTS_SENT: AtomicU64 = AtomicU64::new(0);
static CPUS_ASKED: AtomicU64 = AtomicU64::new(0);
static CPUS_LEFT_IDLE: AtomicU64 = AtomicU64::new(0);

/// How often other CPUs were concerned.
pub(crate) fn counters() -> FlushCounters {
    FlushCounters {
        requests: REQUESTS_SENT.load(Ordering::Relaxed),
        cpus: CPUS_ASKED.load(Ordering::Relaxed),
        spared: CPUS_LEFT_IDLE.load(Ordering::Relaxed),
    }
}

/// How far a flush reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The calling CPU alone: entries only gained rights, and a CPU that faults for want of them walks again.
    Here,
    /// Every CPU on these tables.
    Everywhere,
}

/// Keeps the caller on its CPU.
struct Pinned {
    cpu: usize,
}

impl Pinned {
    fn new() -> Self {
        sync::machine::preemption_disable();
        Self { cpu: this_cpu() }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        sync::machine::preemption_enable();
    }
}

fn this_cpu() -> usize {
    PerCpu::current().index() as usize % CPUS_MAX
}

/// Runs `load`, which loads the register for the tables it returns.
pub(super) fn switching_root(load: impl FnOnce() -> u64) {
    interrupts::without(|| {
        let cpu = &CPUS[this_cpu()];
        cpu.root.store(SWITCHING, Ordering::SeqCst);
        let root = load();
        let known = if root == paging::kernel_root() { NO_ROOT } else { root };
        cpu.root.store(known, Ordering::SeqCst);
    });
}

/// Flushes what `plan` says of the tables at `root`. On return no CPU in `reach` uses a translation from before the call.
pub(crate) fn flush(root: u64, plan: &FlushPlan, reach: Reach) {
    if plan.is_empty() {
        return;
    }
    let pinned = Pinned::new();
    if CPUS[pinned.cpu].root.load(Ordering::Relaxed) == root {
        flush_here(plan);
    }
    if reach == Reach::Everywhere && smp::count() > 1 {
        ask_others(&pinned, Wish::Flush, Some(root), plan);
    }
}

/// Flushes the kernel's half on every CPU.
pub(crate) fn flush_kernel() {
    let pinned = Pinned::new();
    interrupts::without(flush_kernel_here);
    if smp::count() > 1 {
        ask_others(&pinned, Wish::FlushKernel, None, &FlushPlan::everything());
    }
}

/// How often a CPU served others.
pub(crate) fn served(cpu: u32) -> u64 {
    CPUS.get(cpu as usize).map_or(0, |cpu| cpu.served.load(Ordering::Relaxed))
}

/// Makes every CPU leave the tables at `root`, which no thread runs on any more; idle CPUs may still have them loaded.
pub(crate) fn leave(root: u64) {
    let pinned = Pinned::new();
    leave_here(root);
    if smp::count() > 1 {
        ask_others(&pinned, Wish::Leave, Some(root), &FlushPlan::new());
    }
}

/// Interrupts every CPU that is on the tables at `root`, or every one: on return each has passed a full barrier.
pub(crate) fn barrier(root: Option<u64>) {
    let pinned = Pinned::new();
    fence(Ordering::SeqCst);
    if smp::count() > 1 {
        ask_others(&pinned, Wish::Barrier, root, &FlushPlan::new());
    }
}

/// Says that this CPU touches no memory of programs until `leave_idle`. Interrupts are off.
pub(crate) fn enter_idle() {
    CPUS[this_cpu()].idleness.store(idle::IDLE, Ordering::SeqCst);
}

/// Before this CPU runs a thread: does what it was spared while it was idle. Interrupts are off. May be called when not idle.
pub(crate) fn leave_idle() {
    let missed = CPUS[this_cpu()].idleness.swap(0, Ordering::SeqCst);
    if missed & idle::STALE_GLOBAL != 0 {
        flush_kernel_here();
    } else if missed & idle::STALE != 0 {
        instructions::flush_all();
    }
}

/// Serves what is in the inbox of this CPU: the handler of the interrupt, and what waiting senders do.
pub(crate) fn serve() {
    interrupts::without(|| {
        let own = this_cpu();
        let mut senders = CPUS[own].inbox.swap(0, Ordering::SeqCst);
        if senders != 0 {
            CPUS[own].served.fetch_add(1, Ordering::Relaxed);
        }
        while senders != 0 {
            let sender = senders.trailing_zeros() as usize;
            senders &= senders - 1;
            let request = &REQUESTS[sender];
            serve_one(own, request);
            request.waiting.fetch_and(!(1 << own), Ordering::Release);
        }
    });
}

fn serve_one(own: usize, request: &Request) {
    let root = request.root.load(Ordering::Relaxed);
    match Wish::from_word(request.wish.load(Ordering::Relaxed)) {
        Wish::Flush if CPUS[own].root.load(Ordering::Relaxed) == root => {
            let len = request.len.load(Ordering::Relaxed) as usize;
            match request.ranges.get(..len) {
                Some(ranges) => {
                    for (start, end) in ranges {
                        flush_range(start.load(Ordering::Relaxed), end.load(Ordering::Relaxed));
                    }
                }
                None => instructions::flush_all(),
            }
        }
        // Loading the register, since the request was sent, has flushed all there was.
        Wish::Flush => {}
        Wish::FlushKernel => flush_kernel_here(),
        Wish::Leave => leave_here(root),
        Wish::Barrier => fence(Ordering::SeqCst),
    }
}

fn flush_range(start: usize, end: usize) {
    let mut at = start;
    while at < end {
        instructions::flush(VirtAddr::new_truncate(at as u64));
        at += PAGE_BYTES;
    }
}

fn flush_here(plan: &FlushPlan) {
    match plan.ranges() {
        // One flushed page flushes every cached upper level, wherever it is.
        Some(ranges) if !ranges.is_empty() => ranges.iter().for_each(|(start, end)| flush_range(*start, *end)),
        _ => instructions::flush_all(),
    }
}

/// Interrupts are off.
fn flush_kernel_here() {
    let cr4 = Cr4::read();
    if cr4.contains(Cr4Flags::PAGE_GLOBAL) {
        // SAFETY: switching global pages off and on again flushes all translations, and changes nothing else.
        unsafe {
            Cr4::write(cr4 - Cr4Flags::PAGE_GLOBAL);
            Cr4::write(cr4);
        }
    } else {
        instructions::flush_all();
    }
}

fn leave_here(root: u64) {
    interrupts::without(|| {
        if CPUS[this_cpu()].root.load(Ordering::Relaxed) == root {
            // SAFETY: the kernel's own tables map everything but the program, which nobody on this CPU touches.
            unsafe { paging::set_root(paging::kernel_root()) };
        }
    });
}

/// Whether a CPU is idle and now knows that it has to do something before it goes on.
fn is_spared(cpu: &Cpu, wish: Wish, plan: &FlushPlan) -> bool {
    let mark = match wish {
        Wish::Flush if !plan.frees_tables() => idle::STALE,
        Wish::FlushKernel => idle::STALE_GLOBAL,
        // A CPU passes barriers when it begins and ends to be idle.
        Wish::Barrier => 0,
        Wish::Flush | Wish::Leave => return false,
    };
    let marked = |idleness: u32| (idleness & idle::IDLE != 0).then_some(idleness | mark);
    cpu.idleness.fetch_update(Ordering::SeqCst, Ordering::SeqCst, marked).is_ok()
}

/// Sends the wish to all other CPUs that it concerns, and waits until they served it.
fn ask_others(pinned: &Pinned, wish: Wish, root: Option<u64>, plan: &FlushPlan) {
    let own = pinned.cpu;
    let count = (smp::count() as usize).min(CPUS_MAX);
    fence(Ordering::SeqCst);
    let (mut targets, mut spared) = (0u64, 0);
    for (index, cpu) in CPUS.iter().enumerate().take(count).filter(|(index, _)| *index != own) {
        let seen = cpu.root.load(Ordering::SeqCst);
        if root.is_none_or(|root| seen == root || seen == SWITCHING) {
            if is_spared(cpu, wish, plan) {
                spared += 1;
            } else {
                targets |= 1 << index;
            }
        }
    }
    CPUS_LEFT_IDLE.fetch_add(spared, Ordering::Relaxed);
    if targets == 0 {
        return;
    }
    debug_assert!(x86_64::instructions::interrupts::are_enabled(), "waiting for other CPUs with interrupts off");
    REQUESTS_SENT.fetch_add(1, Ordering::Relaxed);
    CPUS_ASKED.fetch_add(u64::from(targets.count_ones()), Ordering::Relaxed);
    let request = &REQUESTS[own];
    debug_assert_eq!(request.waiting.load(Ordering::Relaxed), 0, "the last request has not been served");
    request.write(wish, root.unwrap_or(NO_ROOT), plan);
    request.waiting.store(targets, Ordering::Release);
    for index in bits(targets) {
        if CPUS[index].inbox.fetch_or(1 << own, Ordering::SeqCst) == 0 {
            ipi::flush(u32::try_from(index).unwrap_or(u32::MAX));
        }
    }
    wait_until_served(own, request);
}

fn wait_until_served(own: usize, request: &Request) {
    let mut told_ns = clock::now_ns().saturating_add(PATIENCE_NS);
    while request.waiting.load(Ordering::Acquire) != 0 {
        if CPUS[own].inbox.load(Ordering::Relaxed) != 0 {
            serve();
        }
        core::hint::spin_loop();
        if clock::now_ns() >= told_ns {
            log::error!("CPUs {:#x} do not answer CPU {own}", request.waiting.load(Ordering::Relaxed));
            told_ns = u64::MAX;
        }
    }
}

fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let index = word.trailing_zeros() as usize;
        (word != 0).then(|| {
            word &= word - 1;
            index
        })
    })
}

impl Request {
    fn write(&self, wish: Wish, root: u64, plan: &FlushPlan) {
        self.wish.store(wish as u32, Ordering::Relaxed);
        self.root.store(root, Ordering::Relaxed);
        let ranges = plan.ranges().filter(|ranges| !ranges.is_empty());
        let len = ranges.map_or(usize::MAX, <[_]>::len);
        self.len.store(u32::try_from(len).unwrap_or(u32::MAX), Ordering::Relaxed);
        for ((start, end), slot) in ranges.unwrap_or_default().iter().zip(&self.ranges) {
            slot.0.store(*start, Ordering::Relaxed);
            slot.1.store(*end, Ordering::Relaxed);
        }
    }
}
