//@ cpus: 1 2 4
// Robust lists: what others find of the locks of a thread that has ended.
#include "futex.h"
#include <stddef.h>

#define LOCKS 4

struct lock {
    struct robust_list link;
    word value;
};

static struct lock locks[LOCKS], long_list[3000];
static struct robust_list_head head;
static _Atomic int ended_tid;

static void show(const char *label, uint32_t value) {
    uint32_t tid = value & FUTEX_TID_MASK;
    printf("%s: %s%s%s\n", label, tid == 0 ? "nobody" : (int)tid == atomic_load(&ended_tid) ? "the thread" : "another",
           value & FUTEX_WAITERS ? ", waiters" : "", value & FUTEX_OWNER_DIED ? ", owner died" : "");
}

enum { USUAL, NO_LIST, LENGTH, PENDING, PENDING_FREE, PENDING_ON_LIST, FOREIGN, BROKEN, ODD, CIRCLE, LONG, INHERITING, OFFSET };

static void hold(struct lock *lock, uint32_t bits, struct robust_list *next, int is_pi) {
    atomic_store(&lock->value, (uint32_t)own_tid() | bits);
    lock->link.next = (struct robust_list *)((uintptr_t)next | (uintptr_t)is_pi);
}

static void *end(void *argument) {
    int how = (int)(long)argument;
    atomic_store(&ended_tid, own_tid());
    head = (struct robust_list_head){.list.next = &head.list, .futex_offset = offsetof(struct lock, value)};
    // Each on the list of the next.
    struct robust_list *last = &head.list;
    for (int i = LOCKS - 1; i >= 0; i--) {
        hold(&locks[i], i % 2 ? FUTEX_WAITERS : 0, last, 0);
        last = &locks[i].link;
    }
    head.list.next = last;
    switch (how) {
    case PENDING:
        head.list.next = &locks[1].link;
        head.list_op_pending = &locks[0].link;
        break;
    case PENDING_FREE:
        head.list.next = &locks[1].link;
        head.list_op_pending = &locks[0].link;
        atomic_store(&locks[0].value, 0);
        break;
    case PENDING_ON_LIST:
        head.list_op_pending = &locks[1].link;
        break;
    case FOREIGN:
        atomic_store(&locks[1].value, 1);
        atomic_store(&locks[2].value, (uint32_t)own_tid() | FUTEX_OWNER_DIED);
        break;
    case BROKEN:
        locks[1].link.next = (struct robust_list *)16;
        head.list_op_pending = &locks[3].link;
        break;
    case ODD:
        locks[1].link.next = (struct robust_list *)((char *)&locks[2].link + 2);
        break;
    case CIRCLE:
        locks[2].link.next = &locks[1].link;
        break;
    case LONG:
        last = &head.list;
        for (int i = ARRAY_LEN(long_list) - 1; i >= 0; i--) {
            hold(&long_list[i], 0, last, 0);
            last = &long_list[i].link;
        }
        head.list.next = last;
        break;
    case INHERITING:
        locks[0].link.next = (struct robust_list *)((uintptr_t)&locks[1].link | 1);
        head.list_op_pending = (struct robust_list *)((uintptr_t)&locks[2].link | 1);
        break;
    case OFFSET:
        head.futex_offset = (long)(offsetof(struct lock, value) + sizeof(struct lock));
        break;
    }
    if (how != NO_LIST)
        TRY(syscall(SYS_set_robust_list, &head, how == LENGTH ? sizeof head + 1 : sizeof head));
    if (how == LENGTH)
        TRY(syscall(SYS_set_robust_list, &head, sizeof head - 1));
    return NULL;
}

static void scene(const char *label, int how, int ends_by_call) {
    puts(label);
    struct caller waiter = {.address = &locks[1].value, .operation = FUTEX_WAIT};
    pthread_t thread;
    (void)ends_by_call;
    pthread_create(&thread, NULL, end, (void *)(long)how);
    pthread_join(thread, NULL);
    (void)waiter;
    for (int i = 0; i < LOCKS; i++)
        show("lock", atomic_load(&locks[i].value));
}

// A waiter is woken by the end of the holder, whose word has the bit of waiters.
static word gate;
static long wait_for_value(struct caller *caller) {
    return futex(caller->address, FUTEX_WAIT, caller->value, NULL, NULL, 0);
}

static void *hold_and_end(void *argument) {
    struct lock *lock = argument;
    atomic_store(&ended_tid, own_tid());
    head = (struct robust_list_head){.list.next = &lock->link, .futex_offset = offsetof(struct lock, value)};
    hold(lock, FUTEX_WAITERS, &head.list, 0);
    syscall(SYS_set_robust_list, &head, sizeof head);
    atomic_store(&gate, 1);
    futex(&gate, FUTEX_WAKE, 1, NULL, NULL, 0);
    futex(&gate, FUTEX_WAIT, 1, NULL, NULL, 0);
    return NULL;
}

static void woken_by_end(int waiters) {
    pthread_t thread;
    atomic_store(&gate, 0);
    pthread_create(&thread, NULL, hold_and_end, &locks[0]);
    while (!atomic_load(&gate))
        futex(&gate, FUTEX_WAIT, 0, NULL, NULL, 0);
    struct caller callers[3];
    memset(callers, 0, sizeof callers);
    for (int i = 0; i < waiters; i++) {
        callers[i] = (struct caller){.call = wait_for_value, .address = &locks[0].value, .value = atomic_load(&locks[0].value)};
        start(&callers[i]);
        until_waiters(&locks[0].value, 0, i + 1);
    }
    atomic_store(&gate, 2);
    futex(&gate, FUTEX_WAKE, 1, NULL, NULL, 0);
    pthread_join(thread, NULL);
    pthread_join(callers[0].thread, NULL);
    printf("the first was woken: %ld\n", callers[0].result);
    show("lock", atomic_load(&locks[0].value));
    printf("left: %d\n", waiters_of(&locks[0].value, 0));
    futex(&locks[0].value, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    for (int i = 1; i < waiters; i++)
        finish("later", &callers[i]);
}

int main(void) {
    struct robust_list_head *found = NULL;
    size_t length = 0;
    struct robust_list_head mine = {.list.next = &mine.list};
    MUST(syscall(SYS_set_robust_list, &mine, sizeof mine));
    TRY(syscall(SYS_get_robust_list, 0, &found, &length));
    printf("mine: %d, %zu\n", found == &mine, length);
    found = NULL;
    TRY(syscall(SYS_get_robust_list, own_tid(), &found, &length));
    printf("mine: %d\n", found == &mine);
    TRY(syscall(SYS_get_robust_list, 0x3ffffffe, &found, &length));
    TRY(syscall(SYS_get_robust_list, -1, &found, &length));
    TRY(syscall(SYS_get_robust_list, 0, NULL, &length));
    TRY(syscall(SYS_get_robust_list, 0, &found, NULL));
    TRY(syscall(SYS_set_robust_list, NULL, sizeof mine));
    TRY(syscall(SYS_get_robust_list, 0, &found, &length));
    printf("mine: %d\n", found == NULL);
    TRY(syscall(SYS_set_robust_list, (void *)16, sizeof mine));
    TRY(syscall(SYS_set_robust_list, NULL, sizeof mine));

    scene("usual", USUAL, 0);
    scene("no list", NO_LIST, 0);
    scene("wrong length", LENGTH, 0);
    scene("pending", PENDING, 0);
    scene("pending, free", PENDING_FREE, 0);
    scene("pending, on the list", PENDING_ON_LIST, 0);
    scene("not its own", FOREIGN, 0);
    scene("broken", BROKEN, 0);
    scene("not aligned", ODD, 0);
    scene("a circle", CIRCLE, 0);
    scene("inheriting", INHERITING, 0);
    scene("beside", OFFSET, 0);
    scene("long", LONG, 0);
    unsigned count = 0;
    for (unsigned i = 0; i < ARRAY_LEN(long_list); i++)
        count += !!(atomic_load(&long_list[i].value) & FUTEX_OWNER_DIED);
    printf("let go of: %u, the first %x, the last %d\n", count, atomic_load(&long_list[0].value),
           (atomic_load(&long_list[2999].value) & FUTEX_TID_MASK) != 0);

    puts("woken");
    woken_by_end(1);
    woken_by_end(3);
    return 0;
}
