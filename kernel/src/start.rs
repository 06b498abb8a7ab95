//! Start-up on the first CPU: from the loader's state to the program.
#![expect(clippy::cast_possible_truncation, reason = "addresses have 64 bits on this machine")]

use alloc::boxed::Box;

use firmware::command_line::Options;
use firmware::{BootInformation, COMMAND_LINE_MAX, PhysicalMemory};
use image_format::Image;

use crate::arch::boot::{self, BootProtocol, ImageLayout, VIRTUAL_BASE};
use crate::arch::descriptors::{self, Descriptors};
use crate::arch::percpu::PerCpu;
use crate::arch::{clock, cpu, vector_state};
use crate::memory::layout::direct;
use crate::memory::stacks;
use crate::{drivers, memory, panic, platform};

/// What the first GiB looks like while the early tables map it one to one.
struct IdentityMemory;

impl PhysicalMemory for IdentityMemory {
    fn read(&self, address: u64, out: &mut [u8]) -> bool {
        let Some(end) = address.checked_add(out.len() as u64) else { return false };
        if address == 0 || end > 1 << 30 {
            return false;
        }
        // SAFETY: the early tables map the first GiB; reading memory or nothing at all has no effect there.
        unsafe { core::ptr::copy_nonoverlapping(address as *const u8, out.as_mut_ptr(), out.len()) };
        true
    }
}

static FIRST_CPU: PerCpu = PerCpu::new(0);

/// What start-up learned before it changed stacks.
struct Started {
    information: BootInformation,
    options: Options,
    command_line: &'static [u8],
    layout: ImageLayout,
    slide: usize,
    payload: &'static [u8],
    /// The cycle counter at the first Rust instruction.
    entered_cycles: u64,
}

/// Entry from boot.s, on the early stack and tables.
///
/// # Safety
/// Called once, by boot.s, with what the loader told.
#[unsafe(no_mangle)]
unsafe extern "C" fn kernel_start(protocol: u64, information: u64, slide: usize) -> ! {
    let entered_cycles = clock::cycles();
    // SAFETY: first thing on this CPU, which alone uses it: locks count in it from now on.
    unsafe { PerCpu::install(&FIRST_CPU) };
    clock::start();
    panic::set_slide(slide);
    drivers::serial::init_early();
    // SAFETY: first thing, once.
    unsafe { memory::heap::init_early() };
    cpu::detect();
    cpu::enable_no_execute();
    let protocol = if protocol == 0 { BootProtocol::Pvh } else { BootProtocol::Linux };
    // SAFETY: per our own contract.
    let started = unsafe { take_memory(protocol, information, slide, entered_cycles) };
    // SAFETY: once, before any IDT is loaded.
    unsafe { descriptors::fill_idt() };
    let Some(descriptors) = Descriptors::new() else { platform::fail("not enough memory for the interrupt stacks") };
    Box::leak(Box::new(descriptors)).load();
    // SAFETY: the tables just made mark text as executable.
    unsafe { cpu::configure() };
    vector_state::init();
    crate::arch::smp::register_first(&FIRST_CPU);
    crate::arch::apic::silence_8259();
    let Some(stack) = stacks::allocate(stacks::BOOT_STACK_PAGES) else {
        platform::fail("not enough memory for a kernel stack")
    };
    FIRST_CPU.set_kernel_stack(stack.bottom(), stack.top());
    let top = stack.top();
    core::mem::forget(stack);
    let started = Box::into_raw(Box::new(started));
    // SAFETY: the stack is mapped and nobody's; `on_kernel_stack` never returns and takes the box over.
    unsafe {
        core::arch::asm!("mov rsp, {stack}", "xor ebp, ebp", "push 0", "call {entry}", "ud2",
            stack = in(reg) top - 8, entry = sym on_kernel_stack, in("rdi") started, options(noreturn));
    }
}

/// Reads what the loader told and takes memory into use.
///
/// # Safety
/// Runs once, on the early tables.
unsafe fn take_memory(protocol: BootProtocol, address: u64, slide: usize, entered_cycles: u64) -> Started {
    let memory = IdentityMemory;
    let information = match protocol {
        BootProtocol::Pvh => firmware::pvh::read(&memory, address),
        BootProtocol::Linux => firmware::linux_boot::read(&memory, address),
    };
    let information = match information {
        Ok(information) => information,
        Err(_) => platform::fail("the boot loader gave no usable memory map"),
    };
    let mut line = [0; COMMAND_LINE_MAX];
    let line = match information.command_line {
        Some(address) => firmware::read_command_line(&memory, address, &mut line),
        None => &[],
    };
    let options = Options::parse(line);
    platform::log::init(options.log_level);
    let layout = boot::image_layout();
    let payload_start = (layout.payload - VIRTUAL_BASE - slide) as u64;
    let payload_len = payload_len(&memory, payload_start);
    // SAFETY: per the contract.
    if let Err(error) = unsafe { memory::init(&information.memory_map, &layout, slide, payload_start + payload_len) } {
        ::log::error!("{error:?}");
        platform::fail("not enough memory for the kernel")
    }
    let command_line = alloc::vec::Vec::leak(line.to_vec());
    // SAFETY: the loader put the payload there; the range was kept from the allocator and is mapped read-only, for ever.
    let payload = unsafe { core::slice::from_raw_parts(direct(payload_start) as *const u8, payload_len as usize) };
    Started { information, options, command_line, layout, slide, payload, entered_cycles }
}

/// Bytes of the payload by its own header; without a valid one, none.
fn payload_len(memory: &IdentityMemory, start: u64) -> u64 {
    let mut head = [0; 4096];
    if !memory.read(start, &mut head) {
        return 0;
    }
    Image::total_size_of(&head).unwrap_or(0)
}

/// The rest of start-up, on a kernel stack of the size every thread has.
extern "C" fn on_kernel_stack(started: *mut Started) -> ! {
    // SAFETY: `kernel_start` made the pointer from a box and gave it up.
    let started = unsafe { *Box::from_raw(started) };
    // SAFETY: this runs on another stack and other tables.
    unsafe { memory::release_early(&started.layout, started.slide) };
    if started.payload.is_empty() {
        platform::fail("this kernel carries no program: make an image with `make image APP=...`")
    }
    let image = match Image::parse(started.payload) {
        Ok(image) => image,
        Err(error) => {
            log::error!("{error}");
            platform::fail("the image is damaged: build it again")
        }
    };
    panic::set_symbols(image.kernel_symbols());
    log::info!(
        "booted by {:?} at cycle {}, {} MiB",
        started.information.protocol,
        started.entered_cycles,
        started.information.memory_map.usable_bytes() >> 20
    );
    platform::run(image, &started.information, &started.options, started.command_line)
}
