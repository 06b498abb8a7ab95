# memcpy(rdi = destination, rsi = source, rdx = bytes) -> rax = destination, by general registers alone
#
# 1. Few bytes are what there mostly is: headers, requests, answers, structures. They go by the two ends, which may overlap.
# 2. Words are moved by `rep movsq`, whose start takes as long as some of the moves above, and the last one by itself, so that no bytes are left.
# 3. Where there are many, the destination is aligned first, by a word of which a part is written twice.

    .section .text.nacre_memcpy, "ax"
    .global nacre_memcpy
    .balign 64
nacre_memcpy:
    mov rax, rdi
    cmp rdx, 16
    ja 4f
    cmp edx, 8
    jae 3f
    cmp edx, 4
    jae 2f
    test edx, edx
    jz 1f
    movzx ecx, byte ptr [rsi]
    movzx r8d, byte ptr [rsi + rdx - 1]
    mov r9, rdx
    shr r9, 1
    movzx r10d, byte ptr [rsi + r9]
    mov [rdi], cl
    mov [rdi + r9], r10b
    mov [rdi + rdx - 1], r8b
1:  ret
2:  mov ecx, [rsi]
    mov r8d, [rsi + rdx - 4]
    mov [rdi], ecx
    mov [rdi + rdx - 4], r8d
    ret
3:  mov rcx, [rsi]
    mov r8, [rsi + rdx - 8]
    mov [rdi], rcx
    mov [rdi + rdx - 8], r8
    ret
4:  cmp rdx, 32
    ja 5f
    mov rcx, [rsi]
    mov r8, [rsi + 8]
    mov r9, [rsi + rdx - 16]
    mov r10, [rsi + rdx - 8]
    mov [rdi], rcx
    mov [rdi + 8], r8
    mov [rdi + rdx - 16], r9
    mov [rdi + rdx - 8], r10
    ret
5:  mov r8, [rsi + rdx - 8]
    mov [rdi + rdx - 8], r8
    cmp rdx, 256
    ja 7f
6:  lea rcx, [rdx - 1]
    shr rcx, 3
    rep movsq
    ret
7:  mov r8, [rsi]
    mov [rdi], r8
    mov ecx, edi
    neg ecx
    and ecx, 7
    add rdi, rcx
    add rsi, rcx
    sub rdx, rcx
    jmp 6b
    .text
