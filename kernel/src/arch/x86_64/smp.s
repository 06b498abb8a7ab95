# The first instructions of every CPU but the first.
#
# A start-up IPI begins execution in real mode at cs:0, where cs * 16 is a page below 1 MiB. smp.rs copies what stands between
# `trampoline_start` and `trampoline_end` there, adds the page's address to the words named in the header below, and fills in
# the mailbox. Nothing here may count on its link address, so every symbol is used as a distance from the start.
#
# The tables in `trampoline_root` map the first 2 MiB one to one beside the kernel's upper half; the kernel's own root takes
# their place as soon as the CPU runs at its high address.
#
# The mailbox serves one CPU at a time. Whoever finds the stack taken came too late and stops.

.set CODE64_SELECTOR, 0x08
.set DATA_SELECTOR, 0x10
.set CODE32_SELECTOR, 0x18
.set CR0_PE_PG, 0x80000001
.set CR0_CACHE_ON, 0x9fffffff       # without CD and NW, which a reset sets
.set CR4_PAE, 0x20
.set MSR_EFER, 0xc0000080
.set EFER_LME_NXE, 0x900            # the kernel's tables have no-execute bits

.section .rodata.trampoline, "a"
.balign 16
.global trampoline_start
trampoline_start:
.code16
    cli
    cld
    mov ax, cs
    mov ds, ax
    lgdt [at_trampoline_gdt_pointer]
    mov eax, cr0
    or eax, 1
    mov cr0, eax
    .byte 0x66, 0xea                # ljmp, 32-bit offset
.global trampoline_jump32
trampoline_jump32:
    .long at_protected
    .word CODE32_SELECTOR

.code32
protected:
    mov eax, DATA_SELECTOR
    mov ds, eax
    mov es, eax
    mov ss, eax
    .byte 0xbb                      # mov ebx, the page's address
.global trampoline_base
trampoline_base:
    .long 0
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, [ebx + at_trampoline_root]
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME_NXE
    wrmsr
    mov eax, cr0
    and eax, CR0_CACHE_ON
    or eax, CR0_PE_PG
    mov cr0, eax
    .byte 0xea                      # ljmp
.global trampoline_jump64
trampoline_jump64:
    .long at_long_mode
    .word CODE64_SELECTOR

.code64
long_mode:
    mov eax, DATA_SELECTOR
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov ebx, ebx
    mov rdi, [rbx + at_trampoline_argument]
    mov rcx, [rbx + at_trampoline_entry]
    xor eax, eax
    xchg rax, [rbx + at_trampoline_stack]
    test rax, rax
    jz 1f
    mov rsp, rax
    xor ebp, ebp
    push 0                          # no caller
    jmp rcx
1:  cli
    hlt
    jmp 1b

.balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # 64-bit code, ring 0
    .quad 0x00cf93000000ffff        # data
    .quad 0x00cf9b000000ffff        # 32-bit code
trampoline_gdt_pointer:
    .word 31
.global trampoline_gdt_base
trampoline_gdt_base:
    .long at_trampoline_gdt
.balign 8
.global trampoline_root
trampoline_root:
    .quad 0
.global trampoline_entry
trampoline_entry:
    .quad 0
.global trampoline_argument
trampoline_argument:
    .quad 0
.global trampoline_stack
trampoline_stack:
    .quad 0
.global trampoline_end
trampoline_end:

.set at_protected, protected - trampoline_start
.set at_long_mode, long_mode - trampoline_start
.set at_trampoline_gdt, trampoline_gdt - trampoline_start
.set at_trampoline_gdt_pointer, trampoline_gdt_pointer - trampoline_start
.set at_trampoline_root, trampoline_root - trampoline_start
.set at_trampoline_entry, trampoline_entry - trampoline_start
.set at_trampoline_argument, trampoline_argument - trampoline_start
.set at_trampoline_stack, trampoline_stack - trampoline_start
