//! From a running kernel to a running program: devices, standard streams, mounts, the first process.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use abi::{Errno, OpenFlags, ResolveFlags, Siginfo, Signal, Winsize};
use file::tty::{SignalSink, TtyFile};
use file::{Direction, File, OpenFile, Port, PortFile};
use firmware::BootInformation;
use firmware::command_line::{self, Options};
use image_format::Image;
use linux::exec::{BootRequest, Program};
use linux::{Process, Registers, Thread, ThreadStart};
use sync::{Once, WaitNode};
use vfs::fs::kinds::Source;
use vfs::fs::root::{self, RootFs};
use vfs::fs::tmpfs::{Tmpfs, TmpfsOptions};
use vfs::fs::{dev, disk, kinds, overlay};
use vfs::{Credentials, FileKind, FsContext, Lookup, MountFlags, Namespace, OpenRequest, SuperblockFlags, device};

use super::linux_platform::MachinePlatform;
use super::{deferred, disks, fail, mounts, network, observe, shares, write_back};
use crate::arch::interrupts;
use crate::drivers::{self, Request};
use crate::{arch, entropy, threads};

static PLATFORM: MachinePlatform = MachinePlatform;
/// The process that signals from outside go to.
static PROCESS: Once<Arc<Process>> = Once::new();
static TERMINAL: Once<Arc<TtyFile>> = Once::new();

/// The device number of /dev/console.
const CONSOLE_NUMBER: (u32, u32) = (5, 1);
const WINDOW_DEFAULT: (u16, u16) = (24, 80);
/// The pid of the first process, which is its own group and session.
const FIRST_GROUP: i32 = 1;

/// Starts the image's program; the machine ends when it does.
pub(crate) fn run(image: Image<'static>, information: &BootInformation, options: &Options, line: &[u8]) -> ! {
    if !arch::apic::init() {
        fail("the local APIC cannot be mapped")
    }
    threads::start_cpu();
    interrupts::set_handler(interrupts::TIMER_VECTOR, threads::timer::on_interrupt);
    interrupts::set_handler(interrupts::RESCHEDULE_VECTOR, threads::schedule::on_reschedule_interrupt);
    sync::rcu::install_kick(|cpu| threads::cpu::interrupt(cpu as usize));
    drivers::init(information, options, line);
    entropy::init();
    x86_64::instructions::interrupts::enable();
    arch::ipi::init();
    arch::smp::start(options.cpus);
    super::vdso::publish_calls();
    if options.halts_at_once {
        threads::idle::halt_at_once();
    }
    if options.is_rewriting {
        mm::rewrite::enable(arch::percpu::site_words());
    }
    observe::start(line);
    let config = image.config();
    let arguments: Vec<&[u8]> = config.arguments().collect();
    let environment: Vec<&[u8]> = config.environment().collect();
    let standard_files = standard_files(options);
    write_back::install();
    let namespace = match namespace(&image, line).and_then(|namespace| {
        register_consoles(&standard_files[2])?;
        shares::start(&namespace, line);
        Ok(namespace)
    }) {
        Ok(namespace) => namespace,
        Err(errno) => fail(&alloc::format!("cannot set up the file systems: {errno}")),
    };
    if let Err(reason) = mounts::start(&namespace, line) {
        fail(&reason)
    }
    let standard_files = standard_files.map(|open| through_console(&namespace, open));
    let network = network::start(config.network(), config.hostname(), line);
    if let Err(errno) = linux::vsock::register(&network) {
        log::error!("/dev/vsock cannot be opened: {errno}");
    }
    let request = BootRequest {
        platform: &PLATFORM,
        namespace,
        network,
        hostname: config.hostname(),
        command_line: line,
        working_directory: config.cwd(),
        program: Program { path: config.app_path(), arguments: &arguments, environment: &environment },
        standard_files,
    };
    match linux::boot(request) {
        Ok((thread, registers)) => enter(thread, registers),
        Err(error) => fail(&alloc::format!("{error}")),
    }
}

/// The first process, once there is one.
pub(super) fn process() -> Option<&'static Arc<Process>> {
    PROCESS.get()
}

/// The image's files under a writable layer, or the disk they are on, with devices and temporary directories mounted on it.
fn namespace(image: &Image<'static>, line: &[u8]) -> Result<Arc<Namespace>, Errno> {
    let temporary = || Tmpfs::new(TmpfsOptions::default());
    let no_privileges = MountFlags::NO_SET_ID | MountFlags::NO_DEVICES;
    kinds::register_own()?;
    let dev = dev::new()?;
    linux::kernel_log::register()?;
    kinds::register_single("devtmpfs", dev.clone())?;
    disks::start(&dev);
    let namespace = match image.config().root_kind() {
        "" => {
            let lower = RootFs::new(image.archive())?;
            Namespace::new(overlay::new(&*lower), b"overlay", MountFlags::empty())
        }
        kind => disk_root(image, kind, command_line::get(line, b"root").unwrap_or_default())?,
    };
    mount(&namespace, b"/dev", dev, b"devtmpfs", MountFlags::NO_SET_ID)?;
    mount(&namespace, b"/dev/shm", temporary(), b"tmpfs", no_privileges)?;
    mount(&namespace, b"/tmp", temporary(), b"tmpfs", no_privileges)?;
    Ok(namespace)
}

/// The disk that is the root, and has the files that the image was made of.
fn disk_root(image: &Image<'static>, kind: &str, name: &[u8]) -> Result<Arc<Namespace>, Errno> {
    let Some(volume) = disks::number_of(name).and_then(disk::volume_of) else {
        fail("the image's files are on a disk that is not there: make run attaches it");
    };
    let kind = kinds::find(kind.as_bytes()).ok_or(Errno::ENODEV)?;
    let source = [b"/dev/", name].concat();
    let wanted = Source { name: &source, volume: Some(&volume), flags: SuperblockFlags::default(), options: b"" };
    let superblock = kind.open(&wanted)?;
    let namespace = Namespace::new(superblock.file_system().clone(), &source, MountFlags::empty());
    root::know_sites(image.archive(), &FsContext::new(namespace.clone()));
    Ok(namespace)
}

/// Mounts a file system on a directory, which is made if the image has none.
fn mount(
    namespace: &Arc<Namespace>,
    path: &[u8],
    file_system: Arc<Tmpfs>,
    source: &[u8],
    flags: MountFlags,
) -> Result<(), Errno> {
    let context = FsContext::new(namespace.clone());
    let root = Credentials::root();
    match vfs::mkdir(&context, &root, None, path, 0o755) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let place = vfs::resolve(&context, &root, None, path, Lookup::FOLLOW | Lookup::DIRECTORY)?;
    namespace.mount(&root, &place, file_system, source, flags).map(drop)
}

/// Says what /dev/console and /dev/tty are: the terminal, or without one the program's error output and nothing.
fn register_consoles(error_output: &Arc<OpenFile>) -> Result<(), Errno> {
    let kind = FileKind::CharacterDevice;
    let console: Arc<dyn File> = match TERMINAL.get() {
        Some(terminal) => terminal.clone(),
        None => error_output.file().clone(),
    };
    device::register(kind, dev::CONSOLE, Arc::new(move |_, _| Ok(console.clone())))?;
    if let Some(terminal) = TERMINAL.get() {
        device::register(kind, dev::TTY, Arc::new(|_, _| Ok(terminal.clone() as Arc<dyn File>)))?;
    }
    Ok(())
}

/// What descriptors 0, 1 and 2 stand for: the terminal where the caller's is one, else a stream.
fn standard_files(options: &Options) -> [Arc<OpenFile>; 3] {
    let ports = drivers::standard_streams(options);
    if options.is_terminal.contains(&true) {
        set_up_terminal(&ports, options);
    }
    let mut index = 0;
    ports.map(|port| {
        let terminal = TERMINAL.get().filter(|_| options.is_terminal[index]);
        let file: Arc<dyn File> = match (terminal, port) {
            (Some(terminal), _) => terminal.clone(),
            (None, Some(port)) => PortFile::new(port, if index == 0 { Direction::Input } else { Direction::Output }),
            (None, None) => fail("the machine has no device for the program's standard streams"),
        };
        let flags = match (index, terminal) {
            (_, Some(_)) => OpenFlags::RDWR,
            (0, None) => OpenFlags::empty(),
            _ => OpenFlags::WRONLY,
        };
        index += 1;
        OpenFile::new(file, flags)
    })
}

/// Makes the terminal of the ports: it reads stdin and writes stdout, or stderr where only that is a terminal.
fn set_up_terminal(ports: &[Option<Arc<dyn Port>>; 3], options: &Options) {
    let output_index = if options.is_terminal[1] || !options.is_terminal[2] { 1 } else { 2 };
    let (Some(input), Some(output)) = (&ports[0], &ports[output_index]) else { return };
    let (rows, columns) = options.window_size.unwrap_or(WINDOW_DEFAULT);
    let window = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = TtyFile::new(input.clone(), output.clone(), Arc::new(ProgramSignals), window, CONSOLE_NUMBER);
    terminal.set_session(Some(FIRST_GROUP));
    terminal.set_foreground_group(Some(FIRST_GROUP));
    for port in [input, output] {
        // The node stays in the port's queue for ever; both live as long as the machine.
        port.wait_queue().add(&WaitNode::new(Arc::new(deferred::TerminalEvents)));
    }
    TERMINAL.call_once(|| terminal);
}

/// Opens the terminal by its node, so that programs can ask for its name.
fn through_console(namespace: &Arc<Namespace>, open: Arc<OpenFile>) -> Arc<OpenFile> {
    if !(&**open.file() as &dyn Any).is::<TtyFile>() {
        return open;
    }
    let context = FsContext::new(namespace.clone());
    let request = OpenRequest { flags: OpenFlags::RDWR, mode: 0, resolve: ResolveFlags::empty() };
    vfs::open(&context, &Credentials::root(), None, b"/dev/console", &request).unwrap_or(open)
}

/// Moves what the terminal's ports have. Not under any lock.
pub(super) fn service_terminal() {
    if let Some(terminal) = TERMINAL.get() {
        terminal.service();
    }
}

/// The terminal's signals go to the only process there is.
struct ProgramSignals;

impl SignalSink for ProgramSignals {
    fn raise(&self, _group: Option<i32>, signal: Signal) {
        raise(signal);
    }
}

fn raise(signal: Signal) {
    if let Some(process) = PROCESS.get() {
        process.raise(Siginfo::new(signal, abi::signal::SI_KERNEL));
    }
}

/// Does what is due; runs in interrupts.
pub(crate) fn expire_timers() {
    if let Some(process) = PROCESS.get() {
        process.system().timers().expire();
    }
}

/// A wish of the host; runs in interrupts.
fn on_request(request: Request) {
    match request {
        Request::Signal(number) => {
            if let Some(signal) = Signal::new(number) {
                raise(signal);
            }
        }
        Request::WindowSize { rows, columns } => {
            if let Some(terminal) = TERMINAL.get() {
                terminal.set_window(Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 });
            }
        }
    }
}

/// Starts the first thread, and becomes the idle loop of this CPU.
fn enter(thread: Arc<Thread>, registers: Registers) -> ! {
    PROCESS.call_once(|| thread.process().clone());
    drivers::set_listener(on_request);
    service_terminal();
    if threads::control::create(&thread, ThreadStart { registers, fs_base: None }).is_err() {
        fail("not enough memory for the first thread")
    }
    threads::control::launch(&thread);
    drop(thread);
    threads::run_idle()
}
