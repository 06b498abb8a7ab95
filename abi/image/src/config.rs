//! The start parameters of the program.
//!
//! The section is the memory needed (eight bytes), the kind of the root file system (eight bytes, zeroes behind the name), then the path of the program, the working directory and the host name
//! as strings, then the arguments and the environment, each as a count of four bytes followed by strings. A string is a
//! length of four bytes followed by that many bytes, none of them zero. The configuration of the network, text, comes last.

use crate::ImageError;

/// More arguments or environment strings than this are refused; Linux's limit depends on the stack and is lower.
pub const STRING_COUNT_MAX: u32 = 1 << 20;

/// Bytes for the kind of the root file system.
pub const ROOT_KIND_SIZE: usize = 8;

/// The start parameters of the program.
#[derive(Clone, Copy, Debug)]
pub struct Config<'a> {
    required_memory: u64,
    root_kind: &'a str,
    app_path: &'a [u8],
    cwd: &'a [u8],
    hostname: &'a [u8],
    arguments: Strings<'a>,
    environment: Strings<'a>,
    network: &'a str,
}

impl<'a> Config<'a> {
    pub(crate) fn parse(section: &'a [u8]) -> Result<Self, ImageError> {
        Self::read(section).ok_or(ImageError::BadConfig)
    }

    fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let (memory, rest) = bytes.split_first_chunk::<8>()?;
        let (root_kind, rest) = rest.split_first_chunk::<ROOT_KIND_SIZE>()?;
        let root_kind = read_root_kind(root_kind)?;
        bytes = rest;
        let app_path = take_string(&mut bytes)?;
        let cwd = take_string(&mut bytes)?;
        let hostname = take_string(&mut bytes)?;
        let arguments = take_strings(&mut bytes)?;
        let environment = take_strings(&mut bytes)?;
        let network = core::str::from_utf8(take_string(&mut bytes)?).ok()?;
        let required_memory = u64::from_le_bytes(*memory);
        Some(Self { required_memory, root_kind, app_path, cwd, hostname, arguments, environment, network })
    }

    /// The kind of the file system on the disk that is the root; empty where the archive is.
    pub fn root_kind(&self) -> &'a str {
        self.root_kind
    }

    /// The absolute path of the program in the root file system.
    pub fn app_path(&self) -> &'a [u8] {
        self.app_path
    }

    /// The arguments, the program's own name first.
    pub fn arguments(&self) -> Strings<'a> {
        self.arguments
    }

    /// The environment, as `NAME=value`.
    pub fn environment(&self) -> Strings<'a> {
        self.environment
    }

    /// The absolute path of the working directory at start.
    pub fn cwd(&self) -> &'a [u8] {
        self.cwd
    }

    /// The name that `uname` gives for the machine.
    pub fn hostname(&self) -> &'a [u8] {
        self.hostname
    }

    /// How network interfaces are configured, as `NETCFG` says it; empty for automatic.
    pub fn network(&self) -> &'a str {
        self.network
    }

    /// The memory in bytes that the program needs at least; 0 when the builder could not tell.
    pub fn required_memory(&self) -> u64 {
        self.required_memory
    }
}

/// The text in the bytes of a root's kind.
pub(crate) fn read_root_kind(bytes: &[u8; ROOT_KIND_SIZE]) -> Option<&str> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(ROOT_KIND_SIZE);
    let is_plain = bytes.iter().skip(end).all(|byte| *byte == 0);
    core::str::from_utf8(bytes.get(..end)?).ok().filter(|_| is_plain)
}

/// A list of byte strings in a payload; iterate it as often as needed, it is a copy.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a> {
    bytes: &'a [u8],
    remaining: u32,
}

impl<'a> Iterator for Strings<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.remaining = self.remaining.checked_sub(1)?;
        take_string(&mut self.bytes)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        (count, Some(count))
    }
}

impl ExactSizeIterator for Strings<'_> {}

fn take_string<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let size = take_u32(bytes)?;
    let (string, rest) = bytes.split_at_checked(usize::try_from(size).ok()?)?;
    if string.contains(&0) {
        return None;
    }
    *bytes = rest;
    Some(string)
}

fn take_strings<'a>(bytes: &mut &'a [u8]) -> Option<Strings<'a>> {
    let count = take_u32(bytes)?;
    if count > STRING_COUNT_MAX {
        return None;
    }
    let strings = Strings { bytes, remaining: count };
    for _ in 0..count {
        take_string(bytes)?;
    }
    Some(strings)
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (value, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*value))
}
