//@ cpus: 1 2 4
// No clock runs backwards, whichever way it is read and on whichever processor, also while the time of day is set.
#include "observe.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/timex.h>
#include <time.h>

enum { THREADS = 4, ROUNDS = 20000, SETTINGS = 300 };

static atomic_llong latest;
static atomic_bool is_over;

static long long read_clock(int clock, int by_call) {
    struct timespec time;
    EXPECT((by_call ? syscall(SYS_clock_gettime, clock, &time) : clock_gettime(clock, &time)) == 0);
    EXPECT(time.tv_nsec >= 0 && time.tv_nsec < 1000000000);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void *hammer(void *argument) {
    static const int clocks[] = {CLOCK_MONOTONIC, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
    unsigned seed = (unsigned)(long)argument;
    long backwards = 0;
    long long boot_last = 0;
    for (int i = 0; i < ROUNDS; i++) {
        seed = seed * 1103515245 + 12345;
        int clock = clocks[seed >> 16 & 1];
        long long known = atomic_load(&latest), now = read_clock(clock, seed >> 20 & 1);
        backwards += now < known;
        while (known < now && !atomic_compare_exchange_weak(&latest, &known, now))
            ;
        long long boot = read_clock(CLOCK_BOOTTIME, seed >> 21 & 1);
        backwards += boot < boot_last;
        boot_last = boot;
        if (i % 64 == 0)
            sched_yield();
    }
    return (void *)backwards;
}

// Sets the time of day, where that is nobody else's: not on the machine that tells what is right.
static void *set_clock(void *unused) {
    (void)unused;
    int may_set = access("/proc/nacre", F_OK) == 0;
    for (int i = 0; i < SETTINGS && !is_over; i++) {
        if (may_set && i % 2 == 0) {
            struct timespec time = {1700000000 + i * 1000, i};
            EXPECT(clock_settime(CLOCK_REALTIME, &time) == 0);
            long long told = read_clock(CLOCK_REALTIME, i >> 1 & 1);
            EXPECT(told >= time.tv_sec * 1000000000LL && told < (time.tv_sec + 60) * 1000000000LL);
        } else if (may_set) {
            struct timex change = {.modes = ADJ_SETOFFSET | ADJ_NANO, .time = {-1, 5}};
            EXPECT(adjtimex(&change) >= 0);
        }
        sched_yield();
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS], setter;
    MUST(-pthread_create(&setter, NULL, set_clock, NULL));
    for (long i = 0; i < THREADS; i++)
        MUST(-pthread_create(&threads[i], NULL, hammer, (void *)(i + 1)));
    long backwards = 0;
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        backwards += (long)result;
    }
    is_over = 1;
    pthread_join(setter, NULL);
    printf("ran backwards: %ld times\n", backwards);
    return 0;
}
