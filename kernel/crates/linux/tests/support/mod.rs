//! A process to test with: a small program booted from a file system in memory, on the machine of the test kit.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use abi::{Errno, OpenFlags, ResolveFlags, Sigaction, SigactionFlags, Signal, Sigset};
use file::OpenFile;
use linux::exec::{BootError, BootRequest, Program};
use linux::{CpuInfo, InvalidVectorState, Outcome, Platform, Registers, Thread, ThreadStart};
use mm::user::{read_user_struct, write_user_struct};
use mm::{Access, AddressSpace, PageTable, UserReader};
use sched::{CpuSet, Policy};
use testkit::{FakePageTable, frames, user};
use vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use vfs::{Credentials, FsContext, MountFlags, Namespace, OpenRequest};

/// Where the test program's code is.
pub(crate) const CODE: u64 = 0x40_0000;
/// Where its data is; [`SCRATCH_LEN`] bytes are free for tests.
pub(crate) const SCRATCH: u64 = 0x60_0000;
pub(crate) const SCRATCH_LEN: u64 = 0x8000;
/// The bytes of its data segment that come from the file.
pub(crate) const DATA: &[u8] = b"initialised";
/// An address in its code: where handlers are.
pub(crate) const HANDLER: u64 = CODE + 0x100;
/// An address in its code: where handlers return to.
pub(crate) const RESTORER: u64 = CODE + 0x200;

/// What the fake CPU has of vector state: an XSAVE image of x87, SSE and AVX.
pub(crate) const VECTOR_STATE_SIZE: usize = 832;
pub(crate) const VECTOR_FEATURES: u64 = 7;

/// What a thread of the host is stopped with when its thread of the program has ended.
pub(crate) struct ThreadEnded;

/// The fake CPU.
pub(crate) struct FakeCpu {
    pub(crate) fs_base: AtomicU64,
    pub(crate) vector_state: Mutex<Vec<u8>>,
    pub(crate) resets: AtomicUsize,
    /// The number it has for the program, of [`CPUS`].
    pub(crate) number: AtomicU32,
    pub(crate) policy: Mutex<Policy>,
    pub(crate) affinity: Mutex<CpuSet>,
    /// How often it was told to pass a barrier.
    pub(crate) barriers: AtomicUsize,
    /// The threads that were made. A test runs them, on threads of the host.
    pub(crate) made: Mutex<Vec<Arc<Thread>>>,
    /// How they are to begin.
    pub(crate) starts: Mutex<Vec<ThreadStart>>,
    /// How many more contexts there is room for.
    pub(crate) room: AtomicUsize,
    pub(crate) launched: AtomicUsize,
    pub(crate) abandoned: AtomicUsize,
}

/// How many CPUs there are for the program.
pub(crate) const CPUS: u32 = 3;

impl FakeCpu {
    fn new() -> &'static Self {
        Box::leak(Box::new(Self {
            fs_base: AtomicU64::new(0),
            vector_state: Mutex::new(vec![0; VECTOR_STATE_SIZE]),
            resets: AtomicUsize::new(0),
            number: AtomicU32::new(0),
            policy: Mutex::new(Policy::Other { nice: 0 }),
            affinity: Mutex::new(CpuSet::ALL),
            barriers: AtomicUsize::new(0),
            made: Mutex::new(Vec::new()),
            starts: Mutex::new(Vec::new()),
            room: AtomicUsize::new(usize::MAX),
            launched: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
        }))
    }
}

impl Platform for FakeCpu {
    fn cpu_info(&self) -> CpuInfo {
        CpuInfo {
            count: CPUS,
            capabilities: 0x1783_fbff,
            capabilities2: 2,
            vector_state_size: VECTOR_STATE_SIZE,
            vector_features: Some(VECTOR_FEATURES),
        }
    }

    fn current_cpu(&self) -> u32 {
        self.number.load(Ordering::Relaxed)
    }

    fn policy(&self, _: &Thread) -> Policy {
        *self.policy.lock().unwrap()
    }

    fn set_policy(&self, _: &Thread, policy: Policy) {
        *self.policy.lock().unwrap() = policy;
    }

    fn affinity(&self, _: &Thread) -> CpuSet {
        *self.affinity.lock().unwrap()
    }

    fn set_affinity(&self, _: &Thread, cpus: CpuSet) {
        *self.affinity.lock().unwrap() = cpus;
    }

    fn barrier(&self, _: Option<&AddressSpace>) {
        self.barriers.fetch_add(1, Ordering::Relaxed);
    }

    fn create_context(&self, thread: &Arc<Thread>, start: ThreadStart) -> Result<(), Errno> {
        self.room
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1))
            .map_err(|_| Errno::ENOMEM)?;
        self.made.lock().unwrap().push(Arc::clone(thread));
        self.starts.lock().unwrap().push(start);
        Ok(())
    }

    fn launch(&self, _: &Thread) {
        self.launched.fetch_add(1, Ordering::Relaxed);
    }

    fn abandon(&self, _: &Thread) {
        self.abandoned.fetch_add(1, Ordering::Relaxed);
    }

    fn exit_thread(&self, _: &Thread, farewell: &mut dyn FnMut()) -> ! {
        farewell();
        // Not a panic, of which the harness would tell.
        resume_unwind(Box::new(ThreadEnded))
    }

    fn set_realtime_ns(&self, now_ns: u64) {
        testkit::clock::set_realtime(now_ns);
    }

    fn runtime_ns(&self, _: &Thread) -> u64 {
        sync::machine::now_ns()
    }

    fn set_fs_base(&self, address: u64) {
        self.fs_base.store(address, Ordering::Relaxed);
    }

    fn fs_base(&self) -> u64 {
        self.fs_base.load(Ordering::Relaxed)
    }

    fn set_gs_base(&self, _: u64) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn gs_base(&self) -> u64 {
        0
    }

    fn save_vector_state(&self, state: &mut [u8]) {
        state.copy_from_slice(&self.vector_state.lock().unwrap());
    }

    fn restore_vector_state(&self, state: &[u8], _: u64) -> Result<(), InvalidVectorState> {
        // MXCSR has reserved bits.
        if state[26] != 0 {
            return Err(InvalidVectorState);
        }
        let mut live = self.vector_state.lock().unwrap();
        live.fill(0);
        live[..state.len()].copy_from_slice(state);
        live[464..512].fill(0);
        Ok(())
    }

    fn reset_vector_state(&self) {
        self.vector_state.lock().unwrap().fill(0);
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    fn new_page_table(&self) -> Result<Box<dyn PageTable>, Errno> {
        Ok(Box::new(FakePageTable::new()))
    }

    fn activate(&self, space: &AddressSpace) {
        let table = FakePageTable::of_root(space.root()).expect("a table of this machine");
        // Nobody serves faults until there is a thread.
        user::set_table(table, |_, _| false);
    }

    fn end(&self, outcome: Outcome) -> ! {
        panic_any(outcome)
    }
}

/// One program header of the test program.
struct Header {
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
}

/// A static program: a page of `nop`, and data with zeroes after it.
pub(crate) fn test_program() -> Vec<u8> {
    let data_offset = 0x2000;
    let headers = [
        Header { flags: 5, offset: 0, address: CODE, file_size: 0x1000, memory_size: 0x1000 },
        Header {
            flags: 6,
            offset: data_offset,
            address: SCRATCH,
            file_size: DATA.len() as u64,
            memory_size: SCRATCH_LEN,
        },
    ];
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [2_u16, 62] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    for word in [CODE + 0x80, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, headers.len().try_into().unwrap(), 64, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    for header in &headers {
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(header.flags.to_le_bytes());
        let Header { offset, address, file_size, memory_size, .. } = *header;
        for word in [offset, address, address, file_size, memory_size, 0x1000] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.resize(0x1000, 0x90);
    bytes.resize(data_offset.try_into().unwrap(), 0);
    bytes.extend(DATA);
    // What is behind the data in its last page must not be seen.
    bytes.resize(0x3000, 0xee);
    bytes
}

/// A file system with one file.
pub(crate) fn namespace_with(path: &[u8], contents: &[u8], mode: u32) -> Arc<Namespace> {
    frames::install();
    let namespace = Namespace::new(Tmpfs::new(TmpfsOptions::default()), b"tmpfs", MountFlags::empty());
    let context = FsContext::new(Arc::clone(&namespace));
    let request = OpenRequest { flags: OpenFlags::CREAT | OpenFlags::WRONLY, mode, resolve: ResolveFlags::empty() };
    let open = vfs::open(&context, &Credentials::root(), None, path, &request).unwrap();
    let mut reader = UserReader::from_kernel(contents);
    while reader.remaining() > 0 {
        open.file().write(&open, &mut reader, None).unwrap();
    }
    namespace
}

/// A booted process and the CPU it runs on.
pub(crate) struct Machine {
    pub(crate) thread: Arc<Thread>,
    pub(crate) registers: Registers,
    pub(crate) cpu: &'static FakeCpu,
}

/// Boots a program.
pub(crate) fn boot_with(
    namespace: Arc<Namespace>,
    path: &[u8],
    arguments: &[&[u8]],
    environment: &[&[u8]],
) -> Result<Machine, BootError> {
    frames::install();
    let cpu = FakeCpu::new();
    let standard_file = || OpenFile::new(file::pipe::pipe().0, OpenFlags::empty());
    let request = BootRequest {
        platform: cpu,
        namespace,
        network: net::Stack::new(1),
        hostname: b"shell",
        command_line: b"log=error",
        working_directory: b"/",
        program: Program { path, arguments, environment },
        standard_files: [standard_file(), standard_file(), standard_file()],
    };
    let (thread, registers) = linux::boot(request)?;
    let table = FakePageTable::of_root(thread.address_space().root()).expect("a table of this machine");
    let faulting = Arc::clone(&thread);
    user::set_table(table, move |address, access| {
        let error_code = if access == Access::Write { 2 } else { 0 };
        linux::page_in(&faulting, address, error_code)
    });
    Ok(Machine { thread, registers, cpu })
}

/// Boots the test program.
pub(crate) fn boot() -> Machine {
    let namespace = namespace_with(b"/program", &test_program(), 0o755);
    boot_with(namespace, b"/program", &[b"program", b"argument"], &[b"HOME=/"]).unwrap()
}

impl Machine {
    /// Executes a `syscall` instruction with these arguments. Its result is in `rax`, unless a handler runs.
    pub(crate) fn syscall(&mut self, number: u64, arguments: &[u64]) -> i64 {
        let registers = &mut self.registers;
        registers.rax = number;
        registers.original_rax = number;
        let words = [
            &mut registers.rdi,
            &mut registers.rsi,
            &mut registers.rdx,
            &mut registers.r10,
            &mut registers.r8,
            &mut registers.r9,
        ];
        for (word, value) in words.into_iter().zip(arguments) {
            *word = *value;
        }
        registers.rip += 2;
        if linux::syscall_entry(&self.thread, registers) || self.thread.needs_attention() {
            linux::syscall_exit(&self.thread, registers);
        }
        self.registers.rax.cast_signed()
    }

    /// As [`Self::syscall`], for calls with which the process ends.
    pub(crate) fn last_syscall(&mut self, number: u64, arguments: &[u64]) -> Outcome {
        let end = catch_unwind(AssertUnwindSafe(|| self.syscall(number, arguments)));
        *end.expect_err("the process goes on").downcast::<Outcome>().expect("an orderly end")
    }

    /// Writes to the program's memory.
    pub(crate) fn write<T: zerocopy::IntoBytes + zerocopy::Immutable>(&self, address: u64, value: &T) {
        write_user_struct(usize::try_from(address).unwrap(), value).unwrap();
    }

    /// Reads from the program's memory.
    pub(crate) fn read<T: zerocopy::FromBytes + zerocopy::IntoBytes>(&self, address: u64) -> T {
        read_user_struct(usize::try_from(address).unwrap()).unwrap()
    }

    /// Installs a handler at [`HANDLER`].
    pub(crate) fn handle(&mut self, signal: Signal, flags: SigactionFlags, mask: Sigset) {
        let flags = (flags | SigactionFlags::RESTORER).bits();
        self.set_action(signal, &Sigaction { handler: HANDLER, flags, restorer: RESTORER, mask });
    }

    pub(crate) fn set_action(&mut self, signal: Signal, action: &Sigaction) {
        self.write(SCRATCH + SCRATCH_LEN - 64, action);
        let pointer = SCRATCH + SCRATCH_LEN - 64;
        assert_eq!(self.syscall(13, &[signal.number().into(), pointer, 0, 8]), 0);
    }

    /// What the handler's `ret` and the restorer's `rt_sigreturn` do.
    pub(crate) fn return_from_handler(&mut self) {
        assert_eq!(self.read::<u64>(self.registers.rsp), RESTORER);
        self.registers.rsp += 8;
        self.registers.rip = RESTORER;
        self.syscall(15, &[]);
    }
}
