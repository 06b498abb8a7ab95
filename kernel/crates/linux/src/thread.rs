//! [`Thread`]: one thread of a program.
//!
//! A thread changes its own state; others send it signals and read what `/proc` shows. The attention word tells the exit
//! path, with one load, whether anything is to be done before the program continues.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::SyscallResult;
use crate::accounting::Accounting;
use crate::clone::{self, ThreadRequest};
use crate::credentials::{CAP_IPC_LOCK, Credentials};
use crate::fs::SharedFs;
use crate::futex::FutexState;
use crate::held::Held;
use crate::members::Place;
use crate::platform::Platform;
use crate::process::Process;
use crate::registers::Registers;
use crate::rseq::Sequence;
use crate::scheduling::Scheduling;
use crate::signal::ThreadSignals;
use crate::wait::FEW;
use abi::Errno;
use abi::process::TASK_COMM_LEN;
use bitflags::bitflags;
use file::FdTable;
use mm::AddressSpace;
use sync::rcu::{RcuCell, ReadGuard};
use sync::{Parker, SpinLock, WaitNode, rank};

bitflags! {
    /// What the exit path has to look at before the program continues.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Attention: u32 {
        /// A signal may be deliverable.
        const SIGNAL = 1;
        /// The process ends.
        const EXIT = 1 << 1;
        /// The thread returns from a signal handler.
        const SIGNAL_RETURN = 1 << 2;
        /// A temporary signal mask is to be taken back.
        const RESTORE_MASK = 1 << 3;
        /// The process is stopped by job control.
        const STOP = 1 << 4;
        /// A system call left something to do with the registers.
        const DEFERRED = 1 << 5;
        /// The kernel has used much of the memory that it keeps for itself: some is to be given back, or the program ends.
        const MEMORY = 1 << 6;
        /// The machine wants to run another thread, or to look at what it runs.
        const RESCHEDULE = 1 << 7;
        /// The thread was off the CPU, or a signal is delivered: its restartable sequence has to be looked at.
        const RESTARTABLE_SEQUENCE = 1 << 8;
        /// A timer was started that is due at once, such as the signal of a file: its interrupt is not waited for.
        const TIMER = 1 << 9;
    }
}

/// What `restart_syscall` continues: the rest of an interrupted call, such as a sleep until its fixed end.
pub type Continuation = Box<dyn FnOnce(&Thread) -> SyscallResult + Send>;

/// The part of a system call that needs the program's registers: run on the exit path, after the result is in its
/// register, and free to replace it.
pub(crate) enum Deferred {
    /// Makes a thread; the result is its number.
    Clone(ThreadRequest),
    /// Anything else.
    Other(Box<OnExit>),
}

type OnExit = dyn FnOnce(&Thread, &mut Registers) + Send;

impl Deferred {
    /// Something that happens less often than threads are made.
    pub(crate) fn other(function: impl FnOnce(&Thread, &mut Registers) + Send + 'static) -> Self {
        Self::Other(Box::new(function))
    }

    /// Does it.
    pub(crate) fn finish(self, thread: &Thread, registers: &mut Registers) {
        match self {
            Self::Clone(request) => {
                registers.rax = match clone::create(thread, registers, &request) {
                    Ok(tid) => u64::from(tid),
                    Err(errno) => errno.as_negative().cast_unsigned() as u64,
                };
            }
            Self::Other(function) => function(thread, registers),
        }
    }
}

/// The last fault of the program, which signal frames show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRecord {
    /// The number of the exception.
    pub trap_number: u64,
    /// Its error code, as a program in ring 3 would cause it.
    pub error_code: u64,
    /// The address of the last page fault.
    pub fault_address: u64,
}

/// A [`FaultRecord`] that only its thread uses.
#[derive(Default)]
struct FaultCell([AtomicU64; 3]);

/// A thread.
pub struct Thread {
    /// Given when the thread is entered in the table of threads.
    tid: AtomicU32,
    process: Arc<Process>,
    fds: Held<FdTable>,
    fs: Held<SharedFs>,
    parker: Arc<Parker>,
    /// Its place in the wait queue of the file it waits for.
    wait_node: Arc<WaitNode>,
    /// Others, for waits for several things, kept from the last one.
    spare_nodes: SpinLock<[Option<Arc<WaitNode>>; FEW - 1]>,
    /// The machine's name for it, of no meaning here.
    context: AtomicU64,
    attention: AtomicU32,
    pub(crate) signals: ThreadSignals,
    credentials: RcuCell<Credentials>,
    /// The part of them that the file layer looks at; made anew when it is another thread's.
    file_credentials: RcuCell<vfs::Credentials>,
    name: SpinLock<[u8; TASK_COMM_LEN]>,
    continuation: SpinLock<Option<Continuation>>,
    deferred: SpinLock<Option<Deferred>>,
    fault: FaultCell,
    accounting: Accounting,
    scheduling: Scheduling,
    /// Its restartable sequences.
    pub(crate) sequence: Sequence,
    /// Where it stands among the threads of its process.
    pub(crate) place: Place,
    /// It has ended, though its number may stay taken: it is the first thread of a process that goes on.
    has_ended: AtomicBool,
    /// The status it ends with if nothing else ends its process.
    pub(crate) exit_status: AtomicU8,
    /// Cleared, and waited for by others, when the thread ends (`set_tid_address`).
    pub(crate) clear_child_tid: AtomicUsize,
    /// What it waits for, and the locks it holds.
    pub(crate) futex: FutexState,
    /// The signal sent when the parent ends (`PR_SET_PDEATHSIG`).
    pub(crate) parent_death_signal: AtomicI32,
    pub(crate) timer_slack_ns: AtomicU64,
}

/// The name of a context that does not exist.
pub const NO_CONTEXT: u64 = u64::MAX;

/// How late timers may fire by default.
pub(crate) const TIMER_SLACK_DEFAULT_NS: u64 = 50_000;

impl Thread {
    /// A thread of `process`, not yet entered in any table.
    pub(crate) fn new(
        process: Arc<Process>,
        fds: Arc<FdTable>,
        fs: Arc<SharedFs>,
        (credentials, file_credentials): (Arc<Credentials>, Arc<vfs::Credentials>),
        name: [u8; TASK_COMM_LEN],
    ) -> Arc<Self> {
        let parker = Arc::new(Parker::new());
        let wait_node = WaitNode::new(Arc::clone(&parker) as _);
        let futex = FutexState::new(&parker);
        Arc::new(Self {
            tid: AtomicU32::new(0),
            process,
            fds: Held::new(fds),
            fs: Held::new(fs),
            parker,
            wait_node,
            spare_nodes: SpinLock::new(rank::PROCESS_TABLES, [const { None }; FEW - 1]),
            context: AtomicU64::new(NO_CONTEXT),
            attention: AtomicU32::new(0),
            signals: ThreadSignals::new(),
            credentials: RcuCell::new(credentials),
            file_credentials: RcuCell::new(file_credentials),
            name: SpinLock::new(rank::PROCESS_TABLES, name),
            continuation: SpinLock::new(rank::PROCESS_TABLES, None),
            deferred: SpinLock::new(rank::PROCESS_TABLES, None),
            fault: FaultCell::default(),
            accounting: Accounting::starting_now(),
            scheduling: Scheduling::new(),
            sequence: Sequence::new(),
            place: Place::nowhere(),
            has_ended: AtomicBool::new(false),
            exit_status: AtomicU8::new(0),
            clear_child_tid: AtomicUsize::new(0),
            futex,
            parent_death_signal: AtomicI32::new(0),
            timer_slack_ns: AtomicU64::new(TIMER_SLACK_DEFAULT_NS),
        })
    }

    /// A thread like `other`, in the same process: what a new thread inherits. What it does not share it has a copy of.
    pub(crate) fn beside(other: &Self, shares_fds: bool, shares_fs: bool) -> Arc<Self> {
        let fds = if shares_fds { other.fds().share() } else { Arc::new(other.fds().duplicate_table()) };
        let fs = if shares_fs { Arc::clone(other.fs()) } else { copy_of(other.fs()) };
        let credentials = (other.credentials(), other.file_credentials.load());
        let thread = Self::new(Arc::clone(&other.process), fds, fs, credentials, other.name());
        thread.signals.replace_blocked(other.signals.blocked());
        thread.timer_slack_ns.store(other.timer_slack_ns.load(Ordering::Relaxed), Ordering::Relaxed);
        thread
    }

    /// Its number.
    #[inline]
    pub fn tid(&self) -> u32 {
        self.tid.load(Ordering::Relaxed)
    }

    /// Gives it its number; for the table of threads.
    pub(crate) fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Ordering::Relaxed);
    }

    /// Its process.
    #[inline]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The machine.
    #[inline]
    pub fn platform(&self) -> &'static dyn Platform {
        self.process.system().platform()
    }

    /// The descriptors its calls use.
    #[inline]
    pub fn fds(&self) -> &Arc<FdTable> {
        self.fds.get()
    }

    /// The root, working directory and umask its calls use.
    #[inline]
    pub(crate) fn fs(&self) -> &Arc<SharedFs> {
        self.fs.get()
    }

    /// Shares its descriptors with nobody from now on. For the thread itself alone.
    pub(crate) fn unshare_fds(&self) -> Result<(), Errno> {
        let old = self.fds();
        if old.is_shared() {
            self.fds.replace(Arc::new(old.duplicate_table()))?;
            old.leave();
        }
        Ok(())
    }

    /// Shares its root, working directory and umask with nobody from now on. For the thread itself alone.
    pub(crate) fn unshare_fs(&self) -> Result<(), Errno> {
        self.fs.replace(copy_of(self.fs()))
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Notes that it has ended. What it shared is no longer to be reached through it.
    pub(crate) fn note_end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// The memory it runs in.
    #[inline]
    pub fn address_space(&self) -> Arc<AddressSpace> {
        self.process.address_space()
    }

    /// The machine's name for it; [`NO_CONTEXT`] before it has one. Set and read by the machine alone.
    #[inline]
    pub fn context(&self) -> &AtomicU64 {
        &self.context
    }

    /// Asks the exit path to call [`Platform::reschedule`] before the program goes on. Takes no lock; callable from interrupts.
    #[inline]
    pub fn note_reschedule(&self) {
        self.attention.fetch_or(Attention::RESCHEDULE.bits(), Ordering::Relaxed);
    }

    /// Takes back what [`note_reschedule`](Self::note_reschedule) asked for, as the machine chooses now.
    #[inline]
    pub fn forget_reschedule(&self) {
        if self.attention.load(Ordering::Relaxed) & Attention::RESCHEDULE.bits() != 0 {
            self.attention.fetch_and(!Attention::RESCHEDULE.bits(), Ordering::Relaxed);
        }
    }

    /// A node that wakes it, for the thread itself.
    #[inline]
    pub(crate) fn wait_node(&self) -> &Arc<WaitNode> {
        &self.wait_node
    }

    /// A node in no queue that it has kept, if there is one.
    pub(crate) fn take_spare_node(&self) -> Option<Arc<WaitNode>> {
        self.spare_nodes.lock().iter_mut().find_map(Option::take)
    }

    /// Keeps a node in no queue, if there is room.
    pub(crate) fn keep_spare_node(&self, node: Arc<WaitNode>) {
        let mut nodes = self.spare_nodes.lock();
        match nodes.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(node),
            None => {
                drop(nodes);
                drop(node);
            }
        }
    }

    /// Where it sleeps. Wake-ups through it may be spurious: every wait looks again.
    pub fn parker(&self) -> &Arc<Parker> {
        &self.parker
    }

    /// Who it is.
    pub fn credentials(&self) -> Arc<Credentials> {
        self.credentials.load()
    }

    /// The real user it works for, for others to be told.
    #[inline]
    pub(crate) fn real_user(&self) -> u32 {
        self.credentials.get(&sync::rcu::read()).user.real
    }

    /// Who it is to the file layer.
    #[inline]
    pub fn file_credentials(&self) -> Arc<vfs::Credentials> {
        let credentials = self.file_credentials.load();
        if credentials.thread == self.tid() { credentials } else { self.renew_file_credentials(credentials.identity) }
    }

    /// Who it is to the file layer, but for its number, for the length of a read section.
    #[inline]
    pub(crate) fn look_at_file_credentials<'a>(&'a self, section: &'a ReadGuard) -> &'a vfs::Credentials {
        self.file_credentials.get(section)
    }

    #[cold]
    fn renew_file_credentials(&self, identity: u64) -> Arc<vfs::Credentials> {
        let credentials = Arc::new(self.credentials().for_files(self.process.pid(), self.tid(), identity));
        self.file_credentials.replace(Arc::clone(&credentials));
        credentials
    }

    /// Makes it someone else. For the thread itself alone.
    pub(crate) fn set_credentials(&self, credentials: Credentials) {
        self.process.set_may_lock_any(credentials.has(CAP_IPC_LOCK));
        let (old_user, user) = (self.credentials().user.real, credentials.user.real);
        self.credentials.replace(Arc::new(credentials));
        static LAST_IDENTITY: AtomicU64 = AtomicU64::new(0);
        self.renew_file_credentials(LAST_IDENTITY.fetch_add(1, Ordering::Relaxed) + 1);
        if old_user != user {
            self.process.system().change_user(old_user, user);
        }
    }

    /// The command name, zero-padded.
    pub fn name(&self) -> [u8; TASK_COMM_LEN] {
        *self.name.lock()
    }

    /// Sets the command name, cut to 15 bytes.
    pub fn set_name(&self, name: &[u8]) {
        *self.name.lock() = command_name(name);
    }

    /// The last fault of its program. For the thread itself alone.
    #[inline]
    pub fn fault(&self) -> FaultRecord {
        let FaultCell([trap_number, error_code, fault_address]) = &self.fault;
        FaultRecord {
            trap_number: trap_number.load(Ordering::Relaxed),
            error_code: error_code.load(Ordering::Relaxed),
            fault_address: fault_address.load(Ordering::Relaxed),
        }
    }

    /// Notes a fault of its program. For the thread itself alone.
    pub(crate) fn set_fault(&self, fault: FaultRecord) {
        let FaultCell([trap_number, error_code, fault_address]) = &self.fault;
        trap_number.store(fault.trap_number, Ordering::Relaxed);
        error_code.store(fault.error_code, Ordering::Relaxed);
        fault_address.store(fault.fault_address, Ordering::Relaxed);
    }

    /// How it is scheduled; see [`crate::scheduling`].
    pub(crate) fn scheduling(&self) -> &Scheduling {
        &self.scheduling
    }

    /// To be called when the thread leaves a CPU: its restartable sequence, if it has one, is to be looked at before its program
    /// goes on. Takes no lock; callable from interrupts.
    #[inline]
    pub fn was_preempted(&self) {
        if self.sequence.interrupt() {
            self.note(Attention::RESTARTABLE_SEQUENCE);
        }
    }

    /// What it has used.
    pub fn accounting(&self) -> &Accounting {
        &self.accounting
    }

    /// Leaves what `restart_syscall` is to do. The call answers [`crate::Restart::Continue`].
    pub fn set_continuation(&self, continuation: Continuation) {
        let old = self.continuation.lock().replace(continuation);
        drop(old);
    }

    /// Takes what `restart_syscall` is to do.
    pub(crate) fn take_continuation(&self) -> Option<Continuation> {
        self.continuation.lock().take()
    }

    /// Leaves something to do with the registers when the system call returns.
    pub(crate) fn defer(&self, deferred: Deferred) {
        let old = self.deferred.lock().replace(deferred);
        debug_assert!(old.is_none(), "one system call defers once");
        self.note(Attention::DEFERRED);
    }

    /// Whether a system call has left something to do with the registers, or an earlier one that is dropped since.
    pub(crate) fn has_deferred(&self) -> bool {
        self.attention.load(Ordering::Relaxed) & Attention::DEFERRED.bits() != 0
    }

    /// Takes what the system call left to do with the registers.
    pub(crate) fn take_deferred(&self) -> Option<Deferred> {
        self.deferred.lock().take()
    }

    /// The word that is not zero when the exit path has something to do. Entry code may test it directly.
    pub fn attention_word(&self) -> &AtomicU32 {
        &self.attention
    }

    /// Whether the exit path has something to do before the program continues.
    #[inline]
    pub fn needs_attention(&self) -> bool {
        self.attention.load(Ordering::Relaxed) != 0
    }

    /// Whether the registers of its program are about to be those of a handler's frame.
    pub(crate) fn returns_from_handler(&self) -> bool {
        self.attention.load(Ordering::Relaxed) & Attention::SIGNAL_RETURN.bits() != 0
    }

    /// Whether waits are to end: a signal may be deliverable, or the process ends.
    pub fn is_interrupted(&self) -> bool {
        let bits = Attention::from_bits_truncate(self.attention.load(Ordering::Acquire));
        bits.intersects(Attention::SIGNAL | Attention::EXIT | Attention::STOP)
    }

    /// Whether it is already asked to look for signals, and has not begun to.
    #[inline]
    pub(crate) fn is_told_of_signal(&self) -> bool {
        self.attention.load(Ordering::SeqCst) & Attention::SIGNAL.bits() != 0
    }

    /// Asks the exit path, wherever the thread is, to look at something. Callable from interrupts.
    pub(crate) fn call_attention(&self, what: Attention) {
        let old = self.attention.fetch_or(what.bits(), Ordering::SeqCst);
        if old & what.bits() != what.bits() {
            self.parker.unpark();
            self.platform().kick(self);
        }
    }

    /// Takes the requests; for the thread itself, on the exit path.
    pub(crate) fn take_attention(&self) -> Attention {
        Attention::from_bits_truncate(self.attention.swap(0, Ordering::SeqCst))
    }

    /// Notes that the kernel has used much of the memory that it keeps for itself. Takes no lock and allocates nothing.
    pub fn note_out_of_memory(&self) {
        self.note(Attention::MEMORY);
    }

    /// Notes that a timer is due that its exit path need not wait for. Takes no lock; callable from interrupts.
    pub fn note_timer(&self) {
        self.note(Attention::TIMER);
    }

    /// Notes something for its own exit path.
    pub(crate) fn note(&self, what: Attention) {
        self.attention.fetch_or(what.bits(), Ordering::Relaxed);
    }
}

fn copy_of(fs: &SharedFs) -> Arc<SharedFs> {
    SharedFs::new(fs.get())
}

/// A command name: at most 15 bytes, zero-padded.
pub(crate) fn command_name(name: &[u8]) -> [u8; TASK_COMM_LEN] {
    let mut field = [0; TASK_COMM_LEN];
    let length = name.len().min(TASK_COMM_LEN - 1);
    field[..length].copy_from_slice(&name[..length]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_small() {
        // Ten thousand of them fit a few megabytes; locks are larger where their order is checked.
        let limit = if cfg!(debug_assertions) { 900 } else { 640 };
        assert!(size_of::<Thread>() <= limit, "{}", size_of::<Thread>());
    }

    #[test]
    fn names_are_cut() {
        assert_eq!(&command_name(b"short")[..6], b"short\0");
        assert_eq!(&command_name(b"longer than it may be"), b"longer than it \0");
    }
}
