//! The kernel's random bytes.
//!
//! One [`Generator`] serves everybody. It is seeded at start-up from the processor (RDSEED, RDRAND), the host (virtio
//! entropy device), and the noise of the cycle counter; each source is mixed in, none is trusted alone. It is seeded again
//! when [`RESEED_NS`] have passed; the generators that programs derive from it in the vDSO hear of that by a count. The counter's noise earns no credit: a machine that has nothing else is told of in the
//! log, and gets what there is.
//!
//! Lock rank: `ENTROPY`. Seeds are gathered outside of the lock.

use core::arch::x86_64::{_rdrand64_step, _rdseed64_step};
use core::sync::atomic::{AtomicU64, Ordering};

use ::entropy::{Generator, SEED_LEN_BYTES};
use sync::{SpinLock, rank};

use crate::arch::clock;
use crate::arch::cpu::{self, Features};
use crate::drivers::virtio_rng;
use crate::platform::vdso::PAGE;

/// How often the generator is seeded again.
const RESEED_NS: u64 = 300_000_000_000;
/// Bytes made under one hold of the lock.
const CHUNK_LEN: usize = 4096;
/// How long the host may take for the first seed, where the processor gives none.
const HOST_NS: u64 = 100_000_000;
/// How often the processor is asked for one word; it may be out of entropy for a moment (SDM volume 1, 7.3.17).
const TRIES_MAX: usize = 16;
/// Readings of the cycle counter.
const NOISE_READINGS: usize = 64;

static GENERATOR: SpinLock<Generator> = SpinLock::new(rank::ENTROPY, Generator::new());
static NEXT_SEED_NS: AtomicU64 = AtomicU64::new(0);

/// Seeds the generator; the drivers are ready.
pub(crate) fn init() {
    seed();
    let is_seeded = || GENERATOR.lock().is_seeded();
    let deadline = clock::now_ns().saturating_add(HOST_NS);
    while !is_seeded() && virtio_rng::is_present() && clock::now_ns() < deadline {
        seed_from_host();
        core::hint::spin_loop();
    }
    if !is_seeded() {
        log::warn!("random bytes can be guessed: the machine has neither RDRAND nor a virtio entropy device");
    }
}

/// Fills `out` with random bytes.
pub(crate) fn fill(out: &mut [u8]) {
    let now = clock::now_ns();
    let next = NEXT_SEED_NS.load(Ordering::Relaxed);
    let is_due = now >= next;
    if is_due && NEXT_SEED_NS.compare_exchange(next, now + RESEED_NS, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        seed();
    }
    for part in out.chunks_mut(CHUNK_LEN) {
        GENERATOR.lock().fill(part);
    }
}

/// Mixes in what every source has now.
fn seed() {
    NEXT_SEED_NS.store(clock::now_ns().saturating_add(RESEED_NS), Ordering::Relaxed);
    let (seed, words) = processor_seed();
    GENERATOR.lock().mix(&seed, words * size_of::<u64>());
    seed_from_host();
    let noise = noise();
    GENERATOR.lock().mix(&noise, 0);
    PAGE.random.advance();
}

fn seed_from_host() {
    let mut seed = [0; virtio_rng::REQUEST_LEN];
    let len = virtio_rng::take(&mut seed);
    if len > 0 {
        GENERATOR.lock().mix(&seed[..len], len);
    }
}

/// Words of the processor's generator, and how many of them it really gave.
fn processor_seed() -> ([u8; 2 * SEED_LEN_BYTES], usize) {
    let mut seed = [0; 2 * SEED_LEN_BYTES];
    let mut count = 0;
    let mut last = None;
    for slot in seed.as_chunks_mut::<8>().0 {
        let Some(word) = processor_word() else { break };
        // Some processors answer the same word for ever after a suspend.
        if last == Some(word) {
            break;
        }
        last = Some(word);
        *slot = word.to_le_bytes();
        count += 1;
    }
    // Two words or nothing: one cannot be told from a constant.
    (seed, if count > 1 { count } else { 0 })
}

fn processor_word() -> Option<u64> {
    let features = cpu::features();
    let seed = || {
        // SAFETY: the processor has the instruction.
        (0..TRIES_MAX).find_map(|_| unsafe { rdseed() })
    };
    let random = || {
        // SAFETY: the processor has the instruction.
        (0..TRIES_MAX).find_map(|_| unsafe { rdrand() })
    };
    let by_seed = if features.contains(Features::RDSEED) { seed() } else { None };
    by_seed.or_else(|| if features.contains(Features::RDRAND) { random() } else { None })
}

/// # Safety
/// The processor has RDSEED.
#[target_feature(enable = "rdseed")]
unsafe fn rdseed() -> Option<u64> {
    let mut word = 0;
    (_rdseed64_step(&mut word) == 1).then_some(word)
}

/// # Safety
/// The processor has RDRAND.
#[target_feature(enable = "rdrand")]
unsafe fn rdrand() -> Option<u64> {
    let mut word = 0;
    (_rdrand64_step(&mut word) == 1).then_some(word)
}

/// What the cycle counter and the clocks say, whose low bits nobody outside knows well.
fn noise() -> [u8; (NOISE_READINGS + 1) * 8] {
    let mut noise = [0; (NOISE_READINGS + 1) * 8];
    for (index, slot) in noise.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let word = if index == 0 { clock::realtime_ns() } else { clock::cycles() };
        *slot = word.to_le_bytes();
    }
    noise
}
