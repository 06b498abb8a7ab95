//! [`Flow`] for [`TcpSocket`]: what interrupts and workers do with a connection.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use abi::{Errno, PollEvents};
use sync::batch_queue::Pushed;
use sync::machine::{self, NEVER};

use super::engine::{Engine, SegmentFlags};
use super::socket::{Phase, TcpSocket};
use crate::Stack;
use crate::channel::{Delivery, FLOW_PACKETS_MAX, Flow, FlowState, QueuedPacket};

impl Flow for TcpSocket {
    fn push(&self, packet: QueuedPacket) -> Delivery {
        let transport = packet.frame.head().get(usize::from(packet.layout.transport)..).unwrap_or_default();
        let (offset, flags) = match transport {
            [_, _, _, _, _, _, _, _, _, _, _, _, offset, flags, ..] => (*offset, *flags),
            _ => return Delivery::Dropped,
        };
        let payload = u32::from(packet.layout.transport) + u32::from(offset >> 4) * 4;
        let ends = SegmentFlags::FIN | SegmentFlags::RST | SegmentFlags::SYN | SegmentFlags::URG;
        let mut events = PollEvents::empty();
        if payload < packet.layout.end || SegmentFlags::from_bits_retain(flags).intersects(ends) {
            events |= PollEvents::READABLE;
        }
        if self.awaits_acknowledgement.load(Ordering::Acquire) {
            events |= PollEvents::WRITABLE;
        }
        // Only the protocol knows whether it is news: somebody has to ask it.
        events.set(PollEvents::PRI, SegmentFlags::from_bits_retain(flags).contains(SegmentFlags::URG));
        if self.packets.push_entry(packet) == Pushed::Full {
            return Delivery::Dropped;
        }
        if events.is_empty() && self.packets.len() < FLOW_PACKETS_MAX / 2 {
            return Delivery::Quiet;
        }
        if !events.is_empty() {
            self.arrived.fetch_or(events.bits(), Ordering::Relaxed);
        }
        Delivery::Wake
    }

    fn wake(&self) {
        let events = PollEvents::from_bits_retain(self.arrived.swap(0, Ordering::Relaxed));
        let is_taken = !events.is_empty() && self.wake_for(events - PollEvents::PRI);
        let needs_somebody = events.contains(PollEvents::WRITABLE) || self.packets.len() >= FLOW_PACKETS_MAX / 2;
        if events.contains(PollEvents::PRI) || (!is_taken && needs_somebody) {
            self.stack.poke(self.flow());
        }
    }

    fn work(self: Arc<Self>, _stack: &Arc<Stack>, now_ns: u64) -> u64 {
        let mut inner = self.lock_drained();
        self.settle(&mut inner, now_ns);
        if let Phase::Local(end) = &mut inner.phase {
            // It has waited long enough for something to come.
            let listener = end.deferred.take();
            drop(inner);
            if let Some(listener) = listener.and_then(|listener| listener.upgrade()) {
                listener.admit(&self);
            }
            return NEVER;
        }
        let Phase::Wire(wire) = &inner.phase else { return NEVER };
        let (events, at_ns) = (wire.engine.readiness(), wire.engine.poll_at());
        let is_over = wire.is_detached;
        drop(inner);
        self.wake_for(events);
        if is_over { NEVER } else { at_ns }
    }

    fn release(&self) {
        let mut inner = self.lock_drained();
        let Phase::Wire(wire) = &mut inner.phase else { return };
        wire.is_listed = false;
        if wire.release() {
            self.settle(&mut inner, machine::now_ns());
        }
    }

    fn has_packets(&self) -> bool {
        !self.packets.is_empty()
    }

    fn network_error(&self, errno: Errno, is_hard: bool, mtu: Option<u16>) {
        let mut inner = self.lock_drained();
        let Phase::Wire(wire) = &mut inner.phase else { return };
        wire.network_error(errno, is_hard, mtu);
        self.settle(&mut inner, machine::now_ns());
        drop(inner);
        self.wake_for(PollEvents::all());
    }

    fn state(&self) -> &FlowState {
        &self.flow_state
    }

    fn connection(&self) -> Option<&TcpSocket> {
        Some(self)
    }
}
