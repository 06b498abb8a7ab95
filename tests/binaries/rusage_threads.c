//@ cpus: 1 2 4
// What threads have used: getrusage of a thread and of all, context switches, the figures in /proc.
#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

static struct rusage of(int who) {
    struct rusage usage;
    MUST(getrusage(who, &usage));
    return usage;
}

// A number in a file of /proc behind a label.
static long labelled(const char *path, const char *label) {
    static char text[8192];
    FILE *file = fopen(path, "r");
    long value = -1;
    while (file && fgets(text, sizeof text, file))
        if (!strncmp(text, label, strlen(label)))
            value = strtol(text + strlen(label), NULL, 10);
    if (file)
        fclose(file);
    return value;
}

// A field of a stat file, by its number in proc(5).
static long stat_field(const char *path, int number) {
    static char text[8192];
    FILE *file = fopen(path, "r");
    if (!file || !fgets(text, sizeof text, file))
        return -1;
    fclose(file);
    char *at = strrchr(text, ')') + 1;
    for (int i = 3; i < number; i++)
        at = strchr(at + 1, ' ');
    return number == 3 ? at[1] : strtol(at, NULL, 10);
}

static const char *task_file(int tid, const char *name) {
    static char paths[4][64];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "/proc/self/task/%d/%s", tid, name);
    return path;
}

static int ready[2], go[2];
static volatile int other_tid, over;

static void wait_for(int fd) {
    char byte;
    MUST(read(fd, &byte, 1));
}

static void touch(int pages) {
    volatile char *memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise((void *)memory, pages * 4096, MADV_NOHUGEPAGE);
    // Downwards: who goes upwards may get pages ahead, and fewer faults.
    for (int i = pages - 1; i >= 0; i--)
        memory[i * 4096] = 1;
    munmap((void *)memory, pages * 4096);
}

static void *other(void *unused) {
    struct rusage before = of(RUSAGE_THREAD);
    touch(300);
    struct timespec pause = {0, 2000000};
    int sleeps = 0;
    // A sleep that is over before it has begun does not count.
    while (of(RUSAGE_THREAD).ru_nvcsw < before.ru_nvcsw + 10) {
        nanosleep(&pause, NULL);
        sleeps++;
    }
    CHECK(sleeps >= 10);
    CHECK(of(RUSAGE_THREAD).ru_minflt - before.ru_minflt >= 300);
    other_tid = (int)syscall(SYS_gettid);
    MUST(write(ready[1], "x", 1));
    wait_for(go[0]);
    return unused;
}

static void *busy(void *unused) {
    while (!over)
        ;
    return unused;
}

int main(void) {
    // Whatever the caller has.
    MUST(syscall(SYS_setpriority, 0, 0, 0));
    pthread_t thread;
    MUST(pipe(ready));
    MUST(pipe(go));
    struct rusage all = of(RUSAGE_SELF), own = of(RUSAGE_THREAD);
    pthread_create(&thread, NULL, other, NULL);
    wait_for(ready[0]);
    CHECK(of(RUSAGE_SELF).ru_minflt - all.ru_minflt >= 300);
    CHECK(of(RUSAGE_SELF).ru_nvcsw - all.ru_nvcsw >= 10);
    CHECK(of(RUSAGE_THREAD).ru_minflt - own.ru_minflt < 300);
    CHECK(of(RUSAGE_THREAD).ru_maxrss > 0);
    puts("-- /proc of the thread");
    CHECK(labelled(task_file(other_tid, "status"), "voluntary_ctxt_switches:") >= 10);
    CHECK(labelled(task_file(other_tid, "status"), "nonvoluntary_ctxt_switches:") >= 0);
    CHECK(stat_field(task_file(other_tid, "stat"), 10) >= 300);
    CHECK(stat_field(task_file(getpid(), "stat"), 10) < stat_field("/proc/self/stat", 10));
    CHECK(stat_field("/proc/self/stat", 20) == 2);
    CHECK(stat_field(task_file(other_tid, "stat"), 20) == 2);
    // It may still be on its way to sleep.
    for (int i = 0; i < 5000 && stat_field(task_file(other_tid, "stat"), 3) != 'S'; i++)
        usleep(1000);
    printf("state %c, own %c\n", (char)stat_field(task_file(other_tid, "stat"), 3),
           (char)stat_field(task_file(getpid(), "stat"), 3));
    MUST(syscall(SYS_setpriority, PRIO_PROCESS, other_tid, 7));
    printf("priority %ld, nice %ld, real-time priority %ld, policy %ld\n", stat_field(task_file(other_tid, "stat"), 18),
           stat_field(task_file(other_tid, "stat"), 19), stat_field(task_file(other_tid, "stat"), 40),
           stat_field(task_file(other_tid, "stat"), 41));
    struct sched_param parameters = {.sched_priority = 30};
    MUST(syscall(SYS_sched_setscheduler, other_tid, SCHED_RR, &parameters));
    printf("priority %ld, nice %ld, real-time priority %ld, policy %ld\n", stat_field(task_file(other_tid, "stat"), 18),
           stat_field(task_file(other_tid, "stat"), 19), stat_field(task_file(other_tid, "stat"), 40),
           stat_field(task_file(other_tid, "stat"), 41));
    printf("of the first: priority %ld, nice %ld, real-time priority %ld, policy %ld\n", stat_field("/proc/self/stat", 18),
           stat_field("/proc/self/stat", 19), stat_field("/proc/self/stat", 40), stat_field("/proc/self/stat", 41));
    cpu_set_t set;
    MUST(sched_getaffinity(0, sizeof set, &set));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    MUST(sched_setaffinity(other_tid, sizeof set, &set));
    CHECK(labelled(task_file(other_tid, "status"), "Cpus_allowed_list:\t") == cpu);
    MUST(write(go[1], "x", 1));
    pthread_join(thread, NULL);
    // It is joined a moment before it is gone.
    while (stat_field("/proc/self/stat", 20) != 1)
        usleep(1000);
    CHECK(of(RUSAGE_SELF).ru_minflt - all.ru_minflt >= 300);
    CHECK(of(RUSAGE_SELF).ru_nvcsw - all.ru_nvcsw >= 10);

    puts("-- taken from the CPU");
    MUST(sched_setaffinity(0, sizeof set, &set));
    long before = of(RUSAGE_THREAD).ru_nivcsw;
    pthread_create(&thread, NULL, busy, NULL);
    while (of(RUSAGE_THREAD).ru_nivcsw < before + 3)
        ;
    over = 1;
    pthread_join(thread, NULL);
    CHECK(of(RUSAGE_SELF).ru_nivcsw > before + 3);
    CHECK(labelled("/proc/self/status", "nonvoluntary_ctxt_switches:") >= before + 3);

    puts("-- errors");
    TRY(syscall(SYS_getrusage, 2, &all));
    TRY(syscall(SYS_getrusage, RUSAGE_THREAD, 16));
    return 0;
}
