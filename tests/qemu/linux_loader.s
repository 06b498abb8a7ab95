# A boot loader of the 64-bit Linux protocol, as small as can be: QEMU starts it by PVH (-kernel) and puts the real image in
# memory beside it (-device loader,file=IMAGE). It turns the PVH start info into boot_params and jumps to the image's
# e_entry in long mode with the image identity mapped, as Firecracker and cloud-hypervisor do.
#
# Assemble with --defsym IMAGE_ENTRY=the image's e_entry. Link at 64 MiB, out of the image's way.

.intel_syntax noprefix
.set TABLES, 0x4100000          # three pages of page tables
.set BOOT_PARAMS, 0x4110000     # the zero page

.section .note.pvh, "a", @note
    .long 4, 8, 18, 0x006e6558
    .quad start

.text
.code32
.globl start
start:
    cli
    cld
    mov esi, ebx
    # Clear the tables and the zero page; map 1 GiB one to one.
    mov edi, TABLES
    mov ecx, (0x11000) / 4
    xor eax, eax
    rep stosd
    mov dword ptr [TABLES], TABLES + 0x1003
    mov dword ptr [TABLES + 0x1000], TABLES + 0x2003
    mov edi, TABLES + 0x2000
    mov eax, 0x83
1:  mov [edi], eax
    add edi, 8
    add eax, 0x200000
    cmp eax, 0x40000083
    jne 1b
    mov eax, TABLES
    mov cr3, eax
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000001
    mov cr0, eax
    lgdt [gdt_pointer]
    .byte 0xea
    .long start64
    .word 0x10

.balign 8
gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff    # 0x10: 64-bit code
    .quad 0x00cf93000000ffff    # 0x18: data
gdt_pointer:
    .word 31
    .long gdt, 0

.code64
start64:
    mov eax, 0x18
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov ebx, BOOT_PARAMS
    mov word ptr [rbx + 0x1fe], 0xaa55
    mov dword ptr [rbx + 0x202], 0x53726448     # HdrS
    mov word ptr [rbx + 0x206], 0x020f
    mov rax, [rsi + 24]                         # command line
    mov [rbx + 0x228], eax
    mov rax, [rsi + 32]                         # RSDP
    mov [rbx + 0x70], rax
    mov ecx, [rsi + 48]                         # entries of the memory map
    mov [rbx + 0x1e8], cl
    mov rdx, [rsi + 40]
    lea rdi, [rbx + 0x2d0]
1:  test ecx, ecx
    jz 2f
    mov rax, [rdx]
    mov [rdi], rax
    mov rax, [rdx + 8]
    mov [rdi + 8], rax
    mov eax, [rdx + 16]
    mov [rdi + 16], eax
    add rdx, 24
    add rdi, 20
    dec ecx
    jmp 1b
2:  mov rsi, rbx
    mov eax, IMAGE_ENTRY
    jmp rax

# What makes this file a kernel to the image builder; the payload it gets is not used.
.section .payload, "a"
    .ascii "NACRE-PAYLOAD\0\0\0"
