// Restartable sequences for tests: the structures of linux/rseq.h, registration, and critical sections.
#ifndef SEQUENCE_H
#define SEQUENCE_H

#include "observe.h"

#define SIGNATURE 0x53053053

struct rseq_area {
    uint32_t cpu_id_start, cpu_id;
    uint64_t section;
    uint32_t flags, node_id, mm_cid, end;
} __attribute__((aligned(32)));

struct rseq_section {
    uint32_t version, flags;
    uint64_t start, length, abort;
} __attribute__((aligned(32)));

static __thread volatile struct rseq_area area;

static inline long rseq(volatile void *where, unsigned len, int flags, unsigned signature) {
    return syscall(SYS_rseq, where, len, flags, signature);
}

// A critical section around BODY, which may use %[area] and its own operands and leaves the section at its end. Afterwards
// `aborted` says whether it got there. `description` is the section's own.
#define SECTION_BEGIN \
    ".pushsection .data.sections, \"aw\"\n\t" \
    ".balign 32\n" \
    "3:\n\t" \
    ".long 0, 0\n\t" \
    ".quad 1f, 2f - 1f, 4f\n\t" \
    ".popsection\n\t" \
    "leaq 3b(%%rip), %%rax\n\t" \
    "movq %%rax, %[description]\n\t" \
    "movq %%rax, 8(%[area])\n" \
    "1:\n\t"
#define SECTION_END \
    "\n2:\n\t" \
    "xorl %%eax, %%eax\n\t" \
    "jmp 5f\n\t" \
    ".long 0x53053053\n" \
    "4:\n\t" \
    "movl $1, %%eax\n" \
    "5:\n\t"

// The section that a thread was in last.
static __thread struct rseq_section *volatile description;

// Spins in a section until it is aborted, after it has set `*inside`.
static inline int spin_in_section(volatile int *inside) {
    int aborted;
    asm volatile(SECTION_BEGIN "movl $1, (%[inside])\n6:\tpause\n\tjmp 6b" SECTION_END
                 : "=&a"(aborted), [description] "=m"(description)
                 : [area] "r"(&area), [inside] "r"(inside)
                 : "memory", "cc");
    return aborted;
}

// Executes an invalid instruction in a section.
static inline int fault_in_section(void) {
    int aborted;
    asm volatile(SECTION_BEGIN "ud2" SECTION_END
                 : "=&a"(aborted), [description] "=m"(description)
                 : [area] "r"(&area)
                 : "memory", "cc");
    return aborted;
}

// Adds one to the counter of this CPU, without any lock; 0 if that was not interrupted.
static inline int add_on_cpu(volatile long *counters) {
    int aborted;
    asm volatile(SECTION_BEGIN "movl 4(%[area]), %%ecx\n\tmovq (%[counters], %%rcx, 8), %%rdx\n\taddq $1, %%rdx\n\t"
                               "movq %%rdx, (%[counters], %%rcx, 8)" SECTION_END
                 : "=&a"(aborted), [description] "=m"(description)
                 : [area] "r"(&area), [counters] "r"(counters)
                 : "memory", "cc", "rcx", "rdx");
    return aborted;
}

#endif
