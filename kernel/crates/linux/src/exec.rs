//! Starting programs.
//!
//! [`prepare`] does everything that can go wrong without touching the caller: it opens the file and its interpreter,
//! plans, and maps into a new address space. [`Prepared::enter`] makes that address space current and writes the parts of
//! memory that come from no file: the ends of data segments and the initial stack. [`boot`] makes the first process of
//! both.
//!
//! A script is executed by the interpreter it names. Set-user-id bits are not looked at.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use core::sync::atomic::Ordering::Relaxed;

use abi::sequence::{RSEQ_ALIGNMENT, RSEQ_FEATURE_SIZE};
use abi::{Errno, OpenFlags};
use file::{FdTable, OpenFile, Progress};
use loader::aslr::RandomNumbers;
use loader::auxv::Facts;
use loader::stack::{Contents, InitialStack};
use loader::{ElfError, LoadPlan, VirtualRange};
use mm::user::UserWriter;
use mm::{Access, AddressSpace, Backing, MapOptions, MapRequest, MappedObject, PAGE_SIZE, PageTable, Rights, Sharing};
use sync::machine;
use vfs::{Credentials as FileCredentials, FsContext, Lookup, Namespace, PathRef};

use crate::credentials::Credentials;
use crate::fs::SharedFs;
use crate::limits::Limits;
use crate::members;
use crate::platform::Platform;
use crate::process::{NewProcess, Process, ProgramImage, Running};
use crate::registers::Registers;
use crate::script::{self, HEAD_LEN, SCRIPTS_MAX};
use crate::signal::{SignalTable, stack_size_min};
use crate::system::{FIRST_PID, System};
use crate::thread::{Thread, command_name};

/// Memory mapped below the initial stack pointer from the start, as on Linux; it grows on demand.
const STACK_ROOM: u64 = 128 << 10;

/// Why a program cannot be started. `Display` is one line for a person.
#[derive(Debug)]
pub enum LoadError {
    /// The file, or the interpreter it names, cannot be opened.
    Open {
        /// What was to be opened.
        path: Vec<u8>,
        /// Why it could not.
        errno: Errno,
    },
    /// The file, or the interpreter it names, cannot be loaded.
    Elf {
        /// The file.
        path: Vec<u8>,
        /// What is wrong with it.
        error: ElfError,
    },
    /// Its address space cannot be made: no memory, or arguments that are too long.
    Memory(Errno),
}

impl LoadError {
    /// What `execve` answers.
    pub fn errno(&self) -> Errno {
        match *self {
            Self::Open { errno, .. } | Self::Memory(errno) => errno,
            Self::Elf { error, .. } => error.into(),
        }
    }
}

impl From<Errno> for LoadError {
    fn from(errno: Errno) -> Self {
        Self::Memory(errno)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { path, errno } => write!(out, "cannot open {}: {errno}", path.escape_ascii()),
            Self::Elf { path, error } => write!(out, "cannot run {}: {error}", path.escape_ascii()),
            Self::Memory(errno) => write!(out, "cannot set up the program's memory: {errno}"),
        }
    }
}

impl core::error::Error for LoadError {}

/// A program to start.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a, S> {
    /// Where it is.
    pub path: &'a [u8],
    /// Its arguments, its own name first.
    pub arguments: &'a [S],
    /// Its environment.
    pub environment: &'a [S],
}

/// On whose behalf a program is started.
pub(crate) struct Starter<'a> {
    pub platform: &'static dyn Platform,
    pub fs: &'a FsContext,
    pub credentials: &'a Credentials,
    pub file_credentials: &'a FileCredentials,
    pub limits: &'a Limits,
    /// See [`crate::settings::Settings`].
    pub address_randomness: u32,
}

/// A program that is mapped but not yet entered.
pub(crate) struct Prepared {
    pub memory: NewMemory,
    pub image: ProgramImage,
    entry: u64,
    stack: InitialStack,
    zeroed: Vec<Range<usize>>,
}

/// The memory of a program that does not run yet. It is cleared when nothing comes of it: somebody else may have the last
/// reference, and must not let go of files.
pub(crate) struct NewMemory {
    space: Arc<AddressSpace>,
    is_handed_over: bool,
}

impl NewMemory {
    fn new(page_table: Box<dyn PageTable>, layout: mm::Layout) -> Self {
        Self { space: AddressSpace::new(page_table, layout), is_handed_over: false }
    }

    /// The memory, for a process that is to run the program: it clears it from now on.
    pub(crate) fn hand_over(&mut self) -> Arc<AddressSpace> {
        self.is_handed_over = true;
        Arc::clone(&self.space)
    }
}

impl Drop for NewMemory {
    fn drop(&mut self) {
        if !self.is_handed_over {
            self.space.clear();
        }
    }
}

/// An ELF file that was opened and understood.
struct Executable {
    place: PathRef,
    object: Arc<dyn MappedObject>,
    plan: LoadPlan,
}

/// What is to be executed: the program, or the interpreter of the scripts that were named.
pub(crate) struct Found {
    executable: Executable,
    running: Arc<Running>,
    /// What scripts put in the place of the program's own name; empty without scripts.
    names: Vec<Vec<u8>>,
}

/// Opens a program, which is at `place` and called `path`. Scripts lead to their interpreters, if they can be opened again by
/// that name.
pub(crate) fn find(
    starter: &Starter<'_>,
    mut place: PathRef,
    path: &[u8],
    is_reachable: bool,
) -> Result<Found, LoadError> {
    let failed = |path: &[u8], errno| LoadError::Open { path: path.to_vec(), errno };
    let mut names = alloc::vec![path.to_vec()];
    for _ in 0..=SCRIPTS_MAX {
        let name = names.first().map_or(path, Vec::as_slice).to_vec();
        let file = open_for_execution(starter, &place).map_err(|errno| failed(&name, errno))?;
        let running = Running::begin(&place).map_err(|errno| failed(&name, errno))?;
        let mut head = [0; HEAD_LEN];
        read_head(&file, &mut head).map_err(|errno| failed(&name, errno))?;
        let Some(line) = script::read_line(&head).map_err(|errno| failed(&name, errno))? else {
            let executable = read_executable(place, &file, &name)?;
            let names = if names.len() > 1 { names } else { Vec::new() };
            return Ok(Found { executable, running, names });
        };
        if !is_reachable {
            return Err(failed(&name, Errno::ENOENT));
        }
        let argument = line.argument.map(<[u8]>::to_vec);
        names.splice(..0, core::iter::once(line.interpreter.to_vec()).chain(argument));
        place = resolve(starter, line.interpreter)?;
    }
    Err(failed(path, Errno::ELOOP))
}

/// Maps a program into a new address space.
pub(crate) fn prepare<S: AsRef<[u8]>>(
    starter: &Starter<'_>,
    program: &Program<'_, S>,
    found: Found,
) -> Result<Prepared, LoadError> {
    let Found { executable, running, names } = found;
    let arguments: Vec<&[u8]> = if names.is_empty() {
        program.arguments.iter().map(AsRef::as_ref).collect()
    } else {
        names.iter().map(Vec::as_slice).chain(program.arguments.iter().skip(1).map(AsRef::as_ref)).collect()
    };
    let environment: Vec<&[u8]> = program.environment.iter().map(AsRef::as_ref).collect();
    let interpreter = match &executable.plan.interpreter {
        Some(path) => Some(open(starter, path)?),
        None => None,
    };

    let stack_limit = starter.limits.soft(abi::resource::RLIMIT_STACK);
    let random = random_numbers(starter.address_randomness);
    let layout = loader::aslr::Layout::new(&executable.plan, &random, stack_limit)?;
    let space_layout = mm::Layout { mmap_base: to_address(layout.mmap_base)? };
    let memory = NewMemory::new(starter.platform.new_page_table()?, space_layout);
    let address_space = &*memory.space;
    address_space.set_limits(starter.limits.of_memory(true));
    address_space.set_brk_base(to_address(layout.brk_start)?);

    let mut zeroed = Vec::new();
    map_file(address_space, &executable, layout.load_bias, &mut zeroed)?;
    let mut entry = executable.plan.entry.wrapping_add(layout.load_bias);
    let mut facts = facts(starter).with_program(&executable.plan, layout.load_bias);
    if let Some(interpreter) = &interpreter {
        // A dynamic linker is placed like a static position-independent program: first of the mappings.
        let bias = loader::aslr::Layout::new(&interpreter.plan, &random, stack_limit)?.load_bias;
        map_file(address_space, interpreter, bias, &mut zeroed)?;
        facts.interpreter_base = bias;
        entry = interpreter.plan.entry.wrapping_add(bias);
    }

    let vdso = crate::vdso::map(address_space, starter.platform)?;
    facts.vdso = vdso.map(|vdso| vdso.image);

    let contents = Contents {
        arguments: &arguments,
        environment: &environment,
        executable_name: program.path,
        random_bytes: random_bytes(),
        random_padding: random.stack_pointer,
        facts,
    };
    let stack = loader::stack::build(layout.stack_top, stack_limit, &contents)?;
    map_stack(address_space, &stack, layout.stack_top, executable.plan.stack.is_executable())?;

    let code = shifted(executable.plan.code(), layout.load_bias)?;
    let image = ProgramImage {
        executable: executable.place,
        running: Some(running),
        arguments: to_address(stack.arg_start)?..to_address(stack.arg_end)?,
        environment: to_address(stack.env_start)?..to_address(stack.env_end)?,
        auxiliary_vector: stack.auxv.clone(),
        code,
        stack_start: to_address(stack.stack_pointer)?,
        call_by_syscall: vdso.map(|vdso| vdso.by_syscall),
    };
    Ok(Prepared { memory, image, entry, stack, zeroed })
}

impl Prepared {
    /// Makes the program's memory current and complete, and answers the registers it starts with.
    pub(crate) fn enter(&self, platform: &dyn Platform) -> Result<Registers, Errno> {
        platform.activate(&self.memory.space);
        for range in &self.zeroed {
            page_in(&self.memory.space, range)?;
            UserWriter::new(range.start, range.len())?.fill_zero(range.len())?;
        }
        let start = to_address(self.stack.stack_pointer)?;
        page_in(&self.memory.space, &(start..start + self.stack.bytes.len()))?;
        UserWriter::new(start, self.stack.bytes.len())?.write_all(&self.stack.bytes)?;
        platform.reset_vector_state();
        platform.set_fs_base(0);
        Ok(Registers::at_start(self.entry, self.stack.stack_pointer))
    }
}

/// Makes the pages of a range present, so that copies to them do not depend on who serves page faults.
fn page_in(space: &AddressSpace, range: &Range<usize>) -> Result<(), Errno> {
    let mut address = range.start & !(PAGE_SIZE - 1);
    while address < range.end {
        space.fault(address, Access::Write).map_err(|_| Errno::ENOMEM)?;
        address += PAGE_SIZE;
    }
    Ok(())
}

/// Addresses that come from a checked plan fit a pointer.
fn to_address(address: u64) -> Result<usize, Errno> {
    usize::try_from(address).map_err(|_| Errno::ENOMEM)
}

/// Addresses of a plan, where they are in memory.
fn shifted(range: VirtualRange, bias: u64) -> Result<Range<usize>, Errno> {
    Ok(to_address(range.start.wrapping_add(bias))?..to_address(range.end.wrapping_add(bias))?)
}

fn resolve(starter: &Starter<'_>, path: &[u8]) -> Result<PathRef, LoadError> {
    vfs::resolve(starter.fs, starter.file_credentials, None, path, Lookup::FOLLOW)
        .map_err(|errno| LoadError::Open { path: path.to_vec(), errno })
}

/// Opens an executable and reads its headers.
fn open(starter: &Starter<'_>, path: &[u8]) -> Result<Executable, LoadError> {
    let place = resolve(starter, path)?;
    let open = open_for_execution(starter, &place).map_err(|errno| LoadError::Open { path: path.to_vec(), errno })?;
    read_executable(place, &open, path)
}

fn read_executable(place: PathRef, open: &Arc<OpenFile>, path: &[u8]) -> Result<Executable, LoadError> {
    let failed = |errno| LoadError::Open { path: path.to_vec(), errno };
    let object = open.file().mapping(open).map_err(|_| failed(Errno::EACCES))?;
    let size = open.file().attributes().map_err(failed)?.size;
    let mut read_at = |offset, buffer: &mut [u8]| read_at(open, offset, buffer);
    let plan = LoadPlan::read(size, &mut read_at).map_err(|error| LoadError::Elf { path: path.to_vec(), error })?;
    Ok(Executable { place, object, plan })
}

fn open_for_execution(starter: &Starter<'_>, place: &PathRef) -> Result<Arc<OpenFile>, Errno> {
    if place.inode().metadata().kind() != vfs::FileKind::Regular {
        return Err(Errno::EACCES);
    }
    vfs::access(starter.file_credentials, place, abi::AccessRights::X_OK)?;
    // The right to execute is enough; the program is read on the kernel's behalf.
    vfs::open_path(&FileCredentials::root(), place.clone(), OpenFlags::empty())
}

/// Reads the beginning of a file; what a short one lacks stays as it is.
fn read_head(open: &OpenFile, head: &mut [u8]) -> Result<(), Errno> {
    let mut filled = 0;
    while filled < head.len() {
        match read_at(open, filled as u64, &mut head[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(())
}

fn read_at(open: &OpenFile, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut writer = UserWriter::to_kernel(buffer);
    match open.file().read(open, &mut writer, Some(offset))? {
        Progress::Done(count) => Ok(count),
        Progress::WouldBlock => Err(Errno::EIO),
    }
}

fn rights(of: loader::Rights) -> Rights {
    let mut rights = Rights::empty();
    rights.set(Rights::READ, of.read);
    rights.set(Rights::WRITE, of.write);
    rights.set(Rights::EXECUTE, of.execute);
    rights
}

/// Maps the segments of a file. Adds to `zeroed` what is to be cleared once the address space is current.
fn map_file(
    space: &AddressSpace,
    executable: &Executable,
    bias: u64,
    zeroed: &mut Vec<Range<usize>>,
) -> Result<(), Errno> {
    for segment in &executable.plan.segments {
        let rights = rights(segment.rights);
        if let Some((pages, offset)) = segment.file_pages() {
            let object = Arc::clone(&executable.object);
            let backing = Backing::File { object, offset, access: Rights::READ | Rights::EXECUTE };
            map(space, shifted(pages, bias)?, rights, MapOptions::FIXED, backing)?;
        }
        if let Some(tail) = segment.zero_tail() {
            zeroed.push(shifted(tail, bias)?);
        }
        if let Some(pages) = segment.zero_pages() {
            map(space, shifted(pages, bias)?, rights, MapOptions::FIXED, Backing::Anonymous)?;
        }
    }
    Ok(())
}

fn map_stack(space: &AddressSpace, stack: &InitialStack, top: u64, is_executable: bool) -> Result<(), Errno> {
    let page = PAGE_SIZE as u64;
    let bottom = stack.stack_pointer.checked_sub(STACK_ROOM).ok_or(Errno::ENOMEM)? & !(page - 1);
    let mut rights = Rights::READ | Rights::WRITE;
    rights.set(Rights::EXECUTE, is_executable);
    let range = to_address(bottom)?..to_address(top)?;
    map(space, range, rights, MapOptions::FIXED | MapOptions::GROWS_DOWN, Backing::Anonymous)?;
    space.set_stack_start(to_address(stack.stack_pointer)?);
    Ok(())
}

fn map(
    space: &AddressSpace,
    range: Range<usize>,
    rights: Rights,
    options: MapOptions,
    backing: Backing,
) -> Result<(), Errno> {
    let request =
        MapRequest { address: range.start, length: range.len(), rights, sharing: Sharing::Private, options, backing };
    space.map(request).map(|_| ())
}

/// What the auxiliary vector says of the machine and the user.
fn facts(starter: &Starter<'_>) -> Facts {
    let cpu = starter.platform.cpu_info();
    let Credentials { user, group, .. } = starter.credentials;
    Facts {
        vdso: None,
        signal_stack_min: stack_size_min(&cpu),
        hardware_capabilities: cpu.capabilities,
        hardware_capabilities_2: cpu.capabilities2,
        uid: u64::from(user.real),
        euid: u64::from(user.effective),
        gid: u64::from(group.real),
        egid: u64::from(group.effective),
        is_secure: user.real != user.effective || group.real != group.effective,
        restartable_sequences: Some((RSEQ_FEATURE_SIZE.into(), RSEQ_ALIGNMENT.into())),
        ..Facts::default()
    }
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    machine::fill_entropy(&mut bytes);
    bytes
}

/// The numbers that place a program, as `kernel.randomize_va_space` has it.
fn random_numbers(randomness: u32) -> RandomNumbers {
    if randomness == 0 {
        return RandomNumbers::default();
    }
    let number = || u64::from_ne_bytes(random_bytes());
    let brk = if randomness == 1 { 0 } else { number() };
    RandomNumbers { stack: number(), stack_pointer: number(), mmap: number(), program: number(), brk }
}

/// What the machine starts with.
pub struct BootRequest<'a> {
    /// The machine.
    pub platform: &'static dyn Platform,
    /// The mounts.
    pub namespace: Arc<Namespace>,
    /// The network.
    pub network: Arc<net::Stack>,
    /// The host's name.
    pub hostname: &'a [u8],
    /// The kernel's own command line.
    pub command_line: &'a [u8],
    /// The working directory.
    pub working_directory: &'a [u8],
    /// The program.
    pub program: Program<'a, &'a [u8]>,
    /// What descriptors 0, 1 and 2 stand for.
    pub standard_files: [Arc<OpenFile>; 3],
}

/// Why the first process cannot be made. `Display` is one line for a person.
#[derive(Debug)]
pub enum BootError {
    /// The program cannot be started.
    Load(LoadError),
    /// The working directory cannot be entered.
    WorkingDirectory(Errno),
}

impl fmt::Display for BootError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(out),
            Self::WorkingDirectory(errno) => write!(out, "cannot enter the working directory: {errno}"),
        }
    }
}

impl core::error::Error for BootError {}

impl From<LoadError> for BootError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl From<Errno> for BootError {
    fn from(errno: Errno) -> Self {
        Self::Load(errno.into())
    }
}

/// Makes the first process. Its address space is current when this returns; the machine puts in its own segment
/// selectors and lets the thread run with the registers.
pub fn boot(request: BootRequest<'_>) -> Result<(Arc<Thread>, Registers), BootError> {
    let system = System::new(request.platform, request.network, request.hostname, request.command_line);
    crate::proc::mount(&request.namespace, &system)?;
    let credentials = Credentials::root();
    let pid = FIRST_PID;
    let file_credentials = credentials.for_files(pid, pid, 0);
    let limits = Limits::default();
    let mut fs = FsContext::new(request.namespace);
    enter_directory(&mut fs, &file_credentials, request.working_directory).map_err(BootError::WorkingDirectory)?;

    let starter = Starter {
        platform: request.platform,
        fs: &fs,
        credentials: &credentials,
        file_credentials: &file_credentials,
        limits: &limits,
        address_randomness: system.settings().address_randomness.load(Relaxed),
    };
    let place = resolve(&starter, request.program.path)?;
    let found = find(&starter, place, request.program.path, true)?;
    let mut prepared = prepare(&starter, &request.program, found)?;
    let registers = prepared.enter(request.platform)?;

    let fds = FdTable::new(limits.soft(abi::resource::RLIMIT_NOFILE));
    for open in request.standard_files {
        fds.install(open, false)?;
    }
    let process = Process::new(NewProcess {
        system: Arc::clone(&system),
        pid,
        // Nobody started the first process, and it leads its own group and session.
        parent_pid: 0,
        group: pid,
        session: pid,
        address_space: prepared.memory.hand_over(),
        actions: Arc::new(SignalTable::new()),
        limits,
        image: prepared.image,
    });
    let thread = Thread::new(
        Arc::clone(&process),
        Arc::new(fds),
        SharedFs::new(Arc::new(fs)),
        (Arc::new(credentials), Arc::new(file_credentials)),
        command_name(file_name(request.program.path)),
    );
    system.register_process(&thread);
    let joined = members::join(&process, &thread);
    debug_assert!(joined.is_ok(), "a new process does not end");
    Ok((thread, registers))
}

fn enter_directory(fs: &mut FsContext, credentials: &FileCredentials, path: &[u8]) -> Result<(), Errno> {
    let directory = vfs::resolve(fs, credentials, None, path, Lookup::FOLLOW | Lookup::DIRECTORY)?;
    fs.set_cwd(directory)
}

/// The last component of a path.
pub(crate) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_last_components() {
        assert_eq!(file_name(b"/bin/sh"), b"sh");
        assert_eq!(file_name(b"sh"), b"sh");
        assert_eq!(file_name(b""), b"");
    }
}
