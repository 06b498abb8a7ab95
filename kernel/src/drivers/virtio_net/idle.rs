//! What an idle CPU does in place of the interrupts of network devices: while it looks for work at all, it looks at its pair of each device
//! itself, and the device does not interrupt. The host has an interrupt less to bring and the CPU one less to take, so a frame is
//! answered sooner.
//!
//! All functions are called with interrupts off, by the CPU whose pairs they are about. Whoever takes a frame asks for interrupts again when
//! nothing is left, so after each look they are declined again; once in 2^16 frames one comes all the same.

use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;

use sync::Once;

use super::{Pair, VirtioNet, watched_by_rcu};

/// Devices that are looked at. The others interrupt.
const DEVICES_MAX: usize = 8;

static DEVICES: [Once<Arc<VirtioNet>>; DEVICES_MAX] = [const { Once::new() }; DEVICES_MAX];

/// From now on idle CPUs look at a device. Called for one device at a time.
pub(super) fn watch(nic: &Arc<VirtioNet>) {
    if let Some(place) = DEVICES.iter().find(|place| place.get().is_none()) {
        place.call_once(|| Arc::clone(nic));
    }
}

/// `cpu` begins to look: its pairs do not interrupt.
pub(in crate::drivers) fn begin(cpu: u32) {
    for (_, pair) in pairs(cpu) {
        pair.receive.decline_interrupts();
    }
}

/// Takes the frames that have come.
pub(in crate::drivers) fn look(cpu: u32) {
    for (nic, pair) in pairs(cpu) {
        if pair.receive.has_used() {
            take(nic, cpu);
            pair.receive.decline_interrupts();
        }
    }
}

/// `cpu` looks no more: its pairs interrupt. What has come in between is taken.
pub(in crate::drivers) fn end(cpu: u32) {
    for (nic, pair) in pairs(cpu) {
        if pair.receive.ask_for_interrupts() {
            take(nic, cpu);
        }
    }
}

fn take(nic: &VirtioNet, cpu: u32) {
    nic.polls.fetch_add(1, Relaxed);
    if let Ok(number) = u16::try_from(cpu) {
        watched_by_rcu(|| nic.on_pair(number));
    }
}

/// The pair of each device whose interrupts go to `cpu`.
fn pairs(cpu: u32) -> impl Iterator<Item = (&'static VirtioNet, &'static Pair)> {
    let devices = DEVICES.iter().map_while(|place| place.get());
    devices.filter_map(move |nic| Some((&**nic, nic.pairs.get(usize::try_from(cpu).ok()?)?)))
}
