//! [`System`]: what all processes share: the machine, the table of processes, the host's name.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::resource::UTSNAME_FIELD;
use sync::{Mutex, SpinLock, machine, rank};

use crate::platform::Platform;
use crate::process::Process;
use crate::thread::Thread;
use crate::timer::TimerService;

/// The number of the first process.
pub const FIRST_PID: u32 = 1;
/// The largest process number (Linux's default `kernel.pid_max` on 64 bit); at most as many processes exist.
pub const PID_MAX: u32 = 4_194_304;

/// The kernel release programs see. Programs compare it with the version a feature appeared in.
pub const RELEASE: &str = "6.12.0-nacre";
/// The kernel version programs see.
pub const VERSION: &str = concat!("#1 SMP PREEMPT_DYNAMIC Nacre ", env!("CARGO_PKG_VERSION"));

/// One field of `struct utsname`: text, zero-terminated.
pub type NameField = [u8; UTSNAME_FIELD];

/// Everything processes share.
pub struct System {
    platform: &'static dyn Platform,
    names: SpinLock<Names>,
    tables: Mutex<Tables>,
    timers: TimerService,
    last_id: AtomicU32,
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
}

impl System {
    /// A system without processes.
    pub fn new(platform: &'static dyn Platform, hostname: &[u8]) -> Arc<Self> {
        let names = Names { host: name_field(hostname), domain: name_field(b"(none)") };
        Arc::new(Self {
            platform,
            names: SpinLock::new(rank::PROCESS_TABLES, names),
            tables: Mutex::new(rank::PROCESSES, Tables::default()),
            timers: TimerService::new(platform),
            last_id: AtomicU32::new(FIRST_PID - 1),
        })
    }

    /// The machine.
    #[inline]
    pub fn platform(&self) -> &'static dyn Platform {
        self.platform
    }

    /// What happens at a point in time.
    pub fn timers(&self) -> &TimerService {
        &self.timers
    }

    /// A number no process and no thread has.
    pub(crate) fn allocate_id(&self) -> u32 {
        loop {
            let id = self.last_id.fetch_add(1, Relaxed).wrapping_add(1) % PID_MAX;
            if id >= FIRST_PID && !self.tables.lock().threads.contains_key(&id) {
                return id;
            }
        }
    }

    /// Enters a thread, and its process if it is its first.
    pub(crate) fn register(&self, thread: &Arc<Thread>) {
        let process = thread.process();
        let mut tables = self.tables.lock();
        tables.processes.entry(process.pid()).or_insert_with(|| Arc::clone(process));
        tables.threads.insert(thread.tid(), Arc::clone(thread));
    }

    /// The process with this number.
    pub fn process(&self, pid: u32) -> Option<Arc<Process>> {
        self.tables.lock().processes.get(&pid).cloned()
    }

    /// The thread with this number.
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
