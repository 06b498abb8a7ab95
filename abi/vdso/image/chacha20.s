# Blocks of ChaCha20 (RFC 8439), with a nonce of zero and a counter of 64 bits as in D. J. Bernstein's original.
#
# The four rows of the state are four vector registers, so that a quarter round works on all columns at once. Nothing of it
# is ever in memory but the key and the output: a copy of the stack, or of a page that was swapped out, tells nothing.
# The registers are cleared before the return.
#
#   rdi  where the blocks go, 64 bytes each
#   rsi  the key, 32 bytes
#   rdx  the number of the first block; the next one on return
#   rcx  how many

.macro ROTATE row, left
    movdqa xmm8, \row
    pslld \row, \left
    psrld xmm8, 32 - \left
    por \row, xmm8
.endm

.macro QUARTER_ROUNDS
    paddd xmm0, xmm1
    pxor xmm3, xmm0
    ROTATE xmm3, 16
    paddd xmm2, xmm3
    pxor xmm1, xmm2
    ROTATE xmm1, 12
    paddd xmm0, xmm1
    pxor xmm3, xmm0
    ROTATE xmm3, 8
    paddd xmm2, xmm3
    pxor xmm1, xmm2
    ROTATE xmm1, 7
.endm

.section .rodata
.balign 16
chacha20_constants:
    .ascii "expand 32-byte k"

.section .text.chacha20_blocks, "ax", @progbits
.balign 16
.hidden chacha20_blocks
.global chacha20_blocks
.type chacha20_blocks, @function
chacha20_blocks:
    .cfi_startproc
    movdqa xmm4, [rip + chacha20_constants]
    movdqu xmm5, [rsi]
    movdqu xmm6, [rsi + 16]
    movq xmm7, qword ptr [rdx]
    mov eax, 1
    movq xmm9, rax
    test rcx, rcx
    je 3f
1:  movdqa xmm0, xmm4
    movdqa xmm1, xmm5
    movdqa xmm2, xmm6
    movdqa xmm3, xmm7
    mov eax, 10
2:  QUARTER_ROUNDS                  # columns
    pshufd xmm1, xmm1, 0x39
    pshufd xmm2, xmm2, 0x4e
    pshufd xmm3, xmm3, 0x93
    QUARTER_ROUNDS                  # diagonals, which the shuffles have made columns
    pshufd xmm1, xmm1, 0x93
    pshufd xmm2, xmm2, 0x4e
    pshufd xmm3, xmm3, 0x39
    dec eax
    jne 2b
    paddd xmm0, xmm4
    paddd xmm1, xmm5
    paddd xmm2, xmm6
    paddd xmm3, xmm7
    movdqu [rdi], xmm0
    movdqu [rdi + 16], xmm1
    movdqu [rdi + 32], xmm2
    movdqu [rdi + 48], xmm3
    paddq xmm7, xmm9
    add rdi, 64
    dec rcx
    jne 1b
    movq qword ptr [rdx], xmm7
3:  pxor xmm0, xmm0
    pxor xmm1, xmm1
    pxor xmm2, xmm2
    pxor xmm3, xmm3
    pxor xmm5, xmm5
    pxor xmm6, xmm6
    pxor xmm7, xmm7
    pxor xmm8, xmm8
    ret
    .cfi_endproc
.size chacha20_blocks, . - chacha20_blocks
.text
