//! `memcpy` of the kernel: copy.s. The one that comes with the compiler starts three string instructions for a dozen bytes.
//!
//! It is in this crate as this is the one that has assembly and tests on the host, where it has a name of its own.

core::arch::global_asm!(include_str!("copy.s"));
#[cfg(target_os = "none")]
core::arch::global_asm!(".global memcpy", ".set memcpy, nacre_memcpy");

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    unsafe extern "C" {
        fn nacre_memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8;
    }

    /// What is around a copy.
    const EDGE: usize = 16;

    #[test]
    fn every_length_is_copied_and_no_byte_more() {
        let lens = (0..600).chain([1023, 1024, 1025, 4096, 70_001]);
        for len in lens {
            let from: Vec<u8> = (0..len + 8).map(|at: usize| (at * 7 + at / 256 + 1).to_le_bytes()[0]).collect();
            for (skip, shift) in [(0, 0), (1, 0), (0, 1), (3, 5), (7, 7), (5, 2)] {
                let mut to = std::vec![0xaa; len + 2 * EDGE];
                let start = EDGE - shift;
                // SAFETY: both have room for `len` bytes from there on, and are different.
                let answer = unsafe { nacre_memcpy(to.as_mut_ptr().add(start), from.as_ptr().add(skip), len) };
                assert_eq!(answer, to.as_mut_ptr().wrapping_add(start));
                assert_eq!(to[start..start + len], from[skip..skip + len], "{len} bytes from {skip} to {shift}");
                let around = to[..start].iter().chain(&to[start + len..]);
                assert!(around.into_iter().all(|byte| *byte == 0xaa), "{len} bytes and more were written");
            }
        }
    }
}
