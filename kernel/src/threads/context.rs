//! [`Context`]: what the machine keeps of a thread; [`TABLE`]: where all of them are.
//!
//! 1. Contexts live in chunks that are made when needed and never freed, so a name is always good to follow. A context whose thread
//!    has ended goes to a list, with its kernel stack, and serves the next thread.
//! 2. A context's name ([`ThreadId`]) is where it lies in the direct map, in units of its alignment: whoever has a name has the context
//!    at once. Names are made by [`Context::id`] alone.
//! 3. A handle to a thread ([`sync::machine::ThreadHandle`], `linux::Thread::context`) is that number. A stale one leads to another
//!    thread, which is then woken for nothing; every wait allows for that.
//! 4. The cells belong to whoever the module above says: the creator before the launch, then the CPU that the thread is on.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, UnsafeCell};
use core::ptr::{NonNull, null, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use linux::{Registers, Thread};
use sched::{Arrival, CpuSet, Node, Nodes, Policy, ThreadId};
#[cfg(debug_assertions)]
use sync::HeldRanks;
use sync::{IrqSpinLock, rank};

use crate::arch::vector_state;
use crate::memory::layout::DIRECT_MAP;
use crate::memory::paging;
use crate::memory::stacks::{self, KernelStack, THREAD_STACK_PAGES};

/// The most threads there are at once.
pub(crate) const THREADS_MAX: usize = 65_536;
const CHUNK_CONTEXTS: usize = 32;
/// Contexts without a thread that keep their stacks.
const SPARE_MAX: u32 = 64;
/// The end of the list of spare contexts.
const NONE: u32 = u32::MAX;

/// The thread runs or waits for a CPU.
pub(crate) const RUNNABLE: u32 = 0;
/// The thread waits to be woken.
pub(crate) const BLOCKED: u32 = 1;

/// No CPU has its vector registers.
pub(crate) const NO_CPU: u32 = u32::MAX;

/// What the machine keeps of a thread.
#[repr(align(64))]
pub(crate) struct Context {
    /// The scheduler's part.
    pub(crate) node: Node,
    /// [`RUNNABLE`] or [`BLOCKED`].
    pub(crate) state: AtomicU32,
    /// See the module above.
    pub(crate) is_on_cpu: AtomicBool,
    /// How it comes to the next queue.
    arrival: AtomicU8,
    /// The CPU that last loaded its vector registers.
    pub(crate) vector_cpu: Cell<u32>,
    /// Where its registers are, while it is on no CPU.
    pub(crate) stack_pointer: Cell<usize>,
    pub(crate) fs_base: Cell<u64>,
    /// The program's gs base; 0 if it never set one.
    pub(crate) gs_base: Cell<u64>,
    /// The top page table of its address space.
    pub(crate) root: AtomicU64,
    thread: Cell<*const Thread>,
    stack: UnsafeCell<Option<KernelStack>>,
    /// The lowest address of the stack, and where the vector state begins.
    stack_bounds: Cell<(usize, usize)>,
    next_spare: Cell<u32>,
    /// The timer of its sleep: the CPU that has it, and its name there.
    pub(crate) sleep: Cell<Option<super::timer::Sleep>>,
    #[cfg(debug_assertions)]
    held: HeldRanks,
    /// [`SEAL`].
    #[cfg(debug_assertions)]
    seal: u64,
}

/// What every context has in it, for builds that check names.
#[cfg(debug_assertions)]
const SEAL: u64 = 0x7c6f_3a51_90de_4b28;

/// The unit of the names of contexts.
const NAME_UNIT: usize = align_of::<Context>();

// SAFETY: the cells are touched by one context of execution at a time, handed on with release and acquire order of `is_on_cpu`, the
// queue's lock or the inbox (module documentation, 4).
unsafe impl Sync for Context {}
// SAFETY: nothing in it belongs to a CPU.
unsafe impl Send for Context {}

impl Context {
    fn new() -> Self {
        Self {
            node: Node::new(Policy::Other { nice: 0 }, CpuSet::ALL),
            state: AtomicU32::new(RUNNABLE),
            is_on_cpu: AtomicBool::new(false),
            arrival: AtomicU8::new(0),
            vector_cpu: Cell::new(NO_CPU),
            stack_pointer: Cell::new(0),
            fs_base: Cell::new(0),
            gs_base: Cell::new(0),
            root: AtomicU64::new(0),
            thread: Cell::new(null()),
            stack: UnsafeCell::new(None),
            stack_bounds: Cell::new((0, 0)),
            next_spare: Cell::new(NONE),
            sleep: Cell::new(None),
            #[cfg(debug_assertions)]
            held: HeldRanks::new(),
            #[cfg(debug_assertions)]
            seal: SEAL,
        }
    }

    /// Its name to the scheduler.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the heap lies in the first 256 GiB: `Table::has_chunk` looks")]
    pub(crate) fn id(&self) -> ThreadId {
        ThreadId(((core::ptr::from_ref(self).addr() - DIRECT_MAP) / NAME_UNIT) as u32)
    }

    /// The thread; null once it ends, and for a worker.
    pub(crate) fn thread(&self) -> *const Thread {
        self.thread.get()
    }

    /// Takes the thread out, for its end.
    pub(crate) fn take_thread(&self) -> Option<Arc<Thread>> {
        let thread = self.thread.replace(null());
        // SAFETY: `set_thread` stored what `Arc::into_raw` gave, and `replace` makes this the only taker.
        (!thread.is_null()).then(|| unsafe { Arc::from_raw(thread) })
    }

    /// Makes it the context of `thread`, of a policy and with CPUs where it may run.
    pub(crate) fn set_thread(&self, thread: Arc<Thread>, policy: Policy, affinity: CpuSet) {
        self.set_worker(policy, affinity);
        self.thread.set(Arc::into_raw(thread));
    }

    /// Makes it the context of a thread that runs no program.
    pub(crate) fn set_worker(&self, policy: Policy, affinity: CpuSet) {
        self.node.renew(policy, affinity);
        self.state.store(RUNNABLE, Ordering::Relaxed);
        self.vector_cpu.set(NO_CPU);
        self.gs_base.set(0);
        self.set_arrival(Arrival::New);
    }

    /// How the thread comes to the next queue.
    pub(crate) fn arrival(&self) -> Arrival {
        match self.arrival.load(Ordering::Relaxed) {
            0 => Arrival::New,
            1 => Arrival::Woken,
            2 => Arrival::Released,
            _ => Arrival::Moved,
        }
    }

    /// Says how the thread comes to the next queue.
    pub(crate) fn set_arrival(&self, arrival: Arrival) {
        let value = match arrival {
            Arrival::New => 0,
            Arrival::Woken => 1,
            Arrival::Released => 2,
            Arrival::Moved => 3,
        };
        self.arrival.store(value, Ordering::Relaxed);
    }

    /// The locks it holds.
    #[cfg(debug_assertions)]
    pub(crate) fn held(&self) -> &HeldRanks {
        &self.held
    }

    /// The stack it enters the kernel on, from the lowest address to where the vector state begins.
    #[inline]
    pub(crate) fn stack_bounds(&self) -> (usize, usize) {
        self.stack_bounds.get()
    }

    /// Where its vector registers are saved: at the top of its stack, aligned to 64.
    pub(crate) fn vector_area(&self) -> NonNull<u8> {
        NonNull::new(self.stack_bounds().1 as *mut u8).expect("a context in use has a stack")
    }

    /// The frame that its entries from the program fill.
    pub(crate) fn program_frame(&self) -> *mut Registers {
        (self.stack_bounds().1 - 8 - size_of::<Registers>()) as *mut Registers
    }

    fn has_stack(&self) -> bool {
        self.stack_bounds.get() != (0, 0)
    }

    /// Gives it a stack, or takes it away.
    ///
    /// # Safety
    /// The context is in no list and has no thread: it is the caller's.
    unsafe fn replace_stack(&self, stack: Option<KernelStack>) -> Option<KernelStack> {
        let vector_area = |stack: &KernelStack| stack.top() - vector_state::size_bytes().next_multiple_of(64);
        self.stack_bounds.set(stack.as_ref().map_or((0, 0), |stack| (stack.bottom(), vector_area(stack))));
        // SAFETY: per the contract nobody else looks.
        unsafe { core::mem::replace(&mut *self.stack.get(), stack) }
    }
}

type Chunk = [Context; CHUNK_CONTEXTS];

/// All contexts.
pub(crate) struct Table {
    chunks: [AtomicPtr<Chunk>; THREADS_MAX / CHUNK_CONTEXTS],
    /// Contexts in use or spare: those below this index exist.
    made: AtomicUsize,
    spare: IrqSpinLock<Spare>,
}

/// The contexts without a thread.
struct Spare {
    first: u32,
    /// How many of them have a stack: they are the first ones of the list.
    with_stack: u32,
    first_bare: u32,
}

/// The table of this machine.
pub(crate) static TABLE: Table = Table {
    chunks: [const { AtomicPtr::new(null_mut()) }; THREADS_MAX / CHUNK_CONTEXTS],
    made: AtomicUsize::new(0),
    spare: IrqSpinLock::new(rank::CONTEXTS, Spare { first: NONE, with_stack: 0, first_bare: NONE }),
};

impl Nodes for Table {
    #[inline]
    fn node(&self, id: ThreadId) -> &Node {
        &self.get(id).node
    }
}

impl Table {
    /// Makes the contexts that name the tables at `root` name the kernel's own. The tables are about to be freed: only threads
    /// that have left their process, and will never touch its memory again, can still be on them.
    pub(crate) fn forget_root(&self, root: u64) {
        let made = self.made.load(Ordering::Acquire);
        for context in (0..made).map(|index| self.at(index)) {
            // Who loses sees the new value, or has replaced it itself.
            let _ = context.root.compare_exchange(root, paging::kernel_root(), Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// The context of a name.
    #[inline]
    pub(crate) fn get(&self, id: ThreadId) -> &'static Context {
        let context = (DIRECT_MAP + id.0 as usize * NAME_UNIT) as *const Context;
        // SAFETY: names are made by `Context::id` alone, and contexts are shared only and never freed.
        let context = unsafe { &*context };
        #[cfg(debug_assertions)]
        assert_eq!(context.seal, SEAL, "a name is that of a context");
        context
    }

    /// The context of an index below `made`.
    fn at(&self, index: usize) -> &'static Context {
        let chunk = self.chunks[index / CHUNK_CONTEXTS].load(Ordering::Acquire);
        assert!(!chunk.is_null(), "contexts are made in order");
        // SAFETY: chunks are whole, shared only and never freed.
        unsafe { &(*chunk)[index % CHUNK_CONTEXTS] }
    }

    /// The context that a thread's word names: what [`Context::id`] gave, or a number that has more bits.
    #[inline]
    pub(crate) fn of_word(&self, word: u64) -> Option<&'static Context> {
        u32::try_from(word).ok().map(|name| self.get(ThreadId(name)))
    }

    /// A context with a stack and without a thread. `None` when memory or the table is used up. May sleep.
    pub(crate) fn take(&self) -> Option<&'static Context> {
        let spare = self.spare.lock().take_with_stack(self);
        if let Some(context) = spare {
            return Some(context);
        }
        let stack = stacks::allocate(THREAD_STACK_PAGES)?;
        let bare = self.spare.lock().take_bare(self);
        let context = match bare {
            Some(context) => context,
            None => self.make()?,
        };
        // SAFETY: the context is in no list and has no thread: it is ours.
        unsafe { context.replace_stack(Some(stack)) };
        // SAFETY: the area lies in the stack, which nobody uses; the header of a vector state has to be zero.
        unsafe { context.vector_area().as_ptr().write_bytes(0, vector_state::size_bytes()) };
        Some(context)
    }

    /// Takes a context back whose thread has ended and which is on no CPU, or was never launched.
    pub(crate) fn give_back(&self, context: &'static Context) {
        self.spare.lock().give(context);
    }

    /// Frees the stacks of contexts that are too many to keep. In thread context.
    pub(crate) fn trim(&self) {
        loop {
            let Some(context) = self.spare.lock().take_surplus(self) else { return };
            // SAFETY: the context is in no list and has no thread: it is ours.
            let stack = unsafe { context.replace_stack(None) };
            drop(stack);
            self.spare.lock().give_bare(context);
        }
    }

    /// A new context, the next of the table.
    fn make(&self) -> Option<&'static Context> {
        let index = self
            .made
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |made| {
                (made < THREADS_MAX && self.has_chunk(made / CHUNK_CONTEXTS)).then(|| made + 1)
            })
            .ok()?;
        Some(self.at(index))
    }

    /// Makes sure of a chunk.
    #[inline(never)]
    fn has_chunk(&self, chunk: usize) -> bool {
        let place = &self.chunks[chunk];
        if !place.load(Ordering::Acquire).is_null() {
            return true;
        }
        // One after another, in place: all of them would be too much for a kernel stack.
        let contexts: Vec<Context> = (0..CHUNK_CONTEXTS).map(|_| Context::new()).collect();
        let Ok(contexts) = Box::<Chunk>::try_from(contexts.into_boxed_slice()) else { return false };
        let end = contexts.as_ptr_range().end.addr();
        if end.checked_sub(DIRECT_MAP).is_none_or(|offset| offset / NAME_UNIT >= NONE as usize) {
            return false;
        }
        let contexts = Box::into_raw(contexts);
        if place.compare_exchange(null_mut(), contexts, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: the pointer came from `into_raw` and was not published.
            drop(unsafe { Box::from_raw(contexts) });
        }
        true
    }
}

impl Spare {
    fn take_with_stack(&mut self, table: &Table) -> Option<&'static Context> {
        if self.first == NONE {
            return None;
        }
        let context = table.get(ThreadId(self.first));
        self.first = context.next_spare.get();
        self.with_stack -= 1;
        Some(context)
    }

    fn take_surplus(&mut self, table: &Table) -> Option<&'static Context> {
        if self.with_stack > SPARE_MAX { self.take_with_stack(table) } else { None }
    }

    fn take_bare(&mut self, table: &Table) -> Option<&'static Context> {
        if self.first_bare == NONE {
            return None;
        }
        let context = table.get(ThreadId(self.first_bare));
        self.first_bare = context.next_spare.get();
        Some(context)
    }

    fn give(&mut self, context: &'static Context) {
        debug_assert!(context.has_stack(), "a context that was in use has a stack");
        context.next_spare.set(self.first);
        self.first = context.id().0;
        self.with_stack += 1;
    }

    fn give_bare(&mut self, context: &'static Context) {
        context.next_spare.set(self.first_bare);
        self.first_bare = context.id().0;
    }
}
