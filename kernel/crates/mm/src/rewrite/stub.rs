//! [`Stub`]: the bytes of a stub and of its site, and which instruction of one stands for which of the other.
//!
//! A site covers `length` bytes; its `syscall` is at `s`. When it comes right behind the covered bytes (`s == length`), it stays
//! where it is:
//!
//! ```text
//!   0      covered instructions
//!   s      lea rcx, [after the syscall]
//!   s+7    jmp [entry]
//! ```
//!
//! The kernel returns to what follows the `syscall`. Otherwise the covered instructions behind it run in the stub too, and so
//! the kernel returns there. A `syscall` stands before that address as well, for restarts and all who cannot use the entry:
//!
//! ```text
//!   0      covered instructions up to the syscall
//!   s      lea rcx, [s+16]
//!   s+7    jmp [entry]
//!   s+14   syscall
//!   s+16   lea rcx, [after the original syscall]
//!   s+23   covered instructions behind it
//!   len+21 jmp end of the site
//! ```
//!
//! `lea` and `jmp` change no flags. Before the call rcx may be lost one instruction early, which only a debugger could tell.

/// Bytes of a `jmp rel32`.
pub(crate) const JUMP_LEN: usize = 5;
/// The most bytes of a stub.
pub(crate) const STUB_LEN_MAX: usize = 64;

const SYSCALL_LEN: usize = 2;
const LEA_LEN: usize = 7;
const JUMP_ENTRY_LEN: usize = 7;
/// From the `lea` before the call to the `syscall` of the stub, and to what follows it.
const SYSCALL_OFFSET: usize = LEA_LEN + JUMP_ENTRY_LEN;
const RETURN_OFFSET: usize = SYSCALL_OFFSET + SYSCALL_LEN;
/// From the `lea` before the call to the covered instructions behind it.
const BEHIND_OFFSET: usize = RETURN_OFFSET + LEA_LEN;

const JUMP: u8 = 0xe9;
const BREAKPOINT: u8 = 0xcc;
const SYSCALL: [u8; SYSCALL_LEN] = [0x0f, 0x05];
const LEA_RCX: [u8; 3] = [0x48, 0x8d, 0x0d];
const JUMP_ABSOLUTE: [u8; 3] = [0xff, 0x24, 0x25];

/// A `syscall` that can be rewritten, as the image builder describes it; offsets count from the first covered byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallPatch {
    /// How many bytes are covered: whole instructions, 5 to 32 bytes.
    pub length: u8,
    /// Where the `syscall` is: right behind the covered bytes, or within.
    pub syscall_at: u8,
    /// Bit `n`: an instruction begins at byte `n`.
    pub starts: u32,
    /// Something may read r11 or the status flags as the call leaves them.
    pub is_full: bool,
    /// [`CallPatch::checksum_of`] the covered bytes.
    pub checksum: u32,
}

impl CallPatch {
    /// The most bytes that are covered.
    pub const LENGTH_MAX: usize = 32;

    /// FNV-1a of some bytes.
    #[must_use]
    pub fn checksum_of(bytes: &[u8]) -> u32 {
        bytes.iter().fold(0x811c_9dc5, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }

    /// Whether this makes sense as it must for a stub to be made of it.
    pub(crate) fn is_sound(&self) -> bool {
        let (length, syscall_at) = (usize::from(self.length), usize::from(self.syscall_at));
        let fits = (JUMP_LEN..=Self::LENGTH_MAX).contains(&length);
        fits && self.is_start(0) && (syscall_at == length || syscall_at + SYSCALL_LEN <= length)
    }

    /// Whether a covered instruction begins at this byte.
    pub(crate) fn is_start(&self, offset: usize) -> bool {
        offset < usize::from(self.length)
            && u32::try_from(offset).ok().and_then(|offset| self.starts.checked_shr(offset)).unwrap_or(0) & 1 != 0
    }

    /// Bytes of its stub.
    pub(crate) fn stub_len(&self) -> usize {
        let length = usize::from(self.length);
        if self.keeps_syscall() { length + SYSCALL_OFFSET } else { length - SYSCALL_LEN + BEHIND_OFFSET + JUMP_LEN }
    }

    /// Whether the `syscall` stays where it is.
    fn keeps_syscall(&self) -> bool {
        self.syscall_at == self.length
    }
}

/// A site and its stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stub {
    /// Where the site begins.
    pub(crate) site: usize,
    /// Where the stub begins.
    pub(crate) at: usize,
    pub(crate) patch: CallPatch,
}

/// The place in the program's own code for one in a stub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginalAddress {
    /// In the program's own code.
    pub address: usize,
    /// A call has just returned into the stub: rcx has to say `address`, and still says where in the stub.
    pub is_return: bool,
}

/// Bytes put one behind the other.
struct Code {
    bytes: [u8; STUB_LEN_MAX],
    len: usize,
    at: usize,
}

impl Code {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    /// An opcode and the distance to `target` from the end of the instruction.
    fn put_relative(&mut self, opcode: &[u8], target: usize) -> Option<()> {
        self.put(opcode)?;
        let end = self.at + self.len + size_of::<i32>();
        self.put(&distance(end, target)?.to_le_bytes())
    }
}

/// From one address to another.
pub(crate) fn distance(from: usize, to: usize) -> Option<i32> {
    i32::try_from(to.wrapping_sub(from).cast_signed()).ok()
}

impl Stub {
    /// One past its last byte.
    pub(crate) fn end(&self) -> usize {
        self.at + self.patch.stub_len()
    }

    /// One past the last covered byte.
    pub(crate) fn site_end(&self) -> usize {
        self.site + usize::from(self.patch.length)
    }

    /// The bytes of the stub, given those that its site covers. None when something is out of reach.
    pub(crate) fn bytes(&self, covered: &[u8], entry: u32) -> Option<([u8; STUB_LEN_MAX], usize)> {
        let Self { site, at, patch } = *self;
        let syscall_at = usize::from(patch.syscall_at);
        let after = site + syscall_at + SYSCALL_LEN;
        let mut code = Code { bytes: [BREAKPOINT; STUB_LEN_MAX], len: 0, at };
        code.put(covered.get(..syscall_at)?)?;
        let return_to = if patch.keeps_syscall() { after } else { at + syscall_at + RETURN_OFFSET };
        code.put_relative(&LEA_RCX, return_to)?;
        code.put(&JUMP_ABSOLUTE)?;
        code.put(&entry.to_le_bytes())?;
        if !patch.keeps_syscall() {
            code.put(&SYSCALL)?;
            code.put_relative(&LEA_RCX, after)?;
            code.put(covered.get(syscall_at + SYSCALL_LEN..)?)?;
            code.put_relative(&[JUMP], self.site_end())?;
        }
        debug_assert_eq!(code.len, patch.stub_len(), "the length was known");
        Some((code.bytes, code.len))
    }

    /// The bytes of the site.
    pub(crate) fn site_bytes(&self) -> Option<[u8; CallPatch::LENGTH_MAX]> {
        let mut bytes = [BREAKPOINT; CallPatch::LENGTH_MAX];
        let [jump, rel @ ..] = bytes.first_chunk_mut::<JUMP_LEN>()?;
        *jump = JUMP;
        *rel = distance(self.site + JUMP_LEN, self.at)?.to_le_bytes();
        Some(bytes)
    }

    /// What the site covered, from the bytes of the stub.
    pub(crate) fn covered(&self, stub: &[u8; STUB_LEN_MAX]) -> [u8; CallPatch::LENGTH_MAX] {
        let mut covered = [BREAKPOINT; CallPatch::LENGTH_MAX];
        let syscall_at = usize::from(self.patch.syscall_at);
        for (offset, byte) in covered.iter_mut().enumerate().take(usize::from(self.patch.length)) {
            *byte = match offset.checked_sub(syscall_at) {
                None => stub[offset],
                Some(behind @ ..SYSCALL_LEN) => SYSCALL[behind],
                Some(behind) => stub[syscall_at + BEHIND_OFFSET + behind - SYSCALL_LEN],
            };
        }
        covered
    }

    /// Where the program is in its own code when it is at `address`, which lies in the stub. What the stub adds counts as
    /// the instruction it does the work of.
    pub(crate) fn original(&self, address: usize) -> OriginalAddress {
        let offset = address - self.at;
        let syscall_at = usize::from(self.patch.syscall_at);
        let place = |offset| OriginalAddress { address: self.site + offset, is_return: false };
        let Some(beyond) = offset.checked_sub(syscall_at) else { return place(offset) };
        if self.patch.keeps_syscall() || beyond < RETURN_OFFSET {
            return place(syscall_at);
        }
        match beyond.checked_sub(BEHIND_OFFSET) {
            None => OriginalAddress { is_return: true, ..place(syscall_at + SYSCALL_LEN) },
            Some(behind) => place((syscall_at + SYSCALL_LEN + behind).min(usize::from(self.patch.length))),
        }
    }

    /// Where in the stub the program goes on when it is at `address` in its own code, which the site covers. None when no instruction
    /// began there. A call is made by `syscall`: whoever comes this way may be single-stepped.
    pub(crate) fn stand_in(&self, address: usize) -> Option<usize> {
        let offset = address.checked_sub(self.site).filter(|offset| self.patch.is_start(*offset))?;
        let syscall_at = usize::from(self.patch.syscall_at);
        Some(match offset.checked_sub(syscall_at) {
            None => self.at + offset,
            Some(0) => self.at + syscall_at + SYSCALL_OFFSET,
            Some(beyond) => self.at + syscall_at + BEHIND_OFFSET + beyond - SYSCALL_LEN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(length: u8, syscall_at: u8, starts: u32) -> CallPatch {
        CallPatch { length, syscall_at, starts, is_full: false, checksum: 0 }
    }

    #[test]
    fn a_syscall_behind_the_site_stays() {
        let stub = Stub { site: 0x40_1000, at: 0x30_0000, patch: patch(5, 5, 1) };
        let covered = [0xb8, 0x27, 0, 0, 0];
        let (bytes, len) = stub.bytes(&covered, 0x8012_3458).unwrap();
        let expected = [
            0xb8, 0x27, 0, 0, 0, // mov eax, 39
            0x48, 0x8d, 0x0d, 0xfb, 0x0f, 0x10, 0, // lea rcx, [0x401007]
            0xff, 0x24, 0x25, 0x58, 0x34, 0x12, 0x80, // jmp [0xffffffff80123458]
        ];
        assert_eq!(&bytes[..len], &expected);
        assert_eq!(stub.end(), 0x30_0013);
        let site = stub.site_bytes().unwrap();
        assert_eq!(&site[..6], &[0xe9, 0xfb, 0xef, 0xef, 0xff, 0xcc]);
        assert_eq!(stub.covered(&bytes)[..5], covered);
        for (offset, original) in [(0, 0), (5, 5), (12, 5)] {
            assert_eq!(
                stub.original(stub.at + offset),
                OriginalAddress { address: stub.site + original, is_return: false }
            );
        }
        assert_eq!(stub.stand_in(stub.site), Some(stub.at));
        assert_eq!(stub.stand_in(stub.site + 5), None, "the syscall is not covered");
        assert_eq!(stub.stand_in(stub.site + 1), None, "nothing begins there");
    }

    #[test]
    fn covered_instructions_behind_the_syscall_follow_it() {
        // mov edi, eax; syscall; cmp rax, 8.
        let stub = Stub { site: 0x40_1000, at: 0x30_0000, patch: patch(8, 2, 0b1_0101) };
        let covered = [0x89, 0xc7, 0x0f, 0x05, 0x48, 0x83, 0xf8, 0x08];
        let (bytes, len) = stub.bytes(&covered, 0x8012_3458).unwrap();
        let expected = [
            0x89, 0xc7, // mov edi, eax
            0x48, 0x8d, 0x0d, 0x09, 0, 0, 0, // lea rcx, [0x300012]
            0xff, 0x24, 0x25, 0x58, 0x34, 0x12, 0x80, // jmp [0xffffffff80123458]
            0x0f, 0x05, // syscall
            0x48, 0x8d, 0x0d, 0xeb, 0x0f, 0x10, 0, // lea rcx, [0x401004]
            0x48, 0x83, 0xf8, 0x08, // cmp rax, 8
            0xe9, 0xe6, 0x0f, 0x10, 0, // jmp 0x401008
        ];
        assert_eq!(&bytes[..len], &expected);
        assert_eq!(stub.covered(&bytes)[..8], covered);
        for (offset, original) in [(0, 0), (2, 2), (9, 2), (16, 2), (25, 4), (29, 8)] {
            assert_eq!(
                stub.original(stub.at + offset),
                OriginalAddress { address: stub.site + original, is_return: false }
            );
        }
        assert_eq!(stub.original(stub.at + 18), OriginalAddress { address: stub.site + 4, is_return: true });
        for (original, offset) in [(0, 0), (2, 16), (4, 25)] {
            assert_eq!(stub.stand_in(stub.site + original), Some(stub.at + offset));
        }
        assert_eq!(stub.stand_in(stub.site + 8), None);
    }

    #[test]
    fn what_stands_in_for_an_instruction_is_shown_as_it() {
        for patch in [patch(9, 9, 0b1_0010_0101), patch(12, 0, 0b1000_0000_0101), patch(11, 3, 0b10_0010_1001)] {
            let stub = Stub { site: 0x5555_0000_1234, at: 0x5555_0100_0040, patch };
            for address in stub.site..stub.site_end() {
                let Some(stand_in) = stub.stand_in(address) else { continue };
                assert_eq!(stub.original(stand_in), OriginalAddress { address, is_return: false }, "{patch:?}");
            }
        }
    }
}
