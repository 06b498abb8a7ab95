# A guest that finds out whether this processor, or what poses as one, runs what a 64-bit kernel runs: it goes to long mode by
# the PVH entry, takes an interrupt and returns from it, uses vector registers, and says 0x2a to QEMU's exit device. Any
# instruction that does not work ends in a triple fault or never ends; both mean no.

        .set    EXIT_PORT, 0xf4
        .set    EXIT_CODE, 0x2a
        .set    CODE, 0x08
        .set    DATA, 0x10

        .section .note.pvh, "a", @note
        .long   4, 8, 18                # name size, value size, XEN_ELFNOTE_PHYS32_ENTRY
        .asciz  "Xen"
        .quad   pvh_entry

        .text
        .code32
        .globl  pvh_entry
pvh_entry:
        movl    $stack_top, %esp
        # One page table: the first gigabyte, identity mapped.
        movl    $level3 + 3, level4
        movl    $0x83, level3           # a page of 1 GiB: present, writable, large
        movl    $level4, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $0x620, %eax            # PAE, OSFXSR, OSXMMEXCPT
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx       # EFER
        rdmsr
        orl     $0x100, %eax            # LME
        wrmsr
        movl    %cr0, %eax
        andl    $~4, %eax               # EM
        orl     $0x80000003, %eax       # PG, MP, PE
        movl    %eax, %cr0
        lgdt    gdt_pointer
        ljmp    $CODE, $long_mode

        .code64
long_mode:
        movl    $DATA, %eax
        movl    %eax, %ss
        movl    %eax, %ds
        movl    %eax, %es
        # The gate of vector 0x20.
        leaq    handler(%rip), %rax
        leaq    idt + 0x200(%rip), %rdi
        movw    %ax, (%rdi)
        movw    $CODE, 2(%rdi)
        movw    $0x8e00, 4(%rdi)        # present, interrupt gate
        shrq    $16, %rax
        movw    %ax, 6(%rdi)
        lidt    idt_pointer(%rip)
        xorl    %ebx, %ebx
        int     $0x20
        cmpl    $1, %ebx
        jne     failed
        # A return to another place, the way a kernel enters a program.
        pushq   $DATA
        leaq    stack_top(%rip), %rax
        pushq   %rax
        pushfq
        pushq   $CODE
        leaq    returned(%rip), %rax
        pushq   %rax
        iretq
returned:
        movaps  pattern(%rip), %xmm0
        paddd   %xmm0, %xmm0
        movaps  %xmm0, result(%rip)
        cmpl    $2, result(%rip)
        jne     failed
        xorl    %eax, %eax
        cpuid
        rdtsc
        lock incq counter(%rip)
        xchgq   %rax, counter(%rip)
        movl    $EXIT_CODE, %eax
        outl    %eax, $EXIT_PORT
failed:
        hlt
        jmp     failed

handler:
        incl    %ebx
        iretq

        .data
        .balign 16
pattern:
        .long   1, 2, 3, 4
gdt:    .quad   0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .quad   gdt
idt_pointer:
        .word   0x20f
        .quad   idt

        .bss
        .balign 4096
level4: .skip   4096
level3: .skip   4096
idt:    .skip   0x210
result: .skip   16
counter: .skip  8
        .balign 16
        .skip   4096
stack_top:
