//! [`Platform`]: what this crate needs of the machine beyond the link-time seam of `sync::machine`.
//!
//! Functions about "the program's registers" mean the ones live on the calling CPU: they belong to the thread on whose
//! behalf the caller runs. The kernel itself never uses vector registers, so those of the program stay where they are.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use abi::signal::{FPX_SW_BYTES_OFFSET, FXSAVE_SIZE};
use abi::{Errno, Signal};
use mm::{AddressSpace, Frame, PageTable, UserReader, UserWriter};
use sched::{CpuSet, Policy};

use crate::registers::Registers;
use crate::thread::Thread;

/// How the first process ended, and with it the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It called `exit` with this status.
    Exited(u8),
    /// A signal killed it.
    Killed(Signal),
}

/// A vector state the CPU refuses to load: reserved bits set, or components it does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidVectorState;

/// Facts about the processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuInfo {
    /// How many there are.
    pub count: u32,
    /// `AT_HWCAP`: EDX of CPUID leaf 1.
    pub capabilities: u64,
    /// `AT_HWCAP2`.
    pub capabilities2: u64,
    /// Bytes of a saved vector state: the XSAVE area for all enabled components, or 512 without XSAVE.
    pub vector_state_size: usize,
    /// The components of the vector state (XCR0); none when the CPU has no XSAVE and states are FXSAVE images.
    pub vector_features: Option<u64>,
}

/// What a CPU has done since it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuCounters {
    /// Time without a thread to run: polling and halted.
    pub idle_ns: u64,
    /// The part of it that was spent polling.
    pub polled_ns: u64,
    /// Times it halted.
    pub halts: u64,
    /// Switches between threads, or from and to idleness.
    pub switches: u64,
    /// Threads it took from other CPUs.
    pub migrations: u64,
    /// Interrupts of its timer.
    pub timer_interrupts: u64,
    /// Interrupts that others sent it to look at what it should run.
    pub reschedule_interrupts: u64,
    /// Interrupts that others sent it to flush translations.
    pub flush_interrupts: u64,
    /// Threads it woke.
    pub wakes: u64,
    /// Threads that run or wait there now.
    pub runnable: u32,
}

/// How many exceptions the architecture has.
pub const EXCEPTION_COUNT: usize = 32;
/// How often each exception happened on a CPU, by its number: in the program, or in copies from and to its memory.
pub type ExceptionCounters = [u64; EXCEPTION_COUNT];

/// How often CPUs had translations flushed by others, in all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FlushCounters {
    /// Batches that concerned other CPUs.
    pub requests: u64,
    /// CPUs that were interrupted for one.
    pub cpus: u64,
    /// CPUs that were idle and only marked.
    pub spared: u64,
}

/// Objects of one size on the kernel's heap, which lie in slabs of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HeapClass {
    /// Bytes of an object.
    pub object_bytes: u64,
    /// How many a slab has room for.
    pub objects_per_slab: u64,
    /// How many slabs there are.
    pub slabs: u64,
    /// Objects in use, with those that CPUs keep for themselves.
    pub used: u64,
}

/// The frames of the vDSO; none of them is ever freed.
pub struct VdsoFrames {
    /// The page of data that the image reads, which lies right before it.
    pub data: Frame,
    /// The image.
    pub image: Vec<Frame>,
    /// Where the image has its copy of what [`Platform::call_by_syscall`] names.
    pub by_syscall: usize,
}

/// How a new thread begins.
pub struct ThreadStart {
    /// The program's registers.
    pub registers: Registers,
    /// Its fs base; none: the caller's.
    pub fs_base: Option<u64>,
}

/// The machine, as this crate sees it.
pub trait Platform: Send + Sync {
    /// Facts about the processors; the same answer at every call.
    fn cpu_info(&self) -> CpuInfo;

    /// The number of the calling CPU.
    fn current_cpu(&self) -> u32;

    /// Sets the program's fs base. The address lies in the program's half.
    fn set_fs_base(&self, address: u64);

    /// The program's fs base.
    fn fs_base(&self) -> u64;

    /// Sets the program's gs base. The address lies in the program's half. `ENOSYS` when the machine cannot.
    fn set_gs_base(&self, address: u64) -> Result<(), Errno>;

    /// The program's gs base.
    fn gs_base(&self) -> u64;

    /// Writes the program's vector registers to `state`, which has [`CpuInfo::vector_state_size`] bytes, in the standard
    /// XSAVE format (FXSAVE without it). The 48 bytes from 464 on are free for the caller.
    fn save_vector_state(&self, state: &mut [u8]);

    /// Loads the program's vector registers from `state`, which has at least 512 bytes. Only components in `features`
    /// are taken, as far as `state` is long enough and its header says it has them; all others are reset. The contents
    /// are the program's own and trusted for nothing.
    fn restore_vector_state(&self, state: &[u8], features: u64) -> Result<(), InvalidVectorState>;

    /// As [`Platform::save_vector_state`], straight to program memory at `address`, which is a multiple of 64. The bytes from 464 to
    /// 512 stay as they are, and so may those from 520 to 576, which must be zero. x87 and SSE state count as present.
    fn save_vector_state_to_user(&self, address: usize) -> Result<(), Errno> {
        const LEGACY_COMPONENTS: u8 = 3;
        let mut state = alloc::vec![0; self.cpu_info().vector_state_size];
        self.save_vector_state(&mut state);
        let (legacy, extended) = state.split_at_mut(FXSAVE_SIZE);
        UserWriter::new(address, FPX_SW_BYTES_OFFSET)?.write_all(&legacy[..FPX_SW_BYTES_OFFSET])?;
        if let Some(present) = extended.first_mut() {
            *present |= LEGACY_COMPONENTS;
        }
        UserWriter::new(address.checked_add(FXSAVE_SIZE).ok_or(Errno::EFAULT)?, extended.len())?.write_all(extended)
    }

    /// As [`Platform::restore_vector_state`], straight from program memory. No `features`: there is only the legacy part, without a
    /// header. When it fails, the registers are reset.
    fn restore_vector_state_from_user(&self, address: usize, features: Option<u64>) -> Result<(), InvalidVectorState> {
        const LEGACY_FEATURES: u64 = 3;
        let size = if features.is_some() { self.cpu_info().vector_state_size } else { FXSAVE_SIZE };
        let mut state = alloc::vec![0; size];
        let read = UserReader::new(address, size).and_then(|mut reader| reader.read_exact(&mut state));
        let restored = read
            .map_err(|_| InvalidVectorState)
            .and_then(|()| self.restore_vector_state(&state, features.unwrap_or(LEGACY_FEATURES)));
        if restored.is_err() {
            self.reset_vector_state();
        }
        restored
    }

    /// Puts the program's vector registers in the state a new program finds.
    fn reset_vector_state(&self);

    /// An empty lower half.
    fn new_page_table(&self) -> Result<Box<dyn PageTable>, Errno>;

    /// Makes the calling CPU see this address space in its lower half.
    fn activate(&self, space: &AddressSpace);

    /// Makes a thread that may be running its program on another CPU enter the kernel soon, where it looks at its
    /// signals. A thread that waits in the kernel is woken without this. Callable from interrupts.
    fn kick(&self, thread: &Thread) {
        let _ = thread;
    }

    /// What the CPUID instruction says to this leaf and subleaf: EAX, EBX, ECX, EDX. All zero where there is none.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let _ = (leaf, subleaf);
        [0; 4]
    }

    /// The frequency of the time stamp counter in kilohertz; 0 if it is not known.
    fn tsc_khz(&self) -> u64 {
        0
    }

    /// Calls [`Thread::note_timer`] of the thread that runs on this CPU, or was interrupted on it, if there is one.
    /// From any context.
    fn note_timer(&self) {}

    /// Lets other runnable threads run first.
    fn yield_now(&self) {}

    /// Runs another thread first if one is due; for the exit path.
    fn reschedule(&self) {}

    /// Makes what a new thread runs on, so that [`Platform::launch`] cannot fail: a kernel stack, and a vector state that is a copy
    /// of the caller's. The thread begins in its program with these registers, on the caller's address space. `ENOMEM` or
    /// `EAGAIN` when there is no room. The machine keeps the thread until it has ended, or until [`Platform::abandon`].
    fn create_context(&self, thread: &Arc<Thread>, start: ThreadStart) -> Result<(), Errno> {
        let _ = (thread, start);
        Err(Errno::EAGAIN)
    }

    /// Lets a thread run that has a context.
    fn launch(&self, thread: &Thread) {
        let _ = thread;
    }

    /// Gives up the context of a thread that was not launched.
    fn abandon(&self, thread: &Thread) {
        let _ = thread;
    }

    /// Ends the calling thread, which is in no table any more. Its `Thread` is dropped some time later, by another one. The last
    /// thing that is done on its behalf is `farewell`, which wakes who waits for the end: called with interrupts off, so that
    /// nobody runs before the thread has left the CPU.
    fn exit_thread(&self, thread: &Thread, farewell: &mut dyn FnMut()) -> ! {
        let _ = thread;
        farewell();
        self.end(Outcome::Exited(0))
    }

    /// How the thread is scheduled.
    fn policy(&self, thread: &Thread) -> Policy {
        let _ = thread;
        Policy::Other { nice: 0 }
    }

    /// Says how the thread is scheduled from now on. Callable under spinlocks.
    fn set_policy(&self, thread: &Thread, policy: Policy) {
        let _ = (thread, policy);
    }

    /// The CPUs on which the thread may run; may name more than there are.
    fn affinity(&self, thread: &Thread) -> CpuSet {
        let _ = thread;
        CpuSet::ALL
    }

    /// Says where the thread may run; at least one CPU that there is. On return it runs nowhere else.
    fn set_affinity(&self, thread: &Thread, cpus: CpuSet) {
        let _ = (thread, cpus);
    }

    /// How long the thread has been on a CPU, up to now. Never goes back.
    fn runtime_ns(&self, thread: &Thread) -> u64 {
        let _ = thread;
        0
    }

    /// The CPU on which the thread runs, or did last.
    fn cpu_of(&self, thread: &Thread) -> u32 {
        let _ = thread;
        0
    }

    /// Whether the thread is on a CPU or waits for one, and not for an event.
    fn is_runnable(&self, thread: &Thread) -> bool {
        let _ = thread;
        true
    }

    /// What a CPU has done; all zero for one that is not there.
    fn cpu_counters(&self, cpu: u32) -> CpuCounters {
        let _ = cpu;
        CpuCounters::default()
    }

    /// The exceptions of a CPU; all zero for one that is not there.
    fn exception_counters(&self, cpu: u32) -> ExceptionCounters {
        let _ = cpu;
        [0; EXCEPTION_COUNT]
    }

    /// The sizes of objects on the kernel's heap, in ascending order.
    fn heap_classes(&self) -> Vec<HeapClass> {
        Vec::new()
    }

    /// What flushes cost the other CPUs.
    fn flush_counters(&self) -> FlushCounters {
        FlushCounters::default()
    }

    /// Makes every CPU that runs a thread of this address space pass a full memory barrier before this returns; all CPUs when
    /// there is none given. `membarrier`'s own.
    fn barrier(&self, space: Option<&AddressSpace>) {
        let _ = space;
    }

    /// Makes the machine call [`crate::timer::TimerService::expire`] from an interrupt at this time on the clock of
    /// `sync::machine::now_ns`, in place of the time set before; `NEVER` for not at all. Called with interrupts off and
    /// timers locked.
    fn set_timer(&self, deadline_ns: u64) {
        let _ = deadline_ns;
    }

    /// The pages of the vDSO, of which every program gets a mapping. `None` when there is no vDSO.
    fn vdso(&self) -> Option<VdsoFrames> {
        None
    }

    /// Tells the vDSO what `gettimeofday` says of the time zone.
    fn set_time_zone(&self, minutes_west: i32, dst_time: i32) {
        let _ = (minutes_west, dst_time);
    }

    /// Where the machine's own code makes a call of the C entry by the instruction `syscall`: `mov r10, rcx`, `syscall`, `ret`.
    fn call_by_syscall(&self) -> Option<Range<u64>> {
        None
    }

    /// Sets the wall clock (`sync::machine::realtime_ns`).
    fn set_realtime_ns(&self, now_ns: u64) {
        let _ = now_ns;
    }

    /// Takes one line that tells the host what the program does ([`crate::trace`]). May wait for the host.
    fn observe(&self, line: &[u8]) {
        let _ = line;
    }

    /// Whether so little memory is left that the kernel lives on what it keeps for itself.
    fn is_memory_exhausted(&self) -> bool {
        false
    }

    /// The program's memory is about to go: whoever is to be told where its code was is told now.
    fn note_end_of_memory(&self) {}

    /// Ends the machine, with its file systems: the first process is gone.
    fn end(&self, outcome: Outcome) -> !;
}
