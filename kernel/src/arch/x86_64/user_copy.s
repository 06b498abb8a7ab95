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
