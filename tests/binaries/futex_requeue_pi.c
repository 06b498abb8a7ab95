//@ cpus: 1 2 4
// Conditions whose waiters get a lock with priority inheritance.
#include "futex.h"

static word condition, lock, other;
static int private = FUTEX_PRIVATE_FLAG, main_tid;
static struct caller callers[4];
static atomic_int may_unlock[4], handled;

static void show(const char *label, word *address) {
    uint32_t value = atomic_load(address), tid = value & FUTEX_TID_MASK;
    printf("%s: ", label);
    int found = -1;
    for (unsigned i = 0; i < ARRAY_LEN(callers); i++)
        if (tid && atomic_load(&callers[i].tid) == (int)tid)
            found = (int)i;
    if (tid == 0)
        printf("nobody");
    else if ((int)tid == main_tid)
        printf("main");
    else
        printf("thread %d", found);
    printf("%s%s\n", value & FUTEX_WAITERS ? ", waiters" : "", value & FUTEX_OWNER_DIED ? ", owner died" : "");
}

static long wait_and_hold(struct caller *caller) {
    long result = futex(&condition, FUTEX_WAIT_REQUEUE_PI | private | caller->operation, 0, caller->timeout, caller->second, 0);
    if (result != 0)
        return result;
    int index = (int)(caller - callers);
    while (!atomic_load(&may_unlock[index])) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    return futex(caller->second, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0);
}

static void begin(int index, int flags, const struct timespec *timeout) {
    callers[index] = (struct caller){.call = wait_and_hold, .second = &lock, .operation = flags, .timeout = timeout};
    atomic_store(&may_unlock[index], 0);
    start(&callers[index]);
    until_asleep(&callers[index].tid);
}

static void until_owner(word *address, int index) {
    while ((int)(atomic_load(address) & FUTEX_TID_MASK) != atomic_load(&callers[index].tid)) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
}

static void end(int index) {
    atomic_store(&may_unlock[index], 1);
    char label[32];
    snprintf(label, sizeof label, "thread %d", index);
    finish(label, &callers[index]);
}

static long requeue(int wake, long count, word *target, uint32_t expected) {
    return futex(&condition, FUTEX_CMP_REQUEUE_PI | private, (uint32_t)wake, COUNT(count), target, expected);
}

static void handler(int signal) {
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

int main(void) {
    main_tid = own_tid();
    struct timespec past = {0, 0}, wrong = {0, -1};
    for (private = 0; private <= FUTEX_PRIVATE_FLAG; private += FUTEX_PRIVATE_FLAG) {
        puts(private ? "private" : "shared");
        puts("refused");
        TRY(futex(&condition, FUTEX_WAIT_REQUEUE_PI | private, 1, NULL, &lock, 0));
        TRY(futex(&condition, FUTEX_WAIT_REQUEUE_PI | private, 0, NULL, &condition, 0));
        TRY(futex(&condition, FUTEX_WAIT_REQUEUE_PI | private, 0, &past, &lock, 0));
        TRY(futex(&condition, FUTEX_WAIT_REQUEUE_PI | private | FUTEX_CLOCK_REALTIME, 0, &past, &lock, 0));
        TRY(futex(&condition, FUTEX_WAIT_REQUEUE_PI | private, 0, &wrong, &lock, 0));
        TRY(futex(&condition, FUTEX_WAIT_REQUEUE_PI | private, 0, &past, (word *)16, 0));
        TRY(futex(&condition, FUTEX_WAIT_REQUEUE_PI | private, 0, &past, (word *)((char *)&lock + 1), 0));
        TRY(requeue(1, 1, &condition, 0));
        TRY(requeue(0, 1, &lock, 0));
        TRY(requeue(2, 1, &lock, 0));
        TRY(requeue(-1, 1, &lock, 0));
        TRY(requeue(1, -1, &lock, 0));
        TRY(requeue(1, 1, &lock, 5));
        TRY(requeue(1, 1, &lock, 0));
        show("lock", &lock);
        struct timespec soon = after_ms(CLOCK_MONOTONIC, 20);
        TRY(futex(&condition, FUTEX_WAIT_REQUEUE_PI | private, 0, &soon, &lock, 0));

        puts("a free lock");
        begin(0, 0, NULL);
        TRY(futex(&condition, FUTEX_WAKE | private, 1, NULL, NULL, 0));
        TRY(futex(&condition, FUTEX_REQUEUE | private, 1, COUNT(1), &other, 0));
        TRY(requeue(1, 1, &other, 0));
        TRY(requeue(1, 0, &lock, 0));
        until_owner(&lock, 0);
        show("lock", &lock);
        end(0);
        show("lock", &lock);

        puts("many and a free lock");
        for (int i = 0; i < 4; i++)
            begin(i, i % 2 ? FUTEX_CLOCK_REALTIME : 0, NULL);
        TRY(requeue(1, 1, &lock, 0));
        until_owner(&lock, 0);
        show("lock", &lock);
        end(0);
        until_owner(&lock, 1);
        show("lock", &lock);
        TRY(requeue(1, INT_MAX, &lock, 0));
        TRY(requeue(1, INT_MAX, &lock, 0));
        for (int i = 1; i < 4; i++) {
            until_owner(&lock, i);
            show("lock", &lock);
            end(i);
        }
        show("lock", &lock);

        puts("a lock that is held");
        atomic_store(&lock, (uint32_t)main_tid);
        for (int i = 0; i < 3; i++)
            begin(i, 0, NULL);
        TRY(requeue(1, 0, &lock, 0));
        show("lock", &lock);
        TRY(requeue(1, INT_MAX, &lock, 0));
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
        for (int i = 0; i < 3; i++) {
            until_owner(&lock, i);
            show("lock", &lock);
            end(i);
        }

        puts("times");
        atomic_store(&lock, (uint32_t)main_tid);
        soon = after_ms(CLOCK_MONOTONIC, 300);
        begin(0, 0, &soon);
        TRY(requeue(1, 0, &lock, 0));
        end(0);
        show("lock", &lock);
        soon = after_ms(CLOCK_MONOTONIC, 100);
        begin(0, 0, &soon);
        end(0);
        TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));

        puts("signals");
        for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
            struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
            MUST(sigaction(SIGUSR1, &action, NULL));
            atomic_store(&handled, 0);
            begin(0, 0, NULL);
            MUST(syscall(SYS_tgkill, getpid(), atomic_load(&callers[0].tid), SIGUSR1));
            while (!atomic_load(&handled))
                sched_yield();
            until_asleep(&callers[0].tid);
            atomic_store(&lock, (uint32_t)main_tid);
            TRY(requeue(1, 0, &lock, 0));
            atomic_store(&handled, 0);
            MUST(syscall(SYS_tgkill, getpid(), atomic_load(&callers[0].tid), SIGUSR1));
            end(0);
            TRY(futex(&lock, FUTEX_UNLOCK_PI | private, 0, NULL, NULL, 0));
            show("lock", &lock);
        }

        puts("no such owner");
        begin(0, 0, NULL);
        atomic_store(&lock, 0x3ffffffe);
        TRY(requeue(1, 0, &lock, 0));
        atomic_store(&lock, (uint32_t)atomic_load(&callers[0].tid));
        TRY(requeue(1, 0, &lock, 0));
        atomic_store(&lock, 0);
        TRY(requeue(1, 0, &lock, 0));
        end(0);
        show("lock", &lock);
    }
    return 0;
}
