//! [`Process`]: what the threads of a program share.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use abi::{Errno, Siginfo};
use mm::AddressSpace;
use sync::rcu::{RcuCell, ReadGuard};
use sync::{Mutex, SpinLock, WaitQueue, machine, rank};
use vfs::PathRef;

use crate::accounting::ProcessAccounting;
use crate::limits::{Limits, SoftLimits};
use crate::native::Loans;
use crate::platform::Outcome;
use crate::signal::{ProcessSignals, Published, SignalTable};
use crate::syscall::BarrierRegistrations;
use crate::system::System;
use crate::thread::Thread;
use crate::timer::ProcessTimers;

/// The program a process runs, as `/proc` shows it. Replaced as a whole by `execve`.
#[derive(Clone)]
pub struct ProgramImage {
    /// The executable (`/proc/self/exe`).
    pub executable: PathRef,
    /// Keeps others from writing to the executable, while the process lives.
    pub running: Option<Arc<Running>>,
    /// Where the argument strings lie in program memory (`cmdline`).
    pub arguments: core::ops::Range<usize>,
    /// Where the environment strings lie in program memory (`environ`).
    pub environment: core::ops::Range<usize>,
    /// The auxiliary vector's bytes (`auxv`).
    pub auxiliary_vector: Vec<u8>,
    /// First address of the program's code, and the one after it (`stat`).
    pub code: core::ops::Range<usize>,
    /// The stack pointer at the start (`stat`).
    pub stack_start: usize,
    /// The vDSO's own copy of what [`crate::Platform::call_by_syscall`] names.
    pub call_by_syscall: Option<u64>,
}

/// A file that is being executed: nobody can open it for writing (`ETXTBSY`).
pub struct Running(PathRef);

impl Running {
    /// Denies writing from now on; `ETXTBSY` when someone has the file open for writing.
    pub(crate) fn begin(file: &PathRef) -> Result<Arc<Self>, Errno> {
        file.inode().metadata().deny_writing()?;
        Ok(Arc::new(Self(file.clone())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.inode().metadata().allow_writing();
    }
}

/// What a new process is made of.
pub(crate) struct NewProcess {
    pub system: Arc<System>,
    pub pid: u32,
    pub parent_pid: u32,
    pub group: u32,
    pub session: u32,
    pub address_space: Arc<AddressSpace>,
    pub actions: Arc<SignalTable>,
    pub limits: Limits,
    pub image: ProgramImage,
}

/// A process.
pub struct Process {
    pid: u32,
    parent_pid: AtomicU32,
    group: AtomicU32,
    session: AtomicU32,
    started_ns: u64,
    system: Arc<System>,
    address_space: RcuCell<AddressSpace>,
    /// [`AddressSpace::root`] of the memory.
    memory_root: AtomicU64,
    image: SpinLock<Arc<ProgramImage>>,
    limits: SpinLock<Limits>,
    /// Of these, what calls look at.
    soft_limits: SoftLimits,
    /// Held while limits are put in force, so that the newest win.
    enforcing: Mutex<()>,
    actions: Arc<SignalTable>,
    /// The threads that have not begun to end.
    pub(crate) staying: AtomicUsize,
    /// Signals for the process as a whole, and its threads.
    pub(crate) signals: Published<ProcessSignals>,
    /// Whether core dumps and `/proc` access by others are allowed (`PR_SET_DUMPABLE`).
    pub(crate) dumpable: AtomicU32,
    pub(crate) is_child_subreaper: AtomicBool,
    /// How much sooner or later than others it is to be ended when memory runs out (`oom_score_adj`).
    pub(crate) out_of_memory_adjustment: AtomicI32,
    /// What it needs a privilege for to be ended even later.
    pub(crate) out_of_memory_adjustment_min: AtomicI32,
    /// `PR_SET_THP_DISABLE`: only remembered, as there are no huge pages to leave out.
    pub(crate) forgoes_huge_pages: AtomicBool,
    may_lock_any: AtomicBool,
    accounting: ProcessAccounting,
    /// Which barriers it asks for.
    pub(crate) barriers: BarrierRegistrations,
    /// The timers that send it signals.
    pub(crate) timers: ProcessTimers,
    /// Woken when a signal waits: the queue of all its `signalfd`s.
    pub(crate) signal_arrivals: Arc<WaitQueue>,
    /// Woken when one of its threads has left it.
    pub(crate) thread_ends: WaitQueue,
    /// What it has borrowed of the kernel's memory.
    pub(crate) loans: Loans,
    /// The soft limit of `RLIMIT_SIGPENDING`, for senders in interrupts.
    pending_signals_max: AtomicUsize,
}

impl Process {
    /// A process without threads.
    pub(crate) fn new(new: NewProcess) -> Arc<Self> {
        let table = rank::PROCESS_TABLES;
        let process = Self {
            pid: new.pid,
            parent_pid: AtomicU32::new(new.parent_pid),
            group: AtomicU32::new(new.group),
            session: AtomicU32::new(new.session),
            started_ns: machine::now_ns(),
            system: new.system,
            memory_root: AtomicU64::new(new.address_space.root()),
            address_space: RcuCell::new(new.address_space),
            image: SpinLock::new(table, Arc::new(new.image)),
            soft_limits: SoftLimits::new(&new.limits),
            limits: SpinLock::new(table, new.limits),
            enforcing: Mutex::new(rank::PROCESS, ()),
            actions: new.actions,
            staying: AtomicUsize::new(0),
            signals: Published::new(ProcessSignals::new()),
            dumpable: AtomicU32::new(1),
            is_child_subreaper: AtomicBool::new(false),
            out_of_memory_adjustment: AtomicI32::new(0),
            out_of_memory_adjustment_min: AtomicI32::new(0),
            forgoes_huge_pages: AtomicBool::new(false),
            may_lock_any: AtomicBool::new(true),
            accounting: ProcessAccounting::new(),
            barriers: BarrierRegistrations::default(),
            timers: ProcessTimers::new(),
            signal_arrivals: Arc::new(WaitQueue::new()),
            thread_ends: WaitQueue::new(),
            loans: Loans::new(),
            pending_signals_max: AtomicUsize::new(usize::MAX),
        };
        process.enforce_limits();
        Arc::new(process)
    }

    /// Its number.
    #[inline]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The number of its parent; 0 for the first process.
    #[inline]
    pub fn parent_pid(&self) -> u32 {
        self.parent_pid.load(Relaxed)
    }

    /// Its process group.
    pub fn group(&self) -> u32 {
        self.group.load(Relaxed)
    }

    /// Its session.
    pub fn session(&self) -> u32 {
        self.session.load(Relaxed)
    }

    pub(crate) fn set_group(&self, group: u32) {
        self.group.store(group, Relaxed);
    }

    /// Makes it the leader of a new session and a new group.
    pub(crate) fn lead_session(&self) {
        self.session.store(self.pid, Relaxed);
        self.group.store(self.pid, Relaxed);
    }

    /// When it started, on the clock of [`machine::now_ns`].
    pub fn started_ns(&self) -> u64 {
        self.started_ns
    }

    /// What all processes share.
    #[inline]
    pub fn system(&self) -> &Arc<System> {
        &self.system
    }

    /// Its memory.
    #[inline]
    pub fn address_space(&self) -> Arc<AddressSpace> {
        self.address_space.load()
    }

    /// Its memory, for the length of a read section.
    #[inline]
    pub(crate) fn look_at_address_space<'a>(&'a self, section: &'a ReadGuard) -> &'a AddressSpace {
        self.address_space.get(section)
    }

    /// What tells its memory from that of others ([`AddressSpace::root`]), without a lock.
    #[inline]
    pub(crate) fn memory_root(&self) -> u64 {
        self.memory_root.load(Relaxed)
    }

    /// The program it runs.
    pub fn image(&self) -> Arc<ProgramImage> {
        Arc::clone(&self.image.lock())
    }

    /// What it does with signals.
    pub fn actions(&self) -> &SignalTable {
        &self.actions
    }

    /// Its resource limits.
    pub fn limits(&self) -> Limits {
        self.limits.lock().clone()
    }

    /// One soft limit, by the number of its resource (`RLIMIT_*`).
    #[inline]
    pub fn soft_limit(&self, resource: usize) -> u64 {
        self.soft_limits.get(resource)
    }

    /// Changes the limits by `change` and puts them in force.
    pub(crate) fn change_limits<R>(&self, change: impl FnOnce(&mut Limits) -> Result<R, Errno>) -> Result<R, Errno> {
        let mut limits = self.limits.lock();
        let result = change(&mut limits)?;
        self.soft_limits.set(&limits);
        drop(limits);
        self.enforce_limits();
        Ok(result)
    }

    /// Runs another program from now on, in another address space. Answers the old one, which a grace period keeps as
    /// well.
    pub(crate) fn replace_program(&self, space: Arc<AddressSpace>, image: ProgramImage) -> Arc<AddressSpace> {
        drop(self.replace_image(image));
        self.memory_root.store(space.root(), Relaxed);
        let old = self.address_space.load();
        self.address_space.replace(space);
        old
    }

    /// Answers the old one: neither making the new one nor letting go of that is for under the lock.
    fn replace_image(&self, image: ProgramImage) -> Arc<ProgramImage> {
        let image = Arc::new(image);
        core::mem::replace(&mut *self.image.lock(), image)
    }

    /// Has ended: its memory goes, and it runs no file any more. What it ran counts as `place`.
    pub(crate) fn let_go(&self, place: PathRef) {
        self.loans.clear();
        self.address_space().clear();
        let image = ProgramImage { executable: place, running: None, ..(*self.image()).clone() };
        drop(self.replace_image(image));
    }

    /// Puts the limits in force.
    pub(crate) fn enforce_limits(&self) {
        let _order = self.enforcing.lock();
        let limits = self.limits();
        self.address_space().set_limits(limits.of_memory(self.may_lock_any.load(Relaxed)));
        let descriptors = limits.soft(abi::resource::RLIMIT_NOFILE);
        self.threads().iter().for_each(|thread| thread.fds().set_limit(descriptors));
        let pending = usize::try_from(limits.soft(abi::resource::RLIMIT_SIGPENDING)).unwrap_or(usize::MAX);
        self.pending_signals_max.store(pending, Relaxed);
    }

    /// Notes whether its threads may lock any amount of memory (`CAP_IPC_LOCK`).
    pub(crate) fn set_may_lock_any(&self, may: bool) {
        if self.may_lock_any.swap(may, Relaxed) != may {
            self.enforce_limits();
        }
    }

    /// How many signals may be queued with information.
    pub(crate) fn pending_signals_max(&self) -> usize {
        self.pending_signals_max.load(Relaxed)
    }

    /// What it has used beside its threads.
    pub fn accounting(&self) -> &ProcessAccounting {
        &self.accounting
    }

    /// How many threads it has, with a first one that has ended before the others.
    pub fn thread_count(&self) -> usize {
        let signals = self.signals.lock();
        signals.members.count()
    }

    /// The numbers of its threads, ascending, with that of a first one that has ended before the others.
    pub fn thread_numbers(&self) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.threads().iter().map(|thread| thread.tid()).collect();
        if self.signals.lock().members.has_ended_leader() {
            numbers.push(self.pid);
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Its threads that have not ended.
    pub fn threads(&self) -> Vec<Arc<Thread>> {
        let mut threads = Vec::new();
        loop {
            let signals = self.signals.lock();
            if threads.capacity() >= signals.threads().len() {
                threads.extend(signals.threads().iter().cloned());
                return threads;
            }
            let count = signals.threads().len();
            drop(signals);
            threads.reserve(count);
        }
    }

    /// Sends a signal that the kernel or a device raised to the process: a terminal's `SIGINT`, the host's `SIGTERM`.
    /// Callable from interrupts.
    pub fn raise(&self, info: Siginfo) {
        // Full queues lose the information, never the signal.
        let _ = crate::signal::send_to_process(self, info);
    }

    /// Makes every thread end as soon as it can, and the process with this outcome. The first call decides.
    pub(crate) fn begin_exit(&self, outcome: Outcome) {
        crate::exit::begin(self, outcome);
    }
}
