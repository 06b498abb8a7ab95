// Tasks on shared address space: what one thread maps, unmaps and protects, others see at once.
#include "soak.h"
#include <setjmp.h>
#include <sys/mman.h>

#define PAGE 4096

static _Thread_local sigjmp_buf back;
static _Thread_local volatile int expects_fault;

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)context;
    if (!expects_fault)
        fail(__FILE__, number, "no fault", (long)info->si_addr);
    siglongjmp(back, 1);
}

void prepare_memory(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
}

// Whether a write faults.
static int write_faults(volatile char *address) {
    if (sigsetjmp(back, 1) != 0) {
        expects_fault = 0;
        return 1;
    }
    expects_fault = 1;
    *address = 1;
    expects_fault = 0;
    return 0;
}

static int read_faults(volatile char *address) {
    if (sigsetjmp(back, 1) != 0) {
        expects_fault = 0;
        return 1;
    }
    expects_fault = 1;
    (void)*address;
    expects_fault = 0;
    return 0;
}

// One thread changes a page, step by step; the others look after each step.
struct stage {
    volatile char *page;
    atomic_int step, seen;
    int watchers, steps;
    // What is right after the step: 0 unmapped, 1 read-only, 2 writable; and the first word.
    atomic_int rights;
    atomic_long word;
};

static void watch(void *argument, int number) {
    struct stage *stage = argument;
    (void)number;
    for (int step = 1; step <= stage->steps; step++) {
        at("waits for a step of the page");
        while (stage->step < step)
            if (pick(4) == 0)
                sched_yield();
        int rights = stage->rights;
        at("looks at the page");
        ENSURE_IS(read_faults(stage->page), rights == 0);
        if (rights > 0)
            ENSURE_IS(*(volatile long *)stage->page, stage->word);
        ENSURE_IS(write_faults(stage->page + 64 + 8 * number), rights < 2);
        stage->seen++;
    }
}

static void use_stage(void) {
    struct helper helpers[4];
    struct stage stage = {.watchers = 1 + (int)pick(4), .steps = 1 + (int)pick(40)};
    stage.page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ENSURE(stage.page != MAP_FAILED);
    stage.rights = 2;
    for (int i = 0; i < stage.watchers; i++)
        start_helper(&helpers[i], watch, &stage, i);
    for (int step = 1; step <= stage.steps; step++) {
        void *page = (void *)stage.page;
        at("changes the page");
        switch (pick(5)) {
        case 0:
            ENSURE_IS(mprotect(page, PAGE, PROT_NONE), 0);
            stage.rights = 0;
            break;
        case 1:
            ENSURE_IS(mprotect(page, PAGE, PROT_READ), 0);
            stage.rights = 1;
            break;
        case 2:
            // A new page in the place of the old one.
            ENSURE(mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page);
            stage.rights = 2;
            stage.word = pick(2) ? step : 0;
            if (stage.word != 0)
                *(volatile long *)stage.page = stage.word;
            break;
        case 3:
            ENSURE_IS(mprotect(page, PAGE, PROT_READ | PROT_WRITE), 0);
            stage.rights = 2;
            stage.word = step;
            *(volatile long *)stage.page = step;
            break;
        default:
            // The content goes, the rights stay.
            ENSURE_IS(madvise(page, PAGE, MADV_DONTNEED), 0);
            stage.word = 0;
        }
        stage.step = step;
        at("waits for those who look");
        while (stage.seen < step * stage.watchers)
            if (pick(4) == 0)
                sched_yield();
    }
    for (int i = 0; i < stage.watchers; i++)
        join_helper(&helpers[i]);
    munmap((void *)stage.page, PAGE);
}

// Blocks of memory made by one thread, checked and unmapped by another.
struct blocks {
    _Atomic(unsigned char *) slot[4];
    size_t size[4];
    int count;
};

static void unmap_blocks(void *argument, int number) {
    struct blocks *blocks = argument;
    (void)number;
    for (int i = 0; i < blocks->count; i++) {
        unsigned char *block;
        at("waits for a block");
        while ((block = atomic_load(&blocks->slot[i % 4])) == NULL)
            sched_yield();
        size_t size = blocks->size[i % 4];
        for (size_t offset = 0; offset < size; offset += PAGE)
            ENSURE_IS(block[offset], (unsigned char)(i + (int)(offset / PAGE)));
        ENSURE_IS(munmap(block, size), 0);
        atomic_store(&blocks->slot[i % 4], NULL);
    }
}

static void use_blocks(void) {
    struct helper helper;
    struct blocks blocks = {.count = 1 + (int)pick(60)};
    start_helper(&helper, unmap_blocks, &blocks, 0);
    for (int i = 0; i < blocks.count; i++) {
        at("waits for a slot");
        while (atomic_load(&blocks.slot[i % 4]) != NULL)
            sched_yield();
        size_t size = (size_t)(1 + pick(60)) * PAGE;
        unsigned char *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ENSURE(block != MAP_FAILED);
        if (pick(4) == 0) {
            block = mremap(block, size, size + 4 * PAGE, MREMAP_MAYMOVE);
            ENSURE(block != MAP_FAILED);
            size += 4 * PAGE;
        }
        for (size_t offset = 0; offset < size; offset += PAGE)
            block[offset] = (unsigned char)(i + (int)(offset / PAGE));
        blocks.size[i % 4] = size;
        atomic_store(&blocks.slot[i % 4], block);
    }
    join_helper(&helper);
}

// Several threads touch the same fresh pages at the same time: no write is lost.
struct crowd {
    volatile unsigned char *pages;
    atomic_int go;
    int count;
};

static void touch(void *argument, int number) {
    struct crowd *crowd = argument;
    at("waits to touch");
    while (!crowd->go)
        ;
    for (int page = 0; page < crowd->count; page++)
        crowd->pages[page * PAGE + 8 * number] = (unsigned char)(page + number + 1);
}

static void use_crowd(void) {
    struct helper helpers[4];
    struct crowd crowd = {.count = 1 + (int)pick(64)};
    int threads = 1 + (int)pick(4);
    crowd.pages = mmap(NULL, (size_t)crowd.count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ENSURE(crowd.pages != MAP_FAILED);
    // Some pages were read first.
    for (int page = 0; page < crowd.count; page += 2)
        ENSURE_IS(crowd.pages[page * PAGE], 0);
    for (int i = 0; i < threads; i++)
        start_helper(&helpers[i], touch, &crowd, i);
    crowd.go = 1;
    for (int i = 0; i < threads; i++)
        join_helper(&helpers[i]);
    for (int page = 0; page < crowd.count; page++)
        for (int i = 0; i < threads; i++)
            ENSURE_IS(crowd.pages[page * PAGE + 8 * i], (unsigned char)(page + i + 1));
    munmap((void *)crowd.pages, (size_t)crowd.count * PAGE);
}

const struct task memory_tasks[] = {{"page", use_stage}, {"blocks", use_blocks}, {"crowd", use_crowd}, {NULL, NULL}};
