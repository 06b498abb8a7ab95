# The two ways in, from a loader's state to `kernel_start` at its high address.
#
# 1. pvh_entry: 32-bit protected mode, paging off, ebx = physical address of hvm_start_info (Xen PVH boot ABI).
# 2. linux64_entry: long mode with the image identity mapped, rsi = boot_params (Linux x86 64-bit boot protocol).
#
# Both end in `common64`, which maps the first GiB one to one and the image at its slid address, relocates the image and
# jumps. The loader has put the image at its link address minus VIRTUAL_BASE, which is fixed (1 MiB); only .boot.text, placed
# first, may count on that, and only before paging is on.
#
# The tables built here are replaced by memory/paging.rs; they have no rights but "everything".

.set VIRTUAL_BASE, 0xffffffff80000000
.set LOAD_BASE, 0x100000
.set PRESENT_WRITE, 0x3
.set PRESENT_WRITE_LARGE, 0x83
.set IMAGE_CHUNKS, 8            # 2 MiB pieces of the image mapped high: 16 MiB without the payload
.set SLIDE_CHUNKS, 1000         # possible slides

# \register = physical address of \symbol, without paging: a word beside us holds its distance from that word.
.macro DISTANCE symbol
    distance_\symbol: .long \symbol - .
    .set at_distance_\symbol, LOAD_BASE + (distance_\symbol - boot_base)
.endm
.macro PHYSICAL register, symbol
    mov \register, dword ptr [at_distance_\symbol]
    add \register, offset at_distance_\symbol
.endm

.section .boot.text, "ax"
boot_base:
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff    # 64-bit code, ring 0
    .quad 0x00cf93000000ffff    # data
boot_gdt_pointer:
    .word 23
    .long LOAD_BASE
    .set at_boot_gdt_pointer, LOAD_BASE + (boot_gdt_pointer - boot_base)
    DISTANCE early_pd_low
    DISTANCE early_pdpt_low
    DISTANCE early_pml4

.code32
.global pvh_entry
pvh_entry:
    cli
    cld
    mov esi, ebx

    # The page directory of the first GiB, 2 MiB a page.
    PHYSICAL edi, early_pd_low
    mov eax, PRESENT_WRITE_LARGE
    mov ecx, 512
1:  mov [edi], eax
    mov dword ptr [edi + 4], 0
    add eax, 0x200000
    add edi, 8
    dec ecx
    jnz 1b

    PHYSICAL edi, early_pdpt_low
    PHYSICAL eax, early_pd_low
    add eax, PRESENT_WRITE
    mov [edi], eax

    PHYSICAL edi, early_pml4
    PHYSICAL eax, early_pdpt_low
    add eax, PRESENT_WRITE
    mov [edi], eax
    mov cr3, edi

    mov eax, cr4
    or eax, 0x20                # PAE
    mov cr4, eax
    mov ecx, 0xc0000080         # EFER
    rdmsr
    or eax, 0x100               # LME
    wrmsr
    mov eax, cr0
    or eax, 0x80000001          # PG, PE
    mov cr0, eax

    # A far jump into 64-bit code through a table of our own.
    lgdt [at_boot_gdt_pointer]
    .byte 0xea                  # ljmp 0x08:pvh64
    .long LOAD_BASE + (pvh64 - boot_base)
    .word 0x08

.code64
pvh64:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    xor edi, edi                # protocol 0: PVH
    jmp common64

.global linux64_entry
linux64_entry:
    cli
    cld
    mov edi, 1                  # protocol 1: Linux boot_params

# rdi = protocol, rsi = physical address of what the loader tells.
common64:
    lea rsp, [rip + early_stack_top]
    mov r14, rdi
    mov r15, rsi

    # Tables: the first GiB one to one.
    lea rdi, [rip + early_pd_low]
    mov eax, PRESENT_WRITE_LARGE
    mov ecx, 512
1:  mov [rdi], rax
    add rax, 0x200000
    add rdi, 8
    dec ecx
    jnz 1b
    lea rdi, [rip + early_pdpt_low]
    lea rax, [rip + early_pd_low + PRESENT_WRITE]
    mov [rdi], rax
    lea rbx, [rip + early_pml4]
    lea rax, [rip + early_pdpt_low + PRESENT_WRITE]
    mov [rbx], rax

    # The slide, in 2 MiB chunks: RDRAND when there, mixed with the cycle counter.
    push rbx
    mov eax, 1
    cpuid
    pop rbx
    xor r8d, r8d
    bt ecx, 30
    jnc 2f
    rdrand r8
2:  rdtsc
    shl rdx, 32
    or rax, rdx
    xor rax, r8
    mov rcx, 0x9e3779b97f4a7c15
    mul rcx
    mov rax, rdx
    xor edx, edx
    mov ecx, SLIDE_CHUNKS
    div rcx                     # rdx = chunk
    mov r13, rdx

    # The image at VIRTUAL_BASE + slide: two page directories cover the top 2 GiB.
    lea rdi, [rip + early_pd_high]
    lea rdi, [rdi + r13 * 8]
    mov eax, PRESENT_WRITE_LARGE
    mov ecx, IMAGE_CHUNKS
3:  mov [rdi], rax
    add rax, 0x200000
    add rdi, 8
    dec ecx
    jnz 3b
    lea rdi, [rip + early_pdpt_high]
    lea rax, [rip + early_pd_high + PRESENT_WRITE]
    mov [rdi + 510 * 8], rax
    add rax, 4096
    mov [rdi + 511 * 8], rax
    lea rax, [rip + early_pdpt_high + PRESENT_WRITE]
    mov [rbx + 511 * 8], rax
    mov cr3, rbx

    shl r13, 21                 # r13 = slide in bytes

    # Relocate: every entry is R_X86_64_RELATIVE (checked at build time).
    mov r8, VIRTUAL_BASE
    lea rsi, [rip + __relocations_start]
    lea rdi, [rip + __relocations_end]
4:  cmp rsi, rdi
    jae 5f
    mov rax, [rsi]
    sub rax, r8
    mov rcx, [rsi + 16]
    add rcx, r13
    mov [rax], rcx
    add rsi, 24
    jmp 4b
5:
    # The packed ones (SHT_RELR): an even word is a place, an odd one has a bit for each of the 63 words behind the last place
    # that is one, too. What is added to is in the place itself.
    lea rsi, [rip + __packed_relocations_start]
    lea rdi, [rip + __packed_relocations_end]
41: cmp rsi, rdi
    jae 46f
    mov rax, [rsi]
    add rsi, 8
    test al, 1
    jne 42f
    sub rax, r8
    add [rax], r13
    lea rbx, [rax + 8]          # the first of the 63
    jmp 41b
42: mov rcx, rbx
43: shr rax, 1
    je 45f
    test al, 1
    je 44f
    add [rcx], r13
44: add rcx, 8
    jmp 43b
45: add rbx, 63 * 8
    jmp 41b
46:
    add r8, r13                 # r8 = virtual minus physical of the image
    lea rax, [rip + 6f]
    add rax, r8
    jmp rax
6:  lea rsp, [rip + early_stack_top]
    xor ebp, ebp
    mov rdi, r14
    mov rsi, r15
    mov rdx, r13
    push 0
    call kernel_start
    ud2

.section .early, "aw", @nobits
.balign 4096
early_pml4:      .skip 4096
early_pdpt_low:  .skip 4096
early_pd_low:    .skip 4096
early_pdpt_high: .skip 4096
early_pd_high:   .skip 8192
early_stack:     .skip 65536
early_stack_top:
