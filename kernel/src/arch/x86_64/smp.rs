//! Every CPU but the first: how they start, and which there are.
//!
//! # Starting
//!
//! 1. The first CPU makes everything the next one needs: its `PerCpu`, descriptor tables with their stacks, a stack to run on.
//!    It puts the trampoline (smp.s) and three page tables in the pages below 1 MiB that `memory` kept, fills in the mailbox, and
//!    sends INIT and start-up interrupts (SDM volume 3, 9.4.4).
//! 2. The new CPU takes the mailbox, sets itself up as the first one did, compares its cycle counter with the first one's, and
//!    says that it is ready. CPUs start one after another, so the mailbox and the comparison have one user.
//! 3. The first CPU counts it, and it enters the idle loop. A CPU that does not answer in time is reset, told of
//!    in the log and left out.
//!    Either the first CPU counts a CPU or the CPU never goes on ([`Stage`]).
//!
//! # Numbers
//!
//! CPUs are numbered from 0 without gaps in the order of firmware's table, the one that booted first. The registry grows
//! while CPUs start and never changes afterwards.
#![expect(clippy::cast_possible_truncation, reason = "there are 64 CPUs at most, and the trampoline lies below 1 MiB")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::arch::global_asm;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use sync::Once;

use super::descriptors::Descriptors;
use super::percpu::PerCpu;
use super::{apic, clock, cpu, vector_state};
use crate::drivers::kvm_clock;
use crate::memory::layout::direct;
use crate::memory::paging::{self, ENTRIES, Entry};
use crate::memory::{self, PAGE_BYTES, frames, stacks};
use crate::threads;

global_asm!(include_str!("smp.s"));

/// CPUs that are used; flushes name them in words of 64 bits.
pub(crate) const CPUS_MAX: usize = 64;
const _: () = assert!(CPUS_MAX == sched::CPUS_MAX && CPUS_MAX <= u64::BITS as usize);

/// Pages below 1 MiB: the trampoline and three tables.
pub(crate) const TRAMPOLINE_PAGES: u64 = 4;

/// Frames that one more CPU takes: stacks, tables, what the scheduler keeps of it.
const FRAMES_PER_CPU: u64 = 24;
/// The CPUs may have this part of the memory.
const MEMORY_PART: u64 = 8;

/// How long a CPU needs to be reset; hypervisors do it at once.
const RESET_NS: u64 = 10_000_000;
/// After how long the start-up interrupt is sent again.
const REPEAT_NS: u64 = 10_000_000;
/// How long a CPU may take until it has the mailbox: a busy host runs the machine's CPUs one after another.
const ANSWER_NS_MAX: u64 = 2_000_000_000;
/// How long it may take from there until it is ready.
const READY_NS_MAX: u64 = 10_000_000_000;

/// How far a starting CPU is.
mod stage {
    /// It has the mailbox, or not even that.
    pub(super) const STARTING: u8 = 0;
    /// It waits to be counted.
    pub(super) const READY: u8 = 1;
    /// It is counted, and runs.
    pub(super) const COUNTED: u8 = 2;
    /// It took too long: it stops when it notices.
    pub(super) const GIVEN_UP: u8 = 3;
}

static COUNT: AtomicU32 = AtomicU32::new(1);
static APIC_IDS: [AtomicU32; CPUS_MAX] = [const { AtomicU32::new(0) }; CPUS_MAX];
static AREAS: [AtomicPtr<PerCpu>; CPUS_MAX] = [const { AtomicPtr::new(null_mut()) }; CPUS_MAX];
/// The ids that firmware listed.
static LISTED: Once<Vec<u32>> = Once::new();

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
    static trampoline_jump32: u8;
    static trampoline_base: u8;
    static trampoline_jump64: u8;
    static trampoline_gdt_base: u8;
    static trampoline_root: u8;
    static trampoline_entry: u8;
    static trampoline_argument: u8;
    static trampoline_stack: u8;
}

/// How many CPUs run.
#[inline]
pub(crate) fn count() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// The local APIC's id of a CPU.
pub(crate) fn apic_id(cpu: u32) -> Option<u32> {
    (cpu < count()).then(|| APIC_IDS[cpu as usize].load(Ordering::Relaxed))
}

/// The data of a CPU that runs.
#[expect(dead_code, reason = "part of the registry; reports will ask")]
pub(crate) fn area(cpu: u32) -> Option<&'static PerCpu> {
    let area = AREAS.get(cpu as usize)?.load(Ordering::Acquire);
    // SAFETY: null or the address of a PerCpu that lives for ever.
    unsafe { area.as_ref() }
}

/// Notes the CPU that booted.
pub(crate) fn register_first(area: &'static PerCpu) {
    AREAS[0].store(core::ptr::from_ref(area).cast_mut(), Ordering::Release);
}

/// Notes the local APICs that firmware says can be used.
pub(crate) fn set_listed(ids: impl Iterator<Item = u32>) {
    LISTED.call_once(|| ids.collect());
}

/// What a starting CPU is given. It lives for ever, as the CPU may be late.
struct Start {
    descriptors: *mut Descriptors,
    area: PerCpu,
    stage: AtomicU8,
}

/// Starts the other CPUs, so many that there are `limit` in all. The clocks run; interrupts may be on.
pub(crate) fn start(limit: Option<u32>) {
    let own_id = apic::id();
    APIC_IDS[0].store(own_id, Ordering::Relaxed);
    let limit = limit.unwrap_or(u32::MAX).clamp(1, CPUS_MAX as u32);
    let listed = LISTED.get().map_or(&[][..], Vec::as_slice);
    let mut others: Vec<u32> = Vec::new();
    for id in listed.iter().copied().filter(|id| *id != own_id) {
        if apic::can_reach(id) && !others.contains(&id) {
            others.push(id);
        }
    }
    let unused = others.len().saturating_sub(limit as usize - 1);
    if unused > 0 {
        log::info!("{unused} CPUs are not used");
        others.truncate(limit as usize - 1);
    }
    let Some(trampoline) = Trampoline::new() else {
        if !others.is_empty() {
            log::warn!("{} CPUs cannot start: no memory below 1 MiB", others.len());
        }
        return;
    };
    let mut are_all_up = true;
    for id in others {
        match start_one(&trampoline, id) {
            Ok(()) => {}
            Err(Failure::OutOfMemory) => {
                log::warn!("not enough memory for more than {} CPUs", count());
                break;
            }
            Err(Failure::NoAnswer) => {
                log::warn!("the CPU with local APIC {id} does not start: it is left out");
                are_all_up = false;
            }
        }
    }
    // A CPU that begins after all must find the trampoline.
    if are_all_up {
        trampoline.free();
    }
    log::info!("CPUs: {}", count());
}

/// Why a CPU did not start.
enum Failure {
    OutOfMemory,
    NoAnswer,
}

#[inline(never)]
fn start_one(trampoline: &Trampoline, id: u32) -> Result<(), Failure> {
    let index = count();
    if u64::from(index) * FRAMES_PER_CPU > frames::total() / MEMORY_PART {
        return Err(Failure::OutOfMemory);
    }
    let stack = stacks::allocate(stacks::THREAD_STACK_PAGES).ok_or(Failure::OutOfMemory)?;
    let descriptors = Descriptors::new().ok_or(Failure::OutOfMemory)?;
    let start: &'static Start = Box::leak(Box::new(Start {
        descriptors: Box::into_raw(Box::new(descriptors)),
        area: PerCpu::new(index),
        stage: AtomicU8::new(stage::STARTING),
    }));
    start.area.set_kernel_stack(stack.bottom(), stack.top());
    let top = stack.top();
    core::mem::forget(stack);
    APIC_IDS[index as usize].store(id, Ordering::Relaxed);
    AREAS[index as usize].store((&raw const start.area).cast_mut(), Ordering::Release);
    memory::add_cpu(index);
    clock::prepare_comparison();
    trampoline.fill_mailbox(core::ptr::from_ref(start) as usize, top);
    wake(trampoline, id);
    if trampoline.is_mailbox_empty() {
        let end = clock::now_ns().saturating_add(READY_NS_MAX);
        while start.stage.load(Ordering::SeqCst) == stage::STARTING && clock::now_ns() < end {
            clock::serve_comparison();
            core::hint::spin_loop();
        }
    }
    let order = Ordering::SeqCst;
    if start.stage.compare_exchange(stage::STARTING, stage::GIVEN_UP, order, order).is_ok() {
        apic::send_init(id);
        trampoline.empty_mailbox();
        return Err(Failure::NoAnswer);
    }
    COUNT.store(index + 1, order);
    start.stage.store(stage::COUNTED, order);
    Ok(())
}

/// Sends what starts a CPU until it has the mailbox, or time is up.
fn wake(trampoline: &Trampoline, id: u32) {
    apic::send_init(id);
    if !cpu::features().contains(cpu::Features::HYPERVISOR) {
        clock::delay(RESET_NS);
    }
    let end = clock::now_ns().saturating_add(ANSWER_NS_MAX);
    for wait_ns in [REPEAT_NS, ANSWER_NS_MAX] {
        apic::send_startup(id, trampoline.page);
        let repeat = clock::now_ns().saturating_add(wait_ns).min(end);
        while clock::now_ns() < repeat {
            if trampoline.is_mailbox_empty() {
                return;
            }
            core::hint::spin_loop();
        }
    }
}

/// Where a CPU arrives from smp.s: on its own stack, on the trampoline's tables, interrupts off.
///
/// # Safety
/// Called by smp.s alone, with what `start_one` put in the mailbox.
unsafe extern "C" fn other_cpu_entry(start: *const Start) -> ! {
    // SAFETY: `start_one` made it and leaked it. The descriptor tables and the area are this CPU's alone: the mailbox is taken
    // once. The kernel's tables mark no text as data, and its root maps all that runs here.
    let start: &'static Start = unsafe { &*start };
    // SAFETY: as above.
    unsafe {
        PerCpu::install(&start.area);
        (*start.descriptors).load();
        cpu::configure();
        paging::set_root(paging::kernel_root());
    }
    vector_state::init_other_cpu();
    let is_on = apic::init();
    debug_assert!(is_on, "the first CPU mapped the registers");
    apic::enable_timer();
    clock::compare_with_first();
    kvm_clock::start_cpu();
    threads::start_cpu();
    let order = Ordering::SeqCst;
    if start.stage.compare_exchange(stage::STARTING, stage::READY, order, order).is_err() {
        cpu::halt_forever();
    }
    while start.stage.load(order) != stage::COUNTED {
        core::hint::spin_loop();
    }
    threads::run_idle()
}

/// The pages below 1 MiB.
struct Trampoline {
    /// Physical address of the first one.
    page: u64,
}

impl Trampoline {
    /// Copies the code and builds the tables. `None`: there is no memory below 1 MiB.
    fn new() -> Option<Self> {
        let trampoline = Trampoline { page: memory::trampoline_pages()? };
        let base = trampoline.page as u32;
        let len = &raw const trampoline_end as usize - &raw const trampoline_start as usize;
        assert!(len <= PAGE_BYTES, "the trampoline is one page");
        // SAFETY: the page is ours, in the direct map, and large enough; the symbols surround smp.s's bytes.
        unsafe {
            core::ptr::copy_nonoverlapping(&raw const trampoline_start, direct(trampoline.page) as *mut u8, len);
        }
        for word in [
            &raw const trampoline_jump32,
            &raw const trampoline_base,
            &raw const trampoline_jump64,
            &raw const trampoline_gdt_base,
        ] {
            let place = trampoline.place(word) as *mut u32;
            // SAFETY: a word of the page that was just filled; it need not be aligned.
            unsafe { place.write_unaligned(place.read_unaligned() + base) };
        }
        let page = PAGE_BYTES as u64;
        let (root, pointers, directory) =
            (trampoline.page + page, trampoline.page + 2 * page, trampoline.page + 3 * page);
        let table = (Entry::PRESENT | Entry::WRITE).bits();
        for position in 0..ENTRIES {
            let is_upper = position >= ENTRIES / 2;
            let shared = || paging::entry(paging::kernel_root(), position);
            let first = |entry: u64| if position == 0 { entry } else { 0 };
            // SAFETY: the three pages are ours, and no CPU uses them yet.
            unsafe {
                paging::set_entry(root, position, if is_upper { shared() } else { first(pointers | table) });
                paging::set_entry(pointers, position, first(directory | table));
                paging::set_entry(directory, position, first(table | Entry::LARGE.bits()));
            }
        }
        trampoline.write(&raw const trampoline_root, root as usize);
        trampoline.write(&raw const trampoline_entry, other_cpu_entry as *const () as usize);
        Some(trampoline)
    }

    /// Where a symbol of smp.s is in the copy.
    fn place(&self, symbol: *const u8) -> usize {
        direct(self.page) + (symbol as usize - &raw const trampoline_start as usize)
    }

    fn write(&self, symbol: *const u8, value: usize) {
        // SAFETY: a word of the copy, aligned to 8 as in smp.s, which starting CPUs read.
        unsafe { AtomicUsize::from_ptr(self.place(symbol) as *mut usize).store(value, Ordering::SeqCst) };
    }

    fn fill_mailbox(&self, argument: usize, stack_top: usize) {
        self.write(&raw const trampoline_argument, argument);
        self.write(&raw const trampoline_stack, stack_top);
    }

    fn empty_mailbox(&self) {
        self.write(&raw const trampoline_stack, 0);
    }

    fn is_mailbox_empty(&self) -> bool {
        let place = self.place(&raw const trampoline_stack) as *mut usize;
        // SAFETY: as in `write`.
        unsafe { AtomicUsize::from_ptr(place).load(Ordering::SeqCst) == 0 }
    }

    /// Gives the pages to the frame allocator.
    fn free(self) {
        // SAFETY: nobody starts any more.
        unsafe { memory::release_trampoline() };
    }
}
