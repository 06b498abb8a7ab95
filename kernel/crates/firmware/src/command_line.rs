//! The kernel command line: words separated by blanks, `key=value` or bare.
//!
//! [`Options`] holds the kernel's own keys, and [`virtio_mmio_devices`] the devices that QEMU's microvm appends when it
//! has no ACPI. A word that is not understood is not an error: loaders add their own.

/// A device announced as `virtio_mmio.device=<size>@<address>:<interrupt>[:<id>]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioMmioDevice {
    /// Physical address of its registers.
    pub address: u64,
    /// Bytes of registers.
    pub len_bytes: u64,
    /// Its global system interrupt.
    pub interrupt: u32,
}

/// A directory of the host that is mounted before the program starts, as `share=<tag>:<ro|rw>:<place>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// The name of its server.
    pub tag: &'a [u8],
    /// Where it is mounted.
    pub place: &'a [u8],
    /// Whether nothing may be changed.
    pub is_read_only: bool,
}

/// A file system that is mounted before the program starts, as `mount=<source>:<place>[:<type>[:<options>]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// What is mounted: a device, or a word.
    pub source: &'a [u8],
    /// Where.
    pub place: &'a [u8],
    /// Its type; none to find out.
    pub kind: Option<&'a [u8]>,
    /// Options, separated by commas.
    pub options: &'a [u8],
}

/// How much the kernel logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What went wrong.
    Error,
    /// What may have gone wrong.
    Warn,
    /// What is worth knowing.
    Info,
    /// What helps to debug the kernel.
    Debug,
    /// Everything.
    Trace,
}

/// The kernel's own options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// `tty=0,1,2`: which of the standard descriptors are terminals.
    pub is_terminal: [bool; 3],
    /// `winsize=ROWSxCOLS`: the size of the terminal.
    pub window_size: Option<(u16, u16)>,
    /// `log=off|error|warn|info|debug|trace`.
    pub log_level: Option<LogLevel>,
    /// `clock=SECONDS`: what the time is, for a machine that has no clock.
    pub clock_seconds: Option<i64>,
    /// `cpus=N`: how many processors are used at most.
    pub cpus: Option<u32>,
    /// `nacre.console=serial`: the program's standard streams go to the serial port.
    pub is_console_serial: bool,
    /// `rewrite=off`: all system calls of programs are trapped.
    pub is_rewriting: bool,
    /// `idle=halt`: idle processors do not poll.
    pub halts_at_once: bool,
}

impl Options {
    /// Reads the options out of a command line; of a key given twice the last one counts.
    pub fn parse(line: &[u8]) -> Self {
        let mut options = Options {
            is_terminal: [false; 3],
            window_size: None,
            log_level: None,
            clock_seconds: None,
            cpus: None,
            is_console_serial: false,
            is_rewriting: true,
            halts_at_once: false,
        };
        for word in words(line) {
            let Some((key, value)) = split_once(word, b'=') else { continue };
            match key {
                b"tty" => options.is_terminal = parse_descriptors(value),
                b"winsize" => options.window_size = parse_window_size(value),
                b"log" => options.log_level = parse_log_level(value),
                b"clock" => options.clock_seconds = parse_number(value).and_then(|seconds| seconds.try_into().ok()),
                b"cpus" => {
                    options.cpus = parse_number(value).and_then(|cpus| cpus.try_into().ok()).filter(|cpus| *cpus > 0)
                }
                b"nacre.console" => options.is_console_serial = value == b"serial",
                b"rewrite" => options.is_rewriting = value != b"off",
                b"idle" => options.halts_at_once = value == b"halt",
                _ => {}
            }
        }
        options
    }
}

/// The words of a command line.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty())
}

/// The value of the last word `key=value`.
pub fn get<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    words(line)
        .filter_map(|word| split_once(word, b'='))
        .filter(|(found, _)| *found == key)
        .map(|(_, value)| value)
        .last()
}

/// The devices that the command line announces, in its order; malformed ones are skipped.
pub fn virtio_mmio_devices(line: &[u8]) -> impl Iterator<Item = VirtioMmioDevice> {
    words(line)
        .filter_map(|word| split_once(word, b'='))
        .filter(|(key, _)| *key == b"virtio_mmio.device")
        .filter_map(|(_, value)| parse_virtio_mmio_device(value))
}

/// The shares to be mounted, in the order of the command line; malformed ones are skipped.
pub fn shares(line: &[u8]) -> impl Iterator<Item = Share<'_>> {
    words(line)
        .filter_map(|word| split_once(word, b'='))
        .filter(|(key, _)| *key == b"share")
        .filter_map(|(_, value)| parse_share(value))
}

/// What is to be mounted, in the order of the command line; malformed ones are skipped.
pub fn mounts(line: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    words(line)
        .filter_map(|word| split_once(word, b'='))
        .filter(|(key, _)| *key == b"mount")
        .filter_map(|(_, value)| parse_mount(value))
}

fn parse_mount(value: &[u8]) -> Option<Mount<'_>> {
    let mut parts = value.splitn(4, |byte| *byte == b':');
    let (source, place) = (parts.next()?, parts.next()?);
    let kind = parts.next().filter(|kind| !kind.is_empty());
    let options = parts.next().unwrap_or_default();
    (!source.is_empty() && place.starts_with(b"/")).then_some(Mount { source, place, kind, options })
}

fn parse_share(value: &[u8]) -> Option<Share<'_>> {
    let (tag, rest) = split_once(value, b':')?;
    let (mode, place) = split_once(rest, b':')?;
    let is_read_only = match mode {
        b"ro" => true,
        b"rw" => false,
        _ => return None,
    };
    (!tag.is_empty() && place.starts_with(b"/")).then_some(Share { tag, place, is_read_only })
}

fn parse_virtio_mmio_device(value: &[u8]) -> Option<VirtioMmioDevice> {
    let (len, rest) = split_once(value, b'@')?;
    let (address, rest) = split_once(rest, b':')?;
    let interrupt = rest.split(|byte| *byte == b':').next()?;
    let device = VirtioMmioDevice {
        address: parse_number(address)?,
        len_bytes: parse_size(len)?,
        interrupt: parse_number(interrupt)?.try_into().ok()?,
    };
    device.address.checked_add(device.len_bytes)?;
    (device.len_bytes > 0).then_some(device)
}

fn parse_descriptors(value: &[u8]) -> [bool; 3] {
    let mut result = [false; 3];
    for item in value.split(|byte| *byte == b',') {
        let number = parse_number(item).and_then(|number| usize::try_from(number).ok());
        if let Some(slot) = number.and_then(|number| result.get_mut(number)) {
            *slot = true;
        }
    }
    result
}

fn parse_window_size(value: &[u8]) -> Option<(u16, u16)> {
    let (rows, columns) = split_once(value, b'x')?;
    Some((parse_number(rows)?.try_into().ok()?, parse_number(columns)?.try_into().ok()?))
}

fn parse_log_level(value: &[u8]) -> Option<LogLevel> {
    Some(match value {
        b"off" => LogLevel::Off,
        b"error" => LogLevel::Error,
        b"warn" => LogLevel::Warn,
        b"info" => LogLevel::Info,
        b"debug" => LogLevel::Debug,
        b"trace" => LogLevel::Trace,
        _ => return None,
    })
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

/// A number with a suffix K, M or G, as Linux's `memparse`.
fn parse_size(text: &[u8]) -> Option<u64> {
    let (digits, shift) = match text.split_last()? {
        (b'k' | b'K', digits) => (digits, 10),
        (b'm' | b'M', digits) => (digits, 20),
        (b'g' | b'G', digits) => (digits, 30),
        _ => (text, 0),
    };
    parse_number(digits)?.checked_mul(1 << shift)
}

/// A decimal number, or a hexadecimal one behind `0x`.
fn parse_number(text: &[u8]) -> Option<u64> {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        digits => (digits, 10),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = char::from(*digit).to_digit(radix)?;
        value.checked_mul(u64::from(radix))?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_options() {
        let options = Options::parse(
            b"tty=0,2 winsize=24x80 log=debug  clock=1700000000 cpus=4 nacre.console=serial rewrite=off idle=halt",
        );
        assert_eq!(options.is_terminal, [true, false, true]);
        assert_eq!(options.window_size, Some((24, 80)));
        assert_eq!(options.log_level, Some(LogLevel::Debug));
        assert_eq!(options.clock_seconds, Some(1_700_000_000));
        assert_eq!(options.cpus, Some(4));
        assert!(options.is_console_serial && !options.is_rewriting && options.halts_at_once);
    }

    #[test]
    fn nonsense_is_absence() {
        let options = Options::parse(b"tty=9,,x winsize=24 log=loud clock=-1 cpus=0 = =x tty winsize=70000x1 idle=nap");
        assert_eq!(options.is_terminal, [false; 3]);
        assert_eq!(options.window_size, None);
        assert_eq!(options.log_level, None);
        assert_eq!(options.clock_seconds, None);
        assert_eq!(options.cpus, None);
        assert!(!options.is_console_serial && options.is_rewriting && !options.halts_at_once);
    }

    #[test]
    fn shares_have_a_tag_a_mode_and_a_place() {
        let line = b"share=a:rw:/x share=b:ro:/y:/z share=c:/x share=:ro:/x share=d:rw:x share";
        let share = |tag, place, is_read_only| Share { tag, place, is_read_only };
        let found: Vec<_> = shares(line).collect();
        assert_eq!(found, [share(&b"a"[..], &b"/x"[..], false), share(b"b", b"/y:/z", true)]);
    }

    #[test]
    fn mounts_have_a_source_and_a_place() {
        let line = b"mount=/dev/vda:/data mount=none:/t:tmpfs:size=1m,mode=7 mount=/dev/vdb:/x::ro mount=/dev/vdc mount=:/y mount=z:y";
        let found: Vec<_> = mounts(line).collect();
        let mount = |source, place, kind, options| Mount { source, place, kind, options };
        let wanted = [
            mount(&b"/dev/vda"[..], &b"/data"[..], None, &b""[..]),
            mount(b"none", b"/t", Some(&b"tmpfs"[..]), b"size=1m,mode=7"),
            mount(b"/dev/vdb", b"/x", None, b"ro"),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn the_devices_of_microvm() {
        let line = b"log=debug virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xd0000000:5:1 \
            virtio_mmio.device=512@0xfffffffffffffff0:1 virtio_mmio.device=512@:1 virtio_mmio.device=512";
        let devices: Vec<_> = virtio_mmio_devices(line).collect();
        assert_eq!(
            devices,
            [
                VirtioMmioDevice { address: 0xfeb0_0e00, len_bytes: 512, interrupt: 12 },
                VirtioMmioDevice { address: 0xd000_0000, len_bytes: 4096, interrupt: 5 },
            ]
        );
    }

    #[test]
    fn the_last_value_counts() {
        assert_eq!(get(b"a=1 b=2 a=3", b"a"), Some(&b"3"[..]));
        assert_eq!(get(b"a=1 b=2 a=3", b"c"), None);
    }
}
