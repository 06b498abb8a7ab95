//@ cpus: 1 2 4
// Real-time threads go first, and lend their priority to those who hold what they wait for.
#include "futex.h"
#include <sys/resource.h>

#define THREADS 5

static word value, lock, second_lock;
static struct caller callers[THREADS];
static int priorities[THREADS] = {0, 3, 0, 7, 3};
static atomic_int order, places[THREADS], may_unlock;

static void be_urgent(int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    if (priority)
        MUST(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &parameters));
}

// The priority that counts, as the kernel shows it: 20 for ordinary threads, -1 - p for real-time ones.
static int priority_of(int tid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    int fd = (int)MUST(open(path, O_RDONLY));
    ssize_t len = MUST(read(fd, text, sizeof text - 1));
    close(fd);
    text[len] = 0;
    char *at = strrchr(text, ')') + 2;
    for (int field = 3; field < 18; field++)
        at = strchr(at, ' ') + 1;
    return atoi(at);
}

static long wait_plainly(struct caller *caller) {
    be_urgent(priorities[caller - callers]);
    long result = futex(&value, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    return result;
}

static long take_lock(struct caller *caller) {
    int index = (int)(caller - callers);
    be_urgent(priorities[index]);
    long result = futex(&lock, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    if (result != 0)
        return result;
    places[index] = atomic_fetch_add(&order, 1);
    return futex(&lock, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
}

static void nap(void) {
    struct timespec moment = {0, 1000000};
    nanosleep(&moment, NULL);
}

// Takes both locks, waits to be told, lets them go.
static long hold_both(struct caller *caller) {
    (void)caller;
    long result = futex(&second_lock, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    while (!atomic_load(&may_unlock))
        nap();
    if (result == 0)
        result = futex(&second_lock, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    return result;
}

// Holds the first lock and waits for the second.
static long hold_and_wait(struct caller *caller) {
    (void)caller;
    long result = futex(&lock, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    if (result == 0)
        result = futex(&second_lock, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    if (result == 0)
        result = futex(&second_lock, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    if (result == 0)
        result = futex(&lock, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0);
    return result;
}

static void set_priority(int tid, int policy, int priority) {
    struct sched_param parameters = {.sched_priority = priority};
    MUST(syscall(SYS_sched_setscheduler, tid, policy, &parameters));
}

int main(void) {
    MUST(setpriority(PRIO_PROCESS, 0, 0));
    puts("waking");
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.call = wait_plainly};
        start(&callers[i]);
        until_waiters(&value, FUTEX_PRIVATE_FLAG, i + 1);
    }
    int expected[THREADS] = {3, 1, 4, 0, 2};
    for (int i = 0; i < THREADS; i++) {
        TRY(futex(&value, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0));
        printf("thread %d: ", expected[i]);
        finish("woken", &callers[expected[i]]);
    }

    puts("locks");
    int me = own_tid();
    atomic_store(&lock, (uint32_t)me);
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.call = take_lock};
        start(&callers[i]);
        until_asleep(&callers[i].tid);
        printf("priority of the holder: %d\n", priority_of(me));
    }
    TRY(futex(&lock, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0));
    printf("priority afterwards: %d\n", priority_of(me));
    for (int i = 0; i < THREADS; i++)
        finish("taken", &callers[i]);
    for (int i = 0; i < THREADS; i++)
        printf("thread %d came %d\n", i, places[i]);

    puts("a chain");
    callers[0] = (struct caller){.call = hold_both};
    start(&callers[0]);
    while (!(atomic_load(&second_lock) & FUTEX_TID_MASK))
        nap();
    callers[1] = (struct caller){.call = hold_and_wait};
    start(&callers[1]);
    while (!(atomic_load(&second_lock) & FUTEX_WAITERS))
        nap();
    until_asleep(&callers[1].tid);
    printf("at first: %d, %d\n", priority_of(callers[0].tid), priority_of(callers[1].tid));
    priorities[2] = 9;
    callers[2] = (struct caller){.call = take_lock};
    start(&callers[2]);
    until_asleep(&callers[2].tid);
    printf("with an urgent one: %d, %d\n", priority_of(callers[0].tid), priority_of(callers[1].tid));
    set_priority(callers[2].tid, SCHED_RR, 12);
    printf("with a more urgent one: %d, %d\n", priority_of(callers[0].tid), priority_of(callers[1].tid));
    set_priority(callers[2].tid, SCHED_OTHER, 0);
    printf("with an ordinary one: %d, %d\n", priority_of(callers[0].tid), priority_of(callers[1].tid));
    set_priority(callers[1].tid, SCHED_FIFO, 5);
    printf("in the middle: %d, %d\n", priority_of(callers[0].tid), priority_of(callers[1].tid));
    int policy = (int)TRY(syscall(SYS_sched_getscheduler, callers[0].tid));
    printf("its own policy: %d\n", policy);
    atomic_store(&may_unlock, 1);
    for (int i = 0; i < 3; i++)
        finish("taken", &callers[i]);
    printf("left: %x %x\n", atomic_load(&lock), atomic_load(&second_lock));
    return 0;
}
