//! The seam of `sync::machine`: program memory is that of the current [`Cpu`](super::Cpu), copied byte by byte.

use std::sync::atomic::AtomicU32;

use mm::{Access, FrameMachine, FrameNumber};
use sync::HeldRanks;
use sync::machine::ThreadHandle;

use super::{CURRENT, Cpu, FRAMES};

thread_local! {
    static HELD: &'static HeldRanks = Box::leak(Box::new(HeldRanks::new()));
}

fn current() -> Cpu {
    CURRENT.with_borrow(|current| current.clone()).expect("a CPU is current")
}

/// Loads a byte, paging it in if asked to.
fn load(cpu: &Cpu, address: usize, pages_in: bool) -> Option<u8> {
    let is_there = pages_in || cpu.reach(address, Access::Read).is_some();
    if is_there { cpu.load(address).ok() } else { None }
}

/// Stores a byte, paging it in if asked to.
fn store(cpu: &Cpu, address: usize, byte: u8, pages_in: bool) -> Option<()> {
    let is_there = pages_in || cpu.reach(address, Access::Write).is_some();
    if is_there { cpu.store(address, byte).ok() } else { None }
}

fn to_program(destination: usize, source: &[u8], pages_in: bool) -> usize {
    let cpu = current();
    let copied = source.iter().zip(destination..).map_while(|(byte, address)| store(&cpu, address, *byte, pages_in));
    copied.count()
}

fn from_program(destination: &mut [u8], source: usize, pages_in: bool) -> usize {
    let cpu = current();
    let copied = destination.iter_mut().zip(source..).map_while(|(byte, address)| {
        *byte = load(&cpu, address, pages_in)?;
        Some(())
    });
    copied.count()
}

/// Copies from a frame to the program.
pub(super) fn copy_out(frame: FrameNumber, offset: usize, address: usize, len: usize, pages_in: bool) -> usize {
    let mut bytes = vec![0; len];
    FRAMES.read(frame, offset, &mut bytes);
    to_program(address, &bytes, pages_in)
}

/// Copies from the program to a frame.
pub(super) fn copy_in(frame: FrameNumber, offset: usize, address: usize, len: usize, pages_in: bool) -> usize {
    let mut bytes = vec![0; len];
    let copied = from_program(&mut bytes, address, pages_in);
    FRAMES.write(frame, offset, &bytes[..copied]);
    copied
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user(destination: &mut [u8], source: usize) -> usize {
    from_program(destination, source, true)
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user(destination: usize, source: &[u8]) -> usize {
    to_program(destination, source, true)
}

#[unsafe(no_mangle)]
fn nacre_copy_from_user_nofault(destination: &mut [u8], source: usize) -> usize {
    from_program(destination, source, false)
}

#[unsafe(no_mangle)]
fn nacre_copy_to_user_nofault(destination: usize, source: &[u8]) -> usize {
    to_program(destination, source, false)
}

#[unsafe(no_mangle)]
fn nacre_page_in_user(address: usize, is_store: bool) -> bool {
    let access = if is_store { Access::Write } else { Access::Read };
    current().space.fault(address, access).is_ok()
}

#[unsafe(no_mangle)]
fn nacre_current_thread() -> ThreadHandle {
    ThreadHandle(1)
}

#[unsafe(no_mangle)]
fn nacre_wait_for_wake(_: &AtomicU32, _: u64) {
    panic!("the tests have one thread for each address space");
}

#[unsafe(no_mangle)]
fn nacre_wake_waiter(_: ThreadHandle) {}

#[unsafe(no_mangle)]
fn nacre_held_ranks() -> &'static HeldRanks {
    HELD.with(|held| *held)
}
