//@ cpus: 1 2 4
// Locks with priority inheritance whose holders end while others wait.
#include "futex.h"
#include <stddef.h>

#define THREADS 4

static word lock, second;
static struct caller callers[THREADS];
static atomic_int may_end[THREADS];
static int private = FUTEX_PRIVATE_FLAG;

static void show(const char *label, word *address) {
    uint32_t value = atomic_load(address), tid = value & FUTEX_TID_MASK;
    printf("%s: ", label);
    int found = -1;
    for (int i = 0; i < THREADS; i++)
        if (tid && atomic_load(&callers[i].tid) == (int)tid)
            found = i;
    if (tid == 0)
        printf("nobody");
    else
        printf("thread %d", found);
    printf("%s%s\n", value & FUTEX_WAITERS ? ", waiters" : "", value & FUTEX_OWNER_DIED ? ", owner died" : "");
}

static void nap(void) {
    struct timespec moment = {0, 1000000};
    nanosleep(&moment, NULL);
}

// Takes the lock and ends with it, when told.
static long take_and_end(struct caller *caller) {
    long result = futex(caller->address, FUTEX_LOCK_PI | private, 0, caller->timeout, NULL, 0);
    while (!atomic_load(&may_end[caller - callers]))
        nap();
    return result;
}

// Takes the lock, shows it, lets it go when told.
static long take_and_leave(struct caller *caller) {
    long result = take_and_end(caller);
    return result ? result : futex(caller->address, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0);
}

static long take_both_and_end(struct caller *caller) {
    long result = futex(&second, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0);
    return result ? result : take_and_end(caller);
}

static void begin(int index, long (*call)(struct caller *), word *address, const struct timespec *timeout) {
    callers[index] = (struct caller){.call = call, .address = address, .timeout = timeout};
    atomic_store(&may_end[index], 0);
    start(&callers[index]);
}

static void until_owner(word *address, int index) {
    for (;;) {
        int tid = atomic_load(&callers[index].tid);
        if (tid && (int)(atomic_load(address) & FUTEX_TID_MASK) == tid)
            return;
        nap();
    }
}

static void end(int index) {
    atomic_store(&may_end[index], 1);
    finish("ended", &callers[index]);
}

int main(void) {
    for (private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        puts(private ? "private" : "shared");
        puts("nobody waits");
        atomic_store(&lock, 0);
        begin(0, take_and_end, &lock, NULL);
        until_owner(&lock, 0);
        end(0);
        show("left", &lock);
        TRY(futex(&lock, FUTEX_LOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(&lock, FUTEX_TRYLOCK_PI | private, 0, NULL, NULL, 0));
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));

        puts("three wait");
        atomic_store(&lock, 0);
        begin(0, take_and_end, &lock, NULL);
        until_owner(&lock, 0);
        for (int i = 1; i < THREADS; i++) {
            begin(i, i == 3 ? take_and_leave : take_and_end, &lock, NULL);
            until_asleep(&callers[i].tid);
        }
        for (int i = 0; i < THREADS - 1; i++) {
            end(i);
            until_owner(&lock, i + 1);
            show("next", &lock);
        }
        end(3);
        show("left", &lock);

        puts("two locks");
        atomic_store(&lock, 0);
        atomic_store(&second, 0);
        begin(0, take_both_and_end, &lock, NULL);
        until_owner(&lock, 0);
        begin(1, take_and_leave, &lock, NULL);
        begin(2, take_and_leave, &second, NULL);
        until_asleep(&callers[1].tid);
        until_asleep(&callers[2].tid);
        end(0);
        until_owner(&lock, 1);
        until_owner(&second, 2);
        show("first", &lock);
        show("second", &second);
        end(1);
        end(2);
        show("first", &lock);
        show("second", &second);

        puts("one gives up before");
        atomic_store(&lock, 0);
        begin(0, take_and_end, &lock, NULL);
        until_owner(&lock, 0);
        struct timespec soon = after_ms(CLOCK_REALTIME, 50);
        atomic_store(&may_end[1], 1);
        callers[1] = (struct caller){.call = take_and_end, .address = &lock, .timeout = &soon};
        start(&callers[1]);
        finish("gave up", &callers[1]);
        end(0);
        show("left", &lock);
    }
    return 0;
}
