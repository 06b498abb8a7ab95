//@ cpus: 1 2 4
// membarrier: registration, flags, errors; that its barriers order what the other side leaves unordered, and that it ends
// restartable sequences.
#include "sequence.h"
#include <pthread.h>
#include <sched.h>

enum {
    QUERY = 0,
    GLOBAL = 1,
    GLOBAL_EXPEDITED = 2,
    REGISTER_GLOBAL_EXPEDITED = 4,
    PRIVATE_EXPEDITED = 8,
    REGISTER_PRIVATE_EXPEDITED = 16,
    SYNC_CORE = 32,
    REGISTER_SYNC_CORE = 64,
    RSEQ = 128,
    REGISTER_RSEQ = 256,
    GET_REGISTRATIONS = 512,
    FLAG_CPU = 1,
};

static long membarrier(int command, unsigned flags, int cpu) {
    return syscall(SYS_membarrier, command, flags, cpu);
}

#define ROUNDS 300

// Dekker's algorithm with a barrier on one side only: not both may see the other's old value.
static volatile int here_x, here_y, saw_x, saw_y;
static pthread_barrier_t begin, end;
static int command;

static void *cheap_side(void *unused) {
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&begin);
        here_x = 1;
        asm volatile("" ::: "memory");
        saw_y = here_y;
        pthread_barrier_wait(&end);
    }
    return unused;
}

static int violations(int which) {
    pthread_t thread;
    int count = 0;
    command = which;
    pthread_barrier_init(&begin, NULL, 2);
    pthread_barrier_init(&end, NULL, 2);
    pthread_create(&thread, NULL, cheap_side, NULL);
    for (int i = 0; i < ROUNDS; i++) {
        here_x = here_y = 0;
        pthread_barrier_wait(&begin);
        here_y = 1;
        MUST(membarrier(command, 0, 0));
        saw_x = here_x;
        pthread_barrier_wait(&end);
        count += !saw_x && !saw_y;
    }
    pthread_join(thread, NULL);
    return count;
}

static volatile int inside, aborts;

static void *in_section(void *unused) {
    MUST(rseq(&area, 32, 0, SIGNATURE));
    while (aborts < 3)
        aborts += spin_in_section(&inside);
    return unused;
}

int main(void) {
    puts("-- before registration");
    long commands = membarrier(QUERY, 0, 0);
    for (int bit = 0; bit < 10; bit++)
        printf("command %d: %s\n", 1 << bit, commands >> bit & 1 ? "there" : "not there");
    TRY(membarrier(GET_REGISTRATIONS, 0, 0));
    TRY(membarrier(GLOBAL, 0, 0));
    TRY(membarrier(GLOBAL_EXPEDITED, 0, 0));
    TRY(membarrier(PRIVATE_EXPEDITED, 0, 0));
    TRY(membarrier(SYNC_CORE, 0, 0));
    TRY(membarrier(RSEQ, 0, 0));
    TRY(membarrier(RSEQ, FLAG_CPU, 0));

    puts("-- flags and nonsense");
    TRY(membarrier(QUERY, 1, 0));
    TRY(membarrier(GLOBAL, 1, 0));
    TRY(membarrier(PRIVATE_EXPEDITED, FLAG_CPU, 0));
    TRY(membarrier(REGISTER_RSEQ, FLAG_CPU, 0));
    TRY(membarrier(RSEQ, 2, 0));
    TRY(membarrier(RSEQ, 3, 0));
    TRY(membarrier(-1, 0, 0));
    TRY(membarrier(3, 0, 0));
    TRY(membarrier(1 << 20, 0, 0));
    TRY(membarrier(QUERY | 1 << 31, 0, 0));

    puts("-- registration");
    TRY(membarrier(REGISTER_SYNC_CORE, 0, 0));
    TRY(membarrier(GET_REGISTRATIONS, 0, 0));
    TRY(membarrier(PRIVATE_EXPEDITED, 0, 0));
    TRY(membarrier(SYNC_CORE, 0, 0));
    TRY(membarrier(RSEQ, 0, 0));
    TRY(membarrier(REGISTER_RSEQ, 0, 0));
    TRY(membarrier(GET_REGISTRATIONS, 0, 0));
    TRY(membarrier(RSEQ, 0, 0));
    TRY(membarrier(RSEQ, FLAG_CPU, 0));
    TRY(membarrier(RSEQ, FLAG_CPU, 100000));
    TRY(membarrier(RSEQ, FLAG_CPU, -1));
    TRY(membarrier(REGISTER_PRIVATE_EXPEDITED, 0, 0));
    TRY(membarrier(REGISTER_PRIVATE_EXPEDITED, 0, 0));
    TRY(membarrier(PRIVATE_EXPEDITED, 0, 0));
    TRY(membarrier(REGISTER_GLOBAL_EXPEDITED, 0, 0));
    TRY(membarrier(GET_REGISTRATIONS, 0, 0));
    TRY(membarrier(GLOBAL_EXPEDITED, 0, 0));

    puts("-- order");
    CHECK(violations(PRIVATE_EXPEDITED) == 0);
    CHECK(violations(SYNC_CORE) == 0);
    CHECK(violations(GLOBAL_EXPEDITED) == 0);

    puts("-- sequences");
    pthread_t thread;
    pthread_create(&thread, NULL, in_section, NULL);
    while (!inside)
        sched_yield();
    while (aborts < 3) {
        MUST(membarrier(RSEQ, 0, 0));
        sched_yield();
    }
    pthread_join(thread, NULL);
    CHECK(aborts == 3);
    return 0;
}
