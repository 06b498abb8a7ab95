//! [`System`]: what all processes share: the machine, the table of processes, the host's name.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::Errno;
use abi::resource::{RLIMIT_NPROC, UTSNAME_FIELD};
use sync::{Mutex, SpinLock, machine, rank};

use crate::credentials::{CAP_SYS_ADMIN, CAP_SYS_RESOURCE};
use crate::load::LoadAverages;
use crate::platform::Platform;
use crate::process::Process;
use crate::settings::Settings;
use crate::signal::FrameLayout;
use crate::thread::Thread;
use crate::timer::TimerService;

/// The number of the first process.
pub const FIRST_PID: u32 = 1;
/// The largest process number (Linux's default `kernel.pid_max` on 64 bit); at most as many processes exist.
pub const PID_MAX: u32 = 4_194_304;
/// The most threads that can exist (`kernel.threads-max`).
pub const THREADS_MAX: u32 = 1 << 16;
/// Where numbers start over when the largest was given out, as on Linux: the low ones stay with what was there early.
const RESERVED_NUMBERS: u32 = 300;

/// The user whose threads nobody counts.
const ROOT: u32 = 0;

/// The kernel release programs see. Programs compare it with the version a feature appeared in.
pub const RELEASE: &str = "6.12.0-nacre";
/// The kernel version programs see.
pub const VERSION: &str = concat!("#1 SMP PREEMPT_DYNAMIC Nacre ", env!("CARGO_PKG_VERSION"));

/// One field of `struct utsname`: text, zero-terminated.
pub type NameField = [u8; UTSNAME_FIELD];

/// Everything processes share.
pub struct System {
    platform: &'static dyn Platform,
    frame_layout: FrameLayout,
    network: Arc<net::Stack>,
    names: SpinLock<Names>,
    command_line: Box<[u8]>,
    tables: Mutex<Tables>,
    timers: TimerService,
    last_id: AtomicU32,
    load: LoadAverages,
    settings: Settings,
}

#[derive(Clone, Copy)]
struct Names {
    host: NameField,
    domain: NameField,
}

#[derive(Default)]
struct Tables {
    processes: BTreeMap<u32, Arc<Process>>,
    threads: BTreeMap<u32, Arc<Thread>>,
    /// How many threads each user has; [`ROOT`], whom no limit binds, is left out.
    threads_of_users: BTreeMap<u32, u32>,
}

impl Tables {
    /// Counts a thread of a user in or out.
    fn count_user(&mut self, user: u32, change: i32) {
        if user == ROOT {
            return;
        }
        let count = self.threads_of_users.entry(user).or_default();
        *count = count.saturating_add_signed(change);
        if *count == 0 {
            self.threads_of_users.remove(&user);
        }
    }

    /// Whether a user may have one more thread (`RLIMIT_NPROC`).
    fn check_user(&self, user: u32, thread: &Thread) -> Result<(), Errno> {
        let count = self.threads_of_users.get(&user).copied().unwrap_or(0);
        let limit = thread.process().soft_limit(RLIMIT_NPROC);
        let credentials = thread.credentials();
        let is_exempt = credentials.has(CAP_SYS_RESOURCE) || credentials.has(CAP_SYS_ADMIN);
        if u64::from(count) >= limit && !is_exempt { Err(Errno::EAGAIN) } else { Ok(()) }
    }

    /// A number below `end` that no thread has, looked for after `last`.
    fn free_number(&self, last: u32, end: u32) -> Option<u32> {
        let mut number = last;
        // There are usually far fewer threads than numbers.
        for _ in 0..=end {
            number = if number >= end - 1 { RESERVED_NUMBERS.min(end - 1) } else { number + 1 };
            if !self.threads.contains_key(&number) {
                return Some(number);
            }
        }
        None
    }
}

impl System {
    /// A system without processes.
    pub fn new(
        platform: &'static dyn Platform,
        network: Arc<net::Stack>,
        hostname: &[u8],
        command_line: &[u8],
    ) -> Arc<Self> {
        let frame_layout = FrameLayout::of(&platform.cpu_info());
        let names = Names { host: name_field(hostname), domain: name_field(b"(none)") };
        Arc::new(Self {
            platform,
            frame_layout,
            network,
            names: SpinLock::new(rank::PROCESS_TABLES, names),
            command_line: command_line.into(),
            tables: Mutex::new(rank::PROCESSES, Tables::default()),
            timers: TimerService::new(platform),
            last_id: AtomicU32::new(FIRST_PID - 1),
            load: LoadAverages::new(),
            settings: Settings::new(),
        })
    }

    /// The machine.
    #[inline]
    pub fn platform(&self) -> &'static dyn Platform {
        self.platform
    }

    /// What frames of signal handlers have in common.
    #[inline]
    pub(crate) fn frame_layout(&self) -> &FrameLayout {
        &self.frame_layout
    }

    /// The network.
    #[inline]
    pub fn network(&self) -> &Arc<net::Stack> {
        &self.network
    }

    /// What happens at a point in time.
    pub fn timers(&self) -> &TimerService {
        &self.timers
    }

    /// How many threads wanted a CPU.
    pub fn load(&self) -> &LoadAverages {
        &self.load
    }

    /// How many threads run or wait for a CPU now. Callable from interrupts.
    pub fn runnable_count(&self) -> u64 {
        let cpus = 0..self.platform.cpu_info().count;
        cpus.map(|cpu| u64::from(self.platform.cpu_counters(cpu).runnable)).sum()
    }

    /// What programs may change of the system.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Enters a process with its first thread, which gets the process's number.
    pub(crate) fn register_process(&self, thread: &Arc<Thread>) {
        let process = thread.process();
        let mut tables = self.tables.lock();
        thread.set_tid(process.pid());
        tables.processes.insert(process.pid(), Arc::clone(process));
        tables.threads.insert(process.pid(), Arc::clone(thread));
        self.last_id.store(process.pid(), Relaxed);
    }

    /// Enters a thread and gives it a number: the one `wanted`, `EEXIST` if it is taken, or any. `EAGAIN` when there are too
    /// many threads.
    pub(crate) fn register(&self, thread: &Arc<Thread>, wanted: Option<u32>) -> Result<u32, Errno> {
        let mut tables = self.tables.lock();
        if tables.threads.len() >= self.settings.threads_max.load(Relaxed) as usize {
            return Err(Errno::EAGAIN);
        }
        let user = thread.credentials().user.real;
        if user != ROOT {
            tables.check_user(user, thread)?;
        }
        let tid = match wanted {
            Some(tid) if tables.threads.contains_key(&tid) => return Err(Errno::EEXIST),
            Some(tid) => tid,
            None => {
                let end = self.settings.pid_max.load(Relaxed);
                let tid = tables.free_number(self.last_id.load(Relaxed), end).ok_or(Errno::EAGAIN)?;
                self.last_id.store(tid, Relaxed);
                tid
            }
        };
        thread.set_tid(tid);
        tables.threads.insert(tid, Arc::clone(thread));
        tables.count_user(user, 1);
        Ok(tid)
    }

    /// Gives the only thread of a process the number of the process, which the first thread had.
    pub(crate) fn take_process_number(&self, thread: &Thread) {
        let pid = thread.process().pid();
        if thread.tid() == pid {
            return;
        }
        let mut tables = self.tables.lock();
        let own = tables.threads.remove(&thread.tid());
        debug_assert!(own.is_some(), "a thread is entered until it has ended");
        thread.set_tid(pid);
        let first = own.and_then(|own| tables.threads.insert(pid, own));
        if let Some(first) = &first {
            tables.count_user(first.credentials().user.real, -1);
        }
        drop(tables);
        drop(first);
    }

    /// Takes a thread out; its number may be given to another from now on.
    pub(crate) fn unregister(&self, thread: &Thread) {
        let mut tables = self.tables.lock();
        let removed = tables.threads.remove(&thread.tid());
        tables.count_user(thread.credentials().user.real, -1);
        drop(tables);
        debug_assert!(removed.is_some(), "a thread is entered until it has ended");
    }

    /// Counts a thread among those of another user from now on.
    pub(crate) fn change_user(&self, old: u32, new: u32) {
        let mut tables = self.tables.lock();
        tables.count_user(old, -1);
        tables.count_user(new, 1);
    }

    /// Changes groups and sessions, which depend on those of other processes, while nobody else does.
    pub(crate) fn regroup<R>(&self, change: impl FnOnce(&BTreeMap<u32, Arc<Process>>) -> R) -> R {
        change(&self.tables.lock().processes)
    }

    /// The process with this number.
    pub fn process(&self, pid: u32) -> Option<Arc<Process>> {
        self.tables.lock().processes.get(&pid).cloned()
    }

    /// The thread with this number.
    #[inline]
    pub fn thread(&self, tid: u32) -> Option<Arc<Thread>> {
        self.tables.lock().threads.get(&tid).cloned()
    }

    /// All processes, by their numbers.
    pub fn processes(&self) -> alloc::vec::Vec<Arc<Process>> {
        self.tables.lock().processes.values().cloned().collect()
    }

    /// How many threads there are.
    pub fn thread_count(&self) -> usize {
        self.tables.lock().threads.len()
    }

    /// The number given out last, as `/proc/loadavg` shows it.
    pub fn last_id(&self) -> u32 {
        self.last_id.load(Relaxed)
    }

    /// What the kernel was started with.
    pub fn command_line(&self) -> &[u8] {
        &self.command_line
    }

    /// The host's name.
    pub fn hostname(&self) -> NameField {
        self.names.lock().host
    }

    /// The NIS domain's name.
    pub fn domainname(&self) -> NameField {
        self.names.lock().domain
    }

    /// Renames the host; longer names are cut.
    pub fn set_hostname(&self, name: &[u8]) {
        self.names.lock().host = name_field(name);
    }

    /// Renames the NIS domain; longer names are cut.
    pub fn set_domainname(&self, name: &[u8]) {
        self.names.lock().domain = name_field(name);
    }

    /// When the machine started, in nanoseconds since 1970.
    pub fn booted_realtime_ns(&self) -> u64 {
        machine::realtime_ns().saturating_sub(machine::now_ns())
    }
}

/// Text as a field of `struct utsname`, cut to fit.
pub fn name_field(text: &[u8]) -> NameField {
    let mut field = [0; UTSNAME_FIELD];
    let length = text.len().min(UTSNAME_FIELD - 1);
    field[..length].copy_from_slice(&text[..length]);
    field
}
