//! What `make image` and `make run` promise: streams, statuses, signals, terminals, machines, and clear words for bad input.

mod archive;
mod disk;
mod ext;
mod foreign_console;
mod idle;
mod interrupts;
mod refusals;
mod share;
mod stubs;
mod tools;
mod vsock;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use image_builder::build::Request;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::case::describe;
use crate::process::{self, Input, Output, shell_status, wait};
use crate::schedule::{Failure, Test};
use crate::terminal::Session;
use crate::tools::{Boot, Tools};

/// How often a crash is tried until it interrupts the kernel.
const CRASHES_MAX: usize = 5;
const SETTLING: Duration = Duration::from_millis(100);
const MACHINES: [&str; 3] = ["microvm", "q35", "pc"];
/// So many bytes must pass in each direction within seconds.
const BULK_SIZE: usize = 100_000_000;
const BULK_TIME_MAX: Duration = Duration::from_secs(30);
/// Scripts may build something before they begin.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(600);

/// One test of this stage.
type Run = fn(&Bench) -> Result<(), Failure>;

/// All tests of this stage.
pub(crate) fn tests(tools: &Tools) -> Vec<Test> {
    let mut tests = Vec::new();
    for machine in MACHINES {
        add(&mut tests, tools, format!("hello-{machine}"), move |test| test.hello(machine));
        add(&mut tests, tools, format!("streams-{machine}"), move |test| test.streams(machine));
        add(&mut tests, tools, format!("disk-{machine}"), move |test| test.disk(machine));
        add(&mut tests, tools, format!("share-{machine}"), move |test| test.share(machine));
    }
    for status in [0, 1, 2, 125, 126, 127, 128, 129, 255] {
        add(&mut tests, tools, format!("status-{status}"), move |test| test.status(status));
    }
    let named: &[(&str, Run)] = &[
        ("disk-ext", Bench::ext),
        ("disk-removed", Bench::ext_removed),
        ("disk-ext-cut", Bench::ext_power_cut),
        ("stdin-pipe", |test| test.cat(&Input::Bytes(b"x".to_vec()))),
        ("stdin-null", |test| test.cat(&Input::Empty)),
        ("stdin-file", Bench::stdin_file),
        ("stdin-closed", Bench::stdin_closed),
        ("stdout-file", Bench::stdout_file),
        ("stdout-closed-early", Bench::stdout_closed_early),
        ("bulk", Bench::bulk),
        ("triple-fault", Bench::triple_fault),
        ("kernel-crash", Bench::kernel_crash),
        ("processors", Bench::processors),
        ("smallest_memory", Bench::smallest_memory),
        ("call-interrupts", Bench::call_interrupts),
        ("idle", Bench::idle),
        ("stubs", Bench::stubs),
        ("power-button", Bench::power_button),
        ("serial-only", Bench::serial_only),
        ("foreign-console", Bench::foreign_console),
        ("linux-protocol", Bench::linux_protocol),
        ("time-out", Bench::time_out),
        ("sigterm", |test| test.signal(Signal::TERM)),
        ("sigint", |test| test.signal(Signal::INT)),
        ("sigterm-kills", Bench::sigterm_kills),
        ("stop-and-continue", Bench::stop_and_continue),
        ("runner-killed", Bench::runner_killed),
        ("terminal", Bench::terminal),
        ("terminal-ctrl-c", Bench::terminal_interrupt),
        ("memory-too-small", Bench::memory_too_small),
        ("memory-for-the-program", Bench::memory_for_the_program),
        ("memory-in-pieces", Bench::memory_in_pieces),
        ("hostile", Bench::hostile),
        ("log", Bench::log),
        ("bad-programs", Bench::bad_programs),
        ("bad-settings", Bench::bad_settings),
        ("disk-fat", Bench::disk_fat),
        ("disk-direct", Bench::disk_direct),
        ("disk-trim", Bench::disk_trim),
        ("disk-unnamed", Bench::disk_unnamed),
        ("disk-mapped", Bench::disk_mapped),
        ("disk-many-files", Bench::disk_many_files),
        ("mount-refused", Bench::mount_refused),
        ("make-image-and-run", Bench::make_image_and_run),
        ("demo", Bench::demo),
        ("tools", Bench::tools),
        ("vsock-microvm", |test| test.vsock("microvm", 2)),
        ("vsock-q35", |test| test.vsock("q35", 1)),
        ("archive-root-disk", Bench::root_disk),
        ("archive-packed", Bench::packed),
        ("archive-many-files", Bench::many_files),
    ];
    for (name, run) in named {
        add(&mut tests, tools, (*name).to_owned(), *run);
    }
    tests
}

fn add(
    tests: &mut Vec<Test>,
    tools: &Tools,
    name: String,
    run: impl FnOnce(&Bench) -> Result<(), Failure> + Send + 'static,
) {
    let work = tools.work.join("qemu").join(&name);
    let bench = Bench { tools: tools.clone(), work };
    tests.push(Test::plain(format!("qemu/{name}"), move || {
        let failed = |error: std::io::Error| format!("{}: {error}", bench.work.display());
        let _ = fs::remove_dir_all(&bench.work);
        fs::create_dir_all(&bench.work).map_err(failed)?;
        let result = run(&bench);
        if result.is_ok() {
            fs::remove_dir_all(&bench.work).map_err(failed)?;
        }
        result
    }));
}

/// What one test works with.
struct Bench {
    tools: Tools,
    /// A directory of its own.
    work: PathBuf,
}

impl Bench {
    fn hello(&self, machine: &'static str) -> Result<(), Failure> {
        let image = self.image("tests/binaries/hello.c", |_| {})?;
        let output = self.boot(&image, machine, &Input::Empty)?;
        check(&output, b"hello, world\n", b"", 0)
    }

    /// Both outputs and the input at once, on every machine.
    fn streams(&self, machine: &'static str) -> Result<(), Failure> {
        let image = self.image("tests/qemu/streams.c", |request| {
            request.arguments = vec![b"300000".to_vec(), b"200000".to_vec()];
        })?;
        let output = self.boot(&image, machine, &Input::Bytes(vec![b'i'; 1_000_000]))?;
        let expected = [&vec![b'o'; 300_000][..], b"1000000\n"].concat();
        check(&output, &expected, &vec![b'e'; 200_000], 0)
    }

    fn status(&self, status: i32) -> Result<(), Failure> {
        let image = self.image("tests/binaries/exit_status.c", |request| {
            request.arguments = vec![status.to_string().into_bytes()];
        })?;
        let output = self.boot(&image, "microvm", &Input::Empty)?;
        check(&output, format!("returning {status}\n").as_bytes(), b"", status)
    }

    fn cat(&self, input: &Input) -> Result<(), Failure> {
        let image = self.image("tests/binaries/cat.c", |_| {})?;
        let output = self.boot(&image, "microvm", input)?;
        let expected = match input {
            Input::Empty => Vec::new(),
            Input::Bytes(bytes) => bytes.clone(),
            Input::File(path) => fs::read(path).map_err(|error| error.to_string())?,
        };
        check(&output, &expected, b"", 0)
    }

    fn stdin_file(&self) -> Result<(), Failure> {
        let path = self.file("input", b"from a file, without a newline")?;
        self.cat(&Input::File(path))
    }

    /// `<&-`, which only a shell can say.
    fn stdin_closed(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/cat.c", |_| {})?;
        let mut command = Command::new("bash");
        command.args(["-c", "\"$0\" <&-"]).arg(self.tools.runner()).env("IMAGE", &image);
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        check(&output, b"", b"", 0)
    }

    fn stdout_file(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/streams.c", |request| request.arguments = vec![b"1000000".to_vec()])?;
        let path = self.work.join("output");
        let mut command = Command::new("bash");
        command.args(["-c", "echo before >\"$1\"; \"$0\" >>\"$1\" 2>/dev/null </dev/null"]);
        command.arg(self.tools.runner()).arg(&path).env("IMAGE", &image);
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        check(&output, b"", b"", 0)?;
        let written = fs::read(&path).map_err(|error| error.to_string())?;
        let expected = [b"before\n", &vec![b'o'; 1_000_000][..], b"0\n"].concat();
        if written == expected { Ok(()) } else { Err(format!("{} bytes in the file", written.len())) }
    }

    /// A reader that leaves is a broken pipe for the program, as on Linux.
    fn stdout_closed_early(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/streams.c", |request| request.arguments = vec![b"50000000".to_vec()])?;
        let mut command = Command::new("bash");
        command.args(["-c", "\"$0\" </dev/null | head -c 5; echo \" ${PIPESTATUS[0]}\""]);
        command.arg(self.tools.runner()).env("IMAGE", &image);
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        check(&output, b"ooooo 141\n", b"", 0)
    }

    fn bulk(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/cat.c", |_| {})?;
        let pattern: Vec<u8> =
            (0..BULK_SIZE).map(|index| (index / 7).to_le_bytes()[0] ^ index.to_le_bytes()[1]).collect();
        let start = Instant::now();
        let output = self.boot(&image, "microvm", &Input::Bytes(pattern.clone()))?;
        let time = start.elapsed();
        if output.stdout != pattern {
            let same = output.stdout.iter().zip(&pattern).take_while(|(left, right)| left == right).count();
            return Err(format!("{} bytes came back, the first {same} of them right", output.stdout.len()));
        }
        check(&output, &pattern, b"", 0)?;
        if time > BULK_TIME_MAX { Err(format!("it took {} s", time.as_secs())) } else { Ok(()) }
    }

    fn triple_fault(&self) -> Result<(), Failure> {
        let layout = "-Ttext-segment=0x100000,-e,pvh_entry,--section-start=.payload=0x200000";
        let kernel = self.assemble("tests/qemu/triple_fault.s", layout, &[])?;
        let image = self.image("tests/binaries/hello.c", |request| request.kernel = kernel)?;
        for machine in MACHINES {
            let output = self.boot(&image, machine, &Input::Empty)?;
            check(&output, b"", b"nacre: kernel died\n", 125)?;
        }
        Ok(())
    }

    /// A non-maskable interrupt is one that nobody sends: the kernel reports it and dies, with names in its backtrace.
    fn kernel_crash(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/wait.c", |_| {})?;
        for (machine, cpus) in MACHINES.into_iter().map(|machine| (machine, 1)).chain([("microvm", 4)]) {
            let boot = Boot { machine, cpus, ..Boot::default() };
            let mut ended = self.command_when_ready(&image, &boot, b"nmi\n")?;
            let mut report = String::from_utf8_lossy(&ended.stderr).into_owned();
            for _ in 1..CRASHES_MAX {
                // An address of the program: the interrupt came before the program slept, and there is nothing of the kernel to show.
                if !report.contains("rip 0000") {
                    break;
                }
                ended = self.command_when_ready(&image, &boot, b"nmi\n")?;
                report = String::from_utf8_lossy(&ended.stderr).into_owned();
            }
            // Wherever in the kernel it was, there is a function with the distance from its start.
            let parts = ["kernel panic: non-maskable interrupt", "rip ", "backtrace:", "+0x", "kernel died"];
            if let Some(missing) = parts.iter().find(|part| !report.contains(**part)) {
                return Err(format!("{machine}: the report has no \"{missing}\":\n{report}"));
            }
            if ended.status.code() != Some(125) {
                return Err(format!("{machine}: the status is {:?}", ended.status));
            }
        }
        Ok(())
    }

    /// A small program runs in 4 MiB.
    fn smallest_memory(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/hello.c", |_| {})?;
        let output = self.tools.boot(&image, &Boot { memory_mib: 4, ..Boot::default() }, &Input::Empty)?;
        check(&output, b"hello, world\n", b"", 0)
    }

    /// All processors start, on every machine, and the program is told how many there are. A small memory has room for fewer.
    fn processors(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/processors.c", |_| {})?;
        let counts = [("microvm", 2), ("microvm", 64), ("q35", 2), ("q35", 8), ("pc", 4)];
        for (machine, cpus) in counts {
            let output = self.tools.boot(&image, &Boot { machine, cpus, ..Boot::default() }, &Input::Empty)?;
            let line = format!("{}\n", [cpus.to_string().as_str(); 7].join(" "));
            check(&output, line.as_bytes(), b"", 0)?;
        }
        let small = Boot { memory_mib: 5, cpus: 64, ..Boot::default() };
        let output = self.tools.boot(&image, &small, &Input::Empty)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let count = text.split(' ').next().and_then(|count| count.parse::<u32>().ok());
        if count.is_none_or(|count| count < 2 || count == 64) || output.status != 0 {
            return Err(format!("64 processors in 5 MiB: {}", describe(&output)));
        }
        Ok(())
    }

    /// The power button is a SIGTERM to the program.
    fn power_button(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/handle.c", |_| {})?;
        for machine in MACHINES {
            let ended = self.command_when_ready(&image, &Boot { machine, ..Boot::default() }, b"system_powerdown\n")?;
            if ended.stdout != b"signal 15\n" || ended.status.code() != Some(0) {
                let said = String::from_utf8_lossy(&ended.stdout).into_owned();
                return Err(format!("{machine}: {:?}, {said}", ended.status));
            }
        }
        Ok(())
    }

    /// Boots a program that says "ready", then gives the emulator's monitor a command and waits for the end.
    fn command_when_ready(&self, image: &Path, boot: &Boot, command: &[u8]) -> Result<std::process::Output, Failure> {
        self.command_to(self.tools.boot_command(image, boot), command)
    }

    /// The same with an emulator that is prepared.
    fn command_to(&self, mut emulator: Command, command: &[u8]) -> Result<std::process::Output, Failure> {
        let monitor = self.work.join("monitor");
        let arguments = format!("-monitor unix:{},server=on,wait=off", monitor.display());
        emulator.env("QEMU_ARGS", arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = emulator.spawn().map_err(|error| error.to_string())?;
        let mut output = child.stdout.take().ok_or("no output")?;
        let mut first = [0; 6];
        output.read_exact(&mut first).map_err(|error| error.to_string())?;
        let mut console = UnixStream::connect(&monitor).map_err(|error| format!("the monitor: {error}"))?;
        // Time to fall asleep, usually; nothing depends on it.
        std::thread::sleep(SETTLING);
        console.write_all(command).map_err(|error| format!("the monitor: {error}"))?;
        let mut rest = Vec::new();
        output.read_to_end(&mut rest).map_err(|error| error.to_string())?;
        let ended = child.wait_with_output().map_err(|error| error.to_string())?;
        Ok(std::process::Output { stdout: rest, ..ended })
    }

    /// Without a virtio-serial device the serial port carries the program.
    fn serial_only(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/hello.c", |_| {})?;
        for machine in ["microvm,pit=on,pic=on,rtc=on", "q35", "pc"] {
            let mut command = Command::new("qemu-system-x86_64");
            let options = "-accel tcg -cpu max -m 64 -nodefaults -display none -serial stdio -no-reboot";
            command.args(["-M", machine]).args(options.split(' ')).arg("-kernel").arg(&image);
            let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
            if output.stdout != b"hello, world\r\n" && output.stdout != b"hello, world\n" {
                return Err(format!("{machine}: {}", describe(&output)));
            }
        }
        Ok(())
    }

    /// The image's e_entry, by a loader of the 64-bit Linux boot protocol that QEMU starts beside it.
    fn linux_protocol(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/hello.c", |_| {})?;
        let bytes = fs::read(&image).map_err(|error| format!("{}: {error}", image.display()))?;
        let entry =
            bytes.get(24..32).and_then(|field| field.try_into().ok()).map(u64::from_le_bytes).ok_or("no ELF")?;
        let layout = "-Ttext-segment=0x4000000,-e,start,--section-start=.payload=0x4800000";
        let kernel =
            self.assemble("tests/qemu/linux_loader.s", layout, &[format!("-Wa,--defsym,IMAGE_ENTRY={entry:#x}")])?;
        let payload = self.work.join("hello.image");
        fs::rename(&image, &payload).map_err(|error| error.to_string())?;
        let loader = self.image("tests/binaries/hello.c", |request| request.kernel = kernel)?;
        for machine in MACHINES {
            let mut command = self.tools.boot_command(&loader, &Boot { machine, ..Boot::default() });
            command.env("QEMU_ARGS", format!("-device loader,file={}", payload.display())).env("LOG", "info");
            let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
            let log = String::from_utf8_lossy(&output.stderr);
            if output.stdout != b"hello, world\n" || output.status != 0 || !log.contains("booted by Linux") {
                return Err(format!("{machine}: {}", describe(&output)));
            }
        }
        Ok(())
    }

    /// Builds a kernel of the tests' own from assembly.
    fn assemble(&self, source: &str, layout: &str, options: &[String]) -> Result<PathBuf, Failure> {
        let kernel = self.work.join("kernel");
        let mut command = Command::new("cc");
        command
            .args(["-nostdlib", "-static", "-no-pie", "-x", "assembler"])
            .args(options)
            .arg(self.tools.root.join(source))
            .arg(format!("-Wl,{layout},--build-id=none,-z,noexecstack"))
            .arg("-o")
            .arg(&kernel);
        check(&process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?, b"", b"", 0)?;
        Ok(kernel)
    }

    fn time_out(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/wait.c", |_| {})?;
        let mut command = self.tools.boot_command(&image, &Boot::default());
        command.env("TIMEOUT", "3");
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        check(&output, b"ready\n", b"nacre: time-out after 3 s\n", 124)
    }

    /// SIGTERM and SIGINT both arrive as SIGTERM.
    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let (mut child, mut output) = self.start_and_wait_until_ready("tests/qemu/handle.c")?;
        send(&child, signal)?;
        let status = wait(&mut child, SCRIPT_TIMEOUT).map(shell_status);
        let mut rest = String::new();
        output.read_to_string(&mut rest).map_err(|error| error.to_string())?;
        if (rest.as_str(), status) == ("signal 15\n", Some(0)) { Ok(()) } else { Err(format!("{rest:?}, {status:?}")) }
    }

    fn sigterm_kills(&self) -> Result<(), Failure> {
        let (mut child, _output) = self.start_and_wait_until_ready("tests/qemu/wait.c")?;
        send(&child, Signal::TERM)?;
        match wait(&mut child, SCRIPT_TIMEOUT).map(shell_status) {
            Some(143) => Ok(()),
            other => Err(format!("status {other:?} instead of 143")),
        }
    }

    /// A stopped program goes on, with all its threads, when the runner is told to continue.
    fn stop_and_continue(&self) -> Result<(), Failure> {
        let (mut child, mut output) = self.start_and_wait_until_ready("tests/qemu/stop.c")?;
        // The first may come before it has stopped, and is then forgotten.
        let deadline = Instant::now() + SCRIPT_TIMEOUT;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
                break shell_status(status);
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                return Err("it did not go on".into());
            }
            send(&child, Signal::CONT)?;
            std::thread::sleep(Duration::from_millis(100));
        };
        let mut rest = String::new();
        output.read_to_string(&mut rest).map_err(|error| error.to_string())?;
        let expected = "goes on\ntold so: 1\nslept: 0, read: 1, ran: 1\n";
        if (rest.as_str(), status) == (expected, 0) { Ok(()) } else { Err(format!("{rest:?}, {status}")) }
    }

    /// QEMU never outlives the runner, however that ends.
    fn runner_killed(&self) -> Result<(), Failure> {
        let (mut child, _output) = self.start_and_wait_until_ready("tests/qemu/wait.c")?;
        let qemu = children(child.id())?;
        let [qemu] = qemu.as_slice() else { return Err(format!("children of the runner: {qemu:?}")) };
        send(&child, Signal::KILL)?;
        let _ = child.wait();
        let qemu = Pid::from_raw(*qemu).ok_or("no process")?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            // Once it is gone it may stay a zombie for its new parent's sake.
            let state = fs::read_to_string(format!("/proc/{}/stat", qemu.as_raw_nonzero())).unwrap_or_default();
            if test_kill_process(qemu).is_err() || state.contains(") Z ") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("QEMU is still there".to_owned())
    }

    fn terminal(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/terminal.c", |_| {})?;
        let mut session = Session::start(&mut self.tools.boot_command(&image, &Boot::default()), 33, 101)?;
        // It is told at a terminal when KVM does not work.
        let notice = "nacre: KVM does not run guests properly here, using the slower TCG\r\n";
        let _ = session.expect(notice);
        session.expect("terminals 111 size 33x101\r\n")?;
        session.type_keys(b"abc\r")?;
        session.expect("abc\r\n<abc>\r\n")?;
        session.type_keys(b"ax\x7fb\x15new\r")?;
        // Rubbing out and starting over is shown by going back over the letters.
        session.expect("ax\x08 \x08b\x08 \x08\x08 \x08new\r\n<new>\r\n")?;
        session.type_keys(b"dropped")?;
        session.expect("dropped")?;
        session.type_keys(b"\x03")?;
        session.expect("^Cinterrupted\r\n")?;
        session.resize(50, 120)?;
        std::thread::sleep(Duration::from_millis(200));
        session.type_keys(b"size\r")?;
        session.expect("size\r\n<size>\r\nsize 50x120\r\n")?;
        session.type_keys(b"\x04")?;
        session.expect("end\r\n")?;
        session.finish(0)
    }

    fn terminal_interrupt(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/wait.c", |_| {})?;
        let mut session = Session::start(&mut self.tools.boot_command(&image, &Boot::default()), 24, 80)?;
        let _ = session.expect("nacre: KVM does not run guests properly here, using the slower TCG\r\n");
        session.expect("ready\r\n")?;
        session.type_keys(b"\x03")?;
        session.expect("^C")?;
        session.finish(130)
    }

    fn memory_too_small(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/hello.c", |_| {})?;
        let mut command = self.tools.boot_command(&image, &Boot::default());
        let output = process::run(command.env("MEM", "1M"), &Input::Empty, SCRIPT_TIMEOUT)?;
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status == 125 && text.contains(": needs MEM=") && text.lines().count() == 1 {
            Ok(())
        } else {
            Err(describe(&output))
        }
    }

    fn memory_for_the_program(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/hungry.c", |_| {})?;
        let boot = |memory_mib| Boot { memory_mib, ..Boot::default() };
        let output = self.tools.boot(&image, &boot(128), &Input::Empty)?;
        let text = String::from_utf8_lossy(&output.stderr);
        if output.status != 125 || !text.contains(": needs MEM=20") {
            return Err(describe(&output));
        }
        check(&self.tools.boot(&image, &boot(256), &Input::Empty)?, b"1\n", b"", 0)
    }

    fn memory_in_pieces(&self) -> Result<(), Failure> {
        let image = self.image("tests/qemu/refused.c", |_| {})?;
        let boot = Boot { memory_mib: 16, ..Boot::default() };
        check(&self.tools.boot(&image, &boot, &Input::Empty)?, b"some were refused\n", b"", 0)
    }

    /// A program that means harm, in each of its ways. It may fail as it likes, but the machine tells how.
    fn hostile(&self) -> Result<(), Failure> {
        const MODES: [(&str, u32); 6] =
            [("calls", 4), ("memory", 3), ("frames", 3), ("code", 3), ("jumps", 1), ("depth", 1)];
        /// What `exhaust` can use up.
        const RESOURCES: u32 = 17;
        const TIME_MAX: Duration = Duration::from_secs(30);
        let seeded = MODES.iter().flat_map(|(mode, seeds)| (1..=*seeds).map(move |seed| (*mode, seed)));
        for (mode, seed) in seeded.chain((0..RESOURCES).map(|what| ("exhaust", what))) {
            let image = self.image("tests/qemu/hostile.c", |request| {
                request.arguments = vec![mode.into(), seed.to_string().into_bytes()];
            })?;
            let memory_mib = if seed % 2 == 0 { 16 } else { 64 };
            let boot = Boot { memory_mib, timeout: TIME_MAX, ..Boot::default() };
            let mut command = self.tools.boot_command(&image, &boot);
            command.env("TIMEOUT", TIME_MAX.as_secs().to_string());
            let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
            if matches!(output.status, 124 | 125) {
                return Err(format!("hostile {mode} {seed}, {memory_mib} MiB: {}", describe(&output)));
            }
        }
        Ok(())
    }

    /// The kernel's log is on standard error, and only when it was asked for.
    fn log(&self) -> Result<(), Failure> {
        let image = self.image("tests/binaries/hello.c", |_| {})?;
        let mut command = self.tools.boot_command(&image, &Boot::default());
        let output = process::run(command.env("LOG", "debug"), &Input::Empty, SCRIPT_TIMEOUT)?;
        check(&Output { stderr: Vec::new(), ..output.clone() }, b"hello, world\n", b"", 0)?;
        if output.stderr.is_empty() { Err("nothing on standard error".to_owned()) } else { Ok(()) }
    }

    /// The commands of the README from one end to the other.
    fn make_image_and_run(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| error.to_string();
        let program = self.work.join("show");
        self.tools.compile(&self.tools.root.join("tests/qemu/show.c"), &program, false, &[])?;
        fs::create_dir_all(self.work.join("files/data")).map_err(failed)?;
        let file = self.file("files/data/file", b"some text\n")?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4751)).map_err(failed)?;
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
        File::options().write(true).open(&file).and_then(|file| file.set_modified(time)).map_err(failed)?;
        fs::hard_link(&file, self.work.join("files/twin")).map_err(failed)?;
        symlink("../twin", self.work.join("files/data/link")).map_err(failed)?;
        let image = self.work.join("image");
        let mut command = Command::new("make");
        command.current_dir(&self.tools.root).args(["--no-print-directory", "image", "ARGS=one 'two three'"]);
        command.args(["ENV=A=1 HOME=/data", "CWD=/data"]).arg(format!("APP={}", program.display()));
        command.arg(format!("FILES={}/files", self.work.display())).arg(format!("OUT={}", image.display()));
        let output = process::run(&mut command, &Input::Empty, SCRIPT_TIMEOUT)?;
        let summary = String::from_utf8_lossy(&output.stdout);
        if output.status != 0 || summary.lines().count() != 1 || !summary.ends_with(" in all\n") {
            return Err(describe(&output));
        }
        let mut command = self.script("run-qemu.sh");
        let output = process::run(command.arg(&image).arg("MACHINE=q35"), &Input::Empty, SCRIPT_TIMEOUT)?;
        let expected = "argument [/show]\nargument [one]\nargument [two three]\nenvironment [A=1]\n\
                        environment [HOME=/data]\n\
                        environment [PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin]\n\
                        directory /data\nmode 104751 links 2 size 10 time 1234567890 owner 0\n\
                        text some text\npasswd root:x:0:0:root:/root:/bin/sh\n";
        check(&output, expected.as_bytes(), b"", 7)
    }

    /// `make run` without anything.
    fn demo(&self) -> Result<(), Failure> {
        let mut command = Command::new("make");
        command.current_dir(&self.tools.root).args(["--no-print-directory", "run"]);
        command.arg(format!("OUT={}/image", self.work.display()));
        let output = process::run(&mut command, &Input::Bytes(b"Ada\n".to_vec()), SCRIPT_TIMEOUT)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let is_right = text.starts_with("Hello from /demo, process ") && text.ends_with("Good to meet you, Ada.\n");
        if is_right && output.status == 0 { Ok(()) } else { Err(describe(&output)) }
    }

    /// Compiles a program of the project and makes an image of it.
    fn image(&self, source: &str, change: impl FnOnce(&mut Request)) -> Result<PathBuf, Failure> {
        let source = self.tools.root.join(source);
        let program = self.work.join(source.file_stem().unwrap_or_default());
        self.tools.compile(&source, &program, false, &[])?;
        let image = self.work.join("image");
        self.tools.image(&image, |request| {
            request.app = program;
            change(request);
        })?;
        Ok(image)
    }

    fn boot(&self, image: &Path, machine: &'static str, input: &Input) -> Result<Output, Failure> {
        self.tools.boot(image, &Boot { machine, ..Boot::default() }, input)
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.tools.root.join("scripts").join(name));
        for variable in ["APP", "ARGS", "ENV", "FILES", "CWD", "IMAGE", "MEM", "MACHINE", "LOG", "QEMU_ARGS", "TIMEOUT"]
        {
            command.env_remove(variable);
        }
        command
    }

    fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.work.join(name);
        fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }

    /// Boots a program that says "ready" and waits for that.
    fn start_and_wait_until_ready(&self, source: &str) -> Result<(Child, BufReader<impl Read + use<>>), Failure> {
        let image = self.image(source, |_| {})?;
        let mut command = self.tools.boot_command(&image, &Boot::default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line).map_err(|error| error.to_string())?;
        if line == "ready\n" {
            return Ok((child, output));
        }
        let _ = child.kill();
        Err(format!("{line:?}, {:?}", child.wait().map(shell_status)))
    }
}

fn check(output: &Output, stdout: &[u8], stderr: &[u8], status: i32) -> Result<(), Failure> {
    if output.status != status {
        return Err(format!("status {} instead of {status}\n{}", output.status, describe(output)));
    }
    for (name, found, expected) in [("output", &output.stdout, stdout), ("error", &output.stderr, stderr)] {
        if found != expected {
            let expected = String::from_utf8_lossy(expected.get(..500).unwrap_or(expected));
            return Err(format!("standard {name} should be:\n{expected}\n--- is\n{}", describe(output)));
        }
    }
    Ok(())
}

/// Leaves out what a script says when it has to build something first, as after an edit during the tests.
fn without_progress(output: Output) -> Output {
    let lines = output.stderr.split_inclusive(|&byte| byte == b'\n');
    Output { stderr: lines.filter(|line| !line.starts_with(b"   ")).flatten().copied().collect(), ..output }
}

fn send(child: &Child, signal: Signal) -> Result<(), Failure> {
    let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process")?;
    kill_process(process, signal).map_err(|error| error.to_string())
}

/// The children of a process.
fn children(parent: u32) -> Result<Vec<i32>, Failure> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok(text.split_whitespace().filter_map(|number| number.parse().ok()).collect())
}
