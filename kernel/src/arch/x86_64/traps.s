# Every way from an exception or interrupt into Rust, and every way back to the program.
#
# 1. At equal privilege the CPU does not switch stacks by itself, so every gate names an IST stack: 1 #DF, 2 NMI, 3 #MC, 4 #DB,
#    5 faults, 6 interrupts, 7 #BP. An IST stack is only a landing place: its frame dies at the next entry of that kind. A
#    handler that may enable interrupts, block or deliver signals first moves its frame to the thread's kernel stack:
#    to the stack's top when the program was interrupted, to just below the interrupted rsp when the kernel was (kernel code
#    has no red zone).
# 2. Program and kernel are told apart by RIP alone: kernel means RIP in [__text_start, __text_end), but for the ways in and out
#    of system calls, where it depends on the instruction: syscall.s says how, and mends the frame before anybody looks at it.
# 3. Registers in memory are linux::registers::Registers. cs and ss in it are what Linux shows (0x33, 0x2b); the real ones are
#    constants and never come from memory that a program can reach.
# 4. The gs base is the CPU's own, a kernel address. A thread that sets a gs base of its own (a lower-half address) runs with
#    it in place and the CPU's swapped out: its system calls come in by syscall_entry_own_gs, every other entry looks at the
#    sign of the base, once any thread has done so.
#
# Interrupts are off on every entry (interrupt gates).

# The vector has been pushed above the error code (or a zero): swap it with rdi, then save the rest.
.macro SAVE_REGISTERS
    xchg rdi, [rsp]
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    cld
    KERNEL_GS
.endm

# Makes the gs base the CPU's own. Clobbers rax, rcx, rdx, which are saved.
.macro KERNEL_GS
    cmp byte ptr [rip + program_has_gs], 0
    je 21f
    mov ecx, MSR_GS_BASE
    rdmsr
    test edx, edx
    js 21f
    swapgs
21:
.endm

# Gives the program its own gs base, if it has one. Interrupts are off.
.macro PROGRAM_GS
    cmp dword ptr gs:[CPU_HAS_OWN_GS], 0
    je 22f
    swapgs
22:
.endm

.macro RESTORE_REGISTERS
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    pop r11
    pop r10
    pop r9
    pop r8
    pop rax
    pop rcx
    pop rdx
    pop rsi
    pop rdi
.endm

# Jumps to \kernel when the event is one of the kernel, by the saved RIP (sort_event). Clobbers rax, rcx, rdx, rsi.
.macro BRANCH_IF_KERNEL kernel
    mov rax, [rsp + FRAME_RIP]
    lea rcx, [rip + __text_start]
    cmp rax, rcx
    jb 11f
    lea rcx, [rip + __text_end]
    cmp rax, rcx
    jae 11f
    lea rcx, [rip + syscall_code_start]
    cmp rax, rcx
    jb \kernel
    lea rcx, [rip + syscall_code_end]
    cmp rax, rcx
    jae \kernel
    call sort_event
    jc \kernel
11:
.endm

# Moves the frame at rsp so that it ends at rax, which becomes the stack. Clobbers rcx, rsi, rdi.
.macro MOVE_FRAME_BELOW_RAX
    sub rax, FRAME_BYTES
    mov rsi, rsp
    mov rdi, rax
    mov ecx, FRAME_WORDS
    rep movsq
    mov rsp, rax
.endm

.section .entry.text, "ax"

# Faults, #DB and #BP: rdi = vector after the save.
.type fault_common, @function
fault_common:
    test spl, 8                     # IST stacks begin at a multiple of 16: an even number of words has no error code
    jz made_up_fault
fault_saved:
    SAVE_REGISTERS
    mov rbx, rdi                    # vector
    mov rbp, cr2
    BRANCH_IF_KERNEL fault_in_kernel
program_fault:
    mov rax, gs:[CPU_KERNEL_STACK]
    MOVE_FRAME_BELOW_RAX
    mov qword ptr [rsp + FRAME_CS], LINUX_CS
    mov qword ptr [rsp + FRAME_SS], LINUX_SS
    mov rdi, rsp
    mov esi, ebx
    mov rdx, rbp
    xor ebp, ebp
    call nacre_program_fault
    jmp return_to_program

fault_in_kernel:
    mov rax, [rsp + FRAME_RSP]
    cmp rax, gs:[CPU_STACK_BOTTOM]
    jb fault_fatal
    cmp rax, gs:[CPU_KERNEL_STACK]
    ja fault_fatal
    and rax, -16
    sub rax, 8                      # the frame is an odd number of words: keep rsp a multiple of 16
    MOVE_FRAME_BELOW_RAX
    mov rdi, rsp
    mov esi, ebx
    mov rdx, rbp
    mov rbp, [rsp + 32]             # the interrupted frame pointer: backtraces go on through it
    call nacre_kernel_fault
    RESTORE_REGISTERS
    add rsp, 8
    iretq

# A fault that is not on a kernel stack, or one that ends the kernel by its nature.
fault_fatal:
    mov rdi, rsp
    mov esi, ebx
    mov rdx, rbp
    mov rbp, [rsp + 32]
    and rsp, -16
    call nacre_fatal_fault
    ud2

# An exception that brings an error code, without one: an `int n` of the program. It gets what ring 3 gets for it, a
# general protection fault at the two-byte instruction. A double fault (8) comes here too.
made_up_fault:
    push qword ptr [rsp]             # the vector, in the error code's place
    shl qword ptr [rsp + 8], 3
    or qword ptr [rsp + 8], 2       # error code: this gate of the IDT
    mov byte ptr [rsp], 13
    sub qword ptr [rsp + 16], 2
    jmp fault_saved

.type fatal_common, @function
fatal_common:
    test spl, 8
    jz made_up_fault
    SAVE_REGISTERS
    mov rbx, rdi
    mov rbp, cr2
    jmp fault_fatal

.type nmi_common, @function
nmi_common:
    SAVE_REGISTERS
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    call nacre_nmi
    mov rsp, rbx
    RESTORE_REGISTERS
    add rsp, 8
    iretq

# Device interrupts and IPIs.
.type interrupt_common, @function
interrupt_common:
    SAVE_REGISTERS
    mov rbx, rdi
    BRANCH_IF_KERNEL interrupt_in_kernel
    mov edi, ebx
    mov esi, 1
    mov rbp, rsp
    mov rdx, rsp
    and rsp, -16
    call nacre_interrupt
    mov rsp, rbp
    test al, al
    jz refused_interrupt
    mov rax, gs:[CPU_ATTENTION]
    cmp dword ptr [rax], 0
    jne 1f
    PROGRAM_GS
    RESTORE_REGISTERS
    add rsp, 8
    iretq
1:  mov rax, gs:[CPU_KERNEL_STACK]
    MOVE_FRAME_BELOW_RAX
    mov qword ptr [rsp + FRAME_CS], LINUX_CS
    mov qword ptr [rsp + FRAME_SS], LINUX_SS
    mov qword ptr [rsp + FRAME_ORIGINAL_RAX], -1
    jmp exit_work

# Nobody sends this vector: it is an `int n` of the program. At ring 0 no gate refuses it, so it is refused here, as the
# general protection fault at the two-byte instruction that it is in ring 3.
refused_interrupt:
    shl ebx, 3
    or ebx, 2                       # error code: this gate of the IDT
    mov [rsp + FRAME_ORIGINAL_RAX], rbx
    sub qword ptr [rsp + FRAME_RIP], 2
    mov ebx, 13
    xor ebp, ebp
    jmp program_fault

interrupt_in_kernel:
    mov edi, ebx
    xor esi, esi
    mov rbp, rsp
    mov rdx, rsp
    and rsp, -16
    call nacre_interrupt
    mov rsp, rbp
    cmp dword ptr gs:[CPU_PREEMPTION], 0
    je preempt_kernel
1:  RESTORE_REGISTERS
    add rsp, 8
    iretq

# A switch is wanted and nothing forbids it. It is made on the stack of the thread, below what was interrupted, if it was a thread.
preempt_kernel:
    cmp qword ptr gs:[CPU_CONTEXT], 0
    je 1b
    mov rax, [rsp + FRAME_RSP]
    cmp rax, gs:[CPU_STACK_BOTTOM]
    jb 1b
    cmp rax, gs:[CPU_KERNEL_STACK]
    ja 1b
    and rax, -16
    sub rax, 8
    MOVE_FRAME_BELOW_RAX
    mov rbp, [rsp + 32]             # backtraces go on through it
    call nacre_preempt
    RESTORE_REGISTERS
    add rsp, 8
    iretq

# Back to the program with every register from the frame at rsp. Interrupts may be on.
.global return_to_program
.type return_to_program, @function
return_to_program:
    cli
    mov rax, gs:[CPU_ATTENTION]
    cmp dword ptr [rax], 0
    jne exit_work
    mov qword ptr [rsp + FRAME_CS], KERNEL_CS
    mov qword ptr [rsp + FRAME_SS], KERNEL_SS
    PROGRAM_GS
    RESTORE_REGISTERS
    add rsp, 8
    iretq

exit_work:
    mov rdi, rsp
    xor ebp, ebp
    call nacre_exit_work
    jmp return_to_program

# One stub a vector, 16 bytes apart.
.macro STUB vector, error, target
    .balign 16
    .if \error == 0
    push 0
    .endif
    push \vector
    jmp \target
.endm

.balign 16
.global trap_stubs
trap_stubs:
    STUB 0, 0, fault_common
    STUB 1, 0, fault_common
    STUB 2, 0, nmi_common
    STUB 3, 0, fault_common
    STUB 4, 0, fault_common
    STUB 5, 0, fault_common
    STUB 6, 0, fault_common
    STUB 7, 0, fault_common
    STUB 8, 1, fatal_common
    STUB 9, 0, fault_common
    STUB 10, 1, fault_common
    STUB 11, 1, fault_common
    STUB 12, 1, fault_common
    STUB 13, 1, fault_common
    STUB 14, 1, fault_common
    STUB 15, 0, fault_common
    STUB 16, 0, fault_common
    STUB 17, 1, fault_common
    STUB 18, 0, fatal_common
    STUB 19, 0, fault_common
    STUB 20, 0, fault_common
    STUB 21, 1, fault_common
    STUB 22, 0, fault_common
    STUB 23, 0, fault_common
    STUB 24, 0, fault_common
    STUB 25, 0, fault_common
    STUB 26, 0, fault_common
    STUB 27, 0, fault_common
    STUB 28, 0, fault_common
    STUB 29, 1, fault_common
    STUB 30, 1, fault_common
    STUB 31, 0, fault_common
.set vector, 32
.rept 224
    .balign 16
    push 0
    push vector
    jmp interrupt_common
    .set vector, vector + 1
.endr

.section .data
.global program_has_gs
program_has_gs:
    .byte 0
