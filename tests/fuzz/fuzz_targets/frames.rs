//! Arbitrary frames, one after the other, for a machine with everything open: `cargo +nightly fuzz run --fuzz-dir tests/fuzz frames`.
//!
//! The input is a row of frames, each behind two bytes with its length, low byte first, of which the highest bit says that checksums are to be
//! made right. `make fuzz` begins from what was recorded on real links.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netsim::mutate::mend;
use netsim::victim::Victim;
use testkit::{Random, clock, entropy};

const MEND: u16 = 1 << 15;

fuzz_target!(|input: &[u8]| {
    // The same input has to give the same run.
    clock::stop_at(1_000_000_000);
    entropy::seed(1);
    let mut random = Random::new(input.len() as u64);
    let mut victim = Victim::new();
    let mut rest = input;
    while let Some((&[low, high], behind)) = rest.split_first_chunk() {
        let word = u16::from_le_bytes([low, high]);
        let (frame, behind) = behind.split_at(usize::from(word & !MEND).min(behind.len()));
        let mut frame = frame.to_vec();
        if word & MEND != 0 {
            mend(&mut frame);
        }
        victim.receive(&frame, &mut random);
        victim.live(&mut random, &mut |_, frame| vec![frame]);
        rest = behind;
    }
    victim.check_service();
    victim.end();
});
