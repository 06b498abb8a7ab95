//@ cpus: 2
//@ run: version
//@ run: start
//@ run: length
//@ run: wrap
//@ run: abort
//@ run: abort-inside
//@ run: signature
//@ run: signature-unmapped
//@ run: pointer
//@ run: pointer-kernel
//@ run: section-flags
//@ run: area-flags
//@ run: area-gone
//@ run: handler-of-segv
//@ status: SIGSEGV
// Critical sections that make no sense: the program is killed when the kernel looks at them.
#include "sequence.h"

static volatile int told;

static void on_signal(int number) {
    (void)number;
    told = 1;
    puts("the handler runs");
}

int main(int argc, char **argv) {
    static struct {
        uint32_t signature;
        char code[60];
    } text __attribute__((aligned(64))) = {SIGNATURE, {0}};
    static struct rseq_section section;
    const char *what = argc > 1 ? argv[1] : "";
    signal(SIGUSR1, on_signal);
    uint64_t abort = (uint64_t)&text.code[0];
    section = (struct rseq_section){0, 0, (uint64_t)main, 1, abort};
    volatile struct rseq_area *own = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(rseq(own, 32, 0, SIGNATURE));
    // It is sound as it is.
    own->section = (uint64_t)&section;
    raise(SIGUSR1);
    CHECK(told && own->section == 0);
    uint64_t pointer = (uint64_t)&section;
    if (!strcmp(what, "version"))
        section.version = 1;
    else if (!strcmp(what, "start"))
        section.start = 1ul << 63;
    else if (!strcmp(what, "length"))
        section.length = 1ul << 62;
    else if (!strcmp(what, "wrap"))
        section.length = -section.start;
    else if (!strcmp(what, "abort"))
        section.abort = -8;
    else if (!strcmp(what, "abort-inside"))
        section.start = abort - 4, section.length = 8;
    else if (!strcmp(what, "signature"))
        text.signature++;
    else if (!strcmp(what, "signature-unmapped"))
        section.abort = 4096;
    else if (!strcmp(what, "pointer"))
        pointer = 16;
    else if (!strcmp(what, "pointer-kernel"))
        pointer = -4096;
    else if (!strcmp(what, "handler-of-segv"))
        section.version = 1, signal(SIGSEGV, on_signal);
    own->section = pointer;
    if (!strcmp(what, "section-flags") || !strcmp(what, "area-flags")) {
        // Flags count only inside the section.
        section.flags = !strcmp(what, "section-flags"), own->flags = !strcmp(what, "area-flags");
        raise(SIGUSR1);
        CHECK(own->section == 0);
        section.start = 0x1000, section.length = abort - 0x1001;
        own->section = pointer;
    }
    if (!strcmp(what, "area-gone"))
        munmap((void *)own, 4096);
    raise(SIGUSR1);
    puts("still there");
    return 0;
}
