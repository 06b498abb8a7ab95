//! The virtio console with several ports: the program's standard streams and the line to the host.
//!
//! Ports have names (`nacre.stdin`, `nacre.stdout`, `nacre.stderr`, `nacre.control`); [`port`] finds one. A port is told
//! to be open when it is used first, so that a program that never reads takes nothing from its caller's input; [`start`]
//! opens it at once. On the control port the kernel reads [`Request`]s, which go to the listener from the interrupt, and
//! writes one [`Report`].
//!
//! One console is driven, the first one. Without interrupts [`poll`] must be called.
//!
//! Lock rank: `DRIVER` around all of a console; wait queues are woken and the listener runs outside of it. The interrupt
//! handler copies no data but control messages.

mod port;

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt::Write;
use core::sync::atomic::{AtomicBool, Ordering};

use abi::PollEvents;
use devices::console::{self, Event, FEATURE_MULTIPORT, Introduction, Message};
use devices::control_line::{Lines, Report, Request};
use devices::transmit_ring::TransmitRing;
use file::Port;
use sync::{IrqSpinLock, Once, WaitQueue, rank};
use virtio_drivers::transport::Transport;
use x86_64::instructions::interrupts;

use super::hal::DmaBuffer;
use super::listener::Listener;
use super::virtio::{AnyTransport, FEATURE_VERSION_1, Found, Queue};
use crate::arch::{apic, clock, smp};
use port::PortState;

/// Ports that are driven: 0, which is for consoles, and seven more.
const PORTS_MAX: usize = 8;
/// Bytes of a control message with the longest name.
const CONTROL_LEN: usize = 128;
/// As many as the device may have to say at once about seven ports: it drops what finds no buffer.
const CONTROL_COUNT: usize = 32;
/// Bytes of control messages on their way to the device.
const CONTROL_OUTPUT_LEN: usize = 4096;
/// Requests taken in one interrupt.
const REQUESTS_MAX: usize = 8;
/// How long the device may be silent while it introduces its ports. A host with much to do is.
const SILENCE_NS: u64 = 2_000_000_000;
/// How long it may be silent if it has taken the question and added no port: QEMU adds ports before it gives the question
/// back.
const NO_PORTS_NS: u64 = 100_000_000;
/// How long all of it may take.
const INTRODUCTION_NS: u64 = 10_000_000_000;
/// How often is looked whether output is with the host, on a CPU that the device does not interrupt.
const LOOK_NS: u64 = 500_000;
/// How long the host may take for the last report.
const REPORT_NS: u64 = 1_000_000_000;
/// How long a dying kernel waits for the program's output.
const PANIC_NS: u64 = 200_000_000;
/// How often a dying kernel tries to get the lock.
const PANIC_TRIES: usize = 1000;

const CONTROL_NAME: &[u8] = b"nacre.control";
const INTRODUCED: [&[u8]; 4] = [b"nacre.stdin", b"nacre.stdout", b"nacre.stderr", CONTROL_NAME];

static CONSOLE: Once<Console> = Once::new();
static IS_ABANDONED: AtomicBool = AtomicBool::new(false);
static LISTENER: Listener<Request> = Listener::new();

struct Console {
    state: IrqSpinLock<State>,
    waiters: [WaitQueue; PORTS_MAX],
}

struct State {
    transport: AnyTransport,
    control_receive: Queue,
    control_input: Arc<DmaBuffer>,
    control_transmit: Queue,
    control_output: Arc<DmaBuffer>,
    control_sending: TransmitRing,
    ports: [Option<Box<PortState>>; PORTS_MAX],
    introduction: Introduction,
    /// Control messages from the device.
    messages: u64,
    lines: Lines,
}

/// What an interrupt found to do outside of the lock.
#[derive(Default)]
struct Work {
    events: [PollEvents; PORTS_MAX],
    requests: [Option<Request>; REQUESTS_MAX],
}

/// Drives the console, unless there is one already. False: it works, but has no interrupt.
#[inline(never)]
pub(super) fn init(found: Found) -> bool {
    if CONSOLE.get().is_some() {
        return true;
    }
    let (transport, has_interrupt) = found.connect(|_vector| poll());
    let Some(state) = State::new(transport) else {
        log::error!("the virtio console cannot be set up");
        return true;
    };
    let console = CONSOLE.call_once(|| Console {
        state: IrqSpinLock::new(rank::DRIVER, state),
        waiters: [const { WaitQueue::new() }; PORTS_MAX],
    });
    console.state.lock().start();
    console.introduce();
    start(CONTROL_NAME);
    has_interrupt
}

/// Does what an interrupt would do.
pub(super) fn poll() {
    if let Some(console) = CONSOLE.get() {
        console.work();
    }
}

/// Makes `listener` hear of the host's requests; it runs in an interrupt handler.
pub(super) fn set_listener(listener: fn(Request)) {
    LISTENER.set(listener);
}

/// The port with this name as a byte stream.
pub(crate) fn port(name: &[u8]) -> Option<Arc<dyn Port>> {
    let console = CONSOLE.get()?;
    let index = console.find(name)?;
    Some(Arc::new(ConsolePort { console, index }))
}

/// Opens the port with this name, so that its input arrives before anybody reads.
pub(crate) fn start(name: &[u8]) {
    if let Some(console) = CONSOLE.get()
        && let Some(index) = console.find(name)
    {
        console.open(index);
    }
}

/// Waits until the program's output is with the host, however slow, then tells the host how it ended. A signal from the
/// host ends the wait: nobody wants the output any more.
pub(crate) fn finish(report: Report<'_>) {
    let Some(console) = CONSOLE.get() else { return };
    set_listener(|request| IS_ABANDONED.store(matches!(request, Request::Signal(_)), Ordering::Relaxed));
    for index in 0..PORTS_MAX {
        console.wait_settled(index);
    }
    let Some(index) = console.find(CONTROL_NAME) else { return };
    let _ = write!(Text { console, index }, "{report}");
    let deadline = clock::now_ns().saturating_add(REPORT_NS);
    while !console.is_settled(index) && clock::now_ns() < deadline {
        core::hint::spin_loop();
    }
}

/// As [`finish`], for a kernel that is dying: with interrupts off, and in bounded time.
pub(crate) fn finish_panic() {
    let Some(console) = CONSOLE.get() else { return };
    let Some(mut state) = (0..PANIC_TRIES).find_map(|_| console.state.try_lock()) else { return };
    let state = &mut *state;
    let settle = |state: &mut State, limit_ns: u64| {
        let deadline = clock::now_ns().saturating_add(limit_ns);
        let is_settled = |port: &mut Box<PortState>| port.is_drained() || port.is_host_gone();
        while !state.ports.iter_mut().flatten().all(is_settled) && clock::now_ns() < deadline {
            core::hint::spin_loop();
        }
    };
    settle(state, PANIC_NS);
    let State { ports, transport, .. } = state;
    if let Some(control) = ports.iter_mut().flatten().find(|port| port.name() == CONTROL_NAME) {
        control.transmit(transport, b"panic\n");
    }
    settle(state, PANIC_NS);
}

impl State {
    /// Negotiates with the device and sets up the queues of all ports.
    #[inline(never)]
    fn new(mut transport: AnyTransport) -> Option<Self> {
        let features = transport.begin_init(Features::VERSION_1 | Features::MULTIPORT);
        if !features.contains(Features::MULTIPORT) {
            return None;
        }
        let ports_max: u32 = transport.read_config_space(console::CONFIG_PORTS_MAX).ok()?;
        let mut control_transmit = Queue::new(&mut transport, console::CONTROL_TRANSMIT_QUEUE)?;
        control_transmit.set_interrupts(false);
        let control_receive = Queue::new(&mut transport, console::CONTROL_RECEIVE_QUEUE)?;
        let mut ports = [const { None }; PORTS_MAX];
        for (number, slot) in (0u16..).zip(ports.iter_mut()).skip(1) {
            if u32::from(number) < ports_max {
                *slot = PortState::new(&mut transport, number).map(Box::new);
            }
        }
        Some(Self {
            transport,
            control_receive,
            control_input: Arc::new(DmaBuffer::new(CONTROL_LEN * CONTROL_COUNT)?),
            control_transmit,
            control_output: Arc::new(DmaBuffer::new(CONTROL_OUTPUT_LEN)?),
            control_sending: TransmitRing::new(CONTROL_OUTPUT_LEN),
            ports,
            introduction: Introduction::default(),
            messages: 0,
            lines: Lines::new(),
        })
    }

    /// Lets the device begin.
    fn start(&mut self) {
        for index in 0..CONTROL_COUNT {
            self.control_receive.give_input(&self.control_input, index * CONTROL_LEN, CONTROL_LEN);
        }
        self.transport.finish_init();
        self.control_receive.notify(&mut self.transport);
        self.send(None, Event::DeviceReady, 1);
    }

    /// Takes the memory of control messages back that the device has taken. True: those were all there are.
    fn reclaim(&mut self) -> bool {
        while let Some(used) = self.control_transmit.take_used() {
            self.control_sending.complete(used.token);
        }
        self.control_sending.is_empty()
    }

    /// Sends a control message. One that finds no room is lost: the device has stopped then.
    fn send(&mut self, port: Option<u32>, event: Event, value: u16) {
        self.reclaim();
        let bytes = console::encode(port, event, value);
        let Some(place) = self.control_sending.reserve(bytes.len()).filter(|place| place.len_bytes == bytes.len())
        else {
            return;
        };
        self.control_output.write(place.offset, &bytes);
        if let Some(token) = self.control_transmit.give_output(&self.control_output, place.offset, bytes.len()) {
            self.control_sending.commit(place, token);
            self.control_transmit.notify(&mut self.transport);
        }
    }

    /// Takes the device's control messages.
    fn take_messages(&mut self, events: &mut [PollEvents; PORTS_MAX]) {
        let mut is_any = false;
        while let Some(used) = self.control_receive.take_used() {
            let mut bytes = [0; CONTROL_LEN];
            let part = &mut bytes[..used.len.min(CONTROL_LEN)];
            self.control_input.read(used.offset, part);
            self.control_receive.give_input(&self.control_input, used.offset, CONTROL_LEN);
            is_any = true;
            self.messages += 1;
            if let Some(message) = Message::parse(part) {
                self.take_message(&message, events);
            }
        }
        if is_any {
            self.control_receive.notify(&mut self.transport);
        }
    }

    fn take_message(&mut self, message: &Message<'_>, events: &mut [PollEvents; PORTS_MAX]) {
        let Some(number) = message.port else { return };
        let index = number as usize;
        let port = self.ports.get_mut(index).and_then(Option::as_mut);
        if message.event == Event::PortAdd {
            if port.is_some_and(|port| !core::mem::replace(&mut port.is_added, true)) {
                self.send(Some(number), Event::PortReady, 1);
            }
            // The first one may be a port that is not driven.
            if self.introduction.note_added(number) {
                self.send(None, Event::DeviceReady, 1);
            }
            return;
        }
        let Some(port) = port else { return };
        match message.event {
            Event::PortName => port.set_name(message.name()),
            Event::PortOpen => {
                port.set_host_open(message.value != 0);
                if message.value == 0 {
                    events[index] |= PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::HUP;
                }
            }
            Event::PortRemove => {
                port.is_added = false;
                port.set_host_open(false);
                events[index] |= PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::HUP;
            }
            _ => {}
        }
    }

    /// Reads the host's requests from the control port.
    fn take_requests(&mut self, requests: &mut [Option<Request>; REQUESTS_MAX]) {
        let State { ports, transport, lines, .. } = self;
        let Some(port) = ports.iter_mut().flatten().find(|port| port.name() == CONTROL_NAME) else { return };
        for slot in requests.iter_mut() {
            let mut byte = [0];
            while slot.is_none() && port.receive(transport, &mut byte) == 1 {
                *slot = lines.push(byte[0]);
            }
        }
    }
}

bitflags::bitflags! {
    /// What the driver can do.
    #[derive(Clone, Copy, Debug)]
    struct Features: u64 {
        const MULTIPORT = FEATURE_MULTIPORT;
        const VERSION_1 = FEATURE_VERSION_1;
    }
}

impl Console {
    fn find(&self, name: &[u8]) -> Option<usize> {
        let state = self.state.lock();
        state.ports.iter().position(|port| port.as_ref().is_some_and(|port| port.name() == name))
    }

    /// Waits until the ports that the kernel knows are open at the host, or the device has told of all of its ports. One
    /// that is silent is waited for a while, and not for long if it seems to have no ports.
    fn introduce(&self) {
        let end = clock::now_ns().saturating_add(INTRODUCTION_NS);
        let mut heard = ((0, false), clock::now_ns());
        loop {
            self.work();
            let mut state = self.state.lock();
            let (news, is_over) = ((state.messages, state.reclaim()), state.introduction.is_over());
            drop(state);
            if is_over || INTRODUCED.iter().all(|name| self.is_host_open(name)) {
                break;
            }
            let now = clock::now_ns();
            if news != heard.0 {
                heard = (news, now);
            }
            let silence_ns = now.saturating_sub(heard.1);
            if news == (0, true) && silence_ns >= NO_PORTS_NS {
                break;
            }
            if now >= end || silence_ns >= SILENCE_NS {
                log::warn!("the virtio console has not told which ports it has, and is silent: it is used as it is");
                break;
            }
            core::hint::spin_loop();
        }
        for index in 0..PORTS_MAX {
            self.with(index, |port, _| port.end_introduction());
        }
        let known = INTRODUCED.iter().filter(|name| self.find(name).is_some()).count();
        log::debug!("virtio console: {known} of {} ports", INTRODUCED.len());
    }

    fn is_host_open(&self, name: &[u8]) -> bool {
        let index = self.find(name);
        index.and_then(|index| self.with(index, |port, _| port.is_host_open())).unwrap_or(false)
    }

    /// Does what the device asks for.
    fn work(&self) {
        let mut work = Work::default();
        {
            let mut state = self.state.lock();
            let _ = state.transport.ack_interrupt();
            state.take_messages(&mut work.events);
            state.take_requests(&mut work.requests);
            let State { ports, transport, .. } = &mut *state;
            for (port, events) in ports.iter_mut().zip(&mut work.events) {
                if let Some(port) = port {
                    *events |= port.take_events(transport);
                }
            }
        }
        for (waiters, events) in self.waiters.iter().zip(work.events) {
            if !events.is_empty() {
                waiters.wake(events.bits());
            }
        }
        for request in work.requests.into_iter().flatten() {
            LISTENER.call(request);
        }
    }

    /// Uses the port under the lock.
    fn with<R>(&self, index: usize, action: impl FnOnce(&mut PortState, &mut AnyTransport) -> R) -> Option<R> {
        let mut state = self.state.lock();
        let State { ports, transport, .. } = &mut *state;
        Some(action(ports.get_mut(index)?.as_mut()?, transport))
    }

    /// Tells the device that the port is open, and gives it receive buffers, once.
    fn open(&self, index: usize) {
        if self.with(index, |port, _| port.is_open()) != Some(false) {
            return;
        }
        // Memory is looked for outside of the lock.
        let is_line = self.with(index, |port, _| port.name() == CONTROL_NAME).unwrap_or(false);
        let buffer = PortState::input_lens(is_line).iter().find_map(|len| Some((DmaBuffer::new(*len)?, *len)));
        let mut state = self.state.lock();
        let Some(Some(port)) = state.ports.get_mut(index) else { return };
        // The message goes first: QEMU asks its input again when it gets buffers, not when the port opens.
        if !core::mem::replace(&mut port.is_guest_open, true) {
            state.send(u32::try_from(index).ok(), Event::PortOpen, 1);
        }
        let State { ports, transport, .. } = &mut *state;
        if let (Some(Some(port)), Some((buffer, len))) = (ports.get_mut(index), buffer) {
            port.start_input(transport, Arc::new(buffer), len);
        }
    }

    /// Sleeps until the port is settled, or the host has lost interest.
    fn wait_settled(&self, index: usize) {
        loop {
            // An interrupt between the look and the sleep ends the sleep: `sti` lets none in before `hlt`.
            interrupts::disable();
            if self.is_settled(index) || IS_ABANDONED.load(Ordering::Relaxed) {
                break;
            }
            if super::needs_polling() {
                core::hint::spin_loop();
            } else {
                // The device interrupts the first CPU, which may be another one.
                if smp::count() > 1 {
                    apic::set_timer(clock::now_ns().saturating_add(LOOK_NS));
                }
                interrupts::enable_and_hlt();
            }
        }
        interrupts::enable();
    }

    /// Whether nothing of the port is on its way, or nobody is there to take it.
    fn is_settled(&self, index: usize) -> bool {
        self.work();
        self.with(index, |port, _| port.is_drained() || port.is_host_gone()).unwrap_or(true)
    }
}

/// A port as a byte stream.
struct ConsolePort {
    console: &'static Console,
    index: usize,
}

impl Port for ConsolePort {
    fn receive(&self, bytes: &mut [u8]) -> usize {
        self.console.open(self.index);
        self.console.with(self.index, |port, transport| port.receive(transport, bytes)).unwrap_or(0)
    }

    fn is_at_end(&self) -> bool {
        self.console.open(self.index);
        self.console.with(self.index, |port, transport| port.is_at_end(transport)).unwrap_or(true)
    }

    fn transmit(&self, bytes: &[u8]) -> usize {
        if let Some(Some(len)) = self.console.with(self.index, |port, _| port.wants_output(bytes.len()))
            && let Some(buffer) = DmaBuffer::new(len)
        {
            self.console.with(self.index, |port, _| port.replace_output(Arc::new(buffer), len));
        }
        self.console.with(self.index, |port, transport| port.transmit(transport, bytes)).unwrap_or(0)
    }

    fn has_input(&self) -> bool {
        self.console.open(self.index);
        self.console.with(self.index, |port, transport| port.has_input(transport)).unwrap_or(false)
    }

    fn has_room(&self) -> bool {
        self.console.with(self.index, |port, _| port.has_room()).unwrap_or(true)
    }

    fn wait_queue(&self) -> &WaitQueue {
        &self.console.waiters[self.index]
    }

    fn is_hung_up(&self) -> bool {
        self.console.with(self.index, |port, _| port.is_host_gone()).unwrap_or(true)
    }
}

/// Text on its way to a port; what finds no room is lost.
struct Text {
    console: &'static Console,
    index: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.console.with(self.index, |port, transport| port.transmit(transport, text.as_bytes()));
        Ok(())
    }
}
