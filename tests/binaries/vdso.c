//@ static-pie
//@ cpus: 1 2
// The vDSO: its functions are there, and they answer what the system calls answer.
#include "observe.h"
#include "vdso.h"
#include <sched.h>
#include <sys/time.h>
#include <time.h>

static int (*get_time)(int, struct timespec *), (*get_resolution)(int, struct timespec *);
static int (*get_time_of_day)(struct timeval *, struct timezone *);
static int (*get_cpu)(unsigned *, unsigned *, void *);
static time_t (*get_seconds)(time_t *);

static const char *const names[] = {"__vdso_clock_gettime", "__vdso_clock_getres", "__vdso_gettimeofday",
                                    "__vdso_time", "__vdso_getcpu", "__vdso_getrandom"};

static long long ns(const struct timespec *time) { return time->tv_sec * 1000000000LL + time->tv_nsec; }

// Both ways tell of one clock: what one says lies between what the other says before and after.
static void compare_clock(int clock) {
    struct timespec before, between, after;
    for (int i = 0; i < 1000; i++) {
        int told = syscall(SYS_clock_gettime, clock, &before);
        int asked = get_time(clock, &between);
        if (told < 0 || asked < 0) {
            printf("clock %d: %s %d\n", clock, told < 0 ? strerror(errno) : "fine", asked);
            return;
        }
        syscall(SYS_clock_gettime, clock, &after);
        EXPECT(between.tv_nsec >= 0 && between.tv_nsec < 1000000000);
        EXPECT(ns(&before) <= ns(&between) && ns(&between) <= ns(&after));
        get_time(clock, &before);
        syscall(SYS_clock_gettime, clock, &between);
        get_time(clock, &after);
        EXPECT(ns(&before) <= ns(&between) && ns(&between) <= ns(&after));
    }
    printf("clock %d agrees\n", clock);
}

static void compare_resolution(int clock) {
    struct timespec told = {-1, -1}, asked = {-1, -1};
    int one = syscall(SYS_clock_getres, clock, &told) < 0 ? -errno : 0;
    int other = get_resolution(clock, &asked);
    EXPECT(one == other);
    EXPECT(told.tv_sec == asked.tv_sec && told.tv_nsec == asked.tv_nsec);
    EXPECT(get_resolution(clock, NULL) == other);
}

static void areas(void) {
    char line[512];
    unsigned long start, end, base = getauxval(AT_SYSINFO_EHDR);
    char rights[5];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps)) {
        sscanf(line, "%lx-%lx %4s", &start, &end, rights);
        if (strstr(line, " [vdso]\n")) {
            printf("[vdso] %s\n", rights);
            EXPECT(start == base);
        } else if (strstr(line, " [vvar]\n")) {
            printf("[vvar] %s\n", rights);
            errno = 0;
            EXPECT(mprotect((void *)start, 4096, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
        }
    }
    fclose(maps);
}

int main(void) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        printf("%s: %s\n", names[i], vdso_function(names[i]) ? "there" : "not there");
    EXPECT(!vdso_function("__vdso_absent"));
    get_time = vdso_function(names[0]);
    get_resolution = vdso_function(names[1]);
    get_time_of_day = vdso_function(names[2]);
    get_seconds = vdso_function(names[3]);
    get_cpu = vdso_function(names[4]);
    areas();
    for (int clock = 0; clock < 16; clock++) {
        // Alarm clocks need hardware.
        if (clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM)
            continue;
        compare_clock(clock);
        compare_resolution(clock);
    }
    compare_clock(-1);
    compare_clock(33);
    compare_resolution(64);

    struct timeval moment;
    struct timezone zone = {-1, -1}, zone_told = {-2, -2};
    struct timespec before, after;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &before);
    EXPECT(get_time_of_day(&moment, &zone) == 0);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &after);
    long long us = moment.tv_sec * 1000000LL + moment.tv_usec;
    EXPECT(ns(&before) / 1000 <= us && us <= ns(&after) / 1000);
    EXPECT(syscall(SYS_gettimeofday, NULL, &zone_told) == 0);
    EXPECT(zone.tz_minuteswest == zone_told.tz_minuteswest && zone.tz_dsttime == zone_told.tz_dsttime);
    EXPECT(get_time_of_day(NULL, NULL) == 0 && get_time_of_day(NULL, &zone) == 0 && get_time_of_day(&moment, NULL) == 0);

    // Linux's seconds lag by a tick.
    time_t stored = 0, seconds = get_seconds(&stored);
    EXPECT(seconds == stored && seconds - moment.tv_sec <= 1 && moment.tv_sec - seconds <= 1);
    EXPECT(get_seconds(NULL) >= seconds);

    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    for (int i = 0; i < cpus; i++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(i, &one);
        if (sched_setaffinity(0, sizeof one, &one) < 0)
            continue;
        unsigned cpu = -1, node = -1;
        EXPECT(get_cpu(&cpu, &node, NULL) == 0);
        EXPECT(cpu == (unsigned)i && node == 0);
        EXPECT(sched_getcpu() == i);
    }
    EXPECT(get_cpu(NULL, NULL, NULL) == 0);
    return 0;
}
