//! The QEMU process: how it is called, and that it never outlives us.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::relay::{self, Streams};
use super::settings::{Accelerator, Machine, Settings};
use super::terminal::{TerminalSize, terminals};
use super::{disk, mount, network, share, vsock};
use crate::{Failure, Result};

/// The first argument of the process that becomes QEMU; the second is its parent's number.
pub const GUARD_OPTION: &str = "--guarded-exec";
/// More of QEMU's own messages is not kept.
const COMPLAINT_SIZE_MAX: u64 = 16 << 10;

/// The ends of the sockets that QEMU gets.
#[derive(Debug)]
pub struct Ports {
    /// The virtio-serial ports by their names.
    named: Vec<(&'static str, UnixStream)>,
    log: UnixStream,
}

/// The ends of the sockets that we keep.
#[derive(Debug)]
pub struct HostPorts {
    /// Those that carry bytes.
    pub streams: Streams,
    /// The one that carries records.
    pub control: UnixStream,
    /// The one on which the kernel tells what the program does, if somebody wants to know.
    pub observer: Option<UnixStream>,
}

impl Ports {
    /// Makes both ends of all sockets, with one for the observer or not.
    ///
    /// # Errors
    /// When the system has no more of them.
    pub fn new(has_observer: bool) -> Result<(Self, HostPorts)> {
        let pair = || UnixStream::pair().map_err(|error| Failure::new(format!("sockets: {error}")));
        let (stdin, stdin_port) = pair()?;
        let (stdout, stdout_port) = pair()?;
        let (stderr, stderr_port) = pair()?;
        let (control, control_port) = pair()?;
        let (log, log_port) = pair()?;
        let mut named = vec![
            ("nacre.stdin", stdin_port),
            ("nacre.stdout", stdout_port),
            ("nacre.stderr", stderr_port),
            ("nacre.control", control_port),
        ];
        let mut observer = None;
        if has_observer {
            let (host, port) = pair()?;
            observer = Some(host);
            named.push(("nacre.observer", port));
        }
        let streams = Streams { stdin, stdout, stderr, log };
        Ok((Self { named, log: log_port }, HostPorts { streams, control, observer }))
    }

    fn all(&self) -> impl Iterator<Item = &UnixStream> {
        self.named.iter().map(|(_, stream)| stream).chain([&self.log])
    }
}

/// A running QEMU.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    complaint: Option<JoinHandle<String>>,
}

impl Emulator {
    /// Starts it.
    ///
    /// # Errors
    /// When it cannot be started. That it does not like its arguments is seen only later.
    pub fn start(
        settings: &Settings,
        accelerator: Accelerator,
        size: Option<TerminalSize>,
        ports: Ports,
    ) -> Result<Self> {
        for stream in ports.all() {
            fcntl_setfd(stream, FdFlags::empty()).map_err(|error| Failure::new(format!("sockets: {error}")))?;
        }
        let mut child = guarded(&settings.qemu)?
            .args(arguments(settings, accelerator, &command_line(settings, size), &ports))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::new(format!("QEMU: {error}")))?;
        let complaint = child.stderr.take().map(|pipe| relay::collect(pipe, COMPLAINT_SIZE_MAX));
        Ok(Self { child, complaint })
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// Waits for its end and returns what it complained about.
    pub fn wait(&mut self) -> String {
        // It is our child and nobody else waits for it.
        let _ = self.child.wait();
        self.complaint.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

/// A command that dies with this process. It runs in its own process group, where no key of the terminal reaches it.
pub(super) fn guarded(program: &OsStr) -> Result<Command> {
    let this = std::env::current_exe().map_err(|error| Failure::new(format!("/proc/self/exe: {error}")))?;
    let mut command = Command::new(this);
    command.arg(GUARD_OPTION).arg(std::process::id().to_string()).arg(program).process_group(0);
    Ok(command)
}

/// Becomes the program in `arguments`, which the kernel kills when the parent is gone. Returns only if that fails.
pub fn become_guarded(parent: &OsStr, mut arguments: impl Iterator<Item = OsString>) -> Failure {
    let Some(program) = arguments.next() else { return Failure::new("no program to run") };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return Failure::new(format!("prctl: {error}"));
    }
    // The parent may have gone before the request was in place.
    let parent = parent.to_str().and_then(|number| Pid::from_raw(number.parse().ok()?));
    if getppid() != parent {
        return Failure::new("the parent is gone");
    }
    let error = Command::new(&program).args(arguments).exec();
    Failure::new(match error.kind() {
        std::io::ErrorKind::NotFound => format!("{} is not installed: run make setup", program.display()),
        _ => format!("{}: {error}", program.display()),
    })
}

/// What the kernel is told.
fn command_line(settings: &Settings, size: Option<TerminalSize>) -> String {
    let mut line = format!("log={}", settings.log);
    let terminals: Vec<_> = terminals().iter().map(u8::to_string).collect();
    if !terminals.is_empty() {
        line.push_str(&format!(" tty={}", terminals.join(",")));
        if let Some(TerminalSize { rows, columns }) = size {
            line.push_str(&format!(" winsize={rows}x{columns}"));
        }
    }
    if !settings.is_rewriting {
        line.push_str(" rewrite=off");
    }
    if settings.halts_at_once {
        line.push_str(" idle=halt");
    }
    if let Some(request) = &settings.trace {
        line.push_str(&format!(" trace={request}"));
    }
    if settings.profile.is_some() {
        line.push_str(&format!(" profile={}", settings.profile_hertz));
    }
    if let Some(configuration) = &settings.network_configuration {
        line.push_str(&format!(" {configuration}"));
    }
    if let Some(letter) = settings.root_disk.and_then(|number| (b'a'..=b'z').nth(number)) {
        line.push_str(&format!(" root=vd{}", char::from(letter)));
    }
    line.push_str(&share::command_line(&settings.shares).to_string_lossy());
    line.push_str(&mount::command_line(&settings.mounts).to_string_lossy());
    if let Ok(now) = SystemTime::now().duration_since(UNIX_EPOCH) {
        line.push_str(&format!(" clock={}", now.as_secs()));
    }
    line
}

fn arguments(settings: &Settings, accelerator: Accelerator, command_line: &str, ports: &Ports) -> Vec<OsString> {
    let mut list: Vec<OsString> = Vec::new();
    let mut add = |arguments: &[&str]| list.extend(arguments.iter().map(OsString::from));
    add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    add(machine_arguments(settings.machine));
    if !settings.has_qemu_option("-accel") {
        add(accelerator_arguments(accelerator, settings.has_qemu_option("-icount")));
    }
    add(&["-m", &format!("{}K", settings.memory >> 10), "-smp", &settings.cpus.to_string()]);
    add(&["-append", command_line]);
    let bus = match settings.machine {
        Machine::Microvm => "device",
        Machine::Q35 | Machine::Pc => "pci,disable-legacy=on",
    };
    add(&["-object", "rng-random,id=entropy,filename=/dev/urandom"]);
    add(&["-device", &format!("virtio-rng-{bus},rng=entropy")]);
    // Number 0 is kept for consoles.
    add(&["-device", &format!("virtio-serial-{bus},id=ports,max_ports={}", ports.named.len() + 1)]);
    for (number, (name, stream)) in (1..).zip(&ports.named) {
        add(&["-chardev", &format!("socket,id={name},fd={}", stream.as_raw_fd())]);
        add(&["-device", &format!("virtserialport,bus=ports.0,nr={number},chardev={name},name={name}")]);
    }
    add(&["-chardev", &format!("socket,id=log,fd={}", ports.log.as_raw_fd()), "-serial", "chardev:log"]);
    let devices = network::arguments(&settings.network, settings.machine, settings.cpus, network::has_multiqueue);
    list.extend(devices.into_iter().map(OsString::from));
    list.extend(disk::arguments(&settings.disks, settings.machine, settings.cpus));
    list.extend(share::arguments(&settings.shares, settings.machine));
    let vsock = vsock::arguments(settings.vsock.as_ref(), settings.machine, settings.memory >> 10);
    list.extend(vsock.into_iter().map(OsString::from));
    list.push("-kernel".into());
    list.push(settings.image.clone().into());
    list.extend(settings.qemu_arguments.iter().cloned());
    list
}

/// The machine, with the firmware that starts fastest.
pub(super) fn machine_arguments(machine: Machine) -> &'static [&'static str] {
    match machine {
        Machine::Microvm => &[
            "-machine",
            "microvm,acpi=on,pic=on,pit=on,rtc=on,isa-serial=on",
            "-global",
            "virtio-mmio.force-legacy=false",
            "-bios",
            "qboot.rom",
        ],
        Machine::Q35 => &["-machine", "q35", "-bios", "qboot.rom"],
        Machine::Pc => &["-machine", "pc"],
    }
}

/// Counting instructions and several threads exclude each other.
pub(super) fn accelerator_arguments(accelerator: Accelerator, is_counting: bool) -> &'static [&'static str] {
    match (accelerator, is_counting) {
        (Accelerator::Kvm, _) => &["-accel", "kvm", "-cpu", "max"],
        (Accelerator::Tcg, false) => &["-accel", "tcg,thread=multi", "-cpu", "max"],
        (Accelerator::Tcg, true) => &["-accel", "tcg", "-cpu", "max"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(pairs: &[(&str, &str)]) -> Vec<String> {
        let find = |name: &str| {
            let pair = pairs.iter().chain(&[("IMAGE", "/the image")]).find(|(key, _)| *key == name);
            pair.map(|(_, value)| OsString::from(value))
        };
        let settings = Settings::read(find).unwrap();
        let (ports, _host) = Ports::new(settings.observes()).unwrap();
        let list = arguments(&settings, Accelerator::Tcg, "log=error", &ports);
        list.into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    fn value<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
        let position = arguments.iter().position(|argument| argument == option)?;
        arguments.get(position + 1).map(String::as_str)
    }

    #[test]
    fn ports_have_their_names_on_every_bus() {
        for (machine, device) in
            [("microvm", "virtio-serial-device"), ("q35", "virtio-serial-pci"), ("pc", "virtio-serial-pci")]
        {
            let arguments = call(&[("MACHINE", machine)]);
            assert!(arguments.iter().any(|argument| argument.starts_with(device)), "{machine}");
            for name in ["nacre.stdin", "nacre.stdout", "nacre.stderr", "nacre.control"] {
                let end = format!("chardev={name},name={name}");
                assert_eq!(arguments.iter().filter(|argument| argument.ends_with(&end)).count(), 1, "{machine} {name}");
            }
        }
    }

    #[test]
    fn settings_reach_the_emulator() {
        let arguments = call(&[("MEM", "4M"), ("CPUS", "3"), ("QEMU_ARGS", "-cpu 'max,-erms'")]);
        assert_eq!((value(&arguments, "-m"), value(&arguments, "-smp")), (Some("4096K"), Some("3")));
        assert_eq!(value(&arguments, "-kernel"), Some("/the image"));
        assert_eq!(value(&arguments, "-accel"), Some("tcg,thread=multi"));
        assert_eq!(arguments[arguments.len() - 2..], ["-cpu", "max,-erms"]);
    }

    #[test]
    fn counting_instructions_takes_one_thread() {
        let arguments = call(&[("QEMU_ARGS", "-icount shift=0,sleep=off")]);
        assert_eq!(value(&arguments, "-accel"), Some("tcg"));
        let arguments = call(&[("QEMU_ARGS", "-accel tcg,one-insn-per-tb=on")]);
        assert_eq!(arguments.iter().filter(|argument| *argument == "-accel").count(), 1);
    }
}
