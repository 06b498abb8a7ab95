//! The initial stack of a program, byte for byte as Linux lays it out.
//!
//! From the top down:
//!
//! ```text
//! stack top    8 zero bytes
//!              file name of the program, terminated          AT_EXECFN
//!              environment strings, each terminated          env_start..env_end
//!              argument strings, each terminated             arg_start..arg_end
//!              up to 8 KiB of padding (random), then aligned to 16
//!              "x86_64"                                      AT_PLATFORM
//!              16 random bytes                               AT_RANDOM
//!              padding to 16 at most
//!              auxiliary vector
//!              NULL, environment pointers
//!              NULL, argument pointers
//! rsp ->       argc                                          aligned to 16
//! ```
//!
//! It does not write to the program's memory: the caller copies [`InitialStack::bytes`] to the stack pointer.

use alloc::vec;
use alloc::vec::Vec;

use abi::Errno;

use crate::auxv::{Facts, StringAddresses};

/// Longest single argument or environment string, terminator included (`MAX_ARG_STRLEN`).
pub const STRING_LEN_MAX: usize = 32 * 4096;

/// Most bytes of arguments whatever the stack limit is: three quarters of the default stack.
const ARGUMENTS_LEN_MAX: u64 = (8 << 20) / 4 * 3;

/// Bytes of arguments that are always allowed (`ARG_MAX`).
const ARGUMENTS_LEN_MIN: u64 = 128 << 10;

/// The random padding below the strings is smaller than this.
const PADDING_RANGE: u64 = 8192;

const PLATFORM: &[u8] = b"x86_64\0";

/// What goes on the stack. Strings come without terminators and must not hold a zero byte.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a, S> {
    /// `argv`. Linux gives a program started with none one empty string; that is up to the caller.
    pub arguments: &'a [S],
    /// `envp`.
    pub environment: &'a [S],
    /// The file name given to `execve`.
    pub executable_name: &'a [u8],
    /// The bytes `AT_RANDOM` points to.
    pub random_bytes: [u8; 16],
    /// A uniform random number that moves the stack pointer; 0 for no padding.
    pub random_padding: u64,
    /// The rest of the auxiliary vector.
    pub facts: Facts,
}

/// The finished stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialStack {
    /// The bytes from the stack pointer to the stack's top.
    pub bytes: Vec<u8>,
    /// Where `bytes` begin: the initial stack pointer, 16-byte aligned.
    pub stack_pointer: u64,
    /// First byte of the argument strings.
    pub arg_start: u64,
    /// First address after the argument strings.
    pub arg_end: u64,
    /// First byte of the environment strings.
    pub env_start: u64,
    /// First address after the environment strings.
    pub env_end: u64,
    /// The auxiliary vector's bytes, `AT_NULL` included, for `/proc/self/auxv`.
    pub auxv: Vec<u8>,
}

/// Refuses arguments that Linux would refuse: strings longer than [`STRING_LEN_MAX`], or more bytes of strings and
/// pointers than a quarter of the stack limit (within 128 KiB and 6 MiB).
///
/// # Errors
/// `E2BIG`.
pub fn check_len<S: AsRef<[u8]>>(contents: &Contents<'_, S>, stack_limit: u64) -> Result<(), Errno> {
    let limit = (stack_limit / 4).clamp(ARGUMENTS_LEN_MIN, ARGUMENTS_LEN_MAX);
    let strings = || contents.arguments.iter().chain(contents.environment).map(AsRef::as_ref);
    if strings().any(|string| string.len() >= STRING_LEN_MAX) {
        return Err(Errno::E2BIG);
    }
    let count = contents.arguments.len().max(1) + contents.environment.len();
    let names = contents.executable_name.len() + 1;
    let bytes = strings().map(|string| string.len() + 1).fold(names, usize::saturating_add);
    let total = count.saturating_mul(size_of::<u64>()).saturating_add(bytes);
    if total as u64 > limit { Err(Errno::E2BIG) } else { Ok(()) }
}

/// Lays out the stack below `stack_top`, which is the page-aligned end of the stack's memory.
///
/// # Errors
/// `E2BIG` when the arguments are more than Linux takes under `stack_limit` (the soft `RLIMIT_STACK` in bytes).
pub fn build<S: AsRef<[u8]>>(
    stack_top: u64,
    stack_limit: u64,
    contents: &Contents<'_, S>,
) -> Result<InitialStack, Errno> {
    check_len(contents, stack_limit)?;
    let strings = Strings::place(stack_top, contents).ok_or(Errno::ENOMEM)?;

    let padded = align_down(strings.arguments.start.wrapping_sub(contents.random_padding % PADDING_RANGE));
    let platform = padded.wrapping_sub(PLATFORM.len() as u64);
    let random = platform.wrapping_sub(16);
    let addresses = StringAddresses { random, executable_name: strings.executable_name, platform };
    let auxv = contents.facts.entries(&addresses);

    let words = 3 + contents.arguments.len() + contents.environment.len() + auxv.len() * 2;
    let stack_pointer = align_down(random.wrapping_sub(words as u64 * 8));
    let len = stack_top.checked_sub(stack_pointer).and_then(|len| usize::try_from(len).ok()).ok_or(Errno::ENOMEM)?;

    let mut writer = Writer { bytes: vec![0; len], start: stack_pointer, position: 0 };
    writer.word(contents.arguments.len() as u64);
    writer.pointers(strings.arguments.start, contents.arguments);
    writer.pointers(strings.environment.start, contents.environment);
    let auxv_start = writer.position;
    for (kind, value) in auxv {
        writer.word(kind);
        writer.word(value);
    }
    let auxv_end = writer.position;
    writer.seek(random);
    writer.put(&contents.random_bytes);
    writer.put(PLATFORM);
    writer.seek(strings.arguments.start);
    writer.strings(contents.arguments);
    writer.strings(contents.environment);
    writer.put(contents.executable_name);

    Ok(InitialStack {
        auxv: writer.bytes[auxv_start..auxv_end].to_vec(),
        bytes: writer.bytes,
        stack_pointer,
        arg_start: strings.arguments.start,
        arg_end: strings.arguments.end,
        env_start: strings.environment.start,
        env_end: strings.environment.end,
    })
}

/// Addresses of the strings at the top of the stack.
struct Strings {
    arguments: core::ops::Range<u64>,
    environment: core::ops::Range<u64>,
    executable_name: u64,
}

impl Strings {
    fn place<S: AsRef<[u8]>>(stack_top: u64, contents: &Contents<'_, S>) -> Option<Self> {
        let len = |strings: &[S]| strings.iter().map(|string| string.as_ref().len() as u64 + 1).sum::<u64>();
        let executable_name = stack_top.checked_sub(8 + contents.executable_name.len() as u64 + 1)?;
        let env_start = executable_name.checked_sub(len(contents.environment))?;
        let arg_start = env_start.checked_sub(len(contents.arguments))?;
        Some(Self { arguments: arg_start..env_start, environment: env_start..executable_name, executable_name })
    }
}

/// Fills the buffer in ascending order. All positions come from one layout whose size the buffer has.
struct Writer {
    bytes: Vec<u8>,
    start: u64,
    position: usize,
}

impl Writer {
    fn seek(&mut self, address: u64) {
        debug_assert!(address >= self.start);
        self.position = usize::try_from(address - self.start).unwrap_or(self.bytes.len());
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.position + bytes.len();
        self.bytes[self.position..end].copy_from_slice(bytes);
        self.position = end;
    }

    fn word(&mut self, value: u64) {
        self.put(&value.to_le_bytes());
    }

    fn pointers<S: AsRef<[u8]>>(&mut self, first: u64, strings: &[S]) {
        let mut address = first;
        for string in strings {
            self.word(address);
            address += string.as_ref().len() as u64 + 1;
        }
        self.word(0);
    }

    fn strings<S: AsRef<[u8]>>(&mut self, strings: &[S]) {
        for string in strings {
            self.put(string.as_ref());
            self.put(&[0]);
        }
    }
}

const fn align_down(address: u64) -> u64 {
    address & !15
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: u64 = 0x7fff_ffff_f000;

    fn contents<'a>(arguments: &'a [&'a str], environment: &'a [&'a str]) -> Contents<'a, &'a str> {
        Contents {
            arguments,
            environment,
            executable_name: b"/app",
            random_bytes: *b"0123456789abcdef",
            random_padding: 0,
            facts: Facts::default(),
        }
    }

    fn word(stack: &InitialStack, address: u64) -> u64 {
        let at = usize::try_from(address - stack.stack_pointer).unwrap();
        u64::from_le_bytes(stack.bytes[at..at + 8].try_into().unwrap())
    }

    #[test]
    fn pointers_lead_to_their_strings() {
        let stack = build(TOP, 8 << 20, &contents(&["a", "", "ccc"], &["E=1"])).unwrap();
        assert_eq!(stack.stack_pointer % 16, 0);
        assert_eq!(stack.stack_pointer + stack.bytes.len() as u64, TOP);
        assert_eq!(word(&stack, stack.stack_pointer), 3);
        let string = |index: u64| {
            let at = usize::try_from(word(&stack, stack.stack_pointer + 8 * index) - stack.stack_pointer).unwrap();
            stack.bytes[at..].split(|byte| *byte == 0).next().unwrap().to_vec()
        };
        assert_eq!([string(1), string(2), string(3)], [b"a".to_vec(), b"".to_vec(), b"ccc".to_vec()]);
        assert_eq!(word(&stack, stack.stack_pointer + 32), 0);
        assert_eq!(string(5), b"E=1");
        assert_eq!((stack.arg_end - stack.arg_start, stack.env_end - stack.env_start), (2 + 1 + 4, 4));
        assert_eq!(stack.env_end, TOP - 8 - 5);
        assert!(stack.bytes.ends_with(b"a\0\0ccc\0E=1\0/app\0\0\0\0\0\0\0\0\0"));
    }

    #[test]
    fn any_padding_keeps_the_alignment() {
        for padding in [0, 1, 15, 16, 4095, 8191, 8192, u64::MAX] {
            let stack = build(TOP, 8 << 20, &Contents { random_padding: padding, ..contents(&["x"], &[]) }).unwrap();
            assert_eq!(stack.stack_pointer % 16, 0);
            assert!(stack.bytes.len() < 8192 + 600);
        }
    }

    #[test]
    fn too_many_arguments_are_refused() {
        let longest = "x".repeat(STRING_LEN_MAX - 1);
        assert!(build(TOP, 8 << 20, &contents(&[&longest], &[])).is_ok());
        let longer = "x".repeat(STRING_LEN_MAX);
        assert_eq!(build(TOP, 8 << 20, &contents(&[&longer], &[])), Err(Errno::E2BIG));
        let many = vec![longest.as_str(); 15];
        assert!(build(TOP, 8 << 20, &contents(&many, &[])).is_ok());
        assert_eq!(build(TOP, 8 << 20, &contents(&many, &["one more"])).err(), None);
        let many = vec![longest.as_str(); 16];
        assert_eq!(build(TOP, 8 << 20, &contents(&many, &[])), Err(Errno::E2BIG));
        assert_eq!(build(TOP, 1, &contents(&[&longest[..1000]; 132], &[])), Err(Errno::E2BIG));
        assert!(build(TOP, 1, &contents(&[&longest[..1000]; 120], &[])).is_ok());
    }

    #[test]
    fn a_stack_at_the_bottom_of_memory_is_refused() {
        assert_eq!(build(64, 8 << 20, &contents(&["x"], &[])), Err(Errno::ENOMEM));
        assert_eq!(build(0, 8 << 20, &contents(&["x"], &[])), Err(Errno::ENOMEM));
    }
}
