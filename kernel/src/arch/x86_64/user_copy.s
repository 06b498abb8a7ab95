# Copies between the kernel and program memory that survive a page fault.
#
# user_copy(rdi = destination, rsi = source, rdx = bytes) -> rax = bytes NOT copied
#
# A fault at an instruction listed in .user_copy_fixups is first given to the address space (not for the _nofault twins) and,
# when that cannot help, continues at the fixup, which computes what was left. Words move by `rep movsq`: as fast as
# anything where microcode is good and ten times faster than `rep movsb` under emulation.

.macro FIXUP at, to
    .pushsection .user_copy_fixups, "a"
    .balign 4
    .long \at - .
    .long \to - .
    .popsection
.endm

.macro COPY name
.global \name
\name:
    mov rcx, rdx
    shr rcx, 3
    jz 2f
1:  rep movsq
2:  mov ecx, edx
    and ecx, 7
    jz 4f
3:  rep movsb
4:  xor eax, eax
    ret
5:  and edx, 7                      # a word that cannot be copied whole: go on by bytes, up to the very one
    lea rcx, [rdx + rcx * 8]
6:  rep movsb
7:  mov rax, rcx
    ret
    FIXUP 1b, 5b
    FIXUP 3b, 7b
    FIXUP 6b, 7b
.endm

.section .text.user_copy, "ax"
    COPY user_copy

# user_copy_string(rdi = destination, rsi = source, rdx = bytes, whole words) -> rax = length, rdx for no NUL, or -1 on a fault
#
# A word w has a zero byte if (w - 0x01..01) & ~w & 0x80..80 is not zero; the lowest bit set is in the first such byte.
.global user_copy_string
user_copy_string:
    movabs r8, 0x0101010101010101
    movabs r9, 0x8080808080808080
    xor eax, eax
1:  mov rcx, [rsi + rax]
    mov [rdi + rax], rcx
    mov r10, rcx
    sub rcx, r8
    not r10
    and rcx, r10
    and rcx, r9
    jnz 3f
    add rax, 8
    cmp rax, rdx
    jb 1b
    ret
3:  bsf rcx, rcx
    shr ecx, 3
    add rax, rcx
    ret
4:  lea rcx, [rax + 8]              # a word that cannot be read whole: by bytes, up to the very one
5:  mov r10b, [rsi + rax]
    mov [rdi + rax], r10b
    test r10b, r10b
    jz 6f
    inc rax
    cmp rax, rcx
    jb 5b
    cmp rax, rdx
    jb 1b
6:  ret
7:  mov rax, -1
    ret
    FIXUP 1b, 4b
    FIXUP 5b, 7b

# user_read_u64(rdi = address) -> rax = value, rdx = 1 on a fault, else 0; user_read_u32 likewise
.macro READ name, register
.global \name
\name:
1:  mov \register, [rdi]
    xor edx, edx
    ret
2:  xor eax, eax
    mov edx, 1
    ret
    FIXUP 1b, 2b
.endm
    READ user_read_u64, rax
    READ user_read_u32, eax

# user_write_u64(rdi = address, rsi = value) -> rax = 1 on a fault, else 0; user_write_u32 likewise
.macro WRITE name, register
.global \name
\name:
1:  mov [rdi], \register
    xor eax, eax
    ret
2:  mov eax, 1
    ret
    FIXUP 1b, 2b
.endm
    WRITE user_write_u64, rsi
    WRITE user_write_u32, esi

# What follows does not page in: its callers may hold a lock.
.global user_copy_nofault_start
user_copy_nofault_start:

# user_load_u32(rdi = address) -> rax = value, or -1 << 32 on a fault
.global user_load_u32
user_load_u32:
1:  mov eax, [rdi]
    ret
2:  movabs rax, 0xffffffff00000000
    ret
    FIXUP 1b, 2b

# user_compare_exchange_u32(rdi = address, esi = old, edx = new) -> rax = previous value, or -1 << 32 on a fault
.global user_compare_exchange_u32
user_compare_exchange_u32:
    mov eax, esi
1:  lock cmpxchg [rdi], edx
    mov eax, eax
    ret
2:  movabs rax, 0xffffffff00000000
    ret
    FIXUP 1b, 2b

    COPY user_copy_nofault
.global user_copy_nofault_end
user_copy_nofault_end:
