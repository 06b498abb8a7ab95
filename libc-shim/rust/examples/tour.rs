//! Does a bit of everything and says what came of it; the same on Linux and on Nacre.

use std::sync::atomic::{AtomicU64, Ordering};

use nacre::batch::{Call, OnError, run};
use nacre::cpu::PerCpu;

const SYS_BATCH: usize = 0x4e_0000;
const SYS_WRITE: usize = 1;
const SYS_CLOSE: usize = 3;
const SYS_GETPID: usize = 39;
const SYS_DUP: usize = 32;
const SYS_PIPE: usize = 22;
const SYS_READ: usize = 0;

fn main() {
    // SAFETY: the call touches no memory.
    let own = unsafe { nacre::system_call(SYS_GETPID, [0; 6]) };
    println!("getpid by the entry: {}", u32::try_from(own).is_ok_and(|own| own == std::process::id()));
    // A kernel that has the native calls has functions for all calls. SAFETY: an empty batch touches no memory.
    assert_eq!(nacre::is_native(), unsafe { nacre::system_call(SYS_BATCH, [0; 6]) } == 0);
    // SAFETY: the call touches no memory.
    println!("an unknown call: {}", unsafe { nacre::system_call(100_000, [0; 6]) });
    batches();
    let counts = PerCpu::new(|| AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    counts.here().fetch_add(1, Ordering::Relaxed);
                    assert!(nacre::cpu::current() < 4096);
                }
            });
        }
    });
    println!("counted on all processors: {}", counts.all().map(|count| count.load(Ordering::Relaxed)).sum::<u64>());
}

fn batches() {
    let text = "from a batch\n";
    let write = Call::new(SYS_WRITE, [1, text.as_ptr().addr(), text.len(), 0, 0, 0]);
    let fail = Call::new(SYS_CLOSE, [usize::MAX, 0, 0, 0, 0, 0]);
    for on_error in [OnError::Continue, OnError::Stop] {
        let mut calls = [write, fail, write];
        // SAFETY: the text may be read.
        let done = unsafe { run(&mut calls, on_error) };
        println!("{on_error:?}: {done} made, answers {:?}", calls.map(|call| call.answer()));
    }
    let mut ends = [0_i32; 2];
    let mut bytes = [0_u8; 8];
    let mut calls = [Call::new(SYS_PIPE, [ends.as_mut_ptr().expose_provenance(), 0, 0, 0, 0, 0])];
    // SAFETY: the array takes two descriptors.
    println!("pipe: {}", unsafe { run(&mut calls, OnError::Stop) });
    let [reader, writer] = ends.map(|end| usize::try_from(end).unwrap_or(usize::MAX));
    let mut calls = [
        Call::new(SYS_WRITE, [writer, text.as_ptr().addr(), 5, 0, 0, 0]),
        Call::new(SYS_READ, [reader, bytes.as_mut_ptr().expose_provenance(), 8, 0, 0, 0]),
        Call::new(SYS_DUP, [usize::MAX, 0, 0, 0, 0, 0]),
        Call::new(100_000, [0; 6]),
        Call::new(SYS_CLOSE, [reader, 0, 0, 0, 0, 0]),
        Call::new(SYS_CLOSE, [writer, 0, 0, 0, 0, 0]),
    ];
    // SAFETY: the text may be read, and the bytes written.
    let done = unsafe { run(&mut calls, OnError::Continue) };
    println!("{done} made, answers {:?}, read {:?}", calls.map(|call| call.answer()), bytes.escape_ascii().to_string());
    // SAFETY: no call is made.
    println!("an empty batch: {}", unsafe { run(&mut [], OnError::Stop) });
    let mut many = vec![Call::new(SYS_GETPID, [0; 6]); 3000];
    // SAFETY: the calls touch no memory.
    let done = unsafe { run(&mut many, OnError::Stop) };
    println!("many: {done}, all alike: {}", many.iter().all(|call| call.answer() == i64::from(std::process::id())));
}
