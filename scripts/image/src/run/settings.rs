//! What the user asked for, from the environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use super::disk::{self, DiskFile};
use super::mount::{self, Mount};
use super::network::{self, NetworkDevice};
use super::share::{self, Share};
use super::vsock::{self, Vsock};
use crate::{Failure, Result, trace, words};

/// The machines an image boots on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// The smallest and fastest to start.
    Microvm,
    /// A PC with PCI Express.
    Q35,
    /// A PC of 1996.
    Pc,
}

/// What runs the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

/// Everything that can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image.
    pub image: PathBuf,
    /// The machine's memory in bytes.
    pub memory: u64,
    /// How many processors it has.
    pub cpus: u32,
    /// What runs it; `None` to find out.
    pub accelerator: Option<Accelerator>,
    /// The kind of machine.
    pub machine: Machine,
    /// The network devices.
    pub network: Vec<NetworkDevice>,
    /// How the kernel configures them, as its command line has it.
    pub network_configuration: Option<String>,
    /// The disks, in the order of their names in the machine.
    pub disks: Vec<DiskFile>,
    /// Which of the disks is the root.
    pub root_disk: Option<usize>,
    /// The directories of the host that it shares.
    pub shares: Vec<Share>,
    /// What is at the other end of its sockets to the host.
    pub vsock: Option<Vsock>,
    /// The file systems that are mounted.
    pub mounts: Vec<Mount>,
    /// The kernel's log level.
    pub log: String,
    /// Whether `syscall` instructions are rewritten.
    pub is_rewriting: bool,
    /// Whether idle processors halt at once, and do not look for work a while.
    pub halts_at_once: bool,
    /// Whether the user asked for a log.
    pub is_verbose: bool,
    /// What system calls are told of, as the kernel's command line has it.
    pub trace: Option<String>,
    /// Where that goes, if not to standard error.
    pub trace_output: Option<PathBuf>,
    /// Where a flame graph goes.
    pub profile: Option<PathBuf>,
    /// How many samples a second it has.
    pub profile_hertz: u32,
    /// The machine is switched off after this time.
    pub timeout: Option<Duration>,
    /// Further arguments for QEMU.
    pub qemu_arguments: Vec<OsString>,
    /// The emulator.
    pub qemu: OsString,
}

/// More processors the kernel does not use.
const CPUS_MAX: u32 = 64;

/// More samples a second the kernel does not take.
const PROFILE_HERTZ_MAX: u32 = 10_000;

/// What can be set, for a user who got it wrong.
pub const USAGE: &str = "\
settings are environment variables or, for scripts/run-qemu.sh, VARIABLE=value arguments:
  IMAGE=file           the image made by make image
  MEM=256M             the machine's memory
  CPUS=1               its processors, 64 at most
  ACCEL=auto|kvm|tcg   what runs it; auto takes KVM if it works
  MACHINE=microvm|q35|pc
  NET=user,ports=8080:80   a network device (several: separate them by blanks or +), none by default:
      user[,ports=HOST:GUEST,...][,udp=HOST:GUEST,...]   QEMU's own network; ports on 127.0.0.1 lead in
      tap:NAME[,queues=N]   an interface of the host
      socket:PATH, listen:PATH, dgram:LOCAL:REMOTE   sockets of the Unix domain
      all take mac=ADDRESS, mtu=BYTES and pcap=FILE, which records frames; a tap has no offloads then
  NETCFG=10.0.0.2/24,gw=10.0.0.1,dns=10.0.0.1   addresses of eth0, in place of DHCP; also mtu=BYTES, dhcp, ra, off; eth1:... for others
  DISK=file[,ro]       a disk, raw or qcow2 (several: separate them by blanks); vda, vdb... in the machine
  MOUNT=/dev/vda:/data[:type[:options]]   what is mounted before the program starts (several: separate them by blanks)
  SHARE=dir[:/place][,ro]   a directory of the host (several: separate them by blanks), at /mnt/NAME by default
  VSOCK=CID|socket:PATH   sockets to the host (AF_VSOCK): its kernel, or a process that speaks vhost-user
  LOG=off|error|warn|info|debug|trace   the kernel's messages on standard error
  REWRITE=on|off       off: all system calls are trapped, none is rewritten
  IDLE=poll|halt       halt: an idle processor halts at once; poll: it looks for work first, where waits are short
  TRACE=all|openat,read,...|count   system calls on standard error, as strace shows them, or how many there were
  TRACE_OUT=file       ... in a file
  PROFILE=out.svg      a flame graph of the kernel and the program
  PROFILE_HZ=997       its samples a second
  TIMEOUT=seconds      ends it with status 124
  QEMU_ARGS=\"...\"      further arguments for QEMU
  QEMU=program         the emulator, qemu-system-x86_64";

impl Settings {
    /// Reads the settings through `variable`, which knows their values.
    ///
    /// # Errors
    /// Names the setting that makes no sense.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str, default: &str| {
            get(name).map_or_else(|| default.to_owned(), |value| value.to_string_lossy().into_owned())
        };
        let bad =
            |name: &str, value: &str, wanted: &str| Failure::new(format!("{name}={value}: it should be {wanted}"));
        let memory = text("MEM", "256M");
        let cpus = text("CPUS", "1");
        let accelerator = text("ACCEL", "auto");
        let machine = text("MACHINE", "microvm");
        let log = text("LOG", "error");
        // A prime: what the program does at regular times is not always seen at the same place.
        let hertz = text("PROFILE_HZ", "997");
        Ok(Self {
            image: get("IMAGE").ok_or_else(|| Failure::new("IMAGE is not set"))?.into(),
            memory: parse_size(&memory).ok_or_else(|| bad("MEM", &memory, "a size like 256M"))?,
            cpus: cpus
                .parse()
                .ok()
                .filter(|cpus| (1..=CPUS_MAX).contains(cpus))
                .ok_or_else(|| bad("CPUS", &cpus, &format!("a number from 1 to {CPUS_MAX}")))?,
            accelerator: match accelerator.as_str() {
                "auto" => None,
                "kvm" => Some(Accelerator::Kvm),
                "tcg" => Some(Accelerator::Tcg),
                other => return Err(bad("ACCEL", other, "auto, kvm or tcg")),
            },
            machine: match machine.as_str() {
                "microvm" => Machine::Microvm,
                "q35" => Machine::Q35,
                "pc" => Machine::Pc,
                other => return Err(bad("MACHINE", other, "microvm, q35 or pc")),
            },
            network: network::parse(&text("NET", "none"))?,
            network_configuration: get("NETCFG")
                .map(|value| network::configuration(&value.to_string_lossy()))
                .transpose()?,
            root_disk: None,
            disks: disk::parse(&get("DISK").unwrap_or_default())?,
            shares: share::parse(&get("SHARE").unwrap_or_default())?,
            vsock: vsock::parse(&text("VSOCK", "none"))?,
            mounts: mount::parse(&get("MOUNT").unwrap_or_default())?,
            is_verbose: matches!(log.as_str(), "info" | "debug" | "trace"),
            log: match log.as_str() {
                "off" | "error" | "warn" | "info" | "debug" | "trace" => log,
                other => return Err(bad("LOG", other, "off, error, warn, info, debug or trace")),
            },
            is_rewriting: match text("REWRITE", "on").as_str() {
                "on" => true,
                "off" => false,
                other => return Err(bad("REWRITE", other, "on or off")),
            },
            halts_at_once: match text("IDLE", "poll").as_str() {
                "poll" => false,
                "halt" => true,
                other => return Err(bad("IDLE", other, "poll or halt")),
            },
            trace: get("TRACE").map(|names| trace::request(&names.to_string_lossy())).transpose()?,
            trace_output: get("TRACE_OUT").map(PathBuf::from),
            profile: get("PROFILE").map(PathBuf::from),
            profile_hertz: hertz
                .parse()
                .ok()
                .filter(|hertz| (1..=PROFILE_HERTZ_MAX).contains(hertz))
                .ok_or_else(|| bad("PROFILE_HZ", &hertz, &format!("a number from 1 to {PROFILE_HERTZ_MAX}")))?,
            timeout: match get("TIMEOUT") {
                None => None,
                Some(value) => Some(
                    parse_seconds(&value)
                        .ok_or_else(|| bad("TIMEOUT", &value.to_string_lossy(), "a number of seconds"))?,
                ),
            },
            qemu_arguments: words::split(get("QEMU_ARGS").unwrap_or_default().as_bytes())
                .map_err(|error| Failure::new(format!("QEMU_ARGS: {error}")))?
                .into_iter()
                .map(OsString::from_vec)
                .collect(),
            qemu: get("QEMU").unwrap_or_else(|| "qemu-system-x86_64".into()),
        })
    }

    /// Whether the kernel is to tell what the program does.
    pub fn observes(&self) -> bool {
        self.trace.is_some() || self.profile.is_some()
    }

    /// Whether the user gives QEMU this option himself.
    pub fn has_qemu_option(&self, name: &str) -> bool {
        self.qemu_arguments.iter().any(|argument| argument == OsStr::new(name))
    }
}

/// A size as QEMU takes it: a plain number counts mebibytes.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match &text[digits.len()..] {
        "k" | "K" => 10,
        "" | "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        _ => return None,
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(1 << shift).filter(|&size| size > 0)
}

fn parse_seconds(value: &OsStr) -> Option<Duration> {
    let seconds: f64 = value.to_str()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings> {
        let find = |name: &str| {
            let pair = pairs.iter().chain(&[("IMAGE", "image")]).find(|(key, _)| *key == name);
            pair.map(|(_, value)| OsString::from(value))
        };
        Settings::read(find)
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let settings = read(&[("MEM", ""), ("ACCEL", "")]).unwrap();
        assert_eq!((settings.memory, settings.cpus), (256 << 20, 1));
        assert_eq!((settings.machine, settings.accelerator, settings.timeout), (Machine::Microvm, None, None));
        assert_eq!((settings.log.as_str(), settings.is_verbose), ("error", false));
    }

    #[test]
    fn settings_are_read() {
        let settings = read(&[
            ("MEM", "4096K"),
            ("CPUS", "2"),
            ("ACCEL", "tcg"),
            ("MACHINE", "q35"),
            ("LOG", "debug"),
            ("TIMEOUT", "1.5"),
            ("QEMU_ARGS", "-icount 'shift=0, sleep=off'"),
        ])
        .unwrap();
        assert_eq!((settings.memory, settings.cpus), (4 << 20, 2));
        assert_eq!((settings.machine, settings.accelerator), (Machine::Q35, Some(Accelerator::Tcg)));
        assert!(settings.is_verbose && settings.has_qemu_option("-icount") && !settings.has_qemu_option("-cpu"));
        assert_eq!(settings.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(settings.qemu_arguments.len(), 2);
    }

    #[test]
    fn nonsense_is_named() {
        for (name, value) in [
            ("MEM", "lots"),
            ("MEM", "0"),
            ("MEM", "99999999T"),
            ("MEM", "-1M"),
            ("CPUS", "0"),
            ("CPUS", "65"),
            ("CPUS", "-1"),
            ("CPUS", "many"),
            ("ACCEL", "xen"),
            ("MACHINE", "isapc"),
            ("LOG", "loud"),
            ("REWRITE", "no"),
            ("IDLE", "sleep"),
            ("TIMEOUT", "0"),
            ("TIMEOUT", "-1"),
            ("TIMEOUT", "nan"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{name}={value}: it should be ")), "{message}");
        }
        assert!(read(&[("QEMU_ARGS", "'")]).is_err());
        assert!(read(&[("TRACE", "read,raed")]).is_err());
        assert!(read(&[("PROFILE_HZ", "0")]).is_err());
    }

    #[test]
    fn observing_is_asked_for() {
        assert!(!read(&[]).unwrap().observes());
        let settings = read(&[("TRACE", "read,write"), ("PROFILE_HZ", "100")]).unwrap();
        assert_eq!((settings.trace.as_deref(), settings.profile_hertz), (Some("0,1"), 100));
        assert!(settings.observes() && read(&[("PROFILE", "out.svg")]).unwrap().observes());
    }
}
