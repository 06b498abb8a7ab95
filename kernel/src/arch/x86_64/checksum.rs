//! CRC-32C by the processor: the instruction `crc32` of SSE4.2, which works on general registers (SDM volume 2A).

use core::arch::asm;

use super::cpu::{self, Features};

/// Continues a sum over bytes, without complements at begin and end; None where the processor cannot.
pub(crate) fn crc32c(sum: u32, bytes: &[u8]) -> Option<u32> {
    if !cpu::features().contains(Features::CRC32) {
        return None;
    }
    let (words, rest) = bytes.as_chunks();
    let mut state = u64::from(sum);
    for word in words {
        let word = u64::from_le_bytes(*word);
        // SAFETY: the processor has the instruction, which changes its first operand and nothing else.
        unsafe {
            asm!("crc32 {state}, {word}", state = inout(reg) state, word = in(reg) word,
                options(pure, nomem, nostack, preserves_flags));
        }
    }
    for byte in rest {
        // SAFETY: as above.
        unsafe {
            asm!("crc32 {state:e}, {byte}", state = inout(reg) state, byte = in(reg_byte) *byte,
                options(pure, nomem, nostack, preserves_flags));
        }
    }
    // The upper half is zero after each step.
    u32::try_from(state).ok()
}
