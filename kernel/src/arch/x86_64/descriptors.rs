//! GDT, TSS and IDT: one code segment, one data segment, seven IST stacks, 256 gates.
//!
//! Everything runs at ring 0, so there are no user segments; `syscall` loads KERNEL_CS and the data selector after it.
#![expect(clippy::cast_possible_truncation, reason = "descriptors hold addresses in parts")]

use core::arch::global_asm;
use core::cell::UnsafeCell;

use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::registers::model_specific::GsBase;
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, DescriptorFlags, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

use super::percpu::PerCpu;
use crate::memory::stacks::{self, KernelStack};

global_asm!(
    include_str!("frame.s"),
    include_str!("traps.s"),
    include_str!("syscall.s"),
    syscall_entries = sym linux::dispatch::ENTRIES,
    syscall_absent = sym linux::dispatch::absent,
    SYSCALL_COUNT = const linux::dispatch::ENTRY_COUNT,
);

unsafe extern "C" {
    static trap_stubs: u8;
}

/// Bytes between two stubs of traps.s.
const STUB_BYTES: usize = 16;
const VECTORS: usize = 256;

/// One gate of the IDT (SDM volume 3, 7.14.1).
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate {
    offset_low: u16,
    selector: u16,
    ist: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    reserved: u32,
}

const INTERRUPT_GATE: u8 = 0x8e;
const KERNEL_CS: u16 = 0x08;
/// The selector of a segment nobody loads: its limit is the number of the CPU, which `lsl` tells at any privilege. It is
/// Linux's, for programs that know it.
const CPU_SEGMENT: u16 = 0x7b;
const GDT_ENTRIES_MAX: usize = (CPU_SEGMENT as usize >> 3) + 1;
/// Of 32 bits, present, for ring 3, data that is read, accessed (SDM volume 3, 3.4.5).
const CPU_SEGMENT_KIND: u64 = 0x0040_f100_0000_0000;

struct IdtCell(UnsafeCell<[Gate; VECTORS]>);
// SAFETY: written once, by the first CPU before any other runs and before it is loaded; read by CPUs only.
unsafe impl Sync for IdtCell {}

const EMPTY_GATE: Gate =
    Gate { offset_low: 0, selector: 0, ist: 0, kind: 0, offset_middle: 0, offset_high: 0, reserved: 0 };
static IDT: IdtCell = IdtCell(UnsafeCell::new([EMPTY_GATE; VECTORS]));

/// The IST stack of a vector, 1-7 (traps.s, paragraph 1).
const fn interrupt_stack(vector: usize) -> u8 {
    match vector {
        8 => 1,
        2 => 2,
        18 => 3,
        1 => 4,
        3 => 7,
        0..=31 => 5,
        _ => 6,
    }
}

/// The descriptor tables of one CPU. They must never move or die once loaded.
pub(crate) struct Descriptors {
    gdt: GlobalDescriptorTable<GDT_ENTRIES_MAX>,
    tss: TaskStateSegment,
    stacks: [KernelStack; 7],
}

impl Descriptors {
    /// Tables for one CPU with stacks of their own; `None` when memory is out.
    pub(crate) fn new() -> Option<Descriptors> {
        let allocate = || stacks::allocate(stacks::INTERRUPT_STACK_PAGES);
        let stacks = [allocate()?, allocate()?, allocate()?, allocate()?, allocate()?, allocate()?, allocate()?];
        let mut tss = TaskStateSegment::new();
        let mut tops = [VirtAddr::zero(); 7];
        for (top, stack) in tops.iter_mut().zip(&stacks) {
            *top = VirtAddr::new(stack.top() as u64);
        }
        tss.interrupt_stack_table = tops;
        Some(Descriptors { gdt: GlobalDescriptorTable::empty(), tss, stacks })
    }

    /// Loads the tables on the CPU that runs this.
    pub(crate) fn load(&'static mut self) {
        debug_assert!(self.stacks.iter().all(|stack| stack.top().is_multiple_of(16)), "interrupt stack is misaligned");
        let code = self.gdt.append(Descriptor::UserSegment(DescriptorFlags::KERNEL_CODE64.bits()));
        let data = self.gdt.append(Descriptor::UserSegment(DescriptorFlags::KERNEL_DATA.bits()));
        let tss = self.gdt.append(Descriptor::tss_segment(&self.tss));
        debug_assert_eq!(code.0, KERNEL_CS, "traps.s counts on the selector");
        while self.gdt.entries().len() < usize::from(CPU_SEGMENT >> 3) {
            self.gdt.append(Descriptor::UserSegment(0));
        }
        self.gdt.append(Descriptor::UserSegment(CPU_SEGMENT_KIND | u64::from(PerCpu::number())));
        self.gdt.load();
        // SAFETY: the selectors are those just made; `self` is 'static, so table and TSS stay; the IDT has been filled by
        // `fill_idt`. Writing the GS selector clears its base, which is this CPU's own: it comes back before anybody looks.
        unsafe {
            let per_cpu = GsBase::read();
            CS::set_reg(code);
            SS::set_reg(data);
            DS::set_reg(SegmentSelector(0));
            ES::set_reg(SegmentSelector(0));
            FS::set_reg(SegmentSelector(0));
            GS::set_reg(SegmentSelector(0));
            GsBase::write(per_cpu);
            load_tss(tss);
            let pointer = DescriptorTablePointer {
                limit: (size_of::<[Gate; VECTORS]>() - 1) as u16,
                base: VirtAddr::from_ptr(IDT.0.get()),
            };
            lidt(&pointer);
        }
    }
}

/// Points every gate at its stub.
///
/// # Safety
/// Runs once, on the first CPU, before any IDT is loaded.
pub(crate) unsafe fn fill_idt() {
    for vector in 0..VECTORS {
        let offset = &raw const trap_stubs as usize + vector * STUB_BYTES;
        let gate = Gate {
            offset_low: offset as u16,
            selector: KERNEL_CS,
            ist: interrupt_stack(vector),
            kind: INTERRUPT_GATE,
            offset_middle: (offset >> 16) as u16,
            offset_high: (offset >> 32) as u32,
            reserved: 0,
        };
        // SAFETY: per the contract nobody else touches the table now; the index is in bounds.
        unsafe { (*IDT.0.get())[vector] = gate };
    }
}
