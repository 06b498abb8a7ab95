// What the programs about futexes share: the calls themselves, and threads that wait where one can see it.
#ifndef FUTEX_H
#define FUTEX_H

#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>

// As in <linux/futex.h>, which musl's headers do not bring.
enum {
    FUTEX_WAIT,
    FUTEX_WAKE,
    FUTEX_FD,
    FUTEX_REQUEUE,
    FUTEX_CMP_REQUEUE,
    FUTEX_WAKE_OP,
    FUTEX_LOCK_PI,
    FUTEX_UNLOCK_PI,
    FUTEX_TRYLOCK_PI,
    FUTEX_WAIT_BITSET,
    FUTEX_WAKE_BITSET,
    FUTEX_WAIT_REQUEUE_PI,
    FUTEX_CMP_REQUEUE_PI,
    FUTEX_LOCK_PI2,
    FUTEX_PRIVATE_FLAG = 128,
    FUTEX_CLOCK_REALTIME = 256,
};
#define FUTEX_WAITERS 0x80000000
#define FUTEX_OWNER_DIED 0x40000000
#define FUTEX_TID_MASK 0x3fffffff

enum { FUTEX_OP_SET, FUTEX_OP_ADD, FUTEX_OP_OR, FUTEX_OP_ANDN, FUTEX_OP_XOR, FUTEX_OP_OPARG_SHIFT = 8 };
enum { FUTEX_OP_CMP_EQ, FUTEX_OP_CMP_NE, FUTEX_OP_CMP_LT, FUTEX_OP_CMP_LE, FUTEX_OP_CMP_GT, FUTEX_OP_CMP_GE };
#define FUTEX_OP(op, oparg, cmp, cmparg)                                                                               \
    (((op) & 0xfu) << 28 | ((cmp) & 0xfu) << 24 | ((oparg) & 0xfffu) << 12 | ((cmparg) & 0xfffu))

// The flags of a word of 32 bits in the newer calls.
#define FUTEX_32 2
struct futex_waitv {
    uint64_t val, uaddr;
    uint32_t flags, reserved;
};

struct robust_list {
    struct robust_list *next;
};
struct robust_list_head {
    struct robust_list list;
    long futex_offset;
    struct robust_list *list_op_pending;
};

typedef _Atomic uint32_t word;

static inline long futex(volatile void *address, int operation, uint32_t value, const void *timeout, volatile void *second,
                         uint32_t third) {
    return syscall(SYS_futex, address, operation, value, timeout, second, third);
}

#define COUNT(count) ((const void *)(long)(count))

static inline int own_tid(void) { return (int)syscall(SYS_gettid); }

// Whether a thread of this process sleeps.
static inline int is_asleep(int tid) {
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0)
        return 0;
    text[len] = 0;
    char *end = strrchr(text, ')');
    return end && end[1] == ' ' && end[2] == 'S';
}

// Waits until a thread has told its number and sleeps. It must sleep nowhere else afterwards.
static inline void until_asleep(_Atomic int *tid) {
    for (;;) {
        int number = atomic_load(tid);
        if (number != 0 && is_asleep(number) && is_asleep(number))
            return;
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
}

// How many wait for a word: so many would be moved from it to itself.
static inline int waiters_of(word *address, int private) {
    return (int)futex(address, FUTEX_REQUEUE | private, 0, COUNT(INT_MAX), address, 0);
}

static inline void until_waiters(word *address, int private, int count) {
    while (waiters_of(address, private) < count) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
}

// A thread that makes one call and keeps the answer.
struct caller {
    pthread_t thread;
    _Atomic int tid;
    long (*call)(struct caller *);
    word *address, *second;
    uint32_t value;
    int operation;
    const struct timespec *timeout;
    uint32_t bits;
    long result;
    int error;
};

static inline void *caller_main(void *argument) {
    struct caller *caller = argument;
    atomic_store(&caller->tid, own_tid());
    errno = 0;
    caller->result = caller->call(caller);
    caller->error = errno;
    return NULL;
}

static inline long call_futex(struct caller *caller) {
    return futex(caller->address, caller->operation, caller->value, caller->timeout, caller->second, caller->bits);
}

static inline void start(struct caller *caller) {
    if (!caller->call)
        caller->call = call_futex;
    if (pthread_create(&caller->thread, NULL, caller_main, caller) != 0) {
        printf("no thread\n");
        exit(99);
    }
}

static inline void finish(const char *label, struct caller *caller) {
    pthread_join(caller->thread, NULL);
    if (caller->result == -1)
        printf("%s: %s\n", label, error_name(caller->error));
    else
        printf("%s: %ld\n", label, caller->result);
}

static inline struct timespec after_ms(clockid_t clock, long ms) {
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_nsec += ms * 1000000;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

#endif
