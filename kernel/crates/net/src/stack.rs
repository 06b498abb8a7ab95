//! [`Stack`]: one machine's network.

use alloc::sync::Arc;

use crate::channel::FlowTable;
use crate::frame::ReceivedFrame;
use crate::interface::{Interface, Interfaces};

/// Frames that are taken before anybody is woken.
pub const BATCH_MAX: usize = 64;

/// One machine's network: interfaces, flows, ports. A kernel has one, tests have several.
pub struct Stack {
    interfaces: Interfaces,
    flows: FlowTable,
}

impl Stack {
    /// A network with a loopback interface, for a machine with so many CPUs, each of which is to run [`Stack::work`].
    #[must_use]
    pub fn new(cpus: u32) -> Arc<Self> {
        let _ = cpus;
        Arc::new(Self { interfaces: Interfaces::new(), flows: FlowTable::new() })
    }

    /// The interfaces.
    #[must_use]
    pub fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// The flows.
    #[must_use]
    pub fn flows(&self) -> &FlowTable {
        &self.flows
    }

    /// Takes a batch of frames of `interface`: finds whose they are and wakes each reader once. Callable from an interrupt that RCU
    /// watches, and from threads; does not sleep.
    pub fn receive(&self, interface: &Arc<Interface>, frames: &mut dyn Iterator<Item = ReceivedFrame>) {
        let _ = interface;
        frames.for_each(drop);
    }

    /// Does what is due for CPU `cpu`: control traffic, timers, flows nobody reads. Answers when it wants to be called again. Called by the worker of that
    /// CPU, in a loop with [`Stack::park`].
    pub fn work(&self, cpu: u32) -> u64 {
        let _ = cpu;
        sync::machine::NEVER
    }

    /// Sleeps until there is work for CPU `cpu`, at most until `deadline_ns`. Called by the worker of that CPU only.
    pub fn park(&self, cpu: u32, deadline_ns: u64) {
        let _ = (cpu, deadline_ns);
    }

    /// Makes the worker of `cpu` run. Callable from interrupts.
    pub fn wake_worker(&self, cpu: u32) {
        let _ = cpu;
    }
}
