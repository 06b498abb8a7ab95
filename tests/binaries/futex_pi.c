//@ cpus: 1 2 4
// Locks with priority inheritance: the words they leave, who gets them, and what is refused.
#include "futex.h"

static word lock, other;
static int main_tid;
static struct caller callers[4];

// Shows a word with names in place of numbers.
static void show(const char *label, word *address) {
    uint32_t value = atomic_load(address), tid = value & FUTEX_TID_MASK;
    printf("%s: ", label);
    if (tid == 0)
        printf("nobody");
    else if ((int)tid == main_tid)
        printf("main");
    else {
        int found = -1;
        for (unsigned i = 0; i < ARRAY_LEN(callers); i++)
            if (atomic_load(&callers[i].tid) == (int)tid)
                found = (int)i;
        if (found >= 0)
            printf("thread %d", found);
        else
            printf("%x", tid);
    }
    printf("%s%s\n", value & FUTEX_WAITERS ? ", waiters" : "", value & FUTEX_OWNER_DIED ? ", owner died" : "");
}

static int private = FUTEX_PRIVATE_FLAG;
static atomic_int may_unlock[4];

// Takes the lock, keeps it until told, lets it go.
static long hold(struct caller *caller) {
    long result = futex(caller->address, caller->operation, 0, caller->timeout, NULL, 0);
    if (result != 0)
        return result;
    int index = (int)(caller - callers);
    while (!atomic_load(&may_unlock[index])) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    return futex(caller->address, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0);
}

static void begin(int index, word *address, int operation, const struct timespec *timeout) {
    callers[index] = (struct caller){.call = hold, .address = address, .operation = operation | private, .timeout = timeout};
    atomic_store(&may_unlock[index], 0);
    start(&callers[index]);
}

static void until_owner(word *address, int index) {
    for (;;) {
        int tid = atomic_load(&callers[index].tid);
        if (tid && (int)(atomic_load(address) & FUTEX_TID_MASK) == tid)
            return;
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
}

static long try_lock(struct caller *caller) { return futex(caller->address, FUTEX_TRYLOCK_PI | private, 0, NULL, NULL, 0); }

// Takes the first lock, then the second, and lets both go.
static long take_both(struct caller *caller) {
    long result = futex(caller->address, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0);
    if (result == 0)
        result = futex(caller->second, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0);
    if (result == 0)
        result = futex(caller->second, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0);
    if (result == 0)
        result = futex(caller->address, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0);
    return result;
}

// Waits until somebody waits for a lock.
static void until_asleep_in_lock(word *address) {
    while (!(atomic_load(address) & FUTEX_WAITERS))
        sched_yield();
    until_asleep(&callers[3].tid);
}

int main(void) {
    main_tid = own_tid();
    uint32_t me = (uint32_t)main_tid;
    struct timespec past = {0, 0}, wrong = {0, -1};
    word *odd = (word *)((char *)&lock + 1), *nowhere = (word *)16;
    for (private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        puts(private ? "private" : "shared");
        puts("alone");
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        show("taken", &lock);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(&lock, FUTEX_LOCK_PI2 | private, 0, &past, NULL, 0));
        TRY(futex(&lock, FUTEX_TRYLOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        show("left", &lock);
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(&lock, FUTEX_TRYLOCK_PI | private, 0, NULL, NULL, 0));
        show("taken", &lock);
        atomic_store(&lock, me | FUTEX_WAITERS | FUTEX_OWNER_DIED);
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        show("left", &lock);
        atomic_store(&lock, FUTEX_OWNER_DIED);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        show("taken over", &lock);
        atomic_store(&lock, FUTEX_OWNER_DIED | FUTEX_WAITERS);
        TRY(futex(&lock, FUTEX_TRYLOCK_PI | private, 0, NULL, NULL, 0));
        show("taken over", &lock);
        atomic_store(&lock, FUTEX_WAITERS);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        show("taken over", &lock);

        puts("refused");
        TRY(futex(odd, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(nowhere, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(nowhere, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(odd, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, &wrong, NULL, 0));
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, nowhere, NULL, 0));
        TRY(futex(&lock, FUTEX_TRYLOCK_PI | private, 0, nowhere, NULL, 0));
        atomic_store(&lock, 0x3ffffffe);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        show("no such thread", &lock);
        TRY(futex(&lock, FUTEX_TRYLOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        atomic_store(&lock, 0x3ffffffe | FUTEX_OWNER_DIED);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, &past, NULL, 0));
        show("no such thread", &lock);

        puts("handed over");
        atomic_store(&lock, me);
        for (int i = 0; i < 3; i++) {
            begin(i, &lock, i == 1 ? FUTEX_LOCK_PI2 : FUTEX_LOCK_PI, NULL);
            until_asleep(&callers[i].tid);
        }
        show("waited for", &lock);
        TRY(futex(&lock, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex(&lock, FUTEX_REQUEUE | private, 1, COUNT(1), &other, 0));
        TRY(futex(&lock, FUTEX_CMP_REQUEUE | private, 0, COUNT(1), &other, atomic_load(&lock)));
        atomic_fetch_xor(&lock, 1);
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        atomic_fetch_xor(&lock, 1);
        struct caller trier = {.call = try_lock, .address = &lock};
        start(&trier);
        finish("try", &trier);
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        until_owner(&lock, 0);
        show("first", &lock);
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        atomic_store(&may_unlock[0], 1);
        finish("first", &callers[0]);
        until_owner(&lock, 1);
        show("second", &lock);
        atomic_store(&may_unlock[1], 1);
        finish("second", &callers[1]);
        until_owner(&lock, 2);
        show("third", &lock);
        atomic_store(&may_unlock[2], 1);
        finish("third", &callers[2]);
        show("left", &lock);

        puts("times");
        begin(0, &lock, FUTEX_LOCK_PI, NULL);
        until_owner(&lock, 0);
        show("held", &lock);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, &past, NULL, 0));
        show("held", &lock);
        struct timespec soon = after_ms(CLOCK_REALTIME, 20);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, &soon, NULL, 0));
        soon = after_ms(CLOCK_MONOTONIC, 20);
        TRY(futex(&lock, FUTEX_LOCK_PI2 | private, 0, &soon, NULL, 0));
        soon = after_ms(CLOCK_REALTIME, 20);
        TRY(futex(&lock, FUTEX_LOCK_PI2 | FUTEX_CLOCK_REALTIME | private, 0, &soon, NULL, 0));
        atomic_store(&may_unlock[0], 1);
        finish("holder", &callers[0]);
        show("left", &lock);

        puts("circles");
        atomic_store(&other, me);
        callers[3] = (struct caller){.call = take_both, .address = &lock, .second = &other};
        start(&callers[3]);
        until_owner(&lock, 3);
        until_asleep_in_lock(&other);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        show("first", &lock);
        show("second", &other);
        TRY(futex(&other, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        finish("other", &callers[3]);
        show("first", &lock);
        show("second", &other);
        atomic_store(&lock, 0);

        puts("other waiters");
        struct caller plain = {.address = &lock, .operation = FUTEX_WAIT | private};
        start(&plain);
        until_waiters(&lock, private, 1);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        atomic_store(&lock, me);
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(&lock, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        finish("plain", &plain);
        atomic_store(&lock, 0);
    }
    return 0;
}
