# Where things lie that traps.s and syscall.s share: the saved registers (linux::registers::Registers), what a CPU keeps for
# itself (percpu.rs), selectors. Only names, no code.

.set FRAME_R15, 0
.set FRAME_R14, 8
.set FRAME_R13, 16
.set FRAME_R12, 24
.set FRAME_RBP, 32
.set FRAME_RBX, 40
.set FRAME_R11, 48
.set FRAME_R10, 56
.set FRAME_R9, 64
.set FRAME_R8, 72
.set FRAME_RAX, 80
.set FRAME_RCX, 88
.set FRAME_RDX, 96
.set FRAME_RSI, 104
.set FRAME_RDI, 112
.set FRAME_ORIGINAL_RAX, 120
.set FRAME_RIP, 128
.set FRAME_CS, 136
.set FRAME_RFLAGS, 144
.set FRAME_RSP, 152
.set FRAME_SS, 160
.set FRAME_WORDS, 21
.set FRAME_BYTES, 168

# TF, NT and RF are not for popfq: a single step must begin after the program's next instruction.
.set RFLAGS_BY_IRETQ, 0x14100
# TF, DF, NT, AC: `syscall` clears them, a rewritten call site does not (cpu.rs has the mask).
.set RFLAGS_BY_SYSCALL, 0x44500

.set KERNEL_CS, 0x08
.set KERNEL_SS, 0x10
.set LINUX_CS, 0x33
.set LINUX_SS, 0x2b

# struct PerCpu (percpu.rs)
.set CPU_KERNEL_STACK, 8
.set CPU_SCRATCH, 16
.set CPU_THREAD, 24
.set CPU_ATTENTION, 32
.set CPU_STACK_BOTTOM, 40
.set CPU_HAS_OWN_GS, 48
.set CPU_PROGRAM_FRAME, 56
.set CPU_PREEMPTION, 64
.set CPU_CONTEXT, 72

.set MSR_GS_BASE, 0xc0000101

