//@ trapped
// A system call changes rax, rcx and r11 and no other register, general or vector.
#include "observe.h"

struct state {
    uint64_t general[16];
    unsigned char vector[16][16];
};

// Loads every register from `before`, makes a system call, stores every register to `after`.
void call_with(const struct state *before, struct state *after, uint64_t *next, uint64_t *flags);
__asm__(".text\n"
        ".globl call_with\n"
        "call_with:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "push %rdi; push %rsi; push %rdx; push %rcx\n"
        "mov %rsp, saved_stack(%rip)\n"
        ".set i, 0\n"
        ".rept 16\n"
        "  .irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "    .if i == \\n\n"
        "      movdqu 128+16*\\n(%rdi), %xmm\\n\n"
        "    .endif\n"
        "  .endr\n"
        "  .set i, i+1\n"
        ".endr\n"
        "mov %rsp, %rax\n"
        "mov 0(%rdi), %rax; mov 24(%rdi), %rbx; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx\n"
        "mov 32(%rdi), %rsi; mov 48(%rdi), %rbp\n"
        "mov 64(%rdi), %r8; mov 72(%rdi), %r9; mov 80(%rdi), %r10; mov 88(%rdi), %r11\n"
        "mov 96(%rdi), %r12; mov 104(%rdi), %r13; mov 112(%rdi), %r14; mov 120(%rdi), %r15\n"
        "mov 40(%rdi), %rdi\n"
        "syscall\n"
        "after_call:\n"
        "mov %rsp, saved_after(%rip)\n"
        "mov saved_stack(%rip), %rsp\n"
        "push %rax\n"
        "mov 24(%rsp), %rax\n"
        "mov %rbx, 24(%rax); mov %rcx, 8(%rax); mov %rdx, 16(%rax); mov %rsi, 32(%rax); mov %rdi, 40(%rax)\n"
        "mov %rbp, 48(%rax); mov %r8, 64(%rax); mov %r9, 72(%rax); mov %r10, 80(%rax); mov %r11, 88(%rax)\n"
        "mov %r12, 96(%rax); mov %r13, 104(%rax); mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
        "pop %rcx; mov %rcx, 0(%rax)\n"
        "mov saved_after(%rip), %rcx; sub %rsp, %rcx; mov %rcx, 56(%rax)\n"
        ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "  movdqu %xmm\\n, 128+16*\\n(%rax)\n"
        ".endr\n"
        "pop %rcx; pop %rdx; pop %rsi; pop %rdi\n"
        "lea after_call(%rip), %rax; mov %rax, (%rdx)\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n"
        ".bss\n"
        "saved_stack: .quad 0\n"
        "saved_after: .quad 0\n"
        ".text\n");

static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsi", "rdi", "rbp", "rsp",
                                    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static void try(const char *what, int number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    struct state before, after;
    uint64_t next = 0, flags = 0;
    for (int i = 0; i < 16; i++) {
        before.general[i] = 0x0101010101010101ul * (i + 1) ^ 0x8000000000000000ul;
        memset(before.vector[i], 0xa0 + i, 16);
    }
    before.general[0] = number;
    before.general[5] = a, before.general[4] = b, before.general[2] = c;
    before.general[10] = d, before.general[8] = e, before.general[9] = f;
    before.general[7] = 0;
    call_with(&before, &after, &next, &flags);
    printf("%s:", what);
    for (int i = 1; i < 16; i++)
        if (before.general[i] != after.general[i])
            printf(" %s", names[i]);
    printf("; vectors changed: %d", memcmp(before.vector, after.vector, sizeof before.vector) != 0);
    printf("; rcx is the next instruction: %d; r11 has the flags: %d\n", after.general[1] == next,
           (after.general[11] & ~0x8d5ul) == 0x202);
}

int main(void) {
    static char buffer[4096];
    struct timespec pause = {0, 1000000};
    int p[2];
    MUST(pipe(p));
    int fd = MUST(open("/dev/zero", O_RDWR));
    try("getpid", SYS_getpid, 1, 2, 3, 4, 5, 6);
    try("no such call", 9999, 1, 2, 3, 4, 5, 6);
    try("a negative number", -1, 1, 2, 3, 4, 5, 6);
    try("write", SYS_write, p[1], (uint64_t)buffer, 100, 4, 5, 6);
    try("read", SYS_read, p[0], (uint64_t)buffer, 100, 4, 5, 6);
    try("read of many bytes", SYS_read, fd, (uint64_t)buffer, sizeof buffer, 4, 5, 6);
    try("a bad pointer", SYS_read, fd, 16, 100, 4, 5, 6);
    try("open", SYS_open, (uint64_t) "/dev/null", O_RDONLY, 0, 4, 5, 6);
    try("mmap", SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    try("sleep", SYS_nanosleep, (uint64_t)&pause, 0, 3, 4, 5, 6);
    try("poll", SYS_poll, 0, 0, 1, 4, 5, 6);
    try("yield", SYS_sched_yield, 1, 2, 3, 4, 5, 6);
    return 0;
}
