//! The serial port of the PC (16550A at 0x3f8).
//!
//! It carries the kernel's log, and the program's standard streams when the machine has nothing better. Log lines
//! ([`Line`]) are written at once, waiting for the chip, so that they are out before whatever happens next. The program's
//! bytes go through [`SerialPort`]: rings that interrupts fill and drain. A panicking kernel uses [`PanicSerial`], which
//! takes no lock.
//!
//! Every wait is bounded: a chip that is stuck loses bytes, it does not stop the kernel.
//!
//! Lock rank: `CONSOLE`, the last; the wait queue is woken outside of it. Register facts: PC16550D datasheet, chapter 8.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use abi::PollEvents;
use file::Port;
use sync::{IrqSpinLock, IrqSpinLockGuard, WaitQueue, rank};

use super::io::Ports;
use super::ioapic;
use crate::arch::interrupts;

/// The ISA interrupt of the first serial port.
const ISA_INTERRUPT: u8 = 4;

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const INTERRUPT_IDENTITY: u16 = 2;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

const ENABLE_RECEIVED: u8 = 1 << 0;
const ENABLE_TRANSMITTED: u8 = 1 << 1;
/// FIFOs on and cleared, interrupt at one byte.
const FIFO_SET_UP: u8 = 0x07;
const DIVISOR_ACCESS: u8 = 1 << 7;
const EIGHT_BITS: u8 = 3;
/// Ready, request to send, and OUT2, which connects the interrupt on a PC.
const MODEM_SET_UP: u8 = 0x0b;
const STATUS_RECEIVED: u8 = 1 << 0;
const STATUS_TRANSMITTER_EMPTY: u8 = 1 << 5;
const NO_INTERRUPT_PENDING: u8 = 1 << 0;

/// No value of a byte.
const NO_BYTE: u16 = 0x100;
/// Bytes that the transmitter takes when it is empty.
const FIFO_LEN: usize = 16;
const RING_LEN: usize = 4096;
/// How often the transmitter is asked whether it is empty: at 115,200 baud 16 bytes take 1.4 ms.
const SPINS_MAX: usize = 1_000_000;
/// Interrupt causes handled in one interrupt.
const CAUSES_MAX: usize = 64;

// SAFETY: the addresses of the first serial port of a PC, which only this file drives.
const UART: Ports = unsafe { Ports::new(0x3f8, 8) };

static STATE: IrqSpinLock<State> = IrqSpinLock::new(rank::CONSOLE, State::new());
/// A byte that arrived before the FIFO was on, which turning it on would lose; [`NO_BYTE`] if none did.
static EARLY_BYTE: AtomicU16 = AtomicU16::new(NO_BYTE);
static IS_PRESENT: AtomicBool = AtomicBool::new(false);
static WAITERS: WaitQueue = WaitQueue::new();

/// Bytes in a circle.
struct Ring {
    bytes: [u8; RING_LEN],
    first: usize,
    count: usize,
}

impl Ring {
    const fn new() -> Self {
        Self { bytes: [0; RING_LEN], first: 0, count: 0 }
    }

    fn push(&mut self, byte: u8) -> bool {
        if self.count == RING_LEN {
            return false;
        }
        self.bytes[(self.first + self.count) % RING_LEN] = byte;
        self.count += 1;
        true
    }

    fn pop(&mut self) -> Option<u8> {
        if self.count == 0 {
            return None;
        }
        let byte = self.bytes[self.first];
        self.first = (self.first + 1) % RING_LEN;
        self.count -= 1;
        Some(byte)
    }
}

struct State {
    received: Ring,
    to_send: Ring,
    /// The value of the interrupt enable register; zero until interrupts work.
    enabled: u8,
    has_interrupts: bool,
}

impl State {
    const fn new() -> Self {
        Self { received: Ring::new(), to_send: Ring::new(), enabled: 0, has_interrupts: false }
    }

    fn set_enabled(&mut self, enabled: u8) {
        let enabled = if self.has_interrupts { enabled } else { 0 };
        if enabled != self.enabled {
            self.enabled = enabled;
            UART.write(INTERRUPT_ENABLE, enabled);
        }
    }

    /// Fills the transmitter if it is empty, and asks for an interrupt while bytes are left.
    fn pump(&mut self) {
        if UART.read::<u8>(LINE_STATUS) & STATUS_TRANSMITTER_EMPTY != 0 {
            for _ in 0..FIFO_LEN {
                let Some(byte) = self.to_send.pop() else { break };
                UART.write(DATA, byte);
            }
        }
        let transmitted = if self.to_send.count > 0 { ENABLE_TRANSMITTED } else { 0 };
        self.set_enabled(self.enabled & !ENABLE_TRANSMITTED | transmitted);
    }

    /// Takes what has arrived; stops asking when there is no room, which makes the sender wait.
    fn take_received(&mut self) {
        while self.received.count < RING_LEN && UART.read::<u8>(LINE_STATUS) & STATUS_RECEIVED != 0 {
            let byte = UART.read(DATA);
            self.received.push(byte);
        }
        let received = if self.received.count < RING_LEN { ENABLE_RECEIVED } else { 0 };
        self.set_enabled(self.enabled & !ENABLE_RECEIVED | received);
    }

    /// Sends everything that waits, without interrupts.
    fn drain(&mut self) {
        while let Some(byte) = self.to_send.pop() {
            send_now(byte);
        }
    }
}

/// Sets the chip up, if there is one. Needs no memory, no interrupts and no lock.
pub(crate) fn init_early() {
    UART.write(SCRATCH, 0x5au8);
    if UART.read::<u8>(SCRATCH) != 0x5a {
        return;
    }
    UART.write(INTERRUPT_ENABLE, 0u8);
    UART.write(LINE_CONTROL, DIVISOR_ACCESS);
    // 115,200 baud.
    UART.write(DATA, 1u8);
    UART.write(INTERRUPT_ENABLE, 0u8);
    UART.write(LINE_CONTROL, EIGHT_BITS);
    if UART.read::<u8>(LINE_STATUS) & STATUS_RECEIVED != 0 {
        EARLY_BYTE.store(u16::from(UART.read::<u8>(DATA)), Ordering::Relaxed);
    }
    UART.write(FIFO_CONTROL, FIFO_SET_UP);
    UART.write(MODEM_CONTROL, MODEM_SET_UP);
    IS_PRESENT.store(true, Ordering::Relaxed);
}

/// Lets the chip interrupt. Until then [`SerialPort`] receives nothing and transmits at once.
pub(super) fn enable_interrupts() {
    if !is_present() {
        return;
    }
    let Some(vector) = interrupts::allocate_vector() else { return };
    interrupts::set_handler(vector, on_interrupt);
    if !ioapic::route_isa(ISA_INTERRUPT, vector) {
        log::debug!("the serial port has no interrupt");
        return;
    }
    let mut state = STATE.lock();
    if let Ok(byte) = u8::try_from(EARLY_BYTE.load(Ordering::Relaxed)) {
        state.received.push(byte);
    }
    state.has_interrupts = true;
    state.set_enabled(ENABLE_RECEIVED);
}

/// Whether there is a serial port.
pub(crate) fn is_present() -> bool {
    IS_PRESENT.load(Ordering::Relaxed)
}

/// Waits until everything is sent; before power goes off.
pub(crate) fn flush() {
    if is_present() {
        STATE.lock().drain();
    }
}

fn on_interrupt(_vector: u8) {
    let mut events = PollEvents::empty();
    let mut state = STATE.lock();
    for _ in 0..CAUSES_MAX {
        if UART.read::<u8>(INTERRUPT_IDENTITY) & NO_INTERRUPT_PENDING != 0 {
            break;
        }
        state.take_received();
        state.pump();
    }
    if state.received.count > 0 {
        events |= PollEvents::READABLE;
    }
    if state.to_send.count < RING_LEN {
        events |= PollEvents::WRITABLE;
    }
    drop(state);
    WAITERS.wake(events.bits());
}

/// Sends one byte when the transmitter is empty; drops it if that never happens.
fn send_now(byte: u8) {
    for _ in 0..SPINS_MAX {
        if UART.read::<u8>(LINE_STATUS) & STATUS_TRANSMITTER_EMPTY != 0 {
            UART.write(DATA, byte);
            return;
        }
        core::hint::spin_loop();
    }
}

/// Sends text, with the carriage returns that a terminal wants.
fn send_text_now(text: &str) {
    for byte in text.bytes() {
        if byte == b'\n' {
            send_now(b'\r');
        }
        send_now(byte);
    }
}

/// A line of the log in the making: nothing else is sent before it is dropped.
pub(crate) struct Line {
    _state: IrqSpinLockGuard<'static, State>,
}

impl Line {
    /// Begins a line, after everything sent before.
    pub(crate) fn begin() -> Self {
        let mut state = STATE.lock();
        if is_present() {
            state.drain();
        }
        Self { _state: state }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_present() {
            send_text_now(text);
        }
        Ok(())
    }
}

/// The serial port for a kernel that is dying.
pub(crate) struct PanicSerial(());

impl PanicSerial {
    /// Takes the port from whoever has it. What the program sent goes out first if nobody was sending.
    pub(crate) fn take() -> Self {
        if is_present() {
            if let Some(mut state) = STATE.try_lock() {
                state.drain();
            }
            UART.write(INTERRUPT_ENABLE, 0u8);
        }
        Self(())
    }
}

impl fmt::Write for PanicSerial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if is_present() {
            send_text_now(text);
        }
        Ok(())
    }
}

/// The serial port as a byte stream. It never ends.
pub(crate) struct SerialPort(());

/// The stream, if there is a serial port.
pub(crate) fn port() -> Option<Arc<dyn Port>> {
    is_present().then(|| Arc::new(SerialPort(())) as Arc<dyn Port>)
}

impl Port for SerialPort {
    fn receive(&self, bytes: &mut [u8]) -> usize {
        let mut state = STATE.lock();
        state.take_received();
        let mut count = 0;
        for (slot, byte) in bytes.iter_mut().zip(core::iter::from_fn(|| state.received.pop())) {
            *slot = byte;
            count += 1;
        }
        // There is room again.
        state.take_received();
        count
    }

    fn is_at_end(&self) -> bool {
        false
    }

    fn transmit(&self, bytes: &[u8]) -> usize {
        let mut state = STATE.lock();
        let count = bytes.iter().take_while(|byte| state.to_send.push(**byte)).count();
        if state.has_interrupts {
            state.pump();
        } else {
            state.drain();
        }
        count
    }

    fn has_input(&self) -> bool {
        let mut state = STATE.lock();
        state.take_received();
        state.received.count > 0
    }

    fn has_room(&self) -> bool {
        STATE.lock().to_send.count < RING_LEN
    }

    fn wait_queue(&self) -> &WaitQueue {
        &WAITERS
    }

    fn input_len(&self) -> usize {
        let mut state = STATE.lock();
        state.take_received();
        state.received.count
    }
}
